"""``check`` finds what is wrong with a store, ``inspect`` tells what is in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from kseg_core import Model, open_store
from kseg_core.config import ExecutionSettings
from kseg_core.errors import StoreError
from kseg_core.resume.lock import hold
from tests.asking import SYNC, problems
from workflows.check import check_store
from workflows.inspect import describe

SCOPES = ("global", "image")


@pytest.fixture(scope="module")
def pictures(small_folder: Path, tmp_path_factory: pytest.TempPathFactory, png: Any) -> Path:
    """Pictures, one of them wholly transparent. Not to be changed."""
    folder = Path(shutil.copytree(small_folder, tmp_path_factory.mktemp("checked") / "in"))
    png(folder / "nothing.png", np.zeros((5, 6, 4), np.uint8))
    return folder


@pytest.fixture(scope="module", params=SCOPES)
def made(request: pytest.FixtureRequest, pictures: Path, job: Any) -> Path:
    """A store of them. Not to be changed."""
    store = pictures.parent / f"{request.param}.zarr"
    if not store.exists():
        job(pictures, store, k=3, scope=request.param)
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "out.zarr"))


def say(store: Path, **facts: Any) -> None:
    """Change what a store says of itself."""
    root = zarr.open_group(str(store), mode="r+")
    root.attrs["kseg"] = {**root.attrs["kseg"], **facts}  # type: ignore[dict-item]


def test_a_store_as_it_was_made_is_ok_and_compared_with_its_sources_and_no_file_changes(
    made: Path, every_file: Any
) -> None:
    before = every_file(made)
    blank = {} if made.stem == "global" else {"an image without a valid pixel": 1}
    for settings in (SYNC, ExecutionSettings("threads", 2)):
        assert check_store(str(made), settings) == {
            "status": "ok", "problems": [], "images": 4, "compared": 4 - len(blank), "not_compared": blank,
            "damaged": [],
        }  # fmt: skip
    assert every_file(made) == before


@pytest.mark.parametrize("scope", SCOPES)
def test_why_images_are_not_compared_with_sources_that_are_not_what_they_were_is_told_with_how_many(
    scope: str, pictures: Path, tmp_path: Path, job: Any
) -> None:
    folder = Path(shutil.copytree(pictures, tmp_path / "in"))
    job(folder, tmp_path / "out.zarr", k=3, scope=scope)
    (folder / "a.png").unlink()
    for name in ("b.png", "c.png"):
        os.utime(folder / name, ns=(1, 1))
    found = check_store(str(tmp_path / "out.zarr"), SYNC)
    told = {"changed since it was labelled": 2, "the image it was labelled from is not there any more": 1}
    told |= {"an image without a valid pixel": 1} if scope == "image" else {}
    assert (found["status"], found["compared"], found["not_compared"]) == ("ok", 4 - sum(told.values()), told)
    a_label_and_its_masks(tmp_path / "out.zarr")  # which only counts can tell, without the source
    assert any("counts" in line for line in problems(tmp_path / "out.zarr"))


def test_relative_sources_are_found_from_any_folder(
    pictures: Path, tmp_path: Path, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    job("in", tmp_path / "out.zarr", k=3)
    monkeypatch.chdir(tmp_path)
    found = check_store("out.zarr", SYNC)
    assert (found["status"], found["compared"]) == ("ok", 4)


def a_label(store: Path) -> None:
    array = zarr.open_array(f"{store}/images/b.png/labels/kmeans/0", mode="r+")
    array[7, 9] = (int(array[7, 9]) + 1) % 3  # type: ignore[arg-type, call-overload]


def a_label_and_its_masks(store: Path) -> None:
    a_label(store)
    labels = np.asarray(zarr.open_array(f"{store}/images/b.png/labels/kmeans/0", mode="r")[...])
    zarr.open_array(f"{store}/images/b.png/masks", mode="r+")[...] = labels[None] == np.arange(3)[:, None, None]


def a_mask(store: Path) -> None:
    array: Any = zarr.open_array(f"{store}/images/b.png/masks", mode="r+")
    array[0, 3, 3] = not array[0, 3, 3]


def a_label_beyond_k(store: Path) -> None:
    zarr.open_array(f"{store}/images/b.png/labels/kmeans/0", mode="r+")[0, 0] = 200


def the_counts(store: Path) -> None:
    group = zarr.open_group(f"{store}/images/b.png", mode="r+")
    facts: Any = dict(group.attrs["kseg"])  # type: ignore[arg-type]
    facts["counts"] = [facts["counts"][0] + 1, facts["counts"][1] - 1, *facts["counts"][2:]]
    group.attrs["kseg"] = facts


def the_labels_array(store: Path) -> None:
    shutil.rmtree(store / "images/b.png/labels/kmeans/0")


def a_chunk(store: Path) -> None:
    chunk = next(path for path in (store / "images/b.png/labels/kmeans/0/c").rglob("*") if path.is_file())
    chunk.write_bytes(b"rubbish" * 5)


def a_missing_chunk(store: Path) -> None:
    shutil.rmtree(store / "images/b.png/labels/kmeans/0/c")


def the_shape(store: Path) -> None:
    group = zarr.open_group(f"{store}/images/b.png/labels/kmeans", mode="r+")
    del group["0"]
    group.create_array("0", shape=(40, 52), dtype="uint8", chunks=(40, 52), fill_value=255)


def the_whole_image(store: Path) -> None:
    shutil.rmtree(store / "images/b.png")


def the_metadata(store: Path) -> None:
    (store / "images/b.png/zarr.json").write_text("{")


DAMAGES: dict[Callable[[Path], None], str] = {
    a_label_and_its_masks: "b.png: 1 labels are not the nearest centroid of their source's pixels",
    a_label: "b.png: 2 mask pixels disagree with the labels",
    a_mask: "b.png: 1 mask pixels disagree with the labels",
    a_label_beyond_k: "b.png: labels that are no cluster",
    the_counts: "b.png: the labels' counts are not those in its attributes",
    the_labels_array: "b.png: cannot be read (",
    a_chunk: "b.png: cannot be read (",
    a_missing_chunk: "b.png: ",
    the_shape: "b.png: labels are uint8 (40, 52), expected uint8 (40, 51)",
    the_whole_image: "1 image is missing: b.png; the command that made the store labels what is missing",
    the_metadata: "b.png: cannot be read (",
}


@pytest.mark.few(8)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_found_and_named(store: Path, damage: Callable[[Path], None]) -> None:
    damage(store)
    found = problems(store)
    assert any(line.startswith(DAMAGES[damage]) for line in found), found
    assert all("a.png" not in line and "c.png" not in line for line in found)


def test_a_damaged_model_is_found_by_its_digest(store: Path, pictures: Path, tmp_path: Path, job: Any) -> None:
    job(pictures, tmp_path / "out.model.zarr", k=3)
    assert problems(tmp_path / "out.model.zarr") == []
    path = "model" if store.joinpath("model").exists() else "images/b.png/model"
    for damaged, model in ((store, store / path), (tmp_path / "out.model.zarr", tmp_path / "out.model.zarr")):
        colors: Any = zarr.open_array(str(model / "colors"), mode="r+")
        colors[0, 0] += 1
        assert [line for line in problems(damaged) if "digest does not match" in line]


def test_an_unfinished_store_is_a_problem_and_names_who_is_writing_it(store: Path) -> None:
    say(store, status="running")
    with hold(str(store)):
        assert any(f"another run holds it, pid {os.getpid()} of " in line for line in problems(store))
    assert "the run that made it has not finished; the same command completes it" in problems(store)


@pytest.mark.parametrize("what", [check_store, lambda path, _: describe(path)], ids=["check", "describe"])
def test_what_is_no_store_is_an_error(what: Any, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    zarr.create_group(str(tmp_path / "zarr"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "zarr.json").write_text("{")
    for name in ("nothing", "folder", "file", "zarr", "broken"):
        with pytest.raises(StoreError, match=name):
            what(str(tmp_path / name), SYNC)


# --------------------------------------------------------------------------------------------------- inspect


def test_a_store_is_described_with_paths_that_lead_to_its_arrays(made: Path, pictures: Path) -> None:
    found = describe(str(made))
    assert (found["format"], found["status"]) == (1, "complete")
    assert [image["key"] for image in found["images"]] == ["a.png", "b.png", "c.png", "nothing.png"]
    root: Any = zarr.open_group(str(made), mode="r")
    opened = open_store(str(made))
    for image in found["images"]:
        assert set(image) >= {"key", "source", "shape", "labels", "masks", "counts", "invalid", "mse"}
        assert image["source"] == str(pictures / image["key"])
        labels = np.asarray(root[image["labels"]])
        assert list(labels.shape) == image["shape"]
        assert int((labels == 255).sum()) == image["invalid"]
        if image["masks"] is not None:
            assert np.asarray(root[image["masks"]]).sum((1, 2)).tolist() == image["counts"]
        assert image["mse"] == opened[image["key"]].attributes["mse"]
    blank = found["images"][3]
    assert (blank["invalid"], blank["mse"]) == (30, None)
    if made.stem == "image":
        assert found["model"] is None
    else:
        model = Model.load(str(made))
        told = found["model"]
        assert (told["k"], told["k_requested"], told["features"]) == (3, 3, "rgb")
        assert told["centroids"] == model.centroids.tolist()
        assert told["counts"] == model.counts.tolist()
        assert (told["inertia"], told["mse"], told["digest"]) == (model.inertia, model.mse, model.digest)


def test_a_model_of_its_own_is_described_without_images(small_folder: Path, tmp_path: Path, job: Any) -> None:
    job(small_folder, tmp_path / "out.model.zarr", k=3, features="lab", seed=7)
    found = describe(str(tmp_path / "out.model.zarr"))
    assert (found["format"], found["status"], found["images"]) == (1, "complete", [])
    assert (found["model"]["features"], found["model"]["components"]) == ("lab", ["L", "a", "b"])
    assert (found["model"]["seed"], found["model"]["attempts"]) == (7, 3)


def test_an_unfinished_store_is_described_as_far_as_it_got(store: Path) -> None:
    say(store, status="running")
    shutil.rmtree(store / "model", ignore_errors=True)
    shutil.rmtree(store / "images" / "c.png")
    found = describe(str(store))
    assert (found["status"], found["model"], len(found["images"])) == ("running", None, 3)


def test_describing_a_store_names_a_damaged_image_and_goes_on_with_the_others(store: Path) -> None:
    whole = describe(str(store))
    the_metadata(store)
    found = describe(str(store))
    assert [image for image in whole["images"] if image["key"] != "b.png"] == found["images"]
    assert [failure["key"] for failure in found["failures"]] == ["b.png"]
