"""Where an image is on the ground: CRS and affine transform, from the file and what lies beside it to CF conventions.

rasterio knows every way they are written: GeoTIFF tags, world files (``.tfw``, ``.jgw``, ``.wld``, ...), GDAL's
``.aux.xml``, ground control points. It is imported only for files that have such tags, or such a file beside them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.images.decoder import Decoder
from kseg_core.images.formats import decoder_named
from kseg_core.images.gdal import gdal
from kseg_core.images.raster import Refused
from kseg_core.images.vrt import OPTIONS, Vrt, check_sources
from kseg_core.images.windows import TURNS
from kseg_core.inputs.companions import METADATA, world_files

GRID_MAPPING = "spatial_ref"  # the name rioxarray and GDAL look for
_MOST_OFF_PX = 0.5  # an affine transform stands for ground control points that are all as near to it
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_UNPLACED = "it is not placed on the ground"
Transform: TypeAlias = tuple[float, float, float, float, float, float]


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
    transform: Transform

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
        y, x = {"axis": "Y"}, {"axis": "X"}
        if self.is_geographic:
            y |= {"standard_name": "latitude", "units": "degrees_north"}
            x |= {"standard_name": "longitude", "units": "degrees_east"}
        elif self.crs_wkt.startswith("PROJ"):
            y |= {"standard_name": "projection_y_coordinate"}
            x |= {"standard_name": "projection_x_coordinate"}
        return {"y": y, "x": x}

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
    """What a file, and those beside it, say of where it is (None: nowhere), and what there is to say of that."""

    geo: GeoReference | None = None
    notes: tuple[str, ...] = ()


NOWHERE = Place()


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
        Of a TIFF whose page has tags that place it: the offset of its directory, 0 for the first; None: it has none.
    seen
        Gives the orientation (1 to 8) and the shape as stored of an image that may be turned to be seen; asked only
        where the image has a place.
    stated
        As `PictureInfo.crs_stated`.
    """
    world, has_metadata = _beside(path)
    decoder = Vrt if form == Vrt.name else decoder_named(form)
    if directory is None and not world and not has_metadata and not (decoder and decoder.only_gdal_finds_place):
        return NOWHERE
    try:
        place = _by_rasterio(path, decoder, directory or 0) if decoder and decoder.gdal_driver else NOWHERE
    except (Refused, OSError) as error:
        if directory is None and not world and not has_metadata:
            return NOWHERE  # it need not say anything of the kind
        place = Place(None, (f"where it is on the ground cannot be read ({error})",))
    if place == NOWHERE and world:
        place = _by_world_file(world)
    geo, notes = place.geo, place.notes
    if geo is None:
        return place
    if not geo.crs_wkt and (wkt := _of_prj(path)):
        geo = GeoReference(wkt, geo.transform)
    if not geo.crs_wkt:
        how = f"its world file {os.path.basename(world)}" if world else "its transform"
        lost = f"its coordinate system is not understood ({stated})" if stated else "no coordinate system is stated"
        notes += (f"placed by {how}, but {lost}: polygons are in the image's own coordinates",)
    elif geo.crs_wkt.startswith("ENGCRS"):
        which = f" ({stated})" if stated else ""
        notes += (f"its coordinate system{which} is a local one: it has no longitude and latitude",)
    return Place(geo if seen is None else _turned(geo, *seen()), notes)


def _beside(path: str) -> tuple[str, bool]:
    """The world file next to an image, empty where there is none, and whether GDAL's metadata are there."""
    if storage.is_remote(path):
        return "", False  # each look would be a request
    folder, name = os.path.split(path)
    names = (os.path.join(folder, each) for each in world_files(name))
    return next(filter(os.path.isfile, names), ""), os.path.isfile(path + METADATA)


