"""Areas as people write them: pixels as a plain number, or a number with a unit. Standard library only."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from .errors import UsageError

#: Square metres of each unit that an area may have.
UNITS = {
    "nm2": Fraction(1, 10**18),
    "um2": Fraction(1, 10**12),
    "mm2": Fraction(1, 10**6),
    "cm2": Fraction(1, 10**4),
    "m2": Fraction(1),
    "ha": Fraction(10**4),
    "km2": Fraction(10**6),
}

Area = int | str  # pixels, or as `parse_area` writes it: ``50um2``

_NEARLY = 1e-9  # products of a pixel's sides are rounded: an area that is so near to whole pixels is meant so


def parse_area(value: object, name: str) -> Area:
    """``50`` as pixels, ``50um2``, ``2.5 ha``.

    Raises
    ------
    UsageError
        If it is no area; ``name`` says what it was for.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ²]+2?)?", str(value).strip())
    unit = None if match is None or match[2] is None else re.sub("[µμ]", "u", match[2]).replace("²", "2")
    known = match is not None and (unit in UNITS if unit else match[1].isdecimal())
    if match is None or not known or isinstance(value, bool) or float(match[1]) <= 0:
        units = ", ".join(UNITS)
        raise UsageError(f"{name} is a number of pixels like 50, or an area like 50um2 (in {units}); got {value!r}")
    return int(match[1]) if unit is None else f"{match[1]}{unit}"


def has_unit(area: Area) -> bool:
    """Whether the size of a pixel must be known to say how many pixels it is."""
    return isinstance(area, str)


def least_pixels(area: Area, square_metres: float | None) -> int:
    """The fewest pixels that are as large as an area.

    Parameters
    ----------
    area
        As `parse_area` gives it.
    square_metres
        Of a pixel, where known.

    Raises
    ------
    ValueError
        If that is not known, and the area has a unit.
    """
    if not isinstance(area, str):
        return area
    if square_metres is None:
        raise ValueError(f"expected the size of a pixel, to say how many {area} is")
    unit_at = next(at for at, letter in enumerate(area) if letter.isalpha())
    pixels = Fraction(area[:unit_at]) * UNITS[area[unit_at:]] / Fraction(square_metres)
    near = round(pixels)
    return near if near and abs(pixels - near) <= near * _NEARLY else math.ceil(pixels)
