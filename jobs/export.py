"""``kseg-batch export``: pictures and outlines for people and other tools."""

from __future__ import annotations

from typing import Literal

import typer

from kseg_core.errors import UsageError

from . import _options as option
from ._runtime import DONE, FAILED, SOME_UNREADABLE, Report, carry_out

GO_ON = "files that were finished stay; the same command with --skip-existing goes on"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    store: option.StoreOfImages,
    to: option.ExportTo,
    what: option.What,
    image: option.ExportImages = None,
    cluster: option.ExportClusters = None,
    format: option.ExportFormat = "auto",
    line_color: option.LineColor = "#ffff00",
    min_area: option.MinArea = 1,
    overwrite: option.OverwriteFiles = False,
    skip_existing: option.SkipExisting = False,
    scheduler: option.Scheduler = "threads",
    workers: option.Workers = None,
    memory: option.Memory = None,
    as_json: option.Json = False,
    log_level: option.LogLevel = "warning",
    log_format: option.LogFormat = "text",
    tell_after: option.TellAfter = 10.0,
    config: option.Config = None,
) -> int:
    """Make PNG, TIFF and GeoJSON files of a store's images, for people and other tools.

    segmented: each pixel in its cluster's colour

    labels: a palette image whose indices are the clusters

    masks: black and white, one a cluster

    cutout: the image's own pixels, on transparency, of each cluster, or of the chosen ones together

    edges: those that kseg-batch edges found

    boundaries: lines between clusters, drawn on the image

    polygons: outlines of the regions of each cluster

    Cut-outs and boundaries need the images where they were, or a run with --copy-image.

    Examples:

      kseg-batch export images.kseg.zarr --to out

      kseg-batch export images.kseg.zarr --to out --what masks,cutout --cluster 3 --image 'leaf-*'

      kseg-batch export scene.kseg.zarr --to out --what labels,polygons --min-area 50
    """

    def job(report: Report) -> int:
        from kseg_core.config import ExecutionSettings
        from kseg_core.export.settings import ExportSettings

        from ._jobs import joined, memory_bytes

        settings = ExportSettings(_listed(joined(what) or ""), _numbers(joined(cluster)), format, line_color, min_area)
        execution = ExecutionSettings(scheduler, workers, memory=memory_bytes(memory))
        existing = _existing(overwrite, skip_existing)
        if not to.strip():
            raise UsageError("--to is empty: name a folder for the files")

        from workflows.export import export as make
        from workflows.export_plan import ExportRequest

        from ._render import export_lines

        result = make(ExportRequest(store, to, settings, tuple(image or ()), existing), execution, report.progress)
        told = result.to_json()
        report.finish(told, export_lines(told))
        return {"ok": DONE, "partial": SOME_UNREADABLE, "failed": FAILED}[result.status]

    again = None if overwrite or skip_existing else GO_ON
    return carry_out(job, as_json, log_level, _failed, again, log_format=log_format, tell_after=tell_after)


def _failed(error: Exception) -> dict[str, object]:
    """What ``--json`` prints of an export that could not begin."""
    nothing: dict[str, object] = {
        "output": None,
        "images": {"total": 0, "done": 0, "failed": 0},
        "files": [],
        "kept": 0,
    }
    return {"status": "failed", **nothing, "failures": [], "error": str(error)}


def _listed(names: str) -> tuple[str, ...]:
    """``segmented,masks`` as names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _numbers(clusters: str | None) -> tuple[int, ...] | None:
    """``0,2`` as numbers, each once."""
    try:
        return None if clusters is None else tuple(dict.fromkeys(int(number) for number in clusters.split(",")))
    except ValueError:
        raise UsageError(f"--cluster takes numbers like 0,2; got {clusters!r}") from None


def _existing(overwrite: bool, skip_existing: bool) -> Literal["refuse", "replace", "keep"]:
    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing ask for opposite things; give one")
    return "replace" if overwrite else "keep" if skip_existing else "refuse"
