"""TIFF, by tifffile and imagecodecs.

imageio's own TIFF plugin is tifffile's whole-page reading, which fills missing strips and tiles with zeros and
takes damaged ones for good; Pillow's reader cannot do 16-bit colour, and the libtiff below it writes to standard
error. So tifffile reads the structure, and `tiff_segments` decodes its pages strip by strip.

The picture is the first page; of an OME-TIFF, all channels at t = 0 and z = 0.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from kseg_core.images import tiff_tags
from kseg_core.images.exif import turned_shape
from kseg_core.images.raster import NotSupported, PictureInfo, Raster, Refused, Samples, check_size
from kseg_core.images.stored import PALETTE_HAS_NO_BANDS, chosen_bands, without_nodata
from kseg_core.images.tiff_colours import (
    alpha_of,
    check_bands,
    check_samples,
    colours_of,
    dtype_of,
    orientation_of,
    to_raster,
)
from kseg_core.images.tiff_plausible import check_directory, check_page
from kseg_core.images.tiff_segments import MAX_TILE_PX, Expect, check_codec, natural_block, read_box
from kseg_core.images.validity import Nodata, fits
from kseg_core.images.windows import Box

_OME_CHANNELS = re.compile(r'\bSizeC="(\d+)"')

_quiet = threading.local()


def _drop_while_reading(_record: logging.LogRecord) -> bool:
    """Logging filter: what tifffile remarks on a file being read here does not go to the terminal."""
    return not getattr(_quiet, "depth", 0)


@contextmanager
def _opened(file: BinaryIO) -> Iterator[Any]:
    """Open a TIFF with tifffile, its log silent in this thread."""
    import tifffile

    check_directory(file)
    with silenced(), tifffile.TiffFile(file) as tiff:
        yield tiff


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


def read_shape(file: BinaryIO) -> tuple[int, int]:
    """Return (height, width) of the first page as a person sees it."""
    with _opened(file) as tiff:
        page = _first_page(tiff)
        return turned_shape(page.imagelength, page.imagewidth, orientation_of(page))


def decode(file: BinaryIO, max_pixels: int) -> Raster:
    """Decode the first page of a TIFF file.

    Raises
    ------
    Refused
        Where a strip or tile is damaged or missing, or the samples are not those of an 8- or 16-bit picture.
    """
    with _opened(file) as tiff:
        page = _first_page(tiff)
        check_size(page.imagelength, page.imagewidth, max_pixels)
        pages = _Pages(tiff, file)
        return pages.raster(Box.whole(pages.stored_shape), None)


class TiffPicture:
    """A TIFF opened for reading by windows.

    Parameters
    ----------
    file
        It stays the caller's to close.
    max_pixels
        The limit for what can only be read whole.
    """

    def __init__(self, file: BinaryIO, max_pixels: int) -> None:
        import tifffile

        check_directory(file)
        with silenced(), contextlib.ExitStack() as closing:
            tiff = closing.enter_context(tifffile.TiffFile(file))
            self._pages = _Pages(tiff, file)
            if self._pages.block is None:
                check_size(*self._pages.stored_shape, max_pixels)
            self._closing = closing.pop_all()
        self.orientation = self._pages.orientation
        self.stored_shape = self._pages.stored_shape
        self.info = self._pages.info()

    def raster(self, box: Box, nodata: Nodata | float | None) -> Raster:
        """The colours of a box; see `Stored`."""
        with silenced():
            return self._pages.raster(box, nodata)

    def values(self, box: Box, bands: tuple[int, ...] | None) -> tuple[Samples, NDArray[np.bool_] | None]:
        """The samples of a box; see `Stored`."""
        with silenced():
            return self._pages.values(box, bands)

    def nonzero(self, box: Box) -> NDArray[np.bool_]:
        """Where a mask says "use"; see `Stored`."""
        with silenced():
            return self._pages.nonzero(box)

    def close(self) -> None:
        """Let go of what was opened."""
        self._closing.close()


class _Pages:
    """The pages that make the picture: one, or those of an OME-TIFF's channels."""

    def __init__(self, tiff: Any, file: BinaryIO) -> None:
        self._expect: Expect | None = getattr(file, "expect", None)  # of one in an object store
        self.page = _first_page(tiff)
        check_size(self.page.imagelength, self.page.imagewidth, sys.maxsize)
        self.dtype = dtype_of(self.page)
        _check_layout(self.page)
        self.stored_shape: tuple[int, int] = (self.page.imagelength, self.page.imagewidth)
        self.orientation = orientation_of(self.page)
        self.block = natural_block(self.page)
        check_page(self.page)
        self._channels = _channel_pages(tiff, self.page)
        for page in self._channels[1:]:
            check_page(page)
        self._kept: tuple[float | None, Samples] | None = None

    @property
    def bands(self) -> int:
        return len(self._channels) if len(self._channels) > 1 else int(self.page.samplesperpixel)

    def info(self) -> PictureInfo:
        shape = turned_shape(*self.stored_shape, self.orientation)
        block = None if self.block is None else turned_shape(*self.block, self.orientation)
        alpha = bool(alpha_of(self.page)) and self.bands > 1
        colours = colours_of(self.page)
        return PictureInfo("TIFF", shape, self.bands, self.dtype, block, _nodata_of(self.page), alpha, colours)

    def raster(self, box: Box, nodata: Nodata | float | None) -> Raster:
        check_samples(self.page)
        check_bands(self.page, len(self._channels))
        samples = self._read(box, None, self._fill())
        raster = to_raster(self.page, samples[..., 0] if samples.shape[2] == 1 else samples)
        return without_nodata(raster, samples, nodata)

    def values(self, box: Box, bands: tuple[int, ...] | None) -> tuple[Samples, NDArray[np.bool_] | None]:
        if self.page.photometric == tiff_tags.PALETTE:
            raise Refused(PALETTE_HAS_NO_BANDS)
        alpha = self.bands - 1 if alpha_of(self.page) and self.bands > 1 else None
        chosen = chosen_bands(bands, self.bands, self.bands - (alpha is not None))
        wanted = [*chosen, *([alpha] if alpha is not None and alpha not in chosen else [])]
        samples = self._read(box, None if wanted == [*range(self.bands)] else wanted, self._fill())
        valid = None if alpha is None else samples[..., wanted.index(alpha)] != 0
        return samples[..., : len(chosen)], valid

    def nonzero(self, box: Box) -> NDArray[np.bool_]:
        bands = range(self.bands - 1) if alpha_of(self.page) and self.bands > 1 else None
        used: NDArray[np.bool_] = (self._read(box, bands, self._fill()) != 0).any(axis=2)
        return used

    def _fill(self) -> float:
        """What GDAL takes tiles that were never written for."""
        nodata = _nodata_of(self.page)
        return nodata if nodata is not None and fits(nodata, self.page.dtype) else 0

    def _read(self, box: Box, bands: Sequence[int] | None, fill: float | None) -> Samples:
        """Decode a box, (height, width, bands); what can only be decoded whole is kept for the next one."""
        if self.block is not None or box == Box.whole(self.stored_shape):
            return self._decoded(box, bands, fill)
        if self._kept is None or self._kept[0] != fill:
            self._kept = fill, self._decoded(Box.whole(self.stored_shape), None, fill)
        part = self._kept[1][box.slices]
        return part.copy() if bands is None else part[..., list(bands)]

    def _decoded(self, box: Box, bands: Sequence[int] | None, fill: float | None) -> Samples:
        if len(self._channels) == 1:
            return read_box(self.page, box, bands, fill, self._expect)
        chosen = self._channels if bands is None else [self._channels[band] for band in bands]
        out = np.empty((*box.shape, len(chosen)), self.page.dtype)
        for number, page in enumerate(chosen):
            out[..., number] = read_box(page, box, None, fill, self._expect)[..., 0]
        return out


