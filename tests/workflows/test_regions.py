"""The table of regions and the outlines of a store's images: as its labels say, whatever the tiles and schedulers."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from scipy import ndimage

from kseg_core import open_store
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError, StoreError, UsageError
from kseg_core.export import geojson
from kseg_core.export.settings import ExportSettings
from kseg_core.shapes.outlines import Outlining, Placement, SegmentProperties
from kseg_core.shapes.regions import LabelArray
from tests.asking import SYNC, labels_of, run_job
from workflows import regions
from workflows.computing.context import Context
from workflows.regions import outlines_of, polygons, write_region_table

Array = NDArray[Any]


def make(inputs: Path, output: Path, **settings: Any) -> Path:
    run_job(inputs, output, 3, attempts=2, **settings)
    return output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, smooth: Any, png: Any) -> Path:
    """Two pictures, one with a transparent corner, and one without a valid pixel. Not to be changed."""
    inputs = tmp_path_factory.mktemp("regions") / "in"
    alpha = np.full((170, 210, 1), 255, np.uint8)
    alpha[:40, 30:100] = 0
    png(inputs / "a.png", np.concatenate([smooth(170, 210, 3), alpha], axis=2))
    png(inputs / "b.png", smooth(90, 300, 4))
    png(inputs / "nothing.png", np.zeros((5, 6, 4), np.uint8))
    return inputs


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Its store in tiles of 64, of a scope. Not to be changed."""
    return cache(lambda scope: make(folder, tmp_path_factory.mktemp(scope) / "out.zarr", scope=scope, tile=64))


@pytest.fixture
def store(
    request: pytest.FixtureRequest, made: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """With windows of one tile for regions and outlines."""
    monkeypatch.setattr(regions, "WINDOW_PX", 64)
    monkeypatch.setattr(regions, "OUTLINES_PX", 64)
    return Path(shutil.copytree(made(getattr(request, "param", "global")), tmp_path / "out.zarr"))


def counted(labels: Array, cluster: int) -> tuple[int, int, int]:
    """Pixels, regions, largest: by SciPy."""
    found, count = ndimage.label(labels == cluster, np.ones((3, 3)))
    sizes = np.bincount(found.reshape(-1))[1:]
    return int(sizes.sum()), count, int(sizes.max(initial=0))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("scheduler", "store"), [("sync", "image"), ("threads", "global")], indirect=["store"])
def test_the_table_tells_of_every_image_s_clusters(scheduler: str, store: Path, folder: Path, tmp_path: Path) -> None:
    count = write_region_table(str(store), str(tmp_path / "t.csv"), ExecutionSettings(scheduler))
    rows = rows_of(tmp_path / "t.csv")
    opened = open_store(str(store))
    wanted = []
    for key, image in opened.items():
        model = image.model or (opened.model if opened.has_model else None)
        if model is None:
            continue
        labels = np.asarray(image.labels)
        valid = int((labels < 3).sum())
        for j, (r, g, b) in enumerate(model.colors.tolist()):
            pixels, regions_, largest = counted(labels, j)
            assert pixels == image.attributes["counts"][j]
            share = repr(pixels / valid) if valid else ""
            color = f"#{r:02x}{g:02x}{b:02x}"
            values = (key, str(folder / key), j, color, pixels, share, regions_, largest, "", "")
            wanted.append([str(value) for value in values])
    assert [list(row.values()) for row in rows] == wanted
    assert count == len(rows) == (9 if opened.has_model else 6)
    assert list(rows[0]) == list(regions.COLUMNS)


def test_parquet_has_the_same_rows_with_their_types_and_windows_change_nothing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_region_table(str(store), str(tmp_path / "t.csv"), SYNC)
    monkeypatch.setattr(regions, "WINDOW_PX", 4096)
    write_region_table(str(store), str(tmp_path / "t.parquet"), SYNC)
    table = parquet.read_table(tmp_path / "t.parquet")
    types = ["string", "string", "int64", "string", "int64", "double", "int64", "int64", "double", "double"]
    assert [str(field.type) for field in table.schema] == types
    texts = [["" if value is None else str(value) for value in row.values()] for row in table.to_pylist()]
    assert texts == [list(row.values()) for row in rows_of(tmp_path / "t.csv")]


