"""Which cluster is number 0."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kseg_core.clustering.features import canonical_order
from kseg_core.clustering.kmeans import matching_order
from kseg_core.clustering.sums import rounded_means
from tests import reference
from tests.strategies import QUICK

F64 = NDArray[np.float64]


def colors(*rows: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.array(rows, np.uint8)


def test_clusters_are_numbered_from_dark_to_light() -> None:
    # 114 x 255 blue < 299 x 255 red < 587 x 255 green
    found = canonical_order(colors((255, 255, 255), (0, 255, 0), (255, 0, 0), (0, 0, 255), (0, 0, 0)), np.zeros((5, 3)))
    assert found.tolist() == [4, 3, 2, 1, 0]


def test_equally_light_colours_are_numbered_by_red() -> None:
    """587 is a prime above 255, so lightness and red leave no choice of green and blue."""
    level = 299 * 100 + 587 * 100 + 114 * 100
    rest = {(r, g): level - 299 * r - 587 * g for r in range(256) for g in range(256)}
    tied = [(r, g, b // 114) for (r, g), b in rest.items() if 0 <= b <= 114 * 255 and b % 114 == 0]
    assert len(tied) > 100
    shuffled = np.random.default_rng(0).permutation(tied).astype(np.uint8)
    found = shuffled[canonical_order(shuffled, np.zeros((len(tied), 3)))]
    assert [tuple(row) for row in found.tolist()] == sorted(tied)


def test_one_colour_in_several_clusters_is_decided_by_the_centroid() -> None:
    same = np.full((4, 3), 9, np.uint8)
    centers = np.array([[9.25, 9, 9], [9, 9.5, 0], [9, 9.25, 5], [9, 9.25, 4]])
    assert canonical_order(same, centers).tolist() == [3, 2, 1, 0]
    assert canonical_order(same, centers[:, :1]).tolist() == [1, 2, 3, 0]


@QUICK
@given(data=st.data(), k=st.integers(1, 12), d=st.sampled_from([1, 3]))
def test_the_order_is_python_s_own_sort(data: st.DataObject, k: int, d: int) -> None:
    rows = data.draw(hnp.arrays(np.uint8, (k, 3), elements=st.sampled_from([0, 1, 114, 255])))
    centers = data.draw(hnp.arrays(np.float64, (k, d), elements=st.sampled_from([-1.5, 0.0, 0.25, 3.0])))
    assert canonical_order(rows, centers).tolist() == reference.canonical_order(rows, centers)


def test_means_round_halves_up_and_are_black_where_nothing_is() -> None:
    sums = np.array([[1, 3, 5], [4, 5, 6], [0, 0, 0], [255 * 7, 255 * 7 - 4, 255 * 7 - 3]])
    means = rounded_means(sums, np.array([2, 3, 0, 7]))
    assert means.dtype == np.uint8
    assert means.tolist() == [[1, 2, 3], [1, 2, 2], [0, 0, 0], [255, 254, 255]]
    n = 1 << 46  # of so many pixels they are exact
    sums = np.array([[255 * n, 254 * n + n // 2, 254 * n + n // 2 - 1]])
    assert rounded_means(sums, np.array([n])).tolist() == [[255, 255, 254]]


def points(k: int) -> st.SearchStrategy[F64]:
    return hnp.arrays(np.float64, (k, 3), elements=st.integers(0, 20).map(float))


def test_clusters_have_their_partners_numbers_others_come_last_and_of_fewer_the_numbers_close_up() -> None:
    earlier = np.array([[0.0, 0, 0], [50, 0, 0], [100, 0, 0], [200, 0, 0]])
    assert matching_order(earlier[[2, 0, 3, 1]] + 3, earlier).tolist() == [1, 3, 0, 2]
    assert matching_order(np.array([[199.0, 0, 0], [52, 0, 0]]), earlier).tolist() == [1, 0]
    centers = np.array([[90.0, 0, 0], [1, 0, 0], [60, 0, 0], [199, 0, 0]])
    assert matching_order(centers, earlier[[3, 0]]).tolist() == [3, 1, 0, 2]


@QUICK
@given(data=st.data(), k=st.integers(1, 5), m=st.integers(1, 5))
def test_matching_is_the_best_of_all_pairings(data: st.DataObject, k: int, m: int) -> None:
    centers, earlier = data.draw(points(k)), data.draw(points(m))
    order = matching_order(centers, earlier)
    assert sorted(order.tolist()) == list(range(k))
    if k >= m:  # the first m have the numbers of their partners
        cost = ((centers[order[:m]] - earlier) ** 2).sum()
        assert cost == pytest.approx(reference.least_matching_cost(centers, earlier))
        assert order[m:].tolist() == sorted(order[m:].tolist())
