"""Segments of stores: exported at any level as pictures and outlines, verified, repaired, stopped and gone on with."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image
from scipy import sparse
from scipy.sparse import csgraph

from kseg_core import open_store
from kseg_core.config import SegmentsConfig
from kseg_core.errors import StoreError, UsageError
from kseg_core.export import segments as exported
from kseg_core.export.settings import ExportSettings
from kseg_core.images import read_image
from kseg_core.inputs.listing import list_inputs
from kseg_core.segment_settings import SegmentSettings
from kseg_core.store import cuts
from tests.asking import SYNC, problems, run_job, selection, stopped_at
from tests.tiffs import save_tiff
from workflows.export import Exported, export
from workflows.export_plan import ExportRequest
from workflows.layer_job import add_to_images
from workflows.layer_request import prepare_layer
from workflows.repair import repair_store

Array = NDArray[Any]
CLEAR = "picture-2.png"  # the one with transparent pixels
LONG = "picture-7.png"  # of many tiles


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, smooth_folder: Path) -> Path:
    here = tmp_path_factory.mktemp("segments") / "in"
    here.mkdir()
    for key in (CLEAR, LONG):
        shutil.copy(smooth_folder / key, here)
    return here


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    """A run's store of two pictures, with fine segments."""
    store = folder.parent / "run.zarr"
    run_job(folder, store, k=4, tile=64, segments=0.2)
    return store


def add(inputs: Path, output: Path | None = None, level: float | str = 0.5, **config: Any) -> Any:
    how = SegmentsConfig(SegmentSettings(level), execution=SYNC, **config)
    return add_to_images(prepare_layer(selection(inputs), how, None if output is None else str(output)))


def run(store: Path, to: Path, **settings: Any) -> Exported:
    return export(ExportRequest(str(store), str(to), ExportSettings(("segments",), **settings)), SYNC)


def array(store: Path, key: str, name: str = "labels/segments/0") -> Array:
    return np.asarray(open_store(str(store))[key].array(name)[...])


def cut(contours: Array, level: float) -> Array:
    """The reference: pixels that are joined over boundaries that have vanished, numbered by their first."""
    valid = (contours[0] < 255).ravel()
    place = np.arange(valid.size).reshape(contours.shape[1:])
    most = round(level * 253)
    across, down = contours[0, :, :-1] <= most, contours[1, :-1] <= most
    one = np.concatenate([place[:, :-1][across], place[:-1][down]])
    other = np.concatenate([place[:, 1:][across], place[1:][down]])
    graph = sparse.coo_array((np.ones(one.size), (one, other)), shape=(valid.size, valid.size))
    group = csgraph.connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(group[valid], return_index=True, return_inverse=True)
    numbers = np.zeros(valid.size, np.uint32)
    numbers[valid] = (np.argsort(np.argsort(first)) + 1)[inverse]
    return numbers.reshape(contours.shape[1:])


def painted(numbers: Array, samples: Array) -> Array:
    """The reference: each segment in the mean of its pixels; where there is none black, and transparent."""
    picture = np.zeros(samples.shape, np.uint8)
    for number in range(1, numbers.max() + 1):
        picture[numbers == number] = np.floor(samples[numbers == number].mean(axis=0) + 0.5)
    return picture if numbers.all() else np.dstack([picture, np.uint8(255) * (numbers > 0)])


@pytest.mark.parametrize("level", [None, 0.2, 0.1, 0.5, 1.0])
def test_an_export_has_their_numbers_and_each_in_its_mean_colour(
    made: Path, folder: Path, tmp_path: Path, level: float | None
) -> None:
    result = run(made, tmp_path, level=level)
    assert [file.name for file in result.files] == [
        f"{Path(key).stem}.segments.{suffix}" for key in (CLEAR, LONG) for suffix in ("tif", "png")
    ]
    for key in (CLEAR, LONG):
        numbers = tifffile.imread(tmp_path / f"{Path(key).stem}.segments.tif")
        assert numbers.dtype == np.uint32
        np.testing.assert_array_equal(numbers, cut(array(made, key, "contours"), 0.2 if level is None else level))
        picture = np.asarray(Image.open(tmp_path / f"{Path(key).stem}.segments.png"))
        np.testing.assert_array_equal(picture, painted(numbers, read_image(str(folder / key)).samples))
    if level in (None, 0.2):
        np.testing.assert_array_equal(numbers, array(made, LONG))
    shutil.copy(folder / LONG, tmp_path)
    assert [Path(file.path).name for file in list_inputs([str(tmp_path)]).files] == [LONG]


