"""``kseg-batch report``: one HTML page of a store, and its figures."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kseg_core.config import ExecutionSettings
from kseg_core.options import argument, option
from kseg_core.report.settings import ReportSettings

from ._logging import log
from ._options import WORKERS, Given, command, pick
from ._render import failure_lines, n_images, printable
from ._runtime import DONE, SOME_UNREADABLE, General, Report

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # without any, only browsers that take the terminal would be found


@dataclass(frozen=True, slots=True)
class Page:
    """Of which store, and where the page goes."""

    store: str = argument("A store made by run, apply or segments.", "STORE", required=True)
    to: str | None = option(
        None, "The folder to write. Default: <store name>.report in the current folder.", "Output", "DIR"
    )
    sweep: str | None = option(
        None,
        "Show this sweep: a folder that the sweep command wrote. Default: that of --k auto, if there was one.",
        "Input",
        "DIR",
    )
    score: str | None = option(
        None,
        "Show this score: score.json that the score command wrote, or its folder.",
        "Input",
        "FILE.json|DIR",
    )
    open_page: bool = option(False, "Then open it in the browser.", "Output", flag="open")


def _failed(error: Exception) -> dict[str, Any]:
    """What ``--json`` prints of a report that could not be made."""
    nothing: dict[str, Any] = {"output": None, "report": None, "figures": [], "failures": []}
    return {"status": "failed", **nothing, "images": {"total": 0, "shown": 0}, "error": str(error)}


@command("report", pick(Page, "store", "to", "sweep", "score"), ReportSettings, Page, WORKERS, General, failed=_failed)
def report(given: Given, report: Report) -> int:
    """Write report.html, one page that opens from disk and needs no network, and its figures as PNG beside it.

    It shows the palette, originals beside their segmentation, masks, the colours in space, how the fit went, and every
    image with how far it is from the average, outliers first. With edges in the store, a sweep or a score, these too.
    Of segments it shows each picture with a slider of levels, how many there are by level, and the largest; of a store
    of segments alone these are the page.

    Examples:

      kseg-batch report images.kseg.zarr
      kseg-batch report images.kseg.zarr --to ./for-anna --limit 200
      kseg-batch report images.kseg.zarr --sweep images.sweep
      kseg-batch report images.kseg.zarr --score images.score
      kseg-batch report segments.zarr
    """
    settings, execution, page = given.make(ReportSettings), given.make(ExecutionSettings), given.make(Page)
    from workflows.report import ReportRequest, make_report

    request = ReportRequest(page.store, page.to, page.sweep, settings, page.score)
    made = make_report(request, execution, report.progress)
    report.finish(made, report_lines(made), "report")
    if page.open_page:
        open_in_browser(request.page)
    return SOME_UNREADABLE if made["failures"] else DONE


def open_in_browser(page: str) -> None:
    """Open a page; where that cannot be done, say in one line where it is."""
    import webbrowser

    opened = sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in DISPLAYS)
    if opened:
        with _silence():
            opened = webbrowser.open(Path(page).resolve().as_uri())
    if not opened:
        log.warning("no browser can be opened here; the page is %s", printable(page))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What a browser writes goes nowhere: stdout is ours, and may be one JSON object."""
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    saved = [os.dup(number) for number in (0, 1, 2)]
    try:
        for number in (0, 1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, file in enumerate(saved):
            os.dup2(file, number)
            os.close(file)
        os.close(nowhere)


def report_lines(result: dict[str, Any]) -> list[str]:
    """A report that was written."""
    images = result["images"]
    head = f"{printable(result['report'])}: {n_images(images['total'])}, {images['shown']} with pictures"
    head += f", {len(result['figures'])} figures beside it"
    return [head, *failure_lines(result["failures"])]
