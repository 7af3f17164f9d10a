"""``kseg-batch inspect --objects``: a table of regions, and what cannot be had of it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Kseg = Callable[..., Any]
RUN = "run in --k 3 --attempts 1 -o s.zarr"


def test_a_table_of_classes(kseg: Kseg, here: Path) -> None:
    kseg(RUN)
    kseg("classes s.zarr plant=0,2")
    told = kseg("inspect s.zarr --objects o.csv --cluster plant --min-area 5 --json").json()
    with open("o.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (told["objects"], told["object_count"], told["without_bands"]) == ("o.csv", len(rows), [])
    assert {row["class"] for row in rows} == {"plant"}
    assert min(int(row["pixels"]) for row in rows) >= 5
    again = kseg("inspect s.zarr --objects o.csv")
    assert (again.code != 0, "--overwrite" in again.err) == (True, True)
    assert "objects → o.csv" in kseg("inspect s.zarr --objects o.csv --overwrite").out


def test_images_that_are_gone_are_told_in_one_line(kseg: Kseg, here: Path) -> None:
    kseg(RUN)
    shutil.rmtree("in")
    lines = kseg("inspect s.zarr --objects o.csv").out.splitlines()
    (line,) = [line for line in lines if line.startswith("without means of bands: ")]
    assert "not there any more" in line


def test_signatures_are_printed_and_written(kseg: Kseg, here: Path) -> None:
    kseg(RUN)
    kseg("classes s.zarr plant=0,2")
    lines = kseg("inspect s.zarr --signatures t.csv").out.splitlines()
    (head,) = [at for at, line in enumerate(lines) if line.split()[:3] == ["class", "band", "pixels"]]
    assert [line.split()[:2] for line in lines[head + 1 : head + 4]] == [["plant", c] for c in ("red", "green", "blue")]
    told = kseg("inspect s.zarr --signatures t.csv --overwrite --of clusters --json").json()
    assert (told["signature_table"], [row["class"] for row in told["signatures"][::3]]) == ("t.csv", ["0", "1", "2"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--table t.csv --min-area 5", "--min-area is of objects: name their file, as in --objects objects.csv"),
        ("--table t.csv --of segments", "--of segments is of objects: name their file, as in --objects objects.csv"),
        ("--cluster 1", "--cluster is of a table: name it, as in --objects objects.csv or --table regions.csv"),
        ("--of clusters", "--of is of a table: name it, as in --objects objects.csv or --table regions.csv"),
        ("--image a", "--image chooses for --objects: name its file, as in --objects objects.csv"),
        ("--overwrite", "--overwrite is for a table: name it with --table, --objects or --signatures"),
        ("--table o.csv --objects o.csv", "two tables are both o.csv: name a file for each"),
        ("--signatures o.csv --cluster 1", "--cluster is of a table: name it, as in --objects objects.csv or --table"),
        ("--signatures o.csv --of segments", "--of segments: signatures are of classes or clusters"),
        ("--pixel-size 1mm", "--pixel-size is for areas of a table: name it with --table, --objects or --signatures"),
        ("--objects o.csv --pixel-size 2", "--pixel-size is the length of a pixel's side with its unit, as in 0.12mm"),
        ("--objects o.txt", "a table is a .csv or a .parquet file; got 'o.txt'"),
        ("--objects o.csv --of fields", "--of is one of classes, clusters, segments"),
        ("--objects o.csv --min-area few", "--min-area is a number of pixels like 50, or an area like 50um2"),
        ("--objects o.csv --cluster 7", "are 0 to 2"),
        ("--objects o.csv --image no", "--image no: no image of s.zarr is called so"),
        ("--objects o.csv --of segments", "make them with: kseg-batch segments s.zarr"),
    ],
)
def test_what_makes_no_sense_is_told_with_the_way_out(kseg: Kseg, here: Path, line: str, message: str) -> None:
    kseg(RUN)
    said = kseg(f"inspect s.zarr {line}")
    assert said.code != 0
    assert message in said.err
    assert not Path("o.csv").exists()
