"""What the options of all commands have in common, and that none which takes a list forgets what was given before."""

from __future__ import annotations

import dataclasses
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

import workflows.export
from jobs import main
from jobs._options import command
from jobs._runtime import General
from jobs.main import app
from kseg_core.config import RunConfig
from kseg_core.options import option
from workflows.export import Exported

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
DOCS = Path(__file__).parents[2] / "docs"


# --------------------------------------------------------------------------------------- made from the settings


def test_the_page_of_options_is_made_from_the_code() -> None:
    made = runpy.run_path(str(DOCS / "options.py"))["page"]()
    assert (DOCS / "options.md").read_text(encoding="utf-8") == made  # else: python docs/options.py


def test_every_setting_that_is_an_option_is_one_of_some_command() -> None:
    taken = {(item.owner, item.name) for command in main.COMMANDS for item in command.items}
    for owner in {owner for owner, _ in taken}:
        options = {field.name for field in dataclasses.fields(owner) if "option" in field.metadata}
        assert options == {name for of, name in taken if of is owner}, owner


def test_a_new_option_is_one_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Toy] = []
    toy = command("toy", Toy, General, failed=lambda _: {})(lambda given, _: made.append(given.make(Toy)) or 0)
    other = command("other", General, failed=lambda _: {})(lambda *_: 0)
    monkeypatch.setattr(main, "app", typer.Typer())
    toy.add_to(main.app)
    other.add_to(main.app)
    file = tmp_path / "c.toml"
    file.write_text('side = 3\nmany = ["a", "b"]\n')
    monkeypatch.setenv("KSEG_MAY", "no")
    for line in ("", "--side 2 --may --many a,b --many c --from x", f"--config {file}"):
        assert main.run_command(["toy", *line.split()]) == 0
    assert made == [
        Toy(may=False),
        Toy(2, True, ("a", "b", "c"), Nested("x")),
        Toy(3, False, ("a", "b")),
    ]


@dataclass(frozen=True, slots=True)
class Nested:
    """Settings in settings."""

    from_file: str | None = option(None, "A name that Python has taken.", "Input", flag="from")


@dataclass(frozen=True, slots=True)
class Toy:
    """Settings of each kind."""

    side: int = option(1, "A number.", "Model", "N")
    may: bool | None = option(None, "True, false or neither.", "Model")
    many: tuple[str, ...] = option(
        (), "Some.", "Model", "LIST", many=True, parse=lambda texts: tuple(",".join(texts).split(","))
    )
    nested: Nested = Nested()
    inner: str = "no option"


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

    monkeypatch.setattr("workflows.request.prepare", prepare)

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
    assert outcome.err.count("--") == 1  # and no option of this one that is merely as short
    assert "option of" not in kseg("apply", "in", "--nonsense").err
    assert (
        kseg("run", "in", "--featurs").err == "kseg-batch: No such option: --featurs (Possible options: --features)\n"
    )
    assert kseg("run", "in", "--kk").err == "kseg-batch: No such option: --kk\n"
    assert "option of" not in kseg("run", "in", "--k").err
