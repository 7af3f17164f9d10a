"""The solver: as good as many restarts, the same to the bit however the data lies, and sound in every corner."""

from __future__ import annotations

import math
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans

from kseg_core.clustering import kmeans
from kseg_core.clustering.color_points import CoarseTable, ColorPoints
from kseg_core.clustering.features import SPACES, FeatureSpace
from kseg_core.clustering.kmeans import (
    Proposal,
    SearchData,
    Solution,
    coarse_form,
    finish,
    one_by_one,
    propose,
    refine,
    shortlist,
    solve,
)
from kseg_core.clustering.labelling import label_dtype, label_pixels
from kseg_core.clustering.points import FarPoint, Points
from kseg_core.clustering.steps import Steps
from kseg_core.clustering.summary import BatchRule, ChunkSummary, ColorTable, summarise
from kseg_core.clustering.sums import ClusterSums, rounded_means
from kseg_core.config import FitSettings, Init
from kseg_core.errors import UsageError
from kseg_core.images import Pixels
from kseg_core.store.model import Model
from tests import reference
from tests.strategies import color_tables

F64 = NDArray[np.float64]
KS = (2, 3, 5, 8)
PHOTOGRAPHS = sorted((Path(__file__).parents[3] / "examples" / "images").iterdir())


class Shards:
    """A `Points` in several tables, as on several workers: each answers for itself and the answers are merged."""

    def __init__(self, table: ColorTable, space: FeatureSpace, parts: int) -> None:
        self.space = space
        pieces = [ColorTable(table.codes[i::parts].copy(), table.counts[i::parts].copy()) for i in range(parts)]
        self.tables = [ColorPoints.build(piece, space) for piece in reversed(pieces) if piece.codes.size]

    @property
    def size(self) -> int:
        return sum(table.size for table in self.tables)

    def sums(self, centroids: F64) -> ClusterSums:
        return reduce(ClusterSums.merge, [table.sums(centroids) for table in self.tables])

    def farthest(self, centroids: F64) -> FarPoint:
        return reduce(FarPoint.merge, [table.farthest(centroids) for table in self.tables])

    def cluster_colors(self, centroids: F64, sums: ClusterSums) -> NDArray[np.uint8]:
        return rounded_means(np.sum([table.color_sums(centroids) for table in self.tables], axis=0), sums.counts)

    def distinct(self) -> NDArray[np.float32]:
        return np.unique(np.concatenate([table.distinct() for table in self.tables]), axis=0)

    def coarse(self, coarser: int) -> CoarseTable:
        return reduce(CoarseTable.merge, [table.coarse(coarser) for table in self.tables])


def fit(everything: ColorTable, batch: ColorTable, settings: FitSettings) -> Solution:
    """The whole way in one table."""
    space = SPACES[settings.features]
    data = ColorPoints.build(everything, space)
    return finish(data, solve(data, ColorPoints.build(batch, space), settings)[0])


def inertia(solution: Solution, space: str) -> float:
    return solution.sums.inertia(solution.centroids, SPACES[space].grid)


def colors(*codes: int) -> ColorTable:
    return ColorTable(np.array(sorted(codes), np.uint32), np.arange(1, len(codes) + 1))


def check_sound(solution: Solution, data: ColorPoints, k: int) -> None:
    """What holds of every result: k centroids, none empty, and sums and colours that are those of the labels."""
    assert solution.centroids.shape == (k, 3)
    assert np.isfinite(solution.centroids).all()
    labels, _ = reference.nearest(data.points, solution.centroids)
    counts, sums = reference.cluster_sums(data.points, data.weights, labels, k)
    assert (solution.sums.counts.tolist(), solution.sums.sums.tolist()) == (counts, sums)
    assert min(counts) > 0
    color_sums = np.array(reference.cluster_sums(data.colors, data.weights, labels, k)[1])
    np.testing.assert_array_equal(solution.colors, rounded_means(color_sums, np.array(counts)))


# ------------------------------------------------------------------------------ photographs, scikit-learn


@pytest.fixture(scope="module")
def small_photographs() -> list[NDArray[np.uint8]]:
    images = []
    for path in PHOTOGRAPHS:
        with Image.open(path) as image:
            small = image.convert("RGB")
        small.thumbnail((48, 48))
        images.append(np.asarray(small))
    assert len(images) >= 5
    return images


