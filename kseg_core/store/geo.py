"""Where an image is on the ground: CRS and affine transform, from GeoTIFF tags to CF conventions.

Reading needs rasterio (the ``geo`` extra), which knows every way GeoTIFF tags are written; what was read is kept and
used without it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import storage

GRID_MAPPING = "spatial_ref"  # the name rioxarray and GDAL look for
_PLACED = (33550, 33922, 34264)  # ModelPixelScale, ModelTiepoint, ModelTransformation
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class GeoReference:
    """CRS and transform of an image.

    Parameters
    ----------
    crs_wkt
        The coordinate reference system as WKT 2; empty where it is not known.
    transform
        (a, b, c, d, e, f): x = a column + b row + c and y = d column + e row + f, at the corners of pixels.
    """

    crs_wkt: str
    transform: tuple[float, float, float, float, float, float]

    @property
    def is_rotated(self) -> bool:
        """Whether rows and columns are not those of the coordinate system: there are no coordinates of an axis."""
        return bool(self.transform[1] or self.transform[3])

    @property
    def is_geographic(self) -> bool:
        """Whether coordinates are degrees of longitude and latitude."""
        return self.crs_wkt.startswith(("GEOG", "GEODCRS"))

    @property
    def resolution(self) -> tuple[float, float]:
        """(y, x): the sides of a pixel, in units of the coordinate system; never negative."""
        a, b, _, d, e, _ = self.transform
        return float(np.hypot(b, e)), float(np.hypot(a, d))

    def at_level(self, level: int) -> GeoReference:
        """The same of an image halved so many times: the corner stays, pixels grow."""
        a, b, c, d, e, f = self.transform
        step = float(1 << level)
        return GeoReference(self.crs_wkt, (a * step, b * step, c, d * step, e * step, f))

    def coordinates(self, shape: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
        """``y`` and ``x`` of pixel centres, float64; none where the image is rotated."""
        if self.is_rotated:
            return {}
        a, _, c, _, e, f = self.transform
        height, width = shape
        rows, columns = (np.arange(size, dtype=np.float64) + 0.5 for size in (height, width))
        return {"y": np.asarray(f + e * rows), "x": np.asarray(c + a * columns)}

    def attributes(self) -> dict[str, Any]:
        """Of the grid mapping variable, after CF and rioxarray."""
        a, b, c, d, e, f = self.transform
        named = {"grid_mapping_name": "latitude_longitude"} if self.is_geographic else {}
        crs = {"crs_wkt": self.crs_wkt, "spatial_ref": self.crs_wkt} if self.crs_wkt else {}
        return {**named, **crs, "GeoTransform": " ".join(map(repr, (c, a, b, f, d, e)))}

    def axis_attributes(self) -> dict[str, dict[str, str]]:
        """Of the coordinates ``y`` and ``x``, after CF."""
        if self.is_geographic:
            return {
                "y": {"axis": "Y", "standard_name": "latitude", "units": "degrees_north"},
                "x": {"axis": "X", "standard_name": "longitude", "units": "degrees_east"},
            }
        if self.crs_wkt.startswith("PROJ"):
            return {
                "y": {"axis": "Y", "standard_name": "projection_y_coordinate"},
                "x": {"axis": "X", "standard_name": "projection_x_coordinate"},
            }
        return {"y": {"axis": "Y"}, "x": {"axis": "X"}}

    @classmethod
    def from_attributes(cls, attributes: dict[str, Any]) -> GeoReference | None:
        """What `attributes` gave; None where that cannot be read."""
        try:
            c, a, b, f, d, e = (float(value) for value in str(attributes["GeoTransform"]).split())
        except (KeyError, ValueError):
            return None
        return cls(str(attributes.get("crs_wkt", "")), (a, b, c, d, e, f))


def has_georeference(path: str) -> bool:
    """Whether a file has tags that place it on the ground, found without rasterio: its lack is then worth a warning."""
    import tifffile

    from kseg_core.images.tiff import silenced  # the images' modules need not be loaded for what was read before

    try:
        with storage.open_file(path) as file, silenced(), tifffile.TiffFile(file) as tiff:
            return any(code in tiff.pages.first.tags for code in _PLACED)
    except Exception:  # no TIFF, or a damaged one: what it is, is found out where its pixels are read
        return False


def can_read_georeference() -> bool:
    """Whether rasterio is installed (``pip install 'kseg-batch[geo]'``)."""
    return importlib.util.find_spec("rasterio") is not None


def read_georeference(path: str) -> GeoReference | None:
    """The georeference of a GeoTIFF.

    Returns
    -------
    None where the file has none (ground control points alone are none) or cannot be read, and without rasterio.
    """
    if not has_georeference(path):
        return None
    try:
        import rasterio  # type: ignore[import-untyped, import-not-found, unused-ignore]
        from rasterio.errors import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            NotGeoreferencedWarning,
            RasterioError,
        )
    except ImportError:
        return None
    logging.getLogger("rasterio").setLevel(logging.CRITICAL + 1)  # what matters here is told by our own messages
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    try:
        # GDAL has credentials of its own: an object is read through us, no more of it than is needed.
        here = not storage.is_remote(path)
        how = {} if here else {"opener": lambda *_, **__: storage.open_file(path)}
        with rasterio.open(os.path.abspath(path) if here else "object.tif", driver="GTiff", **how) as dataset:
            a, b, c, d, e, f = tuple(map(float, dataset.transform))[:6]
            crs = "" if dataset.crs is None else str(dataset.crs.to_wkt(version="WKT2_2019"))
    except (RasterioError, OSError, ValueError):
        return None
    transform = (a, b, c, d, e, f)
    if transform == _IDENTITY or not np.isfinite(transform).all() or not (a * e - b * d):
        return None
    return GeoReference(crs, transform)
