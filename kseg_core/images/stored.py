"""What the readers of all formats give to `Picture`: samples as stored, and what is common to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kseg_core.images.raster import PictureInfo, Raster, Refused, Samples
from kseg_core.images.validity import Nodata, combine, nodata_mask
from kseg_core.images.windows import Window

PALETTE_HAS_NO_BANDS = "a picture with a palette, whose numbers mean nothing by themselves: use --features rgb"

#: How many bands the colours of a raster are made of.
COLOUR_BANDS = {"gray": 1, "palette": 1, "rgb": 3, "cmyk": 4}


class Stored(Protocol):
    """A picture in its stored orientation, opened. All windows are in stored pixels."""

    @property
    def info(self) -> PictureInfo:
        """What its header says."""

    @property
    def stored_shape(self) -> tuple[int, int]:
        """(height, width) as stored."""

    @property
    def orientation(self) -> int:
        """As EXIF numbers them, 1 to 8."""

    def raster(self, window: Window, nodata: Nodata | float | None) -> Raster:
        """Return the colours of a window, invalid where all of them (or any, as it says) were stored as ``nodata``."""

    def values(self, window: Window, bands: tuple[int, ...] | None) -> tuple[Samples, NDArray[np.bool_] | None]:
        """Return (height, width, d) samples of 1-based bands (None: all but alpha), and where alpha is not 0."""

    def nonzero(self, window: Window) -> NDArray[np.bool_]:
        """Return where any band, or the index of a palette, is not 0."""

    def close(self) -> None:
        """Let go of what was opened."""


def chosen_bands(bands: tuple[int, ...] | None, count: int, without_alpha: int) -> tuple[int, ...]:
    """Return which bands to read, from 0.

    Parameters
    ----------
    bands
        From 1, as asked for; None: the first ``without_alpha``.
    count
        How many there are.

    Raises
    ------
    Refused
        Where one is asked for that is not there.
    """
    if bands is None:
        return tuple(range(without_alpha))
    for band in bands:
        if not 1 <= band <= count:
            raise Refused(f"it has no band {band}, only {count}")
    return tuple(band - 1 for band in bands)


def without_nodata(
    raster: Raster, samples: Samples, nodata: Nodata | float | None, bands: Sequence[int] | None = None
) -> Raster:
    """Return the raster with those pixels invalid whose colours are all nodata (or any, where it says so).

    Parameters
    ----------
    samples
        As stored, (height, width) or (height, width, bands), the colours first: an index for a palette.
    bands
        Which bands of the file these are, from 0; None: the first.
    """
    if nodata is None:
        return raster
    count = COLOUR_BANDS[raster.colours]
    deep = samples[..., None] if samples.ndim == 2 else samples[..., :count]
    counts = nodata_mask(deep, nodata, bands=None if bands is None else bands[:count])
    return dataclasses.replace(raster, valid=combine(raster.valid, counts))
