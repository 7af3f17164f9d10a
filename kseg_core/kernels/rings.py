"""Rings of pixels' corners: taken apart until they are simple, measured, and written as text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@kernel("C2i4 C1i8")
def split_rings(corners: I32, starts: I64) -> tuple[I32, I64, I64]:
    """Take closed walks apart where they touch themselves.

    Parameters
    ----------
    corners
        int32 (n, 2): x, y of the corners of all walks.
    starts
        int64 (m + 1,): walk i has the corners ``starts[i]`` to ``starts[i + 1]``.

    Returns
    -------
    corners
        int32 (n, 2): of simple rings; each begins with its uppermost corner, the leftmost of these.
    starts
        int64 (rings + 1,).
    walk
        int64 (rings,): the walk each ring is of.
    """
    n = corners.shape[0]
    out = np.empty((n, 2), np.int32)
    ends = np.empty(n // 3 + 2, np.int64)  # a ring has three corners at least
    walk_of = np.empty(n // 3 + 2, np.int64)
    rings = filled = 0
    unchanged = np.arange(8)
    for walk in range(starts.size - 1):
        first, last = starts[walk], starts[walk + 1]
        m = last - first
        if m < 6:  # too few corners to pass one twice
            filled = _put(corners, first, unchanged, 0, m, out, filled)
            ends[rings], walk_of[rings] = filled, walk
            rings += 1
            continue
        keys = np.empty(m, np.int64)
        for i in range(m):
            keys[i] = (np.int64(corners[first + i, 1]) << 32) | np.int64(corners[first + i, 0])
        order = np.arange(m)
        _sort(keys, order)
        same = np.full(m, -1, np.int64)  # the same place, by the place in `order` where it begins; -1: passed once
        twice = False
        for i in range(1, m):
            if keys[order[i]] == keys[order[i - 1]]:
                twice = True
                same[order[i - 1]] = same[order[i]] = i - 1
        if not twice:
            filled = _put(corners, first, np.arange(m), 0, m, out, filled)
            ends[rings], walk_of[rings] = filled, walk
            rings += 1
            continue
        path = np.empty(m, np.int64)
        place = np.full(m, -1, np.int64)  # where in the path a corner that is passed twice is
        length = 0
        for i in range(m):
            if same[i] >= 0 and place[same[i]] >= 0:
                begin = place[same[i]]
                filled = _put(corners, first, path, begin, length, out, filled)
                ends[rings], walk_of[rings] = filled, walk
                rings += 1
                for j in range(begin + 1, length):
                    if same[path[j]] >= 0:
                        place[same[path[j]]] = -1
                length = begin + 1
            else:
                if same[i] >= 0:
                    place[same[i]] = length
                path[length] = i
                length += 1
        filled = _put(corners, first, path, 0, length, out, filled)
        ends[rings], walk_of[rings] = filled, walk
        rings += 1
    bounds = np.zeros(rings + 1, np.int64)
    for ring in range(rings):  # not a slice: Numba compiles the text of its error too, which asks for its runtime
        bounds[ring + 1] = ends[ring]
    return out[:filled].copy(), bounds, walk_of[:rings].copy()


@inlined
def _sort(keys: I64, order: I64) -> None:
    """Put the places of keys into the keys' rising order: a heap sort, which Numba compiles fast, unlike its own."""
    for end in range(2 * keys.size - 1, 0, -1):  # first every node of the heap, then every place from the last
        if end >= keys.size:
            root, size = end - keys.size, keys.size
        else:
            root, size = 0, end
            order[0], order[end] = order[end], order[0]
        while 2 * root + 1 < size:
            child = 2 * root + 1
            if child + 1 < size and keys[order[child]] < keys[order[child + 1]]:
                child += 1
            if keys[order[root]] >= keys[order[child]]:
                break
            order[root], order[child] = order[child], order[root]
            root = child


@inlined
def _put(corners: I32, first: int, path: I64, begin: int, end: int, out: I32, filled: int) -> int:
    """Copy the corners ``path[begin:end]``, from the uppermost and of these the leftmost; returns the next place."""
    top = begin
    for i in range(begin + 1, end):
        x, y = corners[first + path[i], 0], corners[first + path[i], 1]
        top_x, top_y = corners[first + path[top], 0], corners[first + path[top], 1]
        if y < top_y or (y == top_y and x < top_x):
            top = i
    size = end - begin
    for i in range(size):
        at = first + path[begin + (top - begin + i) % size]
        out[filled, 0], out[filled, 1] = corners[at, 0], corners[at, 1]
        filled += 1
    return filled


