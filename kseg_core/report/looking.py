"""Looking at an image of a store: what a task reads of it, window by window."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.clustering.labelling import invalid_label
from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.layers.tiles import level_shape, tile_windows
from kseg_core.reading.sources import ImageSource, Piece, Pixels
from kseg_core.store.model import Model
from kseg_core.store.nodes import DAMAGE
from kseg_core.store.opening import StoredImage
from kseg_core.store.originals import Originals

from .cells import LEVELS_IN_WINDOW, Patch, level_for, mean_cells, mode_cells, share_of_cells
from .sampling import PixelSample, sample_pixels

GRID = 1 << LEVELS_IN_WINDOW
WINDOW_PX = 2048  # side of the windows that arrays of a store are read in
LABELS_PX = 4096  # of labels, which are a byte a pixel


@dataclass(frozen=True, slots=True)
class Subject:
    """An image to be looked at.

    Parameters
    ----------
    store, key
        Which.
    shape
        (height, width).
    level
        Of its small picture.
    k
        Number of clusters of its model; 0 for one without a valid pixel and without a model.
    stored_level
        The level of its label pyramid that the small picture is made from.
    has_copy, has_edges
        What else the store holds of it.
    source
        The file it came from; None where that has gone or changed, and where the store holds a copy.
    lost
        Why there is neither, in one line; empty where there is.
    own
        The image's own model, with ``--scope image``.
    """

    store: str
    key: str
    shape: tuple[int, int]
    level: int
    k: int
    stored_level: int
    has_copy: bool
    has_edges: bool
    source: ImageSource | None = None
    lost: str = ""
    own: Model | None = None

    @property
    def small_shape(self) -> tuple[int, int]:
        """(height, width) of the small picture."""
        return level_shape(self.shape, self.level)

    @property
    def in_window(self) -> int:
        """How often a window of the image itself is halved."""
        return min(self.level, LEVELS_IN_WINDOW)

    @property
    def has_pixels(self) -> bool:
        """Whether the original can be shown."""
        return self.has_copy or self.source is not None


def approach(store: str, key: str, originals: Originals, shared: Model | None, longest: int) -> Subject:
    """See what there is of an image.

    Parameters
    ----------
    store, key
        Which.
    originals
        Where the store's images came from.
    shared
        The model of all images; None where each has its own.
    longest
        Side of its small picture in pixels, at most.

    Raises
    ------
    StoreError
        If it is damaged or not complete.
    """
    image = StoredImage(store, key)
    if image.attributes.get("status") != "complete":
        raise StoreError("not complete")
    own = image.model if shared is None else None
    model = own or shared
    levels = image.levels
    height, width = levels[0].shape
    level = level_for((height, width), longest)
    source, lost = None, ""
    if image.image is None:
        try:
            source = originals.open(image)
        except UnreadableImage as error:
            lost = error.reason
    return Subject(
        store=store,
        key=key,
        shape=(height, width),
        level=level,
        k=0 if model is None else model.k,
        stored_level=min(level, len(levels) - 1),
        has_copy=image.image is not None,
        has_edges=image.has_edges,
        source=source,
        lost=lost,
        own=own,
    )


Window = tuple[slice, slice]


def label_windows(subject: Subject) -> list[Window]:
    """The windows of the stored level in which the small label picture is made."""
    halvings = min(subject.level - subject.stored_level, LEVELS_IN_WINDOW)
    side = max(LABELS_PX, 1 << halvings)
    return list(tile_windows(*level_shape(subject.shape, subject.stored_level), side))


def pixel_windows(subject: Subject) -> list[Window]:
    """The windows of the image itself in which its small picture is made, on whole cells."""
    if subject.has_copy:
        return list(tile_windows(*subject.shape, WINDOW_PX))
    if subject.source is None:
        return []
    return [(piece.rows, piece.columns) for piece in subject.source.pieces(GRID)]


def edge_windows(subject: Subject) -> list[Window]:
    """The same of its edges, where there are any."""
    return list(tile_windows(*subject.shape, WINDOW_PX)) if subject.has_edges else []


def look_at_labels(subject: Subject, rows: slice, columns: slice) -> Patch:
    """A part of the small label picture.

    Raises
    ------
    StoreError
        If the labels cannot be read.
    """
    halvings = min(subject.level - subject.stored_level, LEVELS_IN_WINDOW)
    array = StoredImage(subject.store, subject.key).levels[subject.stored_level]
    labels = _read(array, subject, (rows, columns))
    small = mode_cells(labels, invalid_label(subject.k), halvings)
    return Patch(rows.start >> halvings, columns.start >> halvings, small)


def look_at_edges(subject: Subject, rows: slice, columns: slice) -> Patch:
    """A part of the small picture of the edges.

    Raises
    ------
    StoreError
        If they cannot be read.
    """
    path = os.path.join(subject.store, "images", subject.key, "edges")
    try:
        array = zarr.open_array(storage.for_zarr(path), mode="r", zarr_format=3)
    except DAMAGE as error:
        raise StoreError(f"{path}: cannot be read ({error})") from error
    marked = _read(array, subject, (rows, columns)).astype(bool)
    level = subject.in_window
    return Patch(rows.start >> level, columns.start >> level, share_of_cells(marked, level))


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of a window of an image's pixels.

    Parameters
    ----------
    small
        Its part of the small picture, with the share of valid pixels as alpha.
    sample
        Some of its pixels; None without a model.
    painted
        Its part of the small label picture of each further model.
    """

    small: Patch
    sample: PixelSample | None
    painted: tuple[Patch, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Task:
    """What to do with a window.

    Parameters
    ----------
    rows, columns
        The window.
    count, kept
        Pixels to look at one by one, and how many of them to bring home.
    """

    rows: slice
    columns: slice
    count: int
    kept: int


def look_at_pixels(subject: Subject, shared: Model | None, others: tuple[Model, ...], task: Task) -> Look | str:
    """Read a window of an image.

    Parameters
    ----------
    shared
        The model of all images; None where each has its own.
    others
        Models to label the window with as well.

    Returns
    -------
    What was seen, or in one line why nothing was.
    """
    model = shared or subject.own
    try:
        pixels = read_pixels(subject, model, task.rows, task.columns)
    except (UnreadableImage, StoreError) as error:
        return error.reason if isinstance(error, UnreadableImage) else str(error)
    bands = None if model is None else model.bands
    shown = pixels.samples if bands is None else bands.shades(pixels.samples)
    level = subject.in_window
    top, left = task.rows.start >> level, task.columns.start >> level
    painted = []
    for other in others:
        labels = other.label(pixels.samples, pixels.valid).labels
        painted.append(Patch(top, left, mode_cells(labels, invalid_label(other.k), level)))
    return Look(
        Patch(top, left, mean_cells(np.ascontiguousarray(shown), pixels.valid, level)),
        None if model is None else sample_pixels(pixels, shown, model, task.count, task.kept),
        tuple(painted),
    )


def read_pixels(subject: Subject, model: Model | None, rows: slice, columns: slice) -> Pixels:
    """A window's pixels as the model needs them, from the copy in the store or from the source.

    Raises
    ------
    UnreadableImage, StoreError
        If they cannot be had.
    """
    bands = None if model is None or model.bands is None else model.bands.bands
    if not subject.has_copy:
        if subject.source is None:
            raise UnreadableImage(subject.key, subject.lost)
        piece = Piece(subject.source, rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
        return piece.read_for(bands)
    image = StoredImage(subject.store, subject.key)
    assert image.image is not None
    samples = np.ascontiguousarray(np.moveaxis(_read(image.image, subject, (slice(None), rows, columns)), 0, -1))
    valid = _read(image.labels, subject, (rows, columns)) != invalid_label(subject.k)
    return Pixels(samples, None if valid.all() else valid)


def _read(array: zarr.Array[Any], subject: Subject, window: tuple[slice, ...]) -> NDArray[Any]:
    try:
        return np.asarray(array[window])
    except DAMAGE as error:
        raise StoreError(f"{subject.key}: cannot be read ({error})") from error


def tasks_of(windows: list[Window], counts: list[int], kept: list[int]) -> Iterator[Task]:
    """A task a window."""
    for (rows, columns), count, keep in zip(windows, counts, kept, strict=True):
        yield Task(rows, columns, count, keep)
