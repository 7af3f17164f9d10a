"""Drift by hand."""

from __future__ import annotations

import pytest

from kseg_core.clustering.outliers import Drift, Reference, outliers


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


def test_a_model_without_error_or_pixels_gives_no_ratio() -> None:
    assert Reference((1, 1), 0.0).drift((1, 1), 3.0) == Drift(None, 0.0)
    assert Reference((0, 0), None).drift((1, 1), 3.0) == Drift(None, None)


def test_the_odd_one_is_an_outlier_and_a_better_one_is_not() -> None:
    usual = {f"n{i}": Drift(1.0 + i / 100, 0.2 + i / 100) for i in range(9)}
    assert outliers(usual) == set()
    assert outliers({**usual, "far": Drift(1.0, 0.9), "blurred": Drift(4.0, 0.2), "fine": Drift(0.1, 0.0)}) == {
        "far",
        "blurred",
    }


def test_equal_images_have_no_outliers_among_them_and_few_tell_nothing() -> None:
    assert outliers({f"n{i}": Drift(1.0, 0.2 + i * 1e-9) for i in range(9)}) == set()
    assert outliers({"a": Drift(1.0, 0.1), "b": Drift(1.0, 0.1), "c": Drift(9.0, 0.9)}) == set()
