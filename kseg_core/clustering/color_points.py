"""A colour table laid out for K-means: points of a feature space, ordered by the cell of space they lie in.

A step then settles most cells as a whole (all their points share a nearest centroid) and looks at single points only
where clusters meet. A large table is split into shards, each of which answers the same questions; the answers merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import assign as kernels
from ..kernels.second import silhouette_of_points
from .features import FeatureSpace
from .points import FarPoint
from .summary import ColorTable
from .sums import ClusterSums, Silhouettes, rounded_means

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

TABLE_COARSER = 1  # cells of a table: 32 along the widest axis, some ten thousand occupied by photographs


class Cells(NamedTuple):
    """Weighted points ordered by the cell of space they lie in.

    Attributes
    ----------
    points, weights
        float32 (3, n), grid units, and int64 (n,).
    starts
        int64 (m + 1,): where each occupied cell begins.
    lo, hi, counts, sums
        Each cell's box float64 (m, 3), weight and weighted sum.
    """

    points: F32
    weights: I64
    starts: I64
    lo: F64
    hi: F64
    counts: I64
    sums: I64

    @classmethod
    def of(cls, space: FeatureSpace, points: F32, weights: I64, coarser: int) -> tuple[Cells, I64]:
        """Points (3, n) in cells of `FeatureSpace.cell_ids`, and which each of them was."""
        order, starts = kernels.order_by_cell(*space.cell_ids(points, coarser))
        points, weights = kernels.in_order(points, weights, order)
        return cls(points, weights, starts, *kernels.summarise_cells(points, weights, starts)), order

    def label(self, centroids: F64) -> I64:
        """The nearest centroid of each point, (n,)."""
        labels: I64 = kernels.label_by_cells(self.points, self.starts, self.lo, self.hi, centroids)
        return labels


@dataclass(frozen=True, slots=True)
class ColorPoints:
    """Weighted points of a feature space (a `Points`).

    Parameters
    ----------
    space
        The feature space.
    cells
        The points, and how many pixels each has.
    colors
        float32 (3, n): the sRGB colours behind them.
    squares
        Weighted sum of ``|x|**2`` in squared grid units.
    """

    space: FeatureSpace
    cells: Cells
    colors: F32
    squares: int

    @classmethod
    def build(cls, table: ColorTable, space: FeatureSpace) -> ColorPoints:
        """Convert a colour table to a feature space."""
        cells, order = Cells.of(space, space.points(table.codes), table.counts, TABLE_COARSER)
        # in rgb the points are the colours
        colors = cells.points if space.name == "rgb" else _channels(table.codes[order])
        return cls(space, cells, colors, sum_of_squares(cells.points, cells.weights))

    @property
    def points(self) -> F32:
        """The points, float32 (3, n)."""
        return self.cells.points

    @property
    def weights(self) -> I64:
        """Pixels of each, int64 (n,)."""
        return self.cells.weights

    def sums(self, centroids: F64) -> ClusterSums:
        counts, sums = kernels.sum_by_cells(*self.cells, centroids)
        return ClusterSums(counts, sums, self.squares)

    def farthest(self, centroids: F64) -> FarPoint:
        _, squared = kernels.nearest(self.points, centroids)
        most = float(squared.max())
        x, y, z = min(self.points[:, squared == most].T.tolist())
        return FarPoint(most, (x, y, z))

    @property
    def size(self) -> int:
        return int(self.weights.size)

    def weighted_points(self) -> tuple[F64, F64]:
        return self.points.astype(np.float64), self.weights.astype(np.float64)

    def cluster_colors(self, centroids: F64, sums: ClusterSums) -> NDArray[np.uint8]:
        return rounded_means(self.color_sums(centroids), sums.counts)

    def color_sums(self, centroids: F64) -> I64:
        """int64 (k, 3): sum of the sRGB colours of each cluster's pixels."""
        if self.colors is self.points:
            return self.sums(centroids).sums
        labels = self.cells.label(centroids)
        sums: I64 = kernels.sum_labelled(self.colors, self.weights, labels, len(centroids))[1]
        return sums

    def distinct(self) -> F32:
        return np.unique(self.points.T, axis=0)

    def coarse(self, coarser: int) -> CoarseTable:
        cells = self.cells
        if coarser != TABLE_COARSER:  # else the points lie so already
            cells, _ = Cells.of(self.space, self.points, self.weights, coarser)
        first = np.ascontiguousarray(cells.points[:, cells.starts[:-1]])
        return CoarseTable(self.space.cell_ids(first, coarser)[0], cells.counts, cells.sums)

    def silhouettes(self, centroids: Sequence[F64]) -> Silhouettes:
        return Silhouettes.of(
            [silhouette_of_points(self.points, self.weights, each) if len(each) > 1 else (0, 0) for each in centroids]
        )


def sum_of_squares(points: F32, weights: I64) -> int:
    """Weighted sum of ``|x|**2`` of points (3, n), of any size."""
    high, low = kernels.sum_squares(points, weights)
    return (int(high) << 17) + int(low)


def _channels(codes: NDArray[np.uint32]) -> F32:
    """Red, green and blue (3, n) of colour codes."""
    return np.stack([codes >> shift & 255 for shift in (16, 8, 0)]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class CoarseTable:
    """Weight and weighted sum of each occupied cell of space: a small form of any number of pixels.

    Parameters
    ----------
    ids
        int64 (m,), rising: the finest cells of the feature space.
    counts, sums
        int64 (m,) and (m, 3).
    """

    ids: I64
    counts: I64
    sums: I64

    @property
    def size(self) -> int:
        return int(self.ids.size)

    def merge(self, other: CoarseTable) -> CoarseTable:
        """The cells of both tables' pixels."""
        ids, inverse = np.unique(np.concatenate([self.ids, other.ids]), return_inverse=True)
        counts = np.zeros(ids.size, np.int64)
        sums = np.zeros((ids.size, 3), np.int64)
        np.add.at(counts, inverse, np.concatenate([self.counts, other.counts]))
        np.add.at(sums, inverse, np.concatenate([self.sums, other.sums]))
        return CoarseTable(ids, counts, sums)

    def weighted_points(self) -> tuple[F64, F64]:
        """Means (3, m) and weights (m,) of the cells, for the search."""
        return np.ascontiguousarray((self.sums / self.counts[:, None]).T), self.counts.astype(np.float64)
