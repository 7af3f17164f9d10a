"""Counting colours, merging the counts, and labels by look-up, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.clustering.summary import NO_MASK, ColorTable
from kseg_core.kernels import histogram
from tests import reference
from tests.strategies import QUICK, color_tables, rgb_images, valid_masks

Scratch = tuple[NDArray[np.uint32], NDArray[np.bool_]]


@pytest.fixture(scope="module")
def scratch() -> Scratch:
    return np.zeros(histogram.CODES, np.uint32), np.zeros(histogram.BLOCKS, np.bool_)


def count(scratch: Scratch, rgb: NDArray[np.uint8], valid: NDArray[np.bool_] | None) -> int:
    mask = NO_MASK if valid is None else valid.reshape(-1)
    return int(histogram.count_colors(rgb.reshape(-1, 3), mask, *scratch))


@QUICK
@given(data=st.data())
def test_counts_are_those_of_np_unique_and_valid_pixels_only(scratch: Scratch, data: Any) -> None:
    rgb = data.draw(rgb_images())
    valid = data.draw(valid_masks(rgb.shape[:2]))
    total = count(scratch, rgb, valid)
    codes, counts = histogram.drain_counts(*scratch)
    expected_codes, expected_counts = reference.color_counts(rgb, valid)
    assert codes.dtype == np.uint32
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_array_equal(counts, expected_counts)
    assert total == expected_counts.sum()


def test_draining_leaves_the_scratch_arrays_zero(scratch: Scratch) -> None:
    rng = np.random.default_rng(0)
    count(scratch, rng.integers(0, 256, (200, 200, 3), dtype=np.uint8), None)
    assert scratch[0].any()
    assert scratch[1].any()
    _, counts = histogram.drain_counts(*scratch)
    assert counts.sum() == 40_000
    assert not scratch[0].any()
    assert not scratch[1].any()
    assert histogram.drain_counts(*scratch)[0].size == 0


def test_counts_go_up_to_the_last_value_of_32_bits(scratch: Scratch) -> None:
    scratch[0][7] = 2**32 - 2
    count(scratch, np.array([[0, 0, 0], [0, 0, 7], [255, 255, 255]], np.uint8), None)  # the first code and the last
    codes, counts = histogram.drain_counts(*scratch)
    assert (codes.tolist(), counts.tolist()) == ([0, 7, 0xFFFFFF], [1, 2**32 - 1, 1])


def as_dict(table: ColorTable) -> dict[int, int]:
    return dict(zip(table.codes.tolist(), table.counts.tolist(), strict=True))


@QUICK
@given(a=color_tables(0), b=color_tables(0), c=color_tables(0))
def test_a_merged_table_counts_the_pixels_of_both_in_any_order(a: ColorTable, b: ColorTable, c: ColorTable) -> None:
    merged = a.merge(b)
    first, second = as_dict(a), as_dict(b)
    assert as_dict(merged) == {code: first.get(code, 0) + second.get(code, 0) for code in {*first, *second}}
    assert (np.diff(merged.codes.astype(np.int64)) > 0).all()
    assert (merged.codes.dtype, merged.counts.dtype) == (np.uint32, np.int64)
    assert as_dict(merged) == as_dict(b.merge(a))
    assert as_dict(merged.merge(c)) == as_dict(a.merge(b.merge(c)))
    assert as_dict(a.merge(ColorTable.empty())) == as_dict(a)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@QUICK
@given(data=st.data())
def test_labels_are_looked_up_by_colour_and_invalid_pixels_have_the_reserved_one(dtype: type, data: Any) -> None:
    rgb = data.draw(rgb_images())
    valid = data.draw(valid_masks(rgb.shape[:2]))
    codes, _ = reference.color_counts(rgb)
    reserved = int(np.iinfo(dtype).max)
    labels_of_codes = np.arange(codes.size, dtype=np.int64)[::-1].copy()
    lookup = LOOKUPS[dtype]
    histogram.fill_lookup(codes, labels_of_codes, lookup)
    labels = np.empty(rgb.shape[:2], dtype)
    mask = NO_MASK if valid is None else valid.reshape(-1)
    histogram.look_up_labels(rgb.reshape(-1, 3), mask, lookup, labels.reshape(-1))
    by_color = {
        (code >> 16, code >> 8 & 255, code & 255): label
        for code, label in zip(codes.tolist(), labels_of_codes.tolist(), strict=True)
    }
    assert labels.tolist() == reference.label_image(rgb, valid, by_color, reserved)


LOOKUPS: dict[type, NDArray[Any]] = {dtype: np.zeros(histogram.CODES, dtype) for dtype in (np.uint8, np.uint16)}
