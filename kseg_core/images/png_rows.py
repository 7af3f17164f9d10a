"""The rows of a PNG: inflated here, and unfiltered by libpng (imagecodecs), a band at a time.

libpng is given data of exactly the right length, with good checksums and known filters, stored and not compressed: over
that it can neither warn nor fail.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kseg_core import buffers
from kseg_core.images.raster import Refused, Samples

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: (x0, y0, dx, dy) of the seven passes of Adam7 interlacing (PNG specification, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MAX_FILTER = 4  # Paeth (PNG specification, 9.2)
_BAND_BYTES = 1 << 20  # rows unfiltered at once: more than fits in a cache gains nothing
_INFLATE_BYTES = 1 << 20


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


def decode_rows(picture: Picture) -> Samples:
    """Decode the samples: gray of less than 8 bits scaled to 0 to 255, palette indices as they are.

    Returns
    -------
    uint8 or uint16, (height, width) or (height, width, channels).
    """
    expected = sum(_line_bytes(picture, columns) * rows for _, columns, rows in _passes_of(picture))
    raw = _inflated(picture.used.pop(b"IDAT"), expected)
    dtype, channels = np.dtype(np.uint16 if picture.depth == 16 else np.uint8), CHANNELS[picture.kind]
    shape = (picture.height, picture.width, *((channels,) if channels > 1 else ()))
    if picture.interlaced:
        out = np.empty(shape, dtype)
        for (x0, y0, dx, dy), columns, rows in _passes_of(picture):  # libpng warns where it is given all of them
            samples = np.empty((rows, columns, *shape[2:]), dtype)
            size = _line_bytes(picture, columns) * rows
            _unfilter(picture, raw[:size], samples)
            out[y0::dy, x0::dx] = samples
            raw = raw[size:]
    else:
        # Without its filter byte a row ends before the next one begins, and libpng reads a copy: rows take the place
        # of those that they are made from.
        in_place = picture.depth >= 8
        out = (
            raw[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape) if in_place else np.empty(shape, dtype)
        )
        _unfilter(picture, raw, out)
    if picture.kind == 3 and picture.depth < 8:
        out //= 255 // ((1 << picture.depth) - 1)  # from gray levels back to indices
    return out


def passes_px(picture: Picture) -> float:
    """Bytes a pixel that decoding takes beside the samples: what is inflated and not unfiltered in place, a pass."""
    packed = picture.depth * CHANNELS[picture.kind] / 8
    return packed * 1.5 if picture.interlaced else packed if picture.depth < 8 else 0


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


def _inflated(parts: list[bytes | memoryview], expected: int) -> NDArray[np.uint8]:
    """Inflate image data to ``expected`` bytes.

    Data beyond the expected is passed over (libpng and Pillow do so too); a wrong checksum at its end is not.
    """
    import imagecodecs

    data = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
    parts.clear()
    out = buffers.empty((expected,))
    try:
        if len(imagecodecs.deflate_decode(data, out=out.data, raw=False)) == expected:  # twice zlib's speed
            return out
    except imagecodecs.DeflateError:
        pass  # damaged or too long; zlib says which
    stream, done = zlib.decompressobj(), 0
    waiting = (data[at : at + _INFLATE_BYTES] for at in range(0, len(data), _INFLATE_BYTES))
    try:
        while done < expected:
            piece = stream.unconsumed_tail or next(waiting, b"")
            if not piece or stream.eof:
                raise Refused("truncated: the PNG has less image data than its size needs")
            got = stream.decompress(piece, min(_INFLATE_BYTES, expected - done))
            out[done : done + len(got)] = np.frombuffer(got, np.uint8)
            done += len(got)
        while not stream.eof and (rest := stream.unconsumed_tail or next(waiting, b"")):
            if stream.decompress(rest, 1):
                break
    except zlib.error as error:
        what = str(error).rpartition(": ")[2]
        raise Refused(f"damaged: the PNG's image data cannot be inflated ({what})") from error
    return out


def _unfilter(picture: Picture, raw: NDArray[np.uint8], out: Samples) -> None:
    """Undo the row filters of a picture, or of a pass of it, a band of rows at a time."""
    length = len(raw) // len(out)
    filters = raw[::length]
    if filters.max() > _MAX_FILTER:
        raise Refused("damaged: the PNG's image data has an unknown row filter")
    step = max(1, _BAND_BYTES // length) if picture.depth >= 8 else len(out)  # smaller samples are not packed again
    before = b""  # the last row of the band before, which filters refer to, as an unfiltered row
    for top in range(0, len(out), step):
        rows = raw[top * length : (top + step) * length]
        _unfilter_band(picture, b"".join((before, rows.data)), out[top - bool(before) : top + step])
        last = out[min(top + step, len(out)) - 1]
        before = b"\0" + last.astype(last.dtype.newbyteorder(">")).tobytes()


def _unfilter_band(picture: Picture, rows: bytes, out: Samples) -> None:
    """Let libpng undo the row filters of some rows; palettes as gray, which keeps indices."""
    import imagecodecs

    kind = 0 if picture.kind == 3 else picture.kind
    header = struct.pack(">IIBBBBB", out.shape[1], out.shape[0], picture.depth, kind, 0, 0, 0)
    stored = imagecodecs.deflate_encode(rows, level=0, raw=False)
    chunks = [SIGNATURE]
    for name, payload in ((b"IHDR", header), (b"IDAT", bytes(stored)), (b"IEND", b"")):
        checksum = imagecodecs.deflate_crc32(payload, imagecodecs.deflate_crc32(name))
        chunks += [struct.pack(">I", len(payload)), name, payload, struct.pack(">I", checksum)]
    imagecodecs.png_decode(b"".join(chunks), out=out)
