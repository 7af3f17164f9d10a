"""How many segments a hierarchy has at some levels, from one cut of it, window by window.

Parts are cut at the lowest of the levels; where two of them meet, and up to which step they are parted, tells how many
are left at the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..joining import Rim
from ..segment_settings import MOST
from .cutting import cut_window

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


class CountedParts(NamedTuple):
    """What one window tells.

    Attributes
    ----------
    parts
        How many it has, 1 to n.
    pairs
        int32 (m, 2): those that meet, each pair once.
    steps
        uint8 (m,): the step at which each pair becomes one.
    rim
        Parts along the window's border, 0 where invalid.
    right, below
        uint8: along the last column and row, the step at which a pixel and the next, in another window, become one.
    """

    parts: int
    pairs: NDArray[np.int32]
    steps: U8
    rim: Rim
    right: U8
    below: U8


def count_parts(contours: U8, least: int) -> CountedParts:
    """The parts of a window of contours, uint8 (2, y, x), at a step, and where they meet."""
    part = cut_window(contours, least)
    ends = [np.zeros((0, 2), np.int32)]
    steps = [np.zeros(0, np.uint8)]
    height, width = part.shape
    for plane, (down, right) in enumerate(((0, 1), (1, 0))):
        step = contours[plane, : height - down, : width - right]
        rows, columns = np.nonzero((step > least) & (step <= MOST))
        ends.append(np.stack([part[rows, columns], part[rows + down, columns + right]], axis=1))
        steps.append(step[rows, columns])
    pairs, lowest = _each_once(np.concatenate(ends), np.concatenate(steps))
    return CountedParts(int(part.max()), pairs, lowest, Rim.of(part), contours[0, :, -1].copy(), contours[1, -1].copy())


def _each_once(pairs: NDArray[np.int32], steps: U8) -> tuple[NDArray[np.int32], U8]:
    """Pairs in order, each with the lowest of its steps."""
    low, high = pairs.min(axis=1).astype(np.int64), pairs.max(axis=1).astype(np.int64)
    packed = np.unique((low << 40) | (high << 8) | steps)  # a window has less than 2^23 pixels, thus parts
    is_first = np.ones(packed.size, np.bool_)
    is_first[1:] = (packed[1:] >> 8) != (packed[:-1] >> 8)
    packed = packed[is_first]
    ends = np.stack([packed >> 40, (packed >> 8) & 0xFFFFFFFF], axis=1).astype(np.int32)
    return ends, (packed & 0xFF).astype(np.uint8)


def count_segments(windows: Sequence[CountedParts], across: int, steps: Sequence[int]) -> list[int]:
    """How many segments an image has at some steps, none below that of its parts.

    Parameters
    ----------
    windows
        Of the whole image, row by row, ``across`` in each.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    begins = np.concatenate([[0], np.cumsum([each.parts for each in windows])]).astype(np.int64)
    size = int(begins[-1])
    pairs, at = _joined(windows, begins, across)
    counts = []
    for step in steps:
        one, two = pairs[at <= step].T
        graph = coo_array((np.ones(one.size, np.int8), (one, two)), shape=(size, size))
        counts.append(int(connected_components(graph, directed=False)[0]) if size else 0)
    return counts


def _joined(windows: Sequence[CountedParts], begins: I64, across: int) -> tuple[I64, U8]:
    """Pairs of parts of the whole image, from 0, within windows and across their borders; and at which step."""
    pairs, steps = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.uint8)]
    for at, each in enumerate(windows):
        pairs.append(each.pairs + (begins[at] - 1))
        steps.append(each.steps)
        borders = []
        if (at + 1) % across:
            borders.append((at + 1, each.rim.right, windows[at + 1].rim.left, each.right))
        if at + across < len(windows):
            borders.append((at + across, each.rim.bottom, windows[at + across].rim.top, each.below))
        for other, mine, its, step in borders:
            meet = step <= MOST
            pairs.append(np.stack([mine[meet] + (begins[at] - 1), its[meet] + (begins[other] - 1)], axis=1))
            steps.append(step[meet])
    return np.concatenate(pairs), np.concatenate(steps)