@pytest.fixture(scope="module")
def photographs(small_photographs: list[NDArray[np.uint8]]) -> ChunkSummary:
    """Some ten thousand pixels of all example photographs, with a batch of a few hundred."""
    pixels = sum(image.size // 3 for image in small_photographs)
    return summarise((Pixels(image) for image in small_photographs), BatchRule.for_pixels(pixels, 1024, 0))


@pytest.mark.parametrize(
    ("space", "k"),
    [
        ("rgb", 2),
        ("lab", 5),
        pytest.param("gray", 3, marks=pytest.mark.slow),
        pytest.param("hsv", 8, marks=pytest.mark.slow),
    ],
)
def test_the_result_is_as_good_as_the_best_of_20_restarts_and_hardly_depends_on_the_seed(
    photographs: ChunkSummary, space: Any, k: int
) -> None:
    solutions = [
        fit(photographs.everything, photographs.batch, FitSettings(k, features=space, seed=seed)) for seed in range(5)
    ]
    found = [inertia(solution, space) for solution in solutions]
    assert max(found) <= min(found) * 1.002
    data = ColorPoints.build(photographs.everything, SPACES[space])
    samples = data.points.T[:, : data.space.dimensions].astype(np.float64) / data.space.grid
    restarts = [
        KMeans(k, n_init=1, tol=1e-6, max_iter=1000, random_state=seed)
        .fit(samples, sample_weight=data.weights.astype(np.float64))
        .inertia_
        for seed in range(20)
    ]
    assert found[0] <= min(restarts) * (1 + 1e-4)  # the search works on a coarse form, blind to less
    check_sound(solutions[0], data, k)


@pytest.mark.parametrize("space", SPACES)
def test_a_fit_of_the_histogram_is_a_fit_of_the_pixels(
    small_photographs: list[NDArray[np.uint8]], photographs: ChunkSummary, space: Any
) -> None:
    """scikit-learn, started from our centroids on every single pixel, finds nothing to improve and labels alike."""
    solution = fit(photographs.everything, photographs.batch, FitSettings(5, features=space))
    grid, d = SPACES[space].grid, SPACES[space].dimensions
    labels = np.concatenate(
        [label_pixels(im, None, SPACES[space], solution.centroids).labels.ravel() for im in small_photographs]
    )
    codes = np.concatenate([reference.color_codes(image) for image in small_photographs])
    pixels = SPACES[space].points(codes).T[:, :d].astype(np.float64) / grid
    ours = SPACES[space].to_features(solution.centroids)
    judge = KMeans(5, init=ours, n_init=1, max_iter=1, tol=0).fit(pixels)
    assert judge.inertia_ == pytest.approx(inertia(solution, space), rel=1e-9)
    np.testing.assert_allclose(judge.cluster_centers_, ours, atol=1e-9)
    distances = np.sort(((pixels[:, None] - ours[None]) ** 2).sum(-1), axis=1)
    clear = distances[:, 1] - distances[:, 0] > 1e-6
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(judge.labels_[clear], labels[clear])


@pytest.mark.parametrize(("space", "k"), [("rgb", 70), ("gray", 3), ("hsv", 8), ("lab", 3)])
def test_shards_give_the_bits_of_one_table(photographs: ChunkSummary, space: Any, k: int) -> None:
    settings = FitSettings(k, features=space, attempts=2)
    batch = ColorPoints.build(photographs.batch, SPACES[space])
    whole: Points = ColorPoints.build(photographs.everything, SPACES[space])
    shards: Points = Shards(photographs.everything, SPACES[space], 3)
    centroids, history = solve(whole, batch, settings)
    sharded, sharded_history = solve(shards, batch, settings)
    assert sharded.tobytes() == centroids.tobytes()
    assert sharded_history == history
    one, other = finish(whole, centroids), finish(shards, sharded)
    assert other.centroids.tobytes() == one.centroids.tobytes()
    assert other.colors.tobytes() == one.colors.tobytes()
    assert other.sums.same_as(one.sums)
    assert other.sums.squares == one.sums.squares


def test_the_same_settings_give_the_same_bits_and_the_seed_matters_on_the_way(photographs: ChunkSummary) -> None:
    tables = [ColorPoints.build(t, SPACES["rgb"]) for t in (photographs.everything, photographs.batch)]
    runs = [solve(*tables, FitSettings(6, seed=seed, features="rgb")) for seed in (3, 3, 4)]
    assert runs[0][0].tobytes() == runs[1][0].tobytes()
    assert runs[0][1] == runs[1][1] != runs[2][1]


def test_both_ways_of_seeding_and_a_batch_of_nothing_or_of_all_data_end_equally_well(photographs: ChunkSummary) -> None:
    everything, batch = photographs.everything, photographs.batch
    settings = FitSettings(4, features="lab")
    best = inertia(fit(everything, batch, settings), "lab")
    seeded = FitSettings(4, init="random", seed=1, attempts=5, features="lab")
    for found in (
        fit(everything, batch, seeded),
        fit(everything, ColorTable.empty(), settings),
        fit(everything, everything, settings),
    ):
        assert inertia(found, "lab") == pytest.approx(best, rel=2e-3)


def test_300_clusters_are_300_clusters_and_need_16_bits(photographs: ChunkSummary) -> None:
    found = fit(photographs.everything, photographs.batch, FitSettings(300, features="lab", attempts=1))
    check_sound(found, ColorPoints.build(photographs.everything, SPACES["lab"]), 300)
    assert label_dtype(300) == np.uint16
    image = np.arange(300 * 3).reshape(1, 300, 3).astype(np.uint8)
    assert label_pixels(image, None, SPACES["lab"], found.centroids).labels.dtype == np.uint16


def test_the_history_tells_every_step_of_every_attempt(photographs: ChunkSummary) -> None:
    tables = [ColorPoints.build(t, SPACES["rgb"]) for t in (photographs.everything, photographs.batch)]
    settings = FitSettings(5, attempts=4, seed=2, features="rgb")
    centroids, history = solve(*tables, settings)
    assert [h.attempt for h in history] == [0, 1, 2, 3]
    assert all(h.batch for h in history)
    refined = [h.steps for h in history if h.steps]
    assert 1 <= len(refined) <= kmeans.MOST_REFINED
    for steps in (*refined, *(h.batch for h in history)):
        assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(steps))
    assert tables[0].sums(centroids).inertia(centroids, 1) == min(steps[-1] for steps in refined)


