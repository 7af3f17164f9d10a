"""What is said of an image's pixels where their size is given: that its file says another, or it has a place."""

from __future__ import annotations

from ..images import PictureInfo
from ..images.formats import decoder_named
from ..images.geo import GeoReference
from ..images.pixel_size import MICROMETRES, NEARLY, PixelSize, read_pixel_size


def notes_of_given(path: str, info: PictureInfo, geo: GeoReference | None, given: PixelSize) -> tuple[str, ...]:
    """A line where the size that was given is not what the image says, and which of them counts; else none."""
    if geo is not None:
        return ("it has a place on the ground, which says how large its pixels are: --pixel-size is not used",)
    decoder = decoder_named(info.format)
    stated = read_pixel_size(path, info.shape) if decoder is not None and decoder.has_pixel_size else None
    if stated is None:
        return ()
    sides = [side * MICROMETRES[stated.unit] for side in (stated.y, stated.x)]
    wanted = given.y * MICROMETRES[given.unit]
    if all(abs(side - wanted) <= NEARLY * wanted for side in sides):
        return ()
    said = f"its file says that a pixel is {sides[1]:.6g} x {sides[0]:.6g} um"
    return (f"{said}: --pixel-size takes its place, {wanted:.6g} um",)
