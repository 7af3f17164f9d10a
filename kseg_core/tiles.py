"""Geometry of the store's chunks: no pixels, no files."""

from __future__ import annotations

from collections.abc import Iterator


def tile_windows(height: int, width: int, tile: int) -> Iterator[tuple[slice, slice]]:
    """The windows of a grid of square tiles, row by row; those at the far edges are cut short."""
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
