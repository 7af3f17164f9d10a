"""What a TIFF states against what its file can hold, before a library builds lists of it and anything is planned."""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO

import numpy as np

from kseg_core.images import tiff_tags
from kseg_core.images.raster import (
    DEFLATE_RATIO,
    LZW_RATIO,
    PACKBITS_RATIO,
    Refused,
    check_ratio,
    check_sparse,
)
from kseg_core.images.tiff_segments import layout_of

_RATIOS = {
    tiff_tags.UNCOMPRESSED: 1,
    tiff_tags.PACKBITS: PACKBITS_RATIO,
    tiff_tags.LZW: LZW_RATIO,
    tiff_tags.DEFLATE: DEFLATE_RATIO,
    tiff_tags.ADOBE_DEFLATE: DEFLATE_RATIO,
}
#: No bound as small is known of the others: what they state is bounded by the size of a strip or tile.
_UNKNOWN_RATIO = 1 << 20

_INTEGERS = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}  # TIFF's types of integers, and bytes
#: Tags that have one whole number each.
_SCALARS = {
    256: "width", 257: "height", 259: "compression", 262: "colours", 266: "order of bits", 277: "number of samples",
    278: "rows of a strip", 284: "planes", 317: "predictor", 322: "width of a tile", 323: "height of a tile",
}  # fmt: skip
_LISTS = {273: "strips", 279: "strips", 324: "tiles", 325: "tiles"}


def check_directory(file: BinaryIO, at: int | None = None) -> None:
    """Look at a directory of a TIFF before a library builds anything from what is stated there.

    Parameters
    ----------
    file
        Anywhere; it stands at its beginning afterwards.
    at
        Where the directory is; None: the first.

    Raises
    ------
    Refused
        Where the directory or a list of strips or tiles reaches beyond the file's end, or a tag that is one whole
        number is not.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    try:
        is_big = struct.unpack_from(order + "H", head, 2)[0] == 43
        if at is None:
            (at,) = struct.unpack_from(order + ("Q" if is_big else "I"), head, 8 if is_big else 4)
        file.seek(min(at, size))
        (count,) = struct.unpack(order + ("Q" if is_big else "H"), file.read(8 if is_big else 2))
    except struct.error:
        raise Refused("truncated: the TIFF ends before its first directory") from None
    length = 20 if is_big else 12
    at += 8 if is_big else 2
    if at + count * length > size:
        raise Refused("truncated: the TIFF's directory reaches beyond the file's end")
    entries = file.read(count * length)
    file.seek(0)
    for start in range(0, len(entries), length):
        tag, kind, values, place = struct.unpack_from(order + ("HHQQ" if is_big else "HHII"), entries, start)
        if tag in _SCALARS and (values != 1 or kind not in _INTEGERS):
            raise Refused(f"damaged: the TIFF's {_SCALARS[tag]} (tag {tag}) is not one whole number")
        if tag in _LISTS:
            taken = values * _INTEGERS.get(kind, 0)
            if not taken:
                raise Refused(f"damaged: the TIFF's list of {_LISTS[tag]} (tag {tag}) is not of whole numbers")
            if taken > (8 if is_big else 4) and place + taken > size:
                raise Refused(f"truncated: the TIFF's list of {_LISTS[tag]} (tag {tag}) reaches beyond the file's end")


def check_page(page: Any) -> None:
    """Refuse a page of a TIFF (``TiffPage`` or ``TiffFrame``) that states more than its strips or tiles can hold.

    Raises
    ------
    Refused
        Saying what is stated and what is there.
    """
    frame, layout = page.keyframe, layout_of(page)
    kind = "tile" if frame.is_tiled else "strip"
    if page is frame and not {279, 325}.intersection(frame.tags.keys()):
        plain = frame.compression == tiff_tags.UNCOMPRESSED and int(np.max(frame.bitspersample)) % 8 == 0
        if not plain:  # else their sizes follow from the picture's
            raise Refused(f"damaged: the TIFF does not say how many bytes its {kind}s have")
    listed = min(len(page.dataoffsets), len(page.databytecounts))
    if listed < layout.total:
        raise Refused(f"damaged: the TIFF lists {listed:,} {kind}s of {layout.total:,}")
    offsets = np.array(page.dataoffsets[: layout.total], np.float64)
    stated = np.array(page.databytecounts[: layout.total], np.float64)
    stored = np.minimum(stated, np.maximum(page.parent.filehandle.size - offsets, 0))
    present = int(np.count_nonzero(stored > 0))
    height, width = frame.imagelength, frame.imagewidth
    if present < layout.total:
        check_sparse(height * width, present / layout.planes * layout.rows * layout.columns)
        return
    samples = frame.samplesperpixel if frame.photometric != tiff_tags.YCBCR else 1  # subsampled: at least the lumas
    row = width * samples * max(1, int(np.max(frame.bitspersample))) / 8
    if frame.compression in tiff_tags.FAX:
        check_ratio(row * height, float(stored.sum()), 8 * row)  # a bit a row
    else:
        check_ratio(np.floor(row) * height, float(stored.sum()), _RATIOS.get(frame.compression, _UNKNOWN_RATIO))
