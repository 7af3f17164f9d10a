"""Expressions of bands: what is read, and what is refused before anything of it is run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.errors import UsageError
from kseg_core.expressions import (
    Derived,
    Loose,
    chosen_bands,
    derived_of,
    of_model,
    parsed,
    references,
    settled,
    several_of,
)

HOSTILE = [
    "__import__('os').system('id')",
    "eval('b1')",
    "open('/etc/passwd')",
    "(lambda: b1)()",
    "b1.__class__.__bases__",
    "b1[0]",
    "[b1 for b1 in b2]",
    "b1 if b2 else b3",
    "(b1 := b2)",
    "f'{b1}'",
    "b1 and b2",
    "b1 < b2",
    "b1 // b2",
    "b1 % b2",
    "b1 @ b2",
    "~b1",
    "not b1",
    "{b1}",
    "(b1,)",
    "await b1",
    "(yield b1)",
    "min(*b1, b2)",
    "min(b1, b2, key=abs)",
    "min(b1)",
    "abs()",
    "abs",
    "band",
    "band(b1)",
    "band(0)",
    "band(True)",
    "b1; import os",
    "b1\nb2",
    "b1\0",
    "b1 + 1j",
    "b1 + True",
    "b1 + None",
    "b1 + ...",
    "b1 + b'x'",
    "b1 + '\\x07'",
    "b1 + ''",
    "b1 + 1e999",
    "b1 + " + "9" * 400,
    "b1 ** b2",
    "b1 ** 0.5",
    "b1 ** 17",
    "b1 ** True",
    "b1 ** 1000000000",
    "9 ** 9 ** 9 * b1",
    "(" * 300 + "b1" + ")" * 300,
    "-" * 900 + "b1",
    "abs(" * 100 + "b1" + ")" * 100,
    "b1" + "+b1" * 150,
    "b1" + "+b1" * 4000,
    "1 + 2",
    "",
    "b1 +",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_expression_of_bands_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--derive x: ") as refused:
        derived_of(f"x={text}")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        tree = parsed(text)
    except UsageError:
        return
    assert references(tree)


@pytest.mark.parametrize("text", ["ndvi", "=b1", "b4=b1", "1x=b1", "abs=b1", "lambda=b1", "a b=b1", "band=b1"])
def test_a_derived_band_has_a_name_of_its_own(text: str) -> None:
    with pytest.raises(UsageError, match="--derive"):
        derived_of(text)


def test_bands_are_numbers_names_or_either() -> None:
    tree = parsed("b4 * 'near infrared' - band(3) + red / B12 + b0")
    assert references(tree) == (Loose("b4", 4), "near infrared", 3, "red", Loose("B12", 12), "b0")


def test_what_is_settled_is_named_in_one_way_and_is_read_again() -> None:
    band = derived_of("x = -(b4 + nir)**2 / max(b4, 1e-3)")
    found = settled(band, lambda each: each.number if isinstance(each, Loose) else str(each).upper())
    assert found == Derived("x", "-(band(4) + 'NIR') ** 2 / max(band(4), 0.001)")
    assert derived_of(str(found)) == found


def test_derived_bands_follow_those_that_are_listed() -> None:
    texts = ["ndvi=(nir-red)/(nir+red)", "sum=b1+b2"]
    ndvi, total = map(derived_of, texts)
    assert chosen_bands((), texts) == (ndvi, total)
    assert chosen_bands((3, "NDVI", "b4"), texts) == (3, ndvi, Loose("b4", 4), total)
    assert of_model((3, "ndvi", "b4"), [str(ndvi)]) == (3, ndvi, "b4")


def test_an_option_that_was_given_again_and_the_words_of_a_variable() -> None:
    assert several_of(["a=min(b1, b2)", "c=b3"]) == ("a=min(b1, b2)", "c=b3")
    assert several_of(["a=b1", "+", "b2;", "c=b3", "d=b4*2"]) == ("a=b1 + b2", "c=b3", "d=b4*2")
