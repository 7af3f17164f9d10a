"""``--smooth``: what is clustered, labelled, compared and repaired are smoothed pixels, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from kseg_core import Model, open_store
from kseg_core.config import EdgesConfig, InputSettings
from kseg_core.errors import KsegError, KsegWarning, UsageError
from tests.asking import SYNC, asked, configured, problems, run_job, stopped_at
from tests.reference import smoothed
from workflows.repair import repair_store
from workflows.report import ReportRequest, make_report
from workflows.segmentation import segment


@pytest.fixture(autouse=True)
def small_pieces(parts: Any) -> None:
    parts(piece=64)


@pytest.fixture
def pictures(tmp_path: Path, smooth: Any) -> Path:
    """A small picture, and one that is read in pieces; both with pixels that do not count."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, shape in (("a.png", (40, 50)), ("large.tif", (150, 140))):
        alpha = np.full((*shape, 1), 255, np.uint8)
        alpha[10:20, 30:] = 0
        pixels = np.concatenate([smooth(*shape, 7), alpha], axis=2)
        if name == "a.png":
            Image.fromarray(pixels).save(folder / name)
        else:
            tifffile.imwrite(folder / name, pixels, tile=(16, 16), photometric="rgb", extrasamples=["unassalpha"])
    return folder


def pixels_of(path: Path) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """An image's pixels, smoothed by the reference at a scale of 2, and which count."""
    pixels = tifffile.imread(path) if path.suffix == ".tif" else np.asarray(Image.open(path))
    valid = pixels[..., 3] > 0
    return smoothed(np.ascontiguousarray(pixels[..., :3]), valid, 2, together=True), valid


def labels_of(store: Path) -> dict[str, NDArray[Any]]:
    return {key: np.asarray(image.labels[...]) for key, image in open_store(str(store)).items()}


def nearest(pixels: NDArray[Any], valid: NDArray[np.bool_], centroids: NDArray[Any]) -> NDArray[Any]:
    far = ((pixels[:, :, None].astype(float) - centroids) ** 2).sum(axis=3)
    return np.where(valid, far.argmin(axis=2), 255)


def test_labels_are_of_the_smoothed_image_whatever_its_pieces(pictures: Path, tmp_path: Path, parts: Any) -> None:
    store, whole = tmp_path / "out.zarr", tmp_path / "whole.zarr"
    result = run_job(pictures, store, smooth=2, tile=64, copy_image=True, edges=(50.0, 100.0))
    opened = open_store(str(store))
    counts = np.zeros(4, np.int64)
    for key, image in opened.items():
        smooth, valid = pixels_of(pictures / key)
        labels = np.asarray(image.labels[...])
        np.testing.assert_array_equal(labels, nearest(smooth, valid, opened.model.centroids))
        counts += np.bincount(labels[valid], minlength=4)
        assert image.attributes["smooth"] == 2
        copy = np.moveaxis(np.asarray(image.image[...]), 0, -1)  # the image as it is
        np.testing.assert_array_equal(copy[valid], np.asarray(_read(pictures / key))[..., :3][valid])
    assert result.counts == opened.model.counts.tolist() == counts.tolist()
    assert opened.model.smooth == 2
    assert problems(store) == []
    parts(piece=4096)
    run_job(pictures, whole, smooth=2, tile=64, edges=(50.0, 100.0))
    again, plain = open_store(str(whole)), tmp_path / "plain.zarr"
    assert again.model.digest == opened.model.digest
    run_job(pictures, plain, tile=64, edges=(50.0, 100.0))
    for key, image in open_store(str(plain)).items():
        np.testing.assert_array_equal(again[key].labels[...], opened[key].labels[...])
        np.testing.assert_array_equal(image.edges[...], opened[key].edges[...])  # of the image as it is
        assert (np.asarray(image.labels[...]) != opened[key].labels[...]).any()
    assert '"smooth"' not in json.dumps([dict(image.attributes), open_store(str(plain)).attributes["config"]])


def _read(path: Path) -> Any:
    return tifffile.imread(path) if path.suffix == ".tif" else Image.open(path)


