"""Jobs that are killed at random moments and given again: the harness of its tests and of ``benchmarks/kills.py``."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

Stamp = tuple[int, int]  # inode and modification time: a file written anew has another of either


def folder_of_pictures(folder: Path, number: int = 10) -> Path:
    """Noisy gradients of different sizes: many tasks, none of them long."""
    folder.mkdir()
    for i in range(number):
        height, width = 300 + 30 * i, 800 - 20 * i
        y, x = np.mgrid[0:height, 0:width]
        noise = np.random.default_rng(i).normal(0, 9, (height, width, 3))
        picture = np.stack([y / height * 200 + 5 * i, x / width * 220, (x + y) % 251], axis=2) + noise
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"p{i:02}.png", compress_level=1)
    return folder


def folder_of_tiled(folder: Path, number: int = 2, dtype: str = "uint8", side: int = 3300) -> Path:
    """Tiled pictures of four pieces each."""
    folder.mkdir()
    y, x = np.mgrid[0:side, 0 : side - 100]
    for i in range(number):
        noise = np.random.default_rng(i).integers(0, 40, y.shape, np.int16)
        bands = [(y // (9 + i)) % 200 + noise, (x // 15) % 190 + noise, ((x + y) // 31) % 210 + noise // 2]
        picture = np.stack(bands, axis=2).astype(dtype)
        tifffile.imwrite(folder / f"t{i}.tif", picture, tile=(256, 256), photometric="rgb")
    return folder


@dataclass(frozen=True, slots=True)
class Killed:
    """What one killed and resumed job came to.

    Parameters
    ----------
    moment
        Seconds from its start of work to the kill; None: it was faster.
    images, pieces, kept
        How many were finished when it was killed.
    reused
        Images that it said were there already.
    touched
        Files of finished work that were written again.
    images_total
        Of the resumed run.
    """

    moment: float | None
    images: int
    pieces: int
    kept: int
    reused: int
    touched: tuple[str, ...]


class Job:
    """One command line and its output."""

    def __init__(self, arguments: Sequence[str | Path], output: Path, environment: Mapping[str, str]) -> None:
        self.output = output
        self._command = [sys.executable, "-m", "jobs", *map(str, arguments), "-o", str(output), "--json"]
        self._environment = dict(environment)
        self._lock = output.parent / f".{output.name}.lock.json"

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        )

    def _started(self, process: subprocess.Popen[str], before: Stamp | None = None) -> float:
        """Wait until it works; returns when that was."""
        while process.poll() is None and stamp(self._lock) in (None, before):
            time.sleep(0.005)
        return time.monotonic()

    def run(self) -> tuple[dict[str, object], float]:
        """To its end, undisturbed: what it told and how long it worked."""
        process = self._start()
        began = self._started(process, stamp(self._lock))
        out, err = process.communicate(timeout=300)
        if process.returncode != 0:
            raise AssertionError(f"exit code {process.returncode}: {err}")
        told: dict[str, object] = json.loads(out)
        return told, time.monotonic() - began

    def kill_after(self, seconds: float) -> float | None:
        """Start it and kill it and all its processes; returns when, or None if it had ended by itself."""
        process = self._start()
        began = self._started(process, stamp(self._lock))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, began + seconds - time.monotonic()))
        ended = process.poll() is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None if ended else seconds

    def killed_and_resumed(self, seconds: float) -> Killed:
        """Kill it after so many seconds of work, and give the same command again."""
        moment = self.kill_after(seconds)
        images, pieces, kept = finished_images(self.output), finished_pieces(self.output), kept_files(self.output)
        told, _ = self.run()
        counted = told["images"]
        assert isinstance(counted, dict)
        finished = {**images, **pieces}
        touched = tuple(sorted(path for path, was in finished.items() if stamp(Path(path)) != was))
        heads = sum(path.endswith("zarr.json") and Path(path).parent.parent.name == "images" for path in images)
        return Killed(moment, heads, len(pieces), len(kept), int(counted["reused"]), touched)


def stamp(path: Path) -> Stamp | None:
    """Tells whether a file was written anew; None where it is not there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def finished_images(store: Path) -> dict[str, Stamp | None]:
    """Every file of every image that says it is complete."""
    found: dict[str, Stamp | None] = {}
    for folder in store.glob("images/*/"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if json.loads((folder / "zarr.json").read_bytes())["attributes"]["kseg"]["status"] == "complete":
                found |= {str(path): stamp(path) for path in folder.rglob("*") if path.is_file()}
    return found


def finished_pieces(store: Path, tile: int = 1024) -> dict[str, Stamp | None]:
    """The label chunks of every piece that is noted as written."""
    found: dict[str, Stamp | None] = {}
    for journal in store.glob("images/*/.pieces-*"):
        for line in journal.read_text().splitlines():
            with contextlib.suppress(ValueError):
                *_, top, left, height, width = json.loads(line)["piece"]
                for row in range(top // tile, -(-(top + height) // tile)):
                    for column in range(left // tile, -(-(left + width) // tile)):
                        path = journal.parent / f"labels/kmeans/0/c/{row}/{column}"
                        found[str(path)] = stamp(path)
    return found


def kept_files(output: Path) -> list[Path]:
    """What the fit has kept beside the output."""
    return list(output.parent.glob(f".{output.name}.resume/*/*.kept"))


def moments(number: int, seconds: float, seed: int) -> list[float]:
    """Random moments of a job's work, one in each of as many equal parts of it."""
    draw = random.Random(seed)
    return [seconds * (i + draw.random()) / number for i in range(number)]


Contents = Callable[[Path], dict[str, str]]


def files_below(store: Path) -> set[str]:
    """All names in a store: nothing half-written may be left in it."""
    return {str(path.relative_to(store)) for path in store.rglob("*")}
