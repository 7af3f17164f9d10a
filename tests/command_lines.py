"""Command lines, run in this process."""

from __future__ import annotations

import json
import logging
import shlex
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest


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
