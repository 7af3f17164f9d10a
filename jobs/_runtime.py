"""What every command shares: logging, progress, signals, JSON, and errors that become exit codes."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from kseg_core.errors import KsegError, UsageError
from kseg_core.sizes import return_freed_memory

from ._progress import Bar, NoBar

DONE, FAILED, WRONG_USAGE, SOME_UNREADABLE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143

LOG_LEVELS = ("debug", "info", "warning", "error")

log = logging.getLogger("kseg")


class Terminated(BaseException):
    """Somebody sent SIGTERM."""


class Report:
    """How a command tells its result.

    Parameters
    ----------
    as_json
        One JSON object is all that may appear on stdout.
    progress
        Listens to the workflow.
    """

    def __init__(self, as_json: bool, progress: Bar | NoBar) -> None:
        self.as_json = as_json
        self.progress = progress

    def finish(self, result: dict[str, Any], lines: list[str]) -> None:
        """Print the result, for a program or for a person."""
        self.progress.close()
        if self.as_json:
            typer.echo(json.dumps(result, allow_nan=False, ensure_ascii=True))
        else:
            for line in lines:
                typer.echo(line)


def carry_out(
    job: Callable[[Report], int],
    as_json: bool,
    log_level: str,
    failed: Callable[[Exception], dict[str, Any]],
    again: str = "the same command starts again",
) -> int:
    """Run a command's body and return its exit code; whatever it raises becomes one line and a code.

    ``failed`` makes the JSON object of a failure; ``again`` says how to go on after an interruption.
    """
    if log_level not in LOG_LEVELS:
        raise typer.BadParameter(f"--log-level is one of {', '.join(LOG_LEVELS)}; got {log_level!r}")
    _log_to_stderr(log_level)
    return_freed_memory()
    signals = Signals()
    report = Report(as_json, Bar() if sys.stderr.isatty() else NoBar())
    try:
        return job(report)
    except (KeyboardInterrupt, Terminated):
        return _stopped(report, signals, again)
    except BrokenPipeError:
        # Whoever read our output has gone: nothing is left to say, and Python must not say it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except UsageError as error:
        _say(report, str(error))
        return WRONG_USAGE
    except KsegError as error:
        log.debug("traceback", exc_info=error)
        return _fail(report, str(error), failed(error))
    except Exception as error:
        log.debug("traceback", exc_info=error)
        if signals.received is not None:  # it came while compiled code ran, which tells of it in its own way
            return _stopped(report, signals, again)
        message = f"unexpected {type(error).__name__}: {error} (--log-level debug shows where)"
        return _fail(report, message, failed(error))


def _stopped(report: Report, signals: Signals, again: str) -> int:
    terminated = signals.received == signal.SIGTERM
    _say(report, f"{'terminated' if terminated else 'interrupted'}; {again}")
    return TERMINATED if terminated else INTERRUPTED


def _fail(report: Report, message: str, result: dict[str, Any]) -> int:
    _say(report, message)
    if report.as_json:
        typer.echo(json.dumps(result, allow_nan=False))
    return FAILED


def _say(report: Report, message: str) -> None:
    report.progress.close()
    typer.echo(f"kseg-batch: {_one_line(message)}", err=True)


def _one_line(message: str) -> str:
    """The message without line breaks or control characters, whatever is in a file's name."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(message.split()))


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr, level=getattr(logging, level.upper()), format="%(levelname)s %(message)s", force=True
    )
    if level != "debug":
        # distributed sets its own levels when it is imported, here and in worker processes: this variable is how.
        os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
        for noisy in ("tornado", "numba", "PIL", "tifffile", "numcodecs"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        # All it tells at this level is that nobody asked what became of some task of distributed's, after an interrupt.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)


class Signals:
    """Turns SIGINT and SIGTERM into exceptions, and remembers which came; a SIGINT that is ignored stays so."""

    def __init__(self) -> None:
        self.received: int | None = None
        signal.signal(signal.SIGTERM, self._on_signal)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.received = number
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
