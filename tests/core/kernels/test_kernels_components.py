"""Connected regions of equal labels, against SciPy's and scikit-image's of each cluster alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from kseg_core.kernels.components import join_corners, label_components, measure_components
from tests.strategies import QUICK

Array = NDArray[Any]
ALL = np.ones(256, bool)


@st.composite
def label_images(draw: st.DrawFn, max_side: int = 12) -> NDArray[np.uint8]:
    """A few clusters, and often invalid pixels."""
    shape = draw(st.tuples(st.integers(1, max_side), st.integers(1, max_side)))
    values = draw(st.sampled_from([[0], [0, 1], [0, 1, 2], [0, 1, 255], [0, 0, 0, 1], [3, 255]]))
    return np.array(values, np.uint8)[draw(hnp.arrays(np.int64, shape, elements=st.integers(0, len(values) - 1)))]


def expected(labels: Array, wanted: Array, structure: Array) -> tuple[Array, int]:
    """Each label by SciPy alone, then numbered anew by first pixels."""
    found, count = np.zeros(labels.shape, np.int64), 0
    for value in np.unique(labels):
        if wanted[value]:
            own, n = ndimage.label(labels == value, structure)
            found[own > 0] = own[own > 0] + count
            count += n
    numbers, first = np.unique(found, return_index=True)
    numbers, first = numbers[numbers > 0], first[numbers > 0]
    table = np.zeros(count + 1, np.int64)
    table[numbers[np.argsort(first)]] = np.arange(1, count + 1)
    return table[found], count


def test_by_hand() -> None:
    labels = np.array([[1, 0, 1, 9], [0, 1, 9, 1], [1, 9, 9, 1]], np.uint8)
    wanted = ALL.copy()
    wanted[9] = False
    eight, count = label_components(labels, wanted, True)
    assert (eight.tolist(), count) == ([[1, 2, 1, 0], [2, 1, 0, 1], [1, 0, 0, 1]], 2)
    four, count = label_components(labels, wanted, False)
    assert (four.tolist(), count) == ([[1, 2, 3, 0], [4, 5, 0, 6], [7, 0, 0, 6]], 7)
    areas, classes, firsts = measure_components(four, labels, count)
    assert areas[1:].tolist() == [1, 1, 1, 1, 1, 2, 1]
    assert classes[1:].tolist() == [1, 0, 1, 0, 1, 1, 1]
    assert firsts[1:].tolist() == [0, 1, 2, 4, 5, 7, 8]


@QUICK
@given(labels=label_images())
@pytest.mark.parametrize("diagonal", [True, False])
def test_regions_are_those_of_scipy_in_the_order_of_their_first_pixels(diagonal: bool, labels: Array) -> None:
    wanted = ALL.copy()
    wanted[255] = False
    structure = np.ones((3, 3)) if diagonal else ndimage.generate_binary_structure(2, 1)
    found, count = label_components(labels, wanted, diagonal)
    regions, n = expected(labels, wanted, structure)
    assert count == n
    np.testing.assert_array_equal(found, regions)


@QUICK
@given(labels=label_images())
def test_parts_joined_at_corners_are_the_regions(labels: Array) -> None:
    parts, count = label_components(labels, ALL, False)
    region_of, regions = join_corners(parts, labels, count)
    eight, n = label_components(labels, ALL, True)
    assert regions == n
    np.testing.assert_array_equal(region_of[parts], eight)


@pytest.mark.parametrize("k", [2, 254, 1000])
def test_large_images_of_many_clusters_agree_with_scikit_image(k: int) -> None:
    rng = np.random.default_rng(k)
    labels = ndimage.zoom(rng.integers(0, k, (30, 40)), 10, order=0).astype(np.uint16)
    labels[rng.random(labels.shape) < 0.1] = 1
    found, count = label_components(labels, np.ones(1 << 16, bool), True)
    theirs = measure.label(labels, connectivity=2, background=-1)
    assert count == theirs.max()
    pairs = np.unique(np.stack([found.reshape(-1), theirs.reshape(-1)]), axis=1)
    assert pairs.shape[1] == count
    areas, _, _ = measure_components(found, labels, count)
    assert sorted(areas[1:].tolist()) == sorted(np.bincount(theirs.reshape(-1))[1:].tolist())
