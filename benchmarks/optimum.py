"""How good is the optimum?  kseg-batch against the best of 20 scikit-learn runs, on every pixel.

    python benchmarks/optimum.py FOLDER [FOLDER...] --k 5 16 [--seeds 10] [--cache reference.json]

For every folder and k it prints the best ``mse`` of 20 plain ``KMeans`` restarts (``n_init=1``,
seeds 0 to 19, ``tol=1e-6``, ``max_iter=1000``) weighted by the exact histogram of all colours,
the ``mse`` of ``kseg-batch fit`` at default settings, and the spread of the latter over its seeds.
The histogram is read with Pillow alone, so the reference shares no code with the program.
Needs scikit-learn (``pip install '.[test]'``).  ``--cache`` keeps the reference between calls: it takes minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SUFFIXES = {".jpg", ".jpeg", ".png"}
RESTARTS = 20


def histogram(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The distinct sRGB colours of every image in a folder, and how many pixels have each."""
    counts = np.zeros(1 << 24, np.int64)
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        rgb = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"), np.int64)
        counts += np.bincount(((rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]).ravel(), minlength=1 << 24)
    codes = np.flatnonzero(counts)
    colors = np.stack([codes >> 16, (codes >> 8) & 255, codes & 255], 1).astype(np.float64)
    return colors, counts[codes]


def exact_mse(colors: NDArray[np.float64], counts: NDArray[np.int64], centroids: NDArray[np.float64]) -> float:
    """Mean squared distance of every pixel to its nearest centroid, in squared 8-bit units."""
    total = 0.0
    for at in range(0, len(colors), 1 << 18):
        block = colors[at : at + (1 << 18)]
        nearest = ((block[:, None] - centroids[None]) ** 2).sum(-1).min(1)
        total += float(nearest @ counts[at : at + (1 << 18)])
    return total / float(counts.sum())


def scikit_learn_best(colors: NDArray[np.float64], counts: NDArray[np.int64], k: int) -> list[float]:
    """The mse of each of the plain restarts."""
    from sklearn.cluster import KMeans

    results = []
    for seed in range(RESTARTS):
        model = KMeans(k, n_init=1, random_state=seed, tol=1e-6, max_iter=1000)
        model.fit(colors, sample_weight=counts.astype(np.float64))
        results.append(exact_mse(colors, counts, model.cluster_centers_))
    return results


def ours(folder: Path, k: int, seed: int, scratch: Path) -> tuple[float, float]:
    """The mse and the seconds spent fitting, as ``kseg-batch fit --json`` tells them."""
    command = [sys.executable, "-m", "jobs", "fit", str(folder), "--k", str(k), "--seed", str(seed)]
    command += ["-o", str(scratch / f"{folder.name}-{k}-{seed}.zarr"), "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result = json.loads(output.splitlines()[-1])
    return float(result["mse"]), float(result["seconds"]["fit"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--k", nargs="+", type=int, default=[5, 16])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--reference-only", action="store_true")
    options = parser.parse_args()
    cache = json.loads(options.cache.read_text()) if options.cache and options.cache.exists() else {}
    print("| data | k | scikit-learn, best of 20 | kseg-batch, seed 0 | worst seed | spread | fit, s |", flush=True)
    print("|---|---|---|---|---|---|---|", flush=True)
    for folder in options.folders:
        loaded = None
        for k in options.k:
            name = f"{folder.name} {k}"
            if name not in cache:
                loaded = loaded or histogram(folder)
                cache[name] = scikit_learn_best(*loaded, k)
                if options.cache:
                    options.cache.write_text(json.dumps(cache, indent=1))
            best = min(cache[name])
            if options.reference_only:
                print(f"| {folder.name} | {k} | {best:.3f} | | | | |", flush=True)
                continue
            with tempfile.TemporaryDirectory() as scratch:
                runs = [ours(folder, k, seed, Path(scratch)) for seed in range(options.seeds)]
            mses = [mse for mse, _ in runs]
            spread = (max(mses) - min(mses)) / min(mses)
            print(
                f"| {folder.name} | {k} | {best:.3f} | {mses[0]:.3f} | {max(mses):.3f} "
                f"| {spread:.4%} | {np.median([s for _, s in runs]):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
