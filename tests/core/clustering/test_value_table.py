"""The distinct values of bands and their counts."""

from __future__ import annotations

import numpy as np
import pytest

from kseg_core.clustering import band_values
from kseg_core.clustering.band_values import ValueTable

EVERYWHERE = np.empty(0, np.bool_)


@pytest.mark.parametrize(
    ("dtype", "bands"), [("uint8", 1), ("uint16", 3), ("int16", 4), ("float32", 7), ("float64", 1)]
)
def test_a_table_has_the_rows_and_counts_of_numpy_unique(dtype: str, bands: int) -> None:
    values = np.random.default_rng(bands).integers(0, 4, (5000, bands)).astype(dtype) * 31
    values -= np.array(0 if dtype.startswith("u") else 40, dtype)
    rows, counts = np.unique(values, axis=0, return_counts=True)
    found = ValueTable.of(values, EVERYWHERE)
    assert np.array_equal(found.values, rows)
    assert np.array_equal(found.counts, counts)


def test_a_negative_zero_is_zero_and_the_order_is_that_of_numbers() -> None:
    values = np.array([[0.0], [-0.0], [-1.0], [5e-324], [-5e-324], [1.7e308], [-0.0]])
    found = ValueTable.of(values, EVERYWHERE)
    assert found.values is not None
    assert found.values[:, 0].tolist() == [-1.0, -5e-324, 0.0, 5e-324, 1.7e308]
    assert not np.signbit(found.values[2, 0])
    assert found.counts.tolist() == [1, 1, 3, 1, 1]
    holed = np.where(values == -1.0, np.nan, values)
    assert ValueTable.of(holed, ~np.isnan(holed[:, 0])).counts.tolist() == [1, 3, 1, 1]


def test_invalid_pixels_are_not_counted() -> None:
    values = np.array([[1, 2], [1, 2], [9, 9]], np.uint16)
    found = ValueTable.of(values, np.array([True, False, False]))
    assert found.values.tolist() == [[1, 2]]
    assert found.counts.tolist() == [1]
    nothing = ValueTable.of(values, np.zeros(3, np.bool_))
    assert len(nothing.counts) == 0
    assert nothing.merge(found).counts.tolist() == [1]


def test_parts_merge_to_the_table_of_the_whole() -> None:
    values = np.random.default_rng(0).integers(0, 9, (9000, 3)).astype(np.uint16)
    parts = [ValueTable.of(values[at : at + 1000], EVERYWHERE) for at in range(0, 9000, 1000)]
    merged = parts[4]
    for part in (*parts[:4], *parts[5:]):
        merged = merged.merge(part)
    whole = ValueTable.of(values, EVERYWHERE)
    assert np.array_equal(merged.values, whole.values)
    assert np.array_equal(merged.counts, whole.counts)


def test_many_values_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(band_values, "MOST_VALUES", 8)
    rising = np.arange(16, dtype=np.uint16)[:, None]
    assert ValueTable.of(rising, EVERYWHERE).values is None
    low, high = ValueTable.of(rising[:8], EVERYWHERE), ValueTable.of(rising[8:], EVERYWHERE)
    assert low.values is not None
    assert low.merge(high).values is None
    assert low.merge(low.merge(high)).values is None
