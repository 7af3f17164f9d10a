"""``kseg-batch fit``: find a model, label nothing."""

from __future__ import annotations

from functools import partial

import typer

from . import _options as option
from ._runtime import Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fit")(fit)


def fit(
    inputs: option.Inputs = None,
    k: option.K = None,
    k_range: option.KRange = None,
    model: option.RefitModel = None,
    output: option.ModelOutput = None,
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
    refit: option.Refit = False,
    features: option.Features = "auto",
    kind: option.Kind = None,
    bands: option.Bands = None,
    normalize: option.Normalize = "none",
    init: option.Init = "k-means++",
    attempts: option.Attempts = 10,
    max_iter: option.MaxIter = 1000,
    tol: option.Tol = None,
    batch_pixels: option.BatchPixels = 1 << 18,
    seed: option.Seed = 0,
    start: option.Start = None,
    match: option.Match = None,
    overwrite: option.Overwrite = False,
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
    """Find K colours for all images and save them as a model; nothing is labelled.

    Examples:

      kseg-batch fit ./images --k 5 -o palette.zarr

      kseg-batch fit ./images --k 5 --features lab --match palette.zarr -o palette2.zarr

      kseg-batch fit ./this-year --model palette.zarr --refit -o this-year.zarr
    """
    from workflows.result import failed_result

    def job(report: Report) -> int:
        from kseg_core.choice import choice_of
        from kseg_core.config import ExecutionSettings, OutputSettings, RunConfig
        from kseg_core.errors import UsageError
        from workflows.request import InputSelection

        from . import _jobs

        if output is None:
            raise UsageError("fit needs an output: name the model to write with -o")
        if model is not None and not refit:
            raise UsageError("fit takes --model only to start from its centroids: add --refit, or leave it out")
        of_options = partial(_jobs.refit_of, model, match) if refit else _jobs.settings_of_fit
        settings = of_options(
            k,
            k_range,
            start,
            features=features,
            kind=kind,
            bands=bands,
            normalize=normalize,
            init=init,
            attempts=attempts,
            max_iter=max_iter,
            tol=tol,
            batch_pixels=batch_pixels,
            seed=seed,
        )
        if settings is None:
            raise UsageError("fit needs the number of clusters: --k N, or --k auto; or --model M --refit")
        selection = InputSelection(tuple(inputs or ()), tuple(include or ()), tuple(exclude or ()), from_file, null)
        job_config = RunConfig(
            settings,
            OutputSettings(overwrite=overwrite),
            ExecutionSettings(scheduler, workers, strict, _jobs.memory_bytes(memory), performance_report),
            _jobs.input_settings(nodata, nodata_in, mask, max_pixels, choice_of(series, page, channel, z, t)),
            match=model if refit else match,
            refit=refit,
        )
        return _jobs.fit(selection, job_config, output, report, dry_run=dry_run)

    return carry_out(job, as_json, log_level, failed_result, log_format=log_format, tell_after=tell_after)
