"""``check --repair`` makes anew what is damaged, to the last bit, and touches nothing else."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from kseg_core.config import EdgesConfig, ExecutionSettings, FitSettings, OutputSettings, RunConfig
from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import OutputHeld, StoreError, UnreadableImage
from kseg_core.resume.lock import hold
from kseg_core.store.manifest import read_attributes
from kseg_core.store.opening import update_attributes
from workflows.check import check_store
from workflows.labelling import label_plan, mend
from workflows.layer_job import add_to_images
from workflows.layer_request import prepare_layer
from workflows.repair import repair_store
from workflows.request import InputSelection, Request, prepare
from workflows.run import run

SYNC = ExecutionSettings("sync")
LARGE = "large.tif"  # of several pieces and levels


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    """What is worked on in pieces begins at 512 x 512 pixels, in this process alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kseg_core.reading.sources.PIECE_PX", 512 * 512)
        yield


@pytest.fixture(scope="module")
def pictures(small_folder: Path, smooth: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(small_folder, tmp_path_factory.mktemp("repair") / "in"))
    tifffile.imwrite(folder / LARGE, smooth(525, 550, 5), tile=(64, 64), photometric="rgb")
    return folder


def asked(folder: Path, output: Path, **fit: Any) -> Request:
    written = OutputSettings(tile=128, copy_image=True, confidence=True, edges=(50.0, 100.0))
    config = RunConfig(FitSettings(3, **{"attempts": 1, **fit}), written, SYNC)
    return prepare(InputSelection((str(folder),)), config, str(output), "store")


@pytest.fixture(scope="module")
def made(pictures: Path) -> Path:
    """A store with all that a store can hold. Not to be changed."""
    run(asked(pictures, pictures.parent / "made.zarr"))
    return pictures.parent / "made.zarr"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out.zarr"))


def flip(path: Path, at: int = -6) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def change(path: Path, **facts: Any) -> None:
    document = json.loads(path.read_text())
    document["attributes"]["kseg"] |= facts
    path.write_text(json.dumps(document))


Damage = tuple[str, str, Callable[[Path], None], str]
DAMAGES: dict[str, Damage] = {
    "a label chunk": ("b.png", "labels/kmeans/0/c/0/0", flip, "cannot be read"),
    "a label chunk of many": (LARGE, "labels/kmeans/0/c/2/1", flip, "cannot be read"),
    "a tile": (LARGE, "labels/kmeans/0/c/1/3", remove, "no file for tiles 1/3 of its labels: 16384 pixels are lost"),
    "a chunk of the masks": (LARGE, "masks/c/1/0/2", flip, "cannot be read"),
    "a tile of the masks": (LARGE, "masks/c/1/0/2", remove, "mask pixels disagree with the labels"),
    "the masks": ("b.png", "masks", remove, "its masks are missing"),
    "a chunk of a level": (LARGE, "labels/kmeans/1/c/0/1", flip, "cannot be read"),
    "a tile of a level": (LARGE, "labels/kmeans/2/c/0/0", remove, "pixels of level 2 of its labels are not of the"),
    "a level": (LARGE, "labels/kmeans/3", remove, "level 3 of its labels is missing"),
    "a chunk of the copy": ("b.png", "0/c/1/0/0", flip, "cannot be read"),
    "a tile of the copy": (LARGE, "0/c/1/0/0", remove, "samples of its copy are not those of its source"),
    "a tile of a level of the copy": (LARGE, "1/c/1/0/0", remove, "of level 1 of its copy are not of the level above"),
    "the confidence": ("b.png", "confidence/c/0/0", flip, "cannot be read"),
    "a tile of edges": (LARGE, "edges/c/0/0", remove, "its edges have"),
    "a chunk of edges": ("b.png", "edges/c/0/0", flip, "cannot be read"),
    "the image's metadata": ("b.png", "zarr.json", remove, "cannot be read"),
    "a large image's metadata": (LARGE, "zarr.json", lambda path: path.write_text("{"), "cannot be read"),
    "the labels' metadata": ("b.png", "labels/kmeans/zarr.json", remove, "its labels are missing"),
    "an array's metadata": ("b.png", "labels/kmeans/0/zarr.json", remove, "cannot be read"),
    "the list of labels": (LARGE, "labels/zarr.json", lambda path: path.write_text("{"), "which lists its labels"),
    "an area": (
        LARGE,
        "labels/kmeans/zarr.json",
        lambda path: path.write_text(path.read_text().replace('"area": ', '"area": 1')),
        "what is said with its labels",
    ),
    "the image's figures": ("b.png", "zarr.json", lambda path: change(path, counts=[1, 2, 3]), "the labels' counts"),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_damaged_is_found_and_made_anew_to_the_last_bit(
    damage: Damage, store: Path, made: Path, contents: Any, every_file: Any
) -> None:
    key, part, act, told = damage
    act(store / "images" / key / part)
    found = check_store(str(store), SYNC)["problems"]
    assert any(line.startswith(f"{key}: ") and told in line for line in found), found
    before = every_file(store / "images")
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["problems"], mended["repaired"]) == ("ok", [], [key])
    assert contents(store) == contents(made)
    after = every_file(store / "images")
    others = [path for path in after if f"/images/{key}" not in path and Path(path) != store / "images"]
    assert others
    assert [after[path] for path in others] == [before[path] for path in others]
    assert check_store(str(store), SYNC)["problems"] == []
    assert [path.name for path in store.parent.iterdir()] == [store.name]


