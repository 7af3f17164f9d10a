"""Merging against the same done naively: every price looked up anew, the cheapest found by looking at all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.segments.graph import Graph, merge_all, merge_cheapest, merge_mutual, merge_within
from tests.strategies import QUICK

Array = NDArray[Any]
Pair = tuple[int, int]


@dataclass
class Region:
    """What a region is made of, by its number, and the altitude of the last merge in it."""

    area: int
    values: Counter[int]
    height: float

    def and_(self, other: Region, price: float) -> Region:
        return Region(self.area + other.area, self.values + other.values, max(price, self.height, other.height))


@dataclass
class Naive:
    """Regions by number and borders (length, total) by both numbers, the lower first."""

    regions: dict[int, Region]
    borders: dict[Pair, tuple[int, int]]

    @classmethod
    def of(cls, graph: Graph) -> Naive:
        values = [
            Counter(dict(zip(graph.values[a:b].tolist(), graph.often[a:b].tolist(), strict=True)))
            for a, b in zip(graph.start, graph.start[1:], strict=False)
        ]
        heights = graph.height.tolist()
        regions = {at: Region(int(graph.area[at]), values[at], heights[at]) for at in range(graph.size)}
        pairs = zip(graph.lower.tolist(), graph.higher.tolist(), strict=True)
        return cls(
            regions, dict(zip(pairs, zip(graph.length.tolist(), graph.total.tolist(), strict=True), strict=True))
        )

    def price(self, pair: Pair) -> float:
        """Mean gradient, in 1/64, times the distances of the distributions, times the discounts."""
        one, two = (self.regions[at] for at in pair)
        length, total = self.borders[pair]

        def distance(values: Iterable[int], sums: float) -> float:
            shared = 0.0
            for value in values:
                p, q = one.values[value], two.values[value]
                if p and q:
                    shared += p * q / (p * two.area + q * one.area)
            return max(0.0, sums - 2 * shared)

        differ = distance(range(64), 1) + 0.3 * distance(range(64, 96), 2)
        smaller = min(one.area, two.area)
        price = total / (64 * length) * differ * math.sqrt(math.sqrt(math.sqrt(smaller) / length))
        return price * math.sqrt(smaller / 10_000) if smaller < 10_000 else price

    def merge(self, pair: Pair, price: float) -> None:
        """The second becomes a part of the first."""
        a, b = pair
        self.regions[a] = self.regions[a].and_(self.regions.pop(b), price)
        del self.borders[pair]
        for (c, d), (length, total) in list(self.borders.items()):
            if b in (c, d):
                other = d if c == b else c
                mine = (min(a, other), max(a, other))
                was = self.borders.get(mine, (0, 0))
                del self.borders[c, d]
                self.borders[mine] = was[0] + length, was[1] + total

    def neighbours(self, at: int) -> set[int]:
        return {c if d == at else d for c, d in self.borders if at in (c, d)}


Merge = tuple[int, int, float]


def in_rounds(graph: Naive, fixed: set[int], rounds: int) -> list[Merge]:
    """All pairs that are each other's cheapest, up to a price of 1, so many times or until there is none."""
    merges: list[Merge] = []
    for _ in range(rounds):
        best: dict[int, tuple[float, Pair]] = {}
        for pair in graph.borders:
            price = graph.price(pair)
            for at in pair:
                if price <= 1 and not fixed & set(pair) and (at not in best or (price, pair) < best[at]):
                    best[at] = (price, pair)
        mutual = sorted(pair for pair in graph.borders if all(at in best and best[at][1] == pair for at in pair))
        for pair in mutual:
            price = best[pair[0]][0]
            graph.merge(pair, price)
            merges.append((*pair, graph.regions[pair[0]].height))
    return merges


def cheapest_first(graph: Naive, fixed: set[int], most: float) -> list[Merge]:
    """The cheapest pair, always, up to a price, by prices that are as old as they may be.

    Those of a region are found anew when it has grown by more than an eighth; those that it takes over, at once; and a
    border's own before it goes.
    """
    known: dict[Pair, tuple[float, int, int]] = {}

    def look_up(pair: Pair) -> None:
        price = graph.price(pair)
        known.pop(pair, None)
        if price <= most and not fixed & set(pair):
            known[pair] = (price, *pair)

    for pair in graph.borders:
        look_up(pair)
    seen = {at: region.area for at, region in graph.regions.items()}
    merges: list[Merge] = []
    while known:
        price, *_ = min(known.values())
        pair = min(known, key=lambda each: known[each])
        now = graph.price(pair)
        if now > price:
            look_up(pair)
            continue
        a, b = pair
        many = {at: len(graph.neighbours(at)) for at in pair}
        stays = a if many[a] >= many[b] else b
        taken_over = graph.neighbours(pair[0] + pair[1] - stays) - {stays}
        others = {at: (known.get((min(at, stays), max(at, stays)))) for at in graph.neighbours(stays)}
        graph.merge(pair, now)
        merges.append((a, b, graph.regions[a].height))
        grown = 8 * graph.regions[a].area > 9 * seen[stays]
        seen[a] = graph.regions[a].area if grown else seen[stays]
        for each in [each for each in known if a in each or b in each]:
            del known[each]
        for other in graph.neighbours(a):
            mine = (min(a, other), max(a, other))
            if grown or other in taken_over:
                look_up(mine)
            elif (old := others[other]) is not None:
                known[mine] = old
    return merges


