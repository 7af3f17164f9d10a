"""What only a process of its own shows: what it loads, its streams, its signals, and who could reach it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kseg_core import open_store

Program = Callable[..., subprocess.CompletedProcess[str]]

# -------------------------------------------------------------------------------------------- what is loaded

#: What takes long to load; each alone is longer than `kseg-batch --help` may take.
HEAVY = {
    "dask", "distributed", "zarr", "numcodecs", "numba", "llvmlite", "numpy", "scipy", "PIL", "cv2", "imageio",
    "imagecodecs", "simplejpeg", "tifffile", "xarray", "pandas", "matplotlib", "skimage", "sklearn",
}  # fmt: skip
COMMANDS = ("run", "fit", "apply", "sweep", "edges", "export", "report", "inspect", "check")
LIGHT = {
    **dict.fromkeys(["", "--help", "--version"], 0),
    **dict.fromkeys((f"{name} --help" for name in COMMANDS), 0),
    "run in --k 0": 2,
    "run in --k 70000": 2,
    "run in --k 2 --features xyz": 2,
    "run nowhere --k 2": 2,
    "run in --k 2 --nonsense": 2,
    "edges in --low -1": 2,
    "export done.zarr --to x --what pictures": 2,
    "report done.zarr --limit -1": 2,
    "nonsense": 2,
    "sweep in --k-range 5:2": 2,
    "sweep empty": 1,
    "run empty --k 2": 1,
    "run in --k 3 -o done.zarr": 1,
    "edges empty": 1,
    "apply in --model empty": 2,
    "run in --k 2 --attempts 1 -o done.zarr": 0,  # which it was already
    "edges in -o edges.zarr": 0,
}
RUN = "run in --k 2 --attempts 1 -o new.zarr"
UNUSED = {"numba", "zarr", "tifffile", "scipy.linalg", "scipy.sparse", "distributed", "matplotlib", "xarray"}

#: Each line's exit code, what is loaded after it, and what it says; a process of its own begins with nothing.
LOADED = """
import contextlib, io, json, sys
from jobs.main import run_command
told = []
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        code = run_command(line.split())
    told.append([line, code, sorted(sys.modules), out.getvalue()])
print(json.dumps(told))
"""


def test_what_needs_no_pixels_loads_nothing_heavy_and_a_run_what_it_uses(
    here: Path, kseg: Any, program_environment: dict[str, str]
) -> None:
    (here / "empty").mkdir()
    for line in list(LIGHT)[-2:]:
        assert kseg(*line.split()).code == 0
    lines = [*LIGHT, RUN]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(lines)],
        env=program_environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *light, run = json.loads(done.stdout)
    assert "typer" in light[0][2]  # the list is really there
    packages = [[line, code, {name.partition(".")[0] for name in loaded} & HEAVY] for line, code, loaded, _ in light]
    assert packages == [[line, code, set()] for line, code in LIGHT.items()]
    assert ["already done" in out for *_, out in light[-3:]] == [False, True, True]
    assert (run[1], UNUSED & set(run[2])) == (0, set())
    assert {"llvmlite.binding", "numcodecs", "dask"} <= set(run[2])


# ------------------------------------------------------------------------------------------------- streams


def test_the_exit_codes_are_those_of_the_process(here: Path, programs: Callable[..., Any]) -> None:
    (here / "in/bad.png").write_bytes(b"")
    lines = ("run in --k 2 -o some.zarr", "run in/bad.png --k 2", "run in --k 0", "--version")
    done = [(each.returncode, each.stderr, bool(each.stdout)) for each in programs(*map(str.split, lines), cwd=here)]
    assert done[0] == (3, "", True)
    assert done[1] == (1, "kseg-batch: the only input could not be read: in/bad.png: empty file\n", False)
    assert (done[2][0], done[2][1].count("\n"), done[2][2]) == (2, 1, False)
    assert done[3] == (0, "", True)


@pytest.mark.slow
def test_json_of_a_job_of_several_processes_is_all_there_is_on_stdout(
    here: Path, program: Program, parse_json: Any
) -> None:
    done = program("run", "in", "--k", "2", "--json", "--scheduler", "processes", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert parse_json(done.stdout)["images"]["labelled"] == 3


@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(encoding, marks=pytest.mark.slow) for encoding in ("latin-1", "cp1252"))]
)
def test_inputs_may_come_from_stdin_and_a_stdout_of_few_characters_is_no_error(
    encoding: str, here: Path, program: Program, program_environment: dict[str, str]
) -> None:
    environment = {**program_environment, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    line = ("run", "--from", "-", "-0", "--k", "2", "-o", "out.zarr")
    done = program(*line, input="in/a.png\0in/c.png\0", env=environment)
    assert (done.returncode, done.stderr) == (0, "")  # no progress where there is no terminal
    assert done.stdout.startswith("labelled 2 images")
    assert "\x1b" not in done.stdout


def test_a_reader_that_has_gone_undoes_nothing(here: Path, program_environment: dict[str, str], kseg: Any) -> None:
    read, write = os.pipe()
    os.close(read)
    told = "kseg-batch: the output was closed before all of it was printed; the work is done"
    for job, where in (("run in --k 2 -o out.zarr", " and written to out.zarr"), ("inspect out.zarr --json", "")):
        command = [sys.executable, "-m", "jobs", *job.split()]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=program_environment, timeout=120)
        assert (done.returncode, done.stderr.decode()) == (0, f"{told}{where}\n")
    os.close(write)
    assert kseg("check", "out.zarr").code == 0


@pytest.fixture
def shell(here: Path, program_environment: dict[str, str]) -> Program:
    """A command line of a shell in which ``kseg`` is the program."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        told = f'kseg() {{ "{sys.executable}" -m jobs "$@"; }}; {line}'
        return subprocess.run(
            ["bash", "-c", told], env=program_environment, capture_output=True, text=True, timeout=120
        )

    return run


