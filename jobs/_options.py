"""Commands made of settings: their options are fields of frozen dataclasses, their bodies get what was given."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, replace
from functools import cache, partial
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from kseg_core.config import ExecutionSettings
from kseg_core.errors import UsageError
from kseg_core.options import Option

from ._runtime import General, Report, carry_out

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """One option, or argument, of a command.

    Parameters
    ----------
    owner, name
        The dataclass, and which field of it.
    hint, default
        The field's type and default.
    spelled
        How the command line spells it.
    """

    owner: type
    name: str
    hint: Any
    default: Any
    spelled: Option

    @property
    def flag(self) -> str:
        """With dashes, as a command line has it."""
        return f"--{self.spelled.flag or self.name.replace('_', '-')}"

    @property
    def flags(self) -> list[str]:
        """All that a command line may have: with its short one, and with its opposite where it may be unset."""
        unset = self.hint == bool | None
        short = [] if self.spelled.short is None else [f"-{self.spelled.short}"]
        return [f"{self.flag}/--no-{self.flag[2:]}" if unset else self.flag, *short]

    @property
    def variable(self) -> str:
        """Of the environment."""
        return f"KSEG_{self.flag[2:].replace('-', '_').upper()}"


@cache
def _hints(owner: type) -> dict[str, Any]:
    return get_type_hints(owner)


@cache
def _items(owner: type) -> tuple[Item, ...]:
    """The options of a dataclass and of those in it, in the order of its fields."""
    found: list[Item] = []
    for field in dataclasses.fields(owner):
        hint = _hints(owner)[field.name]
        if dataclasses.is_dataclass(hint):
            found += _items(hint)  # type: ignore[arg-type]  # a field's type is a class, not an object
        elif (spelled := field.metadata.get("option")) is not None:
            found.append(Item(owner, field.name, hint, field.default, spelled))
    return tuple(found)


def pick(owner: type, *names: str, **changes: Any) -> list[Item]:
    """These options of a dataclass; ``changes`` (of `Option`, or a ``default``) are for one command."""
    by_name = {item.name: item for item in _items(owner)}
    items = [by_name[name] for name in names]
    if "default" in changes:
        default = changes.pop("default")
        items = [replace(item, default=default) for item in items]
    return [replace(item, spelled=replace(item.spelled, **changes)) for item in items] if changes else items


def omit(owner: type, *names: str) -> list[Item]:
    """All options of a dataclass but these."""
    return [item for item in _items(owner) if item.name not in names]


Listed = type | Sequence[Item]  # a class: all of its options
WORKERS = pick(ExecutionSettings, "scheduler", "workers", "memory")  # of every command that gives out work


class Given:
    """What a command line, variables and a file gave for a command's options."""

    def __init__(self, items: Sequence[Item], raw: dict[str, Any]) -> None:
        self._items = {item.name: item for item in items}
        self._raw = raw

    def __getitem__(self, name: str) -> Any:
        """The value of an option, as its field takes it."""
        item, raw = self._items[name], self._raw[name]
        if raw is None:
            nothing = () if item.spelled.many else None
            return nothing if item.default is MISSING else item.default
        if item.spelled.parse is not None:
            try:
                return item.spelled.parse(raw)
            except UsageError as error:
                if item.spelled.bare is None:
                    raise
                raise UsageError(
                    f"{error}; without a value, {item.flag} stands last or before another option"
                ) from None
        return tuple(raw) if item.spelled.many else raw

    def make(self, owner: type[T], **known: Any) -> T:
        """A dataclass, and those in it, of what was given; where the command has no such option, its default.

        Raises
        ------
        UsageError
            If it makes no sense.
        """
        values, hints = dict(known), get_type_hints(owner)
        for field in dataclasses.fields(owner):  # type: ignore[arg-type]  # T is a dataclass
            if field.name in known:
                continue
            hint = hints[field.name]
            if dataclasses.is_dataclass(hint):
                values[field.name] = self.make(hint)  # type: ignore[arg-type]  # as above
            elif (item := self._items.get(field.name)) is not None and item.owner is owner:
                values[field.name] = self[field.name]
        return owner(**values)

    def changed(self, owner: type) -> Iterator[Item]:
        """The options of a dataclass that are not as they are by default."""
        for item in self._items.values():
            if item.owner is owner and self[item.name] not in (item.default, None):
                yield item


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Parameters
    ----------
    name
        As it is typed.
    body
        Does it, and returns the exit code; its docstring is the help.
    items
        Its options, in the order of the help.
    failed
        What ``--json`` prints of it where it fails.
    settings
        More for the command line's parser.
    """

    name: str
    body: Callable[[Given, Report], int]
    items: tuple[Item, ...]
    failed: Callable[[Exception], dict[str, Any]]
    settings: dict[str, Any]

    def add_to(self, app: typer.Typer) -> None:
        """Have Typer know it: a function with the signature that it would have been written with."""

        def callback(**raw: Any) -> int:
            given = Given(self.items, raw)
            try:
                general = given.make(General)
            except UsageError as error:
                raise typer.BadParameter(str(error)) from None
            return carry_out(partial(self.body, given), general, self.failed)

        parameters = [_parameter(item) for item in self.items]
        callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer looks at
        callback.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        callback.__doc__ = _help_of(self.body.__doc__ or "")
        bare = {item.name: item.spelled.bare for item in self.items if item.spelled.bare is not None}
        kind = type(PlainCommand.__name__, (PlainCommand,), {"bare": bare})
        app.command(self.name, cls=kind, context_settings=self.settings)(callback)


class PlainHelp:
    """Says nothing of the type of switches and arguments, of which Typer does."""

    def get_params(self, context: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(context)  # type: ignore[misc]  # of Typer's classes below
        for each in parameters:
            if getattr(each, "is_flag", False):
                each.metavar = ""
            elif each.param_type_name == "argument":
                each.display_type_rich = lambda **_: None
        return parameters


class PlainCommand(PlainHelp, TyperCommand):
    """One command.

    Attributes
    ----------
    bare
        By name of parameter, the values of options whose flags may stand without one.
    """

    bare: ClassVar[dict[str, str]] = {}

    def make_parser(self, context: Any) -> Any:
        """The parser of a command line, which sees every flag with its value."""
        parser = super().make_parser(context)
        flags = {flag: self.bare[each.name] for each in self.params if each.name in self.bare for flag in each.opts}
        parse = parser.parse_args
        parser.parse_args = lambda args: parse(with_values(args, flags))  # type: ignore[method-assign]  # `config` asks for it too
        return parser


def with_values(arguments: Sequence[str], flags: Mapping[str, str]) -> list[str]:
    """A command line in which flags that may stand without a value have one.

    Examples
    --------
    >>> with_values(["in", "--segments", "--k", "5"], {"--segments": "medium"})
    ['in', '--segments', 'medium', '--k', '5']
    """
    found: list[str] = []
    for at, argument in enumerate(arguments):
        found.append(argument)
        if argument == "--":
            return [*found, *arguments[at + 1 :]]
        if argument in flags and (at + 1 == len(arguments) or arguments[at + 1].startswith("-")):
            found.append(flags[argument])
    return found


class PlainGroup(PlainHelp, TyperGroup):
    """All of them."""


def command(
    name: str, *listed: Listed, failed: Callable[[Exception], dict[str, Any]], **settings: Any
) -> Callable[[Callable[[Given, Report], int]], Command]:
    """Make a function a command with these options; of one that is listed again the first place counts."""
    items: dict[tuple[type, str], Item] = {}
    for each in listed:
        for item in _items(each) if isinstance(each, type) else each:
            items.setdefault((item.owner, item.name), item)
    return lambda body: Command(name, body, tuple(items.values()), failed, settings)


def default_of(item: Item) -> Any:
    """What the command line has where an option is not given; None: nothing."""
    default = None if item.default is MISSING else item.default
    if not item.spelled.many:
        return default
    return [default] if isinstance(default, str) else list(default or ()) or None


def _help_of(docstring: str) -> str:
    """The help of a command, whose paragraphs are lines that the terminal breaks; indented lines stay as they are.

    Typer takes the least indent of all paragraphs but the first away, without a look at the first line of them: so that
    line is empty.
    """
    first, *others = inspect.cleandoc(docstring).split("\n\n")
    lines = [text if text.startswith(" ") else " ".join(text.split("\n")) for text in [first, "", *others]]
    return "\n\n".join(lines)


def _parameter(item: Item) -> inspect.Parameter:
    """As Typer would read it in a function's signature."""
    spelled, default = item.spelled, default_of(item)
    kind = _text_kind(item)
    if spelled.group is None:
        declared = typer.Argument(metavar=spelled.metavar, help=spelled.help, show_default=False)
    else:
        more: dict[str, Any] = {} if spelled.eager is None else {"callback": spelled.eager, "is_eager": True}
        declared = typer.Option(
            *item.flags,
            help=spelled.help,
            envvar=item.variable,
            rich_help_panel=spelled.group,
            show_envvar=False,
            metavar=spelled.metavar,
            min=spelled.least,
            **more,
        )
    return inspect.Parameter(
        item.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if spelled.required else default,
        annotation=Annotated[kind | None if default is None else kind, declared],
    )


def _text_kind(item: Item) -> Any:
    """The type that the command line reads: texts where the field has a parser, or choices of its own to check."""
    if item.spelled.many:
        return list[str]
    if item.spelled.parse is not None:
        return str
    kinds = [kind for kind in get_args(item.hint) or (item.hint,) if kind is not type(None)]
    return str if get_origin(item.hint) is Literal or get_origin(kinds[0]) is Literal else kinds[0]
