"""The fit: chunk summaries merged up a tree, then steps over them with a global reduction of the centroids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import feature_space
from kseg_core.clustering.kmeans import Solution, finish, matching_order, solve
from kseg_core.clustering.summary import BatchRule, ChunkSummary, Window, summarise
from kseg_core.config import AUTO, FitSettings
from kseg_core.errors import NoValidPixels, TooManyColors
from kseg_core.reading.sources import Piece
from kseg_core.store.model import Model
from kseg_core.sweep.search import chosen_model, sweep

from ..computing.context import Context, Failure, merge_all
from ..computing.executor import Executor
from ..earlier import require_same_features
from ..planning.budget import Budget, too_many_colors
from ..planning.plan import Plan
from .gather import Gathered, gather_plan
from .sharded import ShardedTable, TaskRunner, part_of_table
from .sweep_tasks import SweepTasks

F64 = NDArray[np.float64]

# colours a shard: 201 photographed megapixels hold 1.4 million, all 8-bit colours are four shards
SHARD_ROWS = 1 << 22


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


def fit_summary(
    summary: Delayed,
    settings: FitSettings,
    executor: Executor,
    match: Model | None = None,
    shard_rows: int = SHARD_ROWS,
    budget: Budget | None = None,
    *,
    refit: bool = False,
) -> Model:
    """Solve for the centroids of a lazy `ChunkSummary`, of as many clusters as a sweep suggests where k is ``auto``.

    ``refit``: start from the centroids of ``match``.

    Raises
    ------
    NoValidPixels
        If there is none.
    TooManyColors
        If there are more distinct colours than the memory's budget has room for.
    UsageError
        If ``match`` is of another feature space.
    """
    if match is not None:
        require_same_features(match.features, settings.features)
    data, batch = table_on_workers(summary, settings, executor, shard_rows, budget)
    space = data.space

    def numbered(centroids: F64) -> Solution:
        order = None if match is None else matching_order(space.to_features(centroids), match.centroids)
        return finish(data, centroids, order)

    if settings.k == AUTO:
        founds = sweep(data, batch, settings, SweepTasks(executor))
        renumber = None if match is None else lambda solution: numbered(solution.centroids)
        return chosen_model(founds, settings, space, renumber)
    start = match.points if refit and match is not None else None
    centroids, history = solve(data, batch, settings, TaskRunner(executor), start)
    return Model.from_solution(numbered(centroids), settings, history)


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


def fit_plan(
    plan: Plan,
    settings: FitSettings,
    context: Context,
    *,
    match: Model | None = None,
    budget: Budget | None = None,
    refit: bool = False,
) -> tuple[Model | None, list[Failure]]:
    """One model for all images (None where not one could be read), and those that could not.

    Raises
    ------
    NoValidPixels
        If no image has one.
    TooManyColors
        If there are more distinct colours than the memory's budget has room for.
    UnreadableImage
        If an image cannot be read and the job is strict.
    """
    summary, failures = read_colours(plan, settings, context, budget=budget)
    if summary is None:
        return None, failures
    context.progress.stage("finding centroids", 0, 0)
    return fit_summary(summary, settings, context.executor, match, budget=budget, refit=refit), failures
