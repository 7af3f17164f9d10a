"""What decodes a strip or tile of a TIFF: tifffile, and others where it does not, or less strictly, or slowly.

- JPEG: the strict decoder of JPEG files.
- LZW: libtiff (imagecodecs), half as fast again as tifffile's codec; it refuses the same damage.
- Fax codes (CCITT): libtiff, which alone tells damage; all others paint white.
- Old-style JPEG (compression 6 of TIFF 6.0, given up in 1995): libtiff, which alone copes with its kinds.
- Chroma of fewer samples than pixels, which tifffile refuses: taken apart here.
- Deflate that goes on beyond the strip's end: zlib.

libtiff decodes on after damage, and says so by a warning. imagecodecs logs warnings from within the call, in the thread
that made it: so a strip or tile is given to libtiff as a TIFF of its own, with nothing else to warn of, and what is
logged meanwhile is damage.
"""

from __future__ import annotations

import logging
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
from tifffile import COMPRESSION, FILLORDER, PHOTOMETRIC, PLANARCONFIG, PREDICTOR

from kseg_core.images import jpeg
from kseg_core.images.failures import CONVERT
from kseg_core.images.jpeg_markers import Incomplete, parse_head
from kseg_core.images.raster import MAX_TILE_PX, NotSupported, Refused, Samples, check_size
from kseg_core.images.tiff_directory import INTERCHANGE, ORIENTATION, SUBSAMPLING, T4_OPTIONS, WHOLE_NUMBERS

#: Decodes a strip or tile of a ``TiffPage`` or ``TiffFrame``: its bytes, its number in the page's lists, and its rows
#: and columns; gives (rows, columns, bands) in native byte order, or Refused.
Decode: TypeAlias = Callable[[Any, bytes, int, tuple[int, int]], Samples]

FAX = frozenset({COMPRESSION.CCITTRLE, COMPRESSION.CCITT_T4, COMPRESSION.CCITT_T6, COMPRESSION.CCIRLEW})
DEFLATE = frozenset({COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE})
_JPEGS = frozenset({COMPRESSION.OJPEG, COMPRESSION.JPEG})
_BYTES = frozenset({COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.PACKBITS, *DEFLATE})

_MOST_LIBTIFF_BYTES = 1 << 31  # of a strip and what is written around it
#: Group 3 without marks between rows is sound, and read after this remark.
_HARMLESS = "Try to decode (read) fax Group 3 data without EOL"
_BAD_FAX = "damaged: fax codes of the TIFF are not valid, or some are missing"
#: What libjpeg says of damage (its messages JWRN_*).
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression")
_OLD_JPEG_ADVICE = "convert it first, e.g. with `tiffcp -c lzw` or ImageMagick's `magick`"
_SURPLUS_BYTES = 1 << 20  # inflated at once and thrown away
_MOST_SURPLUS = 8  # times what is needed, or so many megabytes: more is a bomb


def check_codec(frame: Any) -> None:
    """Refuse, by name, a compression or layout that no decoder here reads.

    Raises
    ------
    NotSupported
        Naming it, and what to do.
    """
    is_subsampled = subsampling_of(frame) != (1, 1)
    plain = frame.bitspersample == 8 and frame.samplesperpixel == 3 and frame.predictor == PREDICTOR.NONE
    if is_subsampled and not (plain and frame.planarconfig == PLANARCONFIG.CONTIG and frame.compression in _BYTES):
        raise NotSupported(
            "YCbCr with subsampled chroma, in planes or of another kind than 8 bits: not supported here; "
            "convert it to RGB first, e.g. with `tiff2rgba`"
        )
    if frame.photometric != PHOTOMETRIC.YCBCR and frame.compression != COMPRESSION.JPEG:
        frame.subsampling = None  # of no meaning there, and tifffile would refuse it
    if frame.compression in {*_JPEGS, *FAX} or is_subsampled:
        return
    if getattr(frame.decode, "__name__", "").startswith("decode_raise"):  # what tifffile has instead of a decoder
        name = getattr(frame.compression, "name", "of a number that is not known").replace("_", " ")
        raise NotSupported(
            f"TIFF compression {name} ({int(frame.compression)}), predictor {int(frame.predictor)}, "
            f"{frame.bitspersample} bits: not supported here (or damaged); {CONVERT}"
        )


def decoder_of(frame: Any) -> Decode:
    """Return what decodes the strips or tiles of a ``TiffPage``, but for old-style JPEG, which is one stream."""
    if frame.compression == COMPRESSION.JPEG:
        return _decode_jpeg
    if frame.compression in FAX:
        return _decode_fax
    if is_by_rows(frame):
        return _decode_rows
    return _decode_plain if subsampling_of(frame) == (1, 1) else _decode_subsampled


