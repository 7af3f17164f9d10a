"""Nobody beyond this machine can reach the processes of a job."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.killing import folder_of_pictures


def listeners(pid: int) -> set[str]:
    """The addresses at which a process, or one that it has started, can be reached from outside of it."""
    found = set[str]()
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            for each in process.net_connections("inet"):
                if each.status == psutil.CONN_LISTEN or (each.type == socket.SOCK_DGRAM and not each.raddr):
                    found.add(each.laddr.ip)
    return found


@pytest.mark.parametrize("options", [pytest.param((), marks=pytest.mark.slow), ("--performance-report", "run.html")])
def test_nothing_listens_beyond_the_loopback_address(
    options: tuple[str, ...], tmp_path: Path, program_environment: dict[str, str]
) -> None:
    if options:
        pytest.importorskip("bokeh", reason="Dask draws it with Bokeh")
    folder_of_pictures(tmp_path / "in", 1)
    line = ["run", "in", "--k", "2", "--attempts", "1", "--workers", "1", "--scheduler", "processes", *options]
    running = subprocess.Popen(
        [sys.executable, "-m", "jobs", *line],
        cwd=tmp_path,
        env=program_environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen, looks = set[str](), 0
    while running.poll() is None:
        seen |= listeners(running.pid)
        looks += 1
        time.sleep(0.1)
    assert running.returncode == 0
    assert looks > 5
    assert seen == {"127.0.0.1"}
