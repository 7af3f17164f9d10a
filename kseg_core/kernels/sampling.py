"""Which pixels belong to a mini-batch: a question of position and seed alone.

An image is covered, from its top left corner, with square cells of ``2**level`` pixels. One pixel of
each cell is picked by descending from the cell to one of its four quarters, then to one of that quarter's
quarters, and so on; a hash of (seed, level, row, column) chooses the way. The picks of a level are therefore
among the picks of the level below it: batches are nested (Newling & Fleuret 2016), every pixel is as
likely as any other, and the sample is spread evenly over the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

# The odd constants and shifts of SplitMix64 (Steele, Lea & Flood 2014): a published, fixed mixing function,
# so that a seed means the same pixels in every release.
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@inlined
def mix64(value: np.uint64) -> np.uint64:
    """SplitMix64's finaliser: a bijection of 64-bit words that looks random."""
    z = value + _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


@kernel("i i i i i i")
def picked_pixels(height: int, width: int, top: int, left: int, level: int, seed: int) -> NDArray[np.int64]:
    """Positions of the batch's pixels inside one window of an image.

    Parameters
    ----------
    height, width
        Size of the window in pixels.
    top, left
        Position of the window in its image.
    level
        One pixel of every ``2**level`` x ``2**level`` cell is picked; 0 picks every pixel.
    seed
        The run's seed, not negative.

    Returns
    -------
    int64 array (n,)
        Row-major offsets into the window, in order of cells.
    """
    side = 1 << level
    first_row, last_row = top >> level, (top + height - 1) >> level
    first_col, last_col = left >> level, (left + width - 1) >> level
    picks = np.empty((last_row - first_row + 1) * (last_col - first_col + 1), np.int64)
    found = 0
    root = mix64(np.uint64(seed))
    for cell_row in range(first_row, last_row + 1):
        for cell_col in range(first_col, last_col + 1):
            y, x, step = cell_row, cell_col, level
            while step > 0:
                word = mix64(root ^ mix64((np.uint64(y) << np.uint64(32)) | np.uint64(x)) ^ np.uint64(step))
                quarter = word >> np.uint64(62)
                y = 2 * y + int(quarter >> np.uint64(1))
                x = 2 * x + int(quarter & np.uint64(1))
                step -= 1
            y -= top
            x -= left
            if 0 <= y < height and 0 <= x < width:
                picks[found] = y * width + x
                found += 1
    if side == 1:
        return picks
    return picks[:found].copy()
