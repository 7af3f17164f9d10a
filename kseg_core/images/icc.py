"""Embedded colour profiles: which of them change anything, and the conversion to sRGB.

The conversion is LittleCMS's, through Pillow, in 8 bits, with the perceptual intent: it is what
Pillow, browsers and most viewers use, and for the matrix profiles of cameras and screens
all intents are the same.

A profile is left alone when

- it cannot be read, or is not for the picture's kind of colour (an RGB profile in a gray file):
  viewers show such files as sRGB, so this is what a person sees;
- it *is* sRGB. There are dozens of files of that name and some under others, so the question is put to
  the profile itself: a grid of colours goes through it, and when none moves by more than
  `_SAME_LEVELS`, the samples stay as they are.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.images.raster import Colours

#: sRGB profiles with the curve as a table, a formula or a rounded matrix differ from each other by up
#: to 2 levels of 255; the nearest real other space (a display with gamma 2.2) is 6 away, Display P3 over 50.
_SAME_LEVELS = 2

_GRID = np.linspace(0, 255, 9).astype(np.uint8)  # 9**3 colours: the corners, the grays and between
_BAND_PX = 1 << 18  # pixels converted at once: Pillow's copies stay at a few megabytes
_MODES = {"gray": "L", "rgb": "RGB", "cmyk": "CMYK"}
_SPACES = {"gray": "GRAY", "rgb": "RGB", "cmyk": "CMYK"}


def convert(samples: NDArray[np.uint8], colours: Colours, icc: bytes | None) -> NDArray[np.uint8] | None:
    """Convert samples to sRGB through their profile.

    Parameters
    ----------
    samples
        uint8, (height, width) for gray, (height, width, 3) for RGB, (height, width, 4) for CMYK; C-contiguous.
    colours
        ``"gray"``, ``"rgb"`` or ``"cmyk"``.
    icc
        The profile, or None.

    Returns
    -------
    uint8 (height, width, 3), or None when there is nothing to convert: no profile, a broken one,
    one of another colour space, or one that is sRGB.
    """
    transform = _transform(icc, colours) if icc else None
    return None if transform is None else _apply(transform, samples, _MODES[colours])


def changes_rgb(icc: bytes | None) -> bool:
    """Say whether `convert` gives another array for RGB samples of this profile."""
    return bool(icc) and _transform(icc, "rgb") is not None


def convert_cmyk_plainly(samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert CMYK without a profile, as Pillow does it.

    Parameters
    ----------
    samples
        uint8 (height, width, 4), 0 is no ink; C-contiguous.
    """
    return _apply(None, samples, "CMYK")


@lru_cache(maxsize=16)  # a folder's photographs share a few profiles; a CMYK one takes 50 ms to set up
def _transform(icc: bytes, colours: Colours) -> Any | None:
    """Return the LittleCMS transform to sRGB (it may be shared between threads), or None: leave it alone."""
    from PIL import ImageCms

    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if profile.profile.xcolor_space.strip() != _SPACES[colours]:
            return None
        transform = ImageCms.ImageCmsTransform(
            profile,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            _MODES[colours],
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
        )
        return None if _is_srgb(transform, colours) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        # A profile Pillow cannot open, or LittleCMS can make no transform of. Pillow reports these
        # by all of the above; viewers ignore such a profile, and so is it here.
        return None


def _is_srgb(transform: Any, colours: Colours) -> bool:
    """Say whether the transform moves no colour of the grid by more than `_SAME_LEVELS`."""
    if colours == "cmyk":
        return False
    if colours == "gray":
        grid = np.arange(256, dtype=np.uint8)[None, :]
        expected = np.repeat(grid[..., None], 3, axis=2)
    else:
        grid = expected = np.stack(np.meshgrid(_GRID, _GRID, _GRID), axis=-1).reshape(1, -1, 3)
    moved = _apply(transform, np.ascontiguousarray(grid), _MODES[colours]).astype(int) - expected
    return int(np.abs(moved).max()) <= _SAME_LEVELS


def _apply(transform: Any | None, samples: NDArray[np.uint8], mode: str) -> NDArray[np.uint8]:
    """Run rows of samples through a transform, or Pillow's plain conversion, a band at a time."""
    from PIL import Image

    height, width = samples.shape[:2]
    out = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND_PX // width)
    for top in range(0, height, rows):
        band = samples[top : top + rows]
        image = Image.frombytes(mode, (width, band.shape[0]), band.tobytes())
        converted = image.convert("RGB") if transform is None else transform.apply(image)
        out[top : top + rows] = np.asarray(converted)
    return out
