"""The jobs themselves: what they make, what they refuse, and what they leave alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from kseg_core import Model, open_store
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import KsegError, StoreError, UnreadableImage, UsageError
from kseg_core.images import Pixels
from kseg_core.reading.sources import Piece
from workflows.request import InputSelection, Request, default_output, prepare
from workflows.result import reused_result
from workflows.run import run

Png = Callable[[Path, Any], Path]


def request(
    inputs: Path | list[str],
    output: Path,
    k: int = 3,
    *,
    kind: str = "store",
    overwrite: bool = False,
    tile: int = 1024,
    settings: InputSettings | None = None,
    **fit: Any,
) -> Request:
    named = [str(inputs)] if isinstance(inputs, Path) else inputs
    config = RunConfig(
        FitSettings(k, **{"attempts": 3, **fit}),
        OutputSettings(overwrite=overwrite, tile=tile),
        ExecutionSettings("sync"),
        settings or InputSettings(),
    )
    return prepare(InputSelection(tuple(named)), config, str(output), kind)


def labels_of(store: Path, key: str) -> Any:
    return np.asarray(open_store(str(store))[key].labels[...])


def attributes_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "zarr.json").read_bytes())["attributes"]["kseg"]
    return found


# ------------------------------------------------------------------------------------------------ one palette


def test_a_run_says_what_it_did(smooth_folder: Path, tmp_path: Path, job: Any) -> None:
    result = job(smooth_folder, tmp_path / "out.zarr", k=4)
    pixels = sum(
        height * width
        for height, width in (np.asarray(i.labels).shape for i in open_store(str(tmp_path / "out.zarr")).values())
    )
    told = result.to_json()
    assert told["status"] == "ok"
    assert told["images"] == {"total": 8, "labelled": 8, "reused": 0, "failed": 0}
    assert told["pixels"] == {"total": pixels, "valid": pixels - 50 * 40}
    assert (told["k"], told["k_requested"], told["features"], told["scope"]) == (4, 4, "rgb", "global")
    assert sum(told["counts"]) == pixels - 50 * 40
    assert told["mse"] == pytest.approx(told["inertia"] / (pixels - 50 * 40))
    assert told["failures"] == []
    assert attributes_of(tmp_path / "out.zarr")["result"] == told


def test_a_fit_is_the_model_of_the_run_with_the_same_settings(smooth_folder: Path, tmp_path: Path, job: Any) -> None:
    fitted = job(smooth_folder, tmp_path / "fit.model.zarr")
    ran = job(smooth_folder, tmp_path / "run.zarr")
    one, two = (Model.load(str(tmp_path / name)) for name in ("fit.model.zarr", "run.zarr"))
    assert one.digest == two.digest
    np.testing.assert_array_equal(one.counts, two.counts)
    assert fitted.to_json() | {"output": 0, "seconds": 0, "images": 0} == ran.to_json() | {
        "output": 0,
        "seconds": 0,
        "images": 0,
    }
    assert fitted.to_json()["images"] == {"total": 8, "labelled": 0, "reused": 0, "failed": 0}


def test_fewer_distinct_values_than_clusters_give_as_many_clusters_as_values(
    tmp_path: Path, png: Png, job: Any
) -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:, 2:4] = (255, 0, 0)
    picture[:, 4:] = (255, 255, 255)
    png(tmp_path / "in" / "flag.png", picture)
    result = job(tmp_path / "in", tmp_path / "out.zarr", k=7)
    assert (result.k, result.k_requested, result.inertia) == (3, 7, 0.0)
    assert result.centroids == [[0, 0, 0], [255, 0, 0], [255, 255, 255]]
    assert result.colors == [[0, 0, 0], [255, 0, 0], [255, 255, 255]]
    assert result.counts == [8, 8, 8]
    np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr", "flag.png"), [[0, 0, 1, 1, 2, 2]] * 4)
    assert open_store(str(tmp_path / "out.zarr"))["flag.png"].masks.shape == (3, 4, 6)  # type: ignore[union-attr]


def test_colours_that_are_one_in_the_feature_space_are_one_cluster(tmp_path: Path, png: Png, job: Any) -> None:
    # Luma of (87, 0, 0) and of (0, 44, 0) is 26.
    png(tmp_path / "in.png", np.array([[[87, 0, 0], [0, 44, 0], [200, 200, 200]]], np.uint8))
    result = job(tmp_path / "in.png", tmp_path / "out.zarr", k=3, features="gray")
    assert result.centroids == [[26], [200]]
    assert result.colors == [[44, 22, 0], [200, 200, 200]]
    assert labels_of(tmp_path / "out.zarr", "in.png").tolist() == [[0, 0, 1]]


def test_given_first_centroids_are_where_the_steps_begin(tmp_path: Path, png: Png, job: Any) -> None:
    picture = np.repeat(np.array([[0, 10, 20, 200, 210, 220]], np.uint8)[..., None], 3, axis=2)
    png(tmp_path / "in.png", picture)
    # From these the lower centroid takes the three dark pixels and the two upper ones share the rest.
    result = job(tmp_path / "in.png", tmp_path / "out.zarr", k=3, start=("#0a0a0a", "#c8c8c8", "#dcdcdc"))
    assert result.centroids == [[10, 10, 10], [205, 205, 205], [220, 220, 220]]


@pytest.mark.parametrize(("k", "made"), [(32, True), (33, False)])
def test_masks_are_made_up_to_32_clusters(k: int, made: bool, small_folder: Path, tmp_path: Path, job: Any) -> None:
    job(small_folder, tmp_path / "out.zarr", k=k, attempts=1)
    assert (open_store(str(tmp_path / "out.zarr"))["a.png"].masks is not None) == made


@pytest.mark.parametrize(("k", "dtype", "invalid"), [(254, "uint8", 255), (255, "uint16", 65535)])
def test_above_254_clusters_labels_have_16_bits(
    k: int, dtype: str, invalid: int, tmp_path: Path, png: Png, job: Any
) -> None:
    ramp = np.zeros((20, 15, 4), np.uint8)
    ramp[..., 0], ramp[..., 1], ramp[..., 3] = np.arange(15), np.arange(20)[:, None] * 9, 255
    ramp[0, 0, 3] = 0
    png(tmp_path / "in.png", ramp)
    result = job(tmp_path / "in.png", tmp_path / "out.zarr", k=k, attempts=1)
    assert result.k == k
    labels = open_store(str(tmp_path / "out.zarr"))["in.png"].labels
    assert (labels.dtype, labels.fill_value, labels[0, 0]) == (dtype, invalid, invalid)
    assert np.unique(np.asarray(labels).ravel()[1:]).tolist() == list(range(k))


# --------------------------------------------------------------------------------- one palette for each image


def test_with_scope_image_each_model_is_that_of_a_run_on_its_image_alone(
    smooth_folder: Path, tmp_path: Path, job: Any, contents: Any
) -> None:
    result = job(smooth_folder, tmp_path / "all.zarr", scope="image", batch_pixels=2000)
    assert (result.k, result.centroids, result.colors, result.counts) == (None,) * 4
    assert not (tmp_path / "all.zarr/model").exists()
    found = contents(tmp_path / "all.zarr")
    inertia = 0.0
    for path in sorted(smooth_folder.iterdir()):
        alone = tmp_path / f"{path.name}.zarr"
        inertia += job(path, alone, batch_pixels=2000).inertia
        expected = contents(alone)
        own = f"images/{path.name}/model"
        for name in ("", "/centroids", "/colors", "/counts"):
            for part in ("values", "attributes", "layout") if name else ("attributes",):
                assert found[f"{own}{name}:{part}"] == expected[f"model{name}:{part}"]
        for name in ("labels/kmeans/0", "masks"):
            assert found[f"images/{path.name}/{name}:values"] == expected[f"images/{path.name}/{name}:values"]
    assert result.inertia == pytest.approx(inertia, rel=1e-12)


def transparent(height: int, width: int) -> Any:
    return np.zeros((height, width, 4), np.uint8)


@pytest.mark.parametrize("scope", ["global", "image"])
def test_a_wholly_transparent_image_among_others_is_labelled_as_invalid_everywhere(
    scope: str, small_folder: Path, tmp_path: Path, png: Png, job: Any
) -> None:
    png(tmp_path / "in" / "nothing.png", transparent(5, 7))
    (tmp_path / "in" / "a.png").write_bytes((small_folder / "a.png").read_bytes())
    result = job(tmp_path / "in", tmp_path / "out.zarr", k=2, scope=scope)
    assert (result.images.labelled, result.pixels_total, result.pixels_valid) == (2, 2035, 2000)
    image = open_store(str(tmp_path / "out.zarr"))["nothing.png"]
    np.testing.assert_array_equal(image.labels, np.full((5, 7), 255))
    assert (image.attributes["invalid"], image.attributes["mse"]) == (35, None)
    assert image.attributes["counts"] == ([0, 0] if scope == "global" else [])
    if scope == "global":
        assert not np.asarray(image.masks).any()
    else:
        assert image.model is None


def test_wholly_transparent_images_alone_have_nothing_to_cluster(tmp_path: Path, png: Png, job: Any) -> None:
    png(tmp_path / "nothing.png", transparent(5, 7))
    with pytest.raises(KsegError, match=r"no valid pixel in .*nothing\.png: "):
        job(tmp_path / "nothing.png", tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists() or attributes_of(tmp_path / "out.zarr")["status"] != "complete"


# -------------------------------------------------------------------------------------------------- bad inputs


@pytest.fixture
def mixed(tmp_path: Path, small_folder: Path) -> Path:
    """Three good pictures, one that is cut short (its header is sound) and one that is none."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in small_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = (small_folder / "a.png").read_bytes()
    (folder / "aa-cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bb-text.png").write_text("no picture")
    return folder


