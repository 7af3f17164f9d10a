"""A whole picture that is read by windows, made of one image of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from kseg_core.clustering.labelling import NO_COLORS, Labels
from kseg_core.errors import StoreError
from kseg_core.layers import LABEL_LAYER, LAYERS
from kseg_core.layers.layer import Layer
from kseg_core.store.model import Model
from kseg_core.store.nodes import DAMAGE
from kseg_core.store.opening import StoredImage
from kseg_core.store.originals import Originals, ShownPixels, open_shown

from . import painting
from .settings import ExportSettings

U8 = NDArray[np.uint8]

WINDOW_PX = 1 << 21  # read at once: some twenty megabytes of pixels, labels and picture


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture.

    Parameters
    ----------
    shape
        (height, width).
    dtype
        ``bool``: black and white; ``uint8`` or ``uint16``: colours or labels.
    channels
        0: one value a pixel, windows are (y, x); 3 or 4: RGB or RGBA, windows are (y, x, c).
    read
        Window of rows and columns -> its pixels.
    palette
        uint8 (n, 3): the colours that values stand for; None: values are shades, or there are channels.
    nodata
        The value that stands for no data; None: none does.
    has_nodata
        Whether there are such pixels.
    full_width
        Whether windows of full width are read best.
    flat
        Whether it consists of a few colours or of labels, which are never averaged in an overview.
    """

    shape: tuple[int, int]
    dtype: str
    channels: int
    read: Callable[[slice, slice], NDArray[Any]]
    palette: U8 | None = None
    nodata: int | None = None
    has_nodata: bool = False
    full_width: bool = False
    flat: bool = True


