"""What users rely on, from outside: commands, exit codes, JSON, stores, kills, an object store, a cluster.

``golden.json`` holds what it was. Where that is to change on purpose, ``CONTRACT=write pytest -n 0 tests/contract``
writes it anew; its difference then says what changed for the user.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.command_lines import Outcome
from tests.contract.pictures import THEN, make_pictures
from tests.contract.stores import arrays_of, documents_of, kinds_of

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"
WRITES = "CONTRACT"
HALF_DONE = (
    HERE / "half-done-0.1.0.tar.xz"
)  # job `flat`, its inputs and what it left when it was killed after two images
EARLIER = HERE / "stores-0.1.0.zip"  # made by `make_earlier_stores` with that release

Run = Callable[..., Outcome]

# Name of a job (and of its output, where it has a store) and its command line; later ones use what earlier ones made.
JOBS = {
    "colours": "run photos --k 5",
    "gray": "run photos --k 2 --features gray --attempts 3",
    "lab": "run photos --k 4 --features lab --confidence --copy-image",
    "hsv": "run photos --k 3 --features hsv --init random --seed 7",
    "many": "run photos --k 300 --no-masks --tile 64",
    "each": "run photos --k 3 --scope image",
    "masked": "run photos --k 3 --mask masks",
    "alpha": "run alpha --k 3 --pyramid --tile 64",
    "edges": "edges photos",
    "both": "run photos --k 3 --edges 100,200",
    "bands8": "run bands8 --k 4 --confidence",
    "bands16": "run bands16 --k 4 --bands 4,2,1 --normalize standard --copy-image",
    "floats": "run floats --k 3 --nodata=-3",
    "tiled": "run tiled --k 4 --copy-image",
    "found": "fit photos --k 4 --tol 0.001",
    "applied": "apply more --model found.zarr",
    "grown": "apply photos more --model colours.zarr",
    "matched": "run more photos --k 5 --match colours.zarr",
    "refitted": "run more --model colours.zarr --refit",
    "chosen": "run photos --k auto --k-range 2:4",
    "masks": "run photos --k 40 --masks",
    "strong": "edges photos --low 4 --high 8",
    "added": "run photos --k 3; edges photos --low 4 --high 8 --on gray",
    "nodata8": "run bands8 --k 3 --nodata 0 --no-masks",
    "nodata16": "run bands16 --k 3 --nodata 7 --normalize standard",
    # images worked on in pieces, and small ones beside them
    "sizes": "run photos tiled --k 4 --exclude c.png",
    "whole": "run tiled --k 3 --edges 100,200 --confidence --scope image",
    "outlines": "edges tiled",
    "wide": "run wide --k 3 --confidence",
    "smoothed": "run photos tiled --k 4 --smooth 2 --exclude c.png",
    "smoothed bands": "run bands16 --k 3 --smooth 3 --copy-image",
    "applied smoothed": "apply more --model smoothed.zarr",
    "flat": "run flat --k 3 --workers 1",
    "parts": "segments photos --level fine",
    "parts of bands": "segments bands16 --level 0.2 --segment-palette shared",
    "parts of pieces": "segments photos tiled --level 0.2 --segment-scale native --segment-palette shared",
    "segmented": "run photos tiled --k 3 --segments --segment-palette shared --exclude c.png",
    "parts added": "run photos --k 3; segments photos --level fine --segment-scale native",
}

# Command lines whose JSON is a promise, over the stores above.
TOLD = {
    "sweep": "sweep photos --k-range 2:4 -o swept",
    "sweep each": "sweep photos --k-range 2:3 --scope image -o swept-each",
    "inspect": "inspect lab.zarr",
    "inspect a model": "inspect found.zarr",
    "sweep large": "sweep tiled --k-range 2:3 -o swept-large",
    "inspect each": "inspect each.zarr",
    "inspect edges": "inspect strong.zarr",
    "check": "check tiled.zarr",
    "check a model": "check found.zarr",
    "export": "export colours.zarr --to files",
    "export polygons": "export colours.zarr --to polygons --what polygons",
    "export simplified": "export colours.zarr --to simplified --what polygons --simplify 1.5",
    "export edges": "export strong.zarr --to lines --what edges",
    "report": "report colours.zarr --to page",
    "report each": "report each.zarr --to page-each",
    "dry run": "run photos --k 6 --dry-run -o nowhere.zarr",
    "dry run of fit": "fit photos --k 6 --dry-run -o nowhere.zarr",
    "dry run of apply": "apply more --model found.zarr --dry-run -o nowhere.zarr",
    "dry run already done": "run photos --k 5 --dry-run -o colours.zarr",
    "already done": "run photos --k 5 -o colours.zarr",
    "fit already done": "fit photos --k 4 --tol 0.001 -o found.zarr",
    "edges already done": "edges tiled -o outlines.zarr",
    "other settings": "run photos --k 6 -o colours.zarr",
    "some unreadable": "run mixed --k 3 -o mixed.zarr",
    "some unreadable again": "run mixed --k 3 -o mixed.zarr",
    "edges of some unreadable": "edges mixed -o mixed-edges.zarr",
    "sweep of some unreadable": "sweep mixed --k-range 2:3 -o mixed-swept",
    "dry run of some unreadable": "run mixed --k 3 --dry-run -o nowhere.zarr",
    "segments already done": "segments photos --level fine -o parts.zarr",
    "segments otherwise": "segments photos --segment-palette shared -o parts.zarr",
    "segments of a store": "segments hsv.zarr",
    "segments of some unreadable": "segments mixed -o mixed-parts.zarr",
    "segments of several kinds": "segments photos bands16 --segment-palette shared -o kinds.zarr",
    "inspect segments": "inspect parts.zarr",
    "check segments": "check segmented.zarr",
    "export segments": "export parts.zarr --to parts --what segments --level 0.3",
    "config of segments": "config segments",
    "check of some unreadable": "check mixed.zarr",
    "all unreadable": "run broken --k 3 -o broken.zarr",
    "wrong folder": "run nothing-here --k 5",
    "no store": "inspect photos",
    "config": "config run",
    "config of edges": "config edges",
}

# The same of a store that lost an array.
REPAIRED = {
    "check damaged": "check bands8.zarr",
    "repair": "check bands8.zarr --repair",
    "repaired": "check bands8.zarr",
}

# Tables of a sweep: what they were to the last character.
TABLES = ("swept/sweep.csv", "swept-each/sweep.csv", "swept-large/sweep.csv")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All inputs, made once."""
    folder = tmp_path_factory.mktemp("pictures")
    make_pictures(folder)
    return folder


