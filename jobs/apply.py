"""``kseg-batch apply``: label with an existing model."""

from __future__ import annotations

import typer

from . import _options as option
from ._runtime import Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("apply")(apply)


def apply(
    inputs: option.Inputs = None,
    model: option.ModelToApply = None,
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
    checksum: option.Checksum = False,
    fail_on_drift: option.FailOnDrift = None,
    masks: option.Masks = None,
    tile: option.Tile = 1024,
    pyramid: option.Pyramid = None,
    copy_image: option.CopyImage = False,
    confidence: option.Confidence = False,
    edges: option.WithEdges = None,
    overwrite: option.Overwrite = False,
    with_report: option.WithReport = False,
    open_page: option.OpenPage = False,
    scheduler: option.Scheduler = "threads",
    workers: option.Workers = None,
    memory: option.Memory = None,
    strict: option.Strict = False,
    performance_report: option.PerformanceReport = None,
    dry_run: option.DryRun = False,
    as_json: option.Json = False,
    log_level: option.LogLevel = "warning",
    log_format: option.LogFormat = "text",
    tell_after: option.TellAfter = 10.0,
    config: option.Config = None,
) -> int:
    """Label images with a model found earlier, by `fit` or by `run`.

    Examples:

      kseg-batch apply ./new-images --model palette.zarr

      kseg-batch apply ./new-images --model ./images.kseg.zarr -o new.zarr

      kseg-batch apply ./growing --model palette.zarr --fail-on-drift 0.3
    """
    from . import _jobs

    def job(report: Report) -> int:
        from kseg_core.choice import choice_of
        from kseg_core.config import ExecutionSettings, OutputSettings, RunConfig
        from kseg_core.errors import UsageError
        from workflows.request import InputSelection

        if model is None:
            raise UsageError("apply needs a model: --model M, a model or a store of an earlier run")
        selection = InputSelection(tuple(inputs or ()), tuple(include or ()), tuple(exclude or ()), from_file, null)
        job_config = RunConfig(
            None,
            OutputSettings(masks, tile, overwrite, pyramid, copy_image, confidence, _jobs.thresholds(edges), checksum),
            ExecutionSettings(scheduler, workers, strict, _jobs.memory_bytes(memory), performance_report),
            _jobs.input_settings(nodata, nodata_in, mask, max_pixels, choice_of(series, page, channel, z, t)),
            model=model,
        )
        also = _jobs.Also(dry_run, fail_on_drift, with_report, open_page)
        return _jobs.label(selection, job_config, output, report, also)

    return carry_out(job, as_json, log_level, _jobs.failed_labelling, log_format=log_format, tell_after=tell_after)
