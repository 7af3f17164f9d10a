"""A store opens in what else reads OME-Zarr, Zarr and xarray."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import xarray
import zarr
from ome_zarr_models.v05.image_label import ImageLabel
from ome_zarr_models.v05.labels import Labels

from kseg_core import open_store

SETTINGS = {
    "plain": {"k": 4},
    "each image its own": {"k": 3, "scope": "image"},
    "without masks": {"k": 3, "masks": False},
    "16-bit labels": {"k": 300, "attempts": 1},
}


@pytest.fixture(scope="module", params=SETTINGS.values(), ids=SETTINGS)
def store(
    request: pytest.FixtureRequest, smooth_folder: Path, tmp_path_factory: pytest.TempPathFactory, job: Any, png: Any
) -> Path:
    """A run on pictures with and without transparency, one of them wholly transparent."""
    folder = tmp_path_factory.mktemp("in")
    for name in ("picture-1.png", "picture-2.png", "picture-5.png"):
        (folder / name).write_bytes((smooth_folder / name).read_bytes())
    png(folder / "nothing.png", np.zeros((5, 6, 4), np.uint8))
    output = tmp_path_factory.mktemp("out") / "out.zarr"
    job(folder, output, **request.param)
    return output


@pytest.fixture
def validate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], str]:
    """``ome-zarr-models validate PATH``, in this process."""
    (script,) = entry_points(group="console_scripts", name="ome-zarr-models")
    main = script.load()

    def run(path: Path) -> str:
        monkeypatch.setattr(sys, "argv", ["ome-zarr-models", "validate", str(path)])
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        assert not code, capsys.readouterr()
        return capsys.readouterr().out

    return run


@pytest.mark.few(2)
def test_ome_zarr_models_validates_every_label_group(store: Path, validate: Callable[[Path], str]) -> None:
    images = sorted((store / "images").iterdir())
    images = [image for image in images if image.is_dir()]
    assert len(images) == 4
    for image in images:
        assert "Valid OME-Zarr" in validate(image / "labels")
        assert "Valid OME-Zarr" in validate(image / "labels" / "kmeans")


def test_label_groups_are_label_images_of_ome_zarr_0_5(store: Path) -> None:
    for image in open_store(str(store)).values():
        index = ome_zarr_models.open_ome_zarr(zarr.open_group(f"{image.path}/labels", mode="r"), version="0.5")
        assert isinstance(index, Labels)
        labels = ome_zarr_models.open_ome_zarr(zarr.open_group(f"{image.path}/labels/kmeans", mode="r"), version="0.5")
        assert isinstance(labels, ImageLabel)
        facts = labels.attributes.ome.image_label
        assert facts.colors is not None
        assert facts.properties is not None
        listed = [[entry.label_value for entry in part] for part in (facts.colors, facts.properties)]  # type: ignore[union-attr]
        assert listed[0] == listed[1]
        assert set(np.unique(np.asarray(image.labels))) <= set(listed[0])


def test_a_validator_tells_a_broken_label_group(store: Path, tmp_path: Path, validate: Callable[[Path], str]) -> None:
    zarr.create_group(str(tmp_path / "broken"), attributes={"ome": {"version": "0.5", "multiscales": []}})
    with pytest.raises(AssertionError):
        validate(tmp_path / "broken")


def test_xarray_opens_the_label_group_and_the_image_group(store: Path) -> None:
    for image in open_store(str(store)).values():
        labels = xarray.open_zarr(f"{image.path}/labels/kmeans", consolidated=False, mask_and_scale=False, chunks=None)
        assert labels["0"].dims == ("y", "x")
        assert labels["0"].dtype == image.labels.dtype
        np.testing.assert_array_equal(labels["0"], np.asarray(image.labels))
        group = xarray.open_zarr(image.path, consolidated=False, chunks=None)
        assert group.attrs["kseg"]["source"] == image.source
        if image.masks is None:
            assert "masks" not in group
        else:
            assert group["masks"].dims == ("cluster", "y", "x")
            np.testing.assert_array_equal(group["masks"], np.asarray(image.masks))


def test_to_xarray_gives_labels_and_masks_in_one_dataset(store: Path) -> None:
    for image in open_store(str(store)).values():
        dataset = image.to_xarray()
        assert set(dataset.data_vars) == ({"labels"} if image.masks is None else {"labels", "masks"})
        assert dataset["labels"].dims == ("y", "x")
        assert dataset["labels"].dtype == image.labels.dtype
        np.testing.assert_array_equal(dataset["labels"], np.asarray(image.labels))
        if image.masks is not None:
            assert dataset["masks"].dtype == np.bool_
            np.testing.assert_array_equal(dataset["masks"], np.asarray(image.masks))
        assert dataset.attrs["counts"] == image.attributes["counts"]


def test_images_are_found_by_key_and_by_source(store: Path) -> None:
    opened = open_store(str(store))
    for key, image in opened.items():
        assert opened[image.source].key == key
    with pytest.raises(KeyError):
        opened["no such image"]


def test_nothing_is_left_behind_but_zarr(store: Path) -> None:
    names = {path.name for path in store.rglob("*") if path.is_file() and "c" not in path.relative_to(store).parts}
    assert names <= {"zarr.json"}
