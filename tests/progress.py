"""Listeners of jobs: what was told, and what happens to a job, its inputs or its workers while it runs."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable

from distributed import Client


class Stopped(BaseException):
    """As from outside."""


def stop() -> None:
    raise Stopped


class Listener:
    """Progress that counts, by stage, what it is told of; ``deed`` is done once.

    Parameters
    ----------
    at, after
        The deed's moment: when so many tasks of a stage have ended, 0 for when it begins.
    deed
        What is done then: end the job, change its inputs, kill a worker.
    """

    def __init__(self, at: str = "", after: int = 0, deed: Callable[[], object] = stop) -> None:
        self._at, self._after, self._deed = at, after, deed
        self._lock = threading.Lock()
        self._stage = ""
        self.done = False
        self.stages: list[str] = []
        self.tasks, self.images, self.pixels = Counter[str](), Counter[str](), Counter[str]()

    def stage(self, name: str, images: int, pixels: int) -> None:
        self._stage = name
        self.stages.append(name)
        self._act()

    def advance(self, images: int, pixels: int) -> None:
        with self._lock:
            for counted, more in ((self.tasks, 1), (self.images, images), (self.pixels, pixels)):
                counted[self._stage] += more
        self._act()

    def _act(self) -> None:
        if not self.done and self._stage == self._at and self.tasks[self._at] >= self._after:
            self.done = True
            self._deed()


def killing_a_worker(address: str, at: str, after: int) -> Listener:
    """One that kills one of a cluster's two worker processes, with no warning."""
    with Client(address, timeout=60, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)  # one killed before is started again by its nanny
        pids = sorted(client.run(os.getpid).values())
    assert len(pids) == 2
    return Listener(at, after, lambda: os.kill(pids[0], signal.SIGKILL))
