"""Bands on the way to a fit: a pass for statistics and samples, of images of one kind.

Mini-batches are nested: the first is part of the second, and that of all data, which is streamed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from kseg_core.clustering.band_points import BandBatch, BandPoints, Place, held_px
from kseg_core.clustering.bands import BandSpace
from kseg_core.clustering.outliers import Outlier, fills_of, outliers_of
from kseg_core.clustering.summary import BatchRule
from kseg_core.config import FitSettings
from kseg_core.errors import NoValidPixels, UnreadableImage, UsageError
from kseg_core.expressions import Bands, Derived, called
from kseg_core.images.display import display_of
from kseg_core.images.raster import Refused
from kseg_core.images.selection import names_of, settle, taken_dtype
from kseg_core.reading.sources import Piece
from kseg_core.store.model import Model

from ..computing.context import Context, Failure
from ..computing.executor import Executor
from ..planning.notes import first_of
from ..planning.plan import Plan, lines_of_fill
from .gather import pass_over
from .streamed import StreamedBands

F64 = NDArray[np.float64]

MOSTLY_INVALID = 16  # where fewer than one in so many pixels are valid, the mini-batches are chosen anew


# ------------------------------------------------------------------------------------------------- what is looked at


def look_at_values(piece: Piece, bands: Bands, first: BatchRule, held: BatchRule) -> BandBatch:
    """Statistics of all values, and the mini-batches' pixels."""
    samples, valid = piece.read(bands)[:2]
    place = Place(piece.source.file.key, piece.top, piece.left, piece.source.shape[1])
    return BandBatch.of(samples, valid, place, first, held)


def look_at_dimensions(piece: Piece, bands: Bands) -> int:
    """How many bands there are."""
    corner = Piece(piece.source, 0, 0, 1, 1)
    return int(corner.read(bands).samples.shape[2])


# -------------------------------------------------------------------------------------------------------- the driver


class BandsRead(NamedTuple):
    """What the passes before the fit brought home: the images that could be read, samples, statistics, the space, and
    what there is to say of the data, a line each, and what the first image calls the bands.
    """

    plan: Plan
    batch: BandBatch
    space: BandSpace
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def read_bands(
    plan: Plan,
    settings: FitSettings,
    context: Context,
    *,
    match: Model | None = None,
) -> tuple[BandsRead | None, list[Failure]]:
    """Read the bands of all images (None where not one could be), and tell those that could not.

    Raises
    ------
    NoValidPixels
        If there is none.
    UsageError
        If ``match`` is of other bands.
    """
    plan, failures = same_kind(plan, settings.chosen, context.executor)
    if not plan.sources:
        return None, failures
    info = plan.first.info
    chosen = settle(settings.chosen, info)
    dimensions = len(chosen) or look_at_dimensions(first_piece(plan), chosen)
    clustered = chosen or tuple(range(1, dimensions + 1))
    display = display_of_plan(plan, settings, clustered)
    if match is not None and match.bands is not None:
        require_same_bands(match.bands.bands, clustered)
    expected_px = plan.pixels
    while True:
        first = BatchRule.for_pixels(expected_px, settings.batch_pixels, settings.seed)
        held = BatchRule.for_pixels(expected_px, max(held_px(dimensions), settings.batch_pixels), settings.seed)
        look = partial(look_at_values, bands=chosen, first=first, held=held)
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
    dtype = taken_dtype(clustered, info.dtype)
    space = BandSpace.fitted(clustered, dtype, batch.moments, settings.normalize, sample, apart, display)
    if any(isinstance(band, Derived) for band in clustered):
        space = replace(space, source_dtype=info.dtype)
    notes = notes_of_fill(plan, batch, outliers, clustered)
    return BandsRead(plan, batch, space, notes, names_of(clustered, info)), failures


def display_of_plan(plan: Plan, settings: FitSettings, clustered: Bands) -> tuple[int, ...]:
    """Which of the bands are shown, by the first image.

    Raises
    ------
    UsageError
        If others are asked for than are clustered.
    """
    source = plan.first
    try:
        return display_of(settings.display, clustered, source.info)
    except Refused as error:
        raise UsageError(f"--display: {source.file.source}: {error}") from error


def notes_of_fill(plan: Plan, batch: BandBatch, outliers: Sequence[Sequence[Outlier]], bands: Bands) -> tuple[str, ...]:
    """What there is to say of values beyond all others, and the images that have them."""
    sources = plan.sources
    names = {source.file.key: source.file.source for source in sources if source.file.path}  # an array has none
    seen: dict[float, set[str]] = {}
    for band, those in enumerate(outliers):
        for outlier in () if isinstance(bands[band], Derived) else those:
            seen.setdefault(outlier.value, set()).update(batch.images_with(band, outlier.value) & names.keys())
    named = {value: first_of([names[key] for key in keys]) for value, keys in seen.items() if keys}
    return lines_of_fill(fills_of(outliers, bands), sources, named)


def points_of_bands(bands: BandsRead, context: Context) -> BandPoints | StreamedBands:
    """All the pixels: in memory where they are few enough, else read anew for every question."""
    everything = bands.batch.everything(bands.space)
    if everything is not None:
        return everything
    first, held = bands.batch.first_pixels(bands.space), bands.batch.held_pixels(bands.space)
    return StreamedBands(bands.plan, bands.space, first, held, bands.batch.moments, context.silent(strict=True))


def require_same_bands(earlier: Bands, ours: Bands) -> None:
    """Clusters can be matched with those of an earlier model of the same bands only.

    Raises
    ------
    UsageError
        If it is of others.
    """
    if earlier != ours:
        was, now = (",".join(map(str, bands)) for bands in (earlier, ours))
        asked = ",".join(str(called(band)) for band in earlier)
        derived = "".join(f' --derive "{band}"' for band in earlier if isinstance(band, Derived))
        raise UsageError(f"--match has centroids of bands {was}, this fit of bands {now}; add --bands {asked}{derived}")


def first_piece(plan: Plan) -> Piece:
    """Any piece of the plan."""
    return plan.bundles[0][0] if plan.bundles else plan.large[0][0]


def same_kind(plan: Plan, bands: Bands, executor: Executor) -> tuple[Plan, list[Failure]]:
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


def kind_of(piece: Piece, bands: Bands) -> tuple[str, int] | UnreadableImage:
    """A task: dtype and number of bands, or why there are none."""
    try:
        return piece.source.info.dtype, look_at_dimensions(piece, bands)
    except UnreadableImage as error:
        return error
