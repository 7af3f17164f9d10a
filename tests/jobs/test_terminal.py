"""What a person and a neighbour on the network see of a run."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs._logging import log_to_stderr
from jobs._progress import Bar, LoggedStages

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


def test_the_progress_is_one_line_of_80_columns_that_tells_of_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs._progress.compiling", lambda: True)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("COLUMNS", "80")
    bar = Bar()
    bar._progress.console.width = 80
    for name, images, pixels in [("finding centroids", 0, 0), ("looking at headers", 24, 0), ("labelling", 24, 10**8)]:
        bar.stage(name, images, pixels)
        bar.advance(min(images, 12), pixels // 2)
        with bar._progress.console.capture() as seen:
            bar._progress.console.print(bar._progress.get_renderable())
        line = seen.get().rstrip("\n")
        assert f"{name}, compiling, this once" in line
        assert f"12/{images} images" in line or not images
        assert "\n" not in line.rstrip()
    bar.close()


def test_no_kernel_is_compiled_before_there_are_any(program_environment: dict[str, str]) -> None:
    code = (
        "import sys; from kseg_core.kernels import compiling; assert not compiling();"
        "module = sys.modules['kseg_core.kernels._jit'] = type(sys)('_jit'); module.compiling = ['x'];"
        "assert compiling(); module.compiling.clear(); assert not compiling()"
    )
    assert subprocess.run([sys.executable, "-c", code], env=program_environment, timeout=60).returncode == 0


@pytest.fixture
def long_stages() -> Iterator[LoggedStages]:
    """For which no stage is short."""
    stages = LoggedStages(0.01)
    yield stages
    stages.close()


def told_of(seen: Callable[[], str]) -> str:
    """What is written, when it is."""
    for _ in range(1000):
        if text := seen():
            return text
        time.sleep(0.01)
    pytest.fail("nothing was told")


def test_a_stage_that_takes_long_is_told_of_in_one_line(
    long_stages: LoggedStages, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr("warning", "text")
    long_stages.stage("labelling", 24, 400)
    long_stages.advance(6, 100)
    assert told_of(lambda: capsys.readouterr().err) == "labelling: 6 of 24 images, 25%, 0.01 s so far\n"
    long_stages.stage("finding centroids", 0, 0)
    assert told_of(lambda: capsys.readouterr().err) == "finding centroids: 0.01 s so far\n"
    time.sleep(0.05)
    assert capsys.readouterr().err == ""  # once


def test_a_log_of_json_tells_of_it_in_its_form(long_stages: LoggedStages, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", "json")
    long_stages.stage("labelling", 24, 400)
    long_stages.advance(6, 100)
    lines = []
    while len(lines) < 2:
        lines += told_of(lambda: capsys.readouterr().err).splitlines()
    told = json.loads(lines[1])
    assert (told["level"], told["stage"], told["images"], told["images_done"]) == ("info", "labelling", 24, 6)
    assert (told["share"], told["seconds"]) == (0.25, 0.01)


@pytest.mark.parametrize(
    "command", ["run", "fit", "apply", "sweep", "edges", "export", "report", "inspect", "check", "warm"]
)
def test_after_how_long_is_an_option_of_every_command_that_takes_long(
    command: str, kseg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KSEG_TELL_AFTER")
    settings = kseg("config", command, "--json").json()["settings"]
    assert settings["tell-after" if "tell-after" in settings else "tell_after"]["value"] == 10.0
    assert kseg("config", command, "--tell-after", "-1").code == 2


def test_a_job_of_long_stages_tells_of_each_once_and_its_result_is_the_same(
    small_folder: Path, tmp_path: Path, kseg: Any
) -> None:
    done = kseg("run", small_folder, "-k", "2", "-o", tmp_path / "s.zarr", "--tell-after", "0.000001", "--json")
    assert done.json()["status"] == "ok"
    told = [line.partition(":")[0] for line in done.err.splitlines()]
    assert told
    assert len(told) == len(set(told))
    assert all(line.endswith(", 1e-06 s so far") or line.endswith(": 1e-06 s so far") for line in done.err.splitlines())


@pytest.mark.parametrize("level", ["error", "warning"])
def test_nothing_is_told_of_a_stage_that_has_ended_nor_where_only_errors_are_wanted(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr(level, "text")
    stages = LoggedStages(0.05 if level == "error" else 3600.0)
    stages.stage("labelling", 24, 400)
    timer = stages._timer
    assert timer is not None
    assert timer.daemon
    if level == "error":
        timer.join(60)
    stages.close()
    timer.join(60)
    assert not timer.is_alive()
    assert capsys.readouterr().err == ""


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
