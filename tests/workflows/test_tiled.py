"""Images worked on in pieces: the same bits as in one piece, whatever the tiles, the format and the waves."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from distributed import Client
from numpy.typing import NDArray

from kseg_core import open_store
from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import KsegError, NoValidPixels
from workflows import run as jobs
from workflows.check import check_store
from workflows.computing import context
from workflows.request import InputSelection, prepare
from workflows.result import JobResult

Array = NDArray[Any]
HEIGHT, WIDTH = 1500, 1300
NODATA_TAG = 42113


def make(
    inputs: Path | list[Path],
    output: Path,
    k: int = 5,
    *,
    model: Path | None = None,
    scheduler: str = "sync",
    workers: int | None = None,
    settings: InputSettings | None = None,
    progress: Any = None,
    fit: dict[str, Any] | None = None,
    **written: Any,
) -> JobResult:
    """A store, as ``kseg-batch run`` makes it."""
    config = RunConfig(
        None if model is not None else FitSettings(**{"k": k, "attempts": 2, "features": "rgb", **(fit or {})}),
        OutputSettings(**written),
        ExecutionSettings(scheduler, workers),
        settings or InputSettings(),
        model=None if model is None else str(model),
    )
    listed = inputs if isinstance(inputs, list) else [inputs]
    selection = InputSelection(tuple(str(each) for each in listed))
    return jobs.run(prepare(selection, config, str(output), "store"), progress)


def only(store: Path) -> Any:
    """The one image of a store."""
    (image,) = open_store(str(store)).values()
    return image


def labels_of(store: Path, key: str | None = None) -> Array:
    image = only(store) if key is None else open_store(str(store))[key]
    return np.asarray(image.labels[...])


def centroids_of(store: Path) -> Array:
    return open_store(str(store)).model.centroids


def save_tiff(path: Path, picture: Array, *, nodata: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    photometric = "rgb" if picture.ndim == 3 and picture.shape[2] >= 3 else "minisblack"
    tags = [] if nodata is None else [(NODATA_TAG, "s", 0, nodata, True)]
    tifffile.imwrite(path, picture, photometric=photometric, metadata=None, extratags=tags, **options)
    return path


def save_tiled(path: Path, picture: Array, tile: int = 64, **options: Any) -> Path:
    return save_tiff(path, picture, tile=(tile, tile), compression="deflate", **options)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is worked on in pieces begins at 128 x 128 pixels, in this process alone."""
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 1 << 14)


# ------------------------------------------------------------------- the same bits as those of the same pixels as a PNG


@dataclass(frozen=True)
class Scene:
    """The same pixels in four formats, and what a run over the PNG found."""

    pixels: Array
    files: dict[str, Path]
    store: Path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    pixels = smooth(HEIGHT, WIDTH, 5)
    files = {
        "png": png(folder / "scene.png", pixels),
        "striped": save_tiff(folder / "striped.tif", pixels, rowsperstrip=37, compression="deflate"),
        "tiled": save_tiled(folder / "tiled.tif", pixels, 512),
    }
    for version in (2, 3):
        files[f"zarr{version}"] = folder / f"scene-{version}.zarr"
        array = zarr.create_array(
            str(files[f"zarr{version}"]), shape=pixels.shape, chunks=(300, 400, 3), dtype="uint8", zarr_format=version
        )
        array[...] = pixels
    result = make(files["png"], folder / "png.kseg.zarr", pyramid=True, tile=1024)
    assert result.images.labelled == 1
    return Scene(pixels, files, folder / "png.kseg.zarr")


