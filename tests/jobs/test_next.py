"""The end of a job says what to type next, makes the report at once, and opens it."""

from __future__ import annotations

import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import workflows.report
from kseg_core.command_lines import place, word
from kseg_core.errors import KsegError
from workflows.report import ReportRequest


@pytest.fixture(autouse=True)
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)


def command_at_the_end(out: str, lead: str) -> list[str]:
    """What the last line says to type, as a shell takes it."""
    last = out.splitlines()[-1]
    assert last.startswith(f"{lead}: kseg-batch "), out
    return shlex.split(last.removeprefix(f"{lead}: kseg-batch "))


# ------------------------------------------------------------------------------------------------- what next


def test_what_the_end_of_a_run_says_works_as_it_stands(here: Path, kseg: Any) -> None:
    for name in ("out.zarr", "-k.zarr", "my pictures/it's $HOME.zarr"):
        Path(name).parent.mkdir(exist_ok=True)
        line = ("run", "in", "-k", "2", "--attempts", "1", "-o", name)
        first, again = kseg(*line), kseg(*line)
        assert (first.code, again.code, first.err) == (0, 0, "")
        assert "already done" in again.out
        command = command_at_the_end(first.out, "see them")
        assert command == command_at_the_end(again.out, "see them") == ["report", place(name)]
        assert kseg("inspect", *command[1:]).code == 0
        lead = "parts that a person would tell apart: kseg-batch "
        assert shlex.split(first.out.splitlines()[-2].removeprefix(lead)) == ["segments", place(name)]
    assert kseg("segments", place(name)).code == 0
    assert "tell apart" not in kseg(*line).out + kseg(*line[:-1], "with.zarr", "--segments").out
    told = kseg(*command)
    assert told.code == 0, told.err
    assert Path(told.out.partition(": ")[0]).is_file()


def test_a_path_of_any_characters_is_one_word_that_a_shell_reads_back(here: Path) -> None:
    for name in ("a b", "x'y", "tab\there", "esc\x1b[31m", "new\nline", "back\\slash\n", "ü\u202e", "\udcff"):
        written = word(name)
        assert written.isprintable()
        read = subprocess.run(["bash", "-c", f"printf %s {written}"], capture_output=True, check=True).stdout
        assert read == name.encode("utf-8", "surrogateescape")


def test_what_a_refusal_says_to_type_works_whatever_the_store_is_called(here: Path, kseg: Any) -> None:
    name = "-my; it's $1.zarr"
    at, line = place(name), ("run", "in", "-k", "2", "--attempts", "1", f"--output={name}")

    def named(*refused: str) -> list[str]:
        told = kseg(*refused)
        assert told.code in (1, 2), told.out
        return shlex.split(told.err.rpartition("kseg-batch ")[2].partition("; or ")[0].partition(", or ")[0].rstrip())

    assert kseg(*line).code == 0
    level = named("export", at, "--to", "out", "--what", "segments")
    assert level == ["segments", at]
    assert named("export", at, "--to", "out", "--what", "edges") == ["edges", at]
    listing = named("export", at, "--to", "out", "--image", "q")
    assert (listing, kseg(*listing).code) == (["inspect", at], 0)
    for more, expected in {
        ("--segments", "fine"): ("--level", "fine"),
        ("--edges", "50,90"): ("--low", "50", "--high", "90"),
    }.items():
        command = named(*line, *more)
        assert command == [more[0][2:], at, *expected]
        assert kseg(*command).code == 0
    Path(name, "images/a.png/zarr.json").write_text("{}")
    told = kseg("segments", at, "--level", "0.2").out
    command = shlex.split(told.rpartition("kseg-batch ")[2])
    assert (command, kseg(*command).code) == (["check", at, "--repair"], 0)
    Path("in/a.png").unlink()
    refused = kseg(*line).err
    assert f" kseg-batch apply INPUT --model {word(name)} -o OTHER.zarr, " in refused


def test_fit_says_how_to_label_and_that_works(here: Path, kseg: Any) -> None:
    fitted = kseg("fit", "in", "-k", "2", "--exclude", "b.png", "--attempts", "1", "-o", "my model.zarr")
    command = command_at_the_end(fitted.out, "label with it")
    assert command == ["apply", "in", "--exclude", "b.png", "--model", "my model.zarr"]
    told = kseg(*command, "--json").json()
    assert (told["status"], told["images"]["labelled"], told["k"]) == ("ok", 2, 2)
    many = kseg("fit", *[f"in/{name}.png" for name in "abc"], "in", "-k", "2", "--attempts", "1", "-o", "n.zarr")
    assert many.out.endswith("\nlabel with it: kseg-batch apply INPUT... --model n.zarr\n")


@pytest.mark.parametrize("scope", ["global", "image"])
def test_sweep_says_how_to_label_and_that_works(scope: str, here: Path, kseg: Any) -> None:
    swept = kseg("sweep", "in", "--k-range", "1:4", "--features", "lab", "--scope", scope, "--attempts", "1")
    lead = swept.out.splitlines()[-1].partition(":")[0]
    command = command_at_the_end(swept.out, lead)
    told = kseg(*command, "--json").json()
    assert (told["status"], told["features"], told["scope"]) == ("ok", "lab", scope)
    assert told["k"] is None if scope == "image" else lead == f"label with k {told['k']}"


