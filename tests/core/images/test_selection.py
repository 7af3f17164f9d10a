"""Bands by number, by name, and worked out from others, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kseg_core.expressions import Derived, chosen_bands
from kseg_core.images import Pixels
from kseg_core.images.raster import PictureInfo, Refused
from kseg_core.images.selection import Selection, derived_dtype, settle, taken_dtype
from kseg_core.images.validity import Nodata

NAMES = ("blue", "green", "red", "nir")
INFO = PictureInfo("TIFF", (60, 70), 4, "uint16", band_names=NAMES)
Array = NDArray[Any]

#: Ten expressions, and what NumPy makes of blue, green, red and nir in float64.
TEN: dict[str, Callable[[Array, Array, Array, Array], Array]] = {
    "(nir-red)/(nir+red)": lambda b, g, r, n: (n - r) / (n + r),
    "2.5*(nir-red)/(nir+6*red-7.5*blue+1)": lambda b, g, r, n: 2.5 * (n - r) / (n + 6 * r - 7.5 * b + 1),
    "1.5*(nir-red)/(nir+red+0.5)": lambda b, g, r, n: 1.5 * (n - r) / (n + r + 0.5),
    "2*green-red-blue": lambda b, g, r, n: 2 * g - r - b,
    "sqrt(abs(nir**2-red**2))": lambda b, g, r, n: np.sqrt(np.abs(n * n - r * r)),
    "log(nir+1)-log(red+1)": lambda b, g, r, n: np.log(n + 1) - np.log(r + 1),
    "exp(-nir/1000)": lambda b, g, r, n: np.exp(-n / 1000),
    "min(blue,green,red)/max(blue,green,red)": lambda b, g, r, n: (
        np.minimum(np.minimum(b, g), r) / np.maximum(np.maximum(b, g), r)
    ),
    "b4**-3*1e9+band(1)": lambda b, g, r, n: 1 / (n * n * n) * 1e9 + b,
    "-'NIR'+-(+b2)/3": lambda b, g, r, n: -n + -g / 3,
}


def made(text: str, samples: Array, info: PictureInfo = INFO) -> Array:
    """The band of an expression, of samples (y, x, 4)."""
    selection = Selection.of(chosen_bands((), [f"x={text}"]), info)
    return selection.of_samples(samples[..., [number - 1 for number in selection.numbers]])[..., 0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "float16", "float32", "float64"])
@pytest.mark.parametrize("text", TEN)
def test_expressions_are_those_of_numpy(text: str, dtype: str) -> None:
    values = np.random.default_rng(1).integers(0, 120 if dtype in ("uint8", "float16") else 30_000, (60, 70, 4))
    samples = values.astype(dtype)
    with np.errstate(all="ignore"):
        expected = TEN[text](*np.moveaxis(samples.astype(np.float64), 2, 0))
        expected = expected.astype(derived_dtype(dtype))
    found = made(text, samples)
    assert found.dtype == ("float64" if dtype in ("uint32", "float64") else "float32")
    # last bits where NumPy's own logarithm and exponential are this machine's: of values below 16
    apart = 64 * np.finfo(np.float64).eps + np.finfo(found.dtype).eps if "log" in text or "exp" in text else 0
    assert np.isclose(found, expected, rtol=apart, atol=apart, equal_nan=True).all()


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from(list(TEN)))
def test_a_part_is_as_in_the_whole(data: st.DataObject, text: str) -> None:
    samples = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 500, (200, 170, 4)).astype(np.uint16)
    top, left = data.draw(st.integers(0, 199)), data.draw(st.integers(0, 169))
    part = np.s_[top : top + data.draw(st.integers(1, 200)), left : left + data.draw(st.integers(1, 170))]
    assert made(text, samples[part]).tobytes() == np.ascontiguousarray(made(text, samples)[part]).tobytes()


def test_what_is_no_finite_number_does_not_count() -> None:
    samples = np.array([[[0, 0], [1, 1], [3, 1], [2, 0]]], np.uint16)
    info = PictureInfo("TIFF", (1, 4), 2, "uint16")
    selection = Selection.of(chosen_bands((2,), ["x=(b1-b2)/(b1+b2)", "y=log(b2)", "z=b1*1e38"]), info)
    valid = np.array([[True, True, False, True]])
    pixels = selection.of_pixels(Pixels(samples[..., [number - 1 for number in selection.numbers]], valid))
    assert pixels.valid is not None
    assert pixels.valid.tolist() == [[False, True, False, False]]
    assert pixels.samples[0, 1].tolist() == [1, 0, 0, np.float32(1e38)]
    only = Selection.of(chosen_bands((), ["x=b1+b2"]), info).of_pixels(Pixels(samples))
    assert only.valid is None


def test_only_bands_that_are_needed_are_read_and_each_once() -> None:
    assert Selection.of(chosen_bands((), ["x=(nir-red)/(nir+red)", "y=red"]), INFO).numbers == (4, 3)
    assert Selection.of(chosen_bands(("red", 1), ()), INFO).numbers == (3, 1)
    assert Selection.of((), INFO).numbers == ()


def test_names_are_of_each_file_whatever_their_case() -> None:
    bands = chosen_bands(("Red", " NIR "), ())
    turned = PictureInfo("TIFF", (1, 1), 3, band_names=("nir", "x", "RED"))
    assert Selection.of(bands, INFO).numbers == (3, 4)
    assert Selection.of(bands, turned).numbers == (3, 1)


@pytest.mark.parametrize(
    ("bands", "names", "because"),
    [
        (("swir",), NAMES, "it has no band 'swir'; its bands are blue, green, red, nir"),
        (("swir",), (), "it has no band 'swir'; its bands have no names: they are b1 to b4"),
        (("swir",), ("", "a", "", ""), "its bands are b1, a, b3, b4"),
        (("a",), ("a", "A", "", ""), r"its bands 1, 2 are all called 'a'"),
        (("a", 1), ("a", "", "", ""), "a and 1 are one band of it"),
        (("a",), tuple(f"x{n}" for n in range(40)), "x11 and 28 more"),
    ],
)
def test_a_file_without_a_band_is_refused_with_what_it_has(bands: Any, names: tuple[str, ...], because: str) -> None:
    info = PictureInfo("TIFF", (1, 1), len(names) or 4, band_names=names)
    with pytest.raises(Refused, match=because):
        Selection.of(chosen_bands(bands, ()), info)


def test_a_model_has_one_way_to_name_a_band() -> None:
    """``b4`` is the band that is called so where the first file has one, else the fourth; of all others that alone."""
    sentinel = PictureInfo("TIFF", (1, 1), 4, band_names=("B4", "B3", "B2", "B8"))
    bands = chosen_bands(("b3", 4), ["x=b4/B8+band(2)"])
    assert settle(bands, sentinel) == ("B3", 4, Derived("x", "'B4' / 'B8' + band(2)"))
    eight = PictureInfo("TIFF", (1, 1), 8, band_names=("", "red", "", "", "", "", "", ""))
    assert settle(bands, eight) == (3, 4, Derived("x", "band(4) / band(8) + band(2)"))
    assert settle(chosen_bands(("Red",), ()), eight) == ("red",)


def test_nodata_in_any_band_that_is_read() -> None:
    derived, plain = (Selection.of(chosen_bands(("red",), texts), INFO) for texts in (["x=nir/red"], []))
    rule = Nodata((0,), within="all")
    assert derived.nodata(rule) == Nodata((0,), within="any")
    assert plain.nodata(rule) is rule
    assert derived.nodata(None) is None


def test_types() -> None:
    derived = chosen_bands((), ["x=b1"])
    assert [taken_dtype(derived, dtype) for dtype in ("uint8", "uint16", "float16", "float32")] == ["float32"] * 4
    assert [taken_dtype(derived, dtype) for dtype in ("int32", "uint64", "float64")] == ["float64"] * 3
    assert taken_dtype((1, 2), "uint16") == "uint16"
    assert taken_dtype(None, "uint8") == "uint8"
