"""Polygons that users give, as masks or with classes, in any vector format that GDAL reads.

Of polygons a pixel counts where its centre is within one. Where they lie:

- the image has a coordinate system: theirs is transformed into it. A GeoJSON without a ``crs`` member is WGS 84 (RFC
  7946); another file that states none is in the image's.
- the image has none: they are in pixels, x to the right and y down from the image's upper left corner as a person sees
  it, or in the units of the image's transform where it has one. A file that states a coordinate system is refused.

They are drawn tile by tile of a grid that is the same for every window, so that rounding is, too.
"""

from __future__ import annotations

import json
import os
import sqlite3
import warnings
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.images.failures import refusing
from kseg_core.images.gdal import gdal
from kseg_core.images.geo import GeoReference
from kseg_core.images.raster import Refused
from kseg_core.images.windows import Window
from kseg_core.inputs.keys import printable_source

POLYGON_SUFFIXES = frozenset(
    {"geojson", "json", "geojsonl", "geojsons", "topojson", "shp", "shz", "gpkg", "fgb", "kml", "gml", "parquet"}
)

_NAME = "polygons"
_GRID_PX = 2048  # the side of what is drawn at once: four megabytes
_POLYGONS = (3, 6)  # shapely's types of polygons and of several of them
_GEOJSON_TYPES = {
    "Feature", "FeatureCollection", "Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon",
    "GeometryCollection", "Topology",
}  # fmt: skip
_JSON = frozenset({"geojson", "json"})
_GPKG_NONE = (-1, 0, 99999)  # its ids of undefined systems; the last is GDAL's
_PRJ = ("prj", "PRJ")
_OGC = "http://www.opengis.net/def/crs/"
_CRS_UNKNOWN = "the coordinate system that it states is not understood"


def is_polygons(path: str) -> bool:
    """Say by its name whether a mask is one of polygons."""
    return path.rstrip("/").rpartition(".")[2].lower() in POLYGON_SUFFIXES


@dataclass(frozen=True, slots=True)
class Polygons:
    """What a file holds: shapely's polygons, flat, and the coordinate system that it states.

    Where it states none that is empty, which in GeoJSON stands for WGS 84. ``texts``: of each polygon what the
    attribute that was asked for says of its feature, empty where nothing.
    """

    shapes: NDArray[Any]
    crs: str
    is_json: bool
    texts: tuple[str, ...] = ()


def read_polygons(path: str, attributes: tuple[str, ...] = ()) -> Polygons:
    """Read the polygons of a mask, of all its layers; points and lines have no pixels and are left out.

    Parameters
    ----------
    attributes
        Whose values are read as well: the first of these that a layer has.

    Raises
    ------
    UnreadableImage
        Naming the mask, where it cannot be read, has no polygon, or none of the attributes.
    """
    with refusing(path, _NAME):
        status = storage.stat(path)
        return _polygons(path, status.st_size, status.st_mtime_ns, attributes)


