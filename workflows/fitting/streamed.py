"""Bands that are read anew for every step: the solver's view of data that no memory holds, and its steps.

All attempts are compared in one pass; only the best is refined, by exact steps that read all data once each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from kseg_core.clustering.band_points import BandPoints, BandSample
from kseg_core.clustering.band_values import ValueTable
from kseg_core.clustering.bands import BandMoments, BandSpace
from kseg_core.clustering.kmeans import (
    AttemptHistory,
    History,
    Proposal,
    Run,
    SearchData,
    Solution,
    coarse_form,
    fill_empty,
    finish,
    propose,
    shortlist,
)
from kseg_core.clustering.points import FarPoint
from kseg_core.clustering.steps import StepLimits, Steps, lloyd, lloyd_together
from kseg_core.clustering.sums import ClusterSums, Silhouettes, SumsOfEach
from kseg_core.config import FitSettings
from kseg_core.reading.sources import Piece
from kseg_core.resume.checkpoints import load, save
from kseg_core.sweep.search import CoarseForms, history_of, one_more
from kseg_core.sweep.table import Found

from ..computing.context import Context
from ..planning.plan import Plan
from .gather import kept_path, pass_over
from .tasks import SweepTasks

F64 = NDArray[np.float64]

KEPT_TYPES = (SumsOfEach, ClusterSums, FarPoint, Silhouettes, ValueTable)


def answer(piece: Piece, space: BandSpace, question: Callable[..., Any], details: tuple[Any, ...]) -> Any:
    """What the pixels of one piece answer to a question, a method of `BandPoints`."""
    samples, valid = piece.read(space.bands)[:2]
    return question(BandPoints.window(space, samples, valid), *details)


class StreamedBands:
    """A `Points` that reads its images for every question, unless a table of their few distinct values answers it.

    Both ways give the same bits: sums are of whole numbers, and a label is a function of the value.
    """

    def __init__(
        self,
        plan: Plan,
        space: BandSpace,
        first: BandPoints,
        held: BandPoints,
        moments: BandMoments,
        context: Context,
    ) -> None:
        self._plan, self._space, self._held, self._moments, self._context = plan, space, held, moments, context
        self.first = first
        self._images = tokenize([source.file.key for source in plan.sources])
        self._table: BandPoints | None = None
        if held.few is not None:  # few in the sample: perhaps few in all
            table: ValueTable = self._ask(BandPoints.table)
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
        found: SumsOfEach = self._ask(BandPoints.sums_of_each, list(centroids))
        return [ClusterSums(part.counts, part.sums, self._moments.squares) for part in found.parts]

    def sums(self, centroids: F64) -> ClusterSums:
        return self.sums_of_each([centroids])[0]

    def farthest(self, centroids: F64) -> FarPoint:
        if self._table is not None:
            return self._table.farthest(centroids)
        found: FarPoint = self._ask(BandPoints.farthest, centroids)
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
        found: Silhouettes = self._ask(BandPoints.silhouettes, list(centroids))
        return found

    def _ask(self, question: Callable[..., Any], *details: Any) -> Any:
        """One reading; the images were all read before, so now none may fail."""
        look = partial(answer, space=self._space, question=question, details=details)
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


# ------------------------------------------------------------------------------------------------ one k, and every k


def solve_streamed(
    data: StreamedBands, settings: FitSettings, run: Run, start: F64 | None = None
) -> tuple[F64, History]:
    """Attempts on the mini-batches, compared in one pass over all data; the best is refined by exact steps.

    With first centroids given (``start``) there is one attempt and no search.
    """
    space, held = data.space, data.held
    coarse = coarse_form(held, settings.clusters)
    if coarse.size <= settings.clusters and (few := few_values(data, held, settings.clusters)) is not None:
        return few, ()
    search = SearchData(data.first if data.first.size else None, coarse)
    if start is not None:
        proposals = [Proposal(0, start, math.inf, ())]
    else:
        proposals = run(propose, search, [(settings, attempt) for attempt in range(settings.attempts)])
    chosen = shortlist(proposals)
    judged = data.sums_of_each([proposal.centroids for proposal in chosen])
    inertia = [space.inertia(sums, p.centroids) for sums, p in zip(judged, chosen, strict=True)]
    best = chosen[int(np.argmin(inertia))]
    steps = lloyd(held, best.centroids, StepLimits(settings, of_sample=True))
    limits = StepLimits(settings, len(steps.inertia), mse=min(inertia) / data.size)
    exact = lloyd(data, steps.centroids, limits)
    centroids = fill_empty(data, exact.centroids)
    history = tuple(
        AttemptHistory(p.attempt, p.history, exact.inertia if p.attempt == best.attempt else ()) for p in proposals
    )
    return centroids, history


def sweep_streamed(data: StreamedBands, settings: FitSettings, runner: SweepTasks) -> list[Found]:
    """The best clustering for every k, by rising k."""
    forms = CoarseForms(data.held, data.first)
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
        ends = [lloyd(held, proposal.centroids, StepLimits(how, of_sample=True)) for proposal in begin]
        on_sample = [space.inertia(held.sums(steps.centroids), steps.centroids) for steps in ends]
        best = int(np.argmin(on_sample))
        starts.append(Begun(begin[best].attempt, ends[best]))
    return starts


def refine_together(data: StreamedBands, starts: Sequence[Begun], searched: Sequence[FitSettings]) -> list[Steps]:
    """The exact steps for every k at once: each reads all data one time."""
    begin = [
        (steps.centroids, StepLimits(how, len(steps.inertia), mse=steps.inertia[-1] / data.held.size))
        for (_, steps), how in zip(starts, searched, strict=True)
    ]
    return lloyd_together(data, begin)


def never_rising(data: StreamedBands, each: Sequence[F64], searched: Sequence[FitSettings]) -> list[F64]:
    """Centroids for every k without an empty cluster, and none worse than for k - 1.

    Where one is (the mini-batch misjudged it), it is found anew from the better one and the farthest point of all data.
    """
    space = data.space
    kept: list[F64] = []
    lowest = math.inf
    for i, (centroids, sums) in enumerate(zip(each, data.sums_of_each(each), strict=True)):
        inertia = space.inertia(sums, centroids)
        if (sums.counts == 0).any():
            centroids = fill_empty(data, centroids)
            inertia = space.inertia(data.sums(centroids), centroids)
        if inertia > lowest and i < len(searched):
            limits = StepLimits(searched[i], mse=lowest / data.size)
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