def bands_of(frame: Any) -> int:
    """How many bands a strip or tile of a ``TiffPage`` has."""
    return int(frame.samplesperpixel) if frame.planarconfig == PLANARCONFIG.CONTIG else 1


def is_by_rows(frame: Any) -> bool:
    """Say whether any rows of a strip can be read by themselves: whole bytes, neither compressed nor predicted."""
    if frame.is_tiled or frame.dtype is None or frame.dtype.kind not in "uif" or subsampling_of(frame) != (1, 1):
        return False
    packing = (frame.compression, frame.predictor, frame.fillorder, frame.bitspersample)
    return packing == (COMPRESSION.NONE, PREDICTOR.NONE, FILLORDER.MSB2LSB, frame.dtype.itemsize * 8)


# -------------------------------------------------------------------------------------------------- tifffile and zlib


def _decode_rows(page: Any, data: bytes, _number: int, shape: tuple[int, int]) -> Samples:
    stored = page.keyframe.dtype.newbyteorder(page.parent.byteorder)
    return np.frombuffer(data, stored).reshape(*shape, -1).astype(stored.newbyteorder("="), copy=False)


def _decode_plain(page: Any, data: bytes, number: int, shape: tuple[int, int]) -> Samples:
    frame = page.keyframe
    quick = _decode_lzw(page, data, shape)
    if quick is not None:
        return quick
    try:
        try:
            decoded = frame.decode(data, number)[0]
        except Exception:
            if frame.compression not in DEFLATE:
                raise
            row = -(-shape[1] * bands_of(frame) * int(np.max(frame.bitspersample)) // 8)
            decoded = frame.decode(zlib.compress(_inflated(data, shape[0] * row), 0), number)[0]
    except (OSError, MemoryError, Refused):
        raise
    except Exception as error:  # of any class: each of imagecodecs' codecs has its own
        kind = "tile" if frame.is_tiled else "strip"
        raise Refused(f"damaged: {kind} {number + 1} of the TIFF cannot be decoded") from error
    if decoded is None:
        raise Refused("a strip or tile of the TIFF is missing")
    samples: Samples = decoded[0]
    return samples


def _inflated(data: bytes, length: int) -> bytes:
    """Inflate ``length`` bytes; more may follow, which is passed over, but not a wrong checksum."""
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data, length)
        for _ in range(max(1, length // _SURPLUS_BYTES) * _MOST_SURPLUS):
            if stream.eof or not stream.unconsumed_tail:
                break
            stream.decompress(stream.unconsumed_tail, _SURPLUS_BYTES)
    except zlib.error as error:
        raise Refused("damaged: a strip or tile of the TIFF cannot be inflated") from error
    if len(raw) == length and stream.unconsumed_tail:
        raise Refused("damaged, or a decompression bomb: a strip or tile of the TIFF goes on far beyond its place")
    if len(raw) < length or not stream.eof:
        raise Refused("truncated: a strip or tile of the TIFF is too short")
    return raw


# --------------------------------------------------------------------------------------------------------------- JPEG


def _decode_jpeg(page: Any, data: bytes, _number: int, _shape: tuple[int, int]) -> Samples:
    """Decode with the page's tables. What the samples are is the TIFF's to say: an Adobe segment tells the decoder."""
    frame, tables = page.keyframe, page.jpegtables or b"\xff\xd8\xff\xd9"
    hint = b""
    if frame.planarconfig == PLANARCONFIG.CONTIG and frame.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR):
        hint = jpeg.adobe_segment(1 if frame.photometric == PHOTOMETRIC.YCBCR else 0)
    body = 2  # behind the start marker and the application segments after it
    try:
        while data[body : body + 1] == b"\xff" and 0xE0 <= data[body + 1] <= 0xEF:
            body += 2 + struct.unpack_from(">H", data, body + 2)[0]
    except (IndexError, struct.error):
        pass  # it ends within its header, which the decoder will say
    stream = tables[:2] + hint + tables[2:-2] + data[body:]
    try:
        head = parse_head(stream)
    except Incomplete:
        raise Refused("truncated: a JPEG strip or tile of the TIFF ends within its header") from None
    check_size(head.height, head.width, MAX_TILE_PX)
    samples = jpeg.decode_strictly(stream, head)
    return samples[..., None] if samples.ndim == 2 else samples


# ----------------------------------------------------------------------------------------------------- chroma in blocks


def subsampling_of(frame: Any) -> tuple[int, int]:
    """Return how many pixels, across and down, share a chroma sample; (1, 1) where it is each, or JPEG's to say."""
    if frame.photometric != PHOTOMETRIC.YCBCR or frame.compression in _JPEGS:
        return 1, 1
    value = frame.tags.valueof(SUBSAMPLING, (2, 2))  # the standard's default
    across, down = (int(each) for each in value)
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise Refused(f"damaged: the TIFF states chroma samples of {across} x {down} pixels")
    return across, down


def _decode_subsampled(page: Any, data: bytes, _number: int, shape: tuple[int, int]) -> Samples:
    """Take blocks of pixels apart: their lumas, then Cb, then Cr, which count for all of them, as libtiff has it."""
    (rows, columns), (across, down) = shape, subsampling_of(page.keyframe)
    high, wide = -(-rows // down), -(-columns // across)
    length = high * wide * (across * down + 2)
    blocks = np.frombuffer(_unpacked(page.keyframe, data, length), np.uint8, length).reshape(high, wide, -1)
    out = np.empty((rows, columns, 3), np.uint8)
    lumas = blocks[..., :-2].reshape(high, wide, down, across).transpose(0, 2, 1, 3)
    out[..., 0] = lumas.reshape(high * down, wide * across)[:rows, :columns]
    out[..., 1:] = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)[:rows, :columns]
    return out


def _unpacked(frame: Any, data: bytes, length: int) -> bytes:
    """Undo a compression of bytes; what follows the ``length`` that are wanted is passed over."""
    raw = bytes(imagecodecs.bitorder_decode(data)) if frame.fillorder == FILLORDER.LSB2MSB else data
    try:
        if frame.compression == COMPRESSION.LZW:
            raw = bytes(imagecodecs.lzw_decode(raw, out=length))
        elif frame.compression == COMPRESSION.PACKBITS:
            raw = bytes(imagecodecs.packbits_decode(raw, out=length))
        elif frame.compression in DEFLATE:
            raw = _inflated(raw, length)
    except (imagecodecs.LzwError, imagecodecs.PackbitsError, ValueError) as error:
        raise Refused("damaged: a strip or tile of the TIFF cannot be decoded") from error
    if len(raw) < length:
        raise Refused("truncated: a strip or tile of the TIFF is too short")
    return raw


# ------------------------------------------------------------------------------------------------------------- libtiff


def _decode_lzw(page: Any, data: bytes, shape: tuple[int, int]) -> Samples | None:
    """Decode by libtiff; None where it is not LZW, not of whole bytes, or libtiff does not: then tifffile may."""
    frame = page.keyframe
    if frame.compression != COMPRESSION.LZW or frame.dtype is None or len(data) >= _MOST_LIBTIFF_BYTES:
        return None
    # Differences of floats are tifffile's to undo.
    predictors = (PREDICTOR.NONE,) if frame.dtype.kind == "f" else (PREDICTOR.NONE, PREDICTOR.HORIZONTAL)
    plain = frame.predictor in predictors and frame.fillorder == FILLORDER.MSB2LSB and not frame.is_subsampled
    if not plain or frame.dtype.kind not in "iuf" or frame.bitspersample != frame.dtype.itemsize * 8:
        return None
    bands = bands_of(frame)
    tags: dict[int, tuple[int, ...]] = {258: (frame.bitspersample,) * bands, 277: (bands,), 317: (frame.predictor,)}
    tags[339] = (frame.sampleformat,) * bands
    tags |= {338: (0,) * (bands - 1)} if bands > 1 else {}  # of no meaning
    try:
        samples: Samples = imagecodecs.tiff_decode(_one_strip(page, data, shape, tags))
    except (imagecodecs.TiffError, ValueError, RuntimeError):
        return None
    return samples.reshape(*shape, bands) if samples.size == shape[0] * shape[1] * bands else None


def _decode_fax(page: Any, data: bytes, _number: int, shape: tuple[int, int]) -> Samples:
    frame = page.keyframe
    if bands_of(frame) != 1:
        raise NotSupported("fax codes of several bands: not supported here; save it as TIFF with LZW or Deflate first")
    tags: dict[int, tuple[int, ...]] = {266: (frame.fillorder,)}
    if frame.compression == COMPRESSION.CCITT_T4:
        tags[T4_OPTIONS] = (frame.tags.valueof(T4_OPTIONS, 0) or 0,)
    with remarks_of("imagecodecs") as warnings:
        try:
            bits = imagecodecs.tiff_decode(_one_strip(page, data, shape, tags), verbose=1)
        except imagecodecs.TiffError as error:
            raise Refused(_BAD_FAX) from error
    if any(not warning.startswith(_HARMLESS) for warning in warnings):
        raise Refused(_BAD_FAX)
    return bits.reshape(*shape, 1).astype(np.bool_, copy=False)


def _one_strip(page: Any, data: bytes, shape: tuple[int, int], more: dict[int, tuple[int, ...]]) -> bytes:
    """Return a TIFF of one strip, whose bands are no colours."""
    order, (rows, columns) = page.parent.byteorder, shape
    tags: dict[int, tuple[int, ...]] = {
        256: (columns,),
        257: (rows,),
        258: (1,),
        259: (page.keyframe.compression,),
        262: (1,),
        273: (8,),
    }
    tags |= {277: (1,), 278: (rows,), 279: (len(data),), 284: (1,), **more}
    at = 8 + len(data) + len(data) % 2
    entries, values, beyond = b"", b"", at + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            packed, values = struct.pack(order + "I", beyond + len(values)), values + packed
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + packed
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, at)
    return b"".join((head, data, bytes(len(data) % 2), struct.pack(order + "H", len(tags)), entries, bytes(4), values))


