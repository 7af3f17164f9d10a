"""Georeferences: from GeoTIFF tags through the store to xarray and rioxarray."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from numpy.typing import NDArray
from ome_zarr_models.v05 import Image, ImageLabel

from kseg_core.config import InputSettings
from kseg_core.images.geo import GeoReference
from kseg_core.inputs.listing import list_inputs
from kseg_core.layers.layer import LayerInput, Layout
from kseg_core.reading.sources import ImageSource
from kseg_core.store.opening import create_store, open_store
from kseg_core.store.record import ImageRecord
from kseg_core.store.writing import write_image

rasterio = pytest.importorskip("rasterio")
rioxarray = pytest.importorskip("rioxarray")

# affine, as rioxarray uses it
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

SHAPE = (70, 90)
NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -20.0, 4_600_000.0)
ROTATED = (8.0, 2.0, 500_000.0, 3.0, -9.0, 4_600_000.0)
DEGREES = (0.25, 0.0, -10.0, 0.0, -0.25, 60.0)


def geotiff(path: Path, transform: tuple[float, ...] | None, crs: str | None, **more: Any) -> Path:
    """A small raster written by rasterio."""
    placed = {} if transform is None else {"transform": rasterio.Affine(*transform)}
    options = {"height": SHAPE[0], "width": SHAPE[1], "count": 1, "dtype": "uint8", "crs": crs, **placed, **more}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", **options) as dataset:
            dataset.write(np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint8).reshape(1, *SHAPE))
    return path


def write_placed(folder: Path, geo: GeoReference, shape: tuple[int, int] = SHAPE, **more: Any) -> str:
    """A store of one georeferenced image of three levels."""
    path = str(folder / "s.zarr")
    create_store(path, {"config": {}})
    layout = Layout(shape, 2, 32, True, levels=3, geo=geo, **more)
    labels = np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)
    counts = np.bincount(labels.reshape(-1), minlength=2)
    record = ImageRecord("scene", "scene.tif", 1, 1, shape, tuple(counts.tolist()), 0, 1.0)
    samples: NDArray[Any] | None = None
    if layout.copy_bands:
        samples = np.ones((*shape, layout.copy_bands), layout.copy_dtype)
    write_image(path, record, LayerInput(labels, samples), np.zeros((2, 3), np.uint8), layout)
    return path


# -------------------------------------------------------------------------------------------- arithmetic


def test_coordinates_are_those_of_pixel_centres() -> None:
    geo = GeoReference("", NORTH_UP)
    coordinates = geo.coordinates((3, 2))
    assert coordinates["y"].tolist() == [4_599_990.0, 4_599_970.0, 4_599_950.0]
    assert coordinates["x"].tolist() == [500_005.0, 500_015.0]
    assert coordinates["x"].dtype == np.float64
    assert GeoReference("", ROTATED).coordinates((3, 2)) == {}


def test_halved_images_begin_at_the_same_corner() -> None:
    geo = GeoReference("", ROTATED).at_level(2)
    assert geo.transform == (32.0, 8.0, 500_000.0, 12.0, -36.0, 4_600_000.0)
    assert GeoReference("", NORTH_UP).resolution == (20.0, 10.0)
    assert GeoReference("", (3.0, -4.0, 0.0, 4.0, 3.0, 0.0)).resolution == (5.0, 5.0)


def test_attributes_are_read_back_to_the_last_bit() -> None:
    geo = GeoReference("WKT", (100.01126757344893, 0.0, 0.1, 1e-17, -1 / 3, 8286015.0))
    assert GeoReference.from_attributes(geo.attributes()) == geo
    assert GeoReference.from_attributes({}) is None
    assert GeoReference.from_attributes({"GeoTransform": "1 2 3"}) is None
    assert GeoReference.from_attributes({"GeoTransform": "a b c d e f"}) is None


# ----------------------------------------------------------------------------------------- in the store


@pytest.mark.parametrize(
    ("transform", "crs"), [(NORTH_UP, "EPSG:32633"), (ROTATED, "EPSG:32633"), (DEGREES, "EPSG:4326"), (NORTH_UP, "")]
)
def test_rioxarray_reads_back_crs_and_transform(
    tmp_path: Path, transform: tuple[float, float, float, float, float, float], crs: str
) -> None:
    wkt = rasterio.CRS.from_user_input(crs).to_wkt(version="WKT2_2019") if crs else ""
    geo = GeoReference(wkt, transform)
    path = write_placed(tmp_path, geo, copy_bands=1, copy_dtype="uint16")
    image = open_store(path)["scene"]
    assert image.georeference == geo
    for level in range(3):
        dataset = image.to_xarray(level)
        for name in dataset.data_vars:
            assert str(dataset[name].rio.crs or "") == crs, name
            assert tuple(dataset[name].rio.transform())[:6] == geo.at_level(level).transform, name
        assert ("x" in dataset.coords) is (transform != ROTATED)
    others = [str(level) for level in range(1, 32)]
    for group, name in (("labels/kmeans", "0"), ("", "masks"), ("", "0")):
        place = f"{path}/images/scene/{group}"
        raw = xarray.open_zarr(place, consolidated=False, decode_coords="all", drop_variables=others)
        assert str(raw[name].rio.crs or "") == crs, group
        assert tuple(raw[name].rio.transform())[:6] == transform, group
        if transform != ROTATED:  # the coordinates alone say the same
            assert tuple(raw[name].rio.transform(recalc=True))[:6] == pytest.approx(transform)


def test_a_projected_place_is_told_as_cf_has_it(tmp_path: Path) -> None:
    wkt = rasterio.CRS.from_epsg(4326).to_wkt(version="WKT2_2019")
    path = write_placed(tmp_path, GeoReference(wkt, DEGREES))
    group = zarr.open_group(path, path="images/scene/labels/kmeans", mode="r")
    place: Any = group["spatial_ref"]
    assert (place.shape, np.dtype(place.dtype).kind) == ((), "i")
    assert set(place.attrs) == {"grid_mapping_name", "crs_wkt", "spatial_ref", "GeoTransform"}
    assert place.attrs["GeoTransform"] == "-10.0 0.25 0.0 60.0 0.0 -0.25"
    assert group["x"].attrs["units"] == "degrees_east"
    assert group["0"].attrs["grid_mapping"] == "spatial_ref"
    assert "grid_mapping" not in group["1"].attrs  # the transform is that of level 0


@pytest.mark.parametrize("copy_bands", [0, 3])
def test_ome_zarr_models_accepts_groups_with_coordinates(tmp_path: Path, copy_bands: int) -> None:
    path = write_placed(tmp_path, GeoReference("", NORTH_UP), copy_bands=copy_bands)
    label = ImageLabel.from_zarr(zarr.open_group(path, path="images/scene/labels/kmeans", mode="r"))
    (described,) = label.ome_attributes.multiscales
    assert described.datasets[0].coordinateTransformations[0].scale == [20.0, 10.0]  # type: ignore[union-attr]
    if copy_bands:
        Image.from_zarr(zarr.open_group(path, path="images/scene", mode="r"))


@pytest.mark.slow
def test_a_real_cog_keeps_its_place(data_folder: Path, tmp_path: Path) -> None:
    file = data_folder / "rasters" / "cog.tif"
    if not file.is_file():
        pytest.skip(f"no {file}")
    geo = ImageSource.open(list_inputs([str(file)]).files[0], InputSettings()).geo
    assert geo is not None
    source = rioxarray.open_rasterio(file)
    path = write_placed(tmp_path, geo, source.shape[-2:])
    labels = open_store(path)["scene"].to_xarray()["labels"]
    assert labels.rio.crs == source.rio.crs
    assert labels.rio.transform() == source.rio.transform()
    assert labels.rio.bounds() == source.rio.bounds()
    for name in ("x", "y"):
        np.testing.assert_allclose(labels[name], source[name], rtol=1e-15)
