"""What stands out: values of bands beyond all others, and images unlike those that a model was found on.

A value far beyond all others is what somebody wrote where there was nothing to measure, and did not declare as no data.
One such value draws a centroid to itself, or whole clusters with it; so it is named, with what to do. How far images
are from a model's, by their mean squared error and the share of each cluster, is known from the exact sums of their
labelling; no pixel is read for it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..expressions import Bands, Derived, called
from ..sizes import counted
from .band_values import Extremes, Values, as_values, flat_mask, unit_bits
from .bands import BandMoments, BandSpace
from .sums import ClusterSums

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


class Fitted(Protocol):
    """What of a model says which values it was found on."""

    @property
    def bands(self) -> BandSpace | None: ...
    @property
    def centroids(self) -> NDArray[np.float64]: ...
    @property
    def counts(self) -> NDArray[np.int64]: ...
    @property
    def inertia(self) -> float: ...


class Fill(NamedTuple):
    """A value that is likely none: the bands that have it, how many pixels, how far from all others."""

    value: float
    bands: tuple[int | str, ...]
    pixels: int
    deviations: float


class Others(NamedTuple):
    """The values of a band but for some: how many, their mean and variance, the least and the greatest of them."""

    pixels: int
    mean: float
    variance: float
    low: float = math.inf
    high: float = -math.inf

    def merge(self, other: Others) -> Others:
        """Those of both."""
        if not (self.pixels and other.pixels):
            return self if self.pixels else other
        n, apart = self.pixels + other.pixels, other.mean - self.mean
        share = other.pixels / n
        variance = self.variance * (1 - share) + other.variance * share + apart * apart * share * (1 - share)
        return Others(n, self.mean + apart * share, variance, min(self.low, other.low), max(self.high, other.high))


NOBODY = Others(0, 0.0, 0.0)


def outliers_of(moments: BandMoments, sample: Values) -> tuple[tuple[Outlier, ...], ...]:
    """For each band the values that lie far beyond all others, at most one at each end.

    Parameters
    ----------
    moments
        Of all values.
    sample
        Some of the pixels (n, d), which say how far the others reach.
    """
    sums = moments.pixels, moments.sums, moments.squares
    return _outliers(moments.dtype, sums, moments.extremes, sample, flat_mask(None), [NOBODY] * len(moments.sums))


def outliers_beyond(
    model: Fitted, samples: NDArray[Any], valid: NDArray[np.bool_] | None, sums: ClusterSums
) -> tuple[Fill, ...]:
    """Values of samples that lie far beyond all others, and beyond those that a model of bands was found on.

    Parameters
    ----------
    samples, valid
        (y, x, d) as the model labels them, and which count; None: all.
    sums
        Over their labels.
    """
    space = model.bands
    if space is None or np.dtype(space.dtype).itemsize == 1 or not sums.pixels:
        return ()
    values, mask = as_values(samples), flat_mask(valid)
    beside = [_others_of(model, band) for band in range(space.dimensions)]
    if all(_within_reach(values[:, band], others) for band, others in enumerate(beside)):
        return ()
    found = _outliers(
        space.dtype,
        (sums.pixels, sums.sums.sum(axis=0), sums.squares),
        Extremes.of(values, mask),
        values,
        mask,
        beside,
    )
    return fills_of(found, space.bands)


def _outliers(
    dtype: str,
    sums: tuple[int, Any, Any],
    ends: Extremes,
    values: Values,
    valid: NDArray[np.bool_],
    beside: Sequence[Others],
) -> tuple[tuple[Outlier, ...], ...]:
    """The same, where the values ``beside`` are others too; ``valid`` is empty where all values are."""
    if np.dtype(dtype).itemsize == 1:  # 256 values are no room for it
        return ((),) * len(beside)
    (n, linear, squares), bits = sums, unit_bits(dtype)
    found = []
    for band, others in enumerate(beside):
        left = [(float(ends.low[band]), int(ends.at_low[band])), (float(ends.high[band]), int(ends.at_high[band]))]
        beyond = _beyond((n, int(linear[band]), int(squares[band])), left, bits, others)
        found.append(tuple(_apart(beyond, band, values, valid, others) if beyond else ()))
    return tuple(found)


def fills_of(outliers: Sequence[Sequence[Outlier]], bands: Bands) -> tuple[Fill, ...]:
    """The same by their values, of bands that are in files: a derived one has none that stands for no data."""
    return merged(
        Fill(outlier.value, (called(band),), outlier.pixels, outlier.deviations)
        for band, those in zip(bands, outliers, strict=True)
        if not isinstance(band, Derived)
        for outlier in those
    )


def merged(fills: Iterable[Fill], *, of_bands: bool = True) -> tuple[Fill, ...]:
    """One for each value: of bands of the same pixels the most of them, of other pixels all (not ``of_bands``)."""
    found: dict[float, Fill] = {}
    for fill in fills:
        one = found.get(fill.value)
        if one is not None:
            pixels = max(one.pixels, fill.pixels) if of_bands else one.pixels + fill.pixels
            bands = (*one.bands, *(band for band in fill.bands if band not in one.bands))
            bands = bands if of_bands else tuple(sorted(bands, key=lambda band: (isinstance(band, str), band)))
            fill = Fill(fill.value, bands, pixels, min(one.deviations, fill.deviations))
        found[fill.value] = fill
    return tuple(found[value] for value in sorted(found))


def fill_lines(
    fills: Sequence[Fill], dtype: str, declared: Sequence[float] = (), seen: Mapping[float, str] | None = None
) -> tuple[str, ...]:
    """A line for each value that lies far beyond all others: the bands that have it, and what to do.

    Parameters
    ----------
    fills
        The values.
    dtype
        Of the samples.
    declared
        Values that stand for no data already, which the advice keeps.
    seen
        Where each was seen; None: that is said beside the line.
    """
    advised = [*(f"{value:.17g}" for value in declared), *(_told(fill.value, dtype) for fill in fills)]
    lines = []
    for value, bands, pixels, deviations in fills:
        where = f" in {seen[value]}" if seen and value in seen else ""
        lines.append(
            f"band{'s' if len(bands) > 1 else ''} {', '.join(map(str, bands))}: {counted(pixels, 'pixel')} of "
            f"{_told(value, dtype)}{where}, {_far(deviations)} standard deviations from all others; if they hold no "
            f"data, add --nodata={','.join(dict.fromkeys(advised))}"
        )
    return tuple(lines)


def _others_of(model: Fitted, band: int) -> Others:
    """The values of a band that a model was found on, but for clusters of what lies far beyond all others.

    How far they vary within their clusters is known of all bands together, and so at most.
    """
    assert model.bands is not None
    offset, scale = (float(each[band]) for each in model.bands.affine)
    there = np.flatnonzero(model.counts)
    values, counts = model.centroids[there, band] / scale + offset, model.counts[there].astype(np.float64)
    order = np.argsort(values)
    values, counts = values[order], counts[order]
    for _ in range(ROUNDS):
        for end, rest in ((0, slice(1, None)), (-1, slice(None, -1))):
            left = _spread_of(values[rest], counts[rest], model.inertia, scale)
            away = abs(float(values[end]) - left.mean) if left.pixels else 0.0
            reach = DEVIATIONS_OF_MANY * math.sqrt(left.variance)
            if away > reach and away > (GAP + 1) * (left.high - left.low) and len(values) > 1:
                values, counts = values[rest], counts[rest]
                break
    return _spread_of(values, counts, model.inertia, scale)


def _spread_of(values: NDArray[np.float64], counts: NDArray[np.float64], inertia: float, scale: float) -> Others:
    """Values of clusters, in rising order, with what they vary by within them."""
    n = float(counts.sum())
    if not n:
        return NOBODY
    mean = float((values * (counts / n)).sum())
    with np.errstate(over="ignore"):
        variance = float((np.square(values - mean) * (counts / n)).sum()) + inertia / n / (scale * scale)
    return Others(int(n), mean, variance, float(values[0]), float(values[-1]))


def _within_reach(values: Values, others: Others) -> bool:
    """Whether no value, valid or not, has the gap that `_apart` asks for: NumPy tells it in a fraction of the time."""
    least, most, low, high = float(values.min()) / 4, float(values.max()) / 4, others.low / 4, others.high / 4
    return others.pixels > 0 and low - least <= GAP * (high - low) and most - high <= GAP * (high - low)


def _beyond(sums: tuple[int, int, int], left: list[tuple[float, int]], bits: int, beside: Others) -> list[Outlier]:
    """The outliers of one band among its ends, which are ``left``."""
    n, s, q = sums
    found: list[Outlier] = []
    for _ in range(ROUNDS):
        for value, pixels in left:
            whole = _whole(value, bits)
            rest = n - pixels, s - pixels * whole, q - pixels * whole * whole
            others = _measured(*rest, bits).merge(beside)
            away, deviation = abs(value / 2 - others.mean / 2), math.sqrt(others.variance) / 2  # halves are finite
            far = DEVIATIONS if pixels == 1 else DEVIATIONS_OF_MANY
            if deviation > 0 and away > far * deviation:
                found.append(Outlier(value, pixels, _ratio(away, deviation)))
                n, s, q = rest
                left = [end for end in left if end[0] != value]
                break
        else:
            break
    return found


def _measured(n: int, s: int, q: int, bits: int) -> Others:
    """So many values, by their sum and that of their squares."""
    if n <= 0:
        return NOBODY
    return Others(n, _ratio(s, n << bits), _ratio(n * q - s * s, n * n << 2 * bits))


def _apart(found: list[Outlier], band: int, values: Values, valid: NDArray[np.bool_], beside: Others) -> list[Outlier]:
    """Those of a band's outliers that a wide gap parts from all its other values."""
    others = np.logical_and.reduce([values[:, band] != outlier.value for outlier in found])
    ends = Extremes.of(values, others & valid if valid.size else others)
    low = min(float(ends.low[band]), beside.low) / 4  # quarters, whose differences are finite
    high = max(float(ends.high[band]), beside.high) / 4
    if low > high:
        return found
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


