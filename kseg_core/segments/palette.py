"""An image's palette: K-means with 64 centres, in which regions have distributions that can be compared.

It is found in a sample of evenly spread pixels (of small images, all); colours are counted in boxes of 2 x 2 x 2 units
of CIELAB first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import palettes
from .features import BandScale, Converter, Features

COLOURS = 64  # of the palette: with 32 or 128 the segments are hardly worse, with 16 they are
STEPS = 8  # of K-means: more of them change no score
SAMPLED_PX = 1 << 20  # of larger images every so many rows and columns are looked at
SAMPLED_BANDS_PX = 1 << 16
SHIFT = 5  # boxes of 32 sixteenths


def sampling_step(pixels: int, most: int = SAMPLED_PX) -> int:
    """Every how manyeth row and column of an image of so many pixels is looked at."""
    return max(1, math.isqrt(max(0, pixels - 1) // most) + (pixels > most))


def sampled(values: NDArray[Any], top: int, left: int, step: int) -> NDArray[Any]:
    """Of a window (y, x, ...) at a place in its image the rows and columns that are looked at."""
    return np.ascontiguousarray(values[-top % step :: step, -left % step :: step])


def palette_of_colours(lab: Features, *, complete: bool) -> Palette:
    """Found in the means of boxes that begin at the least of each feature; of (3, y, x).

    ``complete``: these are all colours that will ever be looked up.
    """
    if lab.size == 0:
        return Palette(Boxes(np.zeros(3, np.int32), np.ones(3, np.int32)), np.zeros(1, np.uint8))
    values = lab.reshape(3, -1).astype(np.int32)
    low = values.min(1)
    boxes = Boxes(low, ((values.max(1) - low) >> SHIFT) + 1)
    counts, sums = np.zeros(boxes.how_many, np.int64), np.zeros((boxes.how_many, 3), np.int64)
    palettes.count_boxes(lab, boxes.low, boxes.size, SHIFT, counts, sums)
    occupied = np.flatnonzero(counts)
    counts, sums = counts[occupied], sums[occupied]
    centres, label = palettes.find_palette(box_means(counts, sums), counts, COLOURS, STEPS)
    table = np.zeros(boxes.how_many, np.uint8) if complete else palettes.nearest_centres(boxes.middles(), centres)[0]
    table[occupied] = label
    return Palette(boxes, table)


def box_means(counts: NDArray[np.int64], sums: NDArray[np.int64]) -> NDArray[np.int32]:
    """int32 (3, n): the mean of each of n boxes, from its pixels (n,) and the sums of their features (n, 3)."""
    means = (2 * sums + counts[:, None]) // (2 * counts[:, None])
    return np.ascontiguousarray(means.T.astype(np.int32))


class Boxes(NamedTuple):
    """A grid over a space of colours: where it begins, and how many boxes it has along each axis; int32 (3,)."""

    low: NDArray[np.int32]
    size: NDArray[np.int32]

    @property
    def how_many(self) -> int:
        return int(self.size.prod(dtype=np.int64))

    def middles(self) -> Features:
        """(3, 1, n): of all boxes."""
        axes = np.meshgrid(*(np.arange(n) for n in self.size), indexing="ij")
        middles = [(axis << SHIFT) + low + (1 << SHIFT - 1) for axis, low in zip(axes, self.low, strict=True)]
        together: Features = np.stack(middles).astype(np.int16).reshape(3, 1, -1)
        return together


def centres_of_bands(features: Features) -> NDArray[np.int32]:
    """int32 (k, d): found in a sample (d, n, 1) of features, in any order."""
    points = features.reshape(len(features), -1).astype(np.int32)
    points = np.ascontiguousarray(points[:, np.lexsort(points)])  # of equally far ones the first is a centre
    if points.shape[1] == 0:
        return np.zeros((1, len(points)), np.int32)
    centres: NDArray[np.int32] = palettes.find_palette(points, np.ones(points.shape[1], np.int64), COLOURS, STEPS)[0]
    return centres


@dataclass(frozen=True)
class Palette:
    """Of colours by a table over boxes, of bands by centres (k, d)."""

    boxes: Boxes | None = None
    table: NDArray[np.uint8] | None = None
    centres: NDArray[np.int32] | None = None

    def label(self, features: Features) -> NDArray[np.uint8]:
        """uint8 (y, x)."""
        labels: NDArray[np.uint8]
        if self.boxes is not None and self.table is not None:
            labels = palettes.label_boxes(features, self.table, self.boxes.low, self.boxes.size, SHIFT)
        else:
            assert self.centres is not None
            labels = palettes.nearest_centres(features, self.centres)
        return labels


@dataclass
class PixelSample:
    """What of an image decides its palette (and of bands their scale), gathered window by window."""

    pixels: int
    of_bands: bool
    seen: list[NDArray[Any]] = field(default_factory=list)

    @property
    def step(self) -> int:
        """Every how manyeth row and column is looked at."""
        return sampling_step(self.pixels, SAMPLED_BANDS_PX if self.of_bands else SAMPLED_PX)

    def add(self, samples: NDArray[Any], valid: NDArray[np.bool_] | None, top: int, left: int) -> None:
        """Look at a window (y, x, c)."""
        looked_at = sampled(samples, top, left, self.step)
        counted = None if valid is None else sampled(valid, top, left, self.step)
        self.seen.append(looked_at.reshape(-1, samples.shape[2]) if counted is None else looked_at[counted])

    def merge(self, other: PixelSample) -> None:
        """Add what another has looked at."""
        self.seen += other.seen

    def finish(self) -> tuple[Converter, Palette]:
        """The way to features, and the palette."""
        sample = np.concatenate(self.seen)[:, None, :]
        if not self.of_bands:
            return Converter(), palette_of_colours(Converter()(sample), complete=self.step == 1)
        convert = Converter(BandScale.of(sample[:, 0, :]))
        return convert, Palette(centres=centres_of_bands(convert(sample)))