@pytest.mark.parametrize("scope", ["global", "image"])
def test_bad_inputs_are_named_and_the_rest_is_labelled(
    scope: str, mixed: Path, small_folder: Path, tmp_path: Path, job: Any
) -> None:
    result = job(mixed, tmp_path / "out.zarr", scope=scope)
    told = result.to_json()
    assert told["status"] == "partial"
    assert told["images"] == {"total": 5, "labelled": 3, "reused": 0, "failed": 2}
    assert [Path(failure["source"]).name for failure in told["failures"]] == ["aa-cut.png", "bb-text.png"]
    assert told["failures"][0]["reason"].startswith("truncated")
    assert told["failures"][1]["reason"] == "not an image (text)"
    store = open_store(str(tmp_path / "out.zarr"))
    assert list(store) == ["a.png", "b.png", "c.png"]
    assert store.complete
    job(small_folder, tmp_path / "good.zarr", scope=scope)
    np.testing.assert_array_equal(store["b.png"].labels, labels_of(tmp_path / "good.zarr", "b.png"))


def test_a_fit_names_bad_inputs_and_uses_the_rest(mixed: Path, small_folder: Path, tmp_path: Path, job: Any) -> None:
    result = job(mixed, tmp_path / "out.model.zarr")
    assert [Path(failure.source).name for failure in result.failures] == ["aa-cut.png", "bb-text.png"]
    job(small_folder, tmp_path / "good.model.zarr")
    one, two = (Model.load(str(tmp_path / f"{name}.model.zarr")) for name in ("out", "good"))
    np.testing.assert_array_equal(one.counts, two.counts)


