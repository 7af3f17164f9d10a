"""What a file carries besides its pixels that says which of them count: masks and values of nodata.

- A TIFF's mask page (NewSubfileType 4, or PhotometricInterpretation 4) of the picture's size.
- Beside a file of any format, the same name with ``.msk`` added: a TIFF by GDAL, whose metadata say what it is a mask
  of; its bands are masks of all bands of the picture, or each of one.
- Behind a JPEG's end, GDAL's bits of a mask, deflated.
- Beside a file of any format, GDAL's ``.aux.xml``: values of nodata, and what bands are called.

Where a TIFF has a page, its ``.msk`` is not used: so GDAL has it. What else is called ``.msk`` is passed over, with a
note.
"""

from __future__ import annotations

import dataclasses
import io
import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.config import NodataIn
from kseg_core.errors import UnreadableImage
from kseg_core.images.band_names import cleaned
from kseg_core.images.decoder import Decoder, FileMask
from kseg_core.images.failures import opened, refusing
from kseg_core.images.gdal import descriptions_beside, nodata_beside, parse_tag
from kseg_core.images.raster import PictureInfo, Refused, check_size
from kseg_core.images.tiff_directory import GDAL_METADATA, MAGICS
from kseg_core.images.windows import Window
from kseg_core.inputs.companions import MASK, METADATA

_PER_DATASET = 2  # GMF_PER_DATASET
_JPEG_END = b"\xff\xd9"
_SMALLEST_JPEG = 32
_MAX_METADATA_BYTES = 1 << 24


class PageMask:
    """A mask that is a page of a TIFF: of its ``file``, a ``TiffPage``.

    What can only be read whole has at most ``max_pixels``; ``per_band``: its bands are masks of one band of the picture
    each.
    """

    def __init__(self, page: Any, file: BinaryIO, max_pixels: int, *, per_band: bool) -> None:
        from kseg_core.images.tiff_segments import natural_block

        self._page, self._expect, self._per_band = page, getattr(file, "expect", None), per_band
        self._in_parts = natural_block(page) is not None
        self._whole: NDArray[np.bool_] | None = None
        if not self._in_parts:
            check_size(page.imagelength, page.imagewidth, max_pixels)

    def valid(self, window: Window, bands: Sequence[int], within: NodataIn) -> NDArray[np.bool_]:
        count = int(self._page.samplesperpixel)
        if not self._per_band or count == 1:
            return self._read(window, 0)
        valid: NDArray[np.bool_] | None = None
        for band in bands:
            if band < count:
                part = self._read(window, band)
                valid = part if valid is None else valid & part if within == "any" else valid | part
        return np.ones(window.shape, np.bool_) if valid is None else valid

    def _read(self, window: Window, band: int) -> NDArray[np.bool_]:
        height, width = self._page.imagelength, self._page.imagewidth
        if window.bottom > height or window.right > width:
            raise Refused(f"its mask is of {width} x {height} pixels, the picture as it is stored is not")
        if self._in_parts:
            return self._decoded(window, [band])[..., 0]
        if self._whole is None:
            self._whole = self._decoded(Window.whole((height, width)), None)
        return self._whole[window.slices][..., band].copy()

    def _decoded(self, window: Window, bands: Sequence[int] | None) -> NDArray[np.bool_]:
        from kseg_core.images.tiff_segments import read_window

        used: NDArray[np.bool_] = read_window(self._page, window, bands, 0, self._expect) != 0
        return used


