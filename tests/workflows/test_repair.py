"""``check --repair`` makes anew what is damaged, to the last bit, and touches nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile
import zarr

from kseg_core import storage
from kseg_core.config import EdgesConfig, ExecutionSettings
from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import OutputHeld, StoreError
from kseg_core.resume.lock import hold
from kseg_core.store.manifest import read_attributes
from kseg_core.store.opening import update_attributes
from tests.asking import run_job
from tests.conftest import Contents, pieces_of, store_contents
from tests.object_store import chunks_below, documents_below, objects_below, upload, versions
from tests.progress import Listener, Stopped
from workflows.check import check_store
from workflows.layer_job import add_to_images
from workflows.layer_request import prepare_layer
from workflows.repair import repair_store
from workflows.request import InputSelection

SYNC = ExecutionSettings("sync")
LARGE = "large.tif"  # of four pieces, each of 2 x 2 tiles at most, and of three levels
PIECE = 2  # tiles a side
WINDOWS = {(0, 0): "0/0", (0, 1): "0/2", (1, 0): "2/0", (1, 1): "2/2"}  # of it, with their first tiles
EVERYTHING: dict[str, Any] = {
    "k": 3, "attempts": 1, "tile": 64, "copy_image": True, "confidence": True, "edges": (50.0, 100.0)
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    with pieces_of(64 * PIECE):
        yield


@pytest.fixture(scope="module")
def pictures(small_folder: Path, smooth: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(small_folder, tmp_path_factory.mktemp("repair") / "in"))
    tifffile.imwrite(folder / LARGE, smooth(140, 150, 5), tile=(64, 64), photometric="rgb")
    return folder


class Made(NamedTuple):
    """A store, and all that it holds. Not to be changed."""

    path: Path
    contents: Contents


@pytest.fixture(scope="module")
def made(pictures: Path) -> Made:
    """One with all that a store can hold."""
    run_job(pictures, pictures.parent / "made.zarr", **EVERYTHING)
    return Made(pictures.parent / "made.zarr", store_contents(pictures.parent / "made.zarr"))


@pytest.fixture
def store(made: Made, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.path, tmp_path / "out.zarr"))


def add_edges(pictures: Path, store: Path) -> Path:
    config = EdgesConfig(EdgeSettings(15, 30, blur=1.0), overwrite=True, execution=SYNC)
    add_to_images(prepare_layer(InputSelection((str(pictures),)), config, str(store)))
    return store


# ------------------------------------------------------------------------------ damages, on a disk and elsewhere


def flip(path: str | Path, at: int = -6) -> None:
    content = bytearray(storage.read(str(path)))
    content[at] ^= 1
    storage.put(str(path), [bytes(content)])


def cut_short(path: str) -> None:
    content = storage.read(path)
    storage.put(path, [content[: len(content) // 2]])


def remove(path: str) -> None:
    """A file, or all that is below a folder."""
    if os.path.isdir(path):
        shutil.rmtree(path)
        return
    if storage.is_file(path):
        storage.remove_file(path)
        return
    files = [f"{folder}/{name}" for folder, _, names in storage.walk(path) for name in names]
    assert files
    for file in files:
        storage.remove_file(file)


def other_counts(path: str) -> None:
    document = json.loads(storage.read(path))
    document["attributes"]["kseg"]["counts"] = [1, 2, 3]
    storage.put(path, [json.dumps(document).encode()])


def other_area(path: str) -> None:
    storage.put(path, [storage.read(path).replace(b'"area": ', b'"area": 1')])


LABELS, MASKS = "labels/kmeans/0/c/", "masks/c/"
UNREADABLE = "cannot be read"
WHOLE = set(WINDOWS)


class Damages(NamedTuple):
    """What is done to which part of which image, and what is told of that; the windows of the large one made anew."""

    each: list[tuple[Callable[[str], None], str, str, str]]
    windows: AbstractSet[tuple[int, int]] = frozenset()


DAMAGES = {
    "tiles removed": Damages(
        [
            (remove, LARGE, f"{LABELS}0/1", "no file for tiles 0/1 of its labels: 4096 pixels are lost"),
            (remove, LARGE, f"{MASKS}1/0/2", "mask pixels disagree with the labels"),
            (remove, LARGE, "0/c/1/2/0", "samples of its copy are not those of its source"),
            (remove, LARGE, "labels/kmeans/2/c/0/0", "pixels of level 2 of its labels are not of the level above"),
            (remove, LARGE, "1/c/1/0/0", "of level 1 of its copy are not of the level above"),
            (remove, LARGE, "edges/c/0/0", "its edges have"),
            (remove, LARGE, "confidence/c/0/2", "pixels disagrees with their validity"),
            (remove, "b.png", "confidence/c/0/0", "the confidence of 2040 pixels disagrees with their validity"),
            (remove, "c.png", "masks", "its masks are missing"),
        ],
        {(0, 0), (0, 1), (1, 0)},
    ),
    "more chunks": Damages(
        [
            (flip, LARGE, "labels/kmeans/1/c/1/1", UNREADABLE),
            (flip, LARGE, "edges/c/1/1", UNREADABLE),
            (flip, "b.png", "0/c/1/0/0", UNREADABLE),
        ]
    ),
    "a level and documents": Damages(
        [
            (remove, LARGE, "labels/kmeans/2", "level 2 of its labels is missing"),
            (remove, "b.png", "zarr.json", UNREADABLE),
            (other_counts, "c.png", "zarr.json", "the labels' counts"),
        ],
        WHOLE,
    ),
    "the list of labels": Damages([(cut_short, LARGE, "labels/zarr.json", "which lists its labels")], WHOLE),
    "an area": Damages([(other_area, LARGE, "labels/kmeans/zarr.json", "what is said with its labels")], WHOLE),
    "a large image's metadata": Damages([(cut_short, LARGE, "zarr.json", UNREADABLE)], WHOLE),
    "a tile of a level, and arrays": Damages(
        [
            (remove, LARGE, "labels/kmeans/2/c/0/0", "pixels of level 2 of its labels are not of the level above"),
            (remove, "a.png", "labels/kmeans/0/zarr.json", UNREADABLE),
            (remove, "b.png", "labels/kmeans/zarr.json", "its labels are missing"),
        ]
    ),
    "chunks that cannot be read": Damages(
        [
            (flip, LARGE, f"{LABELS}2/2", UNREADABLE),
            (cut_short, LARGE, f"{MASKS}1/0/1", UNREADABLE),
            (flip, LARGE, "0/c/2/2/0", UNREADABLE),
            (flip, "a.png", "confidence/c/0/0", UNREADABLE),
            (flip, "b.png", f"{LABELS}0/0", UNREADABLE),
            (cut_short, "c.png", "edges/c/0/0", UNREADABLE),
        ],
        {(0, 0), (1, 0), (1, 1)},
    ),
}


def stamps(store: Path) -> dict[str, int]:
    """Tells which files of a store are written."""
    return {str(path.relative_to(store)): path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}


@pytest.mark.few(4)
@pytest.mark.parametrize("damages", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_named_and_made_anew_to_the_last_bit_and_nothing_else_is_written(
    damages: Damages, store: Path, made: Made
) -> None:
    for act, key, part, _ in damages.each:
        act(f"{store}/images/{key}/{part}")
    require_named(damages, str(store))
    before = stamps(store)
    require_repaired(damages, str(store))
    assert store_contents(store) == made.contents
    after = stamps(store)
    require_no_more_written(damages, {name for name in after if after[name] != before.get(name)})
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def require_named(damages: Damages, store: str) -> None:
    found = check_store(store, SYNC)["problems"]
    for _, key, part, told in damages.each:
        assert any(line.startswith(f"{key}: ") and told in line for line in found), (part, found)
    assert {line.partition(":")[0] for line in found} == {key for _, key, _, _ in damages.each}


def require_repaired(damages: Damages, store: str) -> None:
    mended = repair_store(store, ExecutionSettings("threads", 2))
    concerned = sorted({key for _, key, _, _ in damages.each})
    assert (mended["status"], mended["problems"], mended["repaired"]) == ("ok", [], concerned)


def require_no_more_written(damages: Damages, written: set[str]) -> None:
    of_images = {name for name in written if name.startswith("images/")}
    assert {name.split("/")[1] for name in of_images} == {key for _, key, _, _ in damages.each}
    assert written - of_images == {"zarr.json"}
    large = {name.removeprefix(f"images/{LARGE}/") for name in of_images if name.startswith(f"images/{LARGE}/")}
    damaged = {part for _, key, part, _ in damages.each if key == LARGE}
    rewritten = {window_of(name) for name in large if name.startswith(LABELS)}
    assert rewritten == damages.windows
    if damages.windows != WHOLE:
        for name in large - damaged:  # what else is written is of these windows, or of an array with a damaged chunk
            array = name.partition("/c/")[0]
            assert "/c/" not in name or window_of(name) in rewritten or any(p.startswith(array) for p in damaged), name


def window_of(chunk: str) -> tuple[int, ...]:
    return tuple(int(number) // PIECE for number in chunk.split("/")[-2:])


@pytest.mark.slow
@pytest.mark.parametrize("damages", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_in_an_object_store_is_made_anew_likewise(
    damages: Damages, pictures: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, output = upload(pictures, f"{bucket}/in"), f"{bucket}/out.zarr"
    run_job(inputs, output, scheduler="threads", workers=2, **EVERYTHING)
    whole = chunks_below(output), documents_below(output)
    for act, key, part, _ in damages.each:
        act(f"{output}/images/{key}/{part}")
    require_named(damages, output)
    before = versions(bucket)
    require_repaired(damages, output)
    assert (chunks_below(output), documents_below(output)) == whole
    after = versions(bucket)
    written = {name.removeprefix("out.zarr/") for name in after if after[name] != before.get(name)}
    require_no_more_written(damages, written - {".out.zarr.lock.json"})
    assert {name.split("/")[0] for name in objects_below(bucket)} == {"in", "out.zarr"}
    before = versions(bucket)
    assert repair_store(output, SYNC)["repaired"] == []
    after = versions(bucket)
    assert {name for name in after if after[name] != before.get(name)} == {".out.zarr.lock.json"}


def test_the_group_of_all_images_is_made_anew_and_then_nothing_is_touched(
    store: Path, made: Made, every_file: Any
) -> None:
    for act in (remove, cut_short):
        act(f"{store}/images/zarr.json")
        assert any("images/zarr.json" in line for line in check_store(str(store), SYNC)["problems"])
        assert repair_store(str(store), SYNC)["status"] == "ok"
        assert store_contents(store) == made.contents
    before = every_file(store)
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["repaired"]) == ("ok", [])
    assert every_file(store) == before


@pytest.mark.slow
def test_images_with_models_of_their_own_get_them_again(pictures: Path, tmp_path: Path) -> None:
    store = tmp_path / "out.zarr"
    run_job(pictures, store, scope="image", **EVERYTHING)
    whole = store_contents(store)
    flip(store / f"images/{LARGE}/{LABELS}0/0")
    remove(f"{store}/images/b.png/model")
    assert repair_store(str(store), SYNC)["repaired"] == ["b.png", LARGE]
    assert store_contents(store) == whole


@pytest.mark.parametrize("alone", [False, True])
def test_edges_alone_and_edges_added_afterwards_are_made_anew_as_they_were_though_a_repair_was_stopped(
    alone: bool, pictures: Path, tmp_path: Path
) -> None:
    store = tmp_path / "out.zarr"
    if not alone:
        run_job(pictures, store, k=2, attempts=1)
    add_edges(pictures, store)
    whole = store_contents(store)
    for key in ("a.png", LARGE):
        flip(next(path for path in (store / f"images/{key}/edges/c").rglob("*") if path.is_file()))
    if not alone:
        flip(store / f"images/a.png/{LABELS}0/0")
        with pytest.raises(Stopped):
            repair_store(str(store), SYNC, Listener("finding edges"))
    mended = repair_store(str(store), SYNC)
    assert mended["status"] == "ok"
    assert mended["repaired"] == ["a.png", LARGE] or not alone
    assert store_contents(store) == whole


def test_edges_of_a_run_that_were_replaced_since_are_made_anew_where_they_are_gone(pictures: Path, store: Path) -> None:
    whole = store_contents(add_edges(pictures, store))
    for key in ("a.png", LARGE):
        remove(f"{store}/images/{key}/edges")
    assert repair_store(str(store), SYNC)["status"] == "ok"
    assert store_contents(store) == whole


# -------------------------------------------------------------------------------------- what cannot be made anew


def test_what_has_no_source_any_more_is_named_and_left_as_it_is(
    pictures: Path, tmp_path: Path, png: Any, smooth: Any, every_file: Any
) -> None:
    folder, store = Path(shutil.copytree(pictures, tmp_path / "in")), tmp_path / "out.zarr"
    run_job(folder, store, k=2, attempts=1)
    for key in ("a.png", "b.png", "c.png"):
        flip(store / f"images/{key}/{LABELS}0/0")
    (folder / "b.png").unlink()
    png(folder / "c.png", smooth(40, 52, 9))
    left = {"b.png": "is not there any more", "c.png": "changed since it was labelled"}
    before = [every_file(store / f"images/{key}") for key in left]
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["repaired"]) == ("failed", ["a.png"])
    assert all(any(key in line for key in left) for line in mended["problems"])
    for key, reason in left.items():
        assert any(f"{key}: cannot be made anew" in line and reason in line for line in mended["problems"])
    assert [every_file(store / f"images/{key}") for key in left] == before
    assert (read_attributes(store) or {})["status"] == "complete"


def test_an_image_that_is_lost_is_labelled_by_the_command_that_made_the_store_and_nothing_else_is(
    pictures: Path, made: Made, every_file: Any
) -> None:
    again = Path(shutil.copytree(made.path, made.path.parent / "again.zarr"))  # its inputs are where they were
    remove(f"{again}/images/b.png")
    mended = repair_store(str(again), SYNC)
    assert mended["status"] == "failed"
    assert any("the command that made the store labels what is missing" in line for line in mended["problems"])
    before = every_file(again / "images/a.png")
    listener = Listener()
    result = run_job(pictures, again, progress=listener, **EVERYTHING)
    assert (result.images.labelled, result.images.reused) == (1, 3)
    assert "finding centroids" not in listener.stages
    assert store_contents(again) == made.contents
    assert every_file(again / "images/a.png") == before


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("a damaged model", "model"),
        ("no model", "its model is missing"),
        ("an unfinished store", "the same command completes it"),
        ("a lock", None),
    ],
)
def test_what_is_not_to_be_repaired_is_told_and_nothing_is_touched(
    trouble: str, told: str | None, store: Path, every_file: Any
) -> None:
    flip(store / f"images/a.png/{LABELS}0/0")
    if trouble == "a damaged model":
        flip(store / "model/colors/c/0/0")
    elif trouble == "no model":
        remove(f"{store}/model")
    elif trouble == "an unfinished store":
        update_attributes(str(store), {"status": "running"})
    before = every_file(store)
    if told is None:
        with hold(str(store)), pytest.raises(OutputHeld):
            repair_store(str(store), SYNC)
    else:
        mended = repair_store(str(store), SYNC)
        assert (mended["status"], mended["repaired"]) == ("failed", [])
        assert told in mended["problems"][0]
    assert every_file(store) == before


def test_what_is_no_store_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        repair_store(str(tmp_path / "none.zarr"), SYNC)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ stopped on the way


@pytest.mark.few(1)
@pytest.mark.parametrize("then", ["repair", "run"])
def test_a_repair_that_is_stopped_does_not_call_the_store_complete_and_is_gone_on_with(
    then: str, pictures: Path, made: Made
) -> None:
    store = Path(shutil.copytree(made.path, made.path.parent / f"stopped-{then}.zarr"))
    for key in ("a.png", "b.png"):
        flip(store / f"images/{key}/{LABELS}0/0")
    with pytest.raises(Stopped):
        repair_store(str(store), SYNC, Listener("labelling", 1))
    assert (read_attributes(store) or {})["status"] == "incomplete"
    assert "the same command completes it" in check_store(str(store), SYNC)["problems"][0]
    if then == "repair":
        assert repair_store(str(store), SYNC)["status"] == "ok"
    else:
        listener = Listener()
        run_job(pictures, store, progress=listener, **EVERYTHING)
        assert "finding centroids" not in listener.stages
    assert store_contents(store) == made.contents


@pytest.mark.parametrize("stage", ["mending", pytest.param("labelling", marks=pytest.mark.slow)])
def test_windows_that_were_made_anew_before_a_repair_was_stopped_are_not_made_anew_again(
    stage: str, store: Path, made: Made
) -> None:
    """Of a large image whose windows are mended, and of one that is made anew whole."""
    if stage == "mending":
        for tile in WINDOWS.values():
            flip(store / f"images/{LARGE}/{LABELS}{tile}")
    else:
        remove(f"{store}/images/{LARGE}/labels/kmeans/0/zarr.json")
    with pytest.raises(Stopped):
        repair_store(str(store), SYNC, Listener(stage, 2))
    assert (read_attributes(store) or {})["status"] == "incomplete"
    assert any(LARGE in line for line in check_store(str(store), SYNC)["problems"])
    before = stamps(store)
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["problems"]) == ("ok", [])
    after = stamps(store)
    written = {name for name in after if after[name] != before.get(name) and f"{LARGE}/{LABELS}" in name}
    assert {window_of(name) for name in written} == {(1, 0), (1, 1)}
    assert store_contents(store) == made.contents


def test_a_window_whose_source_cannot_be_read_is_told_and_its_image_not_called_complete(
    pictures: Path, tmp_path: Path
) -> None:
    folder, store = Path(shutil.copytree(pictures, tmp_path / "in")), tmp_path / "out.zarr"
    run_job(folder, store, k=2, attempts=1, tile=64)
    flip(store / f"images/{LARGE}/{LABELS}2/2")
    mended = repair_store(str(store), SYNC, Listener("mending", deed=(folder / LARGE).unlink))
    assert (mended["status"], mended["repaired"]) == ("failed", [])
    assert any("no such file" in line for line in mended["problems"])
    assert (read_attributes(store / "images" / LARGE) or {})["status"] == "damaged"
    shutil.copy2(pictures / LARGE, folder / LARGE)
    assert repair_store(str(store), SYNC)["repaired"] == [LARGE]


# ----------------------------------------------------------------------------- what nobody can tell by its windows


def test_a_chunk_that_somebody_wrote_is_made_anew_with_its_whole_image(store: Path, made: Made) -> None:
    copy = zarr.open_array(store / f"images/{LARGE}/0", mode="r+")
    copy[0, :2, :3] = 255 - np.asarray(copy[0, :2, :3])
    require_made_anew_whole(store, made)


@pytest.mark.few(2)
@pytest.mark.parametrize("fact", ["inertia", "mse", "size", "sums", "counts"])
def test_figures_that_do_not_agree_with_each_other_are_found_again_with_the_whole_image(
    fact: str, store: Path, made: Made
) -> None:
    part = "labels/kmeans/" if fact == "size" else ""
    document = store / f"images/{LARGE}/{part}zarr.json"
    content = json.loads(document.read_text())
    facts = content["attributes"]["kseg"]
    if fact == "sums":
        facts["sums"]["linear"][0][0] += 1 << 20
    elif fact == "counts":
        facts["counts"][0] += 1
    else:
        facts[fact] = 1 if fact == "size" else facts[fact] * 2
    document.write_text(json.dumps(content))
    require_made_anew_whole(store, made)


def require_made_anew_whole(store: Path, made: Made) -> None:
    flip(store / f"images/{LARGE}/{LABELS}2/2")
    before = stamps(store)
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["problems"], mended["repaired"]) == ("ok", [], [LARGE])
    assert store_contents(store) == made.contents
    after = stamps(store)
    written = {name for name in after if after[name] != before.get(name) and f"{LARGE}/{LABELS}" in name}
    assert {window_of(name) for name in written} == WHOLE


# ------------------------------------------------------------------------------------------- where an image is

IN_AN_IMAGE = ("x", "y", "spatial_ref")


@pytest.fixture(scope="module")
def placed(smooth: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """Stores of a scene with a place on the ground: labelled in one piece, and edges alone."""
    folder = tmp_path_factory.mktemp("placed")
    tags = [(33550, "d", 3, (0.5, 0.25, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 30.0, 40.0, 0.0), True)]
    tifffile.imwrite(folder / "scene.tif", smooth(50, 60, 6), photometric="rgb", extratags=tags, metadata=None)
    run_job(folder / "scene.tif", folder / "labelled.zarr", **EVERYTHING)
    add_edges(folder / "scene.tif", folder / "alone.zarr")
    for name in ("labelled", "alone"):
        assert check_store(str(folder / f"{name}.zarr"), SYNC)["problems"] == []
    return {name: Made(folder / f"{name}.zarr", store_contents(folder / f"{name}.zarr")) for name in
            ("labelled", "alone")}  # fmt: skip


@pytest.mark.few(3)
@pytest.mark.parametrize("act", ["gone", "cut", "moved"])
@pytest.mark.parametrize(("kind", "group"), [("labelled", ""), ("labelled", "labels/kmeans/"), ("alone", "")])
def test_a_damaged_place_on_the_ground_is_found_named_and_made_anew(
    kind: str, group: str, act: str, placed: dict[str, Made], tmp_path: Path
) -> None:
    store = tmp_path / "out.zarr"
    for name in IN_AN_IMAGE:
        shutil.rmtree(store, ignore_errors=True)
        image = Path(shutil.copytree(placed[kind].path, store)) / "images/scene.tif"
        place = f"{group}{name}"
        document = image / place / "zarr.json"
        if act == "gone":
            shutil.rmtree(image / place)
        elif act == "cut":
            document.write_bytes(document.read_bytes()[:40])
        elif name == "spatial_ref":
            document.write_text(document.read_text().replace("30.0", "31.0"))
        else:
            zarr.open_array(str(image / place), mode="r+")[7] += 0.5  # type: ignore[operator]
        found = check_store(str(store), SYNC)["problems"]
        assert any(line.startswith("scene.tif: ") and place in line for line in found), found
        assert repair_store(str(store), SYNC)["status"] == "ok"
        assert store_contents(store) == placed[kind].contents