@pytest.fixture
def place(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with all inputs."""
    shutil.copytree(pictures, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def first_difference(was: Any, now: Any, at: str = "") -> str | None:
    """Where two JSON values differ, and how."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted(set(was) | set(now)):
            if name not in was or name not in now:
                return f"{at}/{name} is {'new' if name not in was else 'gone'}"
            if (found := first_difference(was[name], now[name], f"{at}/{name}")) is not None:
                return found
        return None
    return None if was == now else f"{at}: {was} is {now} now"


def golden(part: str, now: dict[str, Any]) -> None:
    """What was, is."""
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get(WRITES) == "write":
        GOLDEN.write_text(json.dumps({**known, part: now}, indent=1, sort_keys=True) + "\n")
        return
    assert first_difference(known.get(part, {}), json.loads(json.dumps(now)), part) is None


def known(part: str, name: str) -> Any:
    return json.loads(GOLDEN.read_text())[part][name]


def held(store: Path, at: str = "") -> dict[str, dict[str, str]]:
    """Digests of a store that says of itself that it is below an address."""
    return {"arrays": arrays_of(str(store)), "documents": documents_of(store, at)}


def make(kseg: Run, name: str, *more: str | Path, output: str = "") -> Outcome:
    """The store of a job, by its command lines."""
    for line in JOBS[name].split("; "):
        done = kseg(*line.split(), *more, "-o", output or f"{name}.zarr", "--json")
        assert done.code == 0, (name, done.err)
    return done


def test_every_job_gives_the_arrays_documents_and_json_that_it_gave(place: Path, kseg: Run) -> None:
    stores, told = {}, {}
    for name in JOBS:
        told[name] = kinds_of(make(kseg, name).json())
        stores[name] = held(place / f"{name}.zarr")
    for name, line in TOLD.items():
        done = kseg(*line.split(), "--json")
        told[name] = {"code": done.code, "json": kinds_of(done.json()) if done.out else None}
    shutil.rmtree(place / "bands8.zarr" / "images" / "f.tif" / "masks")
    for name, line in REPAIRED.items():
        done = kseg(*line.split(), "--json")
        told[name] = {"code": done.code, "json": kinds_of(done.json())}
    assert held(place / "bands8.zarr") == stores["bands8"]
    golden("stores", stores)
    golden("json", told)
    golden("tables", {name: (place / name).read_text().splitlines() for name in TABLES})
    if not EARLIER.exists():  # of a new release: remove it and write it anew
        make_earlier_stores(place)


@pytest.mark.parametrize("how", ["--scheduler sync", "--scheduler threads --workers 3", "--tile 128 --workers 1"])
@pytest.mark.parametrize(
    "name", ["colours", "each", "both", "bands16", "sizes", "whole", "parts of bands", "parts of pieces", "segmented"]
)
def test_where_and_in_which_order_the_work_is_done_changes_no_value(
    place: Path, kseg: Run, name: str, how: str
) -> None:
    make(kseg, name, *how.split(), output="out.zarr")
    was, now = known("stores", name)["arrays"], arrays_of("out.zarr")
    now = {place: digest for place, digest in now.items() if place in was}  # smaller tiles: there are more levels
    assert first_difference(was, now, name) is None


def test_two_processes_give_the_same_bits(place: Path, kseg: Run) -> None:
    make(kseg, "sizes", "--scheduler", "processes", "--workers", "2")
    assert first_difference(known("stores", "sizes"), held(place / "sizes.zarr")) is None


def download(address: str, folder: Path) -> Path:
    """A copy of a bucket, by boto3 alone."""
    client, bucket = boto3.client("s3"), address.removeprefix("s3://")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for each in page.get("Contents", ()):
            path = folder / each["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, each["Key"], str(path))
    return folder


def test_an_object_store_holds_the_same_and_is_found_done(place: Path, kseg: Run, bucket: str) -> None:
    output = f"{bucket}/lab.zarr"
    assert make(kseg, "lab", output=output).json()["images"]["labelled"] == 3
    assert kseg("export", output, "--to", "files", "--what", "labels").code == 0
    again = make(kseg, "lab", output=output).json()
    assert again["images"] == {"total": 3, "labelled": 0, "reused": 3, "failed": 0}
    assert kseg("check", output).code == 0
    copy = download(bucket, place / "copy")
    assert [path.name for path in copy.iterdir()] == ["lab.zarr"]  # nothing is left beside it
    assert first_difference(known("stores", "lab"), held(copy / "lab.zarr", f"{bucket}/")) is None


def test_images_in_an_object_store_are_the_same_images(place: Path, kseg: Run, bucket: str) -> None:
    for path in (place / "photos").iterdir():
        boto3.client("s3").upload_file(str(path), bucket.removeprefix("s3://"), f"photos/{path.name}")
    assert kseg("run", f"{bucket}/photos", "--k", "5", "-o", "colours.zarr").code == 0
    assert first_difference(known("stores", "colours")["arrays"], arrays_of("colours.zarr")) is None


def test_what_is_done_is_left_alone_and_new_images_join_it(place: Path, kseg: Run) -> None:
    for line in ("fit photos --k 4 -o model.zarr", "apply photos --model model.zarr -o out.zarr"):
        assert kseg(*line.split()).code == 0
    before = {path: path.stat().st_mtime_ns for path in (place / "out.zarr").rglob("*")}
    again = kseg(*line.split(), "--json")
    assert (again.code, again.json()["images"]["reused"]) == (0, 3)
    assert {path: path.stat().st_mtime_ns for path in (place / "out.zarr").rglob("*")} == before
    os.rename("more/d.png", "photos/d.png")
    grown = kseg(*line.split(), "--json")
    assert grown.json()["images"] == {"total": 4, "labelled": 1, "reused": 3, "failed": 0}
    assert kseg(*line.replace("out.zarr", "once.zarr").split()).code == 0
    once = documents_of(place / "once.zarr", "once.zarr")
    assert arrays_of("out.zarr") == arrays_of("once.zarr")
    assert [name for name, digest in documents_of(place / "out.zarr", "out.zarr").items() if digest != once[name]] == [
        "."  # whose result says how many were labelled by the last command
    ]


# --------------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("run photos --k 3 -o out.zarr", 0),
        ("run broken --k 3 -o out.zarr", 1),
        ("run photos -o out.zarr", 2),
        ("run photos --k nought -o out.zarr", 2),
        ("run mixed --k 3 -o out.zarr", 3),
        ("segments photos -o out.zarr", 0),
        ("segments broken -o out.zarr", 1),
        ("segments photos --level 2 -o out.zarr", 2),
        ("segments photos bands16 --segment-palette shared -o out.zarr", 2),
        ("segments mixed -o out.zarr", 3),
        ("run photos --k 3 -o photos", 1),
        ("inspect photos", 1),
    ],
)
def test_exit_codes(place: Path, kseg: Run, line: str, code: int) -> None:
    done = kseg(*line.split())
    assert done.code == code
    assert (done.err.count("\n") <= 1) or code in (0, 3)


