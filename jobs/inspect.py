"""``kseg-batch inspect``: what is in a store."""

from __future__ import annotations

import typer

from . import _options as option
from ._runtime import DONE, SOME_UNREADABLE, Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect")(inspect)


def inspect(
    store: option.StoreOrModel,
    table: option.Table = None,
    overwrite: option.OverwriteTable = False,
    scheduler: option.Scheduler = "threads",
    workers: option.Workers = None,
    memory: option.Memory = None,
    as_json: option.Json = False,
    log_level: option.LogLevel = "warning",
    log_format: option.LogFormat = "text",
    tell_after: option.TellAfter = 10.0,
    config: option.Config = None,
) -> int:
    """Show what is in a store or model; --table also measures the connected regions of every cluster.

    Examples:

      kseg-batch inspect images.kseg.zarr

      kseg-batch inspect images.kseg.zarr --json

      kseg-batch inspect images.kseg.zarr --table regions.csv
    """

    def job(report: Report) -> int:
        from kseg_core.config import ExecutionSettings
        from kseg_core.errors import UsageError
        from kseg_core.inputs.keys import printable_source
        from workflows.inspect import describe

        from ._jobs import memory_bytes
        from ._render import inspect_lines

        execution = ExecutionSettings(scheduler, workers, memory=memory_bytes(memory))
        if overwrite and table is None:
            raise UsageError("--overwrite is for a table: name it with --table")
        found = describe(store)
        if table is not None:
            from workflows.regions import write_region_table

            write_region_table(store, table, execution, report.progress, overwrite=overwrite)
            found |= {"table": printable_source(table)}
        report.finish(found, inspect_lines(store, found))
        return SOME_UNREADABLE if found["failures"] else DONE

    return carry_out(
        job,
        as_json,
        log_level,
        lambda error: {"status": "failed", "error": str(error)},
        log_format=log_format,
        tell_after=tell_after,
    )
