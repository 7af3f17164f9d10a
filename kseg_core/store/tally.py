"""What an image of a store holds, window by window, as counts that add up to those of the image.

Windows are independent of each other: they may be counted in any order, anywhere, and are merged. What the counts mean
is for `verify` to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import invalid_label, label_dtype
from ..config import OutputSettings
from ..errors import StoreError, UnreadableImage
from .arrays import NO_CONFIDENCE
from .model import Model
from .opening import StoredImage
from .originals import Originals
from .pyramid import mean_of_blocks, mode_of_blocks
from .tiles import level_shape, source_window, tile_windows, window_of_level

if TYPE_CHECKING:
    import zarr

VERIFY_PX = 4096  # side of the windows arrays are compared in

Window = tuple[slice, slice]
Step = tuple[int, int, int]

# What is counted, in this order; of levels also which pyramid, and which level of it.
OPENING: Step = (0, 0, 0)
EDGES: Step = (1, 0, 0)
LABELS: Step = (2, 0, 0)
LEVELS: Step = (3, 0, 0)
SOURCE: Step = (4, 0, 0)

NOT_READ = "its source is not to be read"
TROUBLES = (StoreError, OSError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError)


def image_windows(shape: tuple[int, int]) -> Iterator[Window]:
    """The windows in which an image is verified, row by row."""
    return tile_windows(*shape, VERIFY_PX)


def is_large(shape: tuple[int, int]) -> bool:
    """Whether an image of this shape is verified in more than one window."""
    return max(shape) > VERIFY_PX


def is_as_large_as_said(image: StoredImage) -> bool:
    """Whether its labels or its edges are of the shape that its attributes say."""
    arrays = (image.labels if image.has_labels else None, image.edges)
    return any(array is not None and list(array.shape) == image.attributes["shape"] for array in arrays)


# ------------------------------------------------------------------------------------------------------- the image


class Pyramid(NamedTuple):
    """The levels of an array: what they are of, how many there are to be, those there are, and how they are made."""

    what: str
    stated: int
    levels: list[zarr.Array[Any]]
    made: Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Subject:
    """An image that is verified: what its arrays must be.

    Parameters
    ----------
    image
        As it is stored.
    model
        What it was labelled with; None: nothing.
    originals
        Where the store's images came from; None: the source is not to be read.
    output
        The run's settings, which say what was made; None: whatever is there.
    """

    image: StoredImage
    model: Model | None = None
    originals: Originals | None = None
    output: OutputSettings | None = None

    @property
    def k(self) -> int:
        """Number of clusters."""
        return 0 if self.model is None else self.model.k

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), by what is said of it."""
        height, width = self.image.attributes["shape"]
        return height, width

    @property
    def windows(self) -> Iterator[Window]:
        """The windows it is verified in, row by row; none where no array is as large as it is said to be."""
        if "shape" not in self.image.attributes:
            return iter(())
        if is_large(self.shape) and not is_as_large_as_said(self.image):
            return iter(())  # a number that is damaged may stand for any number of windows
        return image_windows(self.shape)

    @cached_property
    def pyramids(self) -> list[Pyramid]:
        """Its levels: of the labels, and of the copy where there is one."""
        mode = partial(mode_of_blocks, invalid=invalid_label(self.k))
        stated = self.image.level_count
        pyramids = [Pyramid("labels", stated, self.image.levels, mode)]
        if self.image.image is not None:
            pyramids.append(Pyramid("copy", stated, self.image.image_levels, mean_of_blocks))
        return pyramids

    @cached_property
    def lacking(self) -> str | None:
        """What the run made, and is not there any more."""
        output, image = self.output, self.image
        if output is None:
            return None
        if self.model is not None and output.writes_masks(self.model.k) and not image.has_masks:
            return "its masks are missing"
        if output.confidence and not image.has_confidence:
            return "its confidence is missing"
        return "its copy of the image is missing" if output.copy_image and image.image is None else None

    @cached_property
    def odd_edges(self) -> str | None:
        """What its edges are, where that is not what they must be."""
        edges = self.image.edges
        if edges is None or (edges.shape == self.shape and edges.dtype == np.bool_):
            return None
        return f"its edges are {edges.dtype} {edges.shape}, expected bool {self.shape}"

    @cached_property
    def odd_labels(self) -> str | None:
        """What its labels, and what is made of them, are, where that is not what they must be."""
        if self.image.attributes.get("status") != "complete":
            return "not complete"
        k, shape = self.k, self.shape
        labels, masks, confidence = self.image.labels, self.image.masks, self.image.confidence
        if labels.shape != shape or labels.dtype != label_dtype(k):
            return f"labels are {labels.dtype} {labels.shape}, expected {label_dtype(k)} {shape}"
        if masks is not None and masks.shape != (k, *shape):
            return f"masks are {masks.shape}, expected {(k, *shape)}"
        if confidence is not None and (confidence.shape != shape or confidence.dtype != np.uint8):
            return f"its confidence is {confidence.dtype} {confidence.shape}, expected uint8 {shape}"
        return None


