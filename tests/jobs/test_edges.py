"""``kseg-batch edges``, and ``run --edges``: options, JSON, exit codes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run as run_process
from typing import Any

import cv2
import numpy as np
import pytest

from kseg_core import open_store
from kseg_core.images import read_image

Kseg = Callable[..., Any]
LOW = ("--low", "40", "--high", "100")


def test_the_whole_way_json_again_and_with_other_settings(kseg: Kseg, small_folder: Path, tmp_path: Path) -> None:
    line = ("edges", small_folder, "-o", tmp_path / "out.zarr", "--json", *LOW)
    told = kseg(*line)
    assert (told.code, told.err) == (0, "")
    found = told.json()
    store = open_store(str(tmp_path / "out.zarr"))
    expected = {
        key: cv2.Canny(np.ascontiguousarray(read_image(str(small_folder / key)).samples), 40, 100) > 0 for key in store
    }
    for key, edges in expected.items():
        np.testing.assert_array_equal(np.asarray(store[key].edges[...]), edges)
    assert found["seconds"].pop("total") >= 0
    assert found == {
        "status": "ok",
        "output": str(tmp_path / "out.zarr"),
        "images": {"total": 3, "done": 3, "reused": 0, "failed": 0},
        "pixels": {"total": sum(edges.size for edges in expected.values())},
        "edge_pixels": sum(int(edges.sum()) for edges in expected.values()),
        "settings": {"low": 40.0, "high": 100.0, "aperture": 3, "l2": False, "blur": 0.0, "on": "color"},
        "failures": [],
        "notes": [],
        "seconds": {},
    }
    again = kseg(*line)
    assert (again.code, again.err) == (0, "")
    images = {"total": 3, "done": 0, "reused": 3, "failed": 0}
    assert again.json() == {**found, "images": images, "seconds": {"total": 0.0}}
    assert "already done, nothing changed" in kseg(*line[:4], *LOW).out
    other = kseg(*line, "--blur", "1")
    assert other.code == 1
    assert "other settings (--blur 0 → 1)" in other.err
    assert other.json()["status"] == "failed"
    assert set(other.json()) == {*found, "error"}
    assert kseg(*line, "--blur", "1", "--overwrite").code == 0
    assert "with edges alone" in kseg("check", tmp_path / "out.zarr").out
    assert "edges alone" in kseg("inspect", tmp_path / "out.zarr").out


def test_inputs_without_edges_are_named_and_the_exit_code_is_3(kseg: Kseg, small_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(small_folder, tmp_path / "in")
    (tmp_path / "in/bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    for _ in range(2):  # the second time there is nothing else left to do
        outcome = kseg("edges", tmp_path / "in", "-o", tmp_path / "out.zarr", "--json", *LOW)
        assert outcome.code == 3
        assert outcome.json()["status"] == "partial"
        assert [Path(failure["source"]).name for failure in outcome.json()["failures"]] == ["bad.png"]
    said = kseg("edges", tmp_path / "in", "-o", tmp_path / "out.zarr", *LOW).out
    assert "no edges of 1 of the inputs:" in said
    assert "bad.png: " in said
    alone = kseg("edges", tmp_path / "in/bad.png", "-o", tmp_path / "none.zarr", "--json")
    assert alone.code == 1
    assert len(alone.json()["failures"]) == 1
    assert not (tmp_path / "none.zarr").exists()


def test_the_default_output_is_that_of_run_so_edges_join_its_labels(
    kseg: Kseg, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kseg("run", small_folder, "--k", "2", "--attempts", "1").code == 0
    assert kseg("edges", small_folder, *LOW).code == 0
    (store,) = tmp_path.iterdir()
    image = open_store(str(store))["a.png"]
    assert image.has_labels
    assert image.has_edges
    found = kseg("inspect", store, "--json").json()["images"][0]
    assert (found["labels"], found["edges"]) == ("images/a.png/labels/kmeans/0", "images/a.png/edges")
    assert "already done" in kseg("run", small_folder, "--k", "2", "--attempts", "1").out


def test_run_and_apply_make_edges_too(kseg: Kseg, small_folder: Path, tmp_path: Path) -> None:
    line = ("run", small_folder, "--k", "2", "--attempts", "1", "-o", tmp_path / "run.zarr")
    assert kseg(*line, "--edges", "100,40").code == 0
    assert kseg(*line, "--edges", "40,100").out.startswith(f"{tmp_path / 'run.zarr'}: already done")
    refused = kseg(*line)
    assert (refused.code, "--edges 40,100 → not given" in refused.err) == (1, True)
    model = ("--model", tmp_path / "run.zarr", "--edges", "40,100", "-o", tmp_path / "apply.zarr")
    assert kseg("apply", small_folder, *model).code == 0
    for name in ("run.zarr", "apply.zarr"):
        assert kseg("edges", small_folder, "-o", tmp_path / name, *LOW, "--json").json()["images"]["reused"] == 3
        assert kseg("check", tmp_path / name).code == 0


def test_what_was_done_already_is_told_without_loading_anything_heavy(
    kseg: Kseg, small_folder: Path, tmp_path: Path, program_environment: dict[str, str]
) -> None:
    line = ["edges", str(small_folder), "-o", str(tmp_path / "out.zarr")]
    assert kseg(*line).code == 0
    code = (
        "import sys; from jobs.main import run_command; assert run_command(sys.argv[1:]) == 0;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = run_process(
        [sys.executable, "-c", code, *line], env=program_environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "already done" in done.stdout
    assert not set(done.stdout.splitlines()[-1].split()) & {"numpy", "cv2", "zarr", "dask", "numba", "PIL", "scipy"}
