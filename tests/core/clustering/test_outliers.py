"""Which values lie far beyond all others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kseg_core.clustering.band_values import as_values
from kseg_core.clustering.bands import BandMoments
from kseg_core.clustering.outliers import Drift, Outlier, Reference, fill_lines, fills_of, outliers_of
from kseg_core.clustering.outliers import outliers as outlying

Array = NDArray[Any]


def outliers(samples: Array, every: int = 1) -> tuple[tuple[Outlier, ...], ...]:
    """Of samples (n, d), of which one in so many is in the sample."""
    values = as_values(samples[None])
    return outliers_of(BandMoments.of(values, None, samples.dtype.name), values[::every])


@pytest.mark.parametrize(
    ("kind", "every", "seed"),
    [("uniform", 1, 0), ("normal", 4, 1), ("exponential", 1, 2), ("lognormal", 4, 0), ("lognormal 1.3", 1, 3)],
)
def test_the_last_of_a_long_tail_is_no_outlier(kind: str, every: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 200_000
    values = {
        "uniform": lambda: rng.uniform(-1, 1, n),
        "normal": lambda: rng.normal(0, 1, n),
        "exponential": lambda: rng.exponential(1, n),
        "lognormal": lambda: np.exp(rng.normal(0, 1, n)),
        "lognormal 1.3": lambda: np.exp(rng.normal(0, 1.3, n)),
    }[kind]()
    assert outliers(values[:, None], every) == ((),)
    assert outliers(values.astype(np.float32)[:, None], every) == ((),)
    assert outliers((values * 100).clip(-32768, 32767).astype(np.int16)[:, None], every) == ((),)


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [
        ("int16", -32768),
        ("uint16", 65535),
        ("int32", -(1 << 31)),
        ("int64", -(1 << 63)),
        ("float16", 65504.0),
        ("float32", -9999.0),
        ("float64", -1.7976931348623157e308),
        ("float64", 1e10),
    ],
)
def test_a_fill_value_is_found_however_many_pixels_have_it_and_whether_the_sample_holds_it(
    dtype: str, fill: float
) -> None:
    for pixels, every in ((1, 1), (2, 10), (300, 10)):
        samples = np.random.default_rng(1).normal(900, 30, (20_000, 2)).astype(dtype)
        samples[1 : 2 * pixels : 2, 1] = fill
        first, second = outliers(samples, every)
        assert first == ()
        assert [(found.value, found.pixels) for found in second] == [(float(samples[1, 1]), pixels)]
        assert second[0].deviations > 20


def test_one_value_at_each_end_may_be_far() -> None:
    samples = np.random.default_rng(2).normal(0.3, 0.1, (5000, 1))
    samples[:3], samples[3:5] = -9999.0, 1e10
    assert sorted((found.value, found.pixels) for found in outliers(samples)[0]) == [(-9999.0, 3), (1e10, 2)]


def test_a_line_names_all_bands_that_have_a_value() -> None:
    samples = np.random.default_rng(3).normal(0.3, 0.1, (5000, 3)).astype(np.float32)
    samples[:7, [0, 2]] = -9999
    (line,) = fill_lines(fills_of(outliers(samples), (4, 2, 1)), "float32")
    assert line.startswith("bands 4, 1: 7 pixels of -9999, ")
    assert line.endswith("--nodata=-9999")
    assert fill_lines(fills_of(((), ()), (1, 2)), "float32") == ()


@pytest.mark.parametrize("values", [[0, 1, 2], [0, 0, 255], [7]])
def test_class_maps_and_constants_have_none(values: list[int]) -> None:
    maps = np.random.default_rng(4).choice(values, (5000, 1))
    maps[0] = values[-1]
    for dtype in ("uint8", "uint16", "int32", "float32"):
        assert outliers(maps.astype(dtype)) == ((),)


@pytest.mark.parametrize("share", [0.15, 0.5, 0.6, 0.97])
def test_a_fill_value_is_named_however_many_pixels_have_it(share: float) -> None:
    rng = np.random.default_rng(0)
    relief = rng.gamma(2, 600, (300, 300, 1)).astype(np.float32)  # mountains: -9999 is some 12 deviations away
    relief[rng.random((300, 300)) < share] = -9999
    ((found,),) = outliers(relief)
    assert found.value == -9999


def test_advice_keeps_the_values_that_hold_no_data_already() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(300, 20, (90, 90, 1)).astype(np.float32)
    samples[:9], samples[9:12] = -9999, 1e20
    lines = fill_lines(fills_of(outliers(samples), (1,)), "float32", [0.0])
    assert len(lines) == 2
    assert all(
        line.endswith("add --nodata=0,-9999,1e+20") or line.endswith("add --nodata=0,1e+20,-9999") for line in lines
    )


# ------------------------------------------------------------------------------------- images unlike the others


@pytest.mark.parametrize(
    ("counts", "inertia", "expected"),
    [
        ((50, 30, 20), 200.0, Drift(1.0, 0.0)),  # twice nothing new: shares and error of the model
        ((5, 3, 2), 40.0, Drift(2.0, 0.0)),
        ((0, 0, 4), 8.0, Drift(1.0, 0.8)),  # half of |0 - 0.5| + |0 - 0.3| + |1 - 0.2|
        ((0, 0, 0), 0.0, Drift(None, None)),
    ],
)
def test_drift_is_measured_against_the_model(counts: tuple[int, ...], inertia: float, expected: Drift) -> None:
    assert Reference((50, 30, 20), 2.0).drift(counts, inertia) == expected
    without_error, of_nothing = Reference((50, 30, 20), 0.0), Reference((0, 0, 0), None)
    assert without_error.drift(counts, inertia) == Drift(None, expected.share_distance)
    assert of_nothing.drift(counts, inertia) == Drift(None, None)


def test_the_odd_one_is_an_outlier_and_a_better_one_is_not() -> None:
    usual = {f"n{i}": Drift(1.0 + i / 100, 0.2 + i / 100) for i in range(9)}
    assert outlying(usual) == set()
    assert outlying({**usual, "far": Drift(1.0, 0.9), "blurred": Drift(4.0, 0.2), "fine": Drift(0.1, 0.0)}) == {
        "far",
        "blurred",
    }


def test_equal_images_have_no_outliers_among_them_and_few_tell_nothing() -> None:
    assert outlying({f"n{i}": Drift(1.0, 0.2 + i * 1e-9) for i in range(9)}) == set()
    assert outlying({"a": Drift(1.0, 0.1), "b": Drift(1.0, 0.1), "c": Drift(9.0, 0.9)}) == set()
