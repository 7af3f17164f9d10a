"""Segments of a stored image as they are exported: at the level of the store, or at another, and in colours.

At another level they are cut from the contours that the store has; the colours are then the means of the image's own
pixels where these can be had, from the store or from its file, and else those of clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clustering.bands import BandSpace
from ..errors import StoreError, UnreadableImage
from ..expressions import Bands
from ..images.kinds import is_picture
from ..layers import LAYERS
from ..layers.tiles import Region, tile_windows
from ..reading.sources import ImageSource, Piece
from ..segment_settings import SegmentSettings
from ..segments.cutting import Segments, WindowPixels
from ..shapes.regions import LabelArray
from ..store.cuts import SIDE, Cut, StoredPixels, level_of, table_of
from ..store.model import Model
from ..store.nodes import DAMAGE
from ..store.opening import StoredImage
from ..store.originals import Originals

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]

LAYER = LAYERS["segments"]
OUTSIDE = (2.0, 98.0)  # percentiles of the means of bands that nobody has stretched, between which they are shown


class ShownSegments(NamedTuple):
    """Segments of an image at a level: cheap to send to a worker.

    Attributes
    ----------
    cut
        Where they are not as the store has them.
    table
        What they are made of.
    colors
        uint8 (n + 1, 3): by number; of 0 black.
    """

    cut: Cut | None
    table: Segments
    colors: U8

    def numbers(self, image: StoredImage, rows: slice, columns: slice) -> U32:
        """uint32 (y, x): the segments in a window.

        Raises
        ------
        StoreError
            If they cannot be read.
        """
        if self.cut is not None:
            return self.cut.read(image, rows, columns)
        return stored_numbers(image, rows, columns)


def stored_numbers(image: StoredImage, rows: slice, columns: slice) -> U32:
    """uint32 (y, x): the segments that the store has.

    Raises
    ------
    StoreError
        If they cannot be read.
    """
    array = image.layer(LAYER)
    if array is None:
        raise StoreError(f"{image.path}: no segments were made of this image")
    try:
        return np.asarray(array[rows, columns], np.uint32)
    except DAMAGE as error:
        raise StoreError(f"{image.path}: its segments cannot be read ({error})") from error


def shown_segments(image: StoredImage, model: Model | None, originals: Originals, level: float | None) -> ShownSegments:
    """Look at an image's segments at a level; None: as the store has them.

    Raises
    ------
    StoreError
        If there are none, or they cannot be read.
    """
    if not image.has_layer(LAYER):
        raise StoreError(f"{image.path}: no segments were made of this image")
    bands = None if model is None else model.bands
    own = level_of(image)
    if level is None or (own is not None and SegmentSettings(level).most == SegmentSettings(own).most):
        table = table_of(image)
        return ShownSegments(None, table, colors_of_segments(table, model))
    stored = StoredPixels(image)
    if not stored.has_colors:
        try:
            cut = Cut.of(image, level, *_of_source(image, originals, bands))
            return ShownSegments(cut, cut.segments, colors_of_segments(cut.segments, model))
        except UnreadableImage:
            pass  # then in the colours of clusters
    cut = Cut.of(image, level, stored)
    return ShownSegments(cut, cut.segments, colors_of_segments(cut.segments, model))


def _of_source(image: StoredImage, originals: Originals, bands: BandSpace | None) -> tuple[SourcePixels, list[Region]]:
    source = replace(originals.open(image), smoothing=None)
    pixels = SourcePixels.of(source, image, bands)
    return pixels, list(_windows(source))


def _windows(source: ImageSource) -> Iterator[Region]:
    """Windows in which it is read best: of full width where it has strips."""
    height, width = source.shape
    block = source.info.block
    if block is None or block[1] < width:
        yield from tile_windows(height, width, SIDE)
        return
    step = max(1, SIDE * SIDE // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height)), slice(0, width)


@dataclass(frozen=True)
class SourcePixels:
    """What segments are made of, from the image's file and its labels; one that must be decoded whole is held so."""

    source: ImageSource
    bands: Bands | None
    stored: StoredPixels
    held: NDArray[Any] | None

    @classmethod
    def of(cls, source: ImageSource, image: StoredImage, bands: BandSpace | None) -> SourcePixels:
        """Of an image; ``bands``: the feature space of its model, where that is one of bands.

        Raises
        ------
        UnreadableImage
            If it must be decoded whole and cannot be.
        """
        chosen = None if bands is None else bands.bands
        if bands is None and not image.has_labels and not is_picture(source.info):
            chosen = ()
        height, width = source.shape
        held = Piece(source, 0, 0, height, width).read(chosen).samples if source.info.block is None else None
        return cls(source, chosen, StoredPixels(image), held)

    def __call__(self, window: Region) -> WindowPixels:
        rows, columns = window
        if self.held is not None:
            samples = np.ascontiguousarray(self.held[window])
        else:
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            samples = Piece(self.source, rows.start, columns.start, *shape).read(self.bands).samples
        return self.stored(window)._replace(samples=samples)


