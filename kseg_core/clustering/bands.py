"""Any number of bands of any dtype: values on a whole-number grid, features by an affine map.

A value is rounded once to the grid of its band, which depends only on the dtype or on the data's global range; sums
are of whole numbers. The feature of a value is ``(value - offset) * scale`` (``--normalize``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..kernels import dense
from ..kernels.confidence import rate_dense
from .labelling import LabelledPixels, Labels, label_dtype
from .sums import ClusterSums

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Values = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

BINS = 1 << 16  # of a band's histogram: one a value where the grid has no more steps
GRID_BITS = 24  # steps across the global range where a band's values are no 16-bit whole numbers: float32's precision
PERCENTILES = (2, 98)  # of the stretch that makes colours of bands
NO_WEIGHTS: I64 = np.empty(0, np.int64)
EVERYWHERE: Bools = np.empty(0, np.bool_)

_LOWEST = {"uint8": 0, "uint16": 0, "int16": -(1 << 15)}  # dtypes whose values are their own grid


def is_whole(dtype: str) -> bool:
    """Whether values of this dtype are used as they are, without looking at the data's range first."""
    return dtype in _LOWEST


@dataclass(frozen=True, slots=True)
class BandRange:
    """Least and greatest valid value of each band; merges."""

    low: F64
    high: F64

    @classmethod
    def of(cls, samples: NDArray[Any], valid: Bools | None) -> BandRange:
        """The range of samples (y, x, d)."""
        flat = samples.reshape(-1, samples.shape[-1])
        flat = flat if valid is None else flat[valid.reshape(-1)]
        d = samples.shape[-1]
        if not len(flat):
            return cls(np.full(d, np.inf), np.full(d, -np.inf))
        return cls(flat.min(axis=0).astype(np.float64), flat.max(axis=0).astype(np.float64))

    def merge(self, other: BandRange) -> BandRange:
        return BandRange(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True, slots=True)
class BandGrid:
    """Where the whole numbers of each band lie: ``value = base + step * q``.

    Parameters
    ----------
    base, step
        float64 (d,); steps are powers of two.
    lowest
        Least q; the histogram's first bin.
    shift
        A bin holds ``2**shift`` steps.
    """

    base: F64
    step: F64
    lowest: int
    shift: int

    @classmethod
    def for_dtype(cls, dtype: str, bands: int) -> BandGrid:
        """The grid of 8- and 16-bit whole numbers: the values themselves."""
        return cls(np.zeros(bands), np.ones(bands), _LOWEST[dtype], 0)

    @classmethod
    def for_range(cls, found: BandRange) -> BandGrid:
        """The grid of other dtypes: ``2**24`` steps or fewer across each band's global range."""
        span = np.maximum(found.high - found.low, 1e-300)
        finest = np.spacing(np.maximum(np.maximum(np.abs(found.low), np.abs(found.high)), 1e-300))
        step = np.maximum(np.exp2(np.ceil(np.log2(span)) - GRID_BITS + 1), finest)  # no finer than float64 is there
        base = np.floor(found.low / step) * step
        return cls(base, step, 0, GRID_BITS - 16)

    def values(self, samples: NDArray[Any], valid: Bools | None) -> Values:
        """Samples (..., d) as whole numbers (n, d); what is invalid becomes the lowest."""
        flat = samples.reshape(-1, samples.shape[-1])
        if self.shift == 0:
            return np.ascontiguousarray(flat)
        with np.errstate(invalid="ignore", over="ignore"):
            q = np.rint((flat.astype(np.float64) - self.base) / self.step)
        if valid is not None:
            q[~valid.reshape(-1)] = self.lowest
        # What lies beyond the range of the data that was fitted is clipped to it: its nearest centroid is at that end.
        return np.clip(q, 0, (1 << GRID_BITS) - 1).astype(np.int32)


