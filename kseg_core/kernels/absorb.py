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

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
F64 = NDArray[np.float64]


@inlined
def _root(parent: I32, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


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
                a, b = _root(parent, one[i]), _root(parent, other[j])
                if a != b:
                    parent[b] = a


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
        root = _root(parent, node)
        areas[root] += pixels[node]
        firsts[root] = min(firsts[root], places[node])
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
        a = _root(parent, one[i])
        for j in range(max(i - 1, 0), min(i + 2, one.size)):
            if other[j] < 0 or classes[one[i]] == classes[other[j]]:
                continue
            b = _root(parent, other[j])
            for region, there in ((a, b), (b, a)):
                if areas[region] < least:
                    contacts[size, 0], contacts[size, 1], contacts[size, 2] = region, there, 1 if i == j else 0
                    size += 1
    return contacts[:size].copy()


@inlined
def _before(areas: I64, firsts: I64, a: int, b: int) -> bool:
    return bool(areas[a] < areas[b] or (areas[a] == areas[b] and firsts[a] < firsts[b]))


@inlined
def _rise(heap: I32, places: I32, areas: I64, firsts: I64, at: int) -> None:
    node = heap[at]
    while at > 0:
        up = (at - 1) >> 1
        if not _before(areas, firsts, node, heap[up]):
            break
        heap[at] = heap[up]
        places[heap[at]] = at
        at = up
    heap[at] = node
    places[node] = at


@inlined
def _sink(heap: I32, places: I32, areas: I64, firsts: I64, at: int, size: int) -> None:
    node = heap[at]
    while 2 * at + 1 < size:
        down = 2 * at + 1
        if down + 1 < size and _before(areas, firsts, heap[down + 1], heap[down]):
            down += 1
        if not _before(areas, firsts, heap[down], node):
            break
        heap[at] = heap[down]
        places[heap[at]] = at
        at = down
    heap[at] = node
    places[node] = at


@inlined
def _take(heap: I32, places: I32, areas: I64, firsts: I64, node: int, size: int) -> int:
    """Take a node out of the heap, if it is there; how many are left."""
    at = places[node]
    if at < 0:
        return size
    places[node] = -1
    size -= 1
    if at < size:
        moved = heap[size]
        heap[at] = moved
        places[moved] = at
        _rise(heap, places, areas, firsts, at)
        _sink(heap, places, areas, firsts, places[moved], size)
    return size


@inlined
def _unite(parent: I32, ring: I32, areas: I64, firsts: I64, root: int, other: int) -> None:
    parent[other] = root
    ring[root], ring[other] = ring[other], ring[root]
    areas[root] += areas[other]
    firsts[root] = min(firsts[root], firsts[other])


@inlined
def _distance(centroids: F64, a: int, b: int) -> float:
    total = 0.0
    for c in range(centroids.shape[1]):
        off = centroids[a, c] - centroids[b, c]
        total += off * off
    return total


@inlined
def _is_better(lengths: I32, firsts: I64, classes: U16, centroids: F64, own: int, a: int, b: int) -> bool:
    """Whether a region of a label goes to ``a`` rather than to ``b``."""
    if lengths[a] != lengths[b]:
        return bool(lengths[a] > lengths[b])
    one, other = _distance(centroids, own, classes[a]), _distance(centroids, own, classes[b])
    if one != other:
        return one < other
    return bool(firsts[a] < firsts[b])


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
    ring = np.arange(n).astype(np.int32)
    heap, places = np.empty(n, np.int32), np.full(n, -1, np.int32)
    total = np.full(n, -1, np.int32)  # the border with each neighbour of the region that goes
    last, before = np.full(n, -1, np.int32), np.empty(across.shape[0], np.int32)
    touched = np.empty(1024, np.int32)
    size = 0
    for contact in range(across.shape[0]):
        node = across[contact, 0]
        before[contact] = last[node]
        last[node] = contact
    for node in range(n):
        root = _root(parent, node)
        if root == node:
            if areas[node] < least:
                heap[size] = node
                places[node] = size
                size += 1
        elif areas[root] < least:
            ring[root], ring[node] = ring[node], ring[root]
    for at in range(size // 2 - 1, -1, -1):
        _sink(heap, places, areas, firsts, at, size)
    while size > 0:
        own = heap[0]
        size = _take(heap, places, areas, firsts, own, size)
        count, node = 0, own
        while True:
            contact = last[node]
            for at in range(offsets[node], offsets[node + 1]):
                there = _root(parent, others[at])
                if there == own:
                    continue
                if total[there] < 0:
                    total[there] = 0
                    if count == touched.size:
                        touched = np.concatenate((touched, touched))
                    touched[count] = there
                    count += 1
                total[there] += lengths[at]
            while contact >= 0:
                there = _root(parent, across[contact, 1])
                if there != own:
                    if total[there] < 0:
                        total[there] = 0
                        if count == touched.size:
                            touched = np.concatenate((touched, touched))
                        touched[count] = there
                        count += 1
                    total[there] += across[contact, 2]
                contact = before[contact]
            node = ring[node]
            if node == own:
                break
        best = -1
        for at in range(count):
            there = touched[at]
            if total[there] > 0 and (
                best < 0 or _is_better(total, firsts, classes, centroids, classes[own], there, best)
            ):
                best = there
        if best >= 0:
            size = _take(heap, places, areas, firsts, best, size)
            _unite(parent, ring, areas, firsts, best, own)
            for at in range(count):
                there = touched[at]
                if there != best and classes[there] == classes[best]:
                    size = _take(heap, places, areas, firsts, there, size)
                    _unite(parent, ring, areas, firsts, best, there)
            if areas[best] < least:
                heap[size] = best
                size += 1
                _rise(heap, places, areas, firsts, size - 1)
        for at in range(count):
            total[touched[at]] = -1
    found = np.empty(n, np.uint16)
    for node in range(n):
        found[node] = classes[_root(parent, node)]
    return found
