"""Bands in files of their own: each band's values and validity, on the finest grid, any window the whole's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine
from numpy.typing import NDArray
from PIL import Image

from kseg_core.band_files import stack_path
from kseg_core.choice import PictureChoice
from kseg_core.config import InputSettings
from kseg_core.errors import UnreadableImage
from kseg_core.images import Picture, Pixels, open_image
from kseg_core.images.kinds import kind_of
from kseg_core.images.validity import nodata_of
from tests.pictures import WHOLE, stored
from tests.scenes import save_band as save

Array = NDArray[Any]
RNG = np.random.default_rng(3)
OTHER_UTM = "EPSG:32633"


def band(height: int, width: int, dtype: str = "uint16") -> Array:
    return RNG.integers(0, 200, (height, width)).astype(dtype)


def opened(*paths: str, bands: tuple[str, ...] = (), **how: Any) -> Picture:
    path = stack_path(paths)
    assert path is not None
    return open_image(path, bands=bands, **how)


def read(*paths: str, nodata: str = "auto", bands: tuple[int, ...] | None = None, **how: Any) -> Pixels:
    with opened(*paths) as picture:
        return picture.samples(*WHOLE, bands, nodata_of(InputSettings(nodata=nodata, **how), picture.info))


def why_not(*paths: str, **how: Any) -> str:
    with pytest.raises(UnreadableImage) as refused, opened(*paths, **how) as picture:
        picture.samples(*WHOLE)
    assert refused.value.source == stack_path(paths)
    return refused.value.reason


@pytest.fixture
def scene(tmp_path: Path) -> list[str]:
    """As Sentinel-2's: 10 m, 20 m and 60 m, tiled, striped and JPEG 2000."""
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    jp2 = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES", "BLOCKXSIZE": 64, "BLOCKYSIZE": 64}
    return [
        save(tmp_path / "s_B02.tif", band(300, 240), 10, **tiled),
        save(tmp_path / "s_B05.jp2", band(150, 120), 20, **jp2),
        save(tmp_path / "s_B08.tif", band(300, 240), 10),
        save(tmp_path / "s_B09.tif", band(50, 40), 60),
    ]


def expected(scene: list[str]) -> Array:
    repeated = [stored(path)[0][..., 0].repeat(n, 0).repeat(n, 1) for path, n in zip(scene, (1, 2, 1, 6), strict=True)]
    return np.stack(repeated, axis=2)


def test_bands_are_read_at_the_finest_resolution(scene: list[str]) -> None:
    with opened(*scene, bands=("B02", "B05", "B08", "B09")) as picture:
        info = picture.info
        assert (info.format, info.shape, info.bands, info.dtype) == ("stack", (300, 240), 4, "uint16")
        assert info.band_names == ("B02", "B05", "B08", "B09")
        assert info.block == (300, 240)  # the coarsest file is one strip
        assert kind_of(info).name == "uint16x4"
        resampled = "B05 (2 times coarser), B09 (6 times coarser)"
        assert info.common_notes == (f"bands are read at the finest resolution, by nearest neighbour: {resampled}",)
        whole = picture.samples(*WHOLE)
        geo = picture.place().geo
        assert geo is not None
        assert geo.transform == (10.0, 0.0, 399_960.0, 0.0, -10.0, 5_000_040.0)
        np.testing.assert_array_equal(whole.samples, expected(scene))
        assert whole.valid is None
        for rows, columns in [((0, 1), (0, 1)), ((7, 130), (3, 71)), ((63, 65), (100, 240)), ((299, 300), (0, 240))]:
            part = picture.samples(slice(*rows), slice(*columns), (4, 1))
            np.testing.assert_array_equal(part.samples, whole.samples[slice(*rows), slice(*columns)][..., [3, 0]])
    with open_image(stack_path(scene) or "", known=info) as again:  # without another look at where files are
        assert again.info.grids == info.grids
        np.testing.assert_array_equal(again.samples(*WHOLE).samples, whole.samples)


def test_it_is_as_gdal_stacks_the_files(scene: list[str], tmp_path: Path) -> None:
    """By a VRT of bands of different resolutions, which is read through GDAL."""
    sources = []
    for number, path in enumerate(scene, 1):
        with rasterio.open(path) as dataset:
            height, width = dataset.shape
        sources.append(
            f'<VRTRasterBand dataType="UInt16" band="{number}"><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">{Path(path).name}</SourceFilename><SourceBand>1</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
            '<DstRect xOff="0" yOff="0" xSize="240" ySize="300"/></SimpleSource></VRTRasterBand>'
        )
    vrt = tmp_path / "stack.vrt"
    transform = "<GeoTransform>399960, 10, 0, 5000040, 0, -10</GeoTransform>"
    vrt.write_text(f'<VRTDataset rasterXSize="240" rasterYSize="300">{transform}{"".join(sources)}</VRTDataset>')
    with open_image(str(vrt)) as gdals:
        np.testing.assert_array_equal(gdals.samples(*WHOLE).samples, expected(scene))
        part = gdals.samples(slice(7, 130), slice(3, 71))
        np.testing.assert_array_equal(part.samples, expected(scene)[7:130, 3:71])
    np.testing.assert_array_equal(read(*scene).samples, expected(scene))


