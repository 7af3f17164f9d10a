"""From fields of dataclasses to flags, variables, a file's keys, ``config`` and the page of options, and back."""

from __future__ import annotations

import dataclasses
import runpy
import shlex
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import workflows.export
import workflows.layer_request
import workflows.request
import workflows.sweep_request
from jobs import main
from jobs._options import Command, Given, Item, command
from jobs._runtime import General
from kseg_core.choice import InputSelection, PictureChoice
from kseg_core.config import (
    EdgesConfig,
    ExecutionSettings,
    FitSettings,
    InputSettings,
    OutputSettings,
    RunConfig,
    SegmentsConfig,
)
from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import KsegError
from kseg_core.export.settings import ExportSettings
from kseg_core.options import option
from kseg_core.segment_settings import SegmentSettings
from workflows.export_plan import ExportRequest

Kseg = Callable[..., Any]
DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = {each.name: each for each in main.COMMANDS}
TAKING_JOBS = [name for name in COMMANDS if name not in ("config", "warm")]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ----------------------------------------------------------------------------------- made from the settings


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


def test_a_new_option_is_one_field(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Toy] = []
    toy = command("toy", Toy, General, failed=lambda _: {})(lambda given, _: made.append(given.make(Toy)) or 0)
    other = command("other", General, failed=lambda _: {})(lambda *_: 0)
    monkeypatch.setattr(main, "app", typer.Typer())
    toy.add_to(main.app)
    other.add_to(main.app)
    Path("c.toml").write_text('side = 3\nmany = ["a", "b"]\n')
    monkeypatch.setenv("KSEG_MAY", "no")
    for line in ("", "--side 2 --may --many a,b --many c --from x", "--config c.toml"):
        assert main.run_command(["toy", *line.split()]) == 0
    assert made == [Toy(may=False), Toy(2, True, ("a", "b", "c"), Nested("x")), Toy(3, False, ("a", "b"))]


def test_the_page_of_options_is_made_from_the_code() -> None:
    made = runpy.run_path(str(DOCS / "options.py"))["page"]()
    assert (DOCS / "options.md").read_text(encoding="utf-8") == made  # else: python docs/options.py


def test_every_setting_that_is_an_option_is_one_of_some_command() -> None:
    taken = {(item.owner, item.name) for each in COMMANDS.values() for item in each.items}
    for owner in {owner for owner, _ in taken}:
        options = {field.name for field in dataclasses.fields(owner) if "option" in field.metadata}
        assert options == {name for of, name in taken if of is owner}, owner


def test_every_option_that_takes_a_list_may_be_given_again() -> None:
    marks = ("LIST", ",", "COLOURS", "GLOB", "INPUT")
    items = [item for each in COMMANDS.values() for item in each.items]
    lists = [item for item in items if any(mark in str(item.spelled.metavar) for mark in marks)]
    assert {item.flag for item in lists} >= {"--bands", "--channel", "--start", "--include", "--inputs"}
    assert [item.flag for item in lists if not item.spelled.many] == []


def sample(item: Item) -> Any:
    """A value as a file has it, that no option has by default."""
    kind = item.hint if item.spelled.parse is None else str
    if item.spelled.many:
        return ["3,4", "5"]
    if kind in (bool, bool | None):
        return True
    return 7 if kind in (int, int | None) else 0.25 if kind in (float, float | None) else "x"


