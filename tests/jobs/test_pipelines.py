"""What pipelines live on: the effective settings, a log that programs read, Dask's report of a run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

Kseg = Callable[..., Any]

ROOT = Path(__file__).parent.parent.parent


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
    outcome = kseg("run in --k 2 --log-format json --log-level info --json")
    assert outcome.code == 0
    assert outcome.json()["status"] == "ok"
    stages = {line["stage"]: line for line in log_lines(outcome.err) if "stage" in line}
    assert stages.keys() >= {"looking at headers", "reading colours", "finding centroids", "labelling"}
    assert (stages["labelling"]["images"], stages["labelling"]["pixels"]) == (3, 6120)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("line", "level"),
    [
        (line, level)
        for level in ("info", "warning")
        for line in (
            "run in --k 2 -o out.zarr",
            "apply in --model m.zarr -o out.zarr --fail-on-drift 1",
            "edges in -o out.zarr",
            "sweep in --k-range 1:3 -o out",
            "report s.zarr --to out",
            "export s.zarr --to out --what cutout",
        )
    ],
)
def test_a_log_of_json_names_what_failed_and_ends_with_what_the_job_came_to(
    line: str, level: str, here: Path, kseg: Kseg
) -> None:
    assert kseg("fit in --k 2 -o m.zarr").code == 0
    Path("in/broken.png").write_bytes(b"no picture")
    if of_a_store := line.startswith(("export", "report")):
        assert kseg("run in --k 2 -o s.zarr").code == 3
        Path("in/a.png").write_bytes(b"gone")
    outcome = kseg(f"{line} --log-format json --log-level {level}")
    result = kseg(f"{line} --json{' --overwrite' * of_a_store}").json()
    lines = log_lines(outcome.err)
    warnings = [line for line in lines if line["level"] == "warning"]
    assert [(line["source"], line["reason"]) for line in warnings] == [
        (failure["source"], failure["reason"]) for failure in result["failures"]
    ]
    if level == "warning":
        assert lines == warnings
        return
    last = lines[-1]
    assert (last["level"], last["status"], last["output"]) == ("info", result["status"], result["output"])
    assert last["images"].keys() == result["images"].keys()
    assert last["message"] in outcome.out
    if line.startswith("apply"):
        assert (last["drift"]["batch"]["images"], last["drift"]["failed"]) == (3, False)


def test_a_job_that_fails_logs_each_input_that_failed_before_the_error(here: Path, kseg: Kseg) -> None:
    Path("bad").mkdir()
    for name in ("x.png", "y.png"):
        Path("bad", name).write_bytes(b"no picture")
    outcome = kseg("run bad --k 2 --log-format json")
    assert outcome.code == 1
    lines = log_lines(outcome.err)
    assert [line["level"] for line in lines] == ["warning", "warning", "error"]
    assert [line["source"] for line in lines[:2]] == ["bad/x.png", "bad/y.png"]


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
    flag = {"flag": " --log-format json", "flag with =": " --log-format=json", "variable": ""}[how]
    outcome = kseg(f"{line}{flag}")
    assert (outcome.code, outcome.out) == (code, "")
    (told,) = log_lines(outcome.err)
    assert told["level"] == "error"


def test_a_traceback_is_part_of_its_line(here: Path, kseg: Kseg) -> None:
    outcome = kseg("inspect nothing.zarr --log-format json --log-level debug")
    lines = log_lines(outcome.err)
    assert any("StoreError" in line.get("traceback", "") for line in lines)


def test_warnings_of_libraries_are_objects_too(here: Path, program: Any, program_environment: Any) -> None:
    (here / "sitecustomize.py").write_text(
        "import atexit, warnings\natexit.register(warnings.warn, 'told at the end')\n"
    )
    path = f"{here}:{program_environment['PYTHONPATH']}"
    environment = {**program_environment, "PYTHONPATH": path}
    environment.pop("PYTHONWARNINGS", None)  # which commands run in this process leave behind
    done = program("run", "in", "--k", "2", "--log-format", "json", env=environment, cwd=here)
    assert done.returncode == 0
    assert any("told at the end" in line["message"] for line in log_lines(done.stderr))


# ----------------------------------------------------------------------------------------- --performance-report


@pytest.mark.slow
def test_a_performance_report_is_a_page_of_the_run(here: Path, program: Any) -> None:
    pytest.importorskip("bokeh", reason="Dask draws it with Bokeh")
    line = ["run", "in", "--k", "2", "--scheduler", "processes", "--workers", "1", "--performance-report", "run.html"]
    done = program(*line, cwd=here)
    assert (done.returncode, done.stderr) == (0, "")
    page = (here / "run.html").read_text()
    assert "Dask Performance Report" in page
    assert "label" in page


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_told_before_the_work(here: Path, program: Any) -> None:
    pytest.importorskip("bokeh", reason="Dask draws it with Bokeh")
    line = ["run", "in", "--k", "2", "--scheduler", "processes", "--workers", "1", "-o", "x.zarr"]
    done = program(*line, "--performance-report", "no/such/run.html", cwd=here)
    assert done.returncode == 1
    assert "no/such/run.html: the report cannot be written" in done.stderr
    assert not (here / "x.zarr").exists()


# -------------------------------------------------------------------------------------- recipes of docs/pipelines.md


def recipe(start: str) -> str:
    """The block of docs/pipelines.md that begins so."""
    page = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```\w+\n(.*?)```", page, flags=re.DOTALL) if block.startswith(start)]
    return str(block)


@pytest.fixture
def kseg_batch(here: Path, program_environment: dict[str, str]) -> Path:
    """The program as a file that scripts can call."""
    script = here / "bin" / "kseg-batch"
    script.parent.mkdir()
    paths = (
        f"PYTHONPATH='{program_environment['PYTHONPATH']}' NUMBA_CACHE_DIR='{os.environ.get('NUMBA_CACHE_DIR', '')}'"
    )
    script.write_text(f'#!/bin/sh\n{paths} exec {sys.executable} -m jobs "$@"\n')
    script.chmod(0o755)
    return script


def test_the_line_of_cron_keeps_results_and_log_apart_and_prints_what_somebody_should_read(
    here: Path, kseg_batch: Path, kseg: Kseg
) -> None:
    shutil.move("in", "incoming")
    assert kseg("fit incoming --k 2 -o palette.zarr").code == 0
    line = recipe("30 1 * * *").partition("  ")[2]
    line = line.replace("/srv/venv/bin/kseg-batch", str(kseg_batch)).replace("/srv/plants", str(here))

    def night() -> str:
        done = subprocess.run(["/bin/sh", "-c", line], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
        assert done.stderr == ""
        return done.stdout

    assert night() == ""
    Path("incoming", "broken.png").write_bytes(b"no picture")
    assert night() == f"kseg-batch could not read some files: see {here}/kseg.log\n"
    shutil.rmtree("palette.zarr")
    assert night() == f"kseg-batch failed: see {here}/kseg.log\n"
    results = [json.loads(line) for line in Path("results.jsonl").read_text().splitlines()]
    assert [result["status"] for result in results] == ["ok", "partial"]  # wrong usage has none
    told = log_lines(Path("kseg.log").read_text())
    assert [line["source"] for line in told if "source" in line] == ["incoming/broken.png"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd checks its own files")
def test_systemd_takes_the_units(here: Path) -> None:
    service = recipe("[Unit]\nDescription=Label")
    assert "StartLimitBurst" in service.partition("[Service]")[0]  # elsewhere it is ignored
    Path("kseg-nightly.service").write_text(service.replace("/srv/venv/bin/kseg-batch", "/bin/true"))
    Path("kseg-nightly.timer").write_text(recipe("[Unit]\nDescription=Every night"))
    line = ["systemd-analyze", "verify", "./kseg-nightly.service", "./kseg-nightly.timer"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert not [line for line in done.stderr.splitlines() if "kseg-nightly" in line]


@pytest.mark.skipif(shutil.which("snakemake") is None, reason="runs the rules with snakemake")
def test_snakemake_labels_what_is_new_wherever_it_is(
    here: Path, kseg_batch: Path, program_environment: dict[str, str], png: Any, smooth: Any
) -> None:
    shutil.move("in", "images")
    Path("images", "sub").mkdir()
    Path("Snakefile").write_text(recipe("from pathlib import Path\n\nrule all"))
    environment = {**os.environ, "PATH": f"{kseg_batch.parent}:{os.environ['PATH']}", "HOME": str(here)}
    environment.pop("PYTHONPATH", None)  # Snakemake has libraries of its own

    def labelled() -> dict[str, Any]:
        line = ["snakemake", "--cores", "1"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(Path("results/plants.zarr/zarr.json").read_text())["attributes"]["kseg"]
        return dict(result["result"]["changes"], said=done.stderr)

    assert labelled()["added"] == 3
    png(here / "images" / "sub" / "d.png", smooth(20, 30, 4))
    assert labelled()["added"] == 1
    png(here / "images" / "sub" / "d.png", smooth(20, 30, 5))
    assert labelled()["changed"] == 1
    assert "Nothing to be done" in labelled()["said"]
