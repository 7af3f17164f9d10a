"""A whole picture that is read by windows, and what pictures of an image of a store are made of.

Labels are (y, x), 0 to k - 1, with the dtype's largest value where a pixel is not valid. Pictures are uint8 (y, x, 3),
or (y, x, 4) with alpha 0 where there is nothing to see; then colours are 0 there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from kseg_core.clustering.labelling import NO_COLORS, Labels
from kseg_core.errors import StoreError
from kseg_core.images.pixel_size import MICROMETRES, PixelSize
from kseg_core.layers import LABEL_LAYER, LAYERS
from kseg_core.layers.layer import Layer
from kseg_core.shapes.regions import pixel_area
from kseg_core.store.legend import NO_LEGEND, Legend
from kseg_core.store.model import Model
from kseg_core.store.nodes import DAMAGE
from kseg_core.store.opening import StoredImage
from kseg_core.store.originals import Originals, ShownPixels, open_shown

from .categories import Categories
from .segments import ShownSegments, shown_segments
from .settings import ExportSettings

U8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]

WINDOW_PX = 1 << 21  # read at once: some twenty megabytes of pixels, labels and picture


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture."""

    shape: tuple[int, int]  # (height, width)
    dtype: str  # ``bool``: black and white; ``uint8``, ``uint16``, ``uint32``: colours or labels
    channels: int  # 0: one value a pixel, windows are (y, x); 3 or 4: RGB or RGBA, windows are (y, x, c)
    read: Callable[[slice, slice], NDArray[Any]]  # window of rows and columns -> its pixels
    # uint8 (n, 3): the colours that values stand for; None: values are shades, or there are channels
    palette: U8 | None = None
    nodata: int | None = None  # the value that stands for no data; None: none does
    has_nodata: bool = False  # whether there are such pixels
    full_width: bool = False  # whether windows of full width are read best
    flat: bool = True  # whether it consists of a few colours or of labels, which are never averaged in an overview
    categories: Categories | None = None  # what the values stand for, where they are labels
    pixel_size: PixelSize | None = None  # where known

    @property
    def stored_dtype(self) -> str:
        """That of files without bits: black and white is 0 and 255 in them."""
        return "uint8" if self.dtype == "bool" else self.dtype


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
    """What pictures of one image are made of, window by window; its pixels are opened when first needed, and once.

    Used as a context manager, by one thread at a time. Its methods raise `StoreError` where something cannot be read.

    Parameters
    ----------
    image
        Of a store.
    model
        That labelled it; None where it has no valid pixel, or no labels.
    originals
        Where the store's images came from.
    settings
        At which level segments are shown, in which colours clusters, and whether pictures are painted, and lines
        drawn, by class.
    """

    def __init__(self, image: StoredImage, model: Model | None, originals: Originals, settings: ExportSettings) -> None:
        self.image, self.model, self._originals, self._level = image, model, originals, settings.level
        self.legend = self.classes = self._shown = NO_LEGEND
        if model is not None:
            self.legend = Legend.of_clusters(model).with_palette(settings.palette)
            self.classes = Legend.of_classes(model).with_palette(settings.palette)
            self._shown = self.classes if settings.by == "class" else self.legend
        self._closing = ExitStack()
        self._pixels: ShownPixels | None = None
        self.has_invalid = bool(image.attributes.get("invalid"))
        self.channels = 4 if self.has_invalid else 3

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._closing.close()

    def drawing(self, read: Callable[[slice, slice], NDArray[Any]], channels: int = 0, **facts: Any) -> Drawing:
        """A picture as large as the image's labels."""
        height, width = self._labels.shape
        return Drawing((height, width), "uint8" if channels else "bool", channels, read, **facts)

    def layer(self, layer: Layer) -> Drawing:
        """A layer as it is: black and white, labels in the clusters' colours, or shades."""
        array = self._labels if layer is LABEL_LAYER else self.image.layer(layer)
        if array is None:
            raise StoreError(f"{self.image.path}: no {layer.name} were made of this image")

        def read(rows: slice, columns: slice) -> NDArray[Any]:
            with _reading(f"{self.image.path}: its {layer.name}"):
                return np.asarray(array[rows, columns])

        height, width = array.shape
        if array.dtype == np.bool_:
            return Drawing((height, width), "bool", 0, read, flat=False)
        palette: U8 | None = None
        categories = self.categories(layer) if layer.are_labels else None
        if layer.are_labels and array.dtype == np.uint8:  # of others more colours than most readers' palettes have
            palette = NO_COLORS if categories is None else categories.legend.colors
        facts = (palette, int(array.fill_value), self.has_invalid)
        return Drawing((height, width), array.dtype.name, 0, read, *facts, flat=layer.are_labels, categories=categories)

    def categories(self, layer: Layer) -> Categories | None:
        """What the values of a layer of labels are; None where there is no model, so no valid pixel."""
        if self.model is None:
            return None
        legend = self.legend
        counts = self.image.attributes.get("counts") if layer is LABEL_LAYER else None
        pixels = legend.totals(counts) if counts else None
        return Categories(legend, pixels, pixel_area(self.image))

    @cached_property
    def pixel_size(self) -> PixelSize | None:
        """How large a pixel is, where that is known and not said by its place on the ground."""
        if self.image.georeference is not None or not (self.image.has_labels or self.image.segments is not None):
            return None
        (y, x), (unit, other) = self.image.pixel_scale
        return PixelSize(y, x, unit) if unit is not None and unit == other and unit in MICROMETRES else None

    @cached_property
    def _labels(self) -> zarr.Array[Any]:
        return self.image.labels

    @cached_property
    def segments(self) -> ShownSegments:
        """Its segments at the level asked for.

        Raises
        ------
        StoreError
            As `shown_segments` does.
        """
        return shown_segments(self.image, self.model, self._originals, self._level)

    def labels(self, rows: slice, columns: slice) -> Labels:
        """Labels of a window."""
        with _reading(f"{self.image.path}: its labels"):
            return np.asarray(self._labels[rows, columns])

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

    def paint(self, labels: Labels) -> U8:
        """Labels in the colours of clusters, or of classes; those that are no cluster cannot be read."""
        if self.model is None:
            return np.zeros((*labels.shape, 3), np.uint8)
        with _reading(f"{self.image.path}: its labels"):
            return self._shown.paint(labels)

    def boundaries(self, rows: slice, columns: slice) -> tuple[Bools, Labels]:
        """The `boundary_pixels` of a window, and its labels."""
        top, left = max(rows.start - 1, 0), max(columns.start - 1, 0)
        around = self.labels(slice(top, rows.stop + 1), slice(left, columns.stop + 1))
        around = self._shown.values_of(around)
        inside = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        return boundary_pixels(around)[inside], around[inside]

    def valid(self, labels: Labels) -> Bools | None:
        """Which pixels are; None where all of the image's are."""
        return labels != np.iinfo(labels.dtype).max if self.has_invalid else None

    @staticmethod
    def veiled(picture: U8, visible: Bools | None) -> U8:
        """The picture (y, x, 3) where it is visible, and nothing elsewhere: (y, x, 4)."""
        if visible is None:
            return picture
        result = np.empty((*visible.shape, 4), np.uint8)
        np.multiply(picture, visible[..., None], out=result[..., :3])
        np.multiply(visible, np.uint8(255), out=result[..., 3])
        return result


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise StoreError(f"{what} cannot be read ({error})") from error


