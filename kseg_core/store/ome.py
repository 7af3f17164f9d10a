"""OME metadata: of images and label images of a store (OME-Zarr 0.5, as plain dictionaries), and how large a pixel is
under the microscope, as a file's header says: OME-TIFF, Aperio's SVS, OME-Zarr.

The resolution tags of other TIFFs are left alone: they are dots per inch of some print or screen.
"""

from __future__ import annotations

import html
import re
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..images.tiff_directory import ORIENTATION
from ..images.zarrs import is_zarr, open_node, pixel_volume

VERSION = "0.5"
_RGB = (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))


def labels_index(names: list[str]) -> dict[str, Any]:
    """Attributes of a ``labels`` group."""
    return {"ome": {"version": VERSION, "labels": names}}


def multiscales(
    name: str, levels: int, scale: tuple[float, float], unit: str | None = None, *, channels: bool = False
) -> list[dict[str, Any]]:
    """The levels of a pyramid and the size of their pixels.

    Coordinates are those of pixel centres, the first pixel's at 0: a level's first pixel is the middle of the
    ``2**level`` it stands for.

    Parameters
    ----------
    name
        What the image is called.
    levels
        How many; their arrays are named 0, 1, ...
    scale, unit
        (y, x) side of a pixel of level 0, and its unit.
    channels
        Whether the first axis is that of channels.
    """
    space = {"type": "space"} if unit is None else {"type": "space", "unit": unit}
    axes = [{"name": axis, **space} for axis in ("y", "x")]
    first = [{"name": "c", "type": "channel"}] if channels else []
    datasets = []
    for level in range(levels):
        factor = 1 << level
        sizes = [1.0] * channels + [side * factor for side in scale]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": sizes}]
        if level:
            shift = [0.0] * channels + [side * (factor - 1) / 2 for side in scale]
            steps.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    return [{"name": name, "axes": [*first, *axes], "datasets": datasets}]


def image(name: str, levels: int, scale: tuple[float, float], unit: str | None, channels: str) -> dict[str, Any]:
    """Attributes of an image with channels.

    Parameters
    ----------
    name, levels, scale, unit
        As `multiscales` has them.
    channels
        ``rgb`` for 8-bit red, green and blue, which are to be shown as such; anything else is left to the viewer.
    """
    described: dict[str, Any] = {"version": VERSION}
    described["multiscales"] = multiscales(name, levels, scale, unit, channels=True)
    if channels == "rgb":
        window = {"min": 0, "max": 255, "start": 0, "end": 255}
        described["omero"] = {
            "channels": [{"label": label, "color": color, "active": True, "window": window} for label, color in _RGB]
        }
    return {"ome": described}


def label_image(
    colors: NDArray[np.uint8],
    counts: list[int],
    invalid_label: int,
    invalid: int,
    pyramid: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Attributes of one label image.

    ``colors`` and ``properties`` list the same values, the invalid one included (transparent).

    Parameters
    ----------
    colors
        uint8 (k, 3).
    counts
        Pixels of each cluster in this image.
    invalid_label, invalid
        The reserved value and how many pixels have it.
    pyramid
        Its `multiscales`; None: a single level of pixels of size 1.
    """
    rgba = [[*row, 255] for row in colors.tolist()]
    values = [*range(len(rgba)), invalid_label]
    return {
        "ome": {
            "version": VERSION,
            "multiscales": multiscales("kmeans", 1, (1.0, 1.0)) if pyramid is None else pyramid,
            "image-label": {
                "version": VERSION,
                "colors": [{"label-value": v, "rgba": c} for v, c in zip(values, [*rgba, [0, 0, 0, 0]], strict=True)],
                "properties": [{"label-value": v, "area": n} for v, n in zip(values, [*counts, invalid], strict=True)],
                "source": {"image": "../../"},
            },
        }
    }


# ------------------------------------------------------------ how large a pixel is, as files say

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
_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b[^>]*>")
_APERIO_MPP = re.compile(r"\bMPP\s*=\s*([0-9.]+)")
_TURNED = range(5, 9)  # values of TIFF's orientation that exchange rows and columns


class PixelSize(NamedTuple):
    """The sides of a pixel of the image as a person sees it, and their unit as OME-Zarr names it (``micrometer``)."""

    y: float
    x: float
    unit: str


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