@pytest.mark.parametrize("scope", ["global", "image"])
def test_inputs_that_all_break_when_read_are_an_error_and_no_complete_store(
    scope: str, mixed: Path, tmp_path: Path, job: Any
) -> None:
    with pytest.raises(KsegError, match=r"aa-cut\.png: truncated"):
        job(mixed / "aa-cut.png", tmp_path / "out.zarr", scope=scope)
    assert not (tmp_path / "out.zarr").exists() or not open_store(str(tmp_path / "out.zarr")).complete


def test_strict_passes_where_all_is_well(small_folder: Path, tmp_path: Path, job: Any) -> None:
    assert job(small_folder, tmp_path / "out.zarr", strict=True).images.labelled == 3


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize(
    ("name", "scope"), [("aa-cut.png", "global"), ("aa-cut.png", "image"), ("bb-text.png", "global")]
)
def test_strict_stops_at_the_first_bad_input(
    name: str, scope: str, scheduler: str, mixed: Path, tmp_path: Path, job: Any
) -> None:
    for other in {"aa-cut.png", "bb-text.png"} - {name}:
        (mixed / other).unlink()
    with pytest.raises(UnreadableImage) as caught:
        job(mixed, tmp_path / "out.zarr", strict=True, scope=scope, scheduler=scheduler)
    assert caught.value.source == str(mixed / name)
    assert not (tmp_path / "out.zarr").exists() or not open_store(str(tmp_path / "out.zarr")).complete