def test_bands_are_smoothed_each_by_itself(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(0, 900, (140, 70, 2)).astype(np.uint16)
    path, store = tmp_path / "a.tif", tmp_path / "out.zarr"
    tifffile.imwrite(path, samples, tile=(16, 16), planarconfig="contig", photometric="minisblack")
    run_job(path, store, smooth=3, tile=64, features="bands")
    opened = open_store(str(store))
    smooth = smoothed(samples, None, 3, together=False)
    expected = nearest(smooth, np.ones(smooth.shape[:2], np.bool_), opened.model.centroids)
    np.testing.assert_array_equal(opened["a.tif"].labels[...], expected)
    np.testing.assert_array_equal(opened.model.predict(samples), expected)
    assert problems(store) == []


def test_a_model_of_smoothed_pixels_labels_smoothed_pixels(pictures: Path, tmp_path: Path) -> None:
    store, model, applied = tmp_path / "out.zarr", tmp_path / "a.model.zarr", tmp_path / "applied.zarr"
    run_job(pictures, store, smooth=2, tile=64)
    run_job(pictures, model, smooth=2, tile=64)
    assert Model.load(str(model)).smooth == 2
    same = run_job(pictures, applied, model=model, tile=64)
    assert (labels_of(applied)["large.tif"] == labels_of(store)["large.tif"]).all()
    assert not any("--smooth" in note.text for note in same.notes)
    otherwise = run_job(pictures, tmp_path / "otherwise.zarr", model=model, tile=64, smooth=0)
    assert any("--smooth 2" in note.text and "not smoothed" in note.text for note in otherwise.notes)
    anew = asked(pictures, tmp_path / "anew.zarr", match=model, refit=True, k=4)
    assert anew.config.input.smooth == 2
    image = np.asarray(Image.open(pictures / "a.png"))
    np.testing.assert_array_equal(Model.load(str(model)).predict(image), labels_of(store)["a.png"])
    with pytest.warns(KsegWarning, match="alpha"):
        lazy = segment(str(pictures), configured(model=model))
    np.testing.assert_array_equal(lazy.labels["large.tif"].compute(), labels_of(store)["large.tif"])
    with pytest.raises(UsageError, match="predict"):
        segment(image, configured(model=model))
    with pytest.raises(UsageError, match="paths"):
        segment(image, configured(smooth=2))


def test_a_stopped_job_goes_on_and_a_damaged_store_is_repaired_to_the_same_bits(
    pictures: Path, tmp_path: Path, contents: Any
) -> None:
    settings: dict[str, Any] = {"smooth": 2, "tile": 64, "copy_image": True, "confidence": True}
    undisturbed, store = tmp_path / "undisturbed.zarr", tmp_path / "out.zarr"
    run_job(pictures, undisturbed, **settings)
    with stopped_at("large.tif/labels/kmeans/0/c/2/0"):
        run_job(pictures, store, **settings)
    run_job(pictures, store, **settings)
    assert contents(store) == contents(undisturbed)
    for chunk in ("labels/kmeans/0/c/1/1", "0/c/0/1/0", "confidence/c/0/0"):
        (store / "images" / "large.tif" / chunk).write_bytes(b"no chunk")
    assert problems(store)
    assert repair_store(str(store), SYNC)["repaired"] == ["large.tif"]
    assert contents(store) == contents(undisturbed)
    with pytest.raises(KsegError, match="--smooth 2 → 3"):
        run_job(pictures, store, **{**settings, "smooth": 3})


def test_edges_are_not_found_in_smoothed_pixels() -> None:
    with pytest.raises(UsageError, match="edges"):
        EdgesConfig(input=InputSettings(smooth=2))


@pytest.mark.parametrize("smooth", [-1, 17, 2.5, True, "2.5", "2 miles", "0um", "um", "1e3m"])
def test_what_is_no_scale_is_refused(smooth: Any) -> None:
    with pytest.raises(UsageError, match="--smooth takes whole pixels from 1 to 16, a length like 2um"):
        InputSettings(smooth=smooth)


@pytest.mark.parametrize(("smooth", "told"), [(0, None), (None, None), ("3", 3), ("2.50 µm", "2.5um"), ("1m", "1m")])
def test_stores_tell_of_the_setting_where_it_is_not_the_default(smooth: Any, told: Any) -> None:
    settings = InputSettings(smooth=smooth)
    assert settings.to_json().get("smooth") == told
    assert InputSettings.from_json(settings.to_json()).to_json() == settings.to_json()


def test_a_report_shows_images_as_they_are_and_measures_them_smoothed(pictures: Path, tmp_path: Path) -> None:
    shown = []
    for copied in (True, False):
        store, page = tmp_path / f"{copied}.zarr", tmp_path / f"{copied}.report"
        run_job(pictures, store, smooth=2, tile=64, copy_image=copied)
        make_report(ReportRequest(str(store), str(page)), SYNC)
        shown.append({path.name: path.read_bytes() for path in page.glob("*.png")})
    assert shown[0].keys() == shown[1].keys() != set()
    assert shown[0] == shown[1]  # from the copy, and from the source
