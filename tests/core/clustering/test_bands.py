"""Grids, ranges, statistics and feature spaces of bands."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kseg_core.clustering.band_pixels import BandPixels
from kseg_core.clustering.bands import BandGrid, BandMoments, BandRange, BandSpace, is_whole
from kseg_core.clustering.kmeans import SerialRunner, finish, solve
from kseg_core.clustering.sums import ClusterSums
from kseg_core.config import FitSettings
from kseg_core.errors import StoreError
from kseg_core.store.model import Model
from tests.strategies import QUICK

Array = NDArray[Any]
WHOLE = ["uint8", "uint16", "int16"]
OTHERS = ["uint32", "int32", "float32", "float64"]


def grid_of(samples: Array, valid: Array | None = None) -> BandGrid:
    """As a run finds it."""
    if is_whole(samples.dtype.name):
        return BandGrid.for_dtype(samples.dtype.name, samples.shape[-1])
    return BandGrid.for_range(BandRange.of(samples, valid))


def moments_of(samples: Array, valid: Array | None = None, grid: BandGrid | None = None) -> BandMoments:
    grid = grid_of(samples, valid) if grid is None else grid
    return BandMoments.of(grid.values(samples, valid), valid, grid)


def space_of(samples: Array, normalize: str = "none", valid: Array | None = None) -> BandSpace:
    grid = grid_of(samples, valid)
    bands = tuple(range(1, samples.shape[-1] + 1))
    return BandSpace.fitted(bands, samples.dtype.name, grid, moments_of(samples, valid, grid), normalize)


# ---------------------------------------------------------------------------------------------------- grids


@pytest.mark.parametrize("dtype", WHOLE)
def test_8_and_16_bit_whole_numbers_are_their_own_grid(dtype: str) -> None:
    limits = np.iinfo(dtype)
    samples = np.array([[[limits.min, limits.max], [0, 1]]], dtype)
    grid = grid_of(samples)
    values = grid.values(samples, None)
    assert is_whole(dtype)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, samples.reshape(-1, 2))
    np.testing.assert_array_equal(grid.base + grid.step * values, samples.reshape(-1, 2))


SCALES = [(0.0, 1.0), (-5.0, 1e-3), (1e6, 1e-2), (0.0, 1e30), (273.15, 40.0), (-1e-20, 1e-21)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("middle", "spread"), SCALES)
def test_floating_point_values_are_rounded_to_the_grid_by_at_most_half_a_step(
    dtype: str, middle: float, spread: float
) -> None:
    samples = (middle + spread * np.random.default_rng(1).normal(size=(40, 50, 2))).astype(dtype)
    grid = grid_of(samples)
    values = grid.values(samples, None)
    back = grid.base + grid.step * values
    wide = samples.reshape(-1, 2).astype(np.float64)
    ulp = np.spacing(np.abs(wide).max())
    assert (np.abs(back - wide) <= grid.step / 2 + ulp).all()
    span = np.ptp(wide, axis=0)
    assert (grid.step <= span * 2.0**-22).all()  # float32's precision over the range
    assert (np.log2(grid.step) % 1 == 0).all()
    assert values.min() >= 0
    assert values.max() < 1 << 24


@pytest.mark.parametrize("value", [0.0, 1.0, 100.0, -1e30, 1e300])
def test_a_band_of_one_value_has_a_grid(value: float) -> None:
    samples = np.full((3, 4, 1), value)
    grid = grid_of(samples)
    values = grid.values(samples, None)
    np.testing.assert_array_equal(grid.base + grid.step * values, samples.reshape(-1, 1))


@pytest.mark.parametrize("dtype", ["uint32", "int32"])
def test_whole_numbers_of_32_bits_lie_on_the_grid_of_their_range(dtype: str) -> None:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(2)
    samples = random.integers(limits.min, limits.max, (30, 40, 2), dtype, endpoint=True)
    samples[0, 0], samples[0, 1] = limits.min, limits.max
    grid = grid_of(samples)
    back = grid.base + grid.step * grid.values(samples, None)
    assert grid.step.tolist() == [512.0, 512.0]
    assert np.abs(back - samples.reshape(-1, 2).astype(np.float64)).max() <= 256


def test_32_bit_values_of_a_narrow_range_are_kept_exactly() -> None:
    samples = (4_000_000_000 + np.arange(100_000, dtype=np.uint32)).reshape(100, 1000, 1).astype(np.uint32)
    grid = grid_of(samples)
    back = grid.base + grid.step * grid.values(samples, None)
    np.testing.assert_array_equal(back[:, 0], samples.reshape(-1).astype(np.float64))


def test_values_beyond_the_fitted_range_are_clipped_and_invalid_ones_become_the_lowest() -> None:
    grid = grid_of(np.array([[[0.0], [1.0]]]))
    samples = np.array([[[-9.0], [2.0], [np.nan], [np.inf], [0.5]]])
    valid = np.array([[True, True, False, False, True]])
    values = grid.values(samples, valid)[:, 0]
    assert values[[0, 2, 3]].tolist() == [0, 0, 0]
    assert values[1] == (1 << 24) - 1
    assert grid.base[0] + grid.step[0] * values[4] == 0.5


@given(
    hnp.arrays("float32", (4, 6, 2), elements=st.floats(-1e6, 1e6, width=32)),
    hnp.arrays(np.bool_, (4, 6)),
    st.integers(1, 3),
)
@QUICK
def test_a_value_has_one_place_on_the_grid_whatever_chunk_it_lies_in(samples: Array, valid: Array, cut: int) -> None:
    ranges = [BandRange.of(samples[:cut], valid[:cut]), BandRange.of(samples[cut:], valid[cut:])]
    merged = ranges[1].merge(ranges[0])
    whole = BandRange.of(samples, valid)
    np.testing.assert_array_equal(merged.low, whole.low)
    np.testing.assert_array_equal(merged.high, whole.high)
    if valid.any():
        grid = BandGrid.for_range(merged)
        parts = [grid.values(samples[part], valid[part]) for part in (slice(cut), slice(cut, None))]
        np.testing.assert_array_equal(np.concatenate(parts), grid.values(samples, valid))


# --------------------------------------------------------------------------------------------------- ranges


def test_a_range_is_of_the_valid_values_alone() -> None:
    samples = np.array([[[1.0, -4.0], [np.nan, 9.0], [3.0, 2.0]]], np.float32)
    found = BandRange.of(samples, np.array([[True, False, True]]))
    assert (found.low.tolist(), found.high.tolist()) == ([1, -4], [3, 2])


def test_the_range_of_nothing_is_neutral() -> None:
    samples = np.array([[[1.0], [3.0]]])
    nothing = BandRange.of(samples, np.zeros((1, 2), bool))
    some = BandRange.of(samples, None)
    for merged in (nothing.merge(some), some.merge(nothing)):
        assert (merged.low.tolist(), merged.high.tolist()) == ([1], [3])
    assert not np.isfinite(nothing.merge(nothing).low).any()


# ----------------------------------------------------------------------------------------------- statistics


def same(one: BandMoments, other: BandMoments) -> bool:
    return (
        one.pixels == other.pixels
        and one.sums.tolist() == other.sums.tolist()
        and one.squares.tolist() == other.squares.tolist()
        and np.array_equal(one.histogram, other.histogram)
    )


@pytest.mark.parametrize("dtype", [*WHOLE, *OTHERS])
def test_statistics_are_exact_and_merge_in_any_order_and_grouping(dtype: str) -> None:
    rng = np.random.default_rng(3)
    scale = {"uint8": 250, "int16": 30_000}.get(dtype, 60_000)
    samples = (rng.random((31, 20, 3)) * scale).astype(dtype)
    valid = rng.random((31, 20)) < 0.8
    grid = grid_of(samples, valid)
    whole = moments_of(samples, valid, grid)
    kept = grid.values(samples, valid)[valid.reshape(-1)]
    assert whole.pixels == len(kept)
    assert whole.sums.tolist() == [sum(column) for column in kept.T.tolist()]
    assert whole.squares.tolist() == [sum(v * v for v in column) for column in kept.T.tolist()]
    assert whole.histogram.sum(axis=1).tolist() == [len(kept)] * 3
    parts = [moments_of(samples[rows], valid[rows], grid) for rows in (slice(7), slice(7, 8), slice(8, None))]
    a, b, c = parts
    for merged in (a.merge(b).merge(c), a.merge(b.merge(c)), c.merge(a).merge(b)):
        assert same(merged, whole)


def test_totals_may_pass_what_64_bits_hold() -> None:
    samples = np.full((100, 100, 1), 65535, np.uint16)
    one = moments_of(samples)
    many = reduce(lambda sums, _: sums.merge(sums), range(30), one)  # 2^30 times as many pixels
    assert many.pixels == 10_000 << 30
    assert many.sums.tolist() == [65535 * 10_000 << 30]
    assert many.squares.tolist() == [65535**2 * 10_000 << 30]
    assert many.squares[0] > 1 << 63
    mean, deviation = many.mean_and_deviation(grid_of(samples))
    assert (mean.tolist(), deviation.tolist()) == ([65535], [0])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "uint32"])
def test_mean_and_deviation(dtype: str) -> None:
    rng = np.random.default_rng(4)
    samples = (1000 + 300 * rng.normal(size=(60, 70, 2)) * [1, 3]).clip(-3000, 9000)
    samples = samples.clip(0, None).astype(dtype) if dtype == "uint32" else samples.astype(dtype)
    samples = np.abs(samples) if dtype == "uint16" else samples
    valid = rng.random((60, 70)) < 0.9
    mean, deviation = moments_of(samples, valid).mean_and_deviation(grid_of(samples, valid))
    kept = samples[valid].astype(np.float64)
    np.testing.assert_allclose(mean, kept.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(deviation, kept.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("share", [1, 2, 50, 98, 100])
def test_a_percentile_of_whole_numbers_is_the_value_at_that_rank(dtype: str, share: int) -> None:
    samples = np.random.default_rng(5).integers(-100 if dtype == "int16" else 0, 120, (37, 11, 1)).astype(dtype)
    found = moments_of(samples).percentile(0, share, grid_of(samples))
    assert found == float(np.percentile(samples, share, method="inverted_cdf"))


def test_a_percentile_of_other_numbers_is_right_to_a_bin() -> None:
    samples = np.random.default_rng(6).normal(size=(300, 300, 1)).astype(np.float32)
    grid = grid_of(samples)
    for share in (2, 98):
        found = moments_of(samples).percentile(0, share, grid)
        assert found == pytest.approx(float(np.percentile(samples, share)), abs=256 * grid.step[0] + 1e-3)


# ------------------------------------------------------------------------------------------------ the space


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
def test_standard_features_have_mean_0_and_deviation_1(dtype: str) -> None:
    samples = (100 + 20 * np.random.default_rng(7).normal(size=(50, 60, 3))).clip(0, 250).astype(dtype)
    space = space_of(samples, "standard")
    found = space.features_of(space.grid.values(samples, None).astype(np.float64))
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-9)
    np.testing.assert_allclose(found, (samples.reshape(-1, 3) - space.offset) * space.scale, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32"])
def test_minmax_features_reach_from_0_to_1(dtype: str) -> None:
    samples = (100 + 20 * np.random.default_rng(8).normal(size=(50, 60, 3))).clip(0, 250).astype(dtype)
    space = space_of(samples, "minmax")
    found = space.features_of(space.grid.values(samples, None).astype(np.float64))
    exact = is_whole(dtype)
    np.testing.assert_allclose(found.min(axis=0), 0, atol=0 if exact else 1e-4)
    np.testing.assert_allclose(found.max(axis=0), 1, atol=0 if exact else 1e-4)


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_a_band_of_one_value_is_not_divided_by_zero(normalize: str) -> None:
    samples = np.zeros((4, 5, 2), np.uint16)
    samples[..., 1] = 7
    space = space_of(samples, normalize)
    assert (space.offset.tolist(), space.scale.tolist()) == ([0, 7], [1, 1])


@pytest.mark.parametrize("normalize", ["none", "standard", "minmax"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_inertia_by_fractions(dtype: str, normalize: str) -> None:
    rng = np.random.default_rng(9)
    samples = rng.integers(0, 5000, (12, 15, 2)).astype(dtype)
    space = space_of(samples, normalize)
    values = space.grid.values(samples, None)
    centroids = space.features_of(rng.uniform(values.min(), values.max(), (4, 2)))
    sums = BandPixels.build(space, values).sums(centroids)
    points = space.features_of(values.astype(np.float64))
    squared = ((points[:, None] - centroids[None]) ** 2).sum(axis=2).min(axis=1)
    exact = sum((Fraction(float(s)) for s in squared), Fraction(0))
    assert space.inertia(sums, centroids) == pytest.approx(float(exact), rel=1e-9)


def test_colours_of_three_bands_are_means_stretched_between_percentiles() -> None:
    rng = np.random.default_rng(10)
    samples = rng.integers(1000, 9000, (80, 90, 4), dtype=np.uint16)
    space = space_of(samples)
    stretch = [np.percentile(samples[..., b], (2, 98), method="inverted_cdf").tolist() for b in range(3)]
    assert [list(limits) for limits in space.stretch] == stretch
    sums = ClusterSums(
        np.array([2, 3, 1]),
        np.array([[2000] * 4, [15000] * 4, [9000] * 4]),
        np.array([0] * 4, object),
    )
    expected = [
        [np.floor(np.clip((m - low) / (high - low), 0, 1) * 255 + 0.5) for low, high in stretch]
        for m in (1000, 5000, 9000)
    ]
    assert space.colors_of(sums).tolist() == expected


@pytest.mark.parametrize("bands", [1, 2])
def test_colours_of_fewer_than_three_bands_are_grays_of_the_first(bands: int) -> None:
    samples = np.random.default_rng(11).integers(0, 200, (30, 30, bands), dtype=np.uint8)
    space = space_of(samples)
    assert len(space.stretch) == 1
    sums = ClusterSums(np.array([1]), np.full((1, bands), 100), np.array([0] * bands, object))
    colors = space.colors_of(sums)
    assert colors.shape == (1, 3)
    assert len(set(colors[0].tolist())) == 1


def test_clusters_are_numbered_by_the_mean_then_the_components() -> None:
    space = space_of(np.zeros((2, 2, 2), np.uint8))
    centroids = np.array([[3.0, 3.0], [5.0, 0.0], [4.0, 2.0], [0.0, 5.0], [9.0, 9.0]])
    order = space.order(np.zeros((5, 3), np.uint8), centroids)
    assert centroids[order].tolist() == [[0, 5], [5, 0], [3, 3], [4, 2], [9, 9]]


# ------------------------------------------------------------------------------------------------ the model


def model_of(samples: Array, normalize: str = "standard", k: int = 3) -> Model:
    space = space_of(samples, normalize)
    pixels = BandPixels.build(space, space.grid.values(samples, None))
    settings = FitSettings(k, features="bands", normalize=normalize, attempts=2)  # type: ignore[arg-type]
    centroids, history = solve(pixels, pixels, settings, SerialRunner())
    return Model.from_solution(finish(pixels, centroids), settings, history, space)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_a_model_of_bands_comes_back_from_disk_with_every_bit(dtype: str, tmp_path: Path) -> None:
    samples = np.random.default_rng(12).normal(500, 100, (40, 50, 4)).astype(dtype)
    model = model_of(samples)
    model.save(str(tmp_path / "a.zarr"))
    again = Model.load(str(tmp_path / "a.zarr"))
    assert again.digest == model.digest
    assert again.bands is not None
    assert model.bands is not None
    assert again.bands.attributes() == model.bands.attributes()
    np.testing.assert_array_equal(again.centroids, model.centroids)
    np.testing.assert_array_equal(again.predict(samples), model.predict(samples))
    assert (again.inertia, again.counts.tolist()) == (model.inertia, model.counts.tolist())


def test_predict_marks_nan_and_infinity_and_wants_the_models_bands() -> None:
    samples = np.random.default_rng(13).normal(size=(20, 30, 2)).astype(np.float32)
    model = model_of(samples)
    holed = samples.copy()
    holed[3, 4, 1], holed[5, 6, 0] = np.nan, np.inf
    labels = model.predict(holed)
    assert (labels == 255).sum() == 2
    assert labels[3, 4] == labels[5, 6] == 255
    keep = labels != 255
    np.testing.assert_array_equal(labels[keep], model.predict(samples)[keep])
    with pytest.raises(ValueError, match=r"\(y, x, 2\), got .*\(20, 30, 1\)"):
        model.predict(samples[..., :1])


def test_the_digest_tells_any_change_of_the_feature_space(tmp_path: Path) -> None:
    import zarr

    samples = np.random.default_rng(14).normal(size=(20, 30, 2)).astype(np.float32)
    assert model_of(samples, "standard").digest != model_of(samples, "minmax").digest
    model_of(samples).save(str(tmp_path / "a.zarr"))
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r+")
    facts: Any = dict(group.attrs["kseg"])  # type: ignore[arg-type]
    facts["normalisation"] = {**facts["normalisation"], "scale": [1.0, 1.0]}
    group.attrs["kseg"] = facts
    with pytest.raises(StoreError, match="digest does not match"):
        Model.load(str(tmp_path / "a.zarr"))
    del facts["grid"]
    group.attrs["kseg"] = facts
    with pytest.raises(StoreError, match="its bands cannot be read"):
        Model.load(str(tmp_path / "a.zarr"))
