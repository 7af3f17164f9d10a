"""An image of a store seen window by window: what a task reads of it, and the pictures that it all becomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from kseg_core.clustering.labelling import Labels, invalid_label
from kseg_core.config import OutputSettings
from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.export.segments import Shades
from kseg_core.halos import grown
from kseg_core.images import Pixels
from kseg_core.images.kinds import is_picture
from kseg_core.layers import LAYERS
from kseg_core.layers.layer import Layer
from kseg_core.layers.tiles import level_shape, tile_windows
from kseg_core.reading.smoothing import Smoothing, smoothed
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.store.model import Model, labels_of
from kseg_core.store.nodes import DAMAGE
from kseg_core.store.opening import StoredImage
from kseg_core.store.originals import Originals

from . import segment_views, thumbnails
from .facts import ImageFacts, largest
from .samples import PixelSample, joined, quotas, sample_pixels
from .segment_views import LargeSegment, SeenContours, SmallHierarchy, StoredSegments
from .thumbnails import LEVELS_IN_WINDOW, Patch, put_together

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

GRID = 1 << LEVELS_IN_WINDOW
WINDOW_PX = 2048  # side of the windows that arrays of a store are read in
LABELS_PX = 4096  # of labels, which are a byte a pixel
SEGMENTS = "segments"
PAINTED = "painted"  # segments in their mean colours, as the store has them: what there is of an image without labels
MASK_CLUSTERS = 12  # most masks of an image


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """What is seen of the images of a store."""

    store: str  # the store's path
    originals: Originals  # where its images came from
    output: OutputSettings  # the run's settings, by which it was labelled
    longest: int  # side of the small pictures in pixels, at most
    model: Model | None  # that all images share; None where each has its own
    others: dict[int, Model]  # models by k that one picture is painted with as well
    painted: str | None  # the key of that picture
    masked: frozenset[str]  # the keys of the pictures whose masks are shown

    def others_for(self, key: str) -> tuple[Model, ...]:
        """Models to label an image with as well."""
        return tuple(self.others.values()) if key == self.painted else ()


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image to be seen: of so many of its pixels one by one, and so many of these as points."""

    facts: ImageFacts
    sampled: int
    points: int


@dataclass(frozen=True, slots=True)
class Subject:
    """An image, and what there is of it."""

    chosen: Chosen  # which
    shape: tuple[int, int]  # (height, width)
    level: int  # of its small picture
    k: int  # number of clusters of its model; 0 for one without a valid pixel and without a model
    stored_level: (
        int  # the level of its label pyramid (without labels: of segments) that the small picture is made from
    )
    # What else the store holds of it: a copy, and of the layers that were added those that can be shown, by name
    has_copy: bool
    added: tuple[str, ...]
    # The file it came from; None where that has gone or changed, and where the store holds a copy
    source: ImageSource | None = None
    lost: str = ""  # why there is neither, in one line; empty where there is
    own: Model | None = None  # the image's own model, with ``--scope image``
    smooth: int = 0  # at which scale, in pixels, it was smoothed to be labelled
    segments: StoredSegments | None = None
    shades: Shades | None = None  # how bands are shown where there is no model; None: they are colours

    @property
    def key(self) -> str:
        """Its name in the store."""
        return self.chosen.facts.key

    @property
    def is_labelled(self) -> bool:
        return self.chosen.facts.is_labelled

    @property
    def bands(self) -> tuple[int, ...] | None:
        """Which bands of it are read where there is no model: none for all; None: colours."""
        return None if self.is_labelled or self.source is None or is_picture(self.source.info) else ()

    @property
    def in_window(self) -> int:
        """How often a window of the image itself is halved."""
        return min(self.level, LEVELS_IN_WINDOW)

    @property
    def labels_in_window(self) -> int:
        """How often a window of the stored level of its labels is halved."""
        return min(self.level - self.stored_level, LEVELS_IN_WINDOW)

    def views(self) -> Iterator[View]:
        """All that is to be seen: labels (or segments), pixels and added layers, each in windows on whole cells."""
        side = max(LABELS_PX if self.is_labelled else WINDOW_PX, 1 << self.labels_in_window)
        for window in tile_windows(*level_shape(self.shape, self.stored_level), side):
            yield View(self, "labels" if self.is_labelled else PAINTED, *window)
        windows = list(self._pixel_windows())
        sizes = [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in windows]
        samples, points = quotas(sizes, self.chosen.sampled), quotas(sizes, self.chosen.points)
        for window, *counts in zip(windows, samples, points, strict=True):
            yield View(self, "pixels", *window, *counts)
        for name in self.added:
            yield from (View(self, name, *window) for window in tile_windows(*self.shape, WINDOW_PX))

    def _pixel_windows(self) -> Iterator[tuple[slice, slice]]:
        if self.has_copy:
            yield from tile_windows(*self.shape, WINDOW_PX)
        elif self.source is not None:
            yield from ((piece.rows, piece.columns) for piece in self.source.pieces(GRID))


