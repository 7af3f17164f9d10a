"""Every kind of samples to 8-bit sRGB, in the orientation a person sees.

Embedded colour profiles are converted by LittleCMS, through Pillow, in 8 bits, with the perceptual intent: it is what
Pillow, browsers and most viewers use, and for the matrix profiles of cameras and screens all intents are the same. A
profile is left alone where

- it cannot be read, or is not for the picture's kind of colour (an RGB profile in a gray file): viewers show such files
  as sRGB, so this is what a person sees;
- it *is* sRGB. There are dozens of files of that name and some under others, so the question is put to the profile
  itself: a grid of colours goes through it, and where none moves by more than `_SAME_LEVELS`, the samples stay.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.images.raster import Colours, Pixels, Raster, Samples
from kseg_core.images.windows import turn_samples

_LOOKED_UP_AT_ONCE = 1 << 20
#: sRGB profiles with the curve as a table, a formula or a rounded matrix differ from each other by up
#: to 2 levels of 255; the nearest real other space (a display with gamma 2.2) is 6 away, Display P3 over 50.
_SAME_LEVELS = 2
_GRID = np.linspace(0, 255, 9).astype(np.uint8)  # 9**3 colours: the corners, the grays and between
_CONVERTED_AT_ONCE = 1 << 18  # pixels: Pillow's copies stay at a few megabytes
#: What Pillow and ICC profiles call kinds of colours.
_MODES = {"gray": ("L", "GRAY"), "rgb": ("RGB", "RGB"), "cmyk": ("CMYK", "CMYK")}


def to_rgb(raster: Raster) -> Pixels:
    """Finish a decoded picture: 8 bits, sRGB, three channels, turned.

    Returns
    -------
    The picture; for 8-bit RGB without a profile to apply and as stored, the decoder's own array.
    """
    rgb = turn_samples(_colours_of(raster), raster.orientation)
    valid = None
    if raster.valid is not None and not raster.valid.all():
        valid = turn_samples(raster.valid, raster.orientation)
    rgb = np.require(rgb, np.uint8, ["C", "W"])  # copies only what Pillow lent for reading
    return Pixels(rgb, valid)


def to_8_bits(samples: Samples, maximum: int, *, linear: bool = False) -> NDArray[np.uint8]:
    """Scale samples of 0 to ``maximum`` to 0 to 255, to the nearest (16 bits: ``(v + 128) // 257``).

    Parameters
    ----------
    samples
        bool, uint8 or uint16 of any shape.
    maximum
        The value that stands for 255; larger samples are not expected, and become 255.
    linear
        Whether they are linear light, and get the curve of sRGB.
    """
    if maximum == 255 and samples.dtype == np.uint8 and not linear:
        return samples
    if samples.dtype == np.uint16 and samples.size and not linear and _scales_exactly(maximum):
        return _scaled(samples, maximum)
    table, values = _scale(maximum, linear=linear), samples.view(np.uint8) if samples.dtype == np.bool_ else samples
    out = np.empty(samples.shape, np.uint8)
    step = max(1, _LOOKED_UP_AT_ONCE * len(samples) // max(1, samples.size))
    for top in range(0, len(samples), step):  # each index becomes one of 64 bits
        out[top : top + step] = np.take(table, values[top : top + step])
    return out


def _scaled(samples: Samples, maximum: int) -> NDArray[np.uint8]:
    """Scale samples of 16 bits in float32, at ten times the speed of a table and in a ninth of its memory."""
    import cv2

    rows = np.ascontiguousarray(samples).reshape(samples.shape[0], -1)
    return cv2.convertScaleAbs(rows, alpha=255 / maximum).reshape(samples.shape).view(np.uint8)


@lru_cache(maxsize=16)
def _scales_exactly(maximum: int) -> bool:
    """Say whether `_scaled` gives for all values what the table says: where ``maximum`` has 8 to 14, or 16 bits."""
    values = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    return bool(np.array_equal(_scaled(values, maximum), np.take(_scale(maximum, linear=False), values)))


@lru_cache(maxsize=16)
def _scale(maximum: int, *, linear: bool) -> NDArray[np.uint8]:
    """Return the table of 2**16 values that `to_8_bits` looks up."""
    values = np.minimum(np.arange(1 << 16, dtype=np.int64), maximum)
    if linear:
        table = np.floor(encoded(values / maximum) * 255 + 0.5).astype(np.uint8)
    else:
        table = ((2 * 255 * values + maximum) // (2 * maximum)).astype(np.uint8)
    table.setflags(write=False)
    return table


def encoded(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return linear light, 0 to 1, by the curve of sRGB (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _colours_of(raster: Raster) -> NDArray[np.uint8]:
    """Return the raster's colours as uint8 (height, width, 3) sRGB, as stored."""
    if raster.colours == "palette":
        return looked_up(_whole_palette(raster), raster.samples)
    samples = np.ascontiguousarray(to_8_bits(raster.samples, raster.maximum, linear=raster.linear))
    if raster.colours == "gray":
        # All 256 grays go through the profile, and the picture through the table of them.
        ramp = np.arange(256, dtype=np.uint8)
        table = _converted(ramp[None, :], "gray", raster.icc)
        return looked_up(np.repeat(ramp[:, None], 3, axis=1) if table is None else table[0], samples)
    if raster.colours == "rgb" and samples.shape[2] == 4:
        import cv2  # twenty times NumPy's speed at copying three bytes of four

        samples = cv2.cvtColor(samples, cv2.COLOR_RGBA2RGB).view(np.uint8)
    converted = _converted(samples, raster.colours, raster.icc)
    return samples if converted is None else converted


def looked_up(table: NDArray[np.uint8], indices: Samples) -> NDArray[np.uint8]:
    """Return ``table[indices]`` for a table of colours, uint8 (256, 3) where the indices are of 8 bits."""
    if indices.dtype != np.uint8:
        return np.take(table, indices, axis=0)
    import cv2  # five times NumPy's speed

    return cv2.applyColorMap(np.ascontiguousarray(indices), table.reshape(256, 1, 3)).view(np.uint8)


def _whole_palette(raster: Raster) -> NDArray[np.uint8]:
    """Return the palette in sRGB, with black for the indices that it lacks (as decoders do)."""
    assert raster.palette is not None
    size = 1 << (8 * raster.samples.dtype.itemsize)
    whole = np.zeros((size, 3), np.uint8)
    colours = raster.palette[:size]
    whole[: len(colours)] = colours
    converted = _converted(whole[None, :], "rgb", raster.icc)
    return whole if converted is None else converted[0]


# ------------------------------------------------------------------------------------------------------- by a profile


def finishing_px(orientation: int, icc: bytes | None) -> int:
    """Bytes a pixel that colours take once more where they are turned, and where a profile of RGB converts them."""
    return 3 * (orientation != 1) + 3 * bool(icc and _transform(icc, "rgb") is not None)


def _converted(samples: NDArray[np.uint8], colours: Colours, icc: bytes | None) -> NDArray[np.uint8] | None:
    """Convert C-contiguous samples through their profile; None: there is nothing to convert, which CMYK always is."""
    transform = _transform(icc, colours) if icc else None
    return None if transform is None and colours != "cmyk" else _applied(transform, samples, colours)


@lru_cache(maxsize=16)  # a folder's photographs share a few profiles; a CMYK one takes 50 ms to set up
def _transform(icc: bytes, colours: Colours) -> Any | None:
    """Return the LittleCMS transform to sRGB (it may be shared between threads), or None: leave it alone."""
    from PIL import ImageCms

    mode, space = _MODES[colours]
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if profile.profile.xcolor_space.strip() != space:
            return None
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        transform = ImageCms.ImageCmsTransform(profile, srgb, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
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
    moved = _applied(transform, np.ascontiguousarray(grid), colours).astype(int) - expected
    return int(np.abs(moved).max()) <= _SAME_LEVELS


def _applied(transform: Any | None, samples: NDArray[np.uint8], colours: Colours) -> NDArray[np.uint8]:
    """Run rows of samples through a transform, or Pillow's plain conversion, so many at once."""
    from PIL import Image

    height, width = samples.shape[:2]
    out = np.empty((height, width, 3), np.uint8)
    rows = max(1, _CONVERTED_AT_ONCE // width)
    for top in range(0, height, rows):
        part = samples[top : top + rows]
        image = Image.frombytes(_MODES[colours][0], (width, part.shape[0]), part.tobytes())
        out[top : top + rows] = np.asarray(image.convert("RGB") if transform is None else transform.apply(image))
    return out
