"""EXIF orientation: find it in a block of EXIF, and turn a picture as it says.

Pillow's own EXIF reader warns about damaged blocks and loads all of them; one tag of
the first directory is all that is needed here, and a damaged block means "as stored".
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.images.raster import Refused
from kseg_core.images.tiff_directory import ORIENTATION, Directories


def orientation_of(exif: bytes | None) -> int:
    r"""Return the EXIF orientation, 1 to 8; 1 when there is none or it cannot be read.

    Parameters
    ----------
    exif
        A TIFF structure, with or without the ``Exif\0\0`` that JPEG puts before it.
    """
    block = (exif or b"").removeprefix(b"Exif\0\0")
    if block[:2] not in (b"II", b"MM"):
        return 1
    try:
        values = Directories(io.BytesIO(block)).first.numbers(ORIENTATION)
    except Refused:
        return 1
    return known(values[0]) if len(values) == 1 else 1


def known(value: object) -> int:
    """Return ``value`` where it is an orientation, 1 (as stored) where it is anything else."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned_shape(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return (height, width) after the orientation has been applied."""
    return (width, height) if orientation >= 5 else (height, width)


def turn(picture: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a stored picture into what a person sees.

    Parameters
    ----------
    picture
        uint8 or bool, (height, width) or (height, width, 3), C-contiguous.
    orientation
        1 to 8, as EXIF numbers them.

    Returns
    -------
    The picture itself for 1, otherwise a new C-contiguous array of the same dtype.
    """
    if orientation == 1:
        return picture
    import cv2  # ten times NumPy's speed at transposing pixels of three bytes

    turns = {
        2: lambda p: cv2.flip(p, 1),
        3: lambda p: cv2.rotate(p, cv2.ROTATE_180),
        4: lambda p: cv2.flip(p, 0),
        5: lambda p: cv2.transpose(p),
        6: lambda p: cv2.rotate(p, cv2.ROTATE_90_CLOCKWISE),
        7: lambda p: cv2.rotate(cv2.transpose(p), cv2.ROTATE_180),
        8: lambda p: cv2.rotate(p, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
    result = turns[orientation](picture.view(np.uint8)).view(picture.dtype)
    return np.ascontiguousarray(result)
