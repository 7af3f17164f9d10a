"""Outlines of regions: drawn by rasterio they are the image again; whole whatever the windows; valid as GeoJSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from kseg_core.images.geo import GeoReference
from kseg_core.layers.tiles import Region
from kseg_core.shapes.outline_pieces import Pieces, end_to_end
from kseg_core.shapes.outlines import (
    EVERY_TURN,
    ClusterProperties,
    Outlining,
    Placement,
    Properties,
    Text,
    outline_window,
    outside_apart,
    whole_features,
)
from kseg_core.shapes.regions import wanted_labels
from kseg_core.shapes.simplified import part_of
from kseg_core.store.legend import Legend
from tests.core.kernels.test_kernels_components import label_images
from tests.strategies import QUICK

features = pytest.importorskip("rasterio.features")

Array = NDArray[Any]
Feature = dict[str, Any]
K = 4
COLORS = np.array([[1, 2, 3], [255, 0, 16], [9, 9, 9], [4, 4, 4]], np.uint8)
LEGEND = Legend("cluster", ("0", "1", "2", "3"), COLORS, (False,) * K, ((0,), (1,), (2,), (3,)))


def outlines(
    labels: Array,
    folder: Path,
    rows: Sequence[int],
    columns: Sequence[int],
    *,
    clusters: tuple[int, ...] | None = None,
    min_area_px: int = 1,
    geo: GeoReference | None = None,
    tolerance_px: float = 0.0,
    told: Properties | None = None,
) -> list[Feature]:
    """All features, of windows between these rows and columns, by first pixel."""
    height, width = labels.shape
    wanted = wanted_labels(K, clusters) if told is None else np.array([False, True])
    told = told or ClusterProperties("a.png", LEGEND)
    how = Outlining((height, width), wanted, told, min_area_px, Placement.of(geo), tolerance_px)
    padded, inside = np.pad(labels, 1), np.pad(np.ones(labels.shape, bool), 1)
    texts: list[Text] = []
    with Pieces(str(folder / "pieces"), len(columns) - 1) as pieces:
        for top, bottom in pairwise(rows):
            for left, right in pairwise(columns):
                window = np.s_[top : bottom + 2, left : right + 2]
                kept = corners_of(padded, inside, (slice(top, bottom), slice(left, right)), how)
                traced = outline_window(padded[window], inside[window], (top, left), how, kept)
                texts += [(True, feature) for feature in traced.features]
                pieces.add(traced)
        texts += pieces.features(how)
    found: list[str] = []
    for begins, text in texts:
        found += [""] * begins
        found[-1] += text
    assert not (folder / "pieces").exists()
    return sorted((json.loads(text) for text in found), key=lambda feature: int(feature["properties"]["region"]))


def corners_of(padded: Array, inside: Array, window: Region, how: Outlining) -> NDArray[np.uint8]:
    """Where a window's outlines have corners."""
    if how.simplifying is None:
        return EVERY_TURN
    cells = how.simplifying.surroundings(window, how.shape)
    around = tuple(slice(part.start, part.stop + 2) for part in cells)
    return part_of(how.simplifying.corners(outside_apart(padded[around], inside[around])), cells, window)


def whole(labels: Array, folder: Path, **more: Any) -> list[Feature]:
    return outlines(labels, folder, [0, labels.shape[0]], [0, labels.shape[1]], **more)


def polygons(feature: Feature) -> list[list[list[list[float]]]]:
    kind, coordinates = feature["geometry"]["type"], feature["geometry"]["coordinates"]
    assert kind in ("Polygon", "MultiPolygon")
    if kind == "Polygon":
        return [coordinates]
    assert len(coordinates) > 1
    several: list[list[list[list[float]]]] = coordinates
    return several


def area(ring: list[list[float]]) -> float:
    """Positive where the ring goes counterclockwise."""
    return sum(x * w - u * y for (x, y), (u, w) in pairwise(ring)) / 2


def require_valid(feature: Feature) -> None:
    """Rings are closed and simple, outer ones counterclockwise, holes clockwise."""
    for polygon in polygons(feature):
        for at, ring in enumerate(polygon):
            assert ring[0] == ring[-1]
            assert len({tuple(position) for position in ring}) == len(ring) - 1 >= 4
            assert (area(ring) > 0) == (at == 0)


