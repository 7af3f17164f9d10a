"""Values beyond all others: what somebody wrote where there was nothing to measure, and did not declare as no data.

One such value draws a centroid to itself, or whole clusters with it; so it is named, with what to do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .band_values import Values, unit_bits
from .bands import BandMoments

DEVIATIONS = 20.0  # of the other values from their mean: no distribution that is measured reaches as far
DEVIATIONS_OF_MANY = 8.0  # of a value that several pixels have to the digit, as -9999 beside mountains
ROUNDS = 2  # one value at each end
GAP = 1.0  # between such a value and the next, at least as wide as all others lie apart: long tails have no such gap
GAP_OF_ONE = 5.0  # for a lone pixel, which may be the last of a long tail (one of 500 samples of Student's t with 3
# degrees of freedom ends so far out, and hardly a lognormal one)


@dataclass(frozen=True, slots=True)
class Outlier:
    """A value beyond all others of its band: how many pixels have it, and how many of their deviations away it is."""

    value: float
    pixels: int
    deviations: float


def outliers_of(moments: BandMoments, sample: Values) -> tuple[tuple[Outlier, ...], ...]:
    """For each band the values that lie far beyond all others, at most one at each end.

    Parameters
    ----------
    moments
        Of all values.
    sample
        Some of the pixels (n, d), which say how far the others reach.
    """
    if np.dtype(moments.dtype).itemsize == 1:  # 256 values are no room for it
        return ((),) * len(moments.sums)
    return tuple(tuple(_apart(_beyond(moments, band), sample[:, band])) for band in range(len(moments.sums)))


def likely_fill(
    outliers: Sequence[Sequence[Outlier]], dtype: str, bands: tuple[int, ...], declared: Sequence[float] = ()
) -> tuple[str, ...]:
    """A line for each value that lies far beyond all others: the bands that have it, and what to do.

    Parameters
    ----------
    outliers
        Of each band.
    dtype
        Of the samples.
    bands
        The bands' numbers.
    declared
        Values that stand for no data already, which the advice keeps.
    """
    found: dict[float, list[tuple[int, Outlier]]] = {}
    for number, those in zip(bands, outliers, strict=True):
        for outlier in those:
            found.setdefault(outlier.value, []).append((number, outlier))
    lines = []
    advised = ",".join([*(f"{value:.17g}" for value in declared), *(_told(value, dtype) for value in found)])
    for value, places in found.items():
        named = ", ".join(str(number) for number, _ in places)
        pixels, deviations = max(far.pixels for _, far in places), min(far.deviations for _, far in places)
        told = _told(value, dtype)
        lines.append(
            f"band{'s' if len(places) > 1 else ''} {named}: {pixels} pixel{'s' if pixels != 1 else ''} of {told}, "
            f"{_far(deviations)} standard deviations from all others; if they hold no data, add --nodata={advised}"
        )
    return tuple(lines)


def _beyond(moments: BandMoments, band: int) -> list[Outlier]:
    """The outliers of one band."""
    ends, bits = moments.extremes, unit_bits(moments.dtype)
    n, s, q = moments.pixels, int(moments.sums[band]), int(moments.squares[band])
    left = [
        (float(value[band]), int(pixels[band]))
        for value, pixels in ((ends.low, ends.at_low), (ends.high, ends.at_high))
    ]
    found = []
    for _ in range(ROUNDS):
        for value, pixels in left:
            whole = _whole(value, bits)
            others = n - pixels
            rest, squares = s - pixels * whole, q - pixels * whole * whole
            spread = others * squares - rest * rest  # others**2 times their variance
            # The distance of the value, in deviations of the others: (whole - rest / others) / sqrt(spread) * others
            away = abs(whole * others - rest)
            far = DEVIATIONS if pixels == 1 else DEVIATIONS_OF_MANY
            if spread > 0 and away * away > int(far**2) * spread:
                found.append(Outlier(value, pixels, math.sqrt(_ratio(away * away, spread))))
                n, s, q = others, rest, squares
                left = [end for end in left if end[0] != value]
                break
        else:
            break
    return found


def _apart(found: list[Outlier], values: Values) -> list[Outlier]:
    """Those of the outliers that a wide gap parts from all other values."""
    others = values[~np.isin(values, [outlier.value for outlier in found])] if found else values
    if not found or not others.size:
        return found
    low, high = float(others.min()) / 4, float(others.max()) / 4  # quarters, whose differences are finite
    return [
        outlier
        for outlier in found
        if max(low - outlier.value / 4, outlier.value / 4 - high)
        > (GAP if outlier.pixels > 1 else GAP_OF_ONE) * (high - low)
    ]


def _whole(value: float, bits: int) -> int:
    """A value in steps of ``2**-bits``, of which it is a whole number."""
    numerator, denominator = value.as_integer_ratio()
    return (numerator << bits) // denominator


def _ratio(numerator: int, denominator: int) -> float:
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf


def _far(deviations: float) -> str:
    return f"{deviations:,.0f}" if deviations < 1e6 else "more than a million"


def _told(value: float, dtype: str) -> str:
    """A value as ``--nodata`` takes it: the fewest digits that mean it."""
    if np.dtype(dtype).kind != "f":
        return str(int(value))
    shortest = repr(np.dtype(dtype).type(value).item()) if dtype == "float64" else str(np.dtype(dtype).type(value))
    return shortest.removesuffix(".0")
