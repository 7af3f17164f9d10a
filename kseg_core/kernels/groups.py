"""Exact sums of the values of pixels by group: regions, classes, or what else pixels are numbered by.

Values of 8 and 16 bits add up as they are; all others as digits of long whole numbers (`dense_floats`), no longer than
the exponents of a window's values ask for.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from ._types import WHOLE
from .dense_floats import MANTISSA, add_square_of, add_whole

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


@kernel(*(f"C2{value} C1i4 C2i8 C2i8 C2i8 C2i8" for value in WHOLE))
def add_whole_numbers(values: NDArray[Any], groups: I32, sums: I64, squares: I64, low: I64, high: I64) -> None:
    """Add up values (n, d) of 8 or 16 bits, of fewer than 2^31 pixels.

    Parameters
    ----------
    groups
        int32 (n,): of each pixel; 0: of none.
    sums, squares, low, high
        int64 (groups + 1, d): added to; the least and the greatest value are lowered and raised.
    """
    n, bands = values.shape
    for i in range(n):
        at = groups[i]
        if at == 0:
            continue
        for band in range(bands):
            value = np.int64(values[i, band])
            sums[at, band] += value
            squares[at, band] += value * value
            low[at, band] = min(low[at, band], value)
            high[at, band] = max(high[at, band], value)


@kernel("C1f8 C1i4")
def exponents_of(values: F64, groups: I32) -> tuple[int, int, int]:
    """The least and the greatest exponent of the values of pixels of some group, as ``frexp`` has them, but of zeros;
    the least is the greater one where there is none; and how many values are no numbers, or infinite.
    """
    least, most, strangers = 1 << 20, -(1 << 20), 0
    for i in range(values.size):
        if groups[i] == 0 or values[i] == 0.0:
            continue
        if not math.isfinite(values[i]):
            strangers += 1
            continue
        _, exponent = math.frexp(values[i])
        least = min(least, exponent)
        most = max(most, exponent)
    return least, most, strangers


@kernel("C1f8 C1i4 i i C2i8 C2i8")
def add_floats(values: F64, groups: I32, first: int, least: int, bins: I64, square_bins: I64) -> None:
    """Add up finite values (n,) of the groups from ``first`` on, as many of them as there are rows of bins.

    Parameters
    ----------
    groups
        int32 (n,): of each pixel.
    least
        The least exponent of a value, as `exponents_of` gives it.
    bins, square_bins
        int64, added to: digits of 32 bits, in steps of ``2**(least - 53)``, and of the square of that. No pixel of
        2^24 of a group makes them overflow.
    """
    for i in range(values.size):
        at = groups[i] - first
        if at < 0 or at >= bins.shape[0] or values[i] == 0.0:
            continue
        fraction, exponent = math.frexp(values[i])
        whole = np.int64(fraction * 2.0**MANTISSA)
        add_whole(bins[at], whole, exponent - least)
        add_square_of(square_bins[at], whole, 2 * (exponent - least))


@kernel("C1f8 C1i4 C1f8 C1f8")
def find_ends_of_groups(values: F64, groups: I32, low: F64, high: F64) -> None:
    """Lower and raise the least and the greatest value of each group: float64 (groups + 1,), of values (n,)."""
    for i in range(values.size):
        at = groups[i]
        if at > 0:
            low[at] = min(low[at], values[i])
            high[at] = max(high[at], values[i])