def test_json_and_dry_runs_say_nothing_of_it(here: Path, kseg: Any) -> None:
    for line in (
        "run in -k 2 --dry-run", "run in -k 2 --json", "fit in -k 2 -o m.zarr --json", "sweep in --k-range 1:2 --json",
        "apply in --model m.zarr -o a.zarr --json",
    ):  # fmt: skip
        done = kseg(*line.split())
        assert (done.code, "kseg-batch" in done.out) == (0, False), line


# ---------------------------------------------------------------------------------------- --report and --open


MADE = {"report": "r/report.html", "images": {"total": 3, "shown": 3}, "figures": [], "failures": []}


def test_run_and_apply_make_the_report_at_once_and_say_where(
    here: Path, kseg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "run in -k 2 --attempts 1 -o s.zarr"
    done = kseg(f"{line} --report")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1].startswith("s.report/report.html: 3 images, 3 with pictures")
    assert "see them" not in done.out
    assert Path("s.report/report.html").is_file()
    assert kseg(f"{line} --json").json()["report"] is None
    made: list[Any] = []
    monkeypatch.setattr(workflows.report, "make_report", lambda *given: made.append(given[0]) or MADE)
    again = kseg(f"{line} --report --json").json()
    assert (again["report"], again["images"]["reused"]) == ("s.report/report.html", 3)
    assert kseg("apply in --model s.zarr -o a.zarr --report --json").json()["report"] == "a.report/report.html"
    assert made == [ReportRequest("s.zarr"), ReportRequest("a.zarr")]
    assert kseg("run in/nothing.png -k 2 --report --json").code in (1, 2)


def test_a_place_that_no_report_may_take_is_told_before_any_work(here: Path, kseg: Any) -> None:
    Path("s.report").mkdir()
    Path("s.report/mine.txt").write_text("mine")
    for more in ("", " --dry-run"):
        done = kseg(f"run in -k 2 -o s.zarr --report{more}")
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert "s.report holds other things" in done.err
    assert not Path("s.zarr").exists()


@pytest.mark.slow
def test_a_report_that_cannot_be_made_leaves_a_whole_store_and_says_so(
    here: Path, kseg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise KsegError("s.report: the report cannot be written (No space left on device)")

    monkeypatch.setattr(workflows.report, "write_report", full)
    done = kseg("run in -k 2 --attempts 1 -o s.zarr --report --json")
    assert done.code == 1
    assert (done.json()["status"], done.json()["report"]) == ("ok", None)
    assert done.err.startswith("kseg-batch: the store is complete, but there is no report of it: s.report: ")
    assert kseg("check s.zarr").code == 0


@pytest.fixture
def browser(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A browser that writes down what it is given, and says much."""
    script = here / "browser"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nprint('hello')\nopen({str(here / 'seen')!r}, 'a').write(sys.argv[1])\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    return here / "seen"


@pytest.mark.slow
def test_open_shows_the_page_and_nothing_of_the_browser_is_in_the_output(
    browser: Path, here: Path, program: Any, program_environment: dict[str, str], parse_json: Any
) -> None:
    Path("näme dir").mkdir()
    done = program("run", "in", "-k", "2", "--attempts", "1", "-o", "näme dir/s.zarr", "--open", "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    assert parse_json(done.stdout)["report"] == "s.report/report.html"
    assert "hello" not in done.stderr
    assert browser.read_text() == (here / "s.report/report.html").as_uri()
    browser.unlink()
    done = program("report", "näme dir/s.zarr", "--to", "näme dir/r", "--open", cwd=here)
    assert (done.returncode, browser.read_text()) == (0, (here / "näme dir/r/report.html").as_uri())


@pytest.mark.slow
def test_without_a_browser_one_line_says_where_the_page_is(here: Path, kseg: Any) -> None:
    told = "WARNING no browser can be opened here; the page is s.report/report.html\n"
    done = kseg("run in -k 2 --attempts 1 -o s.zarr --open")
    assert (done.code, done.err) == (0, told)
    assert done.out.splitlines()[-1].startswith("s.report/report.html: ")
    again = kseg("report s.zarr --open --json")
    assert (again.code, again.err, again.json()["report"]) == (0, told, "s.report/report.html")


# --------------------------------------------------------------------------------------- the error in words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--features rgb", "mean colour error {} levels"),
        ("--features gray", "mean gray error {} levels"),
        ("--features bands", "mean error {} in the data's units"),
        ("--features bands --normalize standard", None),
        ("--features lab", None),
        ("--features hsv", None),
    ],
)
def test_the_root_of_the_mean_squared_error_is_told_in_words_where_it_is_a_length_that_people_know(
    options: str, words: str | None, here: Path, kseg: Any
) -> None:
    line = f"run in -k 2 --attempts 1 {options} -o s.zarr"
    told, again, inspected = kseg(line).out, kseg(line).out, kseg("inspect s.zarr").out
    mse = kseg(f"{line} --json").json()["mse"]
    for out in (told, again, inspected):
        row = out.splitlines()[1]
        assert f"mse {mse:.4g}" in row
        assert row.endswith(f"mse {mse:.4g}" if words is None else f"({words.format(round(mse**0.5))})")
        assert out.count("mean ") == (words is not None)  # once
