"""Which number of clusters is taken, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from kneed import KneeLocator

from kseg_core.sweep.elbow import Choice, Point, choose, find_knee


def points(inertia: Sequence[float], silhouette: Sequence[float | None], first: int = 1) -> list[Point]:
    return [
        Point(k, k, value, rated) for k, (value, rated) in enumerate(zip(inertia, silhouette, strict=True), start=first)
    ]


BENT = (100.0, 40.0, 10.0, 8.0, 6.5, 5.5, 5.0)


def test_the_knee_is_that_of_kneed() -> None:
    for curve in (BENT, [1000 / k for k in range(1, 12)], [900, 500, 450, 420, 100, 90, 80, 75, 70]):
        ks = list(range(1, len(curve) + 1))
        knee = find_knee(ks, curve)
        assert knee is not None
        assert knee == KneeLocator(ks, curve, curve="convex", direction="decreasing").knee
    assert find_knee(range(1, 8), BENT) == 3


@pytest.mark.parametrize(
    "curve",
    [
        [10.0],
        [10.0, 1.0],
        [10.0, 8.0, 6.0, 4.0, 2.0],  # straight
        [10.0, 9.9, 9.0, 7.0, 1.0],  # concave: it bends the other way
        [3.0, 3.0, 3.0, 3.0],  # flat
        [0.0, 0.0, 0.0],
    ],
)
def test_a_short_straight_flat_or_concave_curve_has_no_knee(curve: list[float]) -> None:
    assert find_knee(list(range(1, len(curve) + 1)), curve) is None


def test_where_there_is_a_knee_it_is_chosen_whatever_the_silhouette() -> None:
    found = choose(points(BENT, [None, 0.9, 0.5, 0.4, 0.4, 0.3, 0.3]))
    assert found == Choice(2, 3, 3, "the knee of the inertia curve over k 1 to 7")


def test_where_there_is_none_the_largest_silhouette_is_chosen_and_that_is_said() -> None:
    found = choose(points([10, 8, 6, 4, 2], [None, 0.5, 0.7, 0.6, 0.7]))
    assert (found.index, found.k, found.knee) == (2, 3, None)  # the least of equals
    assert "no knee" in found.why
    assert "largest silhouette, 0.700" in found.why


def test_a_range_of_one_number_leaves_no_choice() -> None:
    found = choose(points([10], [0.3], first=4))
    assert (found.index, found.k, found.knee) == (0, 4, None)
    assert found.why == "the only number tried, k 4"


def test_data_of_one_value_has_one_cluster() -> None:
    found = choose([Point(k, 1, 0.0, None) for k in (1, 2, 3, 4)])
    assert (found.index, found.k, found.knee) == (0, 1, None)
    assert "one value" in found.why


def test_a_choice_beyond_the_distinct_values_is_as_many_clusters_as_there_are() -> None:
    rows = [Point(4, 3, 0.0, 1.0), Point(5, 3, 0.0, 1.0)]
    found = choose(rows)
    assert (found.index, found.k) == (0, 3)
    assert "only 3 distinct values" in found.why
