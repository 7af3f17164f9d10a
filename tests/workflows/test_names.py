"""What images are called in a store: as the path below the input is, and for good."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from kseg_core import open_store
from kseg_core.errors import KsegError, StoreError, UsageError
from kseg_core.store.manifest import read_attributes
from tests.asking import SYNC, as_earlier, asked, problems, run_job
from workflows.check import check_store
from workflows.inspect import describe
from workflows.repair import repair_store
from workflows.run import run

HASHED = re.compile("~[0-9a-f]{8}")


def put(png: Any, smooth: Any, folder: Path, *names: str) -> None:
    """Pictures that are not there yet, each of its own content."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        png(folder / name, smooth(30, 40, sum(name.encode())))


def keys_by_source(store: Path) -> dict[str, str]:
    return {image.source.partition("/in/")[2]: key for key, image in open_store(str(store)).items()}


@pytest.fixture
def folder(tmp_path: Path, png: Any, smooth: Any) -> Path:
    put(png, smooth, tmp_path / "in", "Plot A/Leaf 1.png", "Plot A/deep.png/x.png", "plain.png")
    return tmp_path / "in"


def test_images_are_in_the_folders_that_they_came_from(folder: Path, tmp_path: Path) -> None:
    run_job(folder, tmp_path / "s.zarr")
    store = open_store(str(tmp_path / "s.zarr"))
    assert list(store) == ["Plot A/Leaf 1.png", "Plot A/deep.png/x.png", "plain.png"]
    group = zarr.open_group(tmp_path / "s.zarr", mode="r")
    labels = group["images/Plot A/Leaf 1.png/labels/kmeans/0"]
    assert np.array_equal(labels[...], store["Plot A/Leaf 1.png"].labels[...])  # type: ignore[index]
    assert sorted(group["images"].group_keys()) == ["Plot A", "plain.png"]  # type: ignore[union-attr]
    assert (read_attributes(tmp_path / "s.zarr") or {})["names"] == {
        "folders": ["Plot A", "Plot A/deep.png"],
        "hashed": [],
    }
    assert check_store(str(tmp_path / "s.zarr"), SYNC)["problems"] == []


def test_names_stay_when_images_come_that_would_share_them(folder: Path, tmp_path: Path, png: Any, smooth: Any) -> None:
    model = tmp_path / "m.model.zarr"
    run_job(folder, model, k=3)
    store = tmp_path / "s.zarr"
    run(asked(folder, store, model=model))
    first = keys_by_source(store)
    more = ["PLAIN.png", "plot a/Leaf 1.png", "Plot A/Deep.png", "plain~01234567.png"]
    put(png, smooth, folder, *more)
    run(asked(folder, store, model=model))
    second = keys_by_source(store)
    assert second | first == second
    assert len(second) == 7
    shown = [HASHED.sub("~#", second[name], 2) for name in more]
    assert shown == ["PLAIN~#.png", "plot a~#/Leaf 1.png", "Plot A/Deep~#.png", "plain~#~#.png"]
    for name in ("plain.png", "Plot A/Leaf 1.png"):
        (folder / name).unlink()
    put(png, smooth, folder, "plot a/another.png")
    run(asked(folder, store, model=model))
    third = keys_by_source(store)
    assert third | second == third
    assert third["plot a/another.png"] == second["plot a/Leaf 1.png"].replace("Leaf 1", "another")
    assert asked(folder, store, model=model).finished is not None
    assert check_store(str(store), SYNC)["status"] == "ok"


def test_a_store_of_an_earlier_release_goes_on_with_the_names_it_has(
    folder: Path, tmp_path: Path, png: Any, smooth: Any
) -> None:
    model, store = tmp_path / "m.model.zarr", tmp_path / "s.zarr"
    run_job(folder, model, k=3)
    run(asked(folder, store, model=model))
    as_earlier(store)
    first = set(open_store(str(store)))
    assert {re.sub("[0-9a-f]{16}", "#", key) for key in first} == {
        "Plot_A_Leaf_1.png-#", "Plot_A_deep.png_x.png-#", "plain.png",
    }  # fmt: skip
    put(png, smooth, folder, "Plot A/Leaf 2.png")
    result = run(asked(folder, store, model=model))
    assert (result.images.labelled, result.images.reused) == (1, 3)
    (new,) = set(open_store(str(store))) - first
    assert re.fullmatch("Plot_A_Leaf_2.png-[0-9a-f]{16}", new)
    assert "names" not in (read_attributes(store) or {})
    assert asked(folder, store, model=model).finished is not None
    assert check_store(str(store), SYNC)["compared"] == 4
    run(asked(folder, store, model=model, overwrite=True))
    assert "Plot A/Leaf 2.png" in open_store(str(store))


