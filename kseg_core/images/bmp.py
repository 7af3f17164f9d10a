"""BMP, read here: Windows' and OS/2's headers, palettes, bit fields of any width, run lengths, profiles of version 5.

Why not through imageio or Pillow: runs that leave their row are smeared over the next there, bit fields are read in a
few layouts only, 16-bit alpha and profiles not at all, and what is missing of run-length data is filled with zeros.

Pixels that run lengths jump over were never given a colour: they are transparent, as browsers have it (Pillow and
OpenCV show the palette's first colour). A profile that is only named (linked) and the calibrations of version 4 are
passed over, as viewers do.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from kseg_core.images.decoder import WholeDecoder
from kseg_core.images.failures import CONVERT, is_text
from kseg_core.images.jpeg import Jpeg
from kseg_core.images.png import Png
from kseg_core.images.raster import Cost, NotSupported, PictureInfo, Raster, Refused, check_ratio, check_size
from kseg_core.images.srgb import looked_up

_FILE_HEADER, _OS2_HEADER, _OS2_LARGE, _V5_HEADER = 14, 12, 64, 124
_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
_PLAIN, _RLE8, _RLE4, _FIELDS, _JPEG, _PNG, _ALPHA_FIELDS = 0, 1, 2, 3, 4, 5, 6  # biCompression
_LEAVES_ROW = "damaged: a run of the BMP goes past the end of its row"
_EMBEDDED = 0x4D424544  # bV5CSType: "MBED"
_RLE_RATIO = 255 * 255 / 4  # a jump passes over so many rows and columns by four bytes
_DEFAULT_FIELDS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
_EMBEDDED_FORMATS: dict[int, type[WholeDecoder]] = {_JPEG: Jpeg, _PNG: Png}
_ROWS_BYTES = 1 << 20  # of packed rows taken apart at once


@dataclass(frozen=True, slots=True)
class _Header:
    """What a BMP says of itself."""

    size: int
    width: int
    height: int
    top_down: bool
    bits: int
    compression: int
    start: int
    fields: tuple[int, int, int, int]
    palette: NDArray[np.uint8]
    icc: bytes | None

    @property
    def stride(self) -> int:
        return (self.width * self.bits + 31) // 32 * 4

    @property
    def gray(self) -> int:
        """The largest index where the palette is black to white in even steps (1 or 255), else 0."""
        for maximum in (1, 255):
            ramp = np.arange(maximum + 1, dtype=np.uint8)[:, None] * (255 // maximum)
            if self.palette.shape == (maximum + 1, 3) and (self.palette == ramp).all():
                return maximum
        return 0


class Bmp(WholeDecoder):
    """BMP, whole."""

    name, gdal_driver, mask_suffixes = "BMP", "BMP", ("bmp",)

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        """Texts begin so as well."""
        return head.startswith(b"BM") and not is_text(head)

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        """Palettes are looked up."""
        header = _read_header(file.read(_FILE_HEADER + _V5_HEADER + 1028 + 16))
        shape = header.height, header.width
        if header.compression in _EMBEDDED_FORMATS:
            file.seek(header.start)
            info = _EMBEDDED_FORMATS[header.compression].header(io.BytesIO(file.read()))
            return replace(info, format=cls.name, shape=shape)
        size, is_rle = file.seek(0, io.SEEK_END), header.compression in (_RLE8, _RLE4)
        if is_rle:
            check_ratio(header.width * header.height, size, _RLE_RATIO)
        else:
            check_ratio(header.stride * header.height, size, 1)
        if header.bits <= 8:  # beside them the indices, and with run lengths which were given
            return PictureInfo(cls.name, shape, 1 if header.gray else 3, cost=Cost(1, 1, 2 if is_rle else 1))
        has_alpha = header.fields[3] != 0
        return PictureInfo(cls.name, shape, 3 + has_alpha, alpha=has_alpha, cost=Cost(1, 1, 0))

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        header = _read_header(data)
        check_size(header.height, header.width, max_pixels)
        if header.compression in _EMBEDDED_FORMATS:
            raster = _EMBEDDED_FORMATS[header.compression].decode(data[header.start :], max_pixels)
            if raster.samples.shape[:2] != (header.height, header.width) or raster.orientation != 1:
                raise Refused("damaged: the BMP and the picture embedded in it are not of one size")
            return raster
        if header.bits > 8:
            return _direct(header, _rows(header, data))
        valid: NDArray[np.bool_] | None = None
        if header.compression in (_RLE8, _RLE4):
            indices, valid = _unpacked_runs(data[header.start :], header.height, header.width, header.bits)
            indices = indices[::-1]
            valid = None if valid is None else np.ascontiguousarray(valid[::-1])
        else:
            indices = _unpacked_indices(header, _rows(header, data))
        indices = np.ascontiguousarray(indices)
        if header.gray:
            samples = indices.astype(np.bool_) if header.gray == 1 else indices
            return Raster(samples, "gray", header.gray, valid=valid, icc=header.icc)
        lookup = np.zeros((256, 3), np.uint8)  # indices that the palette lacks are black, as in all viewers
        lookup[: len(header.palette)] = header.palette
        return Raster(looked_up(lookup, indices), "rgb", valid=valid, icc=header.icc)


def _read_header(data: bytes) -> _Header:
    """Read everything before the pixels."""
    try:
        start, size = struct.unpack_from("<II", data, 10)
        if size not in _HEADERS:
            raise NotSupported(f"a BMP header of {size} bytes: not supported here (or damaged); {CONVERT}")
        if size == _OS2_HEADER:
            width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
            compression = colours = 0
        else:
            width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
            compression, colours = (0, 0) if size == 16 else (*struct.unpack_from("<I", data, 30), *_word(data, 46))
        top_down, height = height < 0, abs(height)
        compression = _checked_compression(size, compression, bits, top_down)
        after = _FILE_HEADER + size
        fields = _DEFAULT_FIELDS.get(bits, (0, 0, 0, 0))
        if compression in (_FIELDS, _ALPHA_FIELDS):
            count = 4 if compression == _ALPHA_FIELDS or size >= 56 else 3
            fields = (*struct.unpack_from(f"<{count}I", data, _FILE_HEADER + 40), *(0,) * (4 - count))
            after += 4 * count if size == 40 else 0
            _check_fields(fields, bits)
    except struct.error:
        raise Refused("truncated: the BMP ends within its header") from None
    if width <= 0 or height <= 0:
        check_size(height, width, 0)
    if not after <= start:
        raise Refused(f"damaged: the BMP states that its pixels begin at byte {start}, within its header")
    entry = 3 if size == _OS2_HEADER else 4
    listed = min(colours or 1 << bits, 1 << bits) if bits <= 8 else 0
    packed = np.frombuffer(data[after : after + listed * entry], np.uint8)
    palette = np.ascontiguousarray(packed[: len(packed) // entry * entry].reshape(-1, entry)[:, 2::-1])
    return _Header(size, width, height, top_down, bits, compression, start, fields, palette, _profile(data, size))


def _word(data: bytes, at: int) -> tuple[int]:
    (value,) = struct.unpack_from("<I", data, at)
    return (value,)


def _checked_compression(size: int, compression: int, bits: int, top_down: bool) -> int:
    """Return the kind of packing, or refuse one that is not read or cannot be."""
    if size == _OS2_LARGE and compression in (3, 4):
        name = "Huffman codes" if compression == 3 else "run lengths of 24 bits"
        raise NotSupported(f"a BMP of OS/2's {name}: not supported here; {CONVERT}")
    depths = {
        _PLAIN: {1, 2, 4, 8, 16, 24, 32}, _RLE8: {8}, _RLE4: {4}, _FIELDS: {16, 32}, _ALPHA_FIELDS: {16, 32},
        _JPEG: {0}, _PNG: {0},
    }  # fmt: skip
    if compression not in depths:
        raise NotSupported(f"BMP compression {compression}: not supported here (or damaged); {CONVERT}")
    if bits not in depths[compression]:
        raise NotSupported(
            f"a BMP of {bits} bits a pixel with compression {compression}: not supported here (or damaged); {CONVERT}"
        )
    if top_down and compression in (_RLE8, _RLE4):
        raise Refused("damaged: a BMP of run lengths cannot be stored from the top down")
    return compression


def _check_fields(fields: tuple[int, ...], bits: int) -> None:
    """Refuse masks that are not runs of bits, overlap, or leave the pixel."""
    together = 0
    for mask in fields:
        run = mask // (mask & -mask) if mask else 0
        if run & (run + 1) or mask & together or mask >> bits:
            raise Refused("damaged: the bit fields of the BMP are not separate runs of bits within a pixel")
        together |= mask
    if not any(fields[:3]):
        raise Refused("damaged: the bit fields of the BMP are empty")


def _profile(data: bytes, size: int) -> bytes | None:
    """Return the profile embedded in a BMP of version 5; None where there is none, or it is not whole."""
    if size != _V5_HEADER or len(data) < _FILE_HEADER + size:
        return None
    (kind,) = struct.unpack_from("<I", data, _FILE_HEADER + 56)
    offset, length = struct.unpack_from("<II", data, _FILE_HEADER + 112)
    profile = data[_FILE_HEADER + offset : _FILE_HEADER + offset + length]
    return profile if kind == _EMBEDDED and length and len(profile) == length else None


def _rows(header: _Header, data: bytes) -> NDArray[np.uint8]:
    """Return the packed rows, (height, stride), the first the top one."""
    needed = header.stride * (header.height - 1) + (header.width * header.bits + 7) // 8
    if len(data) - header.start < needed:
        raise Refused("truncated: the BMP has fewer pixels than its size needs")
    whole = header.stride * header.height
    packed = np.frombuffer(data, np.uint8, min(whole, len(data) - header.start), header.start)
    if len(packed) < whole:  # the padding of the last row is often left out
        packed = np.concatenate([packed, np.zeros(whole - len(packed), np.uint8)])
    rows = packed.reshape(header.height, header.stride)
    return rows if header.top_down else rows[::-1]


def _unpacked_indices(header: _Header, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the indices, (height, width)."""
    if header.bits == 8:
        return rows[:, : header.width]
    each = 8 // header.bits
    shifts = np.arange(8 - header.bits, -1, -header.bits, dtype=np.uint8)
    parts = rows[:, : -(-header.width // each), None] >> shifts & np.uint8((1 << header.bits) - 1)
    return parts.reshape(header.height, -1)[:, : header.width]


def _direct(header: _Header, rows: NDArray[np.uint8]) -> Raster:
    """Return a picture whose pixels are colours."""
    if header.bits == 24:
        samples = np.ascontiguousarray(rows[:, : header.width * 3].reshape(header.height, -1, 3)[..., ::-1])
        return Raster(samples, "rgb", icc=header.icc)
    has_alpha = header.fields[3] != 0
    samples = np.empty((header.height, header.width, 3 + has_alpha), np.uint8)
    item = header.bits // 8
    step = max(1, _ROWS_BYTES // header.stride)
    for top in range(0, header.height, step):
        packed = np.ascontiguousarray(rows[top : top + step, : header.width * item]).view(f"<u{item}")
        for band, mask in enumerate(header.fields[: 3 + has_alpha]):
            samples[top : top + step, :, band] = _field(packed, mask)
    valid = samples[..., 3] != 0 if has_alpha else None
    if valid is not None and not valid.any():
        valid = None  # alpha that was never written, which all viewers show as opaque
    return Raster(samples, "rgb", valid=valid, icc=header.icc)


def _field(packed: NDArray[np.unsignedinteger], mask: int) -> NDArray[np.uint8]:
    """Return a bit field scaled to 0 to 255, rounded down as in Pillow."""
    if not mask:
        return np.zeros(packed.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    maximum = mask >> shift
    values = (packed & packed.dtype.type(mask)) >> packed.dtype.type(shift)
    scaled: NDArray[np.uint8] = values.astype(np.uint8)
    if maximum != 255:
        scaled = (values.astype(np.uint64) * 255 // maximum).astype(np.uint8)
    return scaled


def _unpacked_runs(
    data: bytes, height: int, width: int, bits: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Unpack run lengths of 4 or 8 bits: indices (height, width), the bottom row first, and where any was given."""
    indices = np.zeros(height * width, np.uint8)
    given = np.zeros(height * width, np.bool_)
    padded = -(-width // 4) * 4  # some writers pack the padding of every row with it
    ends = np.zeros(height, np.int64)
    at, x, y = 0, 0, 0
    ended = False
    while at + 1 < len(data):
        count, value = data[at], data[at + 1]
        at += 2
        if count == 0 and value == 1:
            ended = True
            break
        if count == 0 and value == 0:
            x, y = 0, y + 1
            continue
        if count == 0 and value == 2:
            if at + 1 >= len(data):
                break
            x, y, at = x + data[at], y + data[at + 1], at + 2
            if x > padded or y >= height:
                raise Refused("damaged: a jump of the BMP leaves the picture")
            continue
        length = count or value
        if y >= height or x + length > padded:
            raise Refused(_LEAVES_ROW)
        inside = max(0, min(length, width - x))
        place = slice(y * width + x, y * width + x + inside)
        if count:
            if bits == 8:
                indices[place] = value
            else:
                indices[place] = np.resize(np.array([value >> 4, value & 15], np.uint8), length)[:inside]
        else:
            packed = length if bits == 8 else (length + 1) // 2
            if at + packed > len(data):
                break
            pixels = np.frombuffer(data, np.uint8, packed, at)
            if bits == 4:
                pixels = np.stack([pixels >> 4, pixels & 15], axis=1).ravel()[:length]
            indices[place] = pixels[:inside]
            at += packed + packed % 2
        given[place] = True
        x += length
        ends[y] = max(ends[y], x)
    if not ended and not (y >= height or (y == height - 1 and x >= width)):
        raise Refused("truncated: the BMP's run lengths end before the picture does")
    if (ends > width).any() and not (ends == padded).all():
        raise Refused(_LEAVES_ROW)
    valid = None if given.all() else given.reshape(height, width)
    return indices.reshape(height, width), valid
