"""Named classes of stores: layers that are a look-up of the labels, verified, repaired, stopped; names that travel."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ome_zarr_models.v05.image_label import ImageLabel

from kseg_core import open_store
from kseg_core.classes import Classes, NamedClass
from kseg_core.errors import OutputHeld, StoreError, UsageError
from kseg_core.resume.lock import hold
from kseg_core.store.model import Model
from tests.asking import SYNC, asked, problems, run_job, stopped_at
from tests.conftest import in_parts, smooth_picture, store_contents
from workflows.classes import ClassChanges, classes_of_all
from workflows.repair import repair_store

CLEAR, LONG = "picture-2.png", "picture-7.png"  # with transparent pixels; of many tiles
PLANT = Classes((NamedClass("plant", (1, 3), "#2ca02c"), NamedClass("soil", (0,))))
NUMBERS = (1, 0, 2, 0)  # of the classes of its four clusters


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, smooth_folder: Path) -> Path:
    here = tmp_path_factory.mktemp("classes") / "in"
    here.mkdir()
    for key in (CLEAR, LONG):
        shutil.copy(smooth_folder / key, here)
    return here


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    """A run's store of two pictures, without names. Not to be changed."""
    store = folder.parent / "run.zarr"
    run_job(folder, store, k=4, tile=64)
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "run.zarr"))


def name(store: Path, classes: Classes = PLANT, **more: Any) -> dict[str, Any]:
    named = tuple((each.name, each.clusters) for each in classes)
    colors = tuple((each.name, each.color) for each in classes if each.color is not None)
    return classes_of_all(str(store), ClassChanges(named=named, colors=colors, **more), SYNC)


def looked_up(labels: np.ndarray, numbers: tuple[int, ...]) -> np.ndarray:
    """What NumPy makes of labels of uint8."""
    return np.array([*numbers, *[255] * (256 - len(numbers))], np.uint8)[labels]