@pytest.mark.few(1)
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_job_whose_streams_are_closed_does_its_work(closed: str, shell: Program, kseg: Any) -> None:
    assert shell(f"kseg {RUN} --json {closed}").returncode == 0
    assert kseg("check", "new.zarr").code == 0


@pytest.mark.few(1)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("as_json", ["", "--json"])
def test_a_full_disk_behind_stdout_is_one_line_and_a_code(as_json: str, shell: Program, kseg: Any) -> None:
    done = shell(f"kseg {RUN} {as_json} > /dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no space left" in done.stderr
    assert kseg("check", "new.zarr").code == 0
    assert shell(f"kseg run nothing --k 2 {as_json} 2> /dev/full").returncode == 2  # nobody can be told why


def test_a_job_that_fails_while_nobody_reads_has_its_own_code(here: Path, shell: Program) -> None:
    (here / "empty").mkdir()
    done = shell("kseg run empty --k 2 --json | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (1, "kseg-batch: no images in empty\n")


# -------------------------------------------------------------------------------------- signals and sockets


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

    def listening(self) -> list[str]:
        """The addresses on which its processes listen, as Linux writes them."""
        sockets = set[str]()
        for pid in self.processes():
            with contextlib.suppress(OSError):
                for entry in os.scandir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        sockets.update(re.findall(r"^socket:\[(\d+)\]$", os.readlink(entry.path)))
        tables = [Path(f"/proc/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
        rows = [line.split() for table in tables for line in table]
        return [row[1] for row in rows if row[3] == "0A" and row[9] in sockets]


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


INTERRUPTED = (signal.SIGINT, 130, "interrupted")
TERMINATED = (signal.SIGTERM, 143, "terminated")
LOOPBACK = "0100007F"  # 127.0.0.1, as a 32-bit number in the machine's (little-endian) order


@pytest.mark.parametrize(
    ("scheduler", "number", "code", "word"),
    [
        ("threads", *INTERRUPTED),
        ("processes", *TERMINATED),
        pytest.param("processes", *INTERRUPTED, marks=pytest.mark.slow),
        pytest.param("threads", *TERMINATED, marks=pytest.mark.slow),
        pytest.param("sync", *INTERRUPTED, marks=pytest.mark.slow),
        pytest.param("sync", *TERMINATED, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_job_with_its_own_code_one_line_no_process_and_no_lock_left(
    scheduler: str, number: signal.Signals, code: int, word: str, long_job: Any
) -> None:
    running = long_job("--scheduler", scheduler, *([] if scheduler == "sync" else ["--workers", "1"]))
    lock = running.output.parent / f".{running.output.name}.lock"
    assert lock.exists()
    if Path("/proc/net/tcp").exists():  # nobody beyond this machine can reach it: see test_listeners.py too
        listening = [address.partition(":")[0] for address in running.listening()]
        assert set(listening) == ({LOOPBACK} if scheduler == "processes" else set())
        assert (len(listening) >= 2) == (scheduler == "processes")  # the scheduler and a worker
    assert len(running.processes()) >= (2 if scheduler == "processes" else 1)
    running.process.send_signal(number)
    out, err = running.process.communicate(timeout=100)
    assert (running.process.returncode, out) == (code, "")
    assert err == f"kseg-batch: {word}; what was finished is kept: the same command goes on\n"
    assert running.left_behind() == []
    assert not lock.exists()
    assert not open_store(str(running.output)).complete


@pytest.mark.parametrize(
    "fitting",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["as its processes start", "in the fit"],
)
def test_an_interrupt_from_the_terminal_goes_to_all_processes_and_is_still_one_line(
    fitting: bool, long_job: Any
) -> None:
    running = long_job("--scheduler", "processes", "--workers", "2", fitting=fitting)
    for _ in range(600):
        if len(running.processes()) >= 3:
            break
        time.sleep(0.05)
    os.killpg(running.process.pid, signal.SIGINT)
    out, err = running.process.communicate(timeout=100)
    assert (running.process.returncode, out) == (130, "")
    assert err.startswith("kseg-batch: interrupted; ")
    assert err.count("\n") == 1
    assert running.left_behind() == []
