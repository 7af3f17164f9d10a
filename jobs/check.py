"""``kseg-batch check``: is a store complete and right?"""

from __future__ import annotations

import typer

from . import _options as option
from ._runtime import DONE, FAILED, Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    store: option.StoreOrModel,
    repair: option.Repair = False,
    scheduler: option.Scheduler = "threads",
    workers: option.Workers = None,
    memory: option.Memory = None,
    as_json: option.Json = False,
    log_level: option.LogLevel = "warning",
    log_format: option.LogFormat = "text",
    tell_after: option.TellAfter = 10.0,
    config: option.Config = None,
) -> int:
    """Verify a store: complete, readable, masks and counts agree with labels, labels agree with centroids.

    Where an image's source is still there unchanged, its pixels are labelled anew and compared.

    With --repair what is damaged is made anew from its source, and nothing else is touched.

    Examples:

      kseg-batch check images.kseg.zarr

      kseg-batch check images.kseg.zarr --json

      kseg-batch check images.kseg.zarr --repair
    """

    def job(report: Report) -> int:
        from kseg_core.config import ExecutionSettings

        from ._jobs import memory_bytes
        from ._render import check_lines

        execution = ExecutionSettings(scheduler, workers, memory=memory_bytes(memory))
        if repair:
            from workflows.repair import repair_store

            report.how_to_go_on = "the same command goes on"
            found = repair_store(store, execution, report.progress)
        else:
            from workflows.check import check_store

            found = check_store(store, execution, report.progress)
        report.finish(found, check_lines(store, found))
        return DONE if found["status"] == "ok" else FAILED

    return carry_out(
        job,
        as_json,
        log_level,
        lambda error: {"status": "failed", "problems": [str(error)]},
        log_format=log_format,
        tell_after=tell_after,
    )
