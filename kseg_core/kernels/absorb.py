"""Small regions go to their neighbours, smallest first: on a graph of regions, whatever size their image has.

A node is a region of one window, or of a whole image; those that are one across seams are united first. Where a small
region goes, it touches all that it then becomes one with: so only the contacts of small regions count, and those of a
region that has grown large enough never again. Regions that are united are one tree (the root speaks for all) and one
ring (to go through them all).

References
----------
Tarjan 1975 (disjoint sets); the heap is a binary one that knows where each node is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .forests import root, unite

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
F64 = NDArray[np.float64]


@kernel("C1i4 C1u2 C1i4 C1i4")
def unite_across(parent: I32, classes: U16, one: I32, other: I32) -> None:
    """Unite, in place, nodes of one label that touch across a seam, straight or at a corner.

    Parameters
    ----------
    parent
        int32 (n,): the trees.
    classes
        uint16 (n,): their labels.
    one, other
        int32: the nodes along both sides of a seam; below 0 where there is none.
    """
    for i in range(one.size):
        if one[i] < 0:
            continue
        for j in range(max(i - 1, 0), min(i + 2, one.size)):
            if other[j] >= 0 and classes[one[i]] == classes[other[j]]:
                unite(parent, one[i], other[j])


@kernel("C1i4 C1i4 C1i8")
def add_up(parent: I32, pixels: I32, places: I64) -> tuple[I64, I64]:
    """Pixels and the place of the first of each region, at its root, int64 (n,) each.

    Parameters
    ----------
    parent
        The trees, as `unite_across` left them.
    pixels, places
        int32 and int64 (n,): of the nodes.
    """
    areas, firsts = np.zeros(parent.size, np.int64), places.copy()
    for node in range(parent.size):
        own = root(parent, node)
        areas[own] += pixels[node]
        firsts[own] = min(firsts[own], places[node])
    return areas, firsts


@kernel("C1i4 C1u2 C1i8 i C1i4 C1i4")
def touching_across(parent: I32, classes: U16, areas: I64, least: int, one: I32, other: I32) -> I32:
    """What small regions touch across a seam, where all are united.

    Parameters
    ----------
    parent, classes, one, other
        As of `unite_across`.
    areas
        int64 (n,): of the regions, at their roots.

    Returns
    -------
    int32 (m, 3): a small region, what it touches, and over how many pairs of pixels: 0 where only corners do.
    """
    contacts = np.empty((6 * one.size, 3), np.int32)
    size = 0
    for i in range(one.size):
        if one[i] < 0:
            continue
        a = root(parent, one[i])
        for j in range(max(i - 1, 0), min(i + 2, one.size)):
            if other[j] < 0 or classes[one[i]] == classes[other[j]]:
                continue
            b = root(parent, other[j])
            for region, there in ((a, b), (b, a)):
                if areas[region] < least:
                    contacts[size, 0], contacts[size, 1], contacts[size, 2] = region, there, 1 if i == j else 0
                    size += 1
    return contacts[:size].copy()


class _Heap(NamedTuple):
    """Small regions, the smallest first: so many of ``nodes``, and where in these each is, else -1."""

    nodes: I32
    places: I32
    areas: I64
    firsts: I64


@inlined
def _before(heap: _Heap, a: int, b: int) -> bool:
    areas, firsts = heap.areas, heap.firsts
    return bool(areas[a] < areas[b] or (areas[a] == areas[b] and firsts[a] < firsts[b]))


@inlined
def _put(heap: _Heap, at: int, node: int) -> None:
    heap.nodes[at] = node
    heap.places[node] = at


@inlined
def _rise(heap: _Heap, at: int, node: int) -> None:
    """Put a node where it belongs between a place and the top."""
    while at > 0 and _before(heap, node, heap.nodes[(at - 1) >> 1]):
        _put(heap, at, heap.nodes[(at - 1) >> 1])
        at = (at - 1) >> 1
    _put(heap, at, node)


@inlined
def _sink(heap: _Heap, size: int, at: int, node: int) -> None:
    """Put a node where it belongs between a place and the bottom."""
    while 2 * at + 1 < size:
        down = 2 * at + 1
        if down + 1 < size and _before(heap, heap.nodes[down + 1], heap.nodes[down]):
            down += 1
        if not _before(heap, heap.nodes[down], node):
            break
        _put(heap, at, heap.nodes[down])
        at = down
    _put(heap, at, node)


@inlined
def _take(heap: _Heap, size: int, node: int) -> int:
    """Take a node out of the heap, if it is there; how many are left."""
    at = heap.places[node]
    if at < 0:
        return size
    heap.places[node] = -1
    size -= 1
    if at < size:
        moved = heap.nodes[size]
        _rise(heap, at, moved)
        _sink(heap, size, heap.places[moved], moved)
    return size


@inlined
def _distance(centroids: F64, a: int, b: int) -> float:
    total = 0.0
    for c in range(centroids.shape[1]):
        off = centroids[a, c] - centroids[b, c]
        total += off * off
    return total


class _Regions(NamedTuple):
    """Nodes: their trees, what is at the roots of these, and the next of each one's ring."""

    parent: I32
    ring: I32
    classes: U16
    areas: I64
    firsts: I64


@inlined
def _take_in(regions: _Regions, own: int, other: int) -> None:
    """Make a region, ``other``, a part of one."""
    ring, areas, firsts = regions.ring, regions.areas, regions.firsts
    regions.parent[other] = own
    ring[own], ring[other] = ring[other], ring[own]
    areas[own] += areas[other]
    firsts[own] = min(firsts[own], firsts[other])