def chosen_pixels(labels: Labels, clusters: Sequence[int]) -> Bools:
    """Where one of these clusters is."""
    chosen = np.zeros(int(np.iinfo(labels.dtype).max) + 1, np.bool_)
    chosen[list(clusters)] = True
    pixels: Bools = chosen[labels]
    return pixels


def boundary_pixels(labels: Labels) -> Bools:
    """Pixels that have another label than one of their four neighbours: lines two pixels wide, one on either side.

    The same as scikit-image's ``find_boundaries(labels, connectivity=1, mode="thick")``, but for pixels that are not
    valid: they are never on a line, whereas a valid pixel beside one is.
    """
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    lines = np.zeros(labels.shape, np.bool_)
    lines[:, 1:] |= across
    lines[:, :-1] |= across
    lines[1:] |= down
    lines[:-1] |= down
    lines &= labels != np.iinfo(labels.dtype).max
    return lines


# ------------------------------------------------------------------------------------------------- what is drawn


def draw(what: str, reader: ImageReader, clusters: Sequence[int], line: tuple[int, int, int]) -> Drawing:
    """A picture of one of `KINDS`, of some a layer as it is; ``line``: (r, g, b) of lines.

    Raises
    ------
    UnreadableImage, StoreError
        If it cannot be read; so does reading the picture.
    """
    drawn = DRAWN.get(what)
    picture = reader.layer(LAYERS[what]) if drawn is None else drawn(reader, clusters, line)
    return replace(picture, pixel_size=reader.pixel_size)


