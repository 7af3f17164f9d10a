"""Disjoint sets as trees: each node names the one above it, and a root names itself and speaks for its set.

References
----------
Tarjan 1975 (disjoint sets); van der Weide 1980 (path halving).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined

I32 = NDArray[np.int32]


@inlined
def root(parent: I32, node: int) -> int:
    """The root of a node's set; the way there is halved for the next who asks."""
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@inlined
def unite(parent: I32, a: int, b: int) -> int:
    """Make the sets of two nodes one; returns its root, which is the lower of theirs."""
    a, b = root(parent, a), root(parent, b)
    if a < b:
        parent[b] = a
        return a
    parent[a] = b
    return b


@inlined
def number_roots(parent: I32, first: int) -> tuple[I32, int]:
    """The number of each node's set, 1, 2, ... in the order of their roots; and how many there are.

    Those before the ``first`` node have 0, and so have nodes with -1 above them. Above any other is no higher one, as
    `unite` leaves them.
    """
    numbers = np.zeros(parent.size, np.int32)
    count = 0
    for node in range(first, parent.size):
        if parent[node] == node:
            count += 1
            numbers[node] = count
        elif parent[node] >= 0:
            numbers[node] = numbers[parent[node]]
    return numbers, count
