"""Which bands a person sees: the red, green and blue that a file describes, or those that are chosen for it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kseg_core.expressions import Bands, Derived, called, reference
from kseg_core.images.raster import PictureInfo, Refused
from kseg_core.images.selection import number_of

RGB = ("red", "green", "blue")
#: Words that make another band of a colour's name: red edge, coastal blue.
_OTHER = frozenset(("edge", "rededge", "coastal", "deep"))


def display_of(wanted: Sequence[int | str], clustered: Bands, info: PictureInfo) -> tuple[int, ...]:
    """Return which of the bands that are clustered are shown, one or three of them, from 0; none: the first ones.

    Parameters
    ----------
    wanted
        Numbers and names of bands, as ``--display`` takes them; none: those that the file calls
        red, green and blue.
    clustered
        The bands that are clustered, none of which is told in two ways.
    info
        Of the file.

    Raises
    ------
    Refused
        Where a band that is wanted is not clustered, or is not there.
    """
    found = tuple(_position(band, clustered, info) for band in wanted) if wanted else _described(clustered, info)
    usual = tuple(range(3 if len(clustered) >= 3 else 1))
    return () if found == usual else found


def _position(wanted: int | str, clustered: Bands, info: PictureInfo) -> int:
    for at, band in enumerate(clustered):
        if isinstance(band, Derived) and str(wanted).strip().casefold() == band.name.casefold():
            return at
    number = number_of(reference(wanted), info)
    for at, band in enumerate(clustered):
        if not isinstance(band, Derived) and number_of(band, info) == number:
            return at
    there = ", ".join(str(called(band)) for band in clustered)
    raise Refused(f"band {wanted} is not among those that are clustered, which are the ones there are to show: {there}")


def _described(clustered: Bands, info: PictureInfo) -> tuple[int, ...]:
    """Where its red, green and blue are; none where it does not say so of exactly one band each."""
    numbers = [0 if isinstance(band, Derived) else number_of(band, info) for band in clustered]
    for said, is_said in ((info.band_names, _is_called), (info.band_roles, str.__eq__)):
        of_band = ["" if number == 0 or number > len(said) else said[number - 1].casefold() for number in numbers]
        places = [[at for at, text in enumerate(of_band) if is_said(text, colour)] for colour in RGB]
        if all(len(each) == 1 for each in places):
            return tuple(each[0] for each in places)
    return ()


def _is_called(name: str, colour: str) -> bool:
    """Whether a band of this name is of a colour: ``Red``, ``B4 (red)``, not ``red edge``."""
    words = re.findall(r"[^\W\d_]+", name)
    return colour in words and _OTHER.isdisjoint(words)