def _segmented(reader: ImageReader, *_: Any) -> Drawing:
    def read(rows: slice, columns: slice) -> U8:
        labels = reader.labels(rows, columns)
        return reader.veiled(reader.paint(labels), reader.valid(labels))

    return reader.drawing(read, channels=reader.channels)


def _classes(reader: ImageReader, *_: Any) -> Drawing:
    """Looked up by the labels, so that they are there whatever layers the store has."""
    labels = reader.layer(LABEL_LAYER)
    legend = reader.classes
    if reader.model is None:  # no pixel is valid
        return labels

    def read(rows: slice, columns: slice) -> Labels:
        return legend.values_of(reader.labels(rows, columns))

    counts = reader.image.attributes.get("counts")
    pixels = legend.totals(counts) if counts else None
    return replace(
        labels,
        dtype=legend.lookup.dtype.name,
        read=read,
        palette=legend.colors if legend.lookup.dtype == np.uint8 else None,
        nodata=legend.invalid,
        categories=Categories(legend, pixels, pixel_area(reader.image)),
    )


def _mask(reader: ImageReader, clusters: Sequence[int], _: Any) -> Drawing:
    def read(rows: slice, columns: slice) -> Bools:
        return chosen_pixels(reader.labels(rows, columns), clusters)

    return reader.drawing(read, flat=False)


def _cutout(reader: ImageReader, clusters: Sequence[int], _: Any) -> Drawing:
    pixels = reader.pixels()

    def read(rows: slice, columns: slice) -> U8:
        chosen = chosen_pixels(reader.labels(rows, columns), clusters)
        return reader.veiled(pixels.read(rows, columns), chosen)

    return reader.drawing(read, channels=4, flat=False, full_width=pixels.full_width)


def _boundaries(reader: ImageReader, _: Any, line: tuple[int, int, int]) -> Drawing:
    pixels = reader.pixels()

    def read(rows: slice, columns: slice) -> U8:
        lines, labels = reader.boundaries(rows, columns)
        picture = pixels.read(rows, columns).copy()
        picture[lines] = line
        return reader.veiled(picture, reader.valid(labels))

    return reader.drawing(read, channels=reader.channels, flat=False, full_width=pixels.full_width)


def _segments(reader: ImageReader, *_: Any) -> Drawing:
    shown, shape = reader.segments, _shape(reader)

    def read(rows: slice, columns: slice) -> NDArray[np.uint32]:
        return shown.numbers(reader.image, rows, columns)

    return Drawing(shape, "uint32", 0, read, nodata=0, has_nodata=_has_gaps(shown, shape))


def _painted_segments(reader: ImageReader, *_: Any) -> Drawing:
    shown, shape = reader.segments, _shape(reader)
    has_gaps = _has_gaps(shown, shape)

    def read(rows: slice, columns: slice) -> U8:
        numbers = shown.numbers(reader.image, rows, columns)
        with _reading(f"{reader.image.path}: its segments"):
            picture = shown.colors[numbers]
        return reader.veiled(picture, numbers > 0 if has_gaps else None)

    return Drawing(shape, "uint8", 4 if has_gaps else 3, read)


def _shape(reader: ImageReader) -> tuple[int, int]:
    height, width = reader.image.attributes["shape"]
    return height, width


def _has_gaps(shown: ShownSegments, shape: tuple[int, int]) -> bool:
    """Whether there are pixels that are in no segment."""
    return int(shown.table.area.sum()) < shape[0] * shape[1]


#: By name, the pictures that are no layer of the store as it is.
DRAWN: dict[str, Callable[[ImageReader, Sequence[int], tuple[int, int, int]], Drawing]] = {
    "segmented": _segmented,
    "classes": _classes,
    "masks": _mask,
    "cutout": _cutout,
    "boundaries": _boundaries,
    "segments": _segments,
    "painted_segments": _painted_segments,
}
