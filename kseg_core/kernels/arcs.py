"""Boundaries of a label image as arcs, each of which loses corners while nothing but its own shape changes.

A node is a corner of pixels where more than two sides of pixels are boundary: where three regions meet, or two touch
diagonally. An arc is the boundary between two nodes, or a closed one without any. All regions around use the same arcs,
so what an arc loses they lose alike.

A corner p between a and b goes where every point of the boundary between a and b stays within a tolerance of the line
a b, and where no other boundary has a point in the closed triangle a p b. The second condition is about the boundaries
as they were, so arcs need not know of each other: whatever subset of such corners two arcs lose, they never meet but at
their ends, for no side of the one could enter a triangle of the other without ending in it. No region vanishes,
turns over or changes its neighbours.

References
----------
Visvalingam & Whyatt 1993 (corners in the order of their triangles' areas); Saalfeld 1999 (a line keeps its topology
where no point of another lies between it and its simplification).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .outlines import ACROSS, DOWN

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

ALONG_ROW, ALONG_COLUMN = 0b0101, 0b1010  # sides to the right and left; down and up
NOWHERE = -1  # a corner of pixels that is on no boundary
FIXED = 0  # one that stays, or lies on the cell's rim; arcs are numbered from 1
LEAST_OF_LOOP = 4  # corners: two would be no area, and three a triangle for every region of one pixel
SCALE = 1 << 16  # of the squared tolerance, a whole number of so many parts
SHIFT = 10  # bits of a row and of a column of a cell in a key
STRAIGHT, SEVERAL = -2, -1  # an arc that is one line, as it was; and one with corners between its ends
BEFORE, AFTER, IS_THERE, NUMBER = range(4)  # of each corner of an arc; and by place in the path, which corner is there


@inlined
def _sides(padded: I32, y: int, x: int) -> int:
    """The directions, as bits, in which sides of pixels that are boundary leave a corner of pixels."""
    above_left, above = padded[y, x], padded[y, x + 1]
    left, own = padded[y + 1, x], padded[y + 1, x + 1]
    right, down, leftwards = int(above != own), int(left != own) << 1, int(above_left != left) << 2
    return right | down | leftwards | int(above_left != above) << 3


@inlined
def _is_fixed(sides: int, y: int, x: int, height: int, width: int) -> bool:
    """Whether a corner stays: a node, or where a boundary comes to the rim of the cell or turns on it."""
    if (sides & 1) + (sides >> 1 & 1) + (sides >> 2 & 1) + (sides >> 3 & 1) > 2:
        return True
    if y == 0 or y == height:
        return sides != 0 and sides != ALONG_ROW and not ((x == 0 or x == width) and sides == ALONG_COLUMN)
    return (x == 0 or x == width) and sides != 0 and sides != ALONG_COLUMN


@inlined
def _is_inside(y: int, x: int, d: int, height: int, width: int) -> bool:
    """Whether the side that leaves a corner in a direction is in the cell and not on its rim."""
    if d % 2 == 0:
        return 0 < y < height and (x < width if d == 0 else x > 0)
    return 0 < x < width and (y < height if d == 1 else y > 0)


@inlined
def _follow(
    sides: U8, fixed: U8, walked: U8, owner: I32, place: I32, path: I32, at: int, y: int, x: int, d: int, arc: int
) -> int:
    """Walk an arc from its first corner, which is in the path, to a fixed one or once around; returns the next free
    place of the path.
    """
    start_y, start_x, begin = y, x, at - 1
    while True:
        walked[y, x] |= 1 << d
        y, x = y + DOWN[d], x + ACROSS[d]
        walked[y, x] |= 1 << (d + 2) % 4
        if y == start_y and x == start_x and not fixed[y, x]:
            return at
        path[at, 0], path[at, 1] = y, x
        at += 1
        if fixed[y, x]:
            return at
        owner[y, x], place[y, x] = arc, at - 1 - begin
        rest = int(sides[y, x]) & ~(1 << (d + 2) % 4)
        d = 0
        while not rest >> d & 1:
            d += 1


@inlined
def _push(heap: I64, size: int, key: int) -> int:
    """Put a key on a heap, the least on top; returns its new size."""
    at = size
    while at > 0 and heap[(at - 1) // 2] > key:
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = key
    return size + 1


@inlined
def _drop_top(heap: I64, size: int) -> int:
    """Take the least key off a heap; returns its new size."""
    size -= 1
    key, at = heap[size], 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key
    return size


@inlined
def _is_near(path: I32, q: int, a: int, b: int, limit: int) -> bool:
    """Whether a corner is within the tolerance of the line between two others."""
    across, down = int(path[b, 1]) - int(path[a, 1]), int(path[b, 0]) - int(path[a, 0])
    x, y = int(path[q, 1]) - int(path[a, 1]), int(path[q, 0]) - int(path[a, 0])
    length, along = across * across + down * down, x * across + y * down
    if along <= 0:
        return (x * x + y * y) * SCALE <= limit
    if along >= length:
        x, y = x - across, y - down
        return (x * x + y * y) * SCALE <= limit
    aside = x * down - y * across
    return aside * aside * SCALE <= limit * length


@inlined
def _is_empty(owner: I32, place: I32, path: I32, arc: int, begin: int, n: int, a: int, p: int, b: int) -> bool:
    """Whether the closed triangle of three corners of an arc has no point of a boundary but the arc's own between."""
    span = b - a if b > a else b - a + n
    top = min(int(path[a, 0]), int(path[p, 0]), int(path[b, 0]))
    bottom = max(int(path[a, 0]), int(path[p, 0]), int(path[b, 0]))
    for y in range(top, bottom + 1):
        low, high = 1 << 30, -1
        start, stop = b, a
        for _ in range(3):  # its sides, each of which goes from x0 to x1
            y0, x0, y1, x1 = int(path[start, 0]), int(path[start, 1]), int(path[stop, 0]), int(path[stop, 1])
            start, stop = stop, p if stop == a else b
            if y0 > y1:
                y0, x0, y1, x1 = y1, x1, y0, x0
            if y < y0 or y > y1:
                continue
            if y0 == y1:
                low, high = min(low, x0, x1), max(high, x0, x1)
            else:
                along = (y - y0) * (x1 - x0)
                low, high = min(low, x0 - (-along) // (y1 - y0)), max(high, x0 + along // (y1 - y0))
        for x in range(low, high + 1):
            if owner[y, x] == NOWHERE:
                continue
            if owner[y, x] == arc:
                along = begin + int(place[y, x]) - a
                if 0 < (along if along >= 0 else along + n) < span:
                    continue
            if (y == path[a, 0] and x == path[a, 1]) or (y == path[b, 0] and x == path[b, 1]):
                continue
            return False
    return True


@inlined
def _may_join(path: I32, a: int, b: int, height: int, width: int, longest: int) -> bool:
    """Whether two corners may be the ends of one line, as far as these alone tell."""
    down, across = abs(int(path[b, 0]) - int(path[a, 0])), abs(int(path[b, 1]) - int(path[a, 1]))
    if down == 0 and (path[a, 0] == 0 or path[a, 0] == height):
        return False  # along the rim, where the next cell may have such a line too
    if across == 0 and (path[a, 1] == 0 or path[a, 1] == width):
        return False
    return down == 0 or across == 0 or max(down, across) <= longest


@inlined
def _key(path: I32, a: int, p: int, b: int) -> int:
    """The order in which corners go: by twice the area of the triangle with their neighbours, then by place."""
    y, x = int(path[p, 0]), int(path[p, 1])
    y0, x0, y1, x1 = int(path[a, 0]), int(path[a, 1]), int(path[b, 0]), int(path[b, 1])
    return abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) << 2 * SHIFT | y << SHIFT | x


