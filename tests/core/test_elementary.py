"""Logarithm and exponential against NumPy's, and what they are where there is no number."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.elementary import exp, log

RNG = np.random.default_rng(0)


def test_log_is_right_within_two_units_in_the_last_place() -> None:
    x = np.concatenate([RNG.random(100_000) * 2, np.exp(RNG.uniform(-740, 709, 100_000)), [1 - 2**-53, 1 + 2**-52]])
    expected = np.log(x)
    assert (np.abs(log(x) - expected) <= 2 * np.spacing(np.abs(expected))).all()
    assert log(np.array([1.0, 5e-324]))[0] == 0


def test_exp_is_right_within_two_units_in_the_last_place() -> None:
    x = np.concatenate([RNG.uniform(-745, 709.7, 100_000), RNG.normal(size=100_000), RNG.normal(size=1000) * 1e-10])
    expected = np.exp(x)
    assert (np.abs(exp(x) - expected) <= 2 * np.spacing(expected)).all()
    assert exp(np.array([0.0]))[0] == 1


def test_what_is_no_number() -> None:
    x = np.array([0.0, -0.0, -1.0, np.nan, np.inf, -np.inf])
    with np.errstate(all="ignore"):
        assert np.array_equal(log(x), np.log(x), equal_nan=True)
        x = np.array([710.0, -746.0, np.nan, np.inf, -np.inf])
        assert np.array_equal(exp(x), np.exp(x), equal_nan=True)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_one_alone_is_as_among_others(x: float) -> None:
    many = np.full(37, x)
    assert (exp(many) == exp(many[:1])).all()
    assert np.array_equal(log(many), np.repeat(log(many[:1]), 37), equal_nan=True)
