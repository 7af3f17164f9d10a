"""Where an image is on the ground: CRS and affine transform, from the file and what lies beside it to CF conventions.

rasterio knows every way they are written: GeoTIFF tags, world files (``.tfw``, ``.jgw``, ``.wld``, ...), GDAL's
``.aux.xml``, ground control points. It is imported only for files that have such tags, or such a file beside them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..inputs.companions import world_files
from . import vrt_sources
from .gdal import gdal
from .raster import Refused
from .windows import Window, stored_window

GRID_MAPPING = "spatial_ref"  # the name rioxarray and GDAL look for
#: Of TIFF tags: ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory.
PLACED_TAGS = frozenset({33550, 33922, 34264, 34735})
GEO_KEYS = 34735  # GeoKeyDirectory
_KEY = 4  # numbers of each
_CRS_KEYS = (3072, 2048)  # ProjectedCRSGeoKey, GeodeticCRSGeoKey
_EPSG_CODES = range(1024, 32767)  # as OGC 19-008r4 has them; beyond are a file's own
#: GDAL's names of the formats that may have a world file or an ``.aux.xml`` beside them.
_DRIVERS = {
    "TIFF": "GTiff", "JPEG": "JPEG", "PNG": "PNG", "BMP": "BMP", "GIF": "GIF", "WebP": "WEBP",
    "JPEG 2000": "JP2OpenJPEG", "VRT": "VRT",
}  # fmt: skip
_INSIDE = frozenset({"JPEG 2000", "VRT"})  # formats that may hold it where only GDAL looks
_MOST_OFF_PX = 0.5  # an affine transform stands for ground control points that are all as near to it
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


@dataclass(frozen=True, slots=True)
class Place:
    """What a file, and those beside it, say of where it is.

    Parameters
    ----------
    geo
        None where it is not placed.
    notes
        What there is to say of that, a line each.
    """

    geo: GeoReference | None = None
    notes: tuple[str, ...] = ()


NOWHERE = Place()


def beside(path: str) -> list[str]:
    """Files next to an image that may say where it is, those that are there: world files, ``.aux.xml``, ``.prj``."""
    if storage.is_remote(path):
        return []  # each look would be a request
    folder, name = os.path.split(path)
    there = [os.path.join(folder, each) for each in (*world_files(name), f"{name}.aux.xml")]
    return [each for each in there if os.path.isfile(each)]


def crs_stated(keys: object) -> str:
    """Say what GeoKeys state as the coordinate system, for a line where nobody understands it; empty: they state none.

    Parameters
    ----------
    keys
        The values of tag `GEO_KEYS`, of any form; None: there is none.
    """
    if keys is None:
        return ""
    damaged = "its GeoKeys are damaged"
    if not isinstance(keys, tuple) or len(keys) < _KEY or len(keys) != _KEY * (1 + keys[3]):
        return damaged
    codes = {keys[at]: keys[at + 3] for at in range(_KEY, len(keys), _KEY) if keys[at + 1] == 0}
    for key in _CRS_KEYS:
        if key in codes:
            code = codes[key]
            return f"it states EPSG:{code}" if code in _EPSG_CODES else "it states one of its own"
    return ""


def read_place(
    path: str,
    form: str,
    directory: int | None = None,
    seen: Callable[[], tuple[int, tuple[int, int]]] | None = None,
    stated: str = "",
) -> Place:
    """Read where an image is on the ground.

    Parameters
    ----------
    path
        Of the file.
    form
        Its format, as `PictureInfo` has it.
    directory
        Of a TIFF whose page has tags of `PLACED_TAGS`: the offset of its directory, 0 for the first; None: it has none.
    seen
        Gives the orientation (1 to 8) and the shape as stored of an image that may be turned to be seen; asked only
        where the image has a place.
    stated
        As `crs_stated` gives it.
    """
    sides = beside(path)
    if directory is None and not sides and form not in _INSIDE:
        return NOWHERE
    world = [side for side in sides if not side.endswith(".aux.xml")]
    try:
        found = _by_rasterio(path, form, directory or 0) if form in _DRIVERS else None
    except (Refused, OSError) as error:
        if directory is None and not sides:
            return NOWHERE  # it need not say anything of the kind
        found = Place(None, (f"where it is on the ground cannot be read ({error})",))
    if found is None or (found.geo is None and not found.notes):
        found = _by_world_file(world[0]) if world else NOWHERE
    geo = found.geo
    if geo is None:
        return found
    if not geo.crs_wkt and (wkt := _of_prj(path)):
        geo = GeoReference(wkt, geo.transform)
    notes = found.notes
    if not geo.crs_wkt:
        how = f"its world file {os.path.basename(world[0])}" if world else "its transform"
        lost = f"its coordinate system is not understood ({stated})" if stated else "no coordinate system is stated"
        notes += (f"placed by {how}, but {lost}: polygons are in the image's own coordinates",)
    elif geo.crs_wkt.startswith("ENGCRS"):
        which = f" ({stated})" if stated else ""
        notes += (f"its coordinate system{which} is a local one: it has no longitude and latitude",)
    if seen is not None:
        geo = _turned(geo, *seen())
    return Place(geo, notes)


def _by_rasterio(path: str, form: str, directory: int) -> Place:
    """What GDAL says."""
    # GDAL has credentials of its own: an object is read through us, no more of it than is needed.
    here = not storage.is_remote(path)
    how: dict[str, Any] = {} if here else {"opener": lambda *_, **__: storage.open_file(path)}
    name = os.path.abspath(path) if here else "object.tif"
    if directory and not here:
        return Place(None, ("where a page that is not the first is on the ground is read on a disk only: copy it",))
    if directory:
        name = f"GTIFF_DIR:off:{directory}:{name}"
    options: dict[str, Any] = {}
    if form == vrt_sources.NAME:
        vrt_sources.check(name)
        options = dict(vrt_sources.OPTIONS)
    with (
        gdal(form, GDAL_DISABLE_READDIR_ON_OPEN="TRUE", **options) as rasterio,
        rasterio.open(name, driver=_DRIVERS[form], **how) as dataset,
    ):
        transform = _six(dataset.transform)
        crs = "" if dataset.crs is None else str(dataset.crs.to_wkt(version="WKT2_2019"))
        points, crs_of_points = dataset.gcps
        if transform == _IDENTITY and points:
            wkt = "" if crs_of_points is None else str(crs_of_points.to_wkt(version="WKT2_2019"))
            return _of_points(points, wkt or crs, rasterio)
    if transform == _IDENTITY:
        lost = "it states a coordinate system, but not where its pixels are: it is not placed on the ground"
        return Place(None, (lost,) if crs else ())
    if not _is_usable(transform):
        return Place(None, ("its transform has no inverse: it is not placed on the ground",))
    return Place(GeoReference(crs, transform))


def _six(transform: Any) -> tuple[float, float, float, float, float, float]:
    a, b, c, d, e, f = tuple(map(float, transform))[:6]
    return a, b, c, d, e, f


def _is_usable(transform: tuple[float, ...]) -> bool:
    a, b, _, d, e, _ = transform
    return bool(np.isfinite(transform).all() and a * e - b * d)


def _of_points(points: Any, crs: str, rasterio: Any) -> Place:
    """The affine transform that ground control points come to, as rasterio finds it; none where they bend."""
    from rasterio.transform import from_gcps  # type: ignore[import-untyped, import-not-found, unused-ignore]

    many = f"its {len(points)} ground control points"
    try:
        transform = _six(from_gcps(points))
    except (rasterio.errors.RasterioError, ValueError):
        return Place(None, (f"{many} come to no transform: it is not placed on the ground",))
    if not _is_usable(transform):
        return Place(None, (f"{many} come to no transform: it is not placed on the ground",))
    a, b, c, d, e, f = transform
    off = 0.0
    for point in points:
        x, y = a * point.col + b * point.row + c - point.x, d * point.col + e * point.row + f - point.y
        scale = a * e - b * d
        off = max(off, float(np.hypot((e * x - b * y) / scale, (a * y - d * x) / scale)))
    if off > _MOST_OFF_PX:
        advice = "it is not placed on the ground; warp it first, e.g. with gdalwarp"
        return Place(None, (f"{many} are up to {off:.1f} pixels off any affine transform: {advice}",))
    return Place(GeoReference(crs, transform), (f"placed by {many}",))


def _by_world_file(path: str) -> Place:
    """A world file, for formats that GDAL does not read here: six numbers, of the middle of the first pixel."""
    with suppress(OSError, ValueError):
        with open(path, "rb") as file:
            a, d, b, e, x, y = (float(number) for number in file.read(1 << 10).split()[:6])
        transform = (a, b, x - (a + b) / 2, d, e, y - (d + e) / 2)
        if _is_usable(transform):
            return Place(GeoReference("", transform))
    return Place(None, (f"its world file {os.path.basename(path)} cannot be read: it is not placed on the ground",))


def _of_prj(path: str) -> str:
    """The coordinate system of a ``.prj`` file beside an image; empty where there is none that is understood."""
    if storage.is_remote(path):
        return ""
    stem = os.path.splitext(path)[0]
    for name in (f"{stem}.prj", f"{stem}.PRJ"):
        if not os.path.isfile(name):
            continue
        with suppress(OSError, UnicodeDecodeError, Refused):
            with open(name, encoding="utf-8") as file:
                text = file.read(1 << 16)
            with gdal("coordinate system") as rasterio:
                return str(rasterio.crs.CRS.from_wkt(text).to_wkt(version="WKT2_2019"))
    return ""


def _turned(geo: GeoReference, orientation: int, stored: tuple[int, int]) -> GeoReference:
    """The georeference of stored pixels as one of those that a person sees."""
    if orientation == 1:
        return geo
    a, b, c, d, e, f = geo.transform
    corners = {}
    for name, (row, column) in {"origin": (0, 0), "right": (0, 1), "down": (1, 0)}.items():
        window = stored_window(Window(row, column, row + 1, column + 1), stored, orientation)
        corners[name] = (window.left + 0.5, window.top + 0.5)  # middles of pixels stay such, whatever is turned
    (x, y), (right_x, right_y), (down_x, down_y) = (corners[name] for name in ("origin", "right", "down"))
    ux, uy, vx, vy = right_x - x, right_y - y, down_x - x, down_y - y
    x, y = x - (ux + vx) / 2, y - (uy + vy) / 2
    return GeoReference(
        geo.crs_wkt,
        (a * ux + b * uy, a * vx + b * vy, a * x + b * y + c, d * ux + e * uy, d * vx + e * vy, d * x + e * y + f),
    )
