"""What the second nearest centroid says of a point: how clearly it belongs to its cluster, and its silhouette.

Distances are those of `assign` and `dense`, term by term, so the nearest centroid here is the one the labels name.

The confidence is a byte, ``floor(254 (d2 - d1) / d2)`` of a float64 quotient of correctly rounded square roots: the
same bits on every machine. The simplified silhouette is the same quotient, rounded once to 2**-32: 0 where both
centroids are one, 1 on a centroid. Whole numbers are added up, in two parts neither of which can overflow:
``high * 2**16 + low``. So the sum is the same to the last bit however the points are divided.

References
----------
Hruschka, de Castro & Campello 2004; Vendramin, Campello & Hruschka 2010 (simplified silhouette).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .assign import farther_everywhere
from .dense import fill_features

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Values = NDArray[Any]
Bools = NDArray[np.bool_]

BLOCK = 256  # points a block: its distances stay in the first-level cache
CERTAIN = 254.0  # of a pixel that is its centroid; 255 is an invalid pixel
INVALID = 255
ONE = 4294967296.0  # 2**32: the step is far below what a silhouette means, the sum of 2**46 pixels' halves fits int64


@inlined
def _two_nearest(features: F64, size: int, centroids: F64, first: F64, second: F64, distance: F64) -> None:
    """Squared distances of a block's points (d, BLOCK) to their nearest and second nearest centroid."""
    for i in range(size):
        first[i] = np.inf
        second[i] = np.inf
    for j in range(centroids.shape[0]):
        for i in range(size):
            distance[i] = 0.0
        for axis in range(features.shape[0]):
            center = centroids[j, axis]
            for i in range(size):
                difference = features[axis, i] - center
                distance[i] += difference * difference
        for i in range(size):
            d = distance[i]
            closer = d < first[i]
            second[i] = first[i] if closer else min(second[i], d)
            first[i] = d if closer else first[i]


@inlined
def _confidence(first: float, second: float) -> int:
    """``floor(254 (d2 - d1) / d2)`` of squared distances; 254 without a second centroid, 0 where both are the point.

    The quotient comes before the product: of a pixel on its centroid it is exactly 1.
    """
    d1, d2 = np.sqrt(first), np.sqrt(second)
    if d2 == 0.0:
        return 0
    if np.isinf(d2):  # there is no second centroid, or it is farther than float64 can say
        return 0 if np.isinf(d1) else int(CERTAIN)
    return int(np.floor(CERTAIN * ((d2 - d1) / d2)))


@kernel("C2f4 C2f8")
def rate(points: F32, centroids: F64) -> U8:
    """Confidence (n,) of points (3, n) with every centroid (k, 3) compared."""
    n, k = points.shape[1], centroids.shape[0]
    rated = np.empty(n, np.uint8)
    first, second = np.empty(BLOCK, np.float64), np.empty(BLOCK, np.float64)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        x = points[0, start : start + size]
        y = points[1, start : start + size]
        z = points[2, start : start + size]
        for i in range(size):
            first[i] = second[i] = np.inf
        for j in range(k):
            cx, cy, cz = centroids[j, 0], centroids[j, 1], centroids[j, 2]
            for i in range(size):
                dx, dy, dz = x[i] - cx, y[i] - cy, z[i] - cz
                d = dx * dx + dy * dy + dz * dz
                second[i] = min(second[i], max(first[i], d))
                first[i] = min(first[i], d)
        for i in range(size):
            rated[start + i] = _confidence(first[i], second[i])
    return rated


@inlined
def _two_nearest_to_middle(lo: F64, hi: F64, cell: int, centroids: F64) -> tuple[int, int]:
    """The centroids nearest and second nearest to the middle of a cell's box; there are at least two."""
    winner = runner_up = -1
    least = second = np.inf
    mx = 0.5 * (lo[cell, 0] + hi[cell, 0])
    my = 0.5 * (lo[cell, 1] + hi[cell, 1])
    mz = 0.5 * (lo[cell, 2] + hi[cell, 2])
    for j in range(centroids.shape[0]):
        d = (mx - centroids[j, 0]) ** 2 + (my - centroids[j, 1]) ** 2 + (mz - centroids[j, 2]) ** 2
        if winner < 0 or d < least:
            runner_up, second = winner, least
            winner, least = j, d
        elif runner_up < 0 or d < second:
            runner_up, second = j, d
    return winner, runner_up


