"""Polygons as masks, drawn by rasterio where they are; the same by windows and whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from PIL import Image
from rasterio._err import CPLE_AppDefinedError  # type: ignore[import-untyped, import-not-found, unused-ignore]
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform_geom

from kseg_core.config import InputSettings
from kseg_core.errors import UnreadableImage
from kseg_core.images import polygon_masks
from kseg_core.images.polygon_masks import PolygonMask, is_polygons
from kseg_core.inputs.listing import list_inputs
from kseg_core.reading.sources import ImageSource

HEIGHT, WIDTH = 90, 120
UTM = "EPSG:32633"
PLACE = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0)
STAR = [(10.3, 5.1), (100.7, 20.2), (30.4, 80.6), (60.9, 2.5), (90.2, 85.8)]
pytestmark = pytest.mark.filterwarnings("ignore:'crs' was not provided")
RING = shapely.Polygon([(20, 20), (80, 22), (70, 70), (25, 60)], [[(40, 35), (60, 35), (60, 55), (40, 55)]])


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    profile: dict[str, Any] = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", crs=UTM, transform=PLACE, **profile) as target:
        target.write(np.random.default_rng(0).integers(0, 255, (1, HEIGHT, WIDTH), dtype=np.uint8))
    return path


def geojson(path: Path, *shapes: Any, **members: Any) -> Path:
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)} for shape in shapes]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **members}))
    return path


def on_the_ground(shape: Any, crs: str = UTM) -> Any:
    """A shape in pixels of the scene, where it is on the ground."""
    placed = shapely.transform(shape, lambda xy: np.stack([500_000 + 10 * xy[:, 0], 4_600_000 - 10 * xy[:, 1]], axis=1))
    return placed if crs == UTM else shapely.geometry.shape(transform_geom(UTM, crs, shapely.geometry.mapping(placed)))


def written(path: Path, shape: Any, crs: str | None) -> Path:
    """By GDAL, in the format of the file's name."""
    geometry = np.array([shapely.to_wkb(shape)], object)
    pyogrio.raw.write(str(path), geometry, [], np.array([], object), geometry_type="Polygon", crs=crs)
    return path


def valid_of(image: Path, mask: Path) -> NDArray[np.bool_]:
    """Which pixels count, as a job reads them."""
    (file,) = list_inputs([str(image)]).files
    (piece,) = ImageSource.open(file, InputSettings(mask=str(mask))).pieces(64)
    valid = piece.read().valid
    return np.ones((HEIGHT, WIDTH), np.bool_) if valid is None else valid


def drawn(*shapes: Any) -> NDArray[np.bool_]:
    return rasterize(shapes, (HEIGHT, WIDTH), dtype="uint8") != 0


def test_geojson_of_a_picture_that_is_nowhere_is_in_its_pixels(picture: Path, tmp_path: Path) -> None:
    shapes = RING, shapely.Polygon(STAR).buffer(0), shapely.MultiPolygon([shapely.box(0, 0, 5.5, 5.5)])
    found = valid_of(picture, geojson(tmp_path / "aoi.geojson", *shapes, shapely.Point(3, 80)))
    np.testing.assert_array_equal(found, drawn(*shapes))
    assert found[0, 0]
    assert not drawn(RING)[45, 50]  # in the hole


@pytest.mark.parametrize("ending", ["geojson", "shp", "gpkg", "fgb"])
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
def test_polygons_on_the_ground_are_where_the_image_is(ending: str, crs: str, scene: Path, tmp_path: Path) -> None:
    mask = written(tmp_path / f"aoi.{ending}", on_the_ground(RING, crs), crs)
    assert is_polygons(str(mask))
    np.testing.assert_array_equal(valid_of(scene, mask), drawn(RING))


def test_geojson_without_a_crs_is_wgs_84_where_the_image_has_one(scene: Path, tmp_path: Path) -> None:
    mask = geojson(tmp_path / "aoi.json", on_the_ground(RING, "EPSG:4326"))
    np.testing.assert_array_equal(valid_of(scene, mask), drawn(RING))


