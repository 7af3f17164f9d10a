"""Chosen channels of files that carry masks and values of nodata, with GDAL, by rasterio, as the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray

from kseg_core.choice import PictureChoice
from kseg_core.config import InputSettings
from kseg_core.images import open_picture
from kseg_core.images.validity import nodata_of

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SHAPE = 40, 50
WHOLE = slice(None), slice(None)
CHANNELS = [(0, 1, 2), (2, 0), (1,), (2, 1, 0)]
Valid = NDArray[np.bool_]


def scene() -> NDArray[Any]:
    return np.random.default_rng(7).integers(0, 4, (3, *SHAPE)).astype(np.uint8)


def a_mask(seed: int = 3) -> NDArray[np.uint8]:
    return np.where(np.random.default_rng(seed).random(SHAPE) < 0.7, 255, 0).astype(np.uint8)


def write(path: Path, mask: NDArray[np.uint8] | None = None, *, internal: bool = True, **options: Any) -> Path:
    profile: dict[str, Any] = {"count": 3, "height": SHAPE[0], "width": SHAPE[1], "dtype": "uint8", **options}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "w", "GTiff", **profile) as target:
        target.write(scene())
        if mask is not None:
            target.write_mask(mask)
    return path


def judge(path: Path, channels: tuple[int, ...]) -> None:
    """Which samples and colours of channels count, by the masks of their bands."""
    with rasterio.open(path) as dataset:
        masks = dataset.read_masks([channel + 1 for channel in channels]) != 0
        stored = np.moveaxis(dataset.read([channel + 1 for channel in channels]), 0, 2)
    assert not masks.all()
    with open_picture(str(path), choice=PictureChoice(channel=channels)) as picture:
        nodata = nodata_of(InputSettings(nodata_in="any"), picture.info)
        for rows, columns in (WHOLE, (slice(3, 31), slice(11, 50))):
            samples, valid = picture.samples(rows, columns, None, nodata)[:2]
            np.testing.assert_array_equal(samples, stored[rows, columns])
            np.testing.assert_array_equal(valid, masks.all(axis=0)[rows, columns])
            if len(channels) != 2:
                valid = picture.rgb(rows, columns, nodata).valid
                of_colours = masks.any(axis=0) if nodata is None else masks.all(axis=0)  # masks alone: where any counts
                np.testing.assert_array_equal(valid, of_colours[rows, columns])
        if len(channels) > 1:  # bands of channels, by their new numbers
            valid = picture.samples(*WHOLE, (2,), nodata)[1]
            np.testing.assert_array_equal(valid, masks[1])


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_of_all_bands_is_that_of_channels(internal: bool, channels: tuple[int, ...], tmp_path: Path) -> None:
    judge(write(tmp_path / "x.tif", a_mask(), internal=internal), channels)


@pytest.mark.parametrize("channels", CHANNELS)
def test_channels_have_the_masks_of_their_bands(channels: tuple[int, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif")
    items = "".join(f'<Item name="INTERNAL_MASK_FLAGS_{band}">0</Item>' for band in (1, 2, 3))
    masks = np.stack([a_mask(seed) for seed in (1, 2, 3)])
    tags = [(42112, 2, 0, f"<GDALMetadata>{items}</GDALMetadata>", True)]
    tifffile.imwrite(f"{path}.msk", masks, extratags=tags, planarconfig="separate", photometric="minisblack")
    judge(path, channels)


@pytest.mark.parametrize("channels", CHANNELS)
def test_channels_have_the_nodata_of_their_bands_beside_the_file(channels: tuple[int, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif")
    bands = "".join(
        f'<PAMRasterBand band="{band}"><NoDataValue>{band}</NoDataValue></PAMRasterBand>' for band in (1, 2, 3)
    )
    Path(f"{path}.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>", "ascii")
    judge(path, channels)


@pytest.mark.parametrize("channels", CHANNELS)
def test_channels_have_the_nodata_of_their_bands_by_gdals_metadata(channels: tuple[int, ...], tmp_path: Path) -> None:
    text = '<GDALMetadata><Item name="NODATA_VALUES">1 2 3</Item></GDALMetadata>'
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.moveaxis(scene(), 0, 2), photometric="rgb", extratags=[(42112, 2, 0, text, True)])
    data = scene()
    counts = np.stack([data[channel] != channel + 1 for channel in channels]).all(axis=0)
    with open_picture(str(path), choice=PictureChoice(channel=channels)) as picture:
        assert picture.info.band_nodata == tuple(channel + 1 for channel in channels)
        valid = picture.samples(*WHOLE, None, nodata_of(InputSettings(nodata_in="any"), picture.info))[1]
        np.testing.assert_array_equal(valid, counts)


def test_an_alpha_before_the_last_band_leaves_channels_their_numbers(tmp_path: Path) -> None:
    data = np.moveaxis(np.concatenate([scene(), scene()[:1] * 50 + 1]), 0, 2)
    data[..., 3] = np.where(a_mask() != 0, 255, 0)
    path = tmp_path / "x.tif"
    tifffile.imwrite(
        path, np.ascontiguousarray(data[..., [0, 3, 1, 2]]), photometric="minisblack", extrasamples=(2, 0, 0)
    )
    with open_picture(str(path)) as picture:
        assert picture.info.alpha_at == 1
    with open_picture(str(path), choice=PictureChoice(channel=(0, 2, 3))) as picture:
        assert (picture.info.alpha, picture.info.alpha_at) == (False, None)
        samples, valid = picture.samples(*WHOLE)[:2]
        np.testing.assert_array_equal(samples, data[..., :3])
        np.testing.assert_array_equal(valid, data[..., 3] != 0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_a_nodata_of_hundreds_of_digits_is_found_nowhere(dtype: str, tmp_path: Path) -> None:
    data = scene()[0].astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", data, extratags=[(42113, 2, 0, "1" + "0" * 400, True)])
    with open_picture(str(tmp_path / "x.tif")) as picture:
        samples, valid = picture.samples(*WHOLE, None, nodata_of(InputSettings(), picture.info))[:2]
    np.testing.assert_array_equal(samples[..., 0], data)
    assert valid is None
