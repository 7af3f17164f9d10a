"""How large a pixel is on the ground or under the microscope."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..images.geo import GeoReference
from ..store.opening import StoredImage


class PixelArea(NamedTuple):
    """The area of one pixel, where known."""

    square_metres: float | None = None
    square_micrometres: float | None = None


def pixel_area(image: StoredImage) -> PixelArea:
    """The area of a pixel: in square metres of a projected coordinate system, in square micrometres of a known size.

    A projected system's own units are converted to metres; what its projection does to areas is not undone.
    """
    geo = image.georeference
    if geo is not None:
        unit = metres_of_unit(geo.crs_wkt)
        return PixelArea() if unit is None else PixelArea(square_metres=_cell(geo) * unit**2)
    scale, units = image.pixel_scale
    sides = [_MICROMETRES[unit] * side for side, unit in zip(scale, units, strict=True) if unit in _MICROMETRES]
    return PixelArea(square_micrometres=sides[0] * sides[1]) if len(sides) == 2 else PixelArea()


# OME-Zarr's names of the units a pixel's side may be in (UDUNITS-2), in micrometres.
_MICROMETRES = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "inch": 25_400.0,
}


def _cell(geo: GeoReference) -> float:
    """The area of a pixel in squares of the coordinate system's unit, whichever way the image is turned."""
    a, b, _, d, e, _ = geo.transform
    return abs(a * e - b * d)


def metres_of_unit(wkt: str) -> float | None:
    """The unit of a projected coordinate system in metres; None where it is not projected, or does not say."""
    start = re.search(r"\bPROJCRS\[", wkt)
    if start is None:
        return None
    axes = wkt[start.start() :].partition("CS[Cartesian")[2]
    unit = re.search(r'LENGTHUNIT\["[^"]*",\s*([0-9.eE+-]+)', axes)
    return None if unit is None else float(unit.group(1))
