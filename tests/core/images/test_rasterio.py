"""GDAL, by rasterio, as the judge of samples and of which pixels are valid."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import open_picture, read_image, read_info
from kseg_core.images.validity import combine, nodata_mask

rasterio = pytest.importorskip("rasterio")

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

RASTERS = [
    "RGB.byte.tif", "RGBA.byte.tif", "RGBA.uint16.tif", "all-nodata.tif", "cog.tif", "cog_cmap.tif", "cog_int16.tif",
    "cog_nodata.tif", "cog_nodata_nan.tif", "float32.tif", "float_nan.tif", "rgb_deflate.tif", "rgb_lzw.tif",
]  # fmt: skip


def some_windows(shape: tuple[int, int], count: int) -> list[tuple[slice, slice]]:
    random = np.random.default_rng(4)
    windows = [(slice(0, shape[0]), slice(0, shape[1]))]
    for _ in range(count):
        ends = [sorted(random.choice(size + 1, 2, replace=False)) for size in shape]
        windows.append((slice(*map(int, ends[0])), slice(*map(int, ends[1]))))
    return windows


def judge(path: Path, count: int = 10) -> None:
    """Header, samples and validity of one file."""
    with rasterio.open(path) as raster, open_picture(str(path)) as picture:
        stored = np.moveaxis(raster.read(), 0, 2)
        expected = raster.dataset_mask() != 0
        if stored.dtype.kind == "f":
            expected &= np.isfinite(stored).all(axis=2)
        info = picture.info
        assert (info.shape, info.bands, info.dtype) == (raster.shape, raster.count, raster.dtypes[0])
        np.testing.assert_equal(info.nodata, raster.nodata)
        painted = raster.colorinterp[0].name == "palette"
        table = np.array(list(raster.colormap(1).values()), np.uint8)[:, :3] if painted else None
        for rows, columns in some_windows(raster.shape, count):
            if table is not None:
                part = picture.rgb(rows, columns, info.nodata)
                assert np.array_equal(part.samples, table[stored[rows, columns, 0]]), (rows, columns)
                valid = part.valid
            else:
                values, alpha = picture.samples(rows, columns)[:2]
                np.testing.assert_array_equal(values, stored[rows, columns, : values.shape[2]])
                valid = combine(alpha, nodata_mask(values, info.nodata))
            found = np.ones_like(expected[rows, columns]) if valid is None else valid
            assert np.array_equal(found, expected[rows, columns]), (rows, columns)


@pytest.mark.few(5)
@pytest.mark.parametrize("name", RASTERS)
def test_real_rasters(data_folder: Path, name: str) -> None:
    judge(data_folder / "rasters" / name)


def test_a_real_slide(data_folder: Path) -> None:
    path = data_folder / "slides" / "cmu_small_region.svs"
    judge(path, 3)
    assert read_info(str(path)).block == (240, 240)
    whole = read_image(str(path)).samples
    with open_picture(str(path)) as picture:
        for rows, columns in some_windows(picture.info.shape, 2):
            np.testing.assert_array_equal(picture.rgb(rows, columns).samples, whole[rows, columns])


def write(path: Path, data: NDArray[Any], **options: Any) -> None:
    """A GeoTIFF of (height, width, bands), as GDAL writes it."""
    height, width, count = data.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": data.dtype, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **profile) as raster:
            raster.write(np.moveaxis(data, 2, 0))


def scene(dtype: str, bands: int, height: int = 150, width: int = 170) -> NDArray[Any]:
    y, x, c = np.mgrid[0:height, 0:width, 0:bands]
    return ((x * 2 + y + 17 * c) % 250).astype(dtype)


TILES = {"tiled": True, "blockxsize": 64, "blockysize": 32}


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
    packing = {} if compression == "none" else {"compress": compression, "predictor": predictor}
    if compression == "packbits":
        del packing["predictor"]
    for layout in (TILES, {"blockysize": 9}):
        write(tmp_path / "x.tif", scene(dtype, 5), interleave=interleave, nodata=0, **packing, **layout)
        judge(tmp_path / "x.tif")


@pytest.mark.parametrize("photometric", ["RGB", "YCBCR"])
def test_jpeg_tiles_of_gdal_give_its_bits_and_subsampled_ones_pillows(tmp_path: Path, photometric: str) -> None:
    """GDAL's own build of libjpeg interpolates chroma in another way, so it can be no judge of single bits of those."""
    path = tmp_path / "x.tif"
    write(path, scene("uint8", 3), compress="jpeg", photometric=photometric, interleave="pixel", **TILES)
    if photometric == "RGB":
        judge(path)
        return
    with Image.open(path) as image, open_picture(str(path)) as picture:
        expected = np.asarray(image.convert("RGB"))
        for rows, columns in some_windows(picture.info.shape, 10):
            np.testing.assert_array_equal(picture.samples(rows, columns)[0], expected[rows, columns])
