"""TIFF, by tifffile and imagecodecs.

imageio's own TIFF plugin is tifffile's whole-page reading, which fills missing strips and tiles with zeros and
takes damaged ones for good; Pillow's reader cannot do 16-bit colour, and the libtiff below it writes to standard
error. So tifffile reads the structure, and `tiff_segments` decodes its pages strip by strip.

Which of its pages are the picture, `tiff_pages` says.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from kseg_core.choice import PictureChoice
from kseg_core.images import tiff_tags
from kseg_core.images.decoder import Decoder, Opening
from kseg_core.images.exif import turned_shape
from kseg_core.images.gdal import as_number, parse_tag
from kseg_core.images.geo import GEO_KEYS, PLACED_TAGS, crs_stated
from kseg_core.images.raster import NotSupported, PictureInfo, Raster, Refused, Samples, check_size
from kseg_core.images.tiff_colours import (
    alpha_band,
    check_bands,
    check_samples,
    colours_of,
    dtype_of,
    orientation_of,
    to_raster,
)
from kseg_core.images.tiff_masks import mask_of
from kseg_core.images.tiff_pages import picture_pages
from kseg_core.images.tiff_plausible import check_directory, check_page
from kseg_core.images.tiff_segments import MAX_TILE_PX, Expect, check_codec, natural_block, read_window
from kseg_core.images.validity import fits
from kseg_core.images.windows import Window

_quiet = threading.local()


def _drop_while_reading(_record: logging.LogRecord) -> bool:
    """Logging filter: what tifffile remarks on a file being read here does not go to the terminal."""
    return not getattr(_quiet, "depth", 0)


@contextmanager
def silenced() -> Iterator[None]:
    """Keep tifffile's log silent in this thread: what it remarks on a damaged file is told by us, once."""
    log = logging.getLogger("tifffile")
    if _drop_while_reading not in log.filters:
        log.addFilter(_drop_while_reading)
    _quiet.depth = getattr(_quiet, "depth", 0) + 1
    try:
        yield
    finally:
        _quiet.depth -= 1


class Tiff(Decoder):
    """A TIFF opened for reading by windows."""

    name = "TIFF"
    magic = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        """See `Decoder`; Canon's raw files begin so as well."""
        return head.startswith(cls.magic) and not head.startswith(b"CR\x02", 8)

    def __init__(self, opening: Opening) -> None:
        import tifffile

        file, max_pixels = opening.file, opening.max_pixels
        check_directory(file)
        with silenced(), contextlib.ExitStack() as closing:
            tiff = closing.enter_context(tifffile.TiffFile(file))
            self._pages = _Pages(tiff, file, opening.choice, early=opening.early)
            if self._pages.block is None:
                check_size(*self._pages.stored_shape, max_pixels)
            self.mask = mask_of(tiff, self._pages.page, file, max_pixels)
            self._closing = closing.pop_all()
        self.orientation = self._pages.orientation
        self.stored_shape = self._pages.stored_shape
        self.info = self._pages.info()

    def raster(self, window: Window) -> Raster:
        """The colours of a window; see `Decoder`."""
        with silenced():
            return self._pages.raster(window)

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        """The samples of a window; see `Decoder`."""
        with silenced():
            return self._pages.read(window, bands)

    def close(self) -> None:
        """Let go of what was opened."""
        self._closing.close()


