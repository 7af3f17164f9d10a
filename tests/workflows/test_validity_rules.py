"""Jobs and which pixels count: masks that files carry, nodata of bands, and stores of earlier rules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from kseg_core import open_store
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import StoreError
from workflows import run
from workflows.check import check_store
from workflows.request import InputSelection, Request, prepare

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

SYNC = ExecutionSettings("sync")


def request(source: Path, output: Path, settings: InputSettings | None = None, **fit: Any) -> Request:
    inputs = settings or InputSettings()
    features = FitSettings(**{"k": 3, "attempts": 3, **fit})
    return prepare(
        InputSelection((str(source),)), RunConfig(features, OutputSettings(tile=64), SYNC, inputs), str(output), "store"
    )


def labels_of(store: Path, key: str) -> NDArray[Any]:
    return np.asarray(open_store(str(store))[key].labels)


def masked_scene(path: Path, side: int = 96) -> tuple[Path, NDArray[np.bool_]]:
    """A picture whose mask is in the file."""
    data = np.random.default_rng(0).integers(0, 255, (3, side, side), dtype=np.uint8)
    counts = np.zeros((side, side), np.uint8)
    counts[8:60, 12:] = 255
    profile: dict[str, Any] = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8"}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile, **tiles) as target:
        target.write(data)
        target.write_mask(counts)
    return path, counts != 0


def banded_scene(path: Path) -> tuple[Path, NDArray[Any]]:
    """int16 bands, each without data somewhere else."""
    rng = np.random.default_rng(1)
    data = rng.choice([100, 900, 2500], (1, 70, 80)).astype(np.int16) + rng.integers(0, 40, (3, 70, 80), dtype=np.int16)
    for band in range(3):
        data[band, 20 * band : 20 * band + 15, 5:60] = -9999
    profile: dict[str, Any] = {"driver": "GTiff", "height": 70, "width": 80, "count": 3, "dtype": "int16"}
    with rasterio.open(path, "w", nodata=-9999, **profile) as target:
        target.write(data)
    return path, np.moveaxis(data, 0, 2)


def test_a_run_leaves_out_what_the_files_mask_leaves_out(tmp_path: Path) -> None:
    source, counts = masked_scene(tmp_path / "x.tif")
    result = run.run(request(source, tmp_path / "out.zarr")).to_json()
    with rasterio.open(source) as dataset:
        judge = dataset.dataset_mask() != 0
    np.testing.assert_array_equal(judge, counts)
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr", "x.tif") != 255, judge)
    assert result["pixels"] == {"total": judge.size, "valid": int(judge.sum())}
    assert check_store(str(tmp_path / "out.zarr"), SYNC)["problems"] == []


def test_bands_are_clustered_where_all_of_them_have_data_as_well_as_scikit_learn_does(tmp_path: Path) -> None:
    source, data = banded_scene(tmp_path / "x.tif")
    result = run.run(request(source, tmp_path / "out.zarr", features="bands")).to_json()
    counts = (data != -9999).all(axis=2)
    judge = KMeans(3, n_init=10, random_state=0).fit(data[counts].astype(float))
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr", "x.tif") != 255, counts)
    assert result["mse"] <= judge.inertia_ / counts.sum() * (1 + 1e-9)


@pytest.mark.parametrize("kind", ["mask", "bands"])
def test_a_store_of_the_first_release_is_done_checked_and_goes_on_by_its_rules(kind: str, tmp_path: Path) -> None:
    if kind == "mask":
        source, counts = masked_scene(tmp_path / "x.tif")
        counts, features = np.ones_like(counts), "rgb"
    else:
        source, data = banded_scene(tmp_path / "x.tif")
        counts, features = (data != -9999).any(axis=2), "bands"
    store = tmp_path / "out.zarr"
    before = request(source, store, InputSettings().as_before(), features=features)
    run.run(before)
    inputs = json.loads((store / "zarr.json").read_text())["attributes"]["kseg"]["config"]["input"]
    assert "validity" not in inputs  # as that release wrote it
    np.testing.assert_array_equal(labels_of(store, "x.tif") != 255, counts)
    again = request(source, store, features=features)  # the same command, today
    assert again.finished is not None
    assert again.config.input == before.config.input
    assert check_store(str(store), SYNC)["problems"] == []
    with pytest.raises(StoreError, match="made with other settings"):
        request(source, store, InputSettings(nodata_in="any"), features=features)
    anew = replace(RunConfig(FitSettings(3, features), execution=SYNC), output=OutputSettings(overwrite=True))
    assert prepare(InputSelection((str(source),)), anew, str(store), "store").config.input.validity == 2


def test_a_mask_beside_a_file_that_has_changed_is_another_input(tmp_path: Path) -> None:
    source, _ = banded_scene(tmp_path / "x.tif")
    first, second = request(source, tmp_path / "a.zarr"), request(source, tmp_path / "b.zarr", features="bands")
    assert first.inputs_digest == second.inputs_digest
    run.run(second)
    (tmp_path / "x.tif.msk").write_bytes(b"a mask")
    with pytest.raises(StoreError, match="made from other inputs"):
        request(source, tmp_path / "b.zarr", features="bands")
    early = request(source, tmp_path / "c.zarr", InputSettings().as_before())
    assert early.inputs_digest == first.inputs_digest


@pytest.mark.parametrize("changed", [{"nodata": "-9999,100"}, {"nodata": "none"}, {"nodata_in": "all"}])
def test_other_rules_of_nodata_are_other_settings(changed: dict[str, Any], tmp_path: Path) -> None:
    source, _ = banded_scene(tmp_path / "x.tif")
    run.run(request(source, tmp_path / "out.zarr", features="bands"))
    assert request(source, tmp_path / "out.zarr", features="bands").finished is not None
    with pytest.raises(StoreError, match=f"other settings .*--{next(iter(changed)).replace('_', '-')} "):
        request(source, tmp_path / "out.zarr", InputSettings(**changed), features="bands")


def test_an_early_growing_store_takes_in_new_images_by_its_rules(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    masked_scene(tmp_path / "in/a.tif")
    model, store = tmp_path / "m.model.zarr", tmp_path / "out.zarr"
    selection = InputSelection((str(tmp_path / "in"),))
    run.fit(prepare(selection, RunConfig(FitSettings(3), execution=SYNC), str(model), "model"))
    config = RunConfig(None, execution=SYNC, model=str(model))
    run.run(prepare(selection, replace(config, input=InputSettings().as_before()), str(store), "store"))
    masked_scene(tmp_path / "in/b.tif")
    run.run(prepare(selection, config, str(store), "store"))
    for key in ("a.tif", "b.tif"):
        assert (labels_of(store, key) != 255).all()