@dataclass(frozen=True, slots=True)
class BandMoments:
    """Exact statistics of all valid values of each band; merges.

    Parameters
    ----------
    pixels
        How many.
    sums, squares
        Whole numbers of any size, (d,) each.
    histogram
        int64 (d, 65536).
    """

    pixels: int
    sums: NDArray[np.object_]
    squares: NDArray[np.object_]
    histogram: I64

    @classmethod
    def of(cls, values: Values, valid: Bools | None, grid: BandGrid) -> BandMoments:
        """The statistics of values (n, d)."""
        histogram = np.zeros((values.shape[1], BINS), np.int64)
        mask = flat_mask(valid)
        n, sums, high, low = dense.band_moments(values, mask, grid.shift, grid.lowest, histogram)
        return cls(int(n), objects(sums.tolist()), squares_of(high, low), histogram)

    def merge(self, other: BandMoments) -> BandMoments:
        return BandMoments(
            self.pixels + other.pixels,
            self.sums + other.sums,
            self.squares + other.squares,
            self.histogram + other.histogram,
        )

    def percentile(self, band: int, share: int, grid: BandGrid) -> float:
        """The value that ``share`` per cent of a band's pixels do not exceed."""
        rank = -(-self.pixels * share // 100)
        found = int(np.searchsorted(np.cumsum(self.histogram[band]), max(rank, 1)))
        return float(grid.base[band] + grid.step[band] * (grid.lowest + (found << grid.shift)))

    def mean_and_deviation(self, grid: BandGrid) -> tuple[F64, F64]:
        """Mean and standard deviation of each band, in its own units."""
        n = self.pixels
        mean = np.array([int(s) / n for s in self.sums])
        variance = [(int(q) * n - int(s) ** 2) / (n * n) for s, q in zip(self.sums, self.squares, strict=True)]
        return grid.base + grid.step * mean, grid.step * np.sqrt(np.maximum(variance, 0.0))

    def limits(self, grid: BandGrid) -> tuple[F64, F64]:
        """Least and greatest value of each band, to the width of a bin."""
        bins = [np.flatnonzero(row) for row in self.histogram]
        low = np.array([grid.lowest + (int(b[0]) << grid.shift) for b in bins])
        high = np.array([grid.lowest + ((int(b[-1]) + 1) << grid.shift) - 1 for b in bins])
        return grid.base + grid.step * low, grid.base + grid.step * high


def _band_of(sums: ClusterSums, band: int) -> ClusterSums:
    """The sums of one band alone."""
    return ClusterSums(sums.counts, sums.sums[:, band : band + 1], int(sums.squares[band]))


def flat_mask(valid: Bools | None) -> Bools:
    """Which pixels count, as kernels take it: (n,), or empty where all do."""
    return EVERYWHERE if valid is None else np.ascontiguousarray(valid).reshape(-1)


def squares_of(high: I64, low: I64) -> NDArray[np.object_]:
    """Sums of squares (d,) from the two parts that kernels give."""
    return objects([(int(h) << 17) + int(part) for h, part in zip(high, low, strict=True)])


def objects(numbers: list[int]) -> NDArray[np.object_]:
    """Whole numbers of any size as an array: adding two of them cannot overflow."""
    array = np.empty(len(numbers), np.object_)
    array[:] = numbers
    return array


@dataclass(frozen=True, slots=True)
class BandSpace:
    """The feature space of some bands.

    Parameters
    ----------
    bands
        1-based numbers of the bands in their file.
    dtype
        Of the samples.
    grid
        Their whole numbers.
    offset, scale
        float64 (d,): feature = (value - offset) * scale.
    stretch
        (low, high) of each band that colours are made from: the first three, or one.
    """

    bands: tuple[int, ...]
    dtype: str
    grid: BandGrid
    offset: F64
    scale: F64
    stretch: tuple[tuple[float, float], ...]

    @classmethod
    def fitted(
        cls, bands: tuple[int, ...], dtype: str, grid: BandGrid, moments: BandMoments, normalize: str
    ) -> BandSpace:
        """The space that ``--normalize`` asks for, from the statistics of all data."""
        d = len(bands)
        offset, scale = np.zeros(d), np.ones(d)
        if normalize == "standard":
            offset, deviation = moments.mean_and_deviation(grid)
            scale = 1.0 / np.where(deviation > 0, deviation, 1.0)
        elif normalize == "minmax":
            offset, high = moments.limits(grid)
            scale = 1.0 / np.where(high > offset, high - offset, 1.0)
        shown = range(3) if d >= 3 else range(1)
        stretch = tuple(
            (moments.percentile(b, PERCENTILES[0], grid), moments.percentile(b, PERCENTILES[1], grid)) for b in shown
        )
        return cls(bands, dtype, grid, offset, scale, stretch)

    @property
    def name(self) -> str:
        return "bands"

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(f"band_{band}" for band in self.bands)

    @property
    def dimensions(self) -> int:
        return len(self.bands)

    @property
    def steps_per_unit(self) -> int:
        """The solver works in feature units."""
        return 1

    @property
    def affine(self) -> F64:
        """What kernels need: base, step, offset, scale as float64 (4, d)."""
        return np.stack([self.grid.base, self.grid.step, self.offset, self.scale])

    @property
    def has_whole_features(self) -> bool:
        """Whether features are whole numbers, of which float64 holds sums exactly."""
        return bool((self.scale == 1.0).all() and (self.affine[:3] == np.floor(self.affine[:3])).all())

    def to_features(self, points: F64) -> F64:
        """Centroids as stored: the solver works in feature units already."""
        return points

    def to_points(self, features: F64) -> F64:
        """The same the other way."""
        return features

    def features_of(self, q: F64) -> F64:
        """Features of values on the grid, (..., d)."""
        return ((self.grid.base + self.grid.step * q) - self.offset) * self.scale

    def from_space(self, other: BandSpace, centroids: F64) -> F64:
        """Centroids of another space of the same bands, in the features of this one."""
        return (centroids / other.scale + other.offset - self.offset) * self.scale

    def means(self, sums: ClusterSums, otherwise: F64) -> F64:
        """The mean of every cluster in feature units; rows of ``otherwise`` where one is empty."""
        return np.where((sums.counts > 0)[:, None], self.features_of(sums.means(otherwise)), otherwise)

    def inertia(self, sums: ClusterSums, centroids: F64) -> float:
        """Sum of squared distances, worked out in whole numbers around each band's grid and rounded at the end."""
        q = (centroids / self.scale + self.offset - self.grid.base) / self.grid.step
        total = 0.0
        for band in range(self.dimensions):
            weight = float(self.scale[band] * self.grid.step[band]) ** 2
            total += weight * _band_of(sums, band).inertia(np.ascontiguousarray(q[:, band : band + 1]), 1)
        return total

    def total_variance(self, sums: ClusterSums) -> float:
        """Variance of all features, summed over the bands."""
        weights = (self.scale * self.grid.step) ** 2
        return float(sum(w * _band_of(sums, band).total_variance() for band, w in enumerate(weights)))

    def colors_of(self, sums: ClusterSums) -> NDArray[np.uint8]:
        """uint8 (k, 3): the clusters' means in the first three bands (or one), stretched."""
        return self.shades(self.grid.base + self.grid.step * sums.means(np.zeros_like(sums.sums, np.float64)))

    def shades(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """The colours of values (..., d >= 3), or of one band (..., 1 or 2): uint8 (..., 3), stretched; NaN is 0."""
        shown = []
        for band, (low, high) in enumerate(self.stretch):
            with np.errstate(invalid="ignore", over="ignore"):
                shade = (values[..., band].astype(np.float64) - low) / (high - low if high > low else 1.0)
            shown.append(np.floor(np.clip(np.nan_to_num(shade, nan=0.0), 0.0, 1.0) * 255.0 + 0.5))
        columns = shown if len(shown) == 3 else shown * 3
        return np.stack(columns, axis=-1).astype(np.uint8)

    def start_points(self, start: tuple[str, ...]) -> F64:
        """Bands have no colours to start from."""
        raise UsageError(f"--start gives colours ({start[0]}, ...); bands have none")

    def order(self, colors: NDArray[np.uint8], centroids: F64) -> I64:  # noqa: ARG002 - the numbering of bands asks no colours
        """The canonical numbering of bands: by the centroid's mean, then its components."""
        return np.lexsort([*centroids.T[::-1], centroids.mean(axis=1)])

    def attributes(self) -> dict[str, Any]:
        """As JSON values, for a model."""
        grid = self.grid
        return {
            "bands": list(self.bands),
            "dtype": self.dtype,
            "grid": {
                "base": grid.base.tolist(),
                "step": grid.step.tolist(),
                "lowest": grid.lowest,
                "shift": grid.shift,
            },
            "normalisation": {"offset": self.offset.tolist(), "scale": self.scale.tolist()},
            "stretch": [list(limits) for limits in self.stretch],
        }

    @classmethod
    def from_attributes(cls, facts: dict[str, Any]) -> BandSpace:
        """The space a model's attributes tell of."""
        grid, normalisation = facts["grid"], facts["normalisation"]
        base, step = (np.asarray(grid[name], np.float64) for name in ("base", "step"))
        offset, scale = (np.asarray(normalisation[name], np.float64) for name in ("offset", "scale"))
        bands = tuple(int(band) for band in facts["bands"])
        if any(array.shape != (len(bands),) for array in (base, step, offset, scale)):
            raise ValueError("the grid or normalisation is not one of its bands")
        return cls(
            bands,
            str(facts["dtype"]),
            BandGrid(base, step, int(grid["lowest"]), int(grid["shift"])),
            offset,
            scale,
            tuple((float(low), float(high)) for low, high in facts["stretch"]),
        )

    def label(
        self, samples: NDArray[Any], valid: Bools | None, centroids: F64, *, confidence: bool = False
    ) -> LabelledPixels:
        """Labels (y, x) of samples (y, x, d), the exact sums over them, and their confidence where asked for."""
        k = len(centroids)
        values = self.grid.values(samples, valid)
        dtype = label_dtype(k)
        labels: Labels = np.empty(len(values), dtype)
        mask = flat_mask(valid)
        told = dense.label_and_sum_dense(values, mask, self.affine, centroids, np.iinfo(dtype).max, labels)
        counts, sums, high, low = told
        sums_of_labels = ClusterSums(counts, sums, squares_of(high, low))
        shape = samples.shape[:2]
        if not confidence:
            return LabelledPixels(labels.reshape(shape), sums_of_labels)
        rated = rate_dense(values, mask, self.affine, centroids)
        return LabelledPixels(labels.reshape(shape), sums_of_labels, rated.reshape(shape))
