"""Regions that were found in a smaller picture, at the full size: borders follow the colours between two pixels of the
small one.

Between the centres of four neighbouring pixels of the small picture is a square of the large one. Where all four are of
one region, so is the square; else the regions grow into it from its corners, each where the colours are like its own
(seeded region growing, Adams & Bischof 1994, with lengths of ways: Dijkstra 1959). Two neighbours of one region hold
the side between them, so that a 4-connected region stays one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

Bools = NDArray[np.bool_]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

STEP = 576  # the cost of one pixel's way beside squares of differences in colour: a difference of 24


@kernel("C3u1 C2b1 i i i C3i8 C2i8")
def add_blocks(pixels: U8, valid: Bools, top: int, left: int, factor: int, sums: I64, counts: I64) -> None:
    """Add the valid pixels (y, x, c) of a window at (``top``, ``left``) to the blocks of ``factor`` pixels they are in.

    ``valid`` is empty where all are.
    """
    height, width, channels = pixels.shape
    all_valid = valid.size == 0
    for y in range(height):
        r = (top + y) // factor
        for x in range(width):
            if all_valid or valid[y, x]:
                c = (left + x) // factor
                counts[r, c] += 1
                for channel in range(channels):
                    sums[r, c, channel] += pixels[y, x, channel]


@inlined
def _push(costs: I64, places: I32, owners: I32, size: int, cost: int, place: int, owner: int) -> None:
    at = size
    while at > 0:
        above = (at - 1) >> 1
        if costs[above] < cost or (costs[above] == cost and places[above] <= place):
            break
        costs[at], places[at], owners[at] = costs[above], places[above], owners[above]
        at = above
    costs[at], places[at], owners[at] = cost, place, owner


@inlined
def _pop(costs: I64, places: I32, owners: I32, size: int) -> None:
    last = size - 1
    cost, place, owner = costs[last], places[last], owners[last]
    at = 0
    while 2 * at + 1 < last:
        down = 2 * at + 1
        if down + 1 < last and (
            costs[down + 1] < costs[down] or (costs[down + 1] == costs[down] and places[down + 1] < places[down])
        ):
            down += 1
        if cost < costs[down] or (cost == costs[down] and place <= places[down]):
            break
        costs[at], places[at], owners[at] = costs[down], places[down], owners[down]
        at = down
    costs[at], places[at], owners[at] = cost, place, owner


@inlined
def _apart(pixels: U8, y: int, x: int, small: U8, r: int, c: int) -> np.int64:
    """The squared difference of two colours."""
    total = np.int64(0)
    for channel in range(pixels.shape[2]):
        step = np.int64(pixels[y, x, channel]) - np.int64(small[r, c, channel])
        total += step * step
    return total


@kernel("C3u1 C2b1 i i i C2i4 C3u1")
def lift_regions(pixels: U8, valid: Bools, top: int, left: int, factor: int, region: I32, small: U8) -> I32:
    """The region of each pixel of a window.

    Parameters
    ----------
    pixels, valid
        (y, x, c): of the window and at least ``factor`` pixels around it, as far as the image goes; and (y, x), where
        empty all are valid. Through others regions grow as through pixels of their own colour.
    top, left
        Where in the image these begin.
    factor
        A pixel of the small picture is the mean of a block of so many.
    region, small
        (y, x), -1 where there is none, and (y, x, c): the regions of the small picture, and the picture.

    Returns
    -------
    int32 (y, x); right where the squares are whole.
    """
    rows, columns, _ = pixels.shape
    all_valid = valid.size == 0
    tall, wide = region.shape
    out = np.full((rows, columns), -1, np.int32)
    half = factor // 2
    room = 4 * factor * factor + 8 * factor
    costs, places, owners = np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.int32)
    owner = np.empty(factor * factor, np.int32)
    corner_r, corner_c = np.empty(4, np.int64), np.empty(4, np.int64)
    # squares begin half a block after the blocks; those at the image's ends are cut short
    for square_y in range((top - half) // factor, (top + rows - 1 - half) // factor + 1):
        y0 = square_y * factor + half
        first_y, last_y = max(y0, top), min(y0 + factor, top + rows)
        above, below = min(max(square_y, 0), tall - 1), min(max(square_y + 1, 0), tall - 1)
        for square_x in range((left - half) // factor, (left + columns - 1 - half) // factor + 1):
            x0 = square_x * factor + half
            first_x, last_x = max(x0, left), min(x0 + factor, left + columns)
            before, after = min(max(square_x, 0), wide - 1), min(max(square_x + 1, 0), wide - 1)
            a, b, c, d = region[above, before], region[above, after], region[below, before], region[below, after]
            if a == b and a == c and a == d:
                for y in range(first_y, last_y):
                    for x in range(first_x, last_x):
                        out[y - top, x - left] = a
                continue
            tall_here, wide_here = last_y - first_y, last_x - first_x
            corner_r[0], corner_r[1], corner_r[2], corner_r[3] = above, above, below, below
            corner_c[0], corner_c[1], corner_c[2], corner_c[3] = before, after, before, after
            for i in range(tall_here * wide_here):
                owner[i] = -1
            size = 0
            # seeds: the corners, and the sides between corners of one region
            for y in range(tall_here):
                for x in range(wide_here):
                    is_top, is_bottom = y == 0, y == tall_here - 1
                    is_left, is_right = x == 0, x == wide_here - 1
                    near_right, near_bottom = 2 * x >= wide_here, 2 * y >= tall_here
                    seed = -1
                    if is_top and is_left:
                        seed = 0
                    elif is_top and is_right:
                        seed = 1
                    elif is_bottom and is_left:
                        seed = 2
                    elif is_bottom and is_right:
                        seed = 3
                    elif is_top and a == b:
                        seed = 1 if near_right else 0
                    elif is_bottom and c == d:
                        seed = 3 if near_right else 2
                    elif is_left and a == c:
                        seed = 2 if near_bottom else 0
                    elif is_right and b == d:
                        seed = 3 if near_bottom else 1
                    if seed < 0 or region[corner_r[seed], corner_c[seed]] < 0:
                        continue
                    _push(costs, places, owners, size, 0, y * wide_here + x, seed)
                    size += 1
            while size > 0:
                cost, place, seed = costs[0], places[0], owners[0]
                _pop(costs, places, owners, size)
                size -= 1
                if owner[place] >= 0:
                    continue
                owner[place] = seed
                y, x = place // wide_here, place % wide_here
                for way in range(4):
                    r = y - 1 if way == 0 else y + 1 if way == 3 else y
                    q = x - 1 if way == 1 else x + 1 if way == 2 else x
                    if 0 <= r < tall_here and 0 <= q < wide_here and owner[r * wide_here + q] < 0:
                        far = np.int64(0)
                        pixel_r, pixel_q = first_y - top + r, first_x - left + q
                        if all_valid or valid[pixel_r, pixel_q]:
                            far = _apart(pixels, pixel_r, pixel_q, small, corner_r[seed], corner_c[seed])
                        _push(costs, places, owners, size, cost + far + STEP, r * wide_here + q, seed)
                        size += 1
            for y in range(tall_here):
                for x in range(wide_here):
                    seed = owner[y * wide_here + x]
                    if seed >= 0:
                        out[first_y - top + y, first_x - left + x] = region[corner_r[seed], corner_c[seed]]
    return out