@pytest.mark.parametrize("named", [None, 64])
def test_layers_are_a_look_up_of_the_labels_and_verified(
    store: Path, parts: Callable[..., None], named: int | None
) -> None:
    if named is not None:
        parts(named=named)
    told = name(store, masks=True)
    assert (told["status"], told["changed"], told["named"]) == ("ok", True, 2)
    for image in open_store(str(store)).values():
        assert image.classes is not None
        assert image.class_masks is not None
        expected = looked_up(np.asarray(image.labels), NUMBERS)
        np.testing.assert_array_equal(np.asarray(image.classes), expected)
        np.testing.assert_array_equal(np.asarray(image.class_masks), [expected == each for each in range(3)])
        assert "classes" in image.to_xarray()
    assert problems(store) == []
    assert open_store(str(store)).attributes["classes"] == {"status": "complete", "masks": True}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_tiling_and_any_classes_give_what_numpy_gives(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    here = tmp_path_factory.mktemp("tiling")
    height, width = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
    (here / "in").mkdir()
    from PIL import Image

    Image.fromarray(smooth_picture(height, width, 3)).save(here / "in" / "a.png")
    k = data.draw(st.integers(2, 5))
    run_job(here / "in", here / "o.zarr", k=k, tile=data.draw(st.sampled_from([64, 100, 1024])), attempts=1)
    k = open_store(str(here / "o.zarr")).model.k
    clusters = data.draw(st.lists(st.integers(0, k - 1), min_size=1, max_size=k, unique=True))
    classes = Classes((NamedClass("a", tuple(clusters)),))
    with pytest.MonkeyPatch.context() as patch:
        in_parts(patch, named=data.draw(st.sampled_from([64, 128, None])))
        name(here / "o.zarr", classes)
    image = open_store(str(here / "o.zarr"))["a.png"]
    assert image.classes is not None
    np.testing.assert_array_equal(
        np.asarray(image.classes), looked_up(np.asarray(image.labels), classes.of_clusters(k))
    )
    assert problems(here / "o.zarr") == []


def test_windows_and_schedulers_write_the_same_bits(store: Path, made: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(made, tmp_path / "other.zarr"))
    name(store, masks=True)
    with pytest.MonkeyPatch.context() as patch:
        in_parts(patch, named=64)
        name(other, masks=True)
    assert store_contents(store) == store_contents(other)


def test_the_label_image_says_names_and_colours_as_ome_zarr_has_them(store: Path) -> None:
    name(store)
    image = open_store(str(store))[CLEAR]
    group = zarr.open_group(f"{image.path}/labels/classes", mode="r")
    opened = ome_zarr_models.open_ome_zarr(group, version="0.5")
    assert isinstance(opened, ImageLabel)
    said: Any = dict(group.attrs)["ome"]
    properties = {each["label-value"]: each for each in said["image-label"]["properties"]}
    assert [each["name"] for each in properties.values()] == ["plant", "soil", "2", "invalid"]
    values, areas = np.unique(np.asarray(image.classes), return_counts=True)
    assert {value: properties[value]["area"] for value in values.tolist()} == dict(
        zip(values.tolist(), areas.tolist(), strict=True)
    )
    assert said["image-label"]["colors"][0]["rgba"] == [0x2C, 0xA0, 0x2C, 255]
    listed: Any = zarr.open_group(f"{image.path}/labels", mode="r").attrs["ome"]
    assert listed["labels"] == ["kmeans", "classes"]


def test_other_colours_and_names_touch_no_pixel_and_clearing_leaves_nothing(
    store: Path, made: Path, every_file: Callable[[Path], Any]
) -> None:
    name(store, masks=True)
    chunks = {
        file: stamp for file, stamp in every_file(store).items() if Path(file).is_file() and not file.endswith(".json")
    }
    classes_of_all(str(store), ClassChanges(colors=(("soil", "#111111"),)), SYNC)
    renamed = Classes((NamedClass("leaf", (1, 3)), NamedClass("soil", (0,))))
    classes_of_all(str(store), ClassChanges(clear=True, named=tuple((c.name, c.clusters) for c in renamed)), SYNC)
    assert {
        file: stamp for file, stamp in every_file(store).items() if Path(file).is_file() and not file.endswith(".json")
    } == chunks
    assert problems(store) == []
    classes_of_all(str(store), ClassChanges(masks=False), SYNC)
    assert open_store(str(store))[LONG].class_masks is None
    assert problems(store) == []
    classes_of_all(str(store), ClassChanges(clear=True), SYNC)
    cleared, first = store_contents(store), store_contents(made)
    assert {key: value for key, value in cleared.items() if first.get(key) != value} == {}


def test_the_same_again_writes_nothing_and_nobody_else_writes_meanwhile(
    store: Path, every_file: Callable[[Path], Any]
) -> None:
    name(store)
    before = every_file(store)
    assert name(store)["changed"] is False
    assert every_file(store) == before
    with hold(str(store)), pytest.raises(OutputHeld):
        name(store, Classes((NamedClass("other", (2,)),)))


@pytest.mark.parametrize(
    "file",
    [
        r"run\.zarr/zarr\.json$",
        r"model/zarr\.json$",
        rf"{CLEAR}/labels/classes/0/zarr\.json$",
        rf"{LONG}/labels/classes/0/c/",
        rf"{LONG}/labels/classes/zarr\.json$",
        rf"{LONG}/class_masks/zarr\.json$",
    ],
)
def test_a_stopped_command_is_gone_on_with(store: Path, made: Path, tmp_path: Path, file: str) -> None:
    whole = Path(shutil.copytree(made, tmp_path / "whole.zarr"))
    name(whole, masks=True)
    with stopped_at(file):
        name(store, masks=True)
    if "run" not in file:
        assert any("classes" in line for line in problems(store))
        assert classes_of_all(str(store), ClassChanges(), SYNC)["finished"] is False
    name(store, masks=True)
    assert store_contents(store) == store_contents(whole)


def test_damage_is_found_and_mended_without_a_source(store: Path, folder: Path, tmp_path: Path) -> None:
    name(store, masks=True)
    whole = store_contents(store)
    array = zarr.open_array(f"{store}/images/{CLEAR}/labels/classes/0", mode="r+")
    array[0, 60] = 2 - np.asarray(array[0, 60]) % 2
    shutil.rmtree(f"{store}/images/{LONG}/class_masks")
    Path(f"{store}/images/{LONG}/labels/classes/zarr.json").unlink()
    found = " ".join(problems(store))
    assert f"{CLEAR}: 1 pixels of its classes are not those of its labels" in found
    assert f"{LONG}: " in found
    moved = folder.rename(tmp_path / "moved")
    try:
        told = repair_store(str(store), SYNC)
    finally:
        moved.rename(folder)
    assert told["problems"] == []
    assert sorted(told["repaired"]) == [CLEAR, LONG]
    assert store_contents(store) == whole


def test_labels_that_are_made_anew_have_their_classes_anew(store: Path) -> None:
    name(store)
    whole = store_contents(store)
    array = zarr.open_array(f"{store}/images/{CLEAR}/labels/kmeans/0", mode="r+")
    array[...] = (np.asarray(array) + 1) % 4
    assert repair_store(str(store), SYNC)["problems"] == []
    assert store_contents(store) == whole


def test_cleaned_labels_are_what_classes_are_of(folder: Path, tmp_path: Path) -> None:
    run_job(folder, tmp_path / "o.zarr", k=4, tile=64, min_region=40, keep_raw=True, classes=PLANT)
    image = open_store(str(tmp_path / "o.zarr"))[LONG]
    assert image.classes is not None
    np.testing.assert_array_equal(np.asarray(image.classes), looked_up(np.asarray(image.labels), NUMBERS))
    assert problems(tmp_path / "o.zarr") == []


# ---------------------------------------------------------------------------------------------------------- travelling


def test_names_of_a_run_are_those_of_a_command(folder: Path, store: Path, tmp_path: Path) -> None:
    run_job(folder, tmp_path / "o.zarr", k=4, tile=64, classes=PLANT)
    name(store)
    for path in (store, tmp_path / "o.zarr"):
        assert open_store(str(path)).classes == PLANT
    ours, theirs = store_contents(tmp_path / "o.zarr"), store_contents(store)
    assert {key for key in theirs if ours.get(key) != theirs[key]} == {":attributes"}  # which command it was
    assert asked(folder, tmp_path / "o.zarr", tile=64, classes=PLANT).finished is not None
    with pytest.raises(StoreError, match=r"other classes.*kseg-batch classes .*o\.zarr --from"):
        asked(folder, tmp_path / "o.zarr", tile=64, classes=Classes((NamedClass("plant", (1,)),)))


def test_a_stopped_run_has_all_classes_at_its_end(folder: Path, tmp_path: Path) -> None:
    run_job(folder, tmp_path / "whole.zarr", k=4, tile=64, classes=PLANT)
    with stopped_at(rf"{LONG}/labels/classes/zarr\.json$"):
        run_job(folder, tmp_path / "o.zarr", k=4, tile=64, classes=PLANT)
    run_job(folder, tmp_path / "o.zarr", k=4, tile=64, classes=PLANT)
    assert store_contents(tmp_path / "o.zarr") == store_contents(tmp_path / "whole.zarr")


def test_they_go_with_the_model(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.model.zarr"
    run_job(folder, model, k=4, classes=PLANT)
    assert Model.load(str(model)).classes == PLANT
    run_job(folder, tmp_path / "applied.zarr", model=model, tile=64)
    assert open_store(str(tmp_path / "applied.zarr")).classes == PLANT
    assert open_store(str(tmp_path / "applied.zarr"))[LONG].classes is not None
    run_job(folder, tmp_path / "matched.zarr", k=4, match=model, seed=3)
    assert open_store(str(tmp_path / "matched.zarr")).classes == PLANT
    run_job(folder, tmp_path / "refitted.zarr", k=4, features="rgb", match=model, refit=True)
    assert open_store(str(tmp_path / "refitted.zarr")).classes == PLANT
    assert problems(tmp_path / "refitted.zarr") == []


def test_names_follow_clusters_whose_numbers_close_up(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.model.zarr"
    each = Classes(tuple(NamedClass(f"c{cluster}", (cluster,)) for cluster in range(4)))
    run_job(folder, model, k=4, classes=each)
    run_job(folder, tmp_path / "few.model.zarr", k=2, match=model)
    earlier, few = Model.load(str(model)), Model.load(str(tmp_path / "few.model.zarr"))
    assert few.classes is not None
    assert len(few.classes) == 2
    pairs = [(each.clusters[0], int(each.name[1:])) for each in few.classes]
    cost = sum(float(((few.points[a] - earlier.points[b]) ** 2).sum()) for a, b in pairs)
    every = [
        float(((few.points[[0, 1]] - earlier.points[[a, b]]) ** 2).sum()) for a in range(4) for b in range(4) if a != b
    ]
    assert cost == pytest.approx(min(every))


def test_new_images_of_a_growing_store_have_the_names_that_it_was_given_since(
    folder: Path, made: Path, tmp_path: Path, smooth_folder: Path
) -> None:
    inputs = Path(shutil.copytree(folder, tmp_path / "in"))
    run_job(inputs, tmp_path / "o.zarr", model=made, tile=64)
    name(tmp_path / "o.zarr", masks=True)
    shutil.copy(smooth_folder / "picture-3.png", inputs)
    run_job(inputs, tmp_path / "o.zarr", model=made, tile=64)
    store = open_store(str(tmp_path / "o.zarr"))
    assert store.classes == PLANT
    assert store["picture-3.png"].class_masks is not None
    assert problems(tmp_path / "o.zarr") == []


def test_classes_that_no_fit_can_have_are_refused_before_it(folder: Path, tmp_path: Path) -> None:
    for settings_of, said in (
        ({"k": 2}, "no cluster 3"),
        ({"k": "auto"}, "kseg-batch classes"),
        ({"k": 4, "scope": "image"}, "scope image"),
    ):
        with pytest.raises(UsageError, match=said):
            asked(folder, tmp_path / "o.zarr", classes=PLANT, **settings_of)
