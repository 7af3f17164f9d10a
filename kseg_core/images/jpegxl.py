"""JPEG XL, by libjxl (imagecodecs), which refuses what is cut, and nearly all that is changed.

What it does not give is read here: the header, and the colour space that is named there. An embedded profile is
compressed as the pixels are; the `jxl` extra (pillow-jxl-plugin) gives it, and without that a note says it is not
applied. Files of lossy coding with a profile of their own are decoded to linear sRGB, which needs none.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

import numpy as np

from kseg_core.images import cicp
from kseg_core.images.decoder import WholeDecoder
from kseg_core.images.isobmff import boxes
from kseg_core.images.raster import Cost, NotSupported, PictureInfo, Raster, Refused, Samples, check_size, raster_of
from kseg_core.images.srgb import to_8_bits
from kseg_core.images.windows import turned_shape

_NAME = "JPEG XL"
_BARE = b"\xff\x0a"
_HEADER_BYTES = 1 << 16
_BUFFERS_PX = 0.2
_LOSSY_PX = 2.8  # of lossy coding: coefficients; measured
_MOST_FRAMES = 1 << 16  # of an animation that are looked for
_SAMPLE_BYTES = 1 << 12  # of a frame, by which it is told from noise
_TWELVE_BITS = 12  # what linear light takes so that no shade of eight bits is lost
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_ALPHA, _SPOT, _BLACK, _CFA = 0, 2, 4, 5  # types of extra channels
_GRAY, _XYB = 1, 2  # colour spaces
_CUSTOM = 2  # of white points and primaries
_WHITES = {1: (0.3127, 0.3290), 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
_PRIMARIES = {1: 1, 9: 9, 11: 11}  # as in H.273
_LINEAR = 8

_Choice = tuple[int, int]  # bits to read, and what to add


@dataclass(slots=True)
class _Header:
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


class JpegXl(WholeDecoder):
    """JPEG XL: the first frame."""

    name = _NAME
    magic = (b"\0\0\0\x0cJXL \r\n\x87\n", _BARE)
    of_several = "the first frame"

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        header, _ = _header(file)
        notes: tuple[str, ...] = ("the first frame of an animation",) if header.animated else ()
        if header.icc and not header.xyb and _profile_reader() is None:
            notes += ("its colour profile is not applied: that needs `pip install 'kseg-batch[jxl]'`",)
        notes += cicp.hdr_note(header.transfer)
        bands, dtype = (1 if header.gray else 3) + header.alpha, _dtype_of(header)
        beside = _BUFFERS_PX + _LOSSY_PX * header.xyb + (bands * np.dtype(dtype).itemsize if header.animated else 0)
        shape = turned_shape(header.height, header.width, header.orientation)
        return PictureInfo(cls.name, shape, bands, dtype, alpha=header.alpha, notes=notes, cost=Cost(1, 1, beside))

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        """The picture, or the first frame of an animation; libjxl turns it as the header says."""
        import imagecodecs

        header, start = _header(io.BytesIO(data))
        check_size(header.height, header.width, max_pixels)
        if header.black:
            raise NotSupported("CMYK in a JPEG XL: not supported here; convert it to TIFF first, e.g. with `djxl`")
        is_linear = header.xyb and header.icc
        if is_linear:
            data = _of_12_bits(data, header, start)
        samples: Samples = imagecodecs.jpegxl_decode(data, index=0, numthreads=1)
        if header.animated:
            _require_all_frames(data, samples)
        if header.gray and samples.ndim == 3 and samples.shape[0] not in (header.height, header.width):
            samples = samples[0]  # extra channels that are no alpha come as planes of their own
        bands = (1 if header.gray else 3) + header.alpha
        shape = turned_shape(header.height, header.width, header.orientation)
        if samples.shape != (*shape, *((bands,) if bands > 1 else ())):
            raise Refused(f"damaged: the {_NAME} is not what its header says")
        bits = _TWELVE_BITS if is_linear and samples.dtype == np.uint16 and header.bits == 8 else header.bits
        maximum = (1 << bits) - 1 if samples.dtype.kind == "u" else 1
        is_whole = samples.dtype.kind == "u"
        stays_linear = header.space is not None and header.space.gamma == 1.0
        premultiplied, icc = header.premultiplied and is_whole, _profile(data, header)
        raster = raster_of(samples, maximum, premultiplied=premultiplied, icc=icc, linear=stays_linear)
        if is_linear and is_whole:
            return replace(raster, samples=to_8_bits(raster.samples, maximum, linear=True), maximum=255)
        return raster


def _require_all_frames(data: bytes, first: Samples) -> None:
    """Refuse an animation of which a later frame is cut, as a picture that is.

    imagecodecs does not tell how many frames there are: one beyond the last leaves the array given to it as it is.

    Raises
    ------
    JpegxlError
        Where one cannot be decoded.
    """
    import imagecodecs

    out = np.empty_like(first)
    start = out.reshape(-1).view(np.uint8)[:_SAMPLE_BYTES]
    untouched = np.random.default_rng(0).integers(0, 256, start.shape, np.uint8)

    def is_there(frame: int) -> bool:
        start[:] = untouched
        imagecodecs.jpegxl_decode(data, index=frame, numthreads=1, out=out)
        return not np.array_equal(start, untouched)

    there, beyond = 0, 1
    while beyond < _MOST_FRAMES and is_there(beyond):
        there, beyond = beyond, 2 * beyond
    while beyond - there > 1:
        middle = (there + beyond) // 2
        there, beyond = (middle, beyond) if is_there(middle) else (there, middle)


def _dtype_of(header: _Header) -> str:
    """Return what imagecodecs gives for a depth."""
    if header.exponent_bits:
        return "float16" if header.bits == 16 else "float32"
    if header.bits > 16:
        return "float32"
    return "uint8" if header.bits <= 8 else "uint16"


def _header(file: BinaryIO) -> tuple[_Header, int]:
    """Return the header, and where the code stream begins in the file."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if file.read(2) == _BARE:
        file.seek(0)
        return _parsed(file.read(_HEADER_BYTES)), 0
    stream, first = b"", -1
    for box in boxes(file, 0, size, _NAME):
        if box.kind in (b"jxlc", b"jxlp") and len(stream) < _HEADER_BYTES:
            start = box.start + (4 if box.kind == b"jxlp" else 0)
            first = start if first < 0 else first
            file.seek(start)
            stream += file.read(min(box.end - start, _HEADER_BYTES))
    if not stream.startswith(_BARE):
        raise Refused(f"truncated or damaged: the {_NAME} has no code stream")
    return _parsed(stream), first


