"""Bands derived from others by an expression: ``ndvi=(nir-red)/(nir+red)``.

Expressions are read by Python's parser and never run: what is not an operator, a number, a band or one of `FUNCTIONS`
is refused. Standard library only, as all settings are; `kseg_core.images.selection` works them out.

A band is called ``nir`` or ``'near infrared'`` (its name in the file), ``b4`` (the band of that name, else the fourth)
or ``band(4)`` (the fourth, whatever it is called).
"""

from __future__ import annotations

import ast
import keyword
import re
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias, cast

from .errors import UsageError

#: What takes how many arguments, at least and at most.
FUNCTIONS = {"abs": (1, 1), "sqrt": (1, 1), "log": (1, 1), "exp": (1, 1), "min": (2, 16), "max": (2, 16)}
OPERATORS: tuple[type[ast.AST], ...] = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow)
MOST_POWER = 16  # whole powers are products, which are the same on every machine; others are not
_NUMBERED = "band"
_MOST_CHARACTERS = 1000
_MOST_PARTS = 200
_DEEPEST = 40
_MOST_BAND = 99_999
_NAME = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"[bB]([1-9]\d{0,4})")
THERE_IS = f"there are + - * / **, numbers, bands, {', '.join(FUNCTIONS)}, and parentheses"


class Loose(NamedTuple):
    """A band as people write it: ``b4`` is the band called so where a file has one, else the fourth."""

    name: str
    number: int


Reference: TypeAlias = int | str | Loose  # a band of a file: by its number from 1, by its name, or by either


class Derived(NamedTuple):
    """A band that is worked out from others.

    Attributes
    ----------
    name
        What it is called.
    text
        Its expression, which `parsed` reads.
    """

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}={self.text}"


Band: TypeAlias = Reference | Derived
Bands: TypeAlias = tuple[Band, ...]


def reference(band: int | str) -> Reference:
    """Return what a number or a text in a list of bands stands for."""
    number = _NUMBER.fullmatch(band) if isinstance(band, str) else None
    return band if number is None else Loose(str(band), int(number[1]))


def called(band: Band) -> int | str:
    """What a band is called in words."""
    return band.name if isinstance(band, Derived | Loose) else band


def derived_of(text: str) -> Derived:
    """Return the derived band that a text gives.

    Raises
    ------
    UsageError
        If it gives none, saying what is wrong with it.
    """
    name, equals, expression = text.partition("=")
    name = name.strip()
    if not equals or not _NAME.fullmatch(name):
        raise UsageError(f"--derive takes a name and an expression, as in 'ndvi=(nir-red)/(nir+red)'; got {_cut(text)}")
    if _NUMBER.fullmatch(name) or name in FUNCTIONS or name == _NUMBERED or keyword.iskeyword(name):
        raise UsageError(f"--derive: {name!r} already means something in expressions; call the band otherwise")
    try:
        tree = parsed(expression)
    except UsageError as error:
        raise UsageError(f"--derive {name}: {error}") from None
    return Derived(name, ast.unparse(tree))


def chosen_bands(bands: Sequence[int | str], derived: Sequence[str]) -> Bands:
    """Return the bands of settings, or of a model: a list that may name derived ones, which else follow it."""
    left = {each.name.casefold(): each for each in map(derived_of, derived)}
    chosen: list[Band] = []
    for band in bands:
        own = left.pop(band.casefold(), None) if isinstance(band, str) else None
        chosen.append(reference(band) if own is None else own)
    return (*chosen, *left.values())


def of_model(bands: Sequence[int | str], derived: Sequence[str]) -> Bands:
    """The same of a model, in which a text is a name and nothing else."""
    chosen = chosen_bands(bands, derived)
    return tuple(band.name if isinstance(band, Loose) else band for band in chosen)


def several_of(values: list[str]) -> tuple[str, ...]:
    """Return the texts of derived bands: an option that was given again, or the words of a variable."""
    if all("=" in value for value in values):
        return tuple(values)
    parts = re.split(r"[\s;]+(?=[^\W\d]\w*\s*=)", " ".join(values))
    return tuple(part.strip(" ;") for part in parts if part.strip(" ;"))


@lru_cache(maxsize=256)
def parsed(text: str) -> ast.expr:
    """Return an expression as a tree of the nodes that are allowed: do not change it.

    Raises
    ------
    UsageError
        If anything else is in it, or it is too large, or names no band.
    """
    text = text.strip()
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"an expression of {len(text):,} characters; at most {_MOST_CHARACTERS:,} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of what is refused below
            tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(f"{_cut(text)} is no expression; {THERE_IS}") from None
    if sum(1 for _ in ast.walk(tree)) > _MOST_PARTS * 2:  # an operator is a node too
        raise UsageError(f"an expression of more than {_MOST_PARTS} parts")
    _check(tree, 0)
    if not references(tree):
        raise UsageError(f"{_cut(text)} has no band in it")
    return tree


