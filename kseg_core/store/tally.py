"""What an image of a store holds, window by window, as counts that add up to those of the image.

Windows are independent of each other: they may be counted in any order, anywhere, and are merged. What the counts mean
is for `verify` to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clustering.cleaning import WINDOW_PX, Cleaning, Compared, compare
from ..clustering.labelling import Labels
from ..config import OutputSettings
from ..errors import StoreError, UnreadableImage
from ..halos import grown
from ..layers import LABEL_LAYER, LAYERS, RAW_LAYER
from ..layers.layer import Layer, LayerInput, Layout, differing, stored
from ..layers.tiles import Region, level_shape, source_window, tile_windows, window_of_level
from .model import Model, label_window
from .opening import StoredImage
from .originals import Originals
from .segment_checks import tally_segments

if TYPE_CHECKING:
    import zarr

#: By layer, what else of a window of it is counted, where its values are not made of labels.
OWN_TALLY: dict[str, Callable[[StoredImage, Region], Counter[str]]] = {"segments": tally_segments}

VERIFY_PX = 4096  # side of the windows arrays are compared in

Step = tuple[int, int, int]

# What is counted, in this order; of levels also which pyramid, and which level of it.
OPENING: Step = (0, 0, 0)
ADDED: Step = (1, 0, 0)
LABELS: Step = (2, 0, 0)
LEVELS: Step = (3, 0, 0)
SOURCE: Step = (4, 0, 0)

NOT_READ = "its source is not to be read"
TROUBLES = (StoreError, OSError, ValueError, KeyError, TypeError, RuntimeError, ArithmeticError)


def image_windows(shape: tuple[int, int]) -> Iterator[Region]:
    """The windows in which an image is verified, row by row."""
    return tile_windows(*shape, VERIFY_PX)


def is_large(shape: tuple[int, int]) -> bool:
    """Whether an image of this shape is verified in more than one window."""
    return max(shape) > VERIFY_PX


def is_as_large_as_said(image: StoredImage) -> bool:
    """Whether its labels, or a layer that needs none, are of the shape that its attributes say."""
    arrays = (image.layer(layer) for layer in LAYERS.values() if layer is LABEL_LAYER or layer.stands_alone)
    return any(array is not None and list(array.shape) == image.attributes["shape"] for array in arrays)


# ------------------------------------------------------------------------------------------------------- the image


Arrays = list[tuple[Layer, "zarr.Array[Any]"]]


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
    def windows(self) -> Iterator[Region]:
        """The windows it is verified in, row by row; none where no array is as large as it is said to be."""
        if "shape" not in self.image.attributes:
            return iter(())
        if is_large(self.shape) and not is_as_large_as_said(self.image):
            return iter(())  # a number that is damaged may stand for any number of windows
        return image_windows(self.shape)

    @cached_property
    def layout(self) -> Layout:
        """What decides its arrays, as far as they are held against it."""
        copy = self.image.image
        bands, dtype = (0, "uint8") if copy is None else (copy.shape[0], copy.dtype.name)
        return Layout(
            self.shape,
            self.k,
            VERIFY_PX,
            masks=True,
            copy_bands=bands,
            copy_dtype=dtype,
            confidence=True,
            keep_raw=self.image.has_layer(RAW_LAYER),
        )

    @cached_property
    def beside_labels(self) -> Arrays:
        """The layers that are written with the labels, and their arrays, as far as they were made."""
        layers = [layer for layer in LAYERS.values() if layer is not LABEL_LAYER and not layer.added]
        arrays = ((layer, self.image.layer(layer)) for layer in layers)
        return [(layer, array) for layer, array in arrays if array is not None]

    @cached_property
    def added_layers(self) -> list[Layer]:
        """Those that may be added, as its model has them."""
        classes = None if self.model is None else self.model.classes
        return [layer.named(classes, self.k) for layer in LAYERS.values() if layer.added]

    @cached_property
    def added(self) -> Arrays:
        """The layers that were added, and their arrays, as far as they are what they must be."""
        arrays = ((layer, self.image.layer(layer)) for layer in self.added_layers)
        return [(layer, a) for layer, a in arrays if a is not None and layer.oddness(a, self.layout) is None]

    @cached_property
    def cleaning(self) -> Cleaning | None:
        """How its labels were cleaned; None: they were not."""
        least = self.image.attributes.get("min_region")
        return None if least is None or self.model is None else Cleaning(least, self.model.centroids)

    @cached_property
    def raw(self) -> zarr.Array[Any] | None:
        """Its labels before that, where they were kept."""
        return self.image.layer(RAW_LAYER) if self.cleaning is not None else None

    @cached_property
    def pyramids(self) -> list[Pyramid]:
        """Of each layer that has one, those that were added first."""
        with_labels = ((LABEL_LAYER, None), *self.beside_labels) if self.image.has_labels else ()
        layers = [layer for layer, _ in (*self.added, *with_labels)]
        return [
            Pyramid(
                layer.name,
                self.image.level_count if self.image.has_labels else len(self.image.layer_levels(layer)),
                self.image.layer_levels(layer),
                partial(layer.halved, layout=self.layout),
            )
            for layer in layers
            if layer.group is not None
        ]

    @cached_property
    def lacking(self) -> str | None:
        """What the run made with the labels, and is not there any more."""
        if self.output is None:
            return None
        made = self.output.arrays(self.k)
        layers = (layer for layer in LAYERS.values() if layer is not LABEL_LAYER and layer.path() in made)
        return next((layer.lacking for layer in layers if not self.image.has_layer(layer)), None)

    @cached_property
    def odd_labels(self) -> str | None:
        """What its labels, and what goes with them, are, where that is not what they must be."""
        if not self.image.complete:
            return "not complete"
        arrays = ((LABEL_LAYER, self.image.labels), *self.beside_labels)
        odd = (layer.oddness(array, self.layout) for layer, array in arrays)
        return next((line for line in odd if line is not None), None)


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
        How many labels are invalid (``invalid``) or no cluster (``stray``); by layer how many do not agree with the
        labels, how many of one that was added are not 0 (`not_zero`), and how many are not those of the source
        (`other_than_source`).
    clusters
        How many labels there are of each cluster.
    levels
        How many pixels of a level, by pyramid and level, are not of the level above.
    why
        Why the source was not compared with, if so: the same of all windows, or the first of the reasons by letters.
    trouble
        What could not be read, the first of it.
    of_raw, of_labels
        Of labels that were cleaned what they are beside those that they were made from: raw ones that were kept, or
        the source's; or where these are not to be had beside themselves, as cleaning would leave them as they are.
    """

    pixels: Counter[str] = field(default_factory=Counter)
    clusters: Counter[int] = field(default_factory=Counter)
    levels: Counter[tuple[int, int]] = field(default_factory=Counter)
    why: str | None = None
    trouble: Trouble | None = None
    of_raw: tuple[Compared, ...] = ()
    of_labels: tuple[Compared, ...] = ()

    @classmethod
    def unread(cls, step: Step, window: Region, why: object) -> Tally:
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
            self.of_raw + other.of_raw,
            self.of_labels + other.of_labels,
        )


