"""``kseg-batch config``: the settings a command would use, and where each is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from kseg_core.options import argument
from kseg_core.sizes import format_bytes

from ._options import Given, command, omit
from ._origins import asked_context, defaults_from, flags_of, remember
from ._runtime import DONE, General, Report

LOCAL_SCHEDULERS = ("threads", "processes", "sync")
ORIGINS = {"COMMANDLINE": "flag", "ENVIRONMENT": "variable", "DEFAULT_MAP": "file", "DEFAULT": "default"}


@dataclass(frozen=True, slots=True)
class Shown:
    """Of which command the settings are shown."""

    command: str = argument("The command whose settings are shown.", "COMMAND", default="run")


@command(
    "config",
    Shown,
    omit(General, "tell_after"),
    failed=lambda error: {"status": "failed", "error": str(error)},
    # what it does not know itself may be an option of the command that is shown
    ignore_unknown_options=True,
    allow_extra_args=True,
)
def config(given: Given, report: Report) -> int:
    """Print the settings a command would use, and where each comes from: a flag, a variable, the file, or the default.

    Options and inputs of the command stand after its name. The output is a TOML file that --config takes.

    Examples:

      kseg-batch config
      kseg-batch config fit --config job.toml
      kseg-batch config run ./images --k 5 --features lab
      kseg-batch config run --config job.toml > effective.toml
    """
    name, context = given["command"], asked_context()
    group: Any = context.parent.command if context is not None and context.parent is not None else None
    known = [] if group is None else [each for each in group.commands if each != "config"]
    if context is None or name not in known:
        raise typer.BadParameter(f"no command is called {name!r}; it is one of {', '.join(known)}")
    settings = settings_of(group.commands[name], name, context, given["config"])
    report.finish(as_json_values(name, settings), as_toml(name, settings))
    return DONE


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a command.

    Parameters
    ----------
    name
        As a file has it.
    value
        None where it is not set.
    origin
        ``flag`` (or an argument), ``variable``, ``file`` or ``default``.
    where
        Which variable or file; for the memory and the workers that a job takes where it is not told, how much that is
        and who says so; None for the others.
    """

    name: str
    value: Any
    origin: str
    where: str | None


def settings_of(command: Any, name: str, asking: typer.Context, file: Path | None) -> list[Setting]:
    """Every setting of a command but ``config`` itself, as the command would find it.

    What is left of the command line of ``asking`` is read as the command's own.

    Raises
    ------
    typer.TyperException
        If the file, a variable or a flag has a value that the command would refuse to read, or the command has no such
        flag.
    """
    context = type(asking)(command, info_name=name, parent=asking.parent)
    if file is not None:
        context.default_map = defaults_from(file, context)
    remember(context, file)
    given, left, _ = command.make_parser(context).parse_args(args=list(asking.args))
    if left:
        raise typer.BadParameter(f"{name} takes no argument {left[0]!r}")
    return _with_limits(
        [
            _setting(parameter, given, context, file)
            for parameter in command.params
            if parameter.name not in ("config", "help") and not getattr(parameter, "is_eager", False)
        ]
    )


def _with_limits(settings: list[Setting]) -> list[Setting]:
    """The settings, of which those of memory and workers that are not set say what is taken then, and why."""
    from kseg_core.limits import Limit, processor_limit, share_of_memory

    values = {setting.name: setting.value for setting in settings}
    scheduler = str(values.get("scheduler"))
    if scheduler not in LOCAL_SCHEDULERS:
        return settings  # a cluster has the workers it has
    processors = Limit(1, "--scheduler sync") if scheduler == "sync" else processor_limit()
    memory = share_of_memory(int(values.get("workers") or processors.amount) if scheduler == "processes" else 1)
    taken = {
        "memory": f"{format_bytes(memory.amount)} a process: {memory.source}",
        "workers": f"{processors.amount}: one a processor of {processors.source}",
    }
    if scheduler == "sync":
        taken["workers"] = f"1: {processors.source}"
    return [
        replace(setting, where=taken[setting.name]) if setting.name in taken and setting.value is None else setting
        for setting in settings
    ]


def _setting(parameter: Any, given: Mapping[str, Any], context: typer.Context, file: Path | None) -> Setting:
    value, source = parameter.consume_value(context, given)
    context.set_parameter_source(parameter.name, source)
    if value is not None:
        value = parameter.process_value(context, value)
    origin = ORIGINS[source.name]
    where = {"variable": parameter.envvar, "file": str(file)}.get(origin)
    return Setting(flags_of(parameter)[0], _plain(value), origin, where)


def _plain(value: Any) -> Any:
    """As TOML and JSON have it."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def as_json_values(command: str, settings: list[Setting]) -> dict[str, Any]:
    """The settings as ``--json`` prints them."""
    told = {one.name: {"value": one.value, "from": one.origin, "where": one.where} for one in settings}
    return {"command": command, "settings": told}


def as_toml(command: str, settings: list[Setting]) -> list[str]:
    """The settings as lines of a file that ``--config`` takes; those that are not set are comments."""
    lines = [f"# the settings of kseg-batch {command}", f"[{command}]"]
    rows = []
    for setting in settings:
        origin = setting.origin if setting.where is None else f"{setting.origin} {_string(setting.where)[1:-1]}"
        unset = setting.value is None
        taken = f": {setting.where}" if unset and setting.where is not None else ""
        rows.append(
            (f"# {setting.name} is not set{taken}" if unset else f"{setting.name} = {_toml(setting.value)}", origin)
        )
    width = min(40, max(len(left) for left, _ in rows))
    return lines + [left if left.startswith("#") else f"{left.ljust(width)}  # {origin}" for left, origin in rows]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return _string(value) if isinstance(value, str) else repr(value)


def _string(text: str) -> str:
    """A TOML string; whatever cannot be seen is escaped, as it must not steer the terminal either."""
    return f'"{"".join(_character(c) for c in text)}"'


def _character(c: str) -> str:
    if c in '"\\':
        return f"\\{c}"
    if c.isprintable():
        return c
    return "�" if "\ud800" <= c <= "\udfff" else f"\\U{ord(c):08x}"
