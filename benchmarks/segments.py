"""How fast are segments?  Ours beside those of scikit-image, and OpenCV's mean shift, in one run.

    python benchmarks/segments.py WHERE [WHERE...] [--most 10] [--repeat 3] [--native 5000]

Each WHERE, a folder or a picture, is a table: milliseconds of one core a picture (processor time, so that other work on
the machine matters little) and megapixels a second, as the median over rounds in which every method takes its turn.
Ours is the whole hierarchy (contours) and one level cut from it. ``felzenszwalb`` and ``slic`` give one segmentation,
``pyrMeanShiftFiltering`` a smoothed picture whose parts are still to be labelled. Reading files is no part of it. Last,
the pictures side by side, repeated to a square of --native pixels a side, are segmented pixel by pixel, as slides and
rasters are (0: not).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from skimage.segmentation import felzenszwalb, slic

from kseg_core.segment_settings import SegmentSettings
from kseg_core.segments.cutting import cut_window
from kseg_core.segments.lifting import factor_of
from kseg_core.segments.whole import contours_of

Picture = NDArray[np.uint8]

MEAN_SHIFT = (16, 24)  # radii in pixels and in levels


def ours(picture: Picture, *, native: bool = False) -> Any:
    """Contours, and the parts of the level in the middle."""
    height, width = picture.shape[:2]
    factor = 1 if native else factor_of((height, width))
    contours = contours_of(picture, None, of_bands=False, factor=factor)
    return cut_window(contours, SegmentSettings().most)


METHODS: dict[str, Callable[[Picture], Any]] = {
    "kseg-batch segments": ours,
    "skimage felzenszwalb (scale 300)": lambda picture: felzenszwalb(picture, scale=300),
    "skimage slic (200 segments)": lambda picture: slic(picture, n_segments=200),
    "OpenCV pyrMeanShiftFiltering": lambda picture: cv2.pyrMeanShiftFiltering(picture, *MEAN_SHIFT),
}


def pictures_of(where: Path, most: int) -> list[Picture]:
    """The first pictures of a folder, or one picture."""
    found: list[Picture] = []
    for file in [where] if where.is_file() else sorted(where.iterdir()):
        if len(found) == most:
            break
        try:
            found.append(np.asarray(Image.open(file).convert("RGB")))
        except (UnidentifiedImageError, IsADirectoryError):
            continue
    if not found:
        raise SystemExit(f"no pictures in {where}")
    return found


def seconds_of(method: Callable[[Picture], Any], pictures: list[Picture]) -> float:
    began = time.process_time()
    for picture in pictures:
        method(picture)
    return time.process_time() - began


def compare(where: Path, pictures: list[Picture], repeat: int) -> None:
    """Print a table of all methods on the same pictures."""
    megapixels = sum(picture.shape[0] * picture.shape[1] for picture in pictures) / 1e6
    spent: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(repeat):
        for name, method in METHODS.items():
            spent[name].append(seconds_of(method, pictures))
    print(f"\n{where.name}: {len(pictures)} pictures, {megapixels / len(pictures):.2f} MP each")
    print("| | ms a picture | MP/s | times ours |\n|---|---|---|---|")
    least = statistics.median(spent["kseg-batch segments"])
    for name, each in spent.items():
        seconds = statistics.median(each)
        print(
            f"| {name} | {1000 * seconds / len(pictures):,.0f} | {megapixels / seconds:.2f} | {seconds / least:.1f} |",
            flush=True,
        )


def pave(pictures: list[Picture], side: int) -> Picture:
    """A square of pictures side by side."""
    height, width = (min(picture.shape[axis] for picture in pictures) for axis in range(2))
    row = np.concatenate([picture[:height, :width] for picture in pictures], axis=1)
    times = -(-side // row.shape[1])
    # each row of pictures begins elsewhere, so that no picture is below itself
    rows = [np.roll(row, -i * width, axis=1) for i in range(-(-side // height))]
    return np.ascontiguousarray(np.tile(np.concatenate(rows), (1, times, 1))[:side, :side])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("where", type=Path, nargs="+")
    parser.add_argument("--most", type=int, default=10, help="pictures of each folder")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--native", type=int, default=5000, help="side of the square that is segmented pixel by pixel")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    groups = [(where, pictures_of(where, options.most)) for where in options.where]
    for name, method in METHODS.items():  # what is compiled or imported at a first call
        seconds_of(method, [groups[0][1][0][:64, :64]])
        print(f"warm: {name}", flush=True)
    for where, pictures in groups:
        compare(where, pictures, options.repeat)
    if options.native:
        large = pave(groups[0][1], options.native)
        seconds = seconds_of(lambda picture: ours(picture, native=True), [large])
        megapixels = options.native**2 / 1e6
        print(
            f"\npixel by pixel, {options.native} x {options.native}: {seconds:.1f} s, {megapixels / seconds:.2f} MP/s"
        )


if __name__ == "__main__":
    main()
