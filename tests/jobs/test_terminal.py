"""What a person sees: progress, palettes with their colours, and plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs._logging import log_to_stderr
from jobs._progress import Bar, LoggedStages
from jobs.main import run_command
from kseg_core.kernels import compiling

# -------------------------------------------------------------------------------------- bars, and lines instead


def read_to_end(file: int) -> str:
    """All that is written to a terminal."""
    seen = b""
    with contextlib.suppress(OSError):  # Linux says so when the other end is closed
        while piece := os.read(file, 4096):
            seen += piece
    os.close(file)
    return seen.decode()


@pytest.fixture
def on_a_terminal(kseg: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Run a command in this process with stdout or stderr on a terminal: its exit code, and all that is seen there."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)

    def run(stream: str, *arguments: str | Path) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.append(read_to_end(ours)))
        reader.start()
        with monkeypatch.context() as patch, open(theirs, "w", encoding="utf-8") as terminal:
            patch.setattr(sys, stream, terminal)
            code = run_command([str(argument) for argument in arguments])
        reader.join()
        return code, seen[0]

    return run


def test_a_process_shows_its_progress_on_a_terminal(
    here: Path, program_environment: dict[str, str], parse_json: Any
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", "run", "in", "--k", "2", "-o", "out.zarr", "--json"],
        env={**program_environment, "TERM": "xterm-256color"}, stdout=subprocess.PIPE, stderr=theirs, text=True,
    )  # fmt: skip
    os.close(theirs)
    seen = read_to_end(ours)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert parse_json(out)["images"]["labelled"] == 3
    assert "labelling" in seen
    assert "3/3 images" in seen
    assert "Traceback" not in seen


def test_an_error_on_a_terminal_is_one_line_after_the_progress_has_gone(here: Path, on_a_terminal: Any) -> None:
    whole = Path("in/a.png").read_bytes()
    Path("a.png").write_bytes(whole[: len(whole) // 2])
    code, seen = on_a_terminal("stderr", "run", "a.png", "--k", "2", "-o", "out.zarr")
    assert code == 1
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.rstrip("\r\n").rpartition("\n")[2])
    assert re.search(r"kseg-batch: .*a\.png: truncated", last)


def test_the_progress_is_one_line_of_80_columns_that_tells_of_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs._progress.compiling", lambda: True)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setenv("COLUMNS", "80")
    bar = Bar()
    bar._progress.console.width = 80
    for name, images, pixels in [("finding centroids", 0, 0), ("looking at headers", 24, 0), ("labelling", 24, 10**8)]:
        bar.stage(name, images, pixels)
        bar.advance(min(images, 12), pixels // 2)
        with bar._progress.console.capture() as seen:
            bar._progress.console.print(bar._progress.get_renderable())
        line = seen.get().rstrip("\n")
        assert f"{name}, compiling, this once" in line
        assert f"12/{images} images" in line or not images
        assert "\n" not in line.rstrip()
    bar.close()


def test_no_kernel_is_compiled_before_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "kseg_core.kernels._jit", raising=False)
    assert not compiling()
    kernels: Any = type(sys)("_jit")
    monkeypatch.setitem(sys.modules, "kseg_core.kernels._jit", kernels)
    for names in (["x"], []):
        kernels.compiling = names
        assert compiling() == bool(names)


@pytest.fixture
def long_stages() -> Iterator[LoggedStages]:
    """For which no stage is short."""
    stages = LoggedStages(0.01)
    yield stages
    stages.close()


def told_of(seen: Callable[[], str]) -> str:
    """What is written, when it is."""
    for _ in range(1000):
        if text := seen():
            return text
        time.sleep(0.01)
    pytest.fail("nothing was told")


def test_a_stage_that_takes_long_is_told_of_in_one_line(
    long_stages: LoggedStages, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr("warning", "text")
    long_stages.stage("labelling", 24, 400)
    long_stages.advance(6, 100)
    assert told_of(lambda: capsys.readouterr().err) == "labelling: 6 of 24 images, 25%, 0.01 s so far\n"
    long_stages.stage("finding centroids", 0, 0)
    assert told_of(lambda: capsys.readouterr().err) == "finding centroids: 0.01 s so far\n"
    time.sleep(0.05)
    assert capsys.readouterr().err == ""  # once


def test_a_log_of_json_tells_of_it_in_its_form(long_stages: LoggedStages, capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", "json")
    long_stages.stage("labelling", 24, 400)
    long_stages.advance(6, 100)
    lines = []
    while len(lines) < 2:
        lines += told_of(lambda: capsys.readouterr().err).splitlines()
    told = json.loads(lines[1])
    assert (told["level"], told["stage"], told["images"], told["images_done"]) == ("info", "labelling", 24, 6)
    assert (told["share"], told["seconds"]) == (0.25, 0.01)


def test_a_job_of_long_stages_tells_of_each_once_and_its_result_is_the_same(here: Path, kseg: Any) -> None:
    done = kseg("run in -k 2 -o s.zarr --tell-after 0.000001 --json")
    assert done.json()["status"] == "ok"
    told = [line.partition(":")[0] for line in done.err.splitlines()]
    assert told
    assert len(told) == len(set(told))
    assert all(line.endswith((", 1e-06 s so far", ": 1e-06 s so far")) for line in done.err.splitlines())


@pytest.mark.parametrize("level", ["error", "warning"])
def test_nothing_is_told_of_a_stage_that_has_ended_nor_where_only_errors_are_wanted(
    level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr(level, "text")
    stages = LoggedStages(0.05 if level == "error" else 3600.0)
    stages.stage("labelling", 24, 400)
    timer = stages._timer
    assert timer is not None
    assert timer.daemon
    if level == "error":
        timer.join(60)
    stages.close()
    timer.join(60)
    assert not timer.is_alive()
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------------------------------------- palettes

BLOCK = "\x1b[48;2;"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, small_folder: Path, job: Any) -> Path:
    path = tmp_path_factory.mktemp("palette") / "out.zarr"
    job(small_folder, path, k=3)
    return path


def test_a_terminal_shows_a_block_of_every_cluster_s_colour(
    store: Path, here: Path, on_a_terminal: Any, kseg: Any
) -> None:
    _, seen = on_a_terminal("stdout", "inspect", store)
    for red, green, blue in kseg("inspect", store, "--json").json()["model"]["colors"]:
        assert f"{BLOCK}{red};{green};{blue}m    \x1b[0m  #{red:02x}{green:02x}{blue:02x}" in seen
    assert "█" in seen
    assert on_a_terminal("stdout", "run", "in", "--k", "2", "-o", "out.zarr")[1].count(BLOCK) == 2
    seen = on_a_terminal("stdout", "run", "in", "--scope", "image", "--k", "4", "-o", "each.zarr")[1]
    assert seen.count(BLOCK) == 3 * 4
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    assert max(len(line) for line in plain.splitlines() if "#" in line) <= 80


@pytest.mark.parametrize("change", [{"NO_COLOR": "1"}, {"TERM": "dumb", "COLORTERM": ""}], ids=["no_color", "dumb"])
def test_no_colours_where_they_are_not_wanted(
    change: dict[str, str], store: Path, on_a_terminal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    code, seen = on_a_terminal("stdout", "inspect", store)
    assert (code, "\x1b" in seen, "#" in seen) == (0, False, True)


def test_json_on_a_terminal_is_json_and_pipes_have_plain_text(
    store: Path, on_a_terminal: Any, parse_json: Any, kseg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, seen = on_a_terminal("stdout", "inspect", store, "--json")
    assert parse_json(seen.replace("\r\n", "\n"))["status"] == "complete"
    plain = kseg("inspect", store).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert kseg("inspect", store).out == plain
    assert "\x1b" not in plain


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


def test_many_colours_of_an_image_are_cut(here: Path, kseg: Any) -> None:
    out = kseg("run", "in/a.png", "--scope", "image", "-k", "40", "--attempts", "1", "-o", "s").out
    assert "    … and 28 more colours" in out.splitlines()
    assert out.count("#") == 12
