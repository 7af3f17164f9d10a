"""Hierarchies cut at a level: nested, closed, the same whatever windows they are cut in and joined from."""

from __future__ import annotations

import itertools
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from kseg_core.kernels.segments import mode_of_blocks
from kseg_core.segment_settings import MOST
from kseg_core.segments.cutting import WindowPixels, cut_window, join_parts, measure_window
from kseg_core.segments.whole import contours_of
from tests.conftest import smooth_picture
from tests.reference import cut
from tests.strategies import QUICK

Array = NDArray[Any]
INVALID, BESIDE_INVALID = 255, 254


@st.composite
def contours(draw: st.DrawFn, most: int = 16) -> Array:
    """uint8 (2, y, x): any boundaries, as closed as chance has it, and what is not valid."""
    shape = draw(st.tuples(st.integers(1, most), st.integers(1, most)))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    made = random.choice([0, 0, 100, MOST], (2, *shape)).astype(np.uint8)
    valid = random.random(shape) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    made[0, :, :-1][valid[:, :-1] != valid[:, 1:]] = BESIDE_INVALID
    made[1, :-1][valid[:-1] != valid[1:]] = BESIDE_INVALID
    made[0, :, -1] = made[1, -1] = 0
    made[:, ~valid] = INVALID
    return made


@QUICK
@given(contours(), st.sampled_from([0, 99, 100, MOST]))
def test_parts_are_what_boundaries_leave_together(made: Array, most: int) -> None:
    np.testing.assert_array_equal(cut_window(made, most), cut(made, most))


@QUICK
@given(contours(), st.data(), st.sampled_from(["uint8", "int16", "uint16", "float32"]), st.sampled_from([0, 5]))
def test_segments_joined_from_windows_are_those_of_the_whole(
    made: Array, data: st.DataObject, dtype: str, k: int
) -> None:
    shape = made.shape[1:]
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    samples = random.integers(0, 99, (*shape, 3)).astype(dtype)
    if dtype == "float32":
        samples -= np.float32(0.25)
    labels = random.integers(0, 5, shape).astype(np.uint8) if k else None
    most = data.draw(st.sampled_from([0, 100]))
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(1, size), max_size=3))}) for size in shape]
    windows = [
        (slice(top, bottom), slice(left, right))
        for (top, bottom), (left, right) in itertools.product(*map(pairwise, cuts))
    ]
    parts = [
        measure_window(
            made[:, rows, columns],
            most,
            WindowPixels(samples[rows, columns], None if labels is None else labels[rows, columns], k),
            (rows.start, columns.start),
            shape[1],
        )
        for rows, columns in windows
    ]
    found, tables = join_parts(parts, len(cuts[1]) - 1)
    segments = np.zeros(shape, np.uint32)
    for (rows, columns), table in zip(windows, tables, strict=True):
        segments[rows, columns] = table[cut_window(made[:, rows, columns], most)]
    expected = cut(made, most)
    np.testing.assert_array_equal(segments, expected)
    numbers = np.arange(1, int(expected.max()) + 1)
    assert found.area.tolist() == [int((expected == each).sum()) for each in numbers]
    boxes = [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in ndimage.find_objects(expected)]
    assert found.box.tolist() == [list(each) for each in boxes]
    means = [[samples[expected == each, c].mean(dtype=float) for c in range(3)] for each in numbers]
    np.testing.assert_allclose(found.mean, np.array(means).reshape(-1, 3), rtol=1e-7)
    if labels is None:
        assert (found.cluster == -1).all()
    else:
        assert found.cluster.tolist() == [int(np.bincount(labels[expected == each]).argmax()) for each in numbers]


def test_of_halved_segments_each_block_has_its_most_frequent_and_none_only_where_all_are() -> None:
    segments = np.array(
        [[1, 2, 0, 0, 7], [2, 1, 0, 3, 7], [5, 5, 0, 0, 9], [5, 6, 0, 0, 8], [4, 3, 2, 2, 1]], np.uint32
    )
    halved = np.empty((3, 3), np.uint32)
    mode_of_blocks(segments, halved)
    assert halved.tolist() == [[1, 3, 7], [5, 0, 8], [3, 2, 1]]


# ------------------------------------------------------------------------------------------- hierarchies of images


