"""Colours that are told apart, also by those who see no red, no green or no blue; as many as are wanted.

The first eight are those of Okabe and Ito. Each further one is, of a grid of colours, the one whose nearest neighbour
among those before, and white, is farthest: as Glasbey has it, but with the least of four distances, as people with
normal sight and with each of the three kinds of dichromacy see them.

References
----------
M. Okabe, K. Ito: Color Universal Design (2008). C. Glasbey et al.: Colour displays for categorical images, Color
Research and Application 32 (2007). G. M. Machado et al.: A physiologically-based model for simulation of color vision
deficiency, IEEE TVCG 15 (2009), the matrices of severity 1. B. Ottosson: A perceptual color space for image processing
(2020), Oklab.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, cycle, islice

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F64 = NDArray[np.float64]

_OKABE_ITO = "E69F00 56B4E9 009E73 F0E442 0072B2 D55E00 CC79A7 000000"
_FIRST = np.array([list(bytes.fromhex(each)) for each in _OKABE_ITO.split()], np.uint8)
_WHITE = np.full((1, 3), 255, np.uint8)  # paper, and most pages
_STEP = 17  # of the grid: 16 shades a channel, up to 255
_DARKEST, _BRIGHTEST = 0.25, 0.95  # lightness in Oklab: darker or brighter ones look like black or white
_NEAREST = 0.01  # squared distance in Oklab below which two colours are not used together, where one was given
_DECIMALS = 9  # of squared distances, so that the same one is the farthest on every processor

_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# Of linear sRGB: protanopia, deuteranopia, tritanopia.
_DICHROMACY = np.array(
    [
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ]
)


def distinct_colors(count: int, given: Sequence[Sequence[int]] = ()) -> U8:
    """So many colours, uint8 (count, 3), that are told apart from each other and from those that are given.

    Where the grid has no more of them, which is after some 4,000, they begin again.
    """
    grid = np.arange(0, 256, _STEP, dtype=np.uint8)
    candidates = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    seen = _as_seen(candidates)
    usable = (seen[0, :, 0] >= _DARKEST) & (seen[0, :, 0] <= _BRIGHTEST)
    candidates, seen = candidates[usable], seen[:, usable]
    before = np.array(given, np.uint8).reshape(-1, 3)
    first = _FIRST[_nearest(_as_seen(_FIRST), before) >= _NEAREST] if len(before) else _FIRST
    found, distance = list(first[:count]), _nearest(seen, np.concatenate([first, _WHITE, before]))
    for _ in range(min(count, len(candidates)) - len(found)):
        farthest = int(np.argmax(np.round(distance, _DECIMALS)))
        if distance[farthest] <= 0:
            break
        found.append(candidates[farthest])
        distance = np.minimum(distance, _nearest(seen, candidates[farthest : farthest + 1]))
    return np.array(list(islice(chain(found, cycle(found)), count)), np.uint8).reshape(-1, 3)


def _as_seen(colors: U8) -> F64:
    """Oklab of sRGB (n, 3), by normal sight and with each kind of dichromacy: (4, n, 3)."""
    shades = colors / 255
    linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
    views = np.stack([linear, *(np.clip(linear @ matrix.T, 0, 1) for matrix in _DICHROMACY)])
    return np.asarray(np.cbrt(views @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T)


def _nearest(seen: F64, others: U8) -> F64:
    """Of each (4, n, 3) the squared distance to the nearest of others (m, 3), to those who see it least: (n,)."""
    nearest = np.full(seen.shape[1], np.inf)
    for other in np.moveaxis(_as_seen(others), 1, 0):
        nearest = np.minimum(nearest, ((seen - other[:, None]) ** 2).sum(axis=2).min(axis=0))
    return nearest
