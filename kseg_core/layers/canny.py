"""Canny edges as ``cv2.Canny`` defines them, of images whole or window by window: the same bits either way.

Whether a pixel is a maximum of the gradient is decided by the pixels around it (`EdgeSettings.halo`); ``cv2.Canny``
with both thresholds low gives every maximum above the low one, with both high the strong ones. Hysteresis alone looks
farther: the edges are the 8-connected components of low maxima that hold a strong one, and components join across
windows at their borders (`kseg_core.joining`).

**Invalid pixels** (alpha 0, nodata, masked) have no colour, so whatever is stored there must decide nothing: a pixel is
a maximum only where all pixels within the halo are valid. So no edge is found on an invalid pixel, nor along the border
between valid and invalid ones, and edges do not go on across a gap.

References
----------
Canny 1986, "A computational approach to edge detection".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..edge_settings import EdgeSettings
from ..joining import Borders, join_components

Bits = NDArray[np.bool_]
U8 = NDArray[np.uint8]

# OpenCV holds twelve bytes of gradients a pixel: larger pictures are looked at in strips of about so many pixels.
WHOLE_EDGES_PX = 1 << 24
STRIP_PX = 6 << 20  # a piece and its halo are one strip

__all__ = [
    "EdgeSettings",
    "Maxima",
    "WindowBorder",
    "WindowEdges",
    "decide_across",
    "decide_within",
    "find_edges",
    "find_maxima",
    "promoted",
]


class Maxima(NamedTuple):
    """Where the gradient is largest across an edge, bool (y, x).

    Attributes
    ----------
    weak
        Above the low threshold.
    strong
        Above the high one; these are weak too.
    """

    weak: Bits
    strong: Bits


def find_edges(rgb: U8, valid: Bits | None, settings: EdgeSettings) -> Bits:
    """The edges of an image in memory.

    Parameters
    ----------
    rgb
        uint8 (y, x, 3), sRGB.
    valid
        bool (y, x); None: all are.
    settings
        How.

    Returns
    -------
    bool (y, x). Where every pixel is valid, exactly ``cv2.Canny(...) > 0`` of the blurred picture.
    """
    if valid is None and rgb.shape[0] * rgb.shape[1] <= WHOLE_EDGES_PX:
        return _canny(_prepared(rgb, settings), settings.low, settings.high, settings)
    maxima = find_maxima(rgb, valid, settings)
    return decide_within(maxima).edges


def find_maxima(rgb: U8, valid: Bits | None, settings: EdgeSettings) -> Maxima:
    """The maxima of an image, or of a window: there only those farther than the halo from a cut are to be used.

    Parameters
    ----------
    rgb, valid, settings
        As `find_edges` has them.
    """
    height, width = rgb.shape[:2]
    halo, rows = settings.halo, max(1, STRIP_PX // width)
    if height <= rows:
        return _maxima(rgb, valid, settings)
    found = Maxima(np.empty((height, width), np.bool_), np.empty((height, width), np.bool_))
    for top in range(0, height, rows):
        strip, start = slice(top, min(top + rows, height)), max(0, top - halo)
        around = slice(start, min(strip.stop + halo, height))
        part = _maxima(rgb[around], None if valid is None else valid[around], settings)
        for whole, maxima in zip(found, part, strict=True):
            whole[strip] = maxima[strip.start - start : strip.stop - start]
    return found


def _maxima(rgb: U8, valid: Bits | None, settings: EdgeSettings) -> Maxima:
    """Those of a picture in one go."""
    picture = _prepared(rgb, settings)
    weak = _canny(picture, settings.low, settings.low, settings)
    strong = _canny(picture, settings.high, settings.high, settings)
    if valid is not None:
        known = _all_valid_within(valid, settings.halo)
        weak &= known
        strong &= known
    return Maxima(weak, strong)


def _prepared(rgb: U8, settings: EdgeSettings) -> U8:
    """What Canny is applied to: color or luma, blurred."""
    import cv2

    picture = _luma(rgb) if settings.on == "gray" else np.ascontiguousarray(rgb)
    if settings.blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), settings.blur), dtype=np.uint8)
    return picture


def _luma(rgb: U8) -> U8:
    """ITU-R 601 luma with the integer weights and rounding of Pillow's ``L``, as the feature space ``gray`` has it."""
    total = np.full(rgb.shape[:2], 0x8000, np.uint32)
    for channel, weight in enumerate((19595, 38470, 7471)):
        total += np.multiply(rgb[..., channel], weight, dtype=np.uint32)
    total >>= 16
    return total.astype(np.uint8)