@pytest.mark.few(1)
@pytest.mark.parametrize("act", [Path.unlink, lambda path: path.write_text("{")])
def test_the_group_of_all_images_is_made_anew(
    act: Callable[[Path], None], store: Path, made: Path, contents: Any
) -> None:
    act(store / "images/zarr.json")
    assert any("images/zarr.json" in line for line in check_store(str(store), SYNC)["problems"])
    assert repair_store(str(store), SYNC)["status"] == "ok"
    assert contents(store) == contents(made)
    assert check_store(str(store), SYNC)["status"] == "ok"


def test_where_nothing_is_damaged_nothing_is_touched(store: Path, every_file: Any) -> None:
    before = every_file(store)
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["repaired"]) == ("ok", [])
    assert every_file(store) == before


@pytest.mark.slow
def test_several_images_are_made_anew_at_once(store: Path, made: Path, contents: Any) -> None:
    flip(store / "images/a.png/labels/kmeans/0/c/0/0")
    remove(store / "images/c.png/zarr.json")
    assert repair_store(str(store), ExecutionSettings("threads", 2))["repaired"] == ["a.png", "c.png"]
    assert contents(store) == contents(made)


@pytest.mark.slow
def test_images_with_models_of_their_own_get_them_again(pictures: Path, tmp_path: Path, contents: Any) -> None:
    whole, store = tmp_path / "whole.zarr", tmp_path / "out.zarr"
    run(asked(pictures, whole, scope="image"))
    shutil.copytree(whole, store)
    flip(store / f"images/{LARGE}/labels/kmeans/0/c/0/0")
    remove(store / "images/b.png/model")
    assert repair_store(str(store), SYNC)["repaired"] == ["b.png", LARGE]
    assert contents(store) == contents(whole)


def test_edges_alone_and_edges_added_afterwards_are_made_anew_as_they_were(
    pictures: Path, tmp_path: Path, job: Any, contents: Any
) -> None:
    job(pictures, tmp_path / "labelled.zarr", k=2)
    for name in ("labelled.zarr", "alone.zarr"):
        config = EdgesConfig(EdgeSettings(15, 30, blur=1.0), execution=SYNC)
        add_to_images(prepare_layer(InputSelection((str(pictures),)), config, str(tmp_path / name)))
        store = Path(shutil.copytree(tmp_path / name, tmp_path / f"damaged-{name}"))
        for key in ("a.png", LARGE):
            flip(next(path for path in (store / f"images/{key}/edges/c").rglob("*") if path.is_file()))
        assert repair_store(str(store), SYNC)["repaired"] == ["a.png", LARGE]
        assert contents(store) == contents(tmp_path / name)


# -------------------------------------------------------------------------------------- what cannot be made anew


@pytest.mark.few(1)
@pytest.mark.parametrize("fate", ["gone", "changed"])
def test_what_has_no_source_any_more_is_named_and_left_as_it_is(
    fate: str, pictures: Path, tmp_path: Path, png: Any, smooth: Any, every_file: Any
) -> None:
    folder, store = Path(shutil.copytree(pictures, tmp_path / "in")), tmp_path / "out.zarr"
    run(asked(folder, store))
    flip(store / "images/a.png/labels/kmeans/0/c/0/0")
    flip(store / "images/b.png/labels/kmeans/0/c/0/0")
    if fate == "gone":
        (folder / "b.png").unlink()
    else:
        png(folder / "b.png", smooth(40, 51, 9))
    before = every_file(store / "images/b.png")
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["repaired"]) == ("failed", ["a.png"])
    assert all("b.png" in line for line in mended["problems"])
    reason = "is not there any more" if fate == "gone" else "changed since it was labelled"
    assert any("b.png: cannot be made anew" in line and reason in line for line in mended["problems"])
    assert every_file(store / "images/b.png") == before
    assert (read_attributes(store) or {})["status"] == "complete"


