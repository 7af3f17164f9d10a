"""Pixels become labels: every one the nearest centroid, and the sums are those of the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.clustering import labelling
from kseg_core.clustering import summary as of_colors
from kseg_core.clustering.bands import BandSpace
from kseg_core.clustering.features import SPACES, FeatureSpace
from kseg_core.clustering.labelling import invalid_label, label_dtype, label_pixels, no_labels
from kseg_core.clustering.sums import ClusterSums
from tests import reference
from tests.strategies import COLOR_SPACES, QUICK, centroids, rgb_images, valid_masks

F64 = NDArray[np.float64]


def rated(points: F64, centers: F64) -> NDArray[np.uint8]:
    """floor(254 (d2 - d1) / d2) of points (n, d): every distance written out, the two least picked by sorting."""
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
    """Labels, sums and confidence are those of the reference, pixel by pixel."""
    k = len(centers)
    found = label_pixels(rgb, valid, space, centers)
    points = space.points(reference.color_codes(rgb))
    expected = reference.nearest(points, centers)[0].reshape(rgb.shape[:2])
    mask = np.ones(rgb.shape[:2], bool) if valid is None else valid
    np.testing.assert_array_equal(found.labels, np.where(mask, expected, invalid_label(k)))
    assert found.labels.dtype == label_dtype(k)
    inside = np.ascontiguousarray(points[:, mask.reshape(-1)])
    ones = np.ones(inside.shape[1], np.int64)
    counts, sums = reference.cluster_sums(inside, ones, expected[mask], k)
    assert (found.sums.counts.tolist(), found.sums.sums.tolist()) == (counts, sums)
    assert found.sums.squares == reference.squares(inside, ones)
    assert found.confidence is None
    with_confidence = label_pixels(rgb, valid, space, centers, confidence=True)
    np.testing.assert_array_equal(with_confidence.labels, found.labels)
    assert with_confidence.sums.same_as(found.sums)
    wanted = np.where(mask, rated(points.T.astype(np.float64), centers).reshape(rgb.shape[:2]), 255)
    np.testing.assert_array_equal(with_confidence.confidence, wanted)


@QUICK
@given(space=COLOR_SPACES, data=st.data())
def test_labels_sums_and_confidence_are_the_reference_s_in_ties(space: FeatureSpace, data: Any) -> None:
    rgb = data.draw(rgb_images())
    valid = data.draw(valid_masks(rgb.shape[:2]))
    centers = data.draw(centroids(space.points(reference.color_codes(rgb))))
    check(rgb, valid, space, centers)


@pytest.mark.parametrize(
    ("name", "k"), [("rgb", 1), ("lab", 5), ("gray", 64), ("hsv", 65), ("rgb", 254), ("lab", 255), ("rgb", 1000)]
)
def test_labels_sums_and_confidence_are_the_reference_s_for_any_k(name: str, k: int) -> None:
    rng, space = np.random.default_rng(k), SPACES[name]
    rgb = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    valid = rng.random((40, 50)) < 0.8
    centers = space.points(rng.integers(0, 1 << 24, k).astype(np.uint32)).T.astype(np.float64)
    check(rgb, valid, space, centers)


@QUICK
@given(space=COLOR_SPACES, data=st.data())
def test_comparing_with_all_and_comparing_by_cells_give_the_same_bits(space: FeatureSpace, data: Any) -> None:
    rgb = data.draw(rgb_images())
    centers = data.draw(centroids(space.points(reference.color_codes(rgb))))
    if len(centers) < 2:
        centers = np.concatenate([centers, centers + 1])  # one alone is certain
    by_all = label_pixels(rgb, None, space, centers, confidence=True)
    # Centroids that win nothing, behind the others, choose the other way without changing a label.
    far = np.full((labelling.BRUTE_FORCE_K + 1, 3), 1e12)
    by_cells = label_pixels(rgb, None, space, np.concatenate([centers, far]), confidence=True)
    np.testing.assert_array_equal(by_all.labels, by_cells.labels)
    np.testing.assert_array_equal(by_all.confidence, by_cells.confidence)
    k = len(centers)
    assert by_all.sums.same_as(ClusterSums(by_cells.sums.counts[:k], by_cells.sums.sums[:k], 0))
    assert not by_cells.sums.counts[k:].any()


@pytest.mark.parametrize(
    ("k", "dtype", "reserved"), [(1, "u1", 255), (254, "u1", 255), (255, "u2", 65535), (65534, "u2", 65535)]
)
def test_labels_are_8_bits_up_to_254_clusters_and_16_above(k: int, dtype: str, reserved: int) -> None:
    assert label_dtype(k) == np.dtype(dtype)
    assert invalid_label(k) == reserved
    rgb = np.zeros((1, 2, 3), np.uint8)
    found = label_pixels(rgb, np.array([[True, False]]), SPACES["rgb"], np.zeros((k, 3)))
    assert found.labels.dtype == np.dtype(dtype)
    assert found.labels.tolist() == [[0, reserved]]


def test_an_image_without_a_valid_pixel_has_the_reserved_value_everywhere() -> None:
    rgb = np.zeros((2, 3, 3), np.uint8)
    found = label_pixels(rgb, np.zeros((2, 3), bool), SPACES["rgb"], np.zeros((2, 3)))
    assert found.labels.tolist() == no_labels((2, 3)).tolist() == [[255] * 3] * 2
    assert found.labels.dtype == no_labels((2, 3)).dtype == np.uint8
    assert found.sums.same_as(ClusterSums.zero(2))


@pytest.mark.parametrize("k", [2, 100])
def test_an_image_without_pixels_has_no_labels(k: int) -> None:
    found = label_pixels(np.zeros((0, 5, 3), np.uint8), None, SPACES["lab"], np.zeros((k, 3)))
    assert found.labels.shape == (0, 5)
    assert found.sums.pixels == 0


def test_one_image_leaves_nothing_behind_for_the_next() -> None:
    """The look-up table is kept between images: what it holds of the last one must not show."""
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    both = np.array([[0.0, 0, 0], [255, 255, 255]])
    assert (label_pixels(white, None, SPACES["rgb"], both).labels == 1).all()
    found = label_pixels(white, None, SPACES["rgb"], both[::-1].copy())
    assert (found.labels == 0).all()
    assert found.sums.counts.tolist() == [16, 0]
    assert label_pixels(black, None, SPACES["rgb"], both).sums.counts.tolist() == [16, 0]


def test_pixels_need_not_be_contiguous() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    valid = rgb[..., 0] > 100
    centers = np.array([[10.0, 20, 30], [200, 180, 90]])
    turned = label_pixels(rgb.transpose(1, 0, 2), valid.T, SPACES["rgb"], centers).labels
    np.testing.assert_array_equal(turned.T, label_pixels(rgb, valid, SPACES["rgb"], centers).labels)


@pytest.mark.parametrize(("name", "k"), [("lab", 5), ("hsv", 100)])  # compared with all, and by cells
def test_a_table_of_colours_in_parts_gives_the_same_bits(name: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random, space = np.random.default_rng(k), SPACES[name]
    rgb = random.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    valid = random.random((200, 300)) > 0.1
    centroids = space.points(random.integers(0, 1 << 24, k).astype(np.uint32)).T.astype(np.float64)
    whole = label_pixels(rgb, valid, space, centroids, confidence=True)
    monkeypatch.setattr(of_colors, "PART_COLORS", 5000)
    parts = label_pixels(rgb, valid, space, centroids, confidence=True)
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_array_equal(parts.confidence, whole.confidence)
    assert parts.sums.same_as(whole.sums)


def test_labelling_that_fails_leaves_no_colour_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelling, "label_colors", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        label_pixels(np.zeros((4, 4, 3), np.uint8), None, SPACES["lab"], np.zeros((1, 3)))
    assert of_colors.color_counter().drain().pixels == 0


# ------------------------------------------------------------------------------------------------ confidence


def test_confidence_by_hand() -> None:
    """Centroids at 0, 100 and 200 on the red axis."""
    centers = np.array([[0.0, 0, 0], [100, 0, 0], [200, 0, 0]])
    reds = [0, 100, 50, 25, 60, 110, 255]
    rgb = np.zeros((1, len(reds), 3), np.uint8)
    rgb[0, :, 0] = reds
    found = label_pixels(rgb, None, SPACES["rgb"], centers, confidence=True)
    # 25: 254 * 50 / 75 = 169.3; 60: 254 * 20 / 60 = 84.7; 110: 254 * 80 / 90 = 225.8; 255: 254 * 100 / 155 = 163.9
    assert found.confidence is not None
    assert found.confidence.tolist() == [[254, 254, 0, 169, 84, 225, 163]]


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


@pytest.mark.parametrize(
    ("dtype", "bands", "k"),
    [("uint16", 1, 1), ("uint16", 4, 300), ("float32", 7, 2), ("float32", 4, 17), ("int64", 1, 17), ("int64", 7, 2)],
)
def test_the_confidence_of_bands_is_the_reference_s(dtype: str, bands: int, k: int) -> None:
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
    wanted = np.where(valid, rated(points, centers).reshape(30, 33), 255)
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
