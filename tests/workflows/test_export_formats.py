"""What is exported opens in the next tool with names, colours, sizes and places: GDAL, QGIS, tifffile, QuPath."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from kseg_core import open_store
from kseg_core.errors import UsageError
from kseg_core.export import vectors
from kseg_core.export.settings import ExportSettings
from kseg_core.inputs.listing import list_inputs
from kseg_core.store.distinct import distinct_colors
from tests.asking import SYNC, labels_of, run_job
from workflows.export import Exported, export
from workflows.export_plan import ExportRequest

K = 3


def exported(store: Path, to: Path, *what: str, **settings: Any) -> Exported:
    return export(ExportRequest(str(store), str(to), ExportSettings(what, **settings)), SYNC)


def only(folder: Path, ending: str) -> Path:
    (path,) = folder.rglob(f"*{ending}")
    return path


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory, smooth: Any) -> Path:
    """A store of a picture with a place on the ground, of pixels of 2 by 4 metres, and with some that do not count."""
    rasterio = pytest.importorskip("rasterio")
    folder = tmp_path_factory.mktemp("placed")
    picture = smooth(120, 100, 6)
    picture[30:40, 20:50] = 0
    place = rasterio.Affine(2.0, 0, 500_000, 0, -4.0, 4_600_000)
    profile = {"width": 100, "height": 120, "count": 3, "dtype": "uint8", "nodata": 0}
    with rasterio.open(folder / "in.tif", "w", driver="GTiff", crs="EPSG:32633", transform=place, **profile) as file:
        file.write(picture.transpose(2, 0, 1))
    run_job(folder / "in.tif", folder / "s.zarr", k=K, tile=64)
    return folder / "s.zarr"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, smooth: Any) -> Path:
    """A store of a picture whose pixels are half a micrometre wide and a quarter high."""
    folder = tmp_path_factory.mktemp("measured")
    sizes = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    tifffile.imwrite(folder / "in.ome.tif", smooth(700, 80, 1), photometric="rgb", metadata=sizes)
    run_job(folder / "in.ome.tif", folder / "s.zarr", k=K, tile=64)
    return folder / "s.zarr"


# ------------------------------------------------------------------------------------------ TIFF of labels


def table_of(path: Path) -> list[list[str]]:
    rows = ElementTree.parse(path).iter("Row")
    return [[cell.text or "" for cell in row.findall("F")] for row in rows]


def test_a_geotiff_of_labels_has_names_colours_and_a_table_with_areas(placed: Path, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    exported(placed, tmp_path / "out", "labels")
    path = only(tmp_path / "out", ".labels.tif")
    labels, colors = labels_of(placed, "in.tif"), open_store(str(placed)).model.colors
    counts = np.bincount(labels.ravel(), minlength=256)
    assert counts[255] > 200
    with rasterio.open(path) as dataset:
        assert dataset.colormap(1) == {value: (*color, 255) for value, color in enumerate(colors.tolist())}
        assert dataset.nodata == 255
        assert (dataset.read(1) == labels).all()
    rows = table_of(Path(f"{path}.aux.xml"))
    assert [[int(row[0]), row[1], int(row[2]), float(row[3])] for row in rows] == [
        [value, str(value), counts[value], counts[value] * 8.0] for value in range(K)
    ]
    assert [[int(cell) for cell in row[4:]] for row in rows] == colors.tolist()
    entries = ElementTree.parse(path.with_suffix(".qml")).iter("paletteEntry")
    assert [each.get("label") for each in entries] == [str(value) for value in range(K)]
    if shutil.which("gdalinfo") is not None:
        told = json.loads(subprocess.run(["gdalinfo", "-json", path], capture_output=True, check=True).stdout)
        assert told["bands"][0]["colorTable"]["count"] == K
        assert Path(f"{path}.aux.xml") in map(Path, told["files"])


def test_what_goes_with_a_tiff_is_no_input_and_is_replaced_with_it(placed: Path, tmp_path: Path) -> None:
    exported(placed, tmp_path, "labels")
    style = only(tmp_path, ".qml")
    style.write_text("")
    request = ExportRequest(str(placed), str(tmp_path), ExportSettings(("labels",)), existing="replace")
    export(request, SYNC)
    assert "paletteEntry" in style.read_text()
    shutil.copy(placed.parent / "in.tif", tmp_path / "new.tif")
    assert [Path(each.path).name for each in list_inputs((str(tmp_path),)).files] == ["new.tif"]


def test_pictures_that_are_no_labels_have_no_table(placed: Path, tmp_path: Path) -> None:
    exported(placed, tmp_path, "masks", "segmented", clusters=(0,))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".tif", ".tif"]


def test_tiffs_carry_the_size_of_a_pixel_and_areas_in_square_micrometres(measured: Path, tmp_path: Path) -> None:
    exported(measured, tmp_path, "labels", "segmented", "masks", format="tiff")
    for path in tmp_path.glob("*.tif"):
        with tifffile.TiffFile(path) as tiff:
            finest, coarser = tiff.pages.first, tiff.series[0].levels[1].pages[0]
            assert finest.get_resolution("MICROMETER") == pytest.approx((2.0, 4.0))
            assert coarser.get_resolution("MICROMETER") == pytest.approx((1.0, 2.0))
            assert finest.resolutionunit.name == "CENTIMETER"
    counts = open_store(str(measured))["in.ome.tif"].attributes["counts"]
    areas = [float(row[3]) for row in table_of(only(tmp_path, ".labels.tif.aux.xml"))]
    assert areas == [pixels * 0.125 for pixels in counts]


# ---------------------------------------------------------------------------------------------- outlines


def layer_of(path: Path) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """What pyogrio reads: about the layer, its shapes, its columns; in the order of regions."""
    pyogrio, shapely = pytest.importorskip("pyogrio"), pytest.importorskip("shapely")
    ((name, kind),) = pyogrio.list_layers(path).tolist()
    assert (name, kind) == ("regions", "MultiPolygon")
    facts, _, shapes, values = pyogrio.raw.read(path)
    columns = dict(zip(facts["fields"].tolist(), values, strict=True))
    order = np.argsort(columns["region"])
    return facts, shapely.from_wkb(shapes)[order], {name: column[order] for name, column in columns.items()}


@pytest.mark.parametrize("form", ["gpkg", "fgb"])
def test_regions_are_a_layer_in_the_coordinate_system_of_the_image(form: str, placed: Path, tmp_path: Path) -> None:
    features = pytest.importorskip("rasterio.features")
    rasterio = pytest.importorskip("rasterio")
    shapely = pytest.importorskip("shapely")
    exported(placed, tmp_path, "polygons", format=form)
    path = only(tmp_path, f".{form}")
    facts, shapes, columns = layer_of(path)
    assert rasterio.crs.CRS.from_user_input(facts["crs"]).to_epsg() == 32633
    assert list(columns) == ["image", "cluster", "name", "color", "pixels", "region", "area_m2"]
    assert shapely.is_valid(shapes).all()
    assert np.array_equal(shapely.area(shapes), columns["area_m2"])
    assert np.array_equal(columns["pixels"] * 8.0, columns["area_m2"])
    labels, model = labels_of(placed, "in.tif"), open_store(str(placed)).model
    place = rasterio.Affine(2.0, 0, 500_000, 0, -4.0, 4_600_000)
    drawn = features.rasterize(
        zip(shapes, columns["cluster"].tolist(), strict=True), labels.shape, 255, transform=place, dtype="uint8"
    )
    assert (drawn == labels).all()
    assert columns["name"].tolist() == [str(cluster) for cluster in columns["cluster"]]
    colors = [f"#{bytes(color).hex()}" for color in model.colors.tolist()]
    assert columns["color"].tolist() == [colors[cluster] for cluster in columns["cluster"]]
    if shutil.which("ogrinfo") is not None:
        told = subprocess.run(["ogrinfo", "-so", path, "regions"], capture_output=True, text=True, check=True).stdout
        assert f"Feature Count: {len(shapes)}" in told
        assert "Multi Polygon" in told
        assert 'ID["EPSG",32633]' in told


@pytest.mark.parametrize("form", ["gpkg", "fgb"])
def test_a_layer_has_the_same_bytes_however_large_its_batches(
    form: str, placed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for batch in (1 << 23, 300):
        monkeypatch.setattr(vectors, "BATCH_CHARACTERS", batch)
        exported(placed, tmp_path / str(batch), "polygons", format=form)
    first, second = (only(tmp_path / str(batch), f".{form}").read_bytes() for batch in (1 << 23, 300))
    assert first == second


@pytest.mark.parametrize("form", ["gpkg", "fgb"])
def test_without_a_place_outlines_are_in_pixels_and_small_regions_may_be_left_out(
    form: str, measured: Path, tmp_path: Path
) -> None:
    shapely = pytest.importorskip("shapely")
    exported(measured, tmp_path, "polygons", format=form, min_area_px=100)
    facts, shapes, columns = layer_of(only(tmp_path, f".{form}"))
    assert not facts["crs"] or "Undefined" in facts["crs"]
    assert columns["pixels"].min() >= 100
    assert np.array_equal(shapely.area(shapes), columns["pixels"])
    assert np.array_equal(columns["area_um2"], columns["pixels"] * 0.125)
    exported(measured, tmp_path / "none", "polygons", format=form, min_area_px=10**6)
    _, shapes, columns = layer_of(only(tmp_path / "none", f".{form}"))
    assert len(shapes) == 0
    assert "area_um2" in columns


def test_qupath_takes_regions_as_annotations_with_a_class_in_pixels(placed: Path, tmp_path: Path) -> None:
    """Key by key what QuPath's `QuPathTypeAdapters` reads of a feature."""
    features = pytest.importorskip("rasterio.features")
    result = exported(placed, tmp_path, "polygons", format="qupath")
    found = json.loads(only(tmp_path, ".geojson").read_text())
    assert list(found) == ["type", "features"]
    assert found["type"] == "FeatureCollection"
    labels, model = labels_of(placed, "in.tif"), open_store(str(placed)).model
    seen = set()
    shapes = []
    for feature in found["features"]:
        assert list(feature) == ["type", "id", "properties", "geometry"]
        assert feature["type"] == "Feature"
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        assert feature["geometry"]["type"] in ("Polygon", "MultiPolygon")
        assert list(feature["properties"]) == ["objectType", "classification"]
        assert feature["properties"]["objectType"] == "annotation"
        kind = feature["properties"]["classification"]
        assert list(kind) == ["name", "color"]
        cluster = int(kind["name"])
        assert kind["color"] == model.colors[cluster].tolist()
        shapes.append((feature["geometry"], cluster))
        seen.add(feature["id"])
    assert len(seen) == len(shapes)
    assert (features.rasterize(shapes, labels.shape, 255, dtype="uint8") == labels).all()
    again = exported(placed, tmp_path / "again", "polygons", format="qupath")
    assert only(tmp_path / "again", ".geojson").read_bytes() == (tmp_path / result.files[0].name).read_bytes()
    assert [file.name for file in again.files] == [file.name for file in result.files]


