"""A file whose decoder crashes its worker is named; every other one is done as if it were not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile

PROCESSES = ("--scheduler", "processes", "--workers", "2")

#: What a worker runs when it starts: whoever opens a file called ``crash*`` for its pixels ends the process, as a
#: faulty decoder does; who opens one called ``hungry*`` takes memory without end.
FAULTY_DECODER = """
import os, sys, time
if "kseg-workers-crash" in os.environ and any("spawn" in word or "nanny" in word for word in sys.orig_argv):
    from kseg_core.reading.sources import ImageSource
    sound = ImageSource.opened
    def opened(source):
        if "crash" in source.file.source:
            os._exit(139)
        if "hungry" in source.file.source:
            taken = []
            while True:
                taken.append(b"x" * 20_000_000)
                time.sleep(0.01)
        return sound(source)
    ImageSource.opened = opened
"""


@pytest.fixture
def faulty(tmp_path: Path, program_environment: dict[str, str]) -> dict[str, str]:
    """The environment of a program whose workers have the faulty decoder."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(FAULTY_DECODER)
    path = os.pathsep.join([str(tmp_path / "site"), program_environment["PYTHONPATH"]])
    return {**program_environment, "PYTHONPATH": path, "kseg-workers-crash": "1"}


@pytest.fixture
def with_crashers(tmp_path: Path, smooth_folder: Path) -> Path:
    """Good pictures, and two copies among them at which the decoder crashes."""
    folder = tmp_path / "in"
    shutil.copytree(smooth_folder, folder)
    for name in ("crash-1.png", "crash-2.png"):
        shutil.copy(folder / "picture-1.png", folder / name)
    return folder


def centroids_of(store: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((store / "model/centroids").rglob("*")) if path.is_file())


@pytest.mark.parametrize("crashers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_file_that_kills_its_worker_twice_is_named_and_all_others_are_labelled(
    crashers: int, small_folder: Path, tmp_path: Path, faulty: dict[str, str], program: Any, kseg: Any
) -> None:
    folder, names = Path(shutil.copytree(small_folder, tmp_path / "in")), ["crash-1.png", "crash-2.png"][:crashers]
    for name in names:
        shutil.copy(folder / "b.png", folder / name)
    done = program("run", folder, "--k", "3", "-o", tmp_path / "a.zarr", *PROCESSES, "--json", env=faulty)
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert (told["images"]["labelled"], told["images"]["failed"]) == (3, crashers)
    assert [Path(failure["source"]).name for failure in told["failures"]] == names
    for failure in told["failures"]:
        assert "its decoder crashed the worker twice" in failure["reason"]
    assert kseg("run", small_folder, "--k", "3", "-o", tmp_path / "b.zarr").code == 0
    assert centroids_of(tmp_path / "a.zarr") == centroids_of(tmp_path / "b.zarr")


@pytest.mark.slow
def test_the_same_holds_while_labelling(
    with_crashers: Path, smooth_folder: Path, tmp_path: Path, faulty: dict[str, str], program: Any, job: Any
) -> None:
    job(smooth_folder, tmp_path / "m.model.zarr")
    options = ["--model", tmp_path / "m.model.zarr", "-o", tmp_path / "a.zarr", *PROCESSES, "--json"]
    done = program("apply", with_crashers, *options, env=faulty)
    assert done.returncode == 3, done.stderr
    images = json.loads(done.stdout)["images"]
    assert (images["labelled"], images["failed"]) == (8, 2)


@pytest.mark.slow
@pytest.mark.parametrize("large", [False, True])
def test_the_same_holds_for_edges(
    large: bool,
    with_crashers: Path,
    tmp_path: Path,
    faulty: dict[str, str],
    program: Any,
    kseg: Any,
    contents: Callable[[Path], dict[str, str]],
    smooth: Any,
) -> None:
    if large:
        (with_crashers / "crash-2.png").unlink()  # several of them are the other case
        for name in ("large.tif", "crash-large.tif"):
            tifffile.imwrite(with_crashers / name, smooth(2100, 2200, 5), tile=(256, 256), photometric="rgb")
    done = program("edges", with_crashers, "-o", tmp_path / "a.zarr", *PROCESSES, "--json", env=faulty)
    assert done.returncode == 3, done.stderr
    failures = json.loads(done.stdout)["failures"]
    crashed = ["crash-1.png", "crash-large.tif" if large else "crash-2.png"]
    assert [Path(failure["source"]).name for failure in failures] == crashed
    assert all("its decoder crashed the worker twice" in failure["reason"] for failure in failures)
    for name in crashed:
        (with_crashers / name).unlink()
    assert kseg("edges", with_crashers, "-o", tmp_path / "b.zarr").code == 0
    made, sound = contents(tmp_path / "a.zarr"), contents(tmp_path / "b.zarr")
    assert made.keys() == sound.keys()
    assert {name for name in sound if made[name] != sound[name]} == {":attributes"}  # they name the failures


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["global", "image"])
def test_the_same_holds_for_a_sweep(
    scope: str,
    with_crashers: Path,
    smooth_folder: Path,
    tmp_path: Path,
    faulty: dict[str, str],
    program: Any,
    kseg: Any,
) -> None:
    options = ["--k-range", "1:3", "--attempts", "1", "--scope", scope, "--json"]
    done = program("sweep", with_crashers, "-o", tmp_path / "a", *options, *PROCESSES, env=faulty)
    assert done.returncode == 3, done.stderr
    swept = json.loads(done.stdout)
    assert swept["images"] == {"total": 10, "swept": 8, "failed": 2}
    assert [Path(failure["source"]).name for failure in swept["failures"]] == ["crash-1.png", "crash-2.png"]
    whole = kseg("sweep", smooth_folder, "-o", tmp_path / "b", *options).json()
    assert (swept["sweep"], swept["k"]) == (whole["sweep"], whole["k"])
    if scope == "image":
        numbers, alone = (
            [{name: each[name] for name in ("key", "k", "sweep")} for each in of["each"]] for of in (swept, whole)
        )
        assert numbers == alone


