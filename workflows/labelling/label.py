"""What labelling comes to: of a piece, of an image and what the store says of it, of all; and how far they drift."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import add
from typing import Any

from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import feature_space
from kseg_core.clustering.outliers import Drift, Fill, Reference, outliers
from kseg_core.clustering.summary import BatchRule, ChunkSummary, summarise
from kseg_core.clustering.sums import ClusterSums
from kseg_core.config import FitSettings, OutputSettings
from kseg_core.errors import OtherKind, TooManyColors, UnreadableImage
from kseg_core.expressions import Bands
from kseg_core.images import Pixels
from kseg_core.images.kinds import kind_of_bands
from kseg_core.inputs.companions import content_digest, mask_facts
from kseg_core.layers.layer import Layout
from kseg_core.reading.min_region import min_region_of, pixel_size_of
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.store.model import Model
from kseg_core.store.record import ImageRecord, PieceLabelled, of_source
from kseg_core.sweep.search import fit_alone

from ..computing.context import Failure
from ..planning.budget import Budget, image_of_too_many_colors
from ..planning.plan import lines_of_fill


@dataclass(frozen=True, slots=True)
class Labelled:
    """What some images come to: a fold over their records, which says the same of them whenever they were labelled.

    Parameters
    ----------
    pixels, valid
        Of all of them.
    sums
        Over all of them; None where each has its own model, or there are none.
    counts
        Pixels of each cluster as the labels are, where there are sums: these are of the nearest centroids.
    inertia
        Of each image, by key: floats, added up in the order of keys at the end.
    failures
        Images that could not be read.
    drift
        Of each image, by key, where all share a model.
    notes
        What there is to say of images, by key.
    fills
        What of images lies beyond all other values, and those of the model that was given, by key.
    """

    pixels: int = 0
    valid: int = 0
    sums: ClusterSums | None = None
    inertia: dict[str, float] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    drift: dict[str, Drift] = field(default_factory=dict)
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fills: dict[str, tuple[Fill, ...]] = field(default_factory=dict)
    counts: tuple[int, ...] | None = None

    @classmethod
    def of(cls, made: Iterable[Labelled | Failure]) -> Labelled:
        """Of what was made of some images."""
        done = cls()
        for each in made:
            done = done.merge(cls(failures=(each,)) if isinstance(each, Failure) else each)
        return done

    @classmethod
    def of_record(cls, record: ImageRecord, reference: Reference | None, fills: tuple[Fill, ...] = ()) -> Labelled:
        """Of one image. ``reference``: what its drift is measured against, where all images share a model."""
        height, width = record.shape
        key = record.key
        return cls(
            height * width,
            sum(record.counts),
            record.sums,
            {key: record.inertia},
            drift={} if reference is None else {key: reference.drift(record.assigned, record.inertia)},
            notes={key: record.notes} if record.notes else {},
            fills={key: fills} if fills else {},
            counts=None if record.sums is None else record.counts,
        )

    @property
    def images(self) -> int:
        """How many."""
        return len(self.inertia)

    def merge(self, other: Labelled) -> Labelled:
        sums = other.sums if self.sums is None else self.sums if other.sums is None else self.sums.merge(other.sums)
        return Labelled(
            self.pixels + other.pixels,
            self.valid + other.valid,
            sums,
            self.inertia | other.inertia,
            self.failures + other.failures,
            self.drift | other.drift,
            self.notes | other.notes,
            self.fills | other.fills,
            _added(self.counts, other.counts),
        )


def _added(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    return tuple(map(add, one, other))


ModelFor = Callable[[ImageSource, Pixels], Model | None]  # how each image gets a model of its own


def bands_of(how: object) -> Bands | None:
    """The bands a model labels; None where it labels colours."""
    return how.bands.bands if isinstance(how, Model) and how.bands is not None else None


def read_for_model(piece: Piece, how: object, *, original: bool = False) -> Pixels:
    """The pixels of a piece as a model (or the search for one, of colours) needs them, or both these and the originals.

    Raises
    ------
    UnreadableImage
        If they cannot be had, or are not of the model's dtype (`OtherKind`).
    """
    space = how.bands if isinstance(how, Model) else None
    if space is not None and piece.source.info.dtype != space.stored_dtype:
        reason = (
            f"its bands are {piece.source.info.dtype}, the model is of {space.stored_dtype}, so its values may mean "
            f"other things: convert it to {space.stored_dtype} in the model's units, or fit a model to it "
            "(kseg-batch fit)"
        )
        raise OtherKind(piece.source.file.source, reason, kind_of_bands(piece.source.info).name)
    return piece.read(bands_of(how), original=original)


def reference_of(model: Model) -> Reference:
    """What of a model drift is measured against."""
    return Reference(tuple(model.counts.tolist()), model.mse)


def layout_of(source: ImageSource, model: Model | None, output: OutputSettings) -> Layout:
    """The arrays of an image: pyramids where asked for, else for images worked on in pieces; copies; where it is
    on the ground, or how large its pixels are; and how large regions are at least.

    Raises
    ------
    UnreadableImage
        If that has a unit, and it is not known how large its pixels are.
    """
    pyramid = source.in_pieces if output.pyramid is None else output.pyramid
    layout = Layout.planned(source.shape, 0 if model is None else model.k, output, pyramid=pyramid)
    if output.copy_image:
        space = None if model is None else model.bands
        copied = (3, "uint8") if space is None else (space.dimensions, space.dtype)
        layout = replace(layout, copy_bands=copied[0], copy_dtype=copied[1])
    size = pixel_size_of(source)
    if source.geo is not None:
        layout = replace(layout, geo=source.geo)
    elif size is not None:
        layout = replace(layout, pixel_size=(size.y, size.x), unit=size.unit)
    return layout if output.min_region is None else replace(layout, min_region=min_region_of(source, output, size))


def image_record(
    source: ImageSource, part: PieceLabelled, model: Model | None, output: OutputSettings, *, shared: bool
) -> ImageRecord:
    """What the store says of an image, all of which came to ``part``; its sums where all images share a model.

    Raises
    ------
    UnreadableImage
        If its inertia is beyond what float64 holds.
    """
    sums = part.sums
    inertia = 0.0 if model is None else model.space.inertia(sums, model.points)
    if not math.isfinite(inertia):
        reason = (
            "it has values so far from all centroids that the squares of their distances are more than float64 holds; "
            "if they hold no data name them with --nodata"
        )
        raise UnreadableImage(source.file.source, reason)
    of_file = of_source(source)
    return ImageRecord(
        **{**of_file, "notes": of_file["notes"] + lines_of_fill(part.fills, [source])},
        key=source.file.key,
        counts=tuple(sums.counts.tolist()),
        invalid=source.pixels - sums.pixels,
        inertia=inertia,
        sums=sums if shared else None,
        checksum=content_digest(source.file.path) if output.checksum else None,
        mask=mask_facts(source.mask),
    )


def own_model(settings: FitSettings, budget: Budget | None, source: ImageSource, window: Pixels) -> Model | None:
    """A model of this image alone (``--scope image``); None where it has no valid pixel.

    Raises
    ------
    UnreadableImage
        If it has more distinct colours than the memory's budget has room for.
    """
    space = feature_space(settings.features)
    summary = summary_of_image(settings, budget, source, window)
    if summary.everything.codes.size == 0:
        return None
    data, batch = (ColorPoints.build(table, space) for table in (summary.everything, summary.batch))
    return fit_alone(data, batch, settings, space).of_smoothed(source.smoothing)


def summary_of_image(settings: FitSettings, budget: Budget | None, source: ImageSource, window: Pixels) -> ChunkSummary:
    """The colours of one whole image.

    Raises
    ------
    UnreadableImage
        If there are more than the memory's budget has room for.
    """
    rule = BatchRule.for_pixels(source.pixels, settings.batch_pixels, settings.seed)
    most = None if budget is None else budget.colors
    try:
        return summarise([window], rule, most)
    except TooManyColors as error:
        assert budget is not None  # without one there is no limit
        raise image_of_too_many_colors(source, budget) from error


# ------------------------------------------------------------------------------------------------------------ drift

WORST = 10  # images named; the others' figures follow from their counts and mse, which the store has


def drift_result(
    model: Model, batch: Labelled, drifts: Mapping[str, Drift], sources: Mapping[str, str]
) -> dict[str, Any]:
    """As JSON values.

    Parameters
    ----------
    model
        The given one.
    batch
        What labelling the new images came to.
    drifts
        Of these and all others in the store: what is usual is told by all.
    sources
        Of each image by key.

    Returns
    -------
    ``batch`` {images, mse_ratio, share_distance}, None without new images; ``outliers``: how many of the new ones stand
    out; ``images``: the outliers first and then the furthest by share distance, at most `WORST`, with ``outlier`` true
    or false; ``not_listed``: how many new images are not among these.
    """
    if batch.sums is None:
        return {"batch": None, "outliers": 0, "images": [], "not_listed": 0}
    whole = reference_of(model).drift(batch.sums.counts.tolist(), model.space.inertia(batch.sums, model.points))
    odd = outliers(drifts)
    ranked = sorted(
        batch.drift.items(), key=lambda item: (item[0] not in odd, -(item[1].share_distance or 0.0), item[0])
    )
    return {
        "batch": {"images": len(batch.inertia), **whole._asdict()},
        "outliers": len(odd & batch.drift.keys()),
        "images": [{"source": sources[key], **drift._asdict(), "outlier": key in odd} for key, drift in ranked[:WORST]],
        "not_listed": len(ranked[WORST:]),
    }
