"""Which module reads which format; none of their decoders is imported before it is needed."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

from kseg_core.images import sniff
from kseg_core.images.raster import Raster, Refused, Stated

#: Files are read whole (TIFF apart) up to here: the decoders below count bytes in signed 32-bit integers.
_MAX_FILE_BYTES = 2**31 - 1


def readable_format(head: bytes) -> str:
    """Return the name of the format, or refuse what has no reader here."""
    if not head:
        raise Refused("empty file")
    if not head.strip(b"\0"):
        raise Refused("not an image (only zero bytes)")
    kind = sniff.identify(head)
    if kind is None or kind.name not in sniff.READABLE:
        raise Refused(sniff.refusal(kind))
    return kind.name


def shape_reader(name: str) -> Callable[[BinaryIO], tuple[int, int]]:
    """Return the function that reads the size of a format, importing no other format's decoder."""
    from kseg_core.images import jpeg, pillow, png, tiff

    return {
        "JPEG": jpeg.read_shape,
        "PNG": png.read_shape,
        "BMP": pillow.bmp_shape,
        "GIF": pillow.gif_shape,
        "WebP": pillow.webp_shape,
        "TIFF": tiff.read_shape,
    }[name]


def stated_reader(name: str) -> Callable[[BinaryIO], Stated]:
    """Return the function that reads bands and dtype of a format that is read whole."""
    from kseg_core.images import jpeg, pillow, png

    return {
        "JPEG": jpeg.read_stated,
        "PNG": png.read_stated,
        "BMP": pillow.bmp_stated,
        "GIF": pillow.gif_stated,
        "WebP": pillow.webp_stated,
    }[name]


def decode(name: str, file: BinaryIO, max_pixels: int) -> Raster:
    """Decode the file's samples."""
    from kseg_core.images import jpeg, pillow, png, tiff

    if name == "TIFF":
        return tiff.decode(file, max_pixels)
    decoders: dict[str, Callable[[bytes, int], Raster]] = {
        "JPEG": jpeg.decode,
        "PNG": png.decode,
        "BMP": pillow.decode_bmp,
        "GIF": pillow.decode_gif,
        "WebP": pillow.decode_webp,
    }
    if file.seek(0, io.SEEK_END) > _MAX_FILE_BYTES:
        raise Refused(f"too large: a {name} file of more than 2 GiB")
    file.seek(0)
    return decoders[name](file.read(), max_pixels)