@kernel("C2f4 C1i8 C2f8 C2f8 C2f8")
def rate_by_cells(points: F32, starts: I64, lo: F64, hi: F64, centroids: F64) -> U8:
    """The same of points ordered by cell, as `assign.label_by_cells` has them, and at least two centroids.

    A centroid is neither nearest nor second nearest to any point of a cell where two others are nearer everywhere.
    """
    k = centroids.shape[0]
    rated = np.empty(points.shape[1], np.uint8)
    candidates = np.empty(k, np.int64)
    for cell in range(starts.size - 1):
        winner, runner_up = _two_nearest_to_middle(lo, hi, cell, centroids)
        found = 0
        for j in range(k):
            beaten = (
                j != winner
                and j != runner_up
                and farther_everywhere(lo, hi, cell, centroids[j], centroids[winner])
                and farther_everywhere(lo, hi, cell, centroids[j], centroids[runner_up])
            )
            if not beaten:
                candidates[found] = j
                found += 1
        for i in range(starts[cell], starts[cell + 1]):
            x, y, z = np.float64(points[0, i]), np.float64(points[1, i]), np.float64(points[2, i])
            first = second = np.inf
            for at in range(found):
                j = candidates[at]
                dx, dy, dz = x - centroids[j, 0], y - centroids[j, 1], z - centroids[j, 2]
                d = dx * dx + dy * dy + dz * dz
                second = min(second, max(first, d))
                first = min(first, d)
            rated[i] = _confidence(first, second)
    return rated


@kernel(*(f"C2{value} C1b1 C2f8 C2f8" for value in ("u2", "f4")))
def rate_dense(values: Values, valid: Bools, affine: F64, centroids: F64) -> U8:
    """Confidence (n,) of pixels of any number of bands, with parameters as `dense.squared_distances` has them."""
    n, bands = values.shape
    rated = np.empty(n, np.uint8)
    features = np.empty((bands, BLOCK), np.float64)
    first, second, distance = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    masked = valid.size > 0
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        fill_features(values, start, size, affine, features)
        _two_nearest(features, size, centroids, first, second, distance)
        for i in range(size):
            if masked and not valid[start + i]:
                rated[start + i] = INVALID
            else:
                rated[start + i] = _confidence(first[i], second[i])
    return rated


@inlined
def _rounded(first: float, second: float) -> np.int64:
    """A point's silhouette in steps of 2**-32, from its squared distances."""
    if second <= 0.0:
        return np.int64(0)
    a, b = np.sqrt(first), np.sqrt(second)
    if np.isinf(b):  # farther than float64 can say
        return np.int64(0) if np.isinf(a) else np.int64(ONE)
    return np.int64(np.floor((b - a) / b * ONE + 0.5))


@kernel("C2f4 C1i8 C2f8")
def silhouette_of_points(points: F32, weights: I64, centroids: F64) -> tuple[int, int]:
    """The sum (high, low) of weighted points float32 (3, n), for float64 (k, 3) centroids, k at least 2."""
    axes, n = points.shape
    features = np.empty((axes, BLOCK))
    first, second, distance = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    high = low = np.int64(0)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        for axis in range(axes):
            for i in range(size):
                features[axis, i] = points[axis, start + i]
        _two_nearest(features, size, centroids, first, second, distance)
        for i in range(size):
            value = _rounded(first[i], second[i])
            high += weights[start + i] * (value >> 16)
            low += weights[start + i] * (value & 0xFFFF)
    return int(high), int(low)


@kernel(*(f"C2{value} C1i8 C1b1 C2f8 C2f8" for value in ("u2", "f4")))
def silhouette_of_values(values: Values, weights: I64, valid: Bools, affine: F64, centroids: F64) -> tuple[int, int]:
    """The same of values (n, d) of bands; see `kseg_core.kernels.dense.assign_and_sum` for the rest."""
    n, bands = values.shape
    features = np.empty((bands, BLOCK))
    first, second, distance = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    weighted, masked = weights.size > 0, valid.size > 0
    high = low = np.int64(0)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        fill_features(values, start, size, affine, features)
        _two_nearest(features, size, centroids, first, second, distance)
        for i in range(size):
            if masked and not valid[start + i]:
                continue
            value = _rounded(first[i], second[i])
            w = weights[start + i] if weighted else 1
            high += w * (value >> 16)
            low += w * (value & 0xFFFF)
    return int(high), int(low)
