"""TIFF, by tifffile and imagecodecs.

imageio's own TIFF plugin is tifffile's whole-page reading, which fills missing strips and tiles with zeros and
takes damaged ones for good; Pillow's reader cannot do 16-bit colour, and the libtiff below it writes to standard
error. So tifffile reads the structure, and `tiff_segments` decodes its pages strip by strip.

The picture is the first page; of an OME-TIFF, all channels at t = 0 and z = 0.
"""

from __future__ import annotations

import logging
import math
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from kseg_core.images import tiff_tags
from kseg_core.images.exif import turned_shape
from kseg_core.images.raster import Raster, Refused, check_size
from kseg_core.images.tiff_colours import CONVERT, check_bands, check_samples, orientation_of, to_raster
from kseg_core.images.tiff_segments import MAX_TILE_PX, read_page

_MAX_CHANNELS = 5  # one more than a picture can have: enough to refuse by the number
_OME_CHANNELS = re.compile(r'\bSizeC="(\d+)"')

_quiet = threading.local()


def _drop_while_reading(_record: logging.LogRecord) -> bool:
    """Logging filter: what tifffile remarks on a file being read here does not go to the terminal."""
    return not getattr(_quiet, "depth", 0)


@contextmanager
def _opened(file: BinaryIO) -> Iterator[Any]:
    """Open a TIFF with tifffile, its log silent in this thread."""
    import tifffile

    log = logging.getLogger("tifffile")
    if _drop_while_reading not in log.filters:
        log.addFilter(_drop_while_reading)
    _quiet.depth = getattr(_quiet, "depth", 0) + 1
    try:
        with tifffile.TiffFile(file) as tiff:
            yield tiff
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
        check_samples(page)
        _check_layout(page)
        pages = _channel_pages(tiff, page)
        check_bands(page, len(pages))
        samples = read_page(pages[0]) if len(pages) == 1 else np.dstack([read_page(p) for p in pages])
        return to_raster(page, samples)


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
    """Refuse volumes, tiles of hostile size, and the one compression that cannot be decoded strictly."""
    if page.compression == tiff_tags.OLD_JPEG:
        raise Refused(f"old-style JPEG compression (TIFF 6.0) is not read here; {CONVERT}")
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
    chosen = [series.pages[channel * stride] for channel in range(min(sizes["C"], _MAX_CHANNELS))]
    if any(p is None for p in chosen):
        raise Refused("a channel of the OME-TIFF is in another file or missing")
    return chosen
