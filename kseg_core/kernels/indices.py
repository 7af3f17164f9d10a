"""The simplified silhouette: how much nearer each point is to its own centroid than to the next one.

A point's value is ``(b - a) / b`` with its distances ``a`` to the nearest and ``b`` to the second nearest centroid: 0
where both are one, 1 on a centroid. It is rounded once to 2**-32, and whole numbers are added up, in two parts neither
of which can overflow: ``high * 2**16 + low``. So the sum is the same to the last bit however the points are divided.

References
----------
Hruschka, de Castro & Campello 2004; Vendramin, Campello & Hruschka 2010 (simplified silhouette).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Values = NDArray[Any]
Bools = NDArray[np.bool_]

BLOCK = 256  # points a block: its distances stay in the first-level cache
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
        for band in range(bands):
            offset, scale = affine[0, band], affine[1, band]
            for i in range(size):
                features[band, i] = (np.float64(values[start + i, band]) - offset) * scale
        _two_nearest(features, size, centroids, first, second, distance)
        for i in range(size):
            if masked and not valid[start + i]:
                continue
            value = _rounded(first[i], second[i])
            w = weights[start + i] if weighted else 1
            high += w * (value >> 16)
            low += w * (value & 0xFFFF)
    return int(high), int(low)
