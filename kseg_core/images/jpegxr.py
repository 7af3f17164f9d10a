"""JPEG XR, by jxrlib (imagecodecs).

That decoder takes a file that ends early for all of it, so where the image data lies is read here (ITU-T T.832,
annex A) and compared with the file's size. The codes have no redundancy: a changed byte is seen by no decoder.
"""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from kseg_core.images.decoder import WholeDecoder
from kseg_core.images.raster import (
    Colours,
    Cost,
    NotSupported,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_size,
    raster_of,
)
from kseg_core.images.windows import turned_shape

_PIXEL_FORMAT, _TRANSFORM, _WIDTH, _HEIGHT, _OFFSET, _BYTES = 0xBC01, 0xBC02, 0xBC80, 0xBC81, 0xBCC0, 0xBCC1
_ALPHA_OFFSET, _ALPHA_BYTES, _PROFILE = 0xBCC2, 0xBCC3, 0x8773
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1}  # bytes of a value by its type: BYTE, ASCII, SHORT, LONG, UNDEFINED
_ORIENTATIONS = (1, 4, 2, 3, 6, 7, 5, 8)  # of the values of the transform's tag, as EXIF numbers them
_MAX_ENTRIES = 1000
_MAX_PROFILE_BYTES = 1 << 24

_COMMON = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9")  # what most GUIDs of pixel formats begin with
_RGBA = bytes.fromhex("2dadc7f58d6add43a7a8a29935261ae9")
_PRGBA = bytes.fromhex("50a6c43c27a5374da9163142c7ebedba")


class _Format(NamedTuple):
    """What the samples are: their number, dtype, colours, and whether the fourth is alpha that the others contain."""

    bands: int
    dtype: str
    colours: Colours
    premultiplied: bool = False


_FORMATS = {
    _COMMON + b"\x05": _Format(1, "bool", "gray"),
    _COMMON + b"\x08": _Format(1, "uint8", "gray"),
    _COMMON + b"\x0b": _Format(1, "uint16", "gray"),
    _COMMON + b"\x0c": _Format(3, "uint8", "rgb"),
    _COMMON + b"\x0d": _Format(3, "uint8", "rgb"),
    _COMMON + b"\x0e": _Format(3, "uint8", "rgb"),
    _COMMON + b"\x0f": _Format(4, "uint8", "rgb"),
    _COMMON + b"\x15": _Format(3, "uint16", "rgb"),
    _COMMON + b"\x16": _Format(4, "uint16", "rgb"),
    _COMMON + b"\x17": _Format(4, "uint16", "rgb", premultiplied=True),
    _COMMON + b"\x1c": _Format(4, "uint8", "cmyk"),
    _COMMON + b"\x11": _Format(1, "float32", "gray"),
    _RGBA: _Format(4, "uint8", "rgb"),
    _PRGBA: _Format(4, "uint8", "rgb", premultiplied=True),
}


class _Header(NamedTuple):
    height: int
    width: int
    form: _Format
    orientation: int
    icc: bytes | None
    guid: bytes
    places: dict[int, int]


class JpegXr(WholeDecoder):
    """JPEG XR: the first picture."""

    name = "JPEG XR"
    magic = (b"II\xbc\x01",)
    of_several = "the first picture"

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        header = _header(file)
        form, is_cmyk = header.form, header.form.colours == "cmyk"
        return PictureInfo(
            cls.name,
            turned_shape(header.height, header.width, header.orientation),
            form.bands,
            "uint8" if form.dtype == "bool" else form.dtype,
            alpha=form.bands == 4 and not is_cmyk,
            colours="cmyk" if is_cmyk else None,
            cost=Cost(2, 2, 0.2),
        )

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        import imagecodecs

        header = _header(io.BytesIO(data))
        check_size(header.height, header.width, max_pixels)
        samples: Samples = imagecodecs.jpegxr_decode(_plain(data, header))
        form = header.form
        expected = (header.height, header.width, *((form.bands,) if form.bands > 1 else ()))
        if samples.shape != expected or samples.dtype != form.dtype:
            raise Refused("damaged: the JPEG XR is not what its header says")
        maximum = 1 if samples.dtype == np.bool_ else 65535 if samples.dtype == np.uint16 else 255
        if form.colours == "cmyk":
            return Raster(samples, "cmyk", maximum, icc=header.icc, orientation=header.orientation)
        premultiplied = form.premultiplied
        return raster_of(samples, maximum, premultiplied=premultiplied, icc=header.icc, orientation=header.orientation)


