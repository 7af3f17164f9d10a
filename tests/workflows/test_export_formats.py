"""What is exported opens in the next tool with names, colours, sizes and places: GDAL, QGIS, tifffile, QuPath."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from kseg_core import open_store
from kseg_core.export.settings import ExportSettings
from kseg_core.inputs.listing import list_inputs
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
