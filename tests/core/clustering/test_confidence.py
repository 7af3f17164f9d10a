"""How clearly a pixel belongs to its cluster: floor(254 (d2 - d1) / d2), by plain NumPy and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.clustering import labelling
from kseg_core.clustering.bands import BandSpace
from kseg_core.clustering.features import SPACES, FeatureSpace
from kseg_core.clustering.labelling import label_pixels
from tests import reference
from tests.strategies import QUICK, centroids, rgb_images, valid_masks

F64 = NDArray[np.float64]
ALL_SPACES = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


def expected(points: F64, centers: F64) -> NDArray[np.uint8]:
    """Of points (n, d): every distance written out, the two least of them picked by sorting."""
    squared = np.zeros((len(points), len(centers)))
    for axis in range(points.shape[1]):
        squared += (points[:, axis, None] - centers[None, :, axis]) ** 2
    distances = np.sort(np.sqrt(squared), axis=1)
    if len(centers) == 1:
        return np.where(distances[:, 0] >= 0, 254, 0).astype(np.uint8)
    first, second = distances[:, 0], distances[:, 1]
    share = np.divide(second - first, second, out=np.zeros_like(second), where=second > 0)
    return np.floor(254 * share).astype(np.uint8)


def check(rgb: Any, valid: Any, space: FeatureSpace, centers: F64) -> None:
    found = label_pixels(rgb, valid, space, centers, confidence=True)
    points = space.points(reference.color_codes(rgb)).T.astype(np.float64)
    mask = np.ones(rgb.shape[:2], bool) if valid is None else valid
    assert found.confidence is not None
    assert found.confidence.dtype == np.uint8
    wanted = np.where(mask, expected(points, centers).reshape(rgb.shape[:2]), 255)
    np.testing.assert_array_equal(found.confidence, wanted)
    without = label_pixels(rgb, valid, space, centers)
    assert without.confidence is None
    np.testing.assert_array_equal(found.labels, without.labels)
    assert found.sums.same_as(without.sums)


def test_by_hand() -> None:
    """Centroids at 0, 100 and 200 on the red axis."""
    centers = np.array([[0.0, 0, 0], [100, 0, 0], [200, 0, 0]])
    reds = [0, 100, 50, 25, 60, 110, 255]
    rgb = np.zeros((1, len(reds), 3), np.uint8)
    rgb[0, :, 0] = reds
    found = label_pixels(rgb, None, SPACES["rgb"], centers, confidence=True)
    # 25: 254 * 50 / 75 = 169.3; 60: 254 * 20 / 60 = 84.7; 110: 254 * 80 / 90 = 225.8; 255: 254 * 100 / 155 = 163.9
    assert found.confidence is not None
    assert found.confidence.tolist() == [[254, 254, 0, 169, 84, 225, 163]]


@ALL_SPACES
@QUICK
@given(data=st.data())
def test_every_pixel_is_the_reference_s_in_ties_and_with_centroids_twice(space: FeatureSpace, data: Any) -> None:
    rgb = data.draw(rgb_images())
    check(
        rgb,
        data.draw(valid_masks(rgb.shape[:2])),
        space,
        data.draw(centroids(space.points(reference.color_codes(rgb)))),
    )


@pytest.mark.few(8)
@pytest.mark.parametrize("k", [1, 2, 5, 64, 65, 300])
@ALL_SPACES
def test_every_pixel_is_the_reference_s_for_any_k(space: FeatureSpace, k: int) -> None:
    rng = np.random.default_rng(k)
    rgb = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    centers = space.points(rng.integers(0, 1 << 24, k).astype(np.uint32)).T.astype(np.float64)
    check(rgb, rng.random((40, 50)) < 0.8, space, centers)


@ALL_SPACES
@QUICK
@given(data=st.data())
def test_comparing_with_all_and_comparing_by_cells_give_the_same_bits(space: FeatureSpace, data: Any) -> None:
    rgb = data.draw(rgb_images())
    centers = data.draw(centroids(space.points(reference.color_codes(rgb))))
    if len(centers) < 2:
        centers = np.concatenate([centers, centers + 1])
    far = np.full((labelling.BRUTE_FORCE_K, 3), 1e12)
    by_all = label_pixels(rgb, None, space, centers, confidence=True).confidence
    by_cells = label_pixels(rgb, None, space, np.concatenate([centers, far]), confidence=True).confidence
    np.testing.assert_array_equal(by_all, by_cells)


def test_one_centroid_is_certain_and_two_in_one_place_are_not() -> None:
    rgb = np.array([[[10, 20, 30], [200, 0, 0]]], np.uint8)
    here = np.array([[10.0, 20, 30]])
    one = label_pixels(rgb, None, SPACES["rgb"], here, confidence=True).confidence
    two = label_pixels(rgb, None, SPACES["rgb"], np.concatenate([here, here]), confidence=True).confidence
    assert one is not None
    assert two is not None
    assert one.tolist() == [[254, 254]]
    assert two.tolist() == [[0, 0]]


def test_a_pixel_on_its_centroid_is_certain_whatever_the_second_distance() -> None:
    """254 d / d is not always 254 in floating point: the quotient must come first."""
    rng = np.random.default_rng(0)
    rgb = np.zeros((1, 1, 3), np.uint8)
    for second in rng.uniform(1, 500, 300):
        centers = np.array([[0.0, 0, 0], [second, 0, 0]])
        assert label_pixels(rgb, None, SPACES["rgb"], centers, confidence=True).confidence == 254


# ----------------------------------------------------------------------------------------------------- bands


def a_space(dtype: str, bands: int) -> BandSpace:
    rng = np.random.default_rng(bands)
    return BandSpace(
        tuple(range(1, bands + 1)),
        dtype,
        rng.normal(size=bands) * 10,
        1 / rng.uniform(0.5, 50, bands),
        ((0.0, 1.0),),
    )


@pytest.mark.few(12)
@pytest.mark.parametrize("k", [1, 2, 17, 300])
@pytest.mark.parametrize("bands", [1, 4, 7])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "int64"])
def test_bands_are_the_reference_s(dtype: str, bands: int, k: int) -> None:
    rng = np.random.default_rng([k, bands])
    samples = rng.integers(0, 40, (30, 33, bands)).astype(dtype)
    valid = rng.random((30, 33)) < 0.7
    if dtype == "float32":
        samples[~valid] = np.nan
    space = a_space(dtype, bands)
    centers = space.features_of(rng.integers(0, 40, (k, bands)).astype(np.float64))
    centers[k // 2 :: 7] = centers[0]  # some of them twice
    found = space.label(samples, valid, centers, confidence=True)
    points = space.features_of(samples.reshape(-1, bands).astype(np.float64))
    assert found.confidence is not None
    wanted = np.where(valid, expected(points, centers).reshape(30, 33), 255)
    np.testing.assert_array_equal(found.confidence, wanted)
    without = space.label(samples, valid, centers)
    assert without.confidence is None
    np.testing.assert_array_equal(found.labels, without.labels)


def test_distances_beyond_floating_point_are_neither_nan_nor_an_error() -> None:
    space = BandSpace((1,), "uint16", np.zeros(1), np.ones(1), ((0.0, 1.0),))
    samples = np.array([[[1], [2]]], np.uint16)
    far = space.label(samples, None, np.array([[1.0], [1e200]]), confidence=True).confidence
    both = space.label(samples, None, np.array([[-1e200], [1e200]]), confidence=True).confidence
    assert far is not None
    assert both is not None
    assert far.tolist() == [[254, 254]]
    assert both.tolist() == [[0, 0]]
