"""``kseg-batch inspect`` and ``check``: what is in a store, and whether it is complete and right."""

from __future__ import annotations

from dataclasses import dataclass

from kseg_core.config import ExecutionSettings
from kseg_core.errors import UsageError
from kseg_core.options import argument, option

from ._options import WORKERS, Given, command, omit, pick
from ._runtime import DONE, FAILED, SOME_UNREADABLE, General, Report


@dataclass(frozen=True, slots=True)
class Stored:
    """Of which store, and what is made of it."""

    store: str = argument("A store made by run, apply or edges, or a model.", "STORE", required=True)
    repair: bool = option(False, "Make anew, from their sources, the images that are damaged.", "Output")
    table: str | None = option(
        None,
        "Also write area, number of regions and largest region of every image's clusters.",
        "Output",
        "FILE.csv|FILE.parquet",
    )
    overwrite: bool = option(False, "Replace a table that is there.", "Output")


@command(
    "inspect",
    omit(Stored, "repair"),
    WORKERS,
    General,
    failed=lambda error: {"status": "failed", "error": str(error)},
)
def inspect(given: Given, report: Report) -> int:
    """Show what is in a store or model; --table also measures the connected regions of every cluster.

    Examples:

      kseg-batch inspect images.kseg.zarr

      kseg-batch inspect images.kseg.zarr --json

      kseg-batch inspect images.kseg.zarr --table regions.csv
    """
    execution, asked = given.make(ExecutionSettings), given.make(Stored)
    if asked.overwrite and asked.table is None:
        raise UsageError("--overwrite is for a table: name it with --table")
    from kseg_core.inputs.keys import printable_source
    from workflows.inspect import describe

    from ._render import inspect_lines

    found = describe(asked.store)
    if asked.table is not None:
        from workflows.regions import write_region_table

        write_region_table(asked.store, asked.table, execution, report.progress, overwrite=asked.overwrite)
        found |= {"table": printable_source(asked.table)}
    report.finish(found, inspect_lines(asked.store, found))
    return SOME_UNREADABLE if found["failures"] else DONE


@command(
    "check",
    pick(Stored, "store", "repair"),
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
