"""Which pixels count by their values: nodata, NaN and infinities.

Everywhere a mask is bool (height, width), True where the pixel counts; None stands for "everywhere".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.config import InputSettings, NodataIn
from kseg_core.images.raster import PictureInfo


@dataclass(frozen=True, slots=True)
class Nodata:
    """Which stored values stand for no data.

    Parameters
    ----------
    values
        Of every band.
    by_band
        Of each band as stored, None where it has none; what a file says, with one more for each band.
    within
        A pixel is invalid where ``any`` of its bands has no data, or ``all``; None: any of bands, all of colours.
    """

    values: tuple[float, ...] = ()
    by_band: tuple[float | None, ...] = ()
    within: NodataIn | None = None

    def of_band(self, band: int) -> tuple[float, ...]:
        """The values of a band as stored, from 0."""
        own = self.by_band[band] if band < len(self.by_band) else None
        return self.values if own is None else (*self.values, own)


def nodata_of(settings: InputSettings, info: PictureInfo) -> Nodata | None:
    """Return what stands for no data in a file: what the user gave, or the file states.

    None where nothing does, and nothing is said of how bands go together, which masks of each band ask as well.
    """
    within: NodataIn | None = "all" if settings.validity == 1 else settings.nodata_in
    values, by_band = settings.nodata_values, tuple[float | None, ...]()
    if settings.takes_stated_nodata:
        values = values if info.nodata is None else (info.nodata, *values)
        by_band = () if settings.validity == 1 else info.band_nodata
    return Nodata(values, by_band, within) if values or by_band or settings.nodata_in else None


def nodata_mask(
    values: NDArray[Any], nodata: Nodata | float | None, within: NodataIn = "all", bands: Sequence[int] | None = None
) -> NDArray[np.bool_] | None:
    """Return which pixels have data.

    Parameters
    ----------
    values
        Integers or floats, (height, width, bands): the selected bands alone.
    nodata
        What stands for no data. It is compared exactly, in the dtype of `values`: a value that the dtype cannot hold
        is found nowhere.
    within
        A pixel is left out where any or all of its bands are nodata, unless `nodata` itself says which.
    bands
        Which bands of the file these are, from 0; None: the first.

    Returns
    -------
    False where bands are nodata, and where any of them is NaN or infinite; None where every pixel has data.
    """
    invalid: NDArray[np.bool_] | None = None
    if values.dtype.kind == "f":
        invalid = ~np.isfinite(values).all(axis=2)
    if nodata is not None:
        rule = nodata if isinstance(nodata, Nodata) else Nodata((nodata,))
        matches = _where_nodata(values, rule, rule.within or within, range(values.shape[2]) if bands is None else bands)
        if matches is not None:
            invalid = matches if invalid is None else np.logical_or(invalid, matches, out=invalid)
    if invalid is None or not invalid.any():
        return None
    np.logical_not(invalid, out=invalid)
    return invalid


def _where_nodata(
    values: NDArray[Any], nodata: Nodata, within: NodataIn, bands: Sequence[int]
) -> NDArray[np.bool_] | None:
    """Return where any or all bands are nodata, None: nowhere; no more than two masks are held, whatever the bands."""
    merge = np.logical_or if within == "any" else np.logical_and
    invalid: NDArray[np.bool_] | None = None
    for at, band in enumerate(bands):
        held = [_held(value, values.dtype) for value in dict.fromkeys(nodata.of_band(band))]
        wanted = [value for value in held if value is not None]
        if not wanted:
            if within == "all":
                return None
            continue
        matches = values[..., at] == wanted[0]
        for value in wanted[1:]:
            matches |= values[..., at] == value
        invalid = matches if invalid is None else merge(invalid, matches, out=invalid)
    return invalid


def unmasked(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return an array, (y, x) or (y, x, c), without its mask, and where pixels count: where none of their values is
    masked. A plain array has no mask.
    """
    if not isinstance(image, np.ma.MaskedArray):
        return image, None
    plain: NDArray[Any] = np.ma.getdata(image)
    if np.ma.getmask(image) is np.ma.nomask:
        return plain, None
    mask: NDArray[np.bool_] = np.ma.getmaskarray(image)
    return plain, ~(mask if mask.ndim == 2 else np.logical_or.reduce(mask, axis=2))


def _held(value: float, dtype: np.dtype[Any]) -> Any | None:
    """Return a value as the dtype holds it; None where it does not.

    Files write the limits of float32 with fewer digits than they have, so floats are rounded to the dtype.
    """
    try:
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                return dtype.type(value)
        if dtype.kind == "b":
            return bool(value) if value in (0, 1) else None
        limits = np.iinfo(dtype)
        if not math.isfinite(value) or value != int(value) or not limits.min <= value <= limits.max:
            return None
        return dtype.type(int(value))
    except OverflowError:  # a whole number of so many digits that no float holds it
        return None


def fits(value: float, dtype: np.dtype[Any]) -> bool:
    """Say whether a value can stand in an array of this dtype."""
    return _held(value, dtype) is not None


def combine(*masks: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Return where every one of the masks says that the pixel counts; None where there is no mask."""
    result: NDArray[np.bool_] | None = None
    for number, mask in enumerate(mask for mask in masks if mask is not None):
        # The first is not ours to write into.
        result = mask if result is None else np.logical_and(result, mask, out=None if number == 1 else result)
    return result
