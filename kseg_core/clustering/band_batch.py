"""What a pass over the bands brings home: statistics of all values, and the pixels of the nested mini-batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels.sampling import picked_pixels
from .band_pixels import BandPixels
from .band_values import EVERYWHERE, Values, as_values, ends_of, flat_mask, lowest_of
from .bands import BandMoments, BandSpace
from .summary import BatchRule

I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

HELD_PX = 1 << 21  # pixels of the largest mini-batch: with four bands some thirty megabytes
HELD_VALUES = 1 << 23  # with more bands, fewer pixels: what is held does not grow with them


def held_px(bands: int) -> int:
    """Most pixels of the largest mini-batch. It depends on the data alone, as results must not depend on memory."""
    return max(1, min(HELD_PX, HELD_VALUES // max(1, bands)))


NO_ENDS: NDArray[np.float64] = np.empty((2, 0))


class Place(NamedTuple):
    """Where a window lies: its image, its first pixel, and the image's width."""

    key: str
    top: int
    left: int
    image_width: int


class Picked(NamedTuple):
    """Some pixels of one window: image, offsets in it, values (n, d), and which are in the first batch; the least and
    greatest value of each band in all of the window, (2, d), or (2, 0) where no pixel is valid.
    """

    key: str
    offsets: I64
    values: Values
    first: Bools
    ends: NDArray[np.float64] = NO_ENDS


@dataclass(frozen=True, slots=True)
class BandBatch:
    """Statistics and mini-batches; merges.

    Parameters
    ----------
    moments
        Of all valid values.
    picked
        Pixels of the larger mini-batch, which holds the first.
    far
        Where the batch is not all data: for each band the pixel of its least and that of its greatest value, (2 d, d).
    holds_all
        Whether the larger batch is all data.
    """

    moments: BandMoments
    picked: tuple[Picked, ...]
    far: Values
    holds_all: bool

    @classmethod
    def of(
        cls,
        samples: Values,
        valid: Bools | None,
        place: Place,
        first: BatchRule,
        held: BatchRule,
    ) -> BandBatch:
        """What one window of samples (y, x, d) has."""
        values, dtype = as_values(samples), samples.dtype.name
        height, width = samples.shape[:2]
        picks = picked_pixels(height, width, place.top, place.left, held.level, held.seed)
        if valid is not None:
            picks = picks[valid.reshape(-1)[picks]]
        in_first = np.isin(picks, picked_pixels(height, width, place.top, place.left, first.level, first.seed))
        rows, columns = np.divmod(picks, width)
        offsets = (place.top + rows) * place.image_width + place.left + columns
        moments = BandMoments.of(values, valid, dtype)
        ends = np.stack([moments.extremes.low, moments.extremes.high]) if moments.pixels else NO_ENDS
        picked = Picked(place.key, offsets, values[picks], in_first, ends)
        far = values[:0] if held.level == 0 else _far_pixels(values, flat_mask(valid))
        return cls(moments, (picked,), far, held.level == 0)

    def merge(self, other: BandBatch) -> BandBatch:
        far = _far_pixels(np.concatenate([self.far, other.far]), EVERYWHERE)
        return BandBatch(self.moments.merge(other.moments), self.picked + other.picked, far, self.holds_all)

    def everything(self, space: BandSpace) -> BandPixels | None:
        """All data, where it is few enough: one band's values and their counts, or all pixels; else None."""
        if space.dimensions == 1 and self.moments.histogram is not None:
            found = np.flatnonzero(self.moments.histogram[0])
            values = (found + lowest_of(space.dtype))[:, None]
            return BandPixels.of_counts(space, values, self.moments.histogram[0][found])
        return self.held_pixels(space) if self.holds_all else None

    def held_pixels(self, space: BandSpace) -> BandPixels:
        """The larger mini-batch, and the farthest pixels, which no even sample need have."""
        return BandPixels.build(space, np.concatenate([self.sample(), self.far]))

    def sample(self) -> Values:
        """The values (n, d) of the larger mini-batch."""
        return self._ordered()[0]

    def images_with(self, band: int, value: float) -> set[str]:
        """Which images have a value that is the least or the greatest of a band."""
        return {picked.key for picked in self.picked if picked.ends.size and value in picked.ends[:, band]}

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


def _far_pixels(values: Values, valid: Bools) -> Values:
    """For each band the valid pixel with its least value and that with its greatest, (2 d, d), where there is one."""
    rows, counts = ends_of(values, valid)
    return values[rows.reshape(-1)] + values.dtype.type(0) if counts.any() else values[:0]
