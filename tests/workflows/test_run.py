"""The jobs themselves: what they make, what they refuse, and what they leave alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import zarr

from kseg_core import Model, open_store
from kseg_core.errors import KsegError, StoreError, UnreadableImage, UsageError
from tests.asking import asked, labels_of, run_job
from tests.conftest import Contents, store_contents
from tests.progress import Listener
from workflows.request import InputSelection, default_output
from workflows.result import JobResult, reused_result

Png = Callable[[Path, Any], Path]
SIZES = {"a.png": (60, 90), "b.png": (47, 31), "c.png": (1, 70), "d.png": (50, 60)}
PIXELS = sum(height * width for height, width in SIZES.values())
CLEAR = 20 * 15  # pixels of d.png


class Made(NamedTuple):
    """A job's inputs, its output, what it told and what it made. Not to be changed."""

    inputs: Path
    path: Path
    result: JobResult
    contents: Contents


def attributes_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "zarr.json").read_bytes())["attributes"]["kseg"]
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Png) -> Made:
    """A run on four pictures, one with a transparent corner."""
    folder = tmp_path_factory.mktemp("run")
    for seed, (key, size) in enumerate(SIZES.items()):
        picture = smooth(*size, seed)
        if key == "d.png":
            picture = np.dstack([picture, np.full(size, 255, np.uint8)])
            picture[:20, :15, 3], picture[30:, :5, 3] = 0, 1  # nearly transparent is not transparent
        png(folder / "in" / key, picture)
    result = run_job(folder / "in", folder / "out.zarr")
    return Made(folder / "in", folder / "out.zarr", result, store_contents(folder / "out.zarr"))


