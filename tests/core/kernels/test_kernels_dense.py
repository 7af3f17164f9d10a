"""Dense kernels over bands, against plain NumPy and Python integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.kernels import dense

F64 = NDArray[np.float64]
Array = NDArray[Any]

DTYPES = ["uint8", "uint16", "int16"]
ALL_DTYPES = [*DTYPES, "float32", "float64"]  # as which all others are taken
NO_WEIGHTS = np.empty(0, np.int64)
EVERYWHERE = np.empty(0, np.bool_)
NO_LABELS = np.empty(0, np.uint8)


def affine_of(bands: int, *, normalised: bool) -> F64:
    """Offset and scale: nothing or awkward numbers."""
    rng = np.random.default_rng(bands)
    offset = rng.normal(size=bands) * 100 if normalised else np.zeros(bands)
    scale = 1 / rng.uniform(0.1, 90, bands) if normalised else np.ones(bands)
    return np.stack([offset, scale])


def features(values: Array, affine: F64) -> F64:
    """Of values (n, d)."""
    offset, scale = affine
    return (values.astype(np.float64) - offset) * scale


def nearest(points: F64, centroids: F64) -> tuple[NDArray[np.int64], F64]:
    """Label and squared distance: summed in band order, the lowest index in a tie."""
    squared = np.zeros((len(points), len(centroids)))
    for band in range(points.shape[1]):
        squared += (points[:, band, None] - centroids[None, :, band]) ** 2
    return squared.argmin(axis=1), squared.min(axis=1)


def exact_sums(values: Array, weights: Array, labels: Array, k: int) -> tuple[list[int], list[list[int]]]:
    """As Python integers; a label of k or more counts nowhere."""
    counts, sums = [0] * k, [[0] * values.shape[1] for _ in range(k)]
    for row, weight, j in zip(values.tolist(), weights.tolist(), labels.tolist(), strict=True):
        if j < k:
            counts[j] += weight
            sums[j] = [total + weight * value for total, value in zip(sums[j], row, strict=True)]
    return counts, sums


def anywhere(rng: np.random.Generator, dtype: str, n: int, bands: int, k: int, affine: F64) -> tuple[Array, F64]:
    """Values of the whole range (of floats, of 40 bits), and centroids among them."""
    if dtype.startswith("float"):
        values = (rng.integers(-(1 << 39), 1 << 39, (max(1, n), bands)) / 1024).astype(dtype)
        return values[:n], features(values[rng.integers(0, len(values), k)], affine) + rng.normal(size=(k, bands))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    values = rng.integers(low, high, (n, bands), dtype, endpoint=True)
    return values, features(rng.integers(low, high, (k, bands)), affine) + rng.normal(size=(k, bands))


def ties(rng: np.random.Generator, dtype: str, n: int, bands: int, k: int, affine: F64) -> tuple[Array, F64]:
    """A small lattice with centroids on it and halfway between its points: nearly every distance occurs many times."""
    values = rng.integers(0, 5, (n, bands)).astype(dtype)
    return values, features(rng.integers(0, 10, (k, bands)) / 2, affine)


def joined(high: Array, low: Array) -> list[int]:
    """Sums of squares from the two parts that kernels give."""
    return [(h << 17) + part for h, part in zip(high.tolist(), low.tolist(), strict=True)]


SIZES = [0, 1, dense.BLOCK - 1, dense.BLOCK, dense.BLOCK + 1, 3 * dense.BLOCK + 5]


@pytest.mark.parametrize("dtype", ALL_DTYPES)
@settings(max_examples=25, deadline=None)
@given(
    n=st.sampled_from(SIZES),
    bands=st.sampled_from([1, 2, 3, 4, 7]),
    k=st.sampled_from([1, 2, 17, 300]),
    make=st.sampled_from([anywhere, ties]),
    normalised=st.booleans(),
    masked=st.sampled_from([None, 0.0, 0.7]),
)
@example(3 * dense.BLOCK + 5, 4, 300, ties, True, 0.7)
@example(3 * dense.BLOCK + 5, 7, 17, anywhere, False, None)
def test_labels_distances_and_sums_are_the_naive_ones(
    dtype: str, n: int, bands: int, k: int, make: Any, normalised: bool, masked: float | None
) -> None:
    rng = np.random.default_rng([n, bands, k])
    affine = affine_of(bands, normalised=normalised)
    values, centroids = make(rng, dtype, n, bands, k, affine)
    labels, squared = nearest(features(values, affine), centroids)
    valid = EVERYWHERE if masked is None else rng.random(n) < masked
    counted = np.ones(n, bool) if masked is None else valid
    label_type: Any = np.uint8 if k <= 254 else np.uint16
    invalid = int(np.iinfo(label_type).max)
    found = np.full(n, 77, label_type)
    distances = dense.squared_distances(values, valid, affine, centroids)
    np.testing.assert_array_equal(distances, np.where(counted, squared, -1.0))
    if dtype not in DTYPES:
        return
    counts, sums, high, low = dense.assign_and_sum(values, NO_WEIGHTS, valid, affine, centroids, found)
    np.testing.assert_array_equal(found, np.where(counted, labels, invalid))
    assert (counts.tolist(), sums.tolist()) == exact_sums(values, counted.astype(np.int64), labels, k)
    assert joined(high, low) == [sum(value * value for value in column) for column in values[counted].T.tolist()]
    for weights in (NO_WEIGHTS, rng.integers(0, 1 << 20, n)) if n else (NO_WEIGHTS,):
        counts, sums, high, low = dense.assign_and_sum(values, weights, valid, affine, centroids, NO_LABELS)
        assert not np.concatenate([high, low]).any()
        each = weights if weights.size else np.ones(n, np.int64)
        assert (counts.dtype, sums.dtype) == (np.int64, np.int64)
        assert (counts.tolist(), sums.tolist()) == exact_sums(values, each * counted, labels, k)


def test_of_equally_near_centroids_the_lowest_number_wins() -> None:
    values = np.array([[10, 10], [20, 20]], np.uint16)
    centroids = np.array([[30.0, 30], [10, 30], [30, 10], [10, 10], [10, 10]])  # 3 = 4; 0, 1, 2 around (20, 20)
    found = np.empty(2, np.uint8)
    dense.assign_and_sum(values, NO_WEIGHTS, EVERYWHERE, affine_of(2, normalised=False), centroids, found)
    assert found.tolist() == [3, 0]


def test_what_a_masked_pixel_holds_is_never_looked_at() -> None:
    rng = np.random.default_rng(0)
    affine = affine_of(3, normalised=True)
    values, centroids = anywhere(rng, "int16", 700, 3, 6, affine)
    valid = rng.random(700) < 0.5
    other = values.copy()
    other[~valid] = rng.integers(-(1 << 15), 1 << 15, (int((~valid).sum()), 3))
    one, two = (dense.assign_and_sum(each, NO_WEIGHTS, valid, affine, centroids, NO_LABELS) for each in (values, other))
    assert [part.tolist() for part in one] == [part.tolist() for part in two]


@pytest.mark.parametrize("dtype", DTYPES)
def test_moments_by_python_integers(dtype: str) -> None:
    rng = np.random.default_rng(len(dtype))
    lowest = -(1 << 15) if dtype == "int16" else 0
    values, _ = anywhere(rng, dtype, 900, 3, 1, affine_of(3, normalised=False))
    values[0], values[1] = values.min(), values.max()
    for valid in (EVERYWHERE, rng.random(900) < 0.7, np.zeros(900, bool)):
        histogram = np.ones((3, 1 << 16), np.int64)  # it is added to
        n, sums, high, low = dense.band_moments(values, valid, lowest, histogram)
        counted = values[valid] if valid.size else values
        columns = counted.T.tolist()
        assert (n, sums.tolist()) == (len(counted), [sum(column) for column in columns])
        assert joined(high, low) == [sum(value * value for value in column) for column in columns]
        for band in range(3):
            bins = counted[:, band].astype(np.int64) - lowest
            np.testing.assert_array_equal(histogram[band], 1 + np.bincount(bins, minlength=1 << 16))


@pytest.mark.parametrize(("dtype", "value"), [("uint16", 65535), ("int16", -32768), ("uint8", 255)])
def test_sums_and_squares_of_the_largest_values_do_not_overflow(dtype: str, value: int) -> None:
    n = (1 << 21) + 77
    values = np.full((n, 3), value, dtype)
    affine, centroids, labels = affine_of(3, normalised=False), np.zeros((1, 3)), np.empty(n, np.uint8)
    counts, sums, high, low = dense.assign_and_sum(values, NO_WEIGHTS, EVERYWHERE, affine, centroids, labels)
    assert (counts.tolist(), sums.tolist(), joined(high, low)) == ([n], [[n * value] * 3], [n * value**2] * 3)
    _, sums, high, low = dense.band_moments(values, EVERYWHERE, min(0, value), np.zeros((3, 1 << 16), np.int64))
    assert (sums.tolist(), joined(high, low)) == ([n * value] * 3, [n * value**2] * 3)
    heavy = np.full(3, 1 << 45)
    sums = dense.assign_and_sum(values[:3], heavy, EVERYWHERE, affine, centroids, NO_LABELS)[1]
    assert sums.tolist() == [[3 * (value << 45)] * 3]