@pytest.mark.parametrize(("form", "suffix"), [("gpkg", "gpkg"), ("fgb", "fgb"), ("qupath", "geojson")])
def test_segments_are_outlined_in_these_formats_too(form: str, suffix: str, small_folder: Path, tmp_path: Path) -> None:
    run_job(small_folder, tmp_path / "s.zarr", k=K, segments="medium")
    key = next(iter(open_store(str(tmp_path / "s.zarr"))))
    settings = ExportSettings(("segments",), format=form)
    export(ExportRequest(str(tmp_path / "s.zarr"), str(tmp_path / "out"), settings, (key,)), SYNC)
    path = only(tmp_path / "out", f".{suffix}")
    count = int(open_store(str(tmp_path / "s.zarr"))[key].array("segments/area").shape[0])
    if form == "qupath":
        found = json.loads(path.read_text())["features"]
        assert sorted(each["properties"]["name"] for each in found) == sorted(f"segment {n + 1}" for n in range(count))
        assert {tuple(each["properties"]) for each in found} == {("objectType", "name", "color")}
    else:
        _, _, columns = layer_of(path)
        assert sorted(columns["segment"].tolist()) == list(range(1, count + 1))
        assert set(columns["cluster"].tolist()) <= set(range(K))


# ----------------------------------------------------------------------------------------------- colours


