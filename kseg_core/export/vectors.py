"""Outlines as GeoPackage and FlatGeobuf, in the image's own coordinate system: what GIS programs open as a layer.

Features are rows of a GeoPackage first, batch by batch as they are traced; GDAL then streams these into the file, whose
spatial index it makes at the end. So a batch, or one feature where that is larger, is all that is held.

References
----------
OGC 12-128r18 (GeoPackage 1.3); FlatGeobuf 3. Both are written by GDAL, with a fixed date, so that the same outlines are
the same bytes.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.errors import StoreError
from kseg_core.shapes.outlines import Outlines, whole_features

LAYER = "regions"
BATCH_CHARACTERS = 1 << 23  # of coordinates, of features that become rows at once
_BATCH_ROWS = 1 << 12  # that GDAL streams at once
_DATE = "1970-01-01T00:00:00.000Z"  # that a GeoPackage is said to be changed at
_DTYPES = {str: np.dtype(object), int: np.dtype(np.int64), float: np.dtype(np.float64)}


def write_geopackage(path: str, outlines: Outlines, _geo: None, scratch: str) -> None:
    """Write a GeoPackage; ``scratch`` is made.

    Raises
    ------
    StoreError
        If labels cannot be read, or the coordinate system is not one.
    OSError
        If the file cannot be written.
    """
    _write(path, outlines, scratch, "GPKG")


def write_flatgeobuf(path: str, outlines: Outlines, _geo: None, scratch: str) -> None:
    """Write a FlatGeobuf file, as `write_geopackage` does."""
    _write(path, outlines, scratch, "FlatGeobuf", TEMPORARY_DIR=scratch)


def _write(path: str, outlines: Outlines, scratch: str, driver: str, **layer_options: str) -> None:
    os.mkdir(scratch)
    rows = os.path.join(scratch, "rows.gpkg")
    with _by_gdal() as pyogrio:
        how = {"layer": LAYER, "geometry_type": "MultiPolygon", "crs": outlines.crs_wkt or None}
        for at, (geometries, columns) in enumerate(_batches(outlines)):
            pyogrio.raw.write(
                rows,
                geometries,
                list(columns.values()),
                list(columns),
                driver="GPKG",
                promote_to_multi=True,
                append=at > 0,
                layer_options={"SPATIAL_INDEX": "NO"},
                **how,
            )
        with pyogrio.raw.open_arrow(rows, batch_size=_BATCH_ROWS) as (facts, stream):
            named = facts["geometry_name"] or "geom"
            pyogrio.raw.write_arrow(
                stream, path, driver=driver, geometry_name=named, layer_options=layer_options or None, **how
            )


def _batches(outlines: Outlines) -> Iterator[tuple[NDArray[Any], dict[str, NDArray[Any]]]]:
    """Geometries as WKB and their columns; one batch at least, as a file without features has columns too."""
    texts, told, size, count = list[str](), list[dict[str, Any]](), 0, 0
    for properties, geometry in whole_features(outlines.features):
        texts.append(geometry)
        told.append(properties)
        size += len(geometry)
        if size >= BATCH_CHARACTERS:
            yield _rows(texts, told, outlines)
            texts, told, size, count = [], [], 0, count + 1
    if texts or not count:
        yield _rows(texts, told, outlines)


def _rows(texts: list[str], told: list[dict[str, Any]], outlines: Outlines) -> tuple[Any, dict[str, NDArray[Any]]]:
    import shapely

    geometries = shapely.to_wkb(shapely.from_geojson(np.array(texts, object)))
    columns = {name: np.array([each[name] for each in told], _DTYPES[kind]) for name, kind in outlines.columns.items()}
    of_pixel = outlines.area
    for name, area in (("area_m2", of_pixel.square_metres), ("area_um2", of_pixel.square_micrometres)):
        if area is not None:
            columns[name] = columns["pixels"] * area
    return geometries, columns


@contextmanager
def _by_gdal() -> Iterator[Any]:
    """Give pyogrio, with a date that does not change; what it cannot do is an `OSError`."""
    import pyogrio
    from pyogrio import errors

    warnings.filterwarnings("ignore", message="'crs' was not provided")  # pixels have none
    warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"pyogrio\.")
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
    try:
        yield pyogrio
    except errors.CRSError as error:
        raise StoreError("its coordinate reference system is not understood") from error
    except (errors.DataSourceError, errors.DataLayerError, errors.FeatureError, errors.FieldError) as error:
        raise OSError(str(error)) from error
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