def halved(labels: Array, invalid: int) -> Array:
    """The next level: of each block the most frequent valid label, the lowest of equally frequent ones."""
    height, width = labels.shape
    blocks = np.full((4, -(-height // 2), -(-width // 2)), invalid, np.int64)
    for at, (dy, dx) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        part = labels[dy::2, dx::2]
        blocks[at, : part.shape[0], : part.shape[1]] = part
    values = sorted(set(np.unique(labels).tolist()) - {invalid})
    counts = np.array([(blocks == value).sum(axis=0) for value in values])
    most = np.array(values)[counts.argmax(axis=0)]
    return np.where(counts.max(axis=0) > 0, most, invalid)


CASES = [
    ("tiled", 256, "sync"),
    ("tiled", 1000, "threads"),
    ("tiled", 1024, "sync"),
    ("striped", 256, "threads"),
    ("striped", 1000, "sync"),
    ("zarr3", 256, "threads"),
    ("zarr2", 1024, "sync"),
]


@pytest.mark.few(4)
@pytest.mark.parametrize(("version", "tile", "scheduler"), CASES)
def test_labels_centroids_and_pyramid_of_a_tiled_image_are_those_of_the_same_pixels_as_a_png(
    version: str, tile: int, scheduler: str, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kseg_core.reading.sources.PIECE_PX", 1 << 17)
    output = tmp_path / "out.zarr"
    progress = Steps()
    result = make(scene.files[version], output, tile=tile, scheduler=scheduler, progress=progress)
    assert progress.steps["labelling"] > 1  # not in one piece
    image, expected = only(output), only(scene.store)
    np.testing.assert_array_equal(np.asarray(image.labels), np.asarray(expected.labels))
    np.testing.assert_array_equal(np.asarray(image.masks), np.asarray(expected.masks))
    model, one = open_store(str(output)).model, open_store(str(scene.store)).model
    assert (model.digest, model.inertia, model.counts.tolist()) == (one.digest, one.inertia, one.counts.tolist())
    assert model.facts["history"] == one.facts["history"]
    assert image.labels.chunks == (tile, tile)
    for name in ("shape", "counts", "invalid", "inertia", "mse"):
        assert image.attributes[name] == expected.attributes[name]
    assert (result.pixels_total, result.pixels_valid) == (HEIGHT * WIDTH, HEIGHT * WIDTH)
    level = np.asarray(image.labels)
    assert len(image.levels) == {256: 4, 1000: 2, 1024: 2}[tile]
    for array in image.levels[1:]:
        level = halved(level, 255)
        np.testing.assert_array_equal(np.asarray(array), level)


class Steps:
    """Progress that counts how often a stage told of something."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stage = ""
        self.steps: dict[str, int] = {}
        self.images: dict[str, int] = {}
        self.pixels: dict[str, int] = {}

    def stage(self, name: str, images: int, pixels: int) -> None:
        self._stage = name

    def advance(self, images: int, pixels: int) -> None:
        with self._lock:
            for counted, more in ((self.steps, 1), (self.images, images), (self.pixels, pixels)):
                counted[self._stage] = counted.get(self._stage, 0) + more


@pytest.mark.usefixtures("small_pieces")
def test_progress_tells_every_image_and_every_pixel_of_pieces_once(tmp_path: Path, smooth: Any, png: Any) -> None:
    save_tiled(tmp_path / "in/a.tif", smooth(300, 410, 1))
    save_tiled(tmp_path / "in/b.tif", smooth(200, 200, 2))
    png(tmp_path / "in/c.png", smooth(50, 60, 3))
    progress = Steps()
    make(tmp_path / "in", tmp_path / "out.zarr", progress=progress, scheduler="threads", tile=64)
    total = 300 * 410 + 200 * 200 + 50 * 60
    for stage in ("reading colours", "labelling"):
        assert progress.images[stage] == 3
        assert progress.pixels[stage] == total
        assert progress.steps[stage] > 10


# ------------------------------------------------------------------------------------------------------ waves, scopes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Path:
    """Two tiled images among small ones, some pixels of one of which are invalid."""
    folder = tmp_path_factory.mktemp("mixed") / "in"
    save_tiled(folder / "a.tif", smooth(300, 410, 1))
    picture = smooth(260, 330, 2)
    picture[100:130, 40:280] = 0
    save_tiled(folder / "b.tif", picture, nodata="0")
    for index in range(4):
        png(folder / f"c{index}.png", smooth(40 + index, 60, index))
    return folder


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("tasks", "scheduler", "scope"), [(1, "sync", "global"), (3, "threads", "image")])
def test_waves_of_any_size_give_the_same_bits(
    tasks: int,
    scheduler: str,
    scope: str,
    folder: Path,
    tmp_path: Path,
    contents: Callable[[Path], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make(folder, tmp_path / "one.zarr", k=3, tile=64, fit={"scope": scope})
    monkeypatch.setattr(context, "WAVE_TASKS", tasks)
    make(folder, tmp_path / "two.zarr", k=3, tile=64, scheduler=scheduler, fit={"scope": scope})
    assert contents(tmp_path / "two.zarr") == contents(tmp_path / "one.zarr")


@pytest.mark.usefixtures("small_pieces")
def test_with_scope_image_a_large_image_has_the_model_of_a_run_over_it_alone(folder: Path, tmp_path: Path) -> None:
    make(folder, tmp_path / "each.zarr", k=4, tile=64, fit={"scope": "image"})
    store = open_store(str(tmp_path / "each.zarr"))
    for name in ("a.tif", "b.tif"):
        make(folder / name, tmp_path / f"{name}.zarr", k=4, tile=64)
        alone = open_store(str(tmp_path / f"{name}.zarr"))
        assert store[name].model is not None
        assert store[name].model.digest == alone.model.digest  # type: ignore[union-attr]
        np.testing.assert_array_equal(np.asarray(store[name].labels), np.asarray(alone[name].labels))
        assert store[name].attributes["inertia"] == alone[name].attributes["inertia"]
    assert check_store(str(tmp_path / "each.zarr"), ExecutionSettings("sync"))["status"] == "ok"


@pytest.mark.usefixtures("small_pieces")
def test_applying_a_model_to_a_tiled_image_gives_the_labels_of_its_run(folder: Path, tmp_path: Path) -> None:
    make(folder, tmp_path / "run.zarr", k=4, tile=64)
    make(folder, tmp_path / "apply.zarr", model=tmp_path / "run.zarr", tile=128)
    for key, image in open_store(str(tmp_path / "run.zarr")).items():
        np.testing.assert_array_equal(labels_of(tmp_path / "apply.zarr", key), np.asarray(image.labels))


# ------------------------------------------------------------------------------------------------------------ validity


def spoil(picture: Array, invalid: Array, seed: int) -> Array:
    """The same picture but for junk where it is invalid."""
    junk = np.random.default_rng(seed).integers(1, 250, picture.shape).astype(picture.dtype)
    return np.where(invalid[..., None], junk, picture)


def blot(height: int, width: int) -> Array:
    """Some pixels, in one piece and scattered, on every tile's edge."""
    invalid = np.random.default_rng(9).random((height, width)) < 0.05
    invalid[height // 3 : height // 2, : width // 2] = True
    return invalid


def assert_invalid(store: Path, key: str, invalid: Array) -> None:
    image = open_store(str(store))[key]
    labels = np.asarray(image.labels)
    np.testing.assert_array_equal(labels == 255, invalid)
    assert image.attributes["invalid"] == int(invalid.sum())
    assert sum(image.attributes["counts"]) == int((~invalid).sum())
    if image.masks is not None:
        np.testing.assert_array_equal(np.asarray(image.masks).any(axis=0), ~invalid)


def same_result(one: Path, other: Path, key: str) -> None:
    """The same model and labels, though what is invalid holds other values."""
    a, b = open_store(str(one)), open_store(str(other))
    assert a.model.digest == b.model.digest
    assert (a.model.inertia, a.model.counts.tolist()) == (b.model.inertia, b.model.counts.tolist())
    np.testing.assert_array_equal(np.asarray(a[key].labels), np.asarray(b[key].labels))
    facts = [{name: image.attributes[name] for name in ("counts", "invalid", "inertia")} for image in (a[key], b[key])]
    assert facts[0] == facts[1]


@pytest.mark.few(3)
@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kind", ["tag", "given", "alpha", "file", "folder", "whole"])
def test_invalid_pixels_are_in_no_cluster_and_in_no_statistic(kind: str, tmp_path: Path, smooth: Any, png: Any) -> None:
    height, width = (300, 410) if kind != "whole" else (90, 100)
    picture, invalid = np.maximum(smooth(height, width, 4), 1), blot(height, width)
    stores = []
    for seed, name in enumerate(("one", "two")):
        source, settings = tmp_path / name / "image.tif", InputSettings()
        if kind in ("tag", "given", "whole"):
            holed = picture.copy()
            holed[invalid] = seed * 255  # 0 or 255 in all bands
            if kind == "given":
                settings = InputSettings(nodata=str(seed * 255))
            save_tiled(source, holed, nodata=None if kind == "given" else str(seed * 255))
        else:
            spoilt = spoil(picture, invalid, seed)
            if kind == "alpha":
                alpha = np.where(invalid, 0, 255)[..., None].astype(np.uint8)
                spoilt = np.concatenate([spoilt, alpha], axis=2)
                save_tiled(source, spoilt, extrasamples=["unassalpha"])
            else:
                save_tiled(source, spoilt)
                mask = png(tmp_path / "masks/image.png", np.where(invalid, 0, 7).astype(np.uint8))
                settings = InputSettings(mask=str(mask if kind == "file" else mask.parent))
        stores.append(tmp_path / f"{name}.zarr")
        make(source, stores[-1], tile=64, settings=settings)
        assert_invalid(stores[-1], "image.tif", invalid | ((picture == seed * 255).all(axis=2) & (kind == "given")))
    same_result(stores[0], stores[1], "image.tif")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("junk", [np.inf, -np.inf])
def test_nan_and_infinities_of_any_band_make_a_pixel_invalid(junk: float, tmp_path: Path, smooth: Any) -> None:
    invalid = blot(300, 410)
    picture = smooth(300, 410, 4).astype(np.float32)
    stores = []
    for name, value in (("one", junk), ("two", np.nan)):
        holed = picture.copy()
        holed[invalid, 1] = value
        source = save_tiled(tmp_path / name / "image.tif", holed)
        stores.append(tmp_path / f"{name}.zarr")
        make(source, stores[-1], tile=64, fit={"features": "bands"})
        assert_invalid(stores[-1], "image.tif", invalid)
    same_result(stores[0], stores[1], "image.tif")


@pytest.mark.usefixtures("small_pieces")
def test_a_tiled_mask_serves_a_tiled_image_like_a_png(tmp_path: Path, smooth: Any, png: Any) -> None:
    source = save_tiled(tmp_path / "image.tif", smooth(300, 410, 4))
    use = (~blot(300, 410)).astype(np.uint8)
    masks = [png(tmp_path / "mask.png", use * 255), save_tiled(tmp_path / "mask.tif", use, 128)]
    for at, mask in enumerate(masks):
        make(source, tmp_path / f"{at}.zarr", tile=64, settings=InputSettings(mask=str(mask)))
    same_result(tmp_path / "0.zarr", tmp_path / "1.zarr", "image.tif")


@pytest.mark.usefixtures("small_pieces")
def test_nodata_none_makes_every_pixel_count(tmp_path: Path, smooth: Any) -> None:
    picture = smooth(200, 210, 4)
    picture[:50] = 0
    source = save_tiled(tmp_path / "image.tif", picture, nodata="0")
    result = make(source, tmp_path / "out.zarr", tile=64, settings=InputSettings(nodata="none"))
    assert result.pixels_valid == 200 * 210


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("scope", ["global", "image"])
def test_an_image_without_a_valid_pixel_is_labelled_blank(scope: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "in")
    save_tiled(tmp_path / "in/blank.tif", np.zeros((300, 250, 3), np.uint8), nodata="0")
    result = make(tmp_path / "in", tmp_path / "out.zarr", k=3, tile=64, fit={"scope": scope})
    assert (result.images.labelled, result.images.failed) == (7, 0)
    blank = open_store(str(tmp_path / "out.zarr"))["blank.tif"]
    assert {int(v) for level in blank.levels for v in np.unique(np.asarray(level))} == {255}
    assert blank.attributes["invalid"] == 300 * 250
    assert sum(blank.attributes["counts"]) == 0
    assert check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))["problems"] == []
    if scope == "global":
        make(folder, tmp_path / "without.zarr", k=3, tile=64)
        np.testing.assert_array_equal(centroids_of(tmp_path / "out.zarr"), centroids_of(tmp_path / "without.zarr"))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("features", ["rgb", "bands"])
def test_a_run_without_a_valid_pixel_fails_clearly_and_leaves_nothing(features: str, tmp_path: Path) -> None:
    source = save_tiled(tmp_path / "blank.tif", np.zeros((300, 250, 3), np.uint8), nodata="0")
    with pytest.raises(
        NoValidPixels, match=r"^no valid pixel in .*blank\.tif: there is nothing to cluster; .*--nodata none"
    ):
        make(source, tmp_path / "out.zarr", fit={"features": features})
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.usefixtures("small_pieces")
def test_an_image_whose_mask_is_missing_or_of_another_shape_fails_alone(folder: Path, tmp_path: Path, png: Any) -> None:
    use = {"a.tif": (300, 410), "b.tif": (260, 331), "c0.png": (40, 60), "c1.png": (41, 60)}
    for name, shape in use.items():
        png(tmp_path / "masks" / f"{Path(name).stem}.png", np.ones(shape, np.uint8))
    settings = InputSettings(mask=str(tmp_path / "masks"))
    result = make(folder, tmp_path / "out.zarr", k=3, tile=64, settings=settings)
    assert sorted(open_store(str(tmp_path / "out.zarr"))) == ["a.tif", "c0.png", "c1.png"]
    reasons = {Path(failure.source).name: failure.reason for failure in result.failures}
    assert sorted(reasons) == ["b.tif", "c2.png", "c3.png"]
    assert reasons["b.tif"].startswith("the image is 330 x 260, its mask ")
    assert reasons["b.tif"].endswith(" is 331 x 260")
    assert reasons["c2.png"] == f"no mask for it in {tmp_path / 'masks'}"


@pytest.mark.usefixtures("small_pieces")
def test_an_image_whose_mask_is_damaged_in_the_middle_fails_alone(folder: Path, tmp_path: Path) -> None:
    for name, shape in {"a.tif": (300, 410), "b.tif": (260, 330)}.items():
        save_tiled(tmp_path / "masks" / name, np.random.default_rng(1).integers(0, 2, shape, np.uint8))
    damage(tmp_path / "masks/b.tif", 7)
    settings = InputSettings(mask=str(tmp_path / "masks"))
    sources = [folder / "a.tif", folder / "b.tif"]
    # Keys of several inputs are whole paths: a folder of links keeps them short.
    (tmp_path / "in").mkdir()
    for source in sources:
        shutil.copy(source, tmp_path / "in" / source.name)
    result = make(tmp_path / "in", tmp_path / "out.zarr", k=3, tile=64, settings=settings)
    assert list(open_store(str(tmp_path / "out.zarr"))) == ["a.tif"]
    assert [Path(failure.source).name for failure in result.failures] == ["b.tif"]


# -------------------------------------------------------------------------------------------------------------- damage


def damage(path: Path, tile: int) -> None:
    """Overwrite the middle of one tile."""
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        at, size = page.dataoffsets[tile], page.databytecounts[tile]
    with path.open("r+b") as file:
        file.seek(at + size // 3)
        file.write(b"\xff\x00\xaa" * (size // 9))


@pytest.mark.few(1)
@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("features", "at"), [("rgb", 0), ("rgb", 11), ("bands", -1)])
def test_a_damaged_tile_refuses_the_whole_image_and_gives_nothing_to_the_model(
    at: int, features: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "in")
    shutil.copy(folder / "a.tif", tmp_path / "in/bad.tif")
    damage(tmp_path / "in/bad.tif", at)
    # All pixels are in the first batch, whose share otherwise comes from the headers, the damaged image's among them.
    fit = {"features": features, "batch_pixels": 1 << 30}
    result = make(tmp_path / "in", tmp_path / "out.zarr", k=4, tile=64, fit=fit)
    make(folder, tmp_path / "without.zarr", k=4, tile=64, fit=fit)
    assert (result.images.labelled, result.images.failed) == (6, 1)
    assert [Path(failure.source).name for failure in result.failures] == ["bad.tif"]
    assert not (tmp_path / "out.zarr/images/bad.tif").exists()
    np.testing.assert_array_equal(centroids_of(tmp_path / "out.zarr"), centroids_of(tmp_path / "without.zarr"))
    for key in open_store(str(tmp_path / "without.zarr")):
        np.testing.assert_array_equal(labels_of(tmp_path / "out.zarr", key), labels_of(tmp_path / "without.zarr", key))
    assert check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))["problems"] == []


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("how", ["model", "scope image"])
def test_a_damaged_tile_found_while_labelling_leaves_no_group(how: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "in")
    damage(tmp_path / "in/a.tif", 11)
    make(folder, tmp_path / "earlier.zarr", k=3, tile=64)
    if how == "model":
        result = make(tmp_path / "in", tmp_path / "out.zarr", model=tmp_path / "earlier.zarr", tile=64)
    else:
        result = make(tmp_path / "in", tmp_path / "out.zarr", k=3, tile=64, fit={"scope": "image"})
    assert (result.images.labelled, result.images.failed) == (5, 1)
    assert "a.tif" not in open_store(str(tmp_path / "out.zarr"))
    assert check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))["problems"] == []


@pytest.mark.usefixtures("small_pieces")
def test_a_run_over_nothing_but_a_damaged_image_fails_with_its_name(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a.tif", tmp_path / "bad.tif")
    damage(tmp_path / "bad.tif", 3)
    with pytest.raises(KsegError, match=r"the only input could not be read: .*bad\.tif: "):
        make(tmp_path / "bad.tif", tmp_path / "out.zarr", tile=64)
    assert not (tmp_path / "out.zarr").exists()


# --------------------------------------------------------------------------------------------------------------- copies


@pytest.mark.usefixtures("small_pieces")
def test_copy_image_gives_back_the_pixels(folder: Path, tmp_path: Path) -> None:
    make(folder, tmp_path / "out.zarr", k=3, tile=64, copy_image=True)
    store = open_store(str(tmp_path / "out.zarr"))
    for name in ("a.tif", "b.tif"):
        image = store[name]
        assert image.image is not None
        np.testing.assert_array_equal(np.asarray(image.image).transpose(1, 2, 0), tifffile.imread(folder / name))
        assert len(image.image_levels) == len(image.levels) > 1
    small = store["c0.png"].image
    assert small is not None
    assert small.shape == (3, 40, 60)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_copy_image_of_bands_gives_back_the_samples(dtype: str, tmp_path: Path, smooth: Any) -> None:
    picture = smooth(200, 300, 1)[..., [0, 1, 2, 1]].astype(dtype)
    picture[..., 3] *= 3
    source = tmp_path / "image.tif"
    tifffile.imwrite(source, picture, tile=(64, 64), photometric="minisblack", planarconfig="contig", metadata=None)
    make(source, tmp_path / "out.zarr", k=3, tile=64, copy_image=True, fit={"features": "bands", "bands": (4, 2)})
    image = only(tmp_path / "out.zarr").image
    assert image.dtype == dtype
    np.testing.assert_array_equal(np.asarray(image).transpose(1, 2, 0), picture[..., [3, 1]])


# --------------------------------------------------------------------------------------------------------------- check


@pytest.mark.usefixtures("small_pieces")
def test_check_is_content_with_a_tiled_store_and_finds_one_changed_label(folder: Path, tmp_path: Path) -> None:
    make(folder, tmp_path / "out.zarr", k=3, tile=64)
    found = check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))
    counted = {"images": 6, "compared": 6, "not_compared": {}, "damaged": []}
    assert found == {"status": "ok", "problems": [], **counted}
    labels: Any = zarr.open_array(str(tmp_path / "out.zarr/images/b.tif/labels/kmeans/0"), mode="r+")
    assert labels[200, 300] != 255
    labels[200, 300] = (labels[200, 300] + 1) % 3
    found = check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))
    assert found["status"] == "failed"
    assert any("b.tif: 1 labels are not the nearest centroid" in problem for problem in found["problems"])


