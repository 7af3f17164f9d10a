"""What a store's documents are, as types: they may have been damaged or edited, so what is read is held against these
once, and everything above can rely on it.

The types are the schema: a rule for each is made of its annotations, be it a `TypedDict` here, a dataclass of settings,
or the record of an image, whose fields are the members; where a field's ``metadata`` has ``json``, that is its type in
a document, and None: it is in none. Members of these, and of a ``total=False`` type, may be missing; that is said where
they are needed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache, reduce
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from ..config import InputSettings, OutputSettings
from ..errors import StoreError, UsageError

Rule = Callable[[Any], bool]


def _clusters_agree(result: dict[str, Any]) -> bool:
    """Whether there are as many colours and counts as clusters."""
    k, colors, counts = result["k"], result["colors"], result["counts"]
    return k is None or (colors is not None and counts is not None and len(colors) == len(counts) == k)


def _is_time(text: str) -> bool:
    """Whether a text is a time as ISO 8601 has it."""
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def _accepted(kind: type[InputSettings | OutputSettings]) -> Rule:
    """Whether settings may be so: they know themselves. Whether a mask is still there is for whoever reads it."""

    def rule(told: dict[str, Any]) -> bool:
        try:
            return bool(kind.from_json({**told, "mask": None}))
        except UsageError:
            return False

    return rule


def _is_scale(smooth: int | str) -> bool:
    """Whether pixels may be smoothed so."""
    try:
        return bool(InputSettings(smooth=smooth).smooth)
    except UsageError:
        return False


Count = Annotated[int, lambda value: value >= 0]
Whole = int | Annotated[str, lambda digits: digits.removeprefix("-").isdecimal()]  # a text where it may pass 2**53
Settings = dict[str, Any]
Side = Annotated[int, lambda value: value > 0]
Color = tuple[Count, Count, Count]


class _State(TypedDict):
    size: Count
    modified: int  # in nanoseconds since 1970, of archives often before


class Mask(_State, total=False):
    """The mask that an image was read with."""

    beside: str


class Sums(TypedDict):
    """Of an image's pixels by cluster, and of their squares: of bands one each."""

    linear: list[list[Whole]]
    squares: Whole | list[Whole]


class Added(TypedDict, total=False):
    """An image's array of a layer that was added; which of these counts it has is for the layer to say."""

    status: str
    edge_pixels: Count
    segment_pixels: Count


class Failure(TypedDict):
    """An input that could not be processed."""

    source: str
    reason: str


class Note(TypedDict):
    """What there was to say of an input, or of all."""

    source: str | None
    note: str


class Labelled(TypedDict):
    """How many images a run had, and what became of them."""

    total: Count
    labelled: Count
    reused: Count
    failed: Count


class Edged(TypedDict):
    """The same of ``edges``."""

    total: Count
    done: Count
    reused: Count
    failed: Count


class Pixels(TypedDict):
    """Of all images."""

    total: Count
    valid: Count


class AllPixels(TypedDict):
    """The same of ``edges``, to which all are valid."""

    total: Count


class Changes(TypedDict):
    """What a run changed of a store that was there."""

    added: Count
    changed: Count
    repaired: Count
    removed: Count
    outdated: Count


class _RunResult(TypedDict):
    status: str
    output: str
    k: Count | None
    images: Labelled
    pixels: Pixels
    inertia: float | None
    mse: float | None
    colors: list[Color] | None
    counts: list[Count] | None
    failures: list[Failure]
    seconds: Settings


class RunResult(_RunResult, total=False):
    """A run's result as ``--json`` printed it: all of it, as it is printed again."""

    features: str | None
    features_why: str | None
    centroids: list[list[float]] | None
    notes: list[Note]
    changes: Changes | None


class _AddedResult(TypedDict):
    status: str
    output: str
    images: Edged
    pixels: AllPixels
    failures: list[Failure]
    seconds: Settings


class EdgesResult(_AddedResult):
    """The result of ``edges``."""

    edge_pixels: Count


class SegmentsResult(_AddedResult):
    """The result of ``segments``."""

    segment_pixels: Count


def _of_a_run(result: dict[str, Any]) -> bool:
    return not {"edge_pixels", "segment_pixels"} & result.keys()


Result = EdgesResult | SegmentsResult | Annotated[RunResult, _of_a_run, _clusters_agree]


class Auto(TypedDict, total=False):
    """How the number of clusters was found."""

    why: str
    left_out: Count


class Config(TypedDict, total=False):
    """A run's settings."""

    fit: Settings | None
    output: Annotated[OutputSettings, _accepted(OutputSettings)] | None
    input: Annotated[InputSettings, _accepted(InputSettings)] | None
    model: str | None
    match: str | None
    auto: Auto


class _RepairedAlways(_State):
    source: str
    edges: Settings | None


