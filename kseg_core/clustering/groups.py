"""Exact statistics of the bands of pixels by group (regions, classes): counts, sums, sums of squares, extremes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..kernels.dense_floats import BIN_BITS, MANTISSA
from ..kernels.groups import add_floats, add_whole_numbers, exponents_of, find_ends_of_groups
from .band_values import as_values, is_small, quotient, unit_bits

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Whole = NDArray[Any]  # int64, or Python's whole numbers of any size as objects

CELLS = (
    1 << 21
)  # digits that are added to at a time: 16 MB; of more groups than these are for pixels are gone through again
_SPARE = 4  # digits that a value and its carries take beyond the one that it begins in


@dataclass(frozen=True, slots=True)
class GroupSums:
    """Statistics of n groups of pixels, each of d bands.

    Parameters
    ----------
    bits
        Sums count steps of ``2**-bits``, sums of squares the squares of these.
    counts
        int64 (n,): pixels.
    sums, squares
        (n, d): int64 of values of 8 and 16 bits, else whole numbers of any size.
    low, high
        float64 (n, d): least and greatest value; infinity and minus infinity of a group without pixels.
    """

    bits: int
    counts: I64
    sums: Whole
    squares: Whole
    low: F64
    high: F64

    @classmethod
    def of(cls, samples: NDArray[Any], groups: I32, count: int) -> Self:
        """Those of a window.

        Parameters
        ----------
        samples
            (y, x, d), of fewer than 2^24 pixels.
        groups
            int32 (y, x): from 1 to ``count``; 0 where a pixel is of no group.

        Returns
        -------
        Of groups 1, 2, ... in this order.

        Raises
        ------
        ValueError
            If a value of a group is no number, or infinite.
        """
        dtype, flat = samples.dtype.name, np.ascontiguousarray(groups).reshape(-1)
        counts = np.bincount(flat, minlength=count + 1)[1:].astype(np.int64)
        values = as_values(samples)
        if is_small(dtype):
            shape = (count + 1, values.shape[1])
            sums, squares = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
            low, high = np.full(shape, 1 << 20, np.int64), np.full(shape, -(1 << 20), np.int64)
            add_whole_numbers(values, flat, sums, squares, low, high)
            ends = [
                np.where(counts[:, np.newaxis] > 0, each[1:], empty) for each, empty in ((low, np.inf), (high, -np.inf))
            ]
            return cls(unit_bits(dtype), counts, sums[1:], squares[1:], *ends)
        parts = [_of_band(column, flat, count, unit_bits(dtype)) for column in values.T]
        return cls(unit_bits(dtype), counts, *(np.stack(each, axis=1) for each in zip(*parts, strict=True)))

    @classmethod
    def empty(cls, count: int, bands: int, dtype: str) -> Self:
        """Of groups without pixels."""
        nothing = np.zeros((count, bands), np.int64 if is_small(dtype) else np.object_)
        ends = np.full((2, count, bands), np.inf)
        return cls(unit_bits(dtype), np.zeros(count, np.int64), nothing, nothing.copy(), ends[0], -ends[1])

    def take(self, rows: NDArray[Any] | slice) -> Self:
        """Some of the groups, by place, mask or slice."""
        counts, sums, squares = self.counts[rows], self.sums[rows], self.squares[rows]
        return type(self)(self.bits, counts, sums, squares, self.low[rows], self.high[rows])

    def together(self, into: I64, count: int) -> Self:
        """Groups put together: each into one of ``count`` others, int64 (n,)."""
        d = self.sums.shape[1]
        counts, low, high = np.zeros(count, np.int64), np.full((count, d), np.inf), np.full((count, d), -np.inf)
        sums, squares = np.zeros((count, d), np.object_), np.zeros((count, d), np.object_)
        np.add.at(counts, into, self.counts)
        np.add.at(sums, into, self.sums.astype(np.object_))
        np.add.at(squares, into, self.squares.astype(np.object_))
        np.minimum.at(low, into, self.low)
        np.maximum.at(high, into, self.high)
        return type(self)(self.bits, counts, sums, squares, low, high)

    def merge(self, other: Self) -> Self:
        """The statistics of the same groups of both sets of pixels.

        Raises
        ------
        ValueError
            If they are of other groups, or values of other types.
        """
        if (self.bits, self.sums.shape) != (other.bits, other.sums.shape):
            raise ValueError(
                f"expected {self.sums.shape} sums of 2**-{self.bits}, got {other.sums.shape} of {other.bits}"
            )
        return type(self)(
            self.bits,
            self.counts + other.counts,
            self.sums.astype(np.object_) + other.sums.astype(np.object_),
            self.squares.astype(np.object_) + other.squares.astype(np.object_),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """One after the other: groups of several windows."""
        names = ("counts", "sums", "squares", "low", "high")
        return cls(parts[0].bits, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def means_and_deviations(self) -> tuple[F64, F64]:
        """Mean and standard deviation (of all pixels, not of a sample), float64 (n, d), in the bands' own units: exact
        quotients, rounded once. NaN of groups without pixels.
        """
        means, variances = np.full(self.sums.shape, np.nan), np.full(self.sums.shape, np.nan)
        for at, n in enumerate(self.counts.tolist()):
            if n == 0:
                continue
            for band, (total, square) in enumerate(zip(self.sums[at].tolist(), self.squares[at].tolist(), strict=True)):
                means[at, band] = quotient(total, n << self.bits)
                variances[at, band] = quotient(square * n - total * total, (n * n) << (2 * self.bits))
        return means, np.sqrt(variances)


def _of_band(values: NDArray[Any], groups: I32, count: int, bits: int) -> tuple[Whole, Whole, F64, F64]:
    """Sums, sums of squares, least and greatest values of one band, (count,) each."""
    values = np.ascontiguousarray(values, np.float64)
    low, high = np.full(count + 1, np.inf), np.full(count + 1, -np.inf)
    sums, squares = np.zeros(count, np.object_), np.zeros(count, np.object_)
    least, most, strangers = exponents_of(values, groups)
    if strangers:
        raise ValueError(f"expected numbers where pixels count, got {strangers} that are none")
    find_ends_of_groups(values, groups, low, high)
    if most >= least:
        digits = (MANTISSA + most - least) // BIN_BITS + _SPARE
        square_digits = 2 * (MANTISSA + most - least) // BIN_BITS + _SPARE
        step = max(1, CELLS // (digits + square_digits))
        for first in range(1, count + 1, step):
            some = min(step, count + 1 - first)
            bins, square_bins = np.zeros((some, digits), np.int64), np.zeros((some, square_digits), np.int64)
            add_floats(values, groups, first, least, bins, square_bins)
            sums[first - 1 : first - 1 + some] = _joined(bins, bits + least - MANTISSA)
            squares[first - 1 : first - 1 + some] = _joined(square_bins, 2 * (bits + least - MANTISSA))
    return sums, squares, low[1:] + 0.0, high[1:] + 0.0  # there is one zero


def _joined(bins: I64, shift: int) -> Whole:
    """The whole numbers that rows of bins are the digits of, times ``2**shift``: what is cut off is nothing."""
    whole = np.zeros(len(bins), np.object_)
    for column in reversed(bins.T):
        whole = (whole << BIN_BITS) + column.astype(np.object_)
    shifted: Whole = whole << shift if shift >= 0 else whole >> -shift
    return shifted
