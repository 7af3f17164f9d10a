"""Is every optimum as good as OpenCV's?  ``kseg-batch run --scope image`` against ``cv2.kmeans``, image by image.

    python benchmarks/opencv_kmeans.py FOLDER [--k 3 5 7] [--attempts 10] [--iterations 100] [--epsilon 0.2]

Every image is clustered alone, in RGB, by both: by ``cv2.kmeans`` with the criteria above, once from k-means++
centres and once from random ones, each the best of --attempts; by ``kseg-batch`` at default settings. Both answers are
judged by the same few lines of float64 arithmetic over all pixels: OpenCV's centres, with every pixel at its nearest,
and the store's labels with the centroids stored beside them. The compactness that ``cv2.kmeans`` returns is summed from
float32 distances, so it is compared with a tolerance of 1e-6. The images are read with Pillow.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kseg_core import open_store

SUFFIXES = {".jpg", ".jpeg", ".png"}
STARTS = {"k-means++": cv2.KMEANS_PP_CENTERS, "random": cv2.KMEANS_RANDOM_CENTERS}
ROUNDING = 1e-6  # relative: of the compactness that OpenCV tells
EQUAL = 1e-9  # two answers this near to each other, relatively, are one and the same partition


def inertia_of(pixels: NDArray[np.uint8], centres: NDArray[np.float64], labels: NDArray[Any] | None) -> float:
    """Sum of squared distances of pixels (n, 3) to the centres of their labels, or to the nearest."""
    total = 0.0
    for at in range(0, len(pixels), 1 << 18):
        block = pixels[at : at + (1 << 18)].astype(np.float64)
        if labels is None:
            total += float(((block[:, None] - centres[None]) ** 2).sum(-1).min(1).sum())
        else:
            total += float(((block - centres[labels[at : at + (1 << 18)]]) ** 2).sum())
    return total


def opencv(pixels: NDArray[np.uint8], k: int, start: str, options: argparse.Namespace) -> tuple[float, float, float]:
    """Inertia of OpenCV's centres, its own compactness, and seconds."""
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, options.iterations, options.epsilon)
    cv2.setRNGSeed(0)
    began = time.perf_counter()
    compactness, _, centres = cv2.kmeans(pixels.astype(np.float32), k, None, criteria, options.attempts, STARTS[start])
    seconds = time.perf_counter() - began
    return inertia_of(pixels, centres.astype(np.float64), None), compactness, seconds


def ours(folder: Path, k: int, scratch: Path) -> tuple[Path, float]:
    """A store of every image on its own, and the seconds of the whole command."""
    output = scratch / f"{k}.zarr"
    began = time.perf_counter()
    command = [sys.executable, "-m", "jobs", "run", str(folder), "--k", str(k), "--scope", "image"]
    subprocess.run([*command, "--no-masks", "-o", str(output)], check=True, capture_output=True)
    return output, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--k", nargs="+", type=int, default=[3, 5, 7])
    parser.add_argument("--attempts", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--epsilon", type=float, default=0.2)
    options = parser.parse_args()
    files = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    gains: dict[tuple[int, str], list[float]] = defaultdict(list)
    spent: dict[tuple[int, str], float] = defaultdict(float)
    above_compactness = 0
    commands = {}
    with tempfile.TemporaryDirectory() as scratch:
        for k in options.k:
            path, commands[k] = ours(options.folder, k, Path(scratch))
            images = {Path(image.source).name: image for image in open_store(str(path)).values()}
            for file in files:
                pixels = np.asarray(Image.open(file).convert("RGB")).reshape(-1, 3)
                image = images[file.name]
                assert image.model is not None
                labels = np.asarray(image.labels[...]).ravel()
                found = inertia_of(pixels, image.model.centroids, labels)
                line = f"{file.name} k={k} ours {found:.1f}"
                for start in STARTS:
                    theirs, compactness, seconds = opencv(pixels, k, start, options)
                    gains[k, start].append(theirs / found - 1)
                    spent[k, start] += seconds
                    above_compactness += found > compactness * (1 + ROUNDING)
                    line += f"  {start} {theirs:.1f} ({gains[k, start][-1]:+.2e}, {seconds:.1f} s)"
                print(line, file=sys.stderr, flush=True)
    print("| k | OpenCV from | images | equal | ours less | ours more | least gain | median gain | largest gain |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (k, start), each in gains.items():
        gain = np.array(each)
        print(
            f"| {k} | {start} | {len(gain)} | {int((abs(gain) <= EQUAL).sum())} | {int((gain > EQUAL).sum())} "
            f"| {int((gain < -EQUAL).sum())} | {gain.min():.2e} | {np.median(gain):.2e} | {gain.max():.2e} |"
        )
    compared = sum(map(len, gains.values()))
    print(f"ours above the compactness OpenCV tells, by more than {ROUNDING}: {above_compactness} of {compared}")
    for k in options.k:
        opencv_seconds = ", ".join(f"{start} {spent[k, start]:.0f} s" for start in STARTS)
        print(f"k = {k}: OpenCV {opencv_seconds}; kseg-batch, reading and writing included, {commands[k]:.0f} s")


if __name__ == "__main__":
    main()