@inlined
def _find_turns(path: I32, begin: int, end: int, is_ring: bool, turns: I32, links: I32) -> int:
    """The corners of an arc, its ends among them, each with the one before and the one after; returns how many."""
    n = end - begin  # an open arc has both its ends in the path, a ring no corner twice
    m = 0
    for i in range(n):
        here, behind, ahead = begin + i, begin + (i or n) - 1, begin + (i + 1 if i + 1 < n else 0)
        is_end = not is_ring and (i == 0 or i == n - 1)
        along_row = path[here, 0] == path[behind, 0] and path[here, 0] == path[ahead, 0]
        along_column = path[here, 1] == path[behind, 1] and path[here, 1] == path[ahead, 1]
        if is_end or not (along_row or along_column):
            turns[m] = here
            links[i, NUMBER] = m
            m += 1
    for i in range(m):
        links[i, BEFORE], links[i, AFTER], links[i, IS_THERE] = (i or m) - 1, (i + 1 if i + 1 < m else 0), 1
    return m


@inlined
def _may_go(
    owner: I32, place: I32, path: I32, arc: int, begin: int, end: int, turns: I32, links: I32, m: int, i: int,
    limit: int, longest: int,
) -> bool:  # fmt: skip
    """Whether a corner of an arc, the ``i``-th of ``m``, may be left out."""
    before, after = int(links[i, BEFORE]), int(links[i, AFTER])
    a, b = int(turns[before]), int(turns[after])
    if not _may_join(path, a, b, owner.shape[0] - 1, owner.shape[1] - 1, longest):
        return False
    j = before + 1 if before + 1 < m else 0
    while j != after:
        if not _is_near(path, int(turns[j]), a, b, limit):
            return False
        j = j + 1 if j + 1 < m else 0
    return _is_empty(owner, place, path, arc, begin, end - begin, a, int(turns[i]), b)