def require_the_image(labels: Array, found: list[Feature], clusters: Sequence[int] = range(K)) -> None:
    """One feature a region; drawn by rasterio, each pixel is in the one of its own cluster and in no other."""
    regions = [ndimage.label(labels == j, np.ones((3, 3)))[1] for j in clusters]
    assert len(found) == sum(regions)
    drawn, times = np.full(labels.shape, 255, np.uint8), np.zeros(labels.shape, np.int64)
    for feature in found:
        require_valid(feature)
        mask = features.rasterize([(feature["geometry"], 1)], labels.shape, dtype="uint8").astype(bool)
        told = feature["properties"]
        assert mask.sum() == told["pixels"]
        assert sum(area(ring) for polygon in polygons(feature) for ring in polygon) == told["pixels"]
        assert np.flatnonzero(mask)[0] == told["region"]
        drawn[mask] = told["cluster"]
        times += mask
    np.testing.assert_array_equal(drawn, np.where(np.isin(labels, clusters), labels, 255))
    assert times.max(initial=0) <= 1


def test_by_hand(tmp_path: Path) -> None:
    labels = np.array([[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 255]], np.uint8)
    ring, right, hole = whole(labels, tmp_path)
    assert ring == {
        "type": "Feature",
        "properties": {"image": "a.png", "cluster": 0, "name": "0", "color": "#010203", "pixels": 8, "region": 0},
        "geometry": {
            "type": "Polygon",
            "coordinates": [
                [[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]],
                [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]],
            ],
        },
    }
    assert hole["geometry"]["coordinates"] == [[[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]]
    assert right["geometry"]["coordinates"] == [[[3, 0], [4, 0], [4, 2], [3, 2], [3, 0]]]
    assert hole["properties"]["color"] == "#ff0010"


def test_corners_part_polygons_and_make_holes(tmp_path: Path) -> None:
    (first, _) = whole(np.array([[0, 1], [1, 0]], np.uint8), tmp_path)
    assert first["geometry"] == {
        "type": "MultiPolygon",
        "coordinates": [[[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]], [[[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]]],
    }
    labels = np.array([[0, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)  # its outline meets itself in a corner
    (feature,) = whole(labels, tmp_path)
    outer, hole = feature["geometry"]["coordinates"]
    assert [2, 2] in outer
    assert [2, 2] in hole
    require_the_image(labels, [feature], [0])


@QUICK
@given(data=st.data())
def test_outlines_cover_the_image_exactly_and_are_the_same_whatever_the_windows(
    data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels = data.draw(label_images())
    folder = tmp_path_factory.mktemp("pieces")
    found = whole(labels, folder)
    require_the_image(labels, found)
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=4))}) for size in labels.shape]
    assert outlines(labels, folder, *cuts) == found


