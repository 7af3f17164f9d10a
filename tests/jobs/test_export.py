"""``kseg-batch export``: from options to files, and what is told of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_folder: Path, job: Any) -> Path:
    """Of three pictures."""
    path = tmp_path_factory.mktemp("export") / "s.zarr"
    job(small_folder, path, k=3)
    return path


def test_what_was_made_is_told_to_people_and_programs(
    kseg: Any, store: Path, small_folder: Path, tmp_path: Path
) -> None:
    outcome = kseg("export", store, "--to", tmp_path / "one", "--what", "segmented,masks")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"12 files (3 segmented, 9 masks) of 3 images → {tmp_path / 'one'}\n"
    outcome = kseg("export", store, "--to", tmp_path / "two", "--image", "b.png", "--json")
    assert outcome.code == 0
    assert outcome.json() == {
        "status": "ok",
        "output": str(tmp_path / "two"),
        "images": {"total": 1, "done": 1, "failed": 0},
        "files": [
            {
                "image": "b.png",
                "source": str(small_folder / "b.png"),
                "what": "segmented",
                "clusters": None,
                "classes": None,
                "path": str(tmp_path / "two" / "b.segmented.png"),
            }
        ],
        "kept": 0,
        "failures": [],
    }
    assert os.path.isfile(outcome.json()["files"][0]["path"])


def test_a_source_that_has_gone_or_is_not_complete_ends_with_exit_code_3_and_all_gone_with_1(
    kseg: Any, tmp_path: Path, png: Any, smooth: Any, job: Any
) -> None:
    for name in ("a.png", "b.png"):
        png(tmp_path / "in" / name, smooth(20, 30, 1))
    job(tmp_path / "in", tmp_path / "s.zarr", k=2)
    (tmp_path / "in" / "a.png").unlink()
    outcome = kseg("export", tmp_path / "s.zarr", "--to", tmp_path / "out", "--what", "cutout")
    assert (outcome.code, outcome.err) == (3, "")
    head, told, line = outcome.out.splitlines()
    assert head == f"2 files of 2 images → {tmp_path / 'out'}"
    assert told == "not everything of 1 image:"
    assert line.startswith(f"  a.png (cutout): {tmp_path / 'in' / 'a.png'}: the image it was labelled from")
    document = tmp_path / "s.zarr" / "images" / "b.png" / "zarr.json"
    whole = document.read_text()
    document.write_text(json.dumps({**json.loads(whole), "attributes": {}}))
    outcome = kseg("export", tmp_path / "s.zarr", "--to", tmp_path / "half")
    assert outcome.code == 3
    assert outcome.out.splitlines()[-1].startswith("  b.png (segmented): b.png: not complete in the store")
    document.write_text(whole)
    (tmp_path / "in" / "b.png").unlink()
    outcome = kseg("export", tmp_path / "s.zarr", "--to", tmp_path / "out2", "--what", "cutout", "--json")
    assert (outcome.code, outcome.json()["status"]) == (1, "failed")
    assert [f["image"] for f in outcome.json()["failures"]] == ["a.png", "b.png"]


def test_existing_files_are_one_line_and_exit_code_1(kseg: Any, store: Path, tmp_path: Path) -> None:
    assert kseg("export", store, "--to", tmp_path).code == 0
    outcome = kseg("export", store, "--to", tmp_path, "--json")
    assert outcome.code == 1
    assert outcome.json()["status"] == "failed"
    assert outcome.err.startswith(f"kseg-batch: {tmp_path / 'a.segmented.png'} and 2 more of these files already")
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "interrupted; files that were finished stay; the same command with --skip-existing goes on"),
        (("--skip-existing",), "interrupted; the same command starts again"),
        (("--overwrite",), "interrupted; the same command starts again"),
    ],
)
def test_an_export_that_was_interrupted_says_how_to_go_on(
    options: tuple[str, ...], told: str, kseg: Any, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("workflows.export.make_files", interrupted)
    outcome = kseg("export", store, "--to", tmp_path / "out", *options)
    assert (outcome.code, outcome.out, outcome.err) == (130, "", f"kseg-batch: {told}\n")


def test_an_export_that_cannot_begin_is_one_line_and_leaves_no_folder(kseg: Any, store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = kseg("export", store, "--to", tmp_path / "file" / "out", "--json")
    assert outcome.code == 1
    assert outcome.err == f"kseg-batch: {tmp_path}/file/out: the output cannot be written (Not a directory)\n"
    failed = outcome.json()
    outcome = kseg("export", store, "--to", tmp_path / "out", "--memory", "10MB")
    assert (outcome.code, outcome.err.endswith("; give more with --memory\n")) == (1, True)
    assert not (tmp_path / "out").exists()
    assert failed.keys() == kseg("export", store, "--to", tmp_path / "out", "--json").json().keys() | {"error"}
