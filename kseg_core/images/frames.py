"""Animated GIF, WebP and PNG: how many frames there are, and any of them as its page.

A frame after the first is what a person sees by then: Pillow lays it over those before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from kseg_core.choice import PictureChoice
from kseg_core.images import formats, pillow, png
from kseg_core.images.choosing import note, require_one_picture, taken
from kseg_core.images.raster import Raster, Refused, Stated
from kseg_core.images.whole import WholePicture

_COUNT: dict[str, Callable[[BinaryIO], int]] = {
    "GIF": pillow.gif_frames,
    "WebP": pillow.webp_frames,
    "PNG": png.count_frames,
}
NAMES = frozenset(_COUNT)
"""Formats whose files may hold several."""


def open_frame(name: str, file: BinaryIO, max_pixels: int, choice: PictureChoice) -> WholePicture:
    """Open the frame that was chosen, or the first, of which it is then said that it is one of several.

    Raises
    ------
    Refused
        Where there is none such.
    """
    form = formats.whole_formats()[name]
    count = _COUNT[name](file)
    page = taken("page", choice.page, count)
    require_one_picture(dataclasses.replace(choice, page=None), channels=False)
    file.seek(0)
    if page:
        form = form._replace(stated=partial(_stated, form), decode=partial(_decode, name, page))
    picture = WholePicture(form, file, max_pixels)
    if count > 1 and choice.page is None:
        said = note("page", 0, count, why="the first frame of an animation")
        picture.info = dataclasses.replace(picture.info, notes=(said, *picture.info.notes))
    return picture


def _stated(form: formats.WholeFormat, file: BinaryIO) -> Stated:
    """What a frame that is laid over others is: colours with alpha, of 8 bits."""
    first = form.stated(file)
    if first.dtype != "uint8":
        raise Refused(
            f"not supported here: a frame after the first of {first.dtype} samples; save it as a PNG of its own"
        )
    return Stated(4, alpha=True, decoding_px=pillow.PILLOW_PX)


def _decode(name: str, page: int, data: bytes, max_pixels: int) -> Raster:
    if name == "PNG":
        png.require_sound_frames(data, page)
    return pillow.decode_frame(data, name, page, max_pixels)
