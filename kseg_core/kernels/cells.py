"""The smallest pieces of an image that are segmented: what flows to one minimum of the gradient.

References
----------
Vincent & Soille 1991 (watersheds); Couprie & Bertrand 1997 (by steepest descent: no pixel is left between).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@inlined
def by_both(one: I32, two: I32, size: int, count: int) -> I64:
    """The order of ``size`` pairs of numbers below ``count``, by the first and then the second; equal ones as given."""
    place = np.zeros(count + 1, np.int64)
    half = np.empty(size, np.int64)
    order = np.empty(size, np.int64)
    for i in range(size):
        place[two[i] + 1] += 1
    for i in range(count):
        place[i + 1] += place[i]
    for i in range(size):
        half[place[two[i]]] = i
        place[two[i]] += 1
    place[:] = 0
    for i in range(size):
        place[one[i] + 1] += 1
    for i in range(count):
        place[i + 1] += place[i]
    for j in range(size):
        i = half[j]
        order[place[one[i]]] = i
        place[one[i]] += 1
    return order


@inlined
def _in_window(step: int) -> int:
    """A step between rows of ``gradient`` as one between rows of the window, which are two shorter."""
    return step if -1 <= step <= 1 else step + 2 if step < 0 else step - 2


@kernel("C2i4")
def descend(gradient: I32) -> tuple[I32, I64]:
    """The cells of a window: each pixel flows to the lowest of its four neighbours and itself, by (gradient, y, x).

    Parameters
    ----------
    gradient
        (y + 2, x + 2), of the window and one pixel around it; the largest int32 where it is invalid, and beyond the
        image.

    Returns
    -------
    int32 (y * x,): numbers from 0 in the order of their lowest pixels, -1 where invalid; and for each cell,
    int64 (n,), -1, or where the pixel that it flows to is, outside the window: its place in ``gradient``, row by row.
    Such a cell is a part of the one there. All are 4-connected.
    """
    rows, columns = gradient.shape
    height, width = rows - 2, columns - 2
    invalid = np.int32(0x7FFFFFFF)
    flows = np.empty(height * width, np.int32)  # by how many places of ``gradient``; 0 if it stays
    for y in range(height):
        up, down = gradient[y, 1 : 1 + width], gradient[y + 2, 1 : 1 + width]
        left, own, right = gradient[y + 1, 0:width], gradient[y + 1, 1 : 1 + width], gradient[y + 1, 2 : 2 + width]
        row = flows[y * width : (y + 1) * width]
        for x in range(width):
            least, step = own[x], np.int32(0)
            step = np.int32(-columns) if up[x] <= least else step
            least = min(up[x], least)
            nearer = (left[x] < least) | ((left[x] == least) & (step == 0))
            step = np.int32(-1) if nearer else step
            least = min(left[x], least)
            step = np.int32(1) if right[x] < least else step
            least = min(right[x], least)
            step = np.int32(columns) if down[x] < least else step
            row[x] = step
    cell = np.full(height * width, -1, np.int32)
    exits = np.empty(height * width, np.int64)  # the system gives memory only to what is written
    count = 0
    for y in range(height):
        ends = y == 0 or y == height - 1
        for x in range(width):
            at = y * width + x
            step = flows[at]
            if gradient[y + 1, x + 1] == invalid:
                flows[at] = 0
                continue
            leaves_to = -1
            if step != 0 and (ends or x == 0 or x == width - 1):
                to = (y + 1) * columns + x + 1 + step  # columns is at least 3: a step along a row is none down
                r, c = to // columns - 1, to % columns - 1
                if r < 0 or r >= height or c < 0 or c >= width:
                    leaves_to = to
                    flows[at] = 0
                    step = flows[at]
            if step == 0:
                cell[at], exits[count] = count, leaves_to
                count += 1
    for first in range(height * width):
        if cell[first] >= 0 or flows[first] == 0:
            continue
        at = first
        while cell[at] < 0:
            at += _in_window(flows[at])
        found = cell[at]
        at = first
        while cell[at] < 0:
            cell[at] = found
            at += _in_window(flows[at])
    return cell, exits[:count].copy()


@kernel("C2i4 C2u1 C2u1 C2u1 i i i")
def count_values(
    cell: I32, first: U8, second: U8, third: U8, count: int, bins: int, more: int
) -> tuple[I64, I64, U8, I64]:
    """Of each cell: pixels, and how many have which value of three maps; only values that occur are kept.

    Parameters
    ----------
    cell
        (y, x), from 0; -1 is left out.
    first, second, third
        (y, x): values below ``bins``, and twice below ``more``.
    count
        How many cells there are.

    Returns
    -------
    int64 (count,): pixels; int64 (count + 1,): where each cell's values begin; uint8: values in order, those of the
    second map after the first's; int64: how often each occurs.
    """
    height, width = cell.shape
    wide = bins + 2 * more
    table = np.zeros((count, wide), np.int32)
    area = np.zeros(count, np.int64)
    for y in range(height):
        for x in range(width):
            at = cell[y, x]
            if at >= 0:
                area[at] += 1
                table[at, first[y, x]] += 1
                table[at, bins + second[y, x]] += 1
                table[at, bins + more + third[y, x]] += 1
    start = np.zeros(count + 1, np.int64)
    for at in range(count):
        row = table[at]
        found = 0
        for b in range(wide):
            found += row[b] > 0
        start[at + 1] = start[at] + found
    values = np.empty(start[count], np.uint8)
    often = np.empty(start[count], np.int64)
    place = 0
    for at in range(count):
        row = table[at]
        for b in range(wide):
            if row[b] > 0:
                values[place] = b
                often[place] = row[b]
                place += 1
    return area, start, values, often


@kernel("C2i4 C2i4 i i i")
def list_borders(cell: I32, gradient: I32, top: int, left: int, count: int) -> tuple[I32, I32, I64, I64]:
    """Which cells touch, along how many pairs of pixels, and the sum over these of the greater gradient.

    Parameters
    ----------
    cell
        (y, x), from 0; -1 has no border.
    gradient
        (y, x), with the cells' first pixel at (``top``, ``left``).
    count
        How many cells there are.

    Returns
    -------
    int32, int32, int64, int64 (m,): the lower and the higher cell, length, sum; in the order of both.
    """
    height, width = cell.shape
    most = 2 * height * width
    one = np.empty(most, np.int32)  # runs of pairs; the system gives memory only to what is written
    two = np.empty(most, np.int32)
    many = np.empty(most, np.int32)
    heights = np.empty(most, np.int64)
    runs = 0
    for y in range(height):
        here = cell[y]
        slope = gradient[top + y, left : left + width]
        for x in range(width - 1):
            p, q = here[x], here[x + 1]
            if p == q or p < 0 or q < 0:
                continue
            one[runs], two[runs] = min(p, q), max(p, q)
            many[runs], heights[runs] = 1, max(slope[x], slope[x + 1])
            runs += 1
        if y + 1 == height:
            continue
        below = cell[y + 1]
        slope_below = gradient[top + y + 1, left : left + width]
        last_p, last_q = np.int32(-1), np.int32(-1)
        for x in range(width):
            p, q = here[x], below[x]
            if p == q or p < 0 or q < 0:
                continue
            high = np.int64(max(slope[x], slope_below[x]))
            if p == last_p and q == last_q:  # borders run on
                many[runs - 1] += 1
                heights[runs - 1] += high
                continue
            last_p, last_q = p, q
            one[runs], two[runs], many[runs], heights[runs] = min(p, q), max(p, q), 1, high
            runs += 1
    order = by_both(one, two, runs, count)
    found = 0
    for j in range(runs):
        i = order[j]
        if j == 0 or one[i] != one[order[j - 1]] or two[i] != two[order[j - 1]]:
            found += 1
    lower, higher = np.empty(found, np.int32), np.empty(found, np.int32)
    length, total = np.zeros(found, np.int64), np.zeros(found, np.int64)
    at = -1
    for j in range(runs):
        i = order[j]
        if j == 0 or one[i] != lower[at] or two[i] != higher[at]:
            at += 1
            lower[at], higher[at] = one[i], two[i]
        length[at] += many[i]
        total[at] += heights[i]
    return lower, higher, length, total
