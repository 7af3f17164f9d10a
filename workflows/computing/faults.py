"""What is done when processes die: which input it was, and what is told when nothing can go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dask.delayed import Delayed

from kseg_core.errors import KsegError, UnreadableImage

from .executor import Executor, TasksKilled


def crashed(source: str, deaths: int) -> UnreadableImage:
    """The failure of an input that nobody survives."""
    times = "twice" if deaths == 2 else f"{deaths} times"
    return UnreadableImage(source, f"its decoder crashed the worker {times} (or took more memory than a worker has)")


def alone(lazy: Delayed, executor: Executor) -> tuple[Any, int]:
    """Run a task, nothing else beside it: (result, 0), or (None, deaths) where it kills.

    Whoever shared a worker with a task that crashed it is suspect too; alone, only the guilty one dies again.
    """
    try:
        (result,) = executor.compute([lazy], [lazy])
    except TasksKilled as killed:
        return None, killed.deaths[0]
    return result, 0


def one_by_one(
    items: Sequence[Any], task: Callable[[Any], Delayed], executor: Executor
) -> Iterator[tuple[Any, Any, int]]:
    """Run a task for each item, each `alone`: (item, result, 0), or (item, None, deaths) where it kills."""
    for item in items:
        yield item, *alone(task(item), executor)


def died_again(deaths: Mapping[int, int]) -> KsegError:
    """The end of a job whose workers die though no single input is to blame."""
    return KsegError(str(TasksKilled(dict(deaths))))
