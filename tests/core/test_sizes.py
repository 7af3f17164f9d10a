"""Sizes as people write and read them."""

from __future__ import annotations

import platform
import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg_core.errors import UsageError
from kseg_core.sizes import format_bytes, hold_freed_memory, parse_bytes, return_freed_memory


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


def faults_of_arrays(size: int) -> int:
    """How many pages the system gives for eight arrays of so many bytes, one after the other."""
    np.ones(size, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.ones(size, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own ways")
def test_freed_memory_is_held_for_the_next_array_or_goes_back() -> None:
    size = 3_900_000  # less than numpy asks large pages for
    pages = size // resource.getpagesize()
    hold_freed_memory()
    try:
        assert faults_of_arrays(size) < pages  # of eight times as many
        assert faults_of_arrays(5 * size // 2) < pages
    finally:
        return_freed_memory()
    assert faults_of_arrays(5 * size // 2) >= 8  # however large its pages
