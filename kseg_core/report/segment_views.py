"""Segments of an image as a report shows them: small, to be cut at any level on the page, counted, and listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kseg_core.errors import StoreError
from kseg_core.export.segments import Shades, colors_of_segments
from kseg_core.joining import columns_of_grid
from kseg_core.layers import LAYERS
from kseg_core.layers.tiles import Region
from kseg_core.segment_settings import LEVELS, SegmentSettings
from kseg_core.segments.counting import CountedParts, count_parts, count_segments
from kseg_core.segments.cutting import cut_window
from kseg_core.store.cuts import contours_of_image, count_of_segments, hierarchy_facts, level_of, table_of
from kseg_core.store.model import Model
from kseg_core.store.nodes import DAMAGE
from kseg_core.store.opening import StoredImage

from . import thumbnails
from .thumbnails import Patch

U8 = NDArray[np.uint8]

LAYER = LAYERS["segments"]
NAMED_STEPS = {name: SegmentSettings(level).most for name, level in LEVELS.items()}
MOST_LISTED = 20  # segments of an image in the list of the largest


@dataclass(frozen=True, slots=True)
class StoredSegments:
    """What there is of an image's segments."""

    count: int
    level: float  # at which they are cut
    has_contours: bool  # whether they can be cut at another
    pyramid: int  # how many levels their label image has

    @classmethod
    def of(cls, image: StoredImage) -> StoredSegments | None:
        """None where there are none, or none that say at which level they are."""
        level = level_of(image) if image.has_layer(LAYER) else None
        if level is None:
            return None
        has_contours = hierarchy_facts(image.store, image.key) is not None
        return cls(count_of_segments(image), level, has_contours, len(image.layer_levels(LAYER)))

    @property
    def step(self) -> int:
        """Of their contours, up to which boundaries have vanished."""
        return SegmentSettings(self.level).most


@dataclass(frozen=True, slots=True)
class SmallHierarchy:
    """What the segments of a small picture are cut from at any level."""

    file: bytes  # a PNG, as `thumbnails.hierarchy_file` writes it
    # Of the image itself: how many segments there are, at which level, and at which step of contours that is
    count: int
    level: float
    step: int
    by_level: tuple[tuple[str, int], ...] = ()  # of the image itself, how many there are at the levels that have names


@dataclass(frozen=True, slots=True)
class LargeSegment:
    """One of an image's largest segments."""

    number: int  # in the image, from 1
    pixels: int
    box: tuple[int, int, int, int]  # top, left, bottom, right; the last two exclusive
    color: tuple[int, int, int] | None  # its mean; None where that is not known


class SeenContours(NamedTuple):
    """What was seen of a window of contours: its part of the small hierarchy, and its parts to be counted."""

    small: Patch
    region: Region
    parts: CountedParts


def see_contours(image: StoredImage, window: Region, level: int) -> SeenContours:
    """Look at a window of an image's contours, ``level`` times halved.

    Raises
    ------
    StoreError
        If they cannot be read.
    """
    contours = contours_of_image(image, window)
    small = thumbnails.halved_contours(np.moveaxis(contours, 0, -1), level)
    rows, columns = window
    patch = Patch(rows.start >> level, columns.start >> level, small)
    return SeenContours(patch, window, count_parts(contours, min(NAMED_STEPS.values())))


def see_painted(image: StoredImage, window: Region, stored_level: int, level: int) -> U8:
    """uint8 (y, x, 4): a window of a level of the stored segments, each in its mean colour, ``level`` times halved; as
    alpha the share of pixels that are in one.

    Raises
    ------
    StoreError
        If they cannot be read.
    """
    colors = colors_of_segments(table_of(image), None)
    try:
        numbers = np.asarray(image.layer_levels(LAYER)[stored_level][window])
    except DAMAGE as error:
        raise StoreError(f"{image.path}: its segments cannot be read ({error})") from error
    if numbers.max(initial=0) >= len(colors):
        raise StoreError(f"{image.path}: segments that are not in their table")
    return thumbnails.mean_cells(colors[numbers], numbers > 0, level)


def shades_of_bands(image: StoredImage) -> Shades | None:
    """How the bands of an image without a model are shown: as the means of its segments are; None where no mean is
    known.

    Raises
    ------
    StoreError
        If their table cannot be read.
    """
    mean = table_of(image).mean
    return Shades.of(mean) if mean.shape[1] and np.isfinite(mean).any() else None


def small_hierarchy(contours: U8, seen: Sequence[SeenContours], stored: StoredSegments) -> SmallHierarchy:
    """From the small contours of an image, and what was seen of its own."""
    across = columns_of_grid([(rows.start, columns.start) for _, (rows, columns), _ in seen])
    counts = count_segments([each.parts for each in seen], across, list(NAMED_STEPS.values()))
    by_level = tuple(zip(NAMED_STEPS, counts, strict=True))
    return SmallHierarchy(thumbnails.hierarchy_file(contours), stored.count, stored.level, stored.step, by_level)


def small_segments(contours: U8, stored: StoredSegments) -> NDArray[np.int32]:
    """Segments of small contours (y, x, 2) at the level of the store."""
    return cut_window(np.moveaxis(contours, -1, 0), stored.step)


def largest_segments(image: StoredImage, model: Model | None) -> tuple[LargeSegment, ...]:
    """An image's largest segments as the store has them, the largest first; equally large ones by number.

    Raises
    ------
    StoreError
        If their table cannot be read.
    """
    table = table_of(image)
    colors = colors_of_segments(table, model)
    is_known = bool(table.mean.shape[1]) and bool(np.isfinite(table.mean).any())
    rows = np.argsort(-table.area, kind="stable")[:MOST_LISTED]
    return tuple(
        LargeSegment(
            int(at) + 1, int(table.area[at]), _box(table.box[at]), _color(colors[at + 1]) if is_known else None
        )
        for at in rows
    )


def _box(box: NDArray[np.int64]) -> tuple[int, int, int, int]:
    top, left, bottom, right = box.tolist()
    return top, left, bottom, right


def _color(color: U8) -> tuple[int, int, int]:
    red, green, blue = color.tolist()
    return red, green, blue
