"""Names, colours and the attribute table beside a TIFF of labels, as GDAL and QGIS read them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from kseg_core.export.categories import Categories
from kseg_core.shapes.regions import PixelArea
from kseg_core.store.legend import Legend

COLORS = np.array([[250, 0, 3], [0, 128, 0], [9, 8, 255]], np.uint8)
LEGEND = Legend("class", ("plant & <moss>", 'soil "wet"', "2"), COLORS, (True, False, False), ((0, 1), (3,), (2,)))
FACTS = Categories(LEGEND, (7, 0, 5), PixelArea(square_metres=0.25))


def rows_of(text: str) -> list[dict[str, Any]]:
    """The attribute table, with the values as the types of its columns say."""
    root = ElementTree.fromstring(text)
    band = root.find("PAMRasterBand")
    assert root.tag == "PAMDataset"
    assert band is not None
    assert band.get("band") == "1"
    table = band.find("GDALRasterAttributeTable")
    assert table is not None
    assert table.get("tableType") == "thematic"
    definitions = table.findall("FieldDefn")
    assert [int(each.get("index", -1)) for each in definitions] == list(range(len(definitions)))
    columns = [(each.findtext("Name"), (int, float, str)[int(each.findtext("Type", ""))]) for each in definitions]
    rows = table.findall("Row")
    assert [int(each.get("index", -1)) for each in rows] == list(range(len(rows)))
    return [
        {name or "": kind(cell.text or "") for (name, kind), cell in zip(columns, row.findall("F"), strict=True)}
        for row in rows
    ]


def test_the_attribute_table_has_a_row_a_value() -> None:
    found = rows_of(FACTS.aux_xml())
    names = ["Value", "Class", "Count", "Area_m2", "Red", "Green", "Blue"]
    expected = [
        [0, "plant & <moss>", 7, 1.75, 250, 0, 3],
        [1, 'soil "wet"', 0, 0.0, 0, 128, 0],
        [2, "2", 5, 1.25, 9, 8, 255],
    ]
    assert found == [dict(zip(names, row, strict=True)) for row in expected]


def test_what_is_not_known_has_no_column_and_counts_beyond_32_bits_are_real() -> None:
    assert list(rows_of(Categories(LEGEND).aux_xml())[0]) == ["Value", "Class", "Red", "Green", "Blue"]
    small = rows_of(Categories(LEGEND, (1, 2, 3), PixelArea(square_micrometres=0.5)).aux_xml())
    assert [row["Area_um2"] for row in small] == [0.5, 1.0, 1.5]
    many = rows_of(Categories(LEGEND, (2**40, 1, 2)).aux_xml())
    assert [(row["Count"], type(row["Count"])) for row in many] == [(2.0**40, float), (1.0, float), (2.0, float)]


def test_the_codes_of_usage_are_those_of_gdal() -> None:
    definitions = ElementTree.fromstring(FACTS.aux_xml()).iter("FieldDefn")
    usage = {each.findtext("Name"): int(each.findtext("Usage", "")) for each in definitions}
    # gdal.h: GDALRATFieldUsage
    assert usage == {"Value": 5, "Class": 2, "Count": 1, "Area_m2": 0, "Red": 6, "Green": 7, "Blue": 8}


def test_the_style_paints_each_value_and_names_it() -> None:
    root = ElementTree.fromstring(FACTS.qml())
    renderer = root.find("pipe/rasterrenderer")
    assert renderer is not None
    assert (renderer.get("type"), renderer.get("band"), renderer.get("alphaBand")) == ("paletted", "1", "-1")
    entries = [each.attrib for each in renderer.findall("colorPalette/paletteEntry")]
    assert entries == [
        {"value": "0", "color": "#fa0003", "alpha": "255", "label": "plant & <moss>"},
        {"value": "1", "color": "#008000", "alpha": "255", "label": 'soil "wet"'},
        {"value": "2", "color": "#0908ff", "alpha": "255", "label": "2"},
    ]


def labelled(path: Path, facts: Categories) -> None:
    """A TIFF of labels, some of which are nodata, with what goes with it."""
    rasterio = pytest.importorskip("rasterio")
    labels = np.array([[0, 1, 2, 255]] * 4, np.uint8)
    profile = {"width": 4, "height": 4, "count": 1, "dtype": "uint8", "nodata": 255}
    place = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 5000000)
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32633", transform=place, **profile) as target:
        target.write(labels, 1)
        target.write_colormap(1, {value: (*map(int, color), 255) for value, color in enumerate(COLORS)})
    Path(f"{path}.aux.xml").write_text(facts.aux_xml(), encoding="utf-8")


def test_rasterio_reads_a_colour_table_of_the_values_that_there_are(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    labelled(tmp_path / "a.tif", FACTS)
    with rasterio.open(tmp_path / "a.tif") as dataset:
        assert dataset.colormap(1) == {value: (*color, 255) for value, color in enumerate(COLORS.tolist())}
        assert dataset.colorinterp[0].name == "palette"
        assert dataset.nodata == 255


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="reads with gdalinfo")
def test_gdalinfo_reads_names_colours_nodata_and_the_table(tmp_path: Path) -> None:
    labelled(tmp_path / "a.tif", FACTS)
    told = json.loads(subprocess.run(["gdalinfo", "-json", tmp_path / "a.tif"], capture_output=True, check=True).stdout)
    (band,) = told["bands"]
    assert band["noDataValue"] == 255
    assert band["category" if "category" in band else "categories"] == list(LEGEND.names)
    assert band["colorTable"]["count"] == 3
    assert band["colorTable"]["entries"] == [[*color, 255] for color in COLORS.tolist()]
    table = told.get("rat") or band["rat"]
    fields = {each["name"]: (each["type"], each["usage"]) for each in table["fieldDefn"]}
    assert (fields["Value"], fields["Class"], fields["Count"]) == ((0, 5), (2, 2), (0, 1))
    assert table["row"][0]["f"] == [0, "plant & <moss>", 7, 1.75, 250, 0, 3]
