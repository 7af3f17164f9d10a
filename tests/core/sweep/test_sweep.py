"""A whole range of k: as good as many restarts for each, and never worse with one cluster more."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.metrics import calinski_harabasz_score

from kseg_core.clustering.band_points import BandPoints
from kseg_core.clustering.bands import BandMoments, BandSpace
from kseg_core.clustering.color_points import ColorPoints
from kseg_core.clustering.features import SPACES
from kseg_core.clustering.steps import StepLimits, lloyd, lloyd_together
from kseg_core.clustering.summary import BatchRule, ChunkSummary, ColorTable, summarise
from kseg_core.clustering.sums import ClusterSums
from kseg_core.config import FitSettings
from kseg_core.images import Pixels
from kseg_core.sweep.search import SerialSweepRunner, chosen_model, fit_alone, sweep
from kseg_core.sweep.table import Found, Table
from tests.core.clustering.test_kmeans import Shards
from tests.strategies import QUICK, color_tables

F64 = NDArray[np.float64]
ColourFeatures = Literal["rgb", "gray", "hsv", "lab"]
PHOTOGRAPHS = sorted((Path(__file__).parents[3] / "examples" / "images").iterdir())


@pytest.fixture(scope="module")
def photographs() -> ChunkSummary:
    """Some ten thousand pixels of all example photographs, with a batch of a few hundred."""
    windows = []
    for path in PHOTOGRAPHS:
        with Image.open(path) as image:
            small = image.convert("RGB")
        small.thumbnail((48, 48))
        windows.append(Pixels(np.asarray(small)))
    pixels = sum(window.samples.size // 3 for window in windows)
    return summarise(windows, BatchRule.for_pixels(pixels, 1024, 0))


def found_in(
    everything: ColorTable, batch: ColorTable, features: ColourFeatures = "rgb", **settings: Any
) -> tuple[list[Found], ColorPoints]:
    space = SPACES[features]
    data = ColorPoints.build(everything, space)
    how = FitSettings("auto", features=features, **{"attempts": 3, **settings})
    return sweep(data, ColorPoints.build(batch, space), how, SerialSweepRunner()), data


def inertias(founds: list[Found], features: str = "rgb") -> list[float]:
    return [SPACES[features].inertia(found.solution.sums, found.solution.centroids) for found in founds]


@pytest.mark.parametrize(
    "features", ["rgb", *(pytest.param(features, marks=pytest.mark.slow) for features in ("gray", "hsv", "lab"))]
)
def test_every_k_is_as_good_as_the_best_of_ten_runs_of_scikit_learn(
    features: ColourFeatures, photographs: ChunkSummary
) -> None:
    most = 10 if features == "rgb" else 5
    founds, data = found_in(photographs.everything, photographs.batch, features, attempts=10, k_range=(1, most))
    assert [found.k for found in founds] == list(range(1, most + 1))
    points, weights = data.weighted_points()
    points = points[: data.space.dimensions].T / data.space.grid
    for found, ours in [*zip(founds, inertias(founds, features), strict=True)][1::2]:
        best = KMeans(found.k, n_init=10, random_state=0).fit(points, sample_weight=weights).inertia_
        assert ours <= best * 1.001, found.k


def test_the_rows_say_what_scikit_learn_says_of_the_same_labels(photographs: ChunkSummary) -> None:
    founds, data = found_in(photographs.everything, photographs.batch, k_range=(2, 6))
    pixels = np.repeat(data.points.T.astype(np.float64), data.weights, axis=0)
    for found, row in zip(founds, Table.of(founds, data.space).rows, strict=True):
        centroids = np.array(row.centroids)
        np.testing.assert_array_equal(centroids, found.solution.centroids)
        squared = ((pixels[:, None] - centroids[None]) ** 2).sum(axis=2)
        assert row.inertia == pytest.approx(squared.min(axis=1).sum(), rel=1e-12)
        assert row.mse == pytest.approx(squared.min(axis=1).mean(), rel=1e-12)
        assert row.counts == np.bincount(squared.argmin(axis=1)).tolist()
        assert row.calinski_harabasz == pytest.approx(calinski_harabasz_score(pixels, squared.argmin(axis=1)), rel=1e-9)
        a, b = np.sqrt(np.sort(squared, axis=1)[:, :2]).T
        assert row.silhouette == pytest.approx(((b - a) / np.maximum(a, b)).mean(), abs=1e-9)


@QUICK
@given(color_tables(), st.sampled_from(["rgb", "gray", "lab"]), st.integers(1, 3), st.integers(1, 40))
def test_inertia_never_rises_and_is_0_from_as_many_clusters_as_values_on(
    table: ColorTable, features: ColourFeatures, attempts: int, max_iter: int
) -> None:
    founds, data = found_in(table, table, features, k_range=(1, 8), attempts=attempts, max_iter=max_iter)
    values = len(data.distinct())
    for found, inertia in zip(founds, inertias(founds, features), strict=True):
        assert len(found.solution.centroids) == min(found.k, values)
        assert (found.solution.sums.counts > 0).all()
        assert (inertia == 0) == (found.k >= values)
    for fewer, more in pairwise(inertias(founds, features)):
        assert more < fewer or more == 0


def test_one_cluster_more_starts_from_the_best_and_the_farthest_point() -> None:
    # One attempt with random first centroids, hardly any steps and no swap worth it: the start from k - 1 must win.
    random = np.random.default_rng(0)
    centers = np.array([[20, 20, 20], [230, 30, 30], [30, 230, 30], [30, 30, 230], [230, 230, 30]])
    pixels = np.concatenate([random.normal(center, 3, (400 >> i, 3)) for i, center in enumerate(centers)])
    image = pixels.clip(0, 255).astype(np.uint8)[None]
    summary = summarise([Pixels(image)], BatchRule(0, 0))
    founds, _ = found_in(summary.everything, summary.batch, attempts=1, k_range=(1, 6))
    last = [found.history[-1] for found in founds]
    assert [history.attempt for history in last] == [0, 1, 1, 1, 1, 1]  # the first k has no k - 1
    before = inertias(founds)
    for history, fewer in zip(last[1:], before, strict=False):
        assert history.batch == ()
        assert history.steps[0] < fewer


def test_shards_give_the_same_bits_as_one_table(photographs: ChunkSummary) -> None:
    class SweptShards(Shards):
        def silhouettes(self, centroids: Any) -> Any:
            parts = [table.silhouettes(centroids) for table in self.tables]
            return parts[0].merge(parts[1]).merge(parts[2])

    space = SPACES["rgb"]
    batch = ColorPoints.build(photographs.batch, space)
    how = FitSettings("auto", attempts=2, k_range=(1, 5))
    whole = sweep(ColorPoints.build(photographs.everything, space), batch, how, SerialSweepRunner())
    parts = sweep(SweptShards(photographs.everything, space, 3), batch, how, SerialSweepRunner())  # type: ignore[arg-type]
    assert Table.of(parts, space) == Table.of(whole, space)
    assert [found.history for found in parts] == [found.history for found in whole]


# --------------------------------------------------------------------------------------------- k is chosen


def three_colors() -> ChunkSummary:
    """Three well separated colours with a little noise."""
    random = np.random.default_rng(1)
    centers = np.array([[200, 40, 40], [40, 180, 60], [30, 60, 200]])
    image = (centers[random.integers(0, 3, (60, 60))] + random.normal(0, 6, (60, 60, 3))).clip(0, 255)
    return summarise([Pixels(image.astype(np.uint8))], BatchRule(1, 0))


@pytest.mark.parametrize("features", ["rgb", "gray", "hsv", "lab"])
def test_three_well_separated_colours_are_three_clusters(features: ColourFeatures) -> None:
    summary, space = three_colors(), SPACES[features]
    data, batch = (ColorPoints.build(table, space) for table in (summary.everything, summary.batch))
    settings = FitSettings("auto", features=features, attempts=3)
    model = fit_alone(data, batch, settings, space)
    assert (model.k, model.k_requested, model.facts["knee"]) == (3, "auto", 3)
    assert model.k_why == "the knee of the inertia curve over k 1 to 10"
    assert model.facts["k_range"] == [1, 10]
    assert [row["k"] for row in model.facts["sweep"]] == list(range(1, 11))
    row = model.facts["sweep"][2]
    assert (row["inertia"], row["mse"]) == (model.inertia, model.mse)
    numbers = {"k", "k_found", "inertia", "mse", "silhouette", "calinski_harabasz"}
    assert row.keys() == {*numbers, "centroids", "colors"}
    asked = fit_alone(data, batch, FitSettings(4, features=features, attempts=2), space)
    assert (asked.k, asked.k_requested, asked.k_why) == (4, 4, None)
    assert not {"k_range", "sweep", "knee"} & asked.facts.keys()


def test_three_colours_exactly_are_three_clusters_and_the_table_tells_how_many_there_are() -> None:
    table = ColorTable(np.array([0x100000, 0x00F000, 0x0000C0], np.uint32)[::-1].copy(), np.array([5, 6, 7]))
    founds, data = found_in(table, table)
    swept = Table.of(founds, data.space)
    assert (swept.choice.k, swept.choice.knee) == (3, 3)
    assert [(row.k, row.k_found) for row in swept.rows][2:5] == [(3, 3), (4, 3), (5, 3)]
    assert [row.silhouette for row in swept.rows[2:]] == [1.0] * 8
    assert {row.calinski_harabasz for row in swept.rows[2:]} == {None}
    how = FitSettings("auto", features="rgb", k_range=(4, 6))
    model = chosen_model(founds[3:6], how, data.space)  # only more are tried
    assert (model.k, model.inertia) == (3, 0.0)
    assert "only 3 distinct values" in str(model.k_why)


@pytest.mark.parametrize("dtype", [pytest.param("uint16", marks=pytest.mark.slow), "float32"])
def test_bands_are_swept_too(dtype: str) -> None:
    random = np.random.default_rng(2)
    centers = np.array([[100, 900, 300, 500], [700, 200, 800, 100], [400, 500, 100, 900]])
    values = (centers[random.integers(0, 3, 4000)] + random.normal(0, 20, (4000, 4))).astype(dtype)
    space = BandSpace.fitted((1, 2, 3, 4), dtype, BandMoments.of(values, None, dtype), "standard", values)
    data, batch = BandPoints.build(space, values), BandPoints.build(space, values[::8])
    how = FitSettings("auto", features="bands", normalize="standard", attempts=3, k_range=(1, 6))
    swept = Table.of(sweep(data, batch, how, SerialSweepRunner()), space)
    assert swept.choice.k == 3
    features = space.features_of(values.astype(np.float64))
    for row in swept.rows:
        best = KMeans(row.k, n_init=10, random_state=0).fit(features).inertia_
        assert row.inertia <= best * 1.001
    for fewer, more in pairwise(swept.rows):
        assert more.inertia <= fewer.inertia


# ------------------------------------------------------------------------------------------ steps together


def test_steps_made_together_are_those_made_alone_and_each_reads_the_pixels_once(photographs: ChunkSummary) -> None:
    data = ColorPoints.build(photographs.everything, SPACES["rgb"])
    asked: list[int] = []

    class Counting:
        """A `ManySums` that counts its readings."""

        space, farthest = data.space, data.farthest

        def sums_of_each(self, centroids: list[F64]) -> list[ClusterSums]:
            asked.append(len(centroids))
            return [data.sums(each) for each in centroids]

    starts = [
        (data.points.T[:: data.size // k][:k].astype(np.float64), StepLimits(FitSettings(k, max_iter=most)))
        for k, most in ((2, 99), (5, 99), (3, 2))
    ]
    alone = [lloyd(data, centroids, limits) for centroids, limits in starts]
    together = lloyd_together(Counting(), starts)  # type: ignore[arg-type]
    for one, other in zip(alone, together, strict=True):
        assert (one.inertia, one.converged) == (other.inertia, other.converged)
        np.testing.assert_array_equal(one.centroids, other.centroids)
    assert len(asked) == max(len(steps.inertia) for steps in alone)
    assert sum(asked) == sum(len(steps.inertia) for steps in alone)
    assert lloyd_together(Counting(), []) == []  # type: ignore[arg-type]


def test_a_model_of_all_images_keeps_the_clusters_of_every_k_as_long_as_they_are_few(
    photographs: ChunkSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    founds, data = found_in(photographs.everything, photographs.batch, attempts=1, k_range=(1, 4))
    settings = FitSettings("auto", features="rgb", k_range=(1, 4))
    rows = chosen_model(founds, settings, data.space).facts["sweep"]
    assert [np.shape(row["centroids"]) for row in rows] == [(k, 3) for k in (1, 2, 3, 4)]
    for row, found in zip(rows, founds, strict=True):
        np.testing.assert_array_equal(row["colors"], found.solution.colors)
    monkeypatch.setattr("kseg_core.sweep.table.KEPT_COMPONENTS", 9)  # k 1 and 2
    kept = chosen_model(founds, settings, data.space).facts["sweep"]
    assert [("centroids" in row, "colors" in row) for row in kept] == [(True, True)] * 2 + [(False, False)] * 2
    assert [row["inertia"] for row in kept] == [row["inertia"] for row in rows]
    alone = FitSettings("auto", features="rgb", k_range=(1, 4), scope="image")
    assert not any("centroids" in row for row in chosen_model(founds, alone, data.space).facts["sweep"])
