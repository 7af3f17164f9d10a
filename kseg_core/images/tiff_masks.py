"""The page of a TIFF that is its picture's mask: NewSubfileType says so, or PhotometricInterpretation."""

from __future__ import annotations

from typing import Any, BinaryIO

from kseg_core.images.file_masks import PageMask
from kseg_core.images.tiff_directories import read_directory, stated_tags
from kseg_core.images.tiff_plausible import check_directory, check_page

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
    _, at = stated_tags(tiff, page.offset)
    seen = {page.offset}
    while at and at not in seen and len(seen) < _FARTHEST:
        found = read_directory(tiff.filehandle, layout, at, len(seen), below=False)
        if found is None:
            return None
        seen.add(at)
        directory, following, _ = found
        same = (directory.height, directory.width) == (page.imagelength, page.imagewidth)
        if directory.is_mask and not directory.is_reduced and same:
            check_directory(tiff.filehandle, at)
            tiff.filehandle.seek(at)
            mask: Any = tifffile.TiffPage(tiff, index=len(seen))
            check_page(mask)
            return PageMask(mask, file, max_pixels, per_band=mask.samplesperpixel == page.samplesperpixel)
        if not directory.is_mask and not directory.is_reduced:
            return None
        at = following
    return None
