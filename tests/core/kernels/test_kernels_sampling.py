"""Which pixels are in a mini-batch: by position and seed alone, one of every cell, nested."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.kernels.sampling import mix64, picked_pixels
from tests import reference
from tests.strategies import QUICK


def picks(
    height: int, width: int, level: int, seed: int, top: int = 0, left: int = 0
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """The batch as a picture, and the offsets themselves."""
    offsets = picked_pixels(height, width, top, left, level, seed)
    image = np.zeros(height * width, bool)
    image[offsets] = True
    return image.reshape(height, width), offsets


def test_the_mixing_function_is_splitmix64() -> None:
    # First outputs from the state 1234567, as published with the generator's reference code.
    gamma, state, expected = 0x9E3779B97F4A7C15, 1234567, [6457827717110365317, 3203168211198807973]
    for i, word in enumerate(expected):
        at = (state + i * gamma) % 2**64
        with np.errstate(over="ignore"):  # as Python runs it; a kernel wraps around without a word
            mixed = int(mix64(np.uint64(at)))
        assert mixed == reference.splitmix64(at) == word


@QUICK
@given(
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    level=st.integers(0, 6),
    seed=st.one_of(st.integers(0, 9), st.integers(0, 2**63 - 1)),
)
def test_the_picks_are_those_of_the_description(height: int, width: int, level: int, seed: int) -> None:
    image, offsets = picks(height, width, level, seed)
    np.testing.assert_array_equal(image, reference.picked(height, width, level, seed))
    assert len(set(offsets.tolist())) == offsets.size


@QUICK
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    level=st.integers(0, 5),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_a_window_s_picks_are_those_of_the_whole_image_inside_it(
    shape: tuple[int, int], level: int, seed: int, data: st.DataObject
) -> None:
    whole, _ = picks(*shape, level, seed)
    top, left = (data.draw(st.integers(0, n - 1)) for n in shape)
    height, width = (data.draw(st.integers(1, n - at)) for n, at in zip(shape, (top, left), strict=True))
    window, _ = picks(height, width, level, seed, top, left)
    np.testing.assert_array_equal(window, whole[top : top + height, left : left + width])


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_each_batch_contains_the_one_before(seed: int) -> None:
    smaller = np.zeros((100, 77), bool)
    for level in range(8, -1, -1):
        batch, _ = picks(100, 77, level, seed)
        assert not (smaller & ~batch).any()
        smaller = batch


@pytest.mark.parametrize("level", [1, 2, 3])
def test_over_seeds_every_pixel_is_as_likely_as_any_other(level: int) -> None:
    seeds = 2000
    share = np.mean([picks(8, 8, level, seed)[0] for seed in range(seeds)], axis=0)
    expected = 4.0**-level
    deviation = np.abs(share - expected) / np.sqrt(expected * (1 - expected) / seeds)
    assert deviation.max() < 4.5  # of 64 pixels; one in a hundred thousand were the choice fair but not fixed


def test_cells_and_seeds_choose_independently() -> None:
    first, _ = picks(512, 512, 1, 0)
    for other in (picks(512, 512, 1, 1)[0], np.roll(first, 2, axis=0), np.roll(first, 2, axis=1)):
        same = (first & other).sum() / first.sum()
        assert abs(same - 0.25) < 0.01  # a quarter by chance, with a standard error of 0.0017


def test_the_picks_of_a_seed_never_change() -> None:
    """A seed means the same pixels in every release: these were written down once."""
    assert picked_pixels(8, 8, 0, 0, 1, 0).tolist() == [8, 10, 5, 6, 17, 27, 29, 22, 41, 43, 36, 46, 49, 51, 60, 55]
    assert picked_pixels(4, 4, 1_000_000, 3_000_000, 2, 42).tolist() == [11]
