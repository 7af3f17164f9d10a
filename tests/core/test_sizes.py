"""Sizes as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.errors import UsageError
from kseg_core.sizes import format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("4GB", 4_000_000_000),
        ("4gb", 4_000_000_000),
        ("500 MB", 500_000_000),
        ("1.5G", 1_500_000_000),
        ("2GiB", 2 << 30),
        ("64KiB", 64 << 10),
        ("123", 123),
        ("7b", 7),
    ],
)
def test_sizes_are_read_with_decimal_and_binary_units(text: str, n: int) -> None:
    assert parse_bytes(text, "--memory") == n


@pytest.mark.parametrize("text", ["", "much", "4 XB", "-1GB", "1e9", "GB", "4GBs"])
def test_what_is_no_size_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--memory is a size like 4GB"):
        parse_bytes(text, "--memory")


@given(st.integers(0, 10**15))
def test_a_size_that_is_shown_is_within_a_percent_of_what_it_is(n: int) -> None:
    shown = format_bytes(n)
    assert abs(parse_bytes(shown.replace(" bytes", "b"), "x") - n) <= n / 100
