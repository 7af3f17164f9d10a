"""A hierarchy cut at a level, window by window: the parts between boundaries that are left, joined and numbered.

Segments are numbered from 1 by their first pixels, row by row, whatever the windows; 0 is what does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..joining import Rim
from ..kernels import hierarchies, segments

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Parts:
    """The parts of segments that one window sees, 1 to n; what they are made of adds up.

    Parameters
    ----------
    first
        int64 (n,): the first pixel of each, row by row in the image.
    area
        int64 (n,): pixels.
    box
        int64 (n, 4): top, left, bottom, right in the image, the last two exclusive.
    sums
        int64 (n, c), of its samples, by the exponent of two of what they are counted in: 0 for whole numbers.
    classes
        int64 (n, k): its pixels of each cluster; k is 0 without labels.
    rim
        Parts along the window's border, 0 where invalid.
    right, below
        bool: along the last column and row, whether a pixel and the next, in another window, are not parted.
    """

    first: I64
    area: I64
    box: I64
    sums: dict[int, I64]
    classes: I64
    rim: Rim
    right: NDArray[np.bool_]
    below: NDArray[np.bool_]


# Floating-point samples are added up as whole numbers, so that their order is nothing: each in parts of the scale, 2^10
# times the one before, that makes it one of 20 to 30 bits; float32 has 24, and 2^33 pixels of these fit 64 bits.
STEP, LEAST_BITS = 10, 20
LEAST = -160  # of the first scale; float32 begins at 2^-149


def _sum_samples(part: NDArray[np.int32], samples: NDArray[Any], count: int) -> dict[int, I64]:
    """By the exponent of its scale, int64 (n, c), as `Parts` has them."""
    if samples.dtype.kind != "f":
        return {0: segments.sum_samples(part, np.ascontiguousarray(samples), count)}
    with np.errstate(over="ignore"):
        values = np.nan_to_num(samples.astype(np.float32)).astype(np.float64)
    bits = np.frexp(values)[1] - 1 - LEAST_BITS  # of a value from 2^e on: e, less those that its scale leaves it
    exponents = np.maximum((bits - LEAST) // STEP * STEP + LEAST, LEAST)
    exponents[values == 0] = LEAST
    return {
        int(each): segments.sum_samples(
            part, np.where(exponents == each, np.rint(np.ldexp(values, -each)), 0.0).astype(np.int64), count
        )
        for each in np.unique(exponents)
    }


class Segments(NamedTuple):
    """All segments of an image, in their order: row i is segment i + 1.

    Attributes
    ----------
    area
        int64 (n,): pixels.
    box
        int64 (n, 4), as `Parts` has it.
    mean
        float32 (n, c): of its samples.
    cluster
        int64 (n,): that most of its pixels are of, of equally many the lowest; -1 without labels.
    """

    area: I64
    box: I64
    mean: NDArray[np.float32]
    cluster: I64


class WindowPixels(NamedTuple):
    """What segments are measured in: samples (y, x, c), and labels (y, x) of k clusters or None."""

    samples: NDArray[Any]
    labels: NDArray[Any] | None
    k: int


def cut_window(contours: NDArray[np.uint8], most: int) -> NDArray[np.int32]:
    """int32 (y, x): the parts of a window (2, y, x) between boundaries that are left above a step, from 1; 0 where
    invalid.
    """
    return hierarchies.cut_contours(np.ascontiguousarray(contours), most)[0]


def measure_window(
    contours: NDArray[np.uint8], most: int, pixels: WindowPixels, place: tuple[int, int], columns: int
) -> Parts:
    """The parts of a window at a place of an image of so many columns."""
    return measure_parts(cut_window(contours, most), contours, most, pixels, place, columns)


def measure_parts(
    part: NDArray[np.int32],
    contours: NDArray[np.uint8],
    most: int,
    pixels: WindowPixels,
    place: tuple[int, int],
    columns: int,
) -> Parts:
    """The same of a window that `cut_window` has cut."""
    count = int(part.max())
    area, box, first = segments.measure_parts(part, count)
    sums = _sum_samples(part, pixels.samples, count)
    classes = np.zeros((count, 0), np.int64)
    if pixels.labels is not None:
        classes = segments.count_labels(part, np.ascontiguousarray(pixels.labels), count, pixels.k)
    top, left = place
    width = part.shape[1]
    first = (first // width + top) * columns + first % width + left
    box = box + np.array([top, left, top, left])
    goes_on = [(contours[0, :, -1] <= most) & (part[:, -1] > 0), (contours[1, -1] <= most) & (part[-1] > 0)]
    return Parts(first, area, box, sums, classes, Rim.of(part), *goes_on)


def join_parts(windows: Sequence[Parts], across: int) -> tuple[Segments, list[NDArray[np.uint32]]]:
    """The segments of an image from the parts of its windows (row by row, ``across`` in each).

    Returns
    -------
    The segments; and for each window, uint32 (n + 1,), the number of each of its parts.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    begins = np.concatenate([[0], np.cumsum([each.area.size for each in windows])]).astype(np.int64)
    ones, twos = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for at, each in enumerate(windows):
        for step, joined, mine, other in ((1, each.right, "right", "left"), (across, each.below, "bottom", "top")):
            if (mine == "right" and (at + 1) % across == 0) or at + step >= len(windows):
                continue
            ones.append(begins[at] - 1 + getattr(each.rim, mine)[joined])
            twos.append(begins[at + step] - 1 + getattr(windows[at + step].rim, other)[joined])
    one, two = np.concatenate(ones), np.concatenate(twos)
    size = int(begins[-1])
    graph = coo_array((np.ones(one.size, np.int8), (one, two)), shape=(size, size))
    group = connected_components(graph, directed=False)[1] if size else np.zeros(0, np.int32)
    count = int(group.max()) + 1 if size else 0
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, group, np.concatenate([each.first for each in windows]))
    place = np.empty(count, np.int64)
    place[np.argsort(first)] = np.arange(count)
    number = place[group]
    tables = [
        np.concatenate([[0], number[begins[at] : begins[at + 1]] + 1]).astype(np.uint32) for at in range(len(windows))
    ]
    return _added_up(windows, number, count), tables


