"""A colour table laid out for K-means: whole or in shards, it gives the same answers."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.clustering.color_points import CoarseTable, ColorPoints
from kseg_core.clustering.features import SPACES, FeatureSpace
from kseg_core.clustering.points import FarPoint
from kseg_core.clustering.summary import ColorTable
from kseg_core.clustering.sums import ClusterSums
from tests import reference
from tests.strategies import COLOR_SPACES, QUICK, centroids, color_tables


def split(table: ColorTable, parts: int) -> list[ColorTable]:
    """Shards of every ``parts``-th colour, none of them empty."""
    pieces = [ColorTable(table.codes[i::parts].copy(), table.counts[i::parts].copy()) for i in range(parts)]
    return [piece for piece in pieces if piece.codes.size]


@QUICK
@given(space=COLOR_SPACES, table=color_tables())
def test_a_table_holds_each_colour_s_point_colour_and_weight(space: FeatureSpace, table: ColorTable) -> None:
    built = ColorPoints.build(table, space)
    codes = reference.color_codes(built.colors.T)
    assert dict(zip(codes.tolist(), built.weights.tolist(), strict=True)) == dict(
        zip(table.codes.tolist(), table.counts.tolist(), strict=True)
    )
    np.testing.assert_array_equal(built.points, space.points(codes))
    assert built.squares == reference.squares(built.points, built.weights)


@QUICK
@given(space=COLOR_SPACES, data=st.data())
def test_sums_colours_and_farthest_are_the_reference_s(space: FeatureSpace, data: Any) -> None:
    built = ColorPoints.build(data.draw(color_tables()), space)
    centers = data.draw(centroids(built.points))
    labels, squared = reference.nearest(built.points, centers)
    counts, sums = reference.cluster_sums(built.points, built.weights, labels, len(centers))
    found = built.sums(centers)
    assert (found.counts.tolist(), found.sums.tolist()) == (counts, sums)
    colors = reference.cluster_sums(built.colors, built.weights, labels, len(centers))[1]
    assert built.color_sums(centers).tolist() == colors
    candidates = [tuple(p) for p, d in zip(built.points.T.tolist(), squared, strict=True) if d == squared.max()]
    assert built.farthest(centers) == FarPoint(float(squared.max()), min(candidates))
    assert [tuple(row) for row in built.distinct().tolist()] == sorted(set(map(tuple, built.points.T.tolist())))


@QUICK
@given(space=COLOR_SPACES, data=st.data(), parts=st.integers(2, 4))
def test_shards_merged_in_any_order_are_the_whole_table(space: FeatureSpace, data: Any, parts: int) -> None:
    table = data.draw(color_tables(min_colors=4))
    whole = ColorPoints.build(table, space)
    shards = [ColorPoints.build(piece, space) for piece in data.draw(st.permutations(split(table, parts)))]
    centers = data.draw(centroids(whole.points))
    sums = reduce(ClusterSums.merge, [shard.sums(centers) for shard in shards])
    assert sums.same_as(whole.sums(centers))
    assert sums.squares == whole.squares
    assert reduce(FarPoint.merge, [shard.farthest(centers) for shard in shards]) == whole.farthest(centers)
    for coarser in (1, 0, -2):
        merged = reduce(CoarseTable.merge, [shard.coarse(coarser) for shard in shards])
        expected = whole.coarse(coarser)
        for name in ("ids", "counts", "sums"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(expected, name))


@QUICK
@given(space=COLOR_SPACES, coarser=st.sampled_from([1, 0, -2]))
def test_the_coarse_form_keeps_every_pixel_and_their_mean(space: FeatureSpace, coarser: int) -> None:
    rng = np.random.default_rng(0)
    codes = np.unique(rng.integers(0, 1 << 24, 5000).astype(np.uint32))
    table = ColorPoints.build(ColorTable(codes, rng.integers(1, 50, codes.size)), space)
    coarse = table.coarse(coarser)
    assert (np.diff(coarse.ids) > 0).all()
    assert coarse.counts.sum() == table.weights.sum()
    np.testing.assert_array_equal(coarse.sums.sum(axis=0), (table.points.astype(np.int64) * table.weights).sum(axis=1))
    points, weights = coarse.weighted_points()
    assert points.shape == (3, weights.size)
    np.testing.assert_array_equal(points, (coarse.sums / coarse.counts[:, None]).T)


def test_of_equally_far_points_of_different_cells_the_smallest_position_is_the_farthest() -> None:
    """Cells are ordered along red by eights, so (5, 0, 0) comes before (3, 20, 0) in the table."""
    table = ColorPoints.build(
        ColorTable(np.array([0x031400, 0x050000], np.uint32), np.ones(2, np.int64)), SPACES["rgb"]
    )
    assert table.points.T.tolist() == [[5, 0, 0], [3, 20, 0]]
    assert table.farthest(np.array([[-1, 9.5, 0]])) == FarPoint(126.25, (3, 20, 0))


def test_the_farther_point_wins_and_the_smaller_position_breaks_a_tie() -> None:
    near, far, tied = FarPoint(1.0, (0, 0, 0)), FarPoint(2.0, (5, 1, 0)), FarPoint(2.0, (5, 0, 9))
    assert near.merge(far) == far.merge(near) == far
    assert far.merge(tied) == tied.merge(far) == tied
