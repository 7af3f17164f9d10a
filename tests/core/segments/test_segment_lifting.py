"""Regions of a small picture at the full size: each stays one, and windows are as the whole."""

from __future__ import annotations

import itertools
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from kseg_core.halos import grown
from kseg_core.segments.cutting import cut_window
from kseg_core.segments.lifting import Shrinking, factor_of, lift
from kseg_core.segments.whole import contours_of
from tests.strategies import QUICK

Array = NDArray[Any]


@st.composite
def lifted(draw: st.DrawFn) -> tuple[int, Array, Array, Array]:
    """A factor, pixels (y, x, c) of few colours, 4-connected regions of the small picture, and that picture."""
    factor = draw(st.integers(2, 6))
    shape = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    few = random.integers(0, 256, (4, 3))
    pixels = few[random.integers(0, 4, shape)].astype(np.uint8)
    tall, wide = -(-shape[0] // factor), -(-shape[1] // factor)
    kinds = random.integers(0, draw(st.integers(1, 4)), (tall, wide))
    region = np.full((tall, wide), -1, np.int32)
    for kind in np.unique(kinds):
        parts, _ = ndimage.label(kinds == kind)
        region[kinds == kind] = parts[kinds == kind] + 100 * kind
    return factor, pixels, region, few[random.integers(0, 4, (tall, wide))].astype(np.uint8)


@QUICK
@given(lifted())
def test_a_region_stays_one_and_none_is_lost(made: tuple[int, Array, Array, Array]) -> None:
    factor, pixels, region, small = made
    large = lift(pixels, None, (0, 0), factor, region, small)
    assert set(np.unique(large).tolist()) == set(np.unique(region).tolist())
    for each in np.unique(large):
        assert ndimage.label(large == each)[1] == 1
    # no pixel is farther than a block from where its region is in the small picture
    for y, x in itertools.product(*map(range, large.shape)):
        r, c = y // factor, x // factor
        assert large[y, x] in region[max(0, r - 1) : r + 2, max(0, c - 1) : c + 2]


@QUICK
@given(lifted(), st.data())
def test_a_window_with_its_surroundings_has_the_regions_of_the_whole(
    made: tuple[int, Array, Array, Array], data: st.DataObject
) -> None:
    factor, pixels, region, small = made
    valid = np.random.default_rng(factor).random(pixels.shape[:2]) < 0.8
    whole = lift(pixels, valid, (0, 0), factor, region, small)
    np.testing.assert_array_equal(whole == -1, ~valid)
    pixels[~valid] = 255 - pixels[~valid]  # whatever is there
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(1, size), max_size=2))}) for size in valid.shape]
    for (top, bottom), (left, right) in itertools.product(*map(pairwise, cuts)):
        window = (slice(top, bottom), slice(left, right))
        around, inner = grown(window, factor, valid.shape)
        place = (around[0].start, around[1].start)
        part = lift(pixels[around], valid[around], place, factor, region, small)
        np.testing.assert_array_equal(part[inner], whole[window])


@pytest.mark.parametrize("at", [20, 21, 23, 24])
def test_borders_follow_the_colours_of_the_large_picture(at: int) -> None:
    pixels = np.full((40, 40, 3), 40, np.uint8)
    pixels[:, at:] = 200  # the small picture parts them at 20 or 24
    shrinking = Shrinking((40, 40), 3, 4)
    shrinking.add(pixels, None, 0, 0)
    small, some = shrinking.picture()
    assert some is None
    large = lift(pixels, None, (0, 0), 4, (small[..., 0] > 120).astype(np.int32), small)
    np.testing.assert_array_equal(large, pixels[..., 0] > 100)


@QUICK
@given(st.integers(1, 30), st.integers(1, 30), st.integers(2, 7), st.integers(0, 99))
def test_a_small_picture_has_the_means_of_what_counts_whatever_the_windows(
    height: int, width: int, factor: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    valid = random.random((height, width)) < 0.3
    shrinking = Shrinking((height, width), 3, factor)
    for top in range(0, height, 5):
        for left in range(0, width, 8):
            window = (slice(top, top + 5), slice(left, left + 8))
            shrinking.add(pixels[window], valid[window], top, left)
    small, some = shrinking.picture()
    for r, c in itertools.product(*map(range, small.shape[:2])):
        block = np.s_[r * factor : (r + 1) * factor, c * factor : (c + 1) * factor]
        inside = pixels[block][valid[block]].astype(float)
        assert inside.size == 0 if some is not None and not some[r, c] else inside.size > 0
        if inside.size:
            assert small[r, c].tolist() == np.floor(inside.mean(axis=0) + 0.5).tolist()


def test_areas_that_touch_at_a_corner_of_the_small_picture_alone_become_one_at_the_last_level() -> None:
    """Where one grows over the corner between them, they touch."""
    picture = np.full((8, 8, 3), 200, np.uint8)
    picture[4:, 4:] = 10
    picture[4:6, 4:6] = 200  # of the colour of the other area
    valid = np.zeros((8, 8), np.bool_)
    valid[:4, :4] = valid[4:, 4:] = True
    made = contours_of(picture, valid, of_bands=False, factor=4)
    np.testing.assert_array_equal(cut_window(made, 253), ndimage.label(valid)[0])
    assert cut_window(made, 252).max() >= 2


def test_photographs_are_made_about_as_large_as_those_that_people_segmented() -> None:
    assert [factor_of(shape) for shape in ((321, 481), (480, 640), (600, 601), (3000, 4000))] == [1, 1, 2, 9]
