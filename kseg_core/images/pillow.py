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
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from kseg_core.images.choosing import note, taken
from kseg_core.images.decoder import Opening, WholeDecoder
from kseg_core.images.raster import (
    LZW_RATIO,
    Cost,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_ratio,
    check_size,
    raster_of,
)
from kseg_core.images.srgb import finishing_px
from kseg_core.images.tiff_directory import exif_orientation
from kseg_core.images.windows import turned_shape

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_WEBP_ANIMATED, _WEBP_ALPHA = 2, 16  # flags of the extended header (RFC 9649, 2.7)

_GIF_CUT = "truncated: the GIF ends before its first frame"
_GIF_PX = 3  # Pillow's image, and copies of it
_LOSSLESS_PX = 4  # of a lossless WebP: libwebp works with 32 bits a pixel
_PILLOW_PX = 20  # of an animated one: two canvases of libwebp, and what Pillow makes of them

#: Above a process-wide limit (89 megapixels unless set) Pillow's GIF reader may warn; this stays clear of it.
_GIF_MAX_PIXELS = 1 << 26


class Animated(WholeDecoder):
    """A format of which any frame can be chosen: the first is decoded by itself, Pillow lays a later one over it."""

    def __init__(self, opening: Opening) -> None:
        frames, choice = self.count_frames(opening.file), opening.choice
        self._frame = taken("page", choice.page, frames)
        super().__init__(opening._replace(choice=replace(choice, page=None)))
        if self._frame:
            self.info = self._of_later_frame(self.info)
        elif frames > 1 and choice.page is None:
            said = note("page", 0, frames, why="the first frame of an animation")
            self.info = replace(self.info, notes=(said, *self.info.notes))

    @classmethod
    @abstractmethod
    def count_frames(cls, file: BinaryIO) -> int:
        """Return how many frames a file has, as far as that can be read; it has one."""

    @classmethod
    @abstractmethod
    def opened_by_pillow(cls, data: bytes) -> ImageFile:
        """Open a file by Pillow's reader of the format."""

    @classmethod
    def decode_frame(cls, data: bytes, frame: int, max_pixels: int) -> Raster:
        """Decode a frame after the first, as a person sees it: what is below shows through."""
        with cls.opened_by_pillow(data) as image:
            width, height = image.size
            check_size(height, width, max_pixels)
            image.seek(frame)
            image.load()
            samples = np.array(image.convert("RGBA"))[:height, :width]  # a later frame may be larger
            icc, exif = image.info.get("icc_profile"), image.info.get("exif")
        return raster_of(samples, icc=icc, orientation=exif_orientation(exif))

    def _decode(self) -> Raster:
        if not self._frame:
            return super()._decode()
        return self.decode_frame(self._file.read(), self._frame, self._max_pixels)

    @staticmethod
    def _of_later_frame(info: PictureInfo) -> PictureInfo:
        """What the header of a later frame would be: colours with alpha, of 8 bits; more would be lost."""
        if info.dtype != "uint8":
            raise Refused(
                f"not supported here: a frame after the first of {info.dtype} samples; save it as a PNG of its own"
            )
        cost = replace(info.cost, decoding_px=_PILLOW_PX, finishing_px=0)
        return replace(info, bands=4, alpha=True, colours=None, cost=cost)


