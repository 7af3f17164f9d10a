"""Regions merged, in rounds, into a hierarchy: what is like its neighbour across a weak border goes first.

What a merge of two regions costs is the mean gradient on their common border, times how differently their pixels are
distributed over a palette and over two maps of texture (chi-square), less where the smaller is small, and where the
border is long for its size. All that goes in are counts, so what is counted in parts of an image adds up.

References
----------
Beucher 1994 (hierarchies from watersheds); Arbelaez et al. 2011 (mean boundary strength, contours by altitude);
Nock & Nielsen 2004, Pele & Werman 2010 (distributions of colours, chi-square).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .cells import by_both

Bools = NDArray[np.bool_]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

VALUES = 256  # that uint8 has, and so a distribution


@inlined
def spread(first: int, last: int, values: U8, often: I64, dense: F64) -> None:
    """Have ``dense`` say how often a region has each of its values.

    One region is priced with several others, whose values are then looked up in it. Going through two lists in parallel
    is a branch at every step, which nothing foretells: merging the cheapest pair takes a fifth longer so.
    """
    for i in range(first, last):
        dense[values[i]] = np.float64(often[i])


@inlined
def clear(first: int, last: int, values: U8, dense: F64) -> None:
    """Take a region out of ``dense``."""
    for i in range(first, last):
        dense[values[i]] = 0.0


@inlined
def _shared(
    dense: F64, a_area: float, b_area: float, first: int, last: int, values: U8, often: I64, palette: int
) -> tuple[float, float]:
    """Sums of p q / (p + q) over the values that two regions both have, of the palette and of the textures."""
    colours = textures = 0.0
    for i in range(first, last):
        one, two = dense[values[i]], np.float64(often[i])
        # division that cannot fail: where it can, Numba counts who uses the arrays, at each call
        term = np.divide(one * two, one * b_area + two * a_area)
        is_colour = np.float64(values[i] < palette)
        colours += term * is_colour
        textures += term * (1.0 - is_colour)
    return colours, textures


@inlined
def _price(
    colours: float, textures: float, smaller: float, length: float, total: float,
    unit: float, texture: float, full: float,
) -> float:  # fmt: skip
    """The price by what `_shared` gives (a chi-square distance is 1 - 2 x), pixels of the smaller, and the border."""
    differ = max(0.0, 1.0 - 2.0 * colours) + texture * max(0.0, 2.0 - 2.0 * textures)
    price: float = np.divide(total, unit * length) * differ * np.sqrt(np.sqrt(np.divide(np.sqrt(smaller), length)))
    if smaller < full:
        price *= np.sqrt(np.divide(smaller, full))
    return price


@inlined
def price_of(
    a: int, b: int, length: int, total: int,
    area: I64, begin: I64, end: I64, values: U8, often: I64, dense: F64, costs: F64,
) -> float:  # fmt: skip
    """What merging two regions costs.

    Parameters
    ----------
    a, b, length, total
        Which they are; and of their border: pairs of pixels, and the sum of gradients.
    area, begin, end, values, often
        Of all regions: pixels; where each one's values, in order, begin and end; and how often it has which.
    dense
        float64 (values,): how often the region ``a`` has each (`spread`).
    costs
        As `merge_rounds` takes them.
    """
    a_area, b_area = np.float64(area[a]), np.float64(area[b])
    colours, textures = _shared(dense, a_area, b_area, begin[b], end[b], values, often, int(costs[3]))
    smaller = min(a_area, b_area)
    return _price(colours, textures, smaller, np.float64(length), np.float64(total), costs[0], costs[1], costs[2])


@inlined
def unite_counts(
    i: int, i_end: int, j: int, j_end: int, values: U8, often: I64, new_values: U8, new_often: I64, place: int
) -> int:
    """Two distributions added up, written from ``place`` on; where they end."""
    while i < i_end or j < j_end:
        if j >= j_end or (i < i_end and values[i] < values[j]):
            new_values[place], new_often[place] = values[i], often[i]
            i += 1
        elif i >= i_end or values[j] < values[i]:
            new_values[place], new_often[place] = values[j], often[j]
            j += 1
        else:
            new_values[place], new_often[place] = values[i], often[i] + often[j]
            i += 1
            j += 1
        place += 1
    return place


class _Regions(NamedTuple):
    """Of regions that are left, by their numbers now: pixels and distributions as `price_of` takes them; the height of
    each, its first number, and whether it is fixed.
    """

    area: I64
    begin: I64
    end: I64
    values: U8
    often: I64
    height: F64
    number: I32
    fixed: Bools


class _Borders(NamedTuple):
    """Of borders in order; the price is -1 where it is not known."""

    lower: I32
    higher: I32
    length: I64
    total: I64
    price: F64


class _Merged(NamedTuple):
    """Merges, by the first numbers of the regions, of which so many are there."""

    kept: I32
    gone: I32
    altitude: F64


@inlined
def _find_cheapest(borders: _Borders, regions: _Regions, costs: F64) -> I64:
    """Each region's cheapest border, the first of equals; -1 where none costs as little as it may."""
    lower, higher, length, total, price = borders
    area, begin, end, values, often, _, _, fixed = regions
    best = np.full(fixed.size, -1, np.int64)
    dense, here = np.zeros(VALUES), -1  # which region it has: none
    for e in range(lower.size):
        a, b = lower[e], higher[e]
        if fixed[a] or fixed[b]:
            continue
        if price[e] < 0.0:
            if a != here:
                clear(begin[here], end[here], values, dense)
                spread(begin[a], end[a], values, often, dense)
                here = a
            price[e] = price_of(a, b, length[e], total[e], area, begin, end, values, often, dense, costs)
        if price[e] > costs[4]:
            continue
        if best[a] < 0 or price[e] < price[best[a]]:
            best[a] = e
        if best[b] < 0 or price[e] < price[best[b]]:
            best[b] = e
    return best