def _added_up(windows: Sequence[Parts], number: I64, count: int) -> Segments:
    """What segments are made of, from their parts."""
    area = np.zeros(count, np.int64)
    np.add.at(area, number, np.concatenate([each.area for each in windows]))
    boxes = np.concatenate([each.box for each in windows])
    box = np.zeros((count, 4), np.int64)
    box[:, :2] = np.iinfo(np.int64).max
    np.minimum.at(box[:, :2], number, boxes[:, :2])
    np.maximum.at(box[:, 2:], number, boxes[:, 2:])
    channels = next(iter(windows[0].sums.values())).shape[1]
    sums: dict[int, I64] = {}
    for each, begin in zip(windows, np.cumsum([0, *(each.area.size for each in windows)]).tolist(), strict=False):
        own = number[begin : begin + each.area.size]
        for exponent, added in each.sums.items():
            np.add.at(sums.setdefault(exponent, np.zeros((count, channels), np.int64)), own, added)
    classes = np.zeros((count, windows[0].classes.shape[1]), np.int64)
    np.add.at(classes, number, np.concatenate([each.classes for each in windows]))
    total = np.zeros((count, channels))
    for exponent in sorted(sums):
        total += np.ldexp(sums[exponent].astype(np.float64), exponent)
    with np.errstate(over="ignore"):
        mean = (total / np.maximum(area, 1)[:, None]).astype(np.float32)
    cluster = classes.argmax(1) if classes.shape[1] else np.full(count, -1, np.int64)
    return Segments(area, box, mean, cluster)
