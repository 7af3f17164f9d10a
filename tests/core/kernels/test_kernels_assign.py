"""Nearest centroids and their sums: point by point and cell by cell, against plain NumPy and Python integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.clustering.features import SPACES
from kseg_core.kernels import assign
from tests import reference
from tests.strategies import QUICK, centroids, color_tables

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

KS = [1, 2, 3, 17, 65, 300]


def lattice(rng: np.random.Generator, k: int) -> tuple[F64, F64]:
    """A small grid of points with centroids on and between its points: nearly every distance occurs many times."""
    return rng.integers(0, 6, (3, 2000)), rng.integers(0, 12, (k, 3)) / 2


def bisectors(rng: np.random.Generator, k: int) -> tuple[F64, F64]:
    """Points exactly halfway between two centroids."""
    centers = rng.integers(0, 128, (k, 3)) * 2
    pairs = rng.integers(0, k, (2, 2000))
    return (centers[pairs[0]] + centers[pairs[1]]).T // 2, centers


def duplicates(rng: np.random.Generator, k: int) -> tuple[F64, F64]:
    """Every centroid occurs several times."""
    return rng.integers(0, 256, (3, 2000)), rng.integers(0, 256, (-(-k // 3), 3)).repeat(3, axis=0)[rng.permutation(k)]


def far_away(rng: np.random.Generator, k: int) -> tuple[F64, F64]:
    """Centroids far outside the cube, at distances where neighbouring points differ by little more than rounding."""
    scale = 10.0 ** rng.integers(2, 10, (k, 1))
    return rng.integers(0, 256, (3, 2000)), rng.normal(size=(k, 3)) * scale


def bits_apart(rng: np.random.Generator, k: int) -> tuple[F64, F64]:
    """All centroids in one place, a few last bits apart: which is nearest is decided by rounding, point by point."""
    place = rng.uniform(-300, 600, 3)
    return rng.integers(0, 256, (3, 2000)), place + rng.integers(-3, 4, (k, 3)) * np.spacing(place)


def fractional(rng: np.random.Generator, k: int) -> tuple[F64, F64]:
    """Means of integers, as steps give them."""
    return rng.integers(0, 256, (3, 2000)), rng.integers(0, 256 * 7, (k, 3)) / rng.integers(1, 8, (k, 1))


def nearly_tied(rng: np.random.Generator, k: int) -> tuple[F64, F64]:
    """Centroids a hair off places where points tie."""
    points, centers = bisectors(rng, k)
    return points, centers * (1 + rng.integers(-2, 3, centers.shape) * 2.0**-50)


def fine_grid(rng: np.random.Generator, k: int) -> tuple[F64, F64]:
    """The range of hsv and lab in grid units, negative values included."""
    return rng.integers(-65280, 65281, (3, 2000)), rng.normal(scale=30000, size=(k, 3))


def random(rng: np.random.Generator, k: int) -> tuple[F64, F64]:
    return rng.integers(0, 256, (3, 2000)), rng.uniform(0, 255, (k, 3))


CASES = [random, lattice, bisectors, duplicates, far_away, bits_apart, fractional, nearly_tied, fine_grid]


def in_cells(points: F32, weights: I64, side: int) -> tuple[F32, I64, I64]:
    """Points and weights ordered by cubic cells, and the cells' starts."""
    at = ((points.astype(np.int64) - points.min(axis=1, keepdims=True).astype(np.int64)) // side).astype(np.int64)
    n = at.max(axis=1) + 1
    order, starts = assign.order_by_cell((at[0] * n[1] + at[1]) * n[2] + at[2], int(n.prod()))
    return np.ascontiguousarray(points[:, order]), weights[order], starts


def check_all_ways(points: F32, weights: I64, centers: F64, side: int) -> None:
    """Every kernel that assigns gives the reference's labels and sums."""
    k = len(centers)
    points, weights, starts = in_cells(points, weights, side)
    lo, hi, cell_counts, cell_sums = assign.summarise_cells(points, weights, starts)
    expected, expected_squared = reference.nearest(points, centers)
    labels, squared = assign.nearest(points, centers)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(squared, expected_squared)
    np.testing.assert_array_equal(assign.label_by_cells(points, starts, lo, hi, centers), expected)
    counts, sums = reference.cluster_sums(points, weights, expected, k)
    for found in (
        assign.sum_by_cells(points, weights, starts, lo, hi, cell_counts, cell_sums, centers),
        assign.sum_labelled(points, weights, expected, k),
    ):
        assert (found[0].tolist(), found[1].tolist()) == (counts, sums)


@settings(max_examples=60, deadline=None)
@given(case=st.sampled_from(CASES), k=st.sampled_from(KS), seed=st.integers(0, 9), cells=st.sampled_from([3, 32]))
def test_labels_and_sums_are_the_reference_s_whatever_the_data(case: Any, k: int, seed: int, cells: int) -> None:
    rng = np.random.default_rng([k, seed])
    raw_points, raw_centers = case(rng, k)
    points = np.ascontiguousarray(raw_points[:, : rng.choice([1, 255, 256, 257, 2000])], np.float32)
    weights = rng.integers(1, 1000, points.shape[1])
    span = int(points.max() - points.min()) + 1
    check_all_ways(points, weights, np.ascontiguousarray(raw_centers, np.float64), max(1, span // cells))


@QUICK
@given(data=st.data())
def test_labels_and_sums_are_the_reference_s_in_ties(data: Any) -> None:
    table = data.draw(color_tables())
    points = SPACES["rgb"].points(table.codes)
    check_all_ways(points, table.counts, data.draw(centroids(points)), data.draw(st.sampled_from([1, 2, 8, 256])))


def test_the_lowest_index_wins_a_tie() -> None:
    points = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], np.float32)
    centers = np.array([[2.0, 0, 0], [0.0, 0, 0], [0.0, 0, 0]])
    labels, squared = assign.nearest(points, centers)
    assert labels.tolist() == [0, 1, 0]
    assert squared.tolist() == [1.0, 0.0, 0.0]
    assert assign.nearest(points, centers[::-1].copy())[0].tolist() == [0, 0, 2]


def test_no_points_have_no_labels_and_no_sums() -> None:
    points = np.empty((3, 0), np.float32)
    nothing = np.empty(0, np.int64)
    centers = np.zeros((2, 3))
    assert assign.nearest(points, centers)[0].size == 0
    order, starts = assign.order_by_cell(nothing, 10)
    assert (order.size, starts.tolist()) == (0, [0])
    boxes = assign.summarise_cells(points, nothing, starts)
    counts, sums = assign.sum_by_cells(points, nothing, starts, *boxes, centers)
    assert not counts.any()
    assert not sums.any()
    assert assign.sum_squares(points, nothing) == (0, 0)


@pytest.mark.parametrize("n", [1, 10, 5000])
def test_ordering_by_counting_and_by_sorting_give_the_same_stable_order(n: int) -> None:
    rng = np.random.default_rng(n)
    cells = rng.integers(0, 40, n) * 7
    few, many = 280, 4 * n + 65536 + 1000  # counting is chosen up to 4 n + 65536 possible cells, sorting above
    expected = np.argsort(cells, kind="stable")
    _, first = np.unique(cells[expected], return_index=True)
    for n_cells in (few, 4 * n + 65536, 4 * n + 65537, many):
        order, starts = assign.order_by_cell(cells, n_cells)
        np.testing.assert_array_equal(order, expected)
        assert starts.tolist() == [*first.tolist(), n]


def test_a_cell_s_box_weight_and_sum_are_those_of_its_points() -> None:
    points = np.array([[1, 3, 2, 9], [-5, 0, 0, 9], [7, 7, 8, 9]], np.float32)
    lo, hi, counts, sums = assign.summarise_cells(points, np.array([1, 2, 3, 10]), np.array([0, 3, 4]))
    assert lo.tolist() == [[1, -5, 7], [9, 9, 9]]
    assert hi.tolist() == [[3, 0, 8], [9, 9, 9]]
    assert counts.tolist() == [6, 10]
    assert sums.tolist() == [[1 + 6 + 6, -5, 7 + 14 + 24], [90, 90, 90]]


def total(parts: tuple[int, int]) -> int:
    return (int(parts[0]) << 17) + int(parts[1])


def test_sums_of_squares_beyond_63_bits_are_exact() -> None:
    points = np.array([[65280, -65280, 1, 65279], [65280, 65280, 0, 3], [-65280, 65280, 0, -65277]], np.float32)
    weights = np.array([1 << 45, (1 << 44) + 1, (1 << 44) - 3, 12345])
    expected = reference.squares(points, weights)
    assert expected > 1 << 63
    assert total(assign.sum_squares(points, weights)) == expected


@pytest.mark.parametrize("space", SPACES.values(), ids=list(SPACES))
def test_2_to_the_46_pixels_of_the_extreme_colours_overflow_nothing(space: Any) -> None:
    corners = [r << 16 | g << 8 | b for r in (0, 255) for g in (0, 255) for b in (0, 255)]
    points = space.points(np.array(corners, np.uint32))
    weights = np.full(8, 1 << 43, np.int64)
    assert total(assign.sum_squares(points, weights)) == reference.squares(points, weights)
    labels = np.zeros(8, np.int64)
    counts, sums = assign.sum_labelled(points, weights, labels, 1)
    assert (counts.tolist(), sums.tolist()) == reference.cluster_sums(points, weights, labels, 1)
    everything = np.full(8, points[:, 7:].max(), np.float32)[None].repeat(3, axis=0)
    sums = assign.sum_labelled(everything, weights, labels, 1)[1]
    assert sums.tolist() == [[int(everything[0, 0]) << 46] * 3]
