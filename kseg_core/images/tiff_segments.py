"""The strips and tiles of a TIFF page: every one that is needed has to be there and to be whole.

tifffile's own reading fills missing ones with zeros, takes damaged ones for good, and gives no part of a page. Here a
window of pixels is read from the segments that it overlaps, one after the other; uncompressed strips are read by rows,
so that one of any size costs no more than what is wanted of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tifffile import COMPRESSION, PHOTOMETRIC, PLANARCONFIG

from kseg_core import buffers
from kseg_core.images.raster import (
    DEFLATE_RATIO,
    LZW_RATIO,
    MAX_TILE_PX,
    PACKBITS_RATIO,
    Refused,
    Samples,
    check_ratio,
    check_sparse,
)
from kseg_core.images.tiff_codecs import FAX, bands_of, check_codec, decode_old_jpeg, decoder_of, is_by_rows, remarks_of
from kseg_core.images.windows import Window

_ROWS_BYTES = 1 << 20  # what is read at once of an uncompressed strip
#: Of the others no bound as small is known: what they state is bounded by the size of a strip or tile.
_RATIOS = {
    COMPRESSION.NONE: 1,
    COMPRESSION.PACKBITS: PACKBITS_RATIO,
    COMPRESSION.LZW: LZW_RATIO,
    COMPRESSION.DEFLATE: DEFLATE_RATIO,
    COMPRESSION.ADOBE_DEFLATE: DEFLATE_RATIO,
}
_UNKNOWN_RATIO = 1 << 20

Expect = Callable[[Sequence[tuple[int, int]]], None]


class Layout(NamedTuple):
    """How a page is cut: the size of a segment in pixels, how many side by side, one below the other, and planes."""

    rows: int
    columns: int
    across: int
    down: int
    planes: int
    kind: str

    @classmethod
    def of(cls, page: Any) -> Layout:
        """That of a page (a ``TiffPage`` or ``TiffFrame``); Refused where strips or tiles have no size."""
        frame = page.keyframe
        height, width, kind = frame.imagelength, frame.imagewidth, "tile" if frame.is_tiled else "strip"
        rows, columns = min(frame.rowsperstrip, height), width
        if frame.is_tiled:
            rows, columns = frame.tilelength, frame.tilewidth
        if rows <= 0 or columns <= 0:
            raise Refused(f"damaged: the TIFF states {kind}s of {columns} x {rows}")
        planes = 1 if frame.planarconfig == PLANARCONFIG.CONTIG else frame.samplesperpixel
        return cls(rows, columns, -(-width // columns), -(-height // rows), planes, kind)

    @property
    def total(self) -> int:
        return self.across * self.down * self.planes


class _Segment(NamedTuple):
    """A strip or tile, or rows of one: its number in the page's lists, of which band (-1: all), pixels, and place."""

    number: int
    band: int
    top: int
    left: int
    rows: int
    columns: int
    offset: int
    size: int


def natural_block(page: Any) -> tuple[int, int] | None:
    """Return (rows, columns) of the page's unit of reading, as stored; None where it is all or nothing."""
    layout = Layout.of(page)
    if page.keyframe.compression == COMPRESSION.OJPEG:
        return None  # one stream, whatever its strips are
    if is_by_rows(page.keyframe):
        return min(layout.rows, _rows_at_once(page.keyframe)), layout.columns
    is_one_strip = not page.keyframe.is_tiled and layout.down == 1
    return None if is_one_strip or layout.rows * layout.columns > MAX_TILE_PX else (layout.rows, layout.columns)


def check_layout(page: Any) -> None:
    """Refuse volumes, tiles of hostile size, and what no decoder here reads."""
    check_codec(page)
    if page.imagedepth != 1:
        raise Refused(f"a volume of {page.imagedepth} slices; save one slice as an image first")
    if page.is_tiled and not 0 < page.tilelength * page.tilewidth <= MAX_TILE_PX:
        raise Refused(f"damaged: the TIFF states tiles of {page.tilewidth} x {page.tilelength}")


def check_page(page: Any) -> None:
    """Refuse a page of a TIFF (``TiffPage`` or ``TiffFrame``) that states more than its strips or tiles can hold.

    Raises
    ------
    Refused
        Saying what is stated and what is there.
    """
    frame, layout = page.keyframe, Layout.of(page)
    if page is frame and not {279, 325}.intersection(frame.tags.keys()):  # the sizes of strips, of tiles
        plain = frame.compression == COMPRESSION.NONE and int(np.max(frame.bitspersample)) % 8 == 0
        if not plain:  # else their sizes follow from the picture's
            raise Refused(f"damaged: the TIFF does not say how many bytes its {layout.kind}s have")
    _check_lists(page, layout)
    offsets = np.array(page.dataoffsets[: layout.total], np.float64)
    stated = np.array(page.databytecounts[: layout.total], np.float64)
    stored = np.minimum(stated, np.maximum(page.parent.filehandle.size - offsets, 0))
    present = int(np.count_nonzero(stored > 0))
    height, width = frame.imagelength, frame.imagewidth
    if present < layout.total:
        check_sparse(height * width, present / layout.planes * layout.rows * layout.columns)
        return
    samples = frame.samplesperpixel if frame.photometric != PHOTOMETRIC.YCBCR else 1  # subsampled: at least the lumas
    row = width * samples * max(1, int(np.max(frame.bitspersample))) / 8
    if frame.compression in FAX:
        check_ratio(row * height, float(stored.sum()), 8 * row)  # a bit a row
    else:
        check_ratio(np.floor(row) * height, float(stored.sum()), _RATIOS.get(frame.compression, _UNKNOWN_RATIO))


