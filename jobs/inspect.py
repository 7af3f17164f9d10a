"""``kseg-batch inspect``: what is in a store or a model."""

from __future__ import annotations

from dataclasses import dataclass

from kseg_core.config import ExecutionSettings
from kseg_core.errors import UsageError
from kseg_core.options import argument, option

from ._options import WORKERS, Given, command
from ._runtime import DONE, SOME_UNREADABLE, General, Report


@dataclass(frozen=True, slots=True)
class Shown:
    """Of which store, and what is made of it."""

    store: str = argument("A store made by run, apply or edges, or a model.", "STORE", required=True)
    table: str | None = option(
        None,
        "Also write area, number of regions and largest region of every image's clusters.",
        "Output",
        "FILE.csv|FILE.parquet",
    )
    overwrite: bool = option(False, "Replace a table that is there.", "Output")


@command(
    "inspect",
    Shown,
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
    execution, asked = given.make(ExecutionSettings), given.make(Shown)
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