def test_a_damaged_folder_is_told_and_made_anew(folder: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    run_job(folder, store)
    (store / "images/Plot A/zarr.json").write_text("{")
    assert problems(store) == ["images/Plot A/zarr.json, a group of images, is missing or damaged"]
    repair_store(str(store), SYNC)
    assert problems(store) == []
    shutil.rmtree(store / "images/Plot A")
    assert any("2 images are missing: Plot A/Leaf 1.png, Plot A/deep.png/x.png" in each for each in problems(store))
    run_again = asked(folder, store)
    assert run_again.finished is None
    run(run_again)
    assert problems(store) == []


def test_images_whose_files_are_gone_are_told_and_pruned(folder: Path, tmp_path: Path, png: Any, smooth: Any) -> None:
    model, store = tmp_path / "m.model.zarr", tmp_path / "s.zarr"
    run_job(folder, model, k=3)
    run(asked(folder, store, model=model))
    shutil.rmtree(folder / "Plot A/deep.png")
    png(folder / "plain.png", smooth(31, 40, 9))
    states = {image["key"]: image["input"] for image in describe(str(store))["images"]}
    assert states == {"Plot A/Leaf 1.png": "there", "Plot A/deep.png/x.png": "gone", "plain.png": "changed"}
    result = run(asked(folder, store, model=model))
    assert result.changes is not None
    assert (result.changes.removed, len(open_store(str(store)))) == (1, 3)
    assert asked(folder, store, model=model).finished is not None
    result = run(asked(folder, store, model=model, prune=True))
    assert result.changes is not None
    assert (result.changes.removed, list(open_store(str(store)))) == (0, ["Plot A/Leaf 1.png", "plain.png"])
    assert not (store / "images/Plot A/deep.png").exists()
    assert (read_attributes(store) or {})["names"]["folders"] == ["Plot A"]
    assert problems(store) == []
    assert asked(folder, store, model=model, prune=True).finished is not None
    with pytest.raises(UsageError, match="--prune is for a folder that changes, labelled with --model"):
        asked(folder, store, prune=True)


def test_nothing_is_pruned_while_a_part_of_the_inputs_cannot_be_listed(folder: Path, tmp_path: Path) -> None:
    model, store = tmp_path / "m.model.zarr", tmp_path / "s.zarr"
    run_job(folder, model, k=3)
    run(asked(folder, store, model=model))
    shutil.rmtree(folder / "Plot A")
    (folder / "Plot A").symlink_to(tmp_path / "a disk that is not mounted")
    with pytest.raises(KsegError, match=r"s\.zarr: nothing is removed \(--prune\).*in/Plot A: broken link"):
        run(asked(folder, store, model=model, prune=True))
    assert len(open_store(str(store))) == 3


def test_a_model_in_the_place_of_a_store_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    run_job(folder, tmp_path / "m.model.zarr", k=3)
    with pytest.raises(StoreError, match=r"kseg-batch apply INPUT --model .*m\.model\.zarr -o OUT\.zarr"):
        open_store(str(tmp_path / "m.model.zarr"))


def test_a_store_that_names_a_folder_outside_itself_is_refused(folder: Path, tmp_path: Path) -> None:
    run_job(folder, tmp_path / "s.zarr")
    path = tmp_path / "s.zarr/zarr.json"
    document = json.loads(path.read_text())
    for bad in ("..", "Plot A/../../..", "/etc", "", 3):
        document["attributes"]["kseg"]["names"]["folders"] = [bad]
        path.write_text(json.dumps(document))
        with pytest.raises(StoreError, match=r"s\.zarr.*names"):
            open_store(str(tmp_path / "s.zarr"))
