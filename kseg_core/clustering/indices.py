"""How good a clustering is, beside its inertia: the simplified silhouette and the index of Calinski and Harabasz.

Both are had from sums that merge exactly, so they need no more memory than the centroids do.

References
----------
Rousseeuw 1987; Hruschka, de Castro & Campello 2004 (simplified silhouette: distances to centroids instead of to all
points); Calinski & Harabasz 1974.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .sums import ClusterSums

F64 = NDArray[np.float64]

_BITS = 32  # of a point's value: `kseg_core.kernels.indices`
_LOW_BITS = 16  # of them in the lower part of a sum


@dataclass(frozen=True, slots=True)
class Silhouettes:
    """Sums of the points' silhouettes, one for each of several sets of centroids; merges to the last bit.

    Parameters
    ----------
    totals
        In steps of 2**-32, whole numbers of any size; 0 for a single centroid, which has none.
    """

    totals: tuple[int, ...]

    @classmethod
    def of(cls, parts: list[tuple[int, int]]) -> Silhouettes:
        """From the kernels' (high, low) parts."""
        return cls(tuple((int(high) << _LOW_BITS) + int(low) for high, low in parts))

    def merge(self, other: Silhouettes) -> Silhouettes:
        """The sums over both sets of points."""
        return Silhouettes(tuple(a + b for a, b in zip(self.totals, other.totals, strict=True)))


def mean_silhouette(total: int, pixels: int, k: int) -> float | None:
    """The simplified silhouette, 0 to 1; None for a single cluster or without pixels."""
    return total / (pixels << _BITS) if k > 1 and pixels else None


class Scatter(Protocol):
    """What a feature space knows of the spread of its points; see `kseg_core.clustering.table.Space`."""

    @property
    def steps_per_unit(self) -> int: ...
    def means(self, sums: ClusterSums, otherwise: F64) -> F64: ...
    def inertia(self, sums: ClusterSums, centroids: F64) -> float: ...
    def total_variance(self, sums: ClusterSums) -> float: ...


def calinski_harabasz(space: Scatter, sums: ClusterSums, centroids: F64) -> float | None:
    """Scatter between the clusters over scatter within them, each by its degrees of freedom.

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
