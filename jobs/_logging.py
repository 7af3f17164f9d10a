"""What a command says on stderr: lines for a person, or one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")

RESULT_FACTS = ("status", "output", "images", "pixels", "seconds")
"""What the log's last line has of every result, where the result has it; a command names what else of its own."""

log = logging.getLogger("kseg")


class JsonLines(logging.Formatter):
    """One object a line, in plain ASCII: ``time`` (UTC, ISO 8601), ``level``, ``logger``, ``message``, what the record
    has in ``facts``, and a ``traceback`` where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


class StderrHandler(logging.StreamHandler[Any]):
    """Writes to what stderr is at that moment: while a progress bar is there, to what writes above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def log_to_stderr(level: str, how: str) -> None:
    """Send what is logged from ``level`` on to stderr, as text or JSON."""
    handler = StderrHandler()
    handler.setFormatter(JsonLines() if how == "json" else logging.Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=getattr(logging, level.upper()), handlers=[handler], force=True)
    logging.captureWarnings(how == "json")
    if level != "debug":
        # What libraries remark on files and on themselves is nothing to a person; here and in worker processes.
        if how != "json" and not sys.warnoptions:
            warnings.simplefilter("ignore")
            os.environ.setdefault("PYTHONWARNINGS", "ignore")
        # distributed sets its own levels when it is imported, here and in worker processes: this variable is how.
        # What it says of workers that died is told by us, once and in a line.
        os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
        for noisy in ("tornado", "asyncio", "numba", "PIL", "numcodecs", "zarr", "rasterio"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # a file it cannot read is named by us, with a reason
        handler.addFilter(lambda record: not record.name.startswith(("distributed", "tornado", "asyncio")))


def writes_json() -> bool:
    """Whether what is logged is written as JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def log_failures(result: Mapping[str, Any]) -> None:
    """One warning for whatever could not be done, with the result's own keys as facts; in a log of JSON only.

    A log for people is read beside the result, which names them.
    """
    if not writes_json():
        return
    for failure in result.get("failures", ()):
        log.warning("%s: %s", failure["source"], failure["reason"], extra={"facts": failure})


def log_result(result: Mapping[str, Any], headline: str, more: Sequence[str] = ()) -> None:
    """Its failures and problems, then one line on what the job came to; in a log of JSON only."""
    if not writes_json():
        return
    log_failures(result)
    for problem in result.get("problems", ()):
        log.warning("%s", problem, extra={"facts": {"problem": problem}})
    if "status" not in result:
        return
    facts = {name: result[name] for name in (*RESULT_FACTS, *more) if not isinstance(result.get(name, []), list)}
    if isinstance(facts.get("drift"), dict):  # the images that stand out are in the result
        facts["drift"] = {name: value for name, value in facts["drift"].items() if name != "images"}
    log.info("%s", headline, extra={"facts": facts})


def is_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON on stderr, found before it is understood: it may be wrong."""
    for first, second in zip(arguments, [*arguments[1:], ""], strict=True):
        if first == "--log-format=json" or (first == "--log-format" and second == "json"):
            return True
    return os.environ.get("KSEG_LOG_FORMAT") == "json"


def write_line(message: str, *, as_json: bool | None = None) -> None:
    """The one line a command ends with where something is wrong, whatever the log's level.

    ``as_json`` says how; None: as the log is written.
    """
    if as_json is None:
        as_json = writes_json()
    line = f"kseg-batch: {message}"
    if as_json:
        line = JsonLines().format(logging.LogRecord("kseg", logging.ERROR, __file__, 0, message, None, None))
    with contextlib.suppress(OSError):  # where nobody can be told, the exit code tells
        typer.echo(line, err=True)
