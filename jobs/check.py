"""``kseg-batch check``: whether a store is complete and right, and its repair."""

from __future__ import annotations

from dataclasses import dataclass

from kseg_core.config import ExecutionSettings
from kseg_core.options import argument, option

from ._options import WORKERS, Given, command
from ._runtime import DONE, FAILED, General, Report


@dataclass(frozen=True, slots=True)
class Checked:
    """Which store, and whether what is damaged is made anew."""

    store: str = argument("A store made by run, apply or edges, or a model.", "STORE", required=True)
    repair: bool = option(False, "Make anew, from their sources, the images that are damaged.", "Output")


@command(
    "check",
    Checked,
    WORKERS,
    General,
    failed=lambda error: {"status": "failed", "problems": [str(error)]},
)
def check(given: Given, report: Report) -> int:
    """Verify a store: complete, readable, masks and counts agree with labels, labels agree with centroids.

    Where an image's source is still there unchanged, its pixels are labelled anew and compared.

    With --repair what is damaged is made anew from its source, and nothing else is touched.

    Examples:

      kseg-batch check images.kseg.zarr
      kseg-batch check images.kseg.zarr --json
      kseg-batch check images.kseg.zarr --repair
    """
    execution, store = given.make(ExecutionSettings), given["store"]
    if given["repair"]:
        from workflows.repair import repair_store

        report.how_to_go_on = "the same command goes on"
        found = repair_store(store, execution, report.progress)
    else:
        from workflows.check import check_store

        found = check_store(store, execution, report.progress)
    from ._render import check_lines

    report.finish(found, check_lines(store, found))
    return DONE if found["status"] == "ok" else FAILED