def test_inputs_of_which_none_is_an_image_are_an_error_that_names_the_first(tmp_path: Path, job: Any) -> None:
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(KsegError, match=r"2 inputs.*x\.png: empty file"):
        job([tmp_path / "x.png", tmp_path / "y.png"], tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[Path], None]], None]:
    """Do something to a file after it was summarised and before it is labelled."""

    def arrange(key: str, deed: Callable[[Path], None]) -> None:
        original = Piece.read
        seen: set[str] = set()

        def read(self: Piece, *more: Any) -> Pixels:
            file = self.source.file
            if file.key == key and key in seen:
                deed(Path(file.path))
            seen.add(file.key)
            return original(self, *more)

        monkeypatch.setattr(Piece, "read", read)

    return arrange


DEEDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "vanishes": (lambda path: path.unlink(missing_ok=True), "no such file or directory"),
    "is emptied": (lambda path: path.write_bytes(b""), "empty file"),
    "is cut short": (lambda path: path.write_bytes(path.read_bytes()[:300]), "truncated"),
    "becomes text": (lambda path: path.write_text("hello"), "not an image (text)"),
    "becomes a folder": (lambda path: path.unlink() or path.mkdir(), "is a directory"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_file_that_changes_between_summary_and_labelling_is_reported_and_not_fatal(
    deed: str, mixed: Path, tmp_path: Path, job: Any, spoil: Any
) -> None:
    (mixed / "aa-cut.png").unlink()
    (mixed / "bb-text.png").unlink()
    action, reason = DEEDS[deed]
    spoil("b.png", action)
    result = job(mixed, tmp_path / "out.zarr")
    assert [(Path(failure.source).name, failure.reason[: len(reason)]) for failure in result.failures] == [
        ("b.png", reason)
    ]
    store = open_store(str(tmp_path / "out.zarr"))
    assert list(store) == ["a.png", "c.png"]
    assert result.images.labelled == 2
    assert result.pixels_total == 40 * 50 + 40 * 52  # counts and inertia are those of what was labelled
    assert sum(result.counts) == result.pixels_total


def test_a_file_that_becomes_a_picture_of_another_size_is_reported(
    mixed: Path, tmp_path: Path, job: Any, spoil: Any, png: Png, smooth: Any
) -> None:
    spoil("b.png", lambda path: png(path, smooth(41, 51, 0)))
    result = job(mixed, tmp_path / "out.zarr")
    assert [f.reason for f in result.failures if f.source.endswith("/b.png")] == [
        "changed while it was being read; run again"
    ]


# ------------------------------------------------------------------------------- done already, or in the way


@pytest.mark.parametrize("kind", ["store", "model"])
def test_the_same_job_again_changes_no_file_and_is_told_as_reused(
    kind: str, mixed: Path, tmp_path: Path, job: Any, every_file: Any
) -> None:
    output = tmp_path / f"out.{kind}.zarr"
    result = job(mixed, output, k=3)
    before = every_file(output)
    again = request(mixed, output, kind=kind)
    assert again.finished is not None
    assert reused_result(again.finished, str(output)) == result.to_json() | {
        "images": {"total": 5, "labelled": 0, "reused": 3, "failed": 2},
        "seconds": {"total": 0.0, "fit": None, "label": None},
    }
    assert every_file(output) == before


def test_where_the_work_runs_and_what_is_replaced_are_no_settings_of_the_store(
    small_folder: Path, tmp_path: Path, job: Any
) -> None:
    job(small_folder, tmp_path / "out.zarr", k=3, scheduler="threads", workers=2)
    assert request(small_folder, tmp_path / "out.zarr").finished is not None  # sync


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
    changed: dict[str, Any], named: str, small_folder: Path, tmp_path: Path, job: Any, every_file: Any
) -> None:
    output = tmp_path / "out.zarr"
    job(small_folder, output, k=3)
    before = every_file(output)
    with pytest.raises(StoreError) as caught:
        request(small_folder, output, **changed)
    assert f"was made with other settings ({named})" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert every_file(output) == before


