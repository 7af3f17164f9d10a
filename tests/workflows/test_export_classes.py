"""Exports and tables of a store whose clusters have names: files, categories and outlines speak of classes."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from kseg_core import open_store
from kseg_core.errors import UsageError
from kseg_core.export.settings import ExportSettings
from kseg_core.inputs.listing import list_inputs
from kseg_core.inputs.passed_over import is_exported
from kseg_core.object_settings import ObjectSettings
from kseg_core.products import file_name
from kseg_core.store.legend import Legend
from tests.asking import SYNC, labels_of, run_job
from workflows import regions
from workflows.classes import ClassChanges, classes_of_all
from workflows.export import Exported, export
from workflows.export_plan import ExportRequest
from workflows.regions import RegionsOf, write_region_table

KEY = "picture-2.png"  # with pixels that are not valid
NAMES = ("bare soil", "plant", "3")  # of clusters 0, of 1 and 2, and of 3, which has no name
GREEN = [0x2C, 0xA0, 0x2C]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, smooth_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("named")
    (folder / "in").mkdir()
    shutil.copy(smooth_folder / KEY, folder / "in")
    run_job(folder / "in", folder / "s.zarr", k=4, tile=64)
    changes = ClassChanges(named=(("bare soil", (0,)), ("plant", (2, 1))), colors=(("plant", "#2ca02c"),))
    classes_of_all(str(folder / "s.zarr"), changes, SYNC)
    return folder / "s.zarr"


@pytest.fixture
def values(store: Path) -> NDArray[np.uint8]:
    """The class of each pixel, by NumPy alone."""
    return np.array([0, 1, 1, 2, *[255] * 252], np.uint8)[labels_of(store, KEY)]


def exported(store: Path, to: Path, *what: str, **settings: Any) -> Exported:
    return export(ExportRequest(str(store), str(to), ExportSettings(what, **settings)), SYNC)


def files(result: Exported) -> list[str]:
    return [file.name.removeprefix("picture-2.") for file in result.files]


def pixels(path: Path) -> NDArray[Any]:
    return np.asarray(Image.open(path))


def test_masks_and_cutouts_are_of_classes_and_called_after_them(
    store: Path, values: NDArray[np.uint8], tmp_path: Path
) -> None:
    result = exported(store, tmp_path, "masks", "cutout")
    assert files(result) == [f"{part}-{name}.png" for part in ("mask", "cutout") for name in NAMES]
    for value, name in enumerate(NAMES):
        np.testing.assert_array_equal(pixels(tmp_path / f"picture-2.mask-{name}.png"), values == value)
        cutout = pixels(tmp_path / f"picture-2.cutout-{name}.png")
        np.testing.assert_array_equal(cutout[..., 3] == 255, values == value)
    told = result.to_json()["files"][1]
    assert (told["classes"], told["clusters"]) == (["plant"], [1, 2])
    assert all(is_exported(str(path)) for path in tmp_path.iterdir())


def test_the_label_image_of_classes_has_their_palette(store: Path, values: NDArray[np.uint8], tmp_path: Path) -> None:
    exported(store, tmp_path, "classes")
    image = Image.open(tmp_path / "picture-2.classes.png")
    np.testing.assert_array_equal(np.asarray(image), values)
    assert image.mode == "P"
    legend = Legend.of(open_store(str(store)).model)
    assert image.getpalette("RGB")[:9] == legend.colors.reshape(-1).tolist()
    assert image.getpalette("RGB")[3:6] == GREEN
    assert "transparency" in image.info
    np.testing.assert_array_equal(values, np.asarray(open_store(str(store))[KEY].classes))
    exported(store, tmp_path, "classes", format="tiff")
    aux = (tmp_path / "picture-2.classes.tif.aux.xml").read_text()
    assert [f"<Category>{name}</Category>" in aux for name in NAMES] == [True] * 3
    assert not list_inputs((str(tmp_path),)).files


def test_painting_and_lines_are_by_class_where_that_is_said(
    store: Path, values: NDArray[np.uint8], tmp_path: Path
) -> None:
    exported(store, tmp_path / "clusters", "segmented", "boundaries")
    exported(store, tmp_path / "classes", "segmented", "boundaries", by="class")
    model = open_store(str(store)).model
    valid = values != 255
    for folder, colors, labels in (
        ("clusters", model.colors, labels_of(store, KEY)),
        ("classes", Legend.of(model).colors, values),
    ):
        painted = pixels(tmp_path / folder / "picture-2.segmented.png")
        np.testing.assert_array_equal(painted[valid][:, :3], colors[labels[valid]])
        np.testing.assert_array_equal(painted[..., 3] == 255, valid)
    lines = [
        (pixels(tmp_path / folder / "picture-2.boundaries.png")[..., :3] == [255, 255, 0]).all(axis=2)
        for folder in ("clusters", "classes")
    ]
    assert not (lines[1] & ~lines[0]).any()
    assert lines[1].sum() < lines[0].sum()


@pytest.mark.parametrize("side", [64, 1024])
def test_outlines_are_of_whole_classes(
    store: Path, values: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    monkeypatch.setattr(regions, "OUTLINES_PX", side)
    exported(store, tmp_path, "polygons")
    found = [each["properties"] for each in json.loads((tmp_path / "picture-2.geojson").read_text())["features"]]
    for value, name in enumerate(NAMES):
        _, count = ndimage.label(values == value, np.ones((3, 3)))
        own = [each for each in found if each["name"] == name]
        assert (len(own), sum(each["pixels"] for each in own)) == (count, (values == value).sum())
        assert {each["class"] for each in own} == {value}
    assert {each["color"] for each in found if each["name"] == "plant"} == {"#2ca02c"}
    result = exported(store, tmp_path, "polygons", clusters=("plant",), format="qupath")
    assert files(result) == ["polygons-plant.geojson"]
    features = json.loads((tmp_path / "picture-2.polygons-plant.geojson").read_text())["features"]
    assert {json.dumps(each["properties"]["classification"]) for each in features} == {
        json.dumps({"name": "plant", "color": GREEN})
    }


def test_classes_are_chosen_by_name_and_clusters_by_number(
    store: Path, values: NDArray[np.uint8], tmp_path: Path
) -> None:
    chosen = exported(store, tmp_path / "a", "masks", "cutout", clusters=("plant", "3"))
    assert files(chosen) == ["mask-plant.png", "mask-3.png", "cutout-plant+3.png"]
    cutout = pixels(tmp_path / "a" / "picture-2.cutout-plant+3.png")
    np.testing.assert_array_equal(cutout[..., 3] == 255, (values == 1) | (values == 2))
    by_cluster = exported(store, tmp_path / "b", "masks", "cutout", clusters=("plant",), by="cluster")
    assert files(by_cluster) == ["mask-1.png", "mask-2.png", "cutout-1+2.png"]
    with pytest.raises(UsageError, match="--cluster 2: that cluster is of class plant; --by cluster takes it"):
        exported(store, tmp_path / "c", "masks", clusters=("2",))
    with pytest.raises(UsageError, match="--cluster moss: classes are bare soil, plant, 3; clusters are 0 to 3"):
        exported(store, tmp_path / "c", "masks", clusters=("moss",))
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("side", [64, 2048])
def test_the_table_has_a_row_a_class(
    store: Path, values: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    monkeypatch.setattr(regions, "WINDOW_PX", side)

    def rows(**settings: Any) -> list[dict[str, str]]:
        path = tmp_path / "t.csv"
        write_region_table(str(store), str(path), SYNC, overwrite=True, of=RegionsOf(ObjectSettings(**settings)))
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    found = rows()
    assert [row["class"] for row in found] == list(NAMES)
    for value, row in enumerate(found):
        own, count = ndimage.label(values == value, np.ones((3, 3)))
        sizes = np.bincount(own.ravel())[1:]
        assert [int(row[name]) for name in ("pixels", "regions", "largest_region")] == [sizes.sum(), count, sizes.max()]
    assert found[1]["color"] == "#2ca02c"
    assert rows(chosen=("plant",)) == [found[1]]
    assert [row["cluster"] for row in rows(of="clusters")] == ["0", "1", "2", "3"]
    assert [row["cluster"] for row in rows(of="clusters", chosen=("plant",))] == ["1", "2"]
    with pytest.raises(UsageError, match="--cluster 1: that cluster is of class plant; --of clusters"):
        rows(chosen=("1",))


def test_names_in_files_are_safe_and_tell_classes_apart() -> None:
    given = ["a/b", "a%2Fb", "a.b", "../x", "a+b", "é", "e\u0301", "x" * 100, "x" * 99 + "y", "grün", "草"]
    made = [file_name("leaf", "masks", (name,), "png") for name in given]
    assert made[:3] == ["leaf.mask-a%2Fb.png", "leaf.mask-a%252Fb.png", "leaf.mask-a%2Eb.png"]
    assert made[-2:] == ["leaf.mask-grün.png", "leaf.mask-草.png"]
    assert len(set(made)) == len(made)
    assert all(name.count(".") == 2 and "/" not in name and len(name.encode()) < 255 for name in made)


def test_commands_take_names(kseg: Callable[..., Any], store: Path, tmp_path: Path) -> None:
    told = kseg("export", store, "--to", tmp_path / "out", "--what", "masks", "--cluster", "plant", "--json").json()
    assert [file["classes"] for file in told["files"]] == [["plant"]]
    told = kseg("inspect", store, "--table", tmp_path / "t.csv", "--cluster", "plant", "--of", "classes")
    assert told.code == 0
    assert (tmp_path / "t.csv").read_text().count("plant") == 1
