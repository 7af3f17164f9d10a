"""Values of bands as they are stored, and sums of them that are exact: whole numbers of any size.

A finite float is a whole number of steps of the least float of its type, so sums of values, and of their squares, are
whole numbers as well: `Unit` says of which steps. Merging them gives the same bits in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import dense, dense_floats
from ..kernels.values import count_rows, find_ends
from .labelling import label_dtype
from .sums import ClusterSums

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Values = NDArray[Any]
Bools = NDArray[np.bool_]
Objects = NDArray[np.object_]

NO_WEIGHTS: I64 = np.empty(0, np.int64)
EVERYWHERE: Bools = np.empty(0, np.bool_)
NO_LABELS: NDArray[np.uint8] = np.empty(0, np.uint8)

BINS = 1 << 16  # of a band's histogram: one a value of 8 or 16 bits
LOOKED_AT = 1 << 12  # values that say where a band's window lies
WINDOW_BITS = 50  # of `dense_floats.LIMIT`, and one to spare

#: dtypes whose values are added up as they are, and the least of each: the first bin of a histogram.
_LOWEST = {"uint8": 0, "uint16": 0, "int8": -(1 << 15), "int16": -(1 << 15)}
#: What kernels take the other dtypes as; float64 where they have no kernel of their own.
_TAKEN_AS = {"int8": "int16", "float16": "float32", "float32": "float32"}
#: Steps of the least number of a type are ``2**-bits`` wide.
_BITS = {"float16": 24, "float32": 149, "float64": 1074}


def is_small(dtype: str) -> bool:
    """Whether values of this dtype are whole numbers of 8 or 16 bits."""
    return dtype in _LOWEST


def lowest_of(dtype: str) -> int:
    """The value of the first bin of a histogram of such a dtype."""
    return _LOWEST[dtype]


def unit_bits(dtype: str) -> int:
    """Sums of values of a dtype count steps of ``2**-bits``, sums of squares steps of ``2**(-2 * bits)``."""
    return _BITS.get(dtype, 0)


def taken_as(dtype: str) -> np.dtype[Any]:
    """The dtype that kernels take samples of a dtype as."""
    return np.dtype(_TAKEN_AS.get(dtype, dtype if is_small(dtype) else "float64"))


def as_values(samples: NDArray[Any]) -> Values:
    """Samples (..., d) as kernels take them, (n, d): the very numbers, of 64-bit integers the nearest float64."""
    *sides, bands = samples.shape
    return np.ascontiguousarray(samples.reshape(math.prod(sides), bands), taken_as(samples.dtype.name))


def flat_mask(valid: Bools | None) -> Bools:
    """Which pixels count, as kernels take it: (n,), or empty where all do."""
    return EVERYWHERE if valid is None else np.ascontiguousarray(valid).reshape(-1)


def objects(numbers: list[int]) -> Objects:
    """Whole numbers of any size as an array: adding two of them cannot overflow."""
    array = np.empty(len(numbers), np.object_)
    array[:] = numbers
    return array


def quotient(numerator: int, denominator: int) -> float:
    """The quotient of two whole numbers of any size, correctly rounded; infinity where float64 ends."""
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


class BandPixels(NamedTuple):
    """Pixels of bands as kernels take them.

    Attributes
    ----------
    values
        (n, d) of `as_values`.
    weights
        int64 (n,), or empty where each counts once.
    valid
        bool (n,), or empty where all are.
    """

    values: Values
    weights: I64 = NO_WEIGHTS
    valid: Bools = EVERYWHERE

    @classmethod
    def of(cls, samples: NDArray[Any], valid: Bools | None) -> BandPixels:
        """Those of a window of samples (y, x, d)."""
        return cls(as_values(samples), NO_WEIGHTS, flat_mask(valid))


def assign_and_sum(
    pixels: BandPixels, affine: F64, centroids: F64, bits: int, labels: NDArray[np.unsignedinteger[Any]] = NO_LABELS
) -> ClusterSums:
    """Exact sums of pixels, each valid one in the cluster of its nearest centroid.

    Parameters
    ----------
    pixels
        The values.
    affine
        float64 (2, d): offset and scale of the features.
    centroids
        float64 (k, d).
    bits
        Sums count steps of ``2**-bits``: `unit_bits` of the samples' dtype.
    labels
        (n,), filled: the dtype's largest value where a pixel is invalid. Without them the sums of squares are zeros.

    Returns
    -------
    Sums are int64 of values of 8 and 16 bits, else whole numbers of any size.
    """
    values, weights, valid = pixels
    if values.dtype.kind != "f":
        counts, sums, high, low = dense.assign_and_sum(values, weights, valid, affine, centroids, labels)
        return ClusterSums(counts, sums, squares_of(high, low))
    k, d = centroids.shape
    steps = window_of(values, valid, bits)
    bins = np.zeros((k, d, dense_floats.BINS), np.int64)  # memory that is never written to is none
    square_bins = np.zeros((d, dense_floats.SQUARE_BINS), np.int64)
    counts, sums, squares, binned = dense_floats.assign_and_sum_floats(
        values, weights, valid, np.vstack([affine, steps]), centroids, labels, bins, square_bins
    )
    whole = _whole(sums, steps, bins if binned else None, bits)
    return ClusterSums(
        counts, whole, _whole_squares(squares, steps, square_bins if binned and labels.size else None, bits)
    )


def squares_of(high: I64, low: I64) -> Objects:
    """Sums of squares (d,) from the two parts that kernels of small values give."""
    return objects([(int(h) << 17) + int(part) for h, part in zip(high, low, strict=True)])


def window_of(values: Values, valid: Bools, bits: int) -> F64:
    """How many steps a unit has, of the window in which most values of a band are whole: float64 (d,), powers of two.

    It decides how fast a sum is had, and nothing else.
    """
    n = len(values)
    rows = np.unique(np.linspace(0, max(0, n - 1), min(n, LOOKED_AT)).astype(np.int64))
    if valid.size:
        rows = rows[valid[rows]]
    seen = values[rows].astype(np.float64)
    exponents = np.zeros(values.shape[1], np.int64)
    for band, column in enumerate(seen.T):
        fraction, exponent = np.frexp(column[np.isfinite(column) & (column != 0.0)])
        if not fraction.size:
            continue
        whole = np.abs(np.ldexp(fraction, 53)).astype(np.int64)
        last = exponent - 53 + np.log2(whole & -whole).astype(np.int64)  # where the last bit that is set lies
        finest = -int(np.percentile(last, 1))
        exponents[band] = min(finest, WINDOW_BITS - int(np.percentile(exponent, 99)), bits)
    return np.ldexp(1.0, np.clip(exponents, 0, 1000))  # a product with 1 or more never comes to 0


def _whole(sums: I64, steps: F64, bins: I64 | None, bits: int) -> Objects:
    """Sums (k, d) in steps of ``2**-bits`` from the parts that kernels give."""
    k, d = sums.shape[1:]
    shifts = _shifts(steps, bits)
    whole = np.empty((k, d), np.object_)
    whole[:] = [
        [_shifted((high << 32) + low, shift) for high, low, shift in zip(above, below, shifts, strict=True)]
        for above, below in zip(sums[0].tolist(), sums[1].tolist(), strict=True)
    ]
    if bins is not None:
        for j, band in np.argwhere(bins.any(axis=2)).tolist():
            whole[j, band] += _shifted(_joined(bins[j, band]), bits - dense_floats.BIN_UNIT)
    return whole


def _whole_squares(squares: I64, steps: F64, bins: I64 | None, bits: int) -> Objects:
    """Sums of squares (d,) in steps of ``2**(-2 * bits)`` from the parts that kernels give."""
    parts = [[(high << 32) + low for high, low in zip(*part, strict=True)] for part in squares.tolist()]
    whole = objects(
        [
            _shifted((upper << 52) + (middle << 27) + lower, 2 * shift)
            for upper, middle, lower, shift in zip(*parts, _shifts(steps, bits), strict=True)
        ]
    )
    if bins is not None:
        for band in range(len(bins)):
            whole[band] += _shifted(_joined(bins[band]), 2 * bits - dense_floats.SQUARE_UNIT)
    return whole


def _shifts(steps: F64, bits: int) -> list[int]:
    """By how many bits steps of a window are wider than ``2**-bits``."""
    return [bits - int(exponent) + 1 for exponent in np.frexp(steps)[1]]


def _shifted(whole: int, bits: int) -> int:
    """A whole number times ``2**bits``; what is cut off is nothing, for a sum of values is a multiple of their unit."""
    return whole << bits if bits >= 0 else whole >> -bits


def _joined(bins: I64) -> int:
    """The whole number that bins are the digits of."""
    return sum(digit << (dense_floats.BIN_BITS * at) for at, digit in enumerate(bins.tolist()) if digit)


@dataclass(frozen=True, slots=True)
class Extremes:
    """Least and greatest valid value of each band, and how many pixels have it; merges.

    Parameters
    ----------
    low, high
        float64 (d,); infinity and minus infinity where there is no valid pixel.
    at_low, at_high
        int64 (d,).
    """

    low: F64
    high: F64
    at_low: I64
    at_high: I64

    @classmethod
    def of(cls, values: Values, valid: Bools) -> Extremes:
        """Those of values (n, d)."""
        rows, counts = ends_of(values, valid)
        bands = np.arange(values.shape[1])
        if not counts.any():
            return cls(np.full(len(bands), np.inf), np.full(len(bands), -np.inf), counts[0], counts[1])
        low, high = (values[row, bands].astype(np.float64) + 0.0 for row in rows)  # there is one zero
        return cls(low, high, counts[0], counts[1])

    @classmethod
    def of_histogram(cls, histogram: I64, lowest: int) -> Extremes:
        """Those of small values, from their histogram (d, bins)."""
        there = [np.flatnonzero(row) for row in histogram]
        ends = [(int(found[0]), int(found[-1])) if found.size else (0, 0) for found in there]
        return cls(
            np.array([lowest + first for first, _ in ends], np.float64),
            np.array([lowest + last for _, last in ends], np.float64),
            np.array([histogram[band, first] for band, (first, _) in enumerate(ends)]),
            np.array([histogram[band, last] for band, (_, last) in enumerate(ends)]),
        )

    def merge(self, other: Extremes) -> Extremes:
        low, high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        at_low = self.at_low * (self.low == low) + other.at_low * (other.low == low)
        at_high = self.at_high * (self.high == high) + other.at_high * (other.high == high)
        return Extremes(low, high, at_low, at_high)


def ends_of(values: Values, valid: Bools) -> tuple[I64, I64]:
    """For each band the row with its least and that with its greatest valid value, and how many rows have it.

    Both int64 (2, d); rows are -1 where none is valid.
    """
    rows, counts = np.full((2, values.shape[1]), -1, np.int64), np.zeros((2, values.shape[1]), np.int64)
    find_ends(values, valid, rows, counts)
    return rows, counts


def sums_of_values(values: Values, valid: Bools, bits: int) -> ClusterSums:
    """Count (1,), sums (1, d) and sums of squares (d,) of all valid values."""
    d = values.shape[1]
    affine, nowhere = np.stack([np.zeros(d), np.ones(d)]), np.zeros((1, d))
    labels = np.empty(len(values), label_dtype(1))
    return assign_and_sum(BandPixels(values, NO_WEIGHTS, valid), affine, nowhere, bits, labels)


MOST_VALUES = 1 << 16  # with eight bands some five megabytes: a hundredth of the pixels of a piece, and far cheaper


@dataclass(frozen=True, slots=True)
class ValueTable:
    """Distinct values in rising order, and their pixels; merges.

    Parameters
    ----------
    values
        (m, d), none of them a NaN; None: there are more than are counted.
    counts
        int64 (m,).
    """

    values: Values | None
    counts: I64

    @classmethod
    def of(cls, values: Values, valid: NDArray[np.bool_]) -> ValueTable:
        """The table of values (n, d); ``valid`` (n,), or empty where all are."""
        counts = np.zeros(MOST_VALUES, np.int64)
        slots = np.full(2 * MOST_VALUES, -1, np.int64)
        told = values
        if values.dtype.kind == "f":  # told apart by their bits; there is one zero
            told = (values + values.dtype.type(0)).view(f"i{values.itemsize}")
        rows = np.empty((MOST_VALUES, values.shape[1]), told.dtype)
        found = count_rows(told, valid, slots, rows, counts)
        return _too_many() if found < 0 else _in_order(rows[:found].view(values.dtype), counts[:found])

    def merge(self, other: ValueTable) -> ValueTable:
        """The table of both tables' pixels."""
        if self.values is None or other.values is None:
            return _too_many()
        merged = _in_order(np.concatenate([self.values, other.values]), np.concatenate([self.counts, other.counts]))
        return _too_many() if len(merged.counts) > MOST_VALUES else merged


def _too_many() -> ValueTable:
    return ValueTable(None, np.empty(0, np.int64))


def _in_order(rows: Values, counts: I64) -> ValueTable:
    """Rows in rising order, those that are equal as one."""
    order = np.lexsort(rows.T[::-1])
    rows, counts = rows[order], counts[order]
    if not len(rows):
        return ValueTable(rows, counts)
    first = np.flatnonzero(np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)]))
    return ValueTable(rows[first], np.add.reduceat(counts, first))
