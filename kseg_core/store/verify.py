"""Is what a store holds right?  Findings, not exceptions: a damaged image must not hide the next.

An image is counted window by window (`tally`), in one place or by many workers. The counts are merged, and judged here.
Of an image of which a part is damaged this also says which part can be relied on, by the checksums of chunks and by
what one array tells of another: `sound_record`, `window_is_sound`, `layer_is_sound`. Where its documents are not what
they were, or do not agree with each other, nothing of it is relied on.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..clustering.cleaning import count_differing
from ..clustering.labelling import NO_COLORS, invalid_label
from ..config import RAW, OutputSettings
from ..errors import StoreError
from ..images.geo import GRID_MAPPING, GeoReference
from ..layers import LABEL_LAYER, LAYERS, labelled_layers
from ..layers.layer import Layer, Layout, stored
from ..layers.tiles import Region
from ..reading.sources import ImageSource
from . import ome
from .manifest import added_alone, differences, read_attributes
from .model import Model
from .naming import wrong_classes
from .nodes import DAMAGE, chunk_path, missing_chunks, read_document
from .opening import StoredImage
from .originals import Originals
from .record import ImageRecord
from .segment_checks import wrong_segments
from .tally import (
    ADDED,
    LEVELS,
    OPENING,
    SOURCE,
    TROUBLES,
    Step,
    Subject,
    Tally,
    is_as_large_as_said,
    is_large,
    not_zero,
    other_than_source,
    tally,
    tally_added,
    tally_labels,
    tally_level,
)
from .tally import LABELS as OF_LABELS
from .writing import LABELS, arrays_are_sound, image_folder, labels_listed

#: By layer, what is wrong with what was counted of it by `tally.OWN_TALLY`.
OWN_JUDGE: dict[str, Callable[..., Iterator[str]]] = {"segments": wrong_segments}

TILES_NAMED = 8  # of those that are missing
UNREADABLE = (*DAMAGE, StoreError)


@dataclass(frozen=True, slots=True)
class Findings:
    """What verifying one image came to.

    Parameters
    ----------
    problems
        One line each, naming the image.
    compared
        Whether the source's pixels were labelled anew and compared.
    counts
        Pixels of each cluster as the labels say, or None where they cannot be read.
    why
        Why they were not compared, where that is known.
    """

    problems: tuple[str, ...]
    compared: bool = False
    counts: tuple[int, ...] | None = None
    why: str | None = None

    @classmethod
    def unread(cls, key: str, why: object) -> Findings:
        """Nothing else is known of an image."""
        return cls((f"{key}: cannot be read ({why})",))


@dataclass(frozen=True, slots=True)
class ImageCheck:
    """One image of a store, to be verified: as a whole, or window by window on many workers.

    In its methods ``shared`` is the model of all images; None where each has its own.

    Parameters
    ----------
    store, key
        Which.
    originals
        Where the store's images came from; None: the source is not to be read.
    output
        The run's settings, which say what was made; None: whatever is there.
    """

    store: str
    key: str
    originals: Originals | None = None
    output: OutputSettings | None = None

    def whole(self, shared: Model | None) -> Findings:
        """All of it."""
        try:
            subject = self._subject(shared)
            return _judged(subject, reduce(Tally.merge, (tally(subject, each) for each in subject.windows), Tally()))
        except TROUBLES as error:
            return Findings.unread(self.key, error)

    def window(self, window: Region, shared: Model | None) -> Tally:
        """Count one of its windows (`image_windows`)."""
        try:
            return tally(self._subject(shared), window)
        except TROUBLES as error:
            return Tally.unread(OPENING, window, error)

    def judged(self, counted: Tally, shared: Model | None) -> Findings:
        """What `whole` finds, where all windows are counted."""
        try:
            return _judged(self._subject(shared), counted)
        except TROUBLES as error:
            return Findings.unread(self.key, error)

    def _subject(self, shared: Model | None) -> Subject:
        image = StoredImage(self.store, self.key)
        return Subject(image, shared if shared is not None else image.model, self.originals, self.output)


def large_shape(store: str, key: str) -> tuple[int, int] | None:
    """(height, width) of an image of more than one window, which may be counted one by one.

    None where it has only one, and where something about it must be said first: `ImageCheck.whole` does.
    """
    try:
        height, width = read_document(image_folder(store, key))["attributes"]["kseg"]["shape"]
        shape = (height, width)
        return shape if is_large(shape) and is_as_large_as_said(StoredImage(store, key)) else None
    except TROUBLES:
        return None


# ------------------------------------------------------------------------------------------------ what counts mean


def _judged(subject: Subject, counted: Tally) -> Findings:
    """What it means.

    Raises
    ------
    StoreError
        If something could not be read; like a count of all in turn, this names the first such thing alone.
    """
    key = subject.image.key

    def readable(step: Step) -> None:
        if counted.trouble is not None and counted.trouble.step <= step:
            raise StoreError(counted.trouble.text)

    readable(OPENING)
    if subject.lacking is not None:
        return Findings((f"{key}: {subject.lacking}",))
    readable(ADDED)
    of_added = tuple(f"{key}: {line}" for line in (*_of_added(subject, counted), *_wrong_places(subject.image)))
    if not subject.image.has_labels:
        if "counts" in subject.image.attributes:
            return Findings((f"{key}: its labels are missing", *of_added))
        levels = [line for at in range(len(subject.pyramids)) for line in _of_levels(subject, at, counted, readable)]
        return Findings((*of_added, *(f"{key}: {line}" for line in levels)))
    if subject.odd_labels is not None:
        return Findings((f"{key}: {subject.odd_labels}", *of_added))
    readable(OF_LABELS)
    problems = _of_labels(subject, counted)
    readable(LEVELS)
    for at in range(len(subject.pyramids)):
        problems += _of_levels(subject, at, counted, readable)
    problems += _wrong_documents(subject)
    readable(SOURCE)
    problems += [] if counted.why else _of_source(counted)
    problems += _of_cleaning(subject, counted)
    counts = tuple(counted.clusters[j] for j in range(subject.k))
    return Findings((*(f"{key}: {line}" for line in problems), *of_added), counted.why is None, counts, counted.why)


def _of_added(subject: Subject, counted: Tally) -> Iterator[str]:
    """Are the layers there that were to be added, and are those that are there whole and as the labels make them?"""
    image, pixels = subject.image, counted.pixels
    wanted = () if subject.output is None else subject.output.arrays(subject.k, added=True)
    alone = None  # without labels the layer that the store was made for is all there is
    if not image.has_labels and "counts" not in image.attributes:
        alone = added_alone(read_attributes(os.path.dirname(os.path.dirname(image.path))) or {})
    if image.has_labels and image.complete:
        yield from wrong_classes(image, subject.model)
    for layer in subject.added_layers:
        array = image.layer(layer)
        if array is None:
            if layer.path() in wanted or layer.name == alone or image.claims(layer):
                yield layer.lacking
            continue
        if (odd := layer.oddness(array, subject.layout)) is not None:
            yield odd
            continue
        if layer.counted is not None:
            there, facts = pixels[not_zero(layer)], dict(array.attrs["kseg"])  # type: ignore[arg-type]  # it is complete
            if there != facts[layer.counted]:
                yield f"its {layer.name} have {there} pixels, its attributes say {facts[layer.counted]}"
        if (own := OWN_JUDGE.get(layer.name)) is not None:
            yield from own(image, pixels, is_whole=not is_large(subject.shape))
        elif pixels[layer.name]:
            yield layer.disagrees.format(pixels[layer.name])


def _of_levels(subject: Subject, at: int, counted: Tally, readable: Callable[[Step], None]) -> Iterator[str]:
    """Are the levels of a pyramid there, and made of each other?"""
    pyramid = subject.pyramids[at]
    there = len(pyramid.levels)
    if there != pyramid.stated:
        yield f"level {min(pyramid.stated, there)} of its {pyramid.what} is missing"
    for level in range(1, min(pyramid.stated, there)):
        readable((LEVELS[0], at, level))
        if wrong := counted.levels[at, level]:
            yield f"{wrong} pixels of level {level} of its {pyramid.what} are not of the level above"


def _of_labels(subject: Subject, counted: Tally) -> list[str]:
    """Do labels, masks, confidence and what is said of them agree?"""
    problems = []
    facts, pixels = subject.image.attributes, counted.pixels
    for layer, _ in subject.beside_labels:
        if pixels[layer.name]:
            problems.append(layer.disagrees.format(pixels[layer.name]))
    if pixels["stray"]:
        problems.append("labels that are no cluster")
    counts = [counted.clusters[j] for j in range(subject.k)]
    if counts != list(facts["counts"]) or pixels["invalid"] != facts["invalid"]:
        problems.append("the labels' counts are not those in its attributes")
        problems += _missing_tiles(subject, pixels["invalid"] - facts["invalid"])
    return problems


def _missing_tiles(subject: Subject, lost: int) -> list[str]:
    """Names the tiles of labels that have no file, where more pixels are invalid than were when they were written."""
    if lost <= 0:
        return []
    labels = subject.image.labels
    names = missing_chunks(os.path.join(subject.image.path, LABELS, "0"), labels.shape, labels.chunks)
    more = "" if len(names) <= TILES_NAMED else f" and {len(names) - TILES_NAMED} more"
    named = f"tiles {', '.join(names[:TILES_NAMED])}{more}"
    return [f"no file for {named} of its labels: {lost} pixels are lost"] if names else []


def _wrong_documents(subject: Subject) -> list[str]:
    """Is what is said of the image and of its labels what is written with such labels?"""
    image, model = subject.image, subject.model
    index = os.path.join(image.path, "labels")
    problems = []
    try:
        listed = read_document(index)["attributes"] == labels_listed(image.path)
    except (*DAMAGE, StoreError):
        listed = False
    if not listed:
        problems.append("labels/zarr.json, which lists its labels, is missing or damaged")
    record = ImageRecord.from_attributes(image.key, image.attributes)
    stated = read_document(os.path.join(image.path, LABELS))["attributes"]
    colors = NO_COLORS if model is None else model.colors
    if len(record.counts) == len(colors):  # where it is not, the labels have said so
        scale, (unit, _) = image.pixel_scale
        pyramid = ome.multiscales("kmeans", image.level_count, scale, unit)
        counts, invalid = list(record.counts), invalid_label(len(colors))
        expected = ome.label_image(colors, counts, invalid, record.invalid, pyramid)
        if stated != {**expected, "kseg": record.with_labels()} or not _raw_is_described(subject, record, colors):
            problems.append("what is said with its labels is not what is said of the image and its model")
    of_sums = None if record.sums is None or model is None else model.space.inertia(record.sums, model.points)
    if record.attributes() != image.attributes or of_sums not in (None, record.inertia):
        problems.append("its attributes do not agree with each other")
    return problems


def _raw_is_described(subject: Subject, record: ImageRecord, colors: NDArray[np.uint8]) -> bool:
    """Whether what is said of raw labels, where they are kept, is what is written with them."""
    if not subject.layout.keep_raw:
        return True
    scale, (unit, _) = subject.image.pixel_scale
    pyramid = ome.multiscales("raw", subject.image.level_count, scale, unit)
    counts, invalid = list(record.assigned), invalid_label(len(colors))
    expected = ome.label_image(colors, counts, invalid, record.invalid, pyramid)
    try:
        return bool(read_document(os.path.join(subject.image.path, RAW))["attributes"] == expected)
    except (*DAMAGE, StoreError):
        return False


def _of_source(counted: Tally) -> list[str]:
    """Are the labels, and what else is made of pixels, those of the source's pixels?"""
    wrong = ((layer, counted.pixels[other_than_source(layer)]) for layer in reversed(LAYERS.values()))
    return [layer.differs.format(count) for layer, count in wrong if count and not counted.pixels[layer.name]]


