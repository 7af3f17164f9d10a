"""Cloud-optimised GeoTIFFs, by rasterio."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from kseg_core.errors import StoreError
from kseg_core.images.gdal import gdal
from kseg_core.images.geo import GeoReference
from kseg_core.inputs.passed_over import SOFTWARE
from kseg_core.release import version

from .drawing import Drawing, windows
from .tiff import SIDE, as_shades


def write_geotiff(path: str, drawing: Drawing, geo: GeoReference, scratch: str) -> None:
    """Write a picture with its place on the ground: Deflate, tiles of 512, overviews, cloud-optimised.

    Black and white becomes 0 and 255. Labels have a colour table (up to 254 clusters) and nodata.

    GDAL lays such a file out from a complete one only, so there is first a plain one in ``scratch``.

    Parameters
    ----------
    path
        Of the file.
    drawing
        The picture.
    geo
        Where it is.
    scratch
        A folder that is there, for a file of the same size.

    Raises
    ------
    UnreadableImage, StoreError
        As reading the picture does; also if the coordinate system is not one.
    OSError
        If the file cannot be written.
    """
    plain = os.path.join(scratch, "plain.tif")
    overviews = "NEAREST" if drawing.flat else "AVERAGE"
    with gdal("GeoTIFF", _not_written) as rasterio:
        import rasterio.shutil as files  # type: ignore[import-untyped, import-not-found, unused-ignore]

        with rasterio.open(plain, "w", **_profile(drawing, geo)) as target:
            target.update_tags(TIFFTAG_SOFTWARE=f"{SOFTWARE} {version()}")
            if drawing.palette is not None:
                colors = {j: (*map(int, color), 255) for j, color in enumerate(drawing.palette)}
                target.write_colormap(1, colors | {int(drawing.nodata or 0): (0, 0, 0, 0)})
            for rows, columns, window in windows(drawing, SIDE):
                part = as_shades(window)
                bands = np.moveaxis(part, -1, 0) if drawing.channels else part[None]
                target.write(bands, window=((rows.start, rows.stop), (columns.start, columns.stop)))
        files.copy(
            plain,
            path,
            driver="COG",
            compress="DEFLATE",
            predictor="NO" if drawing.flat else "YES",
            blocksize=SIDE,
            bigtiff="IF_SAFER",
            overviews="AUTO",
            resampling=overviews,
            overview_resampling=overviews,
        )


def _profile(drawing: Drawing, geo: GeoReference) -> dict[str, Any]:
    """What rasterio is told of the plain file."""
    from rasterio.crs import CRS  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from rasterio.transform import Affine  # type: ignore[import-untyped, import-not-found, unused-ignore]

    height, width = drawing.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": max(1, drawing.channels),
        "dtype": "uint8" if drawing.dtype == "bool" else drawing.dtype,
        "crs": CRS.from_wkt(geo.crs_wkt) if geo.crs_wkt else None,
        "transform": Affine(*geo.transform),
        "nodata": drawing.nodata,
        "tiled": True,
        "blockxsize": SIDE,
        "blockysize": SIDE,
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "IF_SAFER",
    }
    if drawing.channels:
        profile |= {"photometric": "RGB", "interleave": "pixel"}
    if drawing.channels == 4:
        profile["alpha"] = "YES"
    return profile


def _not_written(error: Exception) -> Exception:
    """What GDAL cannot do is an `OSError`, a coordinate system that is none a `StoreError`."""
    from rasterio.errors import CRSError  # type: ignore[import-untyped, import-not-found, unused-ignore]

    if isinstance(error, CRSError):
        return StoreError("its coordinate reference system is not understood")
    return OSError(str(error))
