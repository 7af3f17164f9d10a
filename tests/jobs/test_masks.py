"""``--mask`` and ``--nodata`` on the command line: what is wrong with a mask names the mask."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rasterio.features import rasterize

Kseg = Callable[..., Any]
SQUARE = {"type": "Polygon", "coordinates": [[[5, 5], [30, 6], [28, 30], [5, 5]]]}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize("command", ["run", "fit", "sweep", "edges"])
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("aoi.geojson", '{"type": "FeatureCollection", "features": []}', "it has no polygon"),
        ("aoi.gpkg", "nothing", "no polygons can be read from it"),
        ("mask.txt", "nothing", "not an image"),
        ("mask.png", "", "empty file"),
    ],
)
def test_a_mask_that_cannot_be_used_is_named_before_any_image(
    command: str, name: str, content: str, says: str, kseg: Kseg, picture: Path, tmp_path: Path
) -> None:
    mask = tmp_path / name
    mask.write_text(content)
    number = {"run": ["--k", "2"], "fit": ["--k", "2"], "sweep": [], "edges": []}[command]
    outcome = kseg(command, str(picture), *number, "--mask", str(mask), "-o", str(tmp_path / "out"))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"kseg-batch: --mask {mask}: {says}")
    assert "picture.png" not in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_mask_of_a_folder_that_cannot_be_used_is_named_with_its_image(
    kseg: Kseg, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / "masks").mkdir()
    mask = tmp_path / "masks/picture.png"
    mask.write_bytes(picture.read_bytes()[:200])
    outcome = kseg("run", str(picture), "--k", "2", "--mask", str(mask.parent), "-o", str(tmp_path / "out"), "--json")
    (failure,) = json.loads(outcome.out)["failures"]
    assert outcome.code == 1
    assert failure["source"] == str(picture)
    assert failure["reason"].startswith(f"its mask {mask}: truncated")


def test_polygons_are_drawn_over_the_picture(kseg: Kseg, picture: Path, tmp_path: Path) -> None:
    mask = tmp_path / "aoi.geojson"
    mask.write_text(json.dumps(SQUARE))
    outcome = kseg("run", str(picture), "--k", "2", "--mask", str(mask), "-o", str(tmp_path / "out.zarr"), "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out)["pixels"]["valid"] == int(rasterize([SQUARE], (40, 50), dtype="uint8").sum())