def test_distinct_colours_are_those_of_pictures_labels_tables_and_outlines(placed: Path, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    exported(placed, tmp_path, "segmented", "labels", "polygons", palette="distinct")
    colors, labels = distinct_colors(K), labels_of(placed, "in.tif")
    with rasterio.open(only(tmp_path, ".segmented.tif")) as dataset:
        picture = np.moveaxis(dataset.read(), 0, -1)
    assert (picture[labels != 255][:, :3] == colors[labels[labels != 255]]).all()
    with rasterio.open(only(tmp_path, ".labels.tif")) as dataset:
        assert dataset.colormap(1) == {value: (*color, 255) for value, color in enumerate(colors.tolist())}
    entries = ElementTree.parse(only(tmp_path, ".qml")).iter("paletteEntry")
    names = [f"#{bytes(color).hex()}" for color in colors.tolist()]
    assert [each.get("color") for each in entries] == names
    for feature in json.loads(only(tmp_path, ".geojson").read_text())["features"]:
        assert feature["properties"]["color"] == names[feature["properties"]["cluster"]]


def test_a_palette_of_what_is_not_painted_is_refused() -> None:
    with pytest.raises(UsageError, match="--palette is mean or distinct; got 'rainbow'"):
        ExportSettings(palette="rainbow")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--what names none of them: leave it out"):
        ExportSettings(("masks", "cutout"), palette="distinct")
