"""Images worked on in pieces: the same bits as in one piece, whatever the tiles, the format and the waves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import zarr
from numpy.typing import NDArray

from kseg_core import Model, open_store
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError, NoValidPixels
from tests.asking import labels_of, problems, run_job
from tests.conftest import Contents, pieces_of
from tests.progress import Listener, killing_a_worker
from workflows.check import check_store
from workflows.computing import context
from workflows.result import JobResult

Array = NDArray[Any]
SYNC = ExecutionSettings("sync")
HEIGHT, WIDTH = 375, 325
NODATA_TAG = 42113


def make(inputs: Path | list[Path], output: Path, k: int = 3, **how: Any) -> JobResult:
    """A store of tiles of 64, as ``kseg-batch run`` makes it."""
    fit = {} if "model" in how else {"features": "rgb", "attempts": 2}
    return run_job(inputs, output, k, **{"tile": 64, **fit, **how})


def save_tiled(path: Path, picture: Array, tile: int = 64, *, nodata: str | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    photometric = "rgb" if picture.ndim == 3 and picture.shape[2] in (3, 4) else "minisblack"
    tags = [] if nodata is None else [(NODATA_TAG, "s", 0, nodata, True)]
    if "rowsperstrip" not in options:
        options["tile"] = (tile, tile)
    options = {"compression": "deflate", "metadata": None, "extratags": tags, **options}
    tifffile.imwrite(path, picture, photometric=photometric, **options)
    return path


@pytest.fixture(scope="module", autouse=True)
def small_pieces() -> Iterator[None]:
    with pieces_of(128):
        yield


# ------------------------------------------------------------------- the same bits as those of the same pixels as a PNG


@dataclass(frozen=True)
class Scene:
    """The same pixels in five formats, and what a run over the PNG found."""

    files: dict[str, Path]
    store: Path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Scene:
    folder = tmp_path_factory.mktemp("scene")
    pixels = smooth(HEIGHT, WIDTH, 5)
    files = {
        "png": png(folder / "scene.png", pixels),
        "striped": save_tiled(folder / "striped.tif", pixels, rowsperstrip=9),
        "tiled": save_tiled(folder / "tiled.tif", pixels, 128),
    }
    for version in (2, 3):
        files[f"zarr{version}"] = folder / f"scene-{version}.zarr"
        zarr.create_array(str(files[f"zarr{version}"]), data=pixels, chunks=(75, 100, 3), zarr_format=version)
    make(files["png"], folder / "png.kseg.zarr", k=5, pyramid=True, tile=256)
    return Scene(files, folder / "png.kseg.zarr")


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


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("version", "tile", "scheduler"),
    [
        ("tiled", 64, "sync"), ("tiled", 250, "threads"), ("tiled", 256, "sync"), ("striped", 64, "threads"),
        ("striped", 250, "sync"), ("zarr3", 64, "threads"), ("zarr2", 256, "sync"),
    ],
)  # fmt: skip
def test_labels_centroids_and_pyramid_of_a_tiled_image_are_those_of_the_same_pixels_as_a_png(
    version: str, tile: int, scheduler: str, scene: Scene, tmp_path: Path
) -> None:
    progress = Listener()
    with pieces_of(90):
        result = make(scene.files[version], tmp_path / "o", k=5, tile=tile, scheduler=scheduler, progress=progress)
    assert progress.tasks["labelling"] > 1  # not in one piece
    found, other = open_store(str(tmp_path / "o")), open_store(str(scene.store))
    (image,), (expected,) = found.values(), other.values()
    np.testing.assert_array_equal(np.asarray(image.labels), np.asarray(expected.labels))
    np.testing.assert_array_equal(np.asarray(image.masks), np.asarray(expected.masks))
    model, one = found.model, other.model
    assert (model.digest, model.inertia, model.counts.tolist()) == (one.digest, one.inertia, one.counts.tolist())
    assert model.facts["history"] == one.facts["history"]
    assert image.labels.chunks == (tile, tile)
    for name in ("shape", "counts", "invalid", "inertia", "mse"):
        assert image.attributes[name] == expected.attributes[name]
    assert (result.pixels_total, result.pixels_valid) == (HEIGHT * WIDTH, HEIGHT * WIDTH)
    level = np.asarray(image.labels)
    assert len(image.levels) == {64: 4, 250: 2, 256: 2}[tile]
    for array in image.levels[1:]:
        level = halved(level, 255)
        np.testing.assert_array_equal(np.asarray(array), level)


# ---------------------------------------------------------------------------------- waves, scopes, models, copies

KEYS = ["a.tif", "b.tif", "c0.png", "c1.png"]
SHAPES = {"a.tif": (200, 270), "b.tif": (150, 210), "c0.png": (40, 60), "c1.png": (41, 60)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Path:
    """Two tiled images among small ones, some pixels of one of which are invalid. Not to be changed."""
    folder = tmp_path_factory.mktemp("mixed") / "in"
    for seed, (key, shape) in enumerate(SHAPES.items()):
        picture = smooth(*shape, seed)
        if key == "b.tif":
            picture[60:80, 30:180] = 0
        save_tiled(folder / key, picture, nodata="0") if key == "b.tif" else (
            save_tiled(folder / key, picture) if key == "a.tif" else png(folder / key, picture)
        )
    return folder


@dataclass(frozen=True)
class Made:
    """A store, what was told as it was made, and all that it holds. Not to be changed."""

    path: Path
    told: Listener
    contents: Contents


@pytest.fixture(scope="module")
def made(folder: Path, contents: Any) -> Made:
    path, told = folder.parent / "made.zarr", Listener()
    make(folder, path, progress=told, scheduler="threads", workers=2, copy_image=True)
    return Made(path, told, contents(path))


def test_progress_tells_every_image_and_every_pixel_of_pieces_once(made: Made) -> None:
    for stage in ("reading colours", "labelling"):
        assert made.told.images[stage] == 4
        assert made.told.pixels[stage] == sum(height * width for height, width in SHAPES.values())
        assert made.told.tasks[stage] > 8


def test_waves_of_any_size_give_the_same_bits(
    folder: Path, made: Made, tmp_path: Path, contents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(folder, tmp_path / "each.zarr", scope="image")
    monkeypatch.setattr(context, "WAVE_TASKS", 1)
    make(folder, tmp_path / "one.zarr", copy_image=True)
    assert contents(tmp_path / "one.zarr") == made.contents
    monkeypatch.setattr(context, "WAVE_TASKS", 3)
    make(folder, tmp_path / "three.zarr", scheduler="threads", scope="image")
    assert contents(tmp_path / "three.zarr") == contents(tmp_path / "each.zarr")


def test_with_scope_image_a_large_image_has_the_model_of_a_run_over_it_alone(folder: Path, tmp_path: Path) -> None:
    make(folder, tmp_path / "each.zarr", scope="image")
    store = open_store(str(tmp_path / "each.zarr"))
    for name in ("a.tif", "b.tif"):
        make(folder / name, tmp_path / f"{name}.zarr")
        alone = open_store(str(tmp_path / f"{name}.zarr"))
        assert store[name].model is not None
        assert store[name].model.digest == alone.model.digest  # type: ignore[union-attr]
        np.testing.assert_array_equal(np.asarray(store[name].labels), np.asarray(alone[name].labels))
        assert store[name].attributes["inertia"] == alone[name].attributes["inertia"]
    assert problems(tmp_path / "each.zarr") == []


def test_applying_a_model_to_a_tiled_image_gives_the_labels_of_its_run(
    folder: Path, made: Made, tmp_path: Path
) -> None:
    make(folder, tmp_path / "apply.zarr", model=made.path, tile=128)
    for key in KEYS:
        np.testing.assert_array_equal(labels_of(tmp_path / "apply.zarr", key), labels_of(made.path, key))


def test_copy_image_gives_back_the_pixels(folder: Path, made: Made) -> None:
    for key, image in open_store(str(made.path)).items():
        assert image.image is not None
        if key.endswith(".tif"):
            np.testing.assert_array_equal(np.asarray(image.image).transpose(1, 2, 0), tifffile.imread(folder / key))
            assert len(image.image_levels) == len(image.levels) > 1
        else:
            assert image.image.shape == (3, *SHAPES[key])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_copy_image_of_bands_gives_back_the_samples(dtype: str, tmp_path: Path, smooth: Any) -> None:
    picture = smooth(140, 150, 1)[..., [0, 1, 2, 1, 1]].astype(dtype)
    picture[..., 3] *= 3
    source = save_tiled(tmp_path / "image.tif", picture, planarconfig="contig")
    make(source, tmp_path / "out.zarr", copy_image=True, features="bands", bands=(4, 2))
    image = open_store(str(tmp_path / "out.zarr"))["image.tif"].image
    assert image is not None
    assert image.dtype == dtype
    np.testing.assert_array_equal(np.asarray(image).transpose(1, 2, 0), picture[..., [3, 1]])


# ------------------------------------------------------------------------------------------------------------ validity


def blot(height: int, width: int) -> Array:
    """Some pixels, in one piece and scattered, on every tile's edge."""
    invalid = np.random.default_rng(9).random((height, width)) < 0.05
    invalid[height // 3 : height // 2, : width // 2] = True
    return invalid


def assert_invalid(store: Path, key: str, invalid: Array) -> None:
    image = open_store(str(store))[key]
    np.testing.assert_array_equal(np.asarray(image.labels) == 255, invalid)
    assert image.attributes["invalid"] == int(invalid.sum())
    assert sum(image.attributes["counts"]) == int((~invalid).sum())
    assert image.masks is not None
    np.testing.assert_array_equal(np.asarray(image.masks).any(axis=0), ~invalid)


def assert_same_result(one: Path, other: Path) -> None:
    """The same model and labels, though what is invalid holds other values."""
    a, b = open_store(str(one)), open_store(str(other))
    assert a.model.digest == b.model.digest
    assert (a.model.inertia, a.model.counts.tolist()) == (b.model.inertia, b.model.counts.tolist())
    ((first,), (second,)) = (a.values(), b.values())
    np.testing.assert_array_equal(np.asarray(first.labels), np.asarray(second.labels))
    for name in ("counts", "invalid", "inertia"):
        assert first.attributes[name] == second.attributes[name]


@pytest.mark.few(5)
@pytest.mark.parametrize("kind", ["tag", "given", "alpha", "file", "tiled file", "folder", "whole", "+inf", "-inf"])
def test_invalid_pixels_are_in_no_cluster_and_in_no_statistic(kind: str, tmp_path: Path, smooth: Any, png: Any) -> None:
    """Whatever they hold."""
    height, width = (200, 210) if kind != "whole" else (90, 100)
    picture, invalid = np.maximum(smooth(height, width, 4), 1), blot(height, width)
    stores = [tmp_path / "one.zarr", tmp_path / "two.zarr"]
    for seed, store in enumerate(stores):
        source, how, nodata, options = tmp_path / store.stem / "image.tif", dict[str, Any](), None, dict[str, Any]()
        expected, holed = invalid, picture.copy()
        if kind in ("tag", "whole"):
            holed[invalid], nodata = seed * 255, str(seed * 255)  # 0 or 255 in all bands
        elif kind == "given":
            holed[invalid], how = seed * 255, {"nodata": str(seed * 255)}
            expected = invalid | (picture == seed * 255).all(axis=2)
        elif kind.endswith("inf"):
            holed = picture.astype(np.float32)
            holed[invalid, 1], how = float(kind) if seed else np.nan, {"features": "bands"}
        else:  # junk
            holed[invalid] = np.random.default_rng(seed).integers(1, 250, (invalid.sum(), 3))
        if kind == "alpha":
            holed = np.dstack([holed, np.where(invalid, 0, 255).astype(np.uint8)])
            options = {"extrasamples": ["unassalpha"]}
        elif kind in ("file", "folder"):
            mask = png(tmp_path / "masks/image.png", np.where(invalid, 0, 7).astype(np.uint8))
            how = {"mask": mask if kind == "file" else mask.parent}
        elif kind == "tiled file":
            how = {"mask": save_tiled(tmp_path / "mask.tif", (~invalid).astype(np.uint8), 128)}
        make(save_tiled(source, holed, nodata=nodata, **options), store, **how)
        assert_invalid(store, "image.tif", expected)
    assert_same_result(*stores)
    report = check_store(str(stores[1]), SYNC)
    assert (report["problems"], report["compared"]) == ([], 1)


def test_nodata_none_makes_every_pixel_count(tmp_path: Path, smooth: Any) -> None:
    picture = smooth(140, 150, 4)
    picture[:50] = 0
    source = save_tiled(tmp_path / "image.tif", picture, nodata="0")
    result = make(source, tmp_path / "out.zarr", nodata="none")
    assert result.pixels_valid == 140 * 150
    assert problems(tmp_path / "out.zarr") == []


def blank(folder: Path) -> Path:
    return save_tiled(folder / "blank.tif", np.zeros((150, 160, 3), np.uint8), nodata="0")


@pytest.mark.parametrize("scope", ["global", "image"])
def test_an_image_without_a_valid_pixel_is_labelled_blank(scope: str, folder: Path, made: Made, tmp_path: Path) -> None:
    blank(Path(shutil.copytree(folder, tmp_path / "in")))
    result = make(tmp_path / "in", tmp_path / "out.zarr", scope=scope)
    assert (result.images.labelled, result.images.failed) == (5, 0)
    store = open_store(str(tmp_path / "out.zarr"))
    image = store["blank.tif"]
    assert {int(v) for level in image.levels for v in np.unique(np.asarray(level))} == {255}
    assert (image.attributes["invalid"], sum(image.attributes["counts"])) == (150 * 160, 0)
    assert problems(tmp_path / "out.zarr") == []
    if scope == "global":
        np.testing.assert_array_equal(store.model.centroids, Model.load(str(made.path)).centroids)


def test_an_image_whose_mask_is_missing_damaged_or_of_another_shape_fails_alone(
    folder: Path, tmp_path: Path, png: Any
) -> None:
    shutil.copytree(folder, tmp_path / "in")
    masks = tmp_path / "masks"
    for source, key, shape in (("b", "d", (150, 210)), ("b", "e", (150, 210))):
        shutil.copy(folder / f"{source}.tif", tmp_path / f"in/{key}.tif")
        save_tiled(masks / f"{key}.tif", np.random.default_rng(1).integers(0, 2, shape, np.uint8))
    damage(masks / "e.tif", 7)
    for name, shape in (("a", (200, 270)), ("b", (150, 211)), ("c0", (40, 60))):
        png(masks / f"{name}.png", np.ones(shape, np.uint8))
    result = make(tmp_path / "in", tmp_path / "out.zarr", mask=masks)
    assert sorted(open_store(str(tmp_path / "out.zarr"))) == ["a.tif", "c0.png", "d.tif"]
    reasons = {Path(failure.source).name: failure.reason for failure in result.failures}
    assert sorted(reasons) == ["b.tif", "c1.png", "e.tif"]
    assert reasons["b.tif"].startswith("the image is 210 x 150, its mask ")
    assert reasons["b.tif"].endswith(" is 211 x 150")
    assert reasons["c1.png"] == f"no mask for it in {masks}"


# -------------------------------------------------------------------------------------------------------------- damage


def damage(path: Path, tile: int) -> None:
    """Overwrite the middle of one tile."""
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        at, size = page.dataoffsets[tile], page.databytecounts[tile]
    with path.open("r+b") as file:
        file.seek(at + size // 3)
        file.write(b"\xff\x00\xaa" * (size // 9))


@pytest.mark.few(2)
@pytest.mark.parametrize(("features", "at"), [("rgb", 0), ("rgb", 11), ("bands", -1)])
def test_a_damaged_tile_refuses_the_whole_image_and_gives_nothing_to_the_model(
    at: int, features: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "in")
    shutil.copy(folder / "a.tif", tmp_path / "in/bad.tif")
    damage(tmp_path / "in/bad.tif", at)
    # All pixels are in the first batch, whose share otherwise comes from the headers, the damaged image's among them.
    fit: dict[str, Any] = {"features": features, "batch_pixels": 1 << 30}
    result = make(tmp_path / "in", tmp_path / "out.zarr", **fit)
    make(folder, tmp_path / "without.zarr", **fit)
    assert (result.images.labelled, result.images.failed) == (4, 1)
    assert [Path(failure.source).name for failure in result.failures] == ["bad.tif"]
    assert not (tmp_path / "out.zarr/images/bad.tif").exists()
    one, other = (open_store(str(tmp_path / f"{name}.zarr")) for name in ("out", "without"))
    np.testing.assert_array_equal(one.model.centroids, other.model.centroids)
    for key in KEYS:
        np.testing.assert_array_equal(np.asarray(one[key].labels), np.asarray(other[key].labels))
    assert problems(tmp_path / "out.zarr") == []


@pytest.mark.parametrize("how", ["model", "scope image"])
def test_a_damaged_tile_found_while_labelling_leaves_no_group(
    how: str, folder: Path, made: Made, tmp_path: Path
) -> None:
    damage(Path(shutil.copytree(folder, tmp_path / "in")) / "a.tif", 11)
    given: dict[str, Any] = {"model": made.path} if how == "model" else {"scope": "image"}
    result = make(tmp_path / "in", tmp_path / "out.zarr", **given)
    assert (result.images.labelled, result.images.failed) == (3, 1)
    assert "a.tif" not in open_store(str(tmp_path / "out.zarr"))
    assert problems(tmp_path / "out.zarr") == []


def test_a_run_over_nothing_but_a_damaged_image_fails_with_its_name_and_leaves_nothing(
    folder: Path, tmp_path: Path
) -> None:
    bad = Path(shutil.copy(folder / "a.tif", tmp_path / "bad.tif"))
    damage(bad, 3)
    with pytest.raises(KsegError, match=r"the only input could not be read: .*bad\.tif: "):
        make(bad, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("features", ["rgb", "bands"])
@pytest.mark.parametrize("real", [False, True])
def test_a_run_without_a_valid_pixel_fails_clearly_and_leaves_nothing(
    real: bool, features: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = blank(tmp_path)
    if real:
        source = request.getfixturevalue("data_folder") / "rasters/all-nodata.tif"
    told = rf"^no valid pixel in .*{source.stem}\.tif: there is nothing to cluster; .*--nodata none"
    with pytest.raises(NoValidPixels, match=told):
        make(source, tmp_path / "out.zarr", features=features)
    assert not (tmp_path / "out.zarr").exists()


# --------------------------------------------------------------------------------------------------------------- check


def test_check_is_content_with_a_tiled_store_and_finds_one_changed_label(made: Made, tmp_path: Path) -> None:
    found = check_store(str(made.path), SYNC)
    counted = {"images": 4, "compared": 4, "not_compared": {}, "damaged": []}
    assert found == {"status": "ok", "problems": [], **counted}
    shutil.copytree(made.path, tmp_path / "out.zarr")
    labels: Any = zarr.open_array(str(tmp_path / "out.zarr/images/b.tif/labels/kmeans/0"), mode="r+")
    assert labels[140, 200] != 255
    labels[140, 200] = (labels[140, 200] + 1) % 3
    found = check_store(str(tmp_path / "out.zarr"), SYNC)
    assert found["status"] == "failed"
    assert any("b.tif: 1 labels are not the nearest centroid" in problem for problem in found["problems"])


@pytest.mark.parametrize(("features", "nodata"), [("rgb", "77"), ("bands", "auto")])
def test_check_is_content_with_stores_made_with_any_nodata(
    features: str, nodata: str, folder: Path, tmp_path: Path
) -> None:
    make(folder, tmp_path / "out.zarr", nodata=nodata, features=features)
    report = check_store(str(tmp_path / "out.zarr"), SYNC)
    assert (report["problems"], report["compared"]) == ([], 4)


# -------------------------------------------------------------------------------------------------- a worker that dies


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, smooth: Any) -> tuple[Path, Path]:
    """An image of four pieces of the usual size, and a run over it in this process."""
    folder = tmp_path_factory.mktemp("large")
    picture = np.tile(smooth(2112 // 4, 2112 // 4, 3), (4, 4, 1))
    picture += (np.arange(2112)[None, :, None] // 512).astype(np.uint8)
    source = save_tiled(folder / "large.tif", picture, 512, compressionargs={"level": 1})
    with pieces_of(2048):
        make(source, folder / "out.zarr", tile=1024, scheduler="threads", masks=False, attempts=1)
    return source, folder / "out.zarr"


@pytest.mark.parametrize("stage", [pytest.param("reading colours", marks=pytest.mark.slow), "labelling"])
def test_a_worker_killed_in_the_middle_of_a_tiled_run_changes_no_bit(
    stage: str, cluster: Any, large: tuple[Path, Path], tmp_path: Path, contents: Any
) -> None:
    source, expected = large
    killer = killing_a_worker(cluster.address, stage, 1)
    how: dict[str, Any] = {"tile": 1024, "scheduler": cluster.address, "masks": False, "attempts": 1}
    with pieces_of(2048):
        make(source, tmp_path / "out.zarr", progress=killer, **how)
    assert killer.done
    assert (killer.tasks[stage], killer.pixels[stage]) == (4, 2112 * 2112)
    assert contents(tmp_path / "out.zarr") == contents(expected)


# ----------------------------------------------------------------------------------------------------------- real data


RASTERS = {  # features
    "RGB.byte.tif": "rgb",
    "RGBA.byte.tif": "rgb",
    "RGBA.uint16.tif": "rgb",
    "cog.tif": "rgb",
    "cog_int16.tif": "bands",
    "cog_nodata.tif": "rgb",
    "cog_nodata_nan.tif": "bands",
    "float32.tif": "bands",
    "float_nan.tif": "bands",
    "rgb_deflate.tif": "rgb",
    "rgb_lzw.tif": "rgb",
    "cmu_small_region.svs": "rgb",
    "cog_cmap.tif": "rgb",
}


def test_every_real_raster_and_slide_is_in_these_tests(data_folder: Path) -> None:
    found = {path.name for name in ("rasters", "slides") for path in (data_folder / name).iterdir()}
    assert found == {*RASTERS, "all-nodata.tif"}


@pytest.mark.few(4)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("name", RASTERS)
def test_a_real_raster_has_its_shape_and_its_invalid_pixels(name: str, data_folder: Path, tmp_path: Path) -> None:
    path = next(path for path in data_folder.glob("*/*") if path.name == name)
    with rasterio.open(path) as dataset:
        invalid = dataset.dataset_mask() == 0
        if np.dtype(dataset.dtypes[0]).kind == "f":
            invalid |= ~np.isfinite(dataset.read()).all(axis=0)
        colormap = dataset.colormap(1) if name == "cog_cmap.tif" else None
        index = dataset.read(1)
    with pieces_of(2048):
        how: dict[str, Any] = {"tile": 1024, "features": RASTERS[name], "attempts": 1, "masks": False}
        result = make(path, tmp_path / "out.zarr", scheduler="threads", **how)
    store = open_store(str(tmp_path / "out.zarr"))
    (image,) = store.values()
    labels = np.asarray(image.labels)
    np.testing.assert_array_equal(labels == 255, invalid)
    assert image.attributes["invalid"] == int(invalid.sum())
    assert (result.pixels_total, result.pixels_valid) == (invalid.size, int((~invalid).sum()))
    for value in np.unique(index[~invalid]).tolist() if colormap else ():  # it is clustered by its colours
        squared = ((np.array(colormap[value][:3], float) - store.model.centroids) ** 2).sum(axis=1)
        assert np.unique(labels[index == value]).tolist() == [int(squared.argmin())]