def test_windows_in_which_they_are_cut_change_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(made, tmp_path / "one", level=0.3)
    for module in (cuts, exported):
        monkeypatch.setattr(module, "SIDE", 60)
    run(made, tmp_path / "many", level=0.3)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "many" / file.name).read_bytes()


def test_without_the_image_they_are_painted_as_their_clusters(made: Path, folder: Path, tmp_path: Path) -> None:
    run(made, tmp_path / "with", level=0.3)
    away = folder.rename(folder.parent / "away")
    try:
        run(made, tmp_path / "without", level=0.3)
        assert run(made, tmp_path / "stored").status == "ok"  # their mean colours are in the store
    finally:
        away.rename(folder)
    name = f"{Path(LONG).stem}.segments"
    assert (tmp_path / "with" / f"{name}.tif").read_bytes() == (tmp_path / "without" / f"{name}.tif").read_bytes()
    numbers, labels = tifffile.imread(tmp_path / "with" / f"{name}.tif"), array(made, LONG, "labels/kmeans/0")
    picture = np.asarray(Image.open(tmp_path / "without" / f"{name}.png"))
    colors = open_store(str(made)).model.colors
    for number in range(1, numbers.max() + 1):
        most = np.bincount(labels[numbers == number]).argmax()
        assert (picture[numbers == number] == colors[most]).all()


@pytest.mark.parametrize("level", [None, 0.4])
def test_outlines_cover_each_segment(made: Path, tmp_path: Path, level: float | None) -> None:
    features = pytest.importorskip("rasterio.features")
    run(made, tmp_path, level=level)
    result = run(made, tmp_path, level=level, format="geojson")
    assert [file.name for file in result.files] == [f"{Path(key).stem}.segments.geojson" for key in (CLEAR, LONG)]
    for key in (CLEAR, LONG):
        numbers = tifffile.imread(tmp_path / f"{Path(key).stem}.segments.tif")
        found = json.loads((tmp_path / f"{Path(key).stem}.segments.geojson").read_text())["features"]
        pairs = [(each["geometry"], each["properties"]["segment"]) for each in found]
        np.testing.assert_array_equal(features.rasterize(pairs, numbers.shape, dtype="uint32"), numbers)
        told = {each["properties"]["segment"]: each["properties"] for each in found}
        picture = np.asarray(Image.open(tmp_path / f"{Path(key).stem}.segments.png"))
        for number, own in told.items():
            (color,) = np.unique(picture[numbers == number][:, :3], axis=0)
            assert own["color"] == "#" + bytes(color).hex()
            assert own["pixels"] == (numbers == number).sum()


def test_bands_are_painted_as_their_model_shows_them(tmp_path: Path, smooth: Any) -> None:
    deep = np.dstack([smooth(120, 150, 3), smooth(120, 150, 4)[..., 0]]).astype(np.uint16) * 101
    save_tiff(tmp_path / "in" / "deep.tif", deep)
    run_job(tmp_path / "in", tmp_path / "run.zarr", k=3, segments=0.3)
    add(tmp_path / "in", tmp_path / "alone.zarr", 0.3)
    for level in (None, 0.1):
        for name in ("run", "alone"):
            run(tmp_path / f"{name}.zarr", tmp_path / f"{name}-{level}", level=level)
        numbers = tifffile.imread(tmp_path / f"run-{level}" / "deep.segments.tif")
        np.testing.assert_array_equal(numbers, tifffile.imread(tmp_path / f"alone-{level}" / "deep.segments.tif"))
        picture = np.asarray(Image.open(tmp_path / f"run-{level}" / "deep.segments.png"))
        space = open_store(str(tmp_path / "run.zarr")).model.bands
        for number in range(1, numbers.max() + 1):
            mean = deep[numbers == number].mean(axis=0).astype(np.float32)
            assert (picture[numbers == number] == space.shades(mean)).all()
    assert run(tmp_path / "alone.zarr", tmp_path / "again", format="png").files[0].name == "deep.segments.png"


