"""Exact steps: they never get worse, stop where they should, and leave no cluster empty."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import SPACES, FeatureSpace
from kseg_core.clustering.steps import StepLimits, lloyd, relocate_empty, step
from kseg_core.clustering.summary import ColorTable
from kseg_core.config import FitSettings
from tests import reference
from tests.strategies import COLOR_SPACES, QUICK, centroids, color_tables

GRAY, RGB = SPACES["gray"], SPACES["rgb"]
MOST = StepLimits(FitSettings(1))


def grays(values: dict[int, int]) -> ColorPoints:
    """A table of gray levels and their weights, in the space ``gray``."""
    codes = np.array(sorted(values), np.uint32)
    return ColorPoints.build(ColorTable(codes * 0x010101, np.array([values[int(c)] for c in codes])), GRAY)


def at(*levels: float) -> NDArray[np.float64]:
    """Centroids of the space ``gray``."""
    return np.array([[level, 0, 0] for level in levels], np.float64)


def test_a_step_moves_centroids_to_the_means_of_their_pixels() -> None:
    sums, moved = step(grays({10: 1, 20: 3, 200: 2}), at(0, 255))
    assert sums.counts.tolist() == [4, 2]
    assert sums.sums[:, 0].tolist() == [70, 400]
    assert moved.tolist() == at(17.5, 200).tolist()


@QUICK
@given(space=COLOR_SPACES, data=st.data())
def test_a_step_is_the_reference_s_to_the_last_bit(space: FeatureSpace, data: Any) -> None:
    table = ColorPoints.build(data.draw(color_tables()), space)
    centers = data.draw(centroids(table.points))
    _, moved = step(table, centers)
    for row, mean in zip(moved.tolist(), reference.means(table.points, table.weights, centers), strict=True):
        assert mean is None or row == [float(m) for m in mean]


@QUICK
@given(space=COLOR_SPACES, data=st.data())
def test_inertia_never_rises_and_nothing_is_ever_nan(space: FeatureSpace, data: Any) -> None:
    table = ColorPoints.build(data.draw(color_tables()), space)
    start = data.draw(centroids(table.points))
    steps = lloyd(table, start, MOST)
    assert np.isfinite(steps.centroids).all()
    assert np.isfinite(steps.inertia).all()
    assert steps.converged
    for earlier, later in pairwise(steps.inertia):
        assert later <= earlier * (1 + 1e-12)  # a mean is rounded to float64


@QUICK
@given(data=st.data())
def test_a_table_of_colours_steps_like_the_pixels_themselves(data: Any) -> None:
    colors = data.draw(color_tables(max_colors=10))
    few = ColorTable(colors.codes, 1 + colors.counts % 5)
    pixels = ColorTable(few.codes.repeat(few.counts), np.ones(few.pixels, np.int64))
    table, single = (ColorPoints.build(t, RGB) for t in (few, pixels))
    start = data.draw(centroids(table.points))
    ours, theirs = (lloyd(t, start, MOST) for t in (table, single))
    assert ours.centroids.tobytes() == theirs.centroids.tobytes()
    assert ours.inertia == theirs.inertia


def test_steps_stop_when_no_label_changes() -> None:
    table = grays({0: 1, 10: 1, 100: 1, 110: 1})
    steps = lloyd(table, at(0, 10), MOST)
    # 0 | 10 100 110 -> 0, 220 / 3;  0 10 | 100 110 -> 5, 105;  the same labels once more
    assert steps.converged
    assert steps.centroids.tolist() == at(5, 105).tolist()
    assert steps.inertia == (90**2 + 100**2, pytest.approx(10**2 + (80 / 3) ** 2 + (110 / 3) ** 2), 4 * 5**2)
    once_more = lloyd(table, steps.centroids, MOST)
    assert once_more.centroids.tolist() == steps.centroids.tolist()


def test_a_tolerance_stops_earlier() -> None:
    rng = np.random.default_rng(0)
    table = ColorPoints.build(ColorTable(np.unique(rng.integers(0, 1 << 24, 3000)).astype(np.uint32), WEIGHTS), RGB)
    start = table.points[:, :8].T.astype(np.float64)
    to_the_end = lloyd(table, start, MOST)
    earlier = lloyd(table, start, StepLimits(FitSettings(8, tol=1e-3)))
    assert to_the_end.converged
    assert earlier.converged
    assert 1 < len(earlier.inertia) < len(to_the_end.inertia)
    assert earlier.inertia == to_the_end.inertia[: len(earlier.inertia)]
    sampled = lloyd(table, start, StepLimits(FitSettings(8), of_sample=True))
    assert sampled.converged
    assert len(sampled.inertia) < len(to_the_end.inertia)


WEIGHTS = np.random.default_rng(1).integers(1, 9, 3000)


def test_there_are_never_more_steps_than_allowed() -> None:
    values = {v: 1 + v % 3 for v in range(256)}
    free = lloyd(grays(values), at(0, 1, 2, 3), MOST)
    assert len(free.inertia) > 5
    for most in (1, 2, 5):
        bounded = lloyd(grays(values), at(0, 1, 2, 3), StepLimits(FitSettings(4, max_iter=most)))
        assert not bounded.converged
        assert bounded.inertia == free.inertia[:most]


def test_an_empty_cluster_moves_to_the_farthest_point() -> None:
    table = grays({0: 5, 10: 1, 100: 1})
    _, moved = step(table, at(20, 250))  # everything is nearer to 20: mean 110 / 7, farthest is 100
    assert moved.tolist() == at(110 / 7, 100).tolist()


def test_two_empty_clusters_move_one_after_the_other() -> None:
    table = grays({0: 1000, 10: 1, 100: 1, 110: 1})
    sums, moved = step(table, at(20, 250, 251))
    # all at 20 -> mean 220 / 1003; the farthest is 110; with a centroid there, 10 is farther from any than 100
    assert sums.counts.tolist() == [1003, 0, 0]
    assert moved.tolist() == at(220 / 1003, 110, 100).tolist()


def test_an_empty_cluster_s_old_place_hides_no_point() -> None:
    table = grays({0: 10, 200: 1})
    sums, moved = step(table, at(0, 0))  # the lower index takes all of both
    assert sums.counts.tolist() == [11, 0]
    assert moved.tolist() == at(200 / 11, 200).tolist()
    beside = relocate_empty(table, sums, at(90, 201))  # 201 is empty: 200 must not count as near to it
    assert beside.tolist() == at(90, 200).tolist()


def test_of_equally_far_points_the_smallest_position_is_taken() -> None:
    table = grays({0: 1, 100: 10, 200: 1})
    _, moved = step(table, at(100, 400, 400))
    assert moved.tolist() == at(100, 0, 200).tolist()


def test_one_distinct_point_leaves_the_other_clusters_empty_but_finite() -> None:
    steps = lloyd(grays({7: 3}), at(7, 7, 9), MOST)
    assert steps.converged
    assert steps.centroids.tolist() == at(7, 7, 7).tolist()
    assert steps.inertia[-1] == 0
