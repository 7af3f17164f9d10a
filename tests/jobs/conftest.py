"""Command lines, run in this process or in one of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True, slots=True)
class Running:
    """A job under way, in a session of its own."""

    process: subprocess.Popen[str]
    output: Path

    def processes(self) -> list[int]:
        """All that belong to it and are alive, itself included."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, IndexError):
                # pid (name) state ppid pgrp session ...: the name may hold anything but is in brackets
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if entry.name.isdigit() and int(fields[3]) == self.process.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found

    def left_behind(self) -> list[int]:
        """Those that do not end by themselves once the job has."""
        for _ in range(100):  # helpers notice a moment later that their pipe was closed
            if not self.processes():
                break
            time.sleep(0.1)
        return self.processes()


def _heed_interrupts() -> None:
    """A shell starts background jobs deaf to SIGINT, and so are their children: the job under test must not be."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def long_job(
    tmp_path: Path, png: Any, smooth: Any, program_environment: dict[str, str]
) -> Iterator[Callable[..., Running]]:
    """Start a job that would take minutes, and come back when its fit is under way (or at once)."""
    png(tmp_path / "in.png", smooth(500, 500, 1))
    started: list[Running] = []

    def start(*options: str, fitting: bool = True) -> Running:
        output = tmp_path / "long.zarr"
        job = ["run", str(tmp_path / "in.png"), "-o", str(output), "--k", "100", "--attempts", "5000", *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs", *job],
            cwd=tmp_path,
            env=program_environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )
        started.append(Running(process, output))
        if not fitting:
            return started[-1]
        for _ in range(600):
            if (output / "images" / "zarr.json").exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        time.sleep(0.3)  # any moment of the fit will do: nothing is asserted of which
        assert process.poll() is None, process.communicate()
        return started[-1]

    yield start
    for running in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGKILL)
        running.process.communicate()
        for pid in running.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