def test_of_a_place_on_the_ground_they_have_it(tmp_path: Path, smooth: Any) -> None:
    rasterio = pytest.importorskip("rasterio")
    place = rasterio.Affine(10.0, 0, 500_000, 0, -20.0, 4_600_000)
    (tmp_path / "in").mkdir()
    with rasterio.open(
        tmp_path / "in" / "a.tif", "w", driver="GTiff", height=90, width=80, count=3, dtype="uint8", crs="EPSG:32633",
        transform=place,
    ) as file:  # fmt: skip
        file.write(smooth(90, 80, 6).transpose(2, 0, 1))
    run_job(tmp_path / "in", tmp_path / "run.zarr", k=3, segments=0.3)
    add(tmp_path / "in", tmp_path / "alone.zarr", 0.3)
    for name in ("run", "alone"):
        run(tmp_path / f"{name}.zarr", tmp_path / name)
        with rasterio.open(tmp_path / name / "a.segments.tif") as file:
            assert (file.crs.to_epsg(), file.transform, file.nodata, file.dtypes) == (32633, place, 0, ("uint32",))
            np.testing.assert_array_equal(file.read(1), array(tmp_path / f"{name}.zarr", "a.tif"))
        assert (tmp_path / name / "a.segments.pgw").read_text().startswith("10.0\n0.0\n0.0\n-20.0\n")


def test_what_is_asked_of_none_is_refused(made: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--level is of segments, and --what names none"):
        ExportSettings(("masks",), level=0.3)
    with pytest.raises(UsageError, match="--level takes coarse"):
        ExportSettings(("segments",), level=2)
    plain = tmp_path / "plain.zarr"
    run_job(folder, plain, k=2)
    with pytest.raises(
        StoreError, match=r"no segments in .*; make them with: kseg-batch segments .*plain.zarr, or with run"
    ):
        run(plain, tmp_path / "out")
    add(folder, tmp_path / "alone.zarr")
    with pytest.raises(StoreError, match="only segments: --what segments"):
        export(ExportRequest(str(tmp_path / "alone.zarr"), str(tmp_path / "out")), SYNC)


# ------------------------------------------------------------------------------------------------ verified, repaired


@pytest.fixture(scope="module")
def sound(folder: Path) -> dict[str, Path]:
    """A store of a run, with levels, and one of segments alone; of the long picture."""
    stores = {name: folder.parent / f"sound-{name}.zarr" for name in ("run", "alone")}
    run_job(folder / LONG, stores["run"], k=4, tile=64, segments=0.1, pyramid=True)
    add(folder / LONG, stores["alone"], 0.1, tile=64)
    return stores


def contents(store: Path) -> dict[str, str]:
    """Digests of all that is in its images."""
    files = (path for path in (store / "images").rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def put(image: Path, name: str, place: Any, value: Any) -> None:
    zarr.open_array(image / name, mode="r+")[place] = value


def change(image: Path, name: str, **told: Any) -> None:
    document = json.loads((image / name / "zarr.json").read_text())
    document["attributes"].update(told)
    (image / name / "zarr.json").write_text(json.dumps(document))


def exchange_two_numbers(image: Path) -> None:
    numbers = np.asarray(zarr.open_array(image / "labels/segments/0")[...])
    last = numbers.max()
    swapped = np.where(numbers == 1, last, np.where(numbers == last, 1, numbers))
    put(image, "labels/segments/0", ..., swapped)


def cut_short(image: Path, name: str) -> None:
    chunk = next(path for path in sorted((image / name / "c").rglob("*")) if path.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])


def lose_a_chunk(image: Path) -> None:
    next(path for path in sorted((image / "labels/segments/0/c").rglob("*")) if path.is_file()).unlink()


SEGMENTS = "labels/segments"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pixel": (lambda at: put(at, f"{SEGMENTS}/0", (3, 3), 7), "pixels of its segments are not those of its contours"),
    "a boundary": (lambda at: put(at, "contours", (0, slice(0, 9), slice(0, 60)), 200), "not those of its contours"),
    "two numbers": (exchange_two_numbers, "not numbered as their table has them"),
    "an area": (lambda at: put(at, "segments/area", 0, 1), "not numbered as their table has them"),
    "a box": (lambda at: put(at, "segments/box", (0, 0), 1), "the table of its segments is not of them"),
    "a table": (lambda at: shutil.rmtree(at / "segments"), "cannot be read"),
    "a chunk": (lose_a_chunk, "pixels, its attributes say"),
    "contours cut short": (lambda at: cut_short(at, "contours"), "its contours cannot be read"),
    "segments cut short": (lambda at: cut_short(at, f"{SEGMENTS}/0"), "cannot be read"),
    "no contours": (lambda at: shutil.rmtree(at / "contours"), "contours"),
    "contours of another file": (
        lambda at: change(at, "contours", kseg={"status": "complete", "size": 1}),
        "its contours",
    ),
    "what is said": (lambda at: change(at, SEGMENTS, ome={}), "what is said with its segments"),
    "no layer": (lambda at: shutil.rmtree(at / SEGMENTS), "its segments are missing"),
}


