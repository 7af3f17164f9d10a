"""The work of a fit and of a sweep as tasks: every attempt, every refinement, and the chain from one k to the next.

Data in one place is worked on there; data in shards answers each question by a graph of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from kseg_core.clustering.kmeans import Calls, Proposal, SearchData, one_by_one, propose, refine, seeds_of
from kseg_core.clustering.points import Points
from kseg_core.clustering.steps import Steps
from kseg_core.config import FitSettings
from kseg_core.kernels.search import trials_for
from kseg_core.sweep.search import (
    MOST_REFINED,
    Judged,
    Link,
    Search,
    Searched,
    Start,
    chain,
    judge,
    link,
    start_of,
    swaps_for,
)

from ..computing.executor import Executor
from .colours import ShardedTable

F64 = NDArray[np.float64]


def place_of(data: Points | SearchData, executor: Executor) -> Delayed | None:
    """Where all of some data is; None where it is in several places."""
    if not isinstance(data, ShardedTable):
        return executor.share(data)
    return data.shards[0] if len(data.shards) == 1 else None


class Tasks:
    """A `Run` of tasks where the data is; where it is in several shards, each step of a call is a graph of its own."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def __call__(self, function: Callable[..., Any], data: Any, calls: Calls) -> list[Any]:
        place = place_of(data, self._executor)
        if place is None:
            return one_by_one(function, data, calls)
        task = delayed(function, pure=True)
        return self._executor.compute([task(place, *arguments) for arguments in calls])


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


class SweepTasks(Tasks):
    """A `SweepRunner`, whose tasks are one graph where the data is in one place."""

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
        place = place_of(data, self._executor)
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