def program(*arguments: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KSEG_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent.parent), environment.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "jobs", *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", start_new_session=True,
    )  # fmt: skip


def labelled_images(store: Path) -> list[Path]:
    return [path for path in store.glob("images/*/zarr.json") if "complete" in path.read_text(errors="replace")]


def stopped_while_it_labels(arguments: list[str], store: Path) -> subprocess.Popen[str]:
    """A job that stands still when some of its images are complete and some are not."""
    for _ in range(10):  # a busy machine may look too late
        process = program(*arguments)
        while process.poll() is None and not labelled_images(store):
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGSTOP)
            if len(labelled_images(store)) < 4:
                return process
            os.kill(process.pid, signal.SIGCONT)
        process.communicate(timeout=120)
        shutil.rmtree(store)
    raise AssertionError("no job was met while it labelled")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_job_that_is_stopped_while_it_labels_ends_as_an_undisturbed_one(
    place: Path, kseg: Run, number: signal.Signals, code: int
) -> None:
    process = stopped_while_it_labels([*JOBS["flat"].split(), "-o", "flat.zarr"], place / "flat.zarr")
    os.kill(process.pid, number)
    os.kill(process.pid, signal.SIGCONT)
    _, told = process.communicate(timeout=120)
    assert (process.returncode, "Traceback" in told) == (code, False)
    images = make(kseg, "flat").json()["images"]
    assert (images["labelled"] + images["reused"], images["failed"]) == (4, 0)
    assert images["reused"] >= 1
    now = held(place / "flat.zarr")
    assert first_difference(known("stores", "flat")["arrays"], now["arrays"]) is None
    assert sorted(now["documents"]) == sorted(known("stores", "flat")["documents"])
    assert not (place / ".flat.zarr.lock.json").exists()


