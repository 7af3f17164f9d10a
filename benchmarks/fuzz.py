"""Two thousand malformed files among good ones: python benchmarks/fuzz.py [--files 2000] [--data FOLDER]

``kseg-batch apply`` in a process of its own over a folder of sound and damaged files. Told are: how it ended, the time,
the most memory it held, whether every good image has the labels that it has without bad neighbours, and which damaged
files were labelled although Pillow or tifffile refuses them. ``--data`` names the folder that holds ``broken/``.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import tifffile
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))  # the damage is that of the tests

from kseg_core import open_store
from tests.fuzzing import damaged_files, sound_files, write_damaged_zarr, write_sound_zarr

LARGE_SIDE = 2200  # read by windows: above four megapixels
ZARR_SHARE, LARGE_SHARE = 10, 40  # one in so many


def build(folder: Path, files: int, seed: int, data: Path | None) -> tuple[int, int]:
    """Write sound and damaged files; returns how many of each."""
    good, bad = folder / "good", folder / "bad"
    good.mkdir(parents=True)
    bad.mkdir()
    sound = sound_files(seed=seed)
    for name, content in sound.items():
        (good / name).write_bytes(content)
    write_sound_zarr(good / "ome.zarr", seed)
    large = {f"large-{n}": c for n, c in sound_files(LARGE_SIDE, LARGE_SIDE, seed).items() if n.endswith("tiles.tif")}
    for name, content in large.items():
        (good / name).write_bytes(content)
    random = np.random.default_rng(seed)
    for i in range(files // ZARR_SHARE):
        write_damaged_zarr(good / "ome.zarr", bad / f"{i:05d}.zarr", random)
    for name, content in damaged_files(large, files // LARGE_SHARE, seed):
        (bad / name).write_bytes(content)
    for path in sorted((data / "broken").iterdir()) if data is not None else ():
        shutil.copy(path, bad / f"broken-{path.name}")
    left = files - len(list(bad.iterdir()))
    for name, content in damaged_files(sound, left, seed + 1):
        (bad / name).write_bytes(content)
    return len(list(good.iterdir())), len(list(bad.iterdir()))


def run(arguments: list[str]) -> tuple[int, str, str, float, int]:
    """Exit code, stdout, stderr, seconds, most bytes held."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    peak = [0]

    def watch() -> None:
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                peak[0] = max(peak[0], seen.memory_info().rss)
            except psutil.NoSuchProcess:
                return
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, err = process.communicate()
    watcher.join()
    return process.returncode, out, err, time.perf_counter() - begin, peak[0]


def refused_elsewhere(path: Path) -> str | None:
    """Why Pillow or tifffile refuses a file; None where they take it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix == ".tif":
                tifffile.imread(path, key=0)
            else:
                with Image.open(path) as image:
                    image.load()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    parser.add_argument("--memory", help="what the job may take, as its own option says it")
    options = parser.parse_args()
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # the judge's own remarks are not ours
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        good, bad = build(folder / "in", options.files, options.seed, options.data)
        fit = [
            "fit",
            str(folder / "in/good"),
            "--k",
            "5",
            "--features",
            "rgb",
            "-o",
            str(folder / "model.zarr"),
            "--json",
        ]
        code, _, err, _, _ = run(fit)
        assert code == 0, err
        memory = [] if options.memory is None else ["--memory", options.memory]
        label = ["--model", str(folder / "model.zarr"), "--json", *memory]
        code, _, err, _, alone = run(["apply", str(folder / "in/good"), "-o", str(folder / "alone.zarr"), *label])
        assert code == 0, err
        code, out, err, seconds, peak = run(["apply", str(folder / "in"), "-o", str(folder / "all.zarr"), *label])
        print(f"{good} good and {bad} bad files: exit {code} in {seconds:.1f} s, {peak / 1e6:.0f} MB held at most")
        print(
            f"(the good ones alone: {alone / 1e6:.0f} MB); "
            f"{len(err.splitlines())} lines on stderr: {err[:500] or 'none'}"
        )
        told = json.loads(out)
        print("images", told["images"])
        stores = open_store(str(folder / "alone.zarr")), open_store(str(folder / "all.zarr"))
        before, after = ({Path(image.source).name: image for image in store.values()} for store in stores)
        lost = [name for name in before if name not in after]
        changed = [n for n in before if n in after and (before[n].labels[...] != after[n].labels[...]).any()]
        print(f"good images lost: {lost or 'none'}; with other labels: {changed or 'none'}")
        bad_labelled = [folder / "in/bad" / name for name in sorted(after) if name not in before]
        doubtful = {path.name: why for path in bad_labelled if path.is_file() and (why := refused_elsewhere(path))}
        print(f"damaged files labelled: {len(bad_labelled)}; of them refused by Pillow or tifffile: {len(doubtful)}")
        for name, why in doubtful.items():
            print(f"  {name}: {why}")
        kinds = Counter(" ".join(failure["reason"].split()[:3]) for failure in told["failures"])
        for reason, number in kinds.most_common(25):
            print(f"{number:6d}  {reason}")


if __name__ == "__main__":
    main()
