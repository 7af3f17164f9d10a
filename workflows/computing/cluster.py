"""Dask clusters: processes of this machine, or a scheduler that someone else started.

No client becomes Dask's default: what else this process computes with Dask must not go to a cluster of ours, which may
be gone by then.
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any

import dask
from dask.delayed import Delayed, delayed
from distributed import (
    Client,
    KilledWorker,
    LocalCluster,
    Security,
    Worker,
    WorkerPlugin,
    as_completed,
    futures_of,
    performance_report,
)
from distributed.comm import CommClosedError

from kseg_core import release
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError
from kseg_core.limits import Limit, memory_limit, share_of_memory
from kseg_core.sizes import format_bytes

from .executor import GIVEN_MEMORY, SAME_COMMAND, OnDone, TasksKilled, died_again, ignore, workers_of

CONNECT_SECONDS = 15  # how long a scheduler and its first worker are waited for
NO_WORKER_SECONDS = 120  # how long for another when all are gone: batch systems and nannies start new ones
PAUSED_SECONDS = 300  # how long for one to find memory again: it may be writing results to its disk
LOOK_SECONDS = 2
POLL_SECONDS = 0.005  # well below what a task takes
ATTEMPTS = 3  # at work that died with its worker without being suspect
ALLOWED_FAILURES = 1  # of our own processes: the second death at a task makes its input suspect
TLS_SETTING = "DASK_DISTRIBUTED__COMM__TLS__"  # what the variables begin with that name certificates
LOOPBACK = "127.0.0.1"
GUARD = 'if __name__ == "__main__":'
# Some time after a worker died Dask looks whether it is back, and if it is not, as it may be just then where a decoder
# crashes one worker after the other, gives up for good the nanny that would start the next. Ours always start another.
NEVER = "10000d"

log = logging.getLogger("kseg")


class ClusterExecutor:
    """A Dask cluster, ours or someone else's."""

    def __init__(
        self,
        client: Client,
        memory: Limit | None = None,
        where: str = "our own processes",
        workers_from: str = "the cluster",
    ) -> None:
        self._client = client
        self._where = where
        threads = client.nthreads()
        self.workers = max(1, sum(threads.values()))
        self.processes = max(1, len(threads))
        self.threads = self.least_threads = max(threads.values(), default=1)
        if memory is None:
            least = least_limit(client)
            memory = Limit(least, "the cluster's workers") if least else share_of_memory(self.processes)
        self.memory_bytes, self.memory_from, self.workers_from = memory.amount, memory.source, workers_from

    def limit_threads(self, threads: int) -> None:
        """Workers have the threads they were started with."""

    def compute(self, lazy: Sequence[Delayed], watch: Sequence[Delayed] = (), on_done: OnDone = ignore) -> list[Any]:
        alike = [part.key for part in lazy] == [part.key for part in watch]
        with losses_told(self._where):
            for attempt in range(ATTEMPTS):
                futures = self._client.compute([*lazy, *watch])
                wanted = futures[: len(lazy)]
                del futures[: len(lazy)]
                deaths = wait_for(futures, on_done if attempt == 0 else ignore, self._client)
                if deaths and not alike:
                    break
                late = late_deaths(wanted, deaths, self._client)
                if alike:
                    deaths |= late
                if alike or not late:
                    values = iter(self._client.gather([future for i, future in enumerate(wanted) if i not in deaths]))
                    break
                _tell_again(attempt)
                del wanted
            else:
                raise died_again(deaths or {0: ATTEMPTS})
        if not deaths:
            return list(values)
        raise TasksKilled(deaths, [None if i in deaths else next(values) for i in range(len(lazy))] if alike else None)

    def persist(
        self, lazy: Sequence[Delayed], watch: Sequence[Delayed] = (), on_done: OnDone = ignore
    ) -> list[Delayed]:
        with losses_told(self._where):
            for attempt in range(ATTEMPTS):
                kept = self._client.persist([*lazy, *watch])
                futures = [future for part in kept[len(lazy) :] for future in futures_of(part)]
                del kept[len(lazy) :]
                deaths = wait_for(futures, on_done if attempt == 0 else ignore, self._client)
                if deaths:
                    raise TasksKilled(deaths)
                if not wait_for([future for part in kept for future in futures_of(part)], ignore, self._client):
                    return list(kept)
                _tell_again(attempt)
                del kept
        raise died_again({0: ATTEMPTS})

    def share(self, value: Any) -> Delayed:
        # As a task, not as data that is scattered: a worker that has it may die, and then it is made again.
        with losses_told(self._where):
            return delayed(self._client.submit(_itself, value, key=f"shared-{uuid.uuid4().hex}"))


