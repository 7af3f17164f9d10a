"""A setting, said once: a field of a frozen dataclass has its type, its default, its help and how it is spelled.

The command line, ``--config``, ``KSEG_*``, what ``config`` prints and docs/options.md are made from these fields (see
`jobs._options`): a new option is one field. Standard library only, as all settings are: wrong usage is refused before
anything heavy is loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, TypeVar

from .errors import UsageError

T = TypeVar("T")

Group = Literal["Model", "Edges", "Input", "Output", "Execution", "General"]


@dataclass(frozen=True, slots=True)
class Option:
    """How a command line spells a field.

    Parameters
    ----------
    help
        What it is, for ``--help``.
    group
        Under which heading; None: it is an argument, not an option.
    metavar
        What stands for its value.
    flag
        Without dashes; None: the field's name. The variable and the file's key are called after it.
    short
        A flag of one letter.
    many
        It may be given again; the values add up.
    parse
        Makes the field's value of the text given, of ``many`` of the list of texts; None: the text is of its type.
    required
        A command line must have it.
    least
        The smallest number that a command line may have.
    bare
        The text that is its value where its flag stands without one: at the end, or before another flag.
    eager
        Called with Typer's context and the value before any other option is read.
    """

    help: str
    group: Group | None
    metavar: str | None = None
    flag: str | None = None
    short: str | None = None
    many: bool = False
    parse: Callable[[Any], Any] | None = None
    required: bool = False
    least: float | None = None
    bare: str | None = None
    eager: Callable[..., Any] | None = None


def option(default: Any, help: str, group: Group | None, metavar: str | None = None, **more: Any) -> Any:
    """A field of a dataclass that is an option too; ``more`` as of `Option`. Without default: `MISSING`."""
    return dataclasses.field(default=default, metadata={"option": Option(help, group, metavar, **more)})


def argument(help: str, metavar: str, default: Any = MISSING, **more: Any) -> Any:
    """A field that is an argument: what stands on a command line without a flag."""
    return option(default, help, None, metavar, **more)


def require(condition: bool, message: str) -> None:
    """Refuse wrong usage.

    Raises
    ------
    UsageError
        If it is not as it must be.
    """
    if not condition:
        raise UsageError(message)


def require_one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """The same of names."""
    require(value in choices, f"{name} is one of {', '.join(choices)}; got {value!r}")


def require_tile(tile: int) -> None:
    """The same of the side of a store's chunks."""
    require(64 <= tile <= 16_384, f"--tile is from 64 to 16384 pixels; got {tile}")


def to_json(settings: Any, always: Collection[str]) -> dict[str, Any]:
    """Settings as JSON values: those that are not at their default, and those named, which outputs of the first release
    tell too. So a new setting changes no document and refuses no earlier output while it is at its default.
    """
    told = {each.name: (getattr(settings, each.name), each.default) for each in fields(settings)}
    return {name: plain(value) for name, (value, default) in told.items() if name in always or value != default}


def from_json(kind: type[T], told: Mapping[str, Any]) -> T:
    """What `to_json` told: a setting that is not among it has its default."""
    known = fields(kind)  # type: ignore[arg-type]  # T is a dataclass
    values = {each.name: told[each.name] for each in known if each.name in told}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def plain(value: Any) -> Any:
    """A setting's value as it is in JSON."""
    return list(value) if isinstance(value, tuple) else value


def joined(values: Sequence[str]) -> str:
    """An option with commas that was given again, as one.

    Of a variable the values are its words: their commas are at their ends.
    """
    return ",".join(value.strip(" ,;") for value in values)
