"""Regions merged, cheapest first, into a hierarchy: what is like its neighbour across a weak border goes first.

What a merge of two regions costs is the mean gradient on their common border, times how differently their pixels are
distributed over a palette and over two maps of texture (chi-square), less where the smaller is small, and where the
border is long for its size. All that goes in are counts, so what is counted in parts of an image adds up.

References
----------
Beucher 1994 (hierarchies from watersheds); Arbelaez et al. 2011 (mean boundary strength, contours by altitude);
Nock & Nielsen 2004, Pele & Werman 2010 (distributions of colours, chi-square).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .cells import by_both

Bools = NDArray[np.bool_]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@inlined
def _shared(
    a: int, a_end: int, b: int, b_end: int, a_area: int, b_area: int, values: U8, often: I64, palette: int
) -> tuple[float, float]:
    """Sums of p q / (p + q) over the values that both have, of the palette and of the textures."""
    colours = textures = 0.0
    while a < a_end and b < b_end:
        if values[a] == values[b]:
            p = np.float64(often[a]) * np.float64(b_area)
            q = np.float64(often[b]) * np.float64(a_area)
            term = np.float64(often[a]) * np.float64(often[b]) / (p + q)
            if values[a] < palette:
                colours += term
            else:
                textures += term
            a += 1
            b += 1
        elif values[a] < values[b]:
            a += 1
        else:
            b += 1
    return colours, textures


@inlined
def _price(
    colours: float,
    textures: float,
    smaller: float,
    length: float,
    total: float,
    unit: float,
    texture: float,
    full: float,
) -> float:
    """What merging costs.

    Parameters
    ----------
    colours, textures
        As `_shared` gives them: the chi-square distance of a pair of distributions is 1 - 2 x.
    smaller
        Pixels of the smaller region.
    length, total
        Of the border: pairs of pixels, and the sum of gradients.
    unit
        Of gradients.
    texture
        How much textures weigh beside the palette.
    full
        Regions of so many pixels get no discount.
    """
    differ = max(0.0, 1.0 - 2.0 * colours) + texture * max(0.0, 2.0 - 2.0 * textures)
    price: float = total / (unit * length) * differ * np.sqrt(np.sqrt(np.sqrt(smaller) / length))
    if smaller < full:
        price *= np.sqrt(smaller / full)
    return price


@kernel("C1i4 C1i4 C1i8 C1i8 C1i8 C1i8 C1u1 C1i8 C1f8 C1b1 i C1f8")
def merge_rounds(
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
    rounds: int,
    costs: F64,
) -> tuple[I32, I32, I32, F64, I32, I32, I64, I64, I64, I64, U8, I64, F64]:
    """Merge, in rounds, all pairs of regions that are each other's cheapest neighbour, up to a price.

    What happens to a region depends on those around it, and not on what costs less elsewhere.

    Parameters
    ----------
    lower, higher, length, total
        (m,): borders, in order, as `list_borders` gives them.
    area, start, values, often
        (n,) ..., as `count_values` gives them.
    height
        (n,): altitude of the last merge in each region so far.
    fixed
        (n,): regions that are not merged, as not all is known of them.
    rounds
        Most of them.
    costs
        (unit, weight of textures, size without discount, number of colours, highest price).

    Returns
    -------
    int32 (n,): the number of each region afterwards; int32, int32, float64 (k,): merges in their order: the lower
    region, which goes on, the higher, and the altitude; then borders, areas, distributions and heights as they are now.
    """
    unit, texture, full, palette, most = costs[0], costs[1], costs[2], int(costs[3]), costs[4]
    n, m = area.size, lower.size
    region = np.arange(n).astype(np.int32)
    number = np.arange(n).astype(np.int32)
    kept, gone, altitude = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n)
    merges = 0
    price = np.full(m, -1.0)
    best = np.empty(n, np.int64)
    into = np.empty(n, np.int32)
    for _ in range(rounds):
        for r in range(n):
            best[r] = -1
            into[r] = -1
        for e in range(m):
            a, b = lower[e], higher[e]
            if fixed[a] or fixed[b]:
                continue
            if price[e] < 0.0:
                colours, textures = _shared(
                    start[a], start[a + 1], start[b], start[b + 1], area[a], area[b], values, often, palette
                )
                smaller = np.float64(min(area[a], area[b]))
                price[e] = _price(
                    colours, textures, smaller, np.float64(length[e]), np.float64(total[e]), unit, texture, full
                )
            if price[e] > most:
                continue
            # borders come in order: of equal prices the first stays
            if best[a] < 0 or price[e] < price[best[a]]:
                best[a] = e
            if best[b] < 0 or price[e] < price[best[b]]:
                best[b] = e
        left = n
        for a in range(n):
            e = best[a]
            if e < 0 or lower[e] != a or best[higher[e]] != e:
                continue
            b = higher[e]
            into[b] = a
            left -= 1
            height[a] = max(price[e], max(height[a], height[b]))
            kept[merges], gone[merges], altitude[merges] = number[a], number[b], height[a]
            merges += 1
        if left == n:
            break
        # the regions that are left, in the order of their numbers
        fresh = np.empty(n, np.int32)
        other = np.full(left, -1, np.int32)  # what each has taken in
        source = np.empty(left, np.int32)
        at = 0
        for r in range(n):
            if into[r] < 0:
                fresh[r] = at
                source[at] = r
                at += 1
        for r in range(n):
            if into[r] >= 0:
                fresh[r] = fresh[into[r]]
                other[fresh[r]] = r
        for i in range(region.size):
            region[i] = fresh[region[i]]
        new_area, new_height = np.empty(left, np.int64), np.empty(left)
        new_number, new_fixed = np.empty(left, np.int32), np.empty(left, np.bool_)
        new_start = np.zeros(left + 1, np.int64)
        new_values, new_often = np.empty(values.size, np.uint8), np.empty(values.size, np.int64)
        place = 0
        for r in range(left):
            a, b = source[r], other[r]
            new_area[r] = area[a] if b < 0 else area[a] + area[b]
            new_height[r], new_number[r], new_fixed[r] = height[a], number[a], fixed[a]
            place = _unite_counts(
                start[a],
                start[a + 1],
                start[b] if b >= 0 else 0,
                start[b + 1] if b >= 0 else 0,
                values,
                often,
                new_values,
                new_often,
                place,
            )
            new_start[r + 1] = place
        one, two = np.empty(m, np.int32), np.empty(m, np.int32)
        which = np.empty(m, np.int64)
        size = 0
        for e in range(m):
            a, b = fresh[lower[e]], fresh[higher[e]]
            if a != b:
                one[size], two[size], which[size] = min(a, b), max(a, b), e
                size += 1
        order = by_both(one, two, size, left)
        new_length, new_total = np.empty(size, np.int64), np.empty(size, np.int64)
        new_lower, new_higher, new_price = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size)
        at = -1
        for j in range(size):
            i = order[j]
            e = which[i]
            if at < 0 or one[i] != new_lower[at] or two[i] != new_higher[at]:
                at += 1
                new_lower[at], new_higher[at] = one[i], two[i]
                new_length[at], new_total[at] = length[e], total[e]
                changed = other[one[i]] >= 0 or other[two[i]] >= 0
                new_price[at] = -1.0 if changed else price[e]
            else:
                new_length[at] += length[e]
                new_total[at] += total[e]
        m, n = at + 1, left
        lower, higher, length, total = new_lower[:m], new_higher[:m], new_length[:m], new_total[:m]
        price = new_price
        area, height, number, fixed, start = new_area, new_height, new_number, new_fixed, new_start
        values, often = new_values, new_often
    place = start[n]
    return (
        region,
        kept[:merges].copy(),
        gone[:merges].copy(),
        altitude[:merges].copy(),
        lower.copy(),
        higher.copy(),
        length.copy(),
        total.copy(),
        area.copy(),
        start.copy(),
        values[:place].copy(),
        often[:place].copy(),
        height.copy(),
    )


@inlined
def _unite_counts(
    a: int, a_end: int, b: int, b_end: int, values: U8, often: I64, new_values: U8, new_often: I64, place: int
) -> int:
    """Two distributions added up, written from ``place`` on; where they end."""
    while a < a_end or b < b_end:
        if b >= b_end or (a < a_end and values[a] < values[b]):
            new_values[place], new_often[place] = values[a], often[a]
            a += 1
        elif a >= a_end or values[b] < values[a]:
            new_values[place], new_often[place] = values[b], often[b]
            b += 1
        else:
            new_values[place], new_often[place] = values[a], often[a] + often[b]
            a += 1
            b += 1
        place += 1
    return place


@inlined
def _slot(key: I64, wanted: int) -> int:
    """Where a pair is, or would be, in a table of linear probing."""
    mask = key.size - 1
    at = (wanted * 0x9E3779B1 >> 11) & mask
    while key[at] != -1 and key[at] != wanted:
        at = (at + 1) & mask
    return at


@inlined
def _fill_table(key: I64, where: I32, lower: I32, higher: I32, dead: Bools, n: int) -> int:
    """Enter the living borders by their pairs of regions; how many there are."""
    key[:] = -1
    used = 0
    for e in range(lower.size):
        if not dead[e]:
            at = _slot(key, np.int64(min(lower[e], higher[e])) * n + max(lower[e], higher[e]))
            key[at] = np.int64(min(lower[e], higher[e])) * n + max(lower[e], higher[e])
            where[at] = e
            used += 1
    return used


@inlined
def _comes_before(price: float, a: int, b: int, price2: float, a2: int, b2: int) -> bool:
    """The order of merges: by price, then by the numbers of both regions."""
    if price != price2:
        return price < price2
    return a < a2 or (a == a2 and b < b2)


@inlined
def _push(
    prices: F64,
    ones: I32,
    twos: I32,
    borders: I32,
    versions: I32,
    size: int,
    price: float,
    a: int,
    b: int,
    e: int,
    version: int,
) -> None:
    """Add to a heap of so many."""
    at = size
    while at > 0:
        up = (at - 1) >> 1
        if not _comes_before(price, a, b, prices[up], ones[up], twos[up]):
            break
        prices[at], ones[at], twos[at], borders[at], versions[at] = (
            prices[up],
            ones[up],
            twos[up],
            borders[up],
            versions[up],
        )
        at = up
    prices[at], ones[at], twos[at], borders[at], versions[at] = price, a, b, e, version


@inlined
def _pop(prices: F64, ones: I32, twos: I32, borders: I32, versions: I32, size: int) -> None:
    """Take the first off a heap of so many."""
    last = size - 1
    price, a, b, e, version = prices[last], ones[last], twos[last], borders[last], versions[last]
    at = 0
    while 2 * at + 1 < last:
        down = 2 * at + 1
        if down + 1 < last and _comes_before(
            prices[down + 1], ones[down + 1], twos[down + 1], prices[down], ones[down], twos[down]
        ):
            down += 1
        if not _comes_before(prices[down], ones[down], twos[down], price, a, b):
            break
        prices[at], ones[at], twos[at], borders[at], versions[at] = (
            prices[down],
            ones[down],
            twos[down],
            borders[down],
            versions[down],
        )
        at = down
    prices[at], ones[at], twos[at], borders[at], versions[at] = price, a, b, e, version


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
        As `merge_rounds` takes and gives them.

    Returns
    -------
    int32, int32, float64 (k,): merges in their order: the lower region, which goes on, the higher, and the altitude.
    """
    unit, texture, full, palette, most = costs[0], costs[1], costs[2], int(costs[3]), costs[4]
    n, m = area.size, lower.size
    u, v, length, total, area, height = (
        lower.copy(),
        higher.copy(),
        length.copy(),
        total.copy(),
        area.copy(),
        height.copy(),
    )
    kept, gone, altitude = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n)
    merges = 0
    # distributions: each has its place in a pool, to whose end new ones are written; what is old is left out when full
    begin, end = start[:n].copy(), start[1:].copy()
    room = 2 * values.size + 1024
    pool, counts = np.empty(room, np.uint8), np.empty(room, np.int64)
    filled = values.size
    for i in range(filled):
        pool[i], counts[i] = values[i], often[i]
    # borders of each region: lists through both ends of each
    head = np.full(n, -1, np.int32)
    next_u, next_v = np.empty(m, np.int32), np.empty(m, np.int32)
    degree = np.zeros(n, np.int32)
    for e in range(m):
        next_u[e], next_v[e] = head[u[e]], head[v[e]]
        head[u[e]] = head[v[e]] = e
        degree[u[e]] += 1
        degree[v[e]] += 1
    dead = np.zeros(m, np.bool_)
    size = 1024
    while size < 3 * m:
        size *= 2
    key, where = np.empty(size, np.int64), np.empty(size, np.int32)
    used = _fill_table(key, where, u, v, dead, n)
    fresh = np.empty(m + 1, np.int32)
    number = np.arange(n).astype(np.int32)  # of the region that is kept at a place
    seen = area.copy()  # its size when its borders were priced
    version = np.zeros(m, np.int32)
    room_heap = 3 * m + 1024
    prices = np.empty(room_heap)
    ones, twos = np.empty(room_heap, np.int32), np.empty(room_heap, np.int32)
    borders, versions = np.empty(room_heap, np.int32), np.empty(room_heap, np.int32)
    heap = 0
    todo = 0
    for e in range(m):
        if not (fixed[u[e]] or fixed[v[e]]):
            fresh[todo] = e
            todo += 1
    while True:
        for i in range(todo):
            e = fresh[i]
            version[e] += 1
            a, b = u[e], v[e]
            colours, textures = _shared(begin[a], end[a], begin[b], end[b], area[a], area[b], pool, counts, palette)
            smaller = np.float64(min(area[a], area[b]))
            price = _price(colours, textures, smaller, np.float64(length[e]), np.float64(total[e]), unit, texture, full)
            if price > most or fixed[a] or fixed[b]:
                continue
            if heap == room_heap:  # leave out what is out of date
                living = 0
                for j in range(heap):
                    if not dead[borders[j]] and version[borders[j]] == versions[j]:
                        _push(
                            prices,
                            ones,
                            twos,
                            borders,
                            versions,
                            living,
                            prices[j],
                            ones[j],
                            twos[j],
                            borders[j],
                            versions[j],
                        )
                        living += 1
                heap = living
            p, q = number[a], number[b]
            _push(prices, ones, twos, borders, versions, heap, price, min(p, q), max(p, q), e, version[e])
            heap += 1
        todo = 0
        while heap > 0 and (dead[borders[0]] or version[borders[0]] != versions[0]):
            _pop(prices, ones, twos, borders, versions, heap)
            heap -= 1
        if heap == 0:
            break
        price, e = prices[0], borders[0]
        _pop(prices, ones, twos, borders, versions, heap)
        heap -= 1
        a, b = u[e], v[e]
        colours, textures = _shared(begin[a], end[a], begin[b], end[b], area[a], area[b], pool, counts, palette)
        smaller = np.float64(min(area[a], area[b]))
        now = _price(colours, textures, smaller, np.float64(length[e]), np.float64(total[e]), unit, texture, full)
        if now > price:
            fresh[0] = e
            todo = 1
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
        area[a] += area[b]
        if filled + (end[a] - begin[a]) + (end[b] - begin[b]) > room:
            filled = _compact(begin, end, area, pool, counts)
        place = _unite_counts(begin[a], end[a], begin[b], end[b], pool, counts, pool, counts, filled)
        begin[a], end[a] = filled, place
        filled = place
        begin[b] = end[b] = 0
        area[b] = 0
        f = head[b]
        while f != -1:  # b's other borders become a's, or add to those that a has with the same neighbour
            is_u = u[f] == b
            following = next_u[f] if is_u else next_v[f]
            if not dead[f]:
                other = v[f] if is_u else u[f]
                pair = np.int64(min(a, other)) * n + max(a, other)
                at = _slot(key, pair)
                if key[at] != -1 and not dead[where[at]]:
                    mine = where[at]
                    length[mine] += length[f]
                    total[mine] += total[f]
                    dead[f] = True
                    degree[other] -= 1
                    fresh[todo] = mine
                else:
                    if key[at] == -1:
                        key[at] = pair
                        used += 1
                    where[at] = f
                    if is_u:
                        u[f], next_u[f] = a, head[a]
                    else:
                        v[f], next_v[f] = a, head[a]
                    head[a] = f
                    degree[a] += 1
                    fresh[todo] = f
                todo += 1
            f = following
        head[b] = -1
        degree[a] -= 1
        if 4 * used > 3 * key.size:
            used = _fill_table(key, where, u, v, dead, n)
        if 8 * area[a] > 9 * seen[a]:
            seen[a] = area[a]
            todo = 0
            f = head[a]
            head[a] = -1
            while f != -1:  # all of a's borders, leaving out the dead
                is_u = u[f] == a
                following = next_u[f] if is_u else next_v[f]
                if not dead[f]:
                    if is_u:
                        next_u[f] = head[a]
                    else:
                        next_v[f] = head[a]
                    head[a] = f
                    fresh[todo] = f
                    todo += 1
                f = following
    return kept[:merges].copy(), gone[:merges].copy(), altitude[:merges].copy()


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
