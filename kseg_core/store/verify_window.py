"""What a window of an image of a store holds, as counts that add up to those of the image.

Windows are independent of each other: they may be looked at in any order, anywhere, and are merged. What the counts
mean is for `verify` to say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import invalid_label
from ..errors import StoreError, UnreadableImage
from .arrays import NO_CONFIDENCE
from .tiles import level_shape, source_window
from .verify_subject import Pyramid, Subject, Window

Step = tuple[int, int, int]

# What is looked at, in this order; of levels also which pyramid, and which level of it.
OPENING: Step = (0, 0, 0)
EDGES: Step = (1, 0, 0)
LABELS: Step = (2, 0, 0)
LEVELS: Step = (3, 0, 0)
SOURCE: Step = (4, 0, 0)

NOT_READ = "its source is not to be read"
TROUBLES = (StoreError, OSError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError)


class Trouble(NamedTuple):
    """Something that could not be read; the first one hides all others.

    Parameters
    ----------
    step
        What was looked at.
    corner
        Row and column of the window.
    text
        What is said of it.
    """

    step: Step
    corner: tuple[int, int]
    text: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What looking at windows of an image came to; ``merge`` is associative and commutative.

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

    def merge(self, other: Seen) -> Seen:
        troubles = [each.trouble for each in (self, other) if each.trouble is not None]
        return Seen(
            self.pixels + other.pixels,
            self.clusters + other.clusters,
            self.levels + other.levels,
            min((each.why for each in (self, other) if each.why is not None), default=None),
            min(troubles, default=None),
        )


def see(subject: Subject, window: Window) -> Seen:
    """Look at a window of all arrays of an image: edges, labels and what is made of them, levels, and the source.

    Of a level that part is looked at that this window of level 0 answers for (`tiles.window_of_level`); of the source
    the pieces that begin in it.
    """
    seen, step = Seen(), EDGES
    try:
        if subject.lacking is not None:
            return seen
        seen = see_edges(subject, window)
        step = LABELS
        if not subject.has_labels or subject.odd_labels is not None:
            return seen
        seen = seen.merge(_see_labels(subject, window))
        step = LEVELS
        for at, pyramid in enumerate(subject.pyramids):
            for level in range(1, min(pyramid.told, len(pyramid.levels))):
                step = (LEVELS[0], at, level)
                seen = seen.merge(Seen(levels=Counter({(at, level): _wrong_pixels(subject, pyramid, level, window)})))
        step = SOURCE
        return seen.merge(_compare_with_source(subject, window))
    except TROUBLES as error:
        return seen.merge(unread(step, window, error))


def unread(step: Step, window: Window, why: object) -> Seen:
    """That something of a window cannot be read."""
    rows, columns = window
    return Seen(trouble=Trouble(step, (rows.start, columns.start), str(why)))


def see_edges(subject: Subject, window: Window) -> Seen:
    """How many edges there are in a window."""
    if subject.edges is None or subject.odd_edges is not None:
        return Seen()
    return Seen(Counter(edge=int(np.count_nonzero(np.asarray(subject.edges[window])))))


def _see_labels(subject: Subject, window: Window) -> Seen:
    """Labels, and whether masks and confidence agree with them."""
    rows, columns = window
    k, masks, confidence = subject.k, subject.masks, subject.confidence
    invalid = invalid_label(k)
    labels = np.asarray(subject.labels[window])
    values = np.bincount(labels.reshape(-1), minlength=invalid + 1)
    pixels = Counter(invalid=int(values[-1]), stray=int(values[k:-1].sum()))
    for j in range(0 if masks is None else k):
        pixels["mask"] += int((np.asarray(masks[j, rows, columns]) != (labels == j)).sum())  # type: ignore[index]
    if confidence is not None:
        told = np.asarray(confidence[window]) != NO_CONFIDENCE
        pixels["confidence"] = int((told != (labels != invalid)).sum())
    return Seen(pixels, Counter(dict(enumerate(values[:k].tolist()))))


def _wrong_pixels(subject: Subject, pyramid: Pyramid, level: int, window: Window) -> int:
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
    part = subject.part_of_level(level, window)
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


def _compare_with_source(subject: Subject, window: Window) -> Seen:
    """Label the source's pixels anew, piece by piece, and compare."""
    model, originals, confidence, copy = subject.model, subject.originals, subject.confidence, subject.copy
    if model is None:
        return Seen(why="an image without a valid pixel")
    if originals is None:
        return Seen(why=NOT_READ)
    pixels = Counter[str]()
    (top, bottom), (left, right) = ((part.start, part.stop) for part in window)
    try:
        source = originals.open(subject.image)
        bands = None if model.bands is None else model.bands.bands
        for piece in source.pieces(subject.labels.chunks[0]):
            if not (top <= piece.top < bottom and left <= piece.left < right):
                continue
            own = piece.read_for(bands)
            anew = model.label(own.samples, own.valid, confidence=confidence is not None)
            pixels["wrong"] += int((anew.labels != np.asarray(subject.labels[piece.rows, piece.columns])).sum())
            if confidence is not None and anew.confidence is not None:
                told = np.asarray(confidence[piece.rows, piece.columns])
                pixels["unsure"] += int((anew.confidence != told).sum())
            for band in range(0 if copy is None else own.samples.shape[2]):
                kept = np.asarray(copy[band, piece.rows, piece.columns])  # type: ignore[index]
                pixels["other"] += _differing(own.samples[..., band], kept)
    except UnreadableImage as error:
        return Seen(why=error.reason)
    except OSError as error:
        return Seen(why=f"its source cannot be read ({error.strerror or error})")
    return Seen(pixels)
