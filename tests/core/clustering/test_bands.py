"""Values as they are stored, exact statistics and feature spaces of bands."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.clustering.band_points import BandPoints
from kseg_core.clustering.band_values import Extremes, as_values, flat_mask, is_small, unit_bits
from kseg_core.clustering.bands import BandMoments, BandSpace
from kseg_core.clustering.kmeans import finish, solve
from kseg_core.clustering.sums import ClusterSums
from kseg_core.config import FitSettings
from kseg_core.errors import StoreError
from kseg_core.store.model import Model
from tests.strategies import BAND_DTYPES, QUICK, band_samples, exactly, rounded

Array = NDArray[Any]
SMALL = ["uint8", "uint16", "int8", "int16"]
OTHERS = ["uint32", "int32", "uint64", "int64", "float16", "float32", "float64"]


def moments_of(samples: Array, valid: Array | None = None) -> BandMoments:
    return BandMoments.of(as_values(samples), valid, samples.dtype.name)


def space_of(samples: Array, normalize: str = "none", valid: Array | None = None) -> BandSpace:
    """As a run finds it."""
    bands = tuple(range(1, samples.shape[-1] + 1))
    sample = as_values(samples)[flat_mask(valid) if valid is not None else slice(None)]
    return BandSpace.fitted(bands, samples.dtype.name, moments_of(samples, valid), normalize, sample)


# --------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", BAND_DTYPES)
def test_values_are_taken_as_they_are_stored(dtype: str) -> None:
    kind = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    samples = np.array([[[kind.min, kind.max], [0, 1], [7, 3]]], dtype)
    values = as_values(samples)
    assert is_small(dtype) == (dtype in SMALL)
    assert values.shape == (3, 2)
    if dtype not in ("int64", "uint64"):  # of which float64 holds the nearest
        assert [int(v) for v in values.reshape(-1)] == [int(v) for v in samples.reshape(-1)]
    np.testing.assert_array_equal(values.astype(np.float64), samples.reshape(-1, 2).astype(np.float64))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_least_float_is_one_step_and_the_largest_a_whole_number_of_them(dtype: str) -> None:
    kind = np.finfo(dtype)
    samples = np.array([[[kind.smallest_subnormal, kind.max]]], dtype)
    moments = moments_of(samples)
    assert moments.sums.tolist() == [1, int(Fraction(float(kind.max)) * 2 ** unit_bits(dtype))]
    assert moments.squares.tolist() == [total**2 for total in moments.sums.tolist()]


@pytest.mark.parametrize("fill", [-32768.0, 1e10, -3.4e38, 1.7e308])
def test_a_fill_value_takes_no_other_value_away(fill: float) -> None:
    near = np.random.default_rng(1).normal(100, 1, 500)
    samples = np.concatenate([near, [fill]])[None, :, None]
    pixels = BandPoints.build(space_of(samples), as_values(samples))
    assert pixels.distinct()[:, 0].tolist() == sorted([*near.tolist(), fill])


# ------------------------------------------------------------------------------------------------- extremes


@given(st.data())
@QUICK
def test_the_extremes_and_their_pixels_are_numpys_and_merge_in_any_order(data: Any) -> None:
    samples, valid = data.draw(band_samples())
    mask = flat_mask(valid)
    whole = Extremes.of(as_values(samples), mask)
    kept = as_values(samples)[mask if mask.size else slice(None)].astype(np.float64)
    for band, column in enumerate(kept.T if len(kept) else []):
        assert (whole.low[band], whole.high[band]) == (column.min(), column.max())
        assert whole.at_low[band] == (column == column.min()).sum()
        assert whole.at_high[band] == (column == column.max()).sum()
    if not len(kept):
        assert not np.isfinite([whole.low, whole.high]).any()
    cut = data.draw(st.integers(0, len(samples)))
    parts = [
        Extremes.of(as_values(samples[at]), flat_mask(None if valid is None else valid[at]))
        for at in (slice(cut), slice(cut, None))
    ]
    for merged in (parts[0].merge(parts[1]), parts[1].merge(parts[0])):
        for name in ("low", "high", "at_low", "at_high"):
            np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name))
    assert not np.signbit(whole.low[whole.low == 0]).any()  # there is one zero
    moments = moments_of(samples, valid)
    if moments.histogram is not None and len(kept):
        for name in ("low", "high", "at_low", "at_high"):
            np.testing.assert_array_equal(getattr(moments.extremes, name), getattr(whole, name))


# ----------------------------------------------------------------------------------------------- statistics


def same(one: BandMoments, other: BandMoments) -> bool:
    return (
        one.pixels == other.pixels
        and one.sums.tolist() == other.sums.tolist()
        and one.squares.tolist() == other.squares.tolist()
        and np.array_equal(one.histogram, other.histogram)
        and [part.tolist() for part in ends_of(one)] == [part.tolist() for part in ends_of(other)]
    )


def ends_of(moments: BandMoments) -> list[Array]:
    ends = moments.extremes
    return [ends.low, ends.high, ends.at_low, ends.at_high]


@given(st.data())
@QUICK
def test_statistics_of_any_values_are_exact_in_any_cutting_and_order(data: Any) -> None:
    samples, valid = data.draw(band_samples())
    whole = moments_of(samples, valid)
    unit = Fraction(1, 2 ** unit_bits(samples.dtype.name))
    kept = as_values(samples)[flat_mask(valid) if valid is not None else slice(None)]
    columns = [exactly(column) for column in kept.T]
    assert [total * unit for total in whole.sums.tolist()] == [sum(column) for column in columns]
    assert [total * unit**2 for total in whole.squares.tolist()] == [sum(v * v for v in column) for column in columns]
    cuts = sorted({0, len(samples), *data.draw(st.lists(st.integers(0, len(samples)), max_size=3))})
    parts = [moments_of(samples[a:b], None if valid is None else valid[a:b]) for a, b in pairwise(cuts)]
    merged = reduce(lambda one, other: one.merge(other), data.draw(st.permutations(parts)))
    assert same(merged, whole)
    if whole.pixels:
        n = whole.pixels
        mean, deviation = whole.mean_and_deviation()
        assert mean.tolist() == [float(sum(column) / n) for column in columns]
        for found, column in zip(deviation, columns, strict=True):
            variance = sum(v * v for v in column) / n - (sum(column) / n) ** 2
            assert found == np.sqrt(rounded(variance))


def test_totals_may_pass_what_64_bits_hold() -> None:
    samples = np.full((100, 100, 1), 65535, np.uint16)
    one = moments_of(samples)
    many = reduce(lambda sums, _: sums.merge(sums), range(30), one)  # 2^30 times as many pixels
    assert many.pixels == 10_000 << 30
    assert many.sums.tolist() == [65535 * 10_000 << 30]
    assert many.squares.tolist() == [65535**2 * 10_000 << 30]
    assert many.squares[0] > 1 << 63
    mean, deviation = many.mean_and_deviation()
    assert (mean.tolist(), deviation.tolist()) == ([65535], [0])


@given(st.sampled_from([*SMALL, "int32", "float32"]), st.integers(1, 100))
@QUICK
def test_a_percentile_is_the_value_at_that_rank(dtype: str, share: int) -> None:
    low = 0 if dtype.startswith("u") else -100
    samples = np.random.default_rng(5).integers(low, 120, (37, 11, 1)).astype(dtype)
    found = moments_of(samples).percentile(0, share, as_values(samples))
    assert found == float(np.percentile(samples, share, method="inverted_cdf"))


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_a_percentile_leaves_out_the_values_set_apart(dtype: str) -> None:
    samples = np.random.default_rng(5).integers(-100, 120, (37, 11, 1)).astype(dtype)
    filled = samples.copy()
    filled[:9] = -32768
    found = moments_of(filled).percentile(0, 2, as_values(filled), apart=[-32768.0])
    assert found == float(np.percentile(samples[9:], 2, method="inverted_cdf"))
    nothing_else = np.full((3, 4, 1), -32768, dtype)
    if dtype != "int16":
        assert moments_of(nothing_else).percentile(0, 2, as_values(nothing_else), apart=[-32768.0]) == -32768


# ------------------------------------------------------------------------------------------------ the space


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_features_have_mean_0_and_deviation_1_or_reach_from_0_to_1(dtype: str) -> None:
    samples = (100 + 20 * np.random.default_rng(7).normal(size=(50, 60, 3))).clip(0, 250).astype(dtype)
    for normalize in ("standard", "minmax"):
        space = space_of(samples, normalize)
        found = space.features_of(as_values(samples).astype(np.float64))
        np.testing.assert_array_equal(found, (samples.reshape(-1, 3) - space.offset) * space.scale)
        low, width = (
            (found.mean(axis=0), found.std(axis=0)) if normalize == "standard" else (found.min(0), np.ptp(found, 0))
        )
        np.testing.assert_allclose(low, 0, atol=1e-9)
        np.testing.assert_allclose(width, 1, rtol=1e-9)


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_a_band_of_one_value_is_not_divided_by_zero(normalize: str) -> None:
    samples = np.zeros((4, 5, 2), np.uint16)
    samples[..., 1] = 7
    space = space_of(samples, normalize)
    assert (space.offset.tolist(), space.scale.tolist()) == ([0, 7], [1, 1])


@pytest.mark.parametrize(
    ("dtype", "normalize"), [("uint16", "standard"), ("float32", "minmax"), ("float64", "none"), ("int64", "standard")]
)
def test_inertia_is_the_sum_by_fractions_rounded_once(dtype: str, normalize: str) -> None:
    rng = np.random.default_rng(9)
    samples = (rng.normal(size=(12, 15, 2)) * 5000 + 30_000).astype(dtype)
    space = space_of(samples, normalize)
    values = as_values(samples)
    centroids = space.features_of(rng.uniform(values.min(), values.max(), (4, 2)))
    sums = BandPoints.build(space, values).sums(centroids)
    points = space.features_of(values.astype(np.float64))
    labels = ((points[:, None] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)
    offset, scale = exactly(space.offset), exactly(space.scale)
    exact = Fraction(0)
    for row, j in zip(values.T.tolist(), range(2), strict=True):
        for value, label in zip(row, labels.tolist(), strict=True):
            feature = (Fraction(value) - offset[j]) * scale[j]
            exact += (feature - Fraction(float(centroids[label, j]))) ** 2
    assert space.inertia(sums, centroids) == float(exact)


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
    for display in ((3, 0, 1), (2,), (1, 0, 1)):
        other = dataclasses.replace(space, stretch=tuple(space_of(samples[..., [at]]).stretch[0] for at in display))
        other = dataclasses.replace(other, display=display)
        shades = [space_of(samples[..., [at]]).shades(samples[..., [at]])[..., 0] for at in display]
        expected_of_display = np.stack(shades if len(shades) == 3 else shades * 3, axis=-1)
        np.testing.assert_array_equal(other.shades(samples), expected_of_display)
        assert BandSpace.from_attributes(json.loads(json.dumps(other.attributes()))).display == display
        assert other.attributes()["display"] == [at + 1 for at in display]
    assert "display" not in space.attributes()
    with pytest.raises(ValueError, match="stretch"):
        BandSpace.from_attributes(space.attributes() | {"display": [2]})
    for bands in (1, 2):  # of fewer than three grays of the first
        fewer = space_of(samples[..., :bands])
        grays = fewer.colors_of(ClusterSums(sums.counts, sums.sums[:, :bands], sums.squares[:bands]))
        assert grays.tolist() == [[row[0]] * 3 for row in expected]


def test_clusters_are_numbered_by_the_mean_then_the_components() -> None:
    space = space_of(np.zeros((2, 2, 2), np.uint8))
    centroids = np.array([[3.0, 3.0], [5.0, 0.0], [4.0, 2.0], [0.0, 5.0], [9.0, 9.0]])
    order = space.order(np.zeros((5, 3), np.uint8), centroids)
    assert centroids[order].tolist() == [[0, 5], [5, 0], [3, 3], [4, 2], [9, 9]]


# ------------------------------------------------------------------------------------------------ the model


def model_of(samples: Array, normalize: str = "standard", k: int = 3) -> Model:
    space = space_of(samples, normalize)
    pixels = BandPoints.build(space, as_values(samples))
    settings = FitSettings(k, features="bands", normalize=normalize, attempts=2)  # type: ignore[arg-type]
    centroids, history = solve(pixels, pixels, settings)
    return Model.from_solution(finish(pixels, centroids), settings, history, space)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "float16", "float64"])
def test_a_model_of_bands_comes_back_from_disk_with_every_bit(dtype: str, tmp_path: Path) -> None:
    middle = 60 if dtype.endswith("int8") else 500
    samples = np.random.default_rng(12).normal(middle, middle / 5, (40, 50, 4)).astype(dtype)
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
    np.testing.assert_array_equal(model.predict(holed.astype(">f4")), labels)
    keep = labels != 255
    np.testing.assert_array_equal(labels[keep], model.predict(samples)[keep])
    with pytest.raises(ValueError, match=r"\(y, x, 2\) float32.*; got \(20, 30, 1\)"):
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
    del facts["stretch"]
    group.attrs["kseg"] = facts
    with pytest.raises(StoreError, match="its bands cannot be read"):
        Model.load(str(tmp_path / "a.zarr"))
