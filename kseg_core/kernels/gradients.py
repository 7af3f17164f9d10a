"""Smoothed gradients and the energy of texture, in whole numbers: the same of a window with a halo as of the whole.

Rows are worked on one after the other and kept only as long as others need them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

Bools = NDArray[np.bool_]
I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@inlined
def _mirrored(i: int, size: int) -> int:
    """The place of an index beyond an end: the ends are repeated in reverse."""
    if i < 0:
        i = -i - 1
    if i >= size:
        i = 2 * size - 1 - i
    return min(max(i, 0), size - 1)


@inlined
def _across(values: I16, taps: I32, shift: int, padded: I32, out: I32) -> None:
    """One row smoothed along itself; two more bits are kept (out = 4 x values)."""
    width, reach = values.size, taps.size // 2
    inner = padded[reach : reach + width]
    for x in range(width):
        inner[x] = values[x]
    for i in range(reach):
        padded[i] = values[_mirrored(i - reach, width)]
        padded[reach + width + i] = values[_mirrored(width + i, width)]
    middle, half = taps[reach], np.int32(1 << (shift - 3))
    for x in range(width):
        out[x] = middle * inner[x] + half
    for j in range(reach):
        tap, left, right = taps[j], padded[j : j + width], padded[2 * reach - j : 2 * reach - j + width]
        for x in range(width):
            out[x] += tap * (left[x] + right[x])
    for x in range(width):
        out[x] >>= shift - 2


@inlined
def _down(rows: I32, y: int, height: int, taps: I32, shift: int, out: I32) -> None:
    """One row smoothed across rows, of which ``rows`` has the last ones, each at its number modulo their count."""
    width, reach, kept = out.size, taps.size // 2, rows.shape[0]
    middle, half, own = taps[reach], np.int32(1 << (shift - 1)), rows[y % kept]
    for x in range(width):
        out[x] = middle * own[x] + half
    for j in range(reach):
        tap = taps[j]
        above = rows[_mirrored(y + j - reach, height) % kept]
        below = rows[_mirrored(y + reach - j, height) % kept]
        for x in range(width):
            out[x] += tap * (above[x] + below[x])
    for x in range(width):
        out[x] >>= shift


@inlined
def _add_squares(above: I32, own: I32, below: I32, energy: I64) -> None:
    """Adds the squared lengths of Sobel's gradient in one row; beyond the ends it goes on as it ends."""
    width = own.size
    if width < 3:
        for x in range(width):
            left, right = max(x - 1, 0), min(x + 1, width - 1)
            across = (above[right] - above[left]) + 2 * (own[right] - own[left]) + (below[right] - below[left])
            down = (below[left] - above[left]) + 2 * (below[x] - above[x]) + (below[right] - above[right])
            energy[x] += np.int64(across) * across + np.int64(down) * down
        return
    inner = width - 2
    a0, a1, a2 = above[0:inner], above[1 : 1 + inner], above[2 : 2 + inner]
    b0, b2 = own[0:inner], own[2 : 2 + inner]
    c0, c1, c2 = below[0:inner], below[1 : 1 + inner], below[2 : 2 + inner]
    out = energy[1 : 1 + inner]
    for x in range(inner):
        across = (a2[x] - a0[x]) + np.int32(2) * (b2[x] - b0[x]) + (c2[x] - c0[x])
        down = (c0[x] - a0[x]) + np.int32(2) * (c1[x] - a1[x]) + (c2[x] - a2[x])
        out[x] += np.int64(across) * np.int64(across) + np.int64(down) * np.int64(down)
    for x in (0, width - 1):
        left, right = max(x - 1, 0), min(x + 1, width - 1)
        across = (above[right] - above[left]) + 2 * (own[right] - own[left]) + (below[right] - below[left])
        down = (below[left] - above[left]) + 2 * (below[x] - above[x]) + (below[right] - above[right])
        energy[x] += np.int64(across) * across + np.int64(down) * down


@kernel("C2i2 C1i4 i C2i8")
def add_energy(plane: I16, taps: I32, shift: int, energy: I64) -> None:
    """Add to ``energy`` (y, x) the squared gradient of a plane (y, x), smoothed by ``taps`` that sum to 2^shift.

    Sobel's gradient of four times the plane: a slope of one unit a pixel is 32.
    """
    height, width = plane.shape
    reach = taps.size // 2
    kept = 2 * reach + 1
    rows = np.empty((kept, width), np.int32)
    padded = np.empty(width + 2 * reach, np.int32)
    smooth = np.empty((3, width), np.int32)
    done, made = 0, 0
    for y in range(height):
        while made < min(y + 2, height):  # smoothed rows up to the next
            while done < min(made + reach + 1, height):
                _across(plane[done], taps, shift, padded, rows[done % kept])
                done += 1
            _down(rows, made, height, taps, shift, smooth[made % 3])
            made += 1
        above, below = max(y - 1, 0), min(y + 1, height - 1)
        _add_squares(smooth[above % 3], smooth[y % 3], smooth[below % 3], energy[y])


@kernel("C2i8 d")
def lengths(energy: I64, factor: float) -> I32:
    """Square roots of energies (y, x), times a factor, rounded."""
    height, width = energy.shape
    out = np.empty((height, width), np.int32)
    for y in range(height):
        squares, row = energy[y], out[y]
        for x in range(width):
            row[x] = np.int32(np.sqrt(np.float64(squares[x])) * factor + 0.5)
    return out


@kernel("C2i8 i i i")
def octaves_of_means(energy: I64, reach: int, floor: int, bins: int) -> U8:
    """In which octave the mean energy around each pixel is: 0 below twice ``floor``, and one more for each doubling.

    Parameters
    ----------
    energy
        (y, x).
    reach
        Means are over (2 reach + 1)^2 pixels, mirrored at the ends.
    floor
        Of the sum over these.
    bins
        How many octaves are told apart; the last has all beyond.

    Returns
    -------
    uint8 (y, x).
    """
    height, width = energy.shape
    out = np.empty((height, width), np.uint8)
    columns = np.zeros(width + 2 * reach + 1, np.int64)  # sums over the rows around; mirrored columns beside them
    inner = columns[reach : reach + width]
    sums = np.empty(width, np.int64)
    for i in range(-reach, reach + 1):
        row = energy[_mirrored(i, height)]
        for x in range(width):
            inner[x] += row[x]
    for y in range(height):
        for i in range(reach):
            columns[i] = inner[_mirrored(i - reach, width)]
        for i in range(reach + 1):
            columns[reach + width + i] = inner[_mirrored(width + i, width)]
        total = np.int64(0)
        for i in range(2 * reach + 1):
            total += columns[i]
        for x in range(width):
            sums[x] = total
            total += columns[x + 2 * reach + 1] - columns[x]
        row8 = out[y]
        for x in range(width):
            row8[x] = 0
        for b in range(1, bins):
            least = np.int64(floor) << b
            for x in range(width):
                row8[x] += np.uint8(sums[x] >= least)
        enters, leaves = energy[_mirrored(y + reach + 1, height)], energy[_mirrored(y - reach, height)]
        for x in range(width):
            inner[x] += enters[x] - leaves[x]
    return out