def test_grids_may_be_half_a_pixel_apart(tmp_path: Path) -> None:
    """As Landsat's: centres of pixels lie on each other, so the sharpest band begins half of its pixel further in."""
    coarse, fine = band(20, 30), band(39, 59)
    paths = [save(tmp_path / "l_B4.TIF", coarse, 30), save(tmp_path / "l_B8.TIF", fine, 15, at=(7.5, 7.5))]
    samples = read(*paths).samples
    np.testing.assert_array_equal(samples[..., 1], fine)
    centres = [(7.5 + 15 * (np.arange(count) + 0.5)) / 30 for count in fine.shape]
    rows, columns = (np.floor(centre + 1e-9).astype(int) for centre in centres)
    np.testing.assert_array_equal(samples[..., 0], coarse[np.ix_(rows, columns)])


@pytest.mark.parametrize(
    ("dtypes", "common"),
    [
        (("uint8", "uint16"), "uint16"),
        (("int16", "uint16"), "int32"),
        (("uint16", "float32"), "float32"),
        (("int32", "float32"), "float64"),
        (("uint8", "float16"), "float16"),
    ],
)
def test_types_are_brought_to_one_that_holds_all_values(dtypes: tuple[str, str], common: str, tmp_path: Path) -> None:
    bands = [np.arange(-9, 21).reshape(5, 6).astype(dtype) for dtype in dtypes]
    paths = [str(tmp_path / f"s_{name}.tif") for name in "ab"]
    for path, samples in zip(paths, bands, strict=True):
        tifffile.imwrite(path, samples)
    samples = read(*paths).samples
    assert samples.dtype == common
    for at, values in enumerate(bands):
        np.testing.assert_array_equal(samples[..., at], values)


@pytest.mark.parametrize("other", ["float32", "float64", "uint64"])
def test_types_that_none_holds_are_refused(other: str, tmp_path: Path) -> None:
    paths = [save(tmp_path / "s_a.tif", band(4, 5, "int64")), save(tmp_path / "s_b.tif", band(4, 5, other))]
    assert (
        why_not(*paths)
        == f"no type holds both int64 of s_a.tif and {other} of s_b.tif exactly: convert one of them first"
    )


def test_each_files_own_nodata_counts(tmp_path: Path) -> None:
    a, b, c = band(40, 60, "uint8"), band(20, 30, "int16"), band(40, 60, "float32")
    a[3, 4], b[5, 6], c[7, 8], c[9, 9] = 255, -9999, np.float32(-3.4028235e38), np.nan
    paths = [
        save(tmp_path / "s_a.tif", a, 10, nodata=255),
        save(tmp_path / "s_b.tif", b, 20, nodata=-9999),
        save(tmp_path / "s_c.tif", c, 10, nodata=-3.4028234663852886e38),
    ]
    invalid = np.zeros((40, 60), bool)
    invalid[3, 4] = invalid[10:12, 12:14] = invalid[7, 8] = invalid[9, 9] = True
    pixels = read(*paths)
    assert pixels.valid is not None
    np.testing.assert_array_equal(~pixels.valid, invalid)
    only = read(*paths, bands=(2,)).valid
    assert only is not None
    assert (~only).sum() == 4
    everywhere = read(*paths, nodata_in="all").valid
    assert everywhere is not None
    assert (~everywhere).sum() == 1  # NaN in any
    none = read(*paths, nodata="none").valid
    assert none is not None
    assert (~none).sum() == 1


def test_each_files_own_mask_and_alpha_count(tmp_path: Path) -> None:
    paths = [save(tmp_path / "s_a.tif", band(40, 60)), save(tmp_path / "s_b.tif", band(20, 30), 20)]
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(paths[1], "r+") as dataset:
        mask = np.full((20, 30), 255, np.uint8)
        mask[2, 3] = 0
        dataset.write_mask(mask)
    assert (tmp_path / "s_b.tif.msk").exists()
    opaque = np.full((40, 60), 255, np.uint8)
    opaque[30, 31] = 0
    Image.fromarray(np.dstack([band(40, 60, "uint8"), opaque]), "LA").save(tmp_path / "s_c.png")
    (tmp_path / "s_c.pgw").write_text("10\n0\n0\n-10\n399965\n5000035\n")
    with rasterio.open(paths[0]) as dataset:
        (tmp_path / "s_c.prj").write_text(dataset.crs.to_wkt())
    paths.append(str(tmp_path / "s_c.png"))
    valid = read(*paths).valid
    assert valid is not None
    invalid = np.zeros((40, 60), bool)
    invalid[4:6, 6:8] = invalid[30, 31] = True
    np.testing.assert_array_equal(~valid, invalid)
    assert read(*paths, bands=(1,)).valid is None
    of_both = read(*paths, bands=(1, 2), nodata_in="all").valid
    assert of_both is None or of_both.all()  # the first has no mask


