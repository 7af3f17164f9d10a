"""What files call their bands, judged by GDAL, tifffile and xarray that wrote them."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from rasterio.shutil import copy

from kseg_core.choice import PictureChoice
from kseg_core.images import read_info
from kseg_core.images.band_names import MOST_CHARACTERS, cleaned, of_ome

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
DEEP = np.zeros((3, 20, 30), np.uint16)


def names_of(path: Path | str) -> tuple[str, ...]:
    return read_info(str(path)).band_names


def geotiff(path: Path, names: Sequence[str | None], driver: str = "GTiff", dtype: str = "uint16", **more: Any) -> Path:
    with rasterio.open(path, "w", driver=driver, width=30, height=20, count=3, dtype=dtype, **more) as dataset:
        dataset.write(DEEP.astype(dtype))
        for number, name in enumerate(names, start=1):
            if name is not None:
                dataset.set_band_description(number, name)
    return path


@pytest.mark.parametrize("names", [("B08", "B04", "B03"), ("near infrared", "R & <D>", "")])
def test_descriptions_of_gdal(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = geotiff(tmp_path / "a.tif", names)
    with rasterio.open(path) as dataset:
        assert tuple(name or "" for name in dataset.descriptions) == names
    assert names_of(path) == names


def test_a_virtual_raster_and_its_sources_agree(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "a.tif", ("B08", "B04", None))
    copy(path, tmp_path / "a.vrt", driver="VRT")
    assert names_of(tmp_path / "a.vrt") == names_of(path) == ("B08", "B04", "")


def test_descriptions_beside_a_file_go_before_its_own(tmp_path: Path) -> None:
    png = geotiff(tmp_path / "a.png", ("first", None, None), driver="PNG", dtype="uint8")
    assert (tmp_path / "a.png.aux.xml").exists()
    assert names_of(png) == ("first", "green", "blue")


def test_colours_have_names(tmp_path: Path) -> None:
    assert names_of(geotiff(tmp_path / "rgb.tif", [], photometric="RGB")) == ("red", "green", "blue")
    assert names_of(geotiff(tmp_path / "deep.tif", [], photometric="MINISBLACK")) == ()
    with rasterio.open(tmp_path / "deep.tif", "r+") as dataset:
        dataset.colorinterp = [rasterio.enums.ColorInterp[name] for name in ("gray", "red", "blue")]
    assert names_of(tmp_path / "deep.tif") == ("", "red", "blue")


def test_channels_keep_their_names(tmp_path: Path) -> None:
    path = geotiff(tmp_path / "a.tif", ("B08", "B04", "B03"))
    assert read_info(str(path), choice=PictureChoice(channel=(2, 0))).band_names == ("B03", "B08")


def test_channels_of_ome(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(DEEP[:, :8, :8], metadata={"axes": "CYX", "Channel": {"Name": ["a", "b", "c"]}})
        writer.write(DEEP, metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "FITC", "Cy5"]}})
    assert names_of(path) == ("DAPI", "FITC", "Cy5")
    assert read_info(str(path), choice=PictureChoice(series=0)).band_names == ("a", "b", "c")


@pytest.mark.parametrize(
    "xml", ["", "<OME", "<OME><Image/></OME>", "<OME><Image><Channel SamplesPerPixel='x'/></Image></OME>"]
)
def test_metadata_that_say_nothing(xml: str) -> None:
    assert of_ome(xml, 0, 3) == ()


@pytest.mark.parametrize("of_group", [False, True])
def test_labels_of_ome_zarr(tmp_path: Path, of_group: bool) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", data=DEEP)
    multiscales = [{"axes": [{"name": axis} for axis in "cyx"], "datasets": [{"path": "0"}], "version": "0.5"}]
    ome = {
        "multiscales": multiscales,
        "omero": {"channels": [{"label": "DAPI"}, {"label": "FITC"}, {"color": "ff0000"}]},
    }
    group.attrs.update({"ome": ome} if of_group else ome)
    assert names_of(tmp_path / "a.zarr") == ("DAPI", "FITC", "")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.filterwarnings("ignore:.*specification:Warning")
def test_coordinates_of_xarray(tmp_path: Path, zarr_format: int) -> None:
    xarray = pytest.importorskip("xarray")
    dims = ("band", "y", "x")
    for name, bands in (("named", ["B8", "B4", "B3"]), ("numbered", [1, 2, 3])):
        dataset = xarray.Dataset({"refl": (dims, DEEP)}, coords={"band": bands})
        dataset.to_zarr(tmp_path / name, zarr_format=zarr_format, consolidated=False)
    assert names_of(tmp_path / "named/refl") == ("B8", "B4", "B3")
    assert names_of(tmp_path / "numbered/refl") == ()
    with zipfile.ZipFile(tmp_path / "named.zarr.zip", "w") as packed:
        for file in (tmp_path / "named").rglob("*"):
            packed.write(file, file.relative_to(tmp_path / "named"))
    shutil.rmtree(tmp_path / "named")
    assert names_of(tmp_path / "named.zarr.zip/refl") == ("B8", "B4", "B3")


@pytest.mark.parametrize("key", ["band_names", "channel_names", "long_name"])
def test_attributes_of_an_array(tmp_path: Path, key: str) -> None:
    data = np.moveaxis(DEEP, 0, 2)
    zarr.create_array(tmp_path / "a.zarr", data=data, attributes={key: ["nir", "red", "green"]})
    assert names_of(tmp_path / "a.zarr") == ("nir", "red", "green")


def test_names_are_what_a_person_types() -> None:
    assert cleaned(["  near \n infrared ", None, 3], 3) == ("near infrared", "", "")
    assert cleaned(["a", "b"], 3) == ()
    assert cleaned(["x" * (MOST_CHARACTERS + 1), "bell\a"], 2) == ()
