"""The elbow method: the best centroids for every number of clusters of a range, from one summary of the pixels.

``sweep``: attempts for every k, the best of them refined by exact steps, and one more start for every k + 1: the best
centroids for k and the point farthest from them all. That start's inertia is below what k came to, and exact steps
never raise it, so inertia never rises with k. Each result is then numbered and judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..clustering.bands import BandSpace
from ..clustering.features import FeatureSpace
from ..clustering.kmeans import (
    SWAPS,
    AttemptHistory,
    Calls,
    History,
    Proposal,
    SearchData,
    Solution,
    best_of,
    coarse_form,
    fill_empty,
    finish,
    one_by_one,
    propose,
    refine,
    shortlist,
    solve,
    swaps_on,
)
from ..clustering.points import Coarse, Floats, LocalPoints, Points
from ..clustering.steps import Steps
from ..config import AUTO, FitSettings
from ..store.model import Model
from .table import AnySpace, Found, Table, facts_of

F64 = NDArray[np.float64]
Search = tuple[SearchData, FitSettings]

# A fit makes 64 swaps an attempt and refines up to four proposals. At k 2 to 16 on 16 photographs the best of
# ten attempts with these came within 2e-5 of that, in a third of the time; and every k has a start from the one before.
SWAPS_PER_CLUSTER = 2
MOST_REFINED = 2


# -------------------------------------------------------------------------------------------- one k after another


@dataclass(frozen=True, slots=True)
class Link:
    """One number of clusters in the chain from the least to the largest.

    Parameters
    ----------
    centroids
        float64 (k, 3), the best; no cluster is empty, and they are not numbered yet.
    steps
        Those from each start of the shortlist, then those from k - 1 clusters, where there is such a start.
    """

    centroids: F64
    steps: tuple[Steps, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """What one number of clusters is refined from: its settings and the best proposals."""

    settings: FitSettings
    proposals: list[Proposal]


@dataclass(frozen=True, slots=True)
class Judged:
    """A numbered clustering and the sum of its pixels' silhouettes."""

    solution: Solution
    silhouette: int


@dataclass(frozen=True, slots=True)
class Searched:
    """All that was done for one number of clusters."""

    proposals: list[Proposal]
    start: Start
    link: Link
    judged: Judged


def swaps_for(k: int) -> int:
    """Trial swaps of an attempt in a sweep."""
    return min(SWAPS, SWAPS_PER_CLUSTER * k)


def start_of(settings: FitSettings, proposals: Sequence[Proposal]) -> Start:
    """What a number of clusters is refined from."""
    return Start(settings, shortlist(list(proposals))[:MOST_REFINED])


def one_more(data: Points, centroids: F64, settings: FitSettings) -> Proposal:
    """The start at k + 1 clusters from the best of k: the point farthest from them is the new one."""
    grown = np.vstack([centroids, np.asarray(data.farthest(centroids).point)[None]])
    return Proposal(settings.attempts, grown, math.inf, ())


def link(data: Points, refined: Sequence[Steps], earlier: Link | None, settings: FitSettings) -> Link:
    """The best for k clusters: of the attempts' refined proposals and what comes of the best for k - 1."""
    steps = list(refined)
    if earlier is not None:
        steps.append(refine(data, one_more(data, earlier.centroids, settings), settings))
    return Link(fill_empty(data, steps[best_of(steps)].centroids), tuple(steps))


def judge(data: Points, centroids: F64) -> Judged:
    """Number the clusters, and rate the result."""
    solution = finish(data, centroids)
    return Judged(solution, data.silhouettes([solution.centroids]).totals[0])


class SweepRunner(Protocol):
    """Where the work of a sweep runs: here one after the other, or as tasks."""

    def search_all(self, data: Points, searches: Sequence[Search]) -> list[Searched]:
        """All attempts for each number of clusters, and the chain from the least of these to the largest."""
        ...

    def __call__(self, function: Callable[..., Any], data: Any, calls: Calls) -> list[Any]:
        """A `Run`."""
        ...


class SerialSweepRunner:
    """Everything in this thread."""

    __call__ = staticmethod(one_by_one)

    def search_all(self, data: Points, searches: Sequence[Search]) -> list[Searched]:
        proposals = [
            [propose(search, how, i, swaps_for(how.clusters)) for i in range(how.attempts)] for search, how in searches
        ]
        return chain(data, [how for _, how in searches], proposals)


