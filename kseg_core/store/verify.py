"""Is what a store holds right?  Findings, not exceptions: a damaged image must not hide the next.

An image is looked at window by window (`verify_window`), in one place or by many workers. What they have seen is
merged, and judged here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce

from ..clustering.labelling import NO_COLORS, invalid_label
from ..config import OutputSettings
from ..errors import StoreError
from ..layers import LAYERS
from ..layers.tiles import Region
from . import ome
from .chunks import missing_chunks
from .model import Model
from .nodes import read_document
from .opening import StoredImage
from .originals import Originals
from .record import ImageRecord
from .stored_image import DAMAGE
from .verify_place import wrong_places
from .verify_subject import Subject, image_windows, is_as_large_as_said, is_large
from .verify_window import (
    EDGES,
    LEVELS,
    OPENING,
    SOURCE,
    TROUBLES,
    Seen,
    Step,
    other_than_source,
    see,
    see_alone,
    unread,
)
from .verify_window import LABELS as OF_LABELS
from .writing import LABELS, image_folder

TILES_NAMED = 8  # of those that are missing


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


def verify_image(
    store: str,
    key: str,
    originals: Originals | None,
    shared: Model | None,
    output: OutputSettings | None = None,
) -> Findings:
    """Verify one image of a store.

    Parameters
    ----------
    store, key
        Which.
    originals
        Where the store's images came from; None: the source is not to be read.
    shared
        The model of all images; None where each has its own.
    output
        The run's settings, which say whether masks were made; None: whatever is there.
    """
    try:
        subject = _subject(store, key, originals, shared, output)
        return _judged(subject, reduce(Seen.merge, (see(subject, window) for window in subject.windows), Seen()))
    except TROUBLES as error:
        return cannot_be_read(key, error)


def _subject(
    store: str, key: str, originals: Originals | None, shared: Model | None, output: OutputSettings | None
) -> Subject:
    image = StoredImage(store, key)
    return Subject(image, shared if shared is not None else image.model, originals, output)


def cannot_be_read(key: str, why: object) -> Findings:
    """Nothing else is known of an image."""
    return Findings((f"{key}: cannot be read ({why})",))


# ------------------------------------------------------------------------------------- a large image, by many workers


def large_shape(store: str, key: str) -> tuple[int, int] | None:
    """(height, width) of an image of several windows, which may be looked at one by one.

    None where it has only one, and where something about it must be told first: `verify_image` does.
    """
    try:
        height, width = read_document(image_folder(store, key))["attributes"]["kseg"]["shape"]
        shape = (height, width)
        return shape if is_large(shape) and is_as_large_as_said(StoredImage(store, key)) else None
    except TROUBLES:
        return None


def see_window(
    store: str,
    key: str,
    window: Region,
    originals: Originals | None,
    shared: Model | None,
    output: OutputSettings | None = None,
) -> Seen:
    """Look at one of an image's windows (`image_windows`); other parameters as of `verify_image`."""
    try:
        return see(_subject(store, key, originals, shared, output), window)
    except TROUBLES as error:
        return unread(OPENING, window, error)


def judge_image(
    store: str, key: str, seen: Seen, shared: Model | None, output: OutputSettings | None = None
) -> Findings:
    """The findings of `verify_image`, of an image all of whose windows were seen."""
    try:
        return _judged(_subject(store, key, None, shared, output), seen)
    except TROUBLES as error:
        return cannot_be_read(key, error)


# --------------------------------------------------------------------------------------------------- what was seen


def _judged(subject: Subject, seen: Seen) -> Findings:
    """What it means.

    Raises
    ------
    StoreError
        If something could not be read; like one who looks at all in turn this tells the first such thing alone.
    """
    key = subject.image.key

    def readable(step: Step) -> None:
        if seen.trouble is not None and seen.trouble.step <= step:
            raise StoreError(seen.trouble.text)

    readable(OPENING)
    if subject.lacking is not None:
        return Findings((f"{key}: {subject.lacking}",))
    readable(EDGES)
    of_places = [f"{key}: {line}" for line in wrong_places(subject.image)]
    of_alone = (*_of_layers_alone(subject, seen), *of_places)
    if not subject.has_labels:
        if "counts" in subject.image.attributes:
            return Findings((f"{key}: its labels are missing", *of_alone))
        missing = [f"{key}: {layer.lacking}" for layer, array in subject.alone() if array is None]
        return Findings((*missing, *of_places) if missing else of_alone)
    if subject.odd_labels is not None:
        return Findings((f"{key}: {subject.odd_labels}", *of_alone))
    readable(OF_LABELS)
    problems = _of_labels(subject, seen)
    readable(LEVELS)
    for at, pyramid in enumerate(subject.pyramids):
        there = len(pyramid.levels)
        if there != pyramid.told:
            problems.append(f"level {min(pyramid.told, there)} of its {pyramid.what} is missing")
        for level in range(1, min(pyramid.told, there)):
            readable((LEVELS[0], at, level))
            wrong = seen.levels[at, level]
            if wrong:
                problems.append(f"{wrong} pixels of level {level} of its {pyramid.what} are not of the level above")
    problems += _wrong_documents(subject)
    readable(SOURCE)
    problems += [] if seen.why else _of_source(seen)
    counts = tuple(seen.clusters[j] for j in range(subject.k))
    return Findings((*(f"{key}: {line}" for line in problems), *of_alone), seen.why is None, counts, seen.why)


