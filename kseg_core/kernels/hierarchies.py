"""A hierarchy of regions as the level at which each boundary between two pixels vanishes; and cut at a level.

References
----------
Arbelaez 2006; Najman 2011 (ultrametric contour maps: a hierarchy, and its boundaries with the level where each ends).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..segment_settings import MOST
from ._jit import inlined, kernel
from .forests import number_roots, unite

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

BESIDE_INVALID = np.uint8(254)  # a boundary of a valid pixel with an invalid one: it never vanishes
INVALID = np.uint8(255)


@inlined
def _parted(a: int, b: int, up: I32, when: I32, level: U8) -> int:
    """The level at which two regions become one; the highest, where they do not.

    Such regions touch where a hierarchy was lifted to a larger picture than it was made of.
    """
    found = 0
    while a != b:
        if when[a] < when[b]:
            found = max(found, level[a])
            a = up[a]
        elif when[a] == when[b]:  # neither goes anywhere
            return MOST
        else:
            found = max(found, level[b])
            b = up[b]
    return found


@kernel("C2i4 i i C1i4 C1i4 C1i4 C1u1 C3u1")
def fill_contours(
    region: I32, height: int, width: int, group: I32, up: I32, when: I32, level: U8, contours: U8
) -> None:
    """Enter the level at which the boundary between regions of the hierarchy vanishes.

    Parameters
    ----------
    region
        (y, x): number of the region, -1 where invalid; of a window and one row and column after it where the image
        goes on.
    height, width
        Of the window.
    group
        (n,): what of the hierarchy each is in; boundaries between two of these are left as they are.
    up, when, level
        (n,): into which region each goes, after how many others, and at what level; the last of a group goes nowhere,
        and last.
    contours
        (2, height, width): of each pixel and the next in its row, and in its column; 0, or what is known already.
    """
    rows, columns = region.shape
    for y in range(height):
        here = region[y]
        for plane in range(2):  # a plane's boundaries run on, those of both take turns
            if y + plane >= rows:
                for x in range(width):
                    if here[x] < 0:
                        contours[plane, y, x] = INVALID
                continue
            last_a, last_b, found = np.int32(-1), np.int32(-1), 0
            shift = 1 - plane
            there, out = region[y + plane], contours[plane, y]
            for x in range(width):
                a = here[x]
                if a < 0:
                    out[x] = INVALID
                    continue
                if x + shift >= columns:
                    continue
                b = there[x + shift]
                if b == a:
                    continue
                if b < 0:
                    out[x] = BESIDE_INVALID
                    continue
                if group[a] != group[b]:
                    continue
                if a != last_a or b != last_b:
                    last_a, last_b, found = a, b, _parted(a, b, up, when, level)
                out[x] = found


@kernel("C3u1 i")
def cut_contours(contours: U8, most: int) -> tuple[I32, int]:
    """The 4-connected parts of a window of contours (2, y, x) between boundaries that vanish at ``most`` or before.

    Returns
    -------
    int32 (y, x): 0 where invalid, else from 1 in the order of their first pixels; and how many there are.
    """
    _, height, width = contours.shape
    part = np.zeros((height, width), np.int32)
    parent = np.empty(height * width + 1, np.int32)  # the system gives memory only to what is written
    parent[0] = 0
    last = 0
    for y in range(height):
        for x in range(width):
            if contours[0, y, x] == INVALID:
                continue
            found = 0
            if x > 0 and contours[0, y, x - 1] <= most:
                found = part[y, x - 1]
            if y > 0 and contours[1, y - 1, x] <= most:
                above = part[y - 1, x]
                found = above if found == 0 or found == above else unite(parent, found, above)
            if found == 0:
                last += 1
                parent[last] = last
                found = last
            part[y, x] = found
    final, count = number_roots(parent[: last + 1], 1)
    for y in range(height):
        for x in range(width):
            part[y, x] = final[part[y, x]]
    return part, count
