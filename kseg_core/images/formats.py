"""Which module reads which format; none of their decoders is imported before it is needed.

A format whose files are decoded whole is a `WholeFormat`: its name and three functions, in a module of its own, entered
in `whole_formats`. One that is read by windows has a class that is a `Stored`, opened in `picture`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from kseg_core.images import sniff
from kseg_core.images.raster import Raster, Refused, Stated

#: Files are read whole up to here: the decoders below count bytes in signed 32-bit integers.
_MAX_FILE_BYTES = 2**31 - 1


class WholeFormat(NamedTuple):
    """A format whose pictures are decoded whole.

    Attributes
    ----------
    name
        As `sniff` calls it.
    shape
        Reads (height, width) as a person sees it from a file standing at its beginning, decoding nothing.
    stated
        Reads bands and dtype likewise.
    decode
        Decodes the bytes of a file; pictures of more pixels than the number given are refused before.
    """

    name: str
    shape: Callable[[BinaryIO], tuple[int, int]]
    stated: Callable[[BinaryIO], Stated]
    decode: Callable[[bytes, int], Raster]


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


def whole_formats() -> dict[str, WholeFormat]:
    """Return the formats that are decoded whole, by name; their modules import no decoder."""
    from kseg_core.images import bmp, heif, jpeg, jpegxl, jpegxr, netpbm, pillow, png, qoi

    return {
        form.name: form
        for form in (
            WholeFormat("JPEG", jpeg.read_shape, jpeg.read_stated, jpeg.decode),
            WholeFormat("PNG", png.read_shape, png.read_stated, png.decode),
            WholeFormat("BMP", bmp.read_shape, bmp.read_stated, bmp.decode),
            WholeFormat("GIF", pillow.gif_shape, pillow.gif_stated, pillow.decode_gif),
            WholeFormat("WebP", pillow.webp_shape, pillow.webp_stated, pillow.decode_webp),
            WholeFormat("Netpbm", netpbm.read_shape, netpbm.read_stated, netpbm.decode),
            WholeFormat("QOI", qoi.read_shape, qoi.read_stated, qoi.decode),
            WholeFormat("HEIC", heif.read_shape, heif.read_stated, heif.decode),
            WholeFormat("AVIF", heif.read_shape, heif.read_stated, heif.decode),
            WholeFormat("JPEG XL", jpegxl.read_shape, jpegxl.read_stated, jpegxl.decode),
            WholeFormat("JPEG XR", jpegxr.read_shape, jpegxr.read_stated, jpegxr.decode),
        )
    }


def decode(form: WholeFormat, file: BinaryIO, max_pixels: int) -> Raster:
    """Decode the samples of a file."""
    if file.seek(0, io.SEEK_END) > _MAX_FILE_BYTES:
        raise Refused(f"too large: a {form.name} file of more than 2 GiB")
    file.seek(0)
    return form.decode(file.read(), max_pixels)