def _tell_again(attempt: int) -> None:
    """Tasks that nobody watches died, most likely by the side of another's crash."""
    log.info("workers died in the middle of work; it is done again (%d)", attempt + 1)


def _itself(value: Any) -> Any:
    """A task: what it is given."""
    return value


def least_limit(client: Client) -> int:
    """The memory of the worker that may take least; 0 where none has a limit."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return min((int(worker["memory_limit"]) for worker in workers if worker["memory_limit"]), default=0)


def wait_for(futures: list[Any], on_done: OnDone, client: Client) -> dict[int, int]:
    """Call ``on_done`` as futures finish, and let go of each (the list is emptied): a result of which anybody still
    holds a future stays in its worker's memory.

    Returns
    -------
    How many workers died at each future that ended so.
    """
    index = {future.key: i for i, future in enumerate(futures)}
    finished = as_completed(futures, loop=client.loop)
    futures.clear()
    deaths: dict[int, int] = {}
    health = Health(client)
    while not finished.is_empty():
        batch = finished.next_batch(block=False)
        if not batch:
            health.check()
            time.sleep(POLL_SECONDS)
            continue
        health.progress()
        for future in batch:
            error = future.exception() if future.status == "error" else None
            if isinstance(error, KilledWorker):
                deaths[index[future.key]] = error.allowed_failures + 1
            elif future.status == "finished":
                on_done(index[future.key])
            else:
                future.result()  # raises
        del batch, future
    return deaths


def late_deaths(futures: Sequence[Any], deaths: Mapping[int, int], client: Client) -> dict[int, int]:
    """How many workers died at each future that was finished, was lost with its worker and is so no more.

    ``deaths`` are known already, by the future's place. What is lost is done again, maybe beside what kills.
    """
    late = dict[int, int]()
    while True:
        left = [i for i in range(len(futures)) if i not in deaths and i not in late]
        more = wait_for([futures[i] for i in left], ignore, client)
        if not more:
            return late
        late |= {left[i]: times for i, times in more.items()}


class Health:
    """Notices, while results are waited for, that none will ever come."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.progress()

    def progress(self) -> None:
        """Something was finished: all is well."""
        self._since = self._looked = time.monotonic()

    def check(self) -> None:
        """Look at the workers, every few seconds."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if any(worker["status"] == "running" for worker in workers):
            self._since = now
        waited = now - self._since
        if not workers and waited > NO_WORKER_SECONDS:
            raise KsegError(
                f"no worker is left, and none came within {NO_WORKER_SECONDS} seconds; start some; {SAME_COMMAND}"
            )
        if workers and waited > PAUSED_SECONDS:
            raise KsegError(
                f"all workers have been paused for {PAUSED_SECONDS} seconds: their memory is full; "
                f"give them more, or start more of them; {SAME_COMMAND}"
            )


@contextmanager
def losses_told(where: str) -> Iterator[None]:
    """A cluster that is lost is an error with a name."""
    try:
        yield
    except KilledWorker as error:
        raise died_again({0: error.allowed_failures + 1}) from error
    except (CancelledError, CommClosedError) as error:
        raise KsegError(f"the Dask scheduler at {where} is gone, or dropped the job; {SAME_COMMAND}") from error


@contextmanager
def open_cluster(settings: ExecutionSettings) -> Iterator[ClusterExecutor]:
    """The cluster asked for; one that was started here is stopped on leaving.

    Raises
    ------
    KsegError
        If it cannot be reached or has no worker.
    """
    if settings.scheduler == "processes":
        wanted = workers_of(settings.workers)
        workers = processes_that_fit(wanted.amount, settings.memory)
        memory = share_of_memory(workers) if settings.memory is None else Limit(settings.memory, GIVEN_MEMORY)
        with own_processes(workers, memory.amount) as client, reporting(settings.performance_report, client):
            yield ClusterExecutor(client, memory, workers_from=wanted.source)
    else:
        with existing_cluster(settings.scheduler) as client, reporting(settings.performance_report, client):
            given = None if settings.memory is None else Limit(settings.memory, GIVEN_MEMORY)
            yield ClusterExecutor(client, given, settings.scheduler)


def processes_that_fit(wanted: int, memory_bytes: int | None) -> int:
    """As many processes as this machine has memory for, where it is said how much each may take."""
    if memory_bytes is None:
        return wanted
    limit = memory_limit(wanted)
    fit = max(1, limit.amount // memory_bytes)
    if fit < wanted:
        log.warning(
            "%d processes of %s would take more than there is (%s of %s): %d instead",
            wanted,
            format_bytes(memory_bytes),
            format_bytes(limit.amount),
            limit.source,
            fit,
        )
    return min(wanted, fit)


def require_main_guard() -> None:
    """Refuse to start processes from a script each of them would run again, and so start processes of its own."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if dask.config.get("distributed.worker.multiprocessing-method", "spawn") == "fork" or script is None:
        return  # nothing is run again
    again = bool(getattr(multiprocessing.current_process(), "_inheriting", False))  # as the standard library asks
    if not again:
        try:
            with open(script, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            return
        again = not any(word in text for word in ("__name__", "parent_process", "current_process"))
    if again:
        raise KsegError(
            f"{script}: each process that is started runs this script again, and would start processes too; put what "
            f"it does below {GUARD}, or use --scheduler threads"
        )


@contextmanager
def own_processes(workers: int, memory_bytes: int) -> Iterator[Client]:
    """One process a worker on this machine; nothing listens beyond the loopback address.

    A worker that comes near its memory moves results that wait to its disk.
    """
    require_main_guard()
    with ExitStack() as closing:
        closing.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": NEVER}))
        with undisturbed():
            try:
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=memory_bytes,
                    host=LOOPBACK,
                    dashboard_address=f"{LOOPBACK}:0",
                    worker_dashboard_address=f"{LOOPBACK}:0",
                    silence_logs=logging.CRITICAL,  # a worker that died is told by us, once
                    scheduler_kwargs={"allowed_failures": ALLOWED_FAILURES},
                )
            except (OSError, RuntimeError) as error:
                raise KsegError(
                    f"no processes can be started here ({error}); use --scheduler threads. Dask may be told to require "
                    f"encryption, or a script starts them outside of {GUARD}"
                ) from error
            client = closing.enter_context(Client(closing.enter_context(cluster), set_as_default=False))
            if not log.isEnabledFor(logging.DEBUG):
                client.register_plugin(QuietWorker())
            listen_to_workers(client)
        yield client


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
            client = Client(scheduler_file=where, timeout=CONNECT_SECONDS, set_as_default=False)
        else:
            client = Client(where, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
        raise KsegError(_why_no_client(where, error)) from error
    _warn_of_strangers(str(client.scheduler.address))
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise KsegError(f"the scheduler at {where} has no worker; start some with: dask worker {where}") from error
        _require_same_program(client, where)
        yield client


def _why_no_client(where: str, error: Exception) -> str:
    """Why there is no client: our own settings of TLS, or that nobody answers."""
    if isinstance(error, RuntimeError):  # Dask's, where encryption is required and the address has none
        return f"{where}: {error}; use tls:// (docs/cluster.md)"
    if where.startswith("tls://") or isinstance(error, TypeError):  # the latter where a scheduler's file says tls://
        names = ", ".join(f"{TLS_SETTING}{name}" for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"))
        try:
            context = Security().get_connection_args("client")["ssl_context"]
        except OSError as unusable:
            return f"{where}: the certificates cannot be used ({unusable}); see {names} (docs/cluster.md)"
        if context is None:
            return f"{where}: no certificates are configured here; set {names} (docs/cluster.md)"
    return f"no Dask scheduler answers at {where} ({error}); start one with: dask scheduler"


def _warn_of_strangers(address: str) -> None:
    """Without TLS, whoever reaches a scheduler can run anything on it; on the loopback that is this machine's users."""
    protocol, _, place = address.partition("://")
    host = place.rpartition(":")[0].strip("[]")
    if protocol == "tls" or host == "localhost" or host == "::1" or host.startswith("127.") or protocol == "inproc":
        return
    log.warning(
        "%s is not encrypted: Dask trusts everyone who can reach the scheduler or a worker, and runs what they send. "
        "Use tls:// (docs/cluster.md), or a network of your own",
        address,
    )


@contextmanager
def reporting(file: str | None, client: Client) -> Iterator[None]:
    """Dask's own report of what is done meanwhile, where one is asked for."""
    if file is None:
        yield
        return
    try:
        client.run_on_scheduler(importlib.import_module, "bokeh")
    except ImportError as error:
        raise KsegError(
            "--performance-report needs Bokeh where the scheduler runs: pip install 'kseg-batch[performance]'"
        ) from error
    try:
        with open(file, "a", encoding="utf-8"):
            pass  # a place that cannot be written is told before the work, not after it
    except OSError as error:
        raise KsegError(f"{file}: the report cannot be written ({error.strerror or error})") from error
    with client.as_current(), performance_report(filename=file):  # which asks for the current client
        yield


def _require_same_program(client: Client, where: str) -> None:
    """Workers with another release, or without the program, could give other bits."""
    ours = release.version()
    theirs = client.run(release.version, on_error="return").values()
    broken = [answer for answer in theirs if isinstance(answer, Exception) and not isinstance(answer, OSError)]
    if broken:
        raise KsegError(
            f"the workers at {where} cannot load kseg-batch {ours}: install it there too ({broken[0]})"
        ) from broken[0]
    other = sorted({version for version in theirs if isinstance(version, str) and version != ours})  # the rest died
    if other:
        raise KsegError(f"the workers at {where} have kseg-batch {', '.join(other)}, this is {ours}: install the same")


TOPIC = "kseg-log"  # of what workers warn of


class QuietWorker(WorkerPlugin):  # type: ignore[misc]  # Dask states no types
    """Keeps a worker from writing to our terminal that it cannot reach a scheduler which has just been stopped.

    What goes wrong in a task comes back as the task's exception; a worker that is lost is told by the scheduler, and a
    file that cannot be read by us.
    """

    name = "kseg-quiet-worker"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - what every plugin is given
        for noisy in ("distributed.worker", "distributed.core", "distributed.comm", "tifffile"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)


class TellingWorker(WorkerPlugin):  # type: ignore[misc]  # Dask states no types
    """Has a worker's warnings of this program come to the process that started it, whose log has a form and a level."""

    name = "kseg-telling-worker"

    def setup(self, worker: Worker) -> None:
        log.addHandler(ToScheduler(worker))
        log.propagate = False


class ToScheduler(logging.Handler):
    """Sends what is logged to whoever listens."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(logging.WARNING)
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        self._worker.log_event(TOPIC, {"level": record.levelno, "message": record.getMessage()})


def listen_to_workers(client: Client) -> None:
    """Log what workers warn of; what several of them say, once."""
    told = set[str]()

    def hear(event: tuple[float, dict[str, Any]]) -> None:
        _, said = event
        if said["message"] not in told:
            told.add(said["message"])
            log.log(said["level"], "%s", said["message"])

    client.subscribe_topic(TOPIC, hear)
    client.register_plugin(TellingWorker())