def test_an_image_that_was_too_large_is_not_told_as_done_with_another_limit(
    small_folder: Path, tmp_path: Path, png: Png, smooth: Any
) -> None:
    """The refusal says to raise --max-pixels: who does so is not shown the earlier failure again."""
    output = tmp_path / "out.zarr"
    result = run(request(small_folder, output, settings=InputSettings(max_pixels=40 * 51)))
    ((source, reason),) = [(Path(failure.source).name, failure.reason) for failure in result.failures]
    assert source == "c.png"
    assert "raise --max-pixels" in reason
    with pytest.raises(StoreError, match=r"was made with other settings \(--max-pixels 2040 → 536870912\)"):
        request(small_folder, output)


@pytest.mark.parametrize("kind", ["one", "folder"])
def test_another_mask_of_the_same_name_is_another_input(
    kind: str, small_folder: Path, tmp_path: Path, png: Png
) -> None:
    picture, output = small_folder / "a.png", tmp_path / "out.zarr"
    mask = np.zeros((40, 50), np.uint8)
    mask[:20] = 255
    file = png(tmp_path / "masks" / "a.png", mask)
    settings = InputSettings(mask=str(file if kind == "one" else file.parent))
    assert run(request(picture, output, settings=settings)).pixels_valid == 20 * 50
    assert request(picture, output, settings=settings).finished is not None
    png(file, mask[::-1].copy())
    with pytest.raises(StoreError, match="was made from other inputs"):
        request(picture, output, settings=settings)


@pytest.mark.parametrize("change", ["added", "removed", "touched", "rewritten"])
def test_other_inputs_are_refused(change: str, mixed: Path, tmp_path: Path, job: Any) -> None:
    job(mixed, tmp_path / "out.zarr", k=3)
    file = mixed / "a.png"
    if change == "added":
        (mixed / "new.png").write_bytes(file.read_bytes())
    elif change == "removed":
        file.unlink()
    elif change == "touched":
        os.utime(file, ns=(1, 1))
    else:
        status = file.stat()
        file.write_bytes(file.read_bytes() + b"\0")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(StoreError, match="was made from other inputs"):
        request(mixed, tmp_path / "out.zarr")


