"""Windows of labels and pixels become windows of pictures, the same whatever the windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from kseg_core.export.drawing import ImageReader, boundary_pixels, chosen_pixels
from kseg_core.export.tiff import halved

sides = st.tuples(st.integers(1, 12), st.integers(1, 12))


@given(hnp.arrays(np.uint8, sides, elements=st.sampled_from([0, 1, 2, 255])))
def test_lines_are_where_a_cross_shaped_neighbourhood_has_two_labels(labels: Any) -> None:
    cross = ndimage.generate_binary_structure(2, 1)
    highest = ndimage.maximum_filter(labels, footprint=cross, mode="nearest")
    lowest = ndimage.minimum_filter(labels, footprint=cross, mode="nearest")
    assert (boundary_pixels(labels) == ((highest != lowest) & (labels != 255))).all()


@pytest.mark.parametrize(("dtype", "invalid"), [(np.uint8, 255), (np.uint16, 65535)])
def test_by_hand(dtype: Any, invalid: int) -> None:
    labels = np.array([[0, 0, 1, 1, invalid], [0, 0, 1, 1, 1]], dtype)
    assert boundary_pixels(labels).astype(int).tolist() == [[0, 1, 1, 1, 0], [0, 1, 1, 0, 1]]
    labels = np.array([[0, 3, invalid], [2, 2, 1]], dtype)
    assert chosen_pixels(labels, (2, 3)).tolist() == [[False, True, False], [True, True, False]]
    assert not chosen_pixels(labels, ()).any()
    shown = ImageReader.veiled(np.full((1, 3, 3), 7, np.uint8), np.array([[True, False, True]]))
    assert shown.tolist() == [[[7, 7, 7, 255], [0, 0, 0, 0], [7, 7, 7, 255]]]  # what is not visible has no colour


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([3, 4]))))
def test_half_the_size_is_the_mean_of_what_is_visible_and_labels_are_never_averaged(picture: Any) -> None:
    half = halved(picture, average=True)
    height, width, channels = picture.shape
    # a block cut short at the edge is completed by repeating its last row or column
    whole = np.pad(picture, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge").astype(np.int64)
    blocks = whole.reshape(whole.shape[0] // 2, 2, whole.shape[1] // 2, 2, channels).swapaxes(1, 2)
    alphas = blocks[..., 3:] if channels == 4 else np.ones_like(blocks[..., :1])
    total = alphas.sum(axis=(2, 3))
    colors = (blocks[..., :3] * alphas).sum(axis=(2, 3)) / np.maximum(total, 1)
    expected = [np.floor(colors + 0.5), *([np.floor(total / 4 + 0.5)] if channels == 4 else [])]
    assert half.dtype == np.uint8
    assert (half == np.concatenate(expected, axis=2)).all()
    assert (halved(picture, average=False) == picture[::2, ::2]).all()
