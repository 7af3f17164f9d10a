"""What a pass over the bands brings home: statistics of all values, and the pixels of the nested mini-batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.sampling import picked_pixels
from .band_pixels import BandPixels
from .bands import BandGrid, BandMoments, BandSpace, Values
from .summary import BatchRule

I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

HELD_PX = 1 << 21  # pixels of the largest mini-batch: with four bands some thirty megabytes
HELD_VALUES = 1 << 23  # with more bands, fewer pixels: what is held does not grow with them


def held_px(bands: int) -> int:
    """Most pixels of the largest mini-batch. It depends on the data alone, as results must not depend on memory."""
    return max(1, min(HELD_PX, HELD_VALUES // max(1, bands)))


class Place(NamedTuple):
    """Where a window lies: its image, its first pixel, and the image's width."""

    key: str
    top: int
    left: int
    image_width: int


class Picked(NamedTuple):
    """Some pixels of one window: image, offsets in it, values (n, d), and which are in the first batch."""

    key: str
    offsets: I64
    values: Values
    first: Bools


@dataclass(frozen=True, slots=True)
class BandBatch:
    """Statistics and mini-batches; merges.

    Parameters
    ----------
    moments
        Of all valid values.
    picked
        Pixels of the larger mini-batch, which holds the first.
    grid
        The values' grid.
    holds_all
        Whether the larger batch is all data.
    """

    moments: BandMoments
    picked: tuple[Picked, ...]
    grid: BandGrid
    holds_all: bool

    @classmethod
    def of(
        cls,
        values: Values,
        valid: Bools | None,
        shape: tuple[int, int],
        grid: BandGrid,
        place: Place,
        first: BatchRule,
        held: BatchRule,
    ) -> BandBatch:
        """What one window of values (n, d) has."""
        height, width = shape
        picks = picked_pixels(height, width, place.top, place.left, held.level, held.seed)
        if valid is not None:
            picks = picks[valid.reshape(-1)[picks]]
        in_first = np.isin(picks, picked_pixels(height, width, place.top, place.left, first.level, first.seed))
        rows, columns = np.divmod(picks, width)
        offsets = (place.top + rows) * place.image_width + place.left + columns
        picked = Picked(place.key, offsets, values[picks], in_first)
        return cls(BandMoments.of(values, valid, grid), (picked,), grid, held.level == 0)

    def merge(self, other: BandBatch) -> BandBatch:
        return BandBatch(self.moments.merge(other.moments), self.picked + other.picked, self.grid, self.holds_all)

    def everything(self, space: BandSpace) -> BandPixels | None:
        """All data, where it is few enough: one band's values and their counts, or all pixels; else None."""
        if space.dimensions == 1 and self.grid.shift == 0:
            found = np.flatnonzero(self.moments.histogram[0])
            values = (found + self.grid.lowest)[:, None]
            return BandPixels.build(space, values, self.moments.histogram[0][found])
        return self.held_pixels(space) if self.holds_all else None

    def held_pixels(self, space: BandSpace) -> BandPixels:
        """The larger mini-batch."""
        return BandPixels.build(space, self._ordered()[0])

    def first_pixels(self, space: BandSpace) -> BandPixels:
        """The first mini-batch."""
        values, first = self._ordered()
        return BandPixels.build(space, values[first])

    def _ordered(self) -> tuple[Values, Bools]:
        """Values and flags in order of image and position, whatever the chunks were and the order they came in."""
        values, flags = [], []
        for key in sorted({picked.key for picked in self.picked}):
            parts = [picked for picked in self.picked if picked.key == key]
            order = np.argsort(np.concatenate([part.offsets for part in parts]), kind="stable")
            values.append(np.concatenate([part.values for part in parts])[order])
            flags.append(np.concatenate([part.first for part in parts])[order])
        return np.concatenate(values), np.concatenate(flags)
