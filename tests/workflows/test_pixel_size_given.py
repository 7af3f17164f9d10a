"""The size of a pixel, given: of photographs, and in place of what files state."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import tifffile

from kseg_core import open_store
from kseg_core.config import InputSettings
from kseg_core.errors import UsageError
from kseg_core.object_settings import ObjectSettings
from tests.asking import SYNC, run_job
from workflows.objects import ObjectRequest, write_object_table
from workflows.regions import RegionsOf, write_region_table


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.fixture
def inputs(tmp_path: Path, smooth: Any, png: Any) -> Path:
    """A photograph, and a slide that states the size of its pixels."""
    png(tmp_path / "in" / "a.png", smooth(60, 70, 0))
    sizes = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "in/b.ome.tif", smooth(60, 70, 1), photometric="rgb", metadata=sizes)
    return tmp_path / "in"


def test_a_run_takes_it_for_the_store_and_says_where_a_file_says_another(inputs: Path, tmp_path: Path) -> None:
    result = run_job(inputs, tmp_path / "s.zarr", 2, attempts=2, pixel_size="0.12 mm", min_region="0.05mm2")
    store = open_store(str(tmp_path / "s.zarr"))
    for key in ("a.png", "b.ome.tif"):
        assert store[key].pixel_scale == ((0.12, 0.12), ("millimeter", "millimeter"))
        assert store[key].attributes["min_region"] == 4  # of 0.0144 mm2 each
    assert "notes" not in store["a.png"].attributes
    (note,) = store["b.ome.tif"].attributes["notes"]
    assert "0.5 x 0.5 um: --pixel-size takes its place, 120 um" in note
    assert result.failures == ()
    write_region_table(str(tmp_path / "s.zarr"), str(tmp_path / "t.csv"), SYNC)
    for row in rows_of(tmp_path / "t.csv"):
        assert float(row["area_um2"]) == pytest.approx(int(row["pixels"]) * 120.0**2)


def test_inspect_takes_it_for_its_tables(inputs: Path, tmp_path: Path) -> None:
    store, table = tmp_path / "s.zarr", tmp_path / "t.csv"
    run_job(inputs, store, 2, attempts=2)
    write_region_table(str(store), str(table), SYNC)
    assert {row["area_um2"] == "" for row in rows_of(table) if row["image"] == "a.png"} == {True}
    write_region_table(str(store), str(table), SYNC, overwrite=True, of=RegionsOf(pixel_size="2um"))
    assert all(float(row["area_um2"]) == int(row["pixels"]) * 4 for row in rows_of(table))
    request = ObjectRequest(str(store), str(table), ObjectSettings(min_area="20um2"), (), True, "2um")
    write_object_table(request, SYNC)
    rows = rows_of(table)
    assert min(int(row["pixels"]) for row in rows) >= 5
    assert all(float(row["perimeter_um"]) == float(row["perimeter"]) * 2 for row in rows)


def test_a_length_to_smooth_at_goes_by_it(inputs: Path, tmp_path: Path) -> None:
    run_job(inputs, tmp_path / "s.zarr", 2, attempts=2, pixel_size="1mm", smooth="2mm")
    assert open_store(str(tmp_path / "s.zarr"))["a.png"].attributes["smooth"] == 2


def test_what_is_no_length_is_refused_and_nothing_is_told_where_none_is_given() -> None:
    for text in ("0.12", "mm", "0mm", "-1mm", "3 parsecs"):
        with pytest.raises(UsageError, match=r"--pixel-size is the length of a pixel's side with its unit"):
            InputSettings(pixel_size=text)
    assert InputSettings(pixel_size="120 µm").pixel_size == "120um"
    assert "pixel_size" not in InputSettings().to_json()
    assert InputSettings.from_json(InputSettings(pixel_size="0.12mm").to_json()).pixel_size == "0.12mm"
