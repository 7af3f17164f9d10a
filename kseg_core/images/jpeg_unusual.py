"""JPEGs whose components are subsampled in ways that TurboJPEG's interface, and so simplejpeg, does not know: 4:1:0 ...

libjpeg itself decodes all of them. imagecodecs gives its pixels, the same as Pillow's, but is silent about damage;
GDAL can be asked to fail where libjpeg warns. So the picture is decoded by both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kseg_core.images.gdal import gdal

_ROWS = 256  # read at once and thrown away


def decode_unusual(data: bytes, components: int) -> NDArray[np.uint8]:
    """Decode a JPEG.

    Parameters
    ----------
    data
        The file, whole.
    components
        1, 3 or 4.

    Returns
    -------
    uint8 (height, width, components): gray, RGB, or CMYK as stored.

    Raises
    ------
    ValueError
        With libjpeg's first warning or error.
    """
    import imagecodecs

    _check(data)
    space = {1: "GRAYSCALE", 3: "RGB", 4: "CMYK"}[components]
    try:
        samples: NDArray[np.uint8] = imagecodecs.jpeg8_decode(data, outcolorspace=space)
    except imagecodecs.Jpeg8Error as error:
        raise ValueError(str(error)) from error
    return samples[..., None] if samples.ndim == 2 else samples


def _check(data: bytes) -> None:
    """Raise what libjpeg says of it, if anything."""
    options = {"GDAL_ERROR_ON_LIBJPEG_WARNING": "YES", "GDAL_ALLOW_LARGE_LIBJPEG_MEM_ALLOC": "YES"}
    with gdal("JPEG", lambda error: ValueError(str(error).rpartition("libjpeg: ")[2]), **options):
        from rasterio.io import MemoryFile  # type: ignore[import-untyped, import-not-found, unused-ignore]
        from rasterio.windows import Window  # type: ignore[import-untyped, import-not-found, unused-ignore]

        with MemoryFile(data, ext=".jpg") as memory, memory.open(driver="JPEG") as opened:
            for top in range(0, opened.height, _ROWS):
                opened.read(window=Window(0, top, opened.width, min(_ROWS, opened.height - top)))
