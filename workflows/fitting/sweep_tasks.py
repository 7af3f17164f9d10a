"""The work of a sweep over k as tasks: every attempt, every refinement, and the chain from one k to the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from kseg_core.clustering.band_points import BandPoints
from kseg_core.clustering.kmeans import (
    Proposal,
    Solution,
    StepLimits,
    Steps,
    fill_empty,
    finish,
    lloyd,
    lloyd_together,
    propose,
    refine,
    seeds_of,
    shortlist,
    trials_for,
)
from kseg_core.clustering.points import Points
from kseg_core.config import FitSettings
from kseg_core.sweep.search import (
    MOST_REFINED,
    CoarseForms,
    Judged,
    Link,
    Search,
    Searched,
    Start,
    chain,
    history_of,
    judge,
    link,
    one_more,
    start_of,
    swaps_for,
    sweep,
)
from kseg_core.sweep.table import Found

from ..computing.executor import Executor
from .sharded import ShardedTable
from .streamed import StreamedBands, exact_limits, few_values

F64 = NDArray[np.float64]


# A task may take what an earlier task made, not a part of it: these take the whole.


def refine_task(data: Points, start: Start, index: int) -> Steps | None:
    """A task: the exact steps from one of a shortlist, if it has so many."""
    return refine(data, start.proposals[index], start.settings) if index < len(start.proposals) else None


def link_task(data: Points, refined: list[Steps | None], earlier: Link | None, settings: FitSettings) -> Link:
    """A task: one link of the chain."""
    return link(data, [steps for steps in refined if steps is not None], earlier, settings)


def judge_task(data: Points, linked: Link) -> Judged:
    """A task: number and rate what a link holds."""
    return judge(data, linked.centroids)


class SweepTasks:
    """A `SweepRunner`. Data in one place is worked on there, in one graph; else each question is a graph of its own."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def propose_each(self, searches: Sequence[Search]) -> list[list[Proposal]]:
        """All attempts for each number of clusters."""
        lazy = self._attempts(searches)
        found = iter(self._executor.compute([attempt for each in lazy for attempt in each]))
        return [[next(found) for _ in each] for each in lazy]

    def _attempts(self, searches: Sequence[Search]) -> list[list[Delayed]]:
        shared = {id(data): self._executor.share(data) for data, _ in searches}
        # an attempt's seeds are the first of those for a larger k with as many trials: these are drawn once
        largest = {(id(data), trials_for(how.clusters)): how for data, how in searches}
        seeding, task = delayed(seeds_of, pure=True), delayed(propose, pure=True)
        seeds = {of: [seeding(shared[of[0]], how, i) for i in range(how.attempts)] for of, how in largest.items()}
        return [
            [
                task(shared[id(data)], how, i, swaps_for(how.clusters), seeds[id(data), trials_for(how.clusters)][i])
                for i in range(how.attempts)
            ]
            for data, how in searches
        ]

    def search_all(self, data: Points, searches: Sequence[Search]) -> list[Searched]:
        place = self._place(data)
        if place is None:
            return chain(data, [how for _, how in searches], self.propose_each(searches))
        starting, refining, linking, judging = (
            delayed(task, pure=True) for task in (start_of, refine_task, link_task, judge_task)
        )
        attempts = self._attempts(searches)
        starts: list[Delayed] = []
        links: list[Delayed] = []
        for (_, how), each in zip(searches, attempts, strict=True):
            starts.append(starting(how, each))
            refined = [refining(place, starts[-1], i) for i in range(MOST_REFINED)]
            links.append(linking(place, refined, links[-1] if links else None, how))
        judged = [judging(place, linked) for linked in links]
        found = iter(self._executor.compute([*(a for each in attempts for a in each), *starts, *links, *judged]))
        proposals = [[next(found) for _ in each] for each in attempts]
        parts = ([next(found) for _ in searches] for _ in range(3))
        return [Searched(*each) for each in zip(proposals, *parts, strict=True)]

    def judge_one(self, data: Points, centroids: F64) -> Judged:
        place = self._place(data)
        if place is None:
            return judge(data, centroids)
        found: Judged = self._executor.compute([delayed(judge, pure=True)(place, centroids)])[0]
        return found

    def _place(self, data: Points) -> Delayed | None:
        """Where all of the data is; None where it is in several places."""
        if not isinstance(data, ShardedTable):
            return self._executor.share(data)
        return data.shards[0] if len(data.shards) == 1 else None


# --------------------------------------------------------------------------------------------------------- bands