@pytest.mark.parametrize("kind", ["run", "alone"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_found_and_made_anew(sound: dict[str, Path], tmp_path: Path, kind: str, damage: str) -> None:
    store = tmp_path / "s.zarr"
    shutil.copytree(sound[kind], store)
    harm, told = DAMAGES[damage]
    harm(store / "images" / LONG)
    found = problems(store)
    assert any(told in line for line in found), found
    repaired = repair_store(str(store), SYNC)
    assert (repaired["problems"], repaired["repaired"]) == ([], [LONG])
    assert contents(store) == contents(sound[kind])


@pytest.fixture(scope="module")
def fileless(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same stores, of a picture that is not there any more; and one that has a copy of its pixels."""
    there = tmp_path_factory.mktemp("gone")
    shutil.copy(folder / LONG, there)
    stores = {name: there / f"{name}.zarr" for name in ("run", "alone", "copied")}
    run_job(there / LONG, stores["run"], k=4, tile=64, segments=0.1, pyramid=True)
    run_job(there / LONG, stores["copied"], k=4, tile=64, segments=0.1, copy_image=True)
    add(there / LONG, stores["alone"], 0.1, tile=64)
    (there / LONG).unlink()
    return stores


CUT_ANEW = ("a pixel", "two numbers", "an area", "a chunk", "segments cut short", "a mean cut short")


@pytest.mark.parametrize("kind", ["run", "alone", "copied"])
@pytest.mark.parametrize("damage", CUT_ANEW)
def test_what_contours_tell_is_made_anew_without_the_file(
    fileless: dict[str, Path], tmp_path: Path, kind: str, damage: str
) -> None:
    store = tmp_path / "s.zarr"
    shutil.copytree(fileless[kind], store)
    harm = {**DAMAGES, "a mean cut short": (lambda at: cut_short(at, "segments/mean"), "")}[damage][0]
    harm(store / "images" / LONG)
    assert problems(store)
    repaired = repair_store(str(store), SYNC)
    assert (repaired["status"], repaired["problems"], repaired["repaired"]) == ("ok", [], [LONG])
    assert problems(store) == []
    made = contents(store)
    left = {name for name, digest in contents(fileless[kind]).items() if made.get(name) != digest}
    has_colors = kind == "copied" or damage in ("a pixel", "two numbers", "a chunk", "segments cut short")
    assert {name for name in left if "/segments/mean/" not in name} == set()
    assert (left == set()) == has_colors
    assert np.isnan(array(store, LONG, "segments/mean")).all() != has_colors


@pytest.mark.parametrize("damage", ["a boundary", "contours cut short", "no contours", "contours of another file"])
def test_without_the_file_nothing_is_cut_from_contours_that_may_be_wrong(
    fileless: dict[str, Path], tmp_path: Path, damage: str
) -> None:
    store = tmp_path / "s.zarr"
    shutil.copytree(fileless["run"], store)
    DAMAGES[damage][0](store / "images" / LONG)
    before = contents(store)
    repaired = repair_store(str(store), SYNC)
    assert (repaired["status"], repaired["repaired"]) == ("failed", [])
    assert any("cannot be made anew" in line and "not there any more" in line for line in repaired["problems"])
    assert contents(store) == before


@pytest.mark.parametrize("place", [r"segments/0/c/0/2", r"segments/area/c", r"segments/0/zarr\.json"])
def test_a_repair_without_the_file_that_is_stopped_is_gone_on_with(
    fileless: dict[str, Path], tmp_path: Path, place: str
) -> None:
    store = tmp_path / "s.zarr"
    shutil.copytree(fileless["alone"], store)
    put(store / "images" / LONG, f"{SEGMENTS}/0", (3, 3), 7)
    with stopped_at(place):
        repair_store(str(store), SYNC)
    assert problems(store)
    assert repair_store(str(store), SYNC)["repaired"] == [LONG]
    assert problems(store) == []
    np.testing.assert_array_equal(array(store, LONG), array(fileless["alone"], LONG))


def test_levels_of_segments_are_verified(sound: dict[str, Path], tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    shutil.copytree(sound["run"], store)
    put(store / "images" / LONG, f"{SEGMENTS}/1", (3, 3), 77)
    assert problems(store) == [f"{LONG}: 1 pixels of level 1 of its segments are not of the level above"]
    assert repair_store(str(store), SYNC)["status"] == "ok"
    assert contents(store) == contents(sound["run"])


def test_windows_in_which_they_are_verified_change_nothing(
    sound: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kseg_core.store.tally.VERIFY_PX", 64)
    monkeypatch.setattr("kseg_core.store.segment_checks.SIDE", 50)
    assert [problems(sound[kind]) for kind in ("run", "alone")] == [[], []]
    for damage in ("a pixel", "two numbers", "an area"):
        store = tmp_path / f"{damage}.zarr"
        shutil.copytree(sound["run"], store)
        DAMAGES[damage][0](store / "images" / LONG)
        assert any(DAMAGES[damage][1] in line for line in problems(store))


# -------------------------------------------------------------------------------------------- stopped and gone on with


@pytest.mark.parametrize("kind", ["run", "alone"])
@pytest.mark.parametrize(
    "place", [r"contours/c/0/0/3", r"segments/0/c/0/2", r"segments/area/c", r"segments/0/zarr\.json"]
)
def test_segments_of_a_store_that_are_stopped_are_gone_on_with(
    sound: dict[str, Path], folder: Path, tmp_path: Path, kind: str, place: str
) -> None:
    store, expected = tmp_path / "s.zarr", tmp_path / "expected.zarr"
    for each in (store, expected):
        shutil.copytree(sound[kind], each)
    add(expected, level=0.4)
    if "contours" in place:  # of another hierarchy
        shutil.rmtree(store / "images" / LONG / "contours")
    with stopped_at(place, 2 if place.endswith("json") else 1):
        add(store, level=0.4)
    assert any("not finished" in line for line in problems(store))
    result = add(store, level=0.4)
    assert (result.status, result.done.images, result.reused.images) == ("ok", 1, 0)
    assert contents(store) == contents(expected)
    assert problems(store) == []


def test_a_folder_that_has_grown_costs_what_is_new(folder: Path, tmp_path: Path) -> None:
    there = tmp_path / "in"
    there.mkdir()
    shutil.copy2(folder / CLEAR, there)
    assert add(there, tmp_path / "s.zarr").done.images == 1
    shutil.copy2(folder / LONG, there)
    result = add(there, tmp_path / "s.zarr")
    assert (result.done.images, result.reused.images) == (1, 1)
    add(there, tmp_path / "at-once.zarr")
    assert contents(tmp_path / "s.zarr") == contents(tmp_path / "at-once.zarr")


def test_an_image_none_of_whose_pixels_counts_has_no_segments_and_is_right(tmp_path: Path, kseg: Any) -> None:
    tifffile.imwrite(tmp_path / "none.tif", np.zeros((20, 30), np.uint16), extratags=[(42113, "s", 0, "0", True)])
    store = str(tmp_path / "none.zarr")
    assert kseg("segments", str(tmp_path / "none.tif"), "-o", store).code == 0
    assert kseg("check", store).code == 0
    assert kseg("export", store, "--to", str(tmp_path / "out"), "--what", "segments").code == 0
    assert not tifffile.imread(tmp_path / "out" / "none.segments.tif").any()
