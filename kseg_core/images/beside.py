"""What a file carries besides its pixels that says which of them count: within it, and in files beside it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO

from kseg_core import storage
from kseg_core.errors import UnreadableImage
from kseg_core.images.decoder import Decoder
from kseg_core.images.failures import opened, refusing
from kseg_core.images.file_masks import SUFFIX, FileMask, MaskBehindJpeg, PageMask, mask_beside
from kseg_core.images.gdal_metadata import nodata_beside
from kseg_core.images.raster import PictureInfo

_METADATA = ".aux.xml"
_MAX_METADATA_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Beside:
    """What was found.

    Parameters
    ----------
    mask
        Which pixels count.
    nodata
        Values of bands, from 0, by ``.aux.xml``, which go before those of the file.
    notes
        What is to be said of it.
    """

    mask: FileMask | None = None
    nodata: Mapping[int, float] = field(default_factory=dict)
    of_all: tuple[float | None, ...] = ()
    notes: tuple[str, ...] = ()

    def added_to(self, info: PictureInfo) -> PictureInfo:
        """What the header says, and this."""
        notes, nodata, by_band = info.notes + self.notes, info.nodata, self.of_all or info.band_nodata
        if self.nodata:
            by_band = tuple(self.nodata.get(band, nodata) for band in range(info.bands))
            nodata = None
        if (notes, nodata, by_band) == (info.notes, info.nodata, info.band_nodata):
            return info
        return dataclasses.replace(info, notes=notes, nodata=nodata, band_nodata=by_band)


NOTHING_BESIDE = Beside()


def look_beside(path: str, name: str, file: BinaryIO, stored: Decoder, max_pixels: int, closing: ExitStack) -> Beside:
    """Find the mask and the metadata of a picture.

    Parameters
    ----------
    path, name, file, stored
        The picture's file, its format, and what was opened of it.
    max_pixels
        The limit for what can only be read whole.
    closing
        Closes what is opened here.

    Raises
    ------
    UnreadableImage
        Where what is there is damaged.
    """
    mask: FileMask | None = stored.mask
    notes: tuple[str, ...] = ()
    if mask is None and name == "JPEG":
        mask = MaskBehindJpeg(file, stored)
    if (mask is None or name == "JPEG") and _is_there(path + SUFFIX):
        found = _open_mask(path, stored.info.shape, max_pixels, closing)
        if isinstance(found, str):
            notes = (f"{os.path.basename(path)}{SUFFIX} {found}: it is not used",)
        else:
            mask = found
    nodata, of_all = _metadata(path)
    return Beside(mask, nodata, of_all, notes)


def _open_mask(path: str, shape: tuple[int, int], max_pixels: int, closing: ExitStack) -> PageMask | str:
    try:
        with refusing(path, ""):
            file, _ = closing.enter_context(opened(path + SUFFIX))
        with refusing(path, "TIFF"):
            return mask_beside(file, shape, max_pixels, closing)
    except UnreadableImage as error:
        raise UnreadableImage(path, f"its mask {os.path.basename(path)}{SUFFIX}: {error.reason}") from error


def _metadata(path: str) -> tuple[dict[int, float], tuple[float | None, ...]]:
    """Read what GDAL keeps beside files that it cannot, or may not, write into."""
    if not _is_there(path + _METADATA):
        return {}, ()
    with refusing(path, ""), opened(path + _METADATA) as (file, _):
        return nodata_beside(file.read(_MAX_METADATA_BYTES).decode("utf-8", "replace"))


def _is_there(path: str) -> bool:
    return _is_there_remotely(path) if storage.is_remote(path) else os.path.isfile(path)


@lru_cache(maxsize=1 << 16)
def _is_there_remotely(path: str) -> bool:
    """Asked once a process: each question is a request."""
    return storage.is_file(path)
