"""What a person and a neighbour on the network see of a run."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LISTENING = "0A"  # the state, as /proc/net/tcp writes it
LOOPBACK = "0100007F"  # 127.0.0.1, as a 32-bit number in the machine's (little-endian) order

linux = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc/net, which Linux has")


def sockets_of(pids: list[int]) -> set[str]:
    """The inodes of all sockets these processes hold."""
    found: set[str] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    found.update(re.findall(r"^socket:\[(\d+)\]$", os.readlink(entry.path)))
    return found


def listening(table: str, inodes: set[str]) -> list[str]:
    """The local addresses on which some sockets listen, as /proc writes them."""
    rows = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == LISTENING and row[9] in inodes]


@pytest.mark.slow  # with all that is asked of it: tests/workflows/test_listeners.py
@linux
def test_nothing_listens_on_any_address_but_the_loopback_while_processes_work(long_job: Any) -> None:
    running = long_job("--scheduler", "processes", "--workers", "2")
    pids = running.processes()
    inodes = sockets_of(pids)
    addresses = listening("tcp", inodes)
    assert running.process.poll() is None  # it was under way
    assert len(pids) >= 3
    assert len(addresses) >= 3  # the scheduler and two workers do listen
    assert {address.partition(":")[0] for address in addresses} == {LOOPBACK}
    assert listening("tcp6", inodes) == []


@linux
@pytest.mark.parametrize("scheduler", ["threads", pytest.param("sync", marks=pytest.mark.slow)])
def test_nothing_listens_at_all_while_threads_work(scheduler: str, long_job: Any) -> None:
    running = long_job("--scheduler", scheduler)
    inodes = sockets_of(running.processes())
    assert (listening("tcp", inodes), listening("tcp6", inodes)) == ([], [])


def run_on_a_terminal(command: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Exit code, stdout (a pipe) and stderr (a terminal)."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            command, env={**environment, "TERM": "xterm-256color"}, stdout=subprocess.PIPE, stderr=theirs
        )
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # Linux says so when the other end is closed
            while piece := os.read(ours, 4096):
                seen += piece
        assert process.stdout is not None
        with process.stdout:
            out = process.stdout.read()
        return process.wait(), out.decode(), seen.decode()
    finally:
        os.close(ours)


def test_progress_is_shown_on_a_terminal(
    small_folder: Path, tmp_path: Path, program_environment: dict[str, str], parse_json: Any
) -> None:
    command = ["run", str(small_folder), "--k", "2", "-o", str(tmp_path / "out.zarr"), "--json"]
    code, out, seen = run_on_a_terminal([sys.executable, "-m", "jobs", *command], program_environment)
    assert code == 0
    assert parse_json(out)["images"]["labelled"] == 3
    assert "labelling" in seen
    assert "3/3 images" in seen
    assert "Traceback" not in seen


def test_no_progress_where_stderr_is_no_terminal(small_folder: Path, tmp_path: Path, program: Any) -> None:
    done = program("run", small_folder, "--k", "2", "-o", tmp_path / "out.zarr")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout


def test_an_error_on_a_terminal_is_one_line_after_the_progress_has_gone(
    small_folder: Path, tmp_path: Path, program_environment: dict[str, str]
) -> None:
    (tmp_path / "in").mkdir()
    whole = (small_folder / "a.png").read_bytes()
    (tmp_path / "in" / "a.png").write_bytes(whole[: len(whole) // 2])
    command = ["run", str(tmp_path / "in"), "--k", "2", "-o", str(tmp_path / "out.zarr")]
    code, out, seen = run_on_a_terminal([sys.executable, "-m", "jobs", *command], program_environment)
    assert (code, out) == (1, "")
    last = seen.rstrip("\r\n").rpartition("\n")[2]
    assert re.search(r"kseg-batch: .*a\.png: truncated", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", last))