@lru_cache(maxsize=4)
def _polygons(path: str, _size: int, _modified: int, attributes: tuple[str, ...] = ()) -> Polygons:
    import pyogrio
    import shapely

    # What GDAL remarks of a file that it reads is none of a terminal's.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"pyogrio\.")
    remote = storage.is_remote(path)
    if remote and path.lower().endswith(".shp"):
        raise Refused("a shapefile is several files: give a GeoPackage or GeoJSON there")
    data: Any = storage.read(path) if remote else os.path.abspath(path)
    shapes, systems, texts = [], set(), list[str]()
    try:
        for number, (_, kind) in enumerate(pyogrio.list_layers(data)):
            if kind is None:  # a table
                continue
            meta, _, geometry, values = pyogrio.raw.read(data, layer=number, columns=[*attributes], force_2d=True)
            there = np.flatnonzero(geometry != None)  # noqa: E711 - an array's elements
            with np.errstate(invalid="ignore"):  # of corners that are NaN, which are refused below
                parts, owners = shapely.get_parts(shapely.from_wkb(geometry[there]), return_index=True)
            parts, again = shapely.get_parts(parts, return_index=True)  # of collections
            wanted = np.isin(shapely.get_type_id(parts), _POLYGONS) & ~shapely.is_empty(parts)
            polygons, owners = parts[wanted], there[owners[again[wanted]]]
            if len(polygons):
                shapes.append(polygons)
                systems.add(meta["crs"] or "")
                if attributes:
                    column = _column(dict(zip(meta["fields"], values, strict=True)), attributes, data, number)
                    texts += [as_text(value) for value in column[owners]]
    except pyogrio.errors.CRSError as error:
        raise Refused(_CRS_UNKNOWN) from error
    except (RuntimeError, shapely.errors.ShapelyError, ValueError) as error:  # RuntimeError: pyogrio's own
        raise Refused(f"no polygons can be read from it: {_why_unread(path)}") from error
    if not shapes:
        raise Refused("it has no polygon, so no pixel would count")
    if len(systems) > 1:
        raise Refused("its layers are of several coordinate systems: give one of them in a file of its own")
    whole = np.concatenate(shapes)
    if not np.isfinite(shapely.get_coordinates(whole)).all():
        raise Refused("damaged: corners of its polygons are NaN or infinite")
    if path.rpartition(".")[2].lower() in _JSON:
        crs = _crs_of_json(path)
        return Polygons(whole, crs, not crs, tuple(texts))
    crs = systems.pop()
    if not crs and _states_crs(path):
        raise Refused(_CRS_UNKNOWN)
    return Polygons(whole, crs, False, tuple(texts))


def _column(
    columns: dict[str, NDArray[Any]], attributes: tuple[str, ...], data: Any, layer: int
) -> NDArray[np.object_]:
    """Return the values of the first attribute that is there."""
    import pyogrio

    for name in attributes:
        if name in columns:
            return np.asarray(columns[name], np.object_)
    fields = ", ".join(map(str, pyogrio.read_info(data, layer=layer)["fields"]))
    there = f"it has: {printable_source(fields)}; name one with --attribute" if fields else "it has none"
    raise Refused(f"its polygons have no attribute {attributes[0]!r}; {there}")


def as_text(value: Any) -> str:
    """Return what an attribute's value says: whole numbers as such, of QuPath's classifications the name."""
    if value is None or value != value:  # NaN, as numbers that are not there are
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    if text.startswith("{"):
        with suppress(ValueError):
            document = json.loads(text)
            return str(document.get("name", "")).strip() if isinstance(document, dict) else text
    return text


def _why_unread(path: str) -> str:
    """Say why a file that GDAL does not read holds no polygons, in words of ours: GDAL speaks of its own inside."""
    suffix = path.rpartition(".")[2].lower()
    if suffix in _JSON:
        try:
            document = json.loads(storage.read(path))
        except json.JSONDecodeError as error:
            return f"it is not valid JSON from line {error.lineno}, column {error.colno} on"
        except ValueError:
            return "it is not text in UTF-8, as GeoJSON is"
        if not isinstance(document, dict) or document.get("type") not in _GEOJSON_TYPES:
            return 'it is JSON, but no GeoJSON (its "type" is none of GeoJSON\'s)'
        return "its features or their coordinates are not as GeoJSON has them (RFC 7946)"
    if suffix == "shp" and not storage.exists(path[:-3] + "shx"):
        return "a shapefile has a .shx and a .dbf beside it, and the .shx is missing"
    return f"it is damaged, or not the .{suffix} that its name says; GeoJSON, shapefiles and GeoPackages are read"


