"""Assign and accumulate in one pass over pixels of any number of bands.

Values are whole numbers on each band's grid; a feature is ``((base + step * value) - offset) * scale`` in float64. A
distance is the float64 sum of ``(x - c)**2`` in band order, the lowest index wins a tie; sums are of the whole numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Values = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

BLOCK = 256  # pixels a block: its features and distances stay in the first-level cache


@inlined
def _label_block(
    values: Values, start: int, size: int, affine: F64, centroids: F64, features: F64, best: F64, label: I64
) -> None:
    """Nearest centroid of the pixels ``start`` to ``start + size``."""
    bands = values.shape[1]
    distance = np.empty(BLOCK, np.float64)
    for band in range(bands):
        base, step, offset, scale = affine[0, band], affine[1, band], affine[2, band], affine[3, band]
        for i in range(size):
            features[band, i] = ((base + step * np.float64(values[start + i, band])) - offset) * scale
    for i in range(size):
        best[i] = np.inf
        label[i] = 0
    for j in range(centroids.shape[0]):
        for i in range(size):
            distance[i] = 0.0
        for band in range(bands):
            center = centroids[j, band]
            for i in range(size):
                difference = features[band, i] - center
                distance[i] += difference * difference
        for i in range(size):
            closer = distance[i] < best[i]
            best[i] = distance[i] if closer else best[i]
            label[i] = j if closer else label[i]


@kernel
def assign_and_sum(values: Values, weights: I64, valid: Bools, affine: F64, centroids: F64) -> tuple[I64, I64]:
    """Counts (k,) and sums (k, d) of whole-number values: each valid pixel goes to its nearest centroid.

    Parameters
    ----------
    values
        Whole numbers (n, d).
    weights
        int64 (n,), or empty where each counts once.
    valid
        bool (n,), or empty where all are.
    affine
        float64 (4, d): base, step, offset, scale.
    centroids
        float64 (k, d).
    """
    n, bands = values.shape
    k = centroids.shape[0]
    counts = np.zeros(k, np.int64)
    sums = np.zeros((k, bands), np.int64)
    features, best, label = np.empty((bands, BLOCK)), np.empty(BLOCK), np.empty(BLOCK, np.int64)
    weighted, masked = weights.size > 0, valid.size > 0
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        _label_block(values, start, size, affine, centroids, features, best, label)
        for i in range(size):
            if masked and not valid[start + i]:
                continue
            j = label[i]
            w = weights[start + i] if weighted else 1
            counts[j] += w
            for band in range(bands):
                sums[j, band] += w * np.int64(values[start + i, band])
    return counts, sums


@kernel
def label_dense(
    values: Values, valid: Bools, affine: F64, centroids: F64, invalid: int, labels: NDArray[np.unsignedinteger[Any]]
) -> F64:
    """Fill ``labels`` (n,); returns each pixel's squared distance (n,), for the farthest."""
    n, bands = values.shape
    squared = np.empty(n, np.float64)
    features, best, label = np.empty((bands, BLOCK)), np.empty(BLOCK), np.empty(BLOCK, np.int64)
    masked = valid.size > 0
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        _label_block(values, start, size, affine, centroids, features, best, label)
        for i in range(size):
            if masked and not valid[start + i]:
                labels[start + i] = invalid
                squared[start + i] = -1.0
            else:
                labels[start + i] = label[i]
                squared[start + i] = best[i]
    return squared


@kernel
def sum_labelled_dense(values: Values, labels: NDArray[np.unsignedinteger[Any]], k: int) -> tuple[I64, I64]:
    """Counts (k,) and sums (k, d) by labels; labels that are no cluster count nowhere."""
    counts = np.zeros(k, np.int64)
    sums = np.zeros((k, values.shape[1]), np.int64)
    for i in range(values.shape[0]):
        j = labels[i]
        if j < k:
            counts[j] += 1
            for band in range(values.shape[1]):
                sums[j, band] += np.int64(values[i, band])
    return counts, sums


@kernel
def band_moments(values: Values, valid: Bools, shift: int, lowest: int, histogram: I64) -> tuple[int, I64, I64, I64]:
    """Count, sums (d,) and sums of squares (d,) in two parts (high, low) of ``high * 2**17 + low``.

    Also adds each value to ``histogram`` (d, bins), in bin ``(value - lowest) >> shift``.
    """
    n, bands = values.shape
    masked = valid.size > 0
    total = 0
    sums, high, low = np.zeros(bands, np.int64), np.zeros(bands, np.int64), np.zeros(bands, np.int64)
    for i in range(n):
        if masked and not valid[i]:
            continue
        total += 1
        for band in range(bands):
            value = np.int64(values[i, band])
            square = value * value
            sums[band] += value
            high[band] += square >> 17
            low[band] += square & 0x1FFFF
            histogram[band, (value - lowest) >> shift] += 1
    return total, sums, high, low
