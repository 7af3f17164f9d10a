"""Pixels of bands in memory: the mini-batches, a table of one band's values, or all of a smaller image; and what a pass
over the bands brings home: statistics of all values, and the pixels of the nested mini-batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import dense
from ..kernels.sampling import picked_pixels
from ..kernels.search import FAR
from ..kernels.second import silhouette_of_values
from .band_values import (
    EVERYWHERE,
    NO_WEIGHTS,
    BandPixels,
    Bools,
    Objects,
    Values,
    ValueTable,
    as_values,
    assign_and_sum,
    ends_of,
    flat_mask,
    lowest_of,
    objects,
    sums_of_values,
)
from .bands import BandMoments, BandSpace
from .points import FarPoint
from .summary import BatchRule
from .sums import ClusterSums, Silhouettes, SumsOfEach

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

SAMPLES = {1: 1 << 14, 0: 1 << 15, -1: 1 << 16, -2: 1 << 17}  # points of the search's coarse forms
STEPS = {1: 32, 0: 64, -1: 128, -2: 256}  # cells along the widest band, as for colours
MOST_NUMBERED = 1 << 25  # cells of four bands in 64 steps each; a table of them is 130 MB for a moment
MOST_EMPTY = 32  # places of that table for each pixel: where it is emptier, sorting takes less
MOST_CELLS = 1 << 17  # more would be slower to search than a sample
HEAVY = 4  # a cell with one pixel in so many, and more than one value, is divided in its turn: one far value (that of
# fill, say) must not put all the others in one cell
MOST_DIVISIONS = 64
WORTH_A_TABLE = 4  # pixels a distinct value: with more, a table of them is quicker to add up
HELD_PX = 1 << 21  # pixels of the largest mini-batch: with four bands some thirty megabytes
HELD_VALUES = 1 << 23  # with more bands, fewer pixels: what is held does not grow with them
NO_ENDS: NDArray[np.float64] = np.empty((2, 0))


@dataclass(frozen=True, slots=True)
class BandSample:
    """Some pixels, evenly spread, for the search (a `Coarse`)."""

    points: F64
    weights: F64

    @property
    def size(self) -> int:
        return int(self.weights.size)

    def weighted_points(self) -> tuple[F64, F64]:
        return self.points, self.weights


@dataclass(frozen=True, slots=True)
class BandPoints:
    """Pixels of a band space (a `LocalPoints`).

    Parameters
    ----------
    space
        The feature space.
    values
        (n, d) of `band_values.as_values`.
    weights
        int64 (n,), or empty where each counts once.
    squares
        Weighted sum of the squared values of each band, object (d,).
    few
        The same pixels as a table of their distinct values, where they are few: what is added up in whole numbers is
        added up from it.
    valid
        bool (n,), or empty where all are: of a window that is part of data which is streamed. Then `sums`, `farthest`,
        `silhouettes` and `table` are of its valid pixels.
    """

    space: BandSpace
    values: Values
    weights: I64
    squares: Objects
    few: BandPoints | None = None
    valid: Bools = field(default_factory=lambda: EVERYWHERE)

    @classmethod
    def build(cls, space: BandSpace, values: Values) -> BandPoints:
        """Pixels with their sums of squares, and a table of their distinct values where it is worth it."""
        pixels = cls(space, values, NO_WEIGHTS, sums_of_values(values, EVERYWHERE, space.bits).squares)
        table = pixels.table()
        if table.values is None or len(table.values) * WORTH_A_TABLE > len(values):
            return pixels
        return replace(pixels, few=cls(space, table.values, table.counts, pixels.squares))

    @classmethod
    def window(cls, space: BandSpace, samples: Values, valid: Bools | None) -> BandPoints:
        """A window of samples (y, x, d), whose squares nobody asks for."""
        pixels = BandPixels.of(samples, valid)
        return cls(space, *pixels[:2], objects([0] * space.dimensions), valid=pixels.valid)

    @classmethod
    def of_counts(cls, space: BandSpace, values: Values, counts: I64) -> BandPoints:
        """A table of small values (n, 1) and how many pixels have each."""
        q = values[:, 0].astype(np.int64)
        square = q * q
        total = (int((counts * (square >> 17)).sum()) << 17) + int((counts * (square & 0x1FFFF)).sum())
        return cls(space, values, counts, objects([total]))

    @property
    def size(self) -> int:
        return len(self.values)

    def weighted_points(self) -> tuple[F64, F64]:
        points = dense.features_by_band(self.values, self.space.affine)
        weights = np.ones(self.size) if not self.weights.size else self.weights.astype(np.float64)
        return points, weights

    def sums(self, centroids: F64) -> ClusterSums:
        if self.few is not None:
            return self.few.sums(centroids)
        pixels = BandPixels(self.values, self.weights, self.valid)
        found = assign_and_sum(pixels, self.space.affine, centroids, self.space.bits)
        return ClusterSums(found.counts, found.sums, self.squares)

    def sums_of_each(self, centroids: Sequence[F64]) -> SumsOfEach:
        """`sums` for several sets of centroids."""
        return SumsOfEach(tuple(map(self.sums, centroids)))

    def farthest(self, centroids: F64) -> FarPoint:
        if self.few is not None:
            return self.few.farthest(centroids)
        squared = dense.squared_distances(self.values, self.valid, self.space.affine, centroids)
        most = float(squared.max(initial=-1.0))
        if most < 0.0:
            return FarPoint(most, (0.0,) * self.space.dimensions)  # no pixel is valid
        rows = np.unique(self.values[squared == most], axis=0)
        return FarPoint(most, tuple(min(self.space.features_of(rows.astype(np.float64)).tolist())))

    def table(self) -> ValueTable:
        """The distinct values and their pixels, where they are few."""
        return ValueTable.of(self.values, self.valid)

    def cluster_colors(self, centroids: F64, sums: ClusterSums) -> NDArray[np.uint8]:  # noqa: ARG002 - the sums say it all
        return self.space.colors_of(sums)

    def distinct(self) -> F64:
        values = self.values if self.few is None else self.few.values
        return self.space.features_of(np.unique(values, axis=0).astype(np.float64))

    def coarse(self, coarser: int) -> BandSample:
        """Means and weights of all pixels by cells of even width, so that rare and far values count too.

        Of few distinct values these themselves; an even sample with so many bands that cells have no number, or where
        nearly every pixel is a cell of its own.
        """
        if self.few is not None and self.few.size <= SAMPLES[coarser]:
            return BandSample(*self.few.weighted_points())
        if self.space.dimensions == 1 and self.values.dtype.kind != "f":
            return self._cells(SAMPLES[coarser])
        # sums of whole numbers are the same in any order, and of distinct values there are fewer
        source = self.few if self.few is not None and self.space.has_whole_features else self
        found = source._boxes(SAMPLES[coarser] if self.space.dimensions == 1 else STEPS[coarser])
        if found is not None:
            return found
        weights = np.ones(self.size) if not self.weights.size else self.weights.astype(np.float64)
        rows = np.unique(np.linspace(0, self.size - 1, min(self.size, SAMPLES[coarser])).astype(np.int64))
        values, inverse = np.unique(self.values[rows], axis=0, return_inverse=True)
        counts = np.bincount(inverse.reshape(-1), weights[rows]).astype(np.float64)
        sampled = self.space.features_of(values.astype(np.float64))
        return BandSample(np.ascontiguousarray(sampled.T), counts)

    def _boxes(self, steps: int) -> BandSample | None:
        """Means and weights of all pixels by cells, so many along the widest band; None where there are too many."""
        points, weights = self.weighted_points()
        if not self.size or self.space.dimensions * steps.bit_length() >= 63:
            return None
        unit = 2.0**64 if np.abs(points).max() > FAR else 1.0  # sums of the farthest floats would be infinite
        points /= unit
        cells = _cells_of(points, steps)
        if cells is None:
            return None
        inverse = numbered(cells)
        counts: F64 = np.bincount(inverse, weights).astype(np.float64)
        heavy = list(np.flatnonzero(counts * HEAVY > counts.sum()))
        for _ in range(MOST_DIVISIONS):
            if not heavy:
                break
            rows = np.flatnonzero(inverse == heavy.pop())
            cells = _cells_of(points[:, rows], steps)
            if cells is None:
                continue
            parts = numbered(cells)
            inverse[rows[parts > 0]] = counts.size - 1 + parts[parts > 0]  # the first part keeps the cell's number
            counts = np.bincount(inverse, weights).astype(np.float64)
            new = [int(inverse[rows[parts == 0][0]]), *range(counts.size - int(parts.max()), counts.size)]
            heavy += [cell for cell in new if counts[cell] * HEAVY > counts.sum()]
        if counts.size > MOST_CELLS:
            return None
        return BandSample(np.stack([np.bincount(inverse, weights * row) / counts * unit for row in points]), counts)

    def silhouettes(self, centroids: Sequence[F64]) -> Silhouettes:
        pixels = self.values, self.weights, self.valid, self.space.affine
        return Silhouettes.of([silhouette_of_values(*pixels, each) if len(each) > 1 else (0, 0) for each in centroids])

    def _cells(self, most: int) -> BandSample:
        """Means and weights of a lone band's values in cells of even width: its rare values count too."""
        values = self.values[:, 0].astype(np.int64)
        values -= (lowest := int(values.min(initial=1 << 31)))
        shift = max(0, int(values.max(initial=0)).bit_length() - most.bit_length() + 1)
        weights = self.weights.astype(np.float64) if self.weights.size else np.ones(self.size)
        counts: F64 = np.bincount(values >> shift, weights).astype(np.float64)
        sums = np.bincount(values >> shift, weights * values)
        there = np.flatnonzero(counts)
        points = self.space.features_of((lowest + sums[there] / counts[there])[:, None])
        return BandSample(np.ascontiguousarray(points.T), counts[there])