def _nodata_of(page: Any) -> float | None:
    """Return the value of GDAL's nodata tag, None where there is none or it is no number."""
    text = str(page.tags.valueof(tiff_tags.GDAL_NODATA, "")).strip(" \0")
    for number in (int, float):  # float64 does not hold all integers of 64 bits
        with contextlib.suppress(ValueError):
            return number(text)
    return None


def _first_page(tiff: Any) -> Any:
    """Return the first page, or refuse a camera's raw file by name."""
    if not len(tiff.pages):
        raise Refused("damaged: the TIFF has no pages")
    page = tiff.pages[0]
    lost = tiff_tags.MEANINGFUL.intersection(_stated_tags(tiff, page)).difference(page.tags.keys())
    if lost:
        raise Refused(f"truncated or damaged: tag {min(lost)} of the TIFF cannot be read")
    # Raw files of most cameras are TIFFs whose first page is a small preview of the raw data in a sub-page.
    preview = page.subfiletype & 1 and tiff_tags.SUB_IFDS in page.tags and tiff_tags.MAKE in page.tags
    is_dng = tiff_tags.DNG_VERSION in page.tags
    if is_dng or preview or page.photometric in tiff_tags.RAW_PHOTOMETRICS:
        name = "DNG" if is_dng else str(page.tags.valueof(tiff_tags.MAKE, "")).strip() or "TIFF"
        raise Refused(
            f"camera RAW ({name}): not supported here; develop it to TIFF or JPEG first, "
            "e.g. with `darktable-cli` or `dcraw -T`"
        )
    return page


