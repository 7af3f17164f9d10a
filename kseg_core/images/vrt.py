"""Virtual rasters (VRT), by rasterio, window by window.

A VRT is a text that names files, and GDAL would fetch from wherever it says. So the text is read here first, and those
that it names: only files of this machine that begin as pictures do, and VRTs of the same kind, are let through.
"""

from __future__ import annotations

import os
import re

import numpy as np
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.images import vrt_sources
from kseg_core.images.choosing import require_one_picture
from kseg_core.images.decoder import Decoder, Opening
from kseg_core.images.gdal import CACHE_BYTES, gdal
from kseg_core.images.plausible import check_sparse
from kseg_core.images.raster import (
    Cost,
    NotSupported,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_dtype,
    check_size,
)
from kseg_core.images.validity import combine
from kseg_core.images.windows import Window

_NAME = vrt_sources.NAME
_BLOCK = 512  # GDAL's own of 128 would decode a source's tiles many times
_MAGIC = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<VRTDataset[\s>]", re.DOTALL)


class Vrt(Decoder):
    """A VRT opened for reading by windows: a file of this machine."""

    name = _NAME

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        """See `Decoder`."""
        return _MAGIC.match(head) is not None

    def __init__(self, opening: Opening) -> None:
        from rasterio.enums import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            ColorInterp,
            MaskFlags,
        )

        path = opening.path
        require_one_picture(opening.choice, self.name, channels=False)
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
            cost=Cost(cache_bytes=CACHE_BYTES),
        )

    def raster(self, window: Window) -> Raster:
        """The colours of a window; see `Decoder`."""
        raster = super().raster(window)
        if self._palette is None:
            return raster
        table = np.array([self._palette.get(n, (0, 0, 0, 255)) for n in range(raster.maximum + 1)], np.uint8)
        indices, valid = raster.samples if raster.colours == "gray" else raster.samples[..., 0], raster.valid
        if (table[:, 3] == 0).any():
            valid = combine(valid, np.take(table[:, 3] != 0, indices))
        return Raster(np.ascontiguousarray(indices), "palette", palette=table[:, :3], valid=valid)

    def close(self) -> None:
        """Close the files."""
        self._dataset.close()

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        """The samples of a window, and where alpha or the files' own masks are not 0; see `Decoder`."""
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
