"""The fit over bands: a pass for statistics and samples, then exact steps.

Mini-batches are nested: the first is part of the second, and that of all data, which is streamed: each exact step reads
it once. All attempts are compared in one such pass; only the best is refined.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from kseg_core.clustering.band_points import BandBatch, BandPoints, Place, held_px
from kseg_core.clustering.bands import BandSpace
from kseg_core.clustering.kmeans import (
    AttemptHistory,
    History,
    Proposal,
    SearchData,
    Solution,
    StepLimits,
    coarse_form,
    fill_empty,
    finish,
    lloyd,
    matching_order,
    shortlist,
    solve,
)
from kseg_core.clustering.outliers import Outlier, fills_of, outliers_of
from kseg_core.clustering.summary import BatchRule
from kseg_core.config import AUTO, FitSettings
from kseg_core.errors import BeyondFloats, NoValidPixels, UnreadableImage, UsageError
from kseg_core.reading.sources import Piece
from kseg_core.store.model import Model
from kseg_core.sweep.search import chosen_model
from kseg_core.sweep.table import Found

from ..computing.context import Context, Failure
from ..computing.executor import Executor
from ..planning.notes import first_of
from ..planning.plan import Plan, lines_of_fill
from .gather import pass_over
from .sharded import TaskRunner
from .streamed import StreamedBands, exact_limits, few_values
from .sweep_tasks import sweep_bands

F64 = NDArray[np.float64]

MOSTLY_INVALID = 16  # where fewer than one in so many pixels are valid, the mini-batches are chosen anew


# ------------------------------------------------------------------------------------------------- what is looked at


def look_at_values(piece: Piece, bands: tuple[int, ...], first: BatchRule, held: BatchRule) -> BandBatch:
    """Statistics of all values, and the mini-batches' pixels."""
    samples, valid = piece.read_samples(bands)
    place = Place(piece.source.file.key, piece.top, piece.left, piece.source.shape[1])
    return BandBatch.of(samples, valid, place, first, held)


def look_at_dimensions(piece: Piece, bands: tuple[int, ...]) -> int:
    """How many bands there are."""
    corner = Piece(piece.source, 0, 0, 1, 1)
    return int(corner.read_samples(bands).samples.shape[2])


# -------------------------------------------------------------------------------------------------------- the driver


class Bands(NamedTuple):
    """What the passes before the fit brought home: the images that could be read, samples, statistics, the space, and
    what there is to say of the data, a line each.
    """

    plan: Plan
    batch: BandBatch
    space: BandSpace
    notes: tuple[str, ...] = ()


def look_at_bands(
    plan: Plan,
    settings: FitSettings,
    context: Context,
    *,
    match: Model | None = None,
) -> tuple[Bands | None, list[Failure]]:
    """Read the bands of all images (None where not one could be), and tell those that could not.

    Raises
    ------
    NoValidPixels
        If there is none.
    UsageError
        If ``match`` is of other bands.
    """
    plan, failures = same_kind(plan, settings.bands, context.executor)
    if not plan.sources:
        return None, failures
    dtype = plan.sources[0].info.dtype
    dimensions = len(settings.bands) or look_at_dimensions(first_piece(plan), settings.bands)
    numbers = settings.bands or tuple(range(1, dimensions + 1))
    if match is not None and match.bands is not None:
        require_same_bands(match.bands.bands, numbers)
    expected_px = plan.pixels
    while True:
        first = BatchRule.for_pixels(expected_px, settings.batch_pixels, settings.seed)
        held = BatchRule.for_pixels(expected_px, max(held_px(dimensions), settings.batch_pixels), settings.seed)
        look = partial(look_at_values, bands=settings.bands, first=first, held=held)
        batch, unread = pass_over(plan, look, "reading bands", context)
        plan, failures = plan.without(unread), failures + unread
        if batch is None:
            return None, failures
        if batch.moments.pixels == 0:
            raise NoValidPixels("no valid pixel in any image: there is nothing to cluster")
        if held.level == 0 or batch.moments.pixels * MOSTLY_INVALID > expected_px:
            break
        expected_px = batch.moments.pixels  # the mini-batches are too small: again, with more of what is valid
    sample = batch.sample()
    outliers = outliers_of(batch.moments, sample)
    apart = [[outlier.value for outlier in those] for those in outliers]
    space = BandSpace.fitted(numbers, dtype, batch.moments, settings.normalize, sample, apart)
    return Bands(plan, batch, space, notes_of_fill(plan, batch, outliers, numbers)), failures


