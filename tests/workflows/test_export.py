"""Exported files hold what the store and the images hold, and each is whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from kseg_core import open_store
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError, StoreError, UnreadableImage, UsageError
from kseg_core.export import drawing, png, tiff
from kseg_core.export.files import names_for_files
from kseg_core.export.settings import ExportSettings
from kseg_core.images import read_image
from kseg_core.inputs.keys import folded
from kseg_core.inputs.listing import list_inputs
from kseg_core.products import FORMATS, KINDS, FileFormat, Kind, by_name, file_name
from kseg_core.shapes.outlines import Outlines
from tests.asking import SYNC, as_earlier, labels_of, run_job
from workflows.export import Exported, Failed, export, joined_failures
from workflows.export_plan import ExportRequest, PlannedImage, chosen_images
from workflows.regions import OUTLINED

PICTURES = ("segmented", "labels", "masks", "cutout", "boundaries")


def run(store: Path, to: Path, *what: str, execution: ExecutionSettings = SYNC, **more: Any) -> Exported:
    settings = {
        name: more.pop(name)
        for name in ("clusters", "by", "format", "line", "min_area_px", "simplify_px")
        if name in more
    }
    request = ExportRequest(str(store), str(to), ExportSettings(what or ("segmented",), **settings), **more)
    return export(request, execution)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def pixels_of(path: Path) -> NDArray[Any]:
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, smooth_folder: Path) -> Path:
    """A store of eight pictures, one of which has pixels that are not valid."""
    store = tmp_path_factory.mktemp("export") / "s.zarr"
    run_job(smooth_folder, store, k=4, tile=64)
    return store


@pytest.fixture(scope="module")
def everything(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds of pictures of all of them."""
    to = tmp_path_factory.mktemp("everything") / "out"
    result = run(made, to, *PICTURES, "polygons")
    assert (result.status, result.images, result.failed, len(result.files)) == ("ok", 8, 0, 8 * (3 + 4 + 4 + 1))
    assert names(to) == sorted(file.name for file in result.files)
    assert {file.what for file in result.files} == KINDS.keys() - {"edges", "segments", "raw", "classes"}
    return to