def verify_alone(image: StoredImage) -> tuple[str, ...]:
    """Are the layers of an image that need no labels whole, where it has any?"""
    subject = Subject(image)
    seen = reduce(Seen.merge, (see_alone(subject, window) for window in image_windows(subject.shape)), Seen())
    return (*_of_layers_alone(subject, seen), *(f"{image.key}: {line}" for line in wrong_places(image)))


def _of_layers_alone(subject: Subject, seen: Seen) -> Iterator[str]:
    """Are the layers that need no labels there that the run was to make, and are those that are there whole?"""
    key = subject.image.key
    for layer, array in subject.alone():
        if array is None:
            if subject.output is not None and layer.is_wanted(subject.output, subject.k):
                yield f"{key}: {layer.lacking}"
        elif (odd := layer.oddness(array, subject.layout)) is not None:
            yield f"{key}: {odd}"
        elif layer.counted is not None:
            told, found = dict(array.attrs["kseg"])[layer.counted], seen.pixels[layer.name]  # type: ignore[arg-type]
            if found != told:
                yield f"{key}: its {layer.name} have {found} pixels, its attributes say {told}"


def _of_labels(subject: Subject, seen: Seen) -> list[str]:
    """Do labels, masks, confidence and what is said of them agree?"""
    problems = []
    facts, pixels = subject.image.attributes, seen.pixels
    for layer, _ in subject.of_labels():
        if pixels[layer.name]:
            problems.append(layer.disagrees.format(pixels[layer.name]))
    if pixels["stray"]:
        problems.append("labels that are no cluster")
    counts = [seen.clusters[j] for j in range(subject.k)]
    if counts != list(facts["counts"]) or pixels["invalid"] != facts["invalid"]:
        problems.append("the labels' counts are not those in its attributes")
        problems += _missing_tiles(subject, pixels["invalid"] - facts["invalid"])
    return problems


def _missing_tiles(subject: Subject, lost: int) -> list[str]:
    """Names the tiles of labels that have no file, where more pixels are invalid than were when they were written."""
    if lost <= 0:
        return []
    labels = subject.labels
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
        listed = read_document(index)["attributes"] == ome.labels_index(["kmeans"])
    except (*DAMAGE, StoreError):
        listed = False
    if not listed:
        problems.append("labels/zarr.json, which lists its labels, is missing or damaged")
    record = ImageRecord.from_attributes(image.key, image.attributes)
    told = read_document(os.path.join(image.path, LABELS))["attributes"]
    colors = NO_COLORS if model is None else model.colors
    if len(record.counts) == len(colors):  # where it is not, the labels have said so
        scale, (unit, _) = image.pixel_scale
        pyramid = ome.multiscales("kmeans", image.level_count, scale, unit)
        counts, invalid = list(record.counts), invalid_label(len(colors))
        expected = ome.label_image(colors, counts, invalid, record.invalid, pyramid)
        if told != {**expected, "kseg": record.origin()}:
            problems.append("what is said with its labels is not what is said of the image and its model")
    of_sums = None if record.sums is None or model is None else model.space.inertia(record.sums, model.points)
    if record.attributes() != image.attributes or of_sums not in (None, record.inertia):
        problems.append("its attributes do not agree with each other")
    return problems


def _of_source(seen: Seen) -> list[str]:
    """Are the labels, and what else is made of pixels, those of the source's pixels?"""
    found = ((layer, seen.pixels[other_than_source(layer)]) for layer in reversed(LAYERS.values()))
    return [layer.differs.format(wrong) for layer, wrong in found if wrong and not seen.pixels[layer.name]]
