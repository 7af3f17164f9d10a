"""Pictures: what a file is, and its pixels as 8-bit sRGB in the orientation a person sees.

The project reads with imageio and its plugins where those do the job right, and with the decoders below
them where they do not; each module says which and why:

=========== =================== ==========================================================
format      module              decoder
=========== =================== ==========================================================
JPEG        `jpeg`              simplejpeg, strict
PNG         `png`               zlib and libpng (imagecodecs)
BMP         `pillow`            imageio's Pillow plugin
GIF         `pillow`            Pillow's reader
WebP        `pillow`            libwebp (imagecodecs); Pillow's reader for animations
TIFF        `tiff`              tifffile and imagecodecs; simplejpeg for JPEG tiles
=========== =================== ==========================================================

All functions may be called from several threads at once, and no global setting of any library is
changed. Whatever goes wrong with a file is an `UnreadableImage` with a reason.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from kseg_core.errors import UnreadableImage
from kseg_core.images import sniff
from kseg_core.images.raster import MAX_PIXELS, ImageHeader, Raster, Refused, RgbImage, check_size

__all__ = ["MAX_PIXELS", "ImageHeader", "RgbImage", "read_header", "read_image", "sniff_format"]

#: Files are read whole (TIFF apart) up to here: the decoders below count bytes in signed 32-bit integers.
_MAX_FILE_BYTES = 2**31 - 1


def sniff_format(path: str) -> str | None:
    """Say what picture format a file has, by its content.

    Parameters
    ----------
    path
        A file; it may hold surrogate escapes.

    Returns
    -------
    A name such as ``"JPEG"`` or ``"HEIC"`` (also of formats that cannot be read here), or None when
    the file is not a picture of a known format.

    Raises
    ------
    UnreadableImage
        Where the file cannot be opened.
    """
    with _refusing(path, ""), _opened(path) as (_, head):
        kind = sniff.identify(head)
        return kind.name if kind is not None and kind.is_image else None


def read_header(path: str, *, max_pixels: int = MAX_PIXELS) -> ImageHeader:
    """Read what a picture says of itself, without decoding it.

    Parameters
    ----------
    path
        A file; it may hold surrogate escapes.
    max_pixels
        Pictures of more pixels are refused.

    Raises
    ------
    UnreadableImage
        Where the file is not a picture that can be read here, as far as its header tells.
    """
    with _refusing(path, ""), _opened(path) as (file, head):
        name = _readable_format(head)
        with _refusing(path, name):
            shape = _shape_reader(name)(file)
            check_size(*shape, max_pixels)
        return ImageHeader(name, shape)


def read_image(path: str, *, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """Read a picture as 8-bit sRGB, as a person sees it.

    Parameters
    ----------
    path
        A file; it may hold surrogate escapes.
    max_pixels
        Pictures of more pixels are refused before they are decoded.

    Returns
    -------
    uint8 (height, width, 3) and, where the picture has wholly transparent pixels, which are not.

    Raises
    ------
    UnreadableImage
        Where any part of the picture is damaged, missing, or not of a kind that is read here.
    """
    with _refusing(path, ""), _opened(path) as (file, head):
        name = _readable_format(head)
        with _refusing(path, name):
            from kseg_core.images import srgb

            return srgb.to_rgb(_decode(name, file, max_pixels))


def _readable_format(head: bytes) -> str:
    """Return the name of the format, or refuse what has no reader here."""
    if not head:
        raise Refused("empty file")
    if not head.strip(b"\0"):
        raise Refused("not an image (only zero bytes)")
    kind = sniff.identify(head)
    if kind is None or kind.name not in sniff.READABLE:
        raise Refused(sniff.refusal(kind))
    return kind.name


def _shape_reader(name: str) -> Callable[[BinaryIO], tuple[int, int]]:
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


def _decode(name: str, file: BinaryIO, max_pixels: int) -> Raster:
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


@contextmanager
def _opened(path: str) -> Iterator[tuple[BinaryIO, bytes]]:
    """Open a regular file; give it, at its beginning, and its first bytes."""
    with open(path, "rb", opener=_open_at_once) as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise Refused("a folder, not a file")
        if not stat.S_ISREG(mode):
            raise Refused("not a regular file")
        head = file.read(sniff.HEAD_BYTES)
        file.seek(0)
        yield file, head


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a named pipe would hold us until somebody writes into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def _refusing(path: str, name: str) -> Iterator[None]:
    """Turn every failure into an `UnreadableImage` that says why in one line.

    Hostile files make decoders raise nearly anything, so this is the one place that catches all.
    """
    try:
        yield
    except UnreadableImage:
        raise
    except Refused as error:
        raise UnreadableImage(path, str(error)) from error
    except MemoryError as error:
        raise UnreadableImage(path, "not enough memory to decode it (or damaged: its header asks too much)") from error
    except OSError as error:
        reason = _system_reason(error) or _decoder_reason(error, name)
        raise UnreadableImage(path, reason) from error
    except Exception as error:
        raise UnreadableImage(path, _decoder_reason(error, name)) from error


def _system_reason(error: OSError) -> str | None:
    """Return what the operating system says, or None where a decoder raised the error itself."""
    if error.errno is None or error.strerror is None:
        return None
    return error.strerror[0].lower() + error.strerror[1:]


def _decoder_reason(error: Exception, name: str) -> str:
    """Return a clause for what a decoder raised."""
    message = " ".join(str(error).split()) or type(error).__name__
    if "decompression bomb" in message:  # Pillow's own, which is met only above ours
        return f"too large: the {name} decoder says: {message}"
    verdict = "truncated" if "truncated" in message.lower() else "damaged"
    return f"{verdict}: the {name} decoder says: {message}" if name else f"{verdict}: {message}"