@inlined
def _simplify(
    owner: I32, place: I32, path: I32, arc: int, begin: int, end: int, is_ring: bool, limit: int, longest: int,
    links: I32, keys: I64, heap: I64, turns: I32, kept: U8,
) -> int:  # fmt: skip
    """Leave out corners of one arc; returns the last that went where nothing but its ends is left, else `SEVERAL`, or
    `STRAIGHT` where there was nothing else before.
    """
    m = _find_turns(path, begin, end, is_ring, turns, links)
    is_loop = is_ring or (path[begin, 0] == path[end - 1, 0] and path[begin, 1] == path[end - 1, 1])
    least = (LEAST_OF_LOOP + int(not is_ring)) if is_loop else 2  # a loop has its end twice
    size, left, gone = 0, m, STRAIGHT
    for i in range(m):
        keys[i] = -1
        if left > least and (is_ring or 0 < i < m - 1):
            keys[i] = _key(path, int(turns[links[i, BEFORE]]), int(turns[i]), int(turns[links[i, AFTER]]))
            size = _push(heap, size, int(keys[i]))
    while size > 0 and left > least:
        key = int(heap[0])
        size = _drop_top(heap, size)
        i = int(links[place[key >> SHIFT & (1 << SHIFT) - 1, key & (1 << SHIFT) - 1], NUMBER])
        if keys[i] != key:
            continue  # it had another area since
        keys[i] = -1  # until a neighbour goes
        if not _may_go(owner, place, path, arc, begin, end, turns, links, m, i, limit, longest):
            continue
        before, after = int(links[i, BEFORE]), int(links[i, AFTER])
        links[before, AFTER], links[after, BEFORE], links[i, IS_THERE] = after, before, 0
        left -= 1
        gone = int(turns[i])
        for j in (before, after):
            if is_ring or 0 < j < m - 1:
                keys[j] = _key(path, int(turns[links[j, BEFORE]]), int(turns[j]), int(turns[links[j, AFTER]]))
                size = _push(heap, size, int(keys[j]))
    for i in range(m):
        if links[i, IS_THERE]:
            kept[path[turns[i], 0], path[turns[i], 1]] = 1
    return gone if left == 2 and not is_loop else SEVERAL


@inlined
def _put_back(path: I32, corner: int, kept: U8) -> None:
    """Keep a corner after all, where there is one."""
    if corner >= 0:
        kept[path[corner, 0], path[corner, 1]] = 1


@inlined
def _part_twins(path: I32, starts: I32, arcs: int, gone: I32, kept: U8) -> None:
    """Where several arcs became one and the same line, which is a region without area, each has a corner more."""
    width = kept.shape[1]
    latest = np.full(kept.size, -1, np.int32)  # by the first of its ends, the latest arc of which these alone are left
    earlier, last = np.empty(arcs, np.int32), np.empty(arcs, np.int64)
    for arc in range(arcs):
        if gone[arc] == SEVERAL:
            continue
        begin, end = int(starts[arc]), int(starts[arc + 1]) - 1
        one, other = int(path[begin, 0]) * width + int(path[begin, 1]), int(path[end, 0]) * width + int(path[end, 1])
        first, last[arc] = min(one, other), max(one, other)
        twin = int(latest[first])
        while twin >= 0:
            if last[twin] == last[arc]:
                _put_back(path, int(gone[twin]), kept)
                _put_back(path, int(gone[arc]), kept)
            twin = int(earlier[twin])
        earlier[arc] = latest[first]
        latest[first] = arc


