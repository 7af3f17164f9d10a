"""The fit: chunk summaries merged up a tree, then steps over them with a global reduction of the centroids."""

from __future__ import annotations

from dask.delayed import Delayed, delayed

from kseg_core.config import FitSettings
from kseg_core.errors import NoValidPixels
from kseg_core.features import feature_space
from kseg_core.kmeans import finish, solve
from kseg_core.model import Model
from kseg_core.numbering import matching_order
from kseg_core.summary import BatchRule

from .executor import Executor
from .plan import Failure, Plan
from .progress import Progress
from .request import require_same_features
from .sharded import ShardedTable, TaskRunner, part_of_table
from .summarise import summarise_plan

# colours a shard: 201 photographed megapixels hold 1.4 million, all 8-bit colours are four shards
SHARD_ROWS = 1 << 22


def fit_summary(
    summary: Delayed,
    settings: FitSettings,
    executor: Executor,
    match: Model | None = None,
    shard_rows: int = SHARD_ROWS,
) -> Model:
    """Solve for the centroids of a lazy `ChunkSummary`.

    Raises
    ------
    NoValidPixels
        If there is none.
    UsageError
        If ``match`` is of another feature space.
    """
    if match is not None:
        require_same_features(match.features, settings.features)
    space = feature_space(settings.features)
    everything = summary.everything
    task = delayed(part_of_table, pure=True)
    rows, batch = executor.compute([everything.codes.size, task(summary.batch, space, 0, 1)])
    if rows == 0:
        raise NoValidPixels("no valid pixel in any image: there is nothing to cluster")
    parts = -(-rows // shard_rows)
    shards = executor.persist([task(everything, space, index, parts) for index in range(parts)])
    data = ShardedTable(shards, space, executor)
    centroids, history = solve(data, batch, settings, TaskRunner(executor))
    order = None if match is None else matching_order(space.to_features(centroids), match.centroids)
    return Model.from_solution(finish(data, centroids, order), settings, history)


def fit_plan(
    plan: Plan,
    settings: FitSettings,
    executor: Executor,
    progress: Progress,
    *,
    strict: bool,
    match: Model | None = None,
) -> tuple[Model | None, list[Failure]]:
    """One model for all images (None where not one could be read), and those that could not.

    Raises
    ------
    NoValidPixels
        If no image has one.
    UnreadableImage
        If an image cannot be read and ``strict`` is set.
    """
    rule = BatchRule.for_pixels(plan.pixels, settings.batch_pixels, settings.seed)
    merged = summarise_plan(plan, rule, executor, progress, strict=strict)
    failures: list[Failure] = executor.compute([merged.failures])[0]
    if len(failures) == len(plan.sources):
        return None, list(failures)
    progress.stage("finding centroids", 0, 0)
    model = fit_summary(merged.summary, settings, executor, match)
    return model, list(failures)