def test_a_table_that_is_there_stays_unless_it_may_be_replaced(store: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("mine")
    with pytest.raises(KsegError, match="exists; replace it with --overwrite"):
        write_region_table(str(store), str(table), SYNC)
    assert table.read_text() == "mine"
    write_region_table(str(store), str(table), SYNC, overwrite=True)
    assert rows_of(table)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(KsegError, match="exists; name another"):
        write_region_table(str(store), str(tmp_path / "folder.csv"), SYNC, overwrite=True)


def test_a_table_that_cannot_be_written_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, reason in (("t.txt", r"a \.csv or a \.parquet"), ("no/t.csv", "no such folder")):
        with pytest.raises(KsegError, match=reason):
            write_region_table("no store", str(tmp_path / name), SYNC)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"kseg-batch\[parquet\]"):
        write_region_table("no store", str(tmp_path / "t.parquet"), SYNC)


def test_a_damaged_image_and_an_unfinished_store_leave_no_table(store: Path, tmp_path: Path) -> None:
    (store / "images/b.png/labels/kmeans/0/c/0/0").write_bytes(b"damage")
    with pytest.raises(StoreError, match=r"b\.png: its labels cannot be read"):
        write_region_table(str(store), str(tmp_path / "t.csv"), SYNC)
    with Context.open(SYNC) as context, pytest.raises(StoreError, match=r"b\.png: its labels cannot be read"):
        write_polygons(store, "b.png", store / "b.geojson", None, 1, context)
    path = store / "zarr.json"
    path.write_text(path.read_text().replace('"status": "complete"', '"status": "running"', 1))
    with pytest.raises(StoreError, match="has not finished"):
        write_region_table(str(store), str(tmp_path / "t.csv"), SYNC)
    assert {path.name for path in tmp_path.iterdir()} == {"out.zarr"}


# -------------------------------------------------------------------------------------------------- polygons


def write_polygons(
    store: Path,
    key: str,
    file: Path,
    clusters: tuple[int, ...] | None,
    least: int,
    context: Context,
    tolerance: float = 0.0,
) -> None:
    settings = ExportSettings(("polygons",), min_area_px=least, simplify_px=tolerance)
    with polygons(str(store), key, f"{file}.pieces", clusters, settings, context) as outlines:
        geojson.write(str(file), outlines, None, "")


def outlined(
    store: Path,
    key: str,
    file: Path,
    clusters: tuple[int, ...] | None = None,
    least: int = 1,
    tolerance: float = 0.0,
    execution: ExecutionSettings = SYNC,
) -> Any:
    with Context.open(execution) as context:
        write_polygons(store, key, file, clusters, least, context, tolerance)
    found = json.loads(file.read_text())
    assert found["type"] == "FeatureCollection"
    assert not os.path.exists(f"{file}.pieces")
    return found


@pytest.mark.parametrize("store", ["global", "image"], indirect=True)
def test_polygons_cover_the_masks_and_none_is_cut_at_a_tile(store: Path, folder: Path, tmp_path: Path) -> None:
    features = pytest.importorskip("rasterio.features")
    found = outlined(store, "a.png", tmp_path / "a.geojson")
    assert found["kseg"] == {
        "image": "a.png",
        "source": str(folder / "a.png"),
        "shape": [170, 210],
        "coordinates": "pixels",
    }
    labels = labels_of(store, "a.png")
    for cluster in range(3):
        own = [each for each in found["features"] if each["properties"]["cluster"] == cluster]
        assert len(own) == counted(labels, cluster)[1]
        mask = features.rasterize([each["geometry"] for each in own], labels.shape, dtype="uint8").astype(bool)
        np.testing.assert_array_equal(mask, labels == cluster)
        assert sum(each["properties"]["pixels"] for each in own) == mask.sum()


