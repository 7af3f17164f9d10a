"""PNG files written row by row: of a picture of any size only a few rows are held.

References
----------
Portable Network Graphics (PNG) Specification, third edition, W3C 2025.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..products import SOFTWARE
from ..release import version
from .drawing import WINDOW_PX, Drawing

U8 = NDArray[np.uint8]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE, _RGBA = 0, 2, 3, 6
_SUB, _UP, _AVERAGE = 1, 2, 3  # Paeth's costs more than these together, and made no photograph smaller
_IDAT_BYTES = 1 << 18
_FILTER_BYTES = 1 << 20  # filtered at once
_LEVEL = 6  # zlib's own default


def write(path: str, drawing: Drawing, _geo: object, _scratch: str) -> None:
    """Write a picture to a new file, as `write_png` does."""
    with open(path, "xb") as file:
        write_png(file, drawing)


def write_png(file: BinaryIO, drawing: Drawing) -> None:
    """Write a picture.

    Black and white becomes 1-bit gray, values with a palette an 8-bit palette image whose indices are the values,
    16-bit values 16-bit gray. Nodata, where there is any, is transparent.

    Raises
    ------
    UnreadableImage, StoreError
        As reading the picture does.
    OSError
        If the file cannot be written.
    """
    height, width = drawing.shape
    depth, color = _type_of(drawing)
    file.write(_SIGNATURE)
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    _chunk(file, b"tEXt", f"Software\0{SOFTWARE} {version()}".encode("latin-1"))
    _write_colors(file, drawing, color)
    compressor = zlib.compressobj(_LEVEL)
    waiting = bytearray()
    for filtered in _filtered(drawing, bytes_a_pixel=max(1, depth // 8 * max(1, drawing.channels))):
        waiting += compressor.compress(filtered)
        if len(waiting) >= _IDAT_BYTES:
            _chunk(file, b"IDAT", bytes(waiting))
            waiting.clear()
    _chunk(file, b"IDAT", bytes(waiting) + compressor.flush())
    _chunk(file, b"IEND", b"")


def _type_of(drawing: Drawing) -> tuple[int, int]:
    """Bits of a sample and colour type."""
    if drawing.channels:
        return 8, _RGBA if drawing.channels == 4 else _RGB
    if drawing.palette is not None:
        return 8, _PALETTE
    return {"bool": 1, "uint8": 8, "uint16": 16}[drawing.dtype], _GRAY


def _write_colors(file: BinaryIO, drawing: Drawing, color: int) -> None:
    """The palette, and what is transparent."""
    transparent = drawing.nodata if drawing.has_nodata else None
    if color == _PALETTE:
        assert drawing.palette is not None
        entries = max(1, len(drawing.palette)) if transparent is None else transparent + 1
        palette = np.zeros((entries, 3), np.uint8)
        palette[: len(drawing.palette)] = drawing.palette
        _chunk(file, b"PLTE", palette.tobytes())
        if transparent is not None:
            _chunk(file, b"tRNS", b"\xff" * transparent + b"\0")
    elif transparent is not None:
        _chunk(file, b"tRNS", struct.pack(">H", transparent))


def _chunk(file: BinaryIO, name: bytes, content: bytes) -> None:
    file.write(struct.pack(">I", len(content)))
    file.write(name + content)
    file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))


def _filtered(drawing: Drawing, bytes_a_pixel: int) -> Iterator[bytes]:
    """The rows as they are compressed: each begins with the number of its filter."""
    height, width = drawing.shape
    step = max(1, WINDOW_PX // width)
    above = None
    for top in range(0, height, step):
        strip = _as_bytes(drawing.read(slice(top, min(top + step, height)), slice(0, width)))
        if above is None:
            above = np.zeros_like(strip[0])
        some = max(1, _FILTER_BYTES // strip.shape[1])
        for first in range(0, len(strip), some):
            rows = strip[first : first + some]
            yield _filter_rows(rows, above, bytes_a_pixel, drawing).tobytes()
            above = rows[-1]


def _as_bytes(window: NDArray[Any]) -> U8:
    """Rows of samples as rows of bytes: 8 pixels a byte, or the higher byte first."""
    if window.dtype == np.bool_:
        return np.packbits(window, axis=1)
    big_endian = np.ascontiguousarray(window, window.dtype.newbyteorder(">"))
    return big_endian.reshape(len(window), -1).view(np.uint8)


def _filter_rows(rows: U8, above: U8, bytes_a_pixel: int, drawing: Drawing) -> U8:
    """Rows with their filters: none for values that are no shades, the row above for areas of one colour, else the best
    of each row by the least sum of absolute differences, as the specification advises.
    """
    result = np.zeros((len(rows), rows.shape[1] + 1), np.uint8)
    before = np.concatenate([above[None], rows[:-1]])
    if not drawing.channels:
        result[:, 1:] = rows
    elif drawing.flat:
        result[:, 0], result[:, 1:] = _UP, rows - before
    else:
        left = np.zeros_like(rows)
        left[:, bytes_a_pixel:] = rows[:, :-bytes_a_pixel]
        mean = ((left.astype(np.uint16) + before) >> 1).astype(np.uint8)
        tried = {_SUB: left, _UP: before, _AVERAGE: mean}
        best = np.full(len(rows), np.iinfo(np.int64).max)
        for number, predicted in tried.items():
            differences = rows - predicted
            cost = np.abs(differences.view(np.int8).astype(np.int16)).sum(axis=1, dtype=np.int64)
            better = cost < best
            result[better, 0] = number
            result[better, 1:] = differences[better]
            best[better] = cost[better]
    return result
