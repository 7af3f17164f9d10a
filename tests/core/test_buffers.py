"""Memory for pictures is used again, and never while anybody still looks at it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kseg_core import buffers

SIZE = 3 << 20


@pytest.fixture(autouse=True)
def nothing_waits() -> None:
    buffers.let_go()


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_of_an_array_that_is_gone_is_that_of_the_next() -> None:
    first = buffers.empty((1024, 1024, 3))
    assert first.shape == (1024, 1024, 3)
    assert first.dtype == np.uint8
    assert first.flags.writeable
    assert first.flags.c_contiguous
    where = address(first)
    del first
    assert address(buffers.empty((SIZE // 4,), np.uint16)) == where  # also of another type, and smaller


def test_an_array_that_is_there_keeps_its_memory() -> None:
    first = buffers.empty((SIZE,))
    first[:] = 1
    second = buffers.empty((SIZE,))
    second[:] = 2
    assert (first == 1).all()


@pytest.mark.parametrize("view", ["slice", "reshaped", "retyped", "memoryview", "of a view"])
def test_a_view_keeps_the_memory_of_what_it_is_a_view_of(view: str) -> None:
    views: dict[str, Callable[[np.ndarray], Any]] = {
        "slice": lambda array: array[5:],
        "reshaped": lambda array: array.reshape(3, -1),
        "retyped": lambda array: array.view(np.uint32),
        "memoryview": memoryview,
        "of a view": lambda array: array.reshape(3, -1)[1].T,
    }
    array = buffers.empty((SIZE,))
    array[:] = 1
    kept = views[view](array)
    before = np.asarray(kept).copy()
    del array
    buffers.empty((SIZE,))[:] = 2
    np.testing.assert_array_equal(np.asarray(kept), before)


def test_what_is_to_last_has_no_more_memory_than_it_needs() -> None:
    where = address(buffers.empty((2 * SIZE,)))  # gone at once: its memory waits
    with buffers.lasting():
        array = buffers.empty((SIZE,))
    assert address(array) != where
    assert array.base is None
    assert address(buffers.empty((SIZE,))) == where


def test_small_and_huge_arrays_are_numpys_own() -> None:
    assert buffers.empty((buffers.LEAST_BYTES - 1,)).base is None
    assert buffers.empty((buffers.MOST_BYTES + 1,)).base is None


def test_no_more_memory_waits_than_is_said() -> None:
    arrays = [buffers.empty((buffers.MOST_BYTES,)) for _ in range(buffers.MOST_WAITING // buffers.MOST_BYTES + 2)]
    places = {address(array) for array in arrays}
    del arrays
    again = [buffers.empty((buffers.MOST_BYTES,)) for _ in range(len(places))]
    used_again = sum(address(array) in places for array in again[: buffers.MOST_WAITING // buffers.MOST_BYTES])
    assert used_again == buffers.MOST_WAITING // buffers.MOST_BYTES


def test_threads_never_have_the_same_memory() -> None:
    wrong: list[int] = []

    def work(value: int) -> None:
        for _ in range(200):
            array = buffers.empty((buffers.LEAST_BYTES,))
            array[::4096] = value
            if (array[::4096] != value).any():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
