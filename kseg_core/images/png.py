"""PNG: its chunks read here, its rows by libpng (imagecodecs).

Why not through imageio: it gives palettes without their transparency and 16-bit RGB with the low bytes dropped. Why not
Pillow: it does not verify the checksums of the image data, and takes data that ends after any whole row for all of it.
Why not libpng alone: it warns on standard error, and as imagecodecs 2026 wraps it, enough damaged files bring the
process down. So the checksums are verified and the data inflated here, and libpng unfilters rows a band at a time:
given data of exactly the right length, with good checksums and known filters, stored and not compressed, it can neither
warn nor fail.

For an animated PNG the picture is the default image, which is the first frame unless the file says otherwise.
Only an embedded profile (iCCP) is colour information here: gAMA and cHRM are ignored, as most viewers do.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kseg_core import buffers
from kseg_core.images.failures import printable
from kseg_core.images.pillow import Animated
from kseg_core.images.raster import (
    DEFLATE_RATIO,
    Colours,
    Cost,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_ratio,
    check_size,
)
from kseg_core.images.srgb import finishing_px
from kseg_core.images.tiff_directory import exif_orientation
from kseg_core.images.windows import turned_shape

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: (x0, y0, dx, dy) of the seven passes of Adam7 interlacing (PNG specification, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MAX_FILTER = 4  # Paeth (PNG specification, 9.2)
_BAND_BYTES = 1 << 20  # rows unfiltered at once: more than fits in a cache gains nothing
_INFLATE_BYTES = 1 << 20
_KNOWN_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_USED = {b"PLTE", b"tRNS", b"IDAT"}
_MAX_PROFILE_BYTES = 1 << 24  # the largest CMYK profiles in use have 3 MB; beyond is a bomb
_MAX_EXIF_BYTES = 1 << 20
_MAX_SIDE = 1_000_000  # libpng's own limit (PNG_USER_WIDTH_MAX)

_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}


class _Chunk(NamedTuple):
    """One chunk: its name, where its payload begins in the file, and how many bytes that has."""

    name: bytes
    start: int
    length: int


@dataclass(slots=True)
class _Picture:
    """The header, and the payloads of the chunks that matter."""

    width: int
    height: int
    depth: int
    kind: int
    interlaced: bool
    used: dict[bytes, list[bytes | memoryview]] = field(default_factory=dict)
    icc: bytes | None = None
    exif: bytes | None = None


class Png(Animated):
    """PNG, whole, and any frame of an animated one."""

    name, gdal_driver, mask_suffixes = "PNG", "PNG", ("png",)
    magic = (_SIGNATURE,)

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        """Seeks from one chunk to the next."""
        picture = _read_header(file)
        orientation, channels = exif_orientation(picture.exif), _CHANNELS[picture.kind]
        shape = turned_shape(picture.height, picture.width, orientation)
        samples = picture.width * picture.height * channels
        check_ratio(samples * picture.depth / 8, file.seek(0, io.SEEK_END), DEFLATE_RATIO)
        after = finishing_px(orientation, picture.icc if picture.kind in (2, 6) else None)
        after += (4 if picture.kind == 2 else 1) * (b"tRNS" in picture.used)  # which samples are the key
        return PictureInfo(
            cls.name,
            shape,
            channels,
            "uint16" if picture.depth == 16 else "uint8",
            alpha=picture.kind in (4, 6),
            colours="palette" if picture.kind == 3 else None,
            cost=Cost(1, 2, _passes_px(picture), after),
        )

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        """The whole picture, or the default image of an animation."""
        picture = _collect(data, max_pixels)
        if b"IDAT" not in picture.used:
            raise Refused("damaged: the PNG has no image data")
        if picture.kind == 3 and b"PLTE" not in picture.used:
            raise Refused("damaged: the PNG lacks its palette")
        del data  # once its parts are joined, nothing else has hold of the file's bytes
        samples = _decoded_rows(picture)
        palette = None
        if picture.kind == 3:
            payload = picture.used[b"PLTE"][0]
            palette = np.frombuffer(payload, np.uint8, len(payload) // 3 * 3).reshape(-1, 3)
        kinds: dict[int, Colours] = {0: "gray", 2: "rgb", 3: "palette", 4: "gray", 6: "rgb"}
        return Raster(
            samples[..., 0] if picture.kind == 4 else samples,
            kinds[picture.kind],
            maximum=65535 if picture.depth == 16 else 255,
            palette=palette,
            valid=_transparency(picture, samples),
            icc=picture.icc,
            orientation=exif_orientation(picture.exif),
        )

    @classmethod
    def count_frames(cls, file: BinaryIO) -> int:
        """How many pictures there are, as far as its chunks go: 1 of a plain one.

        The default image is the first, whether it is a frame of the animation or not.
        """
        frames, of_default, animated = 0, 0, False
        try:
            for chunk in _chunks(file):
                if chunk.name == b"IDAT" and not of_default:
                    if not animated:
                        return 1
                    of_default = 1 + frames  # a control chunk before it makes it a frame
                animated |= chunk.name == b"acTL"
                frames += chunk.name == b"fcTL"
        except Refused:
            pass  # what is missing is for `decode` to refuse
        return max(1, frames + (of_default == 1))

    @classmethod
    def opened_by_pillow(cls, data: bytes) -> ImageFile:
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(io.BytesIO(data))

    @classmethod
    def decode_frame(cls, data: bytes, frame: int, max_pixels: int) -> Raster:
        _require_sound_frames(data, frame)
        return super().decode_frame(data, frame, max_pixels)


def _read_header(file: BinaryIO) -> _Picture:
    """Read the header and the orientation, and no image data."""
    picture: _Picture | None = None
    exif: bytes | None = None
    try:
        for chunk in _chunks(file):
            if chunk.name == b"IHDR":
                picture = _header(file.read(chunk.length))
            elif chunk.name == b"iCCP" and picture is not None and chunk.length <= _MAX_PROFILE_BYTES:
                picture.icc = _inflated_profile(file.read(chunk.length))
            elif chunk.name == b"tRNS" and picture is not None:
                picture.used[chunk.name] = []
            elif chunk.name == b"eXIf" and chunk.length <= _MAX_EXIF_BYTES:
                exif = file.read(chunk.length)
                break
    except Refused:
        if picture is None:
            raise
        # The header is sound; what is missing behind it is for `decode` to refuse.
    if picture is None:
        raise Refused("damaged: the PNG has no header chunk")
    picture.exif = exif
    return picture


def _require_sound_frames(data: bytes, last: int) -> None:
    """Refuse an animated PNG with damage up to its frame ``last``: Pillow, which lays them over, verifies nothing.

    Raises
    ------
    Refused
        Where a checksum is wrong, or the data of a frame ends before its end.
    """
    frames, of_default = 0, 0
    inflating: dict[int, zlib._Decompress] = {}
    view = memoryview(data)
    for name, start, length in _chunks(io.BytesIO(data)):
        of_default = of_default or (1 + frames) * (name == b"IDAT")
        frames += name == b"fcTL"
        if frames + (of_default == 1) > last + 1:
            break
        if name not in (b"IDAT", b"fdAT", b"fcTL", b"PLTE", b"tRNS"):
            continue
        _verify(view, name, start, length)
        if name in (b"IDAT", b"fdAT"):
            stream = inflating.setdefault(frames if name == b"fdAT" else 0, zlib.decompressobj())
            rest: bytes | memoryview = view[start + 4 * (name == b"fdAT") : start + length]
            while rest:  # by megabytes, which are not kept
                stream.decompress(rest, 1 << 20)
                rest = stream.unconsumed_tail
    if not all(stream.eof for stream in inflating.values()):
        raise Refused("truncated: the data of one of the PNG's frames ends before its end")


def _chunks(file: BinaryIO) -> Iterator[_Chunk]:
    """Walk over the chunks up to and with the end chunk; the file stands at each payload as it is given."""
    size = file.seek(0, io.SEEK_END)
    at = len(_SIGNATURE)
    while True:
        file.seek(at)
        start = file.read(8)
        length = int.from_bytes(start[:4], "big")
        if len(start) < 8 or at + 12 + length > size:
            raise Refused("truncated: the PNG ends before its end chunk")
        yield _Chunk(start[4:], at + 8, length)
        if start[4:] == b"IEND":
            return
        at += 12 + length


def _header(payload: bytes) -> _Picture:
    if len(payload) != 13:
        raise Refused("damaged: the PNG's header chunk has the wrong length")
    width, height, depth, kind, _, _, interlace = struct.unpack(">IIBBBBB", payload)
    if depth not in _DEPTHS.get(kind, ()) or interlace > 1:
        raise Refused(f"damaged: a PNG of colour type {kind} with {depth} bits does not exist")
    return _Picture(width, height, depth, kind, bool(interlace))


def _collect(data: bytes, max_pixels: int) -> _Picture:
    """Read all chunks, verify their checksums, keep what makes the picture."""
    picture: _Picture | None = None
    view = memoryview(data)
    for name, start, length in _chunks(io.BytesIO(data)):
        critical = not name[0] & 32  # an upper-case first letter
        if critical or name == b"tRNS":
            _verify(view, name, start, length)
        if critical and name not in _KNOWN_CRITICAL:
            raise Refused(f"not a standard PNG: it has a critical {printable(name)} chunk")
        if picture is not None and name == b"IDAT":
            picture.used.setdefault(name, []).append(view[start : start + length])  # megabytes, not copied
            continue
        payload = bytes(view[start : start + length])
        if picture is None:
            if name != b"IHDR":
                raise Refused("damaged: the PNG does not begin with its header chunk")
            picture = _header(payload)
            if max(picture.height, picture.width) > _MAX_SIDE:
                raise Refused(
                    f"too large: {picture.width} x {picture.height}, the limit of PNG's decoder is {_MAX_SIDE}"
                )
            check_size(picture.height, picture.width, max_pixels)
        elif name in _USED:
            picture.used.setdefault(name, []).append(payload)
        elif name == b"iCCP":
            picture.icc = _inflated_profile(payload)
        elif name == b"eXIf":
            picture.exif = payload
    assert picture is not None  # `_chunks` ends by the end chunk, which is not a header
    return picture


def _verify(view: memoryview, name: bytes, start: int, length: int) -> None:
    import imagecodecs  # three times zlib's speed

    stated = int.from_bytes(view[start + length : start + length + 4], "big")
    if imagecodecs.deflate_crc32(view[start - 4 : start + length]) != stated:  # type: ignore[arg-type]  # takes any buffer
        raise Refused(f"damaged: the checksum of the PNG's {printable(name)} chunk is wrong")


def _inflated_profile(payload: bytes) -> bytes | None:
    """Return the profile of an iCCP chunk, or None where it is broken (and then ignored)."""
    _, _, rest = payload.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(rest[1:], _MAX_PROFILE_BYTES) or None
    except zlib.error:
        return None


def _transparency(picture: _Picture, samples: Samples) -> NDArray[np.bool_] | None:
    """Return where the picture is not wholly transparent; None: everywhere."""
    valid: NDArray[np.bool_]
    if picture.kind in (4, 6):
        valid = samples[..., -1] != 0
        return valid
    if b"tRNS" not in picture.used:
        return None
    trns = picture.used[b"tRNS"][0]
    if picture.kind == 3:
        opaque = np.ones(256, np.bool_)
        opaque[: len(trns)] = np.frombuffer(trns[:256], np.uint8) != 0
        return np.take(opaque, samples)
    count = _CHANNELS[picture.kind]
    if len(trns) != 2 * count:
        return None  # not of the form the standard gives: viewers ignore it
    key = np.frombuffer(trns, ">u2").astype(np.uint32) & ((1 << picture.depth) - 1)
    if picture.depth < 8:
        key = key * 255 // ((1 << picture.depth) - 1)  # libpng has scaled the samples likewise
    valid = samples != key[0] if count == 1 else (samples != key).any(axis=2)
    return valid


def _decoded_rows(picture: _Picture) -> Samples:
    """Decode the samples: gray of less than 8 bits scaled to 0 to 255, palette indices as they are.

    Returns
    -------
    uint8 or uint16, (height, width) or (height, width, channels).
    """
    expected = sum(_line_bytes(picture, columns) * rows for _, columns, rows in _passes_of(picture))
    raw = _inflated(picture.used.pop(b"IDAT"), expected)
    dtype, channels = np.dtype(np.uint16 if picture.depth == 16 else np.uint8), _CHANNELS[picture.kind]
    shape = (picture.height, picture.width, *((channels,) if channels > 1 else ()))
    if picture.interlaced:
        out = np.empty(shape, dtype)
        for (x0, y0, dx, dy), columns, rows in _passes_of(picture):  # libpng warns where it is given all of them
            samples = np.empty((rows, columns, *shape[2:]), dtype)
            size = _line_bytes(picture, columns) * rows
            _unfilter(picture, raw[:size], samples)
            out[y0::dy, x0::dx] = samples
            raw = raw[size:]
    else:
        # Without its filter byte a row ends before the next one begins, and libpng reads a copy: rows take the place
        # of those that they are made from.
        in_place = picture.depth >= 8
        out = (
            raw[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape) if in_place else np.empty(shape, dtype)
        )
        _unfilter(picture, raw, out)
    if picture.kind == 3 and picture.depth < 8:
        out //= 255 // ((1 << picture.depth) - 1)  # from gray levels back to indices
    return out


def _passes_px(picture: _Picture) -> float:
    """Bytes a pixel that decoding takes beside the samples: what is inflated and not unfiltered in place, a pass."""
    packed = picture.depth * _CHANNELS[picture.kind] / 8
    return packed * 1.5 if picture.interlaced else packed if picture.depth < 8 else 0


def _passes_of(picture: _Picture) -> Iterator[tuple[tuple[int, int, int, int], int, int]]:
    """Yield where the pixels of each pass lie (x0, y0, dx, dy), and its columns and rows; empty passes are left out."""
    for place in _ADAM7 if picture.interlaced else ((0, 0, 1, 1),):
        x0, y0, dx, dy = place
        columns, rows = -(-(picture.width - x0) // dx), -(-(picture.height - y0) // dy)
        if columns > 0 and rows > 0:
            yield place, columns, rows


def _line_bytes(picture: _Picture, columns: int) -> int:
    """Bytes of a line of so many pixels, its filter byte among them."""
    return 1 + (columns * picture.depth * _CHANNELS[picture.kind] + 7) // 8


def _inflated(parts: list[bytes | memoryview], expected: int) -> NDArray[np.uint8]:
    """Inflate image data to ``expected`` bytes.

    Data beyond the expected is passed over (libpng and Pillow do so too); a wrong checksum at its end is not.
    """
    import imagecodecs

    data = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
    parts.clear()
    out = buffers.empty((expected,))
    try:
        if len(imagecodecs.deflate_decode(data, out=out.data, raw=False)) == expected:  # twice zlib's speed
            return out
    except imagecodecs.DeflateError:
        pass  # damaged or too long; zlib says which
    stream, done = zlib.decompressobj(), 0
    waiting = (data[at : at + _INFLATE_BYTES] for at in range(0, len(data), _INFLATE_BYTES))
    try:
        while done < expected:
            piece = stream.unconsumed_tail or next(waiting, b"")
            if not piece or stream.eof:
                raise Refused("truncated: the PNG has less image data than its size needs")
            got = stream.decompress(piece, min(_INFLATE_BYTES, expected - done))
            out[done : done + len(got)] = np.frombuffer(got, np.uint8)
            done += len(got)
        while not stream.eof and (rest := stream.unconsumed_tail or next(waiting, b"")):
            if stream.decompress(rest, 1):
                break
    except zlib.error as error:
        what = str(error).rpartition(": ")[2]
        raise Refused(f"damaged: the PNG's image data cannot be inflated ({what})") from error
    return out


def _unfilter(picture: _Picture, raw: NDArray[np.uint8], out: Samples) -> None:
    """Undo the row filters of a picture, or of a pass of it, a band of rows at a time."""
    length = len(raw) // len(out)
    filters = raw[::length]
    if filters.max() > _MAX_FILTER:
        raise Refused("damaged: the PNG's image data has an unknown row filter")
    step = max(1, _BAND_BYTES // length) if picture.depth >= 8 else len(out)  # smaller samples are not packed again
    before = b""  # the last row of the band before, which filters refer to, as an unfiltered row
    for top in range(0, len(out), step):
        rows = raw[top * length : (top + step) * length]
        _unfilter_band(picture, b"".join((before, rows.data)), out[top - bool(before) : top + step])
        last = out[min(top + step, len(out)) - 1]
        before = b"\0" + last.astype(last.dtype.newbyteorder(">")).tobytes()


def _unfilter_band(picture: _Picture, rows: bytes, out: Samples) -> None:
    """Let libpng undo the row filters of some rows; palettes as gray, which keeps indices."""
    import imagecodecs

    kind = 0 if picture.kind == 3 else picture.kind
    header = struct.pack(">IIBBBBB", out.shape[1], out.shape[0], picture.depth, kind, 0, 0, 0)
    stored = imagecodecs.deflate_encode(rows, level=0, raw=False)
    chunks = [_SIGNATURE]
    for name, payload in ((b"IHDR", header), (b"IDAT", bytes(stored)), (b"IEND", b"")):
        checksum = imagecodecs.deflate_crc32(payload, imagecodecs.deflate_crc32(name))
        chunks += [struct.pack(">I", len(payload)), name, payload, struct.pack(">I", checksum)]
    imagecodecs.png_decode(b"".join(chunks), out=out)
