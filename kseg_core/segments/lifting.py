"""Photographs at the scale that people look at them in: a smaller picture is segmented, and its regions lifted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..halos import Region
from ..kernels import lifting

WORKING_PX = 160_000  # pixels of the smaller picture, as the pictures of BSDS500 have


def factor_of(shape: tuple[int, int]) -> int:
    """The whole number of pixels that become one along each axis."""
    return max(1, int((shape[0] * shape[1] / WORKING_PX) ** 0.5 + 0.5))


class Shrinking:
    """A small picture, from the windows of a large one in any order."""

    def __init__(self, shape: tuple[int, int], channels: int, factor: int) -> None:
        self.factor = factor
        tall, wide = -(-shape[0] // factor), -(-shape[1] // factor)
        self.sums = np.zeros((tall, wide, channels), np.int64)
        self.counts = np.zeros((tall, wide), np.int64)

    def add(self, pixels: NDArray[np.uint8], valid: NDArray[np.bool_] | None, top: int, left: int) -> None:
        """The pixels (y, x, c) of a window that begins at a place."""
        counted = np.empty((0, 0), np.bool_) if valid is None else np.ascontiguousarray(valid)
        lifting.add_blocks(np.ascontiguousarray(pixels), counted, top, left, self.factor, self.sums, self.counts)

    @classmethod
    def of_window(
        cls, pixels: NDArray[np.uint8], valid: NDArray[np.bool_] | None, place: tuple[int, int], factor: int
    ) -> tuple[Region, Shrinking]:
        """What a window at a place tells: of a part of the small picture, and where in it that is."""
        starts = [at // factor for at in place]
        top, left = (at - start * factor for at, start in zip(place, starts, strict=True))
        part = cls((top + pixels.shape[0], left + pixels.shape[1]), pixels.shape[2], factor)
        part.add(pixels, valid, top, left)
        rows, columns = (slice(at, at + size) for at, size in zip(starts, part.counts.shape, strict=True))
        return (rows, columns), part

    def merge(self, place: Region, part: Shrinking) -> None:
        """Add what was seen in a part of the small picture."""
        self.sums[place] += part.sums
        self.counts[place] += part.counts

    def picture(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """uint8 (y, x, c), the mean of the valid pixels of each block, and bool (y, x) where there are any; None:
        everywhere.
        """
        counts = np.maximum(self.counts, 1)[..., None]
        means = ((2 * self.sums + counts) // (2 * counts)).astype(np.uint8)
        valid = self.counts > 0
        return means, None if valid.all() else valid


def lift(
    pixels: NDArray[np.uint8],
    valid: NDArray[np.bool_] | None,
    place: tuple[int, int],
    factor: int,
    region: NDArray[np.int32],
    small: NDArray[Any],
) -> NDArray[np.int32]:
    """The regions of a window, at a place of the large picture; right where they are at least ``factor`` pixels from a
    cut, and -1 where invalid.
    """
    counted = np.empty((0, 0), np.bool_) if valid is None else np.ascontiguousarray(valid)
    lifted: NDArray[np.int32] = lifting.lift_regions(
        np.ascontiguousarray(pixels), counted, *place, factor, np.ascontiguousarray(region), np.ascontiguousarray(small)
    )
    if valid is not None:
        lifted[~valid] = -1
    return lifted
