"""Any number of bands of any dtype: their values as they are stored, features by an affine map.

Distances are between features, float64 ``(value - offset) * scale`` (``--normalize``), of the values as they are; sums
are of whole numbers, in steps that hold every value of the dtype exactly (`band_values`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError, UsageError
from ..expressions import Bands, Derived, called, of_model
from ..images.selection import taken_dtype
from ..kernels import dense
from ..kernels.second import rate_dense
from .band_values import (
    BINS,
    BandPixels,
    Bools,
    Extremes,
    Objects,
    Values,
    assign_and_sum,
    flat_mask,
    is_small,
    lowest_of,
    objects,
    quotient,
    squares_of,
    sums_of_values,
    unit_bits,
)
from .labelling import LabelledPixels, Labels, label_dtype
from .sums import ClusterSums

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

PERCENTILES = (2, 98)  # of the stretch that makes colours of bands

#: Models of these dtypes say what earlier releases read there: that values are their own grid.
_OWN_GRID = ("uint8", "uint16", "int16")


@dataclass(frozen=True, slots=True)
class BandMoments:
    """Exact statistics of all valid values of each band; merges.

    Parameters
    ----------
    dtype
        Of the samples.
    pixels
        How many.
    sums, squares
        Whole numbers of any size, (d,) each, in steps of `unit_bits` and in their squares.
    histogram
        int64 (d, 65536) of values of 8 or 16 bits; None of others.
    ends
        Least and greatest values of these others.
    """

    dtype: str
    pixels: int
    sums: Objects
    squares: Objects
    histogram: I64 | None
    ends: Extremes | None

    @classmethod
    def of(cls, values: Values, valid: Bools | None, dtype: str) -> BandMoments:
        """The statistics of values (n, d) of samples of a dtype."""
        mask = flat_mask(valid)
        if not is_small(dtype):
            found = sums_of_values(values, mask, unit_bits(dtype))
            return cls(dtype, found.pixels, found.sums[0], found.squares, None, Extremes.of(values, mask))
        histogram = np.zeros((values.shape[1], BINS), np.int64)
        n, sums, high, low = dense.band_moments(values, mask, lowest_of(dtype), histogram)
        return cls(dtype, int(n), objects(sums.tolist()), squares_of(high, low), histogram, None)

    def merge(self, other: BandMoments) -> BandMoments:
        """The statistics of both sets of values."""
        histogram, ends = None, None
        if self.histogram is not None and other.histogram is not None:
            histogram = self.histogram + other.histogram
        if self.ends is not None and other.ends is not None:
            ends = self.ends.merge(other.ends)
        pixels, sums, squares = self.pixels + other.pixels, self.sums + other.sums, self.squares + other.squares
        return BandMoments(self.dtype, pixels, sums, squares, histogram, ends)

    @property
    def extremes(self) -> Extremes:
        """Least and greatest values, and how many pixels have them."""
        if self.histogram is None:
            assert self.ends is not None
            return self.ends
        return Extremes.of_histogram(self.histogram, lowest_of(self.dtype))

    def percentile(self, band: int, share: int, sample: Values, apart: Sequence[float] = ()) -> float:
        """The value that ``share`` per cent of a band's pixels do not exceed, but for those of the values ``apart``.

        Of values that are not counted one by one, that of the pixels (n, d) of a sample.
        """
        if self.histogram is not None:
            counts = self.histogram[band].copy()
            counts[[int(value) - lowest_of(self.dtype) for value in apart]] = 0
            rank = -(-int(counts.sum()) * share // 100)
            found = int(np.searchsorted(np.cumsum(counts), max(rank, 1)))
            return float(lowest_of(self.dtype) + found)
        values = sample[:, band]
        near = values[~np.isin(values, apart)]
        values = near if near.size else values
        rank = max(-(-values.size * share // 100), 1) - 1
        return float(np.partition(values, rank)[rank])

    def mean_and_deviation(self) -> tuple[F64, F64]:
        """Mean and standard deviation of each band, in its own units: exact quotients, rounded once."""
        n, bits = self.pixels, unit_bits(self.dtype)
        mean = [quotient(int(s), n << bits) for s in self.sums]
        variance = [
            quotient(int(q) * n - int(s) ** 2, (n * n) << (2 * bits))
            for s, q in zip(self.sums, self.squares, strict=True)
        ]
        return np.array(mean), np.sqrt(np.maximum(variance, 0.0))


@dataclass(frozen=True, slots=True)
class BandSpace:
    """The feature space of some bands.

    Parameters
    ----------
    bands
        1-based numbers of the bands in their file, what files call them, or how they are derived from others.
    dtype
        Of the samples.
    offset, scale
        float64 (d,): feature = (value - offset) * scale.
    stretch
        (low, high) of each band that colours are made from, one or three of them.
    display
        Which of the bands these are, from 0; none: the first three, or one.
    source_dtype
        Of the samples of files where bands are derived from these; None: it is ``dtype``.
    """

    bands: Bands
    dtype: str
    offset: F64
    scale: F64
    stretch: tuple[tuple[float, float], ...]
    source_dtype: str | None = None
    display: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"BandSpace({', '.join(self.names)} of {self.stored_dtype})"

    @classmethod
    def fitted(
        cls,
        bands: Bands,
        dtype: str,
        moments: BandMoments,
        normalize: str,
        sample: Values,
        apart: Sequence[Sequence[float]] = (),
        display: tuple[int, ...] = (),
    ) -> BandSpace:
        """The space that ``--normalize`` asks for, from the statistics of all data and a sample of it (n, d).

        ``apart``: values of each band that are far from all others, which colours are not stretched to; ``display``:
        as the space has it.
        """
        d = len(bands)
        offset, width = np.zeros(d), np.ones(d)
        if normalize == "standard":
            offset, width = moments.mean_and_deviation()
        elif normalize == "minmax":
            ends = moments.extremes
            offset, width = ends.low, ends.high - ends.low
        with np.errstate(over="ignore"):
            scale = 1.0 / np.where((width > 0) & np.isfinite(width), width, 1.0)
        scale = np.where(np.isfinite(scale), scale, 1.0)
        shown = display or range(3 if d >= 3 else 1)
        stretch = tuple(
            (
                moments.percentile(b, PERCENTILES[0], sample, apart[b] if apart else ()),
                moments.percentile(b, PERCENTILES[1], sample, apart[b] if apart else ()),
            )
            for b in shown
        )
        return cls(bands, dtype, offset, scale, stretch, display=display)

    @property
    def shown(self) -> tuple[int, ...]:
        """Which of the bands colours are made from, from 0: one or three of them."""
        return self.display or tuple(range(len(self.stretch)))

    @property
    def shown_bands(self) -> Bands:
        """These bands."""
        return tuple(self.bands[at] for at in self.shown)

    @property
    def name(self) -> str:
        return "bands"

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(f"band_{band}" if isinstance(band, int) else str(called(band)) for band in self.bands)

    @property
    def names(self) -> tuple[str, ...]:
        """What its bands are called in words."""
        return tuple(str(called(band)) for band in self.bands)

    @property
    def is_derived(self) -> bool:
        """Whether any of its bands is worked out from others."""
        return self.source_dtype is not None

    @property
    def stored_dtype(self) -> str:
        """The type of the samples of files that it is for."""
        return self.dtype if self.source_dtype is None else self.source_dtype

    @property
    def dimensions(self) -> int:
        return len(self.bands)

    @property
    def steps_per_unit(self) -> int:
        """The solver works in feature units."""
        return 1

    @property
    def affine(self) -> F64:
        """What kernels need: offset and scale as float64 (2, d)."""
        return np.stack([self.offset, self.scale])

    @property
    def bits(self) -> int:
        """Sums of values count steps of ``2**-bits``."""
        return unit_bits(self.dtype)

    @property
    def has_whole_features(self) -> bool:
        """Whether features are whole numbers, of which float64 holds sums exactly."""
        return is_small(self.dtype) and bool((self.scale == 1.0).all() and (self.offset == np.floor(self.offset)).all())

    def to_features(self, points: F64) -> F64:
        """Centroids as stored: the solver works in feature units already."""
        return points

    def to_points(self, features: F64) -> F64:
        """The same the other way."""
        return features

    def features_of(self, values: F64) -> F64:
        """Features of values (..., d); of a negative zero those of zero."""
        return (values - self.offset) * self.scale + 0.0

    def from_space(self, other: BandSpace, centroids: F64) -> F64:
        """Centroids of another space of the same bands, in the features of this one."""
        return (centroids / other.scale + other.offset - self.offset) * self.scale

    def means(self, sums: ClusterSums, otherwise: F64) -> F64:
        """The mean of every cluster in feature units; rows of ``otherwise`` where one is empty."""
        return np.where((sums.counts > 0)[:, None], self.features_of(self.mean_values(sums)), otherwise)

    def mean_values(self, sums: ClusterSums) -> F64:
        """The mean of every cluster in the bands' own units, exact quotients rounded once; 0 where one is empty."""
        if sums.sums.dtype != object:
            return sums.means(np.zeros(sums.sums.shape))
        means = [
            [0.0 if n == 0 else quotient(s, n << self.bits) for s in row]
            for n, row in zip(sums.counts.tolist(), sums.sums.tolist(), strict=True)
        ]
        return np.array(means).reshape(sums.sums.shape)

    def inertia(self, sums: ClusterSums, centroids: F64) -> float:
        """Sum of squared distances, worked out in whole numbers and rounded once; infinity where float64 ends.

        A pixel's part is ``(scale * x - (scale * offset + c))**2``, of which every factor is a float.
        """
        counts, linear = sums.counts.tolist(), sums.sums.T.tolist()
        parts: list[tuple[int, int]] = []  # numerators, and powers of two below them
        for band, column in enumerate(linear):
            scale, scale_bits = _dyadic(float(self.scale[band]))
            offset, offset_bits = _dyadic(float(self.offset[band]))
            total, below = scale * scale * int(sums.squares[band]), 2 * (scale_bits + self.bits)
            shifted, shifted_bits = scale * offset, scale_bits + offset_bits
            for n, s, c in zip(counts, column, centroids[:, band].tolist(), strict=True):
                if n:
                    center, center_bits = _sum_of((shifted, shifted_bits), _dyadic(c))
                    cross = (-2 * scale * center * int(s), scale_bits + center_bits + self.bits)
                    own = (n * center * center, 2 * center_bits)
                    total, below = _sum_of((total, below), _sum_of(cross, own))
            parts.append((total, below))
        numerator, bits = parts[0]
        for part in parts[1:]:
            numerator, bits = _sum_of((numerator, bits), part)
        return max(quotient(numerator, 1 << bits), 0.0)

    def total_variance(self, sums: ClusterSums) -> float:
        """Variance of all features, summed over the bands."""
        n = sums.pixels
        if not n:
            return 0.0
        total = 0.0
        for band, column in enumerate(sums.sums.T.tolist()):
            spread = int(sums.squares[band]) * n - sum(column) ** 2
            total += float(self.scale[band]) ** 2 * quotient(spread, (n * n) << (2 * self.bits))
        return total

    def colors_of(self, sums: ClusterSums) -> NDArray[np.uint8]:
        """uint8 (k, 3): the clusters' means in the bands that are shown, stretched."""
        return self.shades(self.mean_values(sums))

    def shades(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The colours of values of all bands (..., d): uint8 (..., 3), stretched; NaN is 0."""
        return self.shades_of_shown(values[..., list(self.shown)])

    def shades_of_shown(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The same of values of `shown_bands` alone (..., 1 or 3)."""
        shown = []
        for at, (low, high) in enumerate(self.stretch):
            with np.errstate(invalid="ignore", over="ignore"):
                shade = (values[..., at].astype(np.float64) - low) / (high - low if high > low else 1.0)
            shown.append(np.floor(np.clip(np.nan_to_num(shade, nan=0.0), 0.0, 1.0) * 255.0 + 0.5))
        columns = shown if len(shown) == 3 else shown * 3
        return np.stack(columns, axis=-1).astype(np.uint8)

    def start_points(self, start: tuple[str, ...]) -> F64:
        """Bands have no colours to start from."""
        raise UsageError(f"--start gives colours ({start[0]}, ...); bands have none")

    def order(self, colors: NDArray[np.uint8], centroids: F64) -> I64:  # noqa: ARG002 - the numbering of bands asks no colours
        """The canonical numbering of bands: by the centroid's mean, then its components."""
        with np.errstate(over="ignore"):
            return np.lexsort([*centroids.T[::-1], centroids.mean(axis=1)])

    def attributes(self) -> dict[str, Any]:
        """As JSON values, for a model."""
        derived = [str(band) for band in self.bands if isinstance(band, Derived)]
        return {
            "bands": [called(band) for band in self.bands],
            **({"derive": derived} if derived else {}),
            "dtype": self.dtype,
            **({} if self.source_dtype is None else {"source_dtype": self.source_dtype}),
            **({"grid": self._own_grid()} if self.dtype in _OWN_GRID else {"values": "as stored"}),
            "normalisation": {"offset": self.offset.tolist(), "scale": self.scale.tolist()},
            "stretch": [list(limits) for limits in self.stretch],
            **({"display": [called(band) for band in self.shown_bands]} if self.display else {}),
        }

    def _own_grid(self) -> dict[str, Any]:
        """What earlier releases wrote, and read, of values that are their own grid."""
        d = self.dimensions
        return {"base": [0.0] * d, "step": [1.0] * d, "lowest": lowest_of(self.dtype), "shift": 0}

    @classmethod
    def from_attributes(cls, facts: dict[str, Any]) -> BandSpace:
        """The space a model's attributes tell of.

        Raises
        ------
        StoreError
            If it is one of an earlier release that rounded such values to a grid.
        """
        normalisation = facts["normalisation"]
        offset, scale = (np.asarray(normalisation[name], np.float64) for name in ("offset", "scale"))
        stated = [band if isinstance(band, str) else int(band) for band in facts["bands"]]
        bands, dtype = of_model(stated, [str(text) for text in facts.get("derive", ())]), str(facts["dtype"])
        if any(array.shape != (len(bands),) for array in (offset, scale)):
            raise ValueError("the normalisation is not one of its bands")
        if dtype not in _OWN_GRID and "values" not in facts:
            raise StoreError(
                f"a model of {dtype} bands by an earlier release, which rounded their values to a grid; "
                "fit it again (values are taken as they are stored now)"
            )
        stretch = tuple((float(low), float(high)) for low, high in facts["stretch"])
        source_dtype = None if facts.get("source_dtype") is None else str(facts["source_dtype"])
        if dtype != taken_dtype(bands, source_dtype or dtype) or (source_dtype is None) == any(
            isinstance(band, Derived) for band in bands
        ):
            raise ValueError("the type of its values is not that of its bands")
        own = [called(band) for band in bands]
        display = tuple(own.index(band) for band in facts.get("display", ()))
        if len(stretch) != (len(display) or (3 if len(bands) >= 3 else 1)):
            raise ValueError("the stretch is not one of the bands that are shown")
        space = cls(bands, dtype, offset, scale, stretch, source_dtype, display)
        if dtype in _OWN_GRID and facts["grid"] != space._own_grid():
            raise ValueError("the grid is not that of its values")
        return space

    def label(
        self, samples: NDArray[Any], valid: Bools | None, centroids: F64, *, confidence: bool = False
    ) -> LabelledPixels:
        """Labels (y, x) of samples (y, x, d), the exact sums over them, and their confidence where asked for."""
        k = len(centroids)
        pixels = BandPixels.of(samples, valid)
        labels: Labels = np.empty(len(pixels.values), label_dtype(k))
        sums = assign_and_sum(pixels, self.affine, centroids, self.bits, labels)
        shape = samples.shape[:2]
        if not confidence:
            return LabelledPixels(labels.reshape(shape), sums)
        rated = rate_dense(pixels.values, pixels.valid, self.affine, centroids)
        return LabelledPixels(labels.reshape(shape), sums, rated.reshape(shape))


Dyadic = tuple[int, int]  # a whole number, and the power of two that it is divided by


def _dyadic(value: float) -> Dyadic:
    """A finite float as it is."""
    numerator, denominator = value.as_integer_ratio()
    return numerator, denominator.bit_length() - 1


def _sum_of(a: Dyadic, b: Dyadic) -> Dyadic:
    """The exact sum."""
    bits = max(a[1], b[1])
    return (a[0] << (bits - a[1])) + (b[0] << (bits - b[1])), bits