def test_an_output_that_is_replaced_is_whole_whenever_the_job_is_killed(place: Path, kseg: Run) -> None:
    assert kseg(*JOBS["tiled"].split(), "-o", "out.zarr").code == 0
    before = held(place / "out.zarr")
    for seconds in (0.9, 1.6):
        process = program("run", "tiled", "--k", "3", "--overwrite", "-o", "out.zarr")
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        now = json.loads((place / "out.zarr" / "zarr.json").read_text())["attributes"]["kseg"]
        assert now["status"] == "complete"
        if now["result"]["k"] == 4:
            assert held(place / "out.zarr") == before
    assert kseg("check", "out.zarr").code == 0


def test_an_output_in_use_is_left_alone(place: Path, kseg: Run) -> None:
    process = program("run", "tiled", "--k", "3", "-o", "out.zarr")
    while not (place / "out.zarr").exists() and not (place / ".out.zarr.lock.json").exists():
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGSTOP)  # it holds its output for as long as the second command takes
    second = kseg("run", "tiled", "--k", "3", "-o", "out.zarr", "--json")
    os.kill(process.pid, signal.SIGCONT)
    process.communicate(timeout=120)
    assert (process.returncode, second.code, second.err.count("\n")) == (0, 11, 1)
    assert kseg("check", "out.zarr").code == 0


# ------------------------------------------------------------------------------------ stores of the release before