@pytest.mark.few(2)
@pytest.mark.parametrize("side", [2, 5, 16, 64])
def test_no_region_of_a_larger_image_is_cut_at_a_window(side: int, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("kseg_core.shapes.outline_pieces.BATCH", 50)  # polygons of one region in several batches
    rng = np.random.default_rng(0)
    soft = ndimage.gaussian_filter(rng.random((60, 75)), 2)
    labels = np.clip((soft - 0.4) * 20 + rng.normal(0, 0.3, soft.shape), 0, 3).astype(np.uint8)
    labels[10:14, 20:40] = 255
    cuts = [[*range(0, size, side), size] for size in labels.shape]
    found = outlines(labels, tmp_path, *cuts)
    require_the_image(labels, found)
    assert found == whole(labels, tmp_path)
    assert max(len(polygons(feature)) for feature in found) > 5


@pytest.mark.parametrize("least", [2, 7, 1000])
def test_small_regions_are_left_out_by_their_area_in_the_whole_image(least: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    labels = (ndimage.gaussian_filter(rng.random((40, 40)), 1) > 0.5).astype(np.uint8)
    every = whole(labels, tmp_path)
    large = [feature for feature in every if feature["properties"]["pixels"] >= least]
    assert len(large) < len(every)
    assert outlines(labels, tmp_path, [0, 9, 21, 40], [0, 30, 40], min_area_px=least) == large
    labels[:, 20:] += 1
    require_the_image(labels, outlines(labels, tmp_path, [0, 7, 40], [0, 13, 40], clusters=(0, 2)), [0, 2])


# -------------------------------------------------------------------------------------- longitude and latitude

NORTH_UP = (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_600_000.0)
TURNED = (20.0, 10.0, 500_000.0, 10.0, -20.0, 4_600_000.0)
UPSIDE_DOWN = (30.0, 0.0, 500_000.0, 0.0, 30.0, 4_600_000.0)


@pytest.mark.parametrize("transform", [NORTH_UP, TURNED, UPSIDE_DOWN], ids=["north_up", "turned", "upside_down"])
def test_georeferenced_outlines_are_where_pyproj_says(
    transform: tuple[float, float, float, float, float, float], tmp_path: Path
) -> None:
    pyproj = pytest.importorskip("pyproj")
    geo = GeoReference(pyproj.CRS("EPSG:32633").to_wkt(), transform)
    labels = np.random.default_rng(4).integers(0, 2, (12, 150)).astype(np.uint8)
    labels[6:] = 1  # a straight side of 150 pixels: there are points on it
    found = outlines(labels, tmp_path, [0, 5, 12], [0, 64, 150], geo=geo)
    assert found == whole(labels, tmp_path, geo=geo)
    back = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    a, b, c, d, e, f = transform
    inverse = np.linalg.inv([[a, b, c], [d, e, f], [0, 0, 1]])
    for feature, flat in zip(found, whole(labels, tmp_path), strict=True):
        require_valid(feature)
        for polygon, corners in zip(polygons(feature), polygons(flat), strict=True):
            for ring, expected in zip(polygon, corners, strict=True):
                longitude, latitude = np.array(ring).T
                assert (longitude.min() > 14.9) & (longitude.max() < 15.1)
                x, y = back.transform(longitude, latitude)
                pixels = (inverse @ np.stack([x, y, np.ones_like(x)]))[:2].T
                assert np.abs(pixels - np.rint(pixels)).max() < 1e-4
                visited = {tuple(map(int, position)) for position in np.rint(pixels)}
                assert visited >= {tuple(position) for position in expected}
                assert all(x % 64 == 0 or y % 64 == 0 for x, y in visited - {tuple(p) for p in expected})


def test_without_a_coordinate_system_coordinates_are_pixels() -> None:
    assert Placement.of(None).name == Placement.of(GeoReference("", NORTH_UP)).name == "pixels"


def test_chains_are_put_end_to_end() -> None:
    chains = np.array([[7, 3], [-1, -1], [3, 5], [9, 9], [5, 7]], np.int64)
    order, closed = end_to_end(chains)
    assert (order.tolist(), closed.tolist()) == ([1, 2, 4, 0, 3], [0, 3, 4])
    with pytest.raises(ValueError, match="ends nowhere"):
        end_to_end(np.array([[7, 3]], np.int64))


def test_coordinates_of_the_map_are_those_of_the_transform_to_the_last_digit(tmp_path: Path) -> None:
    labels = np.array([[0, 0], [1, 0]], np.uint8)
    turned = GeoReference("", (0.1, 0.25, 500_000.3, 0.25, -0.1, 5_000_000.7))
    padded, inside = np.pad(labels, 1), np.pad(np.ones(labels.shape, bool), 1)
    how = Outlining((2, 2), wanted_labels(K, (1,)), ClusterProperties("a.png", LEGEND), 1, Placement.of(turned, "map"))
    (text,) = outline_window(padded, inside, (0, 0), how).features
    ((told, geometry),) = whole_features([(True, text)])
    assert told["cluster"] == 1
    (ring,) = json.loads(geometry)["coordinates"]
    a, b, c, d, e, f = turned.transform
    corners = [(0, 1), (1, 1), (1, 2), (0, 2), (0, 1)]
    expected = [(a * x + b * y + c, d * x + e * y + f) for x, y in corners]
    np.testing.assert_allclose(sorted(ring), sorted(map(list, expected)), rtol=0, atol=1e-8)
    assert how.placement.name == "map"
    assert not how.placement.bends
    assert Placement.of(turned, "pixels").geo is None
    assert Placement.of(GeoReference("", (1e-7, 0, 0, 0, 1e-7, 0)), "map").decimals == 16
    assert Placement.of(GeoReference("", (1e9, 0, 0, 0, 1e9, 1e16)), "map").decimals == 0
