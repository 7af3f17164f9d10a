"""The code stream of JPEG 2000 (ITU-T T.800, annex A): its header, and where the data of each tile lies.

A tile is decoded as a stream of its own: the main header with the tile as the whole image, and the tile's parts.
Coordinates stay those of the large image, so nothing of the transform changes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from kseg_core.images.raster import Refused
from kseg_core.images.windows import Window

START = b"\xff\x4f\xff\x51"  # SOC and SIZ, which always come first
_SOT, _EOC = 0xFF90, 0xFFD9
_TLM, _PLM, _PPM, _COM = 0xFF55, 0xFF57, 0xFF60, 0xFF64
_SIZ = struct.Struct(">HIIIIIIIIH")
_MAX_COMPONENTS = 16384  # T.800, table A.9
_MAX_HEADER = 1 << 24


class Component(NamedTuple):
    """Bits of a sample, whether it has a sign, and how many columns and rows one sample stands for."""

    bits: int
    signed: bool
    dx: int
    dy: int


class Grid(NamedTuple):
    """Where image and tiles lie on the reference grid (T.800, B.2): (x, y) each."""

    end: tuple[int, int]
    start: tuple[int, int]
    tile: tuple[int, int]
    origin: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        return self.end[1] - self.start[1], self.end[0] - self.start[0]

    @property
    def across(self) -> int:
        return -(-(self.end[0] - self.origin[0]) // self.tile[0])

    @property
    def down(self) -> int:
        return -(-(self.end[1] - self.origin[1]) // self.tile[1])

    def of_tile(self, number: int) -> Grid:
        """The grid of one tile as an image."""
        place = number % self.across, number // self.across
        origin = tuple(o + p * t for o, p, t in zip(self.origin, place, self.tile, strict=True))
        start = tuple(max(o, s) for o, s in zip(origin, self.start, strict=True))
        end = tuple(min(o + t, e) for o, t, e in zip(origin, self.tile, self.end, strict=True))
        return Grid((end[0], end[1]), (start[0], start[1]), self.tile, (origin[0], origin[1]))

    def window_of(self, number: int) -> Window:
        """Which pixels of the image a tile has."""
        tile = self.of_tile(number)
        top, left = tile.start[1] - self.start[1], tile.start[0] - self.start[0]
        return Window(top, left, top + tile.shape[0], left + tile.shape[1])

    def overlapping(self, window: Window) -> list[int]:
        """The numbers of the tiles that a window of pixels needs."""
        dx, dy = self.start[0] - self.origin[0], self.start[1] - self.origin[1]
        rows = range((window.top + dy) // self.tile[1], -(-(window.bottom + dy) // self.tile[1]))
        columns = range((window.left + dx) // self.tile[0], -(-(window.right + dx) // self.tile[0]))
        return [row * self.across + column for row in rows for column in columns]


class _Part(NamedTuple):
    """A tile-part: where it begins, how long it is, its number and how many its tile has (0: not said)."""

    start: int
    length: int
    number: int
    total: int


@dataclass(slots=True)
class CodeStream:
    """What the main header says, and the parts of each tile."""

    grid: Grid
    components: list[Component]
    start: int
    end: int
    header: list[tuple[int, bytes]] = field(default_factory=list)  # markers after SIZ, with their segments
    capabilities: int = 0
    tiles: dict[int, list[_Part]] = field(default_factory=dict)
    packed_headers: bool = False

    @property
    def is_subsampled(self) -> bool:
        return any((each.dx, each.dy) != (1, 1) for each in self.components)

    def whole(self, file: BinaryIO) -> bytes:
        """All of the stream, as it is in the file."""
        file.seek(self.start)
        return file.read(self.end - self.start)

    def of_tile(self, file: BinaryIO, number: int) -> bytes:
        """A stream whose image is one tile."""
        grid = self.grid.of_tile(number)
        sizes = (*grid.end, *grid.start, *grid.tile, *grid.origin)
        siz = _SIZ.pack(self.capabilities, *sizes, len(self.components))
        siz += b"".join(bytes(((c.bits - 1) | c.signed << 7, c.dx, c.dy)) for c in self.components)
        out = [START, struct.pack(">H", len(siz) + 2), siz]
        for marker, segment in self.header:
            if marker not in (_TLM, _PLM, _COM):
                out += [struct.pack(">HH", marker, len(segment) + 2), segment]
        for part in self.tiles[number]:
            file.seek(part.start + 12)
            body = file.read(part.length - 12)
            out += [struct.pack(">HHHIBB", _SOT, 10, 0, part.length, part.number, part.total), body]
        return b"".join((*out, struct.pack(">H", _EOC)))


def read_stream(file: BinaryIO, start: int, end: int) -> CodeStream:
    """Read the main header and find the parts of all tiles.

    Parameters
    ----------
    start, end
        Where the stream is in the file; its end may lie before that.

    Raises
    ------
    Refused
        Where the stream ends before its end marker, or a tile has no data or not all of its parts.
    """
    stream, at = _main_header(file, start, end)
    while True:
        file.seek(at)
        head = file.read(min(12, max(0, end - at)))
        if head[:2] == _EOC.to_bytes(2, "big"):
            break
        if len(head) < 12:
            raise Refused("truncated: the JPEG 2000 ends before its end marker")
        marker, length, tile, size, number, total = struct.unpack(">HHHIBB", head)
        if marker != _SOT or length != 10:
            raise Refused("damaged: the JPEG 2000 has something else where a tile should begin")
        if size == 0:  # the last one: up to the end marker
            size = end - at - 2
        if size < 14:
            raise Refused("damaged: a tile of the JPEG 2000 is shorter than its header")
        if at + size + 2 > end:
            raise Refused(f"truncated: tile {tile + 1} of the JPEG 2000 reaches beyond the file's end")
        stream.tiles.setdefault(tile, []).append(_Part(at, size, number, total))
        at += size
    stream.end = at + 2
    _check_tiles(stream)
    return stream


def _main_header(file: BinaryIO, start: int, end: int) -> tuple[CodeStream, int]:
    """Read the main header; returns where the first tile-part begins."""
    file.seek(start)
    if file.read(4) != START:
        raise Refused("damaged: the JPEG 2000 has no code stream")
    siz = _segment(file, start + 4, end)
    if len(siz) < _SIZ.size:
        raise Refused("damaged: the JPEG 2000's header is too short")
    capabilities, *sizes, count = _SIZ.unpack_from(siz)
    if not 0 < count <= _MAX_COMPONENTS or len(siz) != _SIZ.size + 3 * count:
        raise Refused(f"damaged: the JPEG 2000 states {count} components")
    grid = Grid((sizes[0], sizes[1]), (sizes[2], sizes[3]), (sizes[4], sizes[5]), (sizes[6], sizes[7]))
    _check_grid(grid)
    components = []
    for at in range(_SIZ.size, len(siz), 3):
        depth, dx, dy = siz[at : at + 3]
        if not dx or not dy or (depth & 127) + 1 > 38:
            raise Refused("damaged: the JPEG 2000 states components that cannot be")
        components.append(Component((depth & 127) + 1, bool(depth >> 7), dx, dy))
    stream = CodeStream(grid, components, start, end, capabilities=capabilities)
    at = start + 6 + len(siz)
    while at - start < _MAX_HEADER:
        file.seek(at)
        marker = int.from_bytes(file.read(2), "big")
        if marker == _SOT:
            return stream, at
        if marker < 0xFF00:
            break
        segment = _segment(file, at + 2, end)
        stream.header.append((marker, segment))
        stream.packed_headers |= marker == _PPM
        at += 4 + len(segment)
    raise Refused("truncated or damaged: the JPEG 2000's header has no end")


def _segment(file: BinaryIO, at: int, end: int) -> bytes:
    """Read the segment of a marker: its length, and what follows."""
    file.seek(at)
    length = int.from_bytes(file.read(2), "big")
    if length < 2 or at + length > end:
        raise Refused("truncated or damaged: the JPEG 2000 ends within its header")
    return file.read(length - 2)


def _check_grid(grid: Grid) -> None:
    """Refuse images and tiles that cannot be (T.800, B.2 and B.3)."""
    for end, start, tile, origin in zip(*grid, strict=True):
        if end <= start:
            raise Refused(f"no pixels: the header says {grid.shape[1]} x {grid.shape[0]}")
        if not tile or origin > start or origin + tile <= start:
            raise Refused("damaged: the JPEG 2000 states tiles that do not hold its image")


def _check_tiles(stream: CodeStream) -> None:
    """Refuse a stream that lacks a tile, or a part of one."""
    count = stream.grid.across * stream.grid.down
    if len(stream.tiles) != count or max(stream.tiles) >= count:
        raise Refused(f"truncated or damaged: the JPEG 2000 has {len(stream.tiles)} tiles of {count}")
    for tile, parts in stream.tiles.items():
        stated = {part.total for part in parts} - {0}
        if [part.number for part in parts] != [*range(len(parts))] or stated - {len(parts)}:
            raise Refused(f"truncated or damaged: tile {tile + 1} of the JPEG 2000 lacks a part")
