"""How every command ends: its exit code, one line on stderr where something is wrong, and one of JSON."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import main
from workflows import run as jobs_of_workflows
from workflows.computing import cluster
from workflows.sweep_request import KEYS

Kseg = Callable[..., Any]


def assert_one_line(error: str, *parts: str) -> None:
    """One line for a person, with all it must say and no trace of Python."""
    assert error.startswith("kseg-batch: ")
    assert error.endswith("\n")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    assert "--log-level debug" not in error  # an error nobody foresaw
    for part in parts:
        assert part in error


# --------------------------------------------------------------------------------------------------- 0 and 3


def test_a_run_that_is_done_or_was_already_done_exits_0(here: Path, kseg: Kseg, every_file: Any) -> None:
    first = kseg("run in --k 3")
    assert (first.code, first.err) == (0, "")
    assert "labelled 3 images" in first.out
    before = every_file(Path("in.kseg.zarr"))
    again = kseg("run in --k 3")
    assert (again.code, again.err) == (0, "")
    assert "in.kseg.zarr: already done, nothing changed (3 images)" in again.out
    dry = kseg("run in --k 3 --dry-run").out
    assert "nothing would change" in dry
    assert "million" not in dry  # nothing is held of no image
    assert every_file(Path("in.kseg.zarr")) == before


@pytest.mark.parametrize("line", ["run in --k 2", "fit in --k 2", "apply in --model old.zarr"])
def test_a_job_exits_0_and_0_again_and_3_where_inputs_cannot_be_read_and_names_each(
    line: str, here: Path, kseg: Kseg, job: Any, every_file: Any
) -> None:
    job(here / "in", Path("old.zarr"), k=2)
    assert kseg(f"{line} -o out.zarr").code == 0
    before = every_file(here)
    again = kseg(f"{line} -o out.zarr")
    assert (again.code, again.err, "already done" in again.out) == (0, "", True)
    assert every_file(here) == before
    Path("in/x.png").write_bytes(b"")
    Path("in/y.png").write_text("hello")
    for reused in (0, 3):
        outcome = kseg(f"{line} -o some.zarr{' --json' * (not reused)}")
        assert (outcome.code, outcome.err) == (3, "")
        if reused:
            assert "2 of the inputs could not be read:" in outcome.out
            assert "  in/x.png: empty file\n  in/y.png: not an image (text)\n" in outcome.out
            continue
        told = outcome.json()
        assert_run_json(told)
        assert told["status"] == "partial"
        assert told["images"] == {"total": 5, "labelled": 0 if line.startswith("fit") else 3, "reused": 0, "failed": 2}
        assert told["failures"][0] == {"source": "in/x.png", "reason": "empty file"}


def test_fewer_clusters_than_asked_for_are_told_on_stderr(here: Path, kseg: Kseg, png: Any, smooth: Any) -> None:
    png(here / "flat.png", smooth(3, 4, 0) * 0)
    outcome = kseg("run flat.png --k 4")
    assert outcome.code == 0
    assert "only 1 distinct value: 1 cluster, not 4" in outcome.err


# ---------------------------------------------------------------------------------------------------------- 1


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory, small_folder: Path, job: Any, png: Any, smooth: Any) -> Path:
    """A folder with everything the failing commands below stumble over."""
    here = tmp_path_factory.mktemp("spoilt")
    shutil.copytree(small_folder, here / "in")
    (here / "empty").mkdir()
    (here / "text").mkdir()
    (here / "text/readme.txt").write_text("hello")
    (here / "bad").mkdir()
    for name in ("one.png", "two.png"):
        (here / "bad" / name).write_bytes(b"no picture")
    (here / "mixed").mkdir()
    shutil.copy(here / "in/a.png", here / "mixed/a.png")
    (here / "mixed/b.png").write_bytes(b"")
    png(here / "clear.png", smooth(4, 4, 0)[..., :1].repeat(4, 2) * 0)
    job(here / "in", here / "done.zarr", k=2)
    job(here / "in", here / "each.zarr", k=2, scope="image")
    job(here / "in", here / "palette.model.zarr", k=2)
    (here / "mine").mkdir()
    (here / "mine/diary.txt").write_text("in/a.png")  # also a list of inputs
    return here


FAILURES = {
    "run empty --k 2": ("no images in empty",),
    "run text --k 2": ("no images in text", "1 other file"),
    "run bad --k 2": ("2 inputs", "bad/one.png: not an image (text)"),
    "run bad/one.png --k 2": ("bad/one.png: not an image (text)",),
    "fit bad -o m.zarr --k 2": ("2 inputs",),
    "apply bad --model done.zarr": ("2 inputs",),
    "run mixed --k 2 --strict": ("mixed/b.png: empty file",),
    "fit mixed --k 2 --strict -o m.zarr": ("mixed/b.png: empty file",),
    "apply mixed --model done.zarr --strict": ("mixed/b.png: empty file",),
    "run clear.png --k 2": ("no valid pixel in clear.png",),
    "run in --k 3 -o done.zarr": ("done.zarr was made with other settings", "k 2 → 3", "--overwrite"),
    "run in --k 2 --attempts 3 -o done.zarr --segments fine --edges 100,200": (
        "(--edges not given → 100,200; --segments not given → 0.36)",
        "kseg-batch edges done.zarr --low 100 --high 200, then kseg-batch segments done.zarr --level fine;",
    ),
    "run mixed --k 2 --attempts 3 -o done.zarr": ("done.zarr was made from other inputs",),
    "run in/a.png --k 2 --attempts 3 -o done.zarr": (
        "from other inputs (2 removed: b.png, c.png)",
        "apply INPUT --model",
    ),
    "apply in --model palette.model.zarr -o done.zarr": (
        "(a fit of k 2, now labelled with model ",
        "palette.model.zarr",
    ),
    "run in --k 2 -o mine": ("mine exists and is not a kseg store",),
    "run in --k 2 -o mine --overwrite": ("mine is not a kseg store; it is left alone",),
    "run bad --k 2 -o done.zarr --overwrite": ("2 inputs",),
    "run clear.png --k 2 -o done.zarr --overwrite": ("no valid pixel",),
    "run mixed --k 2 -o done.zarr --overwrite --strict": ("mixed/b.png: empty file",),
    "fit in --k 2 -o done.zarr --overwrite": ("done.zarr is a kseg store, not a model",),
    "run in --k 2 -o palette.model.zarr": ("palette.model.zarr is a kseg model, not a store",),
    "fit in --k 2 -o done.zarr": ("done.zarr is a kseg store, not a model",),
    "run in --k 2 -o in/a.png/out.zarr": ("in/a.png/out.zarr", "cannot be written"),
    "apply in --model each.zarr -o o.zarr": ("each.zarr", "model of its own"),
    "run in --k 2 --match each.zarr -o o.zarr": ("each.zarr", "model of its own"),
    "sweep empty": ("no images in empty",),
    "sweep in -o mine": ("mine exists and does not hold a sweep",),
    "sweep in -o mine/diary.txt": ("mine/diary.txt", "not a folder"),
    "sweep in -o mine/diary.txt/out": ("mine/diary.txt/out: the output cannot be written",),
    "inspect nothing.zarr": ("nothing.zarr: no kseg store there",),
    "inspect mine": ("mine: no kseg store there",),
    "check nothing.zarr": ("nothing.zarr: no kseg store there",),
    "run in --k 2 --scheduler tcp://127.0.0.1:1 -o o.zarr": ("no Dask scheduler answers at tcp://127.0.0.1:1",),
    "run in --k 2 --scheduler nonsense://x -o o.zarr": ("nonsense://x",),
}


@pytest.fixture
def untouched(spoilt: Path, every_file: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Go there; afterwards: is what was there before still as it was?"""
    monkeypatch.chdir(spoilt)
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    before = {
        name: every_file(spoilt / name) for name in ("done.zarr", "each.zarr", "palette.model.zarr", "mine", "in")
    }
    return lambda: {name: every_file(spoilt / name) for name in before} == before