def _canny(picture: U8, low: float, high: float, settings: EdgeSettings) -> Bits:
    import cv2

    found = cv2.Canny(picture, low, high, apertureSize=settings.aperture, L2gradient=settings.l2)
    return np.asarray(found) > 0


def _all_valid_within(valid: Bits, reach: int) -> Bits:
    """Where no pixel of the square within ``reach`` is invalid; what lies outside the image does not count."""
    import cv2

    side = np.ones((2 * reach + 1, 1), np.uint8)
    eroded = valid.astype(np.uint8)
    for kernel in (side, side.T):  # a square is a column of rows
        eroded = np.asarray(cv2.erode(eroded, kernel), dtype=np.uint8)
    return eroded > 0


# ------------------------------------------------------------------------------------------------- hysteresis


@dataclass(frozen=True, slots=True)
class WindowBorder:
    """What a window tells of itself, so that edges are joined across windows.

    Parameters
    ----------
    borders
        Of the components of weak maxima.
    strong
        int32, ascending: the components at the border that hold a strong maximum.
    edge_pixels
        Pixels of the window that are edges whatever its neighbours hold.
    """

    borders: Borders
    strong: NDArray[np.int32]
    edge_pixels: int


@dataclass(frozen=True, slots=True)
class WindowEdges:
    """What can be said of a window by itself.

    Parameters
    ----------
    edges
        bool (y, x): the components that hold a strong maximum.
    pending
        bool (y, x): the others that touch the window's border, edges if they go on to a strong maximum elsewhere. No
        two of them touch.
    border
        What the neighbours must know.
    """

    edges: Bits
    pending: Bits
    border: WindowBorder


_EDGE, _PENDING = 1, 2


def decide_within(maxima: Maxima) -> WindowEdges:
    """Hysteresis within a window (y, x) of at least one pixel, without its halo."""
    import cv2

    count, found = cv2.connectedComponents(maxima.weak.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    components = np.asarray(found, dtype=np.int32)
    holds_strong = np.zeros(count, np.bool_)
    holds_strong[components[maxima.strong]] = True
    borders = Borders.of(components, count - 1)
    at_border = np.zeros(count, np.bool_)
    for line in borders.components:
        at_border[line] = True
    at_border[0] = False
    state = np.where(holds_strong, _EDGE, np.where(at_border, _PENDING, 0)).astype(np.uint8)[components]
    edges = state == _EDGE
    strong = np.flatnonzero(at_border & holds_strong).astype(np.int32)
    return WindowEdges(edges, state == _PENDING, WindowBorder(borders, strong, int(np.count_nonzero(edges))))


def decide_across(windows: Sequence[WindowBorder], columns: int) -> list[NDArray[np.int64]]:
    """Which pending components are edges because they go on to a strong maximum in another window.

    Parameters
    ----------
    windows
        Of a grid that covers the image, row by row.
    columns
        Windows in a row of the grid.

    Returns
    -------
    For each window int64 (n, 2): row and column in the window of one pixel of each such component. A place, not a
    number, as numbers might differ where the window is looked at again.
    """
    joined = join_components([window.borders for window in windows], columns)
    strong = [numbers.of(window.strong) for window, numbers in zip(windows, joined.windows, strict=True)]
    edges = np.unique(np.concatenate(strong))
    seeds = []
    for window, numbers in zip(windows, joined.windows, strict=True):
        components, places = _first_places(window.borders)
        is_edge = np.isin(numbers.of(components), edges) & ~np.isin(components, window.strong)
        seeds.append(places[is_edge])
    return seeds


def _first_places(borders: Borders) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The components at a border, ascending, and (n, 2) row and column of a pixel of each."""
    rim = borders.components
    height, width = rim.left.size, rim.top.size
    rows, columns = np.arange(height), np.arange(width)
    sides = ((0, columns), (height - 1, columns), (rows, 0), (rows, width - 1))  # as the rim has them
    places = np.concatenate([np.stack(np.broadcast_arrays(*side), axis=1) for side in sides]).astype(np.int64)
    found, at = np.unique(np.concatenate(rim), return_index=True)
    kept = found > 0
    return found[kept], places[at[kept]]


def promoted(pending: Bits, seeds: NDArray[np.int64]) -> Bits:
    """The pending components that hold one of the seeds.

    Parameters
    ----------
    pending
        bool (y, x): as `WindowEdges` has it.
    seeds
        int64 (n, 2): as `decide_across` gives them.
    """
    import cv2

    count, found = cv2.connectedComponents(pending.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
    components = np.asarray(found, dtype=np.int32)
    chosen = np.zeros(count, np.bool_)
    chosen[components[seeds[:, 0], seeds[:, 1]]] = True
    chosen[0] = False
    return chosen[components]
