"""GDAL, by rasterio, as the judge of samples and of which pixels are valid."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from kseg_core.images import open_picture, read_info
from kseg_core.images.validity import combine, nodata_mask
from tests.pictures import by_gdal, counts, pillows, stored, windows_of

RASTERS = [
    "RGB.byte.tif", "RGBA.byte.tif", "RGBA.uint16.tif", "all-nodata.tif", "cog.tif", "cog_cmap.tif", "cog_int16.tif",
    "cog_nodata.tif", "cog_nodata_nan.tif", "float32.tif", "float_nan.tif", "rgb_deflate.tif", "rgb_lzw.tif",
]  # fmt: skip
TILES = {"tiled": True, "blockxsize": 64, "blockysize": 32}


def judge(path: Path, count: int = 10) -> None:
    """Header, samples and validity of one file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        raster = rasterio.open(path)
    with raster, open_picture(str(path)) as picture:
        written = np.moveaxis(raster.read(), 0, 2)
        expected = raster.dataset_mask() != 0
        if written.dtype.kind == "f":
            expected &= np.isfinite(written).all(axis=2)
        info = picture.info
        assert (info.shape, info.bands, info.dtype) == (raster.shape, raster.count, raster.dtypes[0])
        np.testing.assert_equal(info.nodata, raster.nodata)
        painted = raster.colorinterp[0].name == "palette"
        table = np.array(list(raster.colormap(1).values()), np.uint8)[:, :3] if painted else None
        for rows, columns in windows_of(*raster.shape, count):
            if table is not None:
                found = picture.rgb(rows, columns, info.nodata)
                np.testing.assert_array_equal(found.samples, table[written[rows, columns, 0]])
                valid = found.valid
            else:
                values, alpha = picture.samples(rows, columns)[:2]
                np.testing.assert_array_equal(values, written[rows, columns, : values.shape[2]])
                valid = combine(alpha, nodata_mask(values, info.nodata))
            wanted = expected[rows, columns]
            np.testing.assert_array_equal(counts(valid, wanted.shape), wanted)


@pytest.mark.few(5)
@pytest.mark.parametrize("name", RASTERS)
def test_real_rasters(data_folder: Path, name: str) -> None:
    judge(data_folder / "rasters" / name)


def test_a_real_slide(data_folder: Path) -> None:
    path = data_folder / "slides" / "cmu_small_region.svs"
    judge(path, 1)
    assert read_info(str(path)).block == (240, 240)


def scene(dtype: str, bands: int, height: int = 150, width: int = 170) -> NDArray[Any]:
    y, x, c = np.mgrid[0:height, 0:width, 0:bands]
    return ((x * 2 + y + 17 * c) % 250).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "compression", "predictor", "interleave"),
    [
        ("uint8", "none", 1, "pixel"), ("uint8", "packbits", 1, "band"), ("uint8", "lzw", 2, "band"),
        ("int16", "deflate", 2, "pixel"), ("int16", "none", 1, "band"), ("uint32", "lzw", 2, "pixel"),
        ("float32", "deflate", 3, "band"), ("float32", "zstd", 3, "pixel"), ("float64", "deflate", 3, "pixel"),
        ("float64", "deflate", 1, "band"),
    ],
)  # fmt: skip
def test_what_gdal_writes(tmp_path: Path, dtype: str, compression: str, predictor: int, interleave: str) -> None:
    packing: dict[str, Any] = {} if compression == "none" else {"compress": compression}
    if compression not in ("none", "packbits"):
        packing["predictor"] = predictor
    for layout in (TILES, {"blockysize": 9}):
        judge(by_gdal(tmp_path / "x.tif", scene(dtype, 5), interleave=interleave, nodata=0, **packing, **layout))


@pytest.mark.parametrize("photometric", ["RGB", "YCBCR"])
def test_jpeg_tiles_of_gdal_give_its_bits_and_subsampled_ones_pillows(tmp_path: Path, photometric: str) -> None:
    """GDAL's own build of libjpeg interpolates chroma in another way, so it can be no judge of single bits of those."""
    path = tmp_path / "x.tif"
    by_gdal(path, scene("uint8", 3), compress="jpeg", photometric=photometric, interleave="pixel", **TILES)
    if photometric == "RGB":
        judge(path)
    else:
        np.testing.assert_array_equal(stored(path, windows=10).samples, pillows(path.read_bytes()))
