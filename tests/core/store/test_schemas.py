"""Results in a store's document are all of what they must be, or refused: they are printed again as they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kseg_core.errors import StoreError
from kseg_core.store.record import ImageRecord
from kseg_core.store.schemas import Store, require_sound

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
RESULTS = {"run": RUN, "edges": EDGES}
OPTIONAL = {("k_requested",), ("centroids",), ("features",), ("changes",), *(("seconds", n) for n in RUN["seconds"])}


def members(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all members of an object, and of the first of each list."""
    if isinstance(value, list):
        return members(value[0], (*path, 0)) if value and isinstance(value[0], dict) else []
    if not isinstance(value, dict):
        return []
    return [found for name, item in value.items() for found in [(*path, name), *members(item, (*path, name))]]


CASES = [(kind, path) for kind, result in RESULTS.items() for path in members(result)]


def altered(kind: str, path: tuple[Any, ...], *new: Any) -> dict[str, Any]:
    result = copy.deepcopy(RESULTS[kind])
    inner: Any = result
    for name in path[:-1]:
        inner = inner[name]
    if new:
        inner[path[-1]] = new[0]
    else:
        del inner[path[-1]]
    return result


def refused(result: Any) -> bool:
    try:
        require_sound("o.zarr", {"result": result}, Store)
    except StoreError as error:
        return "o.zarr: a damaged zarr.json: its result cannot be" in str(error)
    return False


def test_a_whole_result_is_sound_and_so_is_none() -> None:
    assert not refused(RUN)
    assert not refused(EDGES)
    assert not refused(None)


def test_a_result_without_one_of_its_members_is_refused() -> None:
    for kind, path in CASES:
        assert refused(altered(kind, path)) == (path not in OPTIONAL), (kind, path)


def test_a_result_with_a_member_of_another_kind_is_refused() -> None:
    for kind, path in CASES:
        if path[0] in ("k_requested", "seconds"):
            continue
        text = path[-1] in ("status", "output", "features", "source", "reason")
        for wrong in ({"a": 1}, [[[]]], -1, True, "x"):
            fits = (wrong == "x" and text) or (wrong == -1 and path in (("inertia",), ("mse",)))
            assert refused(altered(kind, path, wrong)) != fits, (kind, path, wrong)


@pytest.mark.parametrize(
    ("name", "good", "wrong"),
    [
        ("repairing", {"a": {"source": "a", "size": 1, "modified": -5, "edges": None}}, {"a": {"source": "a"}}),
        ("failures", [{"source": "a", "reason": "b"}], [{"source": "a"}]),
        ("config", {"output": {"edges": [1.0, 2]}, "auto": {"why": "x"}}, {"output": {"edges": [1.0]}}),
        ("config", {"fit": None, "input": {}}, {"auto": None}),
        ("config", {"input": {"page": None, "z": "max"}}, {"input": {"page": "x"}}),
        ("config", {"input": {"max_pixels": 9, "validity": 1}}, {"input": {"max_pixels": None}}),
        ("created", "2026-11-29T11:40:25+00:00", "yesterday"),
        ("result", RUN, {**RUN, "inertia": 10**400}),
        ("keys", [], [1]),
    ],
)
def test_members_of_a_store_are_of_their_types(name: str, good: Any, wrong: Any) -> None:
    require_sound("o.zarr", {name: good}, Store)
    with pytest.raises(StoreError, match=f"its {name} cannot be"):
        require_sound("o.zarr", {name: wrong}, Store)


@pytest.mark.parametrize(
    ("name", "good", "wrong"),
    [
        ("sums", {"linear": [[1, "-20"]], "squares": ["30", "4"]}, {"linear": [[1, 2]]}),
        ("sums", {"linear": [], "squares": "9"}, {"linear": [[1, 2]], "squares": "much"}),
        ("checksum", "ab12", 12),
        ("mask", {"size": 1, "modified": -5, "beside": "ab"}, {"size": 1}),
    ],
)
def test_members_of_an_image_are_of_their_types(name: str, good: Any, wrong: Any) -> None:
    require_sound("a.png", {name: good}, ImageRecord)
    with pytest.raises(StoreError, match=f"its {name} cannot be"):
        require_sound("a.png", {name: wrong}, ImageRecord)
