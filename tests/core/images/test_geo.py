"""Where an image is on the ground, as its file and those beside it say; rasterio is the judge."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray
from PIL import Image

from kseg_core.config import InputSettings
from kseg_core.images.geo import GeoReference
from kseg_core.images.windows import turn_samples
from kseg_core.inputs.listing import list_inputs
from kseg_core.reading.sources import ImageSource
from tests.pictures import by_gdal

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

SHAPE = (70, 90)
NORTH_UP = (10.0, 0.0, 500_000.0, 0.0, -20.0, 4_600_000.0)
SOUTH_UP = (10.0, 0.0, 500_000.0, 0.0, 20.0, 4_600_000.0)
ROTATED = (8.0, 2.0, 500_000.0, 3.0, -9.0, 4_600_000.0)
DEGREES = (0.25, 0.0, -10.0, 0.0, -0.25, 60.0)
PIXELS = np.arange(SHAPE[0] * SHAPE[1] * 3, dtype=np.uint8).reshape(*SHAPE, 3)


def geotiff(path: Path, transform: tuple[float, ...] | None, crs: str | None, **more: Any) -> Path:
    """A small raster written by rasterio."""
    placed = {} if transform is None else {"transform": rasterio.Affine(*transform)}
    return by_gdal(path, PIXELS, crs=crs, **placed, **more)


def source(path: Path) -> ImageSource:
    return ImageSource.open(list_inputs([str(path)]).files[0], InputSettings())


def judged(path: Path) -> tuple[tuple[float, ...], Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path) as dataset:
            return tuple(dataset.transform)[:6], dataset.crs


def crs_of(geo: GeoReference) -> Any:
    return rasterio.CRS.from_wkt(geo.crs_wkt) if geo.crs_wkt else None


def world_file(transform: tuple[float, ...]) -> str:
    a, b, c, d, e, f = transform
    return "\n".join(map(repr, (a, d, b, e, c + (a + b) / 2, f + (d + e) / 2)))


@pytest.mark.parametrize(
    ("transform", "crs"), [(NORTH_UP, "EPSG:32633"), (SOUTH_UP, None), (ROTATED, "EPSG:32633"), (DEGREES, "EPSG:4326")]
)
def test_a_geotiff_is_where_it_was_written(tmp_path: Path, transform: tuple[float, ...], crs: str | None) -> None:
    path = geotiff(tmp_path / "scene.tif", transform, crs)
    found = source(path)
    assert found.geo is not None
    assert found.geo.transform == pytest.approx(transform)
    assert (found.geo.transform, crs_of(found.geo)) == judged(path)
    assert found.geo.is_rotated is (transform == ROTATED)
    assert found.geo.is_geographic is (transform == DEGREES)
    said = "no coordinate system is stated: polygons are in the image's own coordinates"
    assert [said in note for note in found.info.notes] == ([] if crs else [True])


@pytest.mark.parametrize(
    ("name", "world", "transform"),
    [
        ("a.tif", "a.tfw", NORTH_UP), ("a.tif", "a.wld", ROTATED), ("a.tif", "a.TFW", SOUTH_UP),
        ("a.tif", "a.tifw", ROTATED), ("a.jpg", "a.jgw", NORTH_UP), ("a.png", "a.pgw", ROTATED),
        ("a.bmp", "a.bpw", SOUTH_UP),
    ],
)  # fmt: skip
def test_world_files(tmp_path: Path, name: str, world: str, transform: tuple[float, ...]) -> None:
    path = tmp_path / name
    Image.fromarray(PIXELS).save(path)
    (tmp_path / world).write_text(world_file(transform))
    found = source(path)
    assert found.geo is not None
    expected, crs = judged(path)
    assert crs is None
    assert expected == pytest.approx(transform)  # GDAL reads it too
    assert found.geo.transform == pytest.approx(expected)
    assert found.geo.crs_wkt == ""
    assert found.info.notes == (
        f"placed by its world file {world}, but no coordinate system is stated: polygons are in the image's own "
        "coordinates",
    )


def test_a_world_file_of_a_format_that_gdal_does_not_know(tmp_path: Path) -> None:
    import imagecodecs

    path = tmp_path / "a.qoi"
    path.write_bytes(imagecodecs.qoi_encode(PIXELS))
    (tmp_path / "a.wld").write_text(world_file(ROTATED))
    geo = source(path).geo
    assert geo is not None
    assert geo.transform == pytest.approx(ROTATED)


def test_a_prj_beside_a_world_file_says_the_coordinate_system(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(PIXELS).save(path)
    (tmp_path / "a.jgw").write_text(world_file(NORTH_UP))
    (tmp_path / "a.prj").write_text(rasterio.CRS.from_epsg(32633).to_wkt(version="WKT1_ESRI"))
    found = source(path)
    assert found.geo is not None
    assert crs_of(found.geo).to_epsg() == 32633 or "UTM" in found.geo.crs_wkt
    assert found.info.notes == ()


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_an_aux_xml_says_both(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(PIXELS).save(path)
    wkt = rasterio.CRS.from_epsg(32632).to_wkt()
    a, b, c, d, e, f = ROTATED
    escaped = wkt.replace('"', "&quot;")
    (tmp_path / f"{name}.aux.xml").write_text(
        f"<PAMDataset><SRS>{escaped}</SRS><GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform></PAMDataset>"
    )
    found = source(path)
    assert found.geo is not None
    assert (found.geo.transform, crs_of(found.geo)) == judged(path)
    assert found.geo.transform == ROTATED
    assert found.info.notes == ()


@pytest.mark.parametrize("bent", [False, True])
def test_ground_control_points(tmp_path: Path, bent: bool) -> None:
    from rasterio.control import GroundControlPoint
    from rasterio.transform import from_gcps

    a, b, c, d, e, f = ROTATED
    places = [(0, 0), (0, 90), (70, 0), (70, 90), (35, 45)]
    points = [
        GroundControlPoint(row, col, a * col + b * row + c + (60 if bent and row == 35 else 0), d * col + e * row + f)
        for row, col in places
    ]
    path = geotiff(tmp_path / "scene.tif", None, "EPSG:32633", gcps=points)
    found = source(path)
    (note,) = found.info.notes
    if bent:
        assert found.geo is None
        assert "5 ground control points are up to" in note
        assert "gdalwarp" in note
    else:
        with rasterio.open(path) as dataset:
            read, crs = dataset.gcps
        assert found.geo is not None
        assert found.geo.transform == pytest.approx(tuple(from_gcps(read))[:6])
        assert crs_of(found.geo) == crs
        assert note == "placed by its 5 ground control points"


def test_a_coordinate_system_without_a_place_is_said(tmp_path: Path) -> None:
    found = source(geotiff(tmp_path / "scene.tif", None, "EPSG:32633"))
    assert found.geo is None
    assert found.info.notes == (
        "it states a coordinate system, but not where its pixels are: it is not placed on the ground",
    )


def with_geo_keys(path: Path, keys: tuple[int, ...], text: bytes = b"") -> Path:
    """A TIFF with a transform and GeoKeys, however damaged."""
    placed = [(33550, 12, 3, (10.0, 10.0, 0.0), True), (33922, 12, 6, (0, 0, 0, 5e5, 4.6e6, 0), True)]
    tags = [*placed, (34735, 3, len(keys), keys, True), *([(34737, 2, len(text), text, True)] if text else [])]
    tifffile.imwrite(path, PIXELS, photometric="rgb", metadata=None, extratags=tags)
    return path


PROJECTED, IN_AREAS = (1024, 0, 1, 1), (1025, 0, 1, 1)
LOST_KEYS = {
    "too many stated": ((1, 1, 0, 60_000, *PROJECTED, *IN_AREAS, 3072, 0, 1, 32633), "its GeoKeys are damaged"),
    "cut": ((1, 1, 0, 3, *PROJECTED, *IN_AREAS, 3072, 0), "its GeoKeys are damaged"),
    "one number": ((1,), "its GeoKeys are damaged"),
    "unknown": ((1, 1, 0, 3, *PROJECTED, *IN_AREAS, 3072, 0, 1, 1025), "it states EPSG:1025"),
    "text elsewhere": (
        (1, 1, 0, 4, *PROJECTED, *IN_AREAS, 1026, 34737, 4, 60_000, 3072, 0, 1, 32633), "it states EPSG:32633",
    ),
    "its own": ((1, 1, 0, 3, *PROJECTED, *IN_AREAS, 3072, 0, 1, 32_767), "it states one of its own"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LOST_KEYS)
def test_a_coordinate_system_that_nobody_understands_is_said_and_why(kind: str, tmp_path: Path) -> None:
    keys, why = LOST_KEYS[kind]
    path = with_geo_keys(tmp_path / "scene.tif", keys, b"UTM|\0")
    found = source(path)
    if judged(path)[1] is None:
        assert found.geo is not None
        assert (found.geo.transform, found.geo.crs_wkt) == (judged(path)[0], "")
        assert [f"its coordinate system is not understood ({why})" in note for note in found.info.notes] == [True]
    else:  # GDAL makes a local one of it
        assert ["is a local one" in note for note in found.info.notes] == [True]


ODD_UNIT = (2048, 0, 1, 4326), (3072, 0, 1, 32_767), (3074, 0, 1, 16_033), (3076, 0, 1, 9999)


@pytest.mark.parametrize("variable", ["", "PROJ_DATA", "PROJ_LIB"])
def test_proj_writes_nothing_and_the_database_of_another_release_loses_no_coordinate_system(
    variable: str, tmp_path: Path
) -> None:
    with_geo_keys(tmp_path / "odd.tif", (1, 1, 0, 6, *PROJECTED, *IN_AREAS, *sum(ODD_UNIT, ())))
    geotiff(tmp_path / "scene.tif", NORTH_UP, "EPSG:32633")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROJ")}
    if variable:
        (tmp_path / "empty").mkdir()
        environment[variable] = str(tmp_path / "empty")
    script = (
        "import sys; from kseg_core.config import InputSettings; from kseg_core.reading.sources import ImageSource\n"
        "from kseg_core.inputs.listing import list_inputs\n"
        "for file in list_inputs(sys.argv[1:]).files: print('PROJCRS' in "
        "ImageSource.open(file, InputSettings()).geo.crs_wkt)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "odd.tif"), str(tmp_path / "scene.tif")]
    outcome = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (outcome.returncode, outcome.stdout.split(), outcome.stderr) == (0, ["True", "True"], "")


@pytest.mark.parametrize("below", [0, 1])
def test_a_page_that_is_not_the_first_has_a_place_of_its_own(tmp_path: Path, below: int) -> None:
    path = tmp_path / "x.tif"
    geotiff(tmp_path / "a.tif", NORTH_UP, "EPSG:32633")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        tags = [
            (tag.code, tag.dtype, tag.count, tag.value, True)
            for tag in tiff.pages[0].tags
            if tag.code in (33550, 33922, 34735, 34736, 34737)
        ]
    with tifffile.TiffWriter(path) as writer:
        away = [(33550, "d", 3, (9.0, 9.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 9.0, 9.0, 0.0), True)]
        writer.write(PIXELS[::4, ::4], subfiletype=1, metadata=None, subifds=below, extratags=away)
        writer.write(PIXELS, extratags=tags, metadata=None)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].subifds[0] if below else tiff.pages[1].offset
    found = source(path)
    assert found.shape == SHAPE
    assert found.geo is not None
    assert found.geo.transform == pytest.approx(NORTH_UP)
    with rasterio.open(f"GTIFF_DIR:off:{offset}:{path}") as dataset:
        assert tuple(dataset.transform)[:6] == found.geo.transform


def places(transform: tuple[float, ...], shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of the centres of pixels."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    a, b, c, d, e, f = transform
    return a * columns + b * rows + c, d * columns + e * rows + f


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_turned_to_be_seen_is_still_where_it_was(tmp_path: Path, orientation: int) -> None:
    """Each pixel that is seen lies where rasterio has that pixel of the stored picture."""
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, PIXELS, extratags=[(274, "H", 1, orientation, True)], metadata=None)
    (tmp_path / "x.tfw").write_text(world_file(ROTATED))
    found = source(path)
    assert found.geo is not None
    assert found.shape == turn_samples(PIXELS, orientation).shape[:2]
    for seen, stored in zip(places(found.geo.transform, found.shape), places(judged(path)[0], SHAPE), strict=True):
        np.testing.assert_allclose(seen, turn_samples(stored, orientation))


@pytest.mark.parametrize("text", ["", "1 2 3", "a\nb\nc\nd\ne\nf", "0\n0\n0\n0\n0\n0", "nan\n0\n0\n1\n0\n0"])
def test_a_bad_world_file_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    (tmp_path / "a.pgw").write_text(text)
    found = source(path)
    assert found.geo is None
    assert len(found.info.notes) == 1


def test_nothing_beside_a_photograph_costs_no_import(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    geotiff(tmp_path / "plain.tif", None, None)
    code = (
        "import sys; from kseg_core.config import InputSettings; from kseg_core.inputs.listing import list_inputs\n"
        "from kseg_core.reading.sources import ImageSource\n"
        "for file in list_inputs(sys.argv[1:]).files: ImageSource.open(file, InputSettings())\n"
        "print('rasterio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