@pytest.mark.parametrize("name", TAKING_JOBS)
def test_every_option_is_a_flag_a_variable_and_a_key_of_a_file(
    name: str, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [item for item in COMMANDS[name].items if item.owner is not General and item.spelled.group is not None]
    flags: list[str] = []
    lines = []
    monkeypatch.delenv("KSEG_TELL_AFTER")
    for item in items:
        value = sample(item)
        texts = value if isinstance(value, list) else [str(value)]
        flags += [item.flag] if value is True else [word for text in texts for word in (item.flag, text)]
        lines.append(f"{item.flag[2:]} = {str(value).lower() if value is True else repr(value)}")
    Path("c.toml").write_text("\n".join(lines))

    def told(origin: str, *line: str) -> dict[str, Any]:
        outcome = kseg("config", name, *line, "--json")
        assert outcome.code == 0, outcome.err
        settings = {key: found for key, found in outcome.json()["settings"].items() if found["from"] != "default"}
        assert {found["from"] for found in settings.values()} == {origin}
        return {key: found["value"] for key, found in settings.items()}

    given = told("flag", *flags)
    assert given == {item.flag[2:].replace("-", "_"): sample(item) for item in items}
    assert told("file", "--config", "c.toml") == given
    for item in items:
        value = sample(item)
        monkeypatch.setenv(item.variable, " ".join(value) if isinstance(value, list) else str(value))
    assert told("variable") == given


# ------------------------------------------------------------------------------------- lines become settings


@pytest.fixture
def asked(kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """What a command line hands to the function that prepares its job, which gets no further."""
    calls: list[Any] = []

    def stop(*arguments: Any) -> Any:
        calls.append(arguments)
        raise KsegError("far enough")

    for module, name in (
        (workflows.request, "prepare"),
        (workflows.sweep_request, "prepare_sweep"),
        (workflows.layer_request, "prepare_layer"),
        (workflows.export, "export"),
    ):
        monkeypatch.setattr(module, name, stop)

    def run(line: str) -> Any:
        outcome = kseg(*shlex.split(line))
        assert (outcome.code, outcome.err) == (1, "kseg-batch: far enough\n")
        return calls.pop()

    return run


SELECTED = "a b --include *.png --include *.jpg --exclude tmp --from list.txt --null"
SELECTION = InputSelection(("a", "b"), ("*.png", "*.jpg"), ("tmp",), "list.txt", True)
READ = "--nodata 0,7 --nodata -9999 --nodata-in any --mask / --max-pixels 66 --channel 2,0 --channel 1 --z max --t 3"
INPUT = InputSettings("0,7,-9999", "/", 66, PictureChoice(channel=(2, 0, 1), z="max", t=3), nodata_in="any")
FITTED = """--features bands --bands 3,1 --bands 2 --normalize minmax --kind uint16x4 --init random --attempts 2
    --max-iter 9 --tol 1e-3 --batch-pixels 77 --seed 6"""
FIT = FitSettings(
    5,
    "bands",
    init="random",
    attempts=2,
    max_iter=9,
    tol=1e-3,
    batch_pixels=77,
    seed=6,
    bands=(3, 1, 2),
    normalize="minmax",
    kind="uint16x4",
)
ON = "--scheduler processes --workers 2 --strict --memory 4GB"
EXECUTION = ExecutionSettings("processes", 2, True, 4_000_000_000)
WRITTEN = "--no-masks --tile 128 --pyramid --copy-image --confidence --overwrite"
OUTPUT = OutputSettings(False, 128, True, True, True, True)

ALL_OPTIONS = {
    f"run {SELECTED} -k 5 -o out.zarr {READ} {FITTED} --match m.zarr {WRITTEN} {ON} --performance-report p.html": (
        SELECTION,
        RunConfig(FIT, OUTPUT, replace(EXECUTION, performance_report="p.html"), INPUT, match="m.zarr"),
        "out.zarr",
        "store",
    ),
    f"fit {SELECTED} --k=5 --output m.zarr {READ} {FITTED} --match m.zarr --overwrite {ON}": (
        SELECTION,
        RunConfig(FIT, OutputSettings(overwrite=True), EXECUTION, INPUT, match="m.zarr"),
        "m.zarr",
        "model",
    ),
    f"apply {SELECTED} --model m.zarr {READ} {WRITTEN} --edges 200 --edges 100 --checksum {ON}": (
        SELECTION,
        RunConfig(None, replace(OUTPUT, edges=(100, 200), checksum=True), EXECUTION, INPUT, model="m.zarr"),
        None,
        "store",
    ),
    f"sweep {SELECTED} --k-range 2:7 -o out {READ} {FITTED} --overwrite {ON}": (
        SELECTION,
        RunConfig(replace(FIT, k="auto", k_range=(2, 7)), OutputSettings(overwrite=True), EXECUTION, INPUT),
        "out",
    ),
    f"edges {SELECTED} --low 50 --high 100.5 --blur 1.4 --aperture 5 --l2 --on gray {READ} --tile 128 {ON}": (
        SELECTION,
        EdgesConfig(EdgeSettings(50, 100.5, 5, True, 1.4, "gray"), INPUT, EXECUTION, 128),
        None,
    ),
    "run x -k 5": (InputSelection(("x",)), RunConfig(FitSettings(5)), None, "store"),
    "run x --k auto --k-range 2:9": (
        InputSelection(("x",)),
        RunConfig(FitSettings("auto", k_range=(2, 9))),
        None,
        "store",
    ),
    "run x --model m.zarr": (InputSelection(("x",)), RunConfig(None, model="m.zarr"), None, "store"),
    "fit x -kauto -o m": (InputSelection(("x",)), RunConfig(FitSettings("auto")), "m", "model"),
    "sweep x": (InputSelection(("x",)), RunConfig(FitSettings("auto", k_range=(1, 10))), None),
    "edges x --overwrite": (InputSelection(("x",)), EdgesConfig(overwrite=True), None),
    "edges x": (InputSelection(("x",)), EdgesConfig(), None),
    "segments x --level fine --segment-scale native --segment-palette shared --nodata 0": (
        InputSelection(("x",)),
        SegmentsConfig(SegmentSettings(0.36), InputSettings("0"), scale="native", palette="shared"),
        None,
    ),
    "segments x": (InputSelection(("x",)), SegmentsConfig(), None),
}


@pytest.mark.parametrize("line", ALL_OPTIONS, ids=lambda line: line[:20])
def test_all_options_of_a_command_become_its_settings(line: str, asked: Callable[..., Any]) -> None:
    assert asked(line) == ALL_OPTIONS[line]


@pytest.mark.parametrize(
    ("line", "settings", "files"),
    [
        ("", ExportSettings(), ((), "refuse")),
        (
            "--what masks,cutout --what 'polygons, masks' --image a* --image b --cluster 2,0 --cluster '3, 2' "
            "--format tiff --line-color #010203 --min-area 9 --simplify 1.5 --skip-existing",
            ExportSettings(
                ("masks", "cutout", "polygons"),
                ("2", "0", "3"),
                "tiff",
                line="#010203",
                min_area_px=9,
                simplify_px=1.5,
            ),
            (("a*", "b"), "keep"),
        ),
        ("--overwrite", ExportSettings(), ((), "replace")),
    ],
)
def test_options_of_export(line: str, settings: ExportSettings, files: Any, asked: Callable[..., Any]) -> None:
    request, execution, _ = asked(f"export s.zarr --to d {line} --workers 3")
    assert request == ExportRequest("s.zarr", "d", settings, *files)
    assert execution == ExecutionSettings(workers=3)


def test_values_with_commas_are_read_as_people_write_them(asked: Callable[..., Any]) -> None:
    start = RunConfig(FitSettings(2, start=("#000000", "#FFffFF")))
    for text in ("'#000000,#FFffFF'", "'#000000; #FFffFF'", "' #000000 , #FFffFF '", "'#000000' --start '#FFffFF'"):
        for k in ("", "--k 2"):
            assert asked(f"run x --start {text} {k}")[1] == start
    for text in ("4,3,2", "'4, 3, 2'", "' 4 ,3,2 '", "4,3 --bands 2"):
        assert asked(f"run x --k 5 --bands {text}")[1].fit.bands == (4, 3, 2)


# ------------------------------------------------------------------------- flag > variable > file > default


def test_a_flag_beats_a_variable_which_beats_the_file_which_beats_the_default(
    asked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("s.toml").write_text("attempts = 2\nseed = 2\nmax_iter = 2\nmasks = true\nk = 9\n[run]\nseed = 3\n")
    for name in ("ATTEMPTS", "MAX_ITER", "K"):
        monkeypatch.setenv(f"KSEG_{name}", "4")
    monkeypatch.setenv("KSEG_PYRAMID", "1")
    monkeypatch.setenv("KSEG_CONFIG", "s.toml")
    found = asked("run x --attempts 5 --no-masks --no-pyramid")[1]
    assert found == RunConfig(
        FitSettings(4, attempts=5, max_iter=4, seed=3), OutputSettings(masks=False, pyramid=False)
    )


def test_a_file_may_hold_everything_for_all_commands(asked: Callable[..., Any]) -> None:
    Path("s.toml").write_text(
        'inputs = ["a", "b"]\noutput = "o"\ninclude = "*.png"\nfrom = "list.txt"\nnodata = [-9999, 0]\n'
        'start = ["#000000", "#FFffFF"]\nscope = "image"\nworkers = 2\njson = false\n'
        '[run]\nedges = [30, 60]\nscope = "global"\n[apply]\nedges = "60,30"\ntile = 64\n'
        '[edges]\nlow = 10\n[sweep]\nbands = [4, "3"]\nscope = "global"'
    )
    selection, execution = InputSelection(("a", "b"), ("*.png",), (), "list.txt"), ExecutionSettings(workers=2)
    read, fit = InputSettings("-9999,0"), FitSettings(2, start=("#000000", "#FFffFF"))
    edges = OutputSettings(edges=(30, 60))
    assert asked("run --config s.toml") == (selection, RunConfig(fit, edges, execution, read), "o", "store")
    assert asked("fit --config s.toml")[1] == RunConfig(fit, OutputSettings(), execution, read)
    assert asked("apply --config s.toml --model m")[1] == RunConfig(
        None, replace(edges, tile=64), execution, read, model="m"
    )
    assert asked("edges --config s.toml")[1] == EdgesConfig(EdgeSettings(10), read, execution)
    assert asked("sweep --config s.toml")[1].fit.bands == (4, 3)
    Path("s.toml").write_text('k = 6\nmasks = false\n[fit]\nk = "auto"\nk-range = "3:4"\n')
    assert asked("run x --config s.toml")[1] == RunConfig(FitSettings(6), OutputSettings(masks=False))
    assert asked("fit x -o m --config s.toml")[1] == RunConfig(FitSettings("auto", k_range=(3, 4)))


def test_a_variable_may_have_a_list_with_commas_or_blanks(
    asked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSEG_WHAT", "masks")
    for text in ("2,3", "2, 3", "2 3"):
        monkeypatch.setenv("KSEG_CLUSTER", text)
        assert asked("export s.zarr --to d")[0].settings.clusters == ("2", "3")


ONE, SOME, SWITCH = "takes a number or text, not", "takes numbers or texts, not", "takes true or false"
FILES = {
    "colour = 3": "no setting is called 'colour'",
    "maxiter = 1": "no setting is called 'maxiter'; did you mean max_iter?",
    "[run]\ntiles = 3": "[run] has no setting called 'tiles'; did you mean tile?",
    "[apply]\nk = 3": "'k'",
    "[fit]\nmasks = true": "'masks'",
    "[runs]\nk = 3": "'runs'",
    "config = 'x'": "'config'",
    "k = 1\nk = 2": "not a TOML file",
    "k = ": "not a TOML file",
    "run = 3": "'run'",
    'k = "many"': "got 'many'; --k is from job.toml",
    "k = 2.5": "--k takes",
    "k = true": f"k {ONE} true",
    "tile = true": f"tile {ONE} true",
    "seed = false": f"seed {ONE} false",
    "[run]\ntol = true": f"tol {ONE} true",
    "max-iter = 07:32:00": f"max-iter {ONE} a date or time",
    "k = [1, 2]": f"k {ONE} a list",
    "k = 1979-05-27": f"k {ONE} a date or time",
    "seed = {a = 1}": f"seed {ONE} a table",
    "nodata = [1, true]": f"nodata {SOME} true",
    "nodata = [[1]]": f"nodata {SOME} a list",
    "inputs = true": f"inputs {SOME} true",
    "strict = [true]": f"strict {SWITCH}, not a list",
    'seed = "x"': "--seed takes a whole number; got 'x'; --seed is from job.toml",
    "seed = 1.5": "--seed takes a whole number; got 1.5; --seed is from job.toml",
    'tol = "x"': "--tol takes a number; got 'x'; --tol is from job.toml",
    'strict = "maybe"': f"--strict {SWITCH}; got 'maybe'; --strict is from job.toml",
    "strict = 2": f"--strict {SWITCH}; got 2; --strict is from job.toml",
}


def test_what_is_wrong_with_a_file_is_told_in_one_line_by_the_command_and_by_config(kseg: Kseg) -> None:
    Path("in").mkdir()
    for content, part in FILES.items():
        Path("job.toml").write_text(f"{content}\n")
        k = () if content.startswith("k") else ("--k", "5")
        of_value = content.startswith(('k = "m', "k = 2."))  # which config hands on as it is
        for line in (("run",), ("config", "run"))[: 1 if of_value else 2]:
            outcome = kseg(*line, "in", *k, "--config", "job.toml")
            assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1), content
            assert part in outcome.err
            assert "job.toml" in outcome.err
    Path("bytes.toml").write_bytes(b"\xff\xfe\0")
    for name, part in (("missing.toml", "no such file"), (".", ".: "), ("bytes.toml", "it is no text in UTF-8")):
        for line in ("run in --k 5", "config run"):
            outcome = kseg(*line.split(), "--config", name)
            assert (outcome.code, outcome.out, part in outcome.err, outcome.err.count("\n")) == (2, "", True, 1)


def test_a_list_of_other_commands_is_passed_over(kseg: Kseg, asked: Callable[..., Any]) -> None:
    Path("job.toml").write_text('nodata = [0, 255]\nchannel = [0]\nstart = "#000000,#ffffff"\n')
    asked("run in --config job.toml")
    assert kseg("inspect s.zarr --config job.toml").code == 1


@pytest.mark.parametrize(
    ("line", "name", "value", "part"),
    [
        ("run in", "KSEG_K", "many", "got 'many'; --k is from the variable KSEG_K"),
        ("run in -k 3", "KSEG_SEED", "x", "; --seed is from the variable KSEG_SEED"),
        ("config run", "KSEG_SEED", "x", "; --seed is from the variable KSEG_SEED"),
        ("run in -k 3", "KSEG_LOG_LEVEL", "loud", "; --log-level is from the variable KSEG_LOG_LEVEL"),
        ("config", "KSEG_TILE", "big", "; --tile is from the variable KSEG_TILE"),  # of run
        ("run in -k many", "KSEG_FEATURES", "nonsense", "got 'many'"),  # of a flag nothing more is told
        ("run in -k 3 --seed x", "KSEG_FEATURES", "nonsense", "got 'x'"),
        ("config run --seed x", "KSEG_FEATURES", "nonsense", "got 'x'"),
    ],
)
def test_a_value_that_is_refused_is_told_with_where_it_is_from(
    line: str, name: str, value: str, part: str, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    outcome = kseg(*line.split())
    assert (outcome.code, outcome.err.endswith(f"{part}\n")) == (2, True)


def test_a_variable_that_no_option_knows_is_named_with_the_nearest(kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSEG_MAXITER", "3")
    monkeypatch.setenv("KSEG_LINE_COLOR", "#ffffff")  # of another command
    told = "WARNING the variable KSEG_MAXITER sets nothing: no option is called so; did you mean KSEG_MAX_ITER?\n"
    for line in ("run nowhere --k 2", "inspect in.kseg.zarr", "config run"):
        assert kseg(*line.split()).err.startswith(told)
    monkeypatch.setenv("KSEG_QQQQQQ", "3")  # which is near to none
    told += "WARNING the variable KSEG_QQQQQQ sets nothing: no option is called so\n"
    outcome = kseg("config run")
    assert (outcome.code, outcome.err) == (0, told)


def test_a_misspelt_option_is_told_what_was_meant_and_one_of_another_command_whose_it_is(kseg: Kseg) -> None:
    wrong = "kseg-batch: No such option: "
    for line, told in {
        "run in --featurs x": "--featurs (Possible options: --features)",
        "run in --kk": "--kk",  # and no option that is merely as short
        "apply in --nonsense": "--nonsense",
        "apply in --model m.zarr --refit": "--refit; it is an option of: kseg-batch run, fit",
        "fit in --to x": "--to; it is an option of: kseg-batch classes, export, report, score",
        "config run --nonsense": "--nonsense",
    }.items():
        outcome = kseg(*line.split())
        assert (outcome.code, outcome.err) == (2, f"{wrong}{told}\n")
    assert "option of" not in kseg("run in --k").err


# ---------------------------------------------------------------------------------------------- kseg-batch config


def test_each_setting_is_told_with_where_it_comes_from(kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("job.toml").write_text('k = 5\nseed = 1\n[run]\nfeatures = "lab"\nedges = [100, 200]\n[sweep]\nseed = 9\n')
    monkeypatch.setenv("KSEG_SEED", "3")
    line = ("in", "-k", "3", "--no-masks", "--bands", "1,2", "--bands=9", "-o", "x.zarr", "--config", "job.toml")
    told = kseg("config", "run", *line, "--json").json()
    assert told["command"] == "run"
    settings = told["settings"]
    assert settings["features"] == {"value": "lab", "from": "file", "where": "job.toml"}
    assert settings["edges"] == {"value": ["100", "200"], "from": "file", "where": "job.toml"}
    assert settings["seed"] == {"value": 3, "from": "variable", "where": "KSEG_SEED"}
    assert settings["tile"] == {"value": 1024, "from": "default", "where": None}
    assert settings["pyramid"] == {"value": None, "from": "default", "where": None}
    assert "config" not in settings
    given = {name: setting["value"] for name, setting in settings.items() if setting["from"] == "flag"}
    assert given == {"inputs": ["in"], "k": "3", "masks": False, "bands": ["1,2", "9"], "output": "x.zarr"}


def test_what_is_printed_is_a_file_that_says_the_same(kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("job.toml").write_text("workers = 2\n")
    hostile = 'a "b" \\ \x1b[31m\u202e\x7f ü 日本'
    for name in TAKING_JOBS:
        monkeypatch.setenv("KSEG_OVERWRITE", "1")
        monkeypatch.setenv("KSEG_MASK", hostile)
        first = kseg("config", name, "--config", "job.toml")
        assert (first.code, first.err) == (0, "")
        assert all(line.isprintable() for line in first.out.splitlines())
        Path("effective.toml").write_text(first.out)
        values = tomllib.loads(first.out)[name]
        has_workers = any(item.name == "workers" for item in COMMANDS[name].items)
        assert (values.get("workers"), values.get("mask", hostile)) == (2 if has_workers else None, hostile)
        monkeypatch.delenv("KSEG_OVERWRITE")
        monkeypatch.delenv("KSEG_MASK")
        again = kseg("config", name, "--config", "effective.toml", "--json").json()["settings"]
        kept = {key: setting["value"] for key, setting in again.items() if setting["value"] is not None}
        assert kept == values


def test_a_run_with_the_printed_file_is_the_run_itself(
    kseg: Kseg, asked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KSEG_K", "3")
    first = asked("run in --seed 7")
    Path("effective.toml").write_text(kseg("config run in --seed 7").out)
    monkeypatch.delenv("KSEG_K")
    assert asked("run --config effective.toml") == first


def test_config_of_no_command(kseg: Kseg) -> None:
    for line, part in {
        "inspect a.zarr b.zarr": "inspect takes no argument 'b.zarr'",
        "nonsense": "no command is called 'nonsense'; it is one of run, fit",
        "config": "no command is called 'config'",
    }.items():
        outcome = kseg("config", *line.split())
        assert (outcome.code, outcome.out, outcome.err.count("\n"), part in outcome.err) == (2, "", 1, True)


LINES = (
    "run in --k 2 -o s.zarr",
    "fit in --k 2 -o m.zarr",
    "apply in --model m.zarr -o a.zarr",
    "sweep in --k-range 1:2 -o sweep",
    "edges in -o e.zarr",
    "segments in -o g.zarr",
    "classes s.zarr",
    "export s.zarr --to out",
    "report s.zarr --to page --limit 1",
    "score s.zarr --reference in",
    "inspect s.zarr",
    "check s.zarr",
    "config",
    "warm",
)


def test_no_option_of_a_command_is_passed_over_by_it(
    kseg: Kseg, png: Any, smooth: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    png(here / "in" / "a.png", smooth(20, 30, 1))
    monkeypatch.setattr(
        "kseg_core.kernels.build.warm", lambda: SimpleNamespace(there=1, compiled=0, failed=(), folder="x")
    )
    read: set[str] = set()
    look_up = Given.__getitem__
    monkeypatch.setattr(Given, "__getitem__", lambda self, name: read.add(name) or look_up(self, name))
    assert [line.split()[0] for line in LINES] == list(COMMANDS)
    for line in LINES:
        read.clear()
        name, *rest = line.split()
        outcome = kseg(name, *rest)
        assert (name, outcome.code) == (name, 0), outcome.err
        assert (name, {item.name for item in COMMANDS[name].items} - read) == (name, set())


def test_a_setting_is_in_one_command_once() -> None:
    def names(each: Command) -> list[str]:
        return [item.flag for item in each.items if item.spelled.group is not None]

    assert all(len(names(each)) == len(set(names(each))) for each in COMMANDS.values())
