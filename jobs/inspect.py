"""``kseg-batch inspect``: what is in a store."""

from __future__ import annotations

import typer

from . import _options as option
from ._runtime import DONE, Report, carry_out


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect")(inspect)


def inspect(
    store: option.StorePath,
    as_json: option.Json = False,
    log_level: option.LogLevel = "warning",
    config: option.Config = None,
) -> int:
    """Show what is in a store or model.

    Examples:

      kseg-batch inspect images.kseg.zarr

      kseg-batch inspect images.kseg.zarr --json
    """

    def job(report: Report) -> int:
        from workflows.inspect import describe

        from ._render import inspect_lines

        found = describe(store)
        report.finish(found, inspect_lines(store, found))
        return DONE

    return carry_out(job, as_json, log_level, lambda error: {"status": "failed", "error": str(error)})
