"""The contours of an image in memory; block by block as well, so that they are those of one too large for that."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..halos import Region, grown
from .blocks import BLOCK, Block, BlockPixels, join_blocks, merge_joined, segment_block, through, windows_of
from .features import Converter
from .graph import Merges, chained
from .hierarchy import Hierarchy
from .lifting import Shrinking, lift
from .maps import HALO, find_maps
from .palette import Palette, PixelSample

Valid = NDArray[np.bool_] | None
Ways = tuple[Converter, Palette] | None  # to features, and the palette; None: the image's own


def contours_of(
    samples: NDArray[Any], valid: Valid, *, of_bands: bool, factor: int = 1, side: int = BLOCK, ways: Ways = None
) -> NDArray[np.uint8]:
    """The step at which each boundary vanishes.

    Parameters
    ----------
    samples
        (y, x, c): 8-bit sRGB, or bands.
    valid
        bool (y, x); None: all are.
    of_bands
        Which of these they are.
    factor
        How many pixels, along each axis, become one before they are segmented; of colours.
    side
        Of blocks.
    ways
        To features, and the palette, where that is not the image's own.

    Returns
    -------
    uint8 (2, y, x), as `Hierarchy.fill` makes them.
    """
    shape = (samples.shape[0], samples.shape[1])
    if factor > 1:
        return _lifted(samples, valid, factor, side, ways)
    done = _blocks_of(samples, valid, side, ways or _own(samples, valid, of_bands))
    graph, numbers = join_blocks([each.block for each in done], shape, side)
    hierarchy = Hierarchy.of(merge_joined(graph, len(done)), graph.size)
    region = np.empty(shape, np.int32)
    contours = np.empty((2, *shape), np.uint8)
    for each, number in zip(done, numbers, strict=True):
        region[each.window] = through(each.pixels.region, number)
        contours[(slice(None), *each.window)] = each.pixels.contours()
    hierarchy.fill(region, contours)
    return contours


class _Done(NamedTuple):
    window: Region
    block: Block
    pixels: BlockPixels


def _own(samples: NDArray[Any], valid: Valid, of_bands: bool) -> tuple[Converter, Palette]:
    """An image's own way to features, and its palette."""
    sample = PixelSample(samples.shape[0] * samples.shape[1], of_bands)
    sample.add(samples, valid, 0, 0)
    return sample.finish()


def _blocks_of(samples: NDArray[Any], valid: Valid, side: int, ways: tuple[Converter, Palette]) -> list[_Done]:
    """Each block of an image."""
    shape = (samples.shape[0], samples.shape[1])
    done = []
    for window in windows_of(shape, side):
        around, inner = grown(window, HALO, shape)
        maps = find_maps(samples[around], None if valid is None else valid[around], *ways)
        done.append(_Done(window, *segment_block(maps, inner, window, shape)))
    return done


def segment_small(
    samples: NDArray[np.uint8], valid: Valid, side: int = BLOCK, ways: Ways = None
) -> tuple[NDArray[np.int32], Hierarchy]:
    """The cells of a small picture, int32 (y, x), -1 where invalid, and their hierarchy, from the first merge on."""
    shape = (samples.shape[0], samples.shape[1])
    done = _blocks_of(samples, valid, side, ways or _own(samples, valid, of_bands=False))
    graph, numbers = join_blocks([each.block for each in done], shape, side)
    cell = np.empty(shape, np.int32)
    lowest = np.empty(graph.size, np.int32)  # the cell under whose number each region goes on
    firsts, within = [], []
    count = 0
    for each, number in zip(done, numbers, strict=True):
        pixels = each.pixels
        cell[each.window] = np.where(pixels.cell >= 0, pixels.cell + count, -1)
        firsts.append(np.unique(pixels.number, return_index=True)[1].astype(np.int32) + count)
        owns = each.block.exits < 0
        lowest[number[owns]] = firsts[-1][owns]
        within.append(Merges(pixels.merges.kept + count, pixels.merges.gone + count, pixels.merges.altitude))
        count += pixels.number.size
    joined = []  # parts of cells in other blocks
    for each, number, first in zip(done, numbers, firsts, strict=True):
        part = each.block.exits >= 0
        joined.append(Merges(lowest[number[part]], first[part], np.full(int(part.sum()), -1.0)))
    merges = merge_joined(graph, len(done))
    across = Merges(lowest[merges.kept], lowest[merges.gone], merges.altitude)
    return cell, Hierarchy.of(chained([*joined, *within, across]), count)


def _lifted(samples: NDArray[np.uint8], valid: Valid, factor: int, side: int, ways: Ways) -> NDArray[np.uint8]:
    shape = (samples.shape[0], samples.shape[1])
    shrinking = Shrinking(shape, samples.shape[2], factor)
    shrinking.add(samples, valid, 0, 0)
    small, some = shrinking.picture()
    cell, hierarchy = segment_small(small, some, side, ways)
    region = lift(samples, valid, (0, 0), factor, cell, small)
    contours = np.zeros((2, *shape), np.uint8)
    hierarchy.fill(region, contours)
    return contours