# --------------------------------------------------------------------------------------- few values


def test_values_are_counted_in_the_feature_space_not_as_colours() -> None:
    table = colors(0x0000FF, 0x1D1D1D, 0xFFFFFF)  # blue and dark gray are one gray level
    found = fit(table, table, FitSettings(3, features="gray"))
    check_sound(found, ColorPoints.build(table, SPACES["gray"]), 2)
    assert found.centroids[:, 0].tolist() == [29, 255]


IN_ONE_CELL, CONSTANT = colors(0x808080, 0x818181, 0x828282, 0x838383), colors(0x336699)


@settings(max_examples=80, deadline=None)
@example("lab", "k-means++", IN_ONE_CELL, 3, 1000, None, True)
@example("hsv", "random", IN_ONE_CELL, 4, 1000, None, True)
@example("gray", "random", CONSTANT, 300, 1000, None, False)
@given(
    space=st.sampled_from(list(SPACES)),
    init=st.sampled_from(["k-means++", "random"]),
    table=color_tables() | st.just(IN_ONE_CELL) | st.just(CONSTANT),
    k=st.integers(1, 8) | st.just(300),
    max_iter=st.sampled_from([1, 2, 1000]),
    tol=st.sampled_from([None, 0.0, 0.5, 1e9]),
    batched=st.booleans(),
)
def test_any_data_and_any_limits_give_min_k_values_clusters_none_of_them_empty(
    space: Any, init: Init, table: ColorTable, k: int, max_iter: int, tol: float | None, batched: bool
) -> None:
    asked = FitSettings(k, features=space, init=init, max_iter=max_iter, tol=tol, attempts=2)
    data = ColorPoints.build(table, SPACES[space])
    half = ColorTable(table.codes[::2].copy(), table.counts[::2].copy())
    found = fit(table, half if batched else ColorTable.empty(), asked)
    values = len(data.distinct())
    check_sound(found, data, min(k, values))
    if k >= values:
        assert sorted(found.centroids.tolist()) == data.distinct().tolist()
        assert inertia(found, space) == 0.0


def test_a_cluster_that_loses_its_ties_to_lower_numbers_is_filled_again() -> None:
    """The first cluster's two pixels are as near to the other two, which are darker and get the lower numbers."""
    table = ColorTable(np.array([0x646364, 0x646464, 0x666364, 0x666464], np.uint32), np.ones(4, np.int64))
    data = ColorPoints.build(table, SPACES["rgb"])
    halfway = np.array([[101.0, 100, 100], [100, 99, 100], [102, 99, 100]])
    assert data.sums(halfway).counts.tolist() == [2, 1, 1]
    for order in (None, np.array([1, 2, 0])):
        found = finish(data, halfway, order)
        check_sound(found, data, 3)
        assert inertia(found, "rgb") == 0.5