@pytest.mark.parametrize(("folder", "told"), [("in", "all 3 inputs can be read, but not"), ("mixed", "read, or not")])
@pytest.mark.parametrize("option", ["--smooth 2um", "--min-region 50um2"])
def test_an_option_in_units_that_images_do_not_know_is_not_said_to_be_unreadable_files(
    folder: str, told: str, option: str, spoilt: Path, monkeypatch: pytest.MonkeyPatch, kseg: Kseg
) -> None:
    monkeypatch.chdir(spoilt)
    outcome = kseg(f"run {folder} --k 2 {option} --json")
    assert outcome.code == 1
    assert f"{told} with {option}: " in outcome.json()["error"]
    options = {failure["source"]: failure.get("option") for failure in outcome.json()["failures"]}
    assert options == {
        f"{folder}/{path.name}": option if path.stat().st_size else None for path in Path(folder).iterdir()
    }


def test_what_fails_exits_1_with_one_line_that_says_what_and_json_of_the_same_keys(
    untouched: Callable[[], bool], kseg: Kseg
) -> None:
    for line, parts in FAILURES.items():
        outcome = kseg(*line.split(), "--json")
        assert (line, outcome.code) == (line, 1)
        assert_one_line(outcome.err, *parts)
        told = outcome.json()
        assert told["status"] == "failed"
        if line.startswith("sweep"):
            assert told.keys() == {*KEYS, "error"}
            assert (told["k"], told["sweep"]) == (None, None)
        elif not line.startswith(("inspect", "check")):
            assert_run_json(told)
        if line == "run bad --k 2":
            assert told["images"] == {"total": 2, "labelled": 0, "reused": 0, "failed": 2}
            assert [failure["source"] for failure in told["failures"]] == ["bad/one.png", "bad/two.png"]
            assert (kseg(*line.split()).code, kseg(*line.split()).out) == (1, "")
    assert untouched()