@pytest.mark.parametrize("scope", ["global", "image"])
def test_a_store_that_was_never_finished_is_made_again(
    scope: str, small_folder: Path, tmp_path: Path, job: Any, contents: Any
) -> None:
    output = tmp_path / "out.zarr"
    job(small_folder, output, k=3, scope=scope)
    expected = contents(output)
    root = zarr.open_group(str(output), mode="r+")
    facts: dict[str, Any] = {**root.attrs["kseg"], "status": "running"}  # type: ignore[dict-item]
    del facts["result"], facts["failures"]
    root.attrs["kseg"] = facts
    del root["images/b.png/labels/kmeans/0"]
    del root["images/c.png"]
    assert request(small_folder, output, scope=scope).finished is None
    job(small_folder, output, k=3, scope=scope)
    assert contents(output) == expected


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("there", ["file", "folder", "zarr", "link", "broken link"])
def test_what_is_no_kseg_store_is_never_replaced(
    there: str, overwrite: bool, small_folder: Path, tmp_path: Path, job: Any, every_file: Any
) -> None:
    output = tmp_path / "out.zarr"
    if there == "file":
        output.write_text("a diary")
    elif there == "folder":
        (output / "photos").mkdir(parents=True)
        (output / "photos" / "one.txt").write_text("a diary")
    elif there == "zarr":
        zarr.create_group(str(output), attributes={"mine": 1}).create_array("x", data=np.arange(3))
    elif there == "link":
        job(small_folder, tmp_path / "elsewhere.zarr", k=2)
        output.symlink_to(tmp_path / "elsewhere.zarr")
    else:
        output.symlink_to(tmp_path / "nowhere")
    before = every_file(tmp_path)
    with pytest.raises(StoreError):
        job(small_folder, output, k=3, overwrite=overwrite)
    assert every_file(tmp_path) == before


def test_a_store_is_no_model_and_a_model_is_no_store(small_folder: Path, tmp_path: Path, job: Any) -> None:
    job(small_folder, tmp_path / "fit.model.zarr", k=3)
    job(small_folder, tmp_path / "run.zarr", k=3)
    with pytest.raises(StoreError, match="is a kseg model, not a store"):
        request(small_folder, tmp_path / "fit.model.zarr", kind="store")
    with pytest.raises(StoreError, match="is a kseg store, not a model"):
        request(small_folder, tmp_path / "run.zarr", kind="model")


def test_an_output_where_nothing_can_be_written_is_one_clear_error(
    small_folder: Path, tmp_path: Path, job: Any
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KsegError, match="cannot be written"):
        job(small_folder, tmp_path / "file" / "out.zarr")
    with pytest.raises(KsegError, match="cannot be written"):
        job(small_folder, tmp_path / "file" / "out.model.zarr")


