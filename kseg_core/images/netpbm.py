"""Netpbm (PBM, PGM, PPM; plain and raw), by NumPy: a header of four numbers, and the samples.

Pillow's reader takes samples above the stated maximum, and reads those of 16 bits in colour as 8.
"""

from __future__ import annotations

import io
import re
from typing import BinaryIO, NamedTuple

import numpy as np

from kseg_core.images.decoder import WholeDecoder
from kseg_core.images.raster import Cost, PictureInfo, Raster, Refused, Samples, check_size

_MAGIC = re.compile(rb"P[1-6]\s+(?:#|\d)")
_NUMBER = re.compile(rb"(?:\s|#[^\n\r]*[\n\r])*(\d{1,10})(?=[\s#])")
_SPACE, _LINE_END, _COMMENT = re.compile(rb"\s"), re.compile(rb"[\n\r]"), re.compile(rb"#[^\n\r]*")
_BLOCK_BYTES = 1 << 18  # of digits that are numbers at a time: as Python's objects they take a hundred times that
_HEADER_BYTES = 1 << 16  # comments included
_BITS, _GRAYS, _COLOURS = (1, 4), (2, 5), (3, 6)  # of each the plain and the raw kind


class _Header(NamedTuple):
    kind: int
    height: int
    width: int
    maximum: int
    start: int  # of the samples

    @property
    def bands(self) -> int:
        return 3 if self.kind in _COLOURS else 1

    @property
    def raw_bytes(self) -> int:
        """Of all samples, where they are not plain."""
        if self.kind in _BITS:
            return self.height * -(-self.width // 8)
        return self.height * self.width * self.bands * (1 if self.maximum < 256 else 2)


class Netpbm(WholeDecoder):
    """PBM, PGM and PPM: the first picture."""

    name = "Netpbm"
    of_several = "the first picture"

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        return _MAGIC.match(head) is not None

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        header = _header(file.read(_HEADER_BYTES))
        several = header.kind > 3 and file.seek(0, io.SEEK_END) > header.start + header.raw_bytes
        return PictureInfo(
            cls.name,
            (header.height, header.width),
            header.bands,
            "uint8" if header.maximum < 256 else "uint16",
            notes=("the first picture of several",) if several else (),
            cost=Cost(1, 1, 0),
        )

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        """The first picture; its samples are taken as sRGB, as viewers do."""
        header = _header(data)
        check_size(header.height, header.width, max_pixels)
        shape = (header.height, header.width) if header.bands == 1 else (header.height, header.width, 3)
        if header.kind > 3:
            if header.start + header.raw_bytes > len(data):
                needed = header.start + header.raw_bytes
                raise Refused(f"truncated: the Netpbm needs {needed} bytes, it has {len(data)}")
            samples = _raw(data, header)
        else:
            samples = _plain(data, header, header.height * header.width * header.bands)
        if header.kind in _BITS:
            return Raster(samples.reshape(shape), "gray", 1)
        if samples.max(initial=0) > header.maximum:
            raise Refused(f"damaged: the Netpbm states samples up to {header.maximum}, it has {samples.max()}")
        return Raster(samples.reshape(shape), "gray" if header.bands == 1 else "rgb", header.maximum)


def _raw(data: bytes, header: _Header) -> Samples:
    """Return the samples of a raw file; of bits, whether each is white."""
    if header.kind in _BITS:
        packed = np.frombuffer(data, np.uint8, header.raw_bytes, header.start).reshape(header.height, -1)
        bits: Samples = np.unpackbits(packed, axis=1, count=header.width) == 0
        return bits
    dtype = np.dtype(np.uint8 if header.maximum < 256 else ">u2")
    samples = np.frombuffer(data, dtype, header.raw_bytes // dtype.itemsize, header.start)
    return samples.astype(dtype.newbyteorder("="))


def _plain(data: bytes, header: _Header, count: int) -> Samples:
    """Return the samples of a plain file, written in digits; of bits, whether each is white."""
    samples = np.empty(count, np.uint8 if header.maximum < 256 else np.uint16)
    filled, at, more = 0, header.start, False
    while filled < count and at < len(data):
        end = _end_of_block(data, at)
        words = _COMMENT.sub(b"", data[at:end]).split()
        if header.kind in _BITS:  # which need no blanks between them
            words = [bytes((digit,)) for digit in b"".join(words)]
        more = len(words) > count - filled
        found = _numbers(words[: count - filled], header)
        samples[filled : filled + found.size] = found
        filled, at = filled + found.size, end
    if filled < count:
        raise Refused(f"truncated: the Netpbm has {filled} samples of {count}")
    if header.kind not in _BITS and not more and at == len(data) and not data[-1:].isspace():
        raise Refused("truncated: the Netpbm's last number may lack digits; a line break has to follow it")
    return samples == 0 if header.kind in _BITS else samples


def _end_of_block(data: bytes, at: int) -> int:
    """Return where a part of some length ends that cuts no number and no comment."""
    gap = _SPACE.search(data, at + _BLOCK_BYTES)
    end = len(data) if gap is None else gap.start()
    comment = data.rfind(b"#", at, end)
    if comment < 0 or _LINE_END.search(data, comment, end):
        return end
    line_end = _LINE_END.search(data, end)
    return len(data) if line_end is None else line_end.start()


def _numbers(words: list[bytes], header: _Header) -> Samples:
    if any(not word.isdigit() or len(word) > 5 for word in words):
        raise Refused("damaged: the Netpbm has something else among its samples")
    numbers: Samples = np.array(words, "S5").astype(np.int64)
    most = numbers.max(initial=0)
    if most <= header.maximum:
        return numbers
    if header.kind in _BITS:
        raise Refused("damaged: a bit of the Netpbm is neither 0 nor 1")
    raise Refused(f"damaged: the Netpbm states samples up to {header.maximum}, it has {most}")


def _header(data: bytes) -> _Header:
    kind, at, numbers = data[1] - ord("0"), 2, []
    for _ in range(2 if kind in _BITS else 3):
        found = _NUMBER.match(data, at)
        if found is None:
            raise Refused("truncated or damaged: the Netpbm's header is not four numbers")
        numbers.append(int(found[1]))
        at = found.end()
    maximum = 1 if kind in _BITS else numbers[2]
    if not 0 < maximum < 65536:
        raise Refused(f"damaged: the Netpbm states samples up to {maximum}")
    return _Header(kind, numbers[1], numbers[0], maximum, at + 1)
