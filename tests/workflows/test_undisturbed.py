"""Signals wait while processes are started, and reach only the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from workflows.computing.cluster import undisturbed


class Heard(BaseException):
    """What a handler raises."""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    def hear(_number: int, _frame: FrameType | None) -> None:
        raise Heard

    earlier = signal.signal(request.param, hear)
    yield request.param
    signal.signal(request.param, earlier)


@pytest.mark.parametrize("with_another_thread", [False, True])
def test_a_signal_is_heard_when_the_block_ends(number: signal.Signals, with_another_thread: bool) -> None:
    done = threading.Event()
    waiting = threading.Thread(target=done.wait)
    if with_another_thread:  # the system may give it the signal
        waiting.start()
    handler, reached = signal.getsignal(number), []

    def signalled() -> None:
        with undisturbed():
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            reached.append(True)

    try:
        with pytest.raises(Heard):
            signalled()
    finally:
        done.set()
    assert reached
    assert signal.getsignal(number) is handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_without_a_signal_nothing_is_changed(number: signal.Signals) -> None:
    handler = signal.getsignal(number)
    with undisturbed():
        pass
    assert signal.getsignal(number) is handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_processes_that_are_started_meanwhile_do_not_hear_an_interrupt_but_can_be_terminated() -> None:
    code = "import signal; print(*sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    with undisturbed():
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(int(signal.SIGINT))]