@pytest.mark.few(1)
@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(("features", "nodata"), [("rgb", "none"), ("rgb", "77"), ("bands", "auto")])
def test_check_is_content_with_stores_made_with_any_nodata(
    features: str, nodata: str, folder: Path, tmp_path: Path
) -> None:
    settings = InputSettings(nodata=nodata)
    make(folder, tmp_path / "out.zarr", k=3, tile=64, settings=settings, fit={"features": features})
    report = check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))
    assert (report["problems"], report["compared"]) == ([], 6)


@pytest.mark.usefixtures("small_pieces")
def test_check_is_content_with_a_masked_store(folder: Path, tmp_path: Path, png: Any) -> None:
    mask = png(tmp_path / "mask.png", (~blot(300, 410)).astype(np.uint8))
    make(folder / "a.tif", tmp_path / "out.zarr", k=3, tile=64, settings=InputSettings(mask=str(mask)))
    report = check_store(str(tmp_path / "out.zarr"), ExecutionSettings("sync"))
    assert (report["problems"], report["compared"]) == ([], 1)


# -------------------------------------------------------------------------------------------------- a worker that dies


class KillOneWorker:
    """Progress that kills one of two worker processes as soon as a stage has got somewhere."""

    def __init__(self, client: Client, stage: str) -> None:
        client.wait_for_workers(2, timeout=60)
        self._pids = sorted(client.run(os.getpid).values())
        self._wanted, self._stage = stage, ""
        self.before = self.after = 0

    def stage(self, name: str, images: int, pixels: int) -> None:
        self._stage = name

    def advance(self, images: int, pixels: int) -> None:
        if self._stage == self._wanted:
            if self.before:
                self.after += pixels
            else:
                self.before = pixels
                os.kill(self._pids[0], signal.SIGKILL)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, smooth: Any) -> tuple[Path, Path]:
    """An image of several pieces, and a run over it in this process."""
    folder = tmp_path_factory.mktemp("large")
    picture = np.tile(smooth(1024, 1024, 3), (3, 4, 1))
    picture += (np.arange(4096)[None, :, None] // 512).astype(np.uint8)
    source = save_tiled(folder / "large.tif", picture, 512, compressionargs={"level": 1})
    make(source, folder / "out.zarr", k=4, scheduler="threads", masks=False, fit={"attempts": 1})
    return source, folder / "out.zarr"


@pytest.mark.parametrize("stage", [pytest.param("reading colours", marks=pytest.mark.slow), "labelling"])
def test_a_worker_killed_in_the_middle_of_a_tiled_run_changes_no_bit(
    stage: str,
    cluster: Any,
    large: tuple[Path, Path],
    tmp_path: Path,
    contents: Callable[[Path], dict[str, str]],
) -> None:
    source, expected = large
    with Client(cluster.address, timeout=60, set_as_default=False) as client:
        killer = KillOneWorker(client, stage)
    output = tmp_path / "out.zarr"
    make(source, output, k=4, scheduler=cluster.address, masks=False, progress=killer, fit={"attempts": 1})
    assert 0 < killer.before < 4096 * 3072
    assert killer.before + killer.after == 4096 * 3072
    assert contents(output) == contents(expected)


# ----------------------------------------------------------------------------------------------------------- real data


RASTERS = {  # features, and whether it can be labelled at all
    "RGB.byte.tif": "rgb",
    "RGBA.byte.tif": "rgb",
    "RGBA.uint16.tif": "rgb",
    "all-nodata.tif": "rgb",
    "cog.tif": "rgb",
    "cog_cmap.tif": "rgb",
    "cog_int16.tif": "bands",
    "cog_nodata.tif": "rgb",
    "cog_nodata_nan.tif": "bands",
    "float32.tif": "bands",
    "float_nan.tif": "bands",
    "rgb_deflate.tif": "rgb",
    "rgb_lzw.tif": "rgb",
    "cmu_small_region.svs": "rgb",
}


@pytest.fixture
def real_raster(data_folder: Path, request: pytest.FixtureRequest) -> Path:
    for name in ("rasters", "slides"):
        if (path := data_folder / name / request.param).is_file():
            return path
    pytest.skip(f"no {request.param} in {data_folder}")


def test_every_real_raster_and_slide_is_in_these_tests(data_folder: Path) -> None:
    found = {path.name for name in ("rasters", "slides") for path in (data_folder / name).iterdir()}
    assert found == set(RASTERS)


def invalid_by_rasterio(path: Path) -> Array:
    """The dataset mask, and any NaN or infinity."""
    rasterio = pytest.importorskip("rasterio")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no geotransform
        with rasterio.open(path) as dataset:
            invalid: Array = dataset.dataset_mask() == 0
            if np.dtype(dataset.dtypes[0]).kind == "f":
                invalid |= ~np.isfinite(dataset.read()).all(axis=0)
    return invalid


@pytest.mark.few(4)
@pytest.mark.parametrize("real_raster", [name for name in RASTERS if name != "all-nodata.tif"], indirect=True)
def test_a_real_raster_has_its_shape_and_its_invalid_pixels(real_raster: Path, tmp_path: Path) -> None:
    features = RASTERS[real_raster.name]
    invalid = invalid_by_rasterio(real_raster)
    fit = {"features": features, "attempts": 1}
    result = make(real_raster, tmp_path / "out.zarr", k=3, masks=False, scheduler="threads", fit=fit)
    image = only(tmp_path / "out.zarr")
    assert image.labels.shape == invalid.shape
    np.testing.assert_array_equal(np.asarray(image.labels) == 255, invalid)
    assert image.attributes["invalid"] == int(invalid.sum())
    assert (result.pixels_total, result.pixels_valid) == (invalid.size, int((~invalid).sum()))


def test_a_real_raster_with_a_colour_map_is_clustered_by_its_colours(data_folder: Path, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = data_folder / "rasters/cog_cmap.tif"
    with rasterio.open(path) as dataset:
        index, colormap = dataset.read(1), dataset.colormap(1)
    make(path, tmp_path / "out.zarr", k=3, masks=False, scheduler="threads", fit={"attempts": 1})
    labels, model = labels_of(tmp_path / "out.zarr"), open_store(str(tmp_path / "out.zarr")).model
    for value in np.unique(index).tolist():
        found = np.unique(labels[index == value]).tolist()
        if value == 0:
            assert found == [255]
            continue
        squared = ((np.array(colormap[value][:3], float) - model.centroids) ** 2).sum(axis=1)
        assert found == [int(squared.argmin())]


@pytest.mark.parametrize("features", ["rgb", "bands"])
def test_the_real_raster_without_data_fails_clearly_when_alone(
    features: str, data_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        NoValidPixels, match=r"^no valid pixel in .*all-nodata\.tif: there is nothing to cluster; .*--nodata none"
    ):
        make(data_folder / "rasters/all-nodata.tif", tmp_path / "out.zarr", fit={"features": features})
    assert not (tmp_path / "out.zarr").exists()