def _of_12_bits(data: bytes, header: _Header, start: int) -> bytes:
    """Return a file that states 12 bits instead of 8: in lossy coding that is nothing but the depth to decode to."""
    if header.depth_at is None:
        return data
    out = bytearray(data)
    at = header.depth_at + 1  # of two bits, the lower first: 0 is 8 bits, 2 is 12
    out[start + at // 8] |= 1 << at % 8
    return bytes(out)


def _profile_reader() -> Callable[..., Any] | None:
    """Return the class that reads embedded profiles, where it is installed."""
    try:
        from pillow_jxl import Decoder
    except ImportError:
        return None
    return cast("Callable[..., Any]", Decoder)


def _profile(data: bytes, header: _Header) -> bytes | None:
    """Return the profile of the samples: embedded, or of the colour space that is named; None: sRGB, or not known."""
    if header.icc and not header.xyb:
        reader = _profile_reader()
        return None if reader is None else reader(num_threads=1)(data)[3] or None
    space = header.space
    if space is None or header.icc:
        return None
    if space.gamma == 1.0:
        space = space._replace(gamma=None)  # the samples will have been given the curve of sRGB
    return cicp.profile_of(space, gray=header.gray)


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


def _parsed(stream: bytes) -> _Header:
    """Read the header from the beginning of the code stream (ISO/IEC 18181-1, annex D)."""
    bits, header = _Bits(stream), _Header()
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


def _extra_channel(bits: _Bits, header: _Header) -> None:
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


def _colour(bits: _Bits, header: _Header) -> None:
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
