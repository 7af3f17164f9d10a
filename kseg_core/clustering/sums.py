"""The partial result of one K-means step, and what is had from it: means, inertia, silhouettes.

Everything is an integer, so merging is associative and commutative to the last bit; divisions come last.

References
----------
Rousseeuw 1987; Hruschka, de Castro & Campello 2004 (simplified silhouette: distances to centroids instead of to all
points).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# Centroids are means of integers: float64 values at least 2**-46 apart from zero, hence multiples of 2**-99.
_FRACTION_BITS = 100


@dataclass(frozen=True, slots=True)
class ClusterSums:
    """Sums over the pixels assigned to each cluster.

    Parameters
    ----------
    counts
        int64 (k,): pixels of each cluster.
    sums
        int64 (k, 3): their sum in grid units; of bands (k, d), as an object array where it may be of any size.
    squares
        Sum of ``|x|**2`` over all pixels, in squared grid units, of any size; for bands an object array (d,), one each.
    """

    counts: I64
    sums: NDArray[Any]
    squares: Any

    @classmethod
    def zero(cls, k: int) -> ClusterSums:
        return cls(np.zeros(k, np.int64), np.zeros((k, 3), np.int64), 0)

    @property
    def pixels(self) -> int:
        return int(self.counts.sum())

    def merge(self, other: ClusterSums) -> ClusterSums:
        """The sums over both sets of pixels."""
        return ClusterSums(self.counts + other.counts, self.sums + other.sums, self.squares + other.squares)

    def to_json(self) -> dict[str, Any]:
        """Without the counts; numbers of any size as texts: many readers of JSON lose digits of those above 2**53."""
        squares, linear = self.squares, self.sums if self.sums.dtype != object else self.sums.astype(str)
        stated = [str(int(each)) for each in squares] if isinstance(squares, np.ndarray) else str(int(squares))
        return {"linear": linear.tolist(), "squares": stated}

    @classmethod
    def from_json(cls, stated: dict[str, Any], of_clusters: Sequence[int]) -> ClusterSums:
        """The sums that `to_json` gave, and the clusters' counts.

        Raises
        ------
        KeyError, TypeError, ValueError
            If they are none.
        """
        counts, linear = np.asarray(of_clusters, np.int64), stated["linear"]
        if any(isinstance(number, str) for row in linear for number in row):  # of any size
            sums: NDArray[Any] = np.empty((len(linear), len(linear[0])), np.object_)
            sums[:] = [[int(number) for number in row] for row in linear]
        else:
            sums = np.asarray(linear, np.int64)
        if counts.ndim != 1 or sums.ndim != 2 or len(sums) != len(counts):
            raise ValueError(f"expected sums of {counts.shape} clusters, got {sums.shape}")
        squares = stated["squares"]
        if isinstance(squares, list):
            return cls(counts, sums, np.array([int(square) for square in squares], object))
        return cls(counts, sums, int(squares))

    def means(self, otherwise: F64) -> F64:
        """The mean of every cluster, float64 (k, 3); rows of ``otherwise`` where a cluster is empty."""
        filled = self.counts > 0
        means = otherwise.copy()
        means[filled] = self.sums[filled] / self.counts[filled, None]
        return means

    def same_as(self, other: ClusterSums | None) -> bool:
        """Whether both are equal to the last bit."""
        return other is not None and np.array_equal(self.counts, other.counts) and np.array_equal(self.sums, other.sums)

    def inertia(self, centroids: F64, grid: int) -> float:
        """Sum of squared distances to ``centroids`` (k, 3, grid units), in squared feature units.

        Worked out in whole numbers and rounded once: squares - 2 c.S + n |c|**2.
        """
        total = self.squares << (2 * _FRACTION_BITS)
        for n, row, center in zip(self.counts.tolist(), self.sums.tolist(), centroids.tolist(), strict=True):
            if n:
                for s, c in zip(row, center, strict=True):
                    whole = int(math.ldexp(c, _FRACTION_BITS))
                    total += whole * (n * whole - (s << (_FRACTION_BITS + 1)))
        return _divide(total, (grid * grid) << (2 * _FRACTION_BITS))

    def total_variance(self) -> float:
        """Variance of all pixels, summed over the components, in squared grid units."""
        n = self.pixels
        total = [sum(column) for column in zip(*self.sums.tolist(), strict=True)]
        return _divide(self.squares * n - sum(t * t for t in total), n * n) if n else 0.0


def _divide(numerator: int, denominator: int) -> float:
    """The quotient of two whole numbers of any size, correctly rounded; never below zero."""
    return max(numerator, 0) / denominator


_BITS = 32  # of a point's value: `kseg_core.kernels.second`
_LOW_BITS = 16  # of them in the lower part of a sum


def rounded_means(color_sums: I64, counts: I64) -> NDArray[np.uint8]:
    """Mean sRGB of each cluster, (k, 3), halves rounded up; black where a cluster is empty."""
    safe = np.maximum(counts, 1)[:, None]
    rounded: I64 = (2 * color_sums + safe) // (2 * safe)
    return rounded.astype(np.uint8)


@dataclass(frozen=True, slots=True)
class SumsOfEach:
    """One step's sums for several sets of centroids; merges."""

    parts: tuple[ClusterSums, ...]

    def merge(self, other: SumsOfEach) -> SumsOfEach:
        """The sums over both sets of pixels."""
        return SumsOfEach(tuple(a.merge(b) for a, b in zip(self.parts, other.parts, strict=True)))


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
