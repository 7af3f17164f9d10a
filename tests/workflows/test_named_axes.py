"""``workflows.segment`` and models on arrays whose axes have names: the same labels as of plain arrays."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray

from kseg_core import Model, open_store
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, RunConfig
from workflows import segment


def config(**fit: Any) -> RunConfig:
    return RunConfig(FitSettings(**{"k": 3, "attempts": 2, **fit}), execution=ExecutionSettings("sync"))


@pytest.fixture(scope="module")
def values() -> Any:
    found = np.random.default_rng(2).integers(1, 5000, (31, 44, 4), dtype=np.uint16)
    found[3:9, 10:20, 1] = 0
    return found


def named(values: Any, dims: tuple[str, ...], **attrs: Any) -> xarray.DataArray:
    coords = {"y": np.arange(31) * 2.0, "x": np.arange(44) + 0.5, "band": ["blue", "green", "red", "nir"]}
    return xarray.DataArray(values, dims=("y", "x", "band"), coords=coords, attrs=attrs).transpose(*dims)


@pytest.mark.parametrize("dims", [*permutations(("y", "x", "band"))])
def test_axes_in_any_order_give_the_labels_of_the_plain_array(dims: tuple[str, ...], values: Any) -> None:
    image = named(values, dims)
    plain = segment(values, config())
    found = segment(image, config(display=(1, 2, 3)))
    labels = found.labels["image"]
    assert isinstance(labels, xarray.DataArray)
    assert isinstance(labels.data, da.Array)
    assert labels.dims == ("y", "x")
    assert set(labels.coords) == {"y", "x"}
    np.testing.assert_array_equal(labels.y, image.y)
    np.testing.assert_array_equal(labels, plain.labels["image"])
    assert found.model.digest == plain.model.digest
    predicted = found.model.predict(image)
    assert predicted.identical(labels.compute())
    np.testing.assert_array_equal(found.model.paint(labels), plain.model.paint(plain.labels["image"]))
    chunked = image.chunk({"y": 7, "x": 20, "band": 1})
    np.testing.assert_array_equal(segment(chunked, config()).labels["image"], labels)
    np.testing.assert_array_equal(found.model.predict(chunked), labels)


@pytest.mark.parametrize("key", ["_FillValue", "missing_value", "nodata"])
def test_what_an_array_says_is_nodata_is_invalid_unless_none_is_asked_for(key: str, values: Any) -> None:
    image = named(values, ("band", "y", "x"), **{key: 0})
    found = segment(image, config())
    out = (values == 0).any(axis=2)
    labels = found.labels["image"]
    np.testing.assert_array_equal(labels == labels.attrs["_FillValue"], out)
    np.testing.assert_array_equal(found.model.predict(image), labels)
    every = RunConfig(config().fit, execution=ExecutionSettings("sync"), input=InputSettings("none"))
    assert (segment(image, every).labels["image"] < 3).all()


def test_bands_have_the_names_of_their_coordinate(values: Any) -> None:
    image = named(values + np.uint16(1), ("y", "band", "x"))
    found = segment(image, config(bands=("nir", "red")))
    np.testing.assert_array_equal(
        found.labels["image"], segment(values + np.uint16(1), config(bands=(4, 3))).labels["image"]
    )
    assert segment(image, config()).model.attributes()["display"] == [3, 2, 1]  # red, green, blue
    described = image.drop_vars("band").assign_attrs(long_name=("a", "b", "c", "d"))  # as rioxarray has them
    same = segment(described, config(bands=("d", "c")))
    np.testing.assert_array_equal(same.labels["image"], found.labels["image"])
    ndvi = segment(image, config(derive=("ndvi=(nir-red)/(nir+red)",)))
    assert ndvi.model.band_names == ("ndvi",)


def test_pictures_with_names_are_colours(smooth: Any) -> None:
    picture = smooth(30, 40, 1)
    image = xarray.DataArray(picture, dims=("lat", "lon", "c")).transpose("c", "lat", "lon").expand_dims("time")
    found = segment(image, config())
    assert found.model.features == "rgb"
    np.testing.assert_array_equal(found.labels["image"], segment(picture, config()).labels["image"])
    gray = xarray.DataArray(picture[..., 0], dims=("y", "x"))
    np.testing.assert_array_equal(found.model.predict(gray), found.model.predict(picture[..., 0]))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of affine, in rioxarray
def test_a_file_opened_by_rioxarray_gives_the_labels_of_its_run(values: Any, tmp_path: Path, job: Any) -> None:
    rioxarray = pytest.importorskip("rioxarray")
    place = rasterio.transform.from_origin(500_000, 5_000_000, 10, 10)
    with rasterio.open(
        tmp_path / "in.tif", "w", driver="GTiff", width=44, height=31, count=4, dtype="uint16", nodata=0, crs=32633,
        transform=place,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(values, -1, 0))
        file.descriptions = ("blue", "green", "red", "nir")
    job(tmp_path / "in.tif", tmp_path / "s.zarr", 3, attempts=2)
    store = open_store(str(tmp_path / "s.zarr"))
    with rioxarray.open_rasterio(tmp_path / "in.tif") as image:
        found = segment(image, config())
        np.testing.assert_array_equal(found.labels["image"], np.asarray(store["in.tif"].labels))
        assert found.model.digest == store.model.digest
        assert found.labels["image"].rio.crs == image.rio.crs


@pytest.mark.parametrize(
    ("dims", "told"),
    [
        (("time", "y", "x"), r"^images: expected dims y, x .*got time \(2\), y \(3\), x \(4\).*isel"),
        (("a", "b", "band"), r"^images: .*a \(2\), b \(3\), band \(4\)"),
    ],
)
def test_other_axes_are_refused_by_name(dims: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        segment(xarray.DataArray(np.zeros((2, 3, 4), np.uint8), dims=dims), config())


def test_models_stores_and_results_print_as_one_short_line(small_folder: Path, values: Any, tmp_path: Path) -> None:
    found = segment(small_folder, config(), output=str(tmp_path / "s.zarr"))
    store = open_store(str(tmp_path / "s.zarr"))
    bands = segment(values, config()).model
    said = [repr(each) for each in (found, found.model, store, next(iter(store.values())), bands, bands.bands)]
    assert all("\n" not in line and len(line) < 160 + len(str(tmp_path)) for line in said)
    assert said[0].startswith("Segmentation(3 images, Model(3 clusters of rgb, ")
    assert "3 images" in said[2]
    assert "a.png" in said[3]
    assert said[4].startswith("Model(3 clusters of bands")
    assert said[5] == "BandSpace(1, 2, 3, 4 of uint16)"
    assert "array" not in "".join(said)


def test_dask_arrays_and_masked_labels_are_predicted_and_painted(values: Any) -> None:
    model: Model = segment(values, config()).model
    labels = model.predict(da.from_array(values, chunks=(9, 20, 2)))
    np.testing.assert_array_equal(labels, model.predict(values))
    hidden = np.ma.array(labels, mask=np.arange(labels.size).reshape(labels.shape) % 5 == 0)
    painted = model.paint(hidden)
    np.testing.assert_array_equal(painted[~hidden.mask], model.paint(labels)[~hidden.mask])
    assert not painted[hidden.mask].any()
    np.testing.assert_array_equal(model.paint(da.from_array(labels)), model.paint(labels))
