"""Whole numbers that say how large a region is, where, of which shape, and how long its outline: all of them add up.

References
----------
Benkrid, Crookes & Benkrid 2000, "Design and FPGA implementation of a perimeter estimator": the length of an outline is
a sum over the pixels at it, each of which counts 1, the root of 2, or half of both, by which of its neighbours are at
it, too. scikit-image's ``perimeter`` is the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Labels = NDArray[np.unsignedinteger[Any]]

HALO = 2  # pixels around a window that decide which of its pixels are at an outline, and which of their neighbours are

# What is known of a region, column by column: pixels; row and column of its first pixel, the last row, the first and
# the last column; sums of rows, columns, their squares and their products; pixels at its outline that count 1, the
# root of 2, and half of both.
PIXELS, TOP, FIRST_COLUMN, BOTTOM, LEFT, RIGHT = 0, 1, 2, 3, 4, 5
Y, X, YY, XX, YX = 6, 7, 8, 9, 10
STRAIGHT, DIAGONAL, MIXED = 11, 12, 13
COLUMNS = 14


@inlined
def _at_outline(labels: Labels, r: int, c: int) -> bool:
    """Whether a pixel touches another label with one of its sides."""
    own = labels[r, c]
    across = labels[r, c - 1] != own or labels[r, c + 1] != own
    return bool(across or labels[r - 1, c] != own or labels[r + 1, c] != own)


@inlined
def _neighbours_at_outline(labels: Labels, r: int, c: int) -> tuple[int, int]:
    """How many neighbours of a pixel, beside it and at its corners, are of its region and at its outline."""
    own = labels[r, c]
    beside, corners = 0, 0
    for down in range(-1, 2):
        for across in range(-1, 2):
            if (down == 0 and across == 0) or labels[r + down, c + across] != own:
                continue
            if _at_outline(labels, r + down, c + across):
                if down == 0 or across == 0:
                    beside += 1
                else:
                    corners += 1
    return beside, corners


@kernel("C2i4 C2u1 i", "C2i4 C2u2 i", "C2i4 C2u4 i")
def measure_objects(components: I32, labels: Labels, count: int) -> I64:
    """Measure the regions of a window.

    Parameters
    ----------
    components
        int32 (y, x): 0 is background, the 8-connected regions of equal labels are 1 to ``count``.
    labels
        (y + 4, x + 4): with `HALO` pixels around the window; beyond the image a label that no region has.

    Returns
    -------
    int64 (count + 1, COLUMNS), in rows and columns of the window; entry 0 of no meaning.
    """
    height, width = components.shape
    found = np.zeros((count + 1, COLUMNS), np.int64)
    for r in range(height):
        for c in range(width):
            at = components[r, c]
            if at == 0:
                continue
            row = found[at]
            if row[PIXELS] == 0:
                row[TOP], row[FIRST_COLUMN], row[LEFT] = r, c, c
            row[PIXELS] += 1
            row[BOTTOM] = r
            row[LEFT] = min(row[LEFT], c)
            row[RIGHT] = max(row[RIGHT], c)
            row[Y] += r
            row[X] += c
            row[YY] += r * r
            row[XX] += c * c
            row[YX] += r * c
            if _at_outline(labels, r + 2, c + 2):
                beside, corners = _neighbours_at_outline(labels, r + 2, c + 2)
                if 2 <= beside <= 3 and corners <= 2:
                    row[STRAIGHT] += 1
                elif (beside == 0 and corners == 2) or (beside == 1 and corners == 3):
                    row[DIAGONAL] += 1
                elif beside == 1 and 1 <= corners <= 2:
                    row[MIXED] += 1
    return found
