"""GIF by imageio, WebP by libwebp and Pillow.

GIF goes through imageio's Pillow plugin, as indices with their palette: as colours it would lose which of them are
transparent. WebP without animation goes to libwebp by imagecodecs, which knows no limit of pixels; animated WebP to
Pillow's reader directly (imageio reads its EXIF block too, and fails where that is damaged and the picture is not).

For an animation the picture is the first frame, unless another is chosen: a later one is what a person sees by then,
which Pillow lays over those before it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from kseg_core.images.decoder import WholeDecoder
from kseg_core.images.plausible import LZW_RATIO, check_ratio
from kseg_core.images.raster import Cost, PictureInfo, Raster, Refused, check_size, finishing_px
from kseg_core.images.tiff_directory import exif_orientation
from kseg_core.images.windows import turned_shape

_WEBP_ANIMATED = 2  # flag of the extended header (RFC 9649, 2.7)

_GIF_PX = 3  # Pillow's image, and copies of it
_LOSSLESS_PX = 4  # of a lossless WebP: libwebp works with 32 bits a pixel
_PILLOW_PX = 20  # of an animated one: two canvases of libwebp, and what Pillow makes of them

#: Above a process-wide limit (89 megapixels unless set) Pillow's GIF reader may warn; this stays clear of it.
_GIF_MAX_PIXELS = 1 << 26


class Gif(WholeDecoder):
    """GIF: any frame."""

    name = "GIF"
    magic = (b"GIF87a", b"GIF89a")

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        """What is said of a GIF whose first frame its file can hold; see `WholeDecoder`."""
        left, top, right, bottom, width, height = _gif_frame(file)
        shape = _gif_canvas(left, top, right, bottom, width, height)
        check_ratio((right - left) * (bottom - top), file.seek(0, io.SEEK_END), LZW_RATIO)
        return PictureInfo(cls.name, shape, 1, colours="palette", cost=Cost(1, 1, _GIF_PX, 1))

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        """The first frame; what the canvas shows around a smaller frame is transparent. See `WholeDecoder`."""
        left, top, right, bottom, width, height = _gif_frame(io.BytesIO(data))
        height, width = _gif_canvas(left, top, right, bottom, width, height)
        check_size(height, width, max_pixels)
        samples, transparent, colours = _gif_pixels(data, height * width)
        valid = np.zeros(samples.shape, np.bool_)
        valid[top:bottom, left:right] = True
        if transparent is not None:
            valid &= samples != transparent
        if colours is None:  # a ramp of grays
            return Raster(samples, "gray", valid=valid)
        return Raster(samples, "palette", palette=np.array(colours, np.uint8).reshape(-1, 3), valid=valid)

    @classmethod
    def count_frames(cls, file: BinaryIO) -> int:
        """How many frames there are, as far as that can be read; there is one."""
        _gif_frame(file)  # refuses what has none
        file.seek(0)
        data, frames = file.read(), 0
        at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
        try:
            while (mark := data[at : at + 1]) in (b"!", b","):
                at += 2  # the label of an extension
                if mark == b",":
                    frames += 1
                    flags = data[at + 7]
                    at += 9 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)  # a palette of its own, the first code
                while data[at]:  # sub-blocks, the last of them empty
                    at += 1 + data[at]
                at += 1
        except IndexError:
            pass  # where it ends, as far as anybody knows
        return max(1, frames)

    @classmethod
    def header_of_frame(cls, info: PictureInfo) -> PictureInfo:
        """Colours with alpha; see `WholeDecoder`."""
        return header_of_frame(info)

    @classmethod
    def decode_frame(cls, data: bytes, frame: int, max_pixels: int) -> Raster:
        """A later frame; see `WholeDecoder`."""
        return decode_frame(data, cls.name, frame, max_pixels)


class WebP(WholeDecoder):
    """WebP: any frame."""

    name = "WebP"

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        """See `Decoder`."""
        return head.startswith(b"RIFF") and head.startswith(b"WEBP", 8)

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        """What its chunks say; see `WholeDecoder`."""
        chunks = _webp_chunks(file)
        orientation = exif_orientation(chunks.get(b"EXIF"))
        shape = turned_shape(*_webp_size(chunks), orientation)
        has_alpha = _webp_has_alpha(chunks)
        beside = _PILLOW_PX if _is_animated(chunks) else _LOSSLESS_PX if b"VP8L" in chunks else 0
        cost = Cost(1, 1, beside, finishing_px(orientation, chunks.get(b"ICCP")))
        return PictureInfo(cls.name, shape, 4 if has_alpha else 3, alpha=has_alpha, cost=cost)

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        """The picture, or the first frame of an animation; see `WholeDecoder`."""
        chunks = _webp_chunks(io.BytesIO(data))
        check_size(*_webp_size(chunks), max_pixels)
        if _is_animated(chunks):
            from PIL.WebPImagePlugin import WebPImageFile

            with WebPImageFile(io.BytesIO(data)) as image:
                image.load()
                samples = np.array(image.convert("RGBA" if image.mode == "RGBA" else "RGB"))
        else:
            import imagecodecs

            samples = imagecodecs.webp_decode(data)
        return _separated(samples, icc=chunks.get(b"ICCP"), orientation=exif_orientation(chunks.get(b"EXIF")))

    @classmethod
    def count_frames(cls, file: BinaryIO) -> int:
        """How many frames there are."""
        return max(1, sum(name == b"ANMF" for name, _, _ in _webp_walk(file)))

    @classmethod
    def header_of_frame(cls, info: PictureInfo) -> PictureInfo:
        """Colours with alpha; see `WholeDecoder`."""
        return header_of_frame(info)

    @classmethod
    def decode_frame(cls, data: bytes, frame: int, max_pixels: int) -> Raster:
        """A later frame; see `WholeDecoder`."""
        return decode_frame(data, cls.name, frame, max_pixels)


def _gif_canvas(left: int, top: int, right: int, bottom: int, width: int, height: int) -> tuple[int, int]:
    """Return (height, width) of a GIF's canvas, which a first frame larger than it widens."""
    if right <= left or bottom <= top:
        raise Refused("no pixels: the GIF's first frame is empty")
    shape = max(height, bottom), max(width, right)
    if shape[0] * shape[1] > _GIF_MAX_PIXELS:
        limit = f"a GIF of more than {_GIF_MAX_PIXELS / 1e6:.0f} megapixels is not read, whatever --max-pixels says"
        found = f"{shape[1]} x {shape[0]} is {shape[0] * shape[1] / 1e6:.0f} megapixels"
        raise Refused(f"too large: {found}; {limit} (damaged, or a decompression bomb; if neither, save it as a PNG)")
    return shape


