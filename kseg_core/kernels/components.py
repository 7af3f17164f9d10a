"""Connected regions of equal labels, all clusters in one pass, numbered by where they are met first, row by row.

References
----------
Rosenfeld & Pfaltz 1966 (regions and their equivalences in two passes).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .forests import number_roots, unite

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Labels = NDArray[np.unsignedinteger[Any]]


@kernel("C2u1 C1b1 b", "C2u4 C1b1 b")
def label_components(labels: Labels, wanted: Bools, diagonal: bool) -> tuple[I32, int]:
    """Number the connected regions of equal labels.

    Parameters
    ----------
    labels
        (y, x).
    wanted
        bool, by label: what is not wanted is background. Labels beyond its end are like its last, so that it need not
        be as long as there are regions.
    diagonal
        Whether pixels that touch at a corner are connected (8) or not (4).

    Returns
    -------
    int32 (y, x): 0 is background, the regions 1, 2, ... in the order of their first pixels; and how many there are.
    """
    height, width = labels.shape
    components = np.zeros((height, width), np.int32)
    parent = np.empty(height * width + 1, np.int32)  # the system gives memory only to what is written
    parent[0] = 0
    last, most = 0, wanted.size - 1
    for r in range(height):
        for c in range(width):
            own = labels[r, c]
            if not wanted[most if own > most else own]:
                continue
            found = 0
            if c > 0 and labels[r, c - 1] == own:
                found = components[r, c - 1]
            if r > 0:
                if labels[r - 1, c] == own:
                    above = components[r - 1, c]
                    found = above if found == 0 or found == above else unite(parent, found, above)
                elif diagonal:
                    # Above is another label: left and above to the left touch anyhow, above to the right may not.
                    if c > 0 and found == 0 and labels[r - 1, c - 1] == own:
                        found = components[r - 1, c - 1]
                    if c + 1 < width and labels[r - 1, c + 1] == own:
                        corner = components[r - 1, c + 1]
                        found = corner if found == 0 or found == corner else unite(parent, found, corner)
            if found == 0:
                last += 1
                parent[last] = last
                found = last
            components[r, c] = found
    final, count = number_roots(parent[: last + 1], 1)
    for r in range(height):
        for c in range(width):
            components[r, c] = final[components[r, c]]
    return components, count


@kernel("C2i4 C2u1 i", "C2i4 C2u4 i")
def measure_components(components: I32, labels: Labels, count: int) -> tuple[I64, I64, I64]:
    """Pixels, label, and place of the first pixel (row by row) of each region; (count + 1,), entry 0 of no meaning."""
    height, width = components.shape
    areas = np.zeros(count + 1, np.int64)
    classes = np.zeros(count + 1, np.int64)
    firsts = np.full(count + 1, -1, np.int64)
    for r in range(height):
        for c in range(width):
            at = components[r, c]
            areas[at] += 1
            if firsts[at] < 0:
                firsts[at] = r * width + c
                classes[at] = labels[r, c]
    return areas, classes, firsts


@kernel("C2i4 C2u1 i", "C2i4 C2u4 i")
def join_corners(parts: I32, labels: Labels, count: int) -> tuple[I32, int]:
    """From 4-connected parts to 8-connected regions: (count + 1,), the region of each part, numbered as the regions of
    `label_components` are; and how many regions there are.
    """
    height, width = parts.shape
    parent = np.arange(count + 1).astype(np.int32)
    for r in range(1, height):
        for c in range(width):
            own = parts[r, c]
            if own == 0:
                continue
            if c > 0 and labels[r - 1, c - 1] == labels[r, c] and parts[r - 1, c - 1] != own:
                unite(parent, own, parts[r - 1, c - 1])
            if c + 1 < width and labels[r - 1, c + 1] == labels[r, c] and parts[r - 1, c + 1] != own:
                unite(parent, own, parts[r - 1, c + 1])
    return number_roots(parent, 1)