def test_clusters_left_empty_by_a_run_cut_short_are_filled_and_others_left_alone() -> None:
    table = ColorPoints.build(colors(0x000000, 0x0A0A0A, 0x646464, 0xFFFFFF), SPACES["gray"])
    cut_short = np.array([[90.0, 0, 0], [400, 0, 0], [500, 0, 0]])
    assert (table.sums(cut_short).counts == 0).any()
    filled = kmeans.fill_empty(table, cut_short)
    assert (table.sums(filled).counts > 0).all()
    assert kmeans.fill_empty(table, filled).tobytes() == filled.tobytes()


def test_a_run_cut_short_still_fills_every_cluster(photographs: ChunkSummary, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only step allowed starts from centroids of which all but one are empty, and means move away again."""
    data = ColorPoints.build(photographs.everything, SPACES["rgb"])
    far = np.array([[0.0, 0, 0], *([300.0 + i, 300, 300] for i in range(7))])

    monkeypatch.setattr(kmeans, "refine", lambda *_: Steps(far, (1.0,)))
    found, _ = solve(data, data, FitSettings(8, attempts=1, features="rgb"))
    assert (data.sums(found).counts > 0).all()


def test_huge_weights_are_no_obstacle() -> None:
    table = ColorTable(np.array([0, 0x010101, 0xFEFEFE, 0xFFFFFF], np.uint32), np.full(4, 1 << 44))
    found = fit(table, table, FitSettings(2, features="rgb"))
    assert found.sums.counts.tolist() == [1 << 45, 1 << 45]
    assert found.centroids.tolist() == [[0.5] * 3, [254.5] * 3]
    assert inertia(found, "rgb") == 3 * (1 << 44)


# ------------------------------------------------------------------------------------- given starts


def test_given_colours_are_the_first_centroids() -> None:
    table = colors(0x000000, 0x0A0A0A, 0xF0F0F0, 0xFFFFFF)
    settings = FitSettings(2, start=("#ffffff", "#000000"), attempts=7)
    data = ColorPoints.build(table, SPACES["rgb"])
    centroids, history = solve(data, data, settings)
    # weights 1, 2, 3, 4: means 20 / 3 and (3 x 240 + 4 x 255) / 7
    np.testing.assert_allclose(centroids[:, 0], [1740 / 7, 20 / 3])
    assert [h.attempt for h in history] == [0]
    assert history[0].batch == ()
    assert history[0].steps[0] == 3 * (2 * 10**2 + 3 * 15**2)


def test_a_given_start_is_not_searched_further() -> None:
    """From this start the steps end at once in a poor optimum that a search would leave."""
    table = colors(*(v * 0x010101 for v in (0, 1, 100, 101, 200, 201)))
    start = ("#000000", "#010101", "#979797")  # 0 | 1 | 100 to 201
    settings = FitSettings(3, start=start, features="rgb")
    data = ColorPoints.build(table, SPACES["gray"])
    found, _ = solve(data, data, FitSettings(3, features="gray", start=start))
    searched, _ = solve(data, data, FitSettings(3, features="gray"))
    assert settings.k == len(found) == 3
    assert found[:2, 0].tolist() == [0, 1]
    assert data.sums(found).inertia(found, 1) > 100 * data.sums(searched).inertia(searched, 1)


def test_start_colours_that_are_one_point_of_the_space_are_refused() -> None:
    start = ("#0000FF", "#1d1d1d")
    for space in ("rgb", "hsv"):
        points = SPACES[space].points(np.array([0x0000FF, 0x1D1D1D], np.uint32)).T
        assert SPACES[space].start_points(start).tolist() == points.tolist()
    with pytest.raises(UsageError, match="--start names colours that are one and the same in gray"):
        SPACES["gray"].start_points(start)
    table = colors(0, 1, 0x808080, 0xFFFFFF)
    with pytest.raises(UsageError, match="first centroids must differ"):
        fit(table, table, FitSettings(2, features="gray", start=start))


# -------------------------------------------------------------------------------- the parts of the way


def proposals(*inertias: float) -> list[Proposal]:
    return [Proposal(i, np.zeros((1, 3)), value, ()) for i, value in enumerate(inertias)]


def test_the_shortlist_is_the_best_distinct_proposals() -> None:
    def chosen(*inertias: float) -> list[int]:
        return [p.attempt for p in shortlist(proposals(*inertias))]

    assert chosen(5.0) == [0]
    assert chosen(100.5, 100.0, 200.0) == [1, 0]  # 1 % is worth refining, more is not
    assert chosen(101.1, 100.0) == [1]
    assert chosen(100.0, 100.0, 100.0 + 1e-9) == [0]  # the same optimum
    assert chosen(*(100 + i / 10 for i in range(9))) == [0, 1, 2, 3]
    assert chosen(0.0, 0.0, 1.0) == [0]
    assert chosen(math.inf) == [0]


@pytest.mark.parametrize(("few", "levels"), [(0, kmeans.COARSE_LEVELS), (1 << 30, kmeans.FINE_LEVELS)])
def test_the_coarse_form_has_enough_cells_for_k(
    few: int, levels: tuple[int, ...], photographs: ChunkSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kmeans, "FEW_VALUES", few)
    data = ColorPoints.build(photographs.everything, SPACES["rgb"])
    sizes = [data.coarse(level).size for level in levels]
    assert sizes == sorted(sizes)
    assert coarse_form(data, 1).size == sizes[0]
    for k in (2, 20, 100):
        size = coarse_form(data, k).size
        assert size in sizes
        assert size >= kmeans.CELLS_PER_CLUSTER * k or size == sizes[-1]
    assert coarse_form(data, 10**6).size == sizes[-1]


def test_each_attempt_is_a_function_of_its_number_alone(photographs: ChunkSummary) -> None:
    data = ColorPoints.build(photographs.everything, SPACES["rgb"])
    batch = ColorPoints.build(photographs.batch, SPACES["rgb"])
    search = SearchData(batch, coarse_form(data, 5))
    settings = FitSettings(5, features="rgb")
    alone = [propose(search, settings, attempt) for attempt in (2, 0, 1)]
    together = one_by_one(propose, search, [(settings, attempt) for attempt in range(3)])
    for proposal in alone:
        other = together[proposal.attempt]
        assert (proposal.centroids.tobytes(), proposal.inertia) == (other.centroids.tobytes(), other.inertia)
    assert len({p.history for p in together}) == 3


def test_attempts_of_different_seeds_never_share_a_stream() -> None:
    seeds = {kmeans.attempt_seed(seed, attempt) for seed in (0, 1, 2, 2**63 - 1) for attempt in range(100)}
    assert len(seeds) == 400
    assert all(0 <= seed < 1 << 63 for seed in seeds)


def test_the_tolerance_is_relative_to_the_data(photographs: ChunkSummary) -> None:
    """The sum of squared shifts is at most tol x the mean variance of the features: half the contrast, same steps."""
    table = photographs.everything
    data = ColorPoints.build(table, SPACES["rgb"])
    variance = np.cov(data.points, fweights=data.weights, bias=True).trace() / 3
    start = data.points[:, :8].T.astype(np.float64)
    tol, here = 1e-3, start
    shifts = []
    while not shifts or shifts[-1] > tol * variance:
        there = data.sums(here).means(here)
        assert (data.sums(here).counts > 0).all()
        shifts.append(float(((there - here) ** 2).sum()))
        here = there
    steps = refine(data, Proposal(0, start, 0.0, ()), FitSettings(8, tol=tol, features="rgb"))
    assert len(steps.inertia) == len(shifts) > 1
    assert steps.centroids.tobytes() == here.tobytes()


def test_steps_on_the_batch_and_on_all_data_together_are_bounded(photographs: ChunkSummary) -> None:
    tables = [ColorPoints.build(t, SPACES["rgb"]) for t in (photographs.everything, photographs.batch)]
    for most in (1, 3, 6):
        _, history = solve(*tables, FitSettings(8, max_iter=most, attempts=2, features="rgb"))
        for h in history:
            assert len(h.batch) <= most
            assert len(h.steps) <= max(1, most - len(h.batch))


def test_the_numbers_are_canonical_unless_an_order_is_given(photographs: ChunkSummary) -> None:
    data = ColorPoints.build(photographs.everything, SPACES["lab"])
    batch = ColorPoints.build(photographs.batch, SPACES["lab"])
    settings = FitSettings(5, features="lab")
    centroids, history = solve(data, batch, settings)
    found = finish(data, centroids)
    assert reference.canonical_order(found.colors, found.centroids) == [0, 1, 2, 3, 4]
    backwards = finish(data, found.centroids, np.arange(5)[::-1])
    np.testing.assert_array_equal(backwards.centroids, found.centroids[::-1])
    np.testing.assert_array_equal(backwards.colors, found.colors[::-1])
    model = Model.from_solution(found, settings, history)
    assert model.inertia == inertia(found, "lab")
    np.testing.assert_array_equal(model.points, found.centroids)
    assert (model.k, model.k_requested, model.pixels) == (5, 5, photographs.everything.pixels)