def test_the_default_output_is_named_after_the_input(
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


@pytest.mark.parametrize("selection", [("a", "b"), ("*.png",)])
def test_several_inputs_have_no_default_output(selection: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="name one with -o"):
        default_output(InputSelection(selection))


# ------------------------------------------------------------------------------------------------ earlier models


@pytest.mark.parametrize("earlier", ["fit.model.zarr", "run.zarr", "run.zarr/model"])
def test_apply_copies_the_model_unchanged_and_counts_its_own_pixels(
    earlier: str, smooth_folder: Path, small_folder: Path, tmp_path: Path, job: Any, contents: Any
) -> None:
    job(smooth_folder, tmp_path / earlier.partition("/")[0])
    result = job(small_folder, tmp_path / "out.zarr", None, model=tmp_path / earlier)
    before = contents(tmp_path / earlier)
    after = contents(tmp_path / "out.zarr")
    inside = "" if earlier != "run.zarr" else "model"
    for name in ("centroids", "colors", "counts"):
        for part in ("values", "layout"):
            assert after[f"model/{name}:{part}"] == before[f"{inside}/{name}:{part}".lstrip("/")]
    given, copied = (Model.load(str(tmp_path / name)) for name in (earlier, "out.zarr"))
    assert (copied.digest, copied.inertia, copied.facts) == (given.digest, given.inertia, given.facts)
    # What is told is about these images, and the model's own numbers are about those of its fit.
    assert sum(result.counts) == result.pixels_valid == 40 * (50 + 51 + 52)
    assert copied.pixels != result.pixels_valid
    assert result.centroids == given.centroids.tolist()
    per_image = [image.attributes["counts"] for image in open_store(str(tmp_path / "out.zarr")).values()]
    assert np.sum(per_image, axis=0).tolist() == result.counts


def test_apply_on_the_images_of_the_fit_gives_the_labels_of_the_run(
    smooth_folder: Path, tmp_path: Path, job: Any, contents: Any
) -> None:
    ran = job(smooth_folder, tmp_path / "run.zarr")
    applied = job(smooth_folder, tmp_path / "apply.zarr", None, model=tmp_path / "run.zarr")
    assert (applied.counts, applied.inertia) == (ran.counts, ran.inertia)
    one, two = contents(tmp_path / "run.zarr"), contents(tmp_path / "apply.zarr")
    assert {name for name in one if one[name] != two[name]} == {":attributes"}


def test_a_store_whose_images_have_models_of_their_own_cannot_be_applied(
    small_folder: Path, tmp_path: Path, job: Any
) -> None:
    job(small_folder, tmp_path / "each.zarr", scope="image")
    with pytest.raises(StoreError, match="each image has a model of its own"):
        job(small_folder, tmp_path / "out.zarr", None, model=tmp_path / "each.zarr")


@pytest.mark.parametrize("way", ["model", "match"])
@pytest.mark.parametrize("there", [False, True])
def test_a_model_that_is_none_is_wrong_usage(
    way: str, there: bool, small_folder: Path, tmp_path: Path, job: Any
) -> None:
    if there:
        (tmp_path / "m.zarr").mkdir()
    message = "no kseg model or store there" if there else "no such model or store"
    with pytest.raises(UsageError, match=message):
        job(small_folder, tmp_path / "out.zarr", None if way == "model" else 3, **{way: tmp_path / "m.zarr"})


def test_match_numbers_the_clusters_as_the_earlier_model_does(tmp_path: Path, png: Png, job: Any) -> None:
    grays = np.array([[10, 120, 240]], np.uint8)
    png(tmp_path / "one.png", np.repeat(grays[..., None], 3, axis=2))
    png(tmp_path / "two.png", np.repeat(grays[:, ::-1, None] + np.uint8(3), 3, axis=2))
    job(tmp_path / "one.png", tmp_path / "one.zarr", k=3)
    backwards = Model.load(str(tmp_path / "one.zarr"))
    order = [2, 0, 1]
    Model("rgb", backwards.centroids[order], backwards.colors[order], backwards.counts[order], 0.0).save(
        str(tmp_path / "earlier.zarr")
    )
    plain = job(tmp_path / "two.png", tmp_path / "plain.zarr", k=3)
    matched = job(tmp_path / "two.png", tmp_path / "matched.zarr", k=3, match=tmp_path / "earlier.zarr")
    assert plain.colors == [[13] * 3, [123] * 3, [243] * 3]
    assert matched.colors == [[243] * 3, [13] * 3, [123] * 3]
    assert labels_of(tmp_path / "plain.zarr", "two.png").tolist() == [[2, 1, 0]]
    assert labels_of(tmp_path / "matched.zarr", "two.png").tolist() == [[0, 2, 1]]


def test_bands_are_matched_by_their_values_whatever_each_data_is_normalised_by(
    tmp_path: Path, png: Png, job: Any
) -> None:
    bands = {"features": "bands", "normalize": "standard"}
    png(tmp_path / "one.png", np.repeat(np.array([[10, 120, 240]], np.uint8)[..., None], 3, axis=2))
    png(tmp_path / "two.png", np.repeat(np.array([[240, 120]], np.uint8)[..., None], 3, axis=2))
    job(tmp_path / "one.png", tmp_path / "one.zarr", k=3, **bands)
    one = Model.load(str(tmp_path / "one.zarr"))
    order = [0, 2, 1]
    earlier = replace(one, centroids=one.centroids[order], colors=one.colors[order], counts=one.counts[order])
    earlier.save(str(tmp_path / "earlier.zarr"))  # 10, 240, 120
    job(tmp_path / "two.png", tmp_path / "plain.zarr", k=2, **bands)
    job(tmp_path / "two.png", tmp_path / "matched.zarr", k=2, match=tmp_path / "earlier.zarr", **bands)
    assert labels_of(tmp_path / "plain.zarr", "two.png").tolist() == [[1, 0]]
    assert labels_of(tmp_path / "matched.zarr", "two.png").tolist() == [[0, 1]]


def test_match_of_other_bands_is_wrong_usage(small_folder: Path, tmp_path: Path, job: Any) -> None:
    job(small_folder, tmp_path / "two.zarr", k=3, features="bands", bands=(3, 1))
    with pytest.raises(
        UsageError, match="--match has centroids of bands 3,1, this fit of bands 1,2,3; add --bands 3,1"
    ):
        job(small_folder, tmp_path / "out.zarr", k=3, features="bands", match=tmp_path / "two.zarr")
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    "values", [np.full((4, 4, 3), -5, np.int16), np.full((4, 4, 3), 1e9), np.ones((4, 4, 3), "u2")]
)
def test_a_model_of_bands_predicts_samples_of_its_own_dtype_only(
    values: Any, small_folder: Path, tmp_path: Path, job: Any
) -> None:
    job(small_folder, tmp_path / "out.zarr", k=3, features="bands")
    with pytest.raises(ValueError, match=rf"expected an array \(y, x, 3\) uint8.*; got \(4, 4, 3\) {values.dtype}"):
        Model.load(str(tmp_path / "out.zarr")).predict(values)


