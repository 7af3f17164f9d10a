"""Seeding and swaps: they only propose, but what they propose must be sound."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kseg_core.config import INITS
from kseg_core.kernels import search
from tests import reference

F64 = NDArray[np.float64]
BLOBS = 6


@pytest.fixture(scope="module")
def blobs() -> tuple[F64, F64]:
    """Six tight blobs far apart, one of them light: points (3, 600) and weights."""
    rng = np.random.default_rng(0)
    centers = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 200, 0], [30, 0, 0]], np.float64)
    points = np.ascontiguousarray((centers.repeat(100, axis=0) + rng.normal(scale=2, size=(600, 3))).T)
    weights = rng.integers(1, 100, 600).astype(np.float64)
    weights[500:] = 1
    return points, weights


def weighted_inertia(points: F64, weights: F64, centroids: F64) -> float:
    return float((reference.nearest(points, centroids)[1] * weights).sum())


def seeds(how: str, points: F64, weights: F64, k: int, seed: int) -> F64:
    if how == "random":
        return search.seed_random(points, weights, k, seed)
    return search.seed_plus_plus(points, weights, k, 3, seed)


def test_every_way_of_seeding_has_a_name_in_the_settings() -> None:
    assert tuple(search.SEEDINGS) == INITS


@pytest.mark.parametrize("how", search.SEEDINGS)
def test_fewer_seeds_are_the_first_of_more_with_as_many_trials(blobs: tuple[F64, F64], how: str) -> None:
    largest = {search.trials_for(k): k for k in range(1, 21)}
    assert len(largest) < 20
    for k in range(1, 21):
        more = search.SEEDINGS[how](*blobs, largest[search.trials_for(k)], 7)
        np.testing.assert_array_equal(search.SEEDINGS[how](*blobs, k, 7), more[:k])


@pytest.mark.parametrize("how", ["k-means++", "random"])
def test_seeds_are_distinct_points_of_the_data_and_the_first_is_repeated_where_these_run_out(
    blobs: tuple[F64, F64], how: str
) -> None:
    for k in (1, 2, 6, 50):
        centroids = seeds(how, *blobs, k, 7)
        assert centroids.shape == (k, 3)
        assert set(map(tuple, centroids.tolist())) <= set(map(tuple, blobs[0].T.tolist()))
        assert len(np.unique(centroids, axis=0)) == k
    points = np.array([[1.0, 5.0], [0.0, 0.0], [0.0, 0.0]])
    centroids = seeds(how, points, np.ones(2), 4, 0)
    assert sorted(centroids[:2, 0]) == [1, 5]
    assert (centroids[2:] == centroids[0]).all()


def test_points_without_weight_are_never_seeds() -> None:
    points = np.zeros((3, 10))
    points[0] = np.arange(10)
    weights = np.zeros(10)
    weights[[2, 7]] = 1
    for seed in range(20):
        assert set(search.seed_random(points, weights, 2, seed)[:, 0]) == {2, 7}
        assert set(search.seed_plus_plus(points, weights, 2, 2, seed)[:, 0]) == {2, 7}


def test_random_seeds_are_drawn_by_weight() -> None:
    points = np.zeros((3, 2))
    points[0, 1] = 1
    draws = [search.seed_random(points, np.array([1.0, 3.0]), 1, seed)[0, 0] for seed in range(2000)]
    assert abs(np.mean(draws) - 0.75) < 0.04  # four standard errors


def test_greedy_plus_plus_finds_every_blob_more_often_than_chance(blobs: tuple[F64, F64]) -> None:
    points, weights = blobs
    best = weighted_inertia(points, weights, np.array([b.mean(axis=1) for b in np.split(points, BLOBS, axis=1)]))

    def share(how: str) -> float:
        drawn = (seeds(how, points, weights, BLOBS, seed) for seed in range(50))
        return float(np.mean([weighted_inertia(points, weights, each) < 10 * best for each in drawn]))

    assert share("k-means++") > 0.9
    assert share("random") < 0.5


@pytest.mark.parametrize(("k", "seed"), [(1, 0), (2, 1), (6, 0), (30, 1)])
def test_the_search_never_ends_above_its_start_and_tells_its_inertia(blobs: tuple[F64, F64], k: int, seed: int) -> None:
    points, weights = blobs
    start = search.seed_random(points, weights, k, seed)
    centroids, inertia = search.swap_search(points, weights, start, 16, 10_000, seed)
    assert inertia <= weighted_inertia(points, weights, start)
    assert inertia == pytest.approx(weighted_inertia(points, weights, centroids), rel=1e-12)
    assert np.isfinite(centroids).all()


def test_swaps_leave_a_local_optimum_that_plain_steps_cannot(blobs: tuple[F64, F64]) -> None:
    points, weights = blobs
    stuck = np.ascontiguousarray(points[:, :BLOBS].T)  # all six in one blob
    means = np.array(
        [np.average(b, axis=1, weights=w) for b, w in zip(np.split(points, 6, 1), np.split(weights, 6), strict=True)]
    )
    found, inertia = search.swap_search(points, weights, stuck, 64, 10_000, 0)
    assert inertia == pytest.approx(weighted_inertia(points, weights, means), rel=1e-6)
    np.testing.assert_allclose(found[np.lexsort(found.T)], means[np.lexsort(means.T)], atol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_only_swaps_that_help_are_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, weights = rng.uniform(0, 255, (3, 300)), rng.integers(1, 9, 300).astype(np.float64)
    start = search.seed_plus_plus(points, weights, 8, 4, seed)
    settled = search.swap_search(points, weights, start, 0, 10_000, seed)[1]
    for swaps in (1, 2, 4, 8, 16):
        assert search.swap_search(points, weights, start, swaps, 10_000, seed)[1] <= settled * (1 + 1e-9)


def test_the_search_leaves_its_arguments_alone_and_gives_the_same_bits_again(blobs: tuple[F64, F64]) -> None:
    start = search.seed_random(*blobs, 4, 1)
    before = start.copy()
    one, two = (search.swap_search(*blobs, start, 8, 1000, 3) for _ in range(2))
    np.testing.assert_array_equal(start, before)
    assert one[0].tobytes() == two[0].tobytes()
    assert one[1] == two[1]


def test_a_perfect_start_has_inertia_0_and_stays(blobs: tuple[F64, F64]) -> None:
    points = np.array([[1.0, 5.0], [0.0, 0.0], [0.0, 0.0]])
    centroids, inertia = search.swap_search(points, np.ones(2), np.ascontiguousarray(points.T), 8, 1000, 0)
    assert inertia == 0
    np.testing.assert_array_equal(centroids, points.T)


@pytest.mark.parametrize("rounds", [0, 1, 2, 5])
def test_a_search_without_rounds_to_spare_still_returns(blobs: tuple[F64, F64], rounds: int) -> None:
    start = search.seed_random(*blobs, 4, 1)
    centroids, inertia = search.swap_search(*blobs, start, 64, rounds, 3)
    assert inertia == pytest.approx(weighted_inertia(*blobs, centroids), rel=1e-12)
