"""Makes a picture of four 16-bit bands: python benchmarks/make_bands.py RASTER OUT.tif --side 10000

Every band is cut from one raster of one band, shifted and flipped differently each time and continued by its mirror
image, so that the bands have real steps and textures but are not copies of one another.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

TILE = 512
BANDS = ((0.00, 0.00, 1, 1), (0.31, 0.12, -1, 1), (0.17, 0.43, 1, -1), (0.53, 0.71, -1, -1))  # shifts; flips


def mirrored(length: int, side: int, shift: float, flip: int) -> NDArray[np.intp]:
    """Which rows (or columns) of a raster of ``length`` make a band's ``side``."""
    at = (np.arange(side)[::flip] + int(shift * length)) % (2 * length)
    return np.where(at < length, at, 2 * length - 1 - at)


def cut(raster: NDArray[np.uint16], side: int) -> NDArray[np.uint16]:
    """The bands (side, side, 4)."""
    height, width = raster.shape
    picture = np.empty((side, side, len(BANDS)), raster.dtype)
    for band, (down, across, flip_rows, flip_columns) in enumerate(BANDS):
        rows, columns = mirrored(height, side, down, flip_rows), mirrored(width, side, across, flip_columns)
        picture[..., band] = raster[np.ix_(rows, columns)]
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raster", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--side", type=int, default=10_000)
    options = parser.parse_args()
    tifffile.imwrite(
        options.output,
        cut(tifffile.imread(options.raster), options.side),
        tile=(TILE, TILE),
        photometric="minisblack",
        planarconfig="contig",
        compression="deflate",
        bigtiff=True,
    )


if __name__ == "__main__":
    main()