@inlined
def _gather(regions: _Regions, heap: _Heap, least: int) -> int:
    """Make the rings of small regions, and a heap of these; how many there are."""
    parent, ring, size = regions.parent, regions.ring, 0
    for node in range(parent.size):
        own = root(parent, node)
        if regions.areas[own] >= least:
            continue
        if own == node:
            _put(heap, size, node)
            size += 1
        else:
            ring[own], ring[node] = ring[node], ring[own]
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, size, at, heap.nodes[at])
    return size


class _Contacts(NamedTuple):
    """What nodes touch: within windows by `touching_runs`, and across seams by `touching_across`, of which ``last`` is
    each node's last, and ``before`` the one before of the same node.
    """

    offsets: I32
    others: I32
    lengths: I32
    across: I32
    last: I32
    before: I32


class _Touched(NamedTuple):
    """The regions that one touches, so many of ``which``; and by region over how many pairs of pixels, -1 if not."""

    which: I32
    lengths: I32


@inlined
def _touch(touched: _Touched, count: int, there: int, length: int) -> int:
    """Note a contact; how many regions are touched then."""
    if touched.lengths[there] < 0:
        touched.lengths[there] = 0
        touched.which[count] = there
        count += 1
    touched.lengths[there] += length
    return count


@inlined
def _find_touched(regions: _Regions, contacts: _Contacts, own: int, touched: _Touched) -> int:
    """All that a small region touches, none of which is noted so far; how many they are."""
    offsets, across = contacts.offsets, contacts.across
    count, node = 0, own
    while True:
        for at in range(offsets[node], offsets[node + 1]):
            there = root(regions.parent, contacts.others[at])
            if there != own:
                count = _touch(touched, count, there, contacts.lengths[at])
        contact = contacts.last[node]
        while contact >= 0:
            there = root(regions.parent, across[contact, 1])
            if there != own:
                count = _touch(touched, count, there, across[contact, 2])
            contact = contacts.before[contact]
        node = regions.ring[node]
        if node == own:
            return count


@inlined
def _is_better(regions: _Regions, lengths: I32, centroids: F64, own: int, a: int, b: int) -> bool:
    """Whether a region goes to ``a`` rather than to ``b``."""
    if lengths[a] != lengths[b]:
        return bool(lengths[a] > lengths[b])
    classes, firsts = regions.classes, regions.firsts
    one = _distance(centroids, classes[own], classes[a])
    other = _distance(centroids, classes[own], classes[b])
    if one != other:
        return one < other
    return bool(firsts[a] < firsts[b])


@inlined
def _best(regions: _Regions, touched: _Touched, count: int, centroids: F64, own: int) -> int:
    """Where a region goes, of what it touches; -1 where it has no neighbour."""
    best = -1
    for at in range(count):
        there, lengths = touched.which[at], touched.lengths
        if lengths[there] > 0 and (best < 0 or _is_better(regions, lengths, centroids, own, there, best)):
            best = there
    return best


@kernel("C1i4 C1u2 C1i8 C1i8 C1i4 C1i4 C1i4 C2i4 C2f8 i")
def absorb(
    parent: I32,
    classes: U16,
    areas: I64,
    firsts: I64,
    offsets: I32,
    others: I32,
    lengths: I32,
    across: I32,
    centroids: F64,
    least: int,
) -> U16:
    """Let every region below ``least`` pixels go to a neighbour, the smallest first, until none is left that has one.

    It goes to the one it shares most border with (pairs of pixels that are neighbours in a row or a column); in a tie
    to that of the nearest centroid, then to that whose first pixel comes first. All regions of that label that it
    touches, be it at a corner, are one with it then. Of equal size that goes first whose first pixel does.

    Parameters
    ----------
    parent
        int32 (n,): the trees, as `unite_across` left them; overwritten, as the next three are.
    classes
        uint16 (n,): labels.
    areas, firsts
        int64 (n,): at roots, a region's pixels and the place of its first.
    offsets, others, lengths
        Contacts of nodes, as `touching_runs` has them; (n + 1,), (m,), (m,).
    across
        As `touching_across` gave them.
    centroids
        float64 (k, d).
    least
        Pixels that a region must have.

    Returns
    -------
    uint16 (n,): the label of each node.
    """
    n = parent.size
    regions = _Regions(parent, np.arange(n).astype(np.int32), classes, areas, firsts)
    heap = _Heap(np.empty(n, np.int32), np.full(n, -1, np.int32), areas, firsts)
    touched = _Touched(np.empty(n, np.int32), np.full(n, -1, np.int32))
    last, before = np.full(n, -1, np.int32), np.empty(across.shape[0], np.int32)
    contacts = _Contacts(offsets, others, lengths, across, last, before)
    for contact in range(across.shape[0]):
        before[contact] = last[across[contact, 0]]
        last[across[contact, 0]] = contact
    size = _gather(regions, heap, least)
    while size > 0:
        own = heap.nodes[0]
        size = _take(heap, size, own)
        count = _find_touched(regions, contacts, own, touched)
        best = _best(regions, touched, count, centroids, own)
        if best >= 0:
            size = _take(heap, size, best)
            _take_in(regions, best, own)
            for at in range(count):
                there = touched.which[at]
                if there != best and classes[there] == classes[best]:
                    size = _take(heap, size, there)
                    _take_in(regions, best, there)
            if areas[best] < least:
                _rise(heap, size, best)
                size += 1
        for at in range(count):
            touched.lengths[touched.which[at]] = -1
    found = np.empty(n, np.uint16)
    for node in range(n):
        found[node] = classes[root(parent, node)]
    return found
