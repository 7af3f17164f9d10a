"""``--confidence``: an array beside the labels, the same whatever tiles and pieces, and verified."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from kseg_core import open_store
from kseg_core.errors import StoreError
from kseg_core.report.settings import ReportSettings
from kseg_core.store.model import Model, label_window
from tests.asking import SYNC, asked, configured, problems, run_job
from tests.tiffs import save_tiff
from workflows.check import check_store
from workflows.inspect import describe
from workflows.repair import repair_store
from workflows.report import ReportRequest, make_report
from workflows.segmentation import segment

Array = NDArray[Any]


def reference(pixels: Array, valid: Array, centroids: Array) -> Array:
    """From the definition: distances to all centroids, the two least."""
    distances = np.sqrt(((pixels[..., None, :].astype(np.float64) - centroids) ** 2).sum(axis=-1))
    first, second = np.moveaxis(np.sort(distances, axis=-1)[..., :2], -1, 0)
    return np.where(valid, np.floor(254 * ((second - first) / second)), 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Path:
    """A picture with a transparent corner, and one without a valid pixel. Not to be changed."""
    inputs = tmp_path_factory.mktemp("confidence") / "in"
    alpha = np.full((170, 210, 1), 255, np.uint8)
    alpha[:40, 30:100] = 0
    png(inputs / "a.png", np.concatenate([smooth(170, 210, 3), alpha], axis=2))
    png(inputs / "nothing.png", np.zeros((5, 6, 4), np.uint8))
    return inputs


@pytest.fixture(scope="module", params=["global", "image"])
def made(request: pytest.FixtureRequest, folder: Path) -> Path:
    """A store with confidence. Not to be changed."""
    store = folder.parent / f"{request.param}.zarr"
    run_job(folder, store, attempts=2, scope=request.param, tile=64, confidence=True)
    return store


def test_the_array_is_that_of_the_definition(made: Path, smooth: Any) -> None:
    store = open_store(str(made))
    image = store["a.png"]
    model = image.model or store.model
    assert image.confidence is not None
    assert (image.confidence.dtype, image.confidence.chunks, image.confidence.fill_value) == (np.uint8, (64, 64), 255)
    assert image.confidence.metadata.dimension_names == ("y", "x")  # type: ignore[union-attr]
    valid = np.asarray(image.labels) != 255
    wanted = reference(smooth(170, 210, 3), valid, model.centroids)
    np.testing.assert_array_equal(np.asarray(image.confidence), wanted)
    assert (np.asarray(store["nothing.png"].confidence) == 255).all()
    found = check_store(store.path, SYNC)
    assert (found["status"], found["compared"]) == ("ok", 2 if made.stem == "global" else 1), found
    opened = image.to_xarray()
    np.testing.assert_array_equal(opened["confidence"].values, wanted)
    assert [described["confidence"] for described in describe(store.path)["images"]] == [
        "images/a.png/confidence",
        "images/nothing.png/confidence",
    ]


def test_nothing_is_written_unless_asked_for(folder: Path, tmp_path: Path) -> None:
    run_job(folder, tmp_path / "out.zarr", attempts=2)
    image = open_store(str(tmp_path / "out.zarr"))["a.png"]
    assert image.confidence is None
    assert not (Path(image.path) / "confidence").exists()
    assert describe(str(tmp_path / "out.zarr"))["images"][0]["confidence"] is None


@pytest.mark.few(1)
@pytest.mark.parametrize("features", ["lab", "bands"])
def test_pieces_and_tiles_change_no_bit(features: str, tmp_path: Path, smooth: Any, parts: Any) -> None:
    source = save_tiff(tmp_path / "in.tif", smooth(330, 200, 7), photometric="rgb")
    how: dict[str, Any] = {"features": features, "confidence": True, "attempts": 2}
    run_job(source, tmp_path / "whole.zarr", **how)
    wanted = np.asarray(open_store(str(tmp_path / "whole.zarr"))["in.tif"].confidence)
    assert len(np.unique(wanted)) > 100
    parts(piece=128)
    for tile in (64, 150):
        run_job(source, tmp_path / f"{tile}.zarr", tile=tile, **how)
        image = open_store(str(tmp_path / f"{tile}.zarr"))["in.tif"]
        assert len(image.levels) > 1  # it was worked on in pieces
        np.testing.assert_array_equal(np.asarray(image.confidence), wanted)
        assert problems(tmp_path / f"{tile}.zarr") == []


def confidence_of(store: Path) -> Any:
    return zarr.open_array(str(store / "images/a.png/confidence"), mode="r+")


def a_value(store: Path) -> None:
    array = confidence_of(store)
    array[100, 100] = (int(array[100, 100]) + 1) % 200


def a_pixel_that_is_told_invalid(store: Path) -> None:
    confidence_of(store)[100, 100] = 255


def the_whole_array(store: Path) -> None:
    shutil.rmtree(store / "images/a.png/confidence")


def its_shape(store: Path) -> None:
    confidence_of(store).resize((170, 211))


DAMAGES = {
    a_value: "a.png: the confidence of 1 pixels is not that of their source's pixels",
    a_pixel_that_is_told_invalid: "a.png: the confidence of 1 pixels disagrees with their validity",
    the_whole_array: "a.png: its confidence is missing",
    its_shape: "a.png: its confidence is uint8 (170, 211), expected uint8 (170, 210)",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_and_named(damage: Any, made: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(made, tmp_path / "out.zarr"))
    damage(store)
    assert problems(store) == [DAMAGES[damage]]


def test_it_is_a_setting_of_the_store_and_older_stores_have_none(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    run_job(folder, store, attempts=2)
    with pytest.raises(StoreError, match="--confidence off → on"):
        asked(folder, store, attempts=2, confidence=True)
    root = zarr.open_group(str(store), mode="r+")
    facts: Any = dict(root.attrs["kseg"])  # type: ignore[arg-type]
    del facts["config"]["output"]["confidence"]  # as an earlier version left it
    root.attrs["kseg"] = facts
    assert asked(folder, store, attempts=2).finished is not None
    with pytest.raises(StoreError, match="--confidence off → on"):
        asked(folder, store, attempts=2, confidence=True)


def test_whoever_labels_asks_one_function_with_the_settings_of_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: Any
) -> None:
    done: dict[str, int] = {}
    plain = Model.label

    def counted(self: Model, *pixels: Any, **how: Any) -> Any:
        assert sys._getframe(1).f_code is label_window.__code__
        done[list(done)[-1]] += 1
        return plain(self, *pixels, **how)

    monkeypatch.setattr(Model, "label", counted)
    parts(piece=64)
    output, config, gray = tmp_path / "out.zarr", configured(3), np.arange(99, dtype=np.uint8).reshape(9, 11)
    stages: dict[str, Callable[[], object]] = {
        "run": lambda: run_job(folder, output, 3, confidence=True, tile=64),
        "check": lambda: problems(output),
        "report": lambda: make_report(
            ReportRequest(str(output), str(tmp_path / "report"), None, ReportSettings()), SYNC
        ),
        "damage": lambda: shutil.rmtree(output / "images/a.png/labels/kmeans/0/c/0"),
        "repair": lambda: repair_store(str(output), SYNC),
        "files": lambda: segment(folder / "a.png", config).labels["a.png"].compute(scheduler="sync"),
        "array": lambda: segment(gray, config).labels["image"].compute(scheduler="sync"),
    }
    for stage, work in stages.items():
        done[stage] = 0
        work()
    assert {stage for stage in done if not done[stage]} == {"damage"}
    assert problems(output) == []
