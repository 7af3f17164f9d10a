"""The commands with inputs and outputs in an object store, as programs of their own: workers, kills, and messages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kseg_core import storage
from kseg_core.store.manifest import read_attributes
from tests.killing import folder_of_tiled
from tests.object_store import chunks_below, objects_below, upload

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder: what is written to a disk by mistake is seen there."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def pictures(small_folder: Path, bucket: str) -> str:
    return upload(small_folder, f"{bucket}/photos")


@pytest.mark.slow
def test_two_worker_processes_need_no_shared_disk(
    small_folder: Path, bucket: str, program: Program, kseg: Any, elsewhere: Path, tmp_path: Path
) -> None:
    inputs = upload(small_folder, f"{bucket}/photos")
    storage.put(f"{inputs}/bad.png", [b"not an image"])
    local = tmp_path / "out.zarr"
    assert kseg("run", small_folder, "--k", "5", "-o", local).code == 0
    two = ("--scheduler", "processes", "--workers", "2", "--json")
    made = program("run", inputs, "--k", "5", "--output", f"{bucket}/out.kseg.zarr", *two)
    assert made.returncode == 3, made.stderr
    told = json.loads(made.stdout)
    assert told["output"] == f"{bucket}/out.kseg.zarr"
    assert told["images"] == {"total": 4, "labelled": 3, "reused": 0, "failed": 1}
    assert [failure["source"] for failure in told["failures"]] == [f"{inputs}/bad.png"]
    assert chunks_below(f"{bucket}/out.kseg.zarr") == chunks_below(str(local))
    assert list(elsewhere.iterdir()) == []
    assert {name.split("/")[0] for name in objects_below(bucket)} == {"photos", "out.kseg.zarr"}


@pytest.mark.slow  # of a job stopped in the middle of a picture: tests/workflows/test_s3.py
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_a_killed_job_goes_on_where_it_was(
    scheduler: str, bucket: str, program: Program, kseg: Any, program_environment: dict[str, str], tmp_path: Path
) -> None:
    inputs = upload(folder_of_tiled(tmp_path / "in", 1, side=2200), f"{bucket}/in")
    output = f"{bucket}/out.zarr"
    asked = ["run", inputs, "--k", "4", "--attempts", "2", "--scheduler", scheduler, "--workers", "2", "--json"]
    assert kseg("run", tmp_path / "in", "--k", "4", "--attempts", "2", "-o", tmp_path / "whole.zarr").code == 0
    whole = chunks_below(str(tmp_path / "whole.zarr"))
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", *asked, "-o", output],
        env=program_environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    image = f"{output}/images/t0.tif"
    while process.poll() is None and not any(name.startswith(".pieces-") for name in storage.names(image)):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (read_attributes(output) or {})["status"] == "running"
    told = [name for name in objects_below(output) if "/.pieces-" in name]
    assert told
    written = {name: storage.stat(f"{output}/{name}").st_mtime_ns for name in objects_below(output)}
    assert f".{output.rpartition('/')[2]}.lock.json" in objects_below(bucket)
    again = program(*asked, "-o", output)
    assert again.returncode == 0, again.stderr
    assert "taking over from a run that was killed" in again.stderr
    assert chunks_below(output) == whole
    assert {name.split("/")[0] for name in objects_below(bucket)} == {"in", "out.zarr"}
    assert not [name for name in objects_below(output) if "/.pieces-" in name]
    seconds = 10**9  # a chunk written again has the same content, and so the same time up to its second
    rewritten = [
        name
        for name, when in written.items()
        if "/labels/kmeans/0/c/" in name and storage.stat(f"{output}/{name}").st_mtime_ns // seconds != when // seconds
    ]
    assert len(written) > len(rewritten)


def test_a_second_job_is_told_who_holds_the_output(
    pictures: str, bucket: str, kseg: Any, program_environment: dict[str, str]
) -> None:
    code = "import sys, time\nfrom kseg_core.resume.lock import hold\n"
    code += "with hold(sys.argv[1]): print(flush=True); time.sleep(99)"
    command = [sys.executable, "-c", code, f"{bucket}/out.zarr"]
    with subprocess.Popen(command, env=program_environment, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        second = kseg("run", pictures, "--k", "2", "-o", f"{bucket}/out.zarr")
        other.kill()
    assert second.code == 11
    assert f"another run holds {bucket}/out.zarr: pid {other.pid}" in second.err
    assert objects_below(f"{bucket}/out.zarr") == []


@pytest.mark.slow
def test_what_reads_a_store_reads_it_there(pictures: str, bucket: str, kseg: Any, elsewhere: Path) -> None:
    output = f"{bucket}/out.zarr"
    assert kseg("run", pictures, "--k", "3", "--edges", "100,200", "-o", output).code == 0
    again = kseg("run", pictures, "--k", "3", "--edges", "100,200", "-o", output).out
    assert again.startswith(f"{output}: already done")
    assert again.endswith(f"see them: kseg-batch report {output}\n")
    made = kseg("run", pictures, "--k", "3", "--edges", "100,200", "-o", output, "--report", "--json").json()
    assert (made["report"], (elsewhere / "out.report/report.html").is_file()) == ("out.report/report.html", True)
    assert kseg("check", output, "--json").json()["problems"] == []
    found = kseg("inspect", output, "--json").json()
    assert [image["source"] for image in found["images"]] == [f"{pictures}/{name}.png" for name in "abc"]
    assert kseg("inspect", output, "--table", "table.csv").code == 0
    assert kseg("export", output, "--to", "files", "--what", "segmented,cutout,edges").code == 0
    assert kseg("report", output, "--to", "report").code == 0
    assert kseg("sweep", pictures, "--k-range", "1:3", "-o", "sweep").code == 0
    assert kseg("edges", pictures, "-o", f"{bucket}/edges.zarr").code == 0
    assert sorted(path.name for path in elsewhere.iterdir()) == ["files", "out.report", "report", "sweep", "table.csv"]
    assert len(list((elsewhere / "files").iterdir())) >= 9


@pytest.mark.slow
def test_what_is_written_to_a_disk_only_says_so(pictures: str, bucket: str, kseg: Any, elsewhere: Path) -> None:
    output = f"{bucket}/out.zarr"
    assert kseg("run", pictures, "--k", "3", "-o", output).code == 0
    for command in (
        ("export", output, "--to", f"{bucket}/files"),
        ("report", output, "--to", f"{bucket}/report"),
        ("inspect", output, "--table", f"{bucket}/table.csv"),
        ("sweep", pictures, "--k-range", "1:3", "-o", f"{bucket}/sweep"),
    ):
        told = kseg(*command)
        assert told.code == 2, told.err
        assert "to a local folder only" in told.err
        assert len(told.err.splitlines()) == 1
    assert list(elsewhere.iterdir()) == []


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("inputs", "output", "code", "says"),
    [
        ("{bucket}-not/photos", "out.zarr", 2, "no such bucket"),
        ("{bucket}/nothing", "out.zarr", 2, "no such object"),
        ("{bucket}/photos/*.gif", "out.zarr", 2, "no file matches"),
        ("{bucket}/photos", "{bucket}-not/out.zarr", 1, "the output cannot be written (no such bucket)"),
        ("{bucket}/photos", "{bucket}", 2, "a whole bucket is no output"),
        ("{bucket}/photos", "gs://bucket/out.zarr", 2, "only s3://bucket/name"),
        ("gs://bucket/photos", "out.zarr", 2, "only s3://bucket/name"),
        ("{bucket}/photos", "{bucket}/photos", 1, "is not a kseg store"),
    ],
)
def test_what_cannot_be_is_one_line_and_writes_nothing(
    inputs: str, output: str, code: int, says: str, pictures: str, bucket: str, kseg: Any, elsewhere: Path
) -> None:
    there = objects_below(bucket)
    told = kseg("run", inputs.format(bucket=bucket), "--k", "2", "-o", output.format(bucket=bucket))
    assert (told.code, len(told.err.splitlines())) == (code, 1), told.err
    assert says in told.err
    assert list(elsewhere.iterdir()) == []
    assert objects_below(bucket) == there


def test_a_dry_run_tells_no_free_space_where_there_is_no_disk(pictures: str, bucket: str, kseg: Any) -> None:
    asked = ("run", pictures, "--k", "2", "-o", f"{bucket}/out.zarr", "--dry-run")
    assert kseg(*asked, "--json").json()["write"]["free"] is None
    assert "before compression" in kseg(*asked).out
    assert objects_below(f"{bucket}/out.zarr") == []
