"""The fit and the sweep over k, of colours or bands: read all pixels once, then steps over what that came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dask.delayed import Delayed
from numpy.typing import NDArray

from kseg_core.clustering.band_points import BandPoints
from kseg_core.clustering.bands import BandSpace
from kseg_core.clustering.kmeans import Solution, earlier_numbers, finish, matching_order, solve
from kseg_core.clustering.points import LocalPoints
from kseg_core.config import AUTO, FitSettings
from kseg_core.errors import BeyondFloats
from kseg_core.store.model import Model
from kseg_core.sweep.search import chosen_model, sweep
from kseg_core.sweep.table import AnySpace, Found

from ..computing.context import Context, Failure
from ..computing.executor import Executor
from ..earlier import require_same_features
from ..planning.budget import Budget
from ..planning.plan import Plan
from .bands import points_of_bands, read_bands
from .colours import ShardedTable, read_colours, table_on_workers
from .streamed import StreamedBands, solve_streamed, sweep_streamed
from .tasks import SweepTasks, Tasks

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class FitPoints:
    """All pixels as a fit asks for them, wherever they lie.

    Parameters
    ----------
    data
        All of them: colours in shards, bands in memory, or streamed.
    first
        Those of the first mini-batch, in memory.
    pixels
        Of the images that could be read.
    notes
        What there is to say of them, a line each.
    extremes
        The least and the greatest value, of bands; None: distances between colours are always numbers.
    names
        What the first image calls its bands that are clustered; none where it says nothing, or of colours.
    """

    data: ShardedTable | BandPoints | StreamedBands
    first: LocalPoints
    pixels: int
    notes: tuple[str, ...] = ()
    extremes: tuple[float, float] | None = None
    names: tuple[str, ...] = ()

    @property
    def space(self) -> AnySpace:
        return self.data.space

    def earlier(self, match: Model) -> F64:
        """The centroids of an earlier model in the points of these."""
        if not isinstance(self.space, BandSpace):
            return match.points
        assert match.bands is not None  # `require_same_features`
        return self.space.from_space(match.bands, match.centroids)

    def require_measurable(self, solutions: Sequence[Solution]) -> None:
        """Refuse clusterings whose inertia float64 does not hold.

        Raises
        ------
        BeyondFloats
            If there is one.
        """
        if self.extremes is not None and not all(
            math.isfinite(self.space.inertia(each.sums, each.centroids)) for each in solutions
        ):
            low, high = self.extremes
            raise BeyondFloats(f"{low:.3g} to {high:.3g}")


def read_points(
    plan: Plan, settings: FitSettings, context: Context, *, match: Model | None = None, budget: Budget | None = None
) -> tuple[FitPoints | None, list[Failure]]:
    """Read all images (None where not one could be), and tell those that could not.

    Raises
    ------
    NoValidPixels
        If no image has one.
    TooManyColors
        If there are more distinct colours than the memory's budget has room for.
    UnreadableImage
        If an image cannot be read and the job is strict.
    UsageError
        If ``match`` is of other bands.
    """
    if settings.features == "bands":
        bands, failures = read_bands(plan, settings, context, match=match)
        if bands is None:
            return None, failures
        ends = bands.batch.moments.extremes
        first, extremes = bands.batch.first_pixels(bands.space), (float(ends.low.min()), float(ends.high.max()))
        data = points_of_bands(bands, context)
        return FitPoints(data, first, bands.plan.pixels, bands.notes, extremes, bands.names), failures
    summary, failures = read_colours(plan, settings, context, budget=budget)
    if summary is None:
        return None, failures
    return points_of_colours(summary, settings, context.executor, plan.without(failures).pixels, budget), failures


def points_of_colours(
    summary: Delayed, settings: FitSettings, executor: Executor, pixels: int, budget: Budget | None = None
) -> FitPoints:
    """The colours of a lazy `ChunkSummary`."""
    data, first = table_on_workers(summary, settings, executor, budget=budget)
    return FitPoints(data, first, pixels)


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

    ``refit``: start from the centroids of ``match``. Errors are those of `read_points`, and:

    Raises
    ------
    BeyondFloats
        If the squares of distances are not numbers.
    """
    points, failures = read_points(plan, settings, context, match=match, budget=budget)
    if points is None:
        return None, failures
    context.progress.stage("finding centroids", 0, 0)
    model = fit_points(points, settings, context.executor, match, refit=refit)
    first = plan.first
    return model.of_smoothed(first.smoothing).of_stack(first.info), failures


def fit_points(
    points: FitPoints, settings: FitSettings, executor: Executor, match: Model | None = None, *, refit: bool = False
) -> Model:
    """The model of some points, of as many clusters as a sweep suggests where k is ``auto``.

    Where its clusters are numbered as in ``match``, they have the names of these.

    Raises
    ------
    UsageError
        If ``match`` is of other features.
    """
    if match is not None:
        require_same_features(match.features, settings.features)
    data, space = points.data, points.space
    earlier = None if match is None else points.earlier(match)

    def numbered(centroids: F64) -> Solution:
        return finish(data, centroids, None if earlier is None else matching_order(centroids, earlier))

    if settings.k == AUTO:
        founds = sweep_points(points, settings, executor)
        renumber = None if earlier is None else lambda solution: numbered(solution.centroids)
        model = chosen_model(founds, settings, space, renumber)
        return _named_as(model.noted(points.notes).naming(points.names), match, earlier)
    run, start = Tasks(executor), earlier if refit else None
    if isinstance(data, StreamedBands):
        centroids, history = solve_streamed(data, settings, run, start)
    else:
        centroids, history = solve(data, points.first, settings, run, start)
    solution = numbered(centroids)
    points.require_measurable([solution])
    bands = space if isinstance(space, BandSpace) else None
    model = Model.from_solution(solution, settings, history, bands)
    return _named_as(model.noted(points.notes).naming(points.names), match, earlier)


def _named_as(model: Model, match: Model | None, earlier: F64 | None) -> Model:
    """The model with the classes of the one that it is numbered by, whose centroids are ``earlier`` in its points."""
    if match is None or earlier is None or match.classes is None:
        return model
    return model.named(match.classes.renumbered(earlier_numbers(model.points, earlier)))


def sweep_points(points: FitPoints, settings: FitSettings, executor: Executor) -> list[Found]:
    """What every number of clusters comes to, by rising k.

    Raises
    ------
    BeyondFloats
        If the squares of distances are not numbers for one of them.
    """
    data, runner = points.data, SweepTasks(executor)
    if isinstance(data, StreamedBands):
        founds = sweep_streamed(data, settings, runner)
    else:
        founds = sweep(data, points.first, settings, runner)
    points.require_measurable([found.solution for found in founds])
    return founds
