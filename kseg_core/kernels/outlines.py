"""Walks along the boundaries of regions, corner by corner.

A step goes along one side of a pixel with that pixel on the right hand, as the image is shown (x right, y down), and
pixels of other labels on the left. Where two pixels of a region meet only in a corner, the walk stays with the one it
is at. So a walk bounds one 4-connected part of a region; it may come back to a corner (`rings.split_rings`).

Each step belongs to the window its pixel is in. A walk that leaves the window is a chain: it ends with the step that
the next window begins with, which is named by its pixel and direction. A window needs one pixel more around it to know
where boundaries are, so none is ever found at a window's edge that is not one of the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

DOWN = (0, 1, 0, -1)  # right, down, left, up: the directions of a step, each a turn to the right from the one before
ACROSS = (1, 0, -1, 0)
CORNER_DOWN = (0, 0, 1, 1)  # where a pixel's step in each direction begins, from the pixel's own corner
CORNER_ACROSS = (0, 1, 1, 0)


@inlined
def _is_boundary(padded: I32, r: int, c: int, d: int) -> bool:
    """Whether the pixel's side in a direction (its left-hand neighbour there) is a boundary."""
    left = (d + 3) % 4
    return bool(padded[r + 1, c + 1] != padded[r + 1 + DOWN[left], c + 1 + ACROSS[left]])


@inlined
def _next(padded: I32, r: int, c: int, d: int) -> tuple[int, int, int]:
    """Pixel and direction of the step that follows."""
    own = padded[r + 1, c + 1]
    left = (d + 3) % 4
    ahead_r, ahead_c = r + DOWN[d], c + ACROSS[d]
    if padded[ahead_r + 1, ahead_c + 1] != own:
        return r, c, (d + 1) % 4
    beyond_r, beyond_c = ahead_r + DOWN[left], ahead_c + ACROSS[left]
    if padded[beyond_r + 1, beyond_c + 1] != own:
        return ahead_r, ahead_c, d
    return beyond_r, beyond_c, left


@inlined
def _begins_here(padded: I32, r: int, c: int, d: int) -> bool:
    """Whether the step before this one belongs to another window."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    own = padded[r + 1, c + 1]
    left = (d + 3) % 4
    behind_r, behind_c = r - DOWN[d], c - ACROSS[d]
    if padded[behind_r + 1, behind_c + 1] != own:
        return False  # the walk came around this very pixel
    beside_r, beside_c = behind_r + DOWN[left], behind_c + ACROSS[left]
    if padded[beside_r + 1, beside_c + 1] != own:
        return not (0 <= behind_r < height and 0 <= behind_c < width)
    return not (0 <= beside_r < height and 0 <= beside_c < width)


@inlined
def _is_corner(kept: U8, d: int, next_r: int, next_c: int, next_d: int) -> bool:
    """Whether an outline has a corner where a step begins that follows one of direction ``d``."""
    if kept.size == 0:
        return bool(next_d != d)
    return bool(kept[next_r + CORNER_DOWN[next_d], next_c + CORNER_ACROSS[next_d]] != 0)


@inlined
def _walk(
    padded: I32, kept: U8, r: int, c: int, d: int, walked: U8, corners: I32, at: int
) -> tuple[int, int, int, int]:
    """Walk from a step until it comes round or leaves the window; returns the next free place and the step after."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    while 0 <= r < height and 0 <= c < width and not walked[r, c] >> d & 1:
        walked[r, c] |= 1 << d
        next_r, next_c, next_d = _next(padded, r, c, d)
        if _is_corner(kept, d, next_r, next_c, next_d):
            corners[at, 0] = next_c + CORNER_ACROSS[next_d]
            corners[at, 1] = next_r + CORNER_DOWN[next_d]
            at += 1
        r, c, d = next_r, next_c, next_d
    return at, r, c, d


@kernel("C2i4 C2i4 C2u1")
def count_corners(padded: I32, parts: I32, kept: U8) -> tuple[int, int]:
    """How many corners and walks a window has at most: what is to be reserved for `trace`."""
    height, width = parts.shape
    corners = walks = 0
    for r in range(height):
        for c in range(width):
            if parts[r, c] > 0:
                for d in range(4):
                    if _is_boundary(padded, r, c, d):
                        next_r, next_c, turned = _next(padded, r, c, d)
                        corners += _is_corner(kept, d, next_r, next_c, turned)
                        # At its uppermost, leftmost corner a ring turns from up to right, or from left to down.
                        rings = (d == 3 and turned == 0) or (d == 2 and turned == 1)
                        chains = r == 0 or c == 0 or r == height - 1 or c == width - 1
                        walks += rings or chains
    return corners, walks


@kernel("C2i4 C2i4 C2u1 C2i4 C2i4")
def trace(padded: I32, parts: I32, kept: U8, corners: I32, walks: I32) -> tuple[int, int]:
    """All walks of a window.

    Parameters
    ----------
    padded
        int32 (y + 2, x + 2): the labels of the window and of one pixel around it, -1 outside the image.
    parts
        int32 (y, x): the 4-connected part each pixel belongs to; 0 where nothing is to be traced.
    kept
        uint8 (y + 1, x + 1): 1 where outlines have corners; of no size: where they turn.
    corners
        int32 (n, 2), filled: x, y of every corner, in pixels of the window.
    walks
        int32 (m, 9), filled: part; first corner and the one after the last; then, of a chain, pixel row, column and
        direction of its first step and of the step that follows its last. Of a ring these are -1.

    Returns
    -------
    How many corners and walks there are.
    """
    height, width = parts.shape
    walked = np.zeros((height, width), np.uint8)
    at = found = 0
    for r in range(height):
        for c in range(width):
            if parts[r, c] == 0 or not (r == 0 or c == 0 or r == height - 1 or c == width - 1):
                continue
            for d in range(4):
                if _is_boundary(padded, r, c, d) and _begins_here(padded, r, c, d):
                    end, next_r, next_c, next_d = _walk(padded, kept, r, c, d, walked, corners, at)
                    walks[found, 0], walks[found, 1], walks[found, 2] = parts[r, c], at, end
                    walks[found, 3], walks[found, 4], walks[found, 5] = r, c, d
                    walks[found, 6], walks[found, 7], walks[found, 8] = next_r, next_c, next_d
                    at = end
                    found += 1
    for r in range(height):
        for c in range(width):
            # Every ring that is left has a step to the right, along the upper side of a pixel.
            if parts[r, c] > 0 and not walked[r, c] & 1 and _is_boundary(padded, r, c, 0):
                end, _, _, _ = _walk(padded, kept, r, c, 0, walked, corners, at)
                walks[found, 0], walks[found, 1], walks[found, 2] = parts[r, c], at, end
                walks[found, 3:] = -1
                at = end
                found += 1
    return at, found
