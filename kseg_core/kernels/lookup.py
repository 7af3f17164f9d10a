"""Labels of 8-bit RGB pixels by a table of all colours that fills itself, and the sums over them, in one pass.

A colour's entry is made when it is met first, together with those of its cell of 8 x 8 x 8 colours: the centroids that
may be nearest to any of them are found once for the cell, and most cells have one. An entry depends on the centroids
alone, so the table serves any number of images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from ._types import LABELS
from .assign import cell_candidates, nearest_candidate

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Labels = NDArray[np.unsignedinteger[Any]]

BLOCK = 256  # pixels between two flushes of sums that share a word: 255 * 256 fits 16 bits
ONE = np.uint64(1 << 48)  # a pixel, above the sums of blue, green and red
SUM = np.uint64(0xFFFF)


@inlined
def fill_cell(code: int, centroids: F64, lookup: Labels, lo: F64, hi: F64, candidates: I64) -> None:
    """Label all colours of the cell that a colour lies in: the lowest index among the nearest centroids."""
    red, green, blue = (code >> 16) & 0xF8, (code >> 8) & 0xF8, code & 0xF8
    lo[0, 0], lo[0, 1], lo[0, 2] = red, green, blue
    hi[0, 0], hi[0, 1], hi[0, 2] = red + 7, green + 7, blue + 7
    found = cell_candidates(lo, hi, 0, centroids, candidates)
    for r in range(red, red + 8):
        for g in range(green, green + 8):
            row = r << 16 | g << 8
            if found == 1:
                for b in range(blue, blue + 8):
                    lookup[row | b] = candidates[0]
                continue
            for b in range(blue, blue + 8):
                lookup[row | b] = nearest_candidate(r, g, b, centroids, candidates, found)


@kernel(*(f"C2u1 C1u1 C1b1 C2f8 C1{label} C1{label}" for label in LABELS))
def label_and_sum(
    rgb: U8, channels: U8, valid: Bools, centroids: F64, lookup: Labels, labels: Labels
) -> tuple[I64, I64, int]:
    """Fill ``labels``; counts (k,), sums (k, 3) and the sum of squared lengths of the valid pixels' colours.

    Parameters
    ----------
    rgb
        uint8 (n, 3).
    channels
        The same, flat: (3 * n,). (A kernel that reshapes asks for more of Numba than code that is kept has.)
    valid
        bool (n,), or empty where all are.
    centroids
        float64 (k, 3).
    lookup
        (2**24,): labels of these centroids by ``R << 16 | G << 8 | B``; the largest of its dtype stands for a colour
        that was not met yet. What is found out is added.
    labels
        (n,), of the dtype of ``lookup``; an invalid pixel's is the largest of it.
    """
    n, k = rgb.shape[0], centroids.shape[0]
    counts, sums = np.zeros(k, np.int64), np.zeros((k, 3), np.int64)
    squares = np.int64(0)
    unknown = (1 << 8 * lookup.itemsize) - 1
    masked = valid.size > 0
    # Neighbours are added up apart, so that an addition need not wait for the one before. One place for each value of
    # a label's dtype: that of what is invalid is not looked at.
    even, odd = np.zeros(unknown + 1, np.uint64), np.zeros(unknown + 1, np.uint64)
    words = np.empty(BLOCK, np.uint64)
    lo, hi, candidates = np.empty((1, 3)), np.empty((1, 3)), np.empty(k, np.int64)
    for start in range(0, n, BLOCK):
        # slices, as indices that surely are not negative make loops that the compiler lays out for vector units
        pixels, label = rgb[start : start + BLOCK], labels[start : start + BLOCK]
        size = label.size
        for i in range(size):
            r, g, b = np.uint32(pixels[i, 0]), np.uint32(pixels[i, 1]), np.uint32(pixels[i, 2])
            label[i] = lookup[(r << np.uint32(16)) | (g << np.uint32(8)) | b]
            words[i] = ONE | np.uint64(r) | (np.uint64(g) << np.uint64(16)) | (np.uint64(b) << np.uint64(32))
        largest = label[0]
        for i in range(size):
            largest = max(largest, label[i])
        if largest == unknown:
            for i in range(size):
                code = int(pixels[i, 0]) << 16 | int(pixels[i, 1]) << 8 | int(pixels[i, 2])
                if lookup[code] == unknown and not (masked and not valid[start + i]):
                    fill_cell(code, centroids, lookup, lo, hi, candidates)
                label[i] = lookup[code]
        square = np.uint32(0)
        if masked:
            for i in range(size):
                if valid[start + i]:
                    r, g, b = np.uint32(pixels[i, 0]), np.uint32(pixels[i, 1]), np.uint32(pixels[i, 2])
                    square += r * r + g * g + b * b
                else:
                    label[i] = unknown
        else:
            flat = channels[3 * start : 3 * (start + size)]
            for i in range(flat.size):
                value = np.uint32(flat[i])
                square += value * value
        squares += np.int64(square)
        for i in range(size // 2):
            even[label[2 * i]] += words[2 * i]
            odd[label[2 * i + 1]] += words[2 * i + 1]
        if size % 2:
            even[label[size - 1]] += words[size - 1]
        for j in range(k):
            for word in (even[j], odd[j]):
                counts[j] += np.int64(word >> np.uint64(48))
                sums[j, 0] += np.int64(word & SUM)
                sums[j, 1] += np.int64((word >> np.uint64(16)) & SUM)
                sums[j, 2] += np.int64((word >> np.uint64(32)) & SUM)
            even[j] = odd[j] = np.uint64(0)
        even[unknown] = odd[unknown] = np.uint64(0)
    return counts, sums, int(squares)
