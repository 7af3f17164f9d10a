"""Starting up: light, and only with our own packages."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Program = Callable[..., subprocess.CompletedProcess[str]]

#: What takes long to load; each alone is longer than `kseg-batch --help` may take.
HEAVY = {
    "dask", "distributed", "zarr", "numcodecs", "numba", "llvmlite", "numpy", "scipy", "PIL", "cv2", "imageio",
    "imagecodecs", "simplejpeg", "tifffile", "xarray", "pandas", "matplotlib", "skimage", "sklearn",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_folder: Path, job: Any) -> Path:
    """Where commands go wrong."""
    here = tmp_path_factory.mktemp("startup")
    shutil.copytree(small_folder, here / "in")
    (here / "empty").mkdir()
    job(here / "in", here / "done.zarr", k=2)
    return here


#: Each line's exit code and what of the heavy is loaded after it; a process of its own begins with nothing.
LOADED = """
import contextlib, io, json, sys
from jobs.main import run_command
told = []
for line in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = run_command(line.split())
    told.append([line, code, sorted({name.partition(".")[0] for name in sys.modules} & set(json.loads(sys.argv[2])))])
print(json.dumps([told, "typer" in sys.modules]))
"""


def test_help_and_wrong_usage_load_nothing_heavy(folder: Path, program_environment: dict[str, str]) -> None:
    commands = ("run", "fit", "apply", "sweep", "edges", "export", "report", "inspect", "check")
    wanted = {
        **dict.fromkeys(["", "--help", "--version", *(f"{command} --help" for command in commands)], 0),
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
    }
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(list(wanted)), json.dumps(sorted(HEAVY))],
        cwd=folder,
        env=program_environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told, typer_is_loaded = json.loads(done.stdout)
    assert typer_is_loaded  # the list is really there
    assert told == [[line, code, []] for line, code in wanted.items()]


def test_a_job_that_was_done_already_is_told_without_loading_anything_heavy(
    small_folder: Path, tmp_path: Path, program: Program, program_environment: dict[str, str]
) -> None:
    line = ["run", str(small_folder), "--k", "2", "--attempts", "1", "-o", str(tmp_path / "out.zarr")]
    assert program(*line).returncode == 0
    code = (
        "import sys; from jobs.main import run_command; assert run_command(sys.argv[1:]) == 0;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *line], env=program_environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "already done" in done.stdout
    assert not set(done.stdout.splitlines()[-1].split()) & HEAVY


def test_a_run_over_photographs_loads_nothing_that_it_has_no_use_for(
    small_folder: Path, tmp_path: Path, program_environment: dict[str, str]
) -> None:
    line = ["run", str(small_folder), "--k", "2", "--attempts", "1", "-o", str(tmp_path / "out.zarr")]
    code = "import sys; from jobs.main import run_command; assert run_command(sys.argv[1:]) == 0;print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *line], env=program_environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"llvmlite.binding", "numcodecs", "dask"} <= loaded  # the list is really there
    assert not loaded & {
        "numba",
        "zarr",
        "tifffile",
        "scipy.linalg",
        "scipy.sparse",
        "distributed",
        "matplotlib",
        "xarray",
    }


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_is_that_of_the_installed_package(flag: str, program: Program) -> None:
    done = program(flag)
    assert (done.returncode, done.stdout, done.stderr) == (
        0, f"kseg-batch {importlib.metadata.version('kseg-batch')}\n", ""
    )  # fmt: skip


def test_the_console_script_is_the_module(program: Program) -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="kseg-batch")
    assert script.value == "jobs.main:main"


def test_help_lists_every_command(program: Program, programs: Callable[..., Any], tmp_path: Path) -> None:
    for done in (program(), *programs(["--help"], ["-h"], cwd=tmp_path)):
        assert (done.returncode, done.stderr) == (0, "")
        for command in ("run", "fit", "apply", "sweep", "edges", "export", "report", "inspect", "check"):
            assert re.search(rf"^\W*{command}\b", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["run", "fit", "apply", "sweep", "edges", "export", "report", "inspect", "check"])
def test_the_help_of_every_command_has_an_example_of_it(command: str, kseg: Any) -> None:
    outcome = kseg(command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Examples" in outcome.out
    assert f"kseg-batch {command} " in outcome.out
    assert "--json" in outcome.out
    assert "--log-level" in outcome.out
    assert "--config" in outcome.out


@pytest.mark.parametrize("made", ["__init__.py", "no __init__.py", "a module"])
def test_another_workflows_package_is_noticed_in_one_line(
    made: str, tmp_path: Path, program: Program, program_environment: dict[str, str]
) -> None:
    if made == "a module":
        (tmp_path / "workflows.py").write_text("raise RuntimeError('not to be imported')\n")
    else:
        (tmp_path / "workflows").mkdir()
    if made == "__init__.py":
        (tmp_path / "workflows" / "__init__.py").write_text("raise RuntimeError('not to be imported')\n")
    elif made == "no __init__.py":
        # What is left of a package below ours has no say; ours is found. Hide it to see what is said.
        ours = Path(program_environment["PYTHONPATH"].split(os.pathsep)[0])
        (tmp_path / "jobs").symlink_to(ours / "jobs")
        (tmp_path / "kseg_core").symlink_to(ours / "kseg_core")
    environment = {
        **program_environment,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), program_environment["PYTHONPATH"]]),
    }
    if made == "no __init__.py":
        done = program("--version", env=environment, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return
    for line in (["--help"], ["run", "x", "--k", "2"]):
        done = program(*line, env=environment, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"kseg-batch: the package 'workflows' ({tmp_path}")
        assert "pip install --force-reinstall" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(encoding, marks=pytest.mark.slow) for encoding in ("latin-1", "cp1252"))]
)
def test_output_for_a_terminal_that_has_few_characters_is_no_error(
    encoding: str, small_folder: Path, tmp_path: Path, program_environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "run", str(small_folder), "--k", "2", "-o", str(tmp_path / "out.zarr")],
        env={**program_environment, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"labelled 3 images")
