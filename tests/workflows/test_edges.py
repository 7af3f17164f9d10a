"""Edges of stores: those of OpenCV on the whole image, whatever the pieces, and nothing else of a store is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from jobs.inspect import inspect_lines
from kseg_core import open_store
from kseg_core.config import EdgesConfig, ExecutionSettings, InputSettings
from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import KsegError, StoreError, UnreadableImage, UsageError
from kseg_core.images import read_image
from tests.asking import SYNC, configured, problems, run_job, selection, stopped_at
from tests.tiffs import save_tiff
from workflows.computing.executor import Silent
from workflows.inspect import describe
from workflows.layer_job import add_to_images
from workflows.layer_request import LayerRequest, LayerResult, nothing_done, prepare_layer

Array = NDArray[Any]
HOW = EdgeSettings(40, 100)


def opencv(rgb: Array, how: EdgeSettings = HOW) -> Array:
    picture = np.asarray(Image.fromarray(rgb).convert("L")) if how.on == "gray" else np.ascontiguousarray(rgb)
    if how.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), how.blur)
    return cv2.Canny(picture, how.low, how.high, apertureSize=how.aperture, L2gradient=how.l2) > 0


def asked(inputs: Path | list[Path], output: Path, how: EdgeSettings = HOW, **config: Any) -> LayerRequest:
    return prepare_layer(selection(inputs), EdgesConfig(how, **{"execution": SYNC, **config}), str(output))


def make(inputs: Path | list[Path], output: Path, how: EdgeSettings = HOW, **config: Any) -> LayerResult:
    return add_to_images(asked(inputs, output, how, **config))


def edges_of(store: Path, key: str | None = None) -> Array:
    opened = open_store(str(store))
    image = next(iter(opened.values())) if key is None else opened[key]
    assert image.edges is not None
    return np.asarray(image.edges[...])


def save_rgb(path: Path, picture: Array, **options: Any) -> Path:
    return save_tiff(path, picture, photometric="rgb", **options)


# ------------------------------------------------------------------------------------------- the same as OpenCV's


@pytest.mark.parametrize(
    ("how", "side", "scheduler"),
    [
        (HOW, 64, "sync"),
        (EdgeSettings(20, 50, l2=True, on="gray"), 128, "threads"),
        (EdgeSettings(400, 850, 5), 64, "threads"),
        (EdgeSettings(2500, 6000, 7, blur=0.8), 128, "sync"),
    ],
)
def test_edges_of_pieces_are_those_opencv_finds_in_the_whole(
    how: EdgeSettings, side: int, scheduler: str, tmp_path: Path, smooth: Any, parts: Any
) -> None:
    picture = smooth(330, 280, 5)
    expected = opencv(picture, how)
    assert 0.01 < expected.mean() < 0.5
    parts(piece=side)
    file = save_rgb(tmp_path / "scene.tif", picture)
    result = make(file, tmp_path / "out.zarr", how, tile=side, execution=ExecutionSettings(scheduler))
    np.testing.assert_array_equal(edges_of(tmp_path / "out.zarr"), expected)
    assert result.done == (1, picture.shape[0] * picture.shape[1], int(expected.sum()))
    (image,) = open_store(str(tmp_path / "out.zarr")).values()
    assert image.edges is not None
    assert image.edges.chunks == (side, side)
    assert not (Path(image.path) / "edges.partial").exists()


def test_the_same_bits_on_every_scheduler_in_every_tile_and_of_a_png(
    tmp_path: Path, smooth: Any, png: Any, parts: Any, cluster: Any
) -> None:
    picture = smooth(300, 310, 7)
    parts(piece=128)
    file = save_rgb(tmp_path / "scene.tif", picture)
    for number, (tile, execution) in enumerate(
        [(64, SYNC), (128, ExecutionSettings("threads", 3)), (100, ExecutionSettings(cluster.address))]
    ):
        make(file, tmp_path / f"{number}.zarr", tile=tile, execution=execution)
        np.testing.assert_array_equal(edges_of(tmp_path / f"{number}.zarr"), opencv(picture))
    make(png(tmp_path / "scene.png", picture), tmp_path / "png.zarr")
    np.testing.assert_array_equal(edges_of(tmp_path / "png.zarr"), opencv(picture))


def test_edges_of_photographs_are_those_opencv_finds(data_folder: Path, tmp_path: Path, parts: Any) -> None:
    photographs = sorted((data_folder / "kodak").iterdir())[::12]
    for photograph in photographs:
        rgb = read_image(str(photograph)).samples
        file = save_rgb(tmp_path / "tiled" / f"{photograph.stem}.tif", rgb)
        for how in (EdgeSettings(50, 100), EdgeSettings(150, 200, l2=True, on="gray")):
            for side in (200, 512):
                parts(piece=side)
                shutil.rmtree(tmp_path / "out.zarr", ignore_errors=True)
                make(file, tmp_path / "out.zarr", how, tile=side)
                np.testing.assert_array_equal(edges_of(tmp_path / "out.zarr"), opencv(rgb, how))


def test_transparent_and_nodata_pixels_have_no_edges_whole_or_in_pieces(
    tmp_path: Path, smooth: Any, png: Any, parts: Any
) -> None:
    picture = smooth(300, 280, 9)
    alpha = np.full((300, 280, 1), 255, np.uint8)
    alpha[60:150, 120:135] = 0
    alpha[200:, :30] = 0
    rgba = np.concatenate([picture, alpha], axis=2)
    parts(piece=64)
    make(png(tmp_path / "a.png", rgba), tmp_path / "png.zarr")
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, rgba, tile=(64, 64), photometric="rgb", extrasamples=["unassalpha"])
    make(file, tmp_path / "tif.zarr", tile=64)
    whole = edges_of(tmp_path / "png.zarr")
    assert whole.any()
    near = cv2.dilate((alpha[..., 0] == 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert not whole[near].any()
    assert not (whole & ~opencv(picture)).any()
    np.testing.assert_array_equal(edges_of(tmp_path / "tif.zarr"), whole)
    blocks = picture.copy()
    blocks[alpha[..., 0] == 0] = 0
    save_rgb(tmp_path / "nodata.tif", blocks)
    make(tmp_path / "nodata.tif", tmp_path / "nodata.zarr", tile=64, input=InputSettings("0"))
    np.testing.assert_array_equal(edges_of(tmp_path / "nodata.zarr"), whole)


# ---------------------------------------------------------------------------------------------- a store of edges alone


def test_a_store_of_edges_alone_is_complete_and_right_and_says_how(
    small_folder: Path, tmp_path: Path, every_file: Any
) -> None:
    output = tmp_path / "out.zarr"
    result = make(small_folder, output)
    assert result.to_json()["images"] == {"total": 3, "done": 3, "reused": 0, "failed": 0}
    assert problems(output) == []
    found = describe(str(output))
    assert (found["status"], found["model"]) == ("complete", None)
    assert [image["edges"] for image in found["images"]] == [f"images/{name}.png/edges" for name in "abc"]
    assert {image["labels"] for image in found["images"]} == {None}
    image = open_store(str(output))["a.png"]
    assert image.edges is not None
    facts: Any = dict(image.edges.attrs["kseg"])  # type: ignore[arg-type]
    assert {name: facts[name] for name in HOW.to_json()} == HOW.to_json()
    assert facts["edge_pixels"] == np.count_nonzero(image.edges[...])
    dataset = image.to_xarray()
    assert list(dataset.data_vars) == ["edges"]
    np.testing.assert_array_equal(dataset["edges"].values, edges_of(output, "a.png"))
    with pytest.raises(ValueError, match="level"):
        image.to_xarray(1)
    before = every_file(output)
    request = asked(small_folder, output)
    assert request.finished
    assert nothing_done(request).to_json()["images"] == {"total": 3, "done": 0, "reused": 3, "failed": 0}
    assert nothing_done(request).to_json()["edge_pixels"] == result.to_json()["edge_pixels"]
    assert every_file(output) == before


def test_a_folder_that_has_grown_or_changed_costs_what_is_new(small_folder: Path, tmp_path: Path, png: Any) -> None:
    shutil.copytree(small_folder, tmp_path / "in")
    output = tmp_path / "out.zarr"
    make(tmp_path / "in", output)
    rng = np.random.default_rng(0)
    new, changed = (rng.integers(0, 256, (50, 50, 3), dtype=np.uint8) for _ in range(2))
    png(tmp_path / "in/new.png", new)
    png(tmp_path / "in/b.png", changed)
    request = asked(tmp_path / "in", output)
    assert sorted(file.key for file in request.todo) == ["b.png", "new.png"]
    result = add_to_images(request)
    assert result.to_json()["images"] == {"total": 4, "done": 2, "reused": 2, "failed": 0}
    np.testing.assert_array_equal(edges_of(output, "b.png"), opencv(changed))
    np.testing.assert_array_equal(edges_of(output, "new.png"), opencv(new))
    assert problems(output) == []


def test_a_job_that_was_stopped_goes_on_where_it_was(
    small_folder: Path, tmp_path: Path, contents: Any, parts: Any, smooth: Any
) -> None:
    shutil.copytree(small_folder, tmp_path / "in")
    save_rgb(tmp_path / "in/large.tif", smooth(300, 300, 3))
    parts(piece=64)
    make(tmp_path / "in", tmp_path / "never.zarr", tile=64)

    output = tmp_path / "out.zarr"
    with stopped_at(r"/large\.tif/edges/zarr\.json$"):
        make(tmp_path / "in", output, tile=64)
    assert not open_store(str(output)).complete
    assert problems(output)
    assert "  large.tif  not complete" in inspect_lines(str(output), describe(str(output)))
    assert not open_store(str(output))["large.tif"].has_edges
    (output / "zarr.json.deadbeef-1-0.partial").write_text("half")
    damaged = output / "images/a.png/zarr.json"
    damaged.write_bytes(damaged.read_bytes()[:50])
    request = asked(tmp_path / "in", output, tile=64)
    assert {file.key for file in request.todo} == {"large.tif", "a.png"}
    result = add_to_images(request)
    assert result.to_json()["images"] == {"total": 4, "done": 2, "reused": 2, "failed": 0}
    assert not list(output.glob("*.partial"))
    once, again = contents(tmp_path / "never.zarr"), contents(output)
    assert set(once) == set(again)
    assert {name for name in once if once[name] != again[name]} <= {":attributes"}  # the result's counts


def test_a_bad_image_is_named_and_the_rest_goes_on(small_folder: Path, tmp_path: Path, parts: Any, smooth: Any) -> None:
    shutil.copytree(small_folder, tmp_path / "in")
    (tmp_path / "in/bad.png").write_bytes((tmp_path / "in/a.png").read_bytes()[:900])
    torn = save_rgb(tmp_path / "in/torn.tif", smooth(300, 300, 3), compression="deflate")
    with tifffile.TiffFile(torn) as tiff:
        at = tiff.pages.first.dataoffsets[7]
    with torn.open("r+b") as file:
        file.seek(at)
        file.write(b"\0" * 200)
    parts(piece=64)
    result = make(tmp_path / "in", tmp_path / "out.zarr", tile=64)
    assert result.to_json()["images"] == {"total": 5, "done": 3, "reused": 0, "failed": 2}
    assert [Path(error.source).name for error in result.failures] == ["bad.png", "torn.tif"]
    assert result.status == "partial"
    store = open_store(str(tmp_path / "out.zarr"))
    assert list(store) == ["a.png", "b.png", "c.png"]
    assert problems(tmp_path / "out.zarr") == []
    with pytest.raises(UnreadableImage):
        make(tmp_path / "in", tmp_path / "strict.zarr", tile=64, execution=ExecutionSettings("sync", strict=True))
    with pytest.raises(KsegError, match="no edges could be made of all 2 inputs"):
        make([tmp_path / "in/bad.png", torn], tmp_path / "none.zarr", tile=64)
    assert not (tmp_path / "none.zarr").exists()


@pytest.mark.parametrize("tiled", [False, True])
def test_samples_that_are_no_colours_are_refused_with_advice_that_fits(tiled: bool, tmp_path: Path, parts: Any) -> None:
    parts(piece=64)
    file = tmp_path / "heights.tif"
    tifffile.imwrite(file, np.zeros((200, 200), np.float32), tile=(64, 64) if tiled else None)
    with pytest.raises(KsegError, match=r"float32 samples.*; edges are found in colours"):
        make(file, tmp_path / "out.zarr", tile=64)


def test_other_settings_are_refused_and_replace_edges_when_asked(small_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.zarr"
    make(small_folder, output)
    other = EdgeSettings(10, 30)
    with pytest.raises(StoreError, match=r"other settings \(--high 100 → 30; --low 40 → 10\)"):
        asked(small_folder, output, other)
    for config, named in (({"tile": 128}, "tile"), ({"input": InputSettings("0")}, "nodata")):
        with pytest.raises(StoreError, match=named):
            asked(small_folder, output, **config)
    make(small_folder, output, other, overwrite=True)
    picture = read_image(str(small_folder / "a.png")).samples
    np.testing.assert_array_equal(edges_of(output, "a.png"), opencv(picture, other))
    assert asked(small_folder, output, other).finished
    assert problems(output) == []


def test_what_is_no_kseg_store_is_left_alone(small_folder: Path, tmp_path: Path, job: Any) -> None:
    (tmp_path / "thing").mkdir()
    job(small_folder, tmp_path / "m.model.zarr", k=2)
    for output, said in (("thing", "not a kseg store"), ("m.model.zarr", "a kseg model")):
        with pytest.raises(StoreError, match=said):
            asked(small_folder, tmp_path / output, overwrite=True)


# ------------------------------------------------------------------------------------------ beside the labels of a run


@pytest.fixture
def labelled(small_folder: Path, tmp_path: Path, job: Any) -> Path:
    shutil.copytree(small_folder, tmp_path / "in", copy_function=shutil.copy2)
    job(tmp_path / "in", tmp_path / "run.zarr", k=2, tile=64)
    return tmp_path / "run.zarr"


def test_edges_are_added_to_a_runs_images_and_nothing_else_changes(
    labelled: Path, tmp_path: Path, contents: Any
) -> None:
    before = contents(labelled)
    result = make(tmp_path / "in", labelled)
    assert result.done.images == 3
    after = contents(labelled)
    assert {name for name in before if before[name] != after.get(name)} == {":attributes"}
    assert {name.split(":")[0] for name in set(after) - set(before)} == {f"images/{n}.png/edges" for n in "abc"}
    assert problems(labelled) == []
    image = open_store(str(labelled))["a.png"]
    assert {"labels", "masks", "edges"} == set(image.to_xarray().data_vars)
    assert image.edges is not None
    assert image.edges.chunks == image.labels.chunks
    assert asked(tmp_path / "in", labelled).finished
    make(tmp_path / "in", labelled, EdgeSettings(10, 20), overwrite=True)
    assert {name for name in before if before[name] != contents(labelled).get(name)} == {":attributes"}


def test_images_that_are_not_in_the_run_or_changed_since_are_named(labelled: Path, tmp_path: Path, png: Any) -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    png(tmp_path / "in/new.png", picture)
    png(tmp_path / "in/b.png", picture)
    result = make(tmp_path / "in", labelled)
    assert result.to_json()["images"] == {"total": 4, "done": 2, "reused": 0, "failed": 2}
    assert [(Path(f.source).name, f.reason.split(" in ")[0]) for f in result.failures] == [
        ("b.png", "changed since it was labelled"),
        ("new.png", "not"),
    ]
    store = open_store(str(labelled))
    assert [key for key in store if store[key].has_edges] == ["a.png", "c.png"]
    with pytest.raises(KsegError, match="no edges could be made of the only input"):
        asked(tmp_path / "in/new.png", labelled)


@pytest.mark.parametrize("count", ["many", None])
def test_edges_whose_count_is_damaged_are_edges_for_nobody_and_made_again(
    count: str | None, labelled: Path, tmp_path: Path, contents: Any
) -> None:
    make(tmp_path / "in", labelled)
    whole = {**contents(labelled), ":attributes": None}
    array = zarr.open_array(str(labelled / "images/b.png/edges"), mode="r+")
    stated: Any = dict(array.attrs["kseg"])  # type: ignore[arg-type]
    array.attrs["kseg"] = {**stated, "edge_pixels": count} if count else {"status": "complete"}
    image = open_store(str(labelled))["b.png"]
    assert (image.has_edges, image.edges) == (False, None)
    assert problems(labelled) == ["b.png: its edges are missing"]
    assert make(tmp_path / "in", labelled).done.images == 1
    assert {**contents(labelled), ":attributes": None} == whole


def test_edges_cut_short_are_told_by_check_and_completed_by_the_same_command(labelled: Path, tmp_path: Path) -> None:
    with stopped_at("/edges/zarr.json", 2):
        make(tmp_path / "in", labelled)
    assert "its edges are not finished" in problems(labelled)[0]
    assert make(tmp_path / "in", labelled).done.images == 3
    assert problems(labelled) == []


def test_a_run_that_has_not_finished_gets_no_edges(labelled: Path, tmp_path: Path) -> None:
    document = labelled / "zarr.json"
    document.write_text(document.read_text().replace('"status": "complete"', '"status": "running"'))
    with pytest.raises(StoreError, match="has not finished"):
        asked(tmp_path / "in", labelled)


def test_check_finds_edges_that_are_not_those_that_were_written(labelled: Path, tmp_path: Path) -> None:
    import zarr

    make(tmp_path / "in", labelled)
    array: Any = zarr.open_array(str(labelled / "images/a.png/edges"), mode="r+")
    array[3, 3] = not array[3, 3]
    (problem,) = problems(labelled)
    assert problem.startswith("a.png: its edges have ")
    shutil.rmtree(labelled / "images/b.png/edges")
    assert problems(labelled) == [problem]  # no run was told to make them


# ---------------------------------------------------------------------------------------------------- with the labels


def test_a_run_makes_labels_and_edges(small_folder: Path, tmp_path: Path, smooth: Any, parts: Any) -> None:
    shutil.copytree(small_folder, tmp_path / "in", copy_function=shutil.copy2)
    large = smooth(200, 210, 1)
    save_rgb(tmp_path / "in/large.tif", large)
    parts(piece=64)
    output = tmp_path / "out.zarr"
    result = run_job(tmp_path / "in", output, 2, attempts=1, edges=(100, 40), tile=64)
    assert (result.images.labelled, result.images.failed) == (4, 0)
    assert problems(output) == []
    np.testing.assert_array_equal(edges_of(output, "large.tif"), opencv(large))
    store = open_store(str(output))
    for key in ("a.png", "b.png", "c.png"):
        np.testing.assert_array_equal(edges_of(output, key), opencv(read_image(str(small_folder / key)).samples))
        assert store[key].labels.shape == edges_of(output, key).shape
    assert asked(tmp_path / "in", output).finished  # the command of its own would make the same
    shutil.rmtree(output / "images/b.png/edges")
    assert problems(output) == ["b.png: its edges are missing"]


def test_an_image_that_has_gone_before_its_edges_is_named(small_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(small_folder, tmp_path / "in")

    class Losing(Silent):
        def stage(self, name: str, images: int, pixels: int) -> None:
            if name == "finding edges":
                os.unlink(tmp_path / "in/b.png")

    result = run_job(tmp_path / "in", tmp_path / "out.zarr", 2, attempts=1, edges=(40, 100), progress=Losing())
    assert (result.images.labelled, result.images.failed) == (2, 1)
    assert [Path(error.source).name for error in result.failures] == ["b.png"]


def test_edges_go_with_colours_not_with_bands(small_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--edges"):
        configured(2, features="bands", edges=(1, 2))
    run_job(small_folder, tmp_path / "m.model.zarr", 2, features="bands", attempts=1)
    with pytest.raises(UsageError, match="--edges"):
        run_job(small_folder, tmp_path / "out.zarr", model=tmp_path / "m.model.zarr", edges=(1, 2))


def test_a_run_does_not_take_the_place_of_edges_unasked(small_folder: Path, tmp_path: Path) -> None:
    make(small_folder, tmp_path / "out.zarr")
    with pytest.raises(StoreError, match="holds edges alone"):
        run_job(small_folder, tmp_path / "out.zarr", 2)


# ------------------------------------------------------------------------------------------------- masks, georeference


def test_the_mask_of_an_image_counts_and_a_new_one_is_noticed(small_folder: Path, tmp_path: Path, png: Any) -> None:
    mask = np.full((40, 50), 255, np.uint8)
    mask[:, 25:] = 0
    file = png(tmp_path / "mask.png", mask)
    masked = InputSettings(mask=str(file))
    output = tmp_path / "out.zarr"
    make(small_folder / "a.png", output, input=masked)
    assert edges_of(output)[:, :23].any()
    assert not edges_of(output)[:, 23:].any()
    assert asked(small_folder / "a.png", output, input=masked).finished
    with pytest.raises(StoreError, match="mask"):
        asked(small_folder / "a.png", output)
    mask[:, 10:] = 0
    png(file, mask)
    os.utime(file, ns=(1, 1))
    assert len(asked(small_folder / "a.png", output, input=masked).todo) == 1


def test_edges_keep_the_georeference_with_labels_and_without(data_folder: Path, tmp_path: Path, job: Any) -> None:
    pytest.importorskip("rasterio")
    source = data_folder / "rasters" / "RGB.byte.tif"
    make(source, tmp_path / "edges.zarr", EdgeSettings(20, 60))
    job(source, tmp_path / "run.zarr", k=2, masks=False)
    make(source, tmp_path / "run.zarr", EdgeSettings(20, 60))
    for name in ("edges.zarr", "run.zarr"):
        (image,) = open_store(str(tmp_path / name)).values()
        dataset = image.to_xarray()
        assert image.georeference is not None
        assert dataset["edges"].encoding["grid_mapping"] == "spatial_ref"
        assert {"x", "y", "spatial_ref"} <= set(dataset.coords)
        assert edges_of(tmp_path / name).any()
    np.testing.assert_array_equal(edges_of(tmp_path / "edges.zarr"), edges_of(tmp_path / "run.zarr"))


def test_what_another_run_did_between_the_look_and_the_lock_is_not_replaced(small_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.zarr"
    early = asked(small_folder, output)
    make(small_folder, output, EdgeSettings(10, 20))
    for request in (early, asked(small_folder, output, overwrite=True)):
        before = edges_of(output, "a.png")
        if request is not early:
            make(small_folder, output, EdgeSettings(30, 60), overwrite=True)
            before = edges_of(output, "a.png")
        with pytest.raises(StoreError, match="another run has just been there; give the same command again"):
            add_to_images(request)
        np.testing.assert_array_equal(edges_of(output, "a.png"), before)
