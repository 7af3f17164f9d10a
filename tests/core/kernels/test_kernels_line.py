"""K-means on a line: no partition is better."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import feature_space
from kseg_core.clustering.kmeans import finish, solve
from kseg_core.clustering.summary import BatchRule, summarise
from kseg_core.config import FitSettings
from kseg_core.images import Pixels
from kseg_core.kernels.line import best_on_line


def cost_of(values: np.ndarray, weights: np.ndarray, means: np.ndarray) -> float:
    return float((weights * np.square(values[:, None] - means).min(axis=1)).sum())


def least_cost(values: np.ndarray, weights: np.ndarray, k: int) -> float:
    """By trying every way to cut the line."""
    least = np.inf
    for cuts in combinations(range(1, len(values)), k - 1):
        runs = np.split(np.arange(len(values)), cuts)
        means = np.array([np.average(values[run], weights=weights[run]) for run in runs])
        least = min(least, cost_of(values, weights, means))
    return least


@given(st.data())
def test_no_way_to_cut_the_line_costs_less(data: st.DataObject) -> None:
    values = np.array(sorted(data.draw(st.sets(st.integers(-300, 300), min_size=2, max_size=11)))).astype(float)
    weights = np.array(data.draw(st.lists(st.integers(1, 99), min_size=values.size, max_size=values.size)), float)
    k = data.draw(st.integers(1, min(5, values.size)))
    means = best_on_line(values, weights, k)
    assert (np.diff(means) > 0).all()
    assert cost_of(values, weights, means) == pytest.approx(least_cost(values, weights, k), abs=1e-6)


def test_as_many_clusters_as_values_are_the_values() -> None:
    assert best_on_line(np.array([1.0, 4.0, 9.0]), np.array([5.0, 1.0, 2.0]), 3).tolist() == [1.0, 4.0, 9.0]


@pytest.mark.parametrize(("k", "seed"), [(2, 0), (3, 1), (5, 2)])
def test_gray_ends_in_the_best_of_all_partitions(k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    gray = np.concatenate([random.normal(m, s, 900) for m, s in ((60, 25), (90, 9), (170, 30), (210, 6))])
    rgb = np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[None, :, None], 3, axis=2)
    settings = FitSettings(k=k, features="gray", attempts=1)
    summary = summarise([Pixels(rgb)], BatchRule(1, 0))
    data = ColorPoints.build(summary.everything, feature_space("gray"))
    centroids, _ = solve(data, ColorPoints.build(summary.batch, feature_space("gray")), settings)
    solution = finish(data, centroids)
    values, counts = np.unique(rgb[..., 0], return_counts=True)
    best = cost_of(
        values.astype(float), counts.astype(float), best_on_line(values.astype(float), counts.astype(float), k)
    )
    assert data.space.inertia(solution.sums, solution.centroids) == pytest.approx(best, rel=1e-12)