def test_an_image_that_is_lost_is_labelled_by_the_command_that_made_the_store_and_nothing_else_is(
    pictures: Path, store: Path, made: Path, tmp_path: Path, contents: Any, every_file: Any, monkeypatch: Any
) -> None:
    again = shutil.copytree(made, made.parent / "again.zarr")  # as its inputs are told relative to nothing
    remove(again / "images/b.png")
    mended = repair_store(str(again), SYNC)
    assert mended["status"] == "failed"
    assert any("the command that made the store labels what is missing" in line for line in mended["problems"])
    before = every_file(again / "images/a.png")
    monkeypatch.setattr("workflows.run.fit_one", None)  # not called
    result = run(asked(pictures, again))
    assert (result.images.labelled, result.images.reused) == (1, 3)
    assert contents(again) == contents(made)
    assert every_file(again / "images/a.png") == before
    shutil.rmtree(again)


def test_a_damaged_model_is_told_and_nothing_is_touched(store: Path, every_file: Any) -> None:
    flip(store / "model/colors/c/0/0")
    flip(store / "images/a.png/labels/kmeans/0/c/0/0")
    before = every_file(store)
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["repaired"]) == ("failed", [])
    assert every_file(store) == before


def test_an_unfinished_store_is_left_to_its_own_command(store: Path, every_file: Any) -> None:
    update_attributes(str(store), {"status": "running"})
    flip(store / "images/a.png/labels/kmeans/0/c/0/0")
    before = every_file(store)
    mended = repair_store(str(store), SYNC)
    assert "the same command completes it" in mended["problems"][0]
    assert every_file(store) == before


def test_a_store_that_is_being_written_is_left_alone(store: Path) -> None:
    with hold(str(store)), pytest.raises(OutputHeld):
        repair_store(str(store), SYNC)


def test_what_is_no_store_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        repair_store(str(tmp_path / "none.zarr"), SYNC)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------ stopped on the way


