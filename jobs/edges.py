"""``kseg-batch edges``: Canny edges of every image."""

from __future__ import annotations

import typer

from . import _options as option
from ._runtime import DONE, SOME_UNREADABLE, Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("edges")(edges)


def edges(
    inputs: option.Inputs = None,
    low: option.Low = 150.0,
    high: option.High = 200.0,
    blur: option.Blur = 0.0,
    aperture: option.Aperture = 3,
    l2: option.L2 = False,
    on: option.On = "color",
    output: option.Output = None,
    include: option.Include = None,
    exclude: option.Exclude = None,
    from_file: option.FromFile = None,
    null: option.Null = False,
    nodata: option.Nodata = option.NODATA,
    nodata_in: option.NodataIn = None,
    mask: option.Mask = None,
    max_pixels: option.MaxPixels = 1 << 29,
    series: option.Series = None,
    page: option.Page = None,
    channel: option.Channel = None,
    z: option.Z = None,
    t: option.T = None,
    tile: option.EdgesTile = None,
    overwrite: option.OverwriteEdges = False,
    scheduler: option.Scheduler = "threads",
    workers: option.Workers = None,
    memory: option.Memory = None,
    strict: option.Strict = False,
    as_json: option.Json = False,
    log_level: option.LogLevel = "warning",
    log_format: option.LogFormat = "text",
    tell_after: option.TellAfter = 10.0,
    config: option.Config = None,
) -> int:
    """Find the Canny edges of every image, exactly as OpenCV does on the whole image, however large it is.

    Edges are written as images/<key>/edges. If OUT is a store of an earlier run, they are added to its images;
    otherwise a new store of edges is made. No edge is found where a transparent, masked or nodata pixel is near.

    Examples:

      kseg-batch edges ./images --low 150 --high 200

      kseg-batch edges scene.tif --low 50 --high 100 --blur 1.4 --on gray -o scene.kseg.zarr
    """
    from workflows.edges.results import failed_edges

    def job(report: Report) -> int:
        from kseg_core.choice import choice_of
        from kseg_core.config import ExecutionSettings
        from kseg_core.edge_settings import EdgeSettings
        from kseg_core.resume.lock import sweep_after_kill
        from workflows.edges.request import EdgesConfig, prepare_edges
        from workflows.edges.results import nothing_done
        from workflows.request import InputSelection

        from ._jobs import input_settings, memory_bytes
        from ._render import edges_lines

        settings = EdgesConfig(
            EdgeSettings(low, high, aperture, l2, blur, on),  # type: ignore[arg-type]  # checked there
            input_settings(nodata, nodata_in, mask, max_pixels, choice_of(series, page, channel, z, t)),
            ExecutionSettings(scheduler, workers, strict, memory_bytes(memory)),
            tile,
            overwrite,
        )
        selection = InputSelection(tuple(inputs or ()), tuple(include or ()), tuple(exclude or ()), from_file, null)
        request = prepare_edges(selection, settings, output)
        if request.finished:
            sweep_after_kill(request.output)
            result = nothing_done(request)
        else:
            from workflows.edge_job import find_edges

            result = find_edges(request, report.progress)
        told = result.to_json()
        report.finish(told, edges_lines(told))
        return SOME_UNREADABLE if result.failures else DONE

    return carry_out(job, as_json, log_level, failed_edges, log_format=log_format, tell_after=tell_after)
