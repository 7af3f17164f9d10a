"""Jobs killed at random moments and given again, many times: is every store that of an undisturbed run?

    python benchmarks/kills.py [--kills 50] [--seed 0]

Every kind of job is made once without a stop. Then it is started, killed with all its processes at a random moment of
its work, and given again, until so many were killed (some end before). The store must be equal bit for bit (times and
durations apart), no file of finished work may have been written again, and nothing may be left beside it. Prints a
table; ends with 1 if any of that is not so.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the harness is that of the tests

from tests.conftest import store_contents
from tests.killing import Job, files_below, folder_of_pictures, folder_of_tiled

RUN = ("--k", "4", "--attempts", "3", "--workers", "2")
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "folder, threads": ("folder", ("run", *RUN, "--scheduler", "threads")),
    "folder, processes": ("folder", ("run", *RUN, "--scheduler", "processes")),
    "tiled, threads": ("tiled", ("run", *RUN, "--scheduler", "threads")),
    "tiled, processes": ("tiled", ("run", *RUN, "--scheduler", "processes")),
    "folder, own models": ("folder", ("run", *RUN, "--scope", "image")),
    "folder, edges, copies": ("folder", ("run", *RUN, "--edges", "100,200", "--copy-image", "--confidence")),
    "tiled, bands streamed": ("bands", ("run", *RUN, "--features", "bands", "--normalize", "standard")),
}
INPUTS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda path: folder_of_pictures(path, 24),
    "tiled": lambda path: folder_of_tiled(path, 3),
    "bands": lambda path: folder_of_tiled(path, 2, "float32"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    bad = killed_jobs = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        here = Path(folder)
        inputs = {name: make(here / name) for name, make in INPUTS.items()}
        whole: dict[str, tuple[Path, float]] = {}
        print(f"{'kind':24} {'killed at':>10} {'kept':>5} {'pieces':>7} {'images':>7} {'reused':>7}  store", flush=True)
        for i in count():
            if killed_jobs == asked.kills:
                break
            kind = list(KINDS)[i % len(KINDS)]
            source, arguments = KINDS[kind]
            command = [arguments[0], inputs[source], *arguments[1:]]
            if kind not in whole:
                reference = here / f"whole-{len(whole)}.zarr"
                Job(command, here / f"first-{len(whole)}.zarr", environment).run()  # it may have to compile kernels
                whole[kind] = (reference, Job(command, reference, environment).run()[1])
            reference, seconds = whole[kind]
            place = here / f"out-{i}"
            place.mkdir()
            moment = draw.random() * seconds
            found = Job(command, place / "out.zarr", environment).killed_and_resumed(moment)
            problems = []
            if store_contents(place / "out.zarr") != store_contents(reference):
                problems.append("other bits")
            if files_below(place / "out.zarr") != files_below(reference):
                problems.append("other files")
            if found.touched:
                problems.append(f"{len(found.touched)} files of finished work written again: {found.touched[0]}")
            if [path.name for path in place.iterdir()] != ["out.zarr"]:
                problems.append("something left beside it")
            bad += bool(problems)
            killed_jobs += found.moment is not None
            at = "ended" if found.moment is None else f"{found.moment:.2f} s"
            print(
                f"{kind:24} {at:>10} {found.kept:5} {found.pieces:7} {found.images:7} {found.reused:7}  "
                f"{'; '.join(problems) or 'equal'}",
                flush=True,
            )
            shutil.rmtree(place)
    print(f"{i} jobs, {killed_jobs} killed at work; {bad} not as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