def _cells_of(points: F64, steps: int) -> I64 | None:
    """The cell of each point (d, n), so many along the widest band; None where all are one point."""
    lowest = points.min(axis=1)
    reach = float((points.max(axis=1) - lowest).max())
    if reach == 0.0:
        return None
    cells = np.zeros(points.shape[1], np.int64)
    a_unit = steps / reach
    for row, low in zip(points, lowest, strict=True):
        along = (row - low) * a_unit if np.isfinite(a_unit) else (row - low) / reach * steps
        cells = cells * (steps + 1) + np.minimum(np.floor(along), steps).astype(np.int64)
    return cells


def numbered(cells: I64) -> I64:
    """Each cell's place among the distinct ones: what `numpy.unique` calls the inverse, without sorting where the
    cells' numbers are small enough for a table of them.
    """
    largest = int(cells.max(initial=0))
    if largest >= MOST_NUMBERED or largest > MOST_EMPTY * cells.size:
        return np.unique(cells, return_inverse=True)[1].reshape(-1)
    there = np.zeros(largest + 1, np.bool_)
    there[cells] = True
    places: NDArray[np.int32] = np.cumsum(there, dtype=np.int32)
    return places[cells].astype(np.int64) - 1


def held_px(bands: int) -> int:
    """Most pixels of the largest mini-batch. It depends on the data alone, as results must not depend on memory."""
    return max(1, min(HELD_PX, HELD_VALUES // max(1, bands)))


class Place(NamedTuple):
    """Where a window lies: its image, its first pixel, and the image's width."""

    key: str
    top: int
    left: int
    image_width: int


class Picked(NamedTuple):
    """Some pixels of one window: image, offsets in it, values (n, d), and which are in the first batch; the least and
    greatest value of each band in all of the window, (2, d), or (2, 0) where no pixel is valid.
    """

    key: str
    offsets: I64
    values: Values
    first: Bools
    ends: NDArray[np.float64] = NO_ENDS


@dataclass(frozen=True, slots=True)
class BandBatch:
    """Statistics and mini-batches; merges.

    Parameters
    ----------
    moments
        Of all valid values.
    picked
        Pixels of the larger mini-batch, which holds the first.
    far
        Where the batch is not all data: for each band the pixel of its least and that of its greatest value, (2 d, d).
    holds_all
        Whether the larger batch is all data.
    """

    moments: BandMoments
    picked: tuple[Picked, ...]
    far: Values
    holds_all: bool

    @classmethod
    def of(
        cls,
        samples: Values,
        valid: Bools | None,
        place: Place,
        first: BatchRule,
        held: BatchRule,
    ) -> BandBatch:
        """What one window of samples (y, x, d) has."""
        values, dtype = as_values(samples), samples.dtype.name
        height, width = samples.shape[:2]
        picks = picked_pixels(height, width, place.top, place.left, held.level, held.seed)
        if valid is not None:
            picks = picks[valid.reshape(-1)[picks]]
        in_first = np.isin(picks, picked_pixels(height, width, place.top, place.left, first.level, first.seed))
        rows, columns = np.divmod(picks, width)
        offsets = (place.top + rows) * place.image_width + place.left + columns
        moments = BandMoments.of(values, valid, dtype)
        ends = np.stack([moments.extremes.low, moments.extremes.high]) if moments.pixels else NO_ENDS
        picked = Picked(place.key, offsets, values[picks], in_first, ends)
        far = values[:0] if held.level == 0 else _far_pixels(values, flat_mask(valid))
        return cls(moments, (picked,), far, held.level == 0)

    def merge(self, other: BandBatch) -> BandBatch:
        far = _far_pixels(np.concatenate([self.far, other.far]), EVERYWHERE)
        return BandBatch(self.moments.merge(other.moments), self.picked + other.picked, far, self.holds_all)

    def everything(self, space: BandSpace) -> BandPoints | None:
        """All data, where it is few enough: one band's values and their counts, or all pixels; else None."""
        if space.dimensions == 1 and self.moments.histogram is not None:
            found = np.flatnonzero(self.moments.histogram[0])
            values = (found + lowest_of(space.dtype))[:, None]
            return BandPoints.of_counts(space, values, self.moments.histogram[0][found])
        return self.held_pixels(space) if self.holds_all else None

    def held_pixels(self, space: BandSpace) -> BandPoints:
        """The larger mini-batch, and the farthest pixels, which no even sample need have."""
        return BandPoints.build(space, np.concatenate([self.sample(), self.far]))

    def sample(self) -> Values:
        """The values (n, d) of the larger mini-batch."""
        return self._ordered()[0]

    def images_with(self, band: int, value: float) -> set[str]:
        """Which images have a value that is the least or the greatest of a band."""
        return {picked.key for picked in self.picked if picked.ends.size and value in picked.ends[:, band]}

    def first_pixels(self, space: BandSpace) -> BandPoints:
        """The first mini-batch."""
        values, first = self._ordered()
        return BandPoints.build(space, values[first])

    def _ordered(self) -> tuple[Values, Bools]:
        """Values and flags in order of image and position, whatever the chunks were and the order they came in."""
        values, flags = [], []
        for key in sorted({picked.key for picked in self.picked}):
            parts = [picked for picked in self.picked if picked.key == key]
            order = np.argsort(np.concatenate([part.offsets for part in parts]), kind="stable")
            values.append(np.concatenate([part.values for part in parts])[order])
            flags.append(np.concatenate([part.first for part in parts])[order])
        return np.concatenate(values), np.concatenate(flags)


def _far_pixels(values: Values, valid: Bools) -> Values:
    """For each band the valid pixel with its least value and that with its greatest, (2 d, d), where there is one."""
    rows, counts = ends_of(values, valid)
    return values[rows.reshape(-1)] + values.dtype.type(0) if counts.any() else values[:0]
