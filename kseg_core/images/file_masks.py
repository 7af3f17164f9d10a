"""The masks that files carry: which of their pixels count.

- A TIFF's mask page (NewSubfileType 4, or PhotometricInterpretation 4) of the picture's size.
- Beside a file of any format, the same name with ``.msk`` added: a TIFF by GDAL, whose metadata say what it is a mask
  of; its bands are masks of all bands of the picture, or each of one.
- Behind a JPEG's end, GDAL's bits of a mask, deflated.

Where a TIFF has a page, its ``.msk`` is not used: so GDAL has it. What else is called ``.msk`` is passed over, with a
note.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from kseg_core.config import NodataIn
from kseg_core.images.decoder import Decoder
from kseg_core.images.raster import Refused, check_size
from kseg_core.images.windows import Window

SUFFIX = ".msk"
_PER_DATASET = 2  # GMF_PER_DATASET
_JPEG_END = b"\xff\xd9"
_SMALLEST_JPEG = 32


class FileMask(Protocol):
    """A mask, opened. Windows are in stored pixels."""

    def valid(self, window: Window, bands: Sequence[int], within: NodataIn) -> NDArray[np.bool_] | None:
        """Return where pixels count, None: everywhere.

        Parameters
        ----------
        window
            Which part.
        bands
            The picture's bands that are wanted, from 0: a mask may be of each band.
        within
            Where each band has a mask, whether pixels that ``any`` or ``all`` of them leave out do not count.
        """


class PageMask:
    """A mask that is a page of a TIFF.

    Parameters
    ----------
    page
        A ``TiffPage``.
    file
        That it is read from.
    max_pixels
        The limit for what can only be read whole.
    per_band
        Whether its bands are masks of one band of the picture each.
    """

    def __init__(self, page: Any, file: BinaryIO, max_pixels: int, *, per_band: bool) -> None:
        from kseg_core.images.tiff_segments import natural_block

        self._page, self._expect, self._per_band = page, getattr(file, "expect", None), per_band
        self._in_parts = natural_block(page) is not None
        self._kept: NDArray[np.bool_] | None = None
        if not self._in_parts:
            check_size(page.imagelength, page.imagewidth, max_pixels)

    def valid(self, window: Window, bands: Sequence[int], within: NodataIn) -> NDArray[np.bool_]:
        """Where pixels count; see `FileMask`."""
        count = int(self._page.samplesperpixel)
        if not self._per_band or count == 1:
            return self._read(window, 0)
        found: NDArray[np.bool_] | None = None
        for band in bands:
            if band < count:
                part = self._read(window, band)
                found = part if found is None else found & part if within == "any" else found | part
        return np.ones(window.shape, np.bool_) if found is None else found

    def _read(self, window: Window, band: int) -> NDArray[np.bool_]:
        height, width = self._page.imagelength, self._page.imagewidth
        if window.bottom > height or window.right > width:
            raise Refused(f"its mask is of {width} x {height} pixels, the picture as it is stored is not")
        if self._in_parts:
            return self._decoded(window, [band])[..., 0]
        if self._kept is None:
            self._kept = self._decoded(Window.whole((height, width)), None)
        return self._kept[window.slices][..., band].copy()

    def _decoded(self, window: Window, bands: Sequence[int] | None) -> NDArray[np.bool_]:
        from kseg_core.images.tiff_segments import read_window

        used: NDArray[np.bool_] = read_window(self._page, window, bands, 0, self._expect) != 0
        return used


class MaskBehindJpeg:
    """The mask that GDAL appends to a JPEG: its bits by rows without a gap, deflated, and where they begin.

    Looked for when the first pixel is asked for.

    Parameters
    ----------
    file, stored
        The JPEG, and what was opened of it.
    """

    def __init__(self, file: BinaryIO, stored: Decoder) -> None:
        self._file, self._stored = file, stored
        self._found: tuple[NDArray[np.bool_] | None] | None = None

    def valid(self, window: Window, _bands: Sequence[int], _within: NodataIn) -> NDArray[np.bool_] | None:
        """Where pixels count; see `FileMask`."""
        if self._found is None:
            self._found = (self._read(),)
        (mask,) = self._found
        return None if mask is None else mask[window.slices].copy()

    def _read(self) -> NDArray[np.bool_] | None:
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


def mask_beside(file: BinaryIO, shape: tuple[int, int], max_pixels: int, closing: ExitStack) -> PageMask | str:
    """Open the mask beside a picture, or say why it is none.

    Parameters
    ----------
    file
        The ``.msk`` file, at its beginning.
    shape
        (height, width) of the picture as a person sees it.
    max_pixels
        The limit for what can only be read whole.
    closing
        Closes it.
    """
    import tifffile

    from kseg_core.images.gdal_metadata import parse_tag
    from kseg_core.images.tiff_codecs import remarks_of

    start = file.read(4)
    file.seek(0)
    if start not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "is no mask as GDAL writes them, a TIFF"
    with remarks_of("tifffile"):
        tiff = closing.enter_context(tifffile.TiffFile(file))
        page: Any = tiff.pages.first
        flags = parse_tag(str(page.tags.valueof(42112, ""))).mask_flags
    if flags is None:
        return "is no mask as GDAL writes them: it does not say what of"
    if (page.imagelength, page.imagewidth) not in (shape, shape[::-1]):  # turned pictures' are as stored
        return f"is a mask of {page.imagewidth} x {page.imagelength} pixels, not of {shape[1]} x {shape[0]}"
    return PageMask(page, file, max_pixels, per_band=not any(flag & _PER_DATASET for flag in flags.values()))
