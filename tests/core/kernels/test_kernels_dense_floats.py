"""Sums of floats of any size: exact to the last bit, whatever the window, the order and the blocks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.clustering import band_values
from kseg_core.clustering.band_values import (
    EVERYWHERE,
    NO_LABELS,
    NO_WEIGHTS,
    BandPixels,
    assign_and_sum,
    flat_mask,
    unit_bits,
    window_of,
)
from kseg_core.clustering.sums import ClusterSums
from kseg_core.kernels import dense, dense_floats
from kseg_core.kernels.values import find_ends
from tests.strategies import QUICK, band_samples, exactly

Array = NDArray[Any]
F64 = NDArray[np.float64]
FLOATS = ("float32", "float64")
PLAIN: F64 = np.array([[0.0], [1.0]])


def plain(bands: int) -> F64:
    return np.repeat(PLAIN, bands, axis=1)


def far_and_near(n: int, bands: int, dtype: str, seed: int = 0) -> Array:
    """Values of which a few go to bins whatever the window: subnormals, the largest, and all between."""
    rng = np.random.default_rng([seed, n, bands])
    kind = np.finfo(dtype)
    values = rng.normal(0, 1, (n, bands))
    spread = np.ldexp(rng.random((n, bands)) - 0.5, rng.integers(kind.minexp - kind.nmant, kind.maxexp, (n, bands)))
    values = np.where(rng.random((n, bands)) < 0.2, spread, values)
    values[rng.random((n, bands)) < 0.05] = float(kind.max)
    values[rng.random((n, bands)) < 0.05] = -float(kind.smallest_subnormal)
    return values.astype(dtype)


def labels_of(values: Array, centroids: F64) -> NDArray[np.int64]:
    squared = np.zeros((len(values), len(centroids)))
    with np.errstate(over="ignore"):
        for band in range(values.shape[1]):
            squared += (values[:, band, None].astype(np.float64) - centroids[None, :, band]) ** 2
    return squared.argmin(axis=1)


def expected_sums(values: Array, labels: Array, k: int, weights: Array | None = None) -> list[list[Fraction]]:
    each = [1] * len(values) if weights is None else weights.tolist()
    sums = [[Fraction(0)] * values.shape[1] for _ in range(k)]
    for band in range(values.shape[1]):
        for label, weight, value in zip(labels.tolist(), each, exactly(values[:, band]), strict=True):
            if label < k:
                sums[label][band] += weight * value
    return sums


def as_fractions(sums: Array, bits: int) -> list[list[Fraction]]:
    return [[Fraction(int(total), 2**bits) for total in row] for row in sums.tolist()]


def sums_in_window(values: Array, valid: Array, centroids: F64, steps: F64, bits: int) -> ClusterSums:
    """Both kernels with a window of one's own; they must agree."""
    original = band_values.window_of
    try:
        band_values.window_of = lambda values, valid, bits: steps
        labels = np.empty(len(values), np.uint8)
        affine = plain(values.shape[1])
        found = assign_and_sum(BandPixels(values, NO_WEIGHTS, valid), affine, centroids, bits, labels)
        unlabelled = assign_and_sum(BandPixels(values, NO_WEIGHTS, valid), affine, centroids, bits)
    finally:
        band_values.window_of = original
    assert unlabelled.same_as(found)
    return found


