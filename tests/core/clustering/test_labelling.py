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
from kseg_core.clustering.features import SPACES, FeatureSpace
from kseg_core.clustering.labelling import LabelledPixels, invalid_label, label_dtype, label_pixels, no_labels
from kseg_core.clustering.sums import ClusterSums
from tests import reference
from tests.strategies import QUICK, centroids, rgb_images, valid_masks

F64 = NDArray[np.float64]
ALL_SPACES = pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))


def check(found: LabelledPixels, rgb: Any, valid: Any, space: FeatureSpace, centers: F64) -> None:
    """Labels and sums are those of the reference, pixel by pixel."""
    k = len(centers)
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


@ALL_SPACES
@QUICK
@given(data=st.data())
def test_labels_and_sums_are_the_reference_s_in_ties(space: FeatureSpace, data: Any) -> None:
    rgb = data.draw(rgb_images())
    valid = data.draw(valid_masks(rgb.shape[:2]))
    centers = data.draw(centroids(space.points(reference.color_codes(rgb))))
    check(label_pixels(rgb, valid, space, centers), rgb, valid, space, centers)


@pytest.mark.parametrize("k", [1, 5, 64, 65, 254, 255, 1000])
@ALL_SPACES
def test_labels_and_sums_are_the_reference_s_for_any_k(space: FeatureSpace, k: int) -> None:
    rng = np.random.default_rng(k)
    rgb = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    valid = rng.random((40, 50)) < 0.8
    centers = space.points(rng.integers(0, 1 << 24, k).astype(np.uint32)).T.astype(np.float64)
    check(label_pixels(rgb, valid, space, centers), rgb, valid, space, centers)


@ALL_SPACES
@QUICK
@given(data=st.data())
def test_comparing_with_all_and_comparing_by_cells_give_the_same_bits(space: FeatureSpace, data: Any) -> None:
    rgb = data.draw(rgb_images())
    centers = data.draw(centroids(space.points(reference.color_codes(rgb))))
    limit = labelling.BRUTE_FORCE_K
    by_all = label_pixels(rgb, None, space, centers)
    # Centroids that win nothing, behind the others, choose the other way without changing a label.
    far = np.full((limit + 1, 3), 1e12)
    by_cells = label_pixels(rgb, None, space, np.concatenate([centers, far]))
    np.testing.assert_array_equal(by_all.labels, by_cells.labels)
    k = len(centers)
    assert by_all.sums.same_as(ClusterSums(by_cells.sums.counts[:k], by_cells.sums.sums[:k], 0))
    assert not by_cells.sums.counts[k:].any()


@pytest.mark.parametrize(("k", "dtype", "reserved"), [(1, "u1", 255), (254, "u1", 255), (255, "u2", 65535)])
def test_labels_are_8_bits_up_to_254_clusters_and_16_above(k: int, dtype: str, reserved: int) -> None:
    assert label_dtype(k) == np.dtype(dtype)
    assert invalid_label(k) == reserved
    rgb = np.zeros((1, 2, 3), np.uint8)
    found = label_pixels(rgb, np.array([[True, False]]), SPACES["rgb"], np.zeros((k, 3)))
    assert found.labels.dtype == np.dtype(dtype)
    assert found.labels.tolist() == [[0, reserved]]


def test_the_most_clusters_there_can_be_leave_the_reserved_value_free() -> None:
    assert invalid_label(65_534) == 65_535


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


@pytest.mark.parametrize("k", [5, 100])  # compared with all, and by cells
@ALL_SPACES
def test_a_table_of_colours_in_parts_gives_the_same_bits(
    space: FeatureSpace, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(k)
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