def notes_of_fill(
    plan: Plan, batch: BandBatch, outliers: Sequence[Sequence[Outlier]], numbers: tuple[int, ...]
) -> tuple[str, ...]:
    """What there is to say of values beyond all others, and the images that have them."""
    sources = plan.sources
    names = {source.file.key: source.file.source for source in sources if source.file.path}  # an array has none
    seen: dict[float, set[str]] = {}
    for band, those in enumerate(outliers):
        for outlier in those:
            seen.setdefault(outlier.value, set()).update(batch.images_with(band, outlier.value) & names.keys())
    named = {value: first_of([names[key] for key in keys]) for value, keys in seen.items() if keys}
    return lines_of_fill(fills_of(outliers, numbers), sources, named)


def fit_bands(
    plan: Plan,
    settings: FitSettings,
    context: Context,
    *,
    match: Model | None = None,
    refit: bool = False,
) -> tuple[Model | None, list[Failure]]:
    """One model for the bands of all images (None where not one could be read), and those that could not.

    Raises
    ------
    NoValidPixels
        If there is none.
    BeyondFloats
        If the squares of distances are not numbers.
    UsageError
        If ``match`` is of other bands.
    """
    bands, failures = look_at_bands(plan, settings, context, match=match)
    if bands is None:
        return None, failures
    context.progress.stage("finding centroids", 0, 0)
    model = solve_bands(bands, settings, context, match, refit=refit)
    return model.noted(bands.notes), failures


def data_of(bands: Bands, context: Context) -> BandPoints | StreamedBands:
    """All the pixels: in memory where they are few enough, else read anew for every question."""
    everything = bands.batch.everything(bands.space)
    if everything is not None:
        return everything
    held = bands.batch.held_pixels(bands.space)
    return StreamedBands(bands.plan, bands.space, held, bands.batch.moments, context.silent(strict=True))


def solve_bands(
    bands: Bands, settings: FitSettings, context: Context, match: Model | None, *, refit: bool = False
) -> Model:
    """Find the centroids, from what the passes brought home and, where that is not all, further passes.

    ``refit``: start from those of ``match``.
    """
    data, space = data_of(bands, context), bands.space

    def numbered(centroids: F64) -> Solution:
        order = None
        if match is not None:
            assert match.bands is not None  # `require_same_features`
            order = matching_order(centroids, space.from_space(match.bands, match.centroids))
        return finish(data, centroids, order)

    first = bands.batch.first_pixels(space)
    if settings.k == AUTO:
        founds = sweep_of(bands, data, settings, context.executor)
        renumber = None if match is None else lambda solution: numbered(solution.centroids)
        return chosen_model(founds, settings, space, renumber)
    runner = TaskRunner(context.executor)
    start = None
    if refit and match is not None and match.bands is not None:
        start = space.from_space(match.bands, match.centroids)
    if isinstance(data, BandPoints):
        centroids, history = solve(data, first, settings, runner, start)
    else:
        centroids, history = solve_streamed(data, first, settings, runner, start)
    solution = numbered(centroids)
    require_measurable(bands, [solution])
    return Model.from_solution(solution, settings, history, space)


def sweep_of(bands: Bands, data: BandPoints | StreamedBands, settings: FitSettings, executor: Executor) -> list[Found]:
    """What every number of clusters comes to.

    Raises
    ------
    BeyondFloats
        If the squares of distances are not numbers for one of them.
    """
    founds = sweep_bands(data, bands.batch.first_pixels(bands.space), settings, executor)
    require_measurable(bands, [found.solution for found in founds])
    return founds