@dataclass(frozen=True, slots=True)
class View:
    """A window of an image; of its pixels so many are sampled, and so many of these kept."""

    subject: Subject
    layer: str  # ``labels``, `PAINTED`, ``pixels``, or an added layer
    rows: slice
    columns: slice
    sampled: int = 0
    points: int = 0

    def patch(self, pixels: NDArray[Any], level: int) -> Patch:
        """A part of the small picture ``level`` times halved."""
        return Patch(self.rows.start >> level, self.columns.start >> level, pixels)


@dataclass(frozen=True, slots=True)
class PixelView:
    """What was seen of a window of an image's pixels."""

    small: Patch  # its part of the small picture, with the share of valid pixels as alpha
    sample: PixelSample | None  # some of its pixels; None without a model
    painted: tuple[Patch, ...]  # its part of the small label picture of each further model


def approach(chosen: Chosen, plan: ViewPlan) -> Subject:
    """What there is of an image.

    Raises
    ------
    StoreError
        If it is damaged or not complete.
    """
    image = StoredImage(plan.store, chosen.facts.key)
    if not image.complete:
        raise StoreError("not complete")
    own = image.model if plan.model is None else None
    model = own or plan.model
    height, width = image.attributes["shape"]
    segments = StoredSegments.of(image)
    if chosen.facts.is_labelled:
        levels = len(image.levels)
    elif segments is not None:
        levels = segments.pyramid
    else:
        raise StoreError("its segments do not say at which level they are cut")
    level = thumbnails.level_for((height, width), plan.longest)
    source, lost = None, ""
    if image.image is None:
        try:
            source = plan.originals.open(image)
        except UnreadableImage as error:
            lost = error.reason
    shades = None
    if not chosen.facts.is_labelled and source is not None and not is_picture(source.info):
        shades = segment_views.shades_of_bands(image)
        if shades is None:
            source, lost = None, "how its bands are shown is not known, as the means of its segments are not"
    return Subject(
        chosen=chosen,
        shape=(height, width),
        level=level,
        k=0 if model is None else model.k,
        stored_level=min(level, levels - 1),
        has_copy=image.image is not None,
        added=tuple(layer.name for layer in LAYERS.values() if _is_shown(layer, image)),
        source=source,
        lost=lost,
        own=own,
        smooth=image.attributes.get("smooth", 0),
        segments=segments,
        shades=shades,
    )


def _is_shown(layer: Layer, image: StoredImage) -> bool:
    """Whether a layer that was added is a picture of its own; classes are labels in other colours."""
    if not layer.added or layer.of_model:
        return False
    array = image.layer(layer)
    if layer.name == SEGMENTS:
        segments = StoredSegments.of(image)
        return segments is not None and segments.has_contours
    return array is not None and (layer.are_labels or array.dtype.name in ("bool", "uint8"))


# ---------------------------------------------------------------------------------------------------- one window


def see(view: View, plan: ViewPlan) -> Patch | PixelView | SeenContours:
    """A part of the small picture of labels, segments or an added layer; or what is seen of pixels or contours.

    Raises
    ------
    UnreadableImage, StoreError
        If it cannot be read.
    """
    subject, window = view.subject, (view.rows, view.columns)
    if view.layer == "pixels":
        return _see_pixels(view, plan)
    if view.layer == "labels":
        level = subject.labels_in_window
        labels = _read(StoredImage(plan.store, subject.key).levels[subject.stored_level], subject, window)
        return view.patch(thumbnails.mode_cells(labels, invalid_label(subject.k), level), level)
    if view.layer == PAINTED:
        level, image = subject.labels_in_window, StoredImage(plan.store, subject.key)
        return view.patch(segment_views.see_painted(image, window, subject.stored_level, level), level)
    layer, level = LAYERS[view.layer], subject.in_window
    if layer.name == SEGMENTS:
        return segment_views.see_contours(StoredImage(plan.store, subject.key), window, level)
    array = StoredImage(plan.store, subject.key).layer(layer)
    if array is None:
        raise StoreError(f"{subject.key}: its {layer.name} are not there any more")
    values = _read(array, subject, window)
    if layer.are_labels:
        return view.patch(thumbnails.mode_cells(values, invalid_label(subject.k), level), level)
    return view.patch(thumbnails.shades_of_cells(values, level), level)