def _by_rasterio(path: str, decoder: type[Decoder], directory: int) -> Place:
    # GDAL has credentials of its own: an object is read through us, no more of it than is needed.
    here = not storage.is_remote(path)
    how: dict[str, Any] = {} if here else {"opener": lambda *_, **__: storage.open_file(path)}
    name = os.path.abspath(path) if here else "object.tif"
    if directory and not here:
        return Place(None, ("where a page that is not the first is on the ground is read on a disk only: copy it",))
    if directory:
        name = f"GTIFF_DIR:off:{directory}:{name}"
    options: dict[str, Any] = {}
    if decoder is Vrt:
        check_sources(name)
        options = dict(OPTIONS)
    with (
        gdal(decoder.name, GDAL_DISABLE_READDIR_ON_OPEN="TRUE", **options) as rasterio,
        rasterio.open(name, driver=decoder.gdal_driver, **how) as dataset,
    ):
        transform, crs = _six(dataset.transform), _wkt(dataset.crs)
        points, crs_of_points = dataset.gcps
        if transform == _IDENTITY and points:
            return _of_points(points, _wkt(crs_of_points) or crs, rasterio)
    if transform == _IDENTITY:
        lost = f"it states a coordinate system, but not where its pixels are: {_UNPLACED}"
        return Place(None, (lost,) if crs else ())
    if not _is_usable(transform):
        return Place(None, (f"its transform has no inverse: {_UNPLACED}",))
    return Place(GeoReference(crs, transform))


def _wkt(crs: Any) -> str:
    return "" if crs is None else str(crs.to_wkt(version="WKT2_2019"))


def _six(transform: Any) -> Transform:
    a, b, c, d, e, f = tuple(map(float, transform))[:6]
    return a, b, c, d, e, f


def _is_usable(transform: Transform) -> bool:
    a, b, _, d, e, _ = transform
    return bool(np.isfinite(transform).all() and a * e - b * d)


def _of_points(points: Any, crs: str, rasterio: Any) -> Place:
    """The affine transform that ground control points come to, as rasterio finds it; none where they bend."""
    from rasterio.transform import from_gcps

    many = f"its {len(points)} ground control points"
    transform: Transform | None = None
    with suppress(rasterio.errors.RasterioError, ValueError):
        transform = _six(from_gcps(points))
    if transform is None or not _is_usable(transform):
        return Place(None, (f"{many} come to no transform: {_UNPLACED}",))
    a, b, c, d, e, f = transform
    column, row, x, y = np.array([(point.col, point.row, point.x, point.y) for point in points], np.float64).T
    x, y = a * column + b * row + c - x, d * column + e * row + f - y
    off = float(np.hypot(e * x - b * y, a * y - d * x).max() / abs(a * e - b * d))
    if off > _MOST_OFF_PX:
        advice = f"{_UNPLACED}; warp it first, e.g. with gdalwarp"
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
    return Place(None, (f"its world file {os.path.basename(path)} cannot be read: {_UNPLACED}",))


def _of_prj(path: str) -> str:
    """The coordinate system of a ``.prj`` file beside an image; empty where there is none that is understood."""
    if storage.is_remote(path):
        return ""
    stem = os.path.splitext(path)[0]
    for name in filter(os.path.isfile, (f"{stem}.prj", f"{stem}.PRJ")):
        with (
            suppress(OSError, UnicodeDecodeError, Refused),
            open(name, encoding="utf-8") as file,
            gdal("coordinate system") as rasterio,
        ):
            return _wkt(rasterio.crs.CRS.from_wkt(file.read(1 << 16)))
    return ""


def _turned(geo: GeoReference, orientation: int, stored: tuple[int, int]) -> GeoReference:
    """The georeference of stored pixels as one of those that a person sees."""
    if orientation == 1:
        return geo
    reverse_rows, reverse_columns, swap = TURNS[orientation]
    down, right = 1 - 2 * reverse_rows, 1 - 2 * reverse_columns
    # A place (x, y) that is seen is stored at (ux x + vx y + x0, uy x + vy y + y0).
    ux, vx, uy, vy = (0, right, down, 0) if swap else (right, 0, 0, down)
    x0, y0 = stored[1] * reverse_columns, stored[0] * reverse_rows
    a, b, c, d, e, f = geo.transform
    turned = (a * ux + b * uy, a * vx + b * vy, a * x0 + b * y0 + c)
    return GeoReference(geo.crs_wkt, (*turned, d * ux + e * uy, d * vx + e * vy, d * x0 + e * y0 + f))
