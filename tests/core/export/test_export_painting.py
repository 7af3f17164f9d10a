"""Windows of labels and pixels become windows of pictures, the same whatever the windows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from kseg_core.export import drawing
from kseg_core.export.drawing import ImageReader
from kseg_core.export.tiff import halved

small_labels = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, 255])
)


def test_a_line_is_two_pixels_wide_and_never_on_a_pixel_that_is_not_valid() -> None:
    labels = np.array([[0, 0, 1, 1, 255], [0, 0, 1, 1, 1]], np.uint8)
    expected = [[0, 1, 1, 1, 0], [0, 1, 1, 0, 1]]
    assert drawing.boundary_pixels(labels).astype(int).tolist() == expected


@given(small_labels)
def test_lines_are_where_a_cross_shaped_neighbourhood_has_two_labels(labels: Any) -> None:
    cross = ndimage.generate_binary_structure(2, 1)
    highest = ndimage.maximum_filter(labels, footprint=cross, mode="nearest")
    lowest = ndimage.minimum_filter(labels, footprint=cross, mode="nearest")
    assert (drawing.boundary_pixels(labels) == ((highest != lowest) & (labels != 255))).all()


def test_what_is_not_visible_has_no_colour_either() -> None:
    picture = np.full((1, 3, 3), 7, np.uint8)
    shown = ImageReader.veiled(picture, np.array([[True, False, True]]))
    assert shown.tolist() == [[[7, 7, 7, 255], [0, 0, 0, 0], [7, 7, 7, 255]]]


@pytest.mark.parametrize(("dtype", "invalid"), [(np.uint8, 255), (np.uint16, 65535)])
def test_chosen_pixels_are_those_of_the_clusters(dtype: Any, invalid: int) -> None:
    labels = np.array([[0, 3, invalid], [2, 2, 1]], dtype)
    assert drawing.chosen_pixels(labels, (2, 3)).tolist() == [[False, True, False], [True, True, False]]
    assert not drawing.chosen_pixels(labels, ()).any()


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([3, 4]))))
def test_half_the_size_is_the_mean_of_what_is_visible(picture: Any) -> None:
    half = halved(picture, average=True)
    height, width, channels = picture.shape
    assert half.shape == (-(-height // 2), -(-width // 2), channels)
    assert half.dtype == np.uint8
    for y in range(half.shape[0]):
        for x in range(half.shape[1]):
            # a block cut short at the edge is completed by repeating its last row or column
            block = [
                picture[min(r, height - 1), min(c, width - 1)] for r in (2 * y, 2 * y + 1) for c in (2 * x, 2 * x + 1)
            ]
            alphas = [int(pixel[3]) if channels == 4 else 1 for pixel in block]
            total = sum(alphas)
            for c in range(3):
                mean = sum(int(p[c]) * a for p, a in zip(block, alphas, strict=True)) / total if total else 0
                assert half[y, x, c] == math.floor(mean + 0.5)
            if channels == 4:
                assert half[y, x, 3] == math.floor(total / 4 + 0.5)


def test_labels_are_never_averaged() -> None:
    labels = np.array([[0, 4, 1], [4, 4, 1], [2, 2, 255]], np.uint8)
    assert halved(labels, average=False).tolist() == [[0, 1], [2, 255]]
    colors = np.stack([labels] * 3, axis=2)
    assert halved(colors, average=False)[..., 0].tolist() == [[0, 1], [2, 255]]
