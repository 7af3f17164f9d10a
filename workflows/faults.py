"""What is done when processes die: which input it was, and what is told when nothing can go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dask.delayed import Delayed

from kseg_core.errors import KsegError, UnreadableImage

from .executor import Executor, TasksKilled

SAME_COMMAND = "what was finished is kept, and the same command goes on"


def crashed(source: str, deaths: int) -> UnreadableImage:
    """The failure of an input that nobody survives."""
    times = "twice" if deaths == 2 else f"{deaths} times"
    return UnreadableImage(source, f"its decoder crashed the worker {times} (or took more memory than a worker has)")


def one_by_one(
    items: Sequence[Any], task: Callable[[Any], Delayed], executor: Executor
) -> Iterator[tuple[Any, Any, int]]:
    """Run a task for each item, nothing else beside it: (item, result, 0), or (item, None, deaths) where it kills.

    Whoever shared a worker with a task that crashed it is suspect too; alone, only the guilty one dies again.
    """
    for item in items:
        lazy = task(item)
        try:
            (result,) = executor.compute([lazy], [lazy])
        except TasksKilled as killed:
            yield item, None, killed.deaths[0]
        else:
            yield item, result, 0


def died_again(deaths: Mapping[int, int]) -> KsegError:
    """The end of a job whose workers die though no single input is to blame."""
    return KsegError(
        f"workers died {max(deaths.values())} times at the same task, which is mostly too little memory: "
        f"give more with --memory, or fewer --workers; {SAME_COMMAND}"
    )
