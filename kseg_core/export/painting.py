"""Windows of labels and pixels become windows of pictures: pure functions of arrays.

Everywhere labels are (y, x), 0 to k - 1, with the dtype's largest value where a pixel is not valid. Pictures are uint8
(y, x, 3), or (y, x, 4) with alpha 0 where there is nothing to see; then colours are 0 there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.clustering.labelling import Labels
from kseg_core.layers.pyramid import mean_of_blocks

U8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]


def valid_pixels(labels: Labels) -> Bools:
    """Where there is a cluster."""
    valid: Bools = labels != np.iinfo(labels.dtype).max
    return valid


def chosen_pixels(labels: Labels, clusters: Sequence[int]) -> Bools:
    """Where one of these clusters is."""
    chosen = np.zeros(int(np.iinfo(labels.dtype).max) + 1, np.bool_)
    chosen[list(clusters)] = True
    pixels: Bools = chosen[labels]
    return pixels


def with_alpha(picture: U8, visible: Bools) -> U8:
    """The picture where it is visible, and nothing elsewhere: (y, x, 3) -> (y, x, 4)."""
    result = np.empty((*visible.shape, 4), np.uint8)
    np.multiply(picture, visible[..., None], out=result[..., :3])
    np.multiply(visible, np.uint8(255), out=result[..., 3])
    return result


def boundary_pixels(labels: Labels) -> Bools:
    """Pixels that have another label than one of their four neighbours: lines two pixels wide, one on either side.

    The same as scikit-image's ``find_boundaries(labels, connectivity=1, mode="thick")``, but for pixels that are not
    valid: they are never on a line, whereas a valid pixel beside one is.

    Parameters
    ----------
    labels
        (y, x). For a window of an image, with a margin of one pixel wherever the image goes on: `trimmed` takes it off.

    Returns
    -------
    bool (y, x)
    """
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    lines = np.zeros(labels.shape, np.bool_)
    lines[:, 1:] |= across
    lines[:, :-1] |= across
    lines[1:] |= down
    lines[:-1] |= down
    return lines & valid_pixels(labels)


def grown(rows: slice, columns: slice, shape: tuple[int, int]) -> tuple[slice, slice]:
    """A window with a margin of one pixel, as far as there is an image."""
    height, width = shape
    return (
        slice(max(rows.start - 1, 0), min(rows.stop + 1, height)),
        slice(max(columns.start - 1, 0), min(columns.stop + 1, width)),
    )


def trimmed(array: NDArray[Any], rows: slice, columns: slice) -> NDArray[Any]:
    """The window's own part of what was made of the `grown` one."""
    top, left = min(rows.start, 1), min(columns.start, 1)
    return array[top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]


def drawn_over(picture: U8, lines: Bools, color: tuple[int, int, int]) -> U8:
    """The picture with lines of a colour."""
    result = picture.copy()
    result[lines] = color
    return result


def halved(picture: NDArray[Any], *, average: bool) -> NDArray[Any]:
    """Half the size: the mean of what is visible of each 2 x 2 block, or the block's first pixel.

    Parameters
    ----------
    picture
        uint8 (y, x), (y, x, 3), or (y, x, 4) with alpha; of any dtype where it is not averaged.
    average
        False for labels, and for pictures of a few colours, which are to have no others.

    Returns
    -------
    (ceil(y / 2), ceil(x / 2), ...), of the same dtype.
    """
    if not average:
        return picture[::2, ::2]
    if picture.ndim == 2:
        return mean_of_blocks(picture)
    odd = [(0, size % 2) for size in picture.shape[:2]]
    blocks = np.pad(picture, [*odd, (0, 0)], mode="edge") if any(map(any, odd)) else picture
    parts = [blocks[top::2, left::2].astype(np.uint32) for top in (0, 1) for left in (0, 1)]
    if picture.shape[2] == 3:
        return ((sum(parts[1:], parts[0]) + 2) >> 2).astype(np.uint8)
    weights = [part[..., 3:] for part in parts]
    total = sum(weights[1:], weights[0])
    colors = sum((p[..., :3] * w for p, w in zip(parts[1:], weights[1:], strict=True)), parts[0][..., :3] * weights[0])
    mean = (colors + total // 2) // np.maximum(total, 1)
    return np.concatenate([mean, (total + 2) >> 2], axis=2).astype(np.uint8)
