"""Partial results of a step: exact, whatever is merged in whatever order."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.clustering.features import SPACES, FeatureSpace
from kseg_core.clustering.sums import ClusterSums
from kseg_core.kernels import assign
from tests import reference
from tests.strategies import COLOR_SPACES, QUICK, centroids, color_tables

K = 3


@st.composite
def cluster_sums(draw: st.DrawFn) -> ClusterSums:
    numbers = st.integers(-(1 << 60), 1 << 60)
    counts = draw(st.lists(st.integers(0, 1 << 60), min_size=K, max_size=K))
    sums = draw(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=K, max_size=K))
    return ClusterSums(np.array(counts), np.array(sums), draw(st.integers(0, 1 << 90)))


def as_lists(sums: ClusterSums) -> list[Any]:
    return [sums.counts.tolist(), sums.sums.tolist(), sums.squares]


@QUICK
@given(a=cluster_sums(), b=cluster_sums(), c=cluster_sums())
def test_merging_is_associative_and_commutative_and_zero_is_neutral(
    a: ClusterSums, b: ClusterSums, c: ClusterSums
) -> None:
    assert as_lists(a.merge(b)) == as_lists(b.merge(a))
    assert as_lists(a.merge(b).merge(c)) == as_lists(a.merge(b.merge(c)))
    assert as_lists(a.merge(ClusterSums.zero(K))) == as_lists(a)
    each = zip(as_lists(a.merge(b))[0], *(as_lists(part)[0] for part in (a, b)), strict=True)
    assert all(total == one + other for total, one, other in each)
    assert a.merge(b).squares == a.squares + b.squares


@QUICK
@given(space=COLOR_SPACES, data=st.data())
def test_inertia_is_the_exact_sum_of_squared_distances_rounded_once(space: FeatureSpace, data: Any) -> None:
    table = data.draw(color_tables())
    points = space.points(table.codes)
    centers = data.draw(centroids(points))
    # Centroids are means of whole numbers: nothing below 2**-46 but zero.
    centers[np.abs(centers) < 2.0**-46] = 0.0
    labels, _ = reference.nearest(points, centers)
    counts, sums = assign.sum_labelled(points, table.counts, labels, len(centers))
    found = ClusterSums(counts, sums, reference.squares(points, table.counts)).inertia(centers, space.grid)
    exact = reference.inertia(points, table.counts, centers) / space.grid**2
    assert found == exact.numerator / exact.denominator


def test_inertia_does_not_cancel_where_weights_are_huge() -> None:
    """Two values one grid step apart, 2**44 pixels each, far from zero: squares - sums**2 / n in float64 is noise."""
    n, x = 1 << 44, 65_000
    sums = ClusterSums(np.array([2 * n]), np.array([[n * (2 * x + 1), 0, 0]]), n * (x * x + (x + 1) * (x + 1)))
    assert sums.inertia(np.array([[x + 0.5, 0, 0]]), 1) == n / 2
    assert sums.inertia(np.array([[x + 0.5, 0, 0]]), 256) == n / 2 / 65536


def test_the_last_bit_of_the_smallest_centroid_is_not_lost() -> None:
    """The mean nearest to zero is that of one pixel in 2**46: a multiple of 2**-98."""
    center = 2.0**-46 * (1 + 2.0**-52)
    sums = ClusterSums(np.array([1]), np.array([[0, 0, 0]]), 0)
    assert sums.inertia(np.array([[center, 0, 0]]), 1) == center * center


def test_inertia_is_never_below_zero() -> None:
    """A centroid is rounded, so at a cluster of one value the exact sum may be a hair off zero, never negative."""
    for n in (3, 7, 49, 10**9 + 7):
        sums = ClusterSums(np.array([n]), np.array([[n * 255, n, 0]]), n * (255 * 255 + 1))
        assert sums.inertia(sums.means(np.zeros((1, 3))), 1) == 0.0
    empty = ClusterSums(np.array([1, 0]), np.array([[2, 0, 0], [0, 0, 0]]), 4)  # is passed over
    assert empty.inertia(np.array([[0.0, 0, 0], [1e9, 1e9, 1e9]]), 1) == 4.0
    assert ClusterSums.zero(2).total_variance() == 0.0
    short = ClusterSums(np.array([1]), np.array([[10, 0, 0]]), 0)  # impossible sums
    assert short.inertia(np.array([[1.0, 0, 0]]), 1) == 0.0


def test_means_are_rounded_quotients_and_empty_clusters_stay() -> None:
    sums = ClusterSums(np.array([3, 0]), np.array([[1, -2, 0], [0, 0, 0]]), 0)
    stay = np.array([[9.0, 9, 9], [5.5, 6.5, 7.5]])
    means = sums.means(otherwise=stay)
    assert means.tolist() == [[1 / 3, -2 / 3, 0.0], [5.5, 6.5, 7.5]]
    assert stay[0].tolist() == [9, 9, 9]


def test_same_as_sees_every_difference_in_counts_and_sums() -> None:
    sums = ClusterSums(np.array([1, 2]), np.array([[1, 2, 3], [4, 5, 6]]), 7)
    assert sums.same_as(ClusterSums(sums.counts.copy(), sums.sums.copy(), 7))
    assert not sums.same_as(None)
    assert not sums.same_as(ClusterSums(np.array([2, 1]), sums.sums, 7))
    assert not sums.same_as(ClusterSums(sums.counts, sums.sums + np.eye(2, 3, dtype=np.int64), 7))
    assert not sums.same_as(ClusterSums.zero(3))


@QUICK
@given(data=st.data())
def test_total_variance_is_the_exact_variance(data: Any) -> None:
    table = data.draw(color_tables())
    points = SPACES["lab"].points(table.codes)
    labels = np.zeros(table.codes.size, np.int64)
    counts, sums = assign.sum_labelled(points, table.counts, labels, 1)
    found = ClusterSums(counts, sums, reference.squares(points, table.counts)).total_variance()
    n = table.pixels
    mean = [Fraction(s, n) for s in sums[0].tolist()]
    exact = sum(
        w * sum((int(v) - m) ** 2 for v, m in zip(p, mean, strict=True))
        for p, w in zip(points.T.tolist(), table.counts.tolist(), strict=True)
    ) / Fraction(n)
    assert found == exact.numerator / exact.denominator
