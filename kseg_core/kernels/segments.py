"""What the parts of segments in a window are made of: places, samples, clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from ._types import LABELS, WHOLE

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]


@kernel("C2i4 i")
def measure_parts(part: I32, count: int) -> tuple[I64, I64, I64]:
    """Of each part of a window (y, x), from 1; 0 is none: pixels (n,), box (n, 4) as top, left, bottom, right, and the
    first pixel, row by row (n,).
    """
    height, width = part.shape
    area = np.zeros(count, np.int64)
    box = np.zeros((count, 4), np.int64)
    first = np.zeros(count, np.int64)
    for y in range(height):
        for x in range(width):
            at = part[y, x] - 1
            if at < 0:
                continue
            if area[at] == 0:
                first[at] = y * width + x
                box[at, 0], box[at, 1], box[at, 3] = y, x, x + 1
            area[at] += 1
            box[at, 1] = min(box[at, 1], x)
            box[at, 2] = y + 1
            box[at, 3] = max(box[at, 3], x + 1)
    return area, box, first


@kernel(*(f"C2i4 C3{dtype} i" for dtype in (*WHOLE, "i8")))
def sum_samples(part: I32, samples: NDArray[Any], count: int) -> I64:
    """int64 (n, c): the sums of whole numbers (y, x, c) over each part."""
    height, width = part.shape
    sums = np.zeros((count, samples.shape[2]), np.int64)
    for y in range(height):
        for x in range(width):
            at = part[y, x] - 1
            if at >= 0:
                for c in range(samples.shape[2]):
                    sums[at, c] += samples[y, x, c]
    return sums


@kernel(*(f"C2i4 C2{label} i i" for label in LABELS))
def count_labels(part: I32, labels: NDArray[Any], count: int, k: int) -> I64:
    """int64 (n, k): the pixels of each part that have each label below k."""
    height, width = part.shape
    classes = np.zeros((count, k), np.int64)
    for y in range(height):
        for x in range(width):
            at = part[y, x] - 1
            if at >= 0 and labels[y, x] < k:
                classes[at, labels[y, x]] += 1
    return classes


@kernel("C2u4 C2u4")
def mode_of_blocks(segments: U32, halved: U32) -> None:
    """Fill ``halved`` (ceil(y / 2), ceil(x / 2)) with the most frequent segment of each block of two by two pixels, the
    lowest of equally frequent ones; 0, which is none, only where all are. Blocks cut short repeat their last pixels.
    """
    height, width = segments.shape
    for y in range(halved.shape[0]):
        above, below = 2 * y, min(2 * y + 1, height - 1)
        for x in range(halved.shape[1]):
            left, right = 2 * x, min(2 * x + 1, width - 1)
            a, b, c, d = segments[above, left], segments[above, right], segments[below, left], segments[below, right]
            best, often = np.uint32(0), 0
            for each in (a, b, c, d):
                if each == 0:
                    continue
                many = int(a == each) + int(b == each) + int(c == each) + int(d == each)
                if many > often or (many == often and each < best):
                    best, often = each, many
            halved[y, x] = best
