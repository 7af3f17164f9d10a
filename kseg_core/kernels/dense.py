"""Assign and accumulate in one pass over pixels of any number of bands.

A feature is ``(value - offset) * scale`` in float64. A distance is the float64 sum of ``(x - c)**2`` in band order, the
lowest index wins a tie. What adds up here are whole numbers of 8 and 16 bits; `dense_floats` does the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from ._types import BANDS, WHOLE

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Values = NDArray[Any]
Bools = NDArray[np.bool_]

BLOCK = 128  # pixels a block: features and distances stay in the first-level cache, two sums share a word
HALF = np.int64(32)  # of such a word: 128 values of up to 2**16 on either side of zero


@inlined
def fill_features(values: Values, start: int, size: int, affine: F64, features: F64) -> None:
    """Features (d, BLOCK) of the pixels ``start`` to ``start + size``."""
    block = values[start : start + size]
    for band in range(values.shape[1]):
        offset, scale = affine[0, band], affine[1, band]
        row = features[band]
        for i in range(block.shape[0]):
            row[i] = (np.float64(block[i, band]) - offset) * scale


@inlined
def find_nearest(features: F64, size: int, centroids: F64, best: F64, label: I64) -> None:
    """Squared distance of each of a block's pixels to its nearest centroid, and which that is.

    Four bands, two centroids at a time, are what most multispectral pictures take: nothing but the nearest so far goes
    through memory. The additions are those of the general loop, in its order.
    """
    k, bands = centroids.shape
    a, c = best[:size], label[:size]
    a[:] = np.inf
    c[:] = 0
    paired = k // 2 * 2 if bands == 4 else 0
    if bands == 4:
        f0, f1, f2, f3 = features[0, :size], features[1, :size], features[2, :size], features[3, :size]
        for j in range(0, paired, 2):
            p0, p1, p2, p3 = centroids[j, 0], centroids[j, 1], centroids[j, 2], centroids[j, 3]
            q0, q1, q2, q3 = centroids[j + 1, 0], centroids[j + 1, 1], centroids[j + 1, 2], centroids[j + 1, 3]
            for i in range(a.size):
                x, y, z, w = f0[i] - p0, f1[i] - p1, f2[i] - p2, f3[i] - p3
                first = x * x + y * y + z * z + w * w
                x, y, z, w = f0[i] - q0, f1[i] - q1, f2[i] - q2, f3[i] - q3
                second = x * x + y * y + z * z + w * w
                closer = first < a[i]
                least = first if closer else a[i]
                found = j if closer else c[i]
                closer = second < least
                a[i] = second if closer else least
                c[i] = j + 1 if closer else found
    scratch = np.empty(BLOCK, np.float64)
    distance = scratch[:size]
    for j in range(paired, k):
        distance[:] = 0.0
        for band in range(bands):
            row, center = features[band, :size], centroids[j, band]
            for i in range(a.size):
                difference = row[i] - center
                distance[i] += difference * difference
        for i in range(a.size):
            closer = distance[i] < a[i]
            a[i] = distance[i] if closer else a[i]
            c[i] = j if closer else c[i]


@inlined
def _add_block(block: Values, label: I64, words: I64, counts: I64, even: I64, odd: I64) -> None:
    """Add a block's pixels, each once, to counts (k + 1,) and to sums of two bands a word: (k + 1, (d + 1) // 2).

    Neighbours are added up apart, so that an addition need not wait for the one before.
    """
    pairs = even.shape[1]
    for pair in range(pairs):
        low = 2 * pair
        row = words[pair, : label.size]
        if low + 1 < block.shape[1]:
            for i in range(label.size):
                row[i] = np.int64(block[i, low]) + (np.int64(block[i, low + 1]) << HALF)
        else:
            for i in range(label.size):
                row[i] = np.int64(block[i, low])
    if pairs == 2:
        one, two = words[0, : label.size], words[1, : label.size]
        for i in range(label.size // 2):
            j = label[2 * i]
            counts[j] += 1
            even[j, 0] += one[2 * i]
            even[j, 1] += two[2 * i]
            j = label[2 * i + 1]
            counts[j] += 1
            odd[j, 0] += one[2 * i + 1]
            odd[j, 1] += two[2 * i + 1]
        if label.size % 2:
            j = label[label.size - 1]
            counts[j] += 1
            even[j, 0] += one[label.size - 1]
            even[j, 1] += two[label.size - 1]
        return
    for i in range(label.size):
        j = label[i]
        counts[j] += 1
        for pair in range(pairs):
            even[j, pair] += words[pair, i]


@inlined
def _flush(packed: I64, sums: I64) -> None:
    """Take sums of two bands a word apart, and begin anew."""
    for j in range(sums.shape[0]):
        for pair in range(packed.shape[1]):
            word = packed[j, pair]
            low = np.int64(np.int32(word & np.int64(0xFFFFFFFF)))
            sums[j, 2 * pair] += low
            if 2 * pair + 1 < sums.shape[1]:
                sums[j, 2 * pair + 1] += (word - low) >> HALF
    packed[:] = 0


@kernel(*(f"C2{value} C2f8" for value in BANDS))
def features_by_band(values: Values, affine: F64) -> F64:
    """Features (d, n) of values (n, d)."""
    n, bands = values.shape
    features = np.empty((bands, n))
    for start in range(0, n, BLOCK):
        fill_features(values, start, min(BLOCK, n - start), affine, features[:, start : start + BLOCK])
    return features


@kernel(*(f"C2{value} C1i8 C1b1 C2f8 C2f8 C1u1" for value in WHOLE))
def assign_and_sum(
    values: Values, weights: I64, valid: Bools, affine: F64, centroids: F64, labels: NDArray[np.unsignedinteger[Any]]
) -> tuple[I64, I64, I64, I64]:
    """Counts (k,) and sums (k, d) of whole-number values: each valid pixel goes to its nearest centroid.

    Parameters
    ----------
    values
        Whole numbers (n, d) of 8 or 16 bits.
    weights
        int64 (n,), or empty where each counts once.
    valid
        bool (n,), or empty where all are.
    affine
        float64 (2, d): offset, scale.
    centroids
        float64 (k, d).
    labels
        uint8 or uint16 (n,), filled; an invalid pixel's is the largest of its dtype. Empty: only sums are asked for.

    Returns
    -------
    Beside them, with labels, the sums of the squares of all valid values in two parts, (d,) each: ``high * 2**17 +
    low``.
    """
    n, bands = values.shape
    k = centroids.shape[0]
    counts = np.zeros(k + 1, np.int64)  # the last for what is invalid
    sums = np.zeros((k, bands), np.int64)
    high, low = np.zeros(bands, np.int64), np.zeros(bands, np.int64)
    features, best, label = np.empty((bands, BLOCK)), np.empty(BLOCK), np.empty(BLOCK, np.int64)
    weighted, masked, labelled = weights.size > 0, valid.size > 0, labels.size > 0
    invalid = (1 << 8 * labels.itemsize) - 1
    pairs = (bands + 1) // 2
    words = np.empty((pairs, BLOCK), np.int64)
    even, odd = np.zeros((k + 1, pairs), np.int64), np.zeros((k + 1, pairs), np.int64)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        fill_features(values, start, size, affine, features)
        find_nearest(features, size, centroids, best, label)
        block = values[start : start + size]
        if masked:
            used = valid[start : start + size]
            for i in range(size):
                label[i] = label[i] if used[i] else k
        if labelled:
            told = labels[start : start + size]
            for i in range(told.size):
                told[i] = label[i] if label[i] < k else invalid
            for band in range(bands):
                for i in range(block.shape[0]):
                    square = np.int64(block[i, band]) * np.int64(block[i, band]) if label[i] < k else np.int64(0)
                    high[band] += square >> 17
                    low[band] += square & 0x1FFFF
        if weighted:
            for i in range(size):
                j, w = label[i], weights[start + i]
                if j < k:
                    counts[j] += w
                    for band in range(bands):
                        sums[j, band] += w * np.int64(block[i, band])
        else:
            _add_block(block, label[:size], words, counts, even, odd)
            _flush(even, sums)
            _flush(odd, sums)
    return counts[:k].copy(), sums, high, low


@kernel(*(f"C2{value} C1b1 C2f8 C2f8" for value in BANDS))
def squared_distances(values: Values, valid: Bools, affine: F64, centroids: F64) -> F64:
    """Each pixel's squared distance (n,) to its nearest centroid, of values of any kind; -1 where it is invalid."""
    n, bands = values.shape
    squared = np.empty(n, np.float64)
    features, label = np.empty((bands, BLOCK)), np.empty(BLOCK, np.int64)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        fill_features(values, start, size, affine, features)
        find_nearest(features, size, centroids, squared[start : start + size], label)
    for i in range(valid.size):
        if not valid[i]:
            squared[i] = -1.0
    return squared


@kernel(*(f"C2{value} C1b1 i C2i8" for value in WHOLE))
def band_moments(values: Values, valid: Bools, lowest: int, histogram: I64) -> tuple[int, I64, I64, I64]:
    """Count, sums (d,) and sums of squares (d,) in two parts (high, low) of ``high * 2**17 + low``.

    Also adds each value to ``histogram`` (d, bins), in bin ``value - lowest``.
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
            histogram[band, value - lowest] += 1
    return total, sums, high, low