def _header(file: BinaryIO) -> _Header:
    """Read the first directory, and see that what it points to is in the file."""
    size = file.seek(0, io.SEEK_END)
    tags = _tags(file, size)
    places: dict[int, int] = {}
    for offset, count in ((_OFFSET, _BYTES), (_ALPHA_OFFSET, _ALPHA_BYTES)):
        if offset in tags or offset == _OFFSET:
            start, length = _number(tags, offset), _number(tags, count)
            places |= {offset: start, count: length}
            if start <= 0 or length <= 0:
                raise Refused("damaged: the JPEG XR has no image data")
            if offset == _ALPHA_OFFSET and length > start:
                start = 0  # jxrlib writes where alpha ends instead of its length
            if start + length > size:
                raise Refused(f"truncated: the JPEG XR's image data ends at byte {start + length}, the file has {size}")
    guid = tags.get(_PIXEL_FORMAT, b"")
    form = _FORMATS.get(guid)
    if form is None:
        raise NotSupported("JPEG XR of an unusual pixel format: not supported here; convert it to TIFF first")
    turned = _number(tags, _TRANSFORM, 0)
    orientation = _ORIENTATIONS[turned] if 0 <= turned < len(_ORIENTATIONS) else 1
    height, width = _number(tags, _HEIGHT), _number(tags, _WIDTH)
    return _Header(height, width, form, orientation, tags.get(_PROFILE) or None, guid, places)


def _plain(data: bytes, header: _Header) -> bytes:
    """Return the same picture with a directory of what its decoding needs: on other tags the decoder remarks on
    standard error, and of the transforms it does some and fails at others.
    """
    needed = {_WIDTH: header.width, _HEIGHT: header.height}
    needed |= {
        tag: header.places[tag] for tag in (_OFFSET, _BYTES, _ALPHA_OFFSET, _ALPHA_BYTES) if tag in header.places
    }
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(needed.items())]
    end = len(data) + len(data) % 2
    guid_at = end + 2 + 12 * (len(entries) + 1) + 4
    entries.insert(0, struct.pack("<HHII", _PIXEL_FORMAT, 1, 16, guid_at))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + header.guid
    return data[:4] + struct.pack("<I", end) + data[8:] + bytes(len(data) % 2) + directory


def _tags(file: BinaryIO, size: int) -> dict[int, bytes]:
    """Return the values of the first directory, as they are stored."""
    try:
        file.seek(4)
        (at,) = struct.unpack("<I", file.read(4))
        file.seek(at)
        (count,) = struct.unpack("<H", file.read(2))
        if not 0 < count <= _MAX_ENTRIES:
            raise Refused("damaged: the JPEG XR has no directory")
        entries = file.read(12 * count)
        tags: dict[int, bytes] = {}
        for entry in range(count):
            tag, kind, length = struct.unpack_from("<HHI", entries, 12 * entry)
            length *= _SIZES.get(kind, 0)
            value = entries[12 * entry + 8 : 12 * entry + 12]
            if length > 4:
                (place,) = struct.unpack("<I", value)
                if length > _MAX_PROFILE_BYTES or place + length > size:
                    raise Refused("truncated or damaged: a tag of the JPEG XR reaches beyond its end")
                file.seek(place)
                value = file.read(length)
            tags[tag] = value[:length]
    except struct.error:
        raise Refused("truncated: the JPEG XR ends within its directory") from None
    return tags


def _number(tags: dict[int, Any], tag: int, default: int | None = None) -> int:
    """Return the value of a tag of one number."""
    value = tags.get(tag, b"")
    if not value:
        if default is None:
            raise Refused(f"damaged: the JPEG XR lacks tag 0x{tag:04x}")
        return default
    return int.from_bytes(value, "little")
