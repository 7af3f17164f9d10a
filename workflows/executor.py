"""Where the tasks run: this thread, threads, processes of this machine, or a cluster. The tasks are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import dask
from dask.callbacks import Callback
from dask.delayed import Delayed, delayed
from dask.system import CPU_COUNT

from kseg_core.config import ExecutionSettings

OnDone = Callable[[int], None]


def ignore(index: int) -> None:
    """Nobody watches."""


class Executor(Protocol):
    """Computes lazy results."""

    workers: int

    def compute(self, lazy: Sequence[Delayed], watch: Sequence[Delayed] = (), on_done: OnDone = ignore) -> list[Any]:
        """The values of ``lazy``. ``on_done(i)`` is called as each ``watch[i]``, of which they are made, is
        finished.
        """
        ...

    def persist(
        self, lazy: Sequence[Delayed], watch: Sequence[Delayed] = (), on_done: OnDone = ignore
    ) -> list[Delayed]:
        """Compute and keep where computed; ``watch`` and ``on_done`` as above."""
        ...

    def share(self, value: Any) -> Delayed:
        """Put a value where all tasks can have it, once."""
        ...


class LocalExecutor:
    """This process: one thread or several."""

    def __init__(self, scheduler: str, workers: int | None) -> None:
        self.workers = 1 if scheduler == "sync" else workers or CPU_COUNT
        self._how: dict[str, Any] = {"scheduler": scheduler}
        if scheduler == "threads":
            self._how["num_workers"] = self.workers

    def compute(self, lazy: Sequence[Delayed], watch: Sequence[Delayed] = (), on_done: OnDone = ignore) -> list[Any]:
        with _telling(watch, on_done):
            return list(dask.compute(*lazy, **self._how))

    def persist(
        self, lazy: Sequence[Delayed], watch: Sequence[Delayed] = (), on_done: OnDone = ignore
    ) -> list[Delayed]:
        with _telling(watch, on_done):
            return list(dask.persist(*lazy, **self._how))

    def share(self, value: Any) -> Delayed:
        return delayed(value, name=f"shared-{id(value):x}", traverse=False)


def _telling(watch: Sequence[Delayed], on_done: OnDone) -> Callback:
    """Calls ``on_done`` as the watched tasks of a local scheduler finish."""
    index = {part.key: i for i, part in enumerate(watch)}

    def finished(key: Any, *_: Any) -> None:
        if key in index:
            on_done(index[key])

    return Callback(posttask=finished)


@contextmanager
def open_executor(settings: ExecutionSettings) -> Iterator[Executor]:
    """The executor asked for; a cluster that was started here is stopped on leaving.

    Raises
    ------
    KsegError
        If a cluster cannot be reached or has no worker.
    """
    if settings.scheduler in ("threads", "sync"):
        yield LocalExecutor(settings.scheduler, settings.workers)
        return
    from .cluster import ClusterExecutor, existing_cluster, own_processes

    if settings.scheduler == "processes":
        with own_processes(settings.workers or CPU_COUNT) as client:
            yield ClusterExecutor(client)
    else:
        with existing_cluster(settings.scheduler) as client:
            yield ClusterExecutor(client)
