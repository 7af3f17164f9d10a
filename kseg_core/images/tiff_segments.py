"""The strips and tiles of a TIFF page: every one has to be there and to be whole.

tifffile's whole-page reading fills missing ones with zeros, and libjpeg's warnings pass. Here tifffile reads the
bytes and decodes what its codecs are strict about; JPEG goes to the strict decoder of JPEG files. Fax codes (CCITT)
are the one compression whose decoders, all of them, make white rows of invalid codes without a word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kseg_core.images import jpeg, tiff_tags
from kseg_core.images.jpeg_markers import Incomplete, parse_head
from kseg_core.images.raster import Refused, Samples, check_size

#: A tile may be larger than its picture, but not without bound: 2**26 pixels are 8192 x 8192.
MAX_TILE_PX = 1 << 26


class _Segment(NamedTuple):
    """Where a strip or tile goes: its plane and first row and column, and its own size."""

    plane: int
    top: int
    left: int
    rows: int
    columns: int


def read_page(page: Any) -> Samples:
    """Decode all segments of a page (a ``TiffPage`` or ``TiffFrame``).

    Returns
    -------
    bool, uint8 or uint16 (height, width) or (height, width, bands), in native byte order.

    Raises
    ------
    Refused
        Where a segment is missing, damaged, or too short.
    """
    frame = page.keyframe
    height, width = frame.imagelength, frame.imagewidth
    planes = 1 if frame.planarconfig == tiff_tags.CONTIGUOUS else frame.samplesperpixel
    count = math.prod(frame.chunked)
    _check_presence(page, count)
    segments = _jpeg_segments(page, count) if frame.compression == tiff_tags.JPEG else _plain_segments(page)
    out: Samples | None = None
    for data, (plane, top, left) in segments:
        rows, columns = min(data.shape[0], height - top), min(data.shape[1], width - left)
        if out is None:
            out = np.empty((height, width, data.shape[2] * planes), data.dtype)
        bands = slice(plane, plane + 1) if planes > 1 else slice(None)
        out[top : top + rows, left : left + columns, bands] = data[:rows, :columns]
    if out is None:
        raise Refused("damaged: the TIFF has no image data")
    return out[..., 0] if out.shape[2] == 1 else out


def _check_presence(page: Any, count: int) -> None:
    """Refuse a page any of whose segments is missing or reaches beyond the end of the file."""
    kind = "tile" if page.keyframe.is_tiled else "strip"
    offsets, sizes = page.dataoffsets, page.databytecounts
    if len(offsets) < count or len(sizes) < count:
        raise Refused(f"damaged: the TIFF lists {min(len(offsets), len(sizes))} {kind}s of {count}")
    end = page.parent.filehandle.size
    for number, (offset, size) in enumerate(zip(offsets[:count], sizes[:count], strict=True), 1):
        if offset <= 0 or size <= 0:
            raise Refused(f"{kind} {number} of {count} of the TIFF is missing")
        if offset + size > end:
            raise Refused(f"truncated: {kind} {number} of {count} of the TIFF reaches beyond the file's end")


def _plain_segments(page: Any) -> Iterator[tuple[Samples, tuple[int, int, int]]]:
    """Decode by tifffile. One thread: the caller reads several images at once."""
    try:
        for data, (plane, _, top, left, _), _ in page.segments(maxworkers=1):
            if data is None:
                raise Refused("a strip or tile of the TIFF is missing")
            yield data[0], (plane, top, left)
    except (OSError, MemoryError, Refused):
        raise
    except Exception as error:  # of any class: each of imagecodecs' codecs has its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Refused(f"damaged: the TIFF's image data cannot be decoded ({lines[0]})") from error


def _raw_segments(page: Any, count: int) -> Iterator[tuple[bytes, _Segment]]:
    """Read the bytes of every segment, and say where it goes."""
    frame = page.keyframe
    per_plane = count if frame.planarconfig == tiff_tags.CONTIGUOUS else count // frame.samplesperpixel
    if frame.is_tiled:
        rows, columns = frame.tilelength, frame.tilewidth
    else:
        rows, columns = min(frame.rowsperstrip, frame.imagelength), frame.imagewidth
    across = -(-frame.imagewidth // columns)
    for data, index in page.parent.filehandle.read_segments(
        page.dataoffsets[:count], page.databytecounts[:count], length=count, flat=True
    ):
        plane, within = divmod(index, per_plane)
        top, left = within // across * rows, within % across * columns
        yield data, _Segment(plane, top, left, rows if frame.is_tiled else min(rows, frame.imagelength - top), columns)


def _jpeg_segments(page: Any, count: int) -> Iterator[tuple[Samples, tuple[int, int, int]]]:
    """Decode JPEG-compressed segments with the strict decoder."""
    frame = page.keyframe
    tables = page.jpegtables or b"\xff\xd8\xff\xd9"
    # What the samples are is the TIFF's to say; an Adobe segment tells it to the JPEG decoder.
    hint = b""
    if frame.planarconfig == tiff_tags.CONTIGUOUS and frame.photometric in (tiff_tags.RGB, tiff_tags.YCBCR):
        hint = jpeg.adobe_segment(1 if frame.photometric == tiff_tags.YCBCR else 0)
    bands = frame.samplesperpixel if frame.planarconfig == tiff_tags.CONTIGUOUS else 1
    for data, segment in _raw_segments(page, count):
        samples = _decode_jpeg(tables[:2] + hint + tables[2:-2] + _body(data))
        needed = (
            min(segment.rows, frame.imagelength - segment.top),
            min(segment.columns, frame.imagewidth - segment.left),
        )
        if samples.shape[0] < needed[0] or samples.shape[1] < needed[1] or samples.shape[2] != bands:
            raise Refused("damaged: a JPEG strip or tile of the TIFF does not fit its place")
        yield samples, segment[:3]


def _body(data: bytes) -> bytes:
    """Return an abbreviated JPEG without its start marker and the application segments after it."""
    at = 2
    while data[at : at + 1] == b"\xff" and 0xE0 <= data[at + 1] <= 0xEF:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[at:]


def _decode_jpeg(stream: bytes) -> NDArray[np.uint8]:
    """Decode one assembled JPEG to (height, width, bands)."""
    try:
        head = parse_head(stream)
    except Incomplete:
        raise Refused("truncated: a JPEG strip or tile of the TIFF ends within its header") from None
    check_size(head.height, head.width, MAX_TILE_PX)
    samples = jpeg.decode_strictly(stream, head)
    return samples[..., None] if samples.ndim == 2 else samples
