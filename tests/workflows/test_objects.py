"""The table of objects: scikit-image's figures of the whole image, the same bytes whatever tiles and schedulers."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.measure import label, regionprops_table

from kseg_core import open_store
from kseg_core.classes import Classes, NamedClass
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError, StoreError, UnreadableImage, UsageError
from kseg_core.object_settings import ObjectSettings
from kseg_core.shapes.object_table import COLUMNS
from kseg_core.store.opening import write_classes
from tests.asking import SYNC, labels_of, run_job
from workflows import objects
from workflows.objects import ObjectRequest, ObjectTable, write_object_table

Array = NDArray[Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Path:
    """Two pictures, one with a transparent corner, and one without a valid pixel. Not to be changed."""
    inputs = tmp_path_factory.mktemp("objects") / "in"
    alpha = np.full((170, 210, 1), 255, np.uint8)
    alpha[:40, 30:100] = 0
    png(inputs / "a.png", np.concatenate([smooth(170, 210, 3), alpha], axis=2))
    png(inputs / "b.png", smooth(90, 300, 4))
    png(inputs / "nothing.png", np.zeros((5, 6, 4), np.uint8))
    return inputs


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Its store, of some settings. Not to be changed."""

    @cache
    def make(**settings: Any) -> Path:
        output = tmp_path_factory.mktemp("store") / "out.zarr"
        run_job(folder, output, 3, attempts=2, **{"tile": 64, **settings})
        return output

    return make


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WINDOW_PX", 64)


def table_of(store: Path, file: Path, execution: ExecutionSettings = SYNC, **asked: Any) -> tuple[ObjectTable, Any]:
    """A table that was written, and its rows."""
    images, overwrite = asked.pop("images", ()), asked.pop("overwrite", False)
    request = ObjectRequest(str(store), str(file), ObjectSettings(**asked), images, overwrite)
    made = write_object_table(request, execution)
    return made, rows_of(file) if file.suffix == ".csv" else None


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def judged(labels: Array, samples: Array, k: int) -> list[dict[str, float]]:
    """Every region of an image by scikit-image, in the order of first pixels."""
    names = ("label", "area", "bbox", "centroid", "perimeter", "eccentricity", "axis_major_length")
    found = []
    for cluster in range(k):
        regions = label(labels == cluster, connectivity=2)
        values = ("axis_minor_length", "intensity_mean", "intensity_std")
        table = regionprops_table(regions, samples, properties=names + values)
        first = {number: int(place) for number, place in zip(*np.unique(regions, return_index=True), strict=True)}
        for at, number in enumerate(table["label"]):
            row = {name: float(values[at]) for name, values in table.items()}
            found.append(row | {"first": first[number], "cluster": cluster})
    return sorted(found, key=lambda row: row["first"])


OURS = {
    "pixels": "area", "top": "bbox-0", "left": "bbox-1", "bottom": "bbox-2", "right": "bbox-3",
    "centroid_y": "centroid-0", "centroid_x": "centroid-1", "perimeter": "perimeter", "eccentricity": "eccentricity",
    "axis_major": "axis_major_length", "axis_minor": "axis_minor_length", "id": "first",
}  # fmt: skip


def same_as_judged(rows: list[dict[str, str]], wanted: list[dict[str, float]], bands: list[str]) -> None:
    assert [row["class"] for row in rows] == [str(row["cluster"]) for row in wanted]
    names = OURS | {f"mean_{band}": f"intensity_mean-{at}" for at, band in enumerate(bands)}
    names |= {f"std_{band}": f"intensity_std-{at}" for at, band in enumerate(bands)}
    for ours, theirs in names.items():
        found, there = [float(row[ours]) for row in rows], [row[theirs] for row in wanted]
        np.testing.assert_allclose(found, there, rtol=1e-9, atol=2e-6, err_msg=ours)