def an_image(seed: int, *, of_bands: bool) -> tuple[Array, Array | None]:
    """Blobs and noise, two or three areas of pixels that count, all of it, or nothing."""
    random = np.random.default_rng(seed)
    shape = (int(random.integers(1, 60)), int(random.integers(1, 60)))
    samples = smooth_picture(*shape, seed)
    samples[: shape[0] // 2, shape[1] // 3 :] //= 2
    valid = None
    if seed % 3:
        coarse = np.kron(random.random((20, 20)), np.ones((3, 3)))[: shape[0], : shape[1]]  # areas touch at corners
        valid = (ndimage.uniform_filter(random.random(shape), 5) if seed % 2 else coarse) > 0.5
    if seed % 7 == 0:
        valid = np.zeros(shape, np.bool_)
    return (samples.astype(np.uint16) * 9 if of_bands else samples), valid


IMAGES = pytest.mark.parametrize(
    ("of_bands", "factor", "side"), [(False, 1, 1024), (False, 1, 17), (True, 1, 16), (False, 2, 1024), (False, 3, 8)]
)


@IMAGES
@settings(QUICK, max_examples=15)
@given(st.integers(0, 500))
def test_every_cut_is_closed_and_the_last_has_one_segment_for_each_area(
    of_bands: bool, factor: int, side: int, seed: int
) -> None:
    samples, valid = an_image(seed, of_bands=of_bands)
    made = contours_of(samples, valid, of_bands=of_bands, factor=factor, side=side)
    counts = np.ones(samples.shape[:2], np.bool_) if valid is None else valid
    np.testing.assert_array_equal((made == INVALID).all(axis=0), ~counts)
    before = None
    for most in sorted({0, *np.unique(made[made <= MOST]).tolist(), MOST}):
        segments = cut_window(made, most)
        np.testing.assert_array_equal(segments > 0, counts)
        # a boundary that is left is one of two segments: none ends within a segment
        for plane, one, two in ((0, np.s_[:, :-1], np.s_[:, 1:]), (1, np.s_[:-1], np.s_[1:])):
            both = counts[one] & counts[two]
            np.testing.assert_array_equal((made[plane][one] > most)[both], (segments[one] != segments[two])[both])
        if before is not None:
            pairs = np.unique(np.stack([before[counts], segments[counts]]), axis=1)
            assert np.unique(pairs[0]).size == pairs.shape[1]  # each finer one is in one coarser
        before = segments
    np.testing.assert_array_equal(segments, cut(np.where(made <= MOST, 0, made), MOST))
    assert segments.max() == ndimage.label(counts)[1]


@IMAGES
def test_nothing_depends_on_what_is_stored_where_pixels_do_not_count(of_bands: bool, factor: int, side: int) -> None:
    for seed in (1, 4, 5, 11, 20):
        samples, valid = an_image(seed, of_bands=of_bands)
        assert valid is not None
        expected = contours_of(samples, valid, of_bands=of_bands, factor=factor, side=side)
        samples[~valid] = np.random.default_rng(seed).integers(0, 256, samples[~valid].shape)
        made = contours_of(samples, valid, of_bands=of_bands, factor=factor, side=side)
        np.testing.assert_array_equal(made, expected)


@settings(QUICK, max_examples=15)
@given(st.integers(0, 500))
def test_level_0_has_the_cells_whatever_the_blocks(seed: int) -> None:
    samples, valid = an_image(seed, of_bands=False)
    cells = cut_window(contours_of(samples, valid, of_bands=False), 0)
    for side in (7, 33):
        np.testing.assert_array_equal(cut_window(contours_of(samples, valid, of_bands=False, side=side), 0), cells)


@pytest.mark.parametrize("size", [1e-30, 1e-6, 0.3, 5e3, 1e14, 1e30])
def test_means_of_floating_point_are_right_whatever_their_size_and_the_same_of_any_windows(size: float) -> None:
    samples = (np.random.default_rng(1).random((40, 50, 2)) * size * np.array([1, -3])).astype(np.float32)
    joined = np.zeros((2, 40, 50), np.uint8)

    def mean(side: int) -> Array:
        parts, across = [], -(-50 // side)
        for top, left in itertools.product(range(0, 40, side), range(0, 50, side)):
            window = slice(top, top + side), slice(left, left + side)
            pixels = WindowPixels(samples[window], None, 0)
            parts.append(measure_window(joined[(slice(None), *window)], MOST, pixels, (top, left), 50))
        return join_parts(parts, across)[0].mean

    whole = mean(50)
    np.testing.assert_allclose(whole, samples.mean(axis=(0, 1), dtype=float)[None], rtol=2e-6)
    np.testing.assert_array_equal(mean(9), whole)
