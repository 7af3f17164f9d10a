"""What a window of an image of a store holds, as counts that add up to those of the image.

Windows are independent of each other: they may be looked at in any order, anywhere, and are merged. What the counts
mean is for `verify` to say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ..errors import StoreError, UnreadableImage
from ..layers import LABEL_LAYER, LAYERS
from ..layers.layer import Layer, Window, differing, stored
from ..layers.tiles import Region, grown, level_shape, source_window
from .verify_subject import Pyramid, Subject

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
        How many labels are invalid (``invalid``) or no cluster (``stray``); by layer how many pixels a layer that
        needs no labels has, and how many of another do not agree with the labels; and how many are not those of the
        source (`other_than_source`).
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


def see(subject: Subject, window: Region) -> Seen:
    """Look at a window of all arrays of an image: edges, labels and what is made of them, levels, and the source.

    Of a level that part is looked at that this window of level 0 answers for (`tiles.window_of_level`); of the source
    the pieces that begin in it.
    """
    seen, step = Seen(), EDGES
    try:
        if subject.lacking is not None:
            return seen
        seen = see_alone(subject, window)
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


def unread(step: Step, window: Region, why: object) -> Seen:
    """That something of a window cannot be read."""
    rows, columns = window
    return Seen(trouble=Trouble(step, (rows.start, columns.start), str(why)))


def see_alone(subject: Subject, window: Region) -> Seen:
    """How many pixels a window has of each layer that needs no labels, and says how many it has."""
    pixels = Counter[str]()
    for layer, array in subject.alone():
        if array is not None and layer.oddness(array, subject.layout) is None:
            pixels[layer.name] = int(np.count_nonzero(np.asarray(array[window])))
    return Seen(pixels)


def _see_labels(subject: Subject, window: Region) -> Seen:
    """Labels, and whether what goes with them agrees with them."""
    k, layout = subject.k, subject.layout
    labels = np.asarray(subject.labels[window])
    values = np.bincount(labels.reshape(-1), minlength=layout.invalid + 1)
    pixels = Counter(invalid=int(values[-1]), stray=int(values[k:-1].sum()))
    for layer, array in subject.of_labels():
        around, inner = grown(window, layer.halo, subject.shape)
        seen = Window(labels) if around == window else Window(np.asarray(subject.labels[around]), inner=inner)
        pixels[layer.name] += layer.disagreeing(array, seen, window, layout)
    return Seen(pixels, Counter(dict(enumerate(values[:k].tolist()))))


def _wrong_pixels(subject: Subject, pyramid: Pyramid, level: int, window: Region) -> int:
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
        wrong += differing(expected, np.asarray(array[(*plane, rows, columns)]))
    return wrong


def _compare_with_source(subject: Subject, window: Region) -> Seen:
    """Label the source's pixels anew, piece by piece, and compare."""
    model, originals = subject.model, subject.originals
    if model is None:
        return Seen(why="an image without a valid pixel")
    if originals is None:
        return Seen(why=NOT_READ)
    arrays = [(LABEL_LAYER, subject.labels), *subject.of_labels()]
    of_pixels = [(layer, array) for layer, array in arrays if layer.source == "pixels"]
    pixels = Counter[str]()
    (top, bottom), (left, right) = ((part.start, part.stop) for part in window)
    try:
        source = originals.open(subject.image)
        bands = None if model.bands is None else model.bands.bands
        for piece in source.pieces(subject.labels.chunks[0]):
            if not (top <= piece.top < bottom and left <= piece.left < right):
                continue
            own = piece.read_for(bands)
            anew = model.label(own.samples, own.valid, confidence=subject.array(LAYERS["confidence"]) is not None)
            made = Window(anew.labels, own.samples, own.valid, anew.confidence)
            layout = replace(subject.layout, copy_bands=own.samples.shape[2])
            for layer, array in of_pixels:
                for first, values in layer.planes(made, layout):
                    there = stored(array, first, (piece.rows, piece.columns))
                    pixels[other_than_source(layer)] += differing(values, there)
    except UnreadableImage as error:
        return Seen(why=error.reason)
    except OSError as error:
        return Seen(why=f"its source cannot be read ({error.strerror or error})")
    return Seen(pixels)


def other_than_source(layer: Layer) -> str:
    """Under which name the pixels of a layer are counted that are not those of the source."""
    return f"{layer.name}, source"
