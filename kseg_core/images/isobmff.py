"""The boxes of files of JPEG 2000, JPEG XL, HEIC and AVIF (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from kseg_core.images.raster import Refused

_MOST_BYTES = 1 << 26  # of a box that is read: those of metadata; image data is never read as one


class BoxSpan(NamedTuple):
    """One box: its type, and where its payload begins and ends in the file."""

    kind: bytes
    start: int
    end: int


def brands_of(head: bytes) -> list[bytes]:
    """Return the brands that a file of these first bytes states, the major one first; none: it is another."""
    if head[4:8] != b"ftyp":
        return []
    size = int.from_bytes(head[:4], "big")
    return [head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head), 256) - 3, 4))]


def boxes(file: BinaryIO, start: int, end: int, name: str) -> Iterator[BoxSpan]:
    """Walk over the boxes of a part of a file.

    Parameters
    ----------
    file
        Read by seeking; it may stand anywhere between two boxes.
    start, end
        Where the first box begins, and the last has to end.
    name
        The format, for messages.

    Raises
    ------
    Refused
        Where a box reaches beyond the end, or is shorter than its own header.
    """
    at = start
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            raise Refused(f"truncated: the {name} ends within a box")
        size, header = int.from_bytes(head[:4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(head[8:16], "big"), 16
        elif size == 0:
            size = end - at
        if size < header:
            raise Refused(f"damaged: a box of the {name} is shorter than its header")
        if at + size > end:
            raise Refused(f"truncated: a box of the {name} ends at byte {at + size}, what holds it at {end}")
        yield BoxSpan(head[4:8], at + header, at + size)
        at += size
    if at != end:
        raise Refused(f"truncated: the {name} ends within a box")


def payload(file: BinaryIO, box: BoxSpan, name: str) -> bytes:
    """Read what is in a box of metadata."""
    if box.end - box.start > _MOST_BYTES:
        raise Refused(f"damaged: a box of the {name}'s metadata states {box.end - box.start} bytes")
    file.seek(box.start)
    data = file.read(box.end - box.start)
    if len(data) < box.end - box.start:
        raise Refused(f"truncated: the {name} ends within a box")
    return data


def inner_boxes(data: bytes, start: int, name: str) -> list[tuple[bytes, bytes]]:
    """Return type and payload of the boxes that ``data`` holds from ``start`` on."""
    file = io.BytesIO(data)
    return [(box.kind, data[box.start : box.end]) for box in boxes(file, start, len(data), name)]


class Fields:
    """Big-endian numbers of a payload, one after the other; IndexError where it ends."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data, self._at = data, at

    @property
    def rest(self) -> bytes:
        return self._data[self._at :]

    def number(self, size: int) -> int:
        """Read an unsigned number of ``size`` bytes, which may be none."""
        if self._at + size > len(self._data):
            raise IndexError
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at], "big")

    def take(self, size: int) -> bytes:
        """Read ``size`` bytes."""
        if self._at + size > len(self._data):
            raise IndexError
        self._at += size
        return self._data[self._at - size : self._at]
