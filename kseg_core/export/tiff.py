"""Tiled TIFF files with overviews, written window by window: by tifffile, or cloud-optimised with a place, by rasterio.

Black and white becomes 0 and 255 in them: bits are read by few viewers of tiled TIFFs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from kseg_core.errors import StoreError
from kseg_core.images.gdal import gdal
from kseg_core.images.geo import GeoReference
from kseg_core.images.pixel_size import MICROMETRES
from kseg_core.layers.layer import ArraySpec
from kseg_core.layers.pyramid import mean_of_blocks
from kseg_core.layers.tiles import pyramid_levels
from kseg_core.products import SOFTWARE
from kseg_core.release import version
from kseg_core.store.nodes import create_array, open_for_writing

from .drawing import Drawing, windows

SIDE = 512  # of tiles
_BIG = (1 << 32) - (1 << 25)  # bytes of pixels above which a classic TIFF might overflow: the limit less its own tables


def write(path: str, drawing: Drawing, geo: GeoReference | None, scratch: str) -> None:
    """Write a picture, with its place on the ground where it has one; ``scratch`` is made."""
    os.mkdir(scratch)
    if geo is None:
        write_tiff(path, drawing, scratch)
    else:
        write_geotiff(path, drawing, scratch, geo)


def write_tiff(path: str, drawing: Drawing, scratch: str) -> None:
    """Write a picture: Deflate, tiles of 512, BigTIFF where it might need more than 4 GB, overviews as SubIFDs.

    Values with a palette become a palette image whose indices are the values. Each overview is made as the level above
    is written, and kept in ``scratch``, a folder with room for a third of the pixels; of few colours they hold the same
    ones. Resolution and its unit are those of a pixel whose size is known.

    Raises
    ------
    UnreadableImage, StoreError
        As reading the picture does.
    OSError
        If the file cannot be written.
    """
    height, width = drawing.shape
    dtype, channels = drawing.stored_dtype, (drawing.channels,) if drawing.channels else ()
    size = height * width * np.dtype(dtype).itemsize * max(1, drawing.channels) * 4 // 3
    levels = pyramid_levels(drawing.shape, SIDE)
    options = _options(drawing)
    with tifffile.TiffWriter(path, bigtiff=size > _BIG) as tiff:
        for level in range(levels):
            smaller = Overview(drawing, os.path.join(scratch, str(level + 1))) if level + 1 < levels else None
            tiff.write(
                _tiles(drawing, smaller),
                shape=(*drawing.shape, *channels),
                dtype=dtype,
                subifds=levels - 1 if level == 0 else None,
                subfiletype=int(level > 0),
                **_resolution(drawing, level),
                software=f"{SOFTWARE} {version()}" if level == 0 else False,
                **options,
            )
            if smaller is not None:
                drawing = smaller.drawing


def _options(drawing: Drawing) -> dict[str, Any]:
    options: dict[str, Any] = {"tile": (SIDE, SIDE), "compression": "zlib", "metadata": None, "maxworkers": 1}
    if drawing.channels:
        options |= {"photometric": "rgb", "predictor": not drawing.flat}
        return options | ({"extrasamples": ["unassalpha"]} if drawing.channels == 4 else {})
    if drawing.palette is None:
        return options | {"photometric": "minisblack"}
    colors = np.zeros((256, 3), np.uint16)
    colors[: len(drawing.palette)] = drawing.palette
    return options | {"photometric": "palette", "colormap": colors.T * np.uint16(257)}


def _resolution(drawing: Drawing, level: int) -> dict[str, Any]:
    """Pixels a centimetre, of a level, where the size of a pixel is known."""
    if drawing.pixel_size is None:
        return {}
    y, x, unit = drawing.pixel_size
    centimetres = MICROMETRES[unit] / MICROMETRES["centimeter"] * (1 << level)
    return {"resolution": (1 / (x * centimetres), 1 / (y * centimetres)), "resolutionunit": "CENTIMETER"}


class Overview:
    """A picture at half the size of a finer one, on disk in a folder that is made for it."""

    def __init__(self, finer: Drawing, folder: str) -> None:
        height, width = (-(-size // 2) for size in finer.shape)
        channels = (finer.channels,) if finer.channels else ()
        dtype = finer.stored_dtype
        chunks = (min(SIDE // 2, height), min(SIDE // 2, width), *channels)
        names = ("y", "x", "c")[: len(chunks)]
        create_array(folder, ArraySpec((height, width, *channels), chunks, dtype, 0, names))
        self._array = open_for_writing(folder)
        self.drawing = dataclasses.replace(finer, shape=(height, width), dtype=dtype, read=self._read, full_width=False)

    def _read(self, rows: slice, columns: slice) -> NDArray[Any]:
        return np.asarray(self._array[rows, columns])

    def fill(self, rows: slice, columns: slice, window: NDArray[Any]) -> None:
        """Take in a window of the finer picture, which begins at even numbers."""
        part = halved(window, average=not self.drawing.flat)
        top, left = rows.start // 2, columns.start // 2
        self._array[top : top + part.shape[0], left : left + part.shape[1]] = part


def _tiles(drawing: Drawing, smaller: Overview | None) -> Iterator[NDArray[Any]]:
    """The tiles in the order of the file; the overview is filled on the way."""
    for rows, columns, window in windows(drawing, SIDE):
        shades = _as_shades(window)
        if smaller is not None:
            smaller.fill(rows, columns, shades)
        for left in range(0, shades.shape[1], SIDE):
            yield np.ascontiguousarray(shades[:, left : left + SIDE])  # tifffile fills those at the edges up


def _as_shades(window: NDArray[Any]) -> NDArray[Any]:
    return window.view(np.uint8) * np.uint8(255) if window.dtype == np.bool_ else window


def halved(picture: NDArray[Any], *, average: bool) -> NDArray[Any]:
    """Half the size: the mean of what is visible of each 2 x 2 block, or the block's first pixel.

    Of uint8 (y, x), (y, x, 3), or (y, x, 4) with alpha, or of any dtype where it is not averaged: of labels, and
    pictures of a few colours, which are to have no others. (ceil(y / 2), ceil(x / 2), ...), of the same dtype.
    """
    if not average:
        return picture[::2, ::2]
    if picture.ndim == 2:
        return mean_of_blocks(picture)
    odd = [(0, size % 2) for size in picture.shape[:2]]
    blocks = np.pad(picture, [*odd, (0, 0)], mode="edge") if any(map(any, odd)) else picture
    parts = np.stack([blocks[top::2, left::2] for top in (0, 1) for left in (0, 1)]).astype(np.uint32)
    if picture.shape[2] == 3:
        return np.asarray((parts.sum(axis=0, dtype=np.uint32) + 2) >> 2, np.uint8)
    weights = parts[..., 3:]
    total = weights.sum(axis=0, dtype=np.uint32)
    mean: NDArray[Any] = ((parts[..., :3] * weights).sum(axis=0, dtype=np.uint32) + total // 2) // np.maximum(total, 1)
    return np.concatenate([mean, (total + 2) >> 2], axis=2).astype(np.uint8)


# ------------------------------------------------------------------------------------------------- with a place


def write_geotiff(path: str, drawing: Drawing, scratch: str, geo: GeoReference) -> None:
    """Write a picture with its place on the ground: Deflate, tiles of 512, overviews, cloud-optimised.

    Labels have a colour table (up to 254 clusters) and nodata. GDAL lays such a file out from a complete one only, so
    there is first a plain one in ``scratch``, of the same size.

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
        import rasterio.shutil as files

        with rasterio.open(plain, "w", **_profile(drawing, geo)) as target:
            target.update_tags(TIFFTAG_SOFTWARE=f"{SOFTWARE} {version()}")
            if drawing.palette is not None:
                colors = {j: (*map(int, color), 255) for j, color in enumerate(drawing.palette)}
                target.write_colormap(1, colors | {int(drawing.nodata or 0): (0, 0, 0, 0)})
            for rows, columns, window in windows(drawing, SIDE):
                part = _as_shades(window)
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
    from rasterio.crs import CRS
    from rasterio.transform import Affine

    height, width = drawing.shape
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": max(1, drawing.channels),
        "dtype": drawing.stored_dtype,
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
    from rasterio.errors import CRSError

    if isinstance(error, CRSError):
        return StoreError("its coordinate reference system is not understood")
    return OSError(str(error))