def _gif_pixels(data: bytes, pixels: int) -> tuple[np.ndarray[Any, Any], int | None, list[int] | None]:
    """Return indices (y, x) of a GIF's first frame, which is transparent, and the palette: None for a ramp of grays."""
    import imageio.v3 as iio
    from PIL import Image
    from PIL.GifImagePlugin import GifImageFile

    if Image.MAX_IMAGE_PIXELS is None or pixels <= Image.MAX_IMAGE_PIXELS:
        with iio.imopen(io.BytesIO(data), "r", plugin="pillow") as file:
            samples = np.array(file.read(index=0, mode="P"))
            facts = file.metadata(index=0, exclude_applied=False)
        return samples, facts.get("transparency"), facts.get("palette")
    with GifImageFile(io.BytesIO(data)) as image:  # imageio asks that process-wide limit, which is not ours to move
        image.load()
        return np.array(image), image.info.get("transparency"), None if image.mode == "L" else image.getpalette("RGB")


def _gif_frame(file: BinaryIO) -> tuple[int, int, int, int, int, int]:
    """Return left, top, right and bottom of the first frame, and width and height of the canvas.

    Read here because Pillow compares them with its process-wide limit, and may warn.
    """
    start = file.read(13)
    try:
        width, height, flags = struct.unpack_from("<HHB", start, 6)
        if flags & 0x80:  # a global palette
            file.seek(3 << ((flags & 7) + 1), io.SEEK_CUR)
        while (mark := file.read(1)) == b"!":  # extensions: a label and sub-blocks, the last of them empty
            file.seek(1, io.SEEK_CUR)
            while length := file.read(1)[0]:
                file.seek(length, io.SEEK_CUR)
        left, top, columns, rows = struct.unpack("<HHHH", file.read(8))
    except (struct.error, IndexError):
        raise Refused("truncated: the GIF ends before its first frame") from None
    if mark != b",":
        raise Refused("damaged: the GIF has no frame")
    return left, top, left + columns, top + rows, width, height