def decode_old_jpeg(page: Any) -> Samples:
    """Decode a page of old-style JPEG whole.

    Returns
    -------
    uint8 (height, width, 3), RGB.

    Raises
    ------
    Refused
        Where it is damaged, or of a kind that libtiff does not read.
    """
    if page.photometric not in (PHOTOMETRIC.YCBCR, PHOTOMETRIC.RGB) or page.samplesperpixel != 3:
        raise NotSupported(f"old-style JPEG of other colours than YCbCr: not supported here; {_OLD_JPEG_ADVICE}")
    tiff = page.parent
    tiff.filehandle.seek(0)
    data = bytearray(tiff.filehandle.read())
    place = 8 if tiff.is_bigtiff else 4  # of the first page's offset: libtiff is told of no other page
    struct.pack_into(tiff.tiff.offsetformat, data, place, page.offset)
    turned = page.tags.get(ORIENTATION)
    if turned is not None and turned.count == 1 and turned.dtype in WHOLE_NUMBERS:
        # libtiff turns by it, though not by all, and by no other type of it: we do.
        struct.pack_into(tiff.byteorder + turned.dataformat, data, turned.valueoffset, 1)
    _check_stream(page, data)
    with remarks_of("imagecodecs") as warnings:
        try:
            samples: Samples = imagecodecs.tiff_decode(data, 0, asrgb=True, verbose=1)[..., :3]
        except (imagecodecs.TiffError, ValueError, IndexError) as error:
            raise Refused(
                f"the TIFF's old-style JPEG is damaged, or of a kind that is not supported here; {_OLD_JPEG_ADVICE}"
            ) from error
    if any(warning.startswith(_DAMAGE) for warning in warnings):
        raise Refused("damaged or truncated: the TIFF's old-style JPEG has invalid data, or ends early")
    return np.ascontiguousarray(samples)


