"""Regions merged, always the cheapest pair of all, into a hierarchy; prices are those of `merging`.

Regions have places, and borders are lists through both of their ends; a table finds the border of two places, and a
heap the cheapest. What changes is priced anew and entered in the heap once more, and what was entered before is then
out of date.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .merging import VALUES, clear, price_of, spread, unite_counts

Bools = NDArray[np.bool_]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

#: What the heap has beside a price: the numbers of both regions, the border, and how often that was priced by then.
ONE, TWO, BORDER, VERSION = range(4)


class _Lists(NamedTuple):
    """The borders of regions: of each region the first, -1 if none, and how many; of each border the places at both of
    its ends, and the next border there.
    """

    head: I32
    degree: I32
    u: I32
    v: I32
    next_u: I32
    next_v: I32


@inlined
def _put_first(head: I32, ends: I32, following: I32, place: int, e: int) -> None:
    """Make a border the first of the region at a place, which is at one of its ends."""
    ends[e], following[e] = place, head[place]
    head[place] = e


@inlined
def _lists_of(lower: I32, higher: I32, n: int) -> _Lists:
    """Those of all borders of n regions."""
    m = lower.size
    head, degree = np.full(n, -1, np.int32), np.zeros(n, np.int32)
    next_u, next_v = np.empty(m, np.int32), np.empty(m, np.int32)
    for e in range(m):
        a, b = lower[e], higher[e]
        next_u[e], next_v[e] = head[a], head[b]
        head[a] = head[b] = e
        degree[a] += 1
        degree[b] += 1
    return _Lists(head, degree, lower.copy(), higher.copy(), next_u, next_v)


@inlined
def _table_size(m: int) -> int:
    """Of a table for so many borders."""
    size = 1024
    while size < 3 * m:
        size *= 2
    return size


@inlined
def _pair(a: int, b: int, n: int) -> int:
    """A number of two places below n."""
    return int(np.int64(min(a, b)) * n + max(a, b))


@inlined
def _slot(key: I64, pair: int) -> int:
    """Where a pair is, or would be, in a table of linear probing."""
    mask = key.size - 1
    at = (pair * 0x9E3779B1 >> 11) & mask
    while key[at] != -1 and key[at] != pair:
        at = (at + 1) & mask
    return at


@inlined
def _fill_table(key: I64, where: I32, u: I32, v: I32, dead: Bools, n: int) -> int:
    """Enter the living borders by their pairs of places, and nothing else; how many there are."""
    key[:] = -1
    used = 0
    for e in range(u.size):
        if not dead[e]:
            pair = _pair(u[e], v[e], n)
            at = _slot(key, pair)
            key[at], where[at] = pair, e
            used += 1
    return used


@inlined
def _comes_before(price: float, a: int, b: int, price2: float, a2: int, b2: int) -> bool:
    """The order of merges: by price, then by the numbers of both regions."""
    if price != price2:
        return price < price2
    return a < a2 or (a == a2 and b < b2)


@inlined
def _is_before(prices: F64, entries: I32, at: int, other: int) -> bool:
    """Whether what is at one place of the heap comes before what is at another."""
    one, two = entries[at, ONE], entries[at, TWO]
    return _comes_before(prices[at], one, two, prices[other], entries[other, ONE], entries[other, TWO])


@inlined
def _move(prices: F64, entries: I32, source: int, at: int) -> None:
    """Copy what is at one place of the heap to another."""
    prices[at] = prices[source]
    for i in range(4):
        entries[at, i] = entries[source, i]


@inlined
def _push(prices: F64, entries: I32, size: int, price: float, a: int, b: int, e: int, version: int) -> int:
    """Add to a heap of so many; how many there are then."""
    at = size
    while at > 0:
        up = (at - 1) >> 1
        if not _comes_before(price, a, b, prices[up], entries[up, ONE], entries[up, TWO]):
            break
        _move(prices, entries, up, at)
        at = up
    prices[at] = price
    entries[at, ONE], entries[at, TWO], entries[at, BORDER], entries[at, VERSION] = a, b, e, version
    return size + 1


@inlined
def _pop(prices: F64, entries: I32, size: int) -> int:
    """Take the first off a heap of so many; how many are left."""
    last = size - 1
    price, a, b = prices[last], entries[last, ONE], entries[last, TWO]
    e, version = entries[last, BORDER], entries[last, VERSION]
    at = 0
    while 2 * at + 1 < last:
        down = 2 * at + 1
        if down + 1 < last and _is_before(prices, entries, down + 1, down):
            down += 1
        if not _comes_before(prices[down], entries[down, ONE], entries[down, TWO], price, a, b):
            break
        _move(prices, entries, down, at)
        at = down
    prices[at] = price
    entries[at, ONE], entries[at, TWO], entries[at, BORDER], entries[at, VERSION] = a, b, e, version
    return last


@inlined
def _is_current(entries: I32, at: int, dead: Bools, version: I32) -> bool:
    """Whether what is at a place of the heap is not out of date."""
    e = entries[at, BORDER]
    return not dead[e] and bool(version[e] == entries[at, VERSION])


@inlined
def _without_old(prices: F64, entries: I32, size: int, dead: Bools, version: I32) -> int:
    """Leave out of the heap what is out of date; how many are left."""
    left = 0
    for at in range(size):
        if _is_current(entries, at, dead, version):
            a, b, e = entries[at, ONE], entries[at, TWO], entries[at, BORDER]
            left = _push(prices, entries, left, prices[at], a, b, e, entries[at, VERSION])
    return left


@inlined
def _compact(begin: I64, end: I64, area: I64, pool: U8, counts: I64) -> int:
    """Move the distributions of living regions to the front of their pool; where they end."""
    old_values, old_counts = pool.copy(), counts.copy()
    place = 0
    for r in range(begin.size):
        if area[r] > 0:
            first = place
            for i in range(begin[r], end[r]):
                pool[place], counts[place] = old_values[i], old_counts[i]
                place += 1
            begin[r], end[r] = first, place
    return place


@inlined
def _unite(a: int, b: int, area: I64, begin: I64, end: I64, pool: U8, counts: I64, filled: int) -> int:
    """The region at b becomes a part of the one at a, whose distribution is written to the end of the pool; how far it
    is filled then.
    """
    area[a] += area[b]
    place = unite_counts(begin[a], end[a], begin[b], end[b], pool, counts, pool, counts, filled)
    begin[a], end[a] = filled, place
    begin[b] = end[b] = 0
    area[b] = 0
    return place


@inlined
def _hand_over(
    lists: _Lists, a: int, b: int, length: I64, total: I64, dead: Bools, key: I64, where: I32, used: int, changed: I32
) -> tuple[int, int]:
    """The borders of the region at b become those of the one at a, or add to those it has with the same neighbour.

    Returns
    -------
    How many of a's have changed, which are listed; and how much of the table is used.
    """
    head, degree, u, v, next_u, next_v = lists
    count, e = 0, head[b]
    while e != -1:
        is_u = u[e] == b
        following = next_u[e] if is_u else next_v[e]
        if not dead[e]:
            other = v[e] if is_u else u[e]
            pair = _pair(a, other, degree.size)
            at = _slot(key, pair)
            if key[at] != -1 and not dead[where[at]]:
                mine = where[at]
                length[mine] += length[e]
                total[mine] += total[e]
                dead[e] = True
                degree[other] -= 1
                changed[count] = mine
            else:
                used += key[at] == -1
                key[at], where[at] = pair, e
                if is_u:
                    _put_first(head, u, next_u, a, e)
                else:
                    _put_first(head, v, next_v, a, e)
                degree[a] += 1
                changed[count] = e
            count += 1
        e = following
    head[b] = -1
    degree[a] -= 1
    return count, used


@inlined
def _living(lists: _Lists, a: int, dead: Bools, listed: I32) -> int:
    """List all borders of a region, and leave those out of it that are gone; how many there are."""
    head, _, u, v, next_u, next_v = lists
    count, e = 0, head[a]
    head[a] = -1
    while e != -1:
        is_u = u[e] == a
        following = next_u[e] if is_u else next_v[e]
        if not dead[e]:
            if is_u:
                _put_first(head, u, next_u, a, e)
            else:
                _put_first(head, v, next_v, a, e)
            listed[count] = e
            count += 1
        e = following
    return count


@kernel("C1i4 C1i4 C1i8 C1i8 C1i8 C1i8 C1u1 C1i8 C1f8 C1b1 C1f8")
def merge_cheapest(
    lower: I32,
    higher: I32,
    length: I64,
    total: I64,
    area: I64,
    start: I64,
    values: U8,
    often: I64,
    height: F64,
    fixed: Bools,
    costs: F64,
) -> tuple[I32, I32, F64]:
    """Merge the cheapest pair, again and again, until no two regions touch or none costs as little as it may.

    A region's borders are priced anew when it has grown by an eighth, those it inherits at once, and the cheapest once
    more before it is merged: so the work stays near linear even where one region touches all others.

    Parameters
    ----------
    lower, higher, length, total, area, start, values, often, height, fixed, costs
        As `merging.merge_rounds` takes and gives them.

    Returns
    -------
    int32, int32, float64 (k,): merges in their order: the lower region, which goes on, the higher, and the altitude.
    """
    n, m = area.size, lower.size
    length, total, area, height = length.copy(), total.copy(), area.copy(), height.copy()
    kept, gone, altitude = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n)
    merges = 0
    # distributions: each has its place in a pool, to whose end new ones are written; what is old is left out when full
    begin, end = start[:n].copy(), start[1:].copy()
    filled = values.size
    pool, counts = np.empty(2 * filled + 1024, np.uint8), np.empty(2 * filled + 1024, np.int64)
    for i in range(filled):
        pool[i], counts[i] = values[i], often[i]
    lists = _lists_of(lower, higher, n)
    u, v, degree = lists.u, lists.v, lists.degree
    dead, version = np.zeros(m, np.bool_), np.zeros(m, np.int32)
    key, where = np.empty(_table_size(m), np.int64), np.empty(_table_size(m), np.int32)
    used = _fill_table(key, where, u, v, dead, n)
    number = np.arange(n).astype(np.int32)  # of the region that is kept at a place
    seen = area.copy()  # its size when its borders were priced
    prices, entries = np.empty(3 * m + 1024), np.empty((3 * m + 1024, 4), np.int32)
    size = 0
    dense, here = np.zeros(VALUES), -1  # which region it has: none
    changed, count = np.arange(m + 1).astype(np.int32), m  # borders to be priced
    while True:
        for i in range(count):
            e = changed[i]
            version[e] += 1
            a, b = u[e], v[e]
            if fixed[a] or fixed[b]:
                continue
            if b == here:
                a, b = b, a
            if a != here:
                clear(begin[here], end[here], pool, dense)
                spread(begin[a], end[a], pool, counts, dense)
                here = a
            price = price_of(a, b, length[e], total[e], area, begin, end, pool, counts, dense, costs)
            if price > costs[4]:
                continue
            if size == prices.size:
                size = _without_old(prices, entries, size, dead, version)
            p, q = number[a], number[b]
            size = _push(prices, entries, size, price, min(p, q), max(p, q), e, version[e])
        while size > 0 and not _is_current(entries, 0, dead, version):
            size = _pop(prices, entries, size)
        if size == 0:
            break
        price, e = prices[0], entries[0, BORDER]
        size = _pop(prices, entries, size)
        a, b = u[e], v[e]
        if a != here:
            clear(begin[here], end[here], pool, dense)
            spread(begin[a], end[a], pool, counts, dense)
            here = a
        now = price_of(a, b, length[e], total[e], area, begin, end, pool, counts, dense, costs)
        if now > price:
            changed[0], count = e, 1
            continue
        # the region with more borders stays at its place; its number is the lower of both
        if degree[a] < degree[b] or (degree[a] == degree[b] and number[a] > number[b]):
            a, b = b, a
        height[a] = max(now, max(height[a], height[b]))
        kept[merges], gone[merges] = min(number[a], number[b]), max(number[a], number[b])
        altitude[merges] = height[a]
        number[a] = kept[merges]
        merges += 1
        dead[e] = True
        if filled + (end[a] - begin[a]) + (end[b] - begin[b]) > pool.size:
            filled = _compact(begin, end, area, pool, counts)
        filled = _unite(a, b, area, begin, end, pool, counts, filled)
        spread(begin[a], end[a], pool, counts, dense)  # which has all values that either had
        here = a
        count, used = _hand_over(lists, a, b, length, total, dead, key, where, used, changed)
        if 4 * used > 3 * key.size:
            used = _fill_table(key, where, u, v, dead, n)
        if 8 * area[a] > 9 * seen[a]:
            seen[a] = area[a]
            count = _living(lists, a, dead, changed)
    return kept[:merges].copy(), gone[:merges].copy(), altitude[:merges].copy()
