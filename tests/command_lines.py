"""Command lines, run in this process or in others, and a cluster of two processes."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SILENT = ("KSEG_TELL_AFTER", "0")  # what is on stderr does not depend on how busy the machine is


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command line came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one JSON object on stdout."""
        return strict_json(self.out)


def strict_json(text: str) -> Any:
    """Parse exactly one line of JSON, in which there is no NaN and no infinity."""
    assert text.endswith("\n")
    assert text.count("\n") == 1

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="session")
def parse_json() -> Callable[[str], Any]:
    """The strict reader of ``--json``."""
    return strict_json


@cache
def parser() -> Any:
    """What the app makes for each command line, and takes as long as to read one: made once."""
    import typer

    from jobs import main

    return typer.main.get_command(main.app)


@pytest.fixture
def kseg(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outcome]]:
    """``kseg-batch`` in this process; what a command changes in it is put back."""
    from jobs import main

    monkeypatch.setattr(main, "app", parser())
    handler = signal.getsignal(signal.SIGTERM)
    loggers = [
        logging.getLogger(name) for name in (None, "tornado", "asyncio", "numba", "PIL", "tifffile", "zarr", "rasterio")
    ]
    levels = [logger.level for logger in loggers]
    handlers = list(loggers[0].handlers)
    monkeypatch.setenv("DASK_LOGGING__DISTRIBUTED", "critical")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")

    def run(*arguments: str | Path) -> Outcome:
        """Of a line, or of its words."""
        if len(arguments) == 1:
            arguments = tuple(shlex.split(str(arguments[0])))
        capsys.readouterr()
        code = main.run_command([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return Outcome(code, told.out, told.err)

    yield run
    signal.signal(signal.SIGTERM, handler)
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


# ---------------------------------------------------------------------------------------------- processes


def environment_of_programs() -> dict[str, str]:
    """Our environment for a process that must import the very packages that are tested here."""
    import workflows

    environment = {name: value for name, value in os.environ.items() if not name.startswith("KSEG_")}
    environment.update([SILENT])
    package = str(Path(str(workflows.__file__)).parent.parent)
    more = environment.get("PYTHONPATH", "").split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join([package, *filter(None, more)])  # an empty one is the current folder
    return environment


@pytest.fixture
def program_environment() -> dict[str, str]:
    """The environment of processes that import the packages tested here; to be changed at will."""
    return environment_of_programs()


@pytest.fixture(scope="session")
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``kseg-batch`` in a process of its own."""

    def run(*arguments: str | bytes | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobs", *arguments]
        options = {"env": environment_of_programs(), "timeout": 120, **options}
        return subprocess.run(command, capture_output=True, encoding="utf-8", errors="strict", **options)

    return run


#: Command lines one after the other, each with its exit code and all that went to stdout and stderr meanwhile.
SEVERAL = """
import itertools, json, os, sys, tempfile
from jobs.main import main
answer, trouble, ended = os.fdopen(os.dup(1), "w"), os.dup(2), []
for last, line in itertools.groupby(sys.argv[1:], "; and then".__eq__):
    if last:
        continue
    sys.argv = ["kseg-batch", *line]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            main()
        except SystemExit as done:
            sys.stdout.flush()
            sys.stderr.flush()
            told = [os.pread(file.fileno(), 1 << 30, 0).decode("utf-8") for file in (out, err)]
            ended.append([done.code, *told])
        finally:
            os.dup2(trouble, 2)
json.dump(ended, answer)
"""


@pytest.fixture(scope="session")
def programs() -> Callable[..., list[subprocess.CompletedProcess[str]]]:
    """Several command lines of ``kseg-batch`` in one process of their own, for tests that are not about its start."""

    def run(*lines: Sequence[str | bytes | Path], cwd: Any) -> list[subprocess.CompletedProcess[str]]:
        arguments = list(itertools.chain.from_iterable([*line, "; and then"] for line in lines))
        done = subprocess.run(
            [sys.executable, "-c", SEVERAL, *arguments],
            capture_output=True,
            cwd=cwd,
            env=environment_of_programs(),
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        return [
            subprocess.CompletedProcess(line, *told) for line, told in zip(lines, json.loads(done.stdout), strict=True)
        ]

    return run


@dataclass(frozen=True, slots=True)
class TwoProcesses:
    """A scheduler and two workers, each a process, as users start them.

    Parameters
    ----------
    address
        ``tcp://127.0.0.1:…``.
    scheduler_file
        The same, as the file that ``dask scheduler --scheduler-file`` writes.
    folder
        Where they were started, which is not where the client is.
    """

    address: str
    scheduler_file: Path
    folder: Path


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoProcesses]:
    """``dask scheduler`` and two ``dask worker`` processes on the loopback address."""
    from distributed import Client

    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "scheduler.json"
    here = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)]
    worker = ["worker", *here, "--nthreads", "1", "--memory-limit", "0", "--local-directory", str(folder)]
    with contextlib.ExitStack() as processes:
        processes.enter_context(_dask(folder, "scheduler", *here, "--port", "0"))
        _wait_for(lambda: _address(file) is not None, folder)
        for name in ("one", "two"):
            processes.enter_context(_dask(folder, *worker, "--name", name))
        address = str(_address(file))
        with Client(address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield TwoProcesses(address, file, folder)


@contextlib.contextmanager
def _dask(folder: Path, *arguments: str) -> Iterator[None]:
    """A ``dask`` command in a process group of its own, of which nothing is left afterwards."""
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            cwd=folder,
            env=environment_of_programs(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def _address(file: Path) -> str | None:
    try:
        return str(json.loads(file.read_bytes())["address"])
    except (OSError, ValueError, KeyError):  # not there yet, or half written
        return None


def _wait_for(condition: Callable[[], bool], folder: Path) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail(f"the cluster did not start:\n{(folder / 'log.txt').read_text()}")
