"""One palette for all images: of colours by counts of all of their pixels, of bands by a sample of all images together.

What a window tells adds up or is sorted, so that the palette is the same whatever the windows were, and in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import palettes
from .features import BandScale, Converter
from .palette import COLOURS, SHIFT, STEPS, Boxes, Palette, box_means, centres_of_bands, sampled

# Boxes of all colours of sRGB: L* from 0 to 100, a* from -87 to 99, b* from -108 to 95, in sixteenths
EVERYWHERE = Boxes(np.array([0, -1408, -1728], np.int32), np.array([51, 94, 102], np.int32))


@dataclass(frozen=True)
class BoxCounts:
    """How many pixels have a colour in each box of `EVERYWHERE` in which there are any.

    Parameters
    ----------
    boxes
        int64 (n,), rising: which.
    counts
        int64 (n,): pixels.
    sums
        int64 (n, 3): their features.
    """

    boxes: NDArray[np.int64]
    counts: NDArray[np.int64]
    sums: NDArray[np.int64]

    @classmethod
    def of(cls, samples: NDArray[np.uint8], valid: NDArray[np.bool_] | None) -> BoxCounts:
        """Of the valid pixels of a window (y, x, 3)."""
        lab = Converter()(samples if valid is None else samples[valid][:, None, :])
        counts, sums = np.zeros(EVERYWHERE.how_many, np.int64), np.zeros((EVERYWHERE.how_many, 3), np.int64)
        palettes.count_boxes(lab, EVERYWHERE.low, EVERYWHERE.size, SHIFT, counts, sums)
        occupied = np.flatnonzero(counts)
        return cls(occupied, counts[occupied], sums[occupied])

    def merge(self, other: BoxCounts) -> BoxCounts:
        """Of both together."""
        boxes = np.union1d(self.boxes, other.boxes)
        counts, sums = np.zeros(boxes.size, np.int64), np.zeros((boxes.size, 3), np.int64)
        for part in (self, other):
            at = np.searchsorted(boxes, part.boxes)
            counts[at] += part.counts
            sums[at] += part.sums
        return BoxCounts(boxes, counts, sums)

    def palette(self) -> SharedPalette:
        """K-means of them, weighted by their pixels."""
        if self.boxes.size == 0:
            return SharedPalette(np.zeros((1, 3), np.int32), None)
        points = box_means(self.counts, self.sums)
        centres, _ = palettes.find_palette(points, self.counts, COLOURS, STEPS)
        return SharedPalette(centres, None)


@dataclass(frozen=True)
class BandSample:
    """Some pixels of bands, (n, d), in any order."""

    pixels: tuple[NDArray[Any], ...]

    @classmethod
    def of(
        cls, samples: NDArray[Any], valid: NDArray[np.bool_] | None, corner: tuple[int, int], step: int
    ) -> BandSample:
        """Of the valid pixels of a window (y, x, d) at a place those in every so-manieth row and column."""
        looked_at = sampled(samples, *corner, step)
        counted = np.ones(looked_at.shape[:2], np.bool_) if valid is None else sampled(valid, *corner, step)
        return cls((looked_at[counted],))

    def merge(self, other: BandSample) -> BandSample:
        """Of both together."""
        return BandSample(self.pixels + other.pixels)

    def palette(self) -> SharedPalette:
        """How large a unit is, and K-means of them."""
        sample = np.concatenate(self.pixels)
        scale = BandScale.of(sample)
        return SharedPalette(centres_of_bands(Converter(scale)(sample[:, None, :])), scale)


class SharedPalette(NamedTuple):
    """A palette that images share.

    Attributes
    ----------
    centres
        int32 (k, d): on the grid of features.
    scale
        How bands become features; None: it is of colours.
    """

    centres: NDArray[np.int32]
    scale: BandScale | None

    @property
    def bands(self) -> int:
        """Of how many; 0: of colours."""
        return 0 if self.scale is None else self.centres.shape[1]

    def ways(self) -> tuple[Converter, Palette]:
        """The way to features, and the palette, as `maps.find_maps` takes them."""
        if self.scale is not None:
            return Converter(self.scale), Palette(centres=self.centres)
        return Converter(), Palette(EVERYWHERE, palettes.nearest_centres(EVERYWHERE.middles(), self.centres)[0])

    def to_json(self) -> dict[str, Any]:
        """As JSON values, which lose nothing."""
        scale = None if self.scale is None else {"low": self.scale.low.tolist(), "scale": self.scale.scale.tolist()}
        return {"centres": self.centres.tolist(), "bands": scale}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> SharedPalette:
        """What `to_json` told.

        Raises
        ------
        ValueError
            If it is none.
        """
        centres, bands = np.array(told["centres"], np.int32), told["bands"]
        scale = None if bands is None else BandScale(np.array(bands["low"], float), np.array(bands["scale"], float))
        d = 3 if scale is None else scale.low.size
        sound = centres.ndim == 2 and centres.shape[0] in range(1, COLOURS + 1) and centres.shape[1] == d
        if not sound or (scale is not None and scale.scale.size != d):
            raise ValueError(f"expected centres (1 to {COLOURS}, {d}), got {centres.shape}")
        return cls(centres, scale)
