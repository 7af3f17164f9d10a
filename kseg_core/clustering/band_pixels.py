"""Pixels of bands in memory: the mini-batches, a table of one band's values, or all of a smaller image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels import dense
from ..kernels.indices import silhouette_of_values
from .bands import EVERYWHERE, NO_WEIGHTS, BandSpace, Bools, Values, objects
from .indices import Silhouettes
from .labelling import label_dtype
from .sums import ClusterSums
from .table import FarPoint

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

SAMPLES = {1: 1 << 14, 0: 1 << 15, -1: 1 << 16, -2: 1 << 17}  # points of the search's coarse forms
STEPS = {1: 32, 0: 64, -1: 128, -2: 256}  # cells along the widest band, as for colours
MOST_NUMBERED = 1 << 25  # cells of four bands in 64 steps each; a table of them is 130 MB for a moment
MOST_EMPTY = 32  # places of that table for each pixel: where it is emptier, sorting takes less
MOST_CELLS = 1 << 17  # more would be slower to search than a sample


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
class BandPixels:
    """Pixels of a band space (a `LocalPixels`).

    Parameters
    ----------
    space
        The feature space.
    values
        Whole numbers (n, d).
    weights
        int64 (n,), or empty where each counts once.
    squares
        Weighted sum of the squared values of each band, object (d,).
    few
        The same pixels as a table of their distinct values, where it is known and worth it: what is added up in whole
        numbers is added up from it.
    """

    space: BandSpace
    values: Values
    weights: I64
    squares: NDArray[np.object_]
    few: BandPixels | None = None

    @classmethod
    def build(cls, space: BandSpace, values: Values, weights: I64 = NO_WEIGHTS) -> BandPixels:
        """Pixels with their sums of squares."""
        w = np.ones(len(values), np.int64) if not weights.size else weights
        totals = []
        for band in range(values.shape[1]):
            q = values[:, band].astype(np.int64)
            square = q * q
            totals.append((int((w * (square >> 17)).sum()) << 17) + int((w * (square & 0x1FFFF)).sum()))
        return cls(space, values, weights, objects(totals))

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
        counts, sums = dense.assign_and_sum(self.values, self.weights, EVERYWHERE, self.space.affine, centroids)
        return ClusterSums(counts, sums, self.squares)

    def farthest(self, centroids: F64) -> FarPoint:
        if self.few is not None:
            return self.few.farthest(centroids)
        scratch = np.empty(self.size, label_dtype(len(centroids)))
        squared = dense.label_dense(self.values, EVERYWHERE, self.space.affine, centroids, 0, scratch)
        most = float(squared.max())
        points = self.space.features_of(self.values[squared == most].astype(np.float64))
        return FarPoint(most, tuple(min(points.tolist())))

    def cluster_colors(self, centroids: F64, sums: ClusterSums) -> NDArray[np.uint8]:  # noqa: ARG002 - the sums say it all
        return self.space.colors_of(sums)

    def distinct(self) -> F64:
        return self.space.features_of(np.unique(self.values, axis=0).astype(np.float64))

    def coarse(self, coarser: int) -> BandSample:
        """Means and weights of all pixels by cells of even width, so that rare and far values count too.

        With so many bands that cells have no number, or nearly every pixel a cell of its own: an even sample.
        """
        if self.space.dimensions == 1:
            return self._cells(SAMPLES[coarser])
        # sums of whole numbers are the same in any order, and of distinct values there are fewer
        source = self.few if self.few is not None and self.space.has_whole_features else self
        found = source._boxes(STEPS[coarser])
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
        lowest = points.min(axis=1, initial=np.inf)
        reach = float((points.max(axis=1, initial=-np.inf) - lowest).max()) if self.size else 0.0
        if reach == 0.0 or self.space.dimensions * steps.bit_length() >= 63:
            return None
        cells = np.zeros(self.size, np.int64)
        for row, low in zip(points, lowest, strict=True):
            cells = cells * (steps + 1) + np.floor((row - low) * (steps / reach)).astype(np.int64)
        inverse = numbered(cells)
        counts: F64 = np.bincount(inverse, weights).astype(np.float64)
        if counts.size > MOST_CELLS:
            return None
        return BandSample(np.stack([np.bincount(inverse, weights * row) / counts for row in points]), counts)

    def silhouettes(self, centroids: Sequence[F64]) -> Silhouettes:
        return silhouettes_of(self.space, self.values, self.weights, EVERYWHERE, centroids)

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


def silhouettes_of(
    space: BandSpace, values: Values, weights: I64, valid: Bools, centroids: Sequence[F64]
) -> Silhouettes:
    """Sums of the silhouettes of whole-number values (n, d), for each of several sets of centroids."""
    affine = space.affine
    return Silhouettes.of(
        [silhouette_of_values(values, weights, valid, affine, each) if len(each) > 1 else (0, 0) for each in centroids]
    )