def _ratio(numerator: float, denominator: float) -> float:
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


OUTLIER_SPREADS = 5.0  # robust standard deviations above the median; of normal values one in three million is
MAD_TO_SPREAD = 1.4826  # of normal values: standard deviation over median absolute deviation
LEAST_SPREAD = 0.02  # of share distances, and as a share of the median mse ratio: equal images have no spread at all
LEAST_IMAGES = 4  # fewer tell nothing of a spread


class Drift(NamedTuple):
    """How far some pixels are from those of a model.

    Attributes
    ----------
    mse_ratio
        Their mean squared error over the model's; None where either has none or the model's is 0.
    share_distance
        Half the sum of the absolute differences between the clusters' shares: 0 (the same) to 1 (nothing in common).
        None without a valid pixel.
    """

    mse_ratio: float | None
    share_distance: float | None


@dataclass(frozen=True, slots=True)
class Reference:
    """What of a model drift is measured against.

    Parameters
    ----------
    counts
        Pixels of each cluster.
    mse
        Mean squared error; None without pixels.
    """

    counts: tuple[int, ...]
    mse: float | None

    def drift(self, counts: Sequence[int], inertia: float) -> Drift:
        """Of pixels with these counts and this inertia."""
        pixels, own = sum(counts), sum(self.counts)
        if not pixels:
            return Drift(None, None)
        ratio = inertia / pixels / self.mse if self.mse else None
        if not own:
            return Drift(ratio, None)
        # whole numbers, and one division: the same on every machine
        apart = sum(abs(n * own - m * pixels) for n, m in zip(counts, self.counts, strict=True))
        return Drift(ratio, apart / (2 * pixels * own))


def outliers(drifts: Mapping[str, Drift]) -> set[str]:
    """Names of the images that stand out among all by their error or their shares, upwards only."""
    return {
        name
        for values, least in (
            ({name: d.share_distance for name, d in drifts.items()}, lambda _: LEAST_SPREAD),
            ({name: d.mse_ratio for name, d in drifts.items()}, lambda middle: LEAST_SPREAD * middle),
        )
        for name in _above({name: value for name, value in values.items() if value is not None}, least)
    }


def _above(values: Mapping[str, float], least: Callable[[float], float]) -> list[str]:
    if len(values) < LEAST_IMAGES:
        return []
    middle = statistics.median(values.values())
    spread = MAD_TO_SPREAD * statistics.median(abs(value - middle) for value in values.values())
    limit = middle + OUTLIER_SPREADS * max(spread, least(middle))
    return [name for name, value in values.items() if value > limit]