def random_graph(seed: int, n: int, touch: float, high: int, steep: int) -> Graph:
    """Of any two regions some touch; the fewer the values that counts and gradients have, the more prices are equal."""
    random = np.random.default_rng(seed)
    lower, higher = (each.astype(np.int32) for each in np.nonzero(np.triu(random.random((n, n)) < touch, 1)))
    length = random.integers(1, high, lower.size)
    total = length * random.integers(0, steep, lower.size)
    start, values, often = [0], [], []
    area = random.integers(1, 30 * high, n)
    for at in range(n):
        for first, size in ((0, 64), (64, 16), (80, 16)):
            found = np.sort(random.choice(size, min(int(random.integers(1, 4)), int(area[at])), replace=False))
            cuts = np.sort(random.choice(np.arange(1, area[at]), found.size - 1, replace=False))
            values += (first + found).tolist()
            often += np.diff(cuts, prepend=0, append=area[at]).tolist()
        start.append(len(values))
    distributions = np.array(start), np.array(values, np.uint8), np.array(often)
    return Graph(lower, higher, length, total, area, *distributions, np.zeros(n))


def graphs(most: int = 14) -> st.SearchStrategy[Graph]:
    return st.builds(
        random_graph,
        st.integers(0, 100_000),
        st.integers(1, most),
        st.sampled_from([0.2, 0.5, 1.0]),
        st.sampled_from([2, 5, 400]),
        st.sampled_from([3, 300, 3000]),
    )


#: Larger ones, in which regions grow for long: with few neighbours each, and with many.
LARGE = [random_graph(seed, 70, touch, high, 900) for seed in range(2) for touch in (0.05, 0.5) for high in (5, 60)]


def listed(*made: Any) -> list[Merge]:
    return list(zip(*(each.tolist() for each in made), strict=True))


def same(found: list[Merge], expected: list[Merge]) -> None:
    assert [merge[:2] for merge in found] == [merge[:2] for merge in expected]
    assert [merge[2] for merge in found] == pytest.approx([merge[2] for merge in expected], rel=1e-12)


def is_left(graph: Graph, number: Array, naive: Naive) -> None:
    """What is left of a graph is what merges leave, numbered in order."""
    names = sorted(naive.regions)
    again = Naive.of(graph)
    assert graph.area.tolist() == [naive.regions[at].area for at in names]
    assert [again.regions[i] for i in range(len(names))] == [
        Region(each.area, each.values, pytest.approx(each.height, rel=1e-12))
        for each in (naive.regions[at] for at in names)
    ]
    assert {(names[a], names[b]): each for (a, b), each in again.borders.items()} == naive.borders
    assert [int(number[at]) for at in names] == list(range(len(names)))


@QUICK
@given(graphs(), st.integers(0, 999), st.sampled_from([0.0, 0.3]), st.sampled_from([0, 2, 12]))
def test_rounds_merge_what_is_each_others_cheapest(graph: Graph, seed: int, held: float, rounds: int) -> None:
    fixed = np.random.default_rng(seed).random(graph.size) < held
    naive = Naive.of(graph)
    expected = in_rounds(naive, set(np.flatnonzero(fixed).tolist()), rounds)
    left, number, merges = merge_mutual(graph, fixed, rounds)
    same(listed(*merges), expected)
    is_left(left, number, naive)
    assert all(number[a] == number[b] for a, b, _ in expected)


@QUICK
@given(graphs(), st.integers(0, 999), st.sampled_from([0.0, 0.3]), st.sampled_from([0.5, np.inf]))
def test_then_the_cheapest_pair_is_merged(graph: Graph, seed: int, held: float, most: float) -> None:
    fixed = np.random.default_rng(seed).random(graph.size) < held
    expected = cheapest_first(Naive.of(graph), set(np.flatnonzero(fixed).tolist()), most)
    same(listed(*merge_cheapest(graph, fixed, most)), expected)


@pytest.mark.parametrize("graph", [*LARGE, random_graph(2, 600, 0.01, 60, 900)], ids=range(len(LARGE) + 1))
def test_of_many_regions_too(graph: Graph) -> None:
    same(listed(*merge_cheapest(graph)), cheapest_first(Naive.of(graph), set(), math.inf))


@pytest.mark.parametrize("graph", LARGE, ids=range(len(LARGE)))
def test_blocks_merge_what_costs_little_in_rounds_and_then_the_cheapest(graph: Graph) -> None:
    fixed = np.arange(graph.size) % 9 == 0
    naive, held = Naive.of(graph), set(np.flatnonzero(fixed).tolist())
    expected = in_rounds(naive, held, 12)
    assert expected
    expected += cheapest_first(naive, held, 1)
    left, number, merges = merge_within(graph, fixed)
    same(listed(*merges), expected)
    is_left(left, number, naive)


@QUICK
@given(graphs(40))
def test_all_that_touch_becomes_one_and_altitudes_never_fall_along_the_way(graph: Graph) -> None:
    merges = merge_all(graph)
    up: dict[int, int] = {}
    height = dict.fromkeys(range(graph.size), 0.0)
    for kept, gone, altitude in listed(*merges):
        assert kept < gone
        assert kept not in up
        assert gone not in up
        assert altitude >= max(height[kept], height[gone])
        up[gone], height[kept] = kept, altitude
    reached = {at: at for at in range(graph.size)}
    for at in range(graph.size):
        while reached[at] in up:
            reached[at] = up[reached[at]]
    for a, b in zip(graph.lower.tolist(), graph.higher.tolist(), strict=True):
        assert reached[a] == reached[b]