def windows(drawing: Drawing, side: int) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
    """The picture in windows of whole squares of ``side`` pixels, in bands of that height from top to bottom.

    Memory is some `WINDOW_PX`, or one band of full width where the picture is read best so.
    """
    height, width = drawing.shape
    across = width if drawing.full_width else side * max(1, WINDOW_PX // side // side)
    for top in range(0, height, side):
        rows = slice(top, min(top + side, height))
        for left in range(0, width, across):
            columns = slice(left, min(left + across, width))
            yield rows, columns, _read_in_strips(drawing, rows, columns)


def _read_in_strips(drawing: Drawing, rows: slice, columns: slice) -> NDArray[Any]:
    """A window, so read that what it is made of is never held for all of it."""
    step = max(1, WINDOW_PX // (columns.stop - columns.start))
    if step >= rows.stop - rows.start:
        return drawing.read(rows, columns)
    shape = (rows.stop - rows.start, columns.stop - columns.start, *([drawing.channels] if drawing.channels else []))
    window = np.empty(shape, drawing.dtype)
    for top in range(rows.start, rows.stop, step):
        strip = slice(top, min(top + step, rows.stop))
        window[strip.start - rows.start : strip.stop - rows.start] = drawing.read(strip, columns)
    return window


class ImageReader:
    """What pictures of one image are made of; its pixels are opened when the first picture needs them, and once.

    Used as a context manager, by one thread at a time.

    Parameters
    ----------
    image
        Of a store.
    model
        That labelled it; None where it has no valid pixel, or no labels.
    originals
        Where the store's images came from.
    """

    def __init__(self, image: StoredImage, model: Model | None, originals: Originals) -> None:
        self.image, self.model, self._originals = image, model, originals
        self._closing = ExitStack()
        self._labels: zarr.Array[Any] | None = None
        self._pixels: ShownPixels | None = None

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._closing.close()

    @property
    def has_invalid(self) -> bool:
        """Whether there are pixels without a label."""
        return bool(self.image.attributes.get("invalid"))

    def labels(self, rows: slice, columns: slice) -> Labels:
        """Labels of a window.

        Raises
        ------
        StoreError
            If they cannot be read.
        """
        if self._labels is None:
            self._labels = self.image.labels
        with _reading(f"{self.image.path}: its labels"):
            return np.asarray(self._labels[rows, columns])

    def paint(self, labels: Labels) -> U8:
        """Labels in the clusters' colours.

        Raises
        ------
        StoreError
            If there are labels that are no cluster.
        """
        if self.model is None:
            return np.zeros((*labels.shape, 3), np.uint8)
        with _reading(f"{self.image.path}: its labels"):
            return self.model.paint(labels)

    def pixels(self) -> ShownPixels:
        """The image's own pixels.

        Raises
        ------
        UnreadableImage, StoreError
            As `open_shown`.
        """
        if self._pixels is None:
            bands = None if self.model is None else self.model.bands
            self._pixels = self._closing.enter_context(open_shown(self.image, self._originals, bands))
        return self._pixels


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise StoreError(f"{what} cannot be read ({error})") from error


def draw(reader: ImageReader, what: str, clusters: Sequence[int] | None, settings: ExportSettings) -> Drawing:
    """A picture of an image.

    Parameters
    ----------
    reader
        Of the image; must be open as long as the picture is read.
    what
        One of the kinds of `ExportSettings.what` that are pictures.
    clusters
        Of a mask or a cut-out.
    settings
        How.

    Raises
    ------
    UnreadableImage, StoreError
        If what it is made of cannot be read; reading it may raise the same.
    """
    match what:
        case "segmented":
            return _segmented(reader)
        case "masks":
            return _mask(reader, clusters or ())
        case "cutout":
            return _cutout(reader, clusters or ())
        case "boundaries":
            return _boundaries(reader, settings.line_rgb)
    if what in LAYERS:
        return _layer(reader, LAYERS[what])
    raise ValueError(f"expected a kind of picture, got {what!r}")


def _segmented(reader: ImageReader) -> Drawing:
    def read(rows: slice, columns: slice) -> U8:
        labels = reader.labels(rows, columns)
        painted = reader.paint(labels)
        return painting.with_alpha(painted, painting.valid_pixels(labels)) if reader.has_invalid else painted

    return Drawing(_shape(reader), "uint8", 4 if reader.has_invalid else 3, read)


def _layer(reader: ImageReader, layer: Layer) -> Drawing:
    """A layer as it is: black and white, or labels in the clusters' colours."""
    array = reader.image.labels if layer is LABEL_LAYER else reader.image.layer(layer)
    if array is None:
        raise StoreError(f"{reader.image.path}: no {layer.name} were made of this image")
    height, width = array.shape

    def read(rows: slice, columns: slice) -> NDArray[Any]:
        with _reading(f"{reader.image.path}: its {layer.name}"):
            return np.asarray(array[rows, columns])

    if array.dtype == np.bool_:
        return Drawing((height, width), "bool", 0, read, flat=False)
    palette: U8 | None = NO_COLORS if reader.model is None else reader.model.colors
    if array.dtype != np.uint8:
        palette = None  # more colours than a palette of most readers has
    return Drawing((height, width), array.dtype.name, 0, read, palette, int(array.fill_value), reader.has_invalid)


def _mask(reader: ImageReader, clusters: Sequence[int]) -> Drawing:
    def read(rows: slice, columns: slice) -> NDArray[np.bool_]:
        return painting.chosen_pixels(reader.labels(rows, columns), clusters)

    return Drawing(_shape(reader), "bool", 0, read, flat=False)


def _cutout(reader: ImageReader, clusters: Sequence[int]) -> Drawing:
    pixels = reader.pixels()

    def read(rows: slice, columns: slice) -> U8:
        chosen = painting.chosen_pixels(reader.labels(rows, columns), clusters)
        return painting.with_alpha(pixels.read(rows, columns), chosen)

    return Drawing(_shape(reader), "uint8", 4, read, full_width=pixels.full_width, flat=False)


def _boundaries(reader: ImageReader, line: tuple[int, int, int]) -> Drawing:
    pixels = reader.pixels()
    shape = _shape(reader)

    def read(rows: slice, columns: slice) -> U8:
        around = reader.labels(*painting.grown(rows, columns, shape))
        lines = painting.trimmed(painting.boundary_pixels(around), rows, columns)
        drawn = painting.drawn_over(pixels.read(rows, columns), lines, line)
        if not reader.has_invalid:
            return drawn
        return painting.with_alpha(drawn, painting.valid_pixels(painting.trimmed(around, rows, columns)))

    return Drawing(shape, "uint8", 4 if reader.has_invalid else 3, read, full_width=pixels.full_width, flat=False)


def _shape(reader: ImageReader) -> tuple[int, int]:
    height, width = reader.image.labels.shape
    return height, width