def _crs_of_json(path: str) -> str:
    """Return what the ``crs`` member names that GDAL still writes, empty where there is none.

    GDAL takes a name that it does not know for WGS 84.
    """
    try:
        document = json.loads(storage.read(path))
    except ValueError:
        return ""  # GDAL reads one feature a line, too
    member = document.get("crs") if isinstance(document, dict) else None
    if not member:
        return ""
    properties = member.get("properties") if isinstance(member, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str) or ("://" in name and not name.startswith(_OGC)):  # which GDAL would ask a server for
        raise Refused(_CRS_UNKNOWN)
    try:
        with gdal(_NAME) as rasterio:
            return str(rasterio.crs.CRS.from_user_input(name).to_wkt())
    except Refused as error:
        raise Refused(f"{_CRS_UNKNOWN}: {printable_source(name)}") from error


def _states_crs(path: str) -> bool:
    """Say whether a file of which GDAL knows no coordinate system states one all the same."""
    stem, _, suffix = path.rpartition(".")
    if suffix.lower() == "shp":
        return any(storage.exists(f"{stem}.{name}") and storage.read(f"{stem}.{name}").strip() for name in _PRJ)
    if suffix.lower() == "gpkg":
        with closing(sqlite3.connect(":memory:")) as database:
            database.deserialize(storage.read(path))
            query = f"SELECT 1 FROM gpkg_geometry_columns WHERE srs_id NOT IN {_GPKG_NONE}"
            return database.execute(query).fetchone() is not None
    return suffix.lower() == "gml" and b"srsName" in storage.read(path)


