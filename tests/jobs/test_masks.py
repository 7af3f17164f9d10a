"""``--mask`` and ``--nodata`` on the command line: what is wrong with a mask names the mask."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.features import rasterize
from rasterio.transform import Affine

from tests.fuzzing import PROGRAMMERS

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


def spoiled(folder: Path, kind: str) -> Path:
    """A mask that cannot be used for an image of 50 x 40 pixels, 10 m each from (500000, 4600000) in EPSG:32633."""
    form = kind.rpartition(" ")[2]
    path = folder / f"{kind}.{form}"
    pixels = np.zeros((40, 50), np.uint8)
    pixels[3:20, 4:30] = 255
    box = shapely.box(500_050, 4_599_700, 500_300, 4_599_950)
    if kind in ("of another size png", "damaged png"):
        Image.fromarray(pixels[:30] if "size" in kind else pixels).save(path)
        if "damaged" in kind:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 255
            path.write_bytes(data)
    elif kind == "complex tif":
        profile: dict[str, Any] = {"driver": "GTiff", "height": 40, "width": 50, "count": 1, "dtype": "complex64"}
        with rasterio.open(path, "w", transform=Affine(10, 0, 5e5, 0, -10, 4.6e6), **profile) as target:
            target.write(pixels[None].astype(np.complex64))
    elif kind == "text png":
        path.write_text("no picture")
    elif form in ("shp", "gpkg"):
        geometry = np.array([shapely.to_wkb(box)], object)
        pyogrio.raw.write(str(path), geometry, [], np.array([], object), geometry_type="Polygon", crs="EPSG:32633")
        if "unknown" in kind and form == "shp":
            path.with_suffix(".prj").write_text("no coordinate system")
        elif "unknown" in kind:
            with closing(sqlite3.connect(path)) as database, database:
                database.execute(
                    "UPDATE gpkg_spatial_ref_sys SET definition='x', organization='NONE' WHERE srs_id>32000"
                )
    else:
        path.write_text(GEOJSON[kind])
    return path


def of_utm(box: Any, code: str = "32633") -> str:
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}"}}
    return json.dumps({"type": "GeometryCollection", "geometries": [shapely.geometry.mapping(box)], "crs": crs})


GEOJSON = {
    "broken geojson": json.dumps(SQUARE)[:40],
    "nested geojson": '{"type": "FeatureCollection", "features": ' + "[" * 100_000,
    "empty geojson": '{"type": "FeatureCollection", "features": []}',
    "NaN geojson": json.dumps(SQUARE).replace("30, 6", "NaN, 6"),
    "of an unknown system geojson": of_utm(shapely.box(500_050, 4_599_700, 500_300, 4_599_950), "999999"),
    "elsewhere geojson": of_utm(shapely.box(400_050, 4_599_700, 400_300, 4_599_950)),
}
SPOILED = {
    "damaged png": "damaged|truncated",
    "of another size png": "the image is 50 x 40, its mask .* is 50 x 30",
    "complex tif": "complex",
    "text png": "not an image",
    "broken geojson": "not valid JSON",
    "nested geojson": "damaged|not valid JSON|cannot be read",
    "empty geojson": "it has no polygon",
    "NaN geojson": "NaN",
    "of an unknown system geojson": "system that it states is not understood: urn:ogc:def:crs:EPSG::999999",
    "of an unknown system shp": "system that it states is not understood",
    "of an unknown system gpkg": "system that it states is not understood",
    "elsewhere geojson": "no polygon of its mask",
}


def test_bad_masks_of_a_folder_leave_out_their_images_and_no_other(kseg: Kseg, tmp_path: Path) -> None:
    pictures, masks = tmp_path / "in", tmp_path / "masks"
    pictures.mkdir()
    masks.mkdir()
    profile: dict[str, Any] = {"driver": "GTiff", "height": 40, "width": 50, "count": 3, "dtype": "uint8"}
    profile |= {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 4.6e6), "photometric": "RGB"}
    with rasterio.open(pictures / "a.tif", "w", **profile) as target:
        target.write(np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8))
    bad = {str(pictures / f"{kind}.tif"): spoiled(masks, kind) for kind in SPOILED}
    for path in (*bad, pictures / "z.tif"):
        shutil.copy(pictures / "a.tif", path)
    (masks / "a.geojson").write_text(of_utm(shapely.box(500_050, 4_599_700, 500_300, 4_599_950)))
    used = np.zeros((40, 50), np.uint8)
    used[3:20, 4:30] = 1
    Image.fromarray(used).save(masks / "z.png")

    outcome = kseg("run", str(pictures), "--k", "2", "--mask", str(masks), "-o", str(tmp_path / "out.zarr"), "--json")
    result = json.loads(outcome.out)
    assert outcome.code == 3
    reasons = {failure["source"]: failure["reason"] for failure in result["failures"]}
    assert reasons.keys() == bad.keys()
    for source, mask in bad.items():
        assert str(mask) in reasons[source]
        said = reasons[source].replace(str(tmp_path), "")
        assert re.search(SPOILED[Path(source).stem], said), said
        assert not PROGRAMMERS.search(said), said
    assert "Warning" not in outcome.err
    assert result["images"]["labelled"] == 2
    assert result["pixels"]["valid"] == 25 * 25 + int(used.sum())
