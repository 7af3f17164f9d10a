"""Pictures: what a file is, and its pixels as 8-bit sRGB in the orientation a person sees.

The decoders are those that imageio's plugins stand on, called directly where the plugins do not do the job right; each
module says which and why:

=========== =================== ==========================================================
format      module              decoder
=========== =================== ==========================================================
JPEG        `jpeg`              simplejpeg, strict; 12 bits by libjpeg-turbo (imagecodecs)
PNG         `png`               zlib and libpng (imagecodecs)
BMP         `bmp`               NumPy, strict
GIF         `pillow`            imageio's Pillow plugin
WebP        `pillow`            libwebp (imagecodecs); Pillow's reader for animations
TIFF        `tiff`              tifffile and imagecodecs; simplejpeg for JPEG tiles
JPEG 2000   `jpeg2000`          OpenJPEG (imagecodecs), tile by tile
JPEG XL     `jpegxl`            libjxl (imagecodecs)
JPEG XR     `jpegxr`            jxrlib (imagecodecs)
HEIC        `heif`              libheif (pillow-heif)
AVIF        `heif`              libavif (imagecodecs)
Netpbm      `netpbm`            NumPy
QOI         `qoi`               its reference decoder (imagecodecs)
slides      `slides`            OpenSlide (an extra): NDPI, BIF, MRXS, CZI
VRT         `vrt`               GDAL (rasterio)
Zarr        `zarrs`             zarr-python; OME-Zarr too
=========== =================== ==========================================================

Each is a `decoder.Decoder`, entered in `formats.DECODERS`.

`read_image` gives a picture whole. `open_picture` gives any part of it, as 8-bit sRGB or as the samples that are
stored; of tiled and striped TIFFs, of tiled JPEG 2000, slides, VRTs and Zarr arrays no more is read and decoded for
that than the part needs.

All functions may be called from several threads at once, and no pixel depends on a global setting of a library. For
the whole process, rasterio's log is turned off, and its and pyogrio's warnings of files are ignored. Whatever goes
wrong with a file is an `UnreadableImage` with a reason.
"""

from __future__ import annotations

from kseg_core.images.failures import refusing
from kseg_core.images.picture import Picture, open_picture, read_info
from kseg_core.images.raster import MAX_PIXELS, PictureInfo, Pixels, check_size
from kseg_core.images.zarrs import is_zarr

__all__ = ["MAX_PIXELS", "Picture", "PictureInfo", "Pixels", "is_zarr", "open_picture", "read_image", "read_info"]


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