@pytest.mark.few(1)
@pytest.mark.parametrize("then", ["repair", "run"])
def test_a_repair_that_is_stopped_does_not_call_the_store_complete_and_is_gone_on_with(
    then: str, pictures: Path, made: Path, contents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made.parent / "stopped.zarr"
    shutil.copytree(made, store)
    flip(store / "images/a.png/labels/kmeans/0/c/0/0")
    flip(store / "images/b.png/labels/kmeans/0/c/0/0")
    write, written = label_plan.write_image, []

    def stop_at_the_second(*arguments: Any, **more: Any) -> None:
        written.append(1)
        if len(written) == 2:
            raise KeyboardInterrupt
        write(*arguments, **more)

    monkeypatch.setattr(label_plan, "write_image", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        repair_store(str(store), SYNC)
    monkeypatch.undo()
    assert (read_attributes(store) or {})["status"] == "incomplete"
    assert "the same command completes it" in check_store(str(store), SYNC)["problems"][0]
    if then == "repair":
        assert repair_store(str(store), SYNC)["status"] == "ok"
    else:
        monkeypatch.setattr("workflows.run.fit_one", None)
        run(asked(pictures, store))
    assert contents(store) == contents(made)
    shutil.rmtree(store)


# ----------------------------------------------------------------------------------------- windows of a large image

WINDOWS = {(0, 0): "0/0", (0, 512): "0/4", (512, 0): "4/0", (512, 512): "4/4"}  # their corners, and first tiles


@pytest.fixture
def labelled_again(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, int]]:
    """How often each window of the large image was labelled from its source."""
    read, found = mend.read_for_model, Counter[tuple[int, int]]()

    def counted(piece: Any, model: Any) -> Any:
        found[piece.corner] += 1
        return read(piece, model)

    for module in (label_plan, mend):
        monkeypatch.setattr(module, "read_for_model", counted)
    return found


ONE_WINDOW: dict[str, tuple[str, Callable[[Path], None], set[tuple[int, int]]]] = {
    "labels": ("labels/kmeans/0/c/2/1", flip, {(0, 0)}),
    "the last tile": ("labels/kmeans/0/c/4/4", flip, {(512, 512)}),
    "a mask": ("masks/c/1/0/4", flip, {(0, 512)}),
    "confidence": ("confidence/c/0/4", remove, {(0, 512)}),
    "a copied band": ("0/c/2/4/0", flip, {(512, 0)}),
    "a level": ("labels/kmeans/1/c/2/2", flip, set()),
    "a tile of a level": ("labels/kmeans/2/c/1/1", remove, set()),
    "edges": ("edges/c/3/3", flip, set()),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("damage", ONE_WINDOW.values(), ids=ONE_WINDOW)
def test_of_a_large_image_only_the_windows_that_are_damaged_are_labelled_and_written_again(
    damage: tuple[str, Callable[[Path], None], set[tuple[int, int]]],
    store: Path,
    made: Path,
    contents: Any,
    every_file: Any,
    labelled_again: Counter[tuple[int, int]],
) -> None:
    part, act, windows = damage
    image = store / "images" / LARGE
    before = every_file(image)
    act(image / part)
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["problems"], mended["repaired"]) == ("ok", [], [LARGE])
    assert contents(store) == contents(made)
    assert labelled_again == dict.fromkeys(windows, 1)
    after = every_file(image)
    assert after.keys() == before.keys()
    written = {path.removeprefix(f"{image}/") for path in after if after[path][1] != before[path][1]}
    chunks = {name for name in written if "/c/" in name and (image / name).is_file()}
    assert part in chunks
    for name in chunks - {part}:
        window = tuple(int(number) // 4 * 512 for number in name.split("/")[-2:])
        assert name.split("/c/")[0] == part.split("/c/")[0] or window in windows, name


def test_a_chunk_that_somebody_wrote_is_made_anew_with_its_whole_image(
    store: Path, made: Path, contents: Any, labelled_again: Counter[tuple[int, int]]
) -> None:
    copy = zarr.open_array(store / f"images/{LARGE}/0", mode="r+")
    copy[0, :2, :3] = 255 - np.asarray(copy[0, :2, :3])
    flip(store / f"images/{LARGE}/labels/kmeans/0/c/4/4")
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["problems"], mended["repaired"]) == ("ok", [], [LARGE])
    assert contents(store) == contents(made)
    assert labelled_again == {window: 2 if window == (512, 512) else 1 for window in WINDOWS}


@pytest.mark.few(1)
@pytest.mark.parametrize("fact", ["inertia", "mse", "size", "sums", "counts"])
def test_figures_that_do_not_agree_with_each_other_are_found_again_with_the_whole_image(
    fact: str, store: Path, made: Path, contents: Any, labelled_again: Counter[tuple[int, int]]
) -> None:
    document = store / f"images/{LARGE}/zarr.json"
    facts = json.loads(document.read_text())["attributes"]["kseg"]
    if fact == "sums":
        facts["sums"]["linear"][0][0] += 1 << 20
    elif fact == "counts":
        facts["counts"][0] += 1
    elif fact == "size":
        change(store / f"images/{LARGE}/labels/kmeans/zarr.json", size=1)
    else:
        facts[fact] *= 2
    change(document, **facts)
    flip(store / f"images/{LARGE}/labels/kmeans/0/c/4/4")
    assert repair_store(str(store), SYNC)["status"] == "ok"
    assert contents(store) == contents(made)
    assert labelled_again == dict.fromkeys(WINDOWS, 1)


@pytest.mark.slow
def test_what_was_mended_before_a_repair_was_stopped_is_not_made_anew_again(
    store: Path,
    made: Path,
    contents: Any,
    labelled_again: Counter[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for tile in WINDOWS.values():
        flip(store / f"images/{LARGE}/labels/kmeans/0/c/{tile}")
    look = mend.window_is_sound

    def stop_at_the_third(*arguments: Any) -> Any:
        if labelled_again.total() == 2:
            raise KeyboardInterrupt
        return look(*arguments)

    monkeypatch.setattr(mend, "window_is_sound", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        repair_store(str(store), SYNC)
    monkeypatch.setattr(mend, "window_is_sound", look)
    assert (read_attributes(store) or {})["status"] == "incomplete"
    assert any(LARGE in line for line in check_store(str(store), SYNC)["problems"])
    assert repair_store(str(store), SYNC)["status"] == "ok"
    assert labelled_again == dict.fromkeys(WINDOWS, 1)
    assert contents(store) == contents(made)


@pytest.mark.slow
def test_a_large_image_that_was_being_made_anew_whole_is_gone_on_with_piece_by_piece(
    store: Path,
    made: Path,
    contents: Any,
    labelled_again: Counter[tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    remove(store / f"images/{LARGE}/labels/kmeans/0/zarr.json")
    note = label_plan.note_piece

    def stop_after_the_second(*arguments: Any) -> None:
        note(*arguments)
        if labelled_again.total() == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(label_plan, "note_piece", stop_after_the_second)
    with pytest.raises(KeyboardInterrupt):
        repair_store(str(store), SYNC)
    monkeypatch.setattr(label_plan, "note_piece", note)
    assert any(LARGE in line for line in check_store(str(store), SYNC)["problems"])
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["problems"], mended["repaired"]) == ("ok", [], [LARGE])
    assert labelled_again == dict.fromkeys(WINDOWS, 1)
    assert contents(store) == contents(made)


@pytest.mark.slow
def test_edges_that_were_added_afterwards_are_not_forgotten_by_a_repair_that_was_stopped(
    pictures: Path, tmp_path: Path, job: Any, contents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole.zarr"
    job(pictures, whole, k=2)
    config = EdgesConfig(EdgeSettings(15, 30, blur=1.0), execution=SYNC)
    add_to_images(prepare_layer(InputSelection((str(pictures),)), config, str(whole)))
    store = Path(shutil.copytree(whole, tmp_path / "out.zarr"))
    for key in ("a.png", LARGE):
        flip(next(path for path in (store / f"images/{key}/edges/c").rglob("*") if path.is_file()))
    flip(store / "images/a.png/labels/kmeans/0/c/0/0")

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("workflows.repair.add_layer", stop)
    with pytest.raises(KeyboardInterrupt):
        repair_store(str(store), SYNC)
    monkeypatch.undo()
    assert repair_store(str(store), SYNC)["status"] == "ok"
    assert contents(store) == contents(whole)


@pytest.mark.slow
def test_a_window_whose_source_cannot_be_read_is_told_and_its_image_not_called_complete(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "out.zarr"
    run(asked(pictures, store))
    flip(store / f"images/{LARGE}/labels/kmeans/0/c/4/4")

    def unreadable(piece: Any, _: Any) -> Any:
        raise UnreadableImage(piece.source.file.source, "its disk is broken")

    monkeypatch.setattr(mend, "read_for_model", unreadable)
    mended = repair_store(str(store), SYNC)
    assert (mended["status"], mended["repaired"]) == ("failed", [])
    assert any("its disk is broken" in line for line in mended["problems"])
    assert (read_attributes(store / "images" / LARGE) or {})["status"] == "damaged"
    monkeypatch.undo()
    assert repair_store(str(store), SYNC)["repaired"] == [LARGE]


# ------------------------------------------------------------------------------------------- where an image is

IN_AN_IMAGE = ["x", "y", "spatial_ref"]
PLACES = [(kind, name) for kind in ("labelled", "alone") for name in IN_AN_IMAGE]
PLACES += [("labelled", f"labels/kmeans/{name}") for name in IN_AN_IMAGE]


@pytest.fixture(scope="module")
def placed(smooth: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of a scene with a place on the ground: labelled in one piece, and edges alone. Not to be changed."""
    folder = tmp_path_factory.mktemp("placed")
    tags = [(33550, "d", 3, (0.5, 0.25, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 30.0, 40.0, 0.0), True)]
    tifffile.imwrite(folder / "scene.tif", smooth(90, 120, 6), photometric="rgb", extratags=tags, metadata=None)
    run(asked(folder / "scene.tif", folder / "labelled.zarr"))
    config = EdgesConfig(EdgeSettings(15, 30, blur=1.0), execution=SYNC)
    add_to_images(prepare_layer(InputSelection((str(folder / "scene.tif"),)), config, str(folder / "alone.zarr")))
    return folder


@pytest.mark.few(6)
@pytest.mark.parametrize("act", ["gone", "cut", "moved"])
@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_a_damaged_place_on_the_ground_is_found_named_and_made_anew(
    kind: str, place: str, act: str, placed: Path, tmp_path: Path, contents: Any
) -> None:
    image = Path(shutil.copytree(placed / f"{kind}.zarr", tmp_path / "out.zarr")) / "images/scene.tif"
    document = image / place / "zarr.json"
    if act == "gone":
        remove(image / place)
    elif act == "cut":
        document.write_bytes(document.read_bytes()[:40])
    elif place.endswith("spatial_ref"):
        document.write_text(document.read_text().replace("30.0", "31.0"))
    else:
        zarr.open_array(str(image / place), mode="r+")[7] += 0.5  # type: ignore[operator]
    assert check_store(str(placed / f"{kind}.zarr"), SYNC)["problems"] == []
    found = check_store(str(tmp_path / "out.zarr"), SYNC)["problems"]
    assert any(line.startswith("scene.tif: ") and place in line for line in found), found
    assert repair_store(str(tmp_path / "out.zarr"), SYNC)["status"] == "ok"
    assert contents(tmp_path / "out.zarr") == contents(placed / f"{kind}.zarr")
