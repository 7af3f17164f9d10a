"""Pictures: what a file is, and its pixels as 8-bit sRGB in the orientation a person sees.

A format is a `decoder.Decoder` in a module of its own, which says what decodes it and why that, and is entered in
`formats.DECODERS`.

`read_image` gives a picture whole. `open_picture` gives any part of it, as 8-bit sRGB or as the samples that are
stored, and `open_image` of a stack of files too; of tiled and striped TIFFs, of tiled JPEG 2000, slides, VRTs and Zarr
arrays no more is read and decoded for that than the part needs.

All functions may be called from several threads at once, and no pixel depends on a global setting of a library. For
the whole process, rasterio's log is turned off, and its and pyogrio's warnings of files are ignored. Whatever goes
wrong with a file is an `UnreadableImage` with a reason.
"""

from __future__ import annotations

from kseg_core.images.failures import refusing
from kseg_core.images.picture import Picture, open_picture, read_info
from kseg_core.images.raster import MAX_PIXELS, PictureInfo, Pixels, check_size
from kseg_core.images.stacks import open_image
from kseg_core.images.zarrs import is_zarr

__all__ = [
    "MAX_PIXELS",
    "Picture",
    "PictureInfo",
    "Pixels",
    "is_zarr",
    "open_image",
    "open_picture",
    "read_image",
    "read_info",
]


def read_image(path: str, *, max_pixels: int = MAX_PIXELS) -> Pixels:
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
    with open_picture(path, max_pixels=max_pixels) as picture:
        with refusing(path, picture.info.format):
            check_size(*picture.info.shape, max_pixels)
        return picture.rgb(slice(None), slice(None))