def _stated_tags(tiff: Any, page: Any) -> Iterator[int]:
    """Yield the codes of all tags in a page's directory; tifffile leaves out those that it cannot read."""
    layout = tiff.tiff  # offsets and formats of classic or BigTIFF
    file = tiff.filehandle
    file.seek(page.offset)
    (count,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    directory = file.read(count * layout.tagsize)
    for at in range(0, len(directory) - 1, layout.tagsize):
        yield struct.unpack_from(layout.byteorder + "H", directory, at)[0]


def _check_layout(page: Any) -> None:
    """Refuse volumes, tiles of hostile size, and what no decoder here reads."""
    if int(page.photometric) in tiff_tags.LOGS:
        raise NotSupported(
            f"{tiff_tags.LOGS[int(page.photometric)]} (SGI's logarithmic colours): not supported here; "
            "convert it to a float TIFF first, e.g. with `gmic` or `tiffcp -c none`"
        )
    check_codec(page)
    if page.imagedepth != 1:
        raise Refused(f"a volume of {page.imagedepth} slices; save one slice as an image first")
    if page.is_tiled and not 0 < page.tilelength * page.tilewidth <= MAX_TILE_PX:
        raise Refused(f"damaged: the TIFF states tiles of {page.tilewidth} x {page.tilelength}")


def _channel_pages(tiff: Any, page: Any) -> list[Any]:
    """Return the pages that make the picture: the first, or in an OME-TIFF one for each separate channel."""
    if not tiff.is_ome or page.samplesperpixel != 1:
        return [page]
    stated = _OME_CHANNELS.search(tiff.ome_metadata or "")
    if stated is None or int(stated[1]) == 1:
        return [page]
    series = tiff.series[0]
    sizes = dict(zip(series.axes, series.shape, strict=True))
    if sizes.get("C") != int(stated[1]) or series.axes[-2:] != "YX":
        raise Refused(f"damaged: the OME-TIFF states {stated[1]} channels but does not hold them all")
    outer = series.axes[:-2]
    stride = math.prod(sizes[axis] for axis in outer[outer.index("C") + 1 :])
    chosen = [series.pages[channel * stride] for channel in range(sizes["C"])]
    if any(p is None for p in chosen):
        raise Refused("a channel of the OME-TIFF is in another file or missing")
    return chosen
