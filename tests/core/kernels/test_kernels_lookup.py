"""Labels by a table that fills itself, against comparing every pixel with every centroid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kseg_core.kernels.lookup import label_and_sum

EVERYWHERE = np.empty(0, np.bool_)


def by_hand(rgb: NDArray[np.uint8], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """The lowest index among the nearest; distances added up in the order of the components."""
    distance = np.zeros((len(rgb), len(centroids)))
    for axis in range(3):
        distance += (rgb[:, None, axis].astype(float) - centroids[None, :, axis]) ** 2
    return distance.argmin(axis=1)


def picture(pixels: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (pixels, 3)).astype(np.uint8)


def run(rgb: Any, valid: Any, centroids: Any, lookup: Any) -> tuple[Any, Any, Any, int]:
    labels = np.empty(len(rgb), lookup.dtype)
    return (labels, *label_and_sum(rgb, rgb.reshape(-1), valid, centroids, lookup, labels))


@pytest.mark.parametrize(("k", "pixels"), [(1, 1), (2, 255), (5, 256), (40, 5001), (254, 257), (300, 5001)])
def test_labels_and_sums_are_those_of_the_nearest_centroids(k: int, pixels: int) -> None:
    rgb, centroids = picture(pixels), np.random.default_rng(k).random((k, 3)) * 255
    dtype = np.uint8 if k <= 254 else np.uint16
    lookup = np.full(1 << 24, np.iinfo(dtype).max, dtype)
    labels, counts, sums, squares = run(rgb, EVERYWHERE, centroids, lookup)
    expected = by_hand(rgb, centroids)
    assert np.array_equal(labels, expected)
    assert np.array_equal(counts, np.bincount(expected, minlength=k))
    assert np.array_equal(sums, [rgb[expected == j].astype(np.int64).sum(axis=0) for j in range(k)])
    assert squares == int((rgb.astype(np.int64) ** 2).sum())


def test_ties_go_to_the_lowest_index() -> None:
    rgb = np.array([[10, 0, 0], [20, 0, 0], [15, 0, 0]], np.uint8)
    centroids = np.array([[20.0, 0, 0], [10.0, 0, 0], [10.0, 0, 0]])
    labels, counts, _, _ = run(rgb, EVERYWHERE, centroids, np.full(1 << 24, 255, np.uint8))
    assert labels.tolist() == [1, 0, 0]
    assert counts.tolist() == [2, 1, 0]


def test_invalid_pixels_have_no_label_and_count_nowhere() -> None:
    rgb, centroids = picture(3000), np.random.default_rng(1).random((4, 3)) * 255
    valid = np.random.default_rng(2).random(3000) < 0.5
    valid[256:512] = False
    labels, counts, sums, squares = run(rgb, valid, centroids, np.full(1 << 24, 255, np.uint8))
    assert np.array_equal(labels, np.where(valid, by_hand(rgb, centroids), 255))
    assert counts.sum() == valid.sum()
    assert np.array_equal(sums.sum(axis=0), rgb[valid].astype(np.int64).sum(axis=0))
    assert squares == int((rgb[valid].astype(np.int64) ** 2).sum())


def test_a_table_that_is_partly_filled_gives_the_same() -> None:
    centroids = np.random.default_rng(3).random((6, 3)) * 255
    lookup = np.full(1 << 24, 255, np.uint8)
    for seed in range(3):
        rgb = picture(2000, seed)
        assert np.array_equal(run(rgb, EVERYWHERE, centroids, lookup)[0], by_hand(rgb, centroids))
    assert (lookup != 255).any()
    assert (lookup == 255).any()


def test_the_largest_values_do_not_overflow() -> None:
    rgb = np.full((100_003, 3), 255, np.uint8)
    _, counts, sums, squares = run(rgb, EVERYWHERE, np.array([[255.0, 255, 255]]), np.full(1 << 24, 255, np.uint8))
    assert counts.tolist() == [100_003]
    assert sums.tolist() == [[255 * 100_003] * 3]
    assert squares == 3 * 255 * 255 * 100_003
