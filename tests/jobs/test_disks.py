"""Full disks, and such as may not be written: a message, an exit code, a store that the same command completes."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core.errors import KsegError

Kseg = Callable[..., Any]
SIZE = 16 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MB; tests that want one are skipped where none may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def noisy(tmp_path: Path, png: Any) -> Path:
    """Pictures of few colours whose labels hardly compress."""
    random = np.random.default_rng(1)
    for i in range(4):
        png(tmp_path / f"in/{i}.png", 85 * random.integers(0, 4, (400, 500, 3), np.uint8))
    return tmp_path / "in"


def fill(disk: Path, left: int) -> Path:
    """Take all room but so many bytes."""
    free = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - left)))
    return disk / "filler"


class FillsUp:
    """A neighbour who fills the disk as labelling begins."""

    def __init__(self, disk: Path, left: int) -> None:
        self.disk, self.left = disk, left

    def stage(self, name: str, images: int, pixels: int) -> None:
        if name == "labelling":
            fill(self.disk, self.left)

    def advance(self, images: int, pixels: int) -> None:
        pass


@pytest.mark.parametrize(
    ("scheduler", "left"),
    [
        ("sync", 150_000),
        ("threads", 0),
        pytest.param("sync", 0, marks=pytest.mark.slow),
        pytest.param("threads", 150_000, marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_fills_up_is_told_and_the_same_command_completes_the_store(
    scheduler: str, left: int, small_disk: Path, noisy: Path, tmp_path: Path, job: Any, contents: Any
) -> None:
    job(noisy, tmp_path / "whole.zarr", scheduler=scheduler, attempts=1)
    with pytest.raises(KsegError, match="No space left on device"):
        job(noisy, small_disk / "out.zarr", scheduler=scheduler, attempts=1, progress=FillsUp(small_disk, left))
    (small_disk / "filler").unlink()
    job(noisy, small_disk / "out.zarr", scheduler=scheduler, attempts=1)
    assert contents(small_disk / "out.zarr") == contents(tmp_path / "whole.zarr")


def test_a_disk_too_small_is_refused_before_anything_is_written(small_disk: Path, noisy: Path, kseg: Kseg) -> None:
    fill(small_disk, 20_000)
    outcome = kseg("run", noisy, "--k", "3", "-o", small_disk / "out.zarr")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert "are free on its disk" in outcome.err or "No space left on device" in outcome.err
    assert sorted(os.listdir(small_disk)) == ["filler"]


@pytest.mark.parametrize("line", ["run in --k 2 -o disk/out.zarr", "fit in --k 2 -o disk/m.zarr"])
def test_a_disk_that_may_not_be_written_is_told_in_a_line(
    line: str, small_disk: Path, noisy: Path, tmp_path: Path, kseg: Kseg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    outcome = kseg(*line.split())
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert "ead-only file system" in outcome.err
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert kseg(*line.split()).code == 0


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "line",
    [
        "export s.zarr --to disk/out",
        "report s.zarr --to disk/out",
        "edges in -o disk/e.zarr",
        "sweep in -o disk/s --k-range 1:3 --attempts 1",
    ],
)
def test_the_other_commands_tell_of_it_too(
    line: str, small_disk: Path, noisy: Path, tmp_path: Path, kseg: Kseg, job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job(noisy, Path("s.zarr"), k=2)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    outcome = kseg(*line.split())
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert "ead-only file system" in outcome.err
    assert "unexpected" not in outcome.err


@pytest.mark.slow
def test_a_file_larger_than_allowed_is_told(noisy: Path, tmp_path: Path, program: Any, kseg: Kseg) -> None:
    """A quota, as far as one can be had without a disk: no file may be larger than some bytes."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    line = ["run", noisy, "--k", "3", "-o", tmp_path / "out.zarr"]
    assert program(*line[:-1], tmp_path / "first.zarr").returncode == 0  # kernels are kept in files as well
    done = program(*line, preexec_fn=limited)
    assert (done.returncode, done.stdout) == (1, "")
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    whole = kseg(*line)
    assert (whole.code, whole.err) == (0, "")
    assert kseg("check", tmp_path / "out.zarr").code == 0


def test_an_output_that_goes_away_while_it_is_written_is_told(noisy: Path, tmp_path: Path, job: Any) -> None:
    class GoesAway:
        def stage(self, name: str, images: int, pixels: int) -> None:
            if name == "labelling":
                shutil.rmtree(tmp_path / "out.zarr")

        def advance(self, images: int, pixels: int) -> None:
            pass

    with pytest.raises(KsegError, match=r"out\.zarr"):
        job(noisy, tmp_path / "out.zarr", progress=GoesAway())
