"""Each command hands exactly the right settings to one workflow."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from kseg_core.config import ExecutionSettings, FitSettings, InputSettings, OutputSettings, RunConfig
from kseg_core.errors import KsegError
from workflows import check, inspect
from workflows import request as request_of_workflows
from workflows import run as jobs_of_workflows
from workflows.request import InputSelection, Request
from workflows.result import Counted, JobResult

Kseg = Callable[..., Any]


@dataclass
class Asked:
    """What a command handed over."""

    selection: InputSelection
    config: RunConfig
    output: str | None
    kind: str


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """What commands asked `workflows.request.prepare` for; they get no further."""
    calls: list[Asked] = []

    def prepare(*arguments: Any) -> Request:
        calls.append(Asked(*arguments))
        raise KsegError("far enough")

    monkeypatch.setattr(request_of_workflows, "prepare", prepare)
    return calls


@pytest.fixture
def only(asked: list[Asked], kseg: Kseg) -> Callable[..., Asked]:
    """The one thing a command line asks for."""

    def run(*arguments: str) -> Asked:
        outcome = kseg(*arguments)
        assert (outcome.code, outcome.err) == (1, "kseg-batch: far enough\n")
        (call,) = asked
        asked.clear()
        return call

    return run


FIT = FitSettings(5)
RUN = RunConfig(FIT)


def fit(**changes: Any) -> RunConfig:
    return replace(RUN, fit=replace(FIT, **changes))


def bands(**changes: Any) -> RunConfig:
    return fit(features="bands", **changes)


def inputs(**changes: Any) -> RunConfig:
    return replace(RUN, input=InputSettings(**changes))


def output(**changes: Any) -> RunConfig:
    return replace(RUN, output=OutputSettings(**changes))


def execution(**changes: Any) -> RunConfig:
    return replace(RUN, execution=ExecutionSettings(**changes))


@dataclass(frozen=True)
class Option:
    """One option in its three spellings, and the settings it makes of ``run x --k 5``.

    Parameters
    ----------
    flags
        On the command line.
    variable, value
        As ``KSEG_…`` and its text.
    toml
        As a line of a settings file.
    expected
        The settings.
    """

    flags: tuple[str, ...]
    variable: str
    value: str
    toml: str
    expected: RunConfig


RUN_OPTIONS = [
    Option(("--nodata", "none"), "NODATA", "none", 'nodata = "none"', inputs(nodata="none")),
    Option(("--nodata", "-9999"), "NODATA", "-9999", 'nodata = "-9999"', inputs(nodata="-9999")),
    Option(("--nodata", "-9999,0"), "NODATA", "-9999,0", "nodata = [-9999, 0]", inputs(nodata="-9999,0")),
    Option(("--nodata-in", "any"), "NODATA_IN", "any", 'nodata_in = "any"', inputs(nodata_in="any")),
    Option(("--mask", "/"), "MASK", "/", 'mask = "/"', inputs(mask="/")),
    Option(("--max-pixels", "77"), "MAX_PIXELS", "77", "max-pixels = 77", inputs(max_pixels=77)),
    Option(("--features", "lab"), "FEATURES", "lab", 'features = "lab"', fit(features="lab")),
    Option(("--scope", "image"), "SCOPE", "image", 'scope = "image"', fit(scope="image")),
    Option(("--init", "random"), "INIT", "random", 'init = "random"', fit(init="random")),
    Option(("--attempts", "3"), "ATTEMPTS", "3", "attempts = 3", fit(attempts=3)),
    Option(("--max-iter", "17"), "MAX_ITER", "17", "max-iter = 17", fit(max_iter=17)),
    Option(("--tol", "0.25"), "TOL", "0.25", "tol = 0.25", fit(tol=0.25)),
    Option(("--tol", "0"), "TOL", "0", "tol = 0", fit(tol=0.0)),
    Option(("--batch-pixels", "999"), "BATCH_PIXELS", "999", "batch_pixels = 999", fit(batch_pixels=999)),
    Option(("--seed", "9223372036854775807"), "SEED", str(2**63 - 1), f"seed = {2**63 - 1}", fit(seed=2**63 - 1)),
    Option(("--features", "bands"), "FEATURES", "bands", 'features = "bands"', bands()),
    Option(("--match", "old.zarr"), "MATCH", "old.zarr", 'match = "old.zarr"', replace(RUN, match="old.zarr")),
    Option(("--masks",), "MASKS", "true", "masks = true", output(masks=True)),
    Option(("--no-masks",), "MASKS", "0", "masks = false", output(masks=False)),
    Option(("--pyramid",), "PYRAMID", "true", "pyramid = true", output(pyramid=True)),
    Option(("--no-pyramid",), "PYRAMID", "0", "pyramid = false", output(pyramid=False)),
    Option(("--copy-image",), "COPY_IMAGE", "1", "copy-image = true", output(copy_image=True)),
    Option(("--tile", "256"), "TILE", "256", "tile = 256", output(tile=256)),
    Option(("--overwrite",), "OVERWRITE", "1", "overwrite = true", output(overwrite=True)),
    Option(("--scheduler", "sync"), "SCHEDULER", "sync", 'scheduler = "sync"', execution(scheduler="sync")),
    Option(
        ("--scheduler", "tcp://10.0.0.1:8786"),
        "SCHEDULER",
        "tcp://10.0.0.1:8786",
        'scheduler = "tcp://10.0.0.1:8786"',
        execution(scheduler="tcp://10.0.0.1:8786"),
    ),
    Option(("--workers", "3"), "WORKERS", "3", "workers = 3", execution(workers=3)),
    Option(("--strict",), "STRICT", "yes", "strict = true", execution(strict=True)),
]
IDS = [" ".join(option.flags) for option in RUN_OPTIONS]

#: Options that make sense with ``--features bands`` only.
BANDS_OPTIONS = [
    Option(("--bands", "4,3,2"), "BANDS", "4,3,2", 'bands = "4,3,2"', bands(bands=(4, 3, 2))),
    Option(("--bands", "1"), "BANDS", "1", 'bands = "1"', bands(bands=(1,))),
    Option(("--normalize", "standard"), "NORMALIZE", "standard", 'normalize = "standard"', bands(normalize="standard")),
    Option(("--normalize", "minmax"), "NORMALIZE", "minmax", 'normalize = "minmax"', bands(normalize="minmax")),
]
BANDS_IDS = [" ".join(option.flags) for option in BANDS_OPTIONS]
OF_BANDS = ("x", "--k", "5", "--features", "bands")
START = fit(k=2, start=("#000000", "#FFffFF"))


OF_LABELLING = ("--scope", "--masks", "--no-masks", "--pyramid", "--no-pyramid", "--copy-image", "--tile")


def known_to_fit(option: Option) -> bool:
    return option.flags[0] not in OF_LABELLING


def known_to_apply(option: Option) -> bool:
    return option.expected.fit == FIT and option.expected.match is None


def test_run_with_nothing_but_k_has_the_defaults_of_the_settings(only: Callable[..., Asked]) -> None:
    assert only("run", "x", "--k", "5") == Asked(InputSelection(("x",)), RUN, None, "store")


@pytest.mark.parametrize("option", RUN_OPTIONS, ids=IDS)
def test_every_option_of_run_changes_its_setting_and_no_other(option: Option, only: Callable[..., Asked]) -> None:
    assert only("run", "x", "--k", "5", *option.flags).config == option.expected


@pytest.mark.parametrize("option", [o for o in RUN_OPTIONS if known_to_fit(o)], ids=lambda o: " ".join(o.flags))
def test_every_option_of_fit_changes_its_setting_and_no_other(option: Option, only: Callable[..., Asked]) -> None:
    expected = Asked(InputSelection(("x",)), option.expected, "m.zarr", "model")
    assert only("fit", "x", "--k", "5", "-o", "m.zarr", *option.flags) == expected


@pytest.mark.parametrize("option", BANDS_OPTIONS, ids=BANDS_IDS)
def test_every_option_of_bands_changes_its_setting_and_no_other(option: Option, only: Callable[..., Asked]) -> None:
    assert only("run", *OF_BANDS, *option.flags).config == option.expected
    assert only("fit", *OF_BANDS, "-o", "m.zarr", *option.flags).config == option.expected


@pytest.mark.parametrize("option", [o for o in RUN_OPTIONS if known_to_apply(o)], ids=lambda o: " ".join(o.flags))
def test_every_option_of_apply_changes_its_setting_and_no_other(option: Option, only: Callable[..., Asked]) -> None:
    expected = replace(option.expected, fit=None, model="m.zarr")
    assert only("apply", "x", "--model", "m.zarr", *option.flags).config == expected


def test_all_options_of_run_together(only: Callable[..., Asked]) -> None:
    line = """run a b --k 5 -o out.zarr --include *.png --include *.jpg --exclude tmp --from list.txt
        --nodata 0 --mask / --max-pixels 66
        --features bands --bands 3,1 --normalize minmax --scope global --init random --attempts 2 --max-iter 9
        --tol 1e-3 --batch-pixels 77 --seed 6
        --match m.zarr --no-masks --tile 128 --pyramid --copy-image --overwrite
        --scheduler processes --workers 2 --strict"""
    assert only(*shlex.split(line)) == Asked(
        InputSelection(("a", "b"), ("*.png", "*.jpg"), ("tmp",), "list.txt"),
        RunConfig(
            FitSettings(5, "bands", "global", "random", 2, 9, 1e-3, 77, 6, bands=(3, 1), normalize="minmax"),
            OutputSettings(False, 128, True, True, True),
            ExecutionSettings("processes", 2, True),
            InputSettings("0", "/", 66),
            match="m.zarr",
        ),
        "out.zarr",
        "store",
    )


def test_all_options_of_fit_together(only: Callable[..., Asked]) -> None:
    line = """fit a b --k 5 --output m.zarr --include *.png --exclude tmp --from - --nodata 0 --mask / --max-pixels 66
        --features bands --bands 3,1 --normalize minmax
        --init random --attempts 2 --max-iter 9 --tol 1e-3 --batch-pixels 77 --seed 6 --match m.zarr
        --overwrite --scheduler processes --workers 2 --strict"""
    assert only(*shlex.split(line)) == Asked(
        InputSelection(("a", "b"), ("*.png",), ("tmp",), "-"),
        RunConfig(
            FitSettings(5, "bands", "global", "random", 2, 9, 1e-3, 77, 6, bands=(3, 1), normalize="minmax"),
            OutputSettings(overwrite=True),
            ExecutionSettings("processes", 2, True),
            InputSettings("0", "/", 66),
            match="m.zarr",
        ),
        "m.zarr",
        "model",
    )


def test_all_options_of_apply_together(only: Callable[..., Asked]) -> None:
    line = """apply a b --model m.zarr -o out.zarr --include *.png --exclude tmp --from list.txt
        --nodata 0 --mask / --max-pixels 66 --masks --tile 128 --no-pyramid --copy-image
        --overwrite --scheduler processes --workers 2 --strict"""
    assert only(*shlex.split(line)) == Asked(
        InputSelection(("a", "b"), ("*.png",), ("tmp",), "list.txt"),
        RunConfig(
            None,
            OutputSettings(True, 128, True, False, True),
            ExecutionSettings("processes", 2, True),
            InputSettings("0", "/", 66),
            model="m.zarr",
        ),
        "out.zarr",
        "store",
    )


def test_run_with_a_model_has_no_fit(only: Callable[..., Asked]) -> None:
    assert only("run", "x", "--model", "m.zarr").config == RunConfig(None, model="m.zarr")


@pytest.mark.parametrize("text", ["#000000,#FFffFF", "#000000; #FFffFF", " #000000 , #FFffFF "])
@pytest.mark.parametrize("k", [(), ("--k", "2")])
def test_given_colours_say_how_many_clusters_there_are(text: str, k: tuple[str, ...], only: Any) -> None:
    assert only("run", "x", "--start", text, *k).config == START
    assert only("fit", "x", "-o", "m", "--start", text, *k).config == START


@pytest.mark.parametrize("text", ["4,3,2", "4, 3, 2", " 4 ,3,2 "])
def test_bands_are_numbers_with_commas_between_them(text: str, only: Any) -> None:
    assert only("run", *OF_BANDS, "--bands", text).config == bands(bands=(4, 3, 2))


@pytest.mark.parametrize("text", ["red", "1;2", "1,,2", "1-3", "1.5"])
def test_bands_that_are_no_numbers_are_wrong_usage(text: str, kseg: Kseg, asked: list[Asked]) -> None:
    outcome = kseg("run", *OF_BANDS, "--bands", text)
    assert (outcome.code, outcome.out, asked) == (2, "", [])
    assert outcome.err == f"kseg-batch: --bands takes numbers like 4,3,2; got {text!r}\n"


# ------------------------------------------------------------------ flag > variable > file > default


@pytest.mark.parametrize("option", RUN_OPTIONS, ids=IDS)
def test_every_option_has_a_variable(
    option: Option, only: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"KSEG_{option.variable}", option.value)
    assert only("run", "x", "--k", "5").config == option.expected


@pytest.mark.parametrize("option", BANDS_OPTIONS, ids=BANDS_IDS)
def test_every_option_of_bands_has_a_variable(
    option: Option, only: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"KSEG_{option.variable}", option.value)
    assert only("run", *OF_BANDS).config == option.expected


@pytest.mark.parametrize("option", RUN_OPTIONS, ids=IDS)
@pytest.mark.parametrize("table", ["", "[run]\n"], ids=["for all", "for run"])
def test_every_option_may_stand_in_a_file(
    option: Option, table: str, only: Callable[..., Asked], tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text(f"{table}{option.toml}\n")
    assert only("run", "x", "--k", "5", "--config", str(tmp_path / "s.toml")).config == option.expected


@pytest.mark.parametrize("option", BANDS_OPTIONS, ids=BANDS_IDS)
def test_every_option_of_bands_may_stand_in_a_file(option: Option, only: Callable[..., Asked], tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(f"{option.toml}\n")
    assert only("run", *OF_BANDS, "--config", str(tmp_path / "s.toml")).config == option.expected


def test_numbers_in_a_file_may_be_numbers(only: Callable[..., Asked], tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("bands = [4, 3, 2]\nnodata = -9999\n")
    found = only("run", *OF_BANDS, "--config", str(tmp_path / "s.toml")).config
    assert found == replace(bands(bands=(4, 3, 2)), input=InputSettings("-9999"))


def test_a_flag_beats_a_variable_which_beats_the_file_which_beats_the_default(
    only: Callable[..., Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.toml").write_text("attempts = 2\nseed = 2\nmax_iter = 2\nmasks = false\nk = 9\n[run]\nseed = 3\n")
    monkeypatch.setenv("KSEG_ATTEMPTS", "4")
    monkeypatch.setenv("KSEG_MAX_ITER", "4")
    monkeypatch.setenv("KSEG_K", "4")
    found = only("run", "x", "--attempts", "5", "--masks", "--config", str(tmp_path / "s.toml")).config
    assert found == RunConfig(FitSettings(4, attempts=5, max_iter=4, seed=3), OutputSettings(True))


def test_a_false_flag_beats_a_variable(only: Callable[..., Asked], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSEG_MASKS", "1")
    assert only("run", "x", "--k", "5", "--no-masks").config == output(masks=False)


def test_a_file_may_hold_everything_a_command_takes(only: Callable[..., Asked], tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        """
        inputs = ["a", "b"]
        output = "out.zarr"
        include = ["*.png", "*.jpg"]
        exclude = ["tmp"]
        from = "list.txt"
        start = ["#000000", "#FFffFF"]
        json = false
        log-level = "error"
        """
    )
    assert only("run", "--config", str(tmp_path / "s.toml")) == Asked(
        InputSelection(("a", "b"), ("*.png", "*.jpg"), ("tmp",), "list.txt"), START, "out.zarr", "store"
    )


def test_the_file_itself_may_be_named_by_a_variable(
    only: Callable[..., Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.toml").write_text("k = 5\ntile = 64\n")
    monkeypatch.setenv("KSEG_CONFIG", str(tmp_path / "s.toml"))
    assert only("run", "x").config == output(tile=64)


def test_one_file_serves_all_commands(only: Callable[..., Asked], tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'k = 5\nscope = "image"\nworkers = 2\n[apply]\ntile = 64\n[run]\nscope = "global"\n'
    )
    config = ("--config", str(tmp_path / "s.toml"))
    assert only("run", "x", *config).config == execution(workers=2)
    assert only("fit", "x", "-o", "m", *config).config == execution(workers=2)
    assert only("apply", "x", "--model", "m", *config).config == RunConfig(
        None, OutputSettings(tile=64), ExecutionSettings(workers=2), model="m"
    )


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("colour = 3", "'colour'"),
        ("[run]\nclusters = 3", "'clusters'"),
        ("[apply]\nk = 3", "'k'"),
        ("[fit]\nmasks = true", "'masks'"),
        ("[runs]\nk = 3", "'runs'"),
        ("config = 'x'", "'config'"),
        ("k = ", "not a TOML file"),
        ("k = 1\nk = 2", "not a TOML file"),
        ("run = 3", "'run'"),
    ],
)
def test_a_file_with_what_no_command_knows_is_wrong_usage(
    content: str, named: str, kseg: Kseg, asked: list[Asked], tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text(content)
    outcome = kseg("run", "x", "--k", "5", "--config", tmp_path / "s.toml")
    assert (outcome.code, outcome.out, asked) == (2, "", [])
    assert named in outcome.err
    assert "s.toml" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_wrong_usage(name: str, kseg: Kseg, tmp_path: Path) -> None:
    outcome = kseg("run", "x", "--k", "5", "--config", tmp_path / name)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert str(tmp_path) in outcome.err


@pytest.mark.parametrize("content", ['k = "many"', "k = 2.5", "k = [1, 2]", "tile = true", "overwrite = 'maybe'"])
def test_a_value_of_another_kind_in_a_file_is_wrong_usage(
    content: str, kseg: Kseg, asked: list[Asked], tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text(content)
    k = () if content.startswith("k") else ("--k", "5")
    outcome = kseg("run", "x", *k, "--config", tmp_path / "s.toml")
    assert (outcome.code, outcome.err.count("\n"), asked) == (2, 1, [])
    assert f"{content.partition(' ')[0]} takes" in outcome.err
    assert "s.toml" in outcome.err


# -------------------------------------------------------------------------------------- to one workflow


RESULT = JobResult("o.zarr", Counted(3, 3), 10, 10, (), {"total": 1.0, "fit": 0.5, "label": 0.5}, inertia=1.0)


@pytest.mark.parametrize(
    ("command", "function", "kind"),
    [
        (("run", "--k", "3"), "run", "store"),
        (("fit", "--k", "3"), "fit", "model"),
        (("apply", "--model", "m.zarr"), "run", "store"),
    ],
)
def test_a_command_calls_one_workflow_with_the_request_that_was_prepared(
    command: tuple[str, ...],
    function: str,
    kind: str,
    kseg: Kseg,
    small_folder: Path,
    tmp_path: Path,
    job: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    job(small_folder, tmp_path / "m.zarr", k=2)
    calls: list[tuple[str, Request]] = []
    for name in ("run", "fit"):
        monkeypatch.setattr(
            jobs_of_workflows, name, lambda request, progress, name=name: calls.append((name, request)) or RESULT
        )
    outcome = kseg(command[0], small_folder, "-o", "o.zarr", *command[1:])
    assert (outcome.code, outcome.err) == (0, "")
    ((called, request),) = calls
    assert called == function
    assert request.output == "o.zarr"
    assert [file.key for file in request.listing.files] == ["a.png", "b.png", "c.png"]
    if command[0] == "apply":
        assert request.config == RunConfig(None, model="m.zarr")
    else:
        assert request.config == RunConfig(FitSettings(3))


def test_inspect_describes_the_store_it_is_given(kseg: Kseg, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"format": 1, "status": "complete", "model": None, "images": [], "failures": []}
    calls: list[Any] = []
    monkeypatch.setattr(inspect, "describe", lambda *given: calls.append(given) or found)
    outcome = kseg("inspect", "some.zarr", "--json")
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
    outcome = kseg("check", "some.zarr", "--json", "--scheduler", "processes", "--workers", "2")
    assert (outcome.code, outcome.json()) == (code, found)
    assert calls == [("some.zarr", ExecutionSettings("processes", 2))]
