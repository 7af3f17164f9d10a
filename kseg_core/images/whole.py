"""Pictures of formats that can only be decoded whole, behind the same door as those read by windows."""

from __future__ import annotations

import dataclasses
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from kseg_core.images import formats
from kseg_core.images.exif import turned_shape
from kseg_core.images.raster import PictureInfo, Raster, Refused, Samples, check_size
from kseg_core.images.stored import PALETTE_HAS_NO_BANDS, chosen_bands, without_nodata
from kseg_core.images.validity import Nodata
from kseg_core.images.windows import Window


class WholePicture:
    """A picture of a `WholeFormat`; decoded when the first pixel is asked for, and kept.

    Gray and RGB samples are as decoded (a PNG's of less than 8 bits scaled to 0 to 255); CMYK has 0 for no ink.

    Parameters
    ----------
    form
        Its format.
    file
        Standing at its beginning.
    max_pixels
        Pictures of more are refused.
    """

    def __init__(self, form: formats.WholeFormat, file: BinaryIO, max_pixels: int) -> None:
        self._format = form
        shape = self._format.shape(file)
        check_size(*shape, max_pixels)
        file.seek(0)
        stated = self._format.stated(file)
        file.seek(0)
        self.info = PictureInfo(
            form.name,
            shape,
            stated.bands,
            stated.dtype,
            None,
            None,
            stated.alpha,
            stated.colours,
            stated.notes,
            decoding_px=stated.decoding_px,
            finishing_px=stated.finishing_px,
        )
        self._file, self._max_pixels = file, max_pixels
        self._decoded: Raster | None = None

    @property
    def orientation(self) -> int:
        return self._whole().orientation

    @property
    def stored_shape(self) -> tuple[int, int]:
        height, width = self._whole().samples.shape[:2]
        return height, width

    def raster(self, window: Window, nodata: Nodata | float | None) -> Raster:
        """The colours of a window; see `Stored`."""
        whole = self._whole()
        if whole.samples.dtype.kind not in "bu":
            raise Refused(f"{whole.samples.dtype} samples: not an 8- or 16-bit image; use --features bands")
        if window.shape == self.stored_shape:
            return without_nodata(whole, whole.samples, nodata)  # pixels by the hundred million are not copied
        valid = None if whole.valid is None else whole.valid[window.slices].copy()
        part = dataclasses.replace(whole, samples=whole.samples[window.slices].copy(), valid=valid)
        return without_nodata(part, part.samples, nodata)

    def values(self, window: Window, bands: tuple[int, ...] | None) -> tuple[Samples, NDArray[np.bool_] | None]:
        """The samples of a window; see `Stored`."""
        whole = self._whole()
        if whole.colours == "palette":
            raise Refused(PALETTE_HAS_NO_BANDS)
        samples, is_all = self._part(window), window.shape == self.stored_shape
        colours = {"gray": 1, "rgb": 3, "cmyk": 4}[whole.colours]
        chosen = chosen_bands(bands, self.info.bands, colours)
        if max(chosen) >= samples.shape[2]:
            raise Refused(f"its band {max(chosen) + 1} is alpha, which is no band to cluster by")
        in_order = chosen == tuple(range(len(chosen)))
        values = samples[..., : len(chosen)] if in_order else samples[..., list(chosen)]
        valid = whole.valid
        if not is_all:  # a part must not hold on to the whole
            values, valid = values.copy(), None if valid is None else valid[window.slices].copy()
        return np.ascontiguousarray(values), valid

    def nonzero(self, window: Window) -> NDArray[np.bool_]:
        """Where a mask says "use"; see `Stored`."""
        colours = {"gray": 1, "palette": 1, "rgb": 3, "cmyk": 4}[self._whole().colours]
        used: NDArray[np.bool_] = (self._part(window)[..., :colours] != 0).any(axis=2)
        return used

    def close(self) -> None:
        """Let go of the pixels."""
        self._decoded = None

    def _part(self, window: Window) -> Samples:
        """The samples of a window as decoded, (height, width, bands)."""
        part = self._whole().samples[window.slices]
        part = part.view(np.uint8) if part.dtype == np.bool_ else part
        return part[..., None] if part.ndim == 2 else part

    def _whole(self) -> Raster:
        if self._decoded is None:
            decoded = formats.decode(self._format, self._file, self._max_pixels)
            height, width = decoded.samples.shape[:2]
            if turned_shape(height, width, decoded.orientation) != self.info.shape:
                raise Refused("changed while it was being read; run again")
            self._decoded = decoded
        return self._decoded
