"""Colours on the way to a fit: chunk summaries merged up a tree, then one table, in shards that lie on the workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from kseg_core.clustering.color_points import CoarseTable, ColorPoints
from kseg_core.clustering.features import FeatureSpace, feature_space
from kseg_core.clustering.points import FarPoint
from kseg_core.clustering.summary import BatchRule, ChunkSummary, ColorTable, Window, summarise
from kseg_core.clustering.sums import ClusterSums, Silhouettes, rounded_means
from kseg_core.config import FitSettings
from kseg_core.errors import NoValidPixels, TooManyColors
from kseg_core.reading.sources import Piece

from ..computing.context import Context, Failure, merge_all, tree_reduce
from ..computing.executor import Executor
from ..planning.budget import Budget, too_many_colors
from ..planning.plan import Plan
from .gather import Gathered, gather_plan

F64 = NDArray[np.float64]

# colours a shard: 201 photographed megapixels hold 1.4 million, all 8-bit colours are four shards
SHARD_ROWS = 1 << 22


def read_colours(
    plan: Plan,
    settings: FitSettings,
    context: Context,
    *,
    budget: Budget | None = None,
) -> tuple[Delayed | None, list[Failure]]:
    """The lazy summary of all images (None where not one could be read), and those that could not.

    Raises
    ------
    UnreadableImage
        If an image cannot be read and the job is strict.
    TooManyColors
        If there are more distinct colours than the memory's budget has room for.
    """
    rule = BatchRule.for_pixels(plan.pixels, settings.batch_pixels, settings.seed)
    digest = Summarise(rule, budget)
    merge = merge_all if budget is None else partial(merge_within, budget=budget)
    merged = gather_plan(plan, Piece.read, digest, "reading colours", context, merge)
    failures: list[Failure] = list(context.executor.compute([merged.failures])[0])
    return (None if len(failures) == len(plan.sources) else merged.found), failures


@dataclass(frozen=True, slots=True)
class Summarise:
    """What a task makes of windows: their summary, as long as memory holds it."""

    rule: BatchRule
    budget: Budget | None

    def __call__(self, windows: Iterable[Window]) -> ChunkSummary:
        """The summary.

        Raises
        ------
        TooManyColors
            If memory does not hold it.
        """
        if self.budget is None:
            return summarise(windows, self.rule)
        try:
            return summarise(windows, self.rule, self.budget.colors)
        except TooManyColors as error:
            raise too_many_colors(self.budget) from error

    def __dask_tokenize__(self) -> tuple[str, BatchRule]:
        """How much memory there is decides no result: what was kept with less is of use with more."""
        return "summarise", self.rule


def merge_within(parts: Sequence[Gathered], budget: Budget) -> Gathered:
    """Merge some tables of colours, as long as memory holds them.

    Raises
    ------
    TooManyColors
        If it does not.
    """
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
        if budget.colors is not None and merged.found is not None and merged.found.colors > budget.colors:
            raise too_many_colors(budget)
    return merged


def table_on_workers(
    summary: Delayed,
    settings: FitSettings,
    executor: Executor,
    shard_rows: int = SHARD_ROWS,
    budget: Budget | None = None,
) -> tuple[ShardedTable, ColorPoints]:
    """The table of a lazy `ChunkSummary`, where the steps find it, and that of the first mini-batch, which is here.

    Raises
    ------
    NoValidPixels
        If there is none.
    TooManyColors
        If there are more distinct colours than the memory's budget has room for.
    """
    space = feature_space(settings.features)
    everything = summary.everything
    task = delayed(part_of_table, pure=True)
    rows, batch = executor.compute([everything.codes.size, task(summary.batch, space, 0, 1)])
    if rows == 0:
        raise NoValidPixels("no valid pixel in any image: there is nothing to cluster")
    if budget is not None and budget.colors is not None and rows > budget.colors:
        raise too_many_colors(budget)
    parts = -(-rows // shard_rows)
    shards = executor.persist([task(everything, space, index, parts) for index in range(parts)])
    return ShardedTable(shards, space, executor, rows), batch


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
