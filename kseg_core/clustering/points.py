"""Points: weighted values on which K-means runs, whatever they came from (colours, bands; held, sharded or streamed).

The solver, the sweep and the workflows know these types only; `color_points` and `band_points` have those in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .sums import ClusterSums, Silhouettes

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FarPoint:
    """The point farthest from its nearest centroid: squared distance and grid position; ties by position."""

    squared: float
    point: tuple[float, ...]

    def merge(self, other: FarPoint) -> FarPoint:
        """The farther of the two."""
        return max(self, other, key=lambda far: (far.squared, [-x for x in far.point]))


class Space(Protocol):
    """What the solver asks of a feature space; see `kseg_core.clustering.features.FeatureSpace`."""

    @property
    def name(self) -> str: ...
    @property
    def dimensions(self) -> int: ...
    @property
    def steps_per_unit(self) -> int: ...
    def means(self, sums: ClusterSums, otherwise: F64) -> F64: ...
    def inertia(self, sums: ClusterSums, centroids: F64) -> float: ...
    def total_variance(self, sums: ClusterSums) -> float: ...
    def start_points(self, start: tuple[str, ...]) -> F64: ...
    def order(self, colors: NDArray[np.uint8], centroids: F64) -> I64: ...
    def to_features(self, points: F64) -> F64: ...


class Coarse(Protocol):
    """A small form of any number of pixels, for the search."""

    @property
    def size(self) -> int:
        """Weighted points."""
        ...

    def weighted_points(self) -> tuple[F64, F64]:
        """Points (d, m) and weights (m,)."""
        ...


class Points(Protocol):
    """What the solver asks of the data, wherever it lies: in one table, or in shards on many workers."""

    @property
    def space(self) -> Space:
        """The feature space of its points."""
        ...

    @property
    def size(self) -> int:
        """Weighted points, in all shards."""
        ...

    def sums(self, centroids: F64) -> ClusterSums:
        """Partial sums of one step over all pixels; ``centroids`` float64 (k, 3) in grid units."""
        ...

    def farthest(self, centroids: F64) -> FarPoint:
        """The point farthest from all centroids."""
        ...

    def cluster_colors(self, centroids: F64, sums: ClusterSums) -> NDArray[np.uint8]:
        """uint8 (k, 3): mean sRGB of each cluster's pixels; ``sums`` are those of ``centroids``."""
        ...

    def distinct(self) -> Floats:
        """The distinct points (n, d), in rising order."""
        ...

    def coarse(self, coarser: int) -> Coarse:
        """All pixels by the coarse cells of the space, their sides doubled (or halved) ``coarser`` times."""
        ...

    def silhouettes(self, centroids: Sequence[F64]) -> Silhouettes:
        """Sums of the pixels' silhouettes for each of several sets of centroids."""
        ...


class LocalPoints(Points, Protocol):
    """Pixels in this process's memory."""

    @property
    def size(self) -> int:
        """Weighted points."""
        ...

    def weighted_points(self) -> tuple[F64, F64]:
        """Points (d, n) in the solver's units, and weights (n,)."""
        ...


def calinski_harabasz(space: Space, sums: ClusterSums, centroids: F64) -> float | None:
    """Scatter between the clusters over scatter within them, each by its degrees of freedom (Calinski & Harabasz 1974).

    Parameters
    ----------
    space, sums, centroids
        A clustering; scatter is measured around the clusters' means.

    Returns
    -------
    None for a single cluster, and where the index is infinite: the scatter within is 0 (every value its own cluster).
    """
    k, n = int((sums.counts > 0).sum()), sums.pixels
    if k < 2:
        return None
    within = space.inertia(sums, space.means(sums, centroids))
    if within <= 0.0:
        return None
    total = space.total_variance(sums) * n / space.steps_per_unit**2
    index = (total - within) * (n - k) / (within * (k - 1))
    return index if math.isfinite(index) else None  # of values too far apart for float64
