"""Pixels that were read and will be read again, kept while memory allows: a JPEG need not be decoded twice.

Nothing is kept unless a job says how much may be (`keeping`). What is kept first stays until the job ends; the rest is
read anew, so results are the same whatever is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from .. import buffers


class Sized(Protocol):
    """Pixels that tell how much memory they take."""

    @property
    def nbytes(self) -> int: ...


P = TypeVar("P", bound=Sized)


class _Kept:
    """What this process keeps."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.room = 0
        self.pixels: dict[Any, Any] = {}


_kept = _Kept()


@contextmanager
def keeping(room_bytes: int) -> Iterator[None]:
    """Keep what `read_once` reads, up to so many bytes, until the end of the block."""
    with _kept.lock:
        _kept.room += room_bytes
    try:
        yield
    finally:
        with _kept.lock:
            _kept.room = 0
            _kept.pixels.clear()
        buffers.let_go()


def read_once(name: Any, read: Callable[[], P]) -> P:
    """The pixels called ``name``: kept ones, or those that ``read`` gives. They must not be changed.

    A name says all that the pixels depend on, the state of their file included; what has none is not kept.
    """
    found: P | None = _kept.pixels.get(name) if name is not None else None
    if found is not None:
        return found
    if name is None or _kept.room <= 0:
        return read()
    with buffers.lasting():
        pixels = read()
    if _kept.room > 0:
        with _kept.lock:
            if pixels.nbytes <= _kept.room and name not in _kept.pixels:
                _kept.room -= pixels.nbytes
                _kept.pixels[name] = pixels
    return pixels