def test_polygons_of_one_cluster_and_of_large_regions(store: Path, tmp_path: Path) -> None:
    every = outlined(store, "b.png", tmp_path / "b.geojson")["features"]
    cluster = int(np.argmax(open_store(str(store))["b.png"].attributes["counts"]))
    some = outlined(store, "b.png", tmp_path / "b.geojson", (cluster,), 20)["features"]
    wanted = [f for f in every if f["properties"]["cluster"] == cluster and f["properties"]["pixels"] >= 20]
    assert 0 < len(some) < len(every)
    place = lambda feature: feature["properties"]["region"]  # noqa: E731 - a key for sorting
    assert sorted(some, key=place) == sorted(wanted, key=place)
    with pytest.raises(UsageError, match="no cluster 3"):
        outlined(store, "b.png", tmp_path / "b.geojson", (3,))
    assert outlined(store, "nothing.png", tmp_path / "b.geojson")["features"] == []  # without a valid pixel
    assert {path.name for path in tmp_path.iterdir()} == {"out.zarr", "b.geojson"}


def by_place(found: Any) -> list[Any]:
    return sorted(found["features"], key=lambda feature: int(feature["properties"]["region"]))


def test_simplified_polygons_are_the_same_whatever_tiles_windows_and_workers(
    store: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = outlined(store, "a.png", tmp_path / "a.geojson", tolerance=1.5)
    assert found["kseg"]["simplify_px"] == 1.5
    size = (tmp_path / "a.geojson").stat().st_size
    every = outlined(store, "a.png", tmp_path / "a.geojson")
    assert size < (tmp_path / "a.geojson").stat().st_size
    told = [feature["properties"] for feature in by_place(found)]
    assert told == [feature["properties"] for feature in by_place(every)]
    threads = ExecutionSettings("threads", workers=2)
    assert outlined(store, "a.png", tmp_path / "a.geojson", tolerance=1.5, execution=threads) == found
    monkeypatch.setattr(regions, "OUTLINES_PX", 128)
    assert by_place(outlined(store, "a.png", tmp_path / "a.geojson", tolerance=1.5)) == by_place(found)
    for tile in (80, 256):
        other = make(folder, tmp_path / f"{tile}.zarr", tile=tile)
        assert by_place(outlined(other, "a.png", tmp_path / "a.geojson", tolerance=1.5)) == by_place(found)


def segments_in(store: Path, key: str, dtype: str = "uint32") -> Array:
    """A label image that is put into a store beside its labels: each 4-connected region has a number."""
    labels = labels_of(store, key)
    numbers = np.zeros(labels.shape, dtype)
    for cluster in range(3):
        own, _ = ndimage.label(labels == cluster)
        numbers[own > 0] = own[own > 0] + numbers.max()
    group = zarr.open_group(store / "images" / key, mode="r+")
    group.create_array("numbered", data=numbers, chunks=(32, 32))
    return numbers


def test_a_label_image_of_segments_is_outlined_segment_by_segment(store: Path, tmp_path: Path) -> None:
    features = pytest.importorskip("rasterio.features")
    numbers = segments_in(store, "a.png")
    image = open_store(str(store))["a.png"]
    source = LabelArray("numbered", np.dtype(np.uint32), nothing=0)
    told = SegmentProperties("a.png", {"half": np.arange(numbers.max() + 1) / 2})
    wanted = np.array([False, True])  # every label but 0
    for tolerance in (0.0, 1.0):
        how = Outlining(numbers.shape, wanted, told, 1, Placement.of(None), tolerance)
        file = tmp_path / "s.geojson"
        with Context.open(SYNC) as context, outlines_of(image, source, how, f"{file}.pieces", context) as outlines:
            geojson.write(str(file), outlines, None, "")
        found = json.loads(file.read_text())["features"]
        assert sorted(each["properties"]["segment"] for each in found) == list(range(1, numbers.max() + 1))
        assert all(each["properties"]["half"] == each["properties"]["segment"] / 2 for each in found)
        if not tolerance:
            pairs = [(each["geometry"], each["properties"]["segment"]) for each in found]
            np.testing.assert_array_equal(features.rasterize(pairs, numbers.shape, dtype="uint32"), numbers)


def test_labels_that_are_not_those_of_segments_are_named(store: Path) -> None:
    image = open_store(str(store))["a.png"]
    segments_in(store, "a.png", "uint16")
    window = (slice(0, 9), slice(0, 9))
    with pytest.raises(StoreError, match=r"a\.png: its labels are uint16, expected uint32"):
        LabelArray("numbered", np.dtype(np.uint32), 0).read(image, *window)
    group = zarr.open_group(store / "images/a.png", mode="r+")
    group.create_array("huge", data=np.full((20, 20), 2**31, np.uint32))
    with pytest.raises(StoreError, match=r"a label of 2147483648, expected at most 2147483647"):
        LabelArray("huge", np.dtype(np.uint32), 0).read(image, *window)


def test_georeferenced_images_are_in_degrees_and_square_metres(tmp_path: Path, smooth: Any) -> None:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.warp import transform_geom

    picture = smooth(120, 100, 6)
    place = rasterio.Affine(10.0, 0, 500_000, 0, -20.0, 4_600_000)
    with rasterio.open(
        tmp_path / "in.tif", "w", driver="GTiff", height=120, width=100, count=3, dtype="uint8", crs="EPSG:32633",
        transform=place,
    ) as file:  # fmt: skip
        file.write(picture.transpose(2, 0, 1))
    store = make(tmp_path / "in.tif", tmp_path / "out.zarr", tile=64)
    found = outlined(store, "in.tif", tmp_path / "o.geojson")
    assert found["kseg"]["coordinates"] == "WGS 84"
    labels = labels_of(store, "in.tif")
    drawn = np.full(labels.shape, 255, np.uint8)
    for feature in found["features"]:
        back = transform_geom("EPSG:4326", "EPSG:32633", feature["geometry"])
        mask = rasterio.features.rasterize([back], labels.shape, transform=place, dtype="uint8").astype(bool)
        drawn[mask] = feature["properties"]["cluster"]
    np.testing.assert_array_equal(drawn, labels)
    write_region_table(str(store), str(tmp_path / "t.csv"), SYNC)
    for row in rows_of(tmp_path / "t.csv"):
        assert float(row["area_m2"]) == int(row["pixels"]) * 200.0
        assert row["area_um2"] == ""


def test_a_large_tiled_image_has_the_same_outlines_in_any_tiles(
    tmp_path: Path, smooth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "in.tif", smooth(300, 260, 9), tile=(64, 64), photometric="rgb", metadata=None)
    found = []
    for tile in (64, 200, 1024):
        monkeypatch.setattr(regions, "OUTLINES_PX", tile)
        store = make(tmp_path / "in.tif", tmp_path / f"{tile}.zarr", tile=tile)
        features = outlined(store, "in.tif", tmp_path / f"{tile}.geojson")["features"]
        found.append(sorted(features, key=lambda feature: feature["properties"]["region"]))
    assert found[0] == found[1] == found[2]


def test_the_pixel_size_that_an_ome_tiff_states_reaches_the_store_and_the_table(tmp_path: Path, smooth: Any) -> None:
    sizes = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    tifffile.imwrite(tmp_path / "in.ome.tif", smooth(60, 80, 1), photometric="rgb", metadata=sizes)
    store = make(tmp_path / "in.ome.tif", tmp_path / "out.zarr", tile=64)
    assert open_store(str(store))["in.ome.tif"].pixel_scale == ((0.25, 0.5), ("micrometer", "micrometer"))
    write_region_table(str(store), str(tmp_path / "t.csv"), SYNC)
    for row in rows_of(tmp_path / "t.csv"):
        assert float(row["area_um2"]) == pytest.approx(int(row["pixels"]) * 0.125)
        assert row["area_m2"] == ""
    group = store / "images/in.ome.tif/labels/kmeans/zarr.json"  # other units are converted
    group.write_text(group.read_text().replace('"micrometer"', '"nanometer"'))
    write_region_table(str(store), str(tmp_path / "t.csv"), SYNC, overwrite=True)
    for row in rows_of(tmp_path / "t.csv"):
        assert float(row["area_um2"]) == pytest.approx(int(row["pixels"]) * 0.125e-6)
