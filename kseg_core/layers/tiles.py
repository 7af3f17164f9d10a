"""Geometry of the store's chunks: no pixels, no files."""

from __future__ import annotations

from collections.abc import Iterator

from ..halos import Region as Region


def whole(shape: tuple[int, int]) -> Region:
    """All of an image."""
    return slice(0, shape[0]), slice(0, shape[1])


def tile_windows(height: int, width: int, tile: int) -> Iterator[Region]:
    """The windows of a grid of square tiles, row by row; those at the far edges are cut short."""
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            yield slice(top, min(top + tile, height)), slice(left, min(left + tile, width))


def level_shape(shape: tuple[int, int], level: int) -> tuple[int, int]:
    """(height, width) of a pyramid's level: each is half of the one before, rounded up."""
    height, width = shape
    return -(-height >> level), -(-width >> level)


def pyramid_levels(shape: tuple[int, int], tile: int) -> int:
    """How many levels a pyramid has: it is halved until the image fits one tile; 1 where it does already."""
    levels = 1
    while max(level_shape(shape, levels - 1)) > tile:
        levels += 1
    return levels


def source_window(shape: tuple[int, int], level: int, rows: slice, columns: slice) -> Region:
    """The window of the level above that a window of a level >= 1 is made from."""
    height, width = level_shape(shape, level - 1)
    return (
        slice(2 * rows.start, min(2 * rows.stop, height)),
        slice(2 * columns.start, min(2 * columns.stop, width)),
    )


def window_of_level(shape: tuple[int, int], level: int, window: Region, side: int) -> Region | None:
    """The part of a level >= 1 that a window of level 0 answers for: of all levels, all that begins in it.

    Parameters
    ----------
    shape
        Of level 0.
    window
        Of the grid of windows of ``side`` pixels of level 0.
    side
        An even number. Parts of levels are half as wide and as high, which is as much as a window makes of level 1.

    Returns
    -------
    A window of the level; None where none begins here.
    """
    corner = (window[0].start, window[1].start)
    if any(start % (side << level - 1) for start in corner):
        return None
    down, across = (
        slice(start >> level, min((start >> level) + side // 2, size))
        for start, size in zip(corner, level_shape(shape, level), strict=True)
    )
    return down, across


def require_aligned(shape: tuple[int, int], tile: int, rows: slice, columns: slice) -> None:
    """Refuse a window that holds a part of a tile: two such writes to one chunk lose pixels without a word.

    Raises
    ------
    ValueError
        If the window does not begin on the tile grid, or ends neither on it nor at the image's edge, or is not inside.
    """
    for name, window, size in zip(("rows", "columns"), (rows, columns), shape, strict=True):
        start, stop = window.start, window.stop
        inside = isinstance(start, int) and isinstance(stop, int) and 0 <= start < stop <= size
        if not inside or window.step not in (None, 1) or start % tile or (stop % tile and stop != size):
            raise ValueError(f"expected {name} of whole tiles of {tile} in 0 to {size}, got {start} to {stop}")
