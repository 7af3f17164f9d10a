"""How large the pixels of an image are before it is read, and how many of them an area is."""

from __future__ import annotations

from ..areas import least_pixels
from ..config import OutputSettings
from ..errors import Unsuited
from ..images.formats import decoder_named
from ..images.pixel_size import PixelSize, area_of_sides, area_on_the_ground, read_pixel_size
from .sources import ImageSource

SQUARE_MICROMETRE = 1e-12


def pixel_size_of(source: ImageSource) -> PixelSize | None:
    """The size that was given, or that an image's file states; None where it is on the ground, or there is none."""
    if source.geo is not None:
        return None
    if source.given_size is not None:
        return source.given_size
    decoder = decoder_named(source.info.format)
    if decoder is None or not decoder.has_pixel_size:
        return None
    return read_pixel_size(source.file.path, source.shape)


def min_region_of(source: ImageSource, output: OutputSettings, size: PixelSize | None) -> int:
    """The fewest pixels of a region of an image that does not go to a neighbour; 0: none does.

    Parameters
    ----------
    size
        As `pixel_size_of` gives it.

    Raises
    ------
    Unsuited
        If it is asked for with a unit, and how large the image's pixels are is not known.
    """
    if output.min_region is None:
        return 0
    square_metres = None
    if source.geo is not None:
        square_metres = area_on_the_ground(source.geo)
    elif size is not None and (found := area_of_sides((size.y, size.x), (size.unit, size.unit))) is not None:
        square_metres = found * SQUARE_MICROMETRE
    try:
        return min(least_pixels(output.min_region, square_metres), source.pixels + 1)
    except ValueError:
        what = "its pixels have no lengths on the ground" if source.geo is not None else "it does not say how large"
        what += "" if source.geo is not None else " its pixels are"
        option = f"--min-region {output.min_region}"
        reason = f"{what}, so nobody knows how many {option} is: give pixels, as in 50"
        raise Unsuited(source.file.source, reason, option) from None