class _Pages:
    """The pages that make the picture: one, or those of its channels and slices."""

    def __init__(self, tiff: Any, file: BinaryIO, choice: PictureChoice, *, early: bool) -> None:
        self._expect: Expect | None = getattr(file, "expect", None)  # of one in an object store
        self._chosen = picture_pages(tiff, choice)
        self.page = self._chosen.first
        self._alpha_of_page = alpha_band(self.page, early=early)
        check_size(self.page.imagelength, self.page.imagewidth, sys.maxsize)
        self.dtype = dtype_of(self.page)
        _check_layout(self.page)
        self.stored_shape: tuple[int, int] = (self.page.imagelength, self.page.imagewidth)
        self.orientation = orientation_of(self.page)
        self.block = natural_block(self.page)
        self._channels = self._chosen.bands
        for planes in self._channels:
            for page in planes:
                check_page(page)
        self._kept: tuple[float | None, Samples] | None = None

    @property
    def bands(self) -> int:
        return len(self._channels) * int(self.page.samplesperpixel)

    @property
    def _alpha(self) -> int | None:
        """Which band is alpha, from 0."""
        return self._alpha_of_page if self.bands > 1 and len(self._channels) == 1 else None

    @property
    def _but_alpha(self) -> list[int]:
        return [band for band in range(self.bands) if band != self._alpha]

    def info(self) -> PictureInfo:
        shape = turned_shape(*self.stored_shape, self.orientation)
        block = None if self.block is None else turned_shape(*self.block, self.orientation)
        nodata, alpha = _nodata_of(self.page), self._alpha
        info = PictureInfo("TIFF", shape, self.bands, self.dtype, block, nodata, alpha is not None)
        return replace(
            info,
            colours=colours_of(self.page),
            notes=self._chosen.notes,
            rules=self._chosen.rules,
            placed=None if PLACED_TAGS.isdisjoint(self.page.tags.keys()) else self._place(),
            crs_stated=crs_stated(self.page.tags.valueof(GEO_KEYS, None)),
            band_nodata=_nodata_by_band(self.page),
            alpha_at=alpha,
        )

    def _place(self) -> int:
        """Where the page's directory is in the file; 0 where that is the first, which every program opens."""
        offset = int(self.page.offset)
        return 0 if offset == self.page.parent.pages.first.offset else offset

    def raster(self, window: Window) -> Raster:
        check_samples(self.page)
        check_bands(self.page, self.bands if len(self._channels) > 1 else 1, self._alpha_of_page)
        samples = self._read(window, None, self._fill())
        flat = samples[..., 0] if samples.shape[2] == 1 else samples
        raster = to_raster(self.page, flat, self._alpha_of_page)
        colours = self._but_alpha
        in_order = colours == [*range(len(colours))]
        return replace(raster, stored=samples if in_order else samples[..., colours])

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        alpha = self._alpha
        wanted = [*bands, *([alpha] if alpha is not None and alpha not in bands else [])]
        samples = self._read(window, None if wanted == [*range(self.bands)] else wanted, self._fill())
        valid = None if alpha is None else samples[..., wanted.index(alpha)] != 0
        return samples[..., : len(bands)], valid

    def _fill(self) -> float:
        """What GDAL takes tiles that were never written for."""
        nodata = _nodata_of(self.page)
        return nodata if nodata is not None and fits(nodata, self.page.dtype) else 0

    def _read(self, window: Window, bands: Sequence[int] | None, fill: float | None) -> Samples:
        """Decode a window, (height, width, bands); what can only be decoded whole is kept for the next one."""
        if self.block is not None or window == Window.whole(self.stored_shape):
            return self._decoded(window, bands, fill)
        if self._kept is None or self._kept[0] != fill:
            self._kept = fill, self._decoded(Window.whole(self.stored_shape), None, fill)
        part = self._kept[1][window.slices]
        return part.copy() if bands is None else part[..., list(bands)]

    def _decoded(self, window: Window, bands: Sequence[int] | None, fill: float | None) -> Samples:
        if len(self._channels) == 1:
            return self._projected(self._channels[0], window, bands, fill)
        each = int(self.page.samplesperpixel)
        chosen = range(self.bands) if bands is None else bands
        out = np.empty((*window.shape, len(chosen)), self.page.dtype)
        for number, band in enumerate(chosen):
            plane, sample = divmod(band, each)
            only = None if each == 1 else (sample,)
            out[..., number] = self._projected(self._channels[plane], window, only, fill)[..., 0]
        return out

    def _projected(
        self, planes: Sequence[Any], window: Window, bands: Sequence[int] | None, fill: float | None
    ) -> Samples:
        """The largest values over some planes, as NumPy's ``max`` has them; nearly always there is one."""
        highest = read_window(planes[0], window, bands, fill, self._expect)
        for plane in planes[1:]:
            highest = np.maximum(highest, read_window(plane, window, bands, fill, self._expect))
        return highest


def _nodata_of(page: Any) -> float | None:
    """Return the value of GDAL's nodata tag, None where there is none or it is no number."""
    return as_number(str(page.tags.valueof(tiff_tags.GDAL_NODATA, "")))


def _nodata_by_band(page: Any) -> tuple[float | None, ...]:
    """Return the values that GDAL's metadata state for each band, empty where they state none."""
    text = page.tags.valueof(tiff_tags.GDAL_METADATA, None)
    return () if text is None else tuple(as_number(value) for value in parse_tag(str(text)).nodata_values)


def _check_layout(page: Any) -> None:
    """Refuse volumes, tiles of hostile size, and what no decoder here reads."""
    if int(page.photometric) in tiff_tags.LOGS:
        raise NotSupported(
            f"{tiff_tags.LOGS[int(page.photometric)]} (SGI's logarithmic colours): not supported here; "
            "convert it to 8-bit RGB first, e.g. with `tiff2rgba`"
        )
    check_codec(page)
    if page.imagedepth != 1:
        raise Refused(f"a volume of {page.imagedepth} slices; save one slice as an image first")
    if page.is_tiled and not 0 < page.tilelength * page.tilewidth <= MAX_TILE_PX:
        raise Refused(f"damaged: the TIFF states tiles of {page.tilewidth} x {page.tilelength}")
