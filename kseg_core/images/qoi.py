"""QOI, by its reference decoder (imagecodecs).

That decoder repeats the last pixel where the data ends early, and passes over data that is left. So it is given one
more row than the picture has, and the codes of a row of known colours behind the picture's own: only where the picture
takes exactly its codes does that row come out as it went in.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import numpy as np

from kseg_core.images.decoder import WholeDecoder
from kseg_core.images.raster import Cost, PictureInfo, Raster, Refused, Samples, check_size, raster_of

_HEADER = struct.Struct(">4sIIBB")
_END = bytes(7) + b"\1"
_RGBA = 0xFF  # the code that spells a colour out (QOI specification)
_MAX_PX = 400_000_000  # the reference decoder's own limit


class Qoi(WholeDecoder):
    """QOI, whole."""

    name = "QOI"
    magic = (b"qoif",)

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        height, width, channels = _header(file.read(_HEADER.size))
        cost = Cost(1, 2, 5)  # the decoder makes four bytes a pixel, twice
        return PictureInfo(cls.name, (height, width), channels, alpha=channels == 4, cost=cost)

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        """Its colours are taken as sRGB, linear ones too, as viewers do."""
        import imagecodecs

        height, width, channels = _header(data)
        check_size(height, width, min(max_pixels, _MAX_PX - width))
        if not data.endswith(_END):
            raise Refused("truncated or damaged: the QOI lacks its end marker")
        random = np.random.default_rng(len(data)).integers(0, 256, (width, 4), np.uint8)
        known = np.concatenate([np.full((width, 1), _RGBA, np.uint8), random], axis=1).tobytes()
        begin = _HEADER.pack(b"qoif", width, height + 1, 4, 0)
        data = b"".join((begin, memoryview(data)[_HEADER.size : -len(_END)], known, _END))
        samples: Samples = imagecodecs.qoi_decode(data)
        del data  # once it is decoded; what was given was let go when this was made of it
        if not np.array_equal(samples[height], random):
            raise Refused("truncated or damaged: the QOI's data does not end where the picture does")
        return raster_of(np.ascontiguousarray(samples[:height, :, :channels]))


def _header(data: bytes) -> tuple[int, int, int]:
    """Return height, width and number of channels."""
    if len(data) < _HEADER.size:
        raise Refused("truncated: the QOI ends within its header")
    _, width, height, channels, space = _HEADER.unpack_from(data)
    if channels not in (3, 4) or space > 1:
        raise Refused(f"damaged: a QOI of {channels} channels in colour space {space} does not exist")
    return height, width, channels
