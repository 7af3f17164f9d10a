"""``kseg-batch run``: fit, label, write."""

from __future__ import annotations

from functools import partial

import typer

from . import _options as option
from ._runtime import Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    inputs: option.Inputs = None,
    k: option.K = None,
    k_range: option.KRange = None,
    model: option.GivenModel = None,
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
    refit: option.Refit = False,
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
    start: option.Start = None,
    match: option.Match = None,
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
    """Find one set of K colours for all images, label every pixel, write labels, masks and centroids.

    Examples:

      kseg-batch run ./images --k 5

      kseg-batch run ./images --k auto --k-range 2:8

      kseg-batch run 'plants/**/*.jpg' --k 2 --features gray -o plants.zarr

      kseg-batch run ./today --model ./yesterday.kseg.zarr

      kseg-batch run ./this-year --model ./last-year.kseg.zarr --refit

      kseg-batch run ./images --k 8 --scheduler tcp://127.0.0.1:8786
    """
    from ._jobs import failed_labelling

    def job(report: Report) -> int:
        from kseg_core.choice import choice_of
        from kseg_core.config import ExecutionSettings, OutputSettings, RunConfig
        from workflows.request import InputSelection

        from ._jobs import Also, input_settings, label, memory_bytes, refit_of, settings_of_fit, thresholds

        of_options = partial(refit_of, model, match) if refit else settings_of_fit
        fit = of_options(
            k,
            k_range,
            start,
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
        settings = RunConfig(
            fit,
            OutputSettings(masks, tile, overwrite, pyramid, copy_image, confidence, thresholds(edges), checksum),
            ExecutionSettings(scheduler, workers, strict, memory_bytes(memory), performance_report),
            input_settings(nodata, nodata_in, mask, max_pixels, choice_of(series, page, channel, z, t)),
            model=None if refit else model,
            match=model if refit else match,
            refit=refit,
        )
        selection = InputSelection(tuple(inputs or ()), tuple(include or ()), tuple(exclude or ()), from_file, null)
        return label(selection, settings, output, report, Also(dry_run, fail_on_drift, with_report, open_page))

    return carry_out(job, as_json, log_level, failed_labelling, log_format=log_format, tell_after=tell_after)
