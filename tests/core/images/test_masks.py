"""Masks that users give: found by name; polygons drawn by rasterio where they are, the same by windows and whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from numpy.typing import NDArray
from PIL import Image
from rasterio._err import CPLE_AppDefinedError  # type: ignore[import-untyped, import-not-found, unused-ignore]
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform_geom

from kseg_core.config import InputSettings
from kseg_core.errors import UnreadableImage
from kseg_core.images import masks
from kseg_core.images.masks import check_mask_shape, mask_path
from kseg_core.images.polygons import PolygonMask, is_polygons
from kseg_core.inputs.listing import list_inputs
from kseg_core.reading.sources import ImageSource
from tests.pictures import by_gdal, counts

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
    gray = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 1), dtype=np.uint8)
    return by_gdal(tmp_path / "scene.tif", gray, crs=UTM, transform=PLACE)


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
    return counts(piece.read().valid, (HEIGHT, WIDTH))


def drawn(*shapes: Any) -> NDArray[np.bool_]:
    return rasterize(shapes, (HEIGHT, WIDTH), dtype="uint8") != 0


def test_geojson_of_a_picture_that_is_nowhere_is_in_its_pixels(picture: Path, tmp_path: Path) -> None:
    shapes = RING, shapely.Polygon(STAR).buffer(0), shapely.MultiPolygon([shapely.box(0, 0, 5.5, 5.5)])
    nested = shapely.GeometryCollection([shapes[2], shapely.Point(5, 80)])  # taken apart
    found = valid_of(picture, geojson(tmp_path / "aoi.geojson", *shapes[:2], nested, shapely.Polygon()))
    np.testing.assert_array_equal(found, drawn(*shapes))
    assert found[0, 0]
    assert not drawn(RING)[45, 50]  # in the hole


@pytest.mark.parametrize(
    ("ending", "crs"), [("geojson", UTM), ("shp", "EPSG:4326"), ("gpkg", "EPSG:3857"), ("fgb", UTM)]
)
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
    monkeypatch.setattr(masks.storage, "is_remote", lambda path: path == str(mask))
    expected = PolygonMask(str(mask), None, (HEIGHT, WIDTH)).nonzero(slice(0, HEIGHT), slice(0, WIDTH))
    np.testing.assert_array_equal(expected, drawn(RING))


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


NO_JSON, NOT_THAT = "no polygons can be read from it: it is ", "it is damaged, or not the .{} that its name says"


@pytest.mark.parametrize(
    ("ending", "content", "says"),
    [
        ("geojson", '{"type": "FeatureCollection", "features": []}', "it has no polygon"),
        ("geojson", '{"type": "Point", "coordinates": [1, 2]}', "it has no polygon"),
        ("geojson", "no JSON at all", f"{NO_JSON}not valid JSON from line 1, column 1 on"),
        ("geojson", '{"type": "FeatureCollection",\n "features": [{', f"{NO_JSON}not valid JSON from line 2, "),
        ("geojson", '{"a": 1}', f"{NO_JSON}JSON, but no GeoJSON"),
        ("geojson", "[1, 2]", f"{NO_JSON}JSON, but no GeoJSON"),
        ("geojson", '{"type": "Polygon", "coordinates": "round"}', "its features or their coordinates|no polygon"),
        ("shp", "\0\0\x27\x0a no such file", "the .shx is missing"),
        ("gpkg", "\0\0\x27\x0a no such file", NOT_THAT),
        ("fgb", "\0\0\x27\x0a no such file", NOT_THAT),
        ("parquet", "\0\0\x27\x0a no such file", NOT_THAT),
    ],
)
def test_what_is_wrong_with_polygons_names_the_mask_in_words_of_ours(
    ending: str, content: str, says: str, picture: Path, tmp_path: Path
) -> None:
    mask = tmp_path / f"aoi.{ending}"
    mask.write_text(content)
    with pytest.raises(UnreadableImage, match=rf"its mask .*aoi\.{ending}: ") as refused:
        valid_of(picture, mask)
    assert any(each.format(ending) in refused.value.reason for each in says.split("|"))
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


def plant(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return str(folder)


def test_one_mask_for_all(tmp_path: Path) -> None:
    folder = plant(tmp_path, "mask.png")
    assert mask_path(f"{folder}/mask.png", "a/b.jpg", "a/b.jpg") == f"{folder}/mask.png"
    zarr = plant(tmp_path / "mask.zarr", "zarr.json")
    assert mask_path(zarr, "a/b.jpg", "a/b.jpg") == zarr


@pytest.mark.parametrize("name", ["a/b.jpg", "a/b.png", "a/b.TIF", "a/b.jpg.png", "a/b.zarr"])
def test_a_mask_is_found_by_the_path_of_its_image(tmp_path: Path, name: str) -> None:
    folder = plant(tmp_path, name, "a/bb.png", "b.png", "a/b.txt", "a/b", "c/b.png")
    assert mask_path(folder, "a/b.jpg", "in/a/b.jpg") == f"{folder}/{name}"


def test_the_very_name_comes_before_its_likes(tmp_path: Path) -> None:
    folder = plant(tmp_path, "b.jpg", "b.png", "b.tif")
    assert mask_path(folder, "b.jpg", "b.jpg") == f"{folder}/b.jpg"
    with pytest.raises(UnreadableImage, match=r"^in/b\.bmp: several masks for it in .*: b\.jpg, b\.png, b\.tif$"):
        mask_path(folder, "b.bmp", "in/b.bmp")


@pytest.mark.parametrize("below", ["z.jpg", "nowhere/b.jpg"])
def test_an_image_without_a_mask_is_refused(tmp_path: Path, below: str) -> None:
    folder = plant(tmp_path, "b.png")
    with pytest.raises(UnreadableImage) as caught:
        mask_path(folder, below, f"in/{below}")
    assert (caught.value.source, caught.value.reason) == (f"in/{below}", f"no mask for it in {folder}")


def test_a_mask_of_another_size_is_refused() -> None:
    check_mask_shape((4, 5), (4, 5), "a.jpg", "m.png")
    with pytest.raises(UnreadableImage, match=r"^a\.jpg: the image is 5 x 4, its mask m\.png is 4 x 5$"):
        check_mask_shape((4, 5), (5, 4), "a.jpg", "m.png")
