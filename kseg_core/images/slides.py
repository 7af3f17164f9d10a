"""Slides of scanners, by OpenSlide (the `slides` extra), window by window at full resolution.

What OpenSlide paints nothing on is transparent, and so not valid. Any error of its is damage: a slide that has raised
one gives no further pixel. Slides that are plain TIFFs inside (Aperio SVS, Leica SCN, Philips) are read as those; NDPI
and BIF are TIFFs too, but of strips wider than a JPEG can be, and of tiles that overlap.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.images.choosing import require_one_picture
from kseg_core.images.decoder import Decoder, Opening
from kseg_core.images.failures import decoder_reason
from kseg_core.images.raster import Cost, NotSupported, PictureInfo, Raster, Refused, Samples, check_size
from kseg_core.images.tiff_directory import NDPI as NDPI_TAG
from kseg_core.images.tiff_directory import XMP, Directories
from kseg_core.images.windows import Window

NDPI, BIF, MRXS = "Hamamatsu NDPI", "Ventana BIF", "3DHISTECH MRXS"

_BLOCK = 512  # a multiple of most tiles; OpenSlide keeps those that two windows share
_CACHE_BYTES = 32_000_000  # OpenSlide's own
_MOST_PX = 1 << 24  # of one call: it makes four bytes of each, twice
_ISCAN = re.compile(rb"<(\w+:)?iScan\b")
_MAX_XMP = 1 << 24
_EXPORT = "export it to OME-TIFF first, e.g. with `bfconvert`"


def kind_of_tiff(file: BinaryIO) -> str | None:
    """Say whether a TIFF is a slide that has to be read by OpenSlide: its name, or None.

    Parameters
    ----------
    file
        It is left standing at its beginning.
    """
    try:
        first = Directories(file).first
        if NDPI_TAG in first.tags:
            return NDPI
        return BIF if _ISCAN.search(first.text(XMP, _MAX_XMP)) else None
    except (Refused, OSError):
        return None  # a damaged one: the reader of TIFFs will say how
    finally:
        file.seek(0)


def is_mrxs(path: str) -> bool:
    """Say whether a file is the one that stands for a MIRAX slide: by its name, and the folder beside it."""
    stem, suffix = os.path.splitext(path)
    return suffix.lower() == ".mrxs" and not storage.is_remote(path) and os.path.isfile(f"{stem}/Slidedat.ini")


class Slide(Decoder):
    """A slide opened for reading by windows: a file of this machine.

    Most begin as files of other formats do: `kind_of_tiff` and `is_mrxs` tell.
    """

    def __init__(self, opening: Opening) -> None:
        name, path = self.name, opening.path
        require_one_picture(opening.choice, name, channels=False)
        if storage.is_remote(path):
            raise NotSupported(f"{name}: slides in object stores are not supported here; copy it to a disk first")
        openslide = _library(name)
        self._error = openslide.OpenSlideError
        try:
            self._slide: Any = openslide.OpenSlide(path)
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise NotSupported(
                f"{name} of a kind that OpenSlide does not read: not supported here; {_EXPORT}"
            ) from error
        except openslide.OpenSlideError as error:
            raise self._refused(error) from error
        width, height = self._slide.dimensions
        self.stored_shape: tuple[int, int] = (height, width)
        try:
            check_size(height, width, height * width)
            self._icc = self._profile()
        except BaseException:
            self.close()
            raise
        self.info = PictureInfo(name, self.stored_shape, 3, block=(_BLOCK, _BLOCK), cost=Cost(cache_bytes=_CACHE_BYTES))

    def raster(self, window: Window) -> Raster:
        return replace(super().raster(window), icc=self._icc)

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        rgb, valid = self._read(window)
        return rgb if bands == (0, 1, 2) else np.ascontiguousarray(rgb[..., list(bands)]), valid

    def close(self) -> None:
        self._slide.close()

    def _read(self, window: Window) -> tuple[Samples, NDArray[np.bool_]]:
        """Read a window: uint8 (height, width, 3), and where something was painted."""
        height, width = window.shape
        rgb, valid = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.bool_)
        rows = max(1, _MOST_PX // width)
        for top in range(0, height, rows):
            count = min(rows, height - top)
            try:
                region = self._slide.read_region((window.left, window.top + top), 0, (width, count))
            except self._error as error:
                raise self._refused(error) from error
            part = np.asarray(region)
            rgb[top : top + count] = part[..., :3]
            valid[top : top + count] = part[..., 3] != 0
        return rgb, valid

    def _profile(self) -> bytes | None:
        try:
            profile = self._slide.color_profile
        except Exception:  # one that Pillow cannot open, and viewers ignore
            return None
        return None if profile is None else bytes(profile.tobytes())

    def _refused(self, error: Exception) -> Refused:
        message = " ".join(str(error).split())
        if re.search("not supported|nsupported|nrecognized|onzero subblock", message):
            return NotSupported(f"{self.name}: not supported here ({message}); {_EXPORT}")
        return Refused(decoder_reason(error, self.name))


class Ndpi(Slide):
    """Hamamatsu's."""

    name = NDPI


class Bif(Slide):
    """Ventana's, of overlapping tiles."""

    name = BIF


class Mrxs(Slide):
    """3DHISTECH's MIRAX: a file and the folder beside it."""

    name = MRXS


class Czi(Slide):
    """Zeiss'."""

    name = "Zeiss CZI"
    magic = (b"ZISRAWFILE",)


def _library(name: str) -> Any:
    """Return openslide, or refuse for lack of it."""
    try:
        import openslide
    except ImportError as error:  # ModuleNotFoundError, or a library that does not load
        raise NotSupported(f"{name}: not supported without `pip install 'kseg-batch[slides]'`") from error
    return openslide
