"""The Typer app and its way in. A command is a function with ``@command`` in a module here, listed in `COMMANDS`."""

from __future__ import annotations

import gc
import importlib.util
import io
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from ._logging import is_json, write_line
from ._options import PlainGroup
from ._origins import commands_with, remember, with_origins
from .apply import apply
from .check import check
from .classes import classes
from .config import config
from .edges import edges
from .export import export
from .fit import fit
from .inspect import inspect
from .report import report
from .run import run
from .score import score
from .segments import segments
from .sweep import sweep
from .warm import warm

# What the collector looks for, cycles, is rare here; with its usual thresholds it takes a tenth of a short run.
SELDOM = (50_000, 20, 100)

TAKEN = {"int": "a whole number", "float": "a number", "bool": "true or false"}  # by the type's name in Pydantic

LIKE = 0.75  # how much of an option's name is as it was typed, to be told as what was meant

STDERR = 2  # the highest number of a file that every program has open from its start

app = typer.Typer(
    name="kseg-batch",
    cls=PlainGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from kseg_core.release import version

        typer.echo(f"kseg-batch {version()}")
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", help="Show the version and exit.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """K-means image segmentation as a batch job: exact, repeatable, on a laptop or a Dask cluster.

    Start with:  kseg-batch run ./images --k 5
    """


COMMANDS = (run, fit, apply, sweep, edges, segments, classes, export, report, score, inspect, check, config, warm)
for each in COMMANDS:
    each.add_to(app)


def foreign_workflows_package() -> str | None:
    """One line on what is wrong where another distribution has overwritten our ``workflows`` package, else None."""
    spec = importlib.util.find_spec("workflows")
    origin = spec.origin if spec is not None else None
    if origin is not None and 'BELONGS_TO = "kseg-batch"' in Path(origin).read_text(encoding="utf-8"):
        return None
    return (
        f"the package 'workflows' ({origin or 'missing'}) is not kseg-batch's: another installed package has the same "
        "name. Use a virtual environment of its own, or: pip install --force-reinstall --no-deps kseg-batch"
    )


def _of_another_type(error: typer.TyperException) -> str | None:
    """What an option takes and what it got, where its value is of another type; else None.

    Typer has the words of Pydantic for it, which do not say what came.
    """
    find_errors, parameter = getattr(error.__cause__, "errors", None), getattr(error, "param", None)
    if find_errors is None or parameter is None:
        return None
    wrong = find_errors()[0]
    taken = TAKEN.get(wrong["type"].split("_")[0])
    return None if taken is None else f"{parameter.opts[0]} takes {taken}; got {wrong['input']!r}"


def _wrong_usage(error: Any) -> str:
    """What is wrong with a command line, and where to look: a variable, the file, or a command that has the option."""
    having = []
    if hasattr(error, "possibilities") and error.ctx is not None:  # which an option that nobody knows has
        having = commands_with(error.option_name, error.ctx)
        near = [] if having else [each for each in error.possibilities or () if len(each) > len("--t")]
        error.possibilities = get_close_matches(error.option_name, near, cutoff=LIKE)
    message = with_origins(_of_another_type(error) or " ".join(error.format_message().split()))
    return f"{message}; it is an option of: kseg-batch {', '.join(having)}" if having else message


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; never raises for the user's mistakes."""
    problem = foreign_workflows_package()
    if problem is not None:
        typer.echo(f"kseg-batch: {problem}", err=True)
        return 1
    remember(None)
    try:
        result: Any = app(args=list(arguments) or ["--help"], prog_name="kseg-batch", standalone_mode=False)
    except typer.TyperException as error:
        write_line(_wrong_usage(error), as_json=is_json(arguments))
        return 2
    except typer.Abort:
        return 130
    return result if isinstance(result, int) else 0


def open_closed_streams() -> None:
    """Have stdin, stdout and stderr, though whoever started us closed them: no file of a store may get their place.

    What is printed there goes nowhere.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass  # the lowest that is free: 0 to 2 stay taken
    os.close(number)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - for as long as the process runs
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - likewise
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - likewise


def main() -> None:
    """The console script."""
    gc.set_threshold(*SELDOM)
    open_closed_streams()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of ours and of workers': no matrix is worth a spinning thread
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal with few characters is no reason to fail
    code = run_command(sys.argv[1:])
    gc.freeze()  # what is left goes with the process: looking through it for cycles takes as long as a small job
    sys.exit(code)
