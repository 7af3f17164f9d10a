"""``kseg-batch config``: which settings a command would use, and where each comes from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import _options as option
from ._runtime import DONE, Report, carry_out
from ._settings import as_json_values, as_toml, settings_of

Shown = Annotated[str, typer.Argument(metavar="COMMAND", help="The command whose settings are shown.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    # what it does not know itself may be an option of the command that is shown
    app.command("config", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(show_config)


def show_config(
    context: typer.Context,
    command: Shown = "run",
    as_json: option.Json = False,
    log_level: option.LogLevel = "warning",
    log_format: option.LogFormat = "text",
    config: option.Config = None,
) -> int:
    """Print the settings a command would use, and where each comes from: a flag, a variable, the file, or the default.

    Options and inputs of the command stand after its name. The output is a TOML file that --config takes.

    Examples:

      kseg-batch config

      kseg-batch config fit --config job.toml

      kseg-batch config run ./images --k 5 --features lab

      kseg-batch config run --config job.toml > effective.toml
    """
    # What is wrong in the file or in a variable is wrong usage, as it is of the command itself.
    group: Any = context.parent.command if context.parent is not None else None
    known = [] if group is None else [name for name in group.commands if name != "config"]
    if command not in known:
        raise typer.BadParameter(f"no command is called {command!r}; it is one of {', '.join(known)}")
    settings = settings_of(group.commands[command], command, context, config)

    def job(report: Report) -> int:
        report.finish(as_json_values(command, settings), as_toml(command, settings))
        return DONE

    return carry_out(
        job, as_json, log_level, lambda error: {"status": "failed", "error": str(error)}, log_format=log_format
    )
