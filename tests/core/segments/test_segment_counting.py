"""How many segments there are at some levels: as many as a cut of the whole has, whatever the windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.joining import columns_of_grid
from kseg_core.layers.tiles import tile_windows
from kseg_core.segment_settings import MOST
from kseg_core.segments.counting import count_parts, count_segments
from kseg_core.segments.cutting import cut_window
from tests.strategies import QUICK

Array = NDArray[Any]
INVALID, BESIDE_INVALID = 255, 254


def made_contours(shape: tuple[int, int], seed: int, valid: float) -> Array:
    """uint8 (2, y, x): any boundaries, closed or not, and what is not valid."""
    random = np.random.default_rng(seed)
    made = random.choice([0, 0, 40, 100, 101, MOST], (2, *shape)).astype(np.uint8)
    is_valid = random.random(shape) < valid
    made[0, :, :-1][is_valid[:, :-1] != is_valid[:, 1:]] = BESIDE_INVALID
    made[1, :-1][is_valid[:-1] != is_valid[1:]] = BESIDE_INVALID
    made[0, :, -1] = made[1, -1] = 0
    made[:, ~is_valid] = INVALID
    return made


@QUICK
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 10_000),
    st.sampled_from([0.0, 0.4, 0.9, 1.0]),
    st.integers(1, 21),
    st.sampled_from([0, 40, 70]),
)
def test_as_many_as_a_cut_of_the_whole_has(
    shape: tuple[int, int], seed: int, valid: float, side: int, least: int
) -> None:
    contours = made_contours(shape, seed, valid)
    steps = [step for step in (0, 40, 70, 100, 101, MOST) if step >= least]
    windows = list(tile_windows(*shape, side))
    parts = [count_parts(contours[(slice(None), *window)], least) for window in windows]
    across = columns_of_grid([(rows.start, columns.start) for rows, columns in windows])
    assert count_segments(parts, across, steps) == [int(cut_window(contours, step).max()) for step in steps]


@pytest.mark.parametrize("side", [1, 2, 8])
def test_of_two_halves_and_what_is_between_them(side: int) -> None:
    contours = np.zeros((2, 8, 8), np.uint8)
    contours[0, :, 3] = 50
    contours[0, 5, 3] = 30  # the lowest place decides
    windows = list(tile_windows(8, 8, side))
    parts = [count_parts(contours[(slice(None), *window)], 10) for window in windows]
    across = columns_of_grid([(rows.start, columns.start) for rows, columns in windows])
    assert count_segments(parts, across, [10, 29, 30, 50]) == [2, 2, 1, 1]
