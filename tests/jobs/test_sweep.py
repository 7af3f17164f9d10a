"""``kseg-batch sweep`` and ``--k auto`` on the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jobs
from workflows.sweep_request import KEYS

Kseg = Callable[..., Any]


@pytest.fixture
def here(tmp_path: Path, png: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with pictures of three colours in ``in``."""
    random = np.random.default_rng(1)
    centers = np.array([[200, 40, 40], [40, 180, 60], [30, 60, 200]])
    for name in ("a", "b"):
        image = centers[random.integers(0, 3, (30, 40))] + random.normal(0, 5, (30, 40, 3))
        png(tmp_path / "in" / f"{name}.png", image.clip(0, 255).astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_for_people_with_the_knee_marked(here: Path, kseg: Kseg) -> None:
    outcome = kseg("sweep in --k-range 1:6 --attempts 2")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0].startswith("swept 2 images, 0.0 MP, rgb (8-bit), k 1 to 6 → in.sweep in ")
    assert lines[1].split() == ["k", "inertia", "mse", "drop", "silhouette", "Calinski-Harabasz"]
    assert lines[2].split()[0] == "1"
    assert lines[2].split()[3:] == ["–", "–", "–"]
    assert [line for line in lines if "← knee" in line] == [lines[4]]
    assert lines[8] == "k 3: the knee of the inertia curve over k 1 to 6"
    assert len({len(line.replace("  ← knee", "")) for line in lines[1:8]}) == 1  # columns stand below each other
    assert sorted(path.name for path in (here / "in.sweep").iterdir()) == ["sweep.csv", "sweep.json", "sweep.png"]


def test_json_is_one_object_with_every_key(here: Path, kseg: Kseg) -> None:
    outcome = kseg("sweep in --k-range 1:4 --attempts 1 --json -o out")
    assert (outcome.code, outcome.err) == (0, "")
    told = outcome.json()
    assert tuple(told) == KEYS
    assert (told["k"], told["output"], told["each"]) == (3, "out", None)
    assert told["seconds"].keys() == {"total", "read", "sweep"}
    assert all(type(value) is float for value in told["seconds"].values())
    record = json.loads((here / "out" / "sweep.json").read_text())
    assert {name: record[name] for name in ("k", "pixels", "images")} == {
        name: told[name] for name in ("k", "pixels", "images")
    }


def test_no_knee_is_said_and_what_was_chosen_instead(here: Path, kseg: Kseg) -> None:
    outcome = kseg("sweep in --k-range 3:4 --attempts 1")
    assert outcome.code == 0
    assert "has no knee (it is too straight or too short); of these the largest silhouette" in outcome.out
    (marked,) = [line for line in outcome.out.splitlines() if "← chosen" in line]
    assert marked.split()[0] == "3"


def test_fewer_values_than_clusters_are_said(here: Path, kseg: Kseg, png: Any) -> None:
    png(here / "flat.png", np.kron(np.array([[0, 200], [200, 0]], np.uint8), np.ones((9, 9), np.uint8)))
    outcome = kseg("sweep flat.png --k-range 1:4")
    lines = outcome.out.splitlines()
    assert ["only 2 distinct values" in line for line in lines[2:6]] == [False, False, True, True]


def test_each_image_is_told_and_how_often_each_k_was_chosen(here: Path, kseg: Kseg) -> None:
    outcome = kseg("sweep in --scope image --k-range 1:5 --attempts 1")
    assert outcome.code == 0
    assert "  a.png  k 3  the knee of the inertia curve over k 1 to 5" in outcome.out.splitlines()
    assert outcome.out.splitlines()[-2] == "k 3 for 2 images"


def test_an_unreadable_image_is_exit_code_3_and_named(here: Path, kseg: Kseg) -> None:
    (here / "in" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    outcome = kseg("sweep in --k-range 1:3 --attempts 1")
    assert outcome.code == 3
    assert "1 of the inputs could not be read:" in outcome.out
    assert "in/bad.png" in outcome.out


def test_run_with_auto_says_which_k_and_why_and_is_done_the_second_time(here: Path, kseg: Kseg) -> None:
    first = kseg("run in --k auto --attempts 2")
    assert (first.code, first.err) == (0, "")
    assert "k 3 was chosen: the knee of the inertia curve over k 1 to 10" in first.out
    again = kseg("run in --k auto --attempts 2 --json").json()
    assert (again["k"], again["k_requested"], again["images"]["reused"]) == (3, "auto", 2)
    assert again["k_why"] == "the knee of the inertia curve over k 1 to 10"
    assert "k 3 was chosen: the knee of the inertia curve over k 1 to 10" in kseg("inspect in.kseg.zarr").out
    assert kseg("inspect in.kseg.zarr --json").json()["model"]["k_why"] == again["k_why"]
    other = kseg("run in --k 3 --attempts 2")
    assert (other.code, "--k auto → 3" in other.err) == (1, True)
    fewer = kseg("run in --k auto --k-range 1:5 --attempts 2")
    assert (fewer.code, "--k-range 1:10 → 1:5" in fewer.err) == (1, True)


def test_run_with_auto_for_each_image_says_where_to_look(here: Path, kseg: Kseg) -> None:
    outcome = kseg("run in --k auto --scope image --attempts 1")
    assert (outcome.code, outcome.err) == (0, "")
    assert "k was chosen for each image alone" in outcome.out
    lines = kseg("inspect in.kseg.zarr").out.splitlines()[1:]
    chosen = [len(image["counts"]) for image in kseg("inspect in.kseg.zarr --json").json()["images"]]
    assert [line.split("  ")[3].split(",")[0] for line in lines if "←" in line] == [f"k {k}" for k in chosen]


@pytest.mark.slow
def test_a_figure_is_drawn_without_a_display_and_without_pyplot_settings(here: Path, program: Any) -> None:
    environment = {**os.environ, "MPLBACKEND": "svg"}
    environment.pop("DISPLAY", None)
    environment["PYTHONPATH"] = str(Path(str(jobs.__file__)).parent.parent)
    done = program("sweep", "in", "--k-range", "1:3", "--attempts", "1", env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert (here / "in.sweep" / "sweep.png").read_bytes()[:4] == b"\x89PNG"
