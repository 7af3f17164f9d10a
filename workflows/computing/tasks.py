"""A task whose work is plain data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from dask.base import tokenize
from dask.delayed import Delayed, delayed

LAST_TURN = 999_999_999


def task_of(function: Callable[..., Any], work: Any, *details: Any, key: str) -> Delayed:
    """``function(work, *details)``, lazily, by the name of ``key``.

    Dask looks into every argument for what is lazy in it, dataclass by dataclass, which for a bundle of 64 images takes
    as long as labelling one of them. ``work`` holds nothing lazy and is not looked into; ``details`` may.
    """
    lazy: Delayed = delayed(partial(function, work), name=f"{key}-work", traverse=False)(*details, dask_key_name=key)
    return lazy


def token_of(work: Any, *details: Any) -> str:
    """A name for some work: that of dataclasses of plain values is how they are written out."""
    return str(tokenize(repr(work), *details))


def turn(at: int) -> str:
    """Put before a task's token: of tasks that could all be next Dask takes the last by name, this makes it the first.

    What takes longest is at the front of a plan, and begins first: then no worker waits long for another at the end.
    """
    return f"{LAST_TURN - at:09d}"
