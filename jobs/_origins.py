"""Where settings are from: a TOML file (keys for every command that knows them, a table for one), variables, flags."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import typer

from kseg_core.errors import system_reason


@dataclass(frozen=True, slots=True)
class Asked:
    """The command whose settings are being read, and its file."""

    context: typer.Context
    file: Path | None


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


def remember(context: typer.Context | None, file: Path | None = None) -> None:
    """The command that is run now, for `with_origins`; None: there is none yet."""
    _asked.set(None if context is None else Asked(context, file))


def load_config(context: typer.Context, file: Path | None) -> Path | None:
    """Use a TOML file's values as the defaults of this command."""
    remember(context, file)
    if file is not None:
        context.default_map = defaults_from(file, context)
    return file


def asked_context() -> typer.Context | None:
    """The command that is run now; None where there is none."""
    asked = _asked.get()
    return None if asked is None else asked.context


def with_origins(message: str) -> str:
    """The message, and which variable or file the options are from that it names."""
    asked = _asked.get()
    if asked is None:
        return message
    origins = []
    for parameter in asked.context.command.params:
        named = [flag for flag in parameter.opts if re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", message)]
        source = asked.context.get_parameter_source(str(parameter.name))
        if named and source is not None and source.name == "ENVIRONMENT":
            origins.append(f"{named[0]} is from the variable {parameter.envvar}")
        elif named and source is not None and source.name == "DEFAULT_MAP":
            origins.append(f"{named[0]} is from {asked.file}")
    return "; ".join([message, *origins])


def commands_with(flag: str, context: typer.Context) -> list[str]:
    """The names of the commands that have an option."""
    return [name for name, flags in _commands(context).items() if _key(flag.removeprefix("--")) in flags]


def defaults_from(file: Path, context: typer.Context) -> dict[str, Any]:
    """The file's values for the command of ``context``, by parameter name.

    Raises
    ------
    typer.BadParameter
        If the file cannot be read or names a setting that no command has.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise typer.BadParameter(f"{file}: {system_reason(error)}") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file}: not a TOML file (it is no text in UTF-8)") from error
    except tomllib.TOMLDecodeError as error:
        raise typer.BadParameter(f"{file}: not a TOML file ({error})") from error
    commands, parameters = _commands(context), _parameters(context.command)
    bare: dict[str, str] = getattr(context.command, "bare", {})
    # a setting with the name of a command, such as edges = "150,200", is no table
    tables = {name: value for name, value in content.items() if name in commands and isinstance(value, dict)}
    values: dict[str, Any] = {}
    for name, value in content.items():
        if name in tables:
            continue
        if not any(_key(name) in known for known in commands.values()):
            known = {*commands, *(flag for flags in commands.values() for flag in flags)}
            raise typer.BadParameter(f"{file}: no setting is called {name!r}{_nearest(_key(name), known)}")
        values |= _as_default(file, name, value, parameters, bare)
    for table, section in tables.items():
        for name, value in section.items():
            if _key(name) not in commands[table]:
                near = _nearest(_key(name), commands[table])
                raise typer.BadParameter(f"{file}: [{table}] has no setting called {name!r}{near}")
            values |= _as_default(file, name, value, parameters, bare) if table == context.info_name else {}
    return values


def unknown_variables() -> list[str]:
    """A line for each variable that is called as those of options are, and is of none."""
    context = asked_context()
    if context is None:
        return []
    parent: Any = context.parent
    commands = [context.command] if parent is None else parent.command.commands.values()
    known = {str(parameter.envvar) for command in commands for parameter in command.params if parameter.envvar}
    odd = sorted(name for name in os.environ if name.startswith("KSEG_") and name not in known)
    return [f"the variable {name} sets nothing: no option is called so{_nearest(name, known)}" for name in odd]


def _nearest(name: str, known: Iterable[str]) -> str:
    """Which of the names that are known was meant, if that can be guessed."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _commands(context: typer.Context) -> dict[str, set[str]]:
    """The names of all commands' settings, the options and ``inputs``."""
    parent = context.parent
    group: Any = parent.command if parent is not None else None
    commands = {context.info_name: context.command} if group is None else group.commands
    return {
        str(name): {flag for parameter in command.params for flag in flags_of(parameter)} - {"config"}
        for name, command in commands.items()
    }


def flags_of(parameter: Any) -> list[str]:
    """What a parameter is called in a file: its long flags, or its name."""
    flags = [flag[2:].replace("-", "_") for flag in parameter.opts if flag.startswith("--")]
    return flags or [str(parameter.name)]


def _key(name: str) -> str:
    return name.replace("-", "_")


def _parameters(command: Any) -> dict[str, Any]:
    """A command's parameters by what a file calls them."""
    return {flag: parameter for parameter in command.params for flag in flags_of(parameter)}


def _as_default(
    file: Path, name: str, value: Any, parameters: dict[str, Any], bare: Mapping[str, str]
) -> dict[str, Any]:
    """A value of a file under its parameter's name; nothing where it is a setting of other commands, or is false of one
    whose flag may stand without a value (``bare``), as true is that value.

    Raises
    ------
    typer.BadParameter
        If it is of a kind that the setting never has.
    """
    if (parameter := parameters.get(_key(name))) is None:
        return {}
    if isinstance(value, bool) and parameter.name in bare:
        return {parameter.name: bare[parameter.name]} if value else {}
    is_flag = getattr(parameter, "is_flag", False)
    is_several = getattr(parameter, "multiple", False) or parameter.nargs == -1
    values = value if is_several and isinstance(value, list) else [value]
    for odd in filter(None, (_never(one, is_flag=is_flag) for one in values)):
        taken = "true or false" if is_flag else "numbers or texts" if is_several else "a number or text"
        raise typer.BadParameter(f"{file}: {name} takes {taken}, not {odd}")
    return {str(parameter.name): values if is_several else value}


def _never(value: Any, *, is_flag: bool) -> str:
    """What a value of a file is, where that is nothing that an option has; else nothing."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, date | time):
        return "a date or time"
    return str(value).lower() if isinstance(value, bool) and not is_flag else ""
