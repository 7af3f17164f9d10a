"""Bands that are read anew for every step: the solver's view of data that no memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from kseg_core.clustering.band_points import BandPoints, BandSample, farthest_of, silhouettes_of
from kseg_core.clustering.band_values import NO_WEIGHTS, ValueTable, as_values, assign_and_sum, flat_mask
from kseg_core.clustering.bands import BandMoments, BandSpace
from kseg_core.clustering.kmeans import StepLimits
from kseg_core.clustering.points import FarPoint
from kseg_core.clustering.sums import ClusterSums, Silhouettes
from kseg_core.config import DEFAULT_TOL, FitSettings
from kseg_core.reading.sources import Piece
from kseg_core.resume.checkpoints import load, save

from ..computing.context import Context
from ..planning.plan import Plan
from .gather import kept_path, pass_over

F64 = NDArray[np.float64]

VARIANCE_OF_ERROR = 100.0  # times the error that clusters leave: more than data without far values has


@dataclass(frozen=True, slots=True)
class SumsOfEach:
    """One step's sums for several sets of centroids; merges."""

    parts: tuple[ClusterSums, ...]

    def merge(self, other: SumsOfEach) -> SumsOfEach:
        return SumsOfEach(tuple(a.merge(b) for a, b in zip(self.parts, other.parts, strict=True)))


def look_at_sums(piece: Piece, space: BandSpace, centroids: Sequence[F64]) -> SumsOfEach:
    """Sums of one piece for each set of centroids; their squares are known already."""
    samples, valid = piece.read_samples(space.bands)
    values, mask = as_values(samples), flat_mask(valid)
    sums = [assign_and_sum(values, NO_WEIGHTS, mask, space.affine, each, space.bits) for each in centroids]
    return SumsOfEach(tuple(ClusterSums(counts, total, 0) for counts, total in sums))


def look_at_distinct(piece: Piece, space: BandSpace) -> ValueTable:
    """The distinct values of one piece, where they are few."""
    samples, valid = piece.read_samples(space.bands)
    return ValueTable.of(as_values(samples), flat_mask(valid))


def look_at_farthest(piece: Piece, space: BandSpace, centroids: F64) -> FarPoint:
    """The pixel of one piece that is farthest from all centroids."""
    samples, valid = piece.read_samples(space.bands)
    return farthest_of(space, as_values(samples), flat_mask(valid), centroids)


def look_at_silhouettes(piece: Piece, space: BandSpace, centroids: Sequence[F64]) -> Silhouettes:
    """Sums of one piece's silhouettes for each set of centroids."""
    samples, valid = piece.read_samples(space.bands)
    return silhouettes_of(space, as_values(samples), NO_WEIGHTS, flat_mask(valid), centroids)


KEPT_TYPES = (SumsOfEach, ClusterSums, FarPoint, Silhouettes, ValueTable)


class StreamedBands:
    """A `Points` that reads its images for every question, unless a table of their few distinct values answers it.

    Both ways give the same bits: sums are of whole numbers, and a label is a function of the value.
    """

    def __init__(
        self,
        plan: Plan,
        space: BandSpace,
        held: BandPoints,
        moments: BandMoments,
        context: Context,
    ) -> None:
        self._plan, self._space, self._held, self._moments, self._context = plan, space, held, moments, context
        self._images = tokenize([source.file.key for source in plan.sources])
        self._table: BandPoints | None = None
        if held.few is not None:  # few in the sample: perhaps few in all
            table: ValueTable = self._pass(partial(look_at_distinct, space=space))
            if table.values is not None:
                self._table = BandPoints(space, table.values, table.counts, moments.squares)

    @property
    def size(self) -> int:
        """Valid pixels."""
        return self._moments.pixels

    @property
    def space(self) -> BandSpace:
        return self._space

    @property
    def held(self) -> BandPoints:
        """The larger mini-batch, in memory."""
        return self._held

    def sums_of_each(self, centroids: Sequence[F64]) -> list[ClusterSums]:
        """The sums for several sets of centroids, from one reading."""
        if self._table is not None:
            return [self._table.sums(each) for each in centroids]
        found: SumsOfEach = self._pass(partial(look_at_sums, space=self._space, centroids=list(centroids)))
        return [ClusterSums(part.counts, part.sums, self._moments.squares) for part in found.parts]

    def sums(self, centroids: F64) -> ClusterSums:
        return self.sums_of_each([centroids])[0]

    def farthest(self, centroids: F64) -> FarPoint:
        if self._table is not None:
            return self._table.farthest(centroids)
        found: FarPoint = self._pass(partial(look_at_farthest, space=self._space, centroids=centroids))
        return found

    def cluster_colors(self, centroids: F64, sums: ClusterSums) -> NDArray[np.uint8]:  # noqa: ARG002 - sums say it all
        return self._space.colors_of(sums)

    def distinct(self) -> F64:
        return self._held.distinct()

    def coarse(self, coarser: int) -> BandSample:
        return self._held.coarse(coarser)

    def silhouettes(self, centroids: Sequence[F64]) -> Silhouettes:
        if self._table is not None:
            return self._table.silhouettes(centroids)
        found: Silhouettes = self._pass(partial(look_at_silhouettes, space=self._space, centroids=list(centroids)))
        return found

    def _pass(self, look: Any) -> Any:
        """One reading; the images were all read before, so now none may fail."""
        path = kept_path(self._plan.checkpoints, self._images, look)
        found = None if path is None else load(path, KEPT_TYPES)
        if found is None:
            found = pass_over(self._plan, look, None, self._context)[0]
            if path is not None:
                save(path, found)
        return found


def few_values(data: StreamedBands, held: BandPoints, k: int) -> F64 | None:
    """The distinct values of all data, where there are at most ``k``: every pass finds one that was not known."""
    points = held.distinct()
    while len(points) <= k:
        far = data.farthest(points)
        if far.squared == 0:
            return np.unique(points, axis=0)
        points = np.concatenate([points, [far.point]])
    return None


def exact_limits(settings: FitSettings, variance: float, mse: float, done: int = 0) -> StepLimits:
    """When the steps that read all data anew are enough, after so many on the mini-batch.

    A few far values make the variance of all data as large as they like, and every step small beside it; the error
    that is left once they have centroids of their own does not know them.

    Parameters
    ----------
    variance, mse
        Of all data and of what clusters leave of it, a band.
    """
    limit = DEFAULT_TOL * min(variance, VARIANCE_OF_ERROR * mse) if settings.tol is None else settings.tol * variance
    return StepLimits(max(1, settings.max_iter - done), limit)
