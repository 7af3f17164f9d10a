"""What a store's documents say is all of what it must be, or refused: the key, and what came, are named."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import pytest

from kseg_core.clustering.sums import ClusterSums
from kseg_core.config import InputSettings, OutputSettings
from kseg_core.errors import StoreError
from kseg_core.store.record import ImageRecord
from kseg_core.store.schemas import Model, Store, require_sound

RUN: dict[str, Any] = {
    "status": "ok",
    "output": "o.zarr",
    "k": 1,
    "k_requested": 1,
    "features": "rgb",
    "images": {"total": 3, "labelled": 2, "reused": 0, "failed": 1},
    "pixels": {"total": 40, "valid": 30},
    "inertia": 1.5,
    "mse": 0.05,
    "centroids": [[1.0, 2.0, 3.0]],
    "colors": [[1, 2, 3]],
    "counts": [30],
    "failures": [{"source": "a", "reason": "b"}],
    "changes": {"added": 1, "changed": 1, "repaired": 0, "removed": 0, "outdated": 0},
    "seconds": {"total": 1.0, "fit": None, "label": 1.0},
}
EDGES: dict[str, Any] = {
    "status": "ok",
    "output": "o.zarr",
    "images": {"total": 3, "done": 2, "reused": 0, "failed": 1},
    "pixels": {"total": 40},
    "edge_pixels": 7,
    "failures": [{"source": "a", "reason": "b"}],
    "seconds": {"total": 1.0},
}
OPTIONAL = {("k_requested",), ("centroids",), ("features",), ("changes",), *(("seconds", n) for n in RUN["seconds"])}
TEXTS = ("status", "output", "features", "source", "reason")


def members(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all members of an object, and of the first of each list."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield (*path, name)
            yield from members(item, (*path, name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from members(value[0], (*path, 0))


def refused(schema: type, name: str, value: Any) -> bool:
    try:
        require_sound("o.zarr", {name: value}, schema)
    except StoreError as error:
        shown = json.dumps(value)
        shown = shown if len(shown) <= 40 else f"{shown[:37]}..."
        return str(error) == f"o.zarr: a damaged zarr.json: its {name} cannot be {shown}"
    return False


@pytest.mark.parametrize("result", [RUN, EDGES], ids=["run", "edges"])
def test_of_a_result_no_member_may_be_missing_or_of_another_kind(result: dict[str, Any]) -> None:
    assert not refused(Store, "result", result)
    assert not refused(Store, "result", None)
    for path in members(result):
        altered = copy.deepcopy(result)
        inner: Any = altered
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
        assert refused(Store, "result", altered) == (path not in OPTIONAL), path
        for wrong in ({"a": 1}, [[[]]], -1, True, "x") if path[0] not in ("k_requested", "seconds") else ():
            inner[path[-1]] = wrong
            fits = (wrong == "x" and path[-1] in TEXTS) or (wrong == -1 and path in (("inertia",), ("mse",)))
            assert refused(Store, "result", altered) != fits, (path, wrong)


@pytest.mark.parametrize(
    ("schema", "name", "good", "wrong"),
    [
        (Store, "repairing", {"a": {"source": "a", "size": 1, "modified": -5, "edges": None}}, {"a": {"source": "a"}}),
        (Store, "failures", [{"source": "a", "reason": "b"}], [{"source": "a"}]),
        (Store, "config", {"output": {"edges": [1.0, 2]}, "auto": {"why": "x"}}, {"output": {"edges": [1.0]}}),
        (Store, "config", {"fit": None, "input": {}}, {"auto": None}),
        (Store, "config", {"input": {"page": None, "z": "max"}}, {"input": {"page": "x"}}),
        (Store, "config", {"input": {"max_pixels": 9, "validity": 1}}, {"input": {"max_pixels": None}}),
        (Store, "config", {"input": InputSettings().to_json()}, {"input": {"t": -1}}),
        (Store, "config", {"output": OutputSettings(edges=(1, 2)).to_json()}, {"output": {"tile": -64}}),
        (Store, "created", "2026-11-29T11:40:25+00:00", "yesterday"),
        (Store, "result", RUN, {**RUN, "inertia": 10**400}),
        (Store, "keys", [], [1]),
        (Model, "k_requested", "auto", "all"),
        (Model, "history", [{"batch": [1, 2.5], "steps": []}], [{"steps": ["x"]}]),
        (ImageRecord, "sums", {"linear": [[1, "-20"]], "squares": ["30", "4"]}, {"linear": [[1, 2]]}),
        (ImageRecord, "sums", {"linear": [], "squares": "9"}, {"linear": [[1, 2]], "squares": "much"}),
        (ImageRecord, "mask", {"size": 1, "modified": -5, "beside": "ab"}, {"size": 1}),
        (ImageRecord, "shape", [1, 2], [1, 0]),
        (ImageRecord, "shape", [1, 2], [1, 2, 3]),
        (ImageRecord, "mse", None, float("inf")),
    ],
)
def test_members_are_of_their_types(schema: type, name: str, good: Any, wrong: Any) -> None:
    assert not refused(schema, name, good)
    assert refused(schema, name, wrong)


def test_each_attribute_of_an_image_is_written_read_and_checked_by_its_type() -> None:
    sums = ClusterSums(np.array([7, 3]), np.array([[1, 2, 3], [4, 5, 6]]), 2**70)
    mask = {"size": 1, "modified": -2}
    record = ImageRecord(
        "leaf", "a/leaf.png", 9, -5, (3, 4), (7, 3), 2, 5.0, sums, "ab12", mask, ("page 1",), beside="c0"
    )
    told = record.attributes()
    assert json.loads(json.dumps(told)) == told
    assert list(told) == [
        *("source", "size", "modified", "beside", "shape", "counts", "invalid", "inertia", "mse"),
        *("sums", "checksum", "mask", "notes", "status"),
    ]
    assert (told["mse"], told["status"], record.origin()) == (0.5, "complete", dict(list(told.items())[:4]))
    again = ImageRecord.from_attributes("leaf", told)
    assert again.attributes() == told
    assert again.sums is not None
    assert again.sums.same_as(sums)
    plain = ImageRecord("leaf", "a", 9, 5, (3, 4), (), 12, 0.0)
    assert not plain.attributes().keys() & {"beside", "sums", "checksum", "mask", "notes"}  # they are at their defaults
    assert ImageRecord.from_attributes("leaf", plain.attributes()) == plain
    for name in told:
        for wrong in (True, {"a": 1}, [[[]]], [-1], "x", 1.5, None):
            fits = type(wrong) is type(told[name]) and not isinstance(wrong, list | dict)
            fits = fits or (wrong is None and name == "mse")
            assert refused(ImageRecord, name, wrong) != fits, (name, wrong)
        if name in ("source", "size", "modified", "shape", "counts", "invalid", "inertia"):
            with pytest.raises((TypeError, KeyError)):
                ImageRecord.from_attributes("leaf", {key: value for key, value in told.items() if key != name})
    with pytest.raises(ValueError, match="sums of"):
        ImageRecord.from_attributes("leaf", {**told, "counts": [7, 3, 0]})


def test_an_image_of_an_earlier_store_lacks_what_came_later_and_is_read_with_its_default() -> None:
    """Were a field that came later without one, no image of an earlier store would be whole: all were labelled anew."""
    first = {"source": "a", "size": 9, "modified": 5, "shape": [3, 4], "counts": [7], "invalid": 5, "inertia": 1.5}
    assert {each.name for each in fields(ImageRecord) if each.init and each.default is MISSING} == {"key", *first}
    record = ImageRecord.from_attributes("leaf", first)
    assert record.attributes() == {**first, "mse": 1.5 / 7, "status": "complete"}