def _check_lists(page: Any, layout: Layout) -> None:
    listed = min(len(page.dataoffsets), len(page.databytecounts))
    if listed < layout.total:
        raise Refused(f"damaged: the TIFF lists {listed:,} {layout.kind}s of {layout.total:,}")


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
    frame, layout = page.keyframe, Layout.of(page)
    _check_lists(page, layout)
    segments = list(_overlapped(page, layout, window, bands))
    present = [segment for segment in segments if _is_present(page, layout, segment, sparse=fill is not None)]
    depth = frame.samplesperpixel if bands is None else len(bands)
    out = None if len(present) == len(segments) else np.full((*window.shape, depth), fill, frame.dtype)
    with remarks_of("tifffile"):
        for data, segment in _decoded(page, present, window, expect):
            _check_piece(frame, data, segment)
            if out is None:
                out = buffers.empty((*window.shape, depth), data.dtype)
            elif data.dtype != out.dtype:
                raise Refused(f"damaged: the TIFF has {out.dtype} and {data.dtype} samples")
            _paste(out, data, segment, window, bands)
    if out is None:
        raise Refused("damaged: the TIFF has no image data")
    return out


def _overlapped(page: Any, layout: Layout, window: Window, bands: Sequence[int] | None) -> Iterator[_Segment]:
    """Yield the segments that a window needs, in the order of the file's lists."""
    frame, planar = page.keyframe, layout.planes > 1
    planes = (range(layout.planes) if bands is None else bands) if planar else (0,)
    for band, plane in enumerate(planes):
        for down in range(window.top // layout.rows, -(-window.bottom // layout.rows)):
            for across in range(window.left // layout.columns, -(-window.right // layout.columns)):
                top, left = down * layout.rows, across * layout.columns
                number = (plane * layout.down + down) * layout.across + across
                rows = layout.rows if frame.is_tiled else min(layout.rows, frame.imagelength - top)
                place = page.dataoffsets[number], page.databytecounts[number]
                yield _Segment(number, band if planar else -1, top, left, rows, layout.columns, *place)


def _is_present(page: Any, layout: Layout, segment: _Segment, *, sparse: bool) -> bool:
    """Say whether a segment is in the file; where ``sparse`` is not allowed, or it lies beyond the end, refuse."""
    if sparse and segment.size == 0:  # and, by most writers, offset 0
        return False
    name = f"{layout.kind} {segment.number + 1} of {layout.total} of the TIFF"
    if segment.offset <= 0 or segment.size <= 0:
        raise Refused(f"{name} is missing")
    if segment.offset + segment.size > page.parent.filehandle.size:
        raise Refused(f"truncated: {name} reaches beyond the file's end")
    return True


def _decoded(
    page: Any, segments: Sequence[_Segment], window: Window, expect: Expect | None
) -> Iterator[tuple[Samples, _Segment]]:
    """Read and decode segments. One thread: the caller reads several images at once."""
    frame, file = page.keyframe, page.parent.filehandle
    if frame.compression == COMPRESSION.OJPEG:
        yield decode_old_jpeg(page), _Segment(0, -1, 0, 0, frame.imagelength, frame.imagewidth, 0, 0)
        return
    if is_by_rows(frame):
        segments = [run for segment in segments for run in _runs(frame, segment, window)]
    elif expect is not None:
        expect([(segment.offset, segment.offset + segment.size) for segment in segments])
    decode = decoder_of(frame)
    for segment in segments:
        file.seek(segment.offset)
        yield decode(page, file.read(segment.size), segment.number, (segment.rows, segment.columns)), segment


def _runs(frame: Any, strip: _Segment, window: Window) -> Iterator[_Segment]:
    """Yield the rows of an uncompressed strip that a window needs, so many at once."""
    length, step = _row_bytes(frame), _rows_at_once(frame)
    if strip.size < strip.rows * length:
        raise Refused(f"damaged: strip {strip.number + 1} of the TIFF is too short")
    bottom = min(strip.top + strip.rows, window.bottom)
    for top in range(max(strip.top, window.top), bottom, step):
        rows = min(step, bottom - top)
        offset = strip.offset + (top - strip.top) * length
        yield strip._replace(top=top, rows=rows, offset=offset, size=rows * length)


def _row_bytes(frame: Any) -> int:
    return int(frame.imagewidth * bands_of(frame) * frame.dtype.itemsize)


def _rows_at_once(frame: Any) -> int:
    return max(1, _ROWS_BYTES // _row_bytes(frame))


def _check_piece(frame: Any, data: Samples, segment: _Segment) -> None:
    """Refuse decoded samples that do not cover their part of the picture."""
    rows = min(segment.rows, frame.imagelength - segment.top)
    columns = min(segment.columns, frame.imagewidth - segment.left)
    bands = 1 if segment.band >= 0 else frame.samplesperpixel
    if data.shape[0] < rows or data.shape[1] < columns or data.shape[2] != bands:
        raise Refused("damaged: a strip or tile of the TIFF does not fit its place")


def _paste(out: Samples, data: Samples, segment: _Segment, window: Window, bands: Sequence[int] | None) -> None:
    rows, columns = data.shape[:2]
    whole = Window(segment.top, segment.left, segment.top + rows, segment.left + columns)
    here, there = window.shared_with(whole)
    part, place = data[there], out[here]
    if segment.band >= 0:
        place[..., segment.band] = part[..., 0]
    elif bands is None:
        place[...] = part
    else:
        for to, band in enumerate(bands):
            place[..., to] = part[..., band]
