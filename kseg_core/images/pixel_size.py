"""How large a pixel is: under the microscope, as a file's header says (OME-TIFF, Aperio's SVS, OME-Zarr), or on the
ground.

The resolution tags of other TIFFs are left alone: they are dots per inch of some print or screen.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from kseg_core import storage
from kseg_core.images.geo import GeoReference
from kseg_core.images.tiff_directory import ORIENTATION
from kseg_core.images.zarrs import is_zarr, open_node, pixel_volume
from kseg_core.sizes import parse_length

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

NEARLY = 1e-6  # of a side: files write lengths with so many digits, and pixels whose sides differ by less are square

# What OME's schema calls a unit, and what OME-Zarr calls it (UDUNITS-2).
_UNITS = {
    "Å": "angstrom",
    "nm": "nanometer",
    "µm": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "in": "inch",
}
# The same of units that are typed.
_TYPED = {
    "nm": "nanometer",
    "um": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "km": "kilometer",
}
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_APERIO_MPP = re.compile(r"\bMPP\s*=\s*([0-9.]+)")
_TURNED = range(5, 9)  # values of TIFF's orientation that exchange rows and columns


class PixelSize(NamedTuple):
    """The sides of a pixel of the image as a person sees it, and their unit as OME-Zarr names it (``micrometer``)."""

    y: float
    x: float
    unit: str


def given_pixel_size(text: str) -> PixelSize:
    """What is given as ``0.12mm``, in units of `kseg_core.sizes.LENGTHS`: of square pixels."""
    number, unit = parse_length(text, "the side of a pixel is a length like 0.12mm")
    return PixelSize(number, number, _TYPED[unit])


def read_pixel_size(path: str, shape: tuple[int, int] | None = None) -> PixelSize | None:
    """The size of an image's pixels; None where its file does not say, or cannot be read.

    Parameters
    ----------
    path
        Of the file.
    shape
        (height, width) of the image, as a person sees it, where the file holds several; None: its first.

    References
    ----------
    OME schema 2016-06, ``Pixels``: sizes are micrometres unless another unit is given.
    """
    try:
        size = _of_zarr(path) if is_zarr(path) else _of_tiff(path, shape)
    except Exception:  # damaged, or neither of these: what it is, is found out where its pixels are read
        return None
    return size if size is not None and size.y > 0 and size.x > 0 else None


def _of_tiff(path: str, shape: tuple[int, int] | None) -> PixelSize | None:
    import tifffile

    with storage.open_file(path) as file, tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages.first
        size = None
        if tiff.is_ome:
            size = _of_ome(tiff.ome_metadata or "", shape)
        elif shape is not None and sorted(shape) != sorted((page.imagelength, page.imagewidth)):
            return None  # of another page than the one that it is said of
        elif tiff.is_svs and (stated := _APERIO_MPP.search(page.description)):
            size = PixelSize(float(stated[1]), float(stated[1]), "micrometer")
        if size is not None and page.tags.valueof(ORIENTATION, 1) in _TURNED:
            size = PixelSize(size.x, size.y, size.unit)
        return size


def _of_ome(xml: str, shape: tuple[int, int] | None) -> PixelSize | None:
    """Of the first image that is described, or the first of a shape, whichever way it is turned."""
    pixels = _PIXELS.findall(xml)
    if shape is not None:
        sides = sorted(map(str, shape))
        pixels = [each for each in pixels if sorted(re.findall(r'\bSize[XY]="(\d+)"', each)) == sides]
    if not pixels:
        return None
    stated = {name: html.unescape(value) for name, value in re.findall(r'\bPhysicalSize(\w+)="([^"]*)"', pixels[0])}
    units = {_UNITS.get(stated.get(f"{axis}Unit", "µm").replace("μ", "µ")) for axis in "YX"}  # Greek mu, micro sign
    if len(units) > 1 or not {"X", "Y"} <= stated.keys() or (unit := units.pop()) is None:
        return None
    return PixelSize(float(stated["Y"]), float(stated["X"]), unit)


def _of_zarr(path: str) -> PixelSize | None:
    with ExitStack() as closing:
        attributes: dict[str, Any] = dict(open_node(path, closing).attrs)
    image = attributes.get("ome", attributes)["multiscales"][0]
    axes = {axis["name"].lower(): (at, axis.get("unit")) for at, axis in enumerate(image["axes"])}
    (row, unit), (column, other) = axes["y"], axes["x"]
    if unit != other or unit not in _UNITS.values():
        return None
    y = x = 1.0
    finest = min(image["datasets"], key=pixel_volume)
    for steps in (finest["coordinateTransformations"], image.get("coordinateTransformations", [])):
        for step in steps:
            if step["type"] == "scale":
                y, x = y * float(step["scale"][row]), x * float(step["scale"][column])
    return PixelSize(y, x, unit)


def metres_of_unit(wkt: str) -> float | None:
    """The unit of a projected coordinate system in metres; None where it is not projected, or does not say."""
    start = re.search(r"\bPROJCRS\[", wkt)
    if start is None:
        return None
    axes = wkt[start.start() :].partition("CS[Cartesian")[2]
    unit = re.search(r'LENGTHUNIT\["[^"]*",\s*([0-9.eE+-]+)', axes)
    return None if unit is None else float(unit.group(1))


def area_on_the_ground(geo: GeoReference) -> float | None:
    """Square metres of a pixel; None where the map's axes are no lengths (degrees) or not known.

    A projected system's own units are converted to metres; what its projection does to areas is not undone.
    """
    metres = metres_of_unit(geo.crs_wkt)
    a, b, _, d, e, _ = geo.transform
    return None if metres is None else abs(a * e - b * d) * metres**2


def side_on_the_ground(geo: GeoReference) -> float | None:
    """Metres of a pixel's side; None where that is not known, or pixels are not square."""
    a, b, _, d, e, _ = geo.transform
    area = area_on_the_ground(geo)
    sides = math.hypot(a, d), math.hypot(b, e)
    is_square = _alike(*sides) and _alike(sides[0] * sides[1], abs(a * e - b * d))
    return None if area is None or not is_square else math.sqrt(area)


def side_of_sides(sides: Sequence[float], units: Sequence[str | None]) -> float | None:
    """Micrometres of a pixel's side; None where that is not known, or pixels are not square."""
    area = area_of_sides(sides, units)
    known = [MICROMETRES[unit] * side for side, unit in zip(sides, units, strict=True) if unit in MICROMETRES]
    return math.sqrt(area) if area is not None and _alike(*known) else None


def _alike(one: float, other: float) -> bool:
    """Whether they are one length, rounded."""
    return abs(one - other) <= NEARLY * max(one, other)


def area_of_sides(sides: Sequence[float], units: Sequence[str | None]) -> float | None:
    """Square micrometres of a pixel with two sides; None where one has no unit of length."""
    known = [MICROMETRES[unit] * side for side, unit in zip(sides, units, strict=True) if unit in MICROMETRES]
    return known[0] * known[1] if len(known) == 2 else None
