"""Windows with what is around them: no pixels, no files."""

from __future__ import annotations

Region = tuple[slice, slice]  # rows and columns


def grown(region: Region, halo: int, shape: tuple[int, int]) -> tuple[Region, Region]:
    """A region and what of its image is within ``halo`` pixels of it; and where in that the region itself is."""
    around = [
        slice(max(0, part.start - halo), min(part.stop + halo, size)) for part, size in zip(region, shape, strict=True)
    ]
    inner = [slice(part.start - wide.start, part.stop - wide.start) for part, wide in zip(region, around, strict=True)]
    return (around[0], around[1]), (inner[0], inner[1])


def moved(region: Region, down: int, across: int) -> Region:
    """A region so many rows and columns further on."""
    rows, columns = region
    return slice(rows.start + down, rows.stop + down), slice(columns.start + across, columns.stop + across)
