"""An image of a store seen window by window: what a task reads of it, and the pictures that it all becomes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from kseg_core.clustering.features import feature_space
from kseg_core.clustering.labelling import Labels, invalid_label
from kseg_core.config import OutputSettings
from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.halos import grown
from kseg_core.images import Pixels
from kseg_core.layers import LAYERS
from kseg_core.layers.layer import Layer
from kseg_core.layers.tiles import level_shape, tile_windows
from kseg_core.reading.smoothing import Smoothing, smoothed
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.segment_settings import SegmentSettings
from kseg_core.segments.cutting import cut_window
from kseg_core.store.cuts import contours_of_image, count_of_segments, hierarchy_facts, level_of
from kseg_core.store.model import Model, labels_of
from kseg_core.store.nodes import DAMAGE
from kseg_core.store.opening import StoredImage
from kseg_core.store.originals import Originals

from . import thumbnails
from .facts import ImageFacts, largest
from .thumbnails import LEVELS_IN_WINDOW, Patch, put_together

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

GRID = 1 << LEVELS_IN_WINDOW
WINDOW_PX = 2048  # side of the windows that arrays of a store are read in
LABELS_PX = 4096  # of labels, which are a byte a pixel
SEGMENTS = "segments"
MASK_CLUSTERS = 12  # most masks of an image

# The plastic number's sequence: two coordinates whose multiples fill the unit square most evenly.
_PLASTIC = 1.32471795724474602596
_STEPS = (1 / _PLASTIC, 1 / _PLASTIC**2)


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
    stored_level: int  # the level of its label pyramid that the small picture is made from
    # What else the store holds of it: a copy, and of the layers that were added those that can be shown, by name
    has_copy: bool
    added: tuple[str, ...]
    # The file it came from; None where that has gone or changed, and where the store holds a copy
    source: ImageSource | None = None
    lost: str = ""  # why there is neither, in one line; empty where there is
    own: Model | None = None  # the image's own model, with ``--scope image``
    smooth: int = 0  # at which scale, in pixels, it was smoothed to be labelled
    segments: int = 0  # how many it has
    segment_level: float | None = None  # at which they are cut

    @property
    def key(self) -> str:
        """Its name in the store."""
        return self.chosen.facts.key

    @property
    def in_window(self) -> int:
        """How often a window of the image itself is halved."""
        return min(self.level, LEVELS_IN_WINDOW)

    @property
    def labels_in_window(self) -> int:
        """How often a window of the stored level of its labels is halved."""
        return min(self.level - self.stored_level, LEVELS_IN_WINDOW)

    def views(self) -> Iterator[View]:
        """All that is to be seen: labels, pixels and added layers, each in windows on whole cells."""
        side = max(LABELS_PX, 1 << self.labels_in_window)
        for window in tile_windows(*level_shape(self.shape, self.stored_level), side):
            yield View(self, "labels", *window)
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
    layer: str  # ``labels``, ``pixels``, or an added layer
    rows: slice
    columns: slice
    sampled: int = 0
    points: int = 0

    def patch(self, pixels: NDArray[Any], level: int) -> Patch:
        """A part of the small picture ``level`` times halved."""
        return Patch(self.rows.start >> level, self.columns.start >> level, pixels)


@dataclass(frozen=True, slots=True)
class PixelSample:
    """Some pixels."""

    colors: U8  # uint8 (n, 3): as they are shown
    labels: I64  # int64 (n,): their clusters
    # int64 and float64 (k,): of more pixels than these, how many of each cluster were sampled, and the sum of their
    # squared distances to its centroid, in squared feature units
    counts: I64
    squares: F64


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
    levels = image.levels
    height, width = levels[0].shape
    level = thumbnails.level_for((height, width), plan.longest)
    source, lost = None, ""
    if image.image is None:
        try:
            source = plan.originals.open(image)
        except UnreadableImage as error:
            lost = error.reason
    return Subject(
        chosen=chosen,
        shape=(height, width),
        level=level,
        k=0 if model is None else model.k,
        stored_level=min(level, len(levels) - 1),
        has_copy=image.image is not None,
        added=tuple(layer.name for layer in LAYERS.values() if _is_shown(layer, image)),
        source=source,
        lost=lost,
        own=own,
        smooth=image.attributes.get("smooth", 0),
        segments=count_of_segments(image),
        segment_level=level_of(image),
    )


def _is_shown(layer: Layer, image: StoredImage) -> bool:
    """Whether a layer that was added is a picture of its own; classes are labels in other colours."""
    if not layer.added or layer.of_model:
        return False
    array = image.layer(layer)
    if layer.name == SEGMENTS:
        return array is not None and level_of(image) is not None and hierarchy_facts(image.store, image.key) is not None
    return array is not None and (layer.are_labels or array.dtype.name in ("bool", "uint8"))


# ---------------------------------------------------------------------------------------------------- one window


def see(view: View, plan: ViewPlan) -> Patch | PixelView:
    """A part of the small picture of labels or of an added layer; or what is seen of pixels.

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
    layer, level = LAYERS[view.layer], subject.in_window
    if layer.name == SEGMENTS:
        contours = contours_of_image(StoredImage(plan.store, subject.key), window)
        return view.patch(thumbnails.halved_contours(np.moveaxis(contours, 0, -1), level), level)
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
        return piece.read(None if model is None or model.bands is None else model.bands.bands, original=True)
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