def test_a_check_that_finds_problems_exits_1_and_lists_them_on_stdout(here: Path, kseg: Kseg, job: Any) -> None:
    job(here / "in", Path("out.zarr"), k=2)
    shutil.rmtree("out.zarr/images/b.png")
    outcome = kseg("check out.zarr")
    assert (outcome.code, outcome.err) == (1, "")
    assert "out.zarr: 1 problem\n  1 image is missing: b.png; " in outcome.out
    assert "--repair" not in outcome.out  # which cannot know the file
    told = kseg("check out.zarr --json")
    assert (told.code, told.json()["status"], len(told.json()["problems"])) == (1, "failed", 1)
    Path("out.zarr/images/c.png/zarr.json").write_bytes(b"")
    outcome = kseg("check out.zarr")
    assert outcome.out.endswith("what is damaged is made anew by: kseg-batch check out.zarr --repair\n")
    assert (kseg("inspect out.zarr").code, kseg("export out.zarr --to files").code) == (3, 3)


@pytest.mark.parametrize(("level", "shown"), [("info", False), ("debug", True)])
def test_a_traceback_is_shown_with_log_level_debug_only(
    level: str, shown: bool, here: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(jobs_of_workflows, "run", fail)
    outcome = kseg("run", "in", "--k", "2", "--log-level", level)
    assert outcome.code == 1
    assert ("Traceback" in outcome.err) == shown
    assert outcome.err.splitlines()[-1] == (
        "kseg-batch: unexpected RuntimeError: two lines (--log-level debug shows where)"
    )


# ---------------------------------------------------------------------------------------------------------- 2

USAGE = {
    "run in --model done.zarr --features lab": ("--features is for a fit",),
    "run in --model done.zarr --seed 5": ("--seed is for a fit",),
    "run in --model done.zarr --bands 1,2": ("--bands is for a fit: give --k N with it",),
    "run in --k 2 --scheduler sync --workers 8": ("--scheduler sync has one worker",),
    "run in --k 0": ("--k is a whole number from 1 to 65534; got 0",),
    "run in --k 70000": ("--k is a whole number from 1 to 65534; got 70000",),
    "run in --k -1": ("--k",),
    "run in --k many": ("--k takes a number of clusters, as in --k 5, or auto; got 'many'",),
    "run in --k 2.5": ("--k",),
    "run in": ("--k 5 or --k auto", "--model", "one of the two"),
    "run in --k 2 --model in": ("--k 5 or --k auto", "--model", "one of the two"),
    "run in --k 2 --features xyz": ("--features is one of auto, rgb, gray, hsv, lab, hed, bands; got 'xyz'",),
    "run in --k 2 --scope all": ("--scope is one of global, image; got 'all'",),
    "run in --k 2 --init farthest": ("--init is one of k-means++, random; got 'farthest'",),
    "run in --k 2 --attempts 0": ("--attempts is at least 1; got 0",),
    "run in --k 2 --max-iter 0": ("--max-iter is at least 1; got 0",),
    "run in --k 2 --tol -1": ("--tol is zero or more; got -1",),
    "run in --k 2 --tol nan": ("--tol is zero or more; got nan",),
    "run in --k 2 --tol inf": ("--tol is zero or more; got inf",),
    "run in --k 2 --batch-pixels 0": ("--batch-pixels is at least 1; got 0",),
    "run in --k 2 --seed -1": ("--seed is a whole number from 0 to 2^63 - 1; got -1",),
    "run in --k 2 --seed 9223372036854775808": (
        "--seed is a whole number from 0 to 2^63 - 1; got 9223372036854775808",
    ),
    "run in --k 2 --start #ff0000": ("--start gives 1 colour for 2 clusters",),
    "run in --start red": ("--start takes colours like '#1f77b4,#ff7f0e'; got 'red'",),
    "run in --start #ff0000,#FF0000": ("--start names a colour twice",),
    "run in --k 2 --features bands --scope image": ("--features bands finds one model", "leave out --scope image"),
    "run in --features bands --start #ff0000,#00ff00": ("--start gives colours",),
    "run in --k 2 --features rgb --bands 1,2": ("--bands goes with --features bands",),
    "run in --k 2 --features bands --bands 0,1": ("--bands are numbered from 1; got 0,1",),
    "run in --k 2 --features bands --bands 1,,2": ("--bands takes numbers or names like 4,3,2 or nir,red; got '1,,2'",),
    "run in --k 2 --features rgb --normalize minmax": ("--normalize goes with --features bands",),
    "run in --k 2 --features bands --normalize unit": ("--normalize is one of none, standard, minmax; got 'unit'",),
    "run in --k 2 --nodata zero": ("--nodata is auto, none, or numbers with commas between them; got 'zero'",),
    "run in --k 2 --mask missing.png": ("no such mask or folder of masks: missing.png",),
    "run in --k 2 --max-pixels 0": ("--max-pixels is at least 1; got 0",),
    "run in --k 2 --max-pixels many": ("--max-pixels",),
    "run in --k 2 --tile 63": ("--tile is from 64 to 16384 pixels; got 63",),
    "run in --k 2 --scheduler nonsense": ("--scheduler is threads, processes, sync", "tcp://", ".json", "'nonsense'"),
    "run in --k 2 --scheduler missing.json": ("no such scheduler file: missing.json",),
    "run in --k 2 --workers 0": ("--workers is at least 1; got 0",),
    "run in --k 2 --scheduler tcp://127.0.0.1:1 --workers 2": ("--workers is for threads and processes",),
    "run in --k 2 --match m --scope image": ("--match needs one palette", "leave out --scope image"),
    "run in --model m --match m": ("--match renumbers a new fit; with --model the numbers stand",),
    "run in --k 2 --match missing.zarr": ("missing.zarr: no such model or store",),
    "run in --model missing.zarr": ("missing.zarr: no such model or store",),
    "run in --model in": ("in: no kseg model or store there",),
    "run --k 2": ("no INPUT",),
    "run missing --k 2": ("no such file or folder: missing",),
    "run done.zar --k 2": ("no such file or folder: done.zar; did you mean done.zarr?",),
    "run in/a.pgn --k 2": ("no such file or folder: in/a.pgn\n",),  # as like to it as in/b.png
    "run mne/diary.txt --k 2": ("no such file or folder: mne/diary.txt; did you mean mine?",),
    "run in missing --k 2 -o o.zarr": ("no such file or folder: missing",),
    "run *.nothing --k 2 -o o.zarr": ("no file matches: *.nothing",),
    "run in/a.png in/b.png --k 2": ("several inputs need an output",),
    "run in/*.png --k 2": ("a pattern needs an output",),
    "run in --k 2 --from missing.txt -o o": ("cannot read the list missing.txt",),
    "run --from mine/diary.txt --k 2": ("name one with -o",),
    "run in --null --k 2": ("--null",),
    "run in --k 2 --nonsense": ("--nonsense",),
    "run in --k 2 --log-level loud": ("--log-level is one of debug, info, warning, error; got 'loud'",),
    "run in --k": ("--k",),
    "fit in --k 2": ("name the model to write with -o",),
    "fit in -o m.zarr": ("--k N, or --k auto",),
    "apply in": ("apply needs a model",),
    "apply in --model missing.zarr": ("missing.zarr: no such model or store",),
    "inspect": ("STORE",),
    "check": ("STORE",),
    "check x y": ("y",),
    "swoop in --k-range 1:3": ("swoop",),
    "nonsense": ("nonsense",),
    "--nonsense": ("--nonsense",),
    # of clusters
    "run in --k auto --start #000000,#ffffff": ("--start",),
    "run in --k 5 --k-range 1:3": ("--k-range goes with --k auto",),
    "run in --k-range 1:3": ("--k-range goes with --k auto",),
    "sweep in --k-range 10": ("--k-range takes two numbers like 1:10; got '10'",),
    "sweep in --k-range a:b": ("--k-range takes two numbers",),
    "sweep in --k-range 5:2": ("--k-range is A:B with 1 <= A <= B <= 65534; got 5:2",),
    "sweep in --k-range 0:2": ("got 0:2",),
    "sweep in --k-range 2:70000": ("got 2:70000",),
    "sweep nowhere": ("nowhere",),
    "sweep": ("no INPUT",),
    "sweep in empty": ("-o",),
    "sweep in --features bands --scope image": ("--scope image",),
    "sweep in -o in/sweep": ("inside the input folder",),
    # of models
    "run in --k 2 --fail-on-drift 0.1": ("--fail-on-drift", "--model"),
    "apply in --model done.zarr --fail-on-drift 2": ("from 0 to 1",),
    "run in --k 2 --checksum": ("--checksum", "--model"),
    "run in --refit": ("--refit", "--model"),
    "run in --model done.zarr --refit --k 3": ("--refit", "--k"),
    "run in --model done.zarr --refit --features lab": ("--features", "--refit"),
    "run in --model done.zarr --refit --bands 1": ("--bands", "--refit"),
    "run in --model done.zarr --refit --k-range 2:3": ("--refit",),
    "fit in --model done.zarr -o x.zarr": ("--model", "--refit"),
    "fit in --refit -o x.zarr": ("--refit", "--model"),
    "fit in --model done.zarr --refit --k 3 -o x.zarr": ("--refit", "--k"),
    "fit in --model done.zarr --refit --match done.zarr -o x.zarr": ("--refit", "--match"),
    "fit in --model palette.model.zarr --refit -o palette.model.zarr --overwrite": ("also the model to use",),
    # of edges
    "edges in --low -1": ("--low is a number from 0 to 1000000",),
    "edges in --aperture 4": ("--aperture is 3, 5 or 7",),
    "edges in --blur 99": ("--blur is a number of pixels from 0 to 50",),
    "edges in --on grey": ("--on is one of color, gray",),
    "edges in --tile 3": ("--tile is from 64",),
    "edges in --low x": ("--low takes a number; got 'x'",),
    "run in --k 2 --edges 5": ("--edges takes two numbers, LOW,HIGH, as in 150,200; got '5'",),
    "run in --k 2 --edges 50,100 --edges 150,200": ("got '50,100,150,200'",),
    "run in --k 2 --edges 1,2,3": ("got '1,2,3'",),
    "run in --k 2 --edges a,b": ("got 'a,b'",),
    "run in --k 2 --edges=-1,5": ("--low is a number",),
    "run in --k 2 --edges nan,5": ("got 'nan,5.0'",),
    "run in --k 2 --edges=": ("got ''",),
    # of what is made of a store
    "export done.zarr": ("--to",),
    "export done.zarr --to=": ("--to is empty",),
    "export done.zarr --to ' '": ("--to is empty",),
    "export done.zarr --to x --what pictures": ("--what takes segmented",),
    "export done.zarr --to x --what ,": ("--what is empty",),
    "export done.zarr --to x --what segmented --cluster 1": ("--cluster chooses",),
    "export done.zarr --to x --what masks --cluster one": ("--cluster one: clusters are 0 to 1",),
    "export done.zarr --to x --what masks --cluster 9": ("9",),
    "export done.zarr --to x --format gif": ("--format is one of auto, png, tiff",),
    "export done.zarr --to x --line-color red": ("--line-color is like '#ffff00'",),
    "export done.zarr --to x --what polygons --format tiff": ("--format tiff writes none of --what polygons",),
    "export done.zarr --to x --min-area 0": ("--min-area is at least 1",),
    "export done.zarr --to x --min-area 5": ("--min-area leaves out small outlines of segments, polygons",),
    "export done.zarr --to x --what polygons --simplify nan": ("--simplify is 0 to 100 pixels",),
    "export done.zarr --to x --what polygons --simplify -1": ("--simplify is 0 to 100 pixels",),
    "export done.zarr --to x --simplify 1": ("--simplify is of the outlines of segments, polygons",),
    "export done.zarr --to x --what masks,labels --min-area 5": (
        "--min-area leaves out small outlines of segments, polygons",
    ),
    "export done.zarr --to x --image nobody": ("nobody",),
    "export done.zarr --to x --overwrite --skip-existing": ("--overwrite and --skip-existing",),
    "export done.zarr --to x --scheduler nowhere": ("--scheduler is",),
    "report done.zarr --limit -1": ("--limit is from 0 to 1000 images; got -1",),
    "report done.zarr --thumbnail 9": ("--thumbnail is from 16 to 2048 pixels; got 9",),
    "report done.zarr --to=": ("--to is empty",),
    "report done.zarr --to ' '": ("--to is empty",),
    "inspect done.zarr --overwrite": ("--table",),
    "inspect done.zarr --table t.xlsx": ("t.xlsx",),
    "inspect done.zarr --table t.csv --scheduler nonsense": ("--scheduler is",),
    # of what every command has
    "run in --k 2 --log-format xml": ("--log-format is one of text, json; got 'xml'",),
    "run in --k 2 --tell-after -1": ("--tell-after",),
    "run in --k 2 --performance-report p.html": ("is made by a Dask cluster: add --scheduler processes",),
    "run in --k 2 --performance-report p.html --scheduler sync": ("--performance-report", "add --scheduler processes"),
}


def test_wrong_usage_exits_2_with_one_line_that_says_what(untouched: Callable[[], bool], kseg: Kseg) -> None:
    there = sorted(os.listdir())
    for line, parts in USAGE.items():
        outcome = kseg(*shlex.split(line), "--json")  # of which nothing is printed
        assert (line, outcome.code, outcome.out) == (line, 2, "")
        assert_one_line(outcome.err, *parts)
    assert sorted(os.listdir()) == there
    assert untouched()


def test_the_console_script_is_the_same_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kseg-batch", "run", "nowhere", "--k", "2"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 2


# ----------------------------------------------------------------------------------------------------- --json

RUN_KEYS = {
    "status", "output", "k", "k_requested", "features", "scope", "images", "pixels", "inertia", "mse", "centroids",
    "colors", "counts", "failures", "seconds",
}  # fmt: skip


def assert_run_json(told: dict[str, Any]) -> None:
    assert told.keys() >= RUN_KEYS
    assert told["images"].keys() == {"total", "labelled", "reused", "failed"}
    assert told["pixels"].keys() == {"total", "valid"}
    assert told["seconds"].keys() == {"total", "fit", "label"}
    for failure in told["failures"]:
        assert failure.keys() == {"source", "reason"}


@pytest.mark.parametrize("scope", ["global", "image"])
def test_the_json_of_run_is_one_line_with_the_keys_of_the_contract(scope: str, here: Path, kseg: Kseg) -> None:
    for reused in (0, 3):
        outcome = kseg("run", "in", "--k", "2", "--scope", scope, "--json")
        assert (outcome.code, outcome.err) == (0, "")
        told = outcome.json()
        assert_run_json(told)
        assert (told["status"], told["output"], told["scope"]) == ("ok", "in.kseg.zarr", scope)
        assert told["images"] == {"total": 3, "labelled": 3 - reused, "reused": reused, "failed": 0}
        assert told["pixels"] == {"total": 6120, "valid": 6120}
        assert told["mse"] == told["inertia"] / 6120
        for name, length in (("centroids", 2), ("colors", 2), ("counts", 2)):
            assert told[name] is None if scope == "image" else len(told[name]) == length


def test_the_json_of_fit_and_apply_has_the_keys_of_run(here: Path, kseg: Kseg) -> None:
    outcomes = [kseg("fit in --k 2 -o m.zarr --json"), kseg("apply in --model m.zarr --json")]
    assert [(outcome.code, outcome.err) for outcome in outcomes] == [(0, "")] * 2
    fitted, applied = (outcome.json() for outcome in outcomes)
    assert_run_json(fitted)
    assert_run_json(applied)
    assert applied["counts"] == fitted["counts"]
    assert (fitted["output"], applied["output"]) == ("m.zarr", "in.kseg.zarr")


def test_a_missing_number_is_null_in_json_and_no_error_for_a_person(
    here: Path, kseg: Kseg, job: Any, png: Any, smooth: Any
) -> None:
    job(here / "in", Path("m.zarr"), k=2)
    png(Path("clear.png"), smooth(4, 4, 0)[..., :1].repeat(4, 2) * 0)
    outcome = kseg("apply clear.png --model m.zarr --json")
    assert (outcome.code, outcome.err) == (0, "")
    assert (outcome.json()["mse"], outcome.json()["counts"]) == (None, [0, 0])
    apply = "apply clear.png --model m.zarr"  # done already, and anew
    for line in (apply, f"{apply} -o again.zarr", "inspect clear.kseg.zarr", "inspect again.zarr"):
        spoken = kseg(line)
        assert (spoken.code, spoken.err) == (0, "")


def test_inspect_and_check_tell_a_person_and_a_program(here: Path, kseg: Kseg, job: Any) -> None:
    job(here / "in", Path("out.zarr"), k=2)
    for line in ("inspect out.zarr", "check out.zarr"):
        outcome = kseg(line)
        assert (outcome.code, outcome.err, outcome.out.startswith("out.zarr: ")) == (0, "", True)
    described = kseg("inspect out.zarr --json").json()
    assert described.keys() >= {"format", "status", "model", "images"}
    for image in described["images"]:
        assert image.keys() >= {"key", "source", "shape", "labels", "masks", "counts", "invalid", "mse"}
        assert image["colors"] is None  # of all images alike
    assert kseg("check out.zarr --json").json()["problems"] == []


def test_inspect_says_how_labels_were_made_and_tells_their_shares_as_run_did(here: Path, kseg: Kseg) -> None:
    done = kseg("run in --k 3 --attempts 1 --smooth 1 --min-region 9 --keep-raw -o out.zarr --json").json()
    seen, told = kseg("inspect out.zarr").out, kseg("inspect out.zarr --json").json()
    assert (
        told["model"]["counts"]
        == done["counts"]
        == [sum(column) for column in zip(*(image["counts"] for image in told["images"]), strict=True)]
    )
    assert (told["smooth"], told["min_region"], told["keep_raw"], told["model"]["smooth"]) == (1, 9, True, 1)
    assert {(image["smooth"], image["min_region"]) for image in told["images"]} == {(1, 9)}
    assert "smoothed with --smooth 1, cleaned of small regions with --min-region 9; raw labels are kept" in seen
    kseg("run in --model out.zarr --smooth 0 -o plain.zarr")
    plain = kseg("inspect plain.zarr --json").json()
    assert plain["model"]["smooth"] == 1
    assert not {"smooth", "min_region", "keep_raw"} & plain.keys()
    assert "the model is of pixels smoothed with --smooth 1" in kseg("inspect plain.zarr").out


def test_inspect_writes_the_table_and_says_where(here: Path, kseg: Kseg, job: Any) -> None:
    job(here / "in", Path("out.zarr"), k=3)
    line = "inspect out.zarr --table regions.csv"
    done = kseg(line)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("→ regions.csv\n")
    assert len(Path("regions.csv").read_text().splitlines()) == 1 + 3 * 3
    again = kseg(line)
    assert (again.code, again.out, "--overwrite" in again.err) == (1, "", True)
    assert kseg(f"{line} --overwrite --scheduler sync --json").json()["table"] == "regions.csv"
    assert "table" not in kseg("inspect out.zarr --json").json()


@pytest.mark.parametrize("command", ["run", "fit"])
def test_what_a_job_killed_at_its_very_end_has_left_is_swept_by_the_same_command(
    command: str, here: Path, kseg: Any
) -> None:
    line = f"{command} in --k 2 --attempts 1 --scheduler sync -o out.zarr"
    assert kseg(line).code == 0
    Path(".out.zarr.resume/0badcafe").mkdir(parents=True)
    Path(".out.zarr.resume/0badcafe/x.kept").write_text("of no use any more")
    Path(".out.zarr.lock").touch()
    dead = {"owner": "me", "host": socket.gethostname(), "pid": 1, "since": "2024-01-01", "started": 1.0}
    Path(".out.zarr.lock.json").write_text(json.dumps(dead))
    assert "already done" in kseg(line).out
    assert sorted(os.listdir()) == ["in", "out.zarr"]
