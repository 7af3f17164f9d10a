"""Makes a large tiled BigTIFF of photographs: python benchmarks/make_bigtiff.py FOLDER OUT.tif --side 40000

Every tile of 512 pixels is cut from one of the folder's photographs, turned and shifted differently each time, so
that the picture has the colours, noise and file size of real ones. It is written tile by tile in little memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from kseg_core.images import read_image

TILE = 512


def tiles(folder: Path, side: int) -> Iterator[NDArray[np.uint8]]:
    """Every tile of the picture, row by row."""
    photographs = [read_image(str(path)).samples for path in sorted(folder.glob("*.jpg"))[:6]]
    random = np.random.default_rng(0)
    across = -(-side // TILE)
    block = 8  # neighbouring tiles come from one photograph: borders as rare as in a real mosaic
    for row in range(across):
        for column in range(across):
            photo = photographs[(row // block * 31 + column // block * 17) % len(photographs)]
            if column % block == 0:
                top, left = (int(random.integers(0, size - TILE)) for size in photo.shape[:2])
            x = (left + column % block * TILE) % (photo.shape[1] - TILE)
            yield np.ascontiguousarray(photo[top : top + TILE, x : x + TILE])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--side", type=int, default=40_000)
    parser.add_argument("--compression", default="jpeg", choices=["jpeg", "deflate"])
    options = parser.parse_args()
    tifffile.imwrite(
        options.output,
        tiles(options.folder, options.side),
        shape=(options.side, options.side, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb",
        compression=options.compression,
        bigtiff=True,
    )


if __name__ == "__main__":
    main()
