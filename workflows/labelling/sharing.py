"""The palette that the segments of all images of a store share, where they do: found in one pass over the images before
the first of them is segmented, and from then on the store's, whatever becomes of the folder.
"""

from __future__ import annotations

from functools import partial

from kseg_core.errors import UnreadableImage, UsageError
from kseg_core.expressions import Bands
from kseg_core.inputs.keys import printable_source
from kseg_core.layers.segments import SegmentLayer
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.segments.palette import SAMPLED_BANDS_PX, sampling_step
from kseg_core.segments.shared import BandSample, BoxCounts
from kseg_core.segments.whole import Ways
from kseg_core.store import segments as stored
from kseg_core.store.cuts import hierarchy_facts
from kseg_core.store.manifest import images_of

from ..computing.context import Context, Failure
from ..fitting.gather import pass_over
from ..planning.plan import Plan
from .added import Adding
from .pieces import writing_to

STAGE = "finding the palette of all images"
PALETTE_LOST = "the palette that its segments share is lost"
WAY_OUT = "replace all of them with --overwrite, or choose another output with -o"


def share_palette(plan: Plan, layer: SegmentLayer, store: str, tile: int, context: Context) -> list[Failure]:
    """See that a store has the palette which its images are to share; the images that could not be read for it.

    Raises
    ------
    UsageError
        If the images are not of one kind.
    """
    if layer.settings.palette != "shared" or not plan.sources or stored.read_palette(store) is not None:
        return []
    if any((hierarchy_facts(store, key) or {}).get("palette") == "shared" for key in images_of(store) - plan.keys):
        return []  # it is lost, and some images stay as they are: no other is found for the rest
    job = Adding.to(store, layer, tile)
    bands = stored.bands_of(plan.first, job.clustered)
    _require_one_kind(plan.sources, job)
    step = sampling_step(plan.pixels, SAMPLED_BANDS_PX)
    found, failures = pass_over(plan.unsmoothed, partial(look_at, bands=bands, step=step), STAGE, context)
    if found is not None:
        with writing_to(store):
            stored.write_palette(store, found.palette())
    return failures


def look_at(piece: Piece, bands: Bands | None, step: int) -> BoxCounts | BandSample:
    """What a piece tells of the palette of all images."""
    pixels = piece.read(bands)
    if bands is None:
        return BoxCounts.of(pixels.samples, pixels.valid)
    return BandSample.of(pixels.samples, pixels.valid, piece.corner, step)


def ways_of(plan: Plan, job: Adding, context: Context) -> tuple[Ways, list[Failure]]:
    """The way to features and the palette that images share (None: each has its own), and the images it is not for."""
    layer = job.layer
    assert isinstance(layer, SegmentLayer)
    if layer.settings.palette != "shared" or not plan.sources:
        return None, []
    palette = stored.read_palette(job.store)
    failures = []
    for source in plan.sources:
        if palette is None:
            failures.append(_failure(source, f"{PALETTE_LOST}: {WAY_OUT}", context))
        elif (count := _count(source, job)) != palette.bands:
            why = (
                f"it has {_kind(count)}, and the palette that segments of this store share is of {_kind(palette.bands)}"
            )
            failures.append(_failure(source, f"{why}: find its segments in a store of its own, with -o", context))
    return None if palette is None else palette.ways(), failures


def _require_one_kind(sources: list[ImageSource], job: Adding) -> None:
    first, *others = sorted(sources, key=lambda source: source.file.source)
    for other in others:
        if (count := _count(other, job)) != _count(first, job):
            raise UsageError(
                f"--segment-palette shared is for images of one kind: {printable_source(first.file.source)} has "
                f"{_kind(_count(first, job))}, {printable_source(other.file.source)} {_kind(count)}; make a store of "
                "each kind (--include, -o), or give --segment-palette image"
            )


def _failure(source: ImageSource, reason: str, context: Context) -> Failure:
    return context.failed(source.file.key, UnreadableImage(source.file.source, reason))


def _count(source: ImageSource, job: Adding) -> int:
    """How many bands of an image are segmented; 0: its colours are."""
    bands = stored.bands_of(source, job.clustered)
    return 0 if bands is None else len(bands) or source.info.bands - source.info.alpha


def _kind(count: int) -> str:
    return "colours" if count == 0 else "1 band" if count == 1 else f"{count} bands"