@pytest.mark.parametrize("tile", [64, 200, 1024])
def test_tiles_change_no_byte_and_scikit_image_says_the_same(
    tile: int, made: Callable[..., Path], folder: Path, tmp_path: Path
) -> None:
    from PIL import Image

    store = made(tile=tile)
    result, rows = table_of(store, tmp_path / "o.csv")
    assert (result.rows, result.without_bands) == (len(rows), {})
    for key in ("a.png", "b.png"):
        pixels = np.asarray(Image.open(folder / key).convert("RGB"))
        wanted = judged(labels_of(store, key), pixels, 3)
        same_as_judged([row for row in rows if row["image"] == key], wanted, ["red", "green", "blue"])
    table_of(made(tile=64), tmp_path / "of64.csv")
    assert (tmp_path / "o.csv").read_bytes() == (tmp_path / "of64.csv").read_bytes()
    assert list(rows[0])[: len(COLUMNS)] == list(COLUMNS)


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_schedulers_and_windows_change_no_byte(
    scheduler: str, made: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table_of(made(), tmp_path / "one.csv")
    monkeypatch.setattr(objects, "WINDOW_PX", 128)
    table_of(made(), tmp_path / "other.csv", ExecutionSettings(scheduler, workers=2))
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()


def test_parquet_has_the_same_rows_with_their_types(made: Callable[..., Path], tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table_of(made(), tmp_path / "o.parquet")
    table = parquet.read_table(tmp_path / "o.parquet")
    names = {str: "string", int: "int64", float: "double"}
    assert [str(field.type) for field in table.schema][: len(COLUMNS)] == [names[kind] for kind in COLUMNS.values()]
    _, rows = table_of(made(), tmp_path / "o.csv")
    texts = [["" if value is None else str(value) for value in row.values()] for row in table.to_pylist()]
    assert texts == [list(row.values()) for row in rows]


def test_some_regions_of_some_images(made: Callable[..., Path], tmp_path: Path) -> None:
    _, every = table_of(made(), tmp_path / "every.csv")
    _, some = table_of(made(), tmp_path / "some.csv", chosen=("2", "0"), min_area=20, images=("b",))
    wanted = [
        row for row in every if row["image"] == "b.png" and row["class"] in ("0", "2") and int(row["pixels"]) >= 20
    ]
    assert 0 < len(wanted) < len(every)
    assert some == wanted


def test_classes_are_measured_by_name(made: Callable[..., Path], folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    store = Path(shutil.copytree(made(), tmp_path / "s.zarr"))
    with pytest.raises(UsageError, match=r"no cluster has a name; give some one with: kseg-batch classes"):
        table_of(store, tmp_path / "o.csv", of="classes")
    write_classes(str(store / "model"), Classes((NamedClass("plant", (0, 2), "#00ff00"),)))
    _, rows = table_of(store, tmp_path / "o.csv", chosen=("plant",), images=("a.png",))
    labels = labels_of(store, "a.png")
    plant = np.where(np.isin(labels, (0, 2)), 0, 255)
    wanted = judged(plant, np.asarray(Image.open(folder / "a.png").convert("RGB")), 1)
    assert {(row.pop("class"), row.pop("color")) for row in rows} == {("plant", "#00ff00")}
    same_as_judged([row | {"class": "0"} for row in rows], wanted, ["red", "green", "blue"])
    with pytest.raises(UsageError, match=r"--cluster 2: that cluster is of class plant; --of clusters takes it"):
        table_of(store, tmp_path / "p.csv", chosen=("2",))
    _, by_cluster = table_of(store, tmp_path / "p.csv", of="clusters", chosen=("2",))
    assert {row["class"] for row in by_cluster} == {"2"}


def test_a_model_of_each_image_has_its_own_classes_and_colours(made: Callable[..., Path], tmp_path: Path) -> None:
    store = made(scope="image")
    _, rows = table_of(store, tmp_path / "o.csv")
    for key in ("a.png", "b.png"):
        model = open_store(str(store))[key].model
        assert model is not None
        found = {(row["class"], row["color"]) for row in rows if row["image"] == key}
        assert found == {(str(j), f"#{bytes(color).hex()}") for j, color in enumerate(model.colors.tolist())}
    assert "nothing.png" not in {row["image"] for row in rows}


def test_where_images_are_gone_columns_of_bands_are_left_out(folder: Path, tmp_path: Path) -> None:
    inputs = Path(shutil.copytree(folder, tmp_path / "in"))
    for name, copied in (("plain", False), ("copied", True)):
        run_job(inputs, tmp_path / f"{name}.zarr", 3, attempts=2, tile=64, copy_image=copied)
    _, whole = table_of(tmp_path / "plain.zarr", tmp_path / "whole.csv")
    os.unlink(inputs / "a.png")
    result, rows = table_of(tmp_path / "plain.zarr", tmp_path / "some.csv")
    assert list(result.without_bands) == ["a.png"]
    assert "not there any more" in result.without_bands["a.png"]
    for row, before in zip(rows, whole, strict=True):
        assert row == before if row["image"] != "a.png" else row["mean_red"] == "" and row["id"] == before["id"]
    shutil.rmtree(inputs)
    result, rows = table_of(tmp_path / "plain.zarr", tmp_path / "none.csv")
    assert list(rows[0]) == list(COLUMNS)
    assert len(result.without_bands) == 3
    result, rows = table_of(tmp_path / "copied.zarr", tmp_path / "copied.csv")
    assert (result.without_bands, rows) == ({}, whole)


@pytest.mark.parametrize(("dtype", "strips"), [("float32", True), ("uint16", False), ("float64", False)])
def test_bands_have_means_in_their_own_units(dtype: str, strips: bool, smooth: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    samples = (smooth(150, 230, 5)[..., :2] * 7.25 + rng.random((150, 230, 2)) * 50).astype(dtype)
    samples = np.concatenate([samples, samples[..., :1] // 3], axis=2).astype(dtype)
    (tmp_path / "in").mkdir()
    how: dict[str, Any] = {"rowsperstrip": 16} if strips else {"tile": (32, 32)}
    tifffile.imwrite(tmp_path / "in/a.tif", samples, photometric="minisblack", planarconfig="contig", **how)
    run_job(tmp_path / "in", tmp_path / "s.zarr", 3, attempts=2, tile=64, bands=(3, 1), smooth=2)
    _, rows = table_of(tmp_path / "s.zarr", tmp_path / "o.csv")
    labels = labels_of(tmp_path / "s.zarr")
    same_as_judged(rows, judged(labels, samples[..., [2, 0]].astype(float), 3), ["band_3", "band_1"])


def test_segments_are_measured_by_their_numbers(made: Callable[..., Path], tmp_path: Path) -> None:
    store = made(segments=0.1)
    _, rows = table_of(store, tmp_path / "o.csv", of="segments", images=("a.png",))
    numbers = np.asarray(open_store(str(store))["a.png"].segments)
    table = regionprops_table(numbers, properties=("label", "area", "perimeter", "centroid"))
    by_number = {int(row["id"]): row for row in rows}
    assert len(by_number) == len(rows) == len(table["label"]) > 1
    for at, number in enumerate(table["label"]):
        row = by_number[number]
        assert int(row["pixels"]) == table["area"][at]
        np.testing.assert_allclose(float(row["perimeter"]), table["perimeter"][at], rtol=1e-9)
        assert row["class"] in ("0", "1", "2")
    with pytest.raises(StoreError, match=r"no segments in .*; make them with: kseg-batch segments"):
        table_of(made(), tmp_path / "p.csv", of="segments")


def test_sizes_are_in_micrometres_where_they_are_known(smooth: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "in/a.ome.tif", smooth(90, 120, 3), photometric="rgb", metadata=sizes)
    run_job(tmp_path / "in", tmp_path / "s.zarr", 3, attempts=2, tile=64)
    _, rows = table_of(tmp_path / "s.zarr", tmp_path / "o.csv")
    for row in rows:
        assert float(row["area_um2"]) == int(row["pixels"]) * 0.25
        assert float(row["perimeter_um"]) == float(row["perimeter"]) * 0.5
        assert float(row["axis_major_um"]) == float(row["axis_major"]) * 0.5
        assert row["area_m2"] == row["perimeter_m"] == ""
    _, large = table_of(tmp_path / "s.zarr", tmp_path / "large.csv", min_area="10um2")
    assert large == [row for row in rows if float(row["area_um2"]) >= 10]


def test_an_area_with_a_unit_needs_the_size_of_a_pixel(made: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--min-area 5um2: how large a pixel of a\.png is is not known; give pixels"):
        table_of(made(), tmp_path / "o.csv", min_area="5um2")
    assert not list(tmp_path.iterdir())


def test_what_is_damaged_leaves_no_table(made: Callable[..., Path], tmp_path: Path) -> None:
    store = Path(shutil.copytree(made(), tmp_path / "s.zarr"))
    (store / "images/b.png/labels/kmeans/0/c/0/0").write_bytes(b"damage")
    with pytest.raises(KsegError, match=r"b\.png: its labels cannot be read"):
        table_of(store, tmp_path / "o.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"s.zarr"}


def test_values_that_are_no_numbers_any_more_are_told(smooth: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in/a.tif"
    samples = smooth(80, 90, 3)[..., :2].astype(np.float32)
    tifffile.imwrite(file, samples, photometric="minisblack", planarconfig="contig")
    status = file.stat()
    run_job(tmp_path / "in", tmp_path / "s.zarr", 3, attempts=2, tile=64)
    samples[50, 60] = np.nan
    tifffile.imwrite(file, samples, photometric="minisblack", planarconfig="contig")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UnreadableImage, match=r"a\.tif: its values are not those that were labelled"):
        table_of(tmp_path / "s.zarr", tmp_path / "o.csv")