def tally(subject: Subject, window: Region) -> Tally:
    """Count a window of all arrays of an image: layers that were added, labels and what goes with them, levels, and the
    source.

    Of a level that part is read that this window of level 0 answers for (`tiles.window_of_level`); of the source the
    pieces that begin in it.
    """
    counted, step = Tally(), ADDED
    image = subject.image
    try:
        if subject.lacking is not None:
            return counted
        counted = tally_added(subject, window)
        step = LABELS
        if image.has_labels:
            if subject.odd_labels is not None:
                return counted
            counted = counted.merge(tally_labels(image.labels, subject.beside_labels, window, subject.layout))
        step = LEVELS
        for at, pyramid in enumerate(subject.pyramids):
            for level in range(1, min(pyramid.stated, len(pyramid.levels))):
                step = (LEVELS[0], at, level)
                counted = counted.merge(tally_level(subject, at, level, window))
        if not image.has_labels:
            return counted
        if subject.raw is not None:
            counted = counted.merge(Tally(of_raw=_compared(subject, np.asarray(subject.raw[window]), window)))
        step = SOURCE
        found = _tally_source(subject, window)
        if found.why is not None and subject.raw is None:
            found = found.merge(Tally(of_labels=_compared(subject, np.asarray(image.labels[window]), window)))
        return counted.merge(found)
    except TROUBLES as error:
        return counted.merge(Tally.unread(step, window, error))


def tally_added(subject: Subject, window: Region) -> Tally:
    """How many pixels of each layer that was added are not 0, where it says how many, or not those of its labels."""
    pixels, image = Counter[str](), subject.image
    for layer, array in subject.added:
        if layer.counted is not None:
            pixels[not_zero(layer)] = int(np.count_nonzero(np.asarray(array[window])))
        if layer.source == "labels" and image.has_labels and subject.odd_labels is None:
            pixels[layer.name] = _disagreeing(layer, array, image.labels, window, subject.layout)
        if (own := OWN_TALLY.get(layer.name)) is not None:
            pixels.update(own(image, window))
    return Tally(pixels)


def _disagreeing(layer: Layer, array: zarr.Array[Any], labels: zarr.Array[Any], window: Region, layout: Layout) -> int:
    """How many pixels of a layer do not agree with the labels."""
    around, inner = grown(window, layer.halo, layout.shape)
    return layer.disagreeing(array, LayerInput(np.asarray(labels[around]), inner=inner), window, layout)