@inlined
def _pair_off(borders: _Borders, regions: _Regions, best: I64, merged: _Merged, merges: int) -> tuple[I32, int]:
    """Merge those whose cheapest border is the same: which region each goes into, -1 if none; and how many merges there
    are then.
    """
    lower, higher, price = borders.lower, borders.higher, borders.price
    height, number = regions.height, regions.number
    kept, gone, altitude = merged
    into = np.full(best.size, -1, np.int32)
    for a in range(best.size):
        e = best[a]
        if e < 0 or lower[e] != a or best[higher[e]] != e:
            continue
        b = higher[e]
        into[b] = a
        height[a] = max(price[e], max(height[a], height[b]))
        kept[merges], gone[merges], altitude[merges] = number[a], number[b], height[a]
        merges += 1
    return into, merges


@inlined
def _renumber(into: I32, left: int) -> tuple[I32, I32, I32]:
    """Number the regions that are left, in their order: the new number of each that there was; and for each new one
    which it was, and which it has taken in, else -1.
    """
    fresh = np.empty(into.size, np.int32)
    source, other = np.empty(left, np.int32), np.full(left, -1, np.int32)
    at = 0
    for r in range(into.size):
        if into[r] < 0:
            fresh[r] = at
            source[at] = r
            at += 1
    for r in range(into.size):
        if into[r] >= 0:
            fresh[r] = fresh[into[r]]
            other[fresh[r]] = r
    return fresh, source, other


@inlined
def _grow(regions: _Regions, source: I32, other: I32) -> _Regions:
    """The regions that are left, with what they have taken in."""
    old_area, begin, end, old_values, old_often, old_height, old_number, old_fixed = regions
    left = source.size
    area, start = np.empty(left, np.int64), np.zeros(left + 1, np.int64)
    height, number, fixed = np.empty(left), np.empty(left, np.int32), np.empty(left, np.bool_)
    values, often = np.empty(old_values.size, np.uint8), np.empty(old_values.size, np.int64)
    for r in range(left):
        a, b = source[r], other[r]
        area[r] = old_area[a] if b < 0 else old_area[a] + old_area[b]
        height[r], number[r], fixed[r] = old_height[a], old_number[a], old_fixed[a]
        first, last = begin[b] if b >= 0 else 0, end[b] if b >= 0 else 0
        start[r + 1] = unite_counts(begin[a], end[a], first, last, old_values, old_often, values, often, start[r])
    return _Regions(area, start[:-1], start[1:], values, often, height, number, fixed)


@inlined
def _take_over(borders: _Borders, fresh: I32, other: I32) -> _Borders:
    """The borders between the regions that are left: those that are between the same two now add up."""
    old_lower, old_higher, old_length, old_total, old_price = borders
    m = old_lower.size
    one, two, which = np.empty(m, np.int32), np.empty(m, np.int32), np.empty(m, np.int64)
    size = 0
    for e in range(m):
        a, b = fresh[old_lower[e]], fresh[old_higher[e]]
        if a != b:
            one[size], two[size], which[size] = min(a, b), max(a, b), e
            size += 1
    order = by_both(one, two, size, other.size)
    lower, higher = np.empty(size, np.int32), np.empty(size, np.int32)
    length, total, price = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    at = -1
    for j in range(size):
        i = order[j]
        e = which[i]
        if at < 0 or one[i] != lower[at] or two[i] != higher[at]:
            at += 1
            lower[at], higher[at] = one[i], two[i]
            length[at], total[at] = old_length[e], old_total[e]
            changed = other[one[i]] >= 0 or other[two[i]] >= 0
            price[at] = -1.0 if changed else old_price[e]
        else:
            length[at] += old_length[e]
            total[at] += old_total[e]
    m = at + 1
    return _Borders(lower[:m], higher[:m], length[:m], total[:m], price[:m])


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
    n = area.size
    region = np.arange(n).astype(np.int32)
    borders = _Borders(lower, higher, length, total, np.full(lower.size, -1.0))
    number = np.arange(n).astype(np.int32)
    regions = _Regions(area, start[:-1], start[1:], values, often, height.copy(), number, fixed)
    merged = _Merged(np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n))
    merges = 0
    for _ in range(rounds):
        best = _find_cheapest(borders, regions, costs)
        before = merges
        into, merges = _pair_off(borders, regions, best, merged, before)
        if merges == before:
            break
        fresh, source, other = _renumber(into, into.size - (merges - before))
        for r in range(n):
            region[r] = fresh[region[r]]
        borders = _take_over(borders, fresh, other)
        regions = _grow(regions, source, other)
    left = regions.area.size
    begins = np.zeros(left + 1, np.int64)
    for r in range(left):
        begins[r + 1] = regions.end[r]
    place = begins[left]
    return (
        region,
        merged.kept[:merges].copy(),
        merged.gone[:merges].copy(),
        merged.altitude[:merges].copy(),
        borders.lower.copy(),
        borders.higher.copy(),
        borders.length.copy(),
        borders.total.copy(),
        regions.area.copy(),
        begins,
        regions.values[:place].copy(),
        regions.often[:place].copy(),
        regions.height,
    )