def require_measurable(bands: Bands, solutions: Sequence[Solution]) -> None:
    """Refuse clusterings whose inertia float64 does not hold.

    Raises
    ------
    BeyondFloats
        If there is one.
    """
    if all(math.isfinite(bands.space.inertia(each.sums, each.centroids)) for each in solutions):
        return
    ends = bands.batch.moments.extremes
    raise BeyondFloats(f"{ends.low.min():.3g} to {ends.high.max():.3g}")


def solve_streamed(
    data: StreamedBands, first: BandPoints, settings: FitSettings, runner: TaskRunner, start: F64 | None = None
) -> tuple[F64, History]:
    """Attempts on the mini-batches, compared in one pass over all data; the best is refined by exact steps.

    With first centroids given (``start``) there is one attempt and no search.
    """
    space, held = data.space, data.held
    coarse = coarse_form(held, settings.clusters)
    if coarse.size <= settings.clusters and (few := few_values(data, held, settings.clusters)) is not None:
        return few, ()
    search = SearchData(first if first.size else None, coarse)
    proposals = runner.propose(search, settings) if start is None else [Proposal(0, start, math.inf, ())]
    chosen = shortlist(proposals)
    judged = data.sums_of_each([proposal.centroids for proposal in chosen])
    inertia = [space.inertia(sums, p.centroids) for sums, p in zip(judged, chosen, strict=True)]
    best = chosen[int(np.argmin(inertia))]
    steps = lloyd(held, best.centroids, StepLimits(settings.max_iter, sampling_noise=True))
    variance, mse = space.total_variance(judged[0]), min(inertia) / data.size
    limits = exact_limits(settings, variance / space.dimensions, mse / space.dimensions, len(steps.inertia))
    exact = lloyd(data, steps.centroids, limits)
    centroids = fill_empty(data, exact.centroids)
    history = tuple(
        AttemptHistory(p.attempt, p.history, exact.inertia if p.attempt == best.attempt else ()) for p in proposals
    )
    return centroids, history


def require_same_bands(earlier: tuple[int, ...], ours: tuple[int, ...]) -> None:
    """Clusters can be matched with those of an earlier model of the same bands only.

    Raises
    ------
    UsageError
        If it is of others.
    """
    if earlier != ours:
        was, now = (",".join(map(str, bands)) for bands in (earlier, ours))
        raise UsageError(f"--match has centroids of bands {was}, this fit of bands {now}; add --bands {was}")


def first_piece(plan: Plan) -> Piece:
    """Any piece of the plan."""
    return plan.bundles[0][0] if plan.bundles else plan.large[0][0]


def same_kind(plan: Plan, bands: tuple[int, ...], executor: Executor) -> tuple[Plan, list[Failure]]:
    """The plan less the images whose dtype or number of bands is not that of the first, each named."""
    pieces = sorted(
        [piece for bundle in plan.bundles for piece in bundle] + [pieces[0] for pieces in plan.large],
        key=lambda piece: piece.source.file.key,
    )
    kinds: list[tuple[str, int] | UnreadableImage] = executor.compute(
        [delayed(kind_of, pure=True)(piece, bands) for piece in pieces]
    )
    failures: list[Failure] = []
    expected: tuple[str, int] | None = None
    for piece, kind in zip(pieces, kinds, strict=True):
        if isinstance(kind, UnreadableImage):
            failures.append(Failure(piece.source.file.key, kind))
        elif expected is None:
            expected = kind
        elif kind != expected:
            reason = f"{kind[1]} bands of {kind[0]}, the first image has {expected[1]} of {expected[0]}; run it apart"
            failures.append(Failure(piece.source.file.key, UnreadableImage(piece.source.file.source, reason)))
    return plan.without(failures), failures


def kind_of(piece: Piece, bands: tuple[int, ...]) -> tuple[str, int] | UnreadableImage:
    """A task: dtype and number of bands, or why there are none."""
    try:
        return piece.source.info.dtype, look_at_dimensions(piece, bands)
    except UnreadableImage as error:
        return error