def test_pictures_without_a_place_go_by_their_size(tmp_path: Path) -> None:
    fine, coarse = band(40, 60, "uint8"), band(20, 30, "uint8")
    Image.fromarray(fine).save(tmp_path / "IMG_0001_1.png")
    Image.fromarray(coarse).save(tmp_path / "IMG_0001_2.png")
    paths = [str(tmp_path / f"IMG_0001_{n}.png") for n in (1, 2)]
    with opened(*paths) as picture:
        assert picture.info.block is None
        assert kind_of(picture.info).name == "uint8x2"  # and no 8-bit picture
        part = picture.samples(slice(3, 8), slice(1, 9)).samples
    whole = np.dstack([fine, coarse.repeat(2, 0).repeat(2, 1)])
    np.testing.assert_array_equal(part, whole[3:8, 1:9])
    reason = why_not(*paths, max_pixels=2000)
    assert reason.startswith("its file IMG_0001_1.png: too large: 60 x 40")
    Image.fromarray(band(21, 28, "uint8")).save(paths[1])
    assert why_not(*paths) == "IMG_0001_2.png is of 28 x 21 pixels, IMG_0001_1.png of 60 x 40: not of one extent"


def test_files_that_are_not_of_one_place_are_refused_by_name(tmp_path: Path) -> None:
    first = save(tmp_path / "s_a.tif", band(40, 60))
    cases = {
        "b": (
            band(40, 60),
            {"at": (10, 0)},
            "s_b.tif covers x 399970 to 400570, y 4999640 to 5000040, s_a.tif",
        ),
        "c": (band(41, 60), {}, "s_a.tif covers .*, s_c.tif covers .* not of one extent within a pixel; cut"),
        "d": (band(20, 30), {"metres": 20, "at": (0, 25)}, "s_d.tif covers .*: not of one extent"),
        "e": (
            band(40, 60),
            {"crs": OTHER_UTM},
            "s_e.tif is in .* UTM zone 33N, s_a.tif in .* UTM zone 32N",
        ),
        "f": (band(40, 60), {"crs": None, "transform": None}, "s_f.tif is not placed on the ground, s_a.tif is"),
        "g": (band(40, 60), {"transform": Affine(10, 0, 399_960, 0, 10, 5_000_040)}, "s_g.tif covers"),
    }
    for name, (samples, how, reason) in cases.items():
        path = save(tmp_path / f"s_{name}.tif", samples, **how)
        assert re.search(reason, why_not(first, path)), name
    shifted = save(tmp_path / "s_h.tif", band(40, 60), at=(4, 0))
    np.testing.assert_array_equal(read(first, shifted).samples[..., 1], stored(shifted)[0][..., 0])


def test_files_of_more_than_a_band_are_refused_by_name(tmp_path: Path) -> None:
    first = save(tmp_path / "s_a.tif", band(40, 60))
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "s_b.png")
    assert (
        why_not(first, str(tmp_path / "s_b.png"))
        == "its file s_b.png: 3 bands, where a stack has one band a file; --exclude it"
    )
    Image.fromarray(np.zeros((40, 60), np.uint8)).convert("P").save(tmp_path / "s_c.gif")
    assert why_not(str(tmp_path / "s_c.gif"), first).startswith("its file s_c.gif: ")
    (tmp_path / "s_d.tif").write_bytes(b"II*\0")
    assert why_not(first, str(tmp_path / "s_d.tif")).startswith("its file s_d.tif: ")
    assert why_not(first, str(tmp_path / "s_e.tif")) == "its file s_e.tif: no such file or directory"
    damaged = save(tmp_path / "s_f.tif", band(40, 60), compress="deflate")
    content = Path(damaged).read_bytes()
    Path(damaged).write_bytes(content[: len(content) // 2])
    assert why_not(first, damaged).startswith("its file s_f.tif: ")


def test_channels_are_bands_and_there_are_no_pages_and_colours(scene: list[str]) -> None:
    with opened(*scene, bands=("B02", "B05", "B08", "B09"), choice=PictureChoice(channel=(2, 1))) as picture:
        assert picture.info.band_names == ("B08", "B05")
        np.testing.assert_array_equal(picture.samples(*WHOLE).samples, expected(scene)[..., [2, 1]])
        with pytest.raises(UnreadableImage, match="bands in files of their own are no colours; use --features bands"):
            picture.rgb(*WHOLE)
    assert why_not(*scene, choice=PictureChoice(page=1)) == "it has no page 1; there is only --page 0 (1 page)"
