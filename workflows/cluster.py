"""Dask clusters: processes of this machine, or a scheduler that someone else started."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any

from dask.delayed import Delayed, delayed
from distributed import Client, LocalCluster, Worker, WorkerPlugin, as_completed, futures_of

from kseg_core import release
from kseg_core.errors import KsegError

from .executor import OnDone, ignore, share_of_memory

CONNECT_SECONDS = 15  # how long a scheduler and its first worker are waited for
LOOPBACK = "127.0.0.1"

log = logging.getLogger("kseg")


class ClusterExecutor:
    """A Dask cluster, ours or someone else's."""

    def __init__(self, client: Client, memory_bytes: int | None = None) -> None:
        self._client = client
        threads = client.nthreads()
        self.workers = max(1, sum(threads.values()))
        self.processes = max(1, len(threads))
        self.threads = self.least_threads = max(threads.values(), default=1)
        self.memory_bytes = memory_bytes or least_limit(client) or share_of_memory(self.processes)

    def limit_threads(self, threads: int) -> None:
        """Workers have the threads they were started with."""

    def compute(self, lazy: Sequence[Delayed], watch: Sequence[Delayed] = (), on_done: OnDone = ignore) -> list[Any]:
        futures = self._client.compute([*lazy, *watch])
        wanted = futures[: len(lazy)]
        del futures[: len(lazy)]
        _tell(futures, on_done)
        return list(self._client.gather(wanted))

    def persist(
        self, lazy: Sequence[Delayed], watch: Sequence[Delayed] = (), on_done: OnDone = ignore
    ) -> list[Delayed]:
        kept = self._client.persist([*lazy, *watch])
        futures = [future for part in kept[len(lazy) :] for future in futures_of(part)]
        del kept[len(lazy) :]
        _tell(futures, on_done)
        return list(kept)

    def share(self, value: Any) -> Delayed:
        return delayed(self._client.scatter(value, broadcast=True))


def least_limit(client: Client) -> int:
    """The memory of the worker that may take least; 0 where none has a limit."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return min((int(worker["memory_limit"]) for worker in workers if worker["memory_limit"]), default=0)


def _tell(futures: list[Any], on_done: OnDone) -> None:
    """Call ``on_done`` as futures finish, and let go of each (the list is emptied): a result of which anybody still
    holds a future stays in its worker's memory.
    """
    index = {future.key: i for i, future in enumerate(futures)}
    finished = as_completed(futures)
    futures.clear()
    for future in finished:
        on_done(index[future.key])
        del future


@contextmanager
def own_processes(workers: int, memory_bytes: int) -> Iterator[Client]:
    """One process a worker on this machine; nothing listens beyond the loopback address.

    A worker that comes near its memory moves results that wait to its disk.
    """
    with ExitStack() as closing:
        with undisturbed():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=memory_bytes,
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:0",
                worker_dashboard_address=f"{LOOPBACK}:0",
                silence_logs=logging.ERROR,
            )
            client = closing.enter_context(Client(closing.enter_context(cluster)))
            if not log.isEnabledFor(logging.DEBUG):
                client.register_plugin(QuietWorker())
        yield client


class QuietWorker(WorkerPlugin):  # type: ignore[misc]
    """Keeps a worker from writing to our terminal that it cannot reach a scheduler which has just been stopped.

    What goes wrong in a task comes back as the task's exception; and a worker that is lost is told by the scheduler.
    """

    name = "kseg-quiet-worker"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - what every plugin is given
        for noisy in ("distributed.worker", "distributed.core", "distributed.comm"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)


@contextmanager
def undisturbed() -> Iterator[None]:
    """SIGINT and SIGTERM that come meanwhile wait: a cluster interrupted while it starts cannot be stopped in order.

    SIGINT is blocked too, which the processes that are started inherit: a terminal sends it to them as well, and it is
    for this process to stop them. SIGTERM is how it does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    came: list[int] = []

    def keep(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    resource_tracker.ensure_running()  # whoever starts it unblocks SIGINT
    earlier = {number: signal.signal(number, keep) for number in (signal.SIGINT, signal.SIGTERM)}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def existing_cluster(where: str) -> Iterator[Client]:
    """A client of the scheduler at an address or described by a file."""
    try:
        if where.endswith(".json"):
            client = Client(scheduler_file=where, timeout=CONNECT_SECONDS)
        else:
            client = Client(where, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise KsegError(f"no Dask scheduler answers at {where} ({error}); start one with: dask scheduler") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise KsegError(f"the scheduler at {where} has no worker; start some with: dask worker {where}") from error
        _require_same_program(client, where)
        yield client


def _require_same_program(client: Client, where: str) -> None:
    """Workers with another release, or without the program, could give other bits."""
    ours = release.version()
    try:
        theirs = client.run(release.version)
    except Exception as error:
        raise KsegError(
            f"the workers at {where} cannot load kseg-batch {ours}: install it there too ({error})"
        ) from error
    other = sorted({version for version in theirs.values() if version != ours})
    if other:
        raise KsegError(f"the workers at {where} have kseg-batch {', '.join(other)}, this is {ours}: install the same")
