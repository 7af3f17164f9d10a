"""The graph of regions: what each is made of and how its borders are, all of it counts; merged into a hierarchy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import cheapest, merging
from .maps import GRID, OCTAVES
from .palette import COLOURS

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Fixed = NDArray[np.bool_] | None

VALUES = COLOURS + 2 * OCTAVES  # of the distributions of a region, one after the other
TEXTURE = 0.3  # weight of each texture beside the palette
FULL_PX = 10_000.0  # regions of so many pixels, or more, have no discount
ROUNDS = 12  # of merging mutual neighbours, before what is cheapest: more of them score no better
ROUNDS_UP_TO = 1.0  # altitude up to which is merged in rounds, and within blocks
COSTS = np.array([GRID, TEXTURE, FULL_PX, COLOURS, ROUNDS_UP_TO])


NO_SEAMS = (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))


class Graph(NamedTuple):
    """Regions 0 to n - 1 and their m borders.

    Attributes
    ----------
    lower, higher
        int32 (m,): which regions a border is between, in the order of both.
    length, total
        int64 (m,): pairs of pixels, and the sum of the greater gradient of each.
    area
        int64 (n,): pixels.
    start, values, often
        int64 (n + 1,), uint8, int64: region r has ``often`` pixels of each of its ``values``, from ``start[r]`` on.
    height
        float64 (n,): altitude of the last merge within each.
    """

    lower: I32
    higher: I32
    length: I64
    total: I64
    area: I64
    start: I64
    values: NDArray[np.uint8]
    often: I64
    height: F64

    @property
    def size(self) -> int:
        """How many regions."""
        return self.area.size


class Merges(NamedTuple):
    """Merges in an order in which what is merged further comes later.

    Attributes
    ----------
    kept, gone
        int32 (k,): the lower and the higher of two regions' numbers; the region goes on under the lower.
    altitude
        float64 (k,): the highest price of this merge and of those in both.
    """

    kept: I32
    gone: I32
    altitude: F64


def chained(parts: Sequence[Merges]) -> Merges:
    """Merges one after the other."""
    return Merges(
        np.concatenate([part.kept for part in parts]),
        np.concatenate([part.gone for part in parts]),
        np.concatenate([part.altitude for part in parts]),
    )


def merge_mutual(graph: Graph, fixed: Fixed = None, rounds: int = ROUNDS) -> tuple[Graph, I32, Merges]:
    """In rounds, all pairs that are each other's cheapest; ``fixed`` regions are left alone.

    Returns
    -------
    The graph that is left, the number in it of each region, and the merges.
    """
    made = merging.merge_rounds(*graph, _held(graph, fixed), rounds, COSTS)
    return Graph(*made[4:]), made[0], Merges(*made[1:4])


def merge_cheapest(graph: Graph, fixed: Fixed = None, most: float = np.inf) -> Merges:
    """The cheapest pair, always, while it costs at most so much; ``fixed`` regions are left alone."""
    return Merges(*cheapest.merge_cheapest(*graph, _held(graph, fixed), np.append(COSTS[:-1], most)))


def merge_within(graph: Graph, fixed: Fixed) -> tuple[Graph, I32, Merges]:
    """What costs little, in rounds first and then the cheapest pair; as `merge_mutual`."""
    left, region, first = merge_mutual(graph, fixed)
    held = None
    if fixed is not None:
        held = np.zeros(left.size, np.bool_)
        held[region[fixed]] = True
    then = merge_cheapest(left, held, ROUNDS_UP_TO)
    goes_to = np.arange(left.size, dtype=np.int32)
    goes_to[then.gone] = then.kept
    while ((further := goes_to[goes_to]) != goes_to).any():
        goes_to = further
    stays = goes_to == np.arange(left.size)
    number = (np.cumsum(stays) - 1).astype(np.int32)[goes_to]
    joined = join_graphs([left], [number], int(stays.sum()), NO_SEAMS)
    np.maximum.at(joined.height, number[then.kept], then.altitude)
    return joined, number[region], chained([first, _in_numbers_of(graph, region, then, left.size)])


def merge_all(graph: Graph) -> Merges:
    """All that touch: in rounds first, then the cheapest pair, always."""
    left, region, first = merge_mutual(graph)
    return chained([first, _in_numbers_of(graph, region, merge_cheapest(left), left.size)])


def _in_numbers_of(graph: Graph, region: I32, merges: Merges, count: int) -> Merges:
    """Merges of regions that are left of a graph, by the lowest of the graph's that are in each."""
    lowest = np.full(count, graph.size, np.int32)
    np.minimum.at(lowest, region, np.arange(graph.size, dtype=np.int32))
    return Merges(lowest[merges.kept], lowest[merges.gone], merges.altitude)


def _held(graph: Graph, fixed: Fixed) -> NDArray[np.bool_]:
    return np.zeros(graph.size, np.bool_) if fixed is None else fixed


def join_graphs(graphs: list[Graph], number: list[I32], count: int, seams: tuple[I32, I32, I64, I64]) -> Graph:
    """Graphs of parts of an image as one: regions of one number are one, all counts add up.

    Parameters
    ----------
    graphs, number
        Of each part: its graph, and (n,) the number in the whole of each of its regions.
    count
        How many there are in the whole.
    seams
        Borders across parts: both regions, length, total.
    """
    area = np.zeros(count, np.int64)
    height = np.zeros(count)
    keys, often = [], []
    pairs, lengths, totals = [], [], []
    for graph, own in zip(graphs, number, strict=True):
        np.add.at(area, own, graph.area)
        np.maximum.at(height, own, graph.height)
        keys.append(np.repeat(own.astype(np.int64), np.diff(graph.start)) * VALUES + graph.values)
        often.append(graph.often)
        pairs.append(_pairs(own[graph.lower], own[graph.higher], count))
        lengths.append(graph.length)
        totals.append(graph.total)
    pairs.append(_pairs(seams[0], seams[1], count))
    key, (counts,) = _added_up(np.concatenate(keys), np.concatenate(often))
    start = np.searchsorted(key, np.arange(count + 1, dtype=np.int64) * VALUES)
    values = (key % VALUES).astype(np.uint8)
    pair, (length, total) = _added_up(
        np.concatenate(pairs), np.concatenate([*lengths, seams[2]]), np.concatenate([*totals, seams[3]])
    )
    between = pair >= 0
    pair, length, total = pair[between], length[between], total[between]
    lower, higher = (pair // count).astype(np.int32), (pair % count).astype(np.int32)
    return Graph(lower, higher, length, total, area, start.astype(np.int64), values, counts, height)


def _pairs(one: I32, two: I32, count: int) -> I64:
    """A number of each pair, in the order of the lower and the higher; -1 for a region and itself."""
    low, high = np.minimum(one, two).astype(np.int64), np.maximum(one, two).astype(np.int64)
    return np.where(low == high, -1, low * count + high)


def _added_up(keys: I64, *values: I64) -> tuple[I64, list[I64]]:
    """Distinct keys in order, and the sums of the values of each."""
    if keys.size == 0:
        return keys, list(values)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return ordered[begins], [np.add.reduceat(each[order], begins) for each in values]