def test_another_file_without_a_crs_is_in_that_of_the_image(scene: Path, picture: Path, tmp_path: Path) -> None:
    np.testing.assert_array_equal(valid_of(scene, written(tmp_path / "a.shp", on_the_ground(RING), None)), drawn(RING))
    np.testing.assert_array_equal(valid_of(picture, written(tmp_path / "b.shp", RING, None)), drawn(RING))


@pytest.mark.parametrize("ending", ["geojson", "gpkg"])
def test_polygons_in_an_object_store_are_read_from_their_bytes(
    ending: str, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = tmp_path / f"aoi.{ending}"
    _ = geojson(mask, RING) if ending == "geojson" else written(mask, RING, None)
    monkeypatch.setattr(polygon_masks.storage, "is_remote", lambda path: path == str(mask))
    expected = PolygonMask(str(mask), None, (HEIGHT, WIDTH)).nonzero(slice(0, HEIGHT), slice(0, WIDTH))
    np.testing.assert_array_equal(expected, drawn(RING))


def test_collections_are_taken_apart_and_what_is_empty_is_left_out(picture: Path, tmp_path: Path) -> None:
    boxes = shapely.box(3, 4, 20, 30), shapely.box(60, 4, 80, 30)
    shapes = shapely.GeometryCollection([shapely.MultiPolygon([boxes[0]]), shapely.Point(5, 80)]), boxes[1]
    mask = geojson(tmp_path / "aoi.geojson", *shapes, shapely.Polygon())
    np.testing.assert_array_equal(valid_of(picture, mask), drawn(*boxes))


def test_all_layers_of_a_file_are_drawn(picture: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "aoi.gpkg")
    boxes = shapely.box(3, 4, 20, 30), shapely.box(60, 4, 80, 30)
    for name, box in zip("ab", boxes, strict=True):
        geometry = np.array([shapely.to_wkb(box)], object)
        pyogrio.raw.write(
            path, geometry, [], np.array([], object), layer=name, geometry_type="Polygon", crs=None, append=name == "b"
        )
    np.testing.assert_array_equal(valid_of(picture, Path(path)), drawn(*boxes))


def test_windows_are_cut_from_the_whole(tmp_path: Path) -> None:
    """Larger than what is drawn at once. Edges go through many centres of pixels, where rounding decides."""
    shape = 2500, 4300
    star = shapely.Polygon([(10.5, 5.5), (4200.5, 800.5), (300.5, 2400.5), (2100.5, 0.5), (3900.5, 2450.5)])
    mask = PolygonMask(str(geojson(tmp_path / "a.geojson", star.buffer(0))), None, shape)
    whole = mask.nonzero(slice(0, shape[0]), slice(0, shape[1]))
    on_edges = shapely.boundary(star.buffer(0)).buffer(1e-6)
    judge = rasterize([star.buffer(0)], shape, dtype="uint8") != 0
    rows, columns = np.nonzero(whole != judge)
    assert shapely.contains_xy(on_edges, columns + 0.5, rows + 0.5).all()
    random = np.random.default_rng(1)
    for _ in range(12):
        (top, bottom), (left, right) = (sorted(map(int, random.choice(size + 1, 2, replace=False))) for size in shape)
        window = mask.nonzero(slice(top, bottom), slice(left, right))
        np.testing.assert_array_equal(window, whole[top:bottom, left:right])


def test_a_folder_of_masks_may_hold_polygons(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    geojson(tmp_path / "masks/picture.geojson", RING)
    np.testing.assert_array_equal(valid_of(picture, tmp_path / "masks"), drawn(RING))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"type": "FeatureCollection", "features": []}', "it has no polygon"),
        ('{"type": "Point", "coordinates": [1, 2]}', "it has no polygon"),
        ("no JSON at all", "no polygons can be read from it: it is not valid JSON from line 1, column 1 on"),
        ("", "no polygons can be read from it: it is not valid JSON from line 1, column 1 on"),
        (
            '{"type": "FeatureCollection",\n "features": [{"type": "Feature", ',
            "no polygons can be read from it: it is not valid JSON from line 2, ",
        ),
        ('{"a": 1}', "no polygons can be read from it: it is JSON, but no GeoJSON"),
        ("[1, 2]", "no polygons can be read from it: it is JSON, but no GeoJSON"),
        (
            '{"type": "Polygon", "coordinates": "round"}',
            "no polygons can be read from it: its features or their coordinates|it has no polygon",
        ),
    ],
)
def test_what_is_wrong_with_polygons_names_the_mask_in_words_of_ours(
    content: str, says: str, picture: Path, tmp_path: Path
) -> None:
    mask = tmp_path / "aoi.geojson"
    mask.write_text(content)
    with pytest.raises(UnreadableImage, match=rf"its mask .*aoi\.geojson: ({says})"):
        valid_of(picture, mask)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("aoi.shp", "the .shx is missing"),
        ("aoi.gpkg", "it is damaged, or not the .gpkg that its name says"),
        ("aoi.fgb", "it is damaged, or not the .fgb that its name says"),
        ("aoi.parquet", "it is damaged, or not the .parquet that its name says"),
    ],
)
def test_a_file_that_gdal_does_not_read_is_refused_without_its_words(
    name: str, says: str, picture: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"\0\0\x27\x0a no such file")
    with pytest.raises(UnreadableImage) as refused:
        valid_of(picture, tmp_path / name)
    assert says in refused.value.reason
    assert not any(word in refused.value.reason for word in ("SHAPE_RESTORE_SHX", "driver", "CPL", "Failed", "Error"))


