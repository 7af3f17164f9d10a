"""Segments of a stored image at any level, from its contours alone: window by window, without its source.

They are numbered as those of the store are, so that what is cut at the store's own level is what it has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..halos import moved
from ..joining import columns_of_grid
from ..layers.layer import Layout
from ..layers.segments import CONTOURS, TABLE, SegmentLayer
from ..layers.tiles import Region, tile_windows
from ..segment_settings import SegmentSettings
from ..segments.cutting import Parts, Segments, WindowPixels, cut_window, join_parts, measure_window
from .adding import create_layer, declare_complete
from .manifest import image_facts, image_folder
from .markers import COMPLETE
from .nodes import DAMAGE
from .opening import StoredImage
from .segments import described, finish_segments, write_segments
from .writing import build_level

SIDE = 2048  # of the windows that are cut, in pixels: tens of megabytes

Measured = Callable[[Region], WindowPixels]  # what the segments in a window are made of


class Cut(NamedTuple):
    """A hierarchy cut at a level: cheap to send to a worker.

    Attributes
    ----------
    most
        The highest step of a boundary that has vanished.
    windows
        In which it was cut, row by row.
    numbers
        Of each window, uint32 (n + 1,): the number in the image of each of its parts.
    segments
        All of them.
    """

    most: int
    windows: list[Region]
    numbers: list[NDArray[np.uint32]]
    segments: Segments

    @classmethod
    def of(cls, image: StoredImage, level: float, measured: Measured, windows: list[Region] | None = None) -> Cut:
        """Cut a stored image; its windows, of all of its pixels, may be given.

        Raises
        ------
        StoreError
            If its contours are missing or cannot be read.
        """
        most = SegmentSettings(level).most
        height, width = image.attributes["shape"]
        windows = list(tile_windows(height, width, SIDE)) if windows is None else windows
        parts = list(_parts(image, most, measured, windows))
        corners = [(rows.start, columns.start) for rows, columns in windows]
        segments, numbers = join_parts(parts, columns_of_grid(corners))
        return cls(most, windows, numbers, segments)

    def read(self, image: StoredImage, rows: slice, columns: slice) -> NDArray[np.uint32]:
        """uint32 (y, x): the segments of a region of the image.

        Raises
        ------
        StoreError
            As `of` does.
        """
        found = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint32)
        for window, number in zip(self.windows, self.numbers, strict=True):
            down, across = _overlap(rows, window[0]), _overlap(columns, window[1])
            if down is None or across is None:
                continue
            part = cut_window(contours_of_image(image, window), self.most)
            inner = part[moved((down, across), -window[0].start, -window[1].start)]
            found[moved((down, across), -rows.start, -columns.start)] = number[inner]
        return found


def _parts(image: StoredImage, most: int, measured: Measured, windows: list[Region]) -> Iterator[Parts]:
    width = image.attributes["shape"][1]
    for window in windows:
        rows, columns = window
        yield measure_window(
            contours_of_image(image, window), most, measured(window), (rows.start, columns.start), width
        )


def _overlap(one: slice, other: slice) -> slice | None:
    start, stop = max(one.start, other.start), min(one.stop, other.stop)
    return slice(start, stop) if start < stop else None


# ------------------------------------------------------------------------------------------------ what the store has


def level_of(image: StoredImage) -> float | None:
    """At which level its segments are cut; None where it has none, or does not say."""
    level = (image_facts(os.path.join(image.path, SegmentLayer().path())) or {}).get("level")
    return float(level) if isinstance(level, int | float) and 0 <= level <= 1 else None


def hierarchy_facts(path: str, key: str) -> dict[str, Any] | None:
    """What an image says of its contours, where these are complete."""
    stated = image_facts(os.path.join(image_folder(path, key), CONTOURS))
    return stated if stated is not None and stated.get("status") == COMPLETE else None


def contours_of_image(image: StoredImage, window: Region) -> NDArray[np.uint8]:
    """uint8 (2, y, x): its contours in a window.

    Raises
    ------
    StoreError
        If they are missing or cannot be read.
    """
    array = image.array(CONTOURS)
    height, width = image.attributes["shape"]
    if array.shape != (2, height, width) or array.dtype != np.uint8:
        raise StoreError(f"{image.path}: its contours are {array.dtype} {array.shape}, expected uint8 (2, y, x)")
    try:
        return np.asarray(array[(slice(None), *window)])
    except DAMAGE as error:
        raise StoreError(f"{image.path}: its contours cannot be read ({error})") from error


def table_of(image: StoredImage) -> Segments:
    """What its segments are made of.

    Raises
    ------
    StoreError
        If that is missing or damaged.
    """
    if not count_of_segments(image) and image.segments is not None and _has_none(image.segments):
        return NO_SEGMENTS
    try:
        found = Segments(*(np.asarray(image.array(f"{TABLE}/{name}")[...]) for name in Segments._fields))
    except DAMAGE as error:
        raise StoreError(f"{image.path}: the table of its segments cannot be read ({error})") from error
    shapes = [each.shape[0] for each in found]
    if len(set(shapes)) > 1 or found.box.shape[1:] != (4,) or found.mean.ndim != 2:
        raise StoreError(f"{image.path}: the table of its segments is damaged")
    return found


_NONE = np.zeros(0, np.int64)
NO_SEGMENTS = Segments(_NONE, np.zeros((0, 4), np.int64), np.zeros((0, 3), np.float32), _NONE)


def _has_none(segments: Any) -> bool:
    """Whether an image has none, by its own word: no pixel of it counts."""
    stated: Any = segments.attrs.get("kseg")
    return isinstance(stated, dict) and stated.get("segment_pixels") == 0


def count_of_segments(image: StoredImage) -> int:
    """How many segments it has."""
    name = f"{TABLE}/area"
    return int(image.array(name).shape[0]) if image.has(name) else 0


class StoredPixels:
    """What the segments of a stored image are made of, as far as the store has it: the copy of its pixels where there
    is one, and its labels. Without a copy there are no channels.
    """

    def __init__(self, image: StoredImage) -> None:
        self._labels = image.labels if image.has_labels else None
        self._k = len(image.attributes.get("counts") or ())
        self._copy = image.image
        self._path = image.path

    @property
    def has_colors(self) -> bool:
        """Whether there are pixels."""
        return self._copy is not None

    def __call__(self, window: Region) -> WindowPixels:
        try:
            shape = tuple(part.stop - part.start for part in window)
            samples: NDArray[Any] = np.zeros((*shape, 0), np.uint8)
            if self._copy is not None:
                samples = np.ascontiguousarray(np.moveaxis(np.asarray(self._copy[(slice(None), *window)]), 0, -1))
            labels = None if self._labels is None or not self._k else np.asarray(self._labels[window])
        except DAMAGE as error:
            raise StoreError(f"{self._path}: its labels or the copy of its pixels cannot be read ({error})") from error
        return WindowPixels(samples, labels, self._k)


def same_parts(one: Segments, other: Segments) -> bool:
    """Whether two tables are of the same segments, whatever these are made of."""
    return np.array_equal(one.area, other.area) and np.array_equal(one.box, other.box)


def same_segments(one: Segments, other: Segments) -> bool:
    """Whether they are so with the same clusters, too; their mean colours the source alone tells."""
    return same_parts(one, other) and np.array_equal(one.cluster, other.cluster)


def _table_or_colorless(image: StoredImage, cut: Segments) -> tuple[Segments, bool]:
    """The table that an image has, where it is of the segments that were cut, else these without mean colours; and
    whether it has some.
    """
    try:
        table = table_of(image)
    except StoreError:
        return without_colors(cut, 3), False
    if same_parts(cut, table):
        return table, bool(np.isfinite(table.mean).any())
    return without_colors(cut, table.mean.shape[1]), False


def without_colors(segments: Segments, channels: int) -> Segments:
    """Segments whose mean colours are not known: not a number."""
    return segments._replace(mean=np.full((segments.area.size, channels), np.nan, np.float32))


def stored_layout(image: StoredImage, tile: int) -> Layout:
    """What decides the arrays of the segments of an image, as far as the store tells.

    Raises
    ------
    StoreError
        If its label images do not say how large they are.
    """
    height, width = image.attributes["shape"]
    geo, k = image.georeference, len(image.attributes.get("counts") or ())
    scale, (unit, _) = image.pixel_scale
    layout = Layout((height, width), k, tile, masks=False, levels=image.level_count, geo=geo)
    return layout if unit is None else replace(layout, pixel_size=scale, unit=unit)


def cut_without_source(path: str, key: str, layer: SegmentLayer, tile: int) -> tuple[int, int, bool]:
    """Cut a stored image at the level of a layer and write what came of it, from what the store has alone.

    Returns
    -------
    Its pixels, how many of them are in segments, and whether the mean colours of these are known.

    Raises
    ------
    StoreError
        If something of it cannot be read.
    OSError
        If it cannot be written.
    """
    image = StoredImage(path, key)
    stated = hierarchy_facts(path, key) or {}
    told = {*layer.to_json(), "status"}
    facts = {**layer.to_json(), **{name: value for name, value in stated.items() if name not in told}}
    layout, pixels = stored_layout(image, tile), StoredPixels(image)
    height, width = layout.shape
    side = tile * max(1, SIDE // tile)  # each chunk is written once
    cut = Cut.of(image, layer.settings.level, pixels, list(tile_windows(height, width, side)))
    segments, has_colors = (cut.segments, True) if pixels.has_colors else _table_or_colorless(image, cut.segments)
    create_layer(path, key, layer, layout, pieces=False, keep=True, said=described(layout))
    for window in cut.windows:
        write_segments(path, key, layer, window, cut.read(image, *window), layout)
    for level in range(1, layout.levels):
        for window in layout.windows(level, SIDE):
            build_level(path, key, level, window, layout, [layer])
    finish_segments(path, layer, key, layout, segments)
    in_segments = int(segments.area.sum())
    declare_complete(path, key, layer, layout, facts, in_segments)
    return height * width, in_segments, has_colors
