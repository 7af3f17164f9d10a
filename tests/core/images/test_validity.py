"""Which pixels count by their values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kseg_core.config import InputSettings
from kseg_core.images.raster import PictureInfo
from kseg_core.images.validity import Nodata, combine, nodata_mask, nodata_of

NAN, INF = float("nan"), float("inf")


def naive(values: np.ndarray, nodata: float | None) -> np.ndarray:
    """Pixel by pixel, in Python's numbers."""
    valid = np.ones(values.shape[:2], np.bool_)
    for at in np.ndindex(values.shape[:2]):
        pixel = [value.item() for value in values[at]]
        finite = all(abs(value) < INF for value in pixel)
        valid[at] = finite and not (nodata is not None and all(value == nodata for value in pixel))
    return valid


@settings(max_examples=40, deadline=None)
@given(dtype=st.sampled_from(["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64"]), data=st.data())
def test_nodata_by_a_naive_reference(dtype: str, data: st.DataObject) -> None:
    few = st.sampled_from([0, 1, 2]) if dtype[0] != "f" else st.sampled_from([0.0, 1.0, 2.0, NAN, INF, -INF])
    values = data.draw(hnp.arrays(dtype, st.tuples(*[st.integers(1, 4)] * 3), elements=few))
    nodata = data.draw(st.sampled_from([None, 0, 1, 2.0, 0.5, -1, 256, 1e30, NAN, INF]))
    before = values.copy()
    found = nodata_mask(values, nodata)
    expected = naive(values, nodata)
    np.testing.assert_array_equal(values, before)
    if expected.all():
        assert found is None
    else:
        assert found is not None
        assert found.dtype == np.bool_
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("uint8", 256),
        ("uint8", -1),
        ("uint8", 0.5),
        ("uint8", NAN),
        ("uint8", INF),
        ("int16", 2**15),
        ("uint32", 2**32),
    ],
)
def test_a_value_that_the_dtype_cannot_hold_is_found_nowhere(dtype: str, nodata: float) -> None:
    limits = np.iinfo(dtype)
    assert nodata_mask(np.array([[[0], [limits.max], [limits.min], [1]]], dtype), nodata) is None


@pytest.mark.parametrize("text", ["-3.4028234663852886e+38", "-3.40282347e+38", "-3.4028235e+38"])
def test_the_least_float32_is_found_however_it_was_written(text: str) -> None:
    values = np.array([[[np.finfo(np.float32).min], [0]]], np.float32)
    np.testing.assert_array_equal(nodata_mask(values, float(text)), [[False, True]])


@settings(max_examples=40, deadline=None)
@given(
    values=hnp.arrays(
        np.int16, st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(3)), elements=st.integers(-1, 2)
    ),
    given_values=st.lists(st.integers(-1, 3), max_size=2),
    by_band=st.lists(st.one_of(st.none(), st.integers(-1, 2)), max_size=3),
    bands=st.permutations(range(3)).flatmap(lambda order: st.integers(1, 3).map(lambda n: order[:n])),
    within=st.sampled_from(["any", "all"]),
)
def test_nodata_of_any_or_all_bands_by_a_naive_reference(
    values: np.ndarray, given_values: list[int], by_band: list[int | None], bands: list[int], within: Any
) -> None:
    nodata = Nodata(tuple(given_values), tuple(by_band))
    chosen = values[..., bands]
    is_nodata = np.zeros(chosen.shape, bool)
    for at in np.ndindex(chosen.shape):
        band = bands[at[2]]
        own = by_band[band] if band < len(by_band) else None
        is_nodata[at] = chosen[at] in [*given_values, *([] if own is None else [own])]
    expected = ~(is_nodata.any(axis=2) if within == "any" else is_nodata.all(axis=2))
    for rule, default in ((nodata, within), (Nodata(nodata.values, nodata.by_band, within), "all")):
        found = nodata_mask(chosen, rule, default, bands)
        np.testing.assert_array_equal(np.ones(expected.shape, bool) if found is None else found, expected)


def test_the_value_that_stands_for_no_data_is_the_files_own_none_or_the_given_ones() -> None:
    plain = PictureInfo("TIFF", (4, 4), 2, "int16", None, None)
    stating = replace(plain, nodata=7, band_nodata=(None, 3.0))
    assert nodata_of(InputSettings(), plain) is None
    assert nodata_of(InputSettings(), stating) == Nodata((7,), (None, 3.0))
    assert nodata_of(InputSettings("none"), stating) is None
    assert nodata_of(InputSettings("-9999,0", nodata_in="all"), stating) == Nodata((-9999, 0), within="all")
    assert nodata_of(InputSettings().as_before(), stating) == Nodata((7,), within="all")


def test_masks_are_joined_by_and_and_stay_as_they_are() -> None:
    a, b, c = (np.array([bits]) for bits in ([True, True, False], [True, False, True], [True, True, True]))
    assert combine() is None
    assert combine(None, None) is None
    assert combine(None, a, None) is a
    np.testing.assert_array_equal(combine(a, None, b, c), [[True, False, False]])
    np.testing.assert_array_equal((a[0], b[0], c[0]), [[True, True, False], [True, False, True], [True, True, True]])
