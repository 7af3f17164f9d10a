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
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command_lines import Outcome
from tests.contract.pictures import THEN, make_pictures
from tests.contract.stores import arrays_of, documents_of, kinds_of

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.json"
WRITES = "CONTRACT"
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
}

# Command lines whose JSON is a promise, over the stores above.
TOLD = {
    "sweep": "sweep photos --k-range 2:4 -o swept",
    "sweep each": "sweep photos --k-range 2:3 --scope image -o swept-each",
    "inspect": "inspect lab.zarr",
    "inspect a model": "inspect found.zarr",
    "check": "check tiled.zarr",
    "export": "export colours.zarr --to files",
    "report": "report colours.zarr --to page",
    "dry run": "run photos --k 6 --dry-run -o nowhere.zarr",
    "already done": "run photos --k 5 -o colours.zarr",
    "wrong folder": "run nothing-here --k 5",
    "config": "config run",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with all inputs."""
    make_pictures(tmp_path)
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


def held(store: Path) -> dict[str, dict[str, str]]:
    return {"arrays": arrays_of(str(store)), "documents": documents_of(store)}


def test_every_job_gives_the_arrays_documents_and_json_that_it_gave(place: Path, kseg: Run) -> None:
    stores, told = {}, {}
    for name, line in JOBS.items():
        done = kseg(*line.split(), "-o", f"{name}.zarr", "--json")
        assert done.code == 0, (name, done.err)
        stores[name] = held(place / f"{name}.zarr")
        told[name] = kinds_of(done.json())
    for name, line in TOLD.items():
        done = kseg(*line.split(), "--json")
        told[name] = {"code": done.code, "json": kinds_of(done.json()) if done.out else None}
    golden("stores", stores)
    golden("json", told)
    if not EARLIER.exists():  # of a new release: remove it and write it anew
        make_earlier_stores(place)


@pytest.mark.parametrize("how", ["--scheduler sync", "--scheduler threads --workers 3", "--tile 64 --workers 1"])
@pytest.mark.parametrize("name", ["colours", "bands16"])
def test_where_and_in_which_order_the_work_is_done_changes_no_value(
    place: Path, kseg: Run, name: str, how: str
) -> None:
    assert kseg(*JOBS[name].split(), *how.split(), "-o", "out.zarr").code == 0
    was = json.loads(GOLDEN.read_text())["stores"][name]["arrays"]
    assert first_difference(was, arrays_of("out.zarr"), name) is None


def test_two_processes_give_the_same_bits(place: Path, kseg: Run) -> None:
    assert kseg(*JOBS["colours"].split(), "--scheduler", "processes", "--workers", "2", "-o", "colours.zarr").code == 0
    was = json.loads(GOLDEN.read_text())["stores"]["colours"]["arrays"]
    assert first_difference(was, arrays_of("colours.zarr")) is None


def test_an_object_store_holds_the_same_and_is_found_done(place: Path, kseg: Run, bucket: str) -> None:
    line = (*JOBS["lab"].split(), "-o", f"{bucket}/lab.zarr", "--json")
    assert kseg(*line).json()["images"]["labelled"] == 3
    assert kseg("export", f"{bucket}/lab.zarr", "--to", "files", "--what", "labels").code == 0
    assert kseg(*line).json()["images"] == {"total": 3, "labelled": 0, "reused": 3, "failed": 0}
    assert kseg("check", f"{bucket}/lab.zarr").code == 0
    was = json.loads(GOLDEN.read_text())["stores"]["lab"]["arrays"]
    # read through the program's own listing of an object store, by what zarr-python makes of the same address
    from kseg_core import open_store
    from tests.contract.stores import digest

    for key, image in open_store(f"{bucket}/lab.zarr").items():
        values = image.labels[...]
        now = digest(values.dtype.str.encode(), str(values.shape).encode(), values.tobytes())
        assert now == was[f"images/{key}/labels/kmeans/0"]


# --------------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("run photos --k 3 -o out.zarr", 0),
        ("run broken --k 3 -o out.zarr", 1),
        ("run photos -o out.zarr", 2),
        ("run photos --k nought -o out.zarr", 2),
        ("run mixed --k 3 -o out.zarr", 3),
        ("run photos --k 3 -o photos", 1),
        ("inspect photos", 1),
    ],
)
def test_exit_codes(place: Path, kseg: Run, line: str, code: int) -> None:
    (place / "broken").mkdir()
    (place / "broken" / "no.png").write_bytes(b"\x89PNG\r\n\x1a\n, cut off")
    (place / "mixed").mkdir()
    for file in ("broken/no.png", "photos/a.png"):
        (place / "mixed" / Path(file).name).write_bytes((place / file).read_bytes())
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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_job_that_is_stopped_while_it_labels_ends_as_an_undisturbed_one(
    place: Path, kseg: Run, number: signal.Signals, code: int
) -> None:
    picture = (place / "tiled" / "i.tif").read_bytes()
    for at in range(6):
        (place / "many").mkdir(exist_ok=True)
        (place / "many" / f"{at}.tif").write_bytes(picture)
    line = ("run", "many", "--k", "3", "--attempts", "1", "--workers", "1", "-o")
    assert kseg(*line, "out.zarr").code == 0
    undisturbed = held(place / "out.zarr")
    shutil.rmtree(place / "out.zarr")
    process = program(*line, "out.zarr")
    while process.poll() is None and not labelled_images(place / "out.zarr"):
        time.sleep(0.005)
    if process.poll() is None:
        os.kill(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode in (code, 0)  # a fast machine may have ended
    again = kseg(*line, "out.zarr", "--json")
    assert (again.code, again.json()["images"]["failed"]) == (0, 0)
    assert first_difference(undisturbed, held(place / "out.zarr")) is None


def test_an_output_that_is_replaced_is_whole_whenever_the_job_is_killed(place: Path, kseg: Run) -> None:
    assert kseg(*JOBS["tiled"].split(), "-o", "out.zarr").code == 0
    before = held(place / "out.zarr")
    for seconds in (0.8, 1.6, 2.4):
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
    while process.poll() is None and not (place / ".out.zarr.lock.json").exists():
        time.sleep(0.005)
    second = kseg("run", "tiled", "--k", "3", "-o", "out.zarr")
    process.communicate(timeout=120)
    assert (process.returncode, second.code) in ((0, 11), (0, 0))


# ------------------------------------------------------------------------------------ stores of the release before

KEPT = {"colours": "photos", "each": "photos", "edges": "photos", "alpha": "alpha", "bands16": "bands16"}


def make_earlier_stores(folder: Path) -> None:
    """Write `EARLIER` from the inputs and stores of a folder."""
    with zipfile.ZipFile(EARLIER, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in [*dict.fromkeys(KEPT.values()), *(f"{name}.zarr" for name in KEPT)]:
            for path in sorted((folder / name).rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(folder))


def test_stores_of_the_release_before_open_are_checked_label_and_are_found_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kseg: Run
) -> None:
    with zipfile.ZipFile(EARLIER) as archive:
        archive.extractall(tmp_path)
    for path in tmp_path.rglob("*.*"):
        os.utime(path, (THEN, THEN))
    make_pictures(tmp_path / "fresh")
    monkeypatch.chdir(tmp_path)
    for name in KEPT:
        assert kseg("inspect", f"{name}.zarr", "--json").code == 0, name
        assert kseg("check", f"{name}.zarr").code == 0, name
        again = kseg(*JOBS[name].split(), "-o", f"{name}.zarr", "--json")
        assert again.code == 0, (name, again.err)
        assert again.json()["images"]["reused"] == again.json()["images"]["total"], name
    os.rename("fresh/more", "more")
    assert kseg("apply", "photos", "more", "--model", "colours.zarr", "-o", "grown.zarr").code == 0
    was = json.loads(GOLDEN.read_text())["stores"]["grown"]["arrays"]
    assert first_difference(was, arrays_of("grown.zarr")) is None