@pytest.mark.parametrize("kind", ["zarr", "model.zarr"])
def test_match_of_other_features_is_wrong_usage_before_anything_is_replaced(
    kind: str, small_folder: Path, tmp_path: Path, job: Any, every_file: Any
) -> None:
    job(small_folder, tmp_path / "gray.zarr", k=3, features="gray")
    job(small_folder, tmp_path / f"out.{kind}", k=3)
    before = every_file(tmp_path)
    with pytest.raises(UsageError, match="--match has gray centroids, this fit rgb ones; add --features gray"):
        job(small_folder, tmp_path / f"out.{kind}", k=1, match=tmp_path / "gray.zarr", overwrite=True, features="rgb")
    assert every_file(tmp_path) == before


@pytest.mark.parametrize(("way", "used"), [("match", "out.zarr"), ("model", "out.zarr"), ("match", "out.zarr/model")])
def test_an_output_is_not_replaced_by_a_job_that_needs_its_model(
    way: str, used: str, small_folder: Path, tmp_path: Path, job: Any, every_file: Any
) -> None:
    job(small_folder, tmp_path / "out.zarr", k=3)
    before = every_file(tmp_path)
    with pytest.raises(UsageError, match="is also the model to use"):
        job(
            small_folder,
            tmp_path / "out.zarr",
            3 if way == "match" else None,
            overwrite=True,
            **{way: tmp_path / used},
        )
    assert every_file(tmp_path) == before


@pytest.mark.parametrize("way", ["match", "model"])
def test_a_damaged_earlier_model_is_an_error_before_anything_is_replaced(
    way: str, small_folder: Path, tmp_path: Path, job: Any, every_file: Any
) -> None:
    job(small_folder, tmp_path / "earlier.zarr", k=3)
    job(small_folder, tmp_path / "out.zarr", k=2)
    colors: Any = zarr.open_array(str(tmp_path / "earlier.zarr/model/colors"), mode="r+")
    colors[0, 0] += 1
    before = every_file(tmp_path)
    with pytest.raises(StoreError, match="digest"):
        job(
            small_folder,
            tmp_path / "out.zarr",
            3 if way == "match" else None,
            overwrite=True,
            **{way: tmp_path / "earlier.zarr"},
        )
    assert every_file(tmp_path) == before