@pytest.mark.slow
def test_a_file_that_takes_more_memory_than_a_worker_has_is_named_and_all_others_are_labelled(
    smooth_folder: Path, tmp_path: Path, faulty: dict[str, str], program: Any, kseg: Any
) -> None:
    folder = Path(shutil.copytree(smooth_folder, tmp_path / "in"))
    shutil.copy(folder / "picture-1.png", folder / "hungry.png")
    processes = ["--scheduler", "processes", "--workers", "1", "--memory", "1GB", "--json"]
    done = program("run", folder, "--k", "3", "-o", tmp_path / "a.zarr", *processes, env=faulty)
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert told["images"] == {"total": 9, "labelled": 8, "reused": 0, "failed": 1}
    (failure,) = told["failures"]
    assert Path(failure["source"]).name == "hungry.png"
    assert failure["reason"].endswith("(or took more memory than a worker has)")
    again = kseg("run", folder, "--k", "3", "-o", tmp_path / "a.zarr", "--json")
    assert again.json()["images"] == {"total": 9, "labelled": 0, "reused": 8, "failed": 1}


# ------------------------------------------------------------------------------ commands that look at a finished store


@pytest.fixture
def labelled(smooth_folder: Path, tmp_path: Path, kseg: Any) -> Path:
    """A store of good pictures, whose workers will crash at the one that is called ``crash.png``."""
    folder = Path(shutil.copytree(smooth_folder, tmp_path / "in"))
    shutil.copy(folder / "picture-1.png", folder / "crash.png")
    assert kseg("run", folder, "--k", "3", "-o", tmp_path / "a.zarr").code == 0
    return tmp_path / "a.zarr"


@pytest.mark.slow
def test_check_compares_all_but_the_image_whose_decoder_crashes_and_says_so(
    labelled: Path, faulty: dict[str, str], program: Any
) -> None:
    done = program("check", labelled, *PROCESSES, "--json", env=faulty)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["status"], told["images"], told["compared"]) == ("ok", 9, 8)
    assert "crash.png: not compared with its source: its decoder crashed the worker twice" in done.stderr


@pytest.mark.slow
def test_check_says_once_of_a_large_image_that_its_decoder_crashes_and_verifies_all_its_windows(
    tmp_path: Path, smooth: Any, faulty: dict[str, str], program: Any, kseg: Any
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("crash.tif", "good.tif"):  # of two windows and three pieces
        tifffile.imwrite(tmp_path / "in" / name, smooth(4200, 1024, 5), tile=(256, 256), photometric="rgb")
    store = tmp_path / "a.zarr"
    assert kseg("run", tmp_path / "in", "--k", "2", "--attempts", "1", "-o", store).code == 0
    done = program("check", store, *PROCESSES, "--json", env=faulty)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["status"], told["problems"], told["images"], told["compared"]) == ("ok", [], 2, 1)
    assert done.stderr.count("crash.tif: not compared with its source: its decoder crashed the worker twice") == 1
    (store / "images/crash.tif/labels/kmeans/0/c/4/0").unlink()
    again = program("check", store, *PROCESSES, "--json", env=faulty)
    assert again.returncode == 1, again.stderr
    problems = json.loads(again.stdout)["problems"]
    assert "crash.tif: no file for tiles 4/0 of its labels: 106496 pixels are lost" in problems
    assert all(line.startswith("crash.tif: ") for line in problems)


@pytest.mark.slow
def test_export_makes_all_but_the_files_of_the_image_whose_decoder_crashes(
    labelled: Path, tmp_path: Path, faulty: dict[str, str], program: Any
) -> None:
    line = ["export", labelled, "--to", tmp_path / "out", "--what", "cutout"]
    done = program(*line, *PROCESSES, "--json", env=faulty)
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    (failure,) = told["failures"]
    assert Path(failure["source"]).name == "crash.png"
    assert "its decoder crashed the worker twice" in failure["reason"]
    assert len(list((tmp_path / "out").iterdir())) == 8 * 3


@pytest.mark.slow
def test_a_report_shows_all_images_and_says_whose_decoder_crashes(
    labelled: Path, tmp_path: Path, faulty: dict[str, str], program: Any
) -> None:
    done = program("report", labelled, "--to", tmp_path / "out", *PROCESSES, "--json", env=faulty)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == {"total": 9, "shown": 9}
    assert "its decoder crashed the worker twice" in (tmp_path / "out/report.html").read_text()
