"""The K-means solver: seeding, search, refinement by exact steps, numbering.

``propose`` (one attempt, on small forms of the data) -> ``shortlist`` -> ``refine`` (exact, all data) -> ``finish``.
Each is a function of its arguments alone, so it runs where the data is; ``solve`` is the way through them.

References
----------
Arthur & Vassilvitskii 2007; Fränti 2018; Newling & Fleuret 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..config import FitSettings
from ..kernels import line, search
from .points import Coarse, LocalPoints, Points
from .steps import StepLimits, Steps, lloyd, step
from .sums import ClusterSums

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


# A swap costs about a millisecond at k = 16; 10 attempts of 64 found the best known optimum on every set tried.
SWAPS = 64
FINE_SWAPS = 16  # on a fine form: on single photographs they end lower than 64 on a coarse one, and as quickly
FEW_VALUES = 1 << 18  # data of fewer distinct values is searched on a fine form
FINE_LEVELS = (-1, -2)
LINE_CELLS = 1 << 24  # most clusters times values of a line that is settled outright: a second, and 64 MB
SEARCH_DISTANCES = 1 << 30  # most distances of one attempt's search, about a second: large k has fewer swaps
COARSE_LEVELS = (1, 0, -1, -2)  # of sides: from a 32nd of the widest axis to single 8-bit colours
CELLS_PER_CLUSTER = 256  # fewer coarse cells than this a cluster and the next finer form is tried: with 32, single
# thumbnails ended up to 0.7 % above the best of 20 restarts, with 256 below 0.01 %
SAME_INERTIA = 1e-9  # relative: two attempts this close found the same optimum
WORTH_REFINING = 0.01  # relative: the coarse form misjudges by less than this (measured: below 0.3 %)
MOST_REFINED = 4
REFILLING = StepLimits(FitSettings(1))  # where renumbering empties a cluster, which is rare: until no label changes


@dataclass(frozen=True, slots=True)
class SearchData:
    """The small forms of the data that attempts work on.

    Parameters
    ----------
    batch
        The first mini-batch, to seed from; None where no pixel happened to be in it.
    coarse
        All data by coarse cells, to search on.
    swaps
        That an attempt makes.
    """

    batch: LocalPoints | None
    coarse: Coarse
    swaps: int = SWAPS


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one attempt suggests.

    Parameters
    ----------
    attempt
        Its number, from 0.
    centroids
        float64 (k, 3), grid units.
    inertia
        On the search data, in squared grid units: only comparable with other attempts.
    history
        Inertia of the batch's steps, in squared feature units.
    """

    attempt: int
    centroids: F64
    inertia: float
    history: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AttemptHistory:
    """Inertia before every step of one attempt, in squared feature units: on the first batch, then on all data.

    ``steps`` is empty where the search found the attempt not worth refining.
    """

    attempt: int
    batch: tuple[float, ...]
    steps: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values, which know no infinity: steps of which float64 cannot tell the inertia are left out."""
        batch, steps = ([each for each in part if math.isfinite(each)] for part in (self.batch, self.steps))
        return {"attempt": self.attempt, "batch": batch, "steps": steps}


History = tuple[AttemptHistory, ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """Numbered centroids and what they mean for the data.

    Parameters
    ----------
    centroids
        float64 (k, 3), grid units.
    sums
        Over exactly the labels these centroids give.
    colors
        uint8 (k, 3): mean sRGB of each cluster.
    """

    centroids: F64
    sums: ClusterSums
    colors: NDArray[np.uint8]


def attempt_seed(seed: int, attempt: int) -> int:
    """The seed of one attempt: its own stream whatever ``seed`` is."""
    return (seed * 0x9E3779B97F4A7C15 + attempt) % (1 << 63)


class HasCoarseForms(Protocol):
    """Whatever has coarse forms; see `Points`."""

    @property
    def size(self) -> int: ...

    def coarse(self, coarser: int) -> Coarse: ...


def coarse_form(data: HasCoarseForms, k: int) -> Coarse:
    """The smallest coarse form that has enough cells for ``k`` clusters, else the finest; of few values a fine one."""
    levels = FINE_LEVELS if data.size <= FEW_VALUES else COARSE_LEVELS
    coarse = data.coarse(levels[0])
    for level in levels[1:]:
        if coarse.size >= CELLS_PER_CLUSTER * k:
            break
        coarse = data.coarse(level)
    return coarse


def swaps_on(data: HasCoarseForms) -> int:
    """How many swaps an attempt makes on the coarse form of some data."""
    return FINE_SWAPS if data.size <= FEW_VALUES else SWAPS


def seeds_of(data: SearchData, settings: FitSettings, attempt: int) -> F64:
    """First centroids (k, d) of an attempt, from the first batch.

    Each is drawn after the one before: of any number of clusters with as many trials they are the first of these.
    """
    points, weights = data.coarse.weighted_points() if data.batch is None else data.batch.weighted_points()
    return search.SEEDINGS[settings.init](points, weights, settings.clusters, attempt_seed(settings.seed, attempt))


def propose(
    data: SearchData, settings: FitSettings, attempt: int, swaps: int = SWAPS, seeds: F64 | None = None
) -> Proposal:
    """One attempt: seed on the first batch, step on it until it tells no more, then swap on the coarse form.

    Values on a line need no search: the first attempt is the best there is. ``seeds``: `seeds_of` this attempt for as
    many clusters or more, where they are known.
    """
    k = settings.clusters
    seed = attempt_seed(settings.seed, attempt)
    cells, cell_weights = data.coarse.weighted_points()
    centroids = seeds_of(data, settings, attempt) if seeds is None else seeds[:k].copy()
    history: tuple[float, ...] = ()
    if data.batch is not None:
        steps = lloyd(data.batch, centroids, StepLimits(settings, of_sample=True))
        centroids, history = steps.centroids, steps.inertia
    near = search.within_reach(cells)
    rounds = SEARCH_DISTANCES // (cell_weights.size * k)
    if attempt == 0 and is_line(near) and k <= cell_weights.size and cell_weights.size * k <= LINE_CELLS:
        centroids, rounds = on_line(near, cell_weights, k), 1
    start = search.within_reach(centroids)
    found, inertia = search.swap_search(near, cell_weights, start, min(swaps, data.swaps), rounds, seed)
    return Proposal(attempt, search.as_they_are(found, cells), float(inertia), history)


def is_line(points: F64) -> bool:
    """Whether points (d, n) differ in their first component alone."""
    return not (points[1:] != points[1:, :1]).any()


def on_line(points: F64, weights: F64, k: int) -> F64:
    """The best centroids (k, d) of points (d, n) on a line."""
    order = np.argsort(points[0], kind="stable")
    centroids = np.repeat(points[:, :1].T, k, axis=0)
    centroids[:, 0] = line.best_on_line(points[0][order], weights[order], k)
    return centroids


def shortlist(proposals: list[Proposal]) -> list[Proposal]:
    """The distinct proposals worth refining on all data, best first."""
    kept: list[Proposal] = []
    for proposal in sorted(proposals, key=lambda p: (p.inertia, p.attempt)):
        if kept and proposal.inertia > kept[0].inertia * (1 + WORTH_REFINING):
            break
        if not kept or proposal.inertia > kept[-1].inertia * (1 + SAME_INERTIA):
            kept.append(proposal)
    return kept[:MOST_REFINED]


def refine(data: Points, proposal: Proposal, settings: FitSettings) -> Steps:
    """The exact steps over all data, from a proposal."""
    return lloyd(data, proposal.centroids, StepLimits(settings, done=len(proposal.history)))


def best_of(refined: list[Steps]) -> int:
    """The index of the result with the least inertia; the first of equals."""
    return min(range(len(refined)), key=lambda i: (refined[i].inertia[-1], i))


def fill_empty(data: Points, centroids: F64) -> F64:
    """Step on while a cluster is empty, which only a run cut short by its limits can leave."""
    for _ in range(len(centroids)):
        sums, moved = step(data, centroids)
        if (sums.counts > 0).all():
            return centroids
        centroids = moved
    return centroids


Calls = Iterable[tuple[Any, ...]]
#: Where attempts and refinements run: a function, the data of all calls, and the other arguments of each.
Run = Callable[[Callable[..., Any], Any, Calls], list[Any]]


def one_by_one(function: Callable[..., Any], data: Any, calls: Calls) -> list[Any]:
    """A `Run` in this thread."""
    return [function(data, *arguments) for arguments in calls]


def solve(
    data: Points, batch: LocalPoints, settings: FitSettings, run: Run = one_by_one, start: F64 | None = None
) -> tuple[F64, History]:
    """Find the centroids: float64 (k found, 3) in grid units, not yet numbered.

    Parameters
    ----------
    data
        All pixels; at least one.
    batch
        Those of the first mini-batch; may be empty.
    settings
        What is asked for.
    run
        Where attempts and refinements run.
    start
        First centroids in grid units; then there is one attempt and no search, as with ``settings.start``.

    Notes
    -----
    Data with fewer distinct values than ``k`` gives as many clusters as there are values.
    """
    k = settings.clusters
    coarse = coarse_form(data, k)
    if coarse.size <= k and len(distinct := data.distinct()) <= k:
        return distinct.astype(np.float64), ()
    if start is not None:
        proposals = [Proposal(0, start, math.inf, ())]
    elif settings.start:
        proposals = [Proposal(0, data.space.start_points(settings.start), math.inf, ())]
    else:
        search_data = SearchData(batch if batch.size else None, coarse, swaps_on(data))
        proposals = run(propose, search_data, [(settings, attempt) for attempt in range(settings.attempts)])
    chosen = shortlist(proposals)
    refined = run(refine, data, [(proposal, settings) for proposal in chosen])
    exact = {p.attempt: steps.inertia for p, steps in zip(chosen, refined, strict=True)}
    history = tuple(AttemptHistory(p.attempt, p.history, exact.get(p.attempt, ())) for p in proposals)
    return fill_empty(data, refined[best_of(refined)].centroids), history


def finish(data: Points, centroids: F64, order: I64 | None = None) -> Solution:
    """Number the clusters (canonically unless ``order`` is given) and do the final labelling.

    Notes
    -----
    New numbers decide ties anew, so a cluster all of whose points lie halfway to others can lose them. It is then
    filled like any empty cluster, and the numbers are given again.
    """
    for _ in range(len(centroids)):
        chosen = _canonical_order(data, centroids) if order is None else order
        numbered = np.ascontiguousarray(centroids[chosen])
        sums = data.sums(numbered)
        if (sums.counts > 0).all():
            break
        centroids = lloyd(data, numbered, REFILLING).centroids
        order = None if order is None else np.arange(len(centroids))
    return Solution(numbered, sums, data.cluster_colors(numbered, sums))


def matching_order(centroids: F64, earlier: F64) -> I64:
    """The order that gives each cluster the number of its partner in an earlier model.

    Partners minimise the sum of squared distances (optimal assignment). Clusters without a partner, where there are
    more than before, keep their order behind the matched ones; where there are fewer, the numbers close up.

    Parameters
    ----------
    centroids, earlier
        float64 (k, d) and (m, d), in the same units.

    References
    ----------
    Crouse 2016, as implemented by ``scipy.optimize.linear_sum_assignment``.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    rows, columns = linear_sum_assignment(cdist(centroids, earlier, "sqeuclidean"))
    matched = rows[np.argsort(columns, kind="stable")]
    rest = np.setdiff1d(np.arange(len(centroids)), matched)
    return np.concatenate([matched, rest]).astype(np.int64)


def earlier_numbers(centroids: F64, earlier: F64) -> dict[int, int]:
    """Of clusters that `matching_order` has numbered: by the number in the earlier model, that of its partner now.

    Parameters
    ----------
    centroids, earlier
        As `matching_order` has them.
    """
    if len(centroids) >= len(earlier):
        return {number: number for number in range(len(earlier))}
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    _, columns = linear_sum_assignment(cdist(centroids, earlier, "sqeuclidean"))
    return {int(number): now for now, number in enumerate(sorted(columns))}


def _canonical_order(data: Points, centroids: F64) -> I64:
    return data.space.order(data.cluster_colors(centroids, data.sums(centroids)), centroids)
