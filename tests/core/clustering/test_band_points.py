"""Pixels of bands in memory, and what a pass over them brings home."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from kseg_core.clustering.band_points import BandBatch, BandPoints, Place, numbered
from kseg_core.clustering.band_values import as_values, unit_bits
from kseg_core.clustering.bands import BandMoments, BandSpace
from kseg_core.clustering.kmeans import solve
from kseg_core.clustering.summary import BatchRule
from kseg_core.config import FitSettings
from tests import reference
from tests.strategies import QUICK, band_samples, exactly, rounded

Array = NDArray[Any]


def moments_of(samples: Array, valid: Array | None = None) -> BandMoments:
    return BandMoments.of(as_values(samples), valid, samples.dtype.name)


def space_of(samples: Array, normalize: str = "none") -> BandSpace:
    bands = tuple(range(1, samples.shape[-1] + 1))
    return BandSpace.fitted(bands, samples.dtype.name, moments_of(samples), normalize, as_values(samples))


def pixels_of(samples: Array, normalize: str = "none") -> BandPoints:
    return BandPoints.build(space_of(samples, normalize), as_values(samples))


@given(band_samples(), st.booleans())
@QUICK
def test_squares_and_sums_are_those_of_fractions(drawn: tuple[Array, Any], weighted: bool) -> None:
    samples = drawn[0] if drawn[0].dtype.kind != "f" else np.nan_to_num(drawn[0], posinf=3.0, neginf=3.0)
    n, d = samples.shape[0] * samples.shape[1], samples.shape[2]
    columns = [exactly(column) for column in as_values(samples).T]
    unit = Fraction(1, 2 ** unit_bits(samples.dtype.name))
    pixels = pixels_of(samples)
    assert [s * unit**2 for s in pixels.squares.tolist()] == [sum(v * v for v in column) for column in columns]
    each = [1] * n
    if weighted:
        each = [1 + i * 1_000_003 for i in range(n)]
        pixels = replace(pixels, weights=np.array(each), few=None)
    sums = pixels.sums(np.zeros((1, d)))
    assert sums.counts.tolist() == [sum(each)]
    expected = [sum(w * v for w, v in zip(each, column, strict=True)) for column in columns]
    assert [total * unit for total in sums.sums[0].tolist()] == expected


@given(band_samples(), st.data())
@QUICK
def test_labels_sums_and_inertia_of_any_values_are_those_written_out(drawn: tuple[Array, Any], data: Any) -> None:
    """Nearest by a direct float64 computation, sums by fractions; of the parts in any order the same bits."""
    samples, valid = drawn
    values = as_values(samples).astype(np.float64)
    n, d = values.shape
    counted = np.ones(n, bool) if valid is None else valid.reshape(-1)
    offset, scale = np.zeros(d), np.ones(d)
    if data.draw(st.booleans()):
        offset = np.array([data.draw(st.sampled_from([0.0, -1.5, 300.1])) for _ in range(d)])
        scale = np.array([data.draw(st.sampled_from([1.0, 0.1, 1 / 3, 1e-3])) for _ in range(d)])
    space = BandSpace(tuple(range(1, d + 1)), samples.dtype.name, offset, scale, ((0.0, 1.0),))
    rows = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=5))
    centroids = np.nan_to_num(space.features_of(values[rows]), nan=0.5, posinf=1.0, neginf=-1.0)
    centroids[1::2] *= data.draw(st.sampled_from([1.0, 0.5, 1 + 1e-9]))
    squared = np.zeros((n, len(centroids)))
    with np.errstate(over="ignore", invalid="ignore"):
        for band in range(d):
            squared += ((values[:, band, None] - offset[band]) * scale[band] - centroids[None, :, band]) ** 2
    expected = np.where(counted, squared.argmin(axis=1), 255)
    found = space.label(samples, valid, centroids)
    np.testing.assert_array_equal(found.labels.reshape(-1), expected)

    unit = Fraction(1, 2**space.bits)
    inertia = Fraction(0)
    for band in range(d):
        shift, factor = Fraction(float(offset[band])), Fraction(float(scale[band]))
        assert int(found.sums.squares[band]) * unit**2 == sum(v * v for v in exactly(values[counted, band]))
        for j in range(len(centroids)):
            column = exactly(values[expected == j, band])
            assert found.sums.counts[j] == len(column)
            assert int(found.sums.sums[j, band]) * unit == sum(column)
            center = Fraction(float(centroids[j, band]))
            inertia += sum(((v - shift) * factor - center) ** 2 for v in column)
    assert space.inertia(found.sums, centroids) == rounded(inertia)
    alone = BandPoints.build(space, as_values(samples)[counted]) if counted.any() else None
    assert alone is None or alone.sums(centroids).same_as(found.sums)

    cuts = sorted({0, len(samples), *data.draw(st.lists(st.integers(0, len(samples)), max_size=3))})
    parts = [space.label(samples[a:b], None if valid is None else valid[a:b], centroids) for a, b in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate([part.labels for part in parts]), found.labels)
    merged = reduce(lambda one, other: one.merge(other), data.draw(st.permutations([part.sums for part in parts])))
    assert merged.same_as(found.sums)
    assert merged.squares.tolist() == found.sums.squares.tolist()


def test_a_table_of_values_and_counts_answers_like_the_pixels_themselves() -> None:
    rng = np.random.default_rng(1)
    samples = rng.integers(0, 40, (50, 60, 1)).astype(np.int16)
    pixels = pixels_of(samples)
    found, counts = np.unique(samples, return_counts=True)
    table = BandPoints.of_counts(pixels.space, found[:, None], counts)
    centroids = np.array([[3.0], [11.5], [30.0]])
    one, other = pixels.sums(centroids), table.sums(centroids)
    assert one.same_as(other)
    assert one.squares.tolist() == other.squares.tolist()
    assert pixels.farthest(centroids) == table.farthest(centroids)
    assert pixels.distinct().tolist() == table.distinct().tolist() == [[value] for value in found.tolist()]
    assert pixels.space.inertia(one, centroids) == table.space.inertia(other, centroids)


@pytest.mark.parametrize("normalize", ["none", "standard"])
def test_the_farthest_pixel_and_of_equally_far_ones_the_least(normalize: str) -> None:
    samples = np.array([[[0, 0], [10, 0], [0, 10], [5, 5]]], np.uint16)
    pixels = pixels_of(samples, normalize)
    centroids = pixels.space.features_of(np.array([[5.0, 5.0]]))
    far = pixels.farthest(centroids)
    corners = pixels.space.features_of(samples.reshape(-1, 2)[:3].astype(float))
    squared = ((corners - centroids) ** 2).sum(axis=1)
    assert far.squared == squared.max()
    assert list(far.point) == min(corners[squared == squared.max()].tolist())


def test_the_coarse_form_of_several_bands_has_the_weight_and_the_mean_of_all_pixels_and_every_rare_one() -> None:
    samples = np.random.default_rng(6).normal(2000, 300, (200, 300, 2)).astype(np.uint16)
    samples[0, 0] = (60_000, 7)  # one of a kind
    pixels = pixels_of(samples)
    values, _ = pixels.weighted_points()
    for level in (1, 0, -1, -2):
        points, weights = pixels.coarse(level).weighted_points()
        assert weights.sum() == 60_000
        np.testing.assert_allclose((points * weights).sum(axis=1) / 60_000, values.mean(axis=1), rtol=1e-9)
        assert [60_000.0, 7.0] in points.T.tolist()
    few = pixels_of(np.array([[[1, 2], [3, 4]] + [[1, 2]] * 20], np.uint8))
    points, weights = few.coarse(1).weighted_points()
    assert (points.T.tolist(), weights.tolist()) == ([[1, 2], [3, 4]], [21, 1])


def test_the_coarse_form_of_very_many_bands_is_the_distinct_values_of_an_even_sample() -> None:
    many = np.arange(60_000, dtype=np.uint16).reshape(200, 300, 1).repeat(20, axis=2)
    points, weights = pixels_of(many).coarse(1).weighted_points()
    assert points.shape == (20, 1 << 14)
    assert weights.tolist() == [1.0] * (1 << 14)
    assert set(np.diff(points[0]).tolist()) <= {3.0, 4.0}
    assert (points[0][0], points[0][-1]) == (0, 59_999)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_the_coarse_form_of_one_band_has_the_weight_and_the_mean_of_all_values(dtype: str) -> None:
    samples = np.random.default_rng(6).normal(0, 3000, (200, 300, 1)).astype(dtype)
    samples[0, 0] = 32767  # one of a kind
    pixels = pixels_of(samples)
    values, _ = pixels.weighted_points()
    points, weights = pixels.coarse(1).weighted_points()
    assert 256 < weights.size <= 1 << 14
    assert weights.sum() == 60_000
    assert (points * weights).sum() / 60_000 == pytest.approx(values.mean(), abs=1e-6)
    assert points.max() == values.max()
    assert (np.diff(points[0]) > 0).all()


# ------------------------------------------------------------------------------------------- mini-batches


def batch_of(
    samples: Array, valid: Array | None, rules: tuple[BatchRule, BatchRule], key: str, cuts: Any
) -> list[BandBatch]:
    """What the chunks between some cuts bring home."""
    rows, columns = cuts
    parts = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            window = samples[top:bottom, left:right]
            some = None if valid is None else np.ascontiguousarray(valid[top:bottom, left:right])
            place = Place(key, top, left, samples.shape[1])
            parts.append(BandBatch.of(window, some, place, *rules))
    return parts


CUTS = [((0, 37), (0, 41)), ((0, 8, 16, 37), (0, 16, 41)), ((0, 1, 5, 30, 37), (0, 13, 14, 41))]


@pytest.mark.parametrize(("dtype", "masked"), [("uint16", True), ("float32", False)])
def test_any_chunks_in_any_order_bring_home_the_same(dtype: str, masked: bool) -> None:
    rng = np.random.default_rng(2)
    images = {key: rng.integers(0, 9000, (37, 41, 3)).astype(dtype) for key in ("b", "a")}
    valid = rng.random((37, 41)) < 0.6 if masked else None
    rules = BatchRule(3, 7), BatchRule(1, 7)
    results = []
    for cuts in CUTS:
        parts = [part for key, samples in images.items() for part in batch_of(samples, valid, rules, key, cuts)]
        order = rng.permutation(len(parts))
        results.append(reduce(lambda one, other: one.merge(other), [parts[i] for i in order]))
    space = BandSpace.fitted((1, 2, 3), dtype, results[0].moments, "standard", results[0].sample())
    for other in results[1:]:
        assert other.moments.sums.tolist() == results[0].moments.sums.tolist()
        assert other.moments.squares.tolist() == results[0].moments.squares.tolist()
        for form in ("first_pixels", "held_pixels"):
            one, two = getattr(results[0], form)(space), getattr(other, form)(space)
            np.testing.assert_array_equal(one.values, two.values)
    picked = reference.picked(37, 41, 3, 7)
    kept = picked if valid is None else picked & valid
    expected = np.concatenate([as_values(images[key][kept][:, None]) for key in ("a", "b")])
    first, held = (form(space).values for form in (results[0].first_pixels, results[0].held_pixels))
    np.testing.assert_array_equal(first, expected)
    assert set(map(tuple, first.tolist())) < set(map(tuple, held.tolist()))  # batches are nested


def test_one_band_of_16_bits_is_a_table_whatever_the_batches_hold() -> None:
    samples = np.random.default_rng(4).integers(-50, 50, (37, 41, 1)).astype(np.int16)
    parts = batch_of(samples, None, (BatchRule(5, 0), BatchRule(4, 0)), "a", CUTS[1])
    batch = reduce(lambda one, other: one.merge(other), parts)
    table = batch.everything(space_of(samples))
    assert table is not None
    found, counts = np.unique(samples, return_counts=True)
    assert (table.values[:, 0].tolist(), table.weights.tolist()) == (found.tolist(), counts.tolist())


@pytest.mark.parametrize(("level", "is_all"), [(0, True), (1, False)])
def test_several_bands_are_all_at_hand_only_where_the_larger_batch_is_all(level: int, is_all: bool) -> None:
    samples = np.random.default_rng(5).integers(0, 9, (37, 41, 2)).astype(np.uint8)
    (batch,) = batch_of(samples, None, (BatchRule(2, 0), BatchRule(level, 0)), "a", CUTS[0])
    everything = batch.everything(space_of(samples))
    assert (everything is not None) == is_all
    if everything is not None:
        np.testing.assert_array_equal(everything.values, samples.reshape(-1, 2))


@pytest.mark.slow
@pytest.mark.few(1)
@pytest.mark.parametrize("bands", [2, 3])
def test_rare_far_values_of_skewed_bands_are_no_worse_clustered_than_by_scikit_learn(bands: int) -> None:
    samples = np.exp(1.3 * np.random.default_rng(1).normal(size=(120, 120, bands))).astype(np.float32)
    space, values = space_of(samples), as_values(samples)
    pixels = BandPoints.build(space, values)
    centroids, _ = solve(pixels, BandPoints.build(space, values[::4]), FitSettings(8, features="bands"))
    ours = space.inertia(pixels.sums(centroids), centroids)
    points = samples.reshape(-1, bands).astype(np.float64)
    best = KMeans(8, n_init=10, max_iter=1000, tol=1e-6, random_state=0).fit(points).inertia_
    assert ours <= best * 1.001


@pytest.mark.parametrize("largest", [5, 1 << 20, 1 << 40])
def test_cells_are_numbered_as_numpy_numbers_them(largest: int) -> None:
    cells = np.random.default_rng(3).integers(0, largest, 3000)
    assert np.array_equal(numbered(cells), np.unique(cells, return_inverse=True)[1])
    assert numbered(cells[:0]).size == 0
