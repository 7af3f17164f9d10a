"""The rows of a PNG: inflated here, a band at a time, and unfiltered by libpng (imagecodecs).

libpng is given data of exactly the right length, with good checksums and known filters, stored and not compressed: over
that it can neither warn nor fail.
"""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from kseg_core import buffers
from kseg_core.images.raster import Refused, Samples

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: (x0, y0, dx, dy) of the seven passes of Adam7 interlacing (PNG specification, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MAX_FILTER = 4  # Paeth (PNG specification, 9.2)
_BAND_BYTES = 1 << 22  # rows unfiltered at once: more than fits in a cache gains nothing
_QUICK_BANDS = 16  # pictures of up to 64 MB are inflated whole, by a decoder that can only do that
_INFLATE_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 30  # a chunk's length has 31 bits


@dataclass(slots=True)
class Picture:
    """The header, and the payloads of the chunks that matter."""

    width: int
    height: int
    depth: int
    kind: int
    interlaced: bool
    used: dict[bytes, list[bytes | memoryview]] = field(default_factory=dict)
    icc: bytes | None = None
    exif: bytes | None = None
    has_profile: bool = False


def decode_rows(picture: Picture) -> Samples:
    """Decode the samples: gray of less than 8 bits scaled to 0 to 255, palette indices as they are.

    Returns
    -------
    uint8 or uint16, (height, width) or (height, width, channels).
    """
    data = b"".join(picture.used[b"IDAT"])
    lines = _lines_of(picture)
    expected = sum(length * rows for length, rows in lines)
    length = lines[0][0]
    if picture.interlaced or picture.depth < 8:
        (raw,) = _inflated(data, expected, expected)
        samples = _decoded_in_passes(picture, raw)
    else:
        samples = _decoded_in_bands(picture, data, length)
    if picture.kind == 3 and picture.depth < 8:
        samples //= 255 // ((1 << picture.depth) - 1)  # from gray levels back to indices
    return samples


def _decoded_in_bands(picture: Picture, data: bytes, length: int) -> Samples:
    """Decode rows of ``length`` bytes, a band of them at a time, so that little but the result is in memory."""
    out: Samples | None = None
    before = b""  # the last row of the band before, which filters refer to, as an unfiltered row
    top = 0
    for raw in _inflated(data, length * picture.height, max(1, _BAND_BYTES // length) * length):
        _check_filters(raw[::length])
        rows = len(raw) // length
        band = _unfiltered(picture, rows + bool(before), before + raw)[bool(before) :]
        if rows == picture.height:
            return band
        if out is None:
            out = buffers.empty((picture.height, *band.shape[1:]), band.dtype)
        out[top : top + rows] = band
        top += rows
        before = b"\0" + band[-1].astype(band.dtype.newbyteorder(">")).tobytes()
    assert out is not None  # a picture has rows
    return out


def _decoded_in_passes(picture: Picture, raw: bytes) -> Samples:
    """Decode each pass of an interlaced picture as a picture of its own: libpng warns where it is given all of them."""
    out: Samples | None = None
    at = 0
    for (x0, y0, dx, dy), columns, rows in _passes_of(picture):
        line = _line_bytes(picture, columns)
        part = raw[at : at + line * rows]
        at += line * rows
        _check_filters(part[::line])
        samples = _unfiltered(dataclasses.replace(picture, width=columns), rows, part)
        if not picture.interlaced:
            return samples
        if out is None:
            out = np.empty((picture.height, picture.width, *samples.shape[2:]), samples.dtype)
        out[y0::dy, x0::dx] = samples
    assert out is not None  # the first pass has the first pixel
    return out


def _passes_of(picture: Picture) -> Iterator[tuple[tuple[int, int, int, int], int, int]]:
    """Yield where the pixels of each pass lie (x0, y0, dx, dy), and its columns and rows; empty passes are left out."""
    for place in _ADAM7 if picture.interlaced else ((0, 0, 1, 1),):
        x0, y0, dx, dy = place
        columns, rows = -(-(picture.width - x0) // dx), -(-(picture.height - y0) // dy)
        if columns > 0 and rows > 0:
            yield place, columns, rows


def _line_bytes(picture: Picture, columns: int) -> int:
    """Bytes of a line of so many pixels, its filter byte among them."""
    return 1 + (columns * picture.depth * CHANNELS[picture.kind] + 7) // 8


def _lines_of(picture: Picture) -> list[tuple[int, int]]:
    """Return the lines of the image data, filter bytes included: (bytes of a line, how many), for each pass."""
    return [(_line_bytes(picture, columns), rows) for _, columns, rows in _passes_of(picture)]


def _inflated(data: bytes, expected: int, band: int) -> Iterator[bytes]:
    """Inflate image data to ``expected`` bytes, given in bands of ``band`` bytes and a last one of what is left.

    Data beyond the expected is passed over (libpng and Pillow do so too); a wrong checksum at its end is not.
    """
    import imagecodecs

    if expected <= _BAND_BYTES * _QUICK_BANDS:
        try:
            raw = memoryview(imagecodecs.deflate_decode(data, out=expected, raw=False))  # twice zlib's speed
        except imagecodecs.DeflateError:
            raw = memoryview(b"")  # damaged or too long; zlib says which
        if len(raw) == expected:
            yield from (bytes(raw[at : at + band]) for at in range(0, expected, band))
            return
    stream = zlib.decompressobj()
    left, at, buffer = expected, 0, bytearray()
    try:
        while left:
            piece = stream.unconsumed_tail or data[at : at + _INFLATE_BYTES]
            at += 0 if stream.unconsumed_tail else len(piece)
            if not piece or stream.eof:
                raise Refused("truncated: the PNG has less image data than its size needs")
            buffer += stream.decompress(piece, min(band, left) - len(buffer))
            if len(buffer) == min(band, left):
                left -= len(buffer)
                yield bytes(buffer)
                buffer.clear()
        while not stream.eof and (rest := stream.unconsumed_tail or data[at : at + _INFLATE_BYTES]):
            at += 0 if stream.unconsumed_tail else len(rest)
            if stream.decompress(rest, 1):
                break
    except zlib.error as error:
        what = str(error).rpartition(": ")[2]
        raise Refused(f"damaged: the PNG's image data cannot be inflated ({what})") from error


def _check_filters(filters: bytes) -> None:
    """Refuse row filters that do not exist."""
    if max(filters) > _MAX_FILTER:
        raise Refused("damaged: the PNG's image data has an unknown row filter")


def _unfiltered(picture: Picture, height: int, raw: bytes) -> Samples:
    """Let libpng undo the row filters of ``height`` rows, or of one pass; palettes as gray, which keeps indices."""
    import imagecodecs

    kind = 0 if picture.kind == 3 else picture.kind
    header = struct.pack(">IIBBBBB", picture.width, height, picture.depth, kind, 0, 0, 0)
    stored = zlib.compress(raw, 0)
    out = [SIGNATURE]
    pieces = [stored[at : at + _CHUNK_BYTES] for at in range(0, len(stored), _CHUNK_BYTES)]
    for name, payload in ((b"IHDR", header), *((b"IDAT", piece) for piece in pieces), (b"IEND", b"")):
        checksum = zlib.crc32(payload, zlib.crc32(name))
        out += [struct.pack(">I", len(payload)), name, payload, struct.pack(">I", checksum)]
    samples: Samples = imagecodecs.png_decode(b"".join(out))
    return samples