# ----------------------------------------------------------------------------------------------- a few of its pixels


def even_positions(shape: tuple[int, int], count: int) -> tuple[I64, I64]:
    """Rows and columns of ``count`` pixels spread evenly over a window; pixels may come twice in a small one.

    References
    ----------
    Roberts, M. (2018). The unreasonable effectiveness of quasirandom sequences.
    """
    steps = np.arange(1, count + 1, dtype=np.float64)
    rows, columns = ((np.mod(0.5 + steps * step, 1.0) * side) for step, side in zip(_STEPS, shape, strict=True))
    return rows.astype(np.int64), columns.astype(np.int64)


def quotas(sizes: Sequence[int], total: int) -> list[int]:
    """``total`` shared out in proportion to sizes, exactly: what is rounded off here is given there."""
    whole = sum(sizes)
    ends = [total * int(end) // whole if whole else 0 for end in np.cumsum([0, *sizes], dtype=object)]
    return [after - before for before, after in pairwise(ends)]


def sample_pixels(
    pixels: Pixels, shown: U8, model: Model, output: OutputSettings, count: int, kept: int
) -> PixelSample:
    """Sample ``count`` pixels of a window, and keep ``kept`` of them; those not valid are passed over."""
    rows, columns = even_positions(pixels.samples.shape[:2], count)
    if pixels.valid is not None:
        good = pixels.valid[rows, columns]
        rows, columns = rows[good], columns[good]
    chosen = np.ascontiguousarray(pixels.samples[rows, columns])
    if not len(chosen):
        return PixelSample(
            np.empty((0, 3), np.uint8), np.empty(0, np.int64), np.zeros(model.k, np.int64), np.zeros(model.k)
        )
    labels = labels_of(Pixels(chosen[None]), model, output)[0].astype(np.int64)
    assert labels.max() < invalid_label(model.k)  # all of them are valid
    squared = ((_features_of(model, chosen) - model.centroids[labels]) ** 2).sum(axis=1)
    return PixelSample(
        shown[rows, columns][:kept],
        labels[:kept],
        np.bincount(labels, minlength=model.k),
        np.bincount(labels, weights=squared, minlength=model.k).astype(np.float64),
    )


def _features_of(model: Model, samples: NDArray[Any]) -> F64:
    """Features float64 (n, d) of pixels (n, c): sRGB, or a bands model's samples."""
    if model.bands is not None:
        return model.bands.features_of(samples.astype(np.float64))
    red, green, blue = samples.T.astype(np.uint32)
    space = feature_space(model.features)
    points = space.points(np.asarray(red << 16 | green << 8 | blue, np.uint32))
    return space.to_features(points.T.astype(np.float64))


def joined(samples: Sequence[PixelSample]) -> PixelSample | None:
    """The samples of several windows, or of several images of one model, as one; None of none."""
    if not samples:
        return None
    squares = np.array([[sample.squares[j] for sample in samples] for j in range(len(samples[0].squares))])
    return PixelSample(
        np.concatenate([sample.colors for sample in samples]),
        np.concatenate([sample.labels for sample in samples]),
        np.sum([sample.counts for sample in samples], axis=0),
        np.array([math.fsum(row) for row in squares.tolist()]),
    )


# ---------------------------------------------------------------------------------------------------- all windows


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was seen of an image: what `see` gave of each view, or in one line why it gave nothing."""

    subject: Subject
    parts: list[tuple[View, Patch | PixelView | str]]

    def of(self, layer: str) -> list[Any]:
        """What was seen of one layer."""
        return [part for view, part in self.parts if view.layer == layer]


@dataclass(frozen=True, slots=True)
class SmallHierarchy:
    """What the segments of a small picture are cut from at any level."""

    file: bytes  # a PNG, as `thumbnails.hierarchy_file` writes it
    # Of the image itself: how many segments there are, at which level, and at which step of contours that is
    count: int
    level: float
    step: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """An image's pictures as files, and its sample of pixels; small enough to be sent."""

    segmented: bytes  # a PNG's bytes
    original: bytes | None = None  # the same of the original (WebP); None where there is none
    added: tuple[tuple[str, bytes], ...] = ()  # (name, PNG) of each layer that was added
    lost: str = ""  # why there is no original; empty where there is
    masks: tuple[tuple[int, bytes], ...] = ()  # (cluster, PNG) of the largest clusters; empty where they are not shown
    painted: tuple[bytes, ...] = ()  # a PNG for each further model
    sample: PixelSample | None = None  # some of its pixels; None where there are none
    hierarchy: SmallHierarchy | None = None  # of its segments, to be cut on the page; None where there are none

    @property
    def by_name(self) -> dict[str, bytes]:
        """Those shown on an image's card."""
        original = {} if self.original is None else {"original": self.original}
        return {**original, "segmented": self.segmented, **dict(self.added)}

    @property
    def size_bytes(self) -> int:
        """Of those shown on an image's card."""
        return sum(map(len, self.by_name.values())) + (0 if self.hierarchy is None else len(self.hierarchy.file))


def assemble(seen: Seen, plan: ViewPlan) -> Pictures:
    """The pictures of one image.

    Raises
    ------
    StoreError
        If labels or added layers could not be read, or there are labels that are no cluster.
    """
    subject = seen.subject
    for part in (part for name in ("labels", *subject.added) for part in seen.of(name)):
        if isinstance(part, str):
            raise StoreError(part)
    facts, rest = subject.chosen.facts, subject.level - subject.in_window
    shape = level_shape(subject.shape, subject.in_window)
    labels = _small_labels(subject, seen.of("labels"))
    views = seen.of("pixels")
    lost = next((view for view in views if isinstance(view, str)), None)
    original, painted = None, []
    if lost is not None:
        views = []
    if views:
        small = put_together((view.small for view in views), shape, 0)
        original = thumbnails.original_file(thumbnails.finish_mean(small, rest))
        for at, other in enumerate(plan.others_for(subject.key)):
            invalid = invalid_label(other.k)
            whole = put_together((view.painted[at] for view in views), shape, invalid)
            painted.append(thumbnails.segmented_file(thumbnails.mode_cells(whole, invalid, rest), other.colors))
    colors, added = np.array(facts.colors, np.uint8).reshape(-1, 3), []
    hierarchy: U8 | None = None
    for name in subject.added:
        if name == SEGMENTS:
            hierarchy = thumbnails.halved_contours(put_together(seen.of(name), shape, thumbnails.INVALID), rest)
            whole = thumbnails.pixels_of(thumbnails.segmented_file(labels, colors) if original is None else original)
            file = thumbnails.segments_file(_small_segments(hierarchy, subject), whole)
        elif LAYERS[name].are_labels:
            file = thumbnails.segmented_file(_put_labels_together(subject, seen.of(name), shape, rest), colors)
        else:
            whole = put_together(seen.of(name), shape, 0)
            file = thumbnails.gray_file(thumbnails.finish_mean(whole[..., None], rest)[..., 0])
        added.append((name, file))
    return Pictures(
        thumbnails.segmented_file(labels, colors),
        original,
        tuple(added),
        subject.lost if lost is None else lost,
        tuple((j, thumbnails.gray_file(labels == j)) for j in _masks_of(subject, labels, plan)),
        tuple(painted),
        joined([view.sample for view in views if view.sample is not None]),
        None if hierarchy is None else _hierarchy(hierarchy, subject),
    )


def _small_segments(contours: U8, subject: Subject) -> NDArray[np.int32]:
    """Segments of the small picture at the level of the store."""
    assert subject.segment_level is not None
    return cut_window(np.moveaxis(contours, -1, 0), SegmentSettings(subject.segment_level).most)


def _hierarchy(contours: U8, subject: Subject) -> SmallHierarchy:
    assert subject.segment_level is not None
    step = SegmentSettings(subject.segment_level).most
    return SmallHierarchy(thumbnails.hierarchy_file(contours), subject.segments, subject.segment_level, step)


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
