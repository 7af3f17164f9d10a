"""The area of a pixel, of the place on the ground or the size that a file states."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .geo import GeoReference

# OME-Zarr's names of the units a pixel's side may be in (UDUNITS-2), in micrometres.
MICROMETRES = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "kilometer": 1e9,
    "inch": 25_400.0,
    "foot": 304_800.0,
}


def area_on_the_ground(geo: GeoReference) -> float | None:
    """Square metres of a pixel; None where the map's axes are no lengths (degrees) or not known.

    A projected system's own units are converted to metres; what its projection does to areas is not undone.
    """
    metres = metres_of_unit(geo.crs_wkt)
    a, b, _, d, e, _ = geo.transform
    return None if metres is None else abs(a * e - b * d) * metres**2


def area_of_sides(sides: Sequence[float], units: Sequence[str | None]) -> float | None:
    """Square micrometres of a pixel with two sides; None where one has no unit of length."""
    known = [MICROMETRES[unit] * side for side, unit in zip(sides, units, strict=True) if unit in MICROMETRES]
    return known[0] * known[1] if len(known) == 2 else None


def metres_of_unit(wkt: str) -> float | None:
    """The unit of a projected coordinate system in metres; None where it is not projected, or does not say."""
    start = re.search(r"\bPROJCRS\[", wkt)
    if start is None:
        return None
    axes = wkt[start.start() :].partition("CS[Cartesian")[2]
    unit = re.search(r'LENGTHUNIT\["[^"]*",\s*([0-9.eE+-]+)', axes)
    return None if unit is None else float(unit.group(1))