def _check_stream(page: Any, data: bytearray) -> None:
    """Where the page is one whole JPEG, which most are, decode that strictly; libtiff does not hear all of libjpeg."""
    stated = page.tags.valueof(INTERCHANGE, 0)
    start = stated[0] if isinstance(stated, tuple) and stated else stated
    if not isinstance(start, int) or not 0 < start < len(data) or len(page.dataoffsets) != 1:
        return
    stream = bytes(memoryview(data)[start:])
    try:
        head = parse_head(stream)
    except (Incomplete, Refused):
        return
    if (head.height, head.width, head.precision, len(head.components)) == (page.imagelength, page.imagewidth, 8, 3):
        jpeg.decode_strictly(stream, head)


# ------------------------------------------------------------------------------------------------- what libraries log


class _Remarks(threading.local):
    """What libraries remarked in a thread, where somebody listens."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = {}


_REMARKS = _Remarks()


class _Heard(logging.Logger):
    """A library's log that gives a thread that listens what it remarks, whatever the program's levels are."""

    def isEnabledFor(self, level: int) -> bool:
        return self.name in _REMARKS.of or super().isEnabledFor(level)

    def handle(self, record: logging.LogRecord) -> None:
        if self.name in _REMARKS.of:
            _REMARKS.of[self.name].append(record.getMessage())
        else:
            super().handle(record)


@contextmanager
def remarks_of(library: str) -> Iterator[list[str]]:
    """Give what a library logs in this thread, and keep it off the log."""
    logging.getLogger(library).__class__ = _Heard
    before = _REMARKS.of.get(library)
    remarks = _REMARKS.of[library] = []
    try:
        yield remarks
    finally:
        del _REMARKS.of[library]
        if before is not None:
            _REMARKS.of[library] = before
