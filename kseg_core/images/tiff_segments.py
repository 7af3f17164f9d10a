"""The strips and tiles of a TIFF page: every one that is needed has to be there and to be whole.

tifffile's own reading fills missing ones with zeros, and libjpeg's warnings pass. Here tifffile
decodes what its codecs are strict about; JPEG goes to the strict decoder of JPEG files, fax codes (CCITT) and old-style
JPEG to libtiff, subsampled YCbCr to `tiff_ycbcr`.

A window of pixels is read from the segments that it overlaps, one after the other; uncompressed strips are
read by rows, so one of any size costs no more than what is wanted of it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kseg_core import buffers
from kseg_core.images import jpeg, tiff_tags
from kseg_core.images.failures import CONVERT
from kseg_core.images.jpeg_markers import Incomplete, parse_head
from kseg_core.images.raster import NotSupported, Refused, Samples, check_size
from kseg_core.images.tiff_fax import decode_fax
from kseg_core.images.tiff_lzw import decode_lzw
from kseg_core.images.tiff_old_jpeg import decode_old_jpeg
from kseg_core.images.tiff_ycbcr import check_subsampling, decode_subsampled, inflated, subsampling_of
from kseg_core.images.windows import Window

#: A tile may be larger than its picture, but not without bound: 2**26 pixels are 8192 x 8192. A page of larger
#: compressed strips is read whole.
MAX_TILE_PX = 1 << 26
_ROWS_BYTES = 1 << 20  # what is read at once of an uncompressed strip


class Layout(NamedTuple):
    """How a page is cut: the size of a segment in pixels, how many side by side, one below the other, and planes."""

    rows: int
    columns: int
    across: int
    down: int
    planes: int

    @property
    def total(self) -> int:
        return self.across * self.down * self.planes


class _Segment(NamedTuple):
    """A strip or tile: its number in the file's lists, the band of the result it is (-1: all), and its pixels."""

    number: int
    band: int
    top: int
    left: int
    rows: int
    columns: int


_Piece = tuple[Samples, _Segment]
Expect = Callable[[Sequence[tuple[int, int]]], None]


