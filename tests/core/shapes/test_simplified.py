"""Simplified outlines: a coverage without gaps, of the same regions, near the old ones, the same for any windows."""

from __future__ import annotations

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
from kseg_core.shapes.outlines import SegmentProperties
from tests.core.kernels.test_kernels_components import label_images
from tests.core.shapes.test_polygons import NORTH_UP, Feature, outlines, polygons, whole
from tests.strategies import QUICK

shapely = pytest.importorskip("shapely")
geometry = pytest.importorskip("shapely.geometry")
rasterio_features = pytest.importorskip("rasterio.features")


def soft_labels(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Four clusters with regions of all sizes, and some speckle."""
    rng = np.random.default_rng(seed)
    soft = ndimage.gaussian_filter(rng.random(shape), 3)
    speckled = (soft - soft.min()) / np.ptp(soft) + rng.normal(0, 0.02, shape)
    return np.clip(speckled * 4, 0, 3).astype(np.uint8)


def parts_of(found: list[Feature]) -> Any:
    """All polygons, each without those that it meets in a corner alone."""
    return np.array([geometry.Polygon(rings[0], rings[1:]) for feature in found for rings in polygons(feature)])


def require_simplified(found: list[Feature], every: list[Feature], tolerance: float, area: int | None) -> None:
    """The same regions and holes, by some of their corners, within the tolerance; a coverage, all of the image."""
    assert [feature["properties"] for feature in found] == [feature["properties"] for feature in every]
    parts, old = parts_of(found), parts_of(every)
    assert [len(part.interiors) for part in parts] == [len(part.interiors) for part in old]
    assert all(part.is_valid and part.exterior.is_ccw and part.area > 0 for part in parts)
    assert shapely.coverage_is_valid(parts)
    assert shapely.union_all(parts).area == pytest.approx(sum(part.area for part in parts), rel=1e-12)
    assert area is None or sum(part.area for part in parts) == area
    for part, before in zip(parts, old, strict=True):
        corners = shapely.points(shapely.get_coordinates(before))
        assert shapely.distance(part.boundary, corners).max() <= tolerance
        assert shapely.distance(before.boundary, shapely.points(shapely.get_coordinates(part))).max() == 0


def test_by_hand(tmp_path: Path) -> None:
    stairs = np.tri(6, dtype=np.uint8)  # below the diagonal ones, above it zeros
    below, above = whole(stairs, tmp_path, tolerance_px=0.75)
    assert below["geometry"]["coordinates"] == [[[0, 0], [1, 0], [6, 5], [6, 6], [0, 6], [0, 0]]]
    assert above["geometry"]["coordinates"] == [[[1, 0], [6, 0], [6, 5], [1, 0]]]
    _, above = whole(stairs, tmp_path, tolerance_px=0.7)  # stairs are half the diagonal of a pixel away from it
    assert len(above["geometry"]["coordinates"][0]) > 6


def test_regions_of_one_pixel_and_of_one_line_keep_an_area(tmp_path: Path) -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[2, 2] = 1
    labels[4, 3:8] = 2  # and one that touches it
    labels[5, 8] = 3
    found = whole(labels, tmp_path, tolerance_px=50.0)
    require_simplified(found, whole(labels, tmp_path), 50.0, 81)
    (pixel,) = (feature for feature in found if feature["properties"]["cluster"] == 1)
    assert parts_of([pixel])[0].area == 1


def test_an_island_in_a_bay_stays_in_it(tmp_path: Path) -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[8:] = 1
    labels[8:14, 8:12] = 0  # a bay that a line from end to end would cut off, with what is in it
    labels[11, 9:11] = 2
    found = whole(labels, tmp_path, tolerance_px=9.0)
    require_simplified(found, whole(labels, tmp_path), 9.0, 400)
    island, water = (
        parts_of([feature for feature in found if feature["properties"]["cluster"] == which])[0] for which in (2, 0)
    )
    assert shapely.Polygon(water.exterior).contains(island)


@QUICK
@given(data=st.data())
def test_any_image_has_the_same_regions_within_the_tolerance_whatever_the_windows(
    data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    labels, folder = data.draw(label_images()), tmp_path_factory.mktemp("pieces")
    tolerance = data.draw(st.sampled_from([0.75, 1.0, 1.5, 3.0, 50.0]))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("kseg_core.shapes.simplified.CELL_PX", data.draw(st.sampled_from([4, 5, 256])))
        found = whole(labels, folder, tolerance_px=tolerance)
        require_simplified(found, whole(labels, folder), tolerance, labels.size if labels.max() < 4 else None)
        cuts = [sorted({0, size, *data.draw(st.lists(st.integers(0, size), max_size=4))}) for size in labels.shape]
        assert outlines(labels, folder, *cuts, tolerance_px=tolerance) == found


def test_a_larger_image_is_a_coverage_and_what_is_left_out_changes_nothing_of_the_rest(tmp_path: Path) -> None:
    labels = soft_labels((300, 530))
    found, every = whole(labels, tmp_path, tolerance_px=1.0), whole(labels, tmp_path)
    require_simplified(found, every, 1.0, labels.size)
    corners, before = (shapely.get_num_coordinates(parts_of(each)).sum() for each in (found, every))
    assert corners < 0.7 * before
    some = outlines(
        labels, tmp_path, [0, 90, 300], [0, 256, 300, 530], tolerance_px=1.0, clusters=(1, 3), min_area_px=3
    )
    assert some == [
        feature
        for feature in found
        if feature["properties"]["cluster"] in (1, 3) and feature["properties"]["pixels"] >= 3
    ]
    # Turned around, arcs are walked the other way and corners of one area go in another order: still a coverage
    turned = np.ascontiguousarray(labels[::-1, ::-1])
    require_simplified(whole(turned, tmp_path, tolerance_px=1.0), whole(turned, tmp_path), 1.0, labels.size)


def test_on_the_ground_neighbours_share_every_corner_too(tmp_path: Path) -> None:
    pyproj = pytest.importorskip("pyproj")
    geo = GeoReference(pyproj.CRS("EPSG:32633").to_wkt(), NORTH_UP)
    labels = (np.add.outer(3 * np.arange(200), 2 * np.arange(300)) // 400 % 4).astype(np.uint8)  # slanting stripes
    found = whole(labels, tmp_path, tolerance_px=1.0, geo=geo)
    assert found == outlines(labels, tmp_path, [0, 70, 200], [0, 300], tolerance_px=1.0, geo=geo)
    parts = parts_of(found)
    assert shapely.coverage_is_valid(parts)
    back = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    for feature in found:  # a line on the map bends in degrees: it has a corner every so often
        for ring in (ring for rings in polygons(feature) for ring in rings):
            x, y = back.transform(*np.array(ring).T)
            assert max(max(abs(u - x) for x, u in pairwise(x)), max(abs(u - y) for y, u in pairwise(y))) < 64.5 * 30


# ------------------------------------------------------------------------------------------------------- segments


def segments_of(labels: NDArray[Any], first: int = 1) -> NDArray[np.uint32]:
    """A number for each 4-connected region, in no order; 0 where there is none."""
    numbers = np.zeros(labels.shape, np.uint32)
    count = first
    for value in range(4):
        own, n = ndimage.label(labels == value)
        numbers[own > 0] = own[own > 0] + count - 1
        count += n
    return numbers


@pytest.mark.parametrize("tolerance", [0.0, 1.0])
def test_each_segment_is_a_feature_with_what_a_table_has_of_it(tolerance: float, tmp_path: Path) -> None:
    labels = soft_labels((40, 60))
    labels[:3, :4] = 255
    segments = segments_of(labels)
    count = int(segments.max())
    rng = np.random.default_rng(1)
    colors, texture = rng.integers(0, 256, (count + 1, 3)).astype(np.uint8), rng.random(count + 1)
    texture[5] = np.nan
    columns = {"cluster": np.arange(count + 1, dtype=np.uint16) % 4, "color": colors, "texture": texture}
    more: dict[str, Any] = {"tolerance_px": tolerance, "told": SegmentProperties('a"b.png', columns)}
    found = outlines(segments, tmp_path, [0, 17, 40], [0, 17, 60], **more)
    assert found == whole(segments, tmp_path, **more)
    assert sorted(feature["properties"]["segment"] for feature in found) == list(range(1, count + 1))
    for feature in found:
        told = dict(feature["properties"])
        number = told.pop("segment")
        assert told == {
            "image": 'a"b.png',
            "cluster": number % 4,
            "color": "#" + bytes(colors[number]).hex(),
            "texture": None if number == 5 else texture[number],
            "pixels": (segments == number).sum(),
            "region": np.flatnonzero(segments == number)[0],
        }
    if tolerance:
        require_simplified(found, whole(segments, tmp_path, told=more["told"]), tolerance, None)
    else:
        pairs = [(feature["geometry"], feature["properties"]["segment"]) for feature in found]
        drawn = rasterio_features.rasterize(pairs, segments.shape, dtype="uint32")
        np.testing.assert_array_equal(drawn, segments)
        theirs = list(rasterio_features.shapes(segments.astype(np.int32), segments > 0))
        assert {(number, geometry.shape(each).normalize().wkt) for each, number in theirs} == {
            (number, geometry.shape(each).normalize().wkt) for each, number in pairs
        }


def test_numbers_of_segments_may_be_large(tmp_path: Path) -> None:
    segments = segments_of(soft_labels((30, 30)), 1)
    told = SegmentProperties("a.png")
    found = whole(segments, tmp_path, told=told, tolerance_px=1.0)
    segments[segments > 0] += 2**31 - 1 - segments.max()
    moved = whole(segments, tmp_path, told=told, tolerance_px=1.0)
    assert [each["geometry"] for each in moved] == [each["geometry"] for each in found]
    assert max(each["properties"]["segment"] for each in moved) == 2**31 - 1
