"""Assign and accumulate values of any range, floats above all, with sums that are exact in any order.

Most values of a band are whole multiples of one power of two and not too large: these add up as 64-bit integers, a
*window* of the number line that the caller chooses (it decides how fast a sum is had, never what it is). What does not
fit there is added to *bins*: digits of 32 bits of one long fixed-point number that reaches from the smallest to the
largest float64.

References
----------
Neal 2015, "Fast exact summation using small and large superaccumulators"; Demmel & Nguyen 2015, "Parallel reproducible
summation".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from ._types import FLOATS
from .dense import BLOCK, find_nearest

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

MANTISSA = 53  # bits of a float64
BIN_BITS = 32
BIN_UNIT = 1126  # bins of values count steps of 2**-1126: the last bit of the least float64, scaled to a full mantissa
BINS = ((1024 - MANTISSA + BIN_UNIT + 50) >> 5) + 3  # up to the greatest float64, times a weight
SQUARE_UNIT = 2 * BIN_UNIT
SQUARE_BINS = ((2 * (1024 - MANTISSA) + SQUARE_UNIT + 52) >> 5) + 3
LIMIT = 2.0**51  # of a value in the window, in its steps
BLOCKS = 16  # so many blocks of such values add up to less than 2**63
HALF = np.int64(32)
LOW = np.int64(0xFFFFFFFF)
FRONT = np.int64(26)  # of a value in the window its upper and lower half, whose squares fit a word
BACK = np.int64((1 << 26) - 1)


@inlined
def add_whole(bins: I64, whole: np.int64, position: int) -> None:
    """Add ``whole * 2**position`` (in steps of the bins' unit), for less than ``2**62``."""
    at, shift = position >> 5, np.int64(position & 31)
    low = (whole & LOW) << shift
    high = (whole >> HALF) << shift
    bins[at] += low & LOW
    bins[at + 1] += (low >> HALF) + (high & LOW)
    bins[at + 2] += high >> HALF


@inlined
def add_square_of(bins: I64, whole: np.int64, position: int) -> None:
    """Add ``whole**2 * 2**position``, of a mantissa."""
    front, back = whole >> FRONT, whole & BACK
    add_whole(bins, back * back, position)
    add_whole(bins, 2 * front * back, position + 26)
    add_whole(bins, front * front, position + 52)


@inlined
def _add_value(bins: I64, value: float) -> None:
    """Add a float64 to bins of `BIN_UNIT`."""
    fraction, exponent = math.frexp(value)
    add_whole(bins, np.int64(fraction * 2.0**MANTISSA), exponent - MANTISSA + BIN_UNIT)


@inlined
def _add_weighted(bins: I64, value: float, weight: np.int64) -> None:
    """Add ``weight`` (up to ``2**48``) times a float64 to bins of `BIN_UNIT`."""
    fraction, exponent = math.frexp(value)
    whole = np.int64(fraction * 2.0**MANTISSA)
    position = exponent - MANTISSA + BIN_UNIT
    front, back = whole >> FRONT, whole & BACK
    many, few = weight >> 24, weight & 0xFFFFFF
    add_whole(bins, back * few, position)
    add_whole(bins, front * few, position + 26)
    add_whole(bins, back * many, position + 24)
    add_whole(bins, front * many, position + 50)


@inlined
def _add_square(bins: I64, value: float) -> None:
    """Add the square of a float64 to bins of `SQUARE_UNIT`."""
    fraction, exponent = math.frexp(value)
    add_square_of(bins, np.int64(fraction * 2.0**MANTISSA), 2 * (exponent - MANTISSA) + SQUARE_UNIT)


@inlined
def _fill(values: Floats, start: int, size: int, affine: F64, rows: F64, features: F64) -> None:
    """Values and features (d, BLOCK) of the pixels ``start`` to ``start + size``."""
    block = values[start : start + size]
    for band in range(values.shape[1]):
        offset, scale = affine[0, band], affine[1, band]
        row, feature = rows[band], features[band]
        for i in range(block.shape[0]):
            value = np.float64(block[i, band])
            row[i] = value
            feature[i] = (value - offset) * scale


@inlined
def _to_window(row: F64, steps: float, words: I64) -> int:
    """Values as whole steps, and how many of them are not."""
    strangers = np.int64(0)
    for i in range(row.size):
        scaled = row[i] * steps
        word = np.int64(scaled if abs(scaled) < LIMIT else 0.0)
        words[i] = word
        strangers += np.int64(np.float64(word) != scaled)
    return int(strangers)


@inlined
def _add_block(words: I64, label: I64, counts: I64, even: I64, odd: I64) -> None:
    """Add a block's words (d, BLOCK) to sums (k + 1, d); neighbours apart, so that an addition need not wait."""
    size, bands = label.size, words.shape[0]
    for i in range(size):
        counts[label[i]] += 1
    if size % 2:
        for band in range(bands):
            even[label[size - 1], band] += words[band, size - 1]
    if bands == 4:
        a, b, c, d = words[0], words[1], words[2], words[3]
        for i in range(size // 2):
            j = label[2 * i]
            even[j, 0] += a[2 * i]
            even[j, 1] += b[2 * i]
            even[j, 2] += c[2 * i]
            even[j, 3] += d[2 * i]
            j = label[2 * i + 1]
            odd[j, 0] += a[2 * i + 1]
            odd[j, 1] += b[2 * i + 1]
            odd[j, 2] += c[2 * i + 1]
            odd[j, 3] += d[2 * i + 1]
        return
    for band in range(bands):
        row = words[band]
        for i in range(size // 2):
            even[label[2 * i], band] += row[2 * i]
            odd[label[2 * i + 1], band] += row[2 * i + 1]


@inlined
def _flush(packed: I64, high: I64, low: I64) -> None:
    """Move sums to two parts, ``high * 2**32 + low``, and begin anew."""
    for j in range(high.shape[0]):
        for band in range(high.shape[1]):
            high[j, band] += packed[j, band] >> HALF
            low[j, band] += packed[j, band] & LOW
    packed[:] = 0


@inlined
def _flush_all(even: I64, odd: I64, parts: I64, sums: I64, squares: I64) -> None:
    """The same of all sums and squares."""
    _flush(even, sums[0], sums[1])
    _flush(odd, sums[0], sums[1])
    for part in range(3):
        _flush(parts[part : part + 1], squares[part, :1], squares[part, 1:])


@inlined
def _add_squares(word: I64, parts: I64) -> None:
    """Add the squares of a block's values of one band, in steps, to three sums: those of their upper halves, those of
    upper times lower, and those of the lower ones.
    """
    upper, middle, lower = np.int64(0), np.int64(0), np.int64(0)
    for i in range(word.size):
        front, back = word[i] >> FRONT, word[i] & BACK
        upper += front * front
        middle += front * back
        lower += back * back
    parts[0] += upper
    parts[1] += middle
    parts[2] += lower


@kernel(*(f"C2{value} C1i8 C1b1 C2f8 C2f8 C1u1 C3i8 C2i8" for value in FLOATS))
def assign_and_sum_floats(
    values: Floats,
    weights: I64,
    valid: Bools,
    affine: F64,
    centroids: F64,
    labels: NDArray[np.unsignedinteger[Any]],
    bins: I64,
    square_bins: I64,
) -> tuple[I64, I64, I64, int]:
    """Counts (k,) and sums of the clusters: each valid pixel goes to its nearest centroid.

    Bins are the caller's (and so there are more than six parameters): zeros of NumPy take no memory until they are
    written to, and mostly none are.

    Parameters
    ----------
    values
        float32 or float64 (n, d).
    weights
        int64 (n,), or empty where each counts once.
    valid
        bool (n,), or empty where all are.
    affine
        float64 (3, d): offset and scale; and how many steps of a band's window a unit has, powers of two from 1.
    centroids
        float64 (k, d).
    labels
        uint8 or uint16 (n,), filled; an invalid pixel's is the largest of its dtype. Empty: only sums are asked for.
    bins
        int64 (k, d, BINS), zeros: filled with what does not fit the window; in steps of ``2**-BIN_UNIT``.
    square_bins
        int64 (d, SQUARE_BINS), zeros: with labels filled with the squares of that, in steps of ``2**-SQUARE_UNIT``.

    Returns
    -------
    counts, sums, squares, binned
        Sums (2, k, d) of what fits the window are ``high * 2**32 + low`` steps. So is each part of its squares,
        (3, 2, d), with labels; the parts count ``2**52``, ``2**27`` and 1 squared steps. And how many values went to
        bins.
    """
    n, bands = values.shape
    k = centroids.shape[0]
    counts = np.zeros(k + 1, np.int64)  # the last for what is invalid
    sums, squares = np.zeros((2, k, bands), np.int64), np.zeros((3, 2, bands), np.int64)
    rows, features = np.empty((bands, BLOCK)), np.empty((bands, BLOCK))
    best, label = np.empty(BLOCK), np.empty(BLOCK, np.int64)
    words = np.empty((bands, BLOCK), np.int64)
    even, odd = np.zeros((k + 1, bands), np.int64), np.zeros((k + 1, bands), np.int64)
    parts = np.zeros((3, bands), np.int64)
    weighted, masked, labelled = weights.size > 0, valid.size > 0, labels.size > 0
    invalid = (1 << 8 * labels.itemsize) - 1
    binned = 0
    for number, start in enumerate(range(0, n, BLOCK)):
        size = min(BLOCK, n - start)
        _fill(values, start, size, affine, rows, features)
        find_nearest(features, size, centroids, best, label)
        if masked:
            for i in range(size):
                label[i] = label[i] if valid[start + i] else k
        if labelled:
            told = labels[start : start + size]
            for i in range(size):
                told[i] = label[i] if label[i] < k else invalid
        if weighted:
            for i in range(size):
                j = label[i]
                if j < k:
                    counts[j] += weights[start + i]
                    for band in range(bands):
                        _add_weighted(bins[j, band], rows[band, i], weights[start + i])
                        binned += 1
            continue
        for band in range(bands):
            row, word, steps = rows[band, :size], words[band, :size], affine[2, band]
            if masked:
                for i in range(size):
                    row[i] = row[i] if label[i] < k else 0.0
            if _to_window(row, steps, word):
                for i in range(size):
                    if np.float64(word[i]) != row[i] * steps:
                        word[i] = 0
                        _add_value(bins[label[i], band], row[i])
                        if labelled:
                            _add_square(square_bins[band], row[i])
                        binned += 1
            if labelled:
                _add_squares(word, parts[:, band])
        _add_block(words, label[:size], counts, even, odd)
        if number % BLOCKS == BLOCKS - 1:
            _flush_all(even, odd, parts, sums, squares)
    _flush_all(even, odd, parts, sums, squares)
    return counts[:k].copy(), sums, squares, binned