def sweep_bands(
    data: BandPoints | StreamedBands, first: BandPoints, settings: FitSettings, executor: Executor
) -> list[Found]:
    """The best clustering for every k, by rising k; ``first`` is the first mini-batch."""
    runner = SweepTasks(executor)
    if isinstance(data, BandPoints):
        return sweep(data, first, settings, runner)
    forms = CoarseForms(data.held, first)
    searched: list[FitSettings] = []
    values = None
    ks = range(settings.tried[0], settings.tried[1] + 1)
    for k in ks:
        if forms.few_values(k) is not None and (values := few_values(data, data.held, k)) is not None:
            break
        searched.append(settings.for_k(k))
    searches = [(forms.search(how.clusters), how) for how in searched]
    proposals = runner.propose_each(searches)
    starts = best_on_sample(data, proposals, searched)
    steps = refine_together(data, starts, searched)
    each = [run.centroids for run in steps]
    if values is not None:
        each.append(values)
    solutions = finish_together(data, never_rising(data, each, searched))
    totals = data.silhouettes([solution.centroids for solution in solutions]).totals
    founds = []
    for i, k in enumerate(ks):
        at = min(i, len(solutions) - 1)
        history = history_of(proposals[i], {starts[i].attempt: steps[i].inertia}) if i < len(steps) else ()
        founds.append(Found(k, solutions[at], history, totals[at]))
    return founds


class Begun(NamedTuple):
    """An attempt, and its steps on the larger mini-batch."""

    attempt: int
    steps: Steps


def best_on_sample(
    data: StreamedBands, proposals: Sequence[Sequence[Proposal]], searched: Sequence[FitSettings]
) -> list[Begun]:
    """Where the exact steps start for every k.

    The best of all data in one pass over the shortlists, refined on the larger mini-batch; or the best there for k - 1
    and the farthest point, where that comes to less on it.
    """
    if not searched:
        return []
    space, held = data.space, data.held
    chosen = [shortlist(list(each)) for each in proposals]
    judged = iter(data.sums_of_each([proposal.centroids for each in chosen for proposal in each]))
    starts: list[Begun] = []
    for how, each in zip(searched, chosen, strict=True):
        inertia = [space.inertia(next(judged), proposal.centroids) for proposal in each]
        begin = [each[int(np.argmin(inertia))]]
        if starts:
            begin.append(one_more(held, starts[-1].steps.centroids, how))
        limits = StepLimits(how.max_iter, sampling_noise=True)
        ends = [lloyd(held, proposal.centroids, limits) for proposal in begin]
        on_sample = [space.inertia(held.sums(steps.centroids), steps.centroids) for steps in ends]
        best = int(np.argmin(on_sample))
        starts.append(Begun(begin[best].attempt, ends[best]))
    return starts


def refine_together(data: StreamedBands, starts: Sequence[Begun], searched: Sequence[FitSettings]) -> list[Steps]:
    """The exact steps for every k at once: each reads all data one time."""
    if not starts:
        return []
    dimensions = data.space.dimensions
    variance = data.space.total_variance(data.sums(starts[0].steps.centroids[:1])) / dimensions
    limits = [
        exact_limits(how, variance, begun.steps.inertia[-1] / data.held.size / dimensions, len(begun.steps.inertia))
        for begun, how in zip(starts, searched, strict=True)
    ]
    return lloyd_together(data, list(zip([begun.steps.centroids for begun in starts], limits, strict=True)))


def never_rising(data: StreamedBands, each: Sequence[F64], searched: Sequence[FitSettings]) -> list[F64]:
    """Centroids for every k without an empty cluster, and none worse than for k - 1.

    Where one is (the mini-batch misjudged it), it is found anew from the better one and the farthest point of all data.
    """
    space = data.space
    kept: list[F64] = []
    lowest = np.inf
    for i, (centroids, sums) in enumerate(zip(each, data.sums_of_each(each), strict=True)):
        inertia = space.inertia(sums, centroids)
        if (sums.counts == 0).any():
            centroids = fill_empty(data, centroids)
            inertia = space.inertia(data.sums(centroids), centroids)
        if inertia > lowest and i < len(searched):
            variance, mse = space.total_variance(sums) / space.dimensions, lowest / data.size / space.dimensions
            limits = exact_limits(searched[i], variance, mse)
            again = lloyd(data, one_more(data, kept[-1], searched[i]).centroids, limits)
            centroids = fill_empty(data, again.centroids)
            inertia = space.inertia(data.sums(centroids), centroids)
        kept.append(centroids)
        lowest = inertia
    return kept


def finish_together(data: StreamedBands, each: Sequence[F64]) -> list[Solution]:
    """`finish` for several sets of centroids in two passes; one whose numbering empties a cluster is done by itself."""
    before = data.sums_of_each(each)
    ordered = []
    for centroids, sums in zip(each, before, strict=True):
        order = data.space.order(data.cluster_colors(centroids, sums), centroids)
        ordered.append(np.ascontiguousarray(centroids[order]))
    return [
        Solution(centroids, sums, data.cluster_colors(centroids, sums))
        if (sums.counts > 0).all()
        else finish(data, centroids)
        for centroids, sums in zip(ordered, data.sums_of_each(ordered), strict=True)
    ]