# ------------------------------------------------------------------------------------------------------ its counts


class Trouble(NamedTuple):
    """Something that could not be read; the first one hides all others.

    Parameters
    ----------
    step
        What was counted.
    corner
        Row and column of the window.
    text
        What is said of it.
    """

    step: Step
    corner: tuple[int, int]
    text: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What windows of an image come to; ``merge`` is associative and commutative.

    Parameters
    ----------
    pixels
        By what they are: how many edges (``edge``) and labels that are invalid (``invalid``) or no cluster
        (``stray``); how many masks (``mask``) and confidences (``confidence``) do not agree with the labels; and not
        with the source: labels (``wrong``), confidences (``unsure``) and samples of the copy (``other``).
    clusters
        How many labels there are of each cluster.
    levels
        How many pixels of a level, by pyramid and level, are not of the level above.
    why
        Why the source was not compared with, if so: the same of all windows, or the first of the reasons by letters.
    trouble
        What could not be read, the first of it.
    """

    pixels: Counter[str] = field(default_factory=Counter)
    clusters: Counter[int] = field(default_factory=Counter)
    levels: Counter[tuple[int, int]] = field(default_factory=Counter)
    why: str | None = None
    trouble: Trouble | None = None

    @classmethod
    def unread(cls, step: Step, window: Window, why: object) -> Tally:
        """That something of a window cannot be read."""
        rows, columns = window
        return cls(trouble=Trouble(step, (rows.start, columns.start), str(why)))

    def merge(self, other: Tally) -> Tally:
        troubles = [each.trouble for each in (self, other) if each.trouble is not None]
        return Tally(
            self.pixels + other.pixels,
            self.clusters + other.clusters,
            self.levels + other.levels,
            min((each.why for each in (self, other) if each.why is not None), default=None),
            min(troubles, default=None),
        )


def tally(subject: Subject, window: Window) -> Tally:
    """Count a window of all arrays of an image: edges, labels and what is made of them, levels, and the source.

    Of a level that part is read that this window of level 0 answers for (`tiles.window_of_level`); of the source the
    pieces that begin in it.
    """
    counted, step = Tally(), EDGES
    image = subject.image
    try:
        if subject.lacking is not None:
            return counted
        counted = tally_edges(subject, window)
        step = LABELS
        if not image.has_labels or subject.odd_labels is not None:
            return counted
        counted = counted.merge(tally_labels(subject.k, image.labels, image.masks, image.confidence, window))
        step = LEVELS
        for at, pyramid in enumerate(subject.pyramids):
            for level in range(1, min(pyramid.stated, len(pyramid.levels))):
                step = (LEVELS[0], at, level)
                wrong = _wrong_pixels(subject.shape, pyramid, level, window)
                counted = counted.merge(Tally(levels=Counter({(at, level): wrong})))
        step = SOURCE
        return counted.merge(_tally_source(subject, window))
    except TROUBLES as error:
        return counted.merge(Tally.unread(step, window, error))


def tally_edges(subject: Subject, window: Window) -> Tally:
    """How many edges there are in a window."""
    edges = subject.image.edges
    if edges is None or subject.odd_edges is not None:
        return Tally()
    return Tally(Counter(edge=int(np.count_nonzero(np.asarray(edges[window])))))


def tally_labels(
    k: int,
    labels_of_all: zarr.Array[Any],
    masks: zarr.Array[Any] | None,
    confidence: zarr.Array[Any] | None,
    window: Window,
) -> Tally:
    """Labels of ``k`` clusters, and whether masks and confidence agree with them, where there are any."""
    rows, columns = window
    invalid = invalid_label(k)
    labels = np.asarray(labels_of_all[window])
    values = np.bincount(labels.reshape(-1), minlength=invalid + 1)
    pixels = Counter(invalid=int(values[-1]), stray=int(values[k:-1].sum()))
    for j in range(0 if masks is None else k):
        pixels["mask"] += int((np.asarray(masks[j, rows, columns]) != (labels == j)).sum())  # type: ignore[index]
    if confidence is not None:
        rated = np.asarray(confidence[window]) != NO_CONFIDENCE
        pixels["confidence"] = int((rated != (labels != invalid)).sum())
    return Tally(pixels, Counter(dict(enumerate(values[:k].tolist()))))


def _wrong_pixels(shape: tuple[int, int], pyramid: Pyramid, level: int, window: Window) -> int:
    """How many pixels of a level are not what they are made of, where this window answers for them.

    Raises
    ------
    StoreError
        If the level is no half of the one above.
    """
    finer, array = pyramid.levels[level - 1], pyramid.levels[level]
    height, width = finer.shape[-2:]
    if array.shape != (*finer.shape[:-2], *level_shape((height, width), 1)) or array.dtype != finer.dtype:
        raise StoreError(f"level {level} is {array.dtype} {array.shape}, made from {finer.dtype} {finer.shape}")
    part = window_of_level(shape, level, window, VERIFY_PX)
    if part is None:
        return 0
    rows, columns = part
    down, across = source_window((height, width), 1, rows, columns)
    wrong = 0
    for plane in np.ndindex(array.shape[:-2]):  # of a copy: one a band
        expected = pyramid.made(np.asarray(finer[(*plane, down, across)]))
        wrong += _differing(expected, np.asarray(array[(*plane, rows, columns)]))
    return wrong


def _differing(a: NDArray[Any], b: NDArray[Any]) -> int:
    """How many values are not the same; NaN is the same as NaN."""
    return int(np.count_nonzero((a != b) & ((a == a) | (b == b))))


def _tally_source(subject: Subject, window: Window) -> Tally:
    """Label the source's pixels anew, piece by piece, and compare."""
    model, image = subject.model, subject.image
    labels, confidence, copy = image.labels, image.confidence, image.image
    if model is None:
        return Tally(why="an image without a valid pixel")
    if subject.originals is None:
        return Tally(why=NOT_READ)
    pixels = Counter[str]()
    (top, bottom), (left, right) = ((part.start, part.stop) for part in window)
    try:
        source = subject.originals.open(image)
        bands = None if model.bands is None else model.bands.bands
        for piece in source.pieces(labels.chunks[0]):
            if not (top <= piece.top < bottom and left <= piece.left < right):
                continue
            own = piece.read_for(bands)
            anew = model.label(own.samples, own.valid, confidence=confidence is not None)
            pixels["wrong"] += int((anew.labels != np.asarray(labels[piece.rows, piece.columns])).sum())
            if confidence is not None and anew.confidence is not None:
                stored = np.asarray(confidence[piece.rows, piece.columns])
                pixels["unsure"] += int((anew.confidence != stored).sum())
            for band in range(0 if copy is None else own.samples.shape[2]):
                copied = np.asarray(copy[band, piece.rows, piece.columns])  # type: ignore[index]
                pixels["other"] += _differing(own.samples[..., band], copied)
    except UnreadableImage as error:
        return Tally(why=error.reason)
    except OSError as error:
        return Tally(why=f"its source cannot be read ({error.strerror or error})")
    return Tally(pixels)
