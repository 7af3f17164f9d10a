"""Small pictures of pictures of any size, made window by window.

A small picture is a level of a pyramid: each of its pixels stands for a cell of ``2**level`` by ``2**level`` pixels.
Windows that begin on whole cells give parts of it that do not overlap, so where the windows are cut changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from kseg_core.clustering.labelling import Labels
from kseg_core.layers.pyramid import mean_of_blocks, mode_of_blocks
from kseg_core.layers.tiles import level_shape

U8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]

LEVELS_IN_WINDOW = 10  # windows are cut on a grid of 1024 pixels; what is left to halve is done on the small picture
NO_PIXEL = 0.5 / 255  # less than this share of a cell's pixels counts: it cannot be seen


def level_for(shape: tuple[int, int], longest: int) -> int:
    """The first level no side of which is longer than ``longest`` pixels."""
    level = 0
    while max(level_shape(shape, level)) > longest:
        level += 1
    return level


@dataclass(frozen=True, slots=True)
class Patch:
    """A part of a small picture.

    Parameters
    ----------
    top, left
        Where it lies, in pixels of the small picture.
    pixels
        (y, x) or (y, x, c).
    """

    top: int
    left: int
    pixels: NDArray[Any]


def put_together(patches: Iterable[Patch], shape: tuple[int, int], fill: int) -> NDArray[Any]:
    """The whole from its parts; what no part covers is ``fill``.

    Raises
    ------
    ValueError
        If there is no part.
    """
    whole: NDArray[Any] | None = None
    for patch in patches:
        if whole is None:
            whole = np.full((*shape, *patch.pixels.shape[2:]), fill, patch.pixels.dtype)
        height, width = patch.pixels.shape[:2]
        whole[patch.top : patch.top + height, patch.left : patch.left + width] = patch.pixels
    if whole is None:
        raise ValueError("expected at least one part, got none")
    return whole


def mean_cells(rgb: U8, valid: Bools | None, level: int) -> U8:
    """The mean colour of every cell's valid pixels, and how many of them count.

    Parameters
    ----------
    rgb
        uint8 (y, x, 3), from the beginning of a cell.
    valid
        bool (y, x), or None where all pixels are.

    Returns
    -------
    uint8 (y, x, 4): sRGB, and as alpha the share of valid pixels, 255 for all. A cell cut short by the picture's edge
    is completed by repeating its last row or column.
    """
    if valid is None:
        mean = _shrunk(rgb, level)
        return np.dstack([mean, np.full(mean.shape[:2], 255, np.uint8)])
    weight = valid.astype(np.float32)
    share = _shrunk(weight, level)
    total = _shrunk(rgb * weight[..., None], level)
    seen = share > NO_PIXEL
    mean = np.where(seen[..., None], total / np.where(seen, share, 1.0)[..., None], 0.0)
    return np.dstack([np.rint(mean), np.rint(share * 255.0)]).astype(np.uint8)


def share_of_cells(marked: Bools, level: int) -> U8:
    """How dense thin lines are in every cell: uint8 (y, x), 255 where a line crosses it, or more than one."""
    share = _shrunk(marked.astype(np.float32), level)
    return np.rint(np.minimum(share * float(1 << level), 1.0) * 255.0).astype(np.uint8)


def mode_cells(labels: Labels, invalid: int, level: int) -> Labels:
    """The labels of a level ``level`` times halved, as the levels of a store are."""
    for _ in range(level):
        labels = mode_of_blocks(labels, invalid)
    return labels


def finish_mean(cells: U8, level: int) -> U8:
    """The rest of the halving of `mean_cells`, on the whole small picture."""
    for _ in range(level):
        cells = np.dstack([mean_of_blocks(cells[..., channel]) for channel in range(cells.shape[2])])
    return cells


def _shrunk(image: NDArray[Any], level: int) -> NDArray[Any]:
    """Area means of whole cells, in the dtype of the image."""
    side = 1 << level
    height, width = image.shape[:2]
    down, across = -height % side, -width % side
    if down or across:
        image = cv2.copyMakeBorder(image, 0, down, 0, across, cv2.BORDER_REPLICATE)
    size = (image.shape[1] // side, image.shape[0] // side)
    return image if level == 0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
