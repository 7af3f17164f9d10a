"""Memory for pictures that is used again.

New memory is dear: the kernel clears every page of it, on a virtual machine it may have to be fetched from the host
first, and then it takes longer than decoding a picture into memory that is there. A picture's memory goes back to the
operating system with the picture, so each would pay anew. Here it waits for the next one instead.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LEAST_BYTES = 1 << 20  # smaller ones the C library keeps for itself
MOST_BYTES = 80 << 20  # of a buffer that waits: enough for 26 megapixels; larger pictures pay for their memory
MOST_WAITING = 256 << 20  # bytes of all that wait


class _Waiting:
    """Buffers that nobody uses at the moment."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a buffer may come back in the middle of anything, by the cycle collector
        self.buffers: list[NDArray[np.uint8]] = []

    def take(self, size: int) -> NDArray[np.uint8]:
        """The smallest that is large enough; else a new one, and one of those that wait goes for it."""
        with self.lock:
            fitting = [i for i, buffer in enumerate(self.buffers) if buffer.size >= size]
            if fitting:
                return self.buffers.pop(min(fitting, key=lambda i: self.buffers[i].size))
            if self.buffers:
                self.buffers.pop(0)
        return np.empty(size, np.uint8)

    def give_back(self, buffer: NDArray[np.uint8]) -> None:
        """Let it wait, where there is room."""
        with self.lock:
            if sum(waiting.size for waiting in self.buffers) + buffer.size <= MOST_WAITING:
                self.buffers.append(buffer)

    def let_go(self) -> None:
        """Give all memory that waits back to the operating system."""
        with self.lock:
            self.buffers.clear()


_waiting = _Waiting()
_here = threading.local()
let_go = _waiting.let_go


@contextmanager
def lasting() -> Iterator[None]:
    """What this thread makes in this block is to stay: it gets memory of its own, no more than it needs."""
    before = getattr(_here, "lasting", False)
    _here.lasting = True
    try:
        yield
    finally:
        _here.lasting = before


class _Lease:
    """What an array and all views of it hold on to; when the last of them is gone, the buffer waits again."""

    def __init__(self, buffer: NDArray[np.uint8], size: int) -> None:
        self._buffer, self._waiting = buffer, _waiting  # when the interpreter ends, names of modules go before arrays
        self.__array_interface__ = {**buffer.__array_interface__, "shape": (size,)}

    def __del__(self) -> None:
        self._waiting.give_back(self._buffer)


def empty(shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
    """Like `numpy.empty`, of memory that an array which is gone has used before, where there is any."""
    wanted = np.dtype(dtype)
    size = math.prod(shape) * wanted.itemsize
    if not LEAST_BYTES <= size <= MOST_BYTES or getattr(_here, "lasting", False):
        return np.empty(shape, wanted)
    return np.asarray(_Lease(_waiting.take(size), size)).view(wanted).reshape(shape)