KEPT = {"colours": "photos", "each": "photos", "edges": "photos", "alpha": "alpha", "bands16": "bands16"}


def make_earlier_stores(folder: Path) -> None:
    """Write `EARLIER` from the inputs and stores of a folder."""
    with zipfile.ZipFile(EARLIER, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in [*dict.fromkeys(KEPT.values()), *(f"{name}.zarr" for name in KEPT)]:
            for path in sorted((folder / name).rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder))


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path) -> Path:
    """A current folder with the stores of the release before, their inputs, and all inputs of today in ``fresh``."""
    with zipfile.ZipFile(EARLIER) as archive:
        archive.extractall(tmp_path)
    for path in tmp_path.rglob("*.*"):
        os.utime(path, (THEN, THEN))
    shutil.copytree(pictures, tmp_path / "fresh")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stores_of_the_release_before_open_are_checked_and_are_found_done(earlier: Path, kseg: Run) -> None:
    for name in KEPT:
        assert kseg("inspect", f"{name}.zarr", "--json").code == 0, name
        told = kseg("check", f"{name}.zarr", "--json").json()
        labelled = 0 if name == "edges" else told["images"]
        # made in a folder that is not here: what was not compared is said
        assert (told["problems"], told["compared"], sum(told["not_compared"].values())) == ([], 0, labelled), name
        document = earlier / f"{name}.zarr" / "zarr.json"
        content = json.loads(document.read_text())
        content["attributes"]["kseg"]["folder"] = str(earlier)
        document.write_text(json.dumps(content))
        told = kseg("check", f"{name}.zarr", "--json").json()
        assert (told["problems"], told["compared"], told["not_compared"]) == ([], labelled, {}), name
        again = make(kseg, name).json()
        assert again["images"]["reused"] == again["images"]["total"], name
        assert first_difference(known("stores", name)["arrays"], arrays_of(f"{name}.zarr"), name) is None


@pytest.mark.parametrize("name", ["colours", "bands16", "alpha"])
def test_a_store_of_the_release_before_labels_new_images_as_it_did(earlier: Path, kseg: Run, name: str) -> None:
    assert kseg("apply", f"fresh/{KEPT[name]}", "--model", f"{name}.zarr", "-o", "out.zarr").code == 0
    now = arrays_of("out.zarr")
    was = {place: digest for place, digest in known("stores", name)["arrays"].items() if place.endswith("kmeans/0")}
    assert was
    assert {place: now[place] for place in was} == was


def test_a_store_of_the_release_before_is_grown_as_it_was(earlier: Path, kseg: Run) -> None:
    os.rename("fresh/more", "more")
    make(kseg, "grown")
    assert first_difference(known("stores", "grown"), held(earlier / "grown.zarr")) is None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("apply fresh/photos --model each.zarr -o out.zarr", 1),  # a model for each image, none for all
        ("apply fresh/photos --model edges.zarr -o out.zarr", 2),  # edges alone
        ("run photos --k 6 -o colours.zarr", 1),  # other settings
        ("run fresh/more --k 5 -o colours.zarr", 1),  # other inputs
    ],
)
def test_what_a_store_of_the_release_before_is_no_good_for_is_said_in_one_line(
    earlier: Path, kseg: Run, line: str, code: int
) -> None:
    before = held(earlier / "colours.zarr")
    done = kseg(*line.split())
    assert (done.code, done.err.count("\n")) == (code, 1)
    assert not (earlier / "out.zarr").exists()
    assert held(earlier / "colours.zarr") == before


def test_a_job_that_the_release_before_left_half_done_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kseg: Run
) -> None:
    with tarfile.open(HALF_DONE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    assert len(labelled_images(tmp_path / "flat.zarr")) == 2
    done = make(kseg, "flat")
    assert done.json()["images"] == {"total": 4, "labelled": 2, "reused": 2, "failed": 0}
    now = held(tmp_path / "flat.zarr")
    assert first_difference(known("stores", "flat")["arrays"], now["arrays"]) is None
    assert now["documents"].keys() == known("stores", "flat")["documents"].keys()
    assert sorted(path.name for path in tmp_path.iterdir() if "lock" not in path.name) == ["flat", "flat.zarr"]