class PolygonMask:
    """The polygons of a mask, where they are in an image.

    Parameters
    ----------
    path
        The mask.
    place
        Where the image is on the ground; None: it does not say.
    shape
        (height, width) of the image as a person sees it.

    Raises
    ------
    UnreadableImage
        Naming the mask, where it cannot be used.
    """

    def __init__(self, path: str, place: GeoReference | None, shape: tuple[int, int]) -> None:
        self._draw(path, read_polygons(path), place, shape)

    def _draw(self, path: str, polygons: Polygons, place: GeoReference | None, shape: tuple[int, int]) -> None:
        """Have these drawn, each as True."""
        import shapely

        self._path, self._shape = path, shape
        with refusing(path, _NAME):
            self._shapes = _in_pixels(polygons, place)
        self._bounds: NDArray[np.float64] = shapely.bounds(self._shapes)
        self._numbers: NDArray[Any] = np.ones(len(self._shapes), np.uint8)

    @property
    def touches(self) -> bool:
        """Whether a polygon lies in the image, as far as the boxes around them tell."""
        import shapely

        left, top, right, bottom = shapely.total_bounds(self._shapes)
        return bool(left < self._shape[1] and top < self._shape[0] and right > 0 and bottom > 0)

    def nonzero(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Return bool (height, width) of a window: where the centres of pixels are within a polygon.

        Raises
        ------
        UnreadableImage
            Naming the mask, where its polygons cannot be drawn.
        """
        return self._drawn(rows, columns).view(np.bool_)

    def _drawn(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return the numbers of the polygons of a window, 0 where there is none; of several the last."""
        window = Window(rows.start, columns.start, rows.stop, columns.stop)
        out = np.zeros(window.shape, self._numbers.dtype)
        for top in range(rows.start // _GRID_PX * _GRID_PX, rows.stop, _GRID_PX):
            for left in range(columns.start // _GRID_PX * _GRID_PX, columns.stop, _GRID_PX):
                tile = Window(top, left, min(top + _GRID_PX, self._shape[0]), min(left + _GRID_PX, self._shape[1]))
                with refusing(self._path, _NAME):
                    raster = self._rasterized(tile)
                if raster is not None:
                    here, there = window.shared_with(tile)
                    out[here] = raster[there]
        return out

    def _rasterized(self, tile: Window) -> NDArray[Any] | None:
        """Draw a tile of the grid; None where nothing is in it."""
        bounds = self._bounds
        near = (bounds[:, 0] < tile.right) & (bounds[:, 1] < tile.bottom)
        near &= (bounds[:, 2] > tile.left) & (bounds[:, 3] > tile.top)
        if not near.any():
            return None
        with gdal(_NAME):
            from rasterio.features import rasterize
            from rasterio.transform import Affine

            shift, numbers = Affine.translation(tile.left, tile.top), self._numbers
            burned = zip(self._shapes[near], numbers[near].tolist(), strict=True)
            raster: NDArray[Any] = rasterize(burned, tile.shape, transform=shift, dtype=numbers.dtype)
        return raster


class PolygonNumbers(PolygonMask):
    """Polygons of which each has a number, where they are in an image.

    Parameters
    ----------
    path, place, shape
        As of `PolygonMask`.
    polygons
        Of the file.
    numbers
        int32 (n,): of each polygon; of several at a pixel the last counts.
    """

    def __init__(
        self,
        path: str,
        place: GeoReference | None,
        shape: tuple[int, int],
        polygons: Polygons,
        numbers: NDArray[np.int32],
    ) -> None:
        self._draw(path, polygons, place, shape)
        self._numbers = numbers

    def numbers(self, rows: slice, columns: slice) -> NDArray[np.int32]:
        """Return int32 (height, width) of a window: the number of the polygon that a pixel's centre is in; 0: of none.

        Raises
        ------
        UnreadableImage
            Naming the file, where its polygons cannot be drawn.
        """
        return self._drawn(rows, columns)


def polygon_mask(path: str, place: GeoReference | None, shape: tuple[int, int]) -> PolygonMask:
    """Return the mask; parameters and errors as of `PolygonMask`. The last few are kept: each piece asks for one."""
    with refusing(path, _NAME):
        status = storage.stat(path)
        return _polygon_mask(path, status.st_size, status.st_mtime_ns, place, shape)


@lru_cache(maxsize=4)
def _polygon_mask(
    path: str, _size: int, _modified: int, place: GeoReference | None, shape: tuple[int, int]
) -> PolygonMask:
    return PolygonMask(path, place, shape)


def _in_pixels(polygons: Polygons, place: GeoReference | None) -> NDArray[Any]:
    """Return the polygons in the image's pixels.

    Raises
    ------
    Refused
        Where it cannot be said how they lie in it.
    """
    import shapely

    system = "" if place is None else place.crs_wkt
    shapes = polygons.shapes
    if not system and polygons.crs:
        raise Refused(
            "its polygons are on the ground, the image states no coordinate system; give them in the image's pixels, "
            "as GeoJSON"
        )
    theirs = polygons.crs or ("OGC:CRS84" if polygons.is_json else "")
    coordinates = shapely.get_coordinates(shapes)
    if system and theirs:
        coordinates = _transformed(coordinates, theirs, system)
    if place is not None:
        a, b, c, d, e, f = place.transform
        x, y = coordinates[:, 0] - c, coordinates[:, 1] - f
        area = a * e - b * d
        with np.errstate(over="ignore"):
            coordinates = np.stack([(e * x - b * y) / area, (a * y - d * x) / area], axis=1)
        if not np.isfinite(coordinates).all():
            raise Refused("its polygons reach too far beyond the image")
    return np.asarray(shapely.set_coordinates(shapes.copy(), coordinates))


def _transformed(coordinates: NDArray[np.float64], theirs: str, ours: str) -> NDArray[np.float64]:
    """Return the corners in another coordinate system; edges stay straight."""
    try:
        with gdal(_NAME):
            from rasterio.crs import CRS
            from rasterio.warp import transform

            source, target = CRS.from_user_input(theirs), CRS.from_user_input(ours)
            if source == target:
                return coordinates
            moved = np.stack(transform(source, target, coordinates[:, 0], coordinates[:, 1]), axis=1)
    except Refused as error:
        raise Refused("PROJ cannot bring its coordinate system to the image's: one of them is unusable") from error
    if not np.isfinite(moved).all():
        raise Refused("its polygons reach where the image's coordinate system is not defined")
    return moved
