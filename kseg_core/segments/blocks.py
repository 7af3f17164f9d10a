"""An image segmented block by block: the same whatever it is stored, read or worked on in.

Blocks of 1024 x 1024 pixels are a part of the definition, like the halo: they begin at the image's corner and have
nothing to do with chunks, pieces or workers. Within a block the first rounds of merging are done; what touches its
seams is left as it is. Cells that flow into another block are joined to the one there by the place they flow to, graphs
add up, and the rest is merged on the joined graph, which is that of far fewer regions than there were cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..halos import Region
from ..joining import Rim
from ..kernels import cells
from .graph import Graph, Merges, join_graphs, merge_all, merge_cheapest, merge_within
from .hierarchy import Hierarchy
from .maps import INVALID, OCTAVES, Maps
from .palette import COLOURS

BLOCK = 1024
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


def windows_of(shape: tuple[int, int], side: int = BLOCK) -> Iterator[Region]:
    """The blocks of an image, row by row."""
    for top in range(0, shape[0], side):
        for left in range(0, shape[1], side):
            yield slice(top, min(top + side, shape[0])), slice(left, min(left + side, shape[1]))


def blocks_in(region: Region, shape: tuple[int, int], side: int) -> Iterator[tuple[int, Region]]:
    """The number and the window of each block that has a part in a region of an image."""
    across = -(-shape[1] // side)
    rows, columns = region
    for down in range(rows.start // side, -(-rows.stop // side)):
        for right in range(columns.start // side, -(-columns.stop // side)):
            window = (
                slice(down * side, min((down + 1) * side, shape[0])),
                slice(right * side, min((right + 1) * side, shape[1])),
            )
            yield down * across + right, window


@dataclass(frozen=True)
class Block:
    """What a block tells.

    Parameters
    ----------
    graph
        Of its regions, as far as they are in it.
    exits
        int64 (n,): -1, or where in the image (row by row) a region flows to, in another block.
    regions
        Along its outermost pixels; -1 where invalid.
    gradient
        Along the same.
    """

    graph: Graph
    exits: I64
    regions: Rim
    gradient: Rim


class BlockPixels(NamedTuple):
    """Which pixel of a block is in what; -1 where invalid.

    Attributes
    ----------
    cell
        int32 (y, x): the cells, from 0.
    number
        int32 (cells,): the region that each is in.
    merges
        By which cells became these.
    """

    cell: I32
    number: I32
    merges: Merges

    @property
    def region(self) -> I32:
        """int32 (y, x)."""
        return through(self.cell, self.number)

    def contours(self) -> NDArray[np.uint8]:
        """uint8 (2, y, x): those within the regions."""
        contours = np.zeros((2, *self.cell.shape), np.uint8)
        Hierarchy.of(self.merges, self.number.size, self.number).fill(self.cell, contours)
        return contours


def through(numbers: I32, table: I32) -> I32:
    """What a table has for numbers; -1 stays."""
    return np.append(table, np.int32(-1))[numbers]  # an index of -1 is the last


def segment_block(maps: Maps, inner: Region, window: Region, shape: tuple[int, int]) -> tuple[Block, BlockPixels]:
    """The regions of a block.

    Parameters
    ----------
    maps, inner
        Of the block and at least a pixel around it where the image goes on; where in these it is.
    window, shape
        Where it is in the image, and the image's height and width.
    """
    gradient = _with_rim(maps.gradient, inner)
    cell, exits = cells.descend(gradient)
    cell = cell.reshape(gradient.shape[0] - 2, gradient.shape[1] - 2)
    count = exits.size
    palette, fine, broad = (np.ascontiguousarray(each[inner]) for each in (maps.palette, maps.fine, maps.broad))
    area, start, values, often = cells.count_values(cell, palette, fine, broad, count, COLOURS, OCTAVES)
    borders = cells.list_borders(cell, gradient, 1, 1, count)
    fixed = exits >= 0
    for line in _seams(cell, window, shape):
        fixed[line[line >= 0]] = True
    cell_graph = Graph(*borders, area, start, values, often, np.zeros(count))
    graph, number, merges = merge_within(cell_graph, fixed)
    # places to flow to, from rows and columns of the block and its rim to the image's
    leaves = np.flatnonzero(exits >= 0)
    r, c = np.divmod(exits[leaves], gradient.shape[1])
    out = np.full(graph.size, -1, np.int64)
    out[number[leaves]] = (r - 1 + window[0].start) * shape[1] + c - 1 + window[1].start
    regions = Rim(*(through(line, number) for line in Rim.of(cell)))
    return Block(graph, out, regions, Rim.of(maps.gradient[inner])), BlockPixels(cell, number, merges)


def _with_rim(gradient: I32, inner: Region) -> I32:
    """A part of a gradient and one pixel around it; invalid beyond the image."""
    rows, columns = inner
    out = np.full((rows.stop - rows.start + 2, columns.stop - columns.start + 2), INVALID, np.int32)
    top, left = max(0, rows.start - 1), max(0, columns.start - 1)
    known = gradient[top : rows.stop + 1, left : columns.stop + 1]
    down, right = top - rows.start + 1, left - columns.start + 1
    out[down : down + known.shape[0], right : right + known.shape[1]] = known
    return out


def _seams(cell: I32, window: Region, shape: tuple[int, int]) -> Iterator[I32]:
    """The lines of pixels beside other blocks."""
    if window[0].start > 0:
        yield cell[0]
    if window[0].stop < shape[0]:
        yield cell[-1]
    if window[1].start > 0:
        yield cell[:, 0]
    if window[1].stop < shape[1]:
        yield cell[:, -1]


def join_blocks(blocks: list[Block], shape: tuple[int, int], side: int = BLOCK) -> tuple[Graph, list[I32]]:
    """The blocks of an image (row by row) as one graph; and the number in it of each region of each block.

    ``side`` is that of the blocks.
    """
    sizes = [block.graph.size for block in blocks]
    begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    goes_to = np.arange(begins[-1])
    across = -(-shape[1] // side)
    for at, block in enumerate(blocks):
        leaves = np.flatnonzero(block.exits >= 0)
        y, x = np.divmod(block.exits[leaves], shape[1])
        other = y // side * across + x // side
        for neighbour in np.unique(other):
            mine = other == neighbour
            found = _regions_at(blocks[neighbour], y[mine] % side, x[mine] % side)
            goes_to[begins[at] + leaves[mine]] = begins[neighbour] + found
    while ((further := goes_to[goes_to]) != goes_to).any():
        goes_to = further
    stays = goes_to == np.arange(goes_to.size)
    number = (np.cumsum(stays) - 1)[goes_to].astype(np.int32)
    own = [number[begins[at] : begins[at + 1]] for at in range(len(blocks))]
    graph = join_graphs([block.graph for block in blocks], own, int(stays.sum()), _borders(blocks, own, across))
    return graph, own


def merge_joined(graph: Graph, blocks: int) -> Merges:
    """All merges of the regions of so many blocks that were joined."""
    return merge_cheapest(graph) if blocks == 1 else merge_all(graph)


def _regions_at(block: Block, y: I64, x: I64) -> I32:
    """Regions at places on the outermost lines of a block."""
    height, width = block.regions.left.size, block.regions.top.size
    found = np.where(y == 0, block.regions.top[x], -1)
    found = np.where(y == height - 1, block.regions.bottom[x], found)
    found = np.where(x == 0, block.regions.left[y], found)
    return np.where(x == width - 1, block.regions.right[y], found)


def _borders(blocks: list[Block], number: list[I32], across: int) -> tuple[I32, I32, I64, I64]:
    """Pairs of pixels across seams, each a border of one pair."""
    ones, twos, totals = [], [], []
    for at, block in enumerate(blocks):
        for step, mine, other in ((1, "right", "left"), (across, "bottom", "top")):
            if (mine == "right" and (at + 1) % across == 0) or at + step >= len(blocks):
                continue
            a, b = getattr(block.regions, mine), getattr(blocks[at + step].regions, other)
            high = np.maximum(getattr(block.gradient, mine), getattr(blocks[at + step].gradient, other))
            both = (a >= 0) & (b >= 0)
            ones.append(number[at][a[both]])
            twos.append(number[at + step][b[both]])
            totals.append(high[both].astype(np.int64))
    one = np.concatenate([np.zeros(0, np.int32), *ones])
    two = np.concatenate([np.zeros(0, np.int32), *twos])
    return one, two, np.ones(one.size, np.int64), np.concatenate([np.zeros(0, np.int64), *totals])
