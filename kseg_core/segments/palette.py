"""An image's palette: K-means with 64 centres, in which regions have distributions that can be compared.

Colours are counted in boxes of 2 x 2 x 2 units of CIELAB; of bands a sample is taken. Both add up over windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import palettes
from .features import BandScale, Converter, Features

COLOURS = 64  # of the palette: with 32 or 128 the segments are hardly worse, with 16 they are
STEPS = 8  # of K-means: more of them change no score
SAMPLED_PX = 1 << 20  # of larger images every so many rows and columns are looked at
SAMPLED_BANDS_PX = 1 << 16
SHIFT = 5  # boxes of 32 sixteenths
LOW = np.array([0, -90 * 16, -110 * 16], np.int32)  # of sRGB in CIELAB, with room
SIZE = np.array([51, 96, 104], np.int32)
BOXES = int(SIZE.prod())


def sampling_step(pixels: int, most: int = SAMPLED_PX) -> int:
    """Every how manyeth row and column of an image of so many pixels is looked at."""
    return max(1, math.isqrt(max(0, pixels - 1) // most) + (pixels > most))


def sampled(values: NDArray[Any], top: int, left: int, step: int) -> NDArray[Any]:
    """Of a window (y, x, ...) at a place in its image the rows and columns that are looked at."""
    return np.ascontiguousarray(values[-top % step :: step, -left % step :: step])


@dataclass
class ColourCounts:
    """Colours counted in boxes, over windows."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BOXES, np.int64))
    sums: NDArray[np.int64] = field(default_factory=lambda: np.zeros((BOXES, 3), np.int64))

    def add(self, samples: NDArray[np.uint8], valid: NDArray[np.bool_] | None) -> None:
        """Count (y, x, 3)."""
        counted = np.empty((0, 0), np.bool_) if valid is None else np.ascontiguousarray(valid)
        palettes.count_boxes(Converter()(samples), counted, LOW, SIZE, SHIFT, self.counts, self.sums)

    def occupied(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Boxes with anything in them, their counts and sums."""
        boxes = np.flatnonzero(self.counts)
        return boxes, self.counts[boxes], self.sums[boxes]

    def merge(self, boxes: NDArray[np.int64], counts: NDArray[np.int64], sums: NDArray[np.int64]) -> None:
        """Add what `occupied` gave."""
        self.counts[boxes] += counts
        self.sums[boxes] += sums

    def palette(self, *, complete: bool) -> Palette:
        """Found in the means of boxes. ``complete``: every colour of the image has been counted."""
        boxes, counts, sums = self.occupied()
        if boxes.size == 0:
            return Palette(table=np.zeros(BOXES, np.uint8))
        means = (2 * sums + counts[:, None]) // (2 * counts[:, None])
        points = np.ascontiguousarray(means.T.astype(np.int32))
        centres, label = palettes.find_palette(points, counts, COLOURS, STEPS)
        if complete:
            table = np.zeros(BOXES, np.uint8)
        else:
            a, b, c = np.meshgrid(*(np.arange(n) for n in SIZE), indexing="ij")
            middles = [(axis << SHIFT) + low + (1 << SHIFT - 1) for axis, low in zip((a, b, c), LOW, strict=True)]
            table = palettes.nearest_centres(np.stack(middles).astype(np.int16).reshape(3, 1, -1), centres)[0].copy()
        table[boxes] = label
        return Palette(table=table)


def palette_of_bands(features: Features) -> Palette:
    """Found in a sample (d, n, 1) of features, in any order."""
    points = features.reshape(len(features), -1).astype(np.int32)
    points = np.ascontiguousarray(points[:, np.lexsort(points)])  # of equally far ones the first is a centre
    if points.shape[1] == 0:
        return Palette(centres=np.zeros((1, len(points)), np.int32))
    centres, _ = palettes.find_palette(points, np.ones(points.shape[1], np.int64), COLOURS, STEPS)
    return Palette(centres=centres)


@dataclass(frozen=True)
class Palette:
    """Of colours by a table over boxes, of bands by centres (k, d)."""

    table: NDArray[np.uint8] | None = None
    centres: NDArray[np.int32] | None = None

    def label(self, features: Features) -> NDArray[np.uint8]:
        """uint8 (y, x)."""
        if self.table is not None:
            return palettes.label_boxes(features, self.table, LOW, SIZE, SHIFT)
        assert self.centres is not None
        return palettes.nearest_centres(features, self.centres)


@dataclass
class PixelSample:
    """What of an image decides its palette (and of bands their scale), gathered window by window."""

    pixels: int
    of_bands: bool
    colours: ColourCounts | None = None
    occupied: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None = None
    bands: list[NDArray[Any]] = field(default_factory=list)

    @property
    def step(self) -> int:
        """Every how manyeth row and column is looked at."""
        return sampling_step(self.pixels, SAMPLED_BANDS_PX if self.of_bands else SAMPLED_PX)

    def add(self, samples: NDArray[Any], valid: NDArray[np.bool_] | None, top: int, left: int) -> None:
        """Look at a window (y, x, c)."""
        looked_at = sampled(samples, top, left, self.step)
        counted = None if valid is None else sampled(valid, top, left, self.step)
        if self.of_bands:
            self.bands.append(looked_at.reshape(-1, samples.shape[2]) if counted is None else looked_at[counted])
        else:
            self.colours_counted().add(looked_at, counted)

    def packed(self) -> PixelSample:
        """The same without the boxes that are empty, to be sent."""
        return replace(self, colours=None, occupied=None if self.of_bands else self.colours_counted().occupied())

    def merge(self, other: PixelSample) -> None:
        """Add what another has looked at, packed."""
        if other.occupied is not None:
            self.colours_counted().merge(*other.occupied)
        self.bands += other.bands

    def colours_counted(self) -> ColourCounts:
        """The boxes, made when first asked for."""
        if self.colours is None:
            self.colours = ColourCounts()
        return self.colours

    def finish(self) -> tuple[Converter, Palette]:
        """The way to features, and the palette."""
        if not self.of_bands:
            return Converter(), self.colours_counted().palette(complete=self.step == 1)
        sample = np.concatenate(self.bands)
        convert = Converter(BandScale.of(sample))
        return convert, palette_of_bands(convert(sample[:, None, :]))
