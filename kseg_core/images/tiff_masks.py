"""The page of a TIFF that is its picture's mask: NewSubfileType says so, or PhotometricInterpretation."""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from kseg_core.images.file_masks import PageMask
from kseg_core.images.tiff_plausible import check_page

_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_TRANSPARENCY = 4  # PhotometricInterpretation
_SUBFILE, _WIDTH, _LENGTH, _PHOTOMETRIC = 254, 256, 257, 262
_FORMATS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # TIFF's types of whole numbers
_MOST_TAGS = 4096  # as tifffile has it: more is damage
_FARTHEST = 256  # pages between a picture and its mask: overviews and their masks


def mask_of(tiff: Any, page: Any, file: BinaryIO, max_pixels: int) -> PageMask | None:
    """Return the mask of a page: the first page after it that is a mask of its size and of full resolution.

    Pages are looked at up to the next picture; overviews' masks are reduced ones.

    Parameters
    ----------
    tiff, page
        A ``TiffFile`` and one of its pages.
    file
        That they are read from.
    max_pixels
        The limit for what can only be read whole.

    Raises
    ------
    Refused
        Where the mask states more than its strips or tiles can hold.
    """
    import tifffile

    layout = tiff.tiff
    if layout.offsetsize == 8 and layout.tagsize == 12:  # Hamamatsu's, which carry no masks
        return None
    seen = {page.offset}
    _, offset = _directory(tiff, page.offset)
    while offset and offset not in seen and len(seen) < _FARTHEST:
        seen.add(offset)
        tags, following = _directory(tiff, offset)
        is_mask = tags.get(_SUBFILE, 0) & _MASK or tags.get(_PHOTOMETRIC) == _TRANSPARENCY
        reduced = tags.get(_SUBFILE, 0) & _REDUCED
        if is_mask and not reduced and (tags.get(_LENGTH), tags.get(_WIDTH)) == (page.imagelength, page.imagewidth):
            tiff.filehandle.seek(offset)
            found: Any = tifffile.TiffPage(tiff, index=len(seen))
            check_page(found)
            return PageMask(found, file, max_pixels, per_band=found.samplesperpixel == page.samplesperpixel)
        if not is_mask and not reduced:
            return None
        offset = following
    return None


def _directory(tiff: Any, offset: int) -> tuple[dict[int, int], int]:
    """Return those tags of a page that tell what it is, and where the next page is; 0 where this is the last."""
    file, layout = tiff.filehandle, tiff.tiff
    file.seek(offset)
    head = file.read(layout.tagnosize)
    (count,) = struct.unpack(layout.tagnoformat, head) if len(head) == layout.tagnosize else (0,)
    if count > _MOST_TAGS:
        return {}, 0
    length = count * layout.tagsize
    body = file.read(length + layout.offsetsize)
    if len(body) < length + layout.offsetsize:
        return {}, 0
    tags: dict[int, int] = {}
    for at in range(0, length, layout.tagsize):
        tag, kind = struct.unpack_from(layout.byteorder + "HH", body, at)
        if tag in (_SUBFILE, _WIDTH, _LENGTH, _PHOTOMETRIC) and kind in _FORMATS:
            place = at + layout.tagsize - layout.offsetsize
            (tags[tag],) = struct.unpack_from(layout.byteorder + _FORMATS[kind], body, place)
    (found,) = struct.unpack(layout.offsetformat, body[length:])
    return tags, int(found) if found < file.size else 0
