"""The simplified silhouette and the index of Calinski and Harabasz: right, and the same however the pixels lie."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import calinski_harabasz_score

from kseg_core.clustering.band_points import BandPoints
from kseg_core.clustering.band_values import NO_WEIGHTS
from kseg_core.clustering.bands import BandSpace
from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import SPACES
from kseg_core.clustering.points import calinski_harabasz
from kseg_core.clustering.summary import ColorTable
from kseg_core.clustering.sums import Silhouettes, mean_silhouette
from kseg_core.kernels.second import silhouette_of_points
from tests.strategies import QUICK, centroids, color_tables

F64 = NDArray[np.float64]


def silhouette(points: NDArray[Any], weights: NDArray[Any], centers: F64) -> float:
    """The definition, on points (n, d): mean over pixels of (b - a) / max(a, b)."""
    distances = np.sort(np.linalg.norm(points[:, None].astype(np.float64) - centers[None], axis=2), axis=1)
    a, b = distances[:, 0], distances[:, 1]
    values = np.divide(b - a, np.maximum(a, b), out=np.zeros(len(a)), where=b > 0)
    return float(np.average(values, weights=weights))


def two_bands(dtype: str = "uint16") -> BandSpace:
    stretch = ((0.0, 1.0),)
    return BandSpace((1, 2), dtype, np.array([10.0, 0.0]), np.array([0.5, 2.0]), stretch)


def random_table(seed: int, colors: int = 300) -> ColorTable:
    random = np.random.default_rng(seed)
    codes = np.unique(random.integers(0, 1 << 24, colors).astype(np.uint32))
    return ColorTable(codes, random.integers(1, 50, codes.size))


@pytest.mark.parametrize(("features", "k"), [("rgb", 2), ("gray", 3), ("hsv", 7), ("lab", 2)])
def test_the_silhouette_is_that_of_the_definition(features: str, k: int) -> None:
    space = SPACES[features]
    data = ColorPoints.build(random_table(k), space)
    centers = data.points.T[:: data.size // k][:k].astype(np.float64) + 0.25
    (total,) = data.silhouettes([centers]).totals
    found = mean_silhouette(total, int(data.weights.sum()), k)
    assert found == pytest.approx(silhouette(data.points.T, data.weights, centers), abs=1e-9)


@QUICK
@given(color_tables(), st.data())
def test_the_silhouette_is_right_in_ties_and_on_centroids_that_coincide(table: ColorTable, data: st.DataObject) -> None:
    space = ColorPoints.build(table, SPACES["rgb"])
    centers = data.draw(centroids(space.points).filter(lambda rows: len(rows) > 1))
    (total,) = space.silhouettes([centers]).totals
    found = mean_silhouette(total, table.pixels, len(centers))
    assert found is not None
    assert 0 <= found <= 1
    assert found == pytest.approx(silhouette(space.points.T, space.weights, centers), abs=1e-9)


def test_a_silhouette_worked_out_by_hand() -> None:
    # Gray 10 and 13 with centroids 10 and 14: (4 - 0) / 4 = 1 for three pixels, (3 - 1) / 3 for one.
    points = np.array([[10, 13]], np.float32)
    high, low = silhouette_of_points(points, np.array([3, 1]), np.array([[10.0], [14.0]]))
    (total,) = Silhouettes.of([(high, low)]).totals
    assert mean_silhouette(total, 4, 2) == pytest.approx((3 + 2 / 3) / 4, abs=1e-9)


@QUICK
@given(color_tables(min_colors=2), st.integers(2, 5))
def test_the_sum_of_the_shards_is_the_sum_of_the_whole_to_the_last_bit(table: ColorTable, parts: int) -> None:
    space = SPACES["lab"]
    whole = ColorPoints.build(table, space)
    sets = [np.unique(whole.points.T[:k].astype(np.float64) + 0.3, axis=0) for k in (1, 2, 3)]
    pieces = [ColorTable(table.codes[i::parts].copy(), table.counts[i::parts].copy()) for i in range(parts)]
    shards = [ColorPoints.build(piece, space).silhouettes(sets) for piece in pieces if piece.codes.size]
    assert reduce(Silhouettes.merge, shards[::-1]) == whole.silhouettes(sets)


def test_very_many_pixels_do_not_overflow() -> None:
    n = 1 << 45
    table = ColorTable(np.array([0, 0xFFFFFF], np.uint32), np.array([n, n]))
    data = ColorPoints.build(table, SPACES["rgb"])
    (total,) = data.silhouettes([data.points.T.astype(np.float64)]).totals
    assert mean_silhouette(total, 2 * n, 2) == 1.0


def test_a_single_cluster_has_neither_index() -> None:
    data = ColorPoints.build(random_table(1), SPACES["rgb"])
    center = np.full((1, 3), 100.0)
    assert data.silhouettes([center]).totals == (0,)
    assert mean_silhouette(0, 100, 1) is None
    assert calinski_harabasz(data.space, data.sums(center), center) is None


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_bands_have_the_silhouette_of_their_features_and_no_invalid_pixel_counts(dtype: str) -> None:
    space = two_bands(dtype)
    random = np.random.default_rng(3)
    values = random.integers(0, 1000, (5000, 2)).astype(dtype)
    valid = random.random(5000) > 0.3
    centers = np.array([[100.0, 300.0], [400.0, 1500.0], [20.0, 1000.0]])
    (total,) = BandPoints(space, values, NO_WEIGHTS, np.zeros(2, object), valid=valid).silhouettes([centers]).totals
    features = space.features_of(values[valid].astype(np.float64))
    expected = silhouette(features, np.ones(len(features)), centers)
    assert mean_silhouette(total, int(valid.sum()), 3) == pytest.approx(expected, abs=1e-9)
    alone = BandPoints.build(space, values[valid])
    assert alone.silhouettes([centers]).totals == (total,)
    distinct, counts = np.unique(values[valid], axis=0, return_counts=True)
    weighted = BandPoints(space, distinct, counts.astype(np.int64), np.zeros(2, object))
    assert weighted.silhouettes([centers]).totals == (total,)


@pytest.mark.parametrize(("features", "k"), [("rgb", 2), ("gray", 5), ("lab", 5)])
def test_calinski_harabasz_is_that_of_scikit_learn(features: str, k: int) -> None:
    space = SPACES[features]
    table = random_table(k)
    data = ColorPoints.build(table, space)
    centers = data.points.T[:: data.size // k][:k].astype(np.float64)
    sums = data.sums(centers)
    pixels = np.repeat(data.points.T.astype(np.float64), data.weights, axis=0)
    labels = np.argmin(((pixels[:, None] - centers[None]) ** 2).sum(axis=2), axis=1)
    # The labels are those of these centers, which are not their means: scatter is measured around the means.
    assert calinski_harabasz(space, sums, centers) == pytest.approx(calinski_harabasz_score(pixels, labels), rel=1e-9)


def test_calinski_harabasz_of_bands_is_that_of_scikit_learn() -> None:
    space = two_bands()
    values = np.random.default_rng(5).integers(0, 1000, (3000, 2)).astype(np.uint16)
    data = BandPoints.build(space, values)
    centers = np.array([[100.0, 300.0], [400.0, 1500.0], [20.0, 1000.0]])
    features = space.features_of(values.astype(np.float64))
    labels = np.argmin(((features[:, None] - centers[None]) ** 2).sum(axis=2), axis=1)
    found = calinski_harabasz(space, data.sums(centers), centers)
    assert found == pytest.approx(calinski_harabasz_score(features, labels), rel=1e-9)


def test_calinski_harabasz_is_missing_where_it_would_be_infinite() -> None:
    data = ColorPoints.build(ColorTable(np.array([0, 255], np.uint32), np.array([3, 4])), SPACES["rgb"])
    centers = data.points.T.astype(np.float64)
    assert calinski_harabasz(data.space, data.sums(centers), centers) is None