class MaskBehindJpeg:
    """The mask that GDAL appends to a JPEG: its bits by rows without a gap, deflated, and where they begin.

    Looked for when the first pixel is asked for.
    """

    def __init__(self, file: BinaryIO, stored: Decoder) -> None:
        self._file, self._stored = file, stored

    def valid(self, window: Window, _bands: Sequence[int], _within: NodataIn) -> NDArray[np.bool_] | None:
        return None if self._mask is None else self._mask[window.slices].copy()

    @cached_property
    def _mask(self) -> NDArray[np.bool_] | None:
        file = self._file
        size = file.seek(0, io.SEEK_END)
        if size < _SMALLEST_JPEG:
            return None
        file.seek(-4, io.SEEK_END)
        start = int.from_bytes(file.read(4), "little")
        if not size // 2 <= start <= size - 8:  # GDAL looks for no mask larger than its picture
            return None
        file.seek(start - 2)
        if file.read(2) != _JPEG_END:
            return None
        height, width = self._stored.stored_shape
        wanted = -(-height * width // 8)
        file.seek(start)
        try:
            bits = zlib.decompressobj().decompress(file.read(size - 4 - start), wanted)
        except zlib.error:
            return None
        if len(bits) < wanted:
            raise Refused("damaged: the mask behind the JPEG's end is cut short")
        mask = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little", count=height * width)
        return mask.view(np.bool_).reshape(height, width)


class MaskOfChannels:
    """A mask of a picture, asked for its channels by their new numbers."""

    def __init__(self, of: FileMask, channels: tuple[int, ...]) -> None:
        self._of, self._channels = of, channels

    def valid(self, window: Window, bands: Sequence[int], within: NodataIn) -> NDArray[np.bool_] | None:
        return self._of.valid(window, [self._channels[band] for band in bands], within)


@dataclass(frozen=True, slots=True)
class Carried:
    """What a file carries: which pixels count, values of nodata, and what is to be said of it."""

    mask: FileMask | None = None
    nodata: Mapping[int, float] = field(default_factory=dict)  # of bands, from 0; they go before the file's own
    of_all: tuple[float | None, ...] = ()  # of all bands
    notes: tuple[str, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)  # of bands, from 0; they go before the file's own

    def added_to(self, info: PictureInfo) -> PictureInfo:
        """What the header says, and this."""
        notes, nodata, by_band = info.notes + self.notes, info.nodata, self.of_all or info.band_nodata
        if self.nodata:
            by_band = tuple(self.nodata.get(band, nodata) for band in range(info.bands))
            nodata = None
        own = info.band_names or ("",) * info.bands
        names = cleaned([self.names.get(band) or name for band, name in enumerate(own)], info.bands)
        if (notes, nodata, by_band, names) == (info.notes, info.nodata, info.band_nodata, info.band_names):
            return info
        return dataclasses.replace(info, notes=notes, nodata=nodata, band_nodata=by_band, band_names=names)


def carried_by(path: str, file: BinaryIO, stored: Decoder, max_pixels: int, closing: ExitStack) -> Carried:
    """Find the mask and the metadata of a picture.

    Parameters
    ----------
    path, file, stored
        The picture's file, and what was opened of it.
    max_pixels
        The limit for what can only be read whole.
    closing
        Closes what is opened here.

    Raises
    ------
    UnreadableImage
        Where what is there is damaged.
    """
    mask, notes, is_jpeg = stored.mask, tuple[str, ...](), stored.name == "JPEG"
    if mask is None and is_jpeg:
        mask = MaskBehindJpeg(file, stored)
    if (mask is None or is_jpeg) and _is_there(path + MASK):
        name = os.path.basename(path) + MASK
        try:
            with refusing(path, ""):
                mask_file, _ = closing.enter_context(opened(path + MASK))
            with refusing(path, "TIFF"):
                opened_mask = _mask_beside(mask_file, stored.info.shape, max_pixels, closing)
        except UnreadableImage as error:
            raise UnreadableImage(path, f"its mask {name}: {error.reason}") from error
        if isinstance(opened_mask, str):
            notes = (f"{name} {opened_mask}: it is not used",)
        else:
            mask = opened_mask
    if not _is_there(path + METADATA):
        return Carried(mask, notes=notes)
    with refusing(path, ""), opened(path + METADATA) as (metadata, _):
        text = metadata.read(_MAX_METADATA_BYTES).decode("utf-8", "replace")
    return Carried(mask, *nodata_beside(text), notes, descriptions_beside(text))


def _mask_beside(file: BinaryIO, shape: tuple[int, int], max_pixels: int, closing: ExitStack) -> PageMask | str:
    """Open a ``.msk`` file as the mask of a picture of a shape, as a person sees it; or say why it is none."""
    import tifffile

    from kseg_core.images.tiff_codecs import remarks_of

    start = file.read(4)
    file.seek(0)
    if start not in MAGICS:
        return "is no mask as GDAL writes them, a TIFF"
    with remarks_of("tifffile"):
        tiff = closing.enter_context(tifffile.TiffFile(file))
        page: Any = tiff.pages.first
        flags = parse_tag(str(page.tags.valueof(GDAL_METADATA, ""))).mask_flags
    if flags is None:
        return "is no mask as GDAL writes them: it does not say what of"
    if (page.imagelength, page.imagewidth) not in (shape, shape[::-1]):  # turned pictures' are as stored
        return f"is a mask of {page.imagewidth} x {page.imagelength} pixels, not of {shape[1]} x {shape[0]}"
    return PageMask(page, file, max_pixels, per_band=not any(flag & _PER_DATASET for flag in flags.values()))


def _is_there(path: str) -> bool:
    return _is_there_remotely(path) if storage.is_remote(path) else os.path.isfile(path)


@lru_cache(maxsize=1 << 16)
def _is_there_remotely(path: str) -> bool:
    """Asked once a process: each question is a request."""
    return storage.is_file(path)
