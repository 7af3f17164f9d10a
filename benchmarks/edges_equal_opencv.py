"""Are the edges those of OpenCV, on every pixel?  Whole images, in memory in windows, and stores made in pieces.

    python benchmarks/edges_equal_opencv.py PICTURE [PICTURE...] [--tiles 64 200 512] [--stores 4000000]

Every picture is compared with ``cv2.Canny`` on color and on gray, with three pairs of thresholds, L1 and L2, and with
apertures 5 and 7 and a blur; whole, cut into windows of every size, and as a tiled TIFF through ``kseg-batch edges``
with pieces of that size (pictures of more than --stores pixels in the largest size alone).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from kseg_core import open_store
from kseg_core.config import EdgesConfig, ExecutionSettings
from kseg_core.images import read_image
from kseg_core.layers.canny import EdgeSettings, Maxima, decide_across, decide_within, find_edges, find_maxima, promoted
from kseg_core.layers.tiles import tile_windows
from kseg_core.reading import sources
from workflows.layer_job import add_to_images as make_edges
from workflows.layer_request import prepare_layer
from workflows.request import InputSelection

Array = NDArray[Any]
PAIRS = ((50, 100), (100, 200), (150, 200))


def all_settings() -> Iterator[EdgeSettings]:
    for on in ("color", "gray"):
        for low, high in PAIRS:
            for l2 in (False, True):
                yield EdgeSettings(low, high, l2=l2, on=on)
        yield EdgeSettings(1500, 3000, 5, on=on)
        yield EdgeSettings(20_000, 40_000, 7, True, on=on)
        yield EdgeSettings(20, 60, blur=1.4, on=on)


def opencv(rgb: Array, how: EdgeSettings) -> Array:
    picture = np.asarray(Image.fromarray(rgb).convert("L")) if how.on == "gray" else rgb
    if how.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), how.blur)
    return cv2.Canny(picture, how.low, how.high, apertureSize=how.aperture, L2gradient=how.l2) > 0


def in_windows(rgb: Array, how: EdgeSettings, side: int) -> Array:
    """Cut, decided, joined: in memory."""
    height, width = rgb.shape[:2]
    places = list(tile_windows(height, width, side))
    found = []
    for rows, columns in places:
        y, x = max(0, rows.start - how.halo), max(0, columns.start - how.halo)
        maxima = find_maxima(rgb[y : rows.stop + how.halo, x : columns.stop + how.halo], None, how)
        inner = (slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x))
        found.append(decide_within(Maxima(*(np.ascontiguousarray(part[inner]) for part in maxima))))
    whole = np.zeros((height, width), bool)
    seeds = decide_across([part.border for part in found], -(-width // side))
    for part, place, chosen in zip(found, places, seeds, strict=True):
        whole[place] = part.edges | promoted(part.pending, chosen)
    return whole


def in_store(file: Path, how: EdgeSettings, side: int, folder: Path) -> Array:
    """Found by a job that works in pieces of this size."""
    output = folder / "edges.zarr"
    shutil.rmtree(output, ignore_errors=True)
    sources.PIECE_PX = side * side
    config = EdgesConfig(how, execution=ExecutionSettings("threads"), tile=side)
    make_edges(prepare_layer(InputSelection((str(file),)), config, str(output)))
    (image,) = open_store(str(output)).values()
    assert image.edges is not None
    return np.asarray(image.edges[...])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--tiles", type=int, nargs="+", default=[64, 200, 512])
    parser.add_argument("--stores", type=int, default=4_000_000)
    options = parser.parse_args()
    start = time.perf_counter()
    compared: Counter[str] = Counter()
    pixels: Counter[str] = Counter()
    differ: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in options.pictures:
            rgb = np.ascontiguousarray(read_image(str(path)).samples)
            file = folder / "picture.tif"
            tifffile.imwrite(file, rgb, tile=(64, 64), photometric="rgb")
            stores = options.tiles if rgb.size // 3 <= options.stores else [max(options.tiles)]
            for how in all_settings():
                expected = opencv(rgb, how)
                found = {"whole": find_edges(rgb, None, how)}
                found |= {f"windows of {side}": in_windows(rgb, how, side) for side in options.tiles}
                found |= {f"store, pieces of {side}": in_store(file, how, side, folder) for side in stores}
                for name, edges in found.items():
                    compared[name] += 1
                    pixels[name] += edges.size
                    differ[name] += int((edges != expected).sum())
            print(
                f"{path.name}: {rgb.shape[1]}x{rgb.shape[0]}, {sum(differ.values())} pixels differ so far", flush=True
            )
    for name, times in compared.items():
        print(f"{name:>24}: {times:5} comparisons, {pixels[name]:>14,} pixels, {differ[name]} differ")
    seconds = time.perf_counter() - start
    print(f"{sum(compared.values())} comparisons, {sum(differ.values())} pixels differ, {seconds:.0f} s")


if __name__ == "__main__":
    main()
