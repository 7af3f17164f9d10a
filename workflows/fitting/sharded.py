"""The solver's view of data that lies on the workers: every question is a small graph with a tree reduction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from kseg_core.clustering.color_points import CoarseTable, ColorPoints
from kseg_core.clustering.features import FeatureSpace
from kseg_core.clustering.kmeans import Proposal, SearchData, Steps, propose, refine
from kseg_core.clustering.points import FarPoint, Points
from kseg_core.clustering.summary import ColorTable
from kseg_core.clustering.sums import ClusterSums, Silhouettes, rounded_means
from kseg_core.config import FitSettings

from ..computing.context import merge_all, tree_reduce
from ..computing.executor import Executor

F64 = NDArray[np.float64]


def part_of_table(table: ColorTable, space: FeatureSpace, index: int, parts: int) -> ColorPoints:
    """A task: one shard, a range of codes."""
    bounds = [table.codes.size * i // parts for i in (index, index + 1)]
    piece = slice(*bounds)
    return ColorPoints.build(ColorTable(table.codes[piece], table.counts[piece]), space)


def merge_distinct(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Distinct points of several shards, in rising order."""
    return np.unique(np.concatenate(list(parts)), axis=0)


class ShardedTable:
    """A `Points` whose shards lie on the workers: every question is a small graph with a tree reduction."""

    def __init__(self, shards: Sequence[Delayed], space: FeatureSpace, executor: Executor, size: int) -> None:
        self.shards = list(shards)
        self._size = size
        self._space = space
        self._executor = executor

    @property
    def size(self) -> int:
        """Distinct colours of all shards."""
        return self._size

    @property
    def space(self) -> FeatureSpace:
        return self._space

    def _ask(self, question: Callable[..., Any], *details: Any, merge: Callable[..., Any] = merge_all) -> Any:
        task = delayed(question, pure=True)
        answers = [task(shard, *details) for shard in self.shards]
        return self._executor.compute([tree_reduce(answers, question.__name__, merge)])[0]

    def sums(self, centroids: F64) -> ClusterSums:
        result: ClusterSums = self._ask(ColorPoints.sums, centroids)
        return result

    def farthest(self, centroids: F64) -> FarPoint:
        result: FarPoint = self._ask(ColorPoints.farthest, centroids)
        return result

    def cluster_colors(self, centroids: F64, sums: ClusterSums) -> NDArray[np.uint8]:
        return rounded_means(self._ask(ColorPoints.color_sums, centroids, merge=add_all), sums.counts)

    def distinct(self) -> NDArray[np.float32]:
        result: NDArray[np.float32] = self._ask(ColorPoints.distinct, merge=merge_distinct)
        return result

    def coarse(self, coarser: int) -> CoarseTable:
        result: CoarseTable = self._ask(ColorPoints.coarse, coarser)
        return result

    def silhouettes(self, centroids: Sequence[F64]) -> Silhouettes:
        result: Silhouettes = self._ask(ColorPoints.silhouettes, list(centroids))
        return result


def add_all(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Sum of some arrays of one shape."""
    total: NDArray[np.int64] = sum(parts[1:], start=parts[0])
    return total


class TaskRunner:
    """Attempts as tasks; refinements too, unless the data is in several shards: then each of their steps is a graph."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def propose(self, search: SearchData, settings: FitSettings) -> list[Proposal]:
        shared = self._executor.share(search)
        task = delayed(propose, pure=True)
        return self._executor.compute([task(shared, settings, attempt) for attempt in range(settings.attempts)])

    def refine(self, data: Points, proposals: list[Proposal], settings: FitSettings) -> list[Steps]:
        if isinstance(data, ShardedTable) and len(data.shards) == 1:
            task = delayed(refine, pure=True)
            return self._executor.compute([task(data.shards[0], proposal, settings) for proposal in proposals])
        if isinstance(data, ShardedTable):
            return [refine(data, proposal, settings) for proposal in proposals]
        shared = self._executor.share(data)
        task = delayed(refine, pure=True)
        return self._executor.compute([task(shared, proposal, settings) for proposal in proposals])
