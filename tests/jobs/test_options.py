"""No option is accepted and ignored, and none that takes a list forgets what was given before."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import workflows.export
from jobs import _jobs
from jobs.main import app
from kseg_core.config import RunConfig
from workflows.export import Exported

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
ELSEWHERE = {"config"}  # used before the command begins, see `jobs._options`


def names_read(function: Any) -> set[str]:
    """Every name that a function's body, its inner functions included, looks at."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef)
    nodes = (node for statement in definition.body for node in ast.walk(statement))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def body_of(command: Any) -> Any:
    return inspect.unwrap(command.callback)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_looked_at_by_it(name: str) -> None:
    function = body_of(COMMANDS[name])
    taken = set(inspect.signature(function).parameters) - ELSEWHERE
    assert len(taken) > 3
    assert taken - names_read(function) == set()


def test_what_is_only_in_a_signature_or_a_text_is_not_looked_at() -> None:
    def forgetful(used: int, forgotten: int = 0) -> int:
        """forgotten"""

        def inner() -> int:
            return used

        return inner()

    assert set(inspect.signature(forgetful).parameters) - names_read(forgetful) == {"forgotten"}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_takes_a_list_may_be_given_again(name: str) -> None:
    lists = [
        parameter
        for parameter in COMMANDS[name].params
        if any(mark in str(parameter.metavar) for mark in ("LIST", ",", "COLOURS", "GLOB", "INPUT"))
    ]
    assert [parameter.name for parameter in lists if not (parameter.nargs == -1 or parameter.multiple)] == []


# ------------------------------------------------------------------------------------------------ given again


def exported(kseg: Any, monkeypatch: pytest.MonkeyPatch, *options: str) -> Any:
    """The settings of an export that goes no further."""
    asked: list[Any] = []

    def made(request: Any, execution: Any, progress: Any) -> Exported:
        asked.append(request.settings)
        return Exported(request.folder, 0, (), 0, ())

    monkeypatch.setattr(workflows.export, "export", made)
    outcome = kseg("export", "s.zarr", "--to", "d", *options)
    assert outcome.code == 0, outcome.err
    return asked[0]


@pytest.mark.parametrize(
    "options",
    [
        ("--what", "masks", "--what", "cutout", "--cluster", "2", "--cluster", "3"),
        ("--what", "masks,cutout", "--cluster", "2,3"),
        ("--what", "masks, cutout", "--what", "masks", "--cluster", "2, 3", "--cluster", "2"),
    ],
)
def test_what_and_clusters_add_up(options: tuple[str, ...], kseg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = exported(kseg, monkeypatch, *options)
    assert (found.what, found.clusters) == (("masks", "cutout"), (2, 3))


def test_without_a_kind_pictures_are_segmented(kseg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert exported(kseg, monkeypatch).what == ("segmented",)


@pytest.mark.parametrize("text", ['"2,3"', '["2", 3]', "[2, 3]", '["2,3"]'])
def test_a_file_may_have_them_in_one_text_or_in_a_list(
    text: str, kseg: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "c.toml").write_text(f'what = "masks"\ncluster = {text}\n')
    assert exported(kseg, monkeypatch, "--config", str(tmp_path / "c.toml")).clusters == (2, 3)


@pytest.mark.parametrize("text", ["2,3", "2, 3", "2 3"])
def test_a_variable_may_have_them_with_commas_or_blanks(text: str, kseg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSEG_CLUSTER", text)
    monkeypatch.setenv("KSEG_WHAT", "masks")
    assert exported(kseg, monkeypatch).clusters == (2, 3)


@pytest.fixture
def config(kseg: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The settings that a command line of a fit comes to."""
    asked: list[RunConfig] = []

    def prepare(_selection: Any, config: RunConfig, *_: Any) -> Any:
        asked.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(_jobs, "prepare", prepare)

    def run(*arguments: str) -> RunConfig:
        outcome = kseg(*arguments)
        assert outcome.code == 130, outcome.err
        return asked.pop()

    return run


def test_bands_and_first_colours_add_up(config: Any) -> None:
    fit = config("run", "x", "--k", "2", "--features", "bands", "--bands", "4,3", "--bands", "2").fit
    assert fit.bands == (4, 3, 2)
    fit = config("run", "x", "--start", "#000000", "--start", "#ffffff;#ff0000").fit
    assert (fit.k, fit.start) == (3, ("#000000", "#ffffff", "#ff0000"))


@pytest.mark.parametrize("command", [name for name in COMMANDS if "k" in {p.name for p in COMMANDS[name].params}])
def test_the_number_of_clusters_has_a_short_flag(command: str, config: Any, kseg: Any) -> None:
    assert config(command, "x", "-k", "5", "-o", "m.zarr").fit.k == 5
    assert config(command, "x", "-k7", "-o", "m.zarr").fit.k == 7
    assert config(command, "x", "-k", "auto", "-o", "m.zarr").fit.k == "auto"
    told = kseg("config", command, "-k", "4", "--json").json()["settings"]["k"]
    assert (told["value"], told["from"]) == ("4", "flag")


def test_thresholds_of_edges_are_two_however_often_they_are_given(config: Any, kseg: Any) -> None:
    assert config("run", "x", "--k", "2", "--edges", "50", "--edges", "100").output.edges == (50.0, 100.0)
    outcome = kseg("run", "x", "--k", "2", "--edges", "50,100", "--edges", "150,200")
    assert (outcome.code, outcome.err) == (
        2,
        "kseg-batch: --edges takes two numbers, LOW,HIGH, as in 150,200; got '50,100,150,200'\n",
    )


def test_one_glob_in_a_file_need_not_be_a_list(kseg: Any, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('include = "*.png"\n')
    told = kseg("config", "run", "--config", tmp_path / "c.toml", "--json").json()
    assert told["settings"]["include"]["value"] == ["*.png"]


# --------------------------------------------------------------------------------------------------- dry runs


@pytest.mark.parametrize("command", [name for name in COMMANDS if "dry_run" in {p.name for p in COMMANDS[name].params}])
def test_a_dry_run_changes_nothing(command: str, kseg: Any, png: Any, smooth: Any, tmp_path: Path) -> None:
    png(tmp_path / "in" / "a.png", smooth(40, 50, 1))
    model = tmp_path / "m.zarr"
    assert kseg("fit", tmp_path / "in", "--k", "2", "-o", model).code == 0
    how = ["--model", model] if command == "apply" else ["--k", "2"]
    before = sorted(tmp_path.rglob("*"))
    outcome = kseg(command, tmp_path / "in", *how, "-o", tmp_path / "out.zarr", "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["status"] == "dry-run"
    assert outcome.json()["pixels"]["total"] == 2000
    assert sorted(tmp_path.rglob("*")) == before


def test_an_option_of_another_command_is_told_with_which(kseg: Any) -> None:
    outcome = kseg("apply", "in", "--model", "m.zarr", "--refit")
    assert outcome.code == 2
    assert outcome.err.startswith("kseg-batch: No such option: --refit")
    assert outcome.err.endswith("; it is an option of: kseg-batch run, fit\n")
    assert "option of" not in kseg("apply", "in", "--nonsense").err
    assert "option of" not in kseg("run", "in", "--k").err
