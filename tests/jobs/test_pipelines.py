"""What pipelines live on: the effective settings, a log that programs read, Dask's report of a run."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

Kseg = Callable[..., Any]

COMMANDS = ["run", "fit", "apply", "sweep", "edges", "export", "report", "inspect", "check"]


@pytest.fixture
def here(tmp_path: Path, small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_folder, "in")
    return tmp_path


# ---------------------------------------------------------------------------------------------- kseg-batch config


def test_each_setting_is_told_with_where_it_comes_from(here: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("job.toml").write_text('k = 5\nseed = 1\n[run]\nfeatures = "lab"\nedges = [100, 200]\n[sweep]\nseed = 9\n')
    monkeypatch.setenv("KSEG_SEED", "3")
    told = kseg("config", "run", "--config", "job.toml", "--json").json()
    assert told["command"] == "run"
    settings = told["settings"]
    assert settings["k"] == {"value": "5", "from": "file", "where": "job.toml"}
    assert settings["features"] == {"value": "lab", "from": "file", "where": "job.toml"}
    assert settings["edges"] == {"value": ["100", "200"], "from": "file", "where": "job.toml"}
    assert settings["seed"] == {"value": 3, "from": "variable", "where": "KSEG_SEED"}
    assert settings["tile"] == {"value": 1024, "from": "default", "where": None}
    assert settings["masks"] == {"value": None, "from": "default", "where": None}
    assert "config" not in settings


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_printed_is_a_file_that_says_the_same(
    command: str, here: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("job.toml").write_text("workers = 2\n")
    monkeypatch.setenv("KSEG_OVERWRITE", "1")
    first = kseg("config", command, "--config", "job.toml")
    assert (first.code, first.err) == (0, "")
    Path("effective.toml").write_text(first.out)
    values = tomllib.loads(first.out)[command]
    assert values["workers"] == 2
    monkeypatch.delenv("KSEG_OVERWRITE")
    again = kseg("config", command, "--config", "effective.toml", "--json").json()["settings"]
    assert {name: setting["value"] for name, setting in again.items() if setting["value"] is not None} == values


def test_a_run_with_the_printed_file_is_the_run_itself(here: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSEG_K", "3")
    monkeypatch.setenv("KSEG_SEED", "7")
    Path("effective.toml").write_text(kseg("config").out)
    assert kseg("run", "in", "-o", "a.zarr").code == 0
    monkeypatch.delenv("KSEG_K")
    monkeypatch.delenv("KSEG_SEED")
    again = kseg("run", "in", "-o", "a.zarr", "--config", "effective.toml")
    assert again.code == 0
    assert "already done" in again.out


def test_texts_survive_whatever_is_in_them(here: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = 'a "b" \\ \x1b[31m\u202e\x7f ü 日本'
    monkeypatch.setenv("KSEG_MASK", hostile)
    out = kseg("config", "run").out
    assert tomllib.loads(out)["run"]["mask"] == hostile
    assert all(line.isprintable() for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "variables", "part"),
    [
        (("nonsense",), {}, "no command is called 'nonsense'; it is one of run, fit"),
        (("config",), {}, "no command is called 'config'"),
        ((), {"KSEG_TILE": "big"}, "tile"),
        (("run", "--config", "missing.toml"), {}, "missing.toml"),
        (("run", "--config", "odd.toml"), {}, "no setting is called 'nonsense'"),
    ],
)
def test_what_the_command_would_refuse_is_refused_here(
    arguments: tuple[str, ...], variables: dict[str, str], part: str, here: Path, kseg: Kseg, monkeypatch: Any
) -> None:
    Path("odd.toml").write_text("nonsense = 1\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = kseg("config", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert part in outcome.err
    assert outcome.err.count("\n") == 1


# -------------------------------------------------------------------------------------------- --log-format json


def log_lines(text: str) -> list[dict[str, Any]]:
    """Every line is an object with a time, a level and a message."""
    assert text.isascii()
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
        assert line["level"] in ("debug", "info", "warning", "error")
        assert line["message"]
    return lines


def test_stages_are_told_as_objects(here: Path, kseg: Kseg) -> None:
    outcome = kseg("run", "in", "--k", "2", "--log-format", "json", "--log-level", "info", "--json")
    assert outcome.code == 0
    assert outcome.json()["status"] == "ok"
    stages = {line["stage"]: line for line in log_lines(outcome.err) if "stage" in line}
    assert stages.keys() >= {"looking at headers", "reading colours", "finding centroids", "labelling"}
    assert (stages["labelling"]["images"], stages["labelling"]["pixels"]) == (3, 6120)


@pytest.mark.parametrize("how", ["flag", "flag with =", "variable"])
@pytest.mark.parametrize(
    ("line", "code"),
    [("inspect nothing.zarr", 1), ("run in --k 0", 2), ("run in --nonsense", 2), ("check nothing.zarr", 1)],
)
def test_errors_are_objects_too(
    how: str, line: str, code: int, here: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "variable":
        monkeypatch.setenv("KSEG_LOG_FORMAT", "json")
    flag = {"flag": ["--log-format", "json"], "flag with =": ["--log-format=json"], "variable": []}[how]
    outcome = kseg(*line.split(), *flag)
    assert (outcome.code, outcome.out) == (code, "")
    (told,) = log_lines(outcome.err)
    assert told["level"] == "error"


def test_a_traceback_is_part_of_its_line(here: Path, kseg: Kseg) -> None:
    outcome = kseg("inspect", "nothing.zarr", "--log-format", "json", "--log-level", "debug")
    lines = log_lines(outcome.err)
    assert any("StoreError" in line.get("traceback", "") for line in lines)


def test_warnings_of_libraries_are_objects_too(here: Path, program: Any, program_environment: Any) -> None:
    (here / "sitecustomize.py").write_text(
        "import atexit, warnings\natexit.register(warnings.warn, 'told at the end')\n"
    )
    path = f"{here}:{program_environment['PYTHONPATH']}"
    environment = {**program_environment, "PYTHONPATH": path}
    done = program("run", "in", "--k", "2", "--log-format", "json", env=environment, cwd=here)
    assert done.returncode == 0
    assert any("told at the end" in line["message"] for line in log_lines(done.stderr))


def test_another_format_is_wrong_usage(here: Path, kseg: Kseg) -> None:
    outcome = kseg("run", "in", "--k", "2", "--log-format", "xml")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--log-format is one of text, json; got 'xml'" in outcome.err


# ----------------------------------------------------------------------------------------- --performance-report


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_threads_make_no_performance_report(scheduler: str, here: Path, kseg: Kseg) -> None:
    outcome = kseg("run", "in", "--k", "2", "--performance-report", "run.html", "--scheduler", scheduler)
    assert outcome.code == 2
    assert "add --scheduler processes" in outcome.err
    assert not Path("run.html").exists()


def test_a_performance_report_is_a_page_of_the_run(here: Path, program: Any) -> None:
    pytest.importorskip("bokeh", reason="Dask draws it with Bokeh")
    line = ["run", "in", "--k", "2", "--scheduler", "processes", "--workers", "1", "--performance-report", "run.html"]
    done = program(*line, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    page = (here / "run.html").read_text()
    assert "Dask Performance Report" in page
    assert "label" in page


def test_a_place_that_cannot_be_written_is_told_before_the_work(here: Path, program: Any) -> None:
    pytest.importorskip("bokeh", reason="Dask draws it with Bokeh")
    line = ["run", "in", "--k", "2", "--scheduler", "processes", "--workers", "1", "-o", "x.zarr"]
    done = program(*line, "--performance-report", "no/such/run.html", cwd=here)
    assert done.returncode == 1
    assert "no/such/run.html: the report cannot be written" in done.stderr
    assert not (here / "x.zarr").exists()
