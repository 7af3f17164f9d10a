"""What every command shares: logging, progress, signals, JSON, and errors that become exit codes."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from kseg_core.errors import KsegError, OutputHeld, UsageError, system_reason
from kseg_core.options import option
from kseg_core.sizes import return_freed_memory

from ._logging import LOG_FORMATS, LOG_LEVELS, log, log_failures, log_result, log_to_stderr, write_line
from ._origins import load_config, unknown_variables, with_origins
from ._progress import Bar, LoggedStages

DONE, FAILED, WRONG_USAGE, SOME_UNREADABLE, HELD, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 11, 130, 143

IMPATIENT_SECONDS = (
    1.0  # a second signal this much later is meant: programs between us and a terminal pass one on twice
)


class Terminated(BaseException):
    """Somebody sent SIGTERM."""


@dataclass(frozen=True, slots=True)
class General:
    """What every command can be told."""

    as_json: bool = option(False, "Print one JSON object on stdout and nothing else.", "General", flag="json")
    log_level: str = option("warning", "debug, info, warning or error, on stderr.", "General", "LEVEL")
    log_format: str = option("text", "How stderr is written: text, or json, one object a line.", "General", "NAME")
    tell_after: float = option(
        10.0,
        "Where stderr is no terminal: one line on a stage that takes longer than so many seconds; 0: on none.",
        "General",
        "SECONDS",
        least=0,
    )
    config: Path | None = option(
        None,
        "Settings from a TOML file. A flag beats its variable (--max-iter: KSEG_MAX_ITER), which beats the file.",
        "General",
        "FILE.toml",
        eager=load_config,
    )

    def __post_init__(self) -> None:
        if self.log_level not in LOG_LEVELS:
            raise UsageError(f"--log-level is one of {', '.join(LOG_LEVELS)}; got {self.log_level!r}")
        if self.log_format not in LOG_FORMATS:
            raise UsageError(f"--log-format is one of {', '.join(LOG_FORMATS)}; got {self.log_format!r}")


class Report:
    """How a command tells its result.

    Parameters
    ----------
    as_json
        One JSON object is all that may appear on stdout.
    progress
        Listens to the workflow.
    """

    def __init__(self, as_json: bool, progress: Bar | LoggedStages) -> None:
        self.as_json = as_json
        self.progress = progress
        self.how_to_go_on = "the same command starts again"

    def finish(self, result: dict[str, Any], lines: list[str], *facts: str) -> None:
        """Print the result, for a program or for a person; ``facts``: what the log has of it besides what all have."""
        self.progress.close()
        log_result(result, lines[0], facts)
        try:
            if self.as_json:
                typer.echo(json.dumps(result, allow_nan=False, ensure_ascii=True))
            else:
                for line in lines:
                    typer.echo(line)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read our output has gone, which undoes nothing
            _leave_stdout()
            where = f" and written to {result['output']}" if result.get("output") else ""
            self.warn(f"the output was closed before all of it was printed; the work is done{where}")

    def warn(self, message: str) -> None:
        """Say on stderr what does not go well with the result."""
        _say(self, message)


def carry_out(job: Callable[[Report], int], general: General, failed: Callable[[Exception], dict[str, Any]]) -> int:
    """Run a command's body and return its exit code; whatever it raises becomes one line and a code.

    ``failed`` makes the JSON object of a failure.
    """
    log_to_stderr(general.log_level, general.log_format)
    for line in unknown_variables():
        log.warning("%s", line)
    return_freed_memory()
    signals = Signals()
    has_bar = sys.stderr.isatty() and general.log_format == "text"
    report = Report(general.as_json, Bar() if has_bar else LoggedStages(general.tell_after))
    try:
        return job(report)
    except (KeyboardInterrupt, Terminated):
        return _stopped(report, signals)
    except typer.TyperException:  # which is told as those of the command line itself are
        raise
    except UsageError as error:
        _say(report, with_origins(str(error)))
        return WRONG_USAGE
    except OutputHeld as error:
        _say(report, str(error))
        return HELD
    except KsegError as error:
        log.debug("traceback", exc_info=error)
        return _fail(report, str(error), failed(error))
    except Exception as error:
        log.debug("traceback", exc_info=error)
        if signals.received is not None:  # it came while compiled code ran, which tells of it in its own way
            return _stopped(report, signals)
        known = _of_the_machine(error)
        if known is not None:
            return _fail(report, known, failed(error))
        message = f"unexpected {type(error).__name__}: {error} (--log-level debug shows where)"
        return _fail(report, message, failed(error))


def _of_the_machine(error: Exception) -> str | None:
    """What is wrong with the machine rather than with the program: memory, disks; None where it is neither."""
    if isinstance(error, MemoryError):
        return "out of memory: use fewer --workers or a smaller --memory, or more of it; the same command goes on"
    if isinstance(error, OSError) and error.errno is not None and error.strerror is not None:
        where = f"{error.filename}: " if error.filename is not None else ""
        return f"{where}{system_reason(error)}; what was finished is kept, and the same command goes on"
    return None


def _stopped(report: Report, signals: Signals) -> int:
    terminated = signals.received == signal.SIGTERM
    _say(report, f"{'terminated' if terminated else 'interrupted'}; {report.how_to_go_on}")
    return TERMINATED if terminated else INTERRUPTED


def _fail(report: Report, message: str, result: dict[str, Any]) -> int:
    report.progress.close()
    log_failures(result)
    _say(report, message)
    try:
        if report.as_json:
            typer.echo(json.dumps(result, allow_nan=False))
        sys.stdout.flush()
    except OSError:  # that may be what has failed, or what was written there before
        _leave_stdout()
    return FAILED


def _leave_stdout() -> None:
    """Nothing can be written there any more, and Python must not try again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(report: Report, message: str) -> None:
    report.progress.close()
    write_line(_one_line(message))


def _one_line(message: str) -> str:
    """The message without line breaks or control characters, whatever is in a file's name."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(message.split()))


class Signals:
    """Turns SIGINT and SIGTERM into exceptions, and remembers which came; a SIGINT that is ignored stays so.

    What is being written is finished first. Who sends a second signal does not want to wait: then all ends at once.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._at = 0.0
        signal.signal(signal.SIGTERM, self._on_signal)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            if time.monotonic() - self._at > IMPATIENT_SECONDS:
                os._exit(TERMINATED if number == signal.SIGTERM else INTERRUPTED)
            return
        self.received, self._at = number, time.monotonic()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
