"""``kseg-batch report``: one HTML page of a store, and its figures."""

from __future__ import annotations

import typer

from . import _options as option
from ._runtime import DONE, SOME_UNREADABLE, Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    store: option.LabelledStore,
    to: option.ReportTo = None,
    sweep: option.SweepFolder = None,
    limit: option.Limit = 60,
    thumbnail: option.Thumbnail = 400,
    overwrite: option.OverwriteReport = False,
    open_page: option.OpenReport = False,
    scheduler: option.Scheduler = "threads",
    workers: option.Workers = None,
    memory: option.Memory = None,
    as_json: option.Json = False,
    log_level: option.LogLevel = "warning",
    log_format: option.LogFormat = "text",
    tell_after: option.TellAfter = 10.0,
    config: option.Config = None,
) -> int:
    """Write report.html, one page that opens from disk and needs no network, and its figures as PNG beside it.

    It shows the palette, originals beside their segmentation, masks, the colours in space, how the fit went, and every
    image with how far it is from the average, outliers first. With edges in the store, or a sweep, these too.

    Examples:

      kseg-batch report images.kseg.zarr

      kseg-batch report images.kseg.zarr --to ./for-anna --limit 200

      kseg-batch report images.kseg.zarr --sweep images.sweep
    """

    def job(told: Report) -> int:
        from kseg_core.config import ExecutionSettings
        from kseg_core.report.settings import ReportSettings

        from ._jobs import memory_bytes

        settings = ReportSettings(limit, thumbnail, overwrite)
        execution = ExecutionSettings(scheduler, workers, memory=memory_bytes(memory))
        from workflows.report import ReportRequest, make_report

        from ._page import open_in_browser
        from ._render import report_lines

        request = ReportRequest(store, to, sweep, settings)
        found = make_report(request, execution, told.progress)
        told.finish(found, report_lines(found))
        if open_page:
            open_in_browser(request.page)
        return SOME_UNREADABLE if found["failures"] else DONE

    return carry_out(job, as_json, log_level, _failed, log_format=log_format, tell_after=tell_after)


def _failed(error: Exception) -> dict[str, object]:
    """What ``--json`` prints of a report that could not be made."""
    nothing: dict[str, object] = {"output": None, "report": None, "figures": [], "failures": []}
    return {"status": "failed", **nothing, "images": {"total": 0, "shown": 0}, "error": str(error)}