def _see_pixels(view: View, plan: ViewPlan) -> PixelView:
    subject = view.subject
    model = plan.model or subject.own
    pixels = _read_pixels(view, plan, model)
    shown = pixels.seen if model is None or model.bands is None else model.bands.shades(pixels.seen)
    if subject.shades is not None:
        shown = subject.shades(shown)
    level = subject.in_window
    painted = []
    for other in plan.others_for(subject.key):
        labels = labels_of(pixels, other, plan.output)
        painted.append(view.patch(thumbnails.mode_cells(labels, invalid_label(other.k), level), level))
    return PixelView(
        view.patch(thumbnails.mean_cells(np.ascontiguousarray(shown), pixels.valid, level), level),
        None if model is None else sample_pixels(pixels, shown, model, plan.output, view.sampled, view.points),
        tuple(painted),
    )


def _read_pixels(view: View, plan: ViewPlan, model: Model | None) -> Pixels:
    """A window's pixels as the model needs them and as the file has them, from the copy in the store or the source."""
    subject, rows, columns = view.subject, view.rows, view.columns
    if not subject.has_copy:
        if subject.source is None:
            raise UnreadableImage(subject.key, subject.lost)
        piece = Piece(subject.source, rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
        return piece.read(subject.bands if model is None or model.bands is None else model.bands.bands, original=True)
    image = StoredImage(plan.store, subject.key)
    assert image.image is not None
    how = Smoothing(subject.smooth, subject.smooth) if subject.smooth else None
    wide, inner = grown((rows, columns), 0 if how is None else how.halo, subject.shape)
    samples = np.ascontiguousarray(np.moveaxis(_read(image.image, subject, (slice(None), *wide)), 0, -1))
    valid = _read(image.labels, subject, wide) != invalid_label(subject.k)
    pixels = Pixels(samples, None if valid.all() else valid)
    if how is None:
        return pixels
    return smoothed(pixels, how, inner, together=model is None or model.bands is None, original=True)


def _read(array: zarr.Array[Any], subject: Subject, window: tuple[slice, ...]) -> NDArray[Any]:
    try:
        return np.asarray(array[window])
    except DAMAGE as error:
        raise StoreError(f"{subject.key}: cannot be read ({error})") from error


# ---------------------------------------------------------------------------------------------------- all windows


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was seen of an image: what `see` gave of each view, or in one line why it gave nothing."""

    subject: Subject
    parts: list[tuple[View, Patch | PixelView | SeenContours | str]]

    def of(self, layer: str) -> list[Any]:
        """What was seen of one layer."""
        return [part for view, part in self.parts if view.layer == layer]


@dataclass(frozen=True, slots=True)
class Pictures:
    """An image's pictures as files, and its sample of pixels; small enough to be sent."""

    segmented: bytes | None  # a PNG's bytes; None without labels
    original: bytes | None = None  # the same of the original (WebP); None where there is none
    added: tuple[tuple[str, bytes], ...] = ()  # (name, PNG) of each layer that was added
    lost: str = ""  # why there is no original; empty where there is
    masks: tuple[tuple[int, bytes], ...] = ()  # (cluster, PNG) of the largest clusters; empty where they are not shown
    painted: tuple[bytes, ...] = ()  # a PNG for each further model
    sample: PixelSample | None = None  # some of its pixels; None where there are none
    hierarchy: SmallHierarchy | None = None  # of its segments, to be cut on the page; None where there are none
    largest: tuple[LargeSegment, ...] = ()  # of its segments

    @property
    def by_name(self) -> dict[str, bytes]:
        """Those shown on an image's card."""
        own = {"original": self.original, "segmented": self.segmented}
        return {**{name: file for name, file in own.items() if file is not None}, **dict(self.added)}

    @property
    def size_bytes(self) -> int:
        """Of those shown on an image's card."""
        return sum(map(len, self.by_name.values())) + (0 if self.hierarchy is None else len(self.hierarchy.file))


def assemble(seen: Seen, plan: ViewPlan) -> Pictures:
    """The pictures of one image.

    Raises
    ------
    StoreError
        If labels, segments or added layers could not be read, or there are labels that are no cluster.
    """
    subject = seen.subject
    for part in (part for name in ("labels", PAINTED, *subject.added) for part in seen.of(name)):
        if isinstance(part, str):
            raise StoreError(part)
    labels = _small_labels(subject, seen.of("labels")) if subject.is_labelled else None
    colors = np.array(subject.chosen.facts.colors, np.uint8).reshape(-1, 3)
    segmented = None if labels is None else thumbnails.segmented_file(labels, colors)
    views = seen.of("pixels")
    lost = next((view for view in views if isinstance(view, str)), None)
    views = [] if lost is not None else views
    original, painted = _of_pixels(subject, views, plan) if views else (None, [])
    added, hierarchy = _added(seen, colors, segmented if original is None else original)
    if not subject.is_labelled and hierarchy is None:
        added = [(SEGMENTS, thumbnails.painted_file(_painted_segments(subject, seen.of(PAINTED))))]
    largest_of = () if subject.segments is None else _largest_segments(subject, plan)
    return Pictures(
        segmented,
        original,
        tuple(added),
        subject.lost if lost is None else lost,
        ()
        if labels is None
        else tuple((j, thumbnails.gray_file(labels == j)) for j in _masks_of(subject, labels, plan)),
        tuple(painted),
        joined([view.sample for view in views if view.sample is not None]),
        hierarchy,
        largest_of,
    )


def _of_pixels(subject: Subject, views: Sequence[PixelView], plan: ViewPlan) -> tuple[bytes, list[bytes]]:
    """The original, and the image painted with each further model, from what was seen of its pixels."""
    rest, shape = subject.level - subject.in_window, level_shape(subject.shape, subject.in_window)
    small, painted = put_together((view.small for view in views), shape, 0), []
    for at, other in enumerate(plan.others_for(subject.key)):
        invalid = invalid_label(other.k)
        whole = put_together((view.painted[at] for view in views), shape, invalid)
        painted.append(thumbnails.segmented_file(thumbnails.mode_cells(whole, invalid, rest), other.colors))
    return thumbnails.original_file(thumbnails.finish_mean(small, rest)), painted


def _painted_segments(subject: Subject, patches: Sequence[Patch]) -> U8:
    """uint8 (y, x, 4): the small picture of segments in their mean colours, as the store has them."""
    level = subject.stored_level + subject.labels_in_window
    whole = put_together(patches, level_shape(subject.shape, level), 0)
    return thumbnails.finish_mean(whole, subject.level - level)


def _added(seen: Seen, colors: U8, shown: bytes | None) -> tuple[list[tuple[str, bytes]], SmallHierarchy | None]:
    """The layers that were added as files, segments in the mean colours of what is ``shown`` of the image; and what
    these are cut from.
    """
    subject, added, hierarchy = seen.subject, [], None
    rest, shape = subject.level - subject.in_window, level_shape(subject.shape, subject.in_window)
    for name in subject.added:
        parts = seen.of(name)
        if name == SEGMENTS:
            assert subject.segments is not None
            together = put_together((part.small for part in parts), shape, thumbnails.INVALID)
            contours = thumbnails.halved_contours(together, rest)
            whole = _painted_segments(subject, seen.of(PAINTED)) if shown is None else thumbnails.pixels_of(shown)
            hierarchy = segment_views.small_hierarchy(contours, parts, subject.segments)
            file = thumbnails.segments_file(segment_views.small_segments(contours, subject.segments), whole)
        elif LAYERS[name].are_labels:
            file = thumbnails.segmented_file(_put_labels_together(subject, parts, shape, rest), colors)
        else:
            together = put_together(parts, shape, 0)
            file = thumbnails.gray_file(thumbnails.finish_mean(together[..., None], rest)[..., 0])
        added.append((name, file))
    return added, hierarchy


def _largest_segments(subject: Subject, plan: ViewPlan) -> tuple[LargeSegment, ...]:
    image = StoredImage(plan.store, subject.key)
    return segment_views.largest_segments(image, plan.model or subject.own)


def _small_labels(subject: Subject, patches: Sequence[Patch]) -> Labels:
    """The small label picture: windows halved as often as one can, the whole as often as is left."""
    level = subject.stored_level + subject.labels_in_window
    return _put_labels_together(subject, patches, level_shape(subject.shape, level), subject.level - level)


def _put_labels_together(subject: Subject, patches: Sequence[Patch], shape: tuple[int, int], rest: int) -> Labels:
    """Labels of a shape from their parts, then halved ``rest`` times."""
    invalid = invalid_label(subject.k)
    small = thumbnails.mode_cells(put_together(patches, shape, invalid), invalid, rest)
    if ((small >= subject.k) & (small != invalid)).any():
        raise StoreError("labels that are no cluster")
    return small


def _masks_of(subject: Subject, labels: Labels, plan: ViewPlan) -> list[int]:
    """The clusters whose masks are shown: the largest of all images, or of this one where each has its own."""
    if subject.key not in plan.masked:
        return []
    if plan.model is not None:
        return largest(plan.model.counts.tolist(), MASK_CLUSTERS)
    counts = np.bincount(labels[labels != invalid_label(subject.k)].ravel(), minlength=subject.k)
    return largest(counts.tolist(), MASK_CLUSTERS)
