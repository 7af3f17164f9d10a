"""What workers that we started say: nothing at our terminal, and to our log what is for the user, once."""

from __future__ import annotations

import logging
from typing import Any

from distributed import Client, Worker, WorkerPlugin

TOPIC = "kseg-log"

log = logging.getLogger("kseg")


class QuietWorker(WorkerPlugin):  # type: ignore[misc]
    """Keeps a worker from writing to our terminal that it cannot reach a scheduler which has just been stopped.

    What goes wrong in a task comes back as the task's exception; a worker that is lost is told by the scheduler, and a
    file that cannot be read by us.
    """

    name = "kseg-quiet-worker"

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - what every plugin is given
        for noisy in ("distributed.worker", "distributed.core", "distributed.comm", "tifffile"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)


class TellingWorker(WorkerPlugin):  # type: ignore[misc]
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
