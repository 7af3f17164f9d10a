"""Where the tasks run: this thread, threads, processes of this machine, or a cluster. The tasks are the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import dask
import dask.threaded
from dask.callbacks import Callback
from dask.delayed import Delayed, delayed

from kseg_core.errors import KsegError
from kseg_core.limits import Limit, processor_limit, share_of_memory

OnDone = Callable[[int], None]

GIVEN_MEMORY, GIVEN_WORKERS = "--memory", "--workers"  # where a limit is from that was asked for

SAME_COMMAND = "what was finished is kept, and the same command goes on"


class TasksKilled(KsegError):
    """Processes died at some tasks, as often as was tried.

    Parameters
    ----------
    deaths
        How many died at each, by its place among the watched tasks.
    results
        Where the watched tasks were all that was wanted: their values, None for those.
    """

    def __init__(self, deaths: dict[int, int], results: list[Any] | None = None) -> None:
        super().__init__(deaths, results)
        self.deaths = deaths
        self.results = results

    def __str__(self) -> str:
        return (
            f"workers died {max(self.deaths.values())} times at the same task, which is mostly too little memory: "
            f"give more with --memory, or fewer --workers; {SAME_COMMAND}"
        )


def died_again(deaths: Mapping[int, int]) -> KsegError:
    """The end of a job whose workers die though no single input is to blame."""
    return KsegError(str(TasksKilled(dict(deaths))))


def workers_of(wanted: int | None) -> Limit:
    """How many workers there are, unless told otherwise one a processor."""
    return processor_limit() if wanted is None else Limit(wanted, GIVEN_WORKERS)


def ignore(index: int) -> None:
    """Nobody watches."""


class Executor(Protocol):
    """Computes lazy results.

    Attributes
    ----------
    workers
        Tasks at a time, in all.
    processes, threads
        How many, and how many threads each has.
    least_threads
        As few as each can be made to use.
    memory_bytes
        What each process may take.
    memory_from, workers_from
        Who says so, and who says how many workers there are; as parts of a sentence.
    """

    workers: int
    processes: int
    threads: int
    least_threads: int
    memory_bytes: int
    memory_from: str
    workers_from: str

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

    def limit_threads(self, threads: int) -> None:
        """Have each process run at most so many tasks at a time from now on; not fewer than ``least_threads``."""
        ...


class LocalExecutor:
    """This process: one task at a time (``sync``) or several.

    No task runs in the calling thread: Python raises what a signal means there, in the middle of anything, and the
    loading of compiled code does not survive that.
    """

    def __init__(self, scheduler: str, workers: int | None, memory_bytes: int | None = None) -> None:
        wanted = workers_of(1 if scheduler == "sync" else workers)
        self.workers = self.threads = wanted.amount
        self.processes = self.least_threads = 1
        memory = share_of_memory() if memory_bytes is None else Limit(memory_bytes, GIVEN_MEMORY)
        self.memory_bytes, self.memory_from, self.workers_from = memory.amount, memory.source, wanted.source
        # The function, not its name: looking up a name makes Dask load the distributed scheduler, half a second.
        self._how: dict[str, Any] = {"scheduler": dask.threaded.get}
        self._pool: ThreadPoolExecutor | None = None
        self.limit_threads(self.threads)

    def limit_threads(self, threads: int) -> None:
        self.workers = self.threads = min(self.threads, threads)
        self.close()
        self._how["pool"] = self._pool = ThreadPoolExecutor(self.threads)

    def close(self) -> None:
        """Wait for the tasks under way, which may be writing; those that have not begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

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


class Progress(Protocol):
    """Listens to a job."""

    def stage(self, name: str, images: int, pixels: int) -> None:
        """A new stage begins, with so much to do."""
        ...

    def advance(self, images: int, pixels: int) -> None:
        """So much more of the stage is done."""
        ...


class Silent:
    """Nobody listens."""

    def stage(self, name: str, images: int, pixels: int) -> None:
        pass

    def advance(self, images: int, pixels: int) -> None:
        pass