def header_of_frame(info: PictureInfo) -> PictureInfo:
    """Return what a frame that Pillow lays over others is: colours with alpha, of 8 bits.

    Raises
    ------
    Refused
        Where it has more bits, which would be lost.
    """
    if info.dtype != "uint8":
        raise Refused(
            f"not supported here: a frame after the first of {info.dtype} samples; save it as a PNG of its own"
        )
    cost = replace(info.cost, decoding_px=_PILLOW_PX, finishing_px=0)
    return replace(info, bands=4, alpha=True, colours=None, cost=cost)


def decode_frame(data: bytes, name: str, frame: int, max_pixels: int) -> Raster:
    """Decode a later frame of an animated GIF, WebP or PNG as a person sees it: what is below shows through."""
    from PIL.GifImagePlugin import GifImageFile
    from PIL.ImageFile import ImageFile
    from PIL.PngImagePlugin import PngImageFile
    from PIL.WebPImagePlugin import WebPImageFile

    kinds: dict[str, Callable[[io.BytesIO], ImageFile]] = {
        "GIF": GifImageFile,
        "WebP": WebPImageFile,
        "PNG": PngImageFile,
    }
    with kinds[name](io.BytesIO(data)) as image:
        width, height = image.size
        check_size(height, width, max_pixels)
        image.seek(frame)
        image.load()
        samples = np.array(image.convert("RGBA"))[:height, :width]  # a later frame may be larger
        icc, exif = image.info.get("icc_profile"), image.info.get("exif")
    return _separated(samples, icc=icc, orientation=exif_orientation(exif))


def _separated(samples: np.ndarray[Any, Any], icc: bytes | None = None, orientation: int = 1) -> Raster:
    """Make a raster of gray, RGB or RGBA samples."""
    if samples.ndim == 2:
        return Raster(
            samples, "gray", maximum=1 if samples.dtype == np.bool_ else 255, icc=icc, orientation=orientation
        )
    valid = samples[..., 3] != 0 if samples.shape[2] == 4 else None
    return Raster(samples, "rgb", valid=valid, icc=icc, orientation=orientation)


def _webp_chunks(file: BinaryIO) -> dict[bytes, bytes]:
    """Return the payloads of a WebP's first chunks of each name; of image data no more than its header.

    Raises
    ------
    Refused
        Where the file is shorter than it states.
    """
    chunks: dict[bytes, bytes] = {}
    for name, at, length in _webp_walk(file):
        if name not in chunks:
            file.seek(at)
            chunks[name] = file.read(length if name in (b"ICCP", b"EXIF") else min(length, 16))
    return chunks


def _webp_walk(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each chunk of a WebP; errors as of `_webp_chunks`."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    stated = 8 + int.from_bytes(file.read(8)[4:], "little")
    if stated > size:
        raise Refused(f"truncated: the WebP states {stated} bytes, the file has {size}")
    at = 12
    while at + 8 <= stated:
        file.seek(at)
        start = file.read(8)
        length = int.from_bytes(start[4:], "little")
        if at + 8 + length > stated:
            raise Refused("damaged: a chunk of the WebP reaches beyond its end")
        yield start[:4], at + 8, length
        at += 8 + length + length % 2


def _webp_has_alpha(chunks: dict[bytes, bytes]) -> bool:
    """Say whether the extended header, or that of the lossless bit stream, states an alpha channel (RFC 9649)."""
    if b"VP8X" in chunks:
        return bool(chunks[b"VP8X"][:1] and chunks[b"VP8X"][0] & 0x10)
    return len(chunks.get(b"VP8L", b"")) >= 5 and bool(chunks[b"VP8L"][4] & 0x10)


def _is_animated(chunks: dict[bytes, bytes]) -> bool:
    return bool(chunks.get(b"VP8X", b"\0")[0] & _WEBP_ANIMATED)


def _webp_size(chunks: dict[bytes, bytes]) -> tuple[int, int]:
    """Return (height, width) as stored, from the canvas or from the bit stream (RFC 9649)."""
    try:
        if b"VP8X" in chunks:
            canvas = chunks[b"VP8X"]
            width, height = int.from_bytes(canvas[4:7], "little"), int.from_bytes(canvas[7:10], "little")
            return height + 1, width + 1
        if b"VP8L" in chunks:
            (bits,) = struct.unpack_from("<I", chunks[b"VP8L"], 1)
            return ((bits >> 14) & 0x3FFF) + 1, (bits & 0x3FFF) + 1
        width, height = struct.unpack_from("<HH", chunks[b"VP8 "], 6)
        return height & 0x3FFF, width & 0x3FFF
    except (struct.error, KeyError):
        raise Refused("damaged: the WebP has no image data") from None