def _of_cleaning(subject: Subject, counted: Tally) -> list[str]:
    """Is every region as large as it is to be, and did nothing but smaller ones change?"""
    if subject.cleaning is None:
        return []
    of_itself = counted.why is not None and subject.raw is None
    compared, least = counted.of_labels if of_itself else counted.of_raw, subject.cleaning.least
    windows = (each.patch.window for each in compared)
    pixels = sum((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in windows)
    if pixels != math.prod(subject.shape):  # a source that was there for some windows, and then was not
        return []
    if not (wrong := count_differing(compared, subject.shape, subject.cleaning)):
        return []
    if of_itself:
        return [f"{wrong} pixels of its labels are in regions below {least} pixels that have a neighbour to go to"]
    return [f"{wrong} pixels of its labels are not what is left when regions below {least} pixels go to neighbours"]


# ------------------------------------------------------------------------------------------- places on the ground


def _wrong_places(image: StoredImage) -> list[str]:
    """A line for each grid mapping and coordinate that is missing, damaged, or not as the others say."""
    groups: dict[str, list[str]] = {}  # which have a place of their own, and the arrays that are placed by it
    for layer in LAYERS.values():
        groups.setdefault(os.path.dirname(layer.path()), []).append(layer.path())
    georeferences = {group: _georeference(image, group, arrays) for group, arrays in groups.items()}
    said = {group: geo for group, geo in georeferences.items() if isinstance(geo, GeoReference)}
    problems = [geo for geo in georeferences.values() if isinstance(geo, str)]
    for group, geo in said.items():
        first = next(iter(said))
        if geo != said[first]:
            names = " and ".join(os.path.join(each, GRID_MAPPING) for each in (first, group))
            problems.append(f"{names} say that it is in two places")
    height, width = image.attributes["shape"]
    for group, geo in said.items():
        problems += _wrong_coordinates(image, group, geo, (height, width))
    return problems


def _georeference(image: StoredImage, group: str, arrays: Sequence[str]) -> GeoReference | str | None:
    """What a group says of its place, or what is wrong with that; None where it has none."""
    name = os.path.join(group, GRID_MAPPING)
    damaged = f"{name}, which says where it is on the ground, is damaged"
    try:
        if not image.has(name):
            placed = any(image.has(a) and image.array(a).attrs.get("grid_mapping") == GRID_MAPPING for a in arrays)
            return f"{name}, which says where it is on the ground, is missing" if placed else None
        stated = dict(image.array(name).attrs)
        geo = GeoReference.from_attributes(stated)
    except UNREADABLE:
        return damaged
    return damaged if geo is None or geo.attributes() != stated else geo


def _wrong_coordinates(image: StoredImage, group: str, geo: GeoReference, shape: tuple[int, int]) -> Iterator[str]:
    described = geo.axis_attributes()
    for axis, values in geo.coordinates(shape).items():
        name = os.path.join(group, axis)
        try:
            if not image.has(name):
                yield f"{name}, the coordinates of its pixels, is missing"
                continue
            stored: Any = image.array(name)
            same = stored.shape == values.shape and stored.dtype == values.dtype
            same = same and stored.metadata.dimension_names == (axis,) and dict(stored.attrs) == described[axis]
            if not (same and np.array_equal(np.asarray(stored[...]), values)):
                yield f"{name}, the coordinates of its pixels, is not what {GRID_MAPPING} says"
        except UNREADABLE:
            yield f"{name}, the coordinates of its pixels, is damaged"


# --------------------------------------------------------------------------------------------- what can be relied on


def sound_record(path: str, source: ImageSource, layout: Layout, model: Model) -> ImageRecord | None:
    """What a store says of an image whose documents are all sound; None where one of them is not.

    Parameters
    ----------
    path
        The store.
    source
        The image's own.
    layout
        Which arrays it must have.
    model
        What it was labelled with.
    """
    key = source.file.key
    folder = image_folder(path, key)
    try:
        facts = StoredImage(path, key).attributes
        record = ImageRecord.from_attributes(key, facts)
        sound = (
            record.attributes() == {**facts, "status": "complete"}
            and record.shape == source.shape
            and len(record.counts) == model.k
            and (record.sums is None or record.inertia == model.space.inertia(record.sums, model.points))
            and record.agrees_with(read_document(os.path.join(folder, LABELS))["attributes"])
            and arrays_are_sound(folder, layout)
        )
    except UNREADABLE:
        return None
    return record if sound else None


def window_is_sound(path: str, key: str, rows: slice, columns: slice, layout: Layout) -> bool:
    """Whether a window of level 0 can be read, all of it, and its arrays agree.

    A chunk that holds nothing but fill values has no file, like one that is lost: of labels and of a copied image the
    window is then taken for damaged. Whether a copy is that of the source, only the source could tell.

    Parameters
    ----------
    path, key
        The store and the image's name in it.
    rows, columns
        The window: whole tiles, or up to the image's edge.
    layout
        Of the image, whose documents are sound.
    """
    region = (rows, columns)
    tiles = [range(part.start // layout.tile, -(-part.stop // layout.tile)) for part in region]
    try:
        image = StoredImage(path, key)
        layers = [(layer, image.layer(layer)) for layer in labelled_layers(layout)]
        arrays = [(layer, array) for layer, array in layers if array is not None]
        for layer, array in arrays:
            for first in np.ndindex(array.shape[:-2]) if layer.has_every_chunk else ():
                folder = os.path.join(image.path, layer.path())
                chunks = (chunk_path(folder, (*first, y, x)) for y in tiles[0] for x in tiles[1])
                if not all(map(storage.is_file, chunks)):
                    return False
                stored(array, first, region)  # raises where a checksum is wrong
        beside = [(layer, array) for layer, array in arrays if layer is not LABEL_LAYER]
        pixels = tally_labels(image.labels, beside, region, layout).pixels
    except UNREADABLE:
        return False
    return not any(pixels[kind] for kind in ("stray", *(layer.name for layer, _ in beside)))


def layer_is_sound(path: str, source: ImageSource, layer: Layer, model: Model | None) -> bool:
    """Whether an image has all of a layer that was added to it, made with these settings; ``model``: that of all
    images, or None.
    """
    try:
        image = StoredImage(path, source.file.key)
        if (array := image.layer(layer)) is None:
            return False
        subject, counted = Subject(image, model or image.model), Tally()
        own = [at for at, pyramid in enumerate(subject.pyramids) if pyramid.what == layer.name]
        levels = [(at, level) for at in own for level in range(1, subject.pyramids[at].stated)]
        for window in subject.windows:
            counted = reduce(
                Tally.merge, (tally_level(subject, *each, window) for each in levels), tally_added(subject, window)
            ).merge(counted)
        problems = [*_of_added(subject, counted), *_wrong_places(image), *counted.levels]
        stated: Any = array.attrs["kseg"]
        facts = layer.facts(source.file, source.mask)
        same = not differences({name: stated[name] for name in facts if name in stated}, facts)
        return same and source.file.is_as(stated) and not problems
    except (*UNREADABLE, IndexError):
        return False
