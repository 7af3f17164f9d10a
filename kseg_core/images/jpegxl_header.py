"""The header of a JPEG XL code stream, which is written in bits (ISO/IEC 18181-1, annex D)."""

from __future__ import annotations

from dataclasses import dataclass

from kseg_core.images import cicp
from kseg_core.images.raster import Refused

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_ALPHA, _SPOT, _BLACK, _CFA = 0, 2, 4, 5  # types of extra channels
_GRAY, _XYB = 1, 2  # colour spaces
_CUSTOM = 2  # of white points and primaries
_WHITES = {1: (0.3127, 0.3290), 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
_PRIMARIES = {1: 1, 9: 9, 11: 11}  # as in H.273
_LINEAR = 8

_Choice = tuple[int, int]  # bits to read, and what to add


class _Bits:
    """Numbers of any number of bits, the lowest first; `Refused` where the data ends."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)
        self.at = 0

    def take(self, count: int) -> int:
        if self.at + count > self._left:
            raise Refused("truncated: the JPEG XL ends within its header")
        value = (self._value >> self.at) & ((1 << count) - 1)
        self.at += count
        return value

    def one_of(self, *choices: _Choice) -> int:
        bits, offset = choices[self.take(2)]
        return offset + self.take(bits)

    def enum(self) -> int:
        return self.one_of((0, 0), (0, 1), (4, 2), (6, 18))


@dataclass(slots=True)
class JxlHeader:
    """What the header says; the shape is as stored, before the orientation is applied."""

    height: int = 0
    width: int = 0
    orientation: int = 1
    animated: bool = False
    bits: int = 8
    exponent_bits: int = 0
    alpha: bool = False
    premultiplied: bool = False
    black: bool = False
    xyb: bool = True
    icc: bool = False
    gray: bool = False
    space: cicp.Colour | None = None
    transfer: int = 13
    depth_at: int | None = None  # the bit at which the choice of a depth of 8 bits stands, in the code stream


def read_jxl_header(stream: bytes) -> JxlHeader:
    """Read the header.

    Parameters
    ----------
    stream
        The code stream, or its beginning: 64 KiB are enough.

    Raises
    ------
    Refused
        Where it ends early, or says what cannot be.
    """
    bits, header = _Bits(stream), JxlHeader()
    bits.take(16)
    header.height, header.width = _size(bits)
    if bits.take(1):
        return header  # all is as usual: 8 bits, sRGB
    if bits.take(1):
        header.orientation = 1 + bits.take(3)
        if bits.take(1):
            _size(bits)  # at which it is meant to be shown
        if bits.take(1):
            _preview(bits)
        header.animated = bool(bits.take(1))
        if header.animated:
            bits.one_of((0, 100), (0, 1000), (10, 1), (30, 1))
            bits.one_of((0, 1), (0, 1001), (8, 1), (10, 1))
            bits.one_of((0, 0), (3, 0), (16, 0), (32, 0))
            bits.take(1)
    at = bits.at
    header.bits, header.exponent_bits = _depth(bits)
    header.depth_at = at + 1 if header.bits == 8 and not header.exponent_bits else None
    bits.take(1)
    for _ in range(bits.one_of((0, 0), (0, 1), (4, 2), (12, 1))):
        _extra_channel(bits, header)
    header.xyb = bool(bits.take(1))
    _colour(bits, header)
    return header


def _size(bits: _Bits) -> tuple[int, int]:
    """Read (height, width)."""
    small = bits.take(1)
    side = ((9, 1), (13, 1), (18, 1), (30, 1))
    height = 8 * (bits.take(5) + 1) if small else bits.one_of(*side)
    ratio = bits.take(3)
    if ratio:
        over, under = _RATIOS[ratio - 1]
        return height, height * over // under
    return height, 8 * (bits.take(5) + 1) if small else bits.one_of(*side)


def _preview(bits: _Bits) -> None:
    eighths = bits.take(1)
    side = ((0, 16), (0, 32), (5, 1), (9, 33)) if eighths else ((6, 1), (8, 65), (10, 321), (12, 1345))
    bits.one_of(*side)
    if not bits.take(3):
        bits.one_of(*side)


def _depth(bits: _Bits) -> tuple[int, int]:
    """Read bits of a sample, and of its exponent: 0 for integers."""
    if bits.take(1):
        return bits.one_of((0, 32), (0, 16), (0, 24), (6, 1)), bits.take(4) + 1
    return bits.one_of((0, 8), (0, 10), (0, 12), (6, 1)), 0


def _extra_channel(bits: _Bits, header: JxlHeader) -> None:
    if bits.take(1):
        header.alpha = True
        return
    kind = bits.enum()
    _depth(bits)
    bits.one_of((0, 0), (0, 3), (0, 4), (3, 1))
    bits.take(8 * bits.one_of((0, 0), (4, 0), (5, 16), (10, 48)))  # its name
    if kind == _ALPHA:
        header.alpha = True
        header.premultiplied |= bool(bits.take(1))
    elif kind == _SPOT:
        bits.take(64)
    elif kind == _CFA:
        bits.one_of((0, 1), (2, 0), (4, 3), (8, 19))
    header.black |= kind == _BLACK


def _colour(bits: _Bits, header: JxlHeader) -> None:
    """Read the colour encoding."""
    if bits.take(1):
        return
    header.icc = bool(bits.take(1))
    space = bits.enum()
    header.gray = space == _GRAY
    if header.icc:
        return
    white = _WHITES[1]
    corners: tuple[tuple[float, float], ...] = cicp.PRIMARIES[1][:3]
    if space != _XYB:
        kind = bits.enum()
        white = _point(bits) if kind == _CUSTOM else _WHITES.get(kind, white)
    if space not in (_GRAY, _XYB):
        kind = bits.enum()
        corners = (
            tuple(_point(bits) for _ in range(3)) if kind == _CUSTOM else cicp.PRIMARIES[_PRIMARIES.get(kind, 1)][:3]
        )
    gamma: float | None = None
    if space != _XYB:
        if bits.take(1):
            gamma, header.transfer = 1e7 / max(1, bits.take(24)), 2
        else:
            header.transfer = bits.enum()
            gamma = 1.0 if header.transfer == _LINEAR else 2.6 if header.transfer == 17 else None
    if not header.gray and ((*corners, white) != cicp.PRIMARIES[1] or gamma is not None):
        header.space = cicp.Colour((*corners, white), gamma)
    elif header.gray and gamma is not None:
        header.space = cicp.Colour(cicp.PRIMARIES[1], gamma)


def _point(bits: _Bits) -> tuple[float, float]:
    """Read x and y, signed millionths."""
    side = ((19, 0), (19, 524288), (20, 1048576), (21, 2097152))
    x, y = (bits.one_of(*side) for _ in range(2))
    return (x >> 1 ^ -(x & 1)) / 1e6, (y >> 1 ^ -(y & 1)) / 1e6