@kernel("C2i4 C1i8")
def signed_areas(corners: I32, starts: I64) -> I64:
    """Of each ring, in whole pixels: positive where it goes around pixels of its region, negative around a hole."""
    areas = np.zeros(starts.size - 1, np.int64)
    for ring in range(starts.size - 1):
        first, last = starts[ring], starts[ring + 1]
        x, y = np.int64(corners[last - 1, 0]), np.int64(corners[last - 1, 1])
        total = np.int64(0)
        for i in range(first, last):
            next_x, next_y = np.int64(corners[i, 0]), np.int64(corners[i, 1])
            total += x * next_y - next_x * y
            x, y = next_x, next_y
        areas[ring] = total // 2
    return areas


@kernel("C2i4 C1i8 i")
def with_steps(corners: I32, starts: I64, step: int) -> tuple[I32, I64]:
    """Rings with a point more wherever a side passes a multiple of ``step``: the same for the regions on both sides.

    Slanting sides, which simplified outlines alone have, are as they are.
    """
    bounds = np.zeros(starts.size, np.int64)
    for fill in (False, True):
        out = np.empty((bounds[-1] if fill else 0, 2), np.int32)
        at = 0
        for ring in range(starts.size - 1):
            first, last = starts[ring], starts[ring + 1]
            for i in range(first, last):
                j = i + 1 if i + 1 < last else first
                x, y = corners[i, 0], corners[i, 1]
                along = 0 if corners[j, 0] != x else 1
                begin, end = corners[i, along], corners[j, along]
                if fill:
                    out[at, 0], out[at, 1] = x, y
                at += 1
                low, high = min(begin, end), max(begin, end)
                inside = (high - 1) // step - low // step  # multiples of the step strictly between
                if corners[j, 0] != x and corners[j, 1] != y:
                    inside = 0
                for n in range(inside):
                    if fill:
                        between = (low // step + 1 + n) * step if begin < end else ((high - 1) // step - n) * step
                        out[at, 0] = between if along == 0 else x
                        out[at, 1] = between if along == 1 else y
                    at += 1
            bounds[ring + 1] = at
    return out, bounds


@inlined
def _put_number(value: int, decimals: int, text: U8, at: int) -> int:
    """Write a number that is so many decimals of a whole one, without zeros at its end; returns the next place."""
    if value < 0:
        text[at] = 45  # minus
        at += 1
        value = -value
    scale = 10**decimals
    whole, rest = value // scale, value % scale
    digits = 1
    while whole >= 10**digits:
        digits += 1
    for i in range(digits):
        text[at + digits - 1 - i] = 48 + whole % 10
        whole //= 10
    at += digits
    if rest:
        text[at] = 46  # point
        for i in range(decimals):
            text[at + decimals - i] = 48 + rest % 10
            rest //= 10
        at += decimals
        while text[at] == 48:
            at -= 1
        at += 1
    return at


@kernel("C2i8 C1i8 C1b1 i")
def ring_text(values: I64, starts: I64, backwards: NDArray[np.bool_], decimals: int) -> tuple[U8, I64]:
    """Closed rings as JSON.

    Parameters
    ----------
    values
        int64 (n, 2): x, y of all positions, times ``10**decimals``.
    starts
        int64 (m + 1,): ring i has the positions ``starts[i]`` to ``starts[i + 1]``.
    backwards
        bool (m,): rings to be written the other way round.
    decimals
        At most 9.

    Returns
    -------
    ASCII text of all rings, and where each begins (m + 1,).
    """
    text = np.empty(48 * (values.shape[0] + starts.size), np.uint8)  # two numbers of 64 bits, brackets, commas
    begins = np.zeros(starts.size, np.int64)
    at = 0
    for ring in range(starts.size - 1):
        first, size = starts[ring], starts[ring + 1] - starts[ring]
        text[at] = 91  # [
        at += 1
        for i in range(size + 1):
            position = first + (-i if backwards[ring] else i) % size
            if i > 0:
                text[at] = 44  # comma
                at += 1
            text[at] = 91
            at = _put_number(values[position, 0], decimals, text, at + 1)
            text[at] = 44
            at = _put_number(values[position, 1], decimals, text, at + 1)
            text[at] = 93  # ]
            at += 1
        text[at] = 93
        at += 1
        begins[ring + 1] = at
    return text[:at].copy(), begins