def test_polygons_on_the_ground_of_a_picture_that_is_nowhere_are_refused(picture: Path, tmp_path: Path) -> None:
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    with pytest.raises(UnreadableImage, match=r"its mask .*geojson: its polygons are on the ground"):
        valid_of(picture, geojson(tmp_path / "aoi.geojson", RING, crs=crs))


def test_polygons_elsewhere_leave_no_pixel_and_that_is_said(picture: Path, tmp_path: Path) -> None:
    mask = geojson(tmp_path / "aoi.geojson", shapely.box(-50, -50, -2, -2))
    (file,) = list_inputs([str(picture)]).files
    (note,) = ImageSource.open(file, InputSettings(mask=str(mask))).info.notes
    assert "aoi.geojson" in note
    assert not valid_of(picture, mask).any()


def test_polygons_that_cannot_be_drawn_are_named(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CPLE_AppDefinedError(1, 1, "too many points")

    monkeypatch.setattr("rasterio.features.rasterize", fail)
    with pytest.raises(UnreadableImage, match=r"picture\.png: its mask .*aoi\.geojson: damaged"):
        valid_of(picture, geojson(tmp_path / "aoi.geojson", RING))


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::999999"}},
        {"type": "name", "properties": {"name": "https://127.0.0.1:9/ogc.prj"}},
        {"type": "link", "properties": {"href": "http://127.0.0.1:9/ogc.prj", "type": "ogcwkt"}},
        "EPSG:32633",
    ],
)
def test_a_system_that_nobody_knows_is_not_taken_for_wgs_84(crs: Any, scene: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="coordinate system that it states is not understood"):
        valid_of(scene, geojson(tmp_path / "aoi.geojson", RING, crs=crs))


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:EPSG::32633", "EPSG:3857", "urn:ogc:def:crs:OGC:1.3:CRS84"])
def test_the_system_that_a_geojson_names_is_its_own(name: str, scene: Path, tmp_path: Path) -> None:
    system = "EPSG:4326" if "CRS84" in name else f"EPSG:{name.rpartition(':')[2]}"
    crs = {"type": "name", "properties": {"name": name}}
    mask = geojson(tmp_path / "aoi.geojson", on_the_ground(RING, system), crs=crs)
    np.testing.assert_array_equal(valid_of(scene, mask), drawn(RING))
