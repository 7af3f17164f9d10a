"""A small palette of an image's own colours, and which of it each pixel has, by a table over boxes of the colour space.

References
----------
Gonzalez 1985 (centres far apart); Lloyd 1982.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

Bools = NDArray[np.bool_]
I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@inlined
def _box(value: Any, low: Any, shift: int, size: Any) -> Any:
    """In which box along one axis a value is; those beyond are in the last."""
    return min(max((value - low) >> shift, 0), size - 1)


@kernel("C3i2 C1i4 C1i4 i C1i8 C2i8")
def count_boxes(lab: I16, low: I32, size: I32, shift: int, counts: I64, sums: I64) -> None:
    """Add what an image has in each box.

    Parameters
    ----------
    lab
        (3, y, x).
    low, size, shift
        Boxes begin at ``low`` and have sides of 2^shift; ``size`` of them along each axis.
    counts, sums
        (boxes,), (boxes, 3).
    """
    _, height, width = lab.shape
    for y in range(height):
        for x in range(width):
            a, b, c = np.int64(lab[0, y, x]), np.int64(lab[1, y, x]), np.int64(lab[2, y, x])
            at = _box(a, low[0], shift, size[0])
            at = at * size[1] + _box(b, low[1], shift, size[1])
            at = at * size[2] + _box(c, low[2], shift, size[2])
            counts[at] += 1
            sums[at, 0] += a
            sums[at, 1] += b
            sums[at, 2] += c


@kernel("C3i2 C1u1 C1i4 C1i4 i")
def label_boxes(lab: I16, table: U8, low: I32, size: I32, shift: int) -> U8:
    """What a table over boxes has for each pixel of (3, y, x): uint8 (y, x)."""
    _, height, width = lab.shape
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        one, two, three, row = lab[0, y], lab[1, y], lab[2, y], out[y]
        for x in range(width):
            at = _box(one[x], low[0], shift, size[0])
            at = at * size[1] + _box(two[x], low[1], shift, size[1])
            at = at * size[2] + _box(three[x], low[2], shift, size[2])
            row[x] = table[at]
    return out


@kernel("C2i4 C1i8 i i")
def find_palette(points: I32, weights: I64, k: int, steps: int) -> tuple[I32, U8]:
    """K-means of weighted points: centres far apart to begin with, then Lloyd's steps.

    Parameters
    ----------
    points, weights
        (d, n) and (n,); below 2^13 in size, so that squares of distances of up to eight features fit 32 bits.
    k, steps
        Centres, up to 256, and most steps.

    Returns
    -------
    int32 (k, d): centres; uint8 (n,): the nearest to each point, of equally near ones the first.
    """
    d, n = points.shape
    k = min(k, n)
    centres = np.zeros((k, d), np.int32)
    label = np.zeros(n, np.int32)
    least = np.full(n, np.int32(0x7FFFFFFF), np.int32)
    away = np.empty(n, np.int32)
    chosen = 0
    for i in range(n):
        if weights[i] > weights[chosen]:
            chosen = i
    for j in range(k):
        for c in range(d):
            centres[j, c] = points[c, chosen]
        _keep_nearest(points, centres, j, away, least, label)
        farthest = -1.0
        for i in range(n):
            loss = np.float64(least[i]) * np.float64(weights[i])
            if loss > farthest:
                farthest, chosen = loss, i
    before = np.empty(n, np.int32)
    for _ in range(steps):
        mass = np.zeros(k, np.int64)
        sums = np.zeros((k, d), np.int64)
        for i in range(n):
            mass[label[i]] += weights[i]
            for c in range(d):
                sums[label[i], c] += weights[i] * points[c, i]
        for j in range(k):
            if mass[j] > 0:
                for c in range(d):
                    centres[j, c] = (2 * sums[j, c] + mass[j]) // (2 * mass[j])
        for i in range(n):
            before[i] = label[i]
            least[i] = 0x7FFFFFFF
        for j in range(k):
            _keep_nearest(points, centres, j, away, least, label)
        moved = False
        for i in range(n):
            moved |= label[i] != before[i]
        if not moved:
            break
    nearest = np.empty(n, np.uint8)
    for i in range(n):
        nearest[i] = label[i]
    return centres, nearest


@inlined
def _keep_nearest(points: I32, centres: I32, j: int, away: I32, least: I32, label: I32) -> None:
    """Centre j takes the points that are nearer to it than to those before."""
    away[:] = 0
    for c in range(points.shape[0]):
        own, centre = points[c], centres[j, c]
        for i in range(away.size):
            away[i] += (own[i] - centre) * (own[i] - centre)
    for i in range(away.size):
        nearer = away[i] < least[i]
        label[i] = j if nearer else label[i]
        least[i] = away[i] if nearer else least[i]


@kernel("C3i2 C2i4")
def nearest_centres(features: I16, centres: I32) -> U8:
    """The centre (k, d) nearest to each pixel of (d, y, x): uint8 (y, x); of equally near ones the first."""
    d, height, width = features.shape
    out = np.empty((height, width), np.uint8)
    least, away = np.empty(width, np.int32), np.empty(width, np.int32)
    label = np.empty(width, np.int32)
    points = np.empty((d, width), np.int32)
    for y in range(height):
        for c in range(d):
            row = features[c, y]
            for x in range(width):
                points[c, x] = row[x]
        for x in range(width):
            least[x] = 0x7FFFFFFF
            label[x] = 0
        for j in range(centres.shape[0]):
            _keep_nearest(points, centres, j, away, least, label)
        for x in range(width):
            out[y, x] = label[x]
    return out


@kernel("C3i2 C2b1 i")
def fill_invalid(features: I16, valid: Bools, reach: int) -> None:
    """Give invalid pixels of (d, y, x) the mean of those of their four neighbours that have a value, from the valid
    ones outwards, up to ``reach`` pixels; 0 beyond.
    """
    d, height, width = features.shape
    known = valid.copy()
    for y in range(height):
        for x in range(width):
            if not known[y, x]:
                for c in range(d):
                    features[c, y, x] = 0
    new = np.empty((height, width), np.bool_)
    for _ in range(reach):
        found = False
        for y in range(height):
            for x in range(width):
                new[y, x] = False
                if known[y, x]:
                    continue
                up, down = y > 0 and known[y - 1, x], y + 1 < height and known[y + 1, x]
                left, right = x > 0 and known[y, x - 1], x + 1 < width and known[y, x + 1]
                many = np.int64(up) + np.int64(down) + np.int64(left) + np.int64(right)
                if many == 0:
                    continue
                new[y, x] = found = True
                for c in range(d):
                    total = np.int64(0)
                    if up:
                        total += features[c, y - 1, x]
                    if down:
                        total += features[c, y + 1, x]
                    if left:
                        total += features[c, y, x - 1]
                    if right:
                        total += features[c, y, x + 1]
                    features[c, y, x] = (2 * total + many) // (2 * many)
        if not found:
            break
        for y in range(height):
            for x in range(width):
                known[y, x] |= new[y, x]
