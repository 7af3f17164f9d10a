"""The palette on the terminal: blocks where it shows colours, plain text in pipes; and the table of ``inspect``."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BLOCK = "\x1b[48;2;"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_folder: Path, job: Any) -> Path:
    path = tmp_path_factory.mktemp("palette") / "out.zarr"
    job(small_folder, path, k=3)
    return path


def seen_on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """All that a command writes to a terminal."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs", *arguments], env=environment, stdout=theirs, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # Linux says so when the other end is closed
            while piece := os.read(ours, 4096):
                seen += piece
        assert process.wait() == 0
        return seen.decode()
    finally:
        os.close(ours)


@pytest.fixture
def terminal(program_environment: dict[str, str]) -> dict[str, str]:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        program_environment.pop(name, None)
    return {**program_environment, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONIOENCODING": "utf-8"}


def test_a_terminal_shows_a_block_of_every_cluster_s_colour(store: Path, terminal: dict[str, str], kseg: Any) -> None:
    seen = seen_on_a_terminal(["inspect", str(store)], terminal)
    for red, green, blue in kseg("inspect", store, "--json").json()["model"]["colors"]:
        assert f"{BLOCK}{red};{green};{blue}m    \x1b[0m  #{red:02x}{green:02x}{blue:02x}" in seen
    assert "█" in seen


def test_run_ends_with_the_same(small_folder: Path, tmp_path: Path, terminal: dict[str, str]) -> None:
    seen = seen_on_a_terminal(["run", str(small_folder), "--k", "2", "-o", str(tmp_path / "out.zarr")], terminal)
    assert seen.count(BLOCK) == 2


@pytest.mark.parametrize("change", [{"NO_COLOR": "1"}, {"TERM": "dumb", "COLORTERM": ""}], ids=["no_color", "dumb"])
def test_no_colours_where_they_are_not_wanted(change: dict[str, str], store: Path, terminal: dict[str, str]) -> None:
    seen = seen_on_a_terminal(["inspect", str(store)], {**terminal, **change})
    assert "\x1b" not in seen
    assert "#" in seen


def test_json_on_a_terminal_is_json(store: Path, terminal: dict[str, str], parse_json: Any) -> None:
    seen = seen_on_a_terminal(["inspect", str(store), "--json"], terminal)
    assert parse_json(seen.replace("\r\n", "\n"))["status"] == "complete"


@pytest.fixture(scope="module")
def each_its_own(tmp_path_factory: pytest.TempPathFactory, small_folder: Path, png: Any) -> Path:
    """A folder of 24 images, one of them without a valid pixel."""
    folder = tmp_path_factory.mktemp("each") / "in"
    shutil.copytree(small_folder, folder)
    for number in range(20):
        picture = np.random.default_rng(number).integers(0, 255, (8, 9, 3)).astype(np.uint8)
        png(folder / f"n-{number:02d}.png", picture)
    png(folder / "d.png", np.zeros((4, 5, 4), np.uint8))
    return folder


def test_palettes_of_images_that_have_each_its_own_are_listed(each_its_own: Path, tmp_path: Path, kseg: Any) -> None:
    line = ("run", each_its_own, "--scope", "image", "-k", "5", "--attempts", "1", "-o", tmp_path / "s.zarr")
    first = kseg(*line)
    assert first.code in (0, 3), first.err
    again, inspected = kseg(*line).out, kseg("inspect", tmp_path / "s.zarr").out
    told = kseg("inspect", tmp_path / "s.zarr", "--json").json()["images"]
    assert len(told) > 21
    for out in (first.out, again, inspected):
        assert f"  … and {len(told) - 20} more images (" in out
        lines = [line.rstrip() for line in out.splitlines()]
        assert max(len(line.partition("  ← ")[0]) for line in lines if line.startswith("  ")) <= 80
        for image in told[:20]:
            if image["colors"] is None:
                assert any(line.startswith(f"  {image['key']}  ") and "no valid pixel" in line for line in lines)
                continue
            (at,) = [number for number, line in enumerate(lines) if line.startswith(f"  {image['key']}  ")]
            assert f"k {len(image['colors'])}, " in lines[at]
            pairs = zip(image["colors"], image["counts"], strict=True)
            total = sum(image["counts"]) or 1
            cells = [f"#{r:02x}{g:02x}{b:02x} {count / total:6.1%}" for (r, g, b), count in pairs]
            assert "  ".join([lines[at + 1].strip(), lines[at + 2].strip()][: 1 + (len(cells) > 4)]) == "  ".join(cells)


def test_colours_of_all_images_are_in_the_json_of_inspect_where_each_has_its_own(store: Path, kseg: Any) -> None:
    assert [image["colors"] for image in kseg("inspect", store, "--json").json()["images"]] == [None] * 3


def test_many_colours_of_an_image_are_cut(small_folder: Path, tmp_path: Path, kseg: Any) -> None:
    out = kseg(
        "run", small_folder / "a.png", "--scope", "image", "-k", "40", "--attempts", "1", "-o", tmp_path / "s"
    ).out
    assert "    … and 28 more colours" in out.splitlines()
    assert out.count("#") == 12


def test_a_terminal_shows_a_block_beside_each_colour_of_each_image(
    small_folder: Path, tmp_path: Path, terminal: dict[str, str]
) -> None:
    line = ["run", str(small_folder), "--scope", "image", "--k", "4", "-o", str(tmp_path / "s.zarr")]
    seen = seen_on_a_terminal(line, terminal)
    assert seen.count(BLOCK) == 3 * 4
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    assert max(len(line) for line in plain.splitlines() if "#" in line) <= 80


def test_pipes_have_plain_text(store: Path, kseg: Any, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done = program("inspect", store, env={**os.environ, "FORCE_COLOR": "1"})
    assert "\x1b" not in done.stdout
    assert done.stdout == kseg("inspect", store).out


def test_inspect_writes_the_table_and_says_where(store: Path, tmp_path: Path, kseg: Any) -> None:
    table = tmp_path / "regions.csv"
    done = kseg("inspect", store, "--table", table)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f"→ {table}\n")
    assert len(table.read_text().splitlines()) == 1 + 3 * 3
    again = kseg("inspect", store, "--table", table)
    assert (again.code, again.out) == (1, "")
    assert "--overwrite" in again.err
    told = kseg("inspect", store, "--table", table, "--overwrite", "--scheduler", "sync", "--json").json()
    assert told["table"] == str(table)
    assert "table" not in kseg("inspect", store, "--json").json()


def test_confidence_is_an_option_of_run_and_apply(small_folder: Path, tmp_path: Path, store: Path, kseg: Any) -> None:
    done = kseg("run", small_folder, "--k", "2", "--confidence", "-o", tmp_path / "run.zarr", "--scheduler", "sync")
    assert done.code == 0
    done = kseg("apply", small_folder, "--model", store, "--confidence", "-o", tmp_path / "apply.zarr")
    assert done.code == 0
    for name in ("run", "apply"):
        images = kseg("inspect", tmp_path / f"{name}.zarr", "--json").json()["images"]
        assert [image["confidence"] for image in images] == [f"images/{k}.png/confidence" for k in "abc"]
