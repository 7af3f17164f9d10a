"""Virtual rasters (VRT), by rasterio, window by window.

A VRT is a text that names files, and GDAL would fetch from wherever it says. So the text is read here first, and those
that it names: only files of this machine that begin as pictures do, and VRTs of the same kind, are let through.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.images import vrt_sources
from kseg_core.images.gdal import gdal
from kseg_core.images.plausible import check_sparse
from kseg_core.images.raster import (
    Colours,
    NotSupported,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_dtype,
    check_size,
)
from kseg_core.images.stored import PALETTE_HAS_NO_BANDS, chosen_bands, without_nodata
from kseg_core.images.validity import Nodata, combine
from kseg_core.images.windows import Window

_NAME = vrt_sources.NAME
_BLOCK = 512  # GDAL's own of 128 would decode a source's tiles many times
_USE_BANDS = "use --features bands"


class VrtPicture:
    """A VRT opened for reading by windows.

    Parameters
    ----------
    path
        A file of this machine.
    """

    orientation = 1

    def __init__(self, path: str) -> None:
        from rasterio.enums import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            ColorInterp,
            MaskFlags,
        )

        if storage.is_remote(path):
            raise NotSupported(
                "VRTs in object stores are not supported here; copy it and what it names to a disk first"
            )
        held = vrt_sources.check(os.path.abspath(path))
        with gdal(_NAME, **vrt_sources.OPTIONS) as rasterio:
            dataset = self._dataset = rasterio.open(os.path.abspath(path), driver=_NAME)
            self.stored_shape: tuple[int, int] = (dataset.height, dataset.width)
            try:
                check_size(*self.stored_shape, dataset.height * dataset.width)
                check_sparse(dataset.height * dataset.width, held)
                if not dataset.count:
                    raise Refused("a VRT without bands")
            except BaseException:
                dataset.close()
                raise
            self._dtype = np.result_type(*(np.dtype(name) for name in dataset.dtypes))
            kinds = list(dataset.colorinterp)
            self._alpha_at = kinds.index(ColorInterp.alpha) if ColorInterp.alpha in kinds else None
            self._palette = dataset.colormap(1) if kinds[0] == ColorInterp.palette else None
            self._masked = any(
                MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags for flags in dataset.mask_flag_enums
            )
            nodata = tuple(None if value is None else float(value) for value in dataset.nodatavals)
        one = nodata[0] if all(_same(value, nodata[0]) for value in nodata) else None
        self.info = PictureInfo(
            _NAME,
            self.stored_shape,
            dataset.count,
            check_dtype(str(self._dtype)),
            (_BLOCK, _BLOCK),
            one,
            self._alpha_at is not None,
            "palette" if self._palette is not None else None,
            band_nodata=() if one is not None or not any(value is not None for value in nodata) else nodata,
            alpha_at=self._alpha_at,
        )

    def raster(self, window: Window, nodata: Nodata | float | None) -> Raster:
        """The colours of a window; see `Stored`."""
        if self._dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
            raise Refused(f"{self._dtype} samples: not an 8- or 16-bit image; {_USE_BANDS}")
        bands = self.info.but_alpha
        if len(bands) not in (1, 3, 4):
            raise Refused(f"{len(bands)} bands: neither gray nor RGB; {_USE_BANDS}")
        samples, valid = self._read(window, bands[:1] if len(bands) == 1 else bands[:3])
        maximum = int(np.iinfo(self._dtype).max)
        if self._palette is not None:
            table = np.array([self._palette.get(n, (0, 0, 0, 255)) for n in range(maximum + 1)], np.uint8)
            if (table[:, 3] == 0).any():
                valid = combine(valid, np.take(table[:, 3] != 0, samples[..., 0]))
            raster = Raster(np.ascontiguousarray(samples[..., 0]), "palette", palette=table[:, :3], valid=valid)
        else:
            colours: Colours = "gray" if len(bands) == 1 else "rgb"
            raster = Raster(samples[..., 0] if colours == "gray" else samples, colours, maximum, valid=valid)
        return without_nodata(raster, samples, nodata, bands)

    def values(self, window: Window, bands: tuple[int, ...] | None) -> tuple[Samples, NDArray[np.bool_] | None]:
        """The samples of a window; see `Stored`."""
        if self._palette is not None:
            raise Refused(PALETTE_HAS_NO_BANDS)
        but_alpha = self.info.but_alpha
        chosen = but_alpha if bands is None else chosen_bands(bands, self.info.bands, len(but_alpha))
        return self._read(window, chosen)

    def nonzero(self, window: Window) -> NDArray[np.bool_]:
        """Where a mask says "use"; see `Stored`."""
        used: NDArray[np.bool_] = (self._read(window, self.info.but_alpha)[0] != 0).any(axis=2)
        return used

    def close(self) -> None:
        """Close the files."""
        self._dataset.close()

    def _read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        """Read a window, (height, width, bands), and where alpha or the files' own masks are not 0."""
        place = ((window.top, window.bottom), (window.left, window.right))
        with gdal(_NAME, **vrt_sources.OPTIONS):
            samples = self._dataset.read([band + 1 for band in bands], window=place, out_dtype=self._dtype)
            valid: NDArray[np.bool_] | None = None
            if self._alpha_at is not None:
                valid = self._dataset.read(self._alpha_at + 1, window=place) != 0
            elif self._masked:
                valid = self._dataset.dataset_mask(window=place) != 0
        return np.ascontiguousarray(np.moveaxis(samples, 0, 2)), valid


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and one != one and other != other)
