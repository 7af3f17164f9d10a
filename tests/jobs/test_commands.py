"""Each command has its help, and calls one workflow with what was prepared for it."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import wrap
from typing import Any

import pytest

from jobs import main
from kseg_core.config import ExecutionSettings, FitSettings, RunConfig
from kseg_core.layers import LAYERS
from workflows import check, inspect
from workflows import run as jobs_of_workflows
from workflows.request import Request
from workflows.result import Counted, JobResult

Kseg = Callable[..., Any]
RESULT = JobResult("o.zarr", Counted(3, 3), 10, 10, (), {"total": 1.0, "fit": 0.5, "label": 0.5}, inertia=1.0)

# ------------------------------------------------------------------------------------------ help and version


def test_the_version_is_that_of_the_installed_package_and_the_script_is_the_module(kseg: Kseg) -> None:
    for flag in ("--version", "-V"):
        told = kseg(flag)
        version = importlib.metadata.version("kseg-batch")
        assert (told.code, told.out, told.err) == (0, f"kseg-batch {version}\n", "")
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="kseg-batch")
    assert script.value == "jobs.main:main"


def test_help_lists_every_command(kseg: Kseg) -> None:
    for line in ([], ["--help"], ["-h"]):
        told = kseg(*line)
        assert (told.code, told.err) == (0, "")
        for command in main.COMMANDS:
            assert re.search(rf"^\W*{command.name}\b", told.out, re.MULTILINE)


def test_the_commands_that_layers_name_are_there() -> None:
    assert {layer.command for layer in LAYERS.values()} - {""} <= {command.name for command in main.COMMANDS}


@pytest.mark.parametrize("command", main.COMMANDS, ids=lambda command: command.name)
def test_the_help_of_every_command_fits_into_80_columns_and_has_an_example_of_it(
    command: Any, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = kseg(command.name, "--help")
    assert (told.code, told.err) == (0, "")
    lines = [line.rstrip() for line in told.out.splitlines()]
    assert max(map(len, lines)) <= 80
    examples = re.findall(r"^      (\S.*)$", command.body.__doc__, re.MULTILINE)
    assert f"kseg-batch {command.name}" in examples[0]
    assert lines[lines.index(" Examples:") + 2 :][: len(examples)] == [f"   {example}" for example in examples]
    words = set(told.out.split())
    assert words >= {"--json", "--log-level", "--config"}
    assert ("--tell-after" in words) == (command.name != "config")  # which takes no time
    for item in command.items:
        flag = [item.flag] if item.spelled.group is not None else []
        assert words >= {*flag, *item.spelled.help.split()}, item.flag  # no word is broken
    for paragraph in command.body.__doc__.partition("    Examples:")[0].strip().split("\n\n"):
        wanted = [f" {line}" for line in wrap(" ".join(paragraph.split()), 78, break_on_hyphens=False)]
        assert lines[lines.index(wanted[0]) :][: len(wanted)] == wanted  # broken by the terminal alone


def test_another_workflows_package_is_noticed_in_one_line(
    tmp_path: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising = "raise RuntimeError('not to be imported')\n"
    monkeypatch.delitem(sys.modules, "workflows")
    for made, files in {
        "package": {"workflows/__init__.py": raising},
        "module": {"workflows.py": raising},
        "left": {"workflows/old.py": raising},  # which has no say: ours is found
    }.items():
        for name, content in files.items():
            (tmp_path / made / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / made / name).write_text(content)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / made)
            for line in (["--help"], ["run", "x", "--k", "2"]):
                told = kseg(*line)
                if made == "left":
                    assert told.code == (0 if line == ["--help"] else 2)
                    continue
                assert (told.code, told.out, told.err.count("\n")) == (1, "", 1)
                assert told.err.startswith(f"kseg-batch: the package 'workflows' ({tmp_path}")
                assert "pip install --force-reinstall" in told.err


# ------------------------------------------------------------------------------------------------- workflows


@pytest.mark.parametrize(
    ("line", "function", "config"),
    [
        ("run in --k 3", "run", RunConfig(FitSettings(3))),
        ("fit in --k 3", "fit", RunConfig(FitSettings(3))),
        ("apply in --model m.zarr", "run", RunConfig(None, model="m.zarr")),
    ],
)
def test_a_command_calls_one_workflow_with_the_request_that_was_prepared(
    line: str, function: str, config: RunConfig, kseg: Kseg, here: Path, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job(here / "in", Path("m.zarr"), k=2)
    calls: list[tuple[str, Request]] = []
    for name in ("run", "fit"):
        monkeypatch.setattr(
            jobs_of_workflows, name, lambda request, progress, name=name: calls.append((name, request)) or RESULT
        )
    outcome = kseg(f"{line} -o o.zarr")
    assert (outcome.code, outcome.err) == (0, "")
    ((called, request),) = calls
    assert (called, request.output, request.config) == (function, "o.zarr", config)
    assert [file.key for file in request.listing.files] == ["a.png", "b.png", "c.png"]


def test_inspect_describes_the_store_it_is_given(kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"format": 1, "status": "complete", "model": None, "images": [], "failures": []}
    calls: list[Any] = []
    monkeypatch.setattr(inspect, "describe", lambda *given: calls.append(given) or found)
    outcome = kseg("inspect some.zarr --json")
    assert (outcome.code, outcome.json(), calls) == (0, found, [("some.zarr",)])


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("failed", 1)])
def test_check_verifies_the_store_it_is_given_where_it_is_told_to(
    status: str, code: int, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[str] = [] if status == "ok" else ["a.png: bad"]
    counted: dict[str, Any] = {"images": 1, "compared": 0, "not_compared": {}, "damaged": []}
    found = {"status": status, "problems": problems, **counted}
    calls: list[Any] = []
    monkeypatch.setattr(check, "check_store", lambda *given: calls.append(given[:2]) or found)
    outcome = kseg("check some.zarr --json --scheduler processes --workers 2")
    assert (outcome.code, outcome.json()) == (code, found)
    assert calls == [("some.zarr", ExecutionSettings("processes", 2))]


@pytest.mark.parametrize("line", ["run in --k 2", "fit in --k 2", "apply in --model m.zarr"])
def test_a_dry_run_changes_nothing(line: str, kseg: Kseg, here: Path, every_file: Any) -> None:
    assert kseg("fit in --k 2 -o m.zarr").code == 0
    before = every_file(here)
    outcome = kseg(f"{line} -o out.zarr --dry-run --json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["status"] == "dry-run"
    assert outcome.json()["pixels"]["total"] == 6120
    assert every_file(here) == before