def test_raw_labels_are_exported_where_a_store_keeps_them(smooth_folder: Path, made: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no raw labels"):
        run(made, tmp_path / "none", "raw")
    store = tmp_path / "s.zarr"
    run_job(smooth_folder, store, k=4, tile=64, min_region=30, keep_raw=True)
    run(store, tmp_path / "out", "raw", "labels")
    for key in KEYS:
        with (
            Image.open(tmp_path / f"out/{key[:-4]}.raw.png") as raw,
            Image.open(tmp_path / f"out/{key[:-4]}.labels.png") as now,
        ):
            there: Any = open_store(str(store))[key].array("labels/raw/0")[...]
            np.testing.assert_array_equal(np.asarray(raw), there)
            assert raw.getpalette() == now.getpalette()


KEYS = [f"picture-{i}.png" for i in range(8)]
CLEAR = "picture-2.png"  # the one with transparent pixels


# ----------------------------------------------------------------------------------- what the pictures show


@pytest.mark.parametrize("key", KEYS)
def test_the_files_of_an_image_show_its_labels(key: str, everything: Path, made: Path, smooth_folder: Path) -> None:
    store = open_store(str(made))
    labels, colors = np.asarray(store[key].labels), store.model.colors
    source, valid = read_image(str(smooth_folder / key)).samples, labels != 255
    assert valid.all() == (key != CLEAR)

    def shown(part: str, expected: Any, visible: Any) -> None:
        """A picture in colours: where it is visible it is as expected, elsewhere there is nothing."""
        found = pixels_of(everything / f"{key[:-4]}.{part}.png")
        assert found.shape == (*labels.shape, 3 if visible is None else 4)
        if visible is not None:
            assert (found[..., 3] == 255 * visible).all()
            assert not found[~visible].any()
        assert (found[..., :3] == expected)[... if visible is None else visible].all()

    shown("segmented", colors[np.where(valid, labels, 0)], None if valid.all() else valid)
    image = Image.open(everything / f"{key[:-4]}.labels.png")
    assert image.mode == "P"
    assert (np.asarray(image) == labels).all()
    assert image.getpalette("RGB")[:12] == colors.reshape(-1).tolist()
    assert ("transparency" in image.info) == (key == CLEAR)
    for j in range(4):
        mask = Image.open(everything / f"{key[:-4]}.mask-{j}.png")
        assert mask.mode == "1"
        assert (np.asarray(mask) == (labels == j)).all()
        assert (np.asarray(mask) == np.asarray(store[key].masks[j])).all()
        shown(f"cutout-{j}", source, labels == j)
    around, (height, width) = np.pad(labels.astype(int), 1, mode="edge"), labels.shape
    beside = [around[1 + y : 1 + y + height, 1 + x : 1 + x + width] for y, x in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    line = np.any([other != labels for other in beside], axis=0) & valid
    shown("boundaries", np.where(line[..., None], [255, 255, 0], source), None if valid.all() else valid)
    found = [
        feature["properties"] for feature in json.loads((everything / f"{key[:-4]}.geojson").read_text())["features"]
    ]
    for j in range(4):
        assert sum(region["pixels"] for region in found if region["cluster"] == j) == (labels == j).sum()


def test_chosen_clusters_are_cut_out_together_and_masks_and_polygons_are_of_them_alone(
    made: Path, tmp_path: Path
) -> None:
    result = run(
        made, tmp_path / "out", "masks", "cutout", "polygons", "labels", clusters=(3, 1), images=("picture-1.png",)
    )
    assert [file.name for file in result.files] == [
        "picture-1.mask-1.png",
        "picture-1.mask-3.png",
        "picture-1.cutout-1+3.png",
        "picture-1.polygons-1+3.geojson",
        "picture-1.labels.png",
    ]
    labels = labels_of(made, "picture-1.png")
    cutout = pixels_of(tmp_path / "out" / "picture-1.cutout-1+3.png")
    assert ((cutout[..., 3] == 255) == np.isin(labels, (1, 3))).all()
    found = json.loads((tmp_path / "out" / "picture-1.polygons-1+3.geojson").read_text())
    assert {feature["properties"]["cluster"] for feature in found["features"]} == {1, 3}


def test_small_regions_are_left_out_and_boundaries_have_a_colour_where_asked(made: Path, tmp_path: Path) -> None:
    run(made, tmp_path, "polygons", "boundaries", images=("picture-1.png",), min_area_px=40, line="#0102Fe")
    found = json.loads((tmp_path / "picture-1.geojson").read_text())
    assert min(feature["properties"]["pixels"] for feature in found["features"]) >= 40
    shown = pixels_of(tmp_path / "picture-1.boundaries.png")
    assert (shown == np.array([1, 2, 254])).all(axis=2).any()


def test_the_edges_of_a_store_are_exported(made: Path, tmp_path: Path, smooth_folder: Path) -> None:
    with pytest.raises(StoreError, match=r"no edges in .*kseg-batch edges"):
        run(made, tmp_path / "out", "edges")
    assert not (tmp_path / "out").exists()
    shutil.copytree(made, tmp_path / "s.zarr")
    edges = labels_of(made, "picture-1.png") == 2
    array = zarr.open_group(str(tmp_path / "s.zarr"), path="images/picture-1.png").create_array("edges", data=edges)
    array.attrs["kseg"] = {"status": "complete", "edge_pixels": 1}
    result = run(tmp_path / "s.zarr", tmp_path / "out", "edges", "masks", clusters=(0,))
    assert (result.status, result.failed, len(result.files)) == ("partial", 7, 9)
    assert {failure.what for failure in result.failures} == {("edges",)}
    image = Image.open(tmp_path / "out" / "picture-1.edges.png")
    assert image.mode == "1"
    assert (np.asarray(image) == edges).all()


def test_with_a_model_an_image_each_picture_has_its_own_colours(small_folder: Path, tmp_path: Path) -> None:
    run_job(small_folder, tmp_path / "s.zarr", k=3, scope="image")
    result = run(tmp_path / "s.zarr", tmp_path / "out", "segmented", "labels")
    assert (result.status, len(result.files)) == ("ok", 6)
    store = open_store(str(tmp_path / "s.zarr"))
    palettes = set()
    for key, image in store.items():
        assert image.model is not None
        assert (
            pixels_of(tmp_path / "out" / f"{key[:-4]}.segmented.png") == image.model.colors[np.asarray(image.labels)]
        ).all()
        palettes.add(image.model.colors.tobytes())
    assert len(palettes) == 3


def test_an_image_without_a_valid_pixel_is_exported_as_nothing(tmp_path: Path, png: Any) -> None:
    png(tmp_path / "in" / "nothing.png", np.zeros((5, 6, 4), np.uint8))
    png(tmp_path / "in" / "some.png", np.arange(90, dtype=np.uint8).reshape(5, 6, 3))
    for scope in ("global", "image"):
        run_job(tmp_path / "in", tmp_path / f"{scope}.zarr", k=2, scope=scope)
        result = run(tmp_path / f"{scope}.zarr", tmp_path / scope, *PICTURES)
        assert (result.status, result.failures) == ("ok", ())
        assert not pixels_of(tmp_path / scope / "nothing.segmented.png").any()
        labels = Image.open(tmp_path / scope / "nothing.labels.png")
        assert not np.asarray(labels.convert("RGBA")).any()
        masks = [name for name in names(tmp_path / scope) if name.startswith("nothing.mask")]
        assert len(masks) == (2 if scope == "global" else 0)


@pytest.mark.few(1)
@pytest.mark.parametrize("copied", [True, False])
def test_a_picture_of_more_than_254_clusters_is_labelled_in_16_bits(copied: bool, tmp_path: Path, png: Any) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    png(tmp_path / "a.png", picture)
    run_job(tmp_path / "a.png", tmp_path / "s.zarr", 300, attempts=1, masks=False, copy_image=copied)
    if copied:
        (tmp_path / "a.png").unlink()
    run(tmp_path / "s.zarr", tmp_path / "out", "labels", "cutout", clusters=tuple(range(0, 300, 2)))
    labels = labels_of(tmp_path / "s.zarr", "a.png")
    assert labels.dtype == np.uint16
    image = Image.open(tmp_path / "out" / "a.labels.png")
    assert image.mode == "I;16"
    assert (np.asarray(image) == labels).all()
    (name,) = [name for name in names(tmp_path / "out") if "cutout" in name]
    assert name.startswith("a.cutout-150-clusters-")
    cutout = pixels_of(tmp_path / "out" / name)
    assert (cutout[labels % 2 == 0][:, :3] == picture[labels % 2 == 0]).all()


# --------------------------------------------------------------------------------------- the same in any way


@pytest.mark.few(1)
@pytest.mark.parametrize("execution", [ExecutionSettings("threads", 3), ExecutionSettings("sync")])
def test_files_are_the_same_to_the_last_byte_whoever_makes_them(
    execution: ExecutionSettings, everything: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if execution.scheduler == "sync":  # one task a file, as of large images
        monkeypatch.setattr("workflows.export.PNG_PX", 0)
    run(made, tmp_path / "out", *PICTURES, execution=execution)
    for name in names(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (everything / name).read_bytes()


@pytest.mark.few(1)
@pytest.mark.parametrize("window", [400, 5000, 1 << 21])
def test_tiffs_of_large_images_show_what_pngs_do(
    window: int, everything: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kseg_core.products.PNG_PX", 23_000)
    monkeypatch.setattr(drawing, "WINDOW_PX", window)
    monkeypatch.setattr(tiff, "SIDE", 64)
    result = run(made, tmp_path / "out", *PICTURES, images=(CLEAR, "picture-6.png"))
    large = {CLEAR}  # 90 x 260; the other is 150 x 150
    for file in result.files:
        assert file.written_as == ("tiff" if file.key in large else "png")
        if file.key in large:
            shown = tifffile.imread(tmp_path / "out" / file.name, level=0)
            expected = pixels_of(everything / file.name.replace(".tif", ".png"))
            assert (shown == (expected * np.uint8(255) if expected.dtype == bool else expected)).all()


def test_a_source_that_is_read_by_windows_is_shown_as_one_that_is_not(
    tmp_path: Path, smooth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = smooth(300, 410, 3)
    shown = {}
    for name, options in {"tiles": {"tile": (64, 64)}, "strips": {"rowsperstrip": 16}}.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", picture, photometric="rgb", **options)
        run_job(tmp_path / f"{name}.tif", tmp_path / f"{name}.zarr", 3, attempts=1, tile=64)
        monkeypatch.setattr(drawing, "WINDOW_PX", 7000)
        monkeypatch.setattr(tiff, "SIDE", 128)
        run(tmp_path / f"{name}.zarr", tmp_path / name, "boundaries", "cutout", clusters=(1,), format="tiff")
        shown[name] = [tifffile.imread(tmp_path / name / f"{name}.{part}.tif") for part in ("boundaries", "cutout-1")]
    labels = labels_of(tmp_path / "tiles.zarr", "tiles.tif")
    assert (shown["tiles"][1][labels == 1][:, :3] == picture[labels == 1]).all()
    for one, other in zip(*shown.values(), strict=True):
        assert (one == other).all()


# ------------------------------------------------------------------------------------------ on the ground

GREEN, BLUE = (10, 200, 30), (5, 20, 220)


def test_georeferenced_images_become_geotiffs_with_all_that_belongs_to_them(tmp_path: Path) -> None:
    """A small picture with a margin of nodata."""
    rasterio = pytest.importorskip("rasterio")
    pixels = np.zeros((3, 90, 120), np.uint8)
    pixels[:, 5:, :60] = np.array(GREEN, np.uint8)[:, None, None]
    pixels[:, 5:, 60:] = np.array(BLUE, np.uint8)[:, None, None]
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", height=90, width=120, count=3, dtype="uint8", nodata=0,
        crs="EPSG:32632", transform=rasterio.transform.Affine(10, 0, 400000, 0, -10, 5200000),
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    scene = tmp_path / "s.zarr"
    run_job(tmp_path / "scene.tif", scene, 2, attempts=1)
    result = run(scene, tmp_path / "out", *PICTURES, "polygons")
    assert (result.status, len(result.files)) == ("ok", 8)
    labels = labels_of(scene, "scene.tif")
    for file in result.files:
        if file.what == "polygons":
            continue
        with rasterio.open(tmp_path / "out" / file.name) as dataset:
            assert dataset.crs.to_epsg() == 32632
            assert tuple(dataset.transform)[:6] == (10, 0, 400000, 0, -10, 5200000)
            found = dataset.read()
            if file.what == "labels":
                assert dataset.nodata == 255
                assert (found[0] == labels).all()
                table = dataset.colormap(1)
                assert table == {0: (*BLUE, 255), 1: (*GREEN, 255)}
                assert (dataset.read_masks(1) > 0).tolist() == (labels != 255).tolist()
            elif file.what == "segmented":
                assert (found[3] == 255 * (labels != 255)).all()
                assert (np.moveaxis(found[:3], 0, -1)[labels == 1] == GREEN).all()
            elif file.what == "masks":
                assert (found[0] == 255 * (labels == file.clusters[0])).all()  # type: ignore[index]
    result = run(scene, tmp_path / "png", "segmented", "labels", format="png")
    assert [file.written_as for file in result.files] == ["png", "png"]
    for name in ("segmented", "labels"):  # the place is in a world file
        assert (tmp_path / "png" / f"scene.{name}.pgw").exists()
        with rasterio.open(tmp_path / "png" / f"scene.{name}.png") as dataset:
            assert tuple(dataset.transform)[:6] == (10, 0, 400000, 0, -10, 5200000)


# ----------------------------------------------------------------------------------------- what goes wrong


def test_a_source_that_has_gone_or_changed_is_named_and_the_rest_is_made(small_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(small_folder, tmp_path / "in")
    run_job(tmp_path / "in", tmp_path / "s.zarr", k=2)
    (tmp_path / "in" / "a.png").unlink()
    os.utime(tmp_path / "in" / "b.png", ns=(5, 5))
    result = run(tmp_path / "s.zarr", tmp_path / "out", "segmented", "cutout", "boundaries")
    assert (result.status, result.images, result.failed) == ("partial", 3, 2)
    told = result.to_json()["failures"]
    assert [(f["image"], f["what"], f["source"]) for f in told] == [
        (key, ["cutout", "boundaries"], str(tmp_path / "in" / key)) for key in ("a.png", "b.png")
    ]
    assert "is not there any more" in told[0]["reason"]
    assert told[1]["reason"] == "changed since it was labelled"
    assert names(tmp_path / "out") == sorted(
        ["a.segmented.png", "b.segmented.png", "c.segmented.png", "c.boundaries.png"]
        + [f"c.cutout-{j}.png" for j in (0, 1)]
    )
    shutil.rmtree(tmp_path / "in")
    result = run(tmp_path / "s.zarr", tmp_path / "nothing", "cutout")
    assert (result.status, result.failed, result.files) == ("failed", 3, ())
    assert names(tmp_path / "nothing") == []


def test_an_image_that_a_repair_is_making_anew_is_not_exported(small_folder: Path, tmp_path: Path) -> None:
    run_job(small_folder, tmp_path / "s.zarr", k=2)
    document = tmp_path / "s.zarr/images/b.png/zarr.json"
    document.write_text(document.read_text().replace('"status": "complete"', '"status": "damaged"'))
    result = run(tmp_path / "s.zarr", tmp_path / "out", "labels")
    assert [failure["reason"].split(" in ")[0] for failure in result.to_json()["failures"]] == ["not complete"]
    assert names(tmp_path / "out") == ["a.labels.png", "c.labels.png"]


def test_damaged_images_are_named_and_the_rest_is_made(small_folder: Path, tmp_path: Path) -> None:
    run_job(small_folder, tmp_path / "s.zarr", k=2)

    def chunk(image: Path) -> None:
        (image / "labels/kmeans/0/c/0/0").write_bytes(b"no such thing")

    def stray(image: Path) -> None:
        zarr.open_array(f"{image}/labels/kmeans/0", mode="r+")[3, 3] = 77  # type: ignore[index]

    def attributes(image: Path) -> None:
        zarr.open_group(str(image), mode="r+").attrs.clear()

    def document(image: Path) -> None:
        (image / "zarr.json").write_bytes(b"")

    for damage in (chunk, stray, attributes, document):
        store = tmp_path / damage.__name__
        shutil.copytree(tmp_path / "s.zarr", store)
        damage(store / "images" / "b.png")
        result = run(store, tmp_path / f"{damage.__name__}-out")
        assert [failure.key for failure in result.failures] == ["b.png"]
        assert names(tmp_path / f"{damage.__name__}-out") == ["a.segmented.png", "c.segmented.png"]


def test_files_that_are_there_are_neither_replaced_nor_is_anything_made_unless_asked(
    made: Path, tmp_path: Path
) -> None:
    to = tmp_path / "out"
    run(made, to, images=("picture-1.png",))
    old = to / "picture-1.segmented.png"
    right = old.read_bytes()
    old.write_bytes(b"mine")
    (to / "other.txt").write_text("mine")
    with pytest.raises(KsegError, match=r"picture-1.segmented.png already there; --overwrite"):
        run(made, to)
    assert names(to) == ["other.txt", "picture-1.segmented.png"]
    kept = run(made, to, existing="keep")
    assert (kept.status, kept.kept, len(kept.files)) == ("ok", 1, 7)
    assert old.read_bytes() == b"mine"
    assert run(made, to, existing="keep").status == "ok"
    old.unlink()
    (tmp_path / "precious").write_text("mine")
    old.symlink_to(tmp_path / "precious")  # replaced, and not followed
    with pytest.raises(KsegError, match="already there"):
        run(made, to)
    replaced = run(made, to, existing="replace")
    assert len(replaced.files) == 8
    assert old.read_bytes() == right
    assert not old.is_symlink()
    assert (tmp_path / "precious").read_text() == "mine"
    assert (to / "other.txt").read_text() == "mine"


def test_an_export_that_is_interrupted_leaves_whole_files_and_nothing_else(
    made: Path, tmp_path: Path, everything: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png, calls = png.write_png, []

    def interrupted(stream: Any, picture: Any) -> None:
        calls.append(stream.name)
        if len(calls) == 4:
            stream.write(b"half a pic")
            raise KeyboardInterrupt
        write_png(stream, picture)

    monkeypatch.setattr(png, "write_png", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path / "out")
    assert len(names(tmp_path / "out")) == 3
    monkeypatch.undo()
    result = run(made, tmp_path / "out", existing="keep")
    assert (result.kept, len(result.files)) == (3, 5)
    for name in names(tmp_path / "out"):
        assert (tmp_path / "out" / name).read_bytes() == (everything / name).read_bytes()


def test_a_folder_that_cannot_be_written_is_told(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(png, "write_png", full)
    with pytest.raises(KsegError, match=r"picture-\d.segmented.png: cannot be written \(No space left on device\)"):
        run(made, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------- wrong requests


def test_images_and_clusters_that_are_not_there_are_refused(made: Path, tmp_path: Path, small_folder: Path) -> None:
    run_job(small_folder, tmp_path / "m.model.zarr", k=2)
    with pytest.raises(StoreError, match="a kseg model, not a store"):
        run(tmp_path / "m.model.zarr", tmp_path / "out")
    with pytest.raises(UsageError, match="--image nobody: no image"):
        run(made, tmp_path / "out", images=("picture-1.png", "nobody"))
    with pytest.raises(UsageError, match="--cluster 4: clusters are 0 to 3"):
        run(made, tmp_path / "out", "masks", clusters=(1, 4))
    with pytest.raises(UsageError, match="--cluster -1: clusters are 0 to 3"):
        run(made, tmp_path / "out", "masks", clusters=(-1,))
    with pytest.raises(UsageError, match="--cluster plant: clusters are 0 to 3"):
        run(made, tmp_path / "out", "masks", clusters=("plant",))
    with pytest.raises(UsageError, match=r"--by class: no cluster has a name; .*kseg-batch classes"):
        run(made, tmp_path / "out", "masks", by="class")
    with pytest.raises(UsageError, match=r"--what classes: no cluster has a name; .*kseg-batch classes"):
        run(made, tmp_path / "out", "classes")
    with pytest.raises(UsageError, match="--cluster is empty"):
        ExportSettings(("masks",), ())
    with pytest.raises(UsageError, match=r"--by is of segmented, masks, cutout, boundaries, polygons; .*leave it out"):
        ExportSettings(("labels",), by="class")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="a file, not a folder"):
        run(made, tmp_path / "file")
    with pytest.raises(UsageError, match="in the store"):
        run(made, made / "images" / "new")
    with pytest.raises(StoreError, match="no kseg store"):
        run(tmp_path, tmp_path / "out")
    assert names(tmp_path) == ["file", "m.model.zarr"]


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        (("picture-3.png",), ["picture-3.png"]),
        (("picture-[12].*", "*-7.png"), ["picture-1.png", "picture-2.png", "picture-7.png"]),
        (("SOURCE/picture-5.png",), ["picture-5.png"]),
        (("SOURCE/*-[56].png",), ["picture-5.png", "picture-6.png"]),
        (("pictures",), KEYS),  # the folder they came from
    ],
)
def test_images_are_chosen_by_key_source_or_pattern(
    wanted: tuple[str, ...], keys: list[str], made: Path, smooth_folder: Path
) -> None:
    wanted = tuple(name.replace("SOURCE", str(smooth_folder)) for name in wanted)
    images, damaged = chosen_images(open_store(str(made)), wanted)
    assert ([image.key for image in images], damaged) == (keys, {})


def test_files_of_images_with_hostile_names_stay_in_the_folder(tmp_path: Path, smooth: Any) -> None:
    hostile = ["-rf.png", "x...png", "a\nb.png", "%2e%2e%2fx.png", "con.png", "é" * 90 + ".png", "A.png", "a.png"]
    os.makedirs(tmp_path / "in" / "x")
    for i, name in enumerate([*hostile, os.fsdecode(b"\xff\xfe.png")]):
        with open(tmp_path / "in" / "x" / name, "wb") as file:
            Image.fromarray(smooth(9 + i, 12, i)).save(file, "PNG")
    run_job(tmp_path / "in", tmp_path / "s.zarr", k=2)
    before = set(tmp_path.iterdir())
    result = run(tmp_path / "s.zarr", tmp_path / "out", *PICTURES, "polygons")
    assert (result.status, result.images) == ("ok", 9)
    assert set(tmp_path.iterdir()) - before == {tmp_path / "out"}
    found = [str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(found) == sorted(file.name for file in result.files)
    assert {os.path.dirname(name) for name in found} == {"x"}
    assert len({name.lower() for name in found}) == 9 * (3 + 2 + 2 + 1)
    json.dumps(result.to_json()).encode()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["Plot A/IMG_0001.JPG", "Plot B/IMG_0001.JPG"], ["Plot A/IMG_0001", "Plot B/IMG_0001"]),
        (["a.jpg", "A.png", "b.png", "c.ome.tif", "v1.2", ".x/.jpg"], ["a.jpg", "A.png", "b", "c", "v1.2", ".x/.jpg"]),
        (["a.jpg", "a.png", "a.jpg.tif"], ["a.jpg", "a.png", "a.jpg.tif"]),
        (["a.segments.jpg", "a.mask-1.png", "a.jpg", "d.labels"], ["a.segments.jpg", "a.mask-1.png", "a", "d"]),
        (["d.labels", "d.x"], ["d.labels.image", "d.x"]),
    ],
)
def test_files_are_called_after_images_less_their_suffix_where_that_tells_them_apart(
    keys: list[str], expected: list[str]
) -> None:
    found = names_for_files(keys)
    assert [found[key] for key in keys] == expected
    made = [file_name(name, what, None, "geojson") for name in expected for what in KINDS]
    assert len(set(map(folded, made))) == len(made)


def test_folders_are_mirrored_and_what_is_there_is_seen_in_them(tmp_path: Path, smooth: Any) -> None:
    """Of a store whose images lie in folders, and the same as an earlier release would have named them."""
    for i, name in enumerate(["Plot A/IMG_1.png", "Plot A/IMG_1.PNM.png", "Plot B/IMG_1.png", "IMG_1.png"]):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(smooth(9, 12, i)).save(path)
    run_job(tmp_path / "in", tmp_path / "s.zarr", k=2)
    expected = ["IMG_1", "Plot A/IMG_1", "Plot A/IMG_1.PNM", "Plot B/IMG_1"]
    run(tmp_path / "s.zarr", tmp_path / "out", "labels", images=("Plot A/*",))
    with pytest.raises(KsegError, match=r"Plot A/IMG_1\.PNM\.labels\.png and 1 more of these files already there"):
        run(tmp_path / "s.zarr", tmp_path / "out", "labels")
    result = run(tmp_path / "s.zarr", tmp_path / "out", "labels", existing="keep")
    assert (result.kept, [file.name for file in result.files]) == (2, ["IMG_1.labels.png", "Plot B/IMG_1.labels.png"])
    as_earlier(tmp_path / "s.zarr")
    result = run(tmp_path / "s.zarr", tmp_path / "early", "labels", "polygons")
    assert sorted(file.name for file in result.files) == sorted(
        f"{name}.{end}" for name in expected for end in ("labels.png", "geojson")
    )
    result = run(tmp_path / "s.zarr", tmp_path / "b", "labels", images=("Plot B/*",))
    assert [file.name for file in result.files] == ["Plot B/IMG_1.labels.png"]


def test_an_image_of_a_store_of_bands_is_cut_out_in_the_colours_it_is_painted_in(tmp_path: Path) -> None:
    samples = np.zeros((4, 40, 40), np.uint16)
    samples[:, :, 20:] = np.array([1000, 3000, 2000, 9])[:, None, None]
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack", planarconfig="separate")
    run_job(tmp_path / "a.tif", tmp_path / "s.zarr", 2, features="bands", attempts=1, nodata="none")
    run(tmp_path / "s.zarr", tmp_path / "out", "segmented", "cutout", clusters=(1,))
    segmented, cutout = (pixels_of(tmp_path / "out" / f"a.{part}.png") for part in ("segmented", "cutout-1"))
    labels = labels_of(tmp_path / "s.zarr", "a.tif")
    assert (cutout[labels == 1][:, :3] == segmented[labels == 1]).all()


def test_a_format_is_known_by_its_suffix_and_in_any_case(made: Path, tmp_path: Path) -> None:
    for given, meant in {"tif": "tiff", ".TIF": "tiff", "GeoTIFF": "tiff", "PNG": "png"}.items():
        assert ExportSettings(format=given).format == meant
    run(made, tmp_path, "segmented", format="tif", images=("picture-1.png",))
    assert names(tmp_path) == ["picture-1.segmented.tif"]
    for given in ("jpg", "tiffs", ""):
        with pytest.raises(UsageError, match=f"one of auto, png, tiff, geojson, gpkg, fgb, qupath; got '{given}'"):
            ExportSettings(format=given)


def test_a_format_and_a_kind_that_are_not_in_the_product_are_an_entry_each(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WebP, which says itself what made it; and boundaries of each cluster, under another name of files."""

    def write(path: str, picture: drawing.Drawing, _geo: Any, _scratch: str) -> None:
        height, width = picture.shape
        image = Image.fromarray(picture.read(slice(0, height), slice(0, width)))
        image.save(path, "WEBP", lossless=True, exact=True, xmp=b"<made by kseg-batch>")

    webp = FileFormat("webp", "webp", "picture", write, lambda head, file: b"kseg-batch" in head + file.read())
    with pytest.raises(UsageError, match="--format is one of auto, png, tiff, geojson, gpkg, fgb, qupath; got 'webp'"):
        ExportSettings(format="webp")
    monkeypatch.setitem(FORMATS, "webp", webp)
    monkeypatch.setitem(KINDS, "bold", Kind("bold", "boundaries, and thick", "each", part="b", of_pixels=True))
    monkeypatch.setitem(drawing.DRAWN, "bold", drawing.DRAWN["boundaries"])
    result = run(made, tmp_path, "segmented", "bold", format="webp", clusters=(2,), images=("picture-1.png",))
    assert names(tmp_path) == ["picture-1.b-2.webp", "picture-1.segmented.webp"]
    assert [file.written_as for file in result.files] == ["webp", "webp"]
    store = open_store(str(made))
    painted = store.model.paint(np.asarray(store["picture-1.png"].labels))
    assert (pixels_of(tmp_path / "picture-1.segmented.webp") == painted).all()
    Image.fromarray(painted).save(tmp_path / "own.b-2.webp")
    assert [Path(file.path).name for file in list_inputs([str(tmp_path)]).files] == ["own.b-2.webp"]


def test_a_kind_may_be_a_picture_and_outlines_by_the_format(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "parts", Kind("parts", "painted or traced", also=("outlines",)))
    monkeypatch.setitem(drawing.DRAWN, "parts", drawing.DRAWN["segmented"])
    monkeypatch.setitem(OUTLINED, "parts", OUTLINED["polygons"])
    one = {"images": ("picture-1.png",)}
    run(made, tmp_path, "parts", **one)
    run(made, tmp_path, "parts", "masks", format="geojson", min_area_px=5, simplify_px=1.0, clusters=(0,), **one)
    assert names(tmp_path) == [f"picture-1.{what}" for what in ("mask-0.png", "parts.geojson", "parts.png")]
    assert json.loads((tmp_path / "picture-1.parts.geojson").read_text())["kseg"]["simplify_px"] == 1.0
    with pytest.raises(UsageError, match="names none"):
        ExportSettings(("parts",), simplify_px=1.0)


def test_a_format_and_a_kind_of_outlines_are_an_entry_each(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feature a line; and polygons of all clusters but one."""

    def write(path: str, outlines: Outlines, _geo: Any, _scratch: str) -> None:
        features = "".join(text for _, text in outlines.features).replace("\n", "")
        Path(path).write_text(features.replace('{"type":"Feature",', '\n{"type":"Feature",').lstrip())

    def others(store: str, key: str, aside: str, clusters: Any, settings: Any, context: Any) -> Any:
        rest = tuple(each for each in range(4) if each not in clusters)
        return OUTLINED["polygons"](store, key, aside, rest, settings, context)

    monkeypatch.setitem(FORMATS, "lines", FileFormat("lines", "jsonl", "outlines", write))
    monkeypatch.setitem(KINDS, "others", Kind("others", "all but", "one", content="outlines"))
    monkeypatch.setitem(OUTLINED, "others", others)
    one = {"clusters": (2,), "images": ("picture-1.png",)}
    run(made, tmp_path, "polygons", "others", "labels", format="lines", **one)
    run(made, tmp_path, "polygons", "others", format="geojson", **one)
    both = [f"picture-1.{kind}-2.{suffix}" for kind in ("others", "polygons") for suffix in ("geojson", "jsonl")]
    assert names(tmp_path) == sorted([*both, "picture-1.labels.png"])
    for whole, lines in zip(both[::2], both[1::2], strict=True):
        features = json.loads((tmp_path / whole).read_text())["features"]
        assert [json.loads(line) for line in (tmp_path / lines).read_text().splitlines()] == features
        assert {each["properties"]["cluster"] for each in features} == ({0, 1, 3} if "others" in whole else {2})


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (("half-way", ""), "name of letters"),
        (("half", "", "all", "a-b"), "name of letters"),
        (("half", "", "all", "a.b"), "name of letters"),
        (("half", "", "all", "mask"), "got masks, half"),
        (("half", "", "all", "", True), "taken for inputs"),
        (("half", "", "all", "", True, "outlines"), "got polygons, half"),
    ],
)
def test_names_by_which_files_could_not_be_told_are_refused(kind: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        by_name([*KINDS.values(), Kind(*kind)])
    with pytest.raises(ValueError, match="suffix"):
        FileFormat("x", "a.b", "outlines", lambda *_: None)


def test_failures_are_told_once_for_each_reason() -> None:
    planned = [PlannedImage(key, 1, ()) for key in ("b", "a")]
    gone, bad = UnreadableImage("x", "gone"), UnreadableImage("x", "bad")
    given = [Failed("a", ("cutout",), gone), Failed("b", ("cutout",), bad), Failed("a", ("boundaries",), gone)]
    found = [(each.key, each.what, each.error.reason) for each in joined_failures(planned, given)]
    assert found == [("b", ("cutout",), "bad"), ("a", ("cutout", "boundaries"), "gone")]


# ---------------------------------------------------------------------------------------------- real rasters


@pytest.mark.parametrize("name", ["RGB.byte.tif", pytest.param("cog_cmap.tif", marks=pytest.mark.slow)])
def test_labels_of_real_rasters_are_read_back_by_rasterio_where_they_were(
    name: str, data_folder: Path, tmp_path: Path
) -> None:
    rasterio = pytest.importorskip("rasterio")
    run_job(data_folder / "rasters" / name, tmp_path / "s.zarr", k=4, attempts=2)
    result = run(tmp_path / "s.zarr", tmp_path / "out", "labels", "segmented")
    assert (result.status, len(result.files)) == ("ok", 2)
    store = open_store(str(tmp_path / "s.zarr"))
    for file in result.files:
        image = store[file.key]
        labels = np.asarray(image.labels)
        with rasterio.open(image.source) as source, rasterio.open(tmp_path / "out" / file.name) as dataset:
            assert source.crs is not None
            assert (dataset.crs, dataset.transform, dataset.shape) == (source.crs, source.transform, source.shape)
            if file.what == "labels":
                assert dataset.nodata == 255
                assert (dataset.read(1) == labels).all()
                table = dataset.colormap(1)
                assert [table[j][:3] for j in range(4)] == [tuple(color) for color in store.model.colors.tolist()]
            else:
                painted = np.moveaxis(dataset.read()[:3], 0, -1)
                assert (painted == store.model.paint(labels)).all()