class _Repaired(_RepairedAlways, total=False):
    segments: Settings | None


def _stays_inside(folder: str) -> bool:
    """Whether a folder of images is in the store."""
    return all(name.strip(".") for name in folder.split("/"))


class Names(TypedDict):
    """Folders of images, and keys with a hash."""

    folders: list[Annotated[str, _stays_inside]]
    hashed: list[str]


class _BandScale(TypedDict):
    low: list[float]
    scale: list[float]


class SegmentPalette(TypedDict):
    """The palette that segments of all images share: centres, and of bands how large a unit is."""

    centres: list[list[int]]
    bands: _BandScale | None


class Store(TypedDict, total=False):
    """The root of a store."""

    kind: str
    status: str
    created: Annotated[str, _is_time]
    config: Config | None
    inputs_digest: str
    folder: str
    result: Result | None
    failures: list[Failure]
    keys: list[str]
    names: Names
    edges: Settings | None
    segments: Settings | None
    classes: Settings | None
    segment_palette: SegmentPalette
    repairing: dict[str, _Repaired]


class History(TypedDict, total=False):
    """An attempt's inertia before each step."""

    batch: list[float]
    steps: list[float]


class NamedClass(TypedDict):
    """Clusters with one name."""

    name: str
    clusters: list[Count]
    color: str | None


class Model(TypedDict, total=False):
    """The root of a model."""

    classes: list[NamedClass]

    features: str
    k: Count
    k_requested: Count | Literal["auto"]
    k_why: str | None
    features_why: str | None
    smooth: Annotated[int | str, _is_scale]
    stack: list[str]
    status: str
    inputs_digest: str
    folder: str
    config: Config | None
    names: Names
    result: Result | None
    history: list[History]
    seed: Count | None
    attempts: Count | None
    notes: list[str]
    band_names: list[str]


def require_sound(path: str, attributes: dict[str, Any], schema: type) -> None:
    """Refuse attributes of which one is not of its type; those that are missing are named where they are needed.

    Raises
    ------
    StoreError
        Which one.
    """
    for name, rule in _members(schema).items():
        if name in attributes and not rule(attributes[name]):
            raise StoreError(f"{path}: a damaged zarr.json: its {name} cannot be {_shortly(attributes[name])}")


@cache
def _members(schema: type) -> dict[str, Rule]:
    if is_typeddict(schema):
        return {name: _rule(kind) for name, kind in get_type_hints(schema, include_extras=True).items()}
    kinds = {each.name: each.metadata.get("json", each.type) for each in fields(schema)}
    kinds = {name: kind for name, kind in kinds.items() if kind is not None}
    known = get_type_hints(SimpleNamespace(__annotations__=kinds), vars(sys.modules[schema.__module__]), None, True)
    rules: dict[str, Rule] = {}
    for name, kind in known.items():
        is_part = isinstance(kind, type) and is_dataclass(kind)  # its members stand among the others
        rules |= _members(kind) if is_part else {name: _rule(kind)}
    return rules


def _rule(kind: Any) -> Rule:
    """Whether a JSON value is of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return reduce(_both, arguments[1:], _rule(arguments[0]))
    if origin is UnionType or str(origin) == "typing.Union":
        return reduce(_either, map(_rule, arguments))
    if origin is Literal:
        return lambda value: value in arguments
    if origin is list:
        of_item = _rule(arguments[0])
        return lambda value: isinstance(value, list) and all(map(of_item, value))
    if origin is tuple and arguments[-1] is ...:
        return _rule(list[arguments[0]])  # type: ignore[valid-type]  # a type at run time
    if origin is tuple:
        of_items = [_rule(each) for each in arguments]
        return lambda value: (
            isinstance(value, list)
            and len(value) == len(of_items)
            and all(rule(item) for rule, item in zip(of_items, value, strict=True))
        )
    if origin is dict:
        of_value = _rule(arguments[1])
        return lambda value: isinstance(value, dict) and all(map(of_value, value.values()))
    if is_typeddict(kind) or is_dataclass(kind):
        members, required = _members(kind), getattr(kind, "__required_keys__", frozenset[str]())
        return lambda value: (
            isinstance(value, dict)
            and value.keys() >= required
            and all(rule(value[name]) for name, rule in members.items() if name in value)
        )
    if kind is Any:
        return lambda _: True
    if kind is bool or kind is NoneType:
        return lambda value: isinstance(value, kind)
    if kind is float:  # finite, however many digits a whole number has
        return lambda value: type(value) in (int, float) and abs(value) <= sys.float_info.max
    return lambda value: isinstance(value, kind) and type(value) is not bool


def _both(first: Rule, then: Rule) -> Rule:
    return lambda value: first(value) and then(value)


def _either(one: Rule, other: Rule) -> Rule:
    return lambda value: one(value) or other(value)


def _shortly(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."