@given(band_samples(FLOATS, max_side=12), st.data())
@QUICK
def test_any_values_in_any_window_add_up_to_their_sums(drawn: tuple[Array, Any], data: Any) -> None:
    samples, valid = drawn
    values, mask = samples.reshape(-1, samples.shape[2]), flat_mask(valid)
    bits, d = unit_bits(samples.dtype.name), samples.shape[2]
    exponents = data.draw(st.lists(st.integers(0, 1000), min_size=d, max_size=d))
    centroids = np.zeros((data.draw(st.integers(1, 3)), d))
    centroids[:, 0] = [-0.5, 0.5, 1e30][: len(centroids)]
    found = sums_in_window(values, mask, centroids, np.ldexp(1.0, np.array(exponents)), bits)
    counted = values[mask] if mask.size else values
    labels = labels_of(counted, centroids)
    assert found.counts.tolist() == np.bincount(labels, minlength=len(centroids)).tolist()
    assert as_fractions(found.sums, bits) == expected_sums(counted, labels, len(centroids))
    squares = [sum((v * v for v in exactly(column)), Fraction(0)) for column in counted.T]
    assert [Fraction(int(square), 2 ** (2 * bits)) for square in found.squares] == squares


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n", "bands"), [(0, 1), (1, 4), (127, 1), (128, 4), (129, 1), (16 * 128, 4), (2049, 1)])
def test_any_number_of_pixels_and_blocks(n: int, bands: int, dtype: str) -> None:
    assert (dense.BLOCK, dense_floats.BLOCKS) == (128, 16)
    values = far_and_near(n, bands, dtype)
    bits = unit_bits(dtype)
    centroids = np.random.default_rng(1).normal(size=(4, bands))
    expected = labels_of(values, centroids)
    labels = np.empty(n, np.uint8)
    found = assign_and_sum(BandPixels(values), plain(bands), centroids, bits, labels)
    np.testing.assert_array_equal(labels, expected)
    assert found.counts.tolist() == np.bincount(expected, minlength=4).tolist()
    assert as_fractions(found.sums, bits) == expected_sums(values, expected, 4)
    valid = np.random.default_rng(2).random(n) < 0.7
    holed = np.where(valid[:, None], values, np.nan).astype(dtype)
    some = assign_and_sum(BandPixels(holed, NO_WEIGHTS, valid), plain(bands), centroids, bits, labels)
    np.testing.assert_array_equal(labels, np.where(valid, expected, 255))
    assert as_fractions(some.sums, bits) == expected_sums(values, np.where(valid, expected, 4), 4)
    assert assign_and_sum(BandPixels(holed, NO_WEIGHTS, valid), plain(bands), centroids, bits).same_as(some)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_values_a_window_holds_do_not_overflow_in_many_blocks(dtype: str, sign: int) -> None:
    n = 128 * 16 * 5 + 3
    most = float(np.nextafter(np.dtype(dtype).type(dense_floats.LIMIT), np.dtype(dtype).type(0)))
    values = np.full((n, 2), sign * most, dtype)
    found = sums_in_window(values, EVERYWHERE, np.zeros((1, 2)), np.ones(2), unit_bits(dtype))
    assert as_fractions(found.sums, unit_bits(dtype)) == [[sign * n * Fraction(most)] * 2]
    assert [Fraction(int(s), 2 ** (2 * unit_bits(dtype))) for s in found.squares] == [n * Fraction(most) ** 2] * 2


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("weight", [1, (1 << 24) - 1, 1 << 24, (1 << 48) - 1])
def test_weights_of_any_size_count_every_value_so_often(weight: int, dtype: str) -> None:
    values = far_and_near(300, 2, dtype)
    rng = np.random.default_rng(3)
    weights = rng.integers(1, weight, 300, endpoint=True)
    weights[:9] = weight
    centroids = np.array([[-0.5, 0], [0.5, 0]])
    valid = rng.random(300) < 0.8
    expected = np.where(valid, labels_of(values, centroids), 2)
    found = assign_and_sum(BandPixels(values, weights, valid), plain(2), centroids, unit_bits(dtype))
    assert found.counts.tolist() == [int(weights[expected == j].sum()) for j in range(2)]
    assert as_fractions(found.sums, unit_bits(dtype)) == expected_sums(values, expected, 2, weights)


def in_bins(values: Array, steps: F64) -> tuple[Array, Array, int]:
    """Sums of one band in a window, the bins, and how many values are in them."""
    bins, none = (np.zeros(shape, np.int64) for shape in ((1, 1, dense_floats.BINS), (1, dense_floats.SQUARE_BINS)))
    affine = np.vstack([plain(1), steps])
    found = dense_floats.assign_and_sum_floats(
        values, NO_WEIGHTS, EVERYWHERE, affine, np.zeros((1, 1)), NO_LABELS, bins, none
    )
    assert not none.any()
    return found[1], bins, found[3]


def test_values_go_to_bins_only_where_the_window_does_not_hold_them() -> None:
    near = [0.25, 3.0, -1.5] * 100
    values = np.array([*near, 2.0**60, 2.0**-70])[:, None]
    steps = window_of(values[:300], EVERYWHERE, unit_bits("float64"))
    sums, bins, binned = in_bins(values, steps)
    assert binned == 2
    assert bins.any()
    assert ((int(sums[0, 0, 0]) << 32) + int(sums[1, 0, 0])) / steps[0] == sum(near)


@pytest.mark.parametrize("scale", [1e-250, 1e-40, 1.0, 1e4])
def test_the_window_holds_nearly_all_values_of_one_scale_that_were_measured_as_float32(scale: float) -> None:
    near = np.random.default_rng(4).normal(1000, 300, (5000, 1)).astype(np.float32).astype(np.float64)
    values = near * 2.0 ** np.round(np.log2(scale))
    steps = window_of(values, EVERYWHERE, unit_bits("float64"))
    assert in_bins(values, steps)[2] < 500


# ------------------------------------------------------------------------------------------------------ ends


@given(band_samples(("uint8", "int16", "uint16", *FLOATS), max_side=12))
@QUICK
def test_the_ends_are_the_first_rows_in_order_that_have_the_least_and_the_greatest_value(
    drawn: tuple[Array, Any],
) -> None:
    samples, valid = drawn
    values, mask = samples.reshape(-1, samples.shape[2]), flat_mask(valid)
    d = values.shape[1]
    rows, counts = np.full((2, d), -1, np.int64), np.zeros((2, d), np.int64)
    find_ends(values, mask, rows, counts)
    kept = values[mask] if mask.size else values
    if not len(kept):
        assert (rows == -1).all()
        return
    for band in range(d):
        for end, least in enumerate((kept[:, band].min(), kept[:, band].max())):
            there = kept[kept[:, band] == least]
            assert counts[end, band] == len(there)
            assert values[rows[end, band]].tolist() == min(there.tolist())