def chain(data: Points, settings: Sequence[FitSettings], proposals: Sequence[list[Proposal]]) -> list[Searched]:
    """The chain from the least k to the largest, from what was proposed for each."""
    found: list[Searched] = []
    earlier: Link | None = None
    for how, each in zip(settings, proposals, strict=True):
        start = start_of(how, each)
        refined = [refine(data, proposal, how) for proposal in start.proposals]
        earlier = link(data, refined, earlier, how)
        found.append(Searched(each, start, earlier, judge(data, earlier.centroids)))
    return found


class CoarseForms:
    """The coarse forms of some pixels, each made once, and their distinct values."""

    def __init__(self, data: Points, batch: LocalPoints) -> None:
        self._data = data
        self._batch = batch if batch.size else None
        self._searches: dict[int, SearchData] = {}
        self._distinct: Floats | None = None

    @property
    def size(self) -> int:
        """Distinct values of the pixels."""
        return self._data.size

    def coarse(self, coarser: int) -> Coarse:
        """The form of one coarseness."""
        if coarser not in self._searches:
            self._searches[coarser] = SearchData(self._batch, self._data.coarse(coarser), swaps_on(self._data))
        return self._searches[coarser].coarse

    def search(self, k: int) -> SearchData:
        """What attempts at k clusters work on."""
        coarse = coarse_form(self, k)
        return next(search for search in self._searches.values() if search.coarse is coarse)

    def few_values(self, k: int) -> F64 | None:
        """The distinct values of all pixels, where there are at most k."""
        if coarse_form(self, k).size > k:
            return None
        if self._distinct is None:
            self._distinct = self._data.distinct()
        return self._distinct.astype(np.float64) if len(self._distinct) <= k else None


def history_of(proposals: Sequence[Proposal], exact: dict[int, tuple[float, ...]]) -> History:
    """What every attempt came to; ``exact`` has the inertia of the steps over all data by attempt, the one from k - 1
    clusters included.
    """
    history = [AttemptHistory(p.attempt, p.history, exact.get(p.attempt, ())) for p in proposals]
    return (*history, *(AttemptHistory(i, (), steps) for i, steps in exact.items() if i >= len(history)))


def sweep(data: Points, batch: LocalPoints, settings: FitSettings, runner: SweepRunner) -> list[Found]:
    """The best clustering for every k of ``settings.tried``, by rising k.

    Parameters
    ----------
    data
        All pixels; at least one.
    batch
        Those of the first mini-batch; may be empty.
    settings
        Of every fit; its ``k`` is ``"auto"``.
    runner
        Where the work runs.

    Notes
    -----
    From the first k that the data has no more distinct values than, all results are those values.
    """
    ks = range(settings.tried[0], settings.tried[1] + 1)
    forms = CoarseForms(data, batch)
    searched = [k for k in ks if forms.few_values(k) is None]
    founds = []
    for found in runner.search_all(data, [(forms.search(k), settings.for_k(k)) for k in searched]):
        start, judged = found.start, found.judged
        numbers = [*(proposal.attempt for proposal in start.proposals), start.settings.attempts]
        exact = {number: steps.inertia for number, steps in zip(numbers, found.link.steps, strict=False)}
        history = history_of(found.proposals, exact)
        founds.append(Found(start.settings.clusters, judged.solution, history, judged.silhouette))
    if len(searched) < len(ks):
        values = forms.few_values(ks[-1])
        assert values is not None  # the last k is not among those searched
        (judged,) = runner(judge, data, [(values,)])
        founds += [Found(k, judged.solution, (), judged.silhouette) for k in ks[len(searched) :]]
    return founds


# --------------------------------------------------------------------------------------------------- one of them


def fit_alone(data: Points, batch: LocalPoints, settings: FitSettings, space: FeatureSpace) -> Model:
    """The model of pixels in this process, with as many clusters as asked for or as a sweep suggests."""
    if settings.k == AUTO:
        return chosen_model(sweep(data, batch, settings, SerialSweepRunner()), settings, space)
    centroids, history = solve(data, batch, settings)
    return Model.from_solution(finish(data, centroids), settings, history)


def chosen_model(
    founds: Sequence[Found],
    settings: FitSettings,
    space: AnySpace,
    renumber: Callable[[Solution], Solution] | None = None,
) -> Model:
    """The model that a sweep suggests, numbered anew where asked; its facts say why, and hold the table."""
    table = Table.of(founds, space)
    found = founds[table.choice.index]
    solution = found.solution if renumber is None else renumber(found.solution)
    bands = space if isinstance(space, BandSpace) else None
    model = Model.from_solution(solution, settings.for_k(found.k), found.history, bands)
    return replace(model, facts=model.facts | facts_of(table, settings))