@pytest.fixture(scope="module")
def small(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run on three small pictures, k = 3."""
    path = tmp_path_factory.mktemp("small-run") / "out.zarr"
    result = run_job(small_folder, path, k=3, features="rgb")
    return Made(small_folder, path, result, store_contents(path))


@pytest.fixture
def output(small: Made, tmp_path: Path) -> Path:
    """That of `small`, to be changed."""
    return Path(shutil.copytree(small.path, tmp_path / "out.zarr"))


def gray_row(path: Path, *values: int, png: Png) -> Path:
    return png(path, np.repeat(np.array([values], np.uint8)[..., None], 3, axis=2))


# ------------------------------------------------------------------------------------------------ one palette


def test_a_run_says_what_it_did(made: Made) -> None:
    told = made.result.to_json()
    assert told["status"] == "ok"
    assert told["images"] == {"total": 4, "labelled": 4, "reused": 0, "failed": 0}
    assert told["pixels"] == {"total": PIXELS, "valid": PIXELS - CLEAR}
    assert (told["k"], told["k_requested"], told["features"], told["scope"]) == (4, 4, "rgb", "global")
    assert sum(told["counts"]) == PIXELS - CLEAR
    assert told["mse"] == pytest.approx(told["inertia"] / (PIXELS - CLEAR))
    assert told["failures"] == []
    assert attributes_of(made.path)["result"] == told


def test_a_fit_is_the_model_of_the_run_with_the_same_settings(made: Made, tmp_path: Path) -> None:
    fitted = run_job(made.inputs, tmp_path / "fit.model.zarr").to_json()
    one, two = Model.load(str(tmp_path / "fit.model.zarr")), Model.load(str(made.path))
    assert one.digest == two.digest
    np.testing.assert_array_equal(one.counts, two.counts)
    assert fitted["images"] == {"total": 4, "labelled": 0, "reused": 0, "failed": 0}
    here = dict.fromkeys(("output", "seconds", "images"))
    assert fitted | here == made.result.to_json() | here


def test_fewer_distinct_values_than_clusters_give_as_many_clusters_as_values(tmp_path: Path, png: Png) -> None:
    flag = np.repeat(np.array([[[0, 0, 0], [255, 0, 0], [255, 255, 255]]], np.uint8), 2, axis=1).repeat(4, axis=0)
    result = run_job(png(tmp_path / "in" / "flag.png", flag).parent, tmp_path / "out.zarr", k=7)
    assert (result.k, result.k_requested, result.inertia) == (3, 7, 0.0)
    assert result.centroids == result.colors == [[0, 0, 0], [255, 0, 0], [255, 255, 255]]
    assert result.counts == [8, 8, 8]
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr", "flag.png"), [[0, 0, 1, 1, 2, 2]] * 4)
    assert open_store(str(tmp_path / "out.zarr"))["flag.png"].masks.shape == (3, 4, 6)  # type: ignore[union-attr]


def test_colours_that_are_one_in_the_feature_space_are_one_cluster(tmp_path: Path, png: Png) -> None:
    # Luma of (87, 0, 0) and of (0, 44, 0) is 26.
    png(tmp_path / "in.png", np.array([[[87, 0, 0], [0, 44, 0], [200, 200, 200]]], np.uint8))
    result = run_job(tmp_path / "in.png", tmp_path / "out.zarr", k=3, features="gray")
    assert result.centroids == [[26], [200]]
    assert result.colors == [[44, 22, 0], [200, 200, 200]]
    assert labels_of(tmp_path / "out.zarr", "in.png").tolist() == [[0, 0, 1]]


def test_given_first_centroids_are_where_the_steps_begin(tmp_path: Path, png: Png) -> None:
    source = gray_row(tmp_path / "in.png", 0, 10, 20, 200, 210, 220, png=png)
    # From these the lower centroid takes the three dark pixels and the two upper ones share the rest.
    result = run_job(source, tmp_path / "out.zarr", k=3, start=("#0a0a0a", "#c8c8c8", "#dcdcdc"))
    assert result.centroids == [[10, 10, 10], [205, 205, 205], [220, 220, 220]]


@pytest.mark.parametrize(
    ("k", "masks", "dtype", "invalid"),
    [(32, True, "uint8", 255), (33, False, "uint8", 255), (254, False, "uint8", 255), (255, False, "uint16", 65535)],
)
def test_masks_are_made_up_to_32_clusters_and_above_254_labels_have_16_bits(
    k: int, masks: bool, dtype: str, invalid: int, tmp_path: Path, png: Png
) -> None:
    ramp = np.zeros((20, 15, 4), np.uint8)
    ramp[..., 0], ramp[..., 1], ramp[..., 3] = np.arange(15), np.arange(20)[:, None] * 9, 255
    ramp[0, 0, 3] = 0
    result = run_job(png(tmp_path / "in.png", ramp), tmp_path / "out.zarr", k=k, attempts=1)
    assert result.k == k
    image = open_store(str(tmp_path / "out.zarr"))["in.png"]
    assert (image.masks is not None) == masks
    assert (image.labels.dtype, image.labels.fill_value, image.labels[0, 0]) == (dtype, invalid, invalid)
    assert np.unique(np.asarray(image.labels).ravel()[1:]).tolist() == list(range(k))


# --------------------------------------------------------------------------------- one palette for each image


def test_with_scope_image_each_model_is_that_of_a_run_on_its_image_alone(made: Made, tmp_path: Path) -> None:
    result = run_job(made.inputs, tmp_path / "all.zarr", scope="image", batch_pixels=2000)
    assert (result.k, result.centroids, result.colors, result.counts) == (None,) * 4
    assert not (tmp_path / "all.zarr/model").exists()
    found = store_contents(tmp_path / "all.zarr")
    inertia = 0.0
    for key in SIZES:
        alone = tmp_path / f"{key}.zarr"
        inertia += run_job(made.inputs / key, alone, batch_pixels=2000).inertia or 0.0
        expected = store_contents(alone)
        own = {name.replace(f"images/{key}/model", "model"): digest for name, digest in found.items()}
        for name in ("model:attributes", *(name for name in expected if name.startswith("model/"))):
            assert own[name] == expected[name]
        for name in ("labels/kmeans/0", "masks"):
            assert found[f"images/{key}/{name}:values"] == expected[f"images/{key}/{name}:values"]
    assert result.inertia == pytest.approx(inertia, rel=1e-12)


@pytest.mark.parametrize("scope", ["global", "image"])
def test_a_wholly_transparent_image_among_others_is_labelled_as_invalid_everywhere(
    scope: str, small_folder: Path, tmp_path: Path, png: Png
) -> None:
    png(tmp_path / "in" / "nothing.png", np.zeros((5, 7, 4), np.uint8))
    shutil.copy(small_folder / "a.png", tmp_path / "in")
    result = run_job(tmp_path / "in", tmp_path / "out.zarr", k=2, scope=scope)
    assert (result.images.labelled, result.pixels_total, result.pixels_valid) == (2, 2035, 2000)
    image = open_store(str(tmp_path / "out.zarr"))["nothing.png"]
    np.testing.assert_array_equal(image.labels, np.full((5, 7), 255))
    assert (image.attributes["invalid"], image.attributes["mse"]) == (35, None)
    assert image.attributes["counts"] == ([0, 0] if scope == "global" else [])
    assert image.model is None
    assert scope == "image" or not np.asarray(image.masks).any()


# -------------------------------------------------------------------------------------------------- bad inputs


@pytest.fixture
def mixed(tmp_path: Path, small_folder: Path) -> Path:
    """Three good pictures, one that is cut short (its header is sound) and one that is none."""
    folder = Path(shutil.copytree(small_folder, tmp_path / "mixed"))
    whole = (small_folder / "a.png").read_bytes()
    (folder / "aa-cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bb-text.png").write_text("no picture")
    return folder


def has_no_result(output: Path) -> bool:
    return not output.exists() or not open_store(str(output)).complete


@pytest.mark.parametrize("scope", ["global", "image"])
def test_bad_inputs_are_named_and_the_rest_is_labelled(scope: str, mixed: Path, small: Made, tmp_path: Path) -> None:
    told = run_job(mixed, tmp_path / "out.zarr", k=3, scope=scope).to_json()
    assert told["status"] == "partial"
    assert told["images"] == {"total": 5, "labelled": 3, "reused": 0, "failed": 2}
    assert [Path(failure["source"]).name for failure in told["failures"]] == ["aa-cut.png", "bb-text.png"]
    assert told["failures"][0]["reason"].startswith("truncated")
    assert told["failures"][1]["reason"] == "not an image (text)"
    store = open_store(str(tmp_path / "out.zarr"))
    assert list(store) == ["a.png", "b.png", "c.png"]
    assert store.complete
    good = small.path
    if scope == "image":
        good = tmp_path / "good.zarr"
        run_job(small.inputs, good, k=3, scope=scope)
    np.testing.assert_array_equal(store["b.png"].labels, labels_of(good, "b.png"))


def test_a_fit_names_bad_inputs_and_uses_the_rest(mixed: Path, small: Made, tmp_path: Path) -> None:
    result = run_job(mixed, tmp_path / "out.model.zarr", k=3)
    assert [Path(failure.source).name for failure in result.failures] == ["aa-cut.png", "bb-text.png"]
    one, two = Model.load(str(tmp_path / "out.model.zarr")), Model.load(str(small.path))
    np.testing.assert_array_equal(one.counts, two.counts)


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize(
    ("name", "scope"), [("aa-cut.png", "global"), ("aa-cut.png", "image"), ("bb-text.png", "global")]
)
def test_strict_stops_at_the_first_bad_input(
    name: str, scope: str, scheduler: str, mixed: Path, tmp_path: Path
) -> None:
    for other in {"aa-cut.png", "bb-text.png"} - {name}:
        (mixed / other).unlink()
    with pytest.raises(UnreadableImage) as caught:
        run_job(mixed, tmp_path / "out.zarr", strict=True, scope=scope, scheduler=scheduler)
    assert caught.value.source == str(mixed / name)
    assert has_no_result(tmp_path / "out.zarr")


def test_strict_passes_where_all_is_well(small: Made, tmp_path: Path) -> None:
    run_job(small.inputs, tmp_path / "out.zarr", k=3, features="rgb", strict=True)
    assert store_contents(tmp_path / "out.zarr") == small.contents


def test_inputs_none_of_which_can_be_read_are_an_error_that_names_the_first(mixed: Path, tmp_path: Path) -> None:
    for scope in ("global", "image"):
        with pytest.raises(KsegError, match=r"aa-cut\.png: truncated"):
            run_job(mixed / "aa-cut.png", tmp_path / "out.zarr", scope=scope)
        assert has_no_result(tmp_path / "out.zarr")
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(KsegError, match=r"2 inputs.*x\.png: empty file"):
        run_job([tmp_path / "x.png", tmp_path / "y.png"], tmp_path / "none.zarr")
    assert not (tmp_path / "none.zarr").exists()


def test_files_that_change_between_summary_and_labelling_are_reported_and_not_fatal(
    tmp_path: Path, smooth: Any, png: Png
) -> None:
    deeds: dict[str, tuple[Callable[[Path], object], str]] = {
        "vanishes": (Path.unlink, "no such file or directory"),
        "is emptied": (lambda path: path.write_bytes(b""), "empty file"),
        "is cut short": (lambda path: path.write_bytes(path.read_bytes()[:300]), "truncated"),
        "becomes text": (lambda path: path.write_text("hello"), "not an image (text)"),
        "becomes a folder": (lambda path: path.unlink() or path.mkdir(), "is a directory"),
        "becomes another": (lambda path: png(path, smooth(41, 51, 0)), "changed while it was being read; run again"),
    }
    for seed, name in enumerate([*deeds, "stays", "stays too"]):
        png(tmp_path / "in" / f"{name}.png", smooth(40, 50, seed))

    def change_all() -> None:
        for name, (deed, _) in deeds.items():
            deed(tmp_path / "in" / f"{name}.png")

    result = run_job(tmp_path / "in", tmp_path / "out.zarr", progress=Listener("labelling", deed=change_all))
    told = {Path(failure.source).stem: failure.reason for failure in result.failures}
    assert {name: reason[: len(deeds[name][1])] for name, reason in told.items()} == {
        name: reason for name, (_, reason) in deeds.items()
    }
    assert [image.source for image in open_store(str(tmp_path / "out.zarr")).values()] == [
        str(tmp_path / "in" / name)
        for name in ("stays too.png", "stays.png")  # by key
    ]
    assert result.images.labelled == 2
    assert result.pixels_total == 2 * 40 * 50  # counts and inertia are those of what was labelled
    assert sum(result.counts or ()) == result.pixels_total


# ------------------------------------------------------------------------------- done already, or in the way


@pytest.mark.parametrize("kind", ["store", "model"])
def test_the_same_job_again_changes_no_file_and_is_told_as_reused(
    kind: str, mixed: Path, tmp_path: Path, every_file: Any
) -> None:
    output = tmp_path / f"out.{kind}.zarr"
    result = run_job(mixed, output, k=3, scheduler="threads", workers=2)
    before = every_file(output)
    again = asked(mixed, output, k=3)  # where the work runs is no setting of the store
    assert again.finished is not None
    assert reused_result(again.finished, str(output)) == result.to_json() | {
        "images": {"total": 5, "labelled": 0, "reused": 3, "failed": 2},
        "seconds": {"total": 0.0, "fit": None, "label": None},
    }
    assert every_file(output) == before


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"k": 4}, "--k 3 → 4"),
        ({"seed": 1}, "--seed 0 → 1"),
        ({"features": "lab"}, "--features rgb → lab"),
        ({"scope": "image"}, "--scope global → image"),
        ({"tile": 256}, "--tile 1024 → 256"),
        ({"attempts": 9, "tol": 0.5}, "--attempts 3 → 9; --tol not given → 0.5"),
    ],
)
def test_other_settings_are_refused_and_named(
    changed: dict[str, Any], named: str, small: Made, every_file: Any
) -> None:
    before = every_file(small.path)
    with pytest.raises(StoreError) as caught:
        asked(small.inputs, small.path, **{"k": 3, "features": "rgb", **changed})
    assert f"was made with other settings ({named})" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert every_file(small.path) == before


def test_an_image_that_was_too_large_is_not_told_as_done_with_another_limit(small_folder: Path, tmp_path: Path) -> None:
    """The refusal says to raise --max-pixels: who does so is not shown the earlier failure again."""
    output = tmp_path / "out.zarr"
    result = run_job(small_folder, output, max_pixels=40 * 51)
    ((source, reason),) = [(Path(failure.source).name, failure.reason) for failure in result.failures]
    assert source == "c.png"
    assert "raise --max-pixels" in reason
    with pytest.raises(StoreError, match=r"was made with other settings \(--max-pixels 2040 → 536870912\)"):
        asked(small_folder, output)


@pytest.mark.parametrize("kind", ["one", "folder"])
def test_another_mask_of_the_same_name_is_another_input(
    kind: str, small_folder: Path, tmp_path: Path, png: Png
) -> None:
    job = small_folder / "a.png", tmp_path / "out.zarr"
    rows = np.arange(40)[:, None] + np.zeros((1, 50), int)
    file = png(tmp_path / "masks" / "a.png", np.where(rows < 20, 255, 0).astype(np.uint8))
    mask = file if kind == "one" else file.parent
    assert run_job(*job, mask=mask).pixels_valid == 20 * 50
    assert asked(*job, mask=mask).finished is not None
    png(file, np.where(rows < 20, 0, 255).astype(np.uint8))
    with pytest.raises(StoreError, match="was made from other inputs"):
        asked(*job, mask=mask)


def test_other_inputs_are_refused(small_folder: Path, tmp_path: Path) -> None:
    folder, output = Path(shutil.copytree(small_folder, tmp_path / "in")), tmp_path / "out.zarr"
    run_job(folder, output, k=2, attempts=1)
    file, added, other = folder / "a.png", folder / "new.png", tmp_path / "a.png"
    status, content = file.stat(), file.read_bytes()

    def resized() -> None:
        file.write_bytes(content + b"\0")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

    changes: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "added": (lambda: added.write_bytes(content), added.unlink),
        "removed": (lambda: file.rename(other), lambda: other.rename(file)),
        "touched": (lambda: os.utime(file, ns=(1, 1)), lambda: None),
        "resized": (resized, lambda: None),
    }
    for change, undo in changes.values():
        assert asked(folder, output, k=2, attempts=1).finished is not None
        change()
        with pytest.raises(StoreError, match="was made from other inputs"):
            asked(folder, output, k=2, attempts=1)
        undo()
        file.write_bytes(content)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("scope", ["global", "image"])
def test_a_store_that_was_never_finished_is_made_again(scope: str, small_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.zarr"
    how: dict[str, Any] = {"k": 3, "scope": scope, "attempts": 1}
    run_job(small_folder, output, **how)
    expected = store_contents(output)
    root = zarr.open_group(str(output), mode="r+")
    facts: dict[str, Any] = {**root.attrs["kseg"], "status": "running"}  # type: ignore[dict-item]
    del facts["result"], facts["failures"]
    root.attrs["kseg"] = facts
    del root["images/b.png/labels/kmeans/0"]
    del root["images/c.png"]
    run_job(small_folder, output, **how)
    assert store_contents(output) == expected


@pytest.mark.parametrize("there", ["file", "folder", "zarr", "link", "broken link"])
def test_what_is_no_kseg_store_is_never_replaced(there: str, small: Made, tmp_path: Path, every_file: Any) -> None:
    output = tmp_path / "out.zarr"
    if there == "file":
        output.write_text("a diary")
    elif there == "folder":
        (output / "photos").mkdir(parents=True)
        (output / "photos" / "one.txt").write_text("a diary")
    elif there == "zarr":
        zarr.create_group(str(output), attributes={"mine": 1}).create_array("x", data=np.arange(3))
    else:
        output.symlink_to(small.path if there == "link" else tmp_path / "nowhere")
    before = every_file(tmp_path), every_file(small.path)
    for overwrite in (False, True):
        with pytest.raises(StoreError):
            run_job(small.inputs, output, k=2, overwrite=overwrite)
    assert (every_file(tmp_path), every_file(small.path)) == before


def test_a_store_is_no_model_and_a_model_is_no_store(small: Made, tmp_path: Path) -> None:
    run_job(small.inputs, tmp_path / "fit.model.zarr", k=3, attempts=1)
    with pytest.raises(StoreError, match="is a kseg model, not a store"):
        asked(small.inputs, tmp_path / "fit.model.zarr", k=3, result="store")
    with pytest.raises(StoreError, match="is a kseg store, not a model"):
        asked(small.inputs, small.path, k=3, result="model")


def test_an_output_where_nothing_can_be_written_is_one_clear_error(small_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for name in ("out.zarr", "out.model.zarr"):
        with pytest.raises(KsegError, match="cannot be written"):
            run_job(small_folder, tmp_path / "file" / name)


def test_the_default_output_is_named_after_the_one_input(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, expected in [
        (str(small_folder), "pictures.kseg.zarr"),
        (f"{small_folder}/", "pictures.kseg.zarr"),
        (str(small_folder / "a.png"), "a.kseg.zarr"),
        (".", f"{tmp_path.name}.kseg.zarr"),
    ]:
        assert default_output(InputSelection((given,))) == expected
    for selection in (("a", "b"), ("*.png",)):
        with pytest.raises(UsageError, match="name one with -o"):
            default_output(InputSelection(selection))


# ------------------------------------------------------------------------------------------------ earlier models


@pytest.mark.parametrize("earlier", ["fit.model.zarr", "run.zarr", "run.zarr/model"])
def test_apply_copies_the_model_unchanged_and_counts_its_own_pixels(
    earlier: str, made: Made, small_folder: Path, tmp_path: Path
) -> None:
    if earlier.startswith("fit"):
        run_job(made.inputs, tmp_path / earlier)
    else:
        (tmp_path / "run.zarr").symlink_to(made.path)
    result = run_job(small_folder, tmp_path / "out.zarr", model=tmp_path / earlier)
    before, after = store_contents(tmp_path / earlier), store_contents(tmp_path / "out.zarr")
    inside = "model/" if earlier == "run.zarr" else ""
    for name in ("centroids", "colors", "counts"):
        for part in ("values", "layout"):
            assert after[f"model/{name}:{part}"] == before[f"{inside}{name}:{part}"]
    given, copied = (Model.load(str(tmp_path / name)) for name in (earlier, "out.zarr"))
    assert (copied.digest, copied.inertia, copied.facts) == (given.digest, given.inertia, given.facts)
    # What is told is about these images, and the model's own numbers are about those of its fit.
    assert sum(result.counts or ()) == result.pixels_valid == 40 * (50 + 51 + 52)
    assert copied.pixels != result.pixels_valid
    assert result.centroids == given.centroids.tolist()
    per_image = [image.attributes["counts"] for image in open_store(str(tmp_path / "out.zarr")).values()]
    assert np.sum(per_image, axis=0).tolist() == result.counts


def test_apply_on_the_images_of_the_fit_gives_the_labels_of_the_run(made: Made, tmp_path: Path) -> None:
    applied = run_job(made.inputs, tmp_path / "apply.zarr", model=made.path)
    assert (applied.counts, applied.inertia) == (made.result.counts, made.result.inertia)
    found = store_contents(tmp_path / "apply.zarr")
    assert {name for name in found if found[name] != made.contents[name]} == {":attributes"}


def test_a_store_whose_images_have_models_of_their_own_cannot_be_applied(small_folder: Path, tmp_path: Path) -> None:
    run_job(small_folder, tmp_path / "each.zarr", k=2, attempts=1, scope="image")
    with pytest.raises(StoreError, match="each image has a model of its own"):
        run_job(small_folder, tmp_path / "out.zarr", model=tmp_path / "each.zarr")


@pytest.mark.parametrize("way", ["model", "match"])
@pytest.mark.parametrize("there", [False, True])
def test_a_model_that_is_none_is_wrong_usage(way: str, there: bool, small_folder: Path, tmp_path: Path) -> None:
    if there:
        (tmp_path / "m.zarr").mkdir()
    message = "no kseg model or store there" if there else "no such model or store"
    with pytest.raises(UsageError, match=message):
        run_job(small_folder, tmp_path / "out.zarr", **{way: tmp_path / "m.zarr"})


def reordered(model: Model, order: list[int], path: Path) -> Path:
    """The same model with its clusters numbered otherwise."""
    colors, counts = model.colors[order], model.counts[order]
    replace(model, centroids=model.centroids[order], colors=colors, counts=counts).save(str(path))
    return path


def test_match_numbers_the_clusters_as_the_earlier_model_does(tmp_path: Path, png: Png) -> None:
    run_job(gray_row(tmp_path / "one.png", 10, 120, 240, png=png), tmp_path / "one.zarr", k=3)
    earlier = reordered(Model.load(str(tmp_path / "one.zarr")), [2, 0, 1], tmp_path / "earlier.zarr")
    two = gray_row(tmp_path / "two.png", 243, 123, 13, png=png)
    plain = run_job(two, tmp_path / "plain.zarr", k=3)
    matched = run_job(two, tmp_path / "matched.zarr", k=3, match=earlier)
    assert plain.colors == [[13] * 3, [123] * 3, [243] * 3]
    assert matched.colors == [[243] * 3, [13] * 3, [123] * 3]
    assert labels_of(tmp_path / "plain.zarr", "two.png").tolist() == [[2, 1, 0]]
    assert labels_of(tmp_path / "matched.zarr", "two.png").tolist() == [[0, 2, 1]]


def test_bands_are_matched_by_their_values_whatever_each_data_is_normalised_by(tmp_path: Path, png: Png) -> None:
    bands: dict[str, Any] = {"features": "bands", "normalize": "standard"}
    run_job(gray_row(tmp_path / "one.png", 10, 120, 240, png=png), tmp_path / "one.zarr", k=3, **bands)
    # 10, 240, 120
    earlier = reordered(Model.load(str(tmp_path / "one.zarr")), [0, 2, 1], tmp_path / "earlier.zarr")
    two = gray_row(tmp_path / "two.png", 240, 120, png=png)
    run_job(two, tmp_path / "plain.zarr", k=2, **bands)
    run_job(two, tmp_path / "matched.zarr", k=2, match=earlier, **bands)
    assert labels_of(tmp_path / "plain.zarr", "two.png").tolist() == [[1, 0]]
    assert labels_of(tmp_path / "matched.zarr", "two.png").tolist() == [[0, 1]]


def test_match_of_other_bands_is_wrong_usage(small_folder: Path, tmp_path: Path) -> None:
    run_job(small_folder, tmp_path / "two.zarr", k=3, features="bands", bands=(3, 1))
    with pytest.raises(
        UsageError, match="--match has centroids of bands 3,1, this fit of bands 1,2,3; add --bands 3,1"
    ):
        run_job(small_folder, tmp_path / "out.zarr", k=3, features="bands", match=tmp_path / "two.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_a_model_of_bands_predicts_samples_of_its_own_dtype_only(small_folder: Path, tmp_path: Path) -> None:
    run_job(small_folder, tmp_path / "out.zarr", k=3, features="bands")
    model = Model.load(str(tmp_path / "out.zarr"))
    for dtype in ("int16", "float64", "uint16"):
        told = rf"expected an array \(y, x, 3\) uint8.*; got \(4, 4, 3\) {dtype}"
        with pytest.raises(ValueError, match=told):
            model.predict(np.ones((4, 4, 3), dtype))


@pytest.mark.parametrize("kind", ["zarr", "model.zarr"])
def test_match_of_other_features_is_wrong_usage_before_anything_is_replaced(
    kind: str, small_folder: Path, tmp_path: Path, every_file: Any
) -> None:
    run_job(small_folder, tmp_path / "gray.zarr", k=3, features="gray", attempts=1)
    run_job(small_folder, tmp_path / f"out.{kind}", k=3, attempts=1)
    before = every_file(tmp_path)
    again: dict[str, Any] = {"match": tmp_path / "gray.zarr", "overwrite": True, "features": "rgb"}
    with pytest.raises(UsageError, match="--match has gray centroids, this fit rgb ones; add --features gray"):
        run_job(small_folder, tmp_path / f"out.{kind}", k=1, **again)
    assert every_file(tmp_path) == before


def test_an_output_is_not_replaced_by_a_job_that_needs_its_model(
    small_folder: Path, output: Path, tmp_path: Path, every_file: Any
) -> None:
    before = every_file(tmp_path)
    for way, used in (("match", output), ("model", output), ("match", output / "model")):
        with pytest.raises(UsageError, match="is also the model to use"):
            run_job(small_folder, output, overwrite=True, **{way: used})
    assert every_file(tmp_path) == before


def test_a_damaged_earlier_model_is_an_error_before_anything_is_replaced(
    small_folder: Path, output: Path, tmp_path: Path, every_file: Any
) -> None:
    shutil.copytree(output, tmp_path / "earlier.zarr")
    colors: Any = zarr.open_array(str(tmp_path / "earlier.zarr/model/colors"), mode="r+")
    colors[0, 0] += 1
    before = every_file(tmp_path)
    for way in ("match", "model"):
        with pytest.raises(StoreError, match="digest"):
            run_job(small_folder, output, overwrite=True, **{way: tmp_path / "earlier.zarr"})
    assert every_file(tmp_path) == before