class _GifFrame(NamedTuple):
    """Where a frame lies, and the canvas as it is stated."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    def canvas(self) -> tuple[int, int]:
        """Return (height, width) of the canvas, which a first frame larger than it widens."""
        if self.right <= self.left or self.bottom <= self.top:
            raise Refused("no pixels: the GIF's first frame is empty")
        height, width = max(self.height, self.bottom), max(self.width, self.right)
        if height * width > _GIF_MAX_PIXELS:
            raise Refused(
                f"too large: {width} x {height} is {height * width / 1e6:.0f} megapixels; a GIF of more than "
                f"{_GIF_MAX_PIXELS / 1e6:.0f} megapixels is not read, whatever --max-pixels says (damaged, or a "
                "decompression bomb; if neither, save it as a PNG)"
            )
        return height, width


class Gif(Animated):
    """GIF: any frame."""

    name, gdal_driver, mask_suffixes = "GIF", "GIF", ("gif",)
    magic = (b"GIF87a", b"GIF89a")

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        """What is said of a GIF whose first frame its file can hold."""
        frame = next(_gif_frames(file))
        shape = frame.canvas()
        check_ratio((frame.right - frame.left) * (frame.bottom - frame.top), file.seek(0, io.SEEK_END), LZW_RATIO)
        return PictureInfo(cls.name, shape, 1, colours="palette", cost=Cost(1, 1, _GIF_PX, 1))

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        """The first frame; what the canvas shows around a smaller frame is transparent."""
        frame = next(_gif_frames(io.BytesIO(data)))
        height, width = frame.canvas()
        check_size(height, width, max_pixels)
        samples, transparent, colours = _gif_pixels(data, height * width)
        valid = np.zeros(samples.shape, np.bool_)
        valid[frame.top : frame.bottom, frame.left : frame.right] = True
        if transparent is not None:
            valid &= samples != transparent
        if colours is None:  # a ramp of grays
            return Raster(samples, "gray", valid=valid)
        return Raster(samples, "palette", palette=np.array(colours, np.uint8).reshape(-1, 3), valid=valid)

    @classmethod
    def count_frames(cls, file: BinaryIO) -> int:
        return sum(1 for _ in _gif_frames(file))

    @classmethod
    def opened_by_pillow(cls, data: bytes) -> ImageFile:
        from PIL.GifImagePlugin import GifImageFile

        return GifImageFile(io.BytesIO(data))


class WebP(Animated):
    """WebP: any frame."""

    name, gdal_driver, mask_suffixes = "WebP", "WEBP", ("webp",)

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        return head.startswith(b"RIFF") and head.startswith(b"WEBP", 8)

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        chunks = _webp_chunks(file)
        orientation = exif_orientation(chunks.get(b"EXIF"))
        height, width, has_alpha = _webp_size(chunks)
        shape = turned_shape(height, width, orientation)
        beside = _PILLOW_PX if _is_animated(chunks) else _LOSSLESS_PX if b"VP8L" in chunks else 0
        cost = Cost(1, 1, beside, finishing_px(orientation, chunks.get(b"ICCP")))
        return PictureInfo(cls.name, shape, 4 if has_alpha else 3, alpha=has_alpha, cost=cost)

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        """The picture, or the first frame of an animation."""
        chunks = _webp_chunks(io.BytesIO(data))
        check_size(*_webp_size(chunks)[:2], max_pixels)
        if _is_animated(chunks):
            with cls.opened_by_pillow(data) as image:
                image.load()
                samples = np.array(image.convert("RGBA" if image.mode == "RGBA" else "RGB"))
        else:
            import imagecodecs

            samples = imagecodecs.webp_decode(data)
        return raster_of(samples, icc=chunks.get(b"ICCP"), orientation=exif_orientation(chunks.get(b"EXIF")))

    @classmethod
    def count_frames(cls, file: BinaryIO) -> int:
        return max(1, sum(name == b"ANMF" for name, _, _ in _webp_walk(file)))

    @classmethod
    def opened_by_pillow(cls, data: bytes) -> ImageFile:
        from PIL.WebPImagePlugin import WebPImageFile

        return WebPImageFile(io.BytesIO(data))


def _gif_pixels(data: bytes, pixels: int) -> tuple[Samples, int | None, list[int] | None]:
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


def _gif_frames(file: BinaryIO) -> Iterator[_GifFrame]:
    """Yield where each frame of a GIF lies on its canvas, as far as that can be read; there is one.

    Read here because Pillow compares it with its process-wide limit, and may warn.
    """
    file.seek(0)
    start, frames = file.read(13), 0
    try:
        width, height, flags = struct.unpack_from("<HHB", start, 6)
        _skip_palette(file, flags)
        while (mark := file.read(1)) in (b"!", b","):
            if mark == b",":
                left, top, columns, rows, flags = struct.unpack("<HHHHB", file.read(9))
                yield _GifFrame(left, top, left + columns, top + rows, width, height)
                frames += 1
                _skip_palette(file, flags)
            file.seek(1, io.SEEK_CUR)  # the label of an extension, or the size of the first code
            while length := file.read(1)[0]:  # sub-blocks, the last of them empty
                file.seek(length, io.SEEK_CUR)
    except (struct.error, IndexError):
        if not frames:
            raise Refused(_GIF_CUT) from None
    if not frames:
        raise Refused("damaged: the GIF has no frame" if mark else _GIF_CUT)


def _skip_palette(file: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        file.seek(3 << ((flags & 7) + 1), io.SEEK_CUR)


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


def _is_animated(chunks: dict[bytes, bytes]) -> bool:
    return bool(chunks.get(b"VP8X", b"\0")[0] & _WEBP_ANIMATED)


def _webp_size(chunks: dict[bytes, bytes]) -> tuple[int, int, bool]:
    """Return height, width and whether there is alpha, by the extended header or the bit stream (RFC 9649)."""
    try:
        if b"VP8X" in chunks:
            flags, width, height = struct.unpack("<B3x3s3s", chunks[b"VP8X"][:10])
            return int.from_bytes(height, "little") + 1, int.from_bytes(width, "little") + 1, bool(flags & _WEBP_ALPHA)
        if b"VP8L" in chunks:
            (bits,) = struct.unpack_from("<I", chunks[b"VP8L"], 1)
            return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1, bool(bits >> 28 & 1)
        width, height = struct.unpack_from("<HH", chunks[b"VP8 "], 6)
        return height & 0x3FFF, width & 0x3FFF, False
    except (struct.error, KeyError):
        raise Refused("damaged: the WebP has no image data") from None
