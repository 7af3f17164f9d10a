"""``kseg-batch sweep``: the elbow method."""

from __future__ import annotations

import typer

from . import _options as option
from ._runtime import Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sweep")(sweep)


def sweep(
    inputs: option.Inputs = None,
    k_range: option.SweepRange = "1:10",
    output: option.SweepOutput = None,
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
    features: option.Features = "auto",
    kind: option.Kind = None,
    bands: option.Bands = None,
    normalize: option.Normalize = "none",
    scope: option.Scope = "global",
    init: option.Init = "k-means++",
    attempts: option.Attempts = 10,
    max_iter: option.MaxIter = 1000,
    tol: option.Tol = None,
    batch_pixels: option.BatchPixels = 1 << 18,
    seed: option.Seed = 0,
    overwrite: option.SweepOverwrite = False,
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
    """Find the best centroids for every number of clusters, and the knee of the inertia curve (the elbow method).

    The pixels are read once. Writes sweep.csv, sweep.png and sweep.json, which has the centroids and colours too.

    Beside inertia stand the simplified silhouette and the index of Calinski and Harabasz; for both more is better.

    Where the curve has no knee, the largest silhouette decides.

    Examples:

      kseg-batch sweep ./images

      kseg-batch sweep ./images --k-range 2:20 --features lab -o elbow

      kseg-batch sweep ./images --scope image --json
    """
    from workflows.sweep_request import failed_sweep

    def job(report: Report) -> int:
        from kseg_core.choice import choice_of
        from kseg_core.config import ExecutionSettings, OutputSettings, RunConfig
        from workflows.request import InputSelection

        from . import _jobs

        settings = _jobs.settings_of_fit(
            "auto",
            k_range,
            None,
            features=features,
            kind=kind,
            bands=bands,
            normalize=normalize,
            scope=scope,
            init=init,
            attempts=attempts,
            max_iter=max_iter,
            tol=tol,
            batch_pixels=batch_pixels,
            seed=seed,
        )
        selection = InputSelection(tuple(inputs or ()), tuple(include or ()), tuple(exclude or ()), from_file, null)
        job_config = RunConfig(
            settings,
            OutputSettings(overwrite=overwrite),
            ExecutionSettings(scheduler, workers, strict, _jobs.memory_bytes(memory)),
            _jobs.input_settings(nodata, nodata_in, mask, max_pixels, choice_of(series, page, channel, z, t)),
        )
        return _jobs.sweep(selection, job_config, output, report)

    return carry_out(job, as_json, log_level, failed_sweep, log_format=log_format, tell_after=tell_after)