def layout_of(page: Any) -> Layout:
    """Return how a page (a ``TiffPage`` or ``TiffFrame``) is cut into segments.

    Raises
    ------
    Refused
        Where strips or tiles have no size.
    """
    frame = page.keyframe
    height, width = frame.imagelength, frame.imagewidth
    rows, columns = (frame.tilelength, frame.tilewidth) if frame.is_tiled else (min(frame.rowsperstrip, height), width)
    if rows <= 0 or columns <= 0:
        raise Refused(f"damaged: the TIFF states {_kind(page)}s of {columns} x {rows}")
    planes = 1 if frame.planarconfig == tiff_tags.CONTIGUOUS else frame.samplesperpixel
    return Layout(rows, columns, -(-width // columns), -(-height // rows), planes)


def natural_block(page: Any) -> tuple[int, int] | None:
    """Return (rows, columns) of the page's unit of reading, as stored; None where it is all or nothing."""
    layout = layout_of(page)
    if page.keyframe.compression == tiff_tags.OLD_JPEG:
        return None  # one stream, whatever its strips are
    if _is_by_rows(page.keyframe):
        return min(layout.rows, _rows_at_once(page.keyframe)), layout.columns
    is_one_strip = not page.keyframe.is_tiled and layout.down == 1
    return None if is_one_strip or layout.rows * layout.columns > MAX_TILE_PX else (layout.rows, layout.columns)


def read_window(
    page: Any,
    window: Window,
    bands: Sequence[int] | None = None,
    fill: float | None = None,
    expect: Expect | None = None,
) -> Samples:
    """Decode the segments of a page that a window overlaps.

    Parameters
    ----------
    page
        A ``TiffPage`` or ``TiffFrame``.
    window
        In pixels as stored.
    bands
        Which, from 0, in the order wanted; None: all.
    fill
        What pixels of a sparse segment have (one that was never written: its size is 0, as GDAL has it); None: they are
        missing, as they are for everybody else.
    expect
        Where the file is fetched piece by piece: to be told which bytes will be read.

    Returns
    -------
    bool, integers or floats (height, width, bands), in native byte order.

    Raises
    ------
    Refused
        Where a segment is missing, damaged, or too short.
    """
    frame = page.keyframe
    segments = list(_overlapped(frame, layout_of(page), window, bands))
    present = [segment for segment in segments if _is_present(page, segment, fill is not None)]
    if expect is not None and not _is_by_rows(frame):
        offsets, sizes = page.dataoffsets, page.databytecounts
        expect([(offsets[each.number], offsets[each.number] + sizes[each.number]) for each in present])
    pieces = _raw_pieces(page, present, window) if _is_by_rows(frame) else _decoder_of(frame)(page, present)
    depth = frame.samplesperpixel if bands is None else len(bands)
    out = None if len(present) == len(segments) else np.full((*window.shape, depth), fill, frame.dtype)
    for data, segment in pieces:
        _check_piece(frame, data, segment)
        if out is None:
            out = buffers.empty((*window.shape, depth), data.dtype)
        elif data.dtype != out.dtype:
            raise Refused(f"damaged: the TIFF has {out.dtype} and {data.dtype} samples")
        _paste(out, data, segment, window, bands)
    if out is None:
        raise Refused("damaged: the TIFF has no image data")
    return out


def _overlapped(frame: Any, layout: Layout, window: Window, bands: Sequence[int] | None) -> Iterator[_Segment]:
    """Yield the segments that a window needs, in the order of the file's lists."""
    planar = layout.planes > 1
    planes = (range(layout.planes) if bands is None else bands) if planar else (0,)
    for band, plane in enumerate(planes):
        for down in range(window.top // layout.rows, -(-window.bottom // layout.rows)):
            for across in range(window.left // layout.columns, -(-window.right // layout.columns)):
                top, left = down * layout.rows, across * layout.columns
                number = (plane * layout.down + down) * layout.across + across
                rows = layout.rows if frame.is_tiled else min(layout.rows, frame.imagelength - top)
                yield _Segment(number, band if planar else -1, top, left, rows, layout.columns)


def _paste(out: Samples, data: Samples, segment: _Segment, window: Window, bands: Sequence[int] | None) -> None:
    """Copy what a window needs of a segment to where it belongs."""
    top, bottom = max(segment.top, window.top), min(segment.top + data.shape[0], window.bottom)
    left, right = max(segment.left, window.left), min(segment.left + data.shape[1], window.right)
    part = data[top - segment.top : bottom - segment.top, left - segment.left : right - segment.left]
    place = out[top - window.top : bottom - window.top, left - window.left : right - window.left]
    if segment.band >= 0:
        place[..., segment.band] = part[..., 0]
    elif bands is None:
        place[...] = part
    else:
        for to, band in enumerate(bands):
            place[..., to] = part[..., band]


def _kind(page: Any) -> str:
    return "tile" if page.keyframe.is_tiled else "strip"


def _is_present(page: Any, segment: _Segment, sparse: bool) -> bool:
    """Say whether a segment is in the file; where ``sparse`` is not allowed, or it lies beyond the end, refuse."""
    offsets, sizes = page.dataoffsets, page.databytecounts
    listed, count = min(len(offsets), len(sizes)), layout_of(page).total
    kind = _kind(page)
    if listed < count:
        raise Refused(f"damaged: the TIFF lists {listed} {kind}s of {count}")
    offset, size = offsets[segment.number], sizes[segment.number]
    if sparse and size == 0:  # and, by most writers, offset 0
        return False
    if offset <= 0 or size <= 0:
        raise Refused(f"{kind} {segment.number + 1} of {count} of the TIFF is missing")
    if offset + size > page.parent.filehandle.size:
        raise Refused(f"truncated: {kind} {segment.number + 1} of {count} of the TIFF reaches beyond the file's end")
    return True


def _check_piece(frame: Any, data: Samples, segment: _Segment) -> None:
    """Refuse decoded samples that do not cover their part of the picture."""
    rows = min(segment.rows, frame.imagelength - segment.top)
    columns = min(segment.columns, frame.imagewidth - segment.left)
    bands = 1 if segment.band >= 0 else frame.samplesperpixel
    if data.shape[0] < rows or data.shape[1] < columns or data.shape[2] != bands:
        raise Refused("damaged: a strip or tile of the TIFF does not fit its place")


def _bytes_of(page: Any, segment: _Segment) -> bytes:
    """Read the bytes of a segment."""
    file = page.parent.filehandle
    file.seek(page.dataoffsets[segment.number])
    data: bytes = file.read(page.databytecounts[segment.number])
    return data


# ------------------------------------------------------------------------------------------- uncompressed strips


def _is_by_rows(frame: Any) -> bool:
    """Say whether any rows of a strip can be read by themselves: whole bytes, neither compressed nor predicted."""
    plain = frame.compression == tiff_tags.UNCOMPRESSED and frame.predictor == 1 and frame.fillorder == 1
    regular = frame.dtype is not None and frame.dtype.kind in "uif" and frame.bitspersample == frame.dtype.itemsize * 8
    return bool(plain and regular and not frame.is_tiled and subsampling_of(frame) == (1, 1))


def _row_bytes(frame: Any) -> int:
    samples = frame.samplesperpixel if frame.planarconfig == tiff_tags.CONTIGUOUS else 1
    return int(frame.imagewidth * samples * frame.dtype.itemsize)


def _rows_at_once(frame: Any) -> int:
    return max(1, _ROWS_BYTES // _row_bytes(frame))


def _raw_pieces(page: Any, segments: Sequence[_Segment], window: Window) -> Iterator[_Piece]:
    """Read the wanted rows of uncompressed strips."""
    frame, file = page.keyframe, page.parent.filehandle
    length, step = _row_bytes(frame), _rows_at_once(frame)
    dtype = np.dtype(frame.dtype).newbyteorder(page.parent.byteorder)
    native = dtype.newbyteorder("=")
    for segment in segments:
        if page.databytecounts[segment.number] < segment.rows * length:
            raise Refused(f"damaged: strip {segment.number + 1} of the TIFF is too short")
        bottom = min(segment.top + segment.rows, window.bottom)
        for top in range(max(segment.top, window.top), bottom, step):
            rows = min(step, bottom - top)
            file.seek(page.dataoffsets[segment.number] + (top - segment.top) * length)
            data = np.frombuffer(file.read(rows * length), dtype).reshape(rows, frame.imagewidth, -1)
            yield data.astype(native, copy=False), segment._replace(top=top, rows=rows)


# ------------------------------------------------------------------------------------------------------- decoders


def check_codec(frame: Any) -> None:
    """Refuse, by name, a compression or layout that no decoder here reads.

    Raises
    ------
    NotSupported
        Naming it, and what to do.
    """
    check_subsampling(frame)
    if frame.photometric != tiff_tags.YCBCR and frame.compression != tiff_tags.JPEG:
        frame.subsampling = None  # of no meaning there, and tifffile would refuse it
    special = {tiff_tags.OLD_JPEG, tiff_tags.JPEG, *tiff_tags.FAX}
    if frame.compression in special or subsampling_of(frame) != (1, 1):
        return
    if getattr(frame.decode, "__name__", "").startswith("decode_raise"):  # what tifffile has instead of a decoder
        name = getattr(frame.compression, "name", "of a number that is not known").replace("_", " ")
        raise NotSupported(
            f"TIFF compression {name} ({int(frame.compression)}), predictor {int(frame.predictor)}, "
            f"{frame.bitspersample} bits: not supported here (or damaged); {CONVERT}"
        )


def _decoder_of(frame: Any) -> Callable[[Any, Sequence[_Segment]], Iterator[_Piece]]:
    """Return what decodes the segments of a page."""
    if frame.compression == tiff_tags.JPEG:
        return _jpeg_pieces
    if frame.compression == tiff_tags.OLD_JPEG:
        return _old_jpeg_piece
    if frame.compression in tiff_tags.FAX:
        return _fax_pieces
    return _plain_pieces if subsampling_of(frame) == (1, 1) else _subsampled_pieces


def _fax_pieces(page: Any, segments: Sequence[_Segment]) -> Iterator[_Piece]:
    """Decode fax codes, strictly."""
    for segment in segments:
        yield decode_fax(page.keyframe, _bytes_of(page, segment), segment.rows, segment.columns)[..., None], segment


def _subsampled_pieces(page: Any, segments: Sequence[_Segment]) -> Iterator[_Piece]:
    """Decode YCbCr whose chroma has fewer samples."""
    for segment in segments:
        yield decode_subsampled(page.keyframe, _bytes_of(page, segment), segment.rows, segment.columns), segment


def _old_jpeg_piece(page: Any, _segments: Sequence[_Segment]) -> Iterator[_Piece]:
    """Decode a page of old-style JPEG, whole."""
    frame = page.keyframe
    yield decode_old_jpeg(page), _Segment(0, -1, 0, 0, frame.imagelength, frame.imagewidth)


def _plain_pieces(page: Any, segments: Sequence[_Segment]) -> Iterator[_Piece]:
    """Decode by tifffile. One thread: the caller reads several images at once."""
    for segment in segments:
        data = _bytes_of(page, segment)
        quick = decode_lzw(page, data, segment.rows, segment.columns)
        if quick is not None:
            yield quick, segment
            continue
        try:
            decoded = _decode_plain(page.keyframe, data, segment)
        except (OSError, MemoryError, Refused):
            raise
        except Exception as error:  # of any class: each of imagecodecs' codecs has its own
            raise Refused(f"damaged: {_kind(page)} {segment.number + 1} of the TIFF cannot be decoded") from error
        if decoded is None:
            raise Refused("a strip or tile of the TIFF is missing")
        yield decoded[0], segment


def _decode_plain(frame: Any, data: bytes, segment: _Segment) -> Any:
    """Decode by tifffile; where Deflate has more bytes than the segment needs, by zlib before."""
    try:
        return frame.decode(data, segment.number)[0]
    except Exception:
        if frame.compression not in (tiff_tags.ADOBE_DEFLATE, tiff_tags.DEFLATE):
            raise
    samples = frame.samplesperpixel if frame.planarconfig == tiff_tags.CONTIGUOUS else 1
    length = segment.rows * -(-segment.columns * samples * int(np.max(frame.bitspersample)) // 8)
    return frame.decode(zlib.compress(inflated(data, length), 0), segment.number)[0]


def _jpeg_pieces(page: Any, segments: Sequence[_Segment]) -> Iterator[_Piece]:
    """Decode JPEG-compressed segments with the strict decoder."""
    frame = page.keyframe
    tables = page.jpegtables or b"\xff\xd8\xff\xd9"
    # What the samples are is the TIFF's to say; an Adobe segment tells it to the JPEG decoder.
    hint = b""
    if frame.planarconfig == tiff_tags.CONTIGUOUS and frame.photometric in (tiff_tags.RGB, tiff_tags.YCBCR):
        hint = jpeg.adobe_segment(1 if frame.photometric == tiff_tags.YCBCR else 0)
    for segment in segments:
        yield _decode_jpeg(tables[:2] + hint + tables[2:-2] + _body(_bytes_of(page, segment))), segment


def _body(data: bytes) -> bytes:
    """Return an abbreviated JPEG without its start marker and the application segments after it."""
    at = 2
    try:
        while data[at : at + 1] == b"\xff" and 0xE0 <= data[at + 1] <= 0xEF:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    except (IndexError, struct.error):
        pass  # it ends within its header, which the decoder will say
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
