"""Halving images, against a naive reference, and the geometry of pyramids."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kseg_core.layers.layer import Layout
from kseg_core.layers.pyramid import mean_of_blocks, mode_of_blocks
from kseg_core.layers.tiles import level_shape, pyramid_levels, require_aligned, source_window

SIDES = st.integers(1, 9)


def blocks(image: NDArray[Any]) -> list[list[list[Any]]]:
    """The pixels of every block, as lists."""
    height, width = image.shape
    return [[image[y : y + 2, x : x + 2].reshape(-1).tolist() for x in range(0, width, 2)] for y in range(0, height, 2)]


def naive_mode(block: list[int], invalid: int) -> int:
    valid = [label for label in block if label != invalid]
    return min(set(valid), key=lambda label: (-valid.count(label), label)) if valid else invalid


def naive_integer_mean(block: list[int]) -> int:
    return math.floor(Fraction(sum(block), len(block)) + Fraction(1, 2))


# ------------------------------------------------------------------------------------------------- mode


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_labels_are_halved_by_their_mode(dtype: type, data: st.DataObject) -> None:
    invalid = int(np.iinfo(dtype).max)
    values = st.sampled_from([0, 1, 2, invalid - 1, invalid])
    labels = data.draw(hnp.arrays(dtype, st.tuples(SIDES, SIDES), elements=values))
    halved = mode_of_blocks(labels, invalid)
    assert halved.dtype == dtype
    assert halved.tolist() == [[naive_mode(block, invalid) for block in row] for row in blocks(labels)]


def test_every_block_of_four_small_labels_has_its_mode() -> None:
    """All 625 blocks of five labels, one of them the reserved one."""
    values = np.array([0, 1, 2, 3, 255], np.uint8)
    every = np.stack(np.meshgrid(*[values] * 4, indexing="ij"), axis=-1).reshape(-1, 2, 2)
    side_by_side = np.concatenate(list(every), axis=1)
    expected = [naive_mode(block.reshape(-1).tolist(), 255) for block in every]
    assert mode_of_blocks(side_by_side, 255).tolist() == [expected]


@pytest.mark.parametrize(
    ("block", "mode"),
    [
        ([3, 3, 1, 2], 3),
        ([3, 1, 3, 1], 1),  # a tie: the lowest
        ([4, 3, 2, 1], 1),
        ([255, 255, 255, 7], 7),  # a block is invalid only where all of it is
        ([255, 255, 7, 7], 7),
        ([255, 255, 9, 7], 7),
        ([255, 9, 7, 9], 9),
        ([255, 255, 255, 255], 255),
        ([0, 2, 2, 0], 0),  # and never the average, 1
    ],
)
def test_blocks_by_hand(block: list[int], mode: int) -> None:
    assert mode_of_blocks(np.array(block, np.uint8).reshape(2, 2), 255).item() == mode


# ------------------------------------------------------------------------------------------------- mean


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_integers_are_halved_by_their_mean_rounded_half_up(dtype: str, data: st.DataObject) -> None:
    samples = data.draw(hnp.arrays(dtype, st.tuples(SIDES, SIDES)))
    halved = mean_of_blocks(samples)
    assert halved.dtype == np.dtype(dtype)
    assert halved.tolist() == [[naive_integer_mean(block) for block in row] for row in blocks(samples)]


def test_the_largest_integers_do_not_overflow() -> None:
    for dtype in (np.uint8, np.uint64, np.int64):
        largest = np.iinfo(dtype).max
        assert mean_of_blocks(np.full((3, 3), largest, dtype)).tolist() == [[largest] * 2] * 2


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_floating_point_means_pass_over_nan(dtype: str, data: st.DataObject) -> None:
    values = st.sampled_from([0.0, 1.5, -2.25, 7.0, 1024.0, math.nan])
    samples = data.draw(hnp.arrays(dtype, st.tuples(SIDES, SIDES), elements=values))
    expected = []
    for row in blocks(samples):
        there = [[v for v in block if not math.isnan(v)] for block in row]
        expected.append([sum(block) / len(block) if block else math.nan for block in there])
    halved = mean_of_blocks(samples)
    assert halved.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(halved, np.array(expected).astype(dtype))


def test_infinities_stay_and_warn_of_nothing() -> None:
    samples = np.array([[np.inf, 1, np.inf, -np.inf], [1, 1, 0, 0]], np.float32)
    halved = mean_of_blocks(samples)
    assert halved[0, 0] == np.inf
    assert np.isnan(halved[0, 1])


# --------------------------------------------------------------------------------------------- geometry


@pytest.mark.parametrize(
    ("shape", "tile", "levels"),
    [
        ((1, 1), 64, 1),
        ((64, 64), 64, 1),
        ((65, 1), 64, 2),
        ((1000, 1), 64, 5),
        ((1000, 1000), 1000, 1),
        ((40_000, 40_000), 1024, 7),
        ((40_000, 40_000), 1000, 7),
    ],
)
def test_a_pyramid_ends_with_a_level_of_one_tile(shape: tuple[int, int], tile: int, levels: int) -> None:
    assert pyramid_levels(shape, tile) == levels
    assert max(level_shape(shape, levels - 1)) <= tile
    assert levels == 1 or max(level_shape(shape, levels - 2)) > tile


@given(st.integers(1, 5000), st.integers(0, 14))
def test_halving_often_is_halving_once_by_the_power(size: int, level: int) -> None:
    halved = size
    for _ in range(level):
        halved = -(-halved // 2)
    assert level_shape((size, 1), level) == (halved, 1)


@settings(deadline=None)
@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.integers(1, 70), st.integers(1, 200), st.integers(0, 4))
def test_the_windows_of_a_level_hold_whole_tiles_and_cover_it_once(
    shape: tuple[int, int], tile: int, side: int, level: int
) -> None:
    layout = Layout(shape, 2, tile, False, levels=5)
    covered = np.zeros(level_shape(shape, level), int)
    for rows, columns in layout.windows(level, side):
        require_aligned(covered.shape, tile, rows, columns)  # type: ignore[arg-type]
        covered[rows, columns] += 1
    assert (covered == 1).all()


def test_a_window_is_made_of_the_window_twice_as_large_cut_at_the_edge() -> None:
    assert source_window((5, 9), 1, slice(0, 2), slice(2, 5)) == (slice(0, 4), slice(4, 9))
    assert source_window((5, 9), 2, slice(0, 2), slice(1, 3)) == (slice(0, 3), slice(2, 5))


@pytest.mark.parametrize(
    "rows",
    [
        slice(1, 64),
        slice(0, 63),
        slice(0, 65),
        slice(64, 100, 2),
        slice(64, 128),
        slice(64, 64),
        slice(-64, 0),
        slice(None),
        slice(0, None),
    ],
)
def test_a_window_that_holds_a_part_of_a_tile_is_refused(rows: slice) -> None:
    good = slice(0, 100)
    with pytest.raises(ValueError, match="whole tiles of 64"):
        require_aligned((100, 100), 64, rows, good)
    with pytest.raises(ValueError, match="expected columns of whole tiles"):
        require_aligned((100, 100), 64, good, rows)


@pytest.mark.parametrize("rows", [slice(0, 64), slice(64, 100), slice(0, 100)])
def test_whole_tiles_are_not_refused(rows: slice) -> None:
    require_aligned((100, 100), 64, rows, slice(64, 100))