# ----------------------------------------------------------------------------------------------------------- colours


def colors_of_segments(segments: Segments, model: Model | None) -> U8:
    """uint8 (n + 1, 3): what to paint each in, by number: its mean colour; of bands as its model shows them; where that
    is not known its cluster's; without a model one that its number has.
    """
    count = segments.area.size
    colors = np.zeros((count + 1, 3), np.uint8)
    mean = segments.mean
    if count == 0:
        return colors
    if mean.shape[1] and np.isfinite(mean).any():
        of_model = None if model is None else model.bands
        colors[1:] = Shades.of(mean)(mean) if of_model is None else of_model.shades(mean)
    elif model is not None and (segments.cluster >= 0).all():
        colors[1:] = model.colors[segments.cluster]
    else:
        colors[1:] = numbered_colors(count)
    return colors


class Shades(NamedTuple):
    """How values of bands that nobody has stretched are shown: the first three, or one.

    Attributes
    ----------
    low, high
        float64 (1,) or (3,): what is black, and what is white; None: they are 8-bit colours as they are.
    """

    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None

    @classmethod
    def of(cls, mean: NDArray[np.float32]) -> Shades:
        """By the means (n, c) of an image's segments, some of which are known."""
        if mean.shape[1] == 3 and np.nanmin(mean) >= 0 and np.nanmax(mean) <= 255:
            return cls(None, None)
        shown = np.nan_to_num(_first_bands(mean))
        low, high = np.percentile(shown, OUTSIDE, axis=0)
        return cls(low, high)

    def __call__(self, values: NDArray[Any]) -> U8:
        """uint8 (..., 3), of values (..., c)."""
        shown = np.nan_to_num(_first_bands(values))
        if self.low is None or self.high is None:
            return np.asarray(np.floor(np.clip(shown, 0.0, 255.0) + 0.5), np.uint8)
        shades = np.clip((shown - self.low) / np.where(self.high > self.low, self.high - self.low, 1.0), 0.0, 1.0)
        return np.asarray(np.broadcast_to(np.floor(shades * 255.0 + 0.5), (*values.shape[:-1], 3)), np.uint8)


def _first_bands(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values[..., : 3 if values.shape[-1] >= 3 else 1], np.float64)


def numbered_colors(count: int) -> U8:
    """uint8 (n, 3): colours of the numbers from 1 on, which look alike for no two near each other."""
    mixed = np.arange(1, count + 1, dtype=np.uint32) * np.uint32(0x9E3779B1)  # Knuth's multiplicative hash
    bytes_of = np.stack([mixed >> np.uint32(shift) for shift in (24, 16, 8)], axis=1).astype(np.uint8)
    return np.asarray(bytes_of // 2 + 96, np.uint8)


# ----------------------------------------------------------------------------------------------------------- outlines


@dataclass(frozen=True)
class SegmentArray(LabelArray):
    """The label image of an image's segments, at a level of which the store has none."""

    cut: Cut | None = None

    @classmethod
    def of_segments(cls, cut: Cut | None) -> SegmentArray:
        """As they are stored, or cut anew."""
        return cls(LAYER.path(), np.dtype(np.uint32), 0, cut=cut)

    def read(self, image: StoredImage, rows: slice, columns: slice) -> NDArray[Any]:
        return super().read(image, rows, columns) if self.cut is None else self.cut.read(image, rows, columns)
