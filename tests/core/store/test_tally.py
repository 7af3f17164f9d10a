"""Which part of each level of an image a window answers for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.layers.tiles import level_shape, tile_windows, window_of_level

SIDES = st.integers(1, 90)


@given(SIDES, SIDES, st.sampled_from([2, 16, 30]))
def test_every_pixel_of_every_level_has_one_window_that_answers_for_it(height: int, width: int, side: int) -> None:
    shape = (height, width)
    whole = np.zeros(shape, int)
    for window in tile_windows(height, width, side):
        assert max(piece.stop - piece.start for piece in window) <= side
        whole[window] += 1
    assert (whole == 1).all()
    for level in range(1, 7):
        there = np.zeros(level_shape(shape, level), int)
        for window in tile_windows(height, width, side):
            part = window_of_level(shape, level, window, side)
            if part is not None:
                assert max(piece.stop - piece.start for piece in part) <= side // 2
                there[part] += 1
        assert (there == 1).all()


def test_the_first_window_answers_for_the_beginning_of_all_levels_and_its_neighbour_for_the_first_level() -> None:
    first, second = list(tile_windows(100, 200, 100))
    assert window_of_level((100, 200), 1, first, 100) == (slice(0, 50), slice(0, 50))
    assert window_of_level((100, 200), 2, first, 100) == (slice(0, 25), slice(0, 50))
    assert window_of_level((100, 200), 1, second, 100) == (slice(0, 50), slice(50, 100))
    assert window_of_level((100, 200), 2, second, 100) is None
