"""JPEG XL, by libjxl (imagecodecs), which refuses what is cut, and nearly all that is changed.

What it does not give is read here: the header, and the colour space that is named there. An embedded profile is
compressed as the pixels are; the `jxl` extra (pillow-jxl-plugin) gives it, and without that a note says it is not
applied. Files of lossy coding with a profile of their own are decoded to linear sRGB, which needs none.
"""

from __future__ import annotations

import io
from typing import BinaryIO, cast

import numpy as np

from kseg_core.images import cicp
from kseg_core.images.decoder import WholeDecoder
from kseg_core.images.isobmff import boxes
from kseg_core.images.jpegxl_header import JxlHeader, read_jxl_header
from kseg_core.images.raster import Colours, Cost, NotSupported, PictureInfo, Raster, Refused, Samples, check_size
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


class JpegXl(WholeDecoder):
    """JPEG XL: the first frame."""

    name = _NAME
    magic = (b"\0\0\0\x0cJXL \r\n\x87\n", _BARE)
    of_several = "the first frame"

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        """What the header says; see `WholeDecoder`."""
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
        """The picture, or the first frame of an animation; libjxl turns it as the header says. See `WholeDecoder`."""
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
        valid = np.ascontiguousarray(samples[..., -1] != 0) if header.alpha else None
        if header.premultiplied and samples.dtype.kind == "u":
            from kseg_core.images.jpegxr import undivided

            samples = undivided(samples, maximum)
        if header.gray and header.alpha:
            samples = np.ascontiguousarray(samples[..., 0])
        if is_linear and samples.dtype.kind == "u":
            samples, maximum = to_8_bits(samples, maximum, linear=True), 255
        colours: Colours = "gray" if header.gray else "rgb"
        stays_linear = header.space is not None and header.space.gamma == 1.0
        return Raster(samples, colours, maximum, valid=valid, icc=_profile(data, header), linear=stays_linear)


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


def _dtype_of(header: JxlHeader) -> str:
    """Return what imagecodecs gives for a depth."""
    if header.exponent_bits:
        return "float16" if header.bits == 16 else "float32"
    if header.bits > 16:
        return "float32"
    return "uint8" if header.bits <= 8 else "uint16"


def _header(file: BinaryIO) -> tuple[JxlHeader, int]:
    """Return the header, and where the code stream begins in the file."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if file.read(2) == _BARE:
        file.seek(0)
        return read_jxl_header(file.read(_HEADER_BYTES)), 0
    stream, first = b"", -1
    for box in boxes(file, 0, size, _NAME):
        if box.kind in (b"jxlc", b"jxlp") and len(stream) < _HEADER_BYTES:
            start = box.start + (4 if box.kind == b"jxlp" else 0)
            first = start if first < 0 else first
            file.seek(start)
            stream += file.read(min(box.end - start, _HEADER_BYTES))
    if not stream.startswith(_BARE):
        raise Refused(f"truncated or damaged: the {_NAME} has no code stream")
    return read_jxl_header(stream), first


def _of_12_bits(data: bytes, header: JxlHeader, start: int) -> bytes:
    """Return a file that states 12 bits instead of 8: in lossy coding that is nothing but the depth to decode to."""
    if header.depth_at is None:
        return data
    out = bytearray(data)
    at = header.depth_at + 1  # of two bits, the lower first: 0 is 8 bits, 2 is 12
    out[start + at // 8] |= 1 << at % 8
    return bytes(out)


def _profile_reader() -> object | None:
    """Return the class that reads embedded profiles, where it is installed."""
    try:
        from pillow_jxl import Decoder  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        return None
    return cast(object, Decoder)


def _profile(data: bytes, header: JxlHeader) -> bytes | None:
    """Return the profile of the samples: embedded, or of the colour space that is named; None: sRGB, or not known."""
    if header.icc and not header.xyb:
        reader = _profile_reader()
        return None if reader is None else reader(num_threads=1)(data)[3] or None  # type: ignore[operator]
    space = header.space
    if space is None or header.icc:
        return None
    if space.gamma == 1.0:
        space = space._replace(gamma=None)  # the samples will have been given the curve of sRGB
    return cicp.profile_of(space, gray=header.gray)