@inlined
def _mark(padded: I32, sides: U8, fixed: U8, owner: I32, kept: U8) -> int:
    """What each corner of pixels is; returns how many sides of pixels are boundary and not on the rim."""
    height, width = kept.shape[0] - 1, kept.shape[1] - 1
    count = 0
    for y in range(height + 1):
        for x in range(width + 1):
            own = _sides(padded, y, x)
            sides[y, x] = own
            owner[y, x] = NOWHERE if own == 0 else FIXED
            if _is_fixed(own, y, x, height, width):
                fixed[y, x] = kept[y, x] = 1
            for d in range(2):
                count += own >> d & 1 and _is_inside(y, x, d, height, width)
    return count


@inlined
def _find_arcs(sides: U8, fixed: U8, owner: I32, place: I32, path: I32, starts: I32, rings: U8) -> int:
    """All arcs of a cell; returns how many there are."""
    height, width = sides.shape[0] - 1, sides.shape[1] - 1
    walked = np.zeros(sides.shape, np.uint8)
    arcs = at = 0
    starts[0] = 0
    for closed in (False, True):  # which are what is left by those with ends
        for y in range(height + 1):
            for x in range(width + 1):
                for d in range(1 if closed else 4):  # from its uppermost corner, the leftmost, a ring goes right
                    if closed == bool(fixed[y, x]) or not sides[y, x] >> d & 1 or walked[y, x] >> d & 1:
                        continue
                    if not _is_inside(y, x, d, height, width):
                        continue
                    path[at, 0], path[at, 1] = y, x
                    if closed:
                        owner[y, x] = arcs + 1
                    at = _follow(sides, fixed, walked, owner, place, path, at + 1, y, x, d, arcs + 1)
                    rings[arcs] = closed
                    arcs += 1
                    starts[arcs] = at
    return arcs


@kernel("C2i4 i i")
def kept_corners(padded: I32, limit: int, longest: int) -> U8:
    """Which corners of pixels are those of simplified outlines, in one cell.

    The cell's rim divides arcs: where they come to it they have a fixed corner. So the arcs of a cell are nobody else's
    business, and both cells of a rim know the same of it.

    Parameters
    ----------
    padded
        int32 (y + 2, x + 2): the labels of the cell and of one pixel around it, -1 outside the image; at most 2**9 rows
        and columns.
    limit
        The square of the tolerance in pixels, times `SCALE`, rounded down; at most 2**34.
    longest
        Rows or columns that a slanting line may go through.

    Returns
    -------
    uint8 (y + 1, x + 1): 1 where there is a corner.
    """
    shape = (padded.shape[0] - 1, padded.shape[1] - 1)
    sides, fixed, kept = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    owner, place = np.empty(shape, np.int32), np.zeros(shape, np.int32)
    count = _mark(padded, sides, fixed, owner, kept)
    path, rings = np.empty((2 * count + 1, 2), np.int32), np.empty(count, np.uint8)
    starts = np.empty(count + 1, np.int32)
    arcs = _find_arcs(sides, fixed, owner, place, path, starts, rings)
    most = 0
    for arc in range(arcs):
        most = max(most, int(starts[arc + 1]) - int(starts[arc]))
    links, turns, gone = np.empty((most, 4), np.int32), np.empty(most, np.int32), np.empty(arcs, np.int32)
    keys, heap = np.empty(most, np.int64), np.empty(3 * most, np.int64)  # a corner that goes has its neighbours again
    for arc in range(arcs):
        gone[arc] = _simplify(
            owner, place, path, arc + 1, int(starts[arc]), int(starts[arc + 1]), bool(rings[arc]), limit, longest,
            links, keys, heap, turns, kept,
        )  # fmt: skip
    _part_twins(path, starts, arcs, gone, kept)
    return kept
