"""How tasks are run: merged up a tree, whatever their number, and what takes longest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from dask.delayed import Delayed, delayed
from hypothesis import given, settings
from hypothesis import strategies as st

from kseg_core.reading.sources import Piece
from workflows.computing import context
from workflows.computing.context import merge_all, tree_reduce
from workflows.fitting.gather import Gather
from workflows.planning.plan import pixels_of


@dataclass(frozen=True)
class Trail:
    """Remembers in which order it was merged: a law about order cannot hide here."""

    parts: tuple[int, ...]

    def merge(self, other: Trail) -> Trail:
        return Trail(self.parts + other.parts)


def lazy_trails(n: int) -> list[Delayed]:
    return [delayed(Trail((i,)), name=f"trail-{i}", traverse=False) for i in range(n)]


def reduced(n: int, fan_in: int) -> Delayed:
    return tree_reduce(lazy_trails(n), "test", fan_in=fan_in)


@settings(max_examples=20)
@given(st.integers(1, 90), st.integers(2, 12))
def test_any_number_of_parts_and_any_fan_in_is_the_plain_reduction(n: int, fan_in: int) -> None:
    (result,) = dask.compute(reduced(n, fan_in), scheduler="sync")
    assert result == reduce(lambda a, b: a.merge(b), [Trail((i,)) for i in range(n)])


@settings(max_examples=15)
@given(st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=40), st.integers(2, 9))
def test_another_way_of_merging_may_be_given(values: list[int], fan_in: int) -> None:
    lazy = tree_reduce([delayed(value) for value in values], "sum", add, fan_in)
    assert dask.compute(lazy, scheduler="sync") == (sum(values),)


def add(parts: Sequence[int]) -> int:
    return sum(parts)


@settings(max_examples=15)
@given(st.integers(2, 200), st.integers(2, 12))
def test_no_node_merges_more_than_the_fan_in_and_the_tree_is_as_deep_as_it_must_be(n: int, fan_in: int) -> None:
    graph = dict(reduced(n, fan_in).dask)
    depths: dict[object, int] = {}

    def depth(key: object) -> int:
        if key not in depths:
            below = graph[key].dependencies  # type: ignore[index]
            assert len(below) <= fan_in
            depths[key] = 1 + max((depth(each) for each in below), default=-1)
        return depths[key]

    levels = 0
    while fan_in**levels < n:
        levels += 1
    assert max(depth(key) for key in graph) == levels


def test_built_twice_the_keys_are_the_same_and_other_parts_have_others() -> None:
    first, again = (reduced(50, 8) for _ in range(2))
    assert first.key == again.key
    assert set(first.dask) == set(again.dask)
    assert reduced(9, 8).key != reduced(10, 8).key


def test_a_single_part_is_its_own_result_none_is_an_error_and_merging_keeps_the_order() -> None:
    (part,) = lazy_trails(1)
    assert tree_reduce([part], "test") is part
    with pytest.raises(ValueError, match="at least one partial result"):
        tree_reduce([], "test")
    assert merge_all([Trail((2,)), Trail((0,)), Trail((1,))]) == Trail((2, 0, 1))


@pytest.mark.few(1)
@pytest.mark.parametrize(("place", "name", "at"), [(Gather, "__call__", 1), (context, "work_on", 0)])
def test_what_takes_longest_begins_first_and_what_is_short_comes_last(
    place: Any, name: str, at: int, tmp_path: Path, png: Any, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i, side in enumerate([60, 300, 90, 240, 120, 210, 150, 180, 270, 200, 30]):
        png(tmp_path / "in" / f"{i}.png", np.random.default_rng(i).integers(0, 255, (side, 300, 3), np.uint8))
    sizes: list[int] = []
    task = getattr(place, name)

    def noted(*given: Any) -> Any:
        if isinstance(given[at][0], Piece):  # and not a file whose header is looked at
            sizes.append(pixels_of(given[at]))
        return task(*given)

    monkeypatch.setattr(place, name, noted)
    job(tmp_path / "in", tmp_path / "out.zarr", k=2)
    assert len(sizes) > 3
    assert (sizes[0], sizes[-1]) == (max(sizes), min(sizes))