def references(tree: ast.expr) -> tuple[Reference, ...]:
    """Return the bands that an expression has, each once."""
    found: dict[Reference, None] = {}
    replaced(tree, lambda band: found.setdefault(band))
    return tuple(found)


def band_of(node: ast.AST) -> Reference | None:
    """Return the band that a node is; None where it is none."""
    if isinstance(node, ast.Name):
        return reference(node.id)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == _NUMBERED:
        (argument,) = node.args
        assert isinstance(argument, ast.Constant)
        assert isinstance(argument.value, int)
        return argument.value
    return None


def replaced(tree: ast.expr, by: Callable[[Reference], Reference | None]) -> ast.expr:
    """Return a copy of an expression with other bands in the place of its own; None leaves one as it is."""
    return cast(ast.expr, _Replacing(by).visit(ast.parse(ast.unparse(tree), mode="eval").body))


def settled(band: Derived, by: Callable[[Reference], Reference]) -> Derived:
    """Return the same derived band of bands that are named in one way only."""
    return Derived(band.name, ast.unparse(replaced(parsed(band.text), by)))


class _Replacing(ast.NodeTransformer):
    def __init__(self, by: Callable[[Reference], Reference | None]) -> None:
        self._by = by

    def visit(self, node: ast.AST) -> ast.AST:
        band = band_of(node)
        if band is None:
            if isinstance(node, ast.Call):
                node.args = [self.visit(each) for each in node.args]  # type: ignore[misc]  # not the function's name
                return node
            return self.generic_visit(node)
        other = self._by(band)
        if isinstance(other, str):
            return ast.Constant(other)
        if isinstance(other, int):
            return ast.Call(ast.Name(_NUMBERED, ast.Load()), [ast.Constant(other)], [])
        return node


def _check(node: ast.expr, depth: int) -> None:
    """Refuse a node that is not allowed, or what is below it."""
    if depth > _DEEPEST:
        raise UsageError(f"an expression with parts more than {_DEEPEST} deep in each other")
    if isinstance(node, ast.BinOp) and isinstance(node.op, OPERATORS):
        if isinstance(node.op, ast.Pow):
            _check_power(node.right)
        else:
            _check(node.right, depth + 1)
        _check(node.left, depth + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        _check(node.operand, depth + 1)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        _check_call(node.func.id, node.args, depth)
    elif isinstance(node, ast.Constant):
        _check_constant(node.value)
    elif isinstance(node, ast.Name):
        if node.id in FUNCTIONS or node.id == _NUMBERED:
            raise UsageError(f"{node.id} is a function; a band of that name is {node.id!r} in quotes")
    else:
        raise UsageError(f"{_cut(_text(node))} is not read in expressions; {THERE_IS}")


def _check_call(name: str, arguments: list[ast.expr], depth: int) -> None:
    if name == _NUMBERED:
        number = arguments[0].value if len(arguments) == 1 and isinstance(arguments[0], ast.Constant) else None
        if type(number) is not int or not 1 <= number <= _MOST_BAND:
            raise UsageError(f"{_NUMBERED}() takes the number of a band, from 1")
        return
    if name not in FUNCTIONS:
        raise UsageError(f"there is no function {_cut(name)}; {THERE_IS}")
    least, most = FUNCTIONS[name]
    if not least <= len(arguments) <= most:
        takes = f"{least} argument" if least == most else f"{least} to {most} arguments"
        raise UsageError(f"{name}() takes {takes}; got {len(arguments)}")
    for argument in arguments:
        _check(argument, depth + 1)


def _check_constant(value: object) -> None:
    if isinstance(value, str):
        if not value.strip() or not value.isprintable():
            raise UsageError(f"{_cut(value)} is no name of a band")
        return
    if type(value) not in (int, float):
        raise UsageError(f"{_cut(repr(value))} is no number; {THERE_IS}")
    try:
        is_finite = abs(float(value)) != float("inf")  # type: ignore[arg-type]  # one of both
    except OverflowError:
        is_finite = False
    if not is_finite:
        raise UsageError("a number beyond those that float64 holds")


def _check_power(node: ast.expr) -> None:
    if power_of(node) is None:
        raise UsageError(
            f"** takes a whole number from -{MOST_POWER} to {MOST_POWER}; for others there are sqrt(x) and "
            "exp(y * log(x))"
        )


def power_of(node: ast.expr) -> int | None:
    """Return the whole number that an exponent is; None where it is none that is taken."""
    sign = 1
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1, node.operand
    value = node.value if isinstance(node, ast.Constant) else None
    return sign * value if type(value) is int and value <= MOST_POWER else None


def _text(node: ast.expr) -> str:
    try:
        return ast.unparse(node)
    except (ValueError, RecursionError):
        return "that"


def _cut(text: str) -> str:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return repr(shown)
