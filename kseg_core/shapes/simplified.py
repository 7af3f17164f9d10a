"""Where simplified outlines of a label image have corners: for the regions on both sides alike, whatever the windows.

The image is seen in cells of a grid that never changes. An arc, the boundary between two nodes, is divided where it
crosses a line of the grid, and each piece is simplified in its cell (`kernels.arcs`). So a window needs the labels of
the cells it touches and nothing from its neighbours, memory is that of a window, and what comes out depends neither on
windows nor on tiles nor on which clusters are outlined. The price is a corner for every crossing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.arcs import SCALE, kept_corners
from ..layers.tiles import Region, tile_windows

CELL_PX = 256  # measured on a smoothed photograph: at most seven corners more in a thousand than with cells of 1023


@dataclass(frozen=True, slots=True)
class Simplifying:
    """How outlines are simplified.

    Parameters
    ----------
    tolerance_px
        No point of an outline is farther from its simplified one; at most `CELL_PX`.
    longest_px
        Rows or columns that a slanting line may go through.
    """

    tolerance_px: float
    longest_px: int = CELL_PX

    def surroundings(self, window: Region, shape: tuple[int, int]) -> Region:
        """The cells that a window of an image touches."""
        down, across = (
            slice(part.start // CELL_PX * CELL_PX, min(-(-part.stop // CELL_PX) * CELL_PX, size))
            for part, size in zip(window, shape, strict=True)
        )
        return down, across

    def corners(self, padded: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Where corners are in some whole cells.

        Parameters
        ----------
        padded
            int32 (y + 2, x + 2): their labels and those of one pixel around them, -1 outside the image. The first pixel
            is that of a cell.

        Returns
        -------
        uint8 (y + 1, x + 1), by corners of pixels: 1 where outlines have a corner.
        """
        limit = int(Fraction(self.tolerance_px) ** 2 * SCALE)
        height, width = padded.shape[0] - 2, padded.shape[1] - 2
        found = np.empty((height + 1, width + 1), np.uint8)
        for rows, columns in tile_windows(height, width, CELL_PX):
            cell = np.ascontiguousarray(padded[rows.start : rows.stop + 2, columns.start : columns.stop + 2])
            own = kept_corners(cell, limit, self.longest_px)
            found[rows.start : rows.stop + 1, columns.start : columns.stop + 1] = own
        return found


def part_of(corners: NDArray[Any], whole: Region, window: Region) -> NDArray[Any]:
    """Of the corners in some cells, those in a window of these."""
    rows, columns = (
        slice(part.start - around.start, part.stop - around.start + 1)
        for part, around in zip(window, whole, strict=True)
    )
    return np.ascontiguousarray(corners[rows, columns])
