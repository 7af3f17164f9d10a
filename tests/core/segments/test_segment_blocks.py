"""Cells and their graph: of blocks joined as of the whole, and what the graph counts is what is in the image."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from kseg_core.halos import grown
from kseg_core.kernels import cells
from kseg_core.segments.blocks import join_blocks, segment_block, through, windows_of
from kseg_core.segments.graph import Graph
from kseg_core.segments.maps import INVALID, Maps
from tests.strategies import QUICK

Array = NDArray[Any]


def lowest_places(gradient: Array) -> Array:
    """Where each pixel flows to in the end, row by row, one pixel at a time; -1 where invalid."""
    width = gradient.shape[1]
    place = {(y, x): (int(gradient[y, x]), y, x) for y, x in np.argwhere(gradient != INVALID).tolist()}
    ends = np.full(gradient.shape, -1)
    for y, x in place:
        here, before = (y, x), None
        while here != before:
            before = here
            r, c = here
            beside = [here, (r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
            here = min(place[each] for each in beside if each in place)[1:]
        ends[y, x] = here[0] * width + here[1]
    return ends


@st.composite
def gradients(draw: st.DrawFn, most: int = 24) -> Array:
    """int32 (y, x): few values, so that many are equal, and some invalid."""
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, most)))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    gradient = random.integers(0, draw(st.sampled_from([1, 3, 30])), shape)
    gradient[random.random(shape) < draw(st.sampled_from([0, 0.1, 0.5]))] = INVALID
    return gradient.astype(np.int32)


def same_parts(one: Array, two: Array) -> None:
    """Two label images tell the same pixels apart; -1 is -1 in both."""
    pairs = set(zip(one.ravel().tolist(), two.ravel().tolist(), strict=True))
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    np.testing.assert_array_equal(one == -1, two == -1)


@QUICK
@given(gradients(), st.data())
def test_every_pixel_is_in_the_cell_of_the_place_that_it_flows_to(gradient: Array, data: st.DataObject) -> None:
    expected = lowest_places(gradient)
    height, width = gradient.shape
    rim = np.pad(gradient, 1, constant_values=INVALID)
    cell, exits = cells.descend(rim)
    same_parts(cell.reshape(height, width), expected)
    assert (exits == -1).all()
    order = [cell[at] for at in np.unique(expected[expected >= 0])]
    assert order == list(range(exits.size))
    for at in range(exits.size):
        assert ndimage.label(cell.reshape(height, width) == at)[1] == 1
    # by windows, each cell that leaves its window goes on where it goes to
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(1, size), max_size=3))}) for size in gradient.shape]
    numbers: dict[tuple[int, int], tuple[int, int]] = {}
    leaves: dict[tuple[int, int], tuple[int, int]] = {}
    for at, ((top, bottom), (left, right)) in enumerate(itertools.product(*map(pairwise, cuts))):
        there = np.ascontiguousarray(rim[top : bottom + 2, left : right + 2])
        part, out = cells.descend(there)
        for y, x in itertools.product(range(bottom - top), range(right - left)):
            numbers[y + top, x + left] = (at, int(part[y * (right - left) + x]))
        for number in np.flatnonzero(out >= 0).tolist():
            y, x = divmod(int(out[number]), there.shape[1])
            leaves[at, number] = (y + top - 1, x + left - 1)
    joined = np.full(gradient.shape, -1)
    names: dict[tuple[int, int], int] = {}
    for (y, x), found in numbers.items():
        if found[1] >= 0:
            while found in leaves:
                found = numbers[leaves[found]]
            joined[y, x] = names.setdefault(found, len(names))
    same_parts(joined, expected)


def counted(region: Array, maps: Maps) -> tuple[dict[int, Counter[int]], dict[tuple[int, int], tuple[int, int]]]:
    """Of each region how many pixels have which value; of each two that touch, pairs of pixels and their gradients."""
    have: dict[int, Counter[int]] = defaultdict(Counter)
    borders: dict[tuple[int, int], tuple[int, int]] = {}
    for y, x in np.argwhere(region >= 0).tolist():
        own = int(region[y, x])
        have[own].update((int(maps.palette[y, x]), 64 + int(maps.fine[y, x]), 80 + int(maps.broad[y, x])))
        for r, c in ((y, x + 1), (y + 1, x)):
            if r < region.shape[0] and c < region.shape[1] and region[r, c] not in (-1, own):
                pair = (min(own, int(region[r, c])), max(own, int(region[r, c])))
                length, total = borders.get(pair, (0, 0))
                borders[pair] = length + 1, total + max(int(maps.gradient[y, x]), int(maps.gradient[r, c]))
    return have, borders


def told_by(graph: Graph) -> tuple[dict[int, Counter[int]], dict[tuple[int, int], tuple[int, int]]]:
    """The same of a graph."""
    values = [
        dict(zip(graph.values[a:b].tolist(), graph.often[a:b].tolist(), strict=True)) for a, b in pairwise(graph.start)
    ]
    pairs = zip(graph.lower.tolist(), graph.higher.tolist(), strict=True)
    borders = zip(graph.length.tolist(), graph.total.tolist(), strict=True)
    return {at: Counter(each) for at, each in enumerate(values)}, dict(zip(pairs, borders, strict=True))


@QUICK
@given(gradients(), st.integers(3, 30), st.integers(0, 999))
@example(np.arange(400, dtype=np.int32).reshape(20, 20), 4, 0)  # all flows to one corner, through every block
@example(np.full((9, 9), INVALID, np.int32), 4, 0)
@example(np.arange(60, dtype=np.int32).reshape(20, 3) % 7, 4, 0)  # blocks below each other alone
def test_the_joined_graph_is_that_of_the_joined_regions(gradient: Array, side: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    most = int(random.integers(1, 20))
    maps = Maps(gradient, *(random.integers(0, min(most, k), gradient.shape).astype(np.uint8) for k in (64, 16, 16)))
    shape = (gradient.shape[0], gradient.shape[1])
    blocks, regions = [], []
    for window in windows_of(shape, side):
        around, inner = grown(window, 1, shape)
        block, pixels = segment_block(
            Maps(*(np.ascontiguousarray(each[around]) for each in maps)), inner, window, shape
        )
        blocks.append(block)
        regions.append(pixels.region)
    graph, numbers = join_blocks(blocks, shape, side)
    region = np.empty(shape, np.int32)
    for window, own, number in zip(windows_of(shape, side), regions, numbers, strict=True):
        region[window] = through(own, number)
    assert set(np.unique(region[region >= 0]).tolist()) == set(range(graph.size))
    have, borders = told_by(graph)
    assert (have, borders) == counted(region, maps)
    assert list(borders) == sorted(borders)
    assert graph.area.tolist() == [int((region == at).sum()) for at in range(graph.size)]
    # regions are whole cells, and what touches a seam is one
    cell = lowest_places(gradient)
    inside = cell >= 0
    assert len(set(zip(cell[inside].tolist(), region[inside].tolist(), strict=True))) == len(np.unique(cell[inside]))
    beside = np.zeros(shape, np.bool_)
    for line in range(side, shape[0], side):
        beside[line - 1 : line + 1] = True
    for line in range(side, shape[1], side):
        beside[:, line - 1 : line + 1] = True
    for at in np.unique(region[beside & inside]):
        assert len(np.unique(cell[region == at])) == 1