def tally_labels(labels_of_all: zarr.Array[Any], beside: Arrays, window: Region, layout: Layout) -> Tally:
    """Labels, and whether the layers that go with them agree with them."""
    k = layout.k
    labels = np.asarray(labels_of_all[window])
    values = np.bincount(labels.reshape(-1), minlength=layout.invalid + 1)
    pixels = Counter(invalid=int(values[-1]), stray=int(values[k:-1].sum()))
    for layer, array in beside:
        pixels[layer.name] += layer.disagreeing(array, LayerInput(labels), window, layout)
    return Tally(pixels, Counter(dict(enumerate(values[:k].tolist()))))


def tally_level(subject: Subject, at: int, level: int, window: Region) -> Tally:
    """How many pixels of a level of a pyramid are not what they are made of, where this window answers for them.

    Raises
    ------
    StoreError
        If the level is no half of the one above.
    """
    pyramid = subject.pyramids[at]
    finer, array = pyramid.levels[level - 1], pyramid.levels[level]
    height, width = finer.shape[-2:]
    if array.shape != (*finer.shape[:-2], *level_shape((height, width), 1)) or array.dtype != finer.dtype:
        raise StoreError(f"level {level} is {array.dtype} {array.shape}, made from {finer.dtype} {finer.shape}")
    part = window_of_level(subject.shape, level, window, VERIFY_PX)
    if part is None:
        return Tally()
    rows, columns = part
    down, across = source_window((height, width), 1, rows, columns)
    wrong = 0
    for plane in np.ndindex(array.shape[:-2]):  # of a copy: one a band
        expected = pyramid.made(np.asarray(finer[(*plane, down, across)]))
        wrong += differing(expected, np.asarray(array[(*plane, rows, columns)]))
    return Tally(levels=Counter({(at, level): wrong}))


def _tally_source(subject: Subject, window: Region) -> Tally:
    """Label the source's pixels anew, piece by piece, and compare."""
    model, image = subject.model, subject.image
    if model is None:
        return Tally(why="an image without a valid pixel")
    if subject.originals is None:
        return Tally(why=NOT_READ)
    arrays = [(LABEL_LAYER, image.labels), *subject.beside_labels]
    of_pixels = [(layer, array) for layer, array in arrays if layer.source == "pixels"]
    if subject.cleaning is not None:  # the labels are not those of the source, but what is made of these
        of_pixels = [(layer, array) for layer, array in of_pixels if layer is not LABEL_LAYER]
    output = replace(subject.output or OutputSettings(), confidence=image.confidence is not None)
    pixels, cleaned = Counter[str](), tuple[Compared, ...]()
    (top, bottom), (left, right) = ((part.start, part.stop) for part in window)
    try:
        source = subject.originals.open(image)
        bands = None if model.bands is None else model.bands.bands
        for piece in source.pieces(image.labels.chunks[0]):
            if not (top <= piece.top < bottom and left <= piece.left < right):
                continue
            own = piece.read(bands, original=image.image is not None)
            made = LayerInput.of(own, label_window(own, model, output))
            if subject.raw is None and made.raw is not None:
                cleaned += _compared(subject, made.raw, (piece.rows, piece.columns))
            layout = replace(subject.layout, copy_bands=own.samples.shape[2])
            for layer, array in of_pixels:
                for first, values in layer.planes(made, layout):
                    there = stored(array, first, (piece.rows, piece.columns))
                    pixels[other_than_source(layer)] += differing(values, there)
    except UnreadableImage as error:
        return Tally(why=error.reason)
    except OSError as error:
        return Tally(why=f"its source cannot be read ({error.strerror or error})")
    return Tally(pixels, of_raw=cleaned)


def _compared(subject: Subject, raw: Labels, window: Region) -> tuple[Compared, ...]:
    """Labels that were cleaned beside those that they were made from."""
    if subject.cleaning is None:
        return ()
    stored = np.asarray(subject.image.labels[window])
    (top, left), found = (part.start for part in window), []
    for rows, columns in tile_windows(stored.shape[0], stored.shape[1], WINDOW_PX):  # so that what is held has a bound
        place = slice(rows.start + top, rows.stop + top), slice(columns.start + left, columns.stop + left)
        found.append(compare(raw[rows, columns], stored[rows, columns], place, subject.shape, subject.cleaning))
    return tuple(found)


def not_zero(layer: Layer) -> str:
    """By which name the pixels of a layer are counted that are not 0."""
    return f"{layer.name}, not 0"


def other_than_source(layer: Layer) -> str:
    """By which name the pixels of a layer are counted that are not those of the source."""
    return f"{layer.name}, source"
