"""Old-style JPEG in TIFF (compression 6 of TIFF 6.0, given up in 1995), by libtiff, which alone copes with its kinds.

GDAL says where libtiff fails, and gives the pixels; what libjpeg only warns of (data that ends early is painted gray)
is heard through imagecodecs, whose libtiff tells it.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.images import jpeg, tiff_tags
from kseg_core.images.gdal import gdal
from kseg_core.images.jpeg_markers import Incomplete, parse_head
from kseg_core.images.raster import NotSupported, Refused
from kseg_core.images.tiff_directories import beginning_with
from kseg_core.images.tiff_fax import libtiff_warnings

#: What libjpeg says of damage (its messages JWRN_*).
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression")
_ADVICE = "convert it first, e.g. with `tiffcp -c lzw` or ImageMagick's `magick`"


def decode_old_jpeg(page: Any) -> NDArray[np.uint8]:
    """Decode a page whole.

    Parameters
    ----------
    page
        ``TiffPage`` of YCbCr.

    Returns
    -------
    uint8 (height, width, 3), RGB.

    Raises
    ------
    Refused
        Where it is damaged, or of a kind that libtiff does not read.
    """
    import imagecodecs

    if page.photometric not in (tiff_tags.YCBCR, tiff_tags.RGB) or page.samplesperpixel != 3:
        raise NotSupported(f"old-style JPEG of other colours than YCbCr: not supported here; {_ADVICE}")
    file = page.parent.filehandle
    file.seek(0, io.SEEK_SET)
    data = beginning_with(file.read(), page.offset)
    _check_stream(page, data)
    samples = _by_gdal(data)
    with libtiff_warnings() as said:
        try:
            imagecodecs.tiff_decode(data, 0, asrgb=True, verbose=1)
        except (imagecodecs.TiffError, ValueError, IndexError) as error:
            raise Refused("damaged: the TIFF's old-style JPEG cannot be decoded") from error
    if any(remark.startswith(_DAMAGE) for remark in said):
        raise Refused("damaged or truncated: the TIFF's old-style JPEG has invalid data, or ends early")
    if samples.shape != (page.imagelength, page.imagewidth, 3):
        raise NotSupported(f"old-style JPEG of {samples.shape[2]} bands: not supported here; {_ADVICE}")
    return samples


def _check_stream(page: Any, data: bytes) -> None:
    """Where the page is one whole JPEG, which most are, decode that strictly; libtiff does not hear all of libjpeg."""
    stated = page.tags.valueof(tiff_tags.INTERCHANGE, 0)
    start = stated[0] if isinstance(stated, tuple) and stated else stated
    if not isinstance(start, int) or not 0 < start < len(data) or len(page.dataoffsets) != 1:
        return
    stream = data[start:]
    try:
        head = parse_head(stream)
    except (Incomplete, Refused):
        return
    if (head.height, head.width, head.precision, len(head.components)) == (page.imagelength, page.imagewidth, 8, 3):
        jpeg.decode_strictly(stream, head)


def _by_gdal(data: bytes) -> NDArray[np.uint8]:
    """Decode the first page of a file, (height, width, bands)."""
    said = f"the TIFF's old-style JPEG is damaged, or of a kind that is not supported here; {_ADVICE}"
    with gdal("TIFF", lambda _: Refused(said)) as rasterio:
        from rasterio.io import MemoryFile  # type: ignore[import-untyped, import-not-found, unused-ignore]

        with MemoryFile(data) as memory, rasterio.open(f"GTIFF_DIR:1:{memory.name}") as opened:
            samples: NDArray[np.uint8] = opened.read()
    return np.ascontiguousarray(samples.transpose(1, 2, 0))
