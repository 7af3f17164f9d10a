"""Pixels kept from one reading to the next."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kseg_core.reading.decoded import keeping, read_once


def reader(times: list[int]) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        times.append(1)
        return np.zeros(100, np.uint8)

    return read


def test_nothing_is_kept_unless_a_job_says_so() -> None:
    times: list[int] = []
    read_once("a", reader(times))
    read_once("a", reader(times))
    assert len(times) == 2


def test_what_was_read_is_read_once_and_let_go_at_the_end() -> None:
    times: list[int] = []
    with keeping(1000):
        first, second = read_once("a", reader(times)), read_once("a", reader(times))
        assert first is second
    assert len(times) == 1
    read_once("a", reader(times))
    assert len(times) == 2


def test_no_more_is_kept_than_there_is_room_for() -> None:
    a: list[int] = []
    b: list[int] = []
    with keeping(150):
        for _ in range(2):
            read_once("a", reader(a))
            read_once("b", reader(b))
    assert len(a) == 1
    assert len(b) == 2
