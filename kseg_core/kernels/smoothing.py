"""Pixels smoothed along edges and not across them: means over those neighbours that are nearer than neighbours are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

Floats = NDArray[Any]
Bools = NDArray[np.bool_]


@inlined
def _first(shift: int) -> int:
    """The first column whose neighbour at a distance is not left of all."""
    return max(0, -shift)


@inlined
def _end(shift: int, width: int) -> int:
    """The column after the last whose neighbour at a distance is not right of all."""
    return min(width, width - shift)


@inlined
def _measure(planes: Floats, valid: Bools, y: int, other: int, shift: int, apart: Floats, total: Floats) -> None:
    """How far the neighbours at a distance are: infinitely where there is none, which counts for nothing."""
    bands, _, width = planes.shape
    first, end = _first(shift), _end(shift, width)
    apart[:] = planes.dtype.type(np.inf)
    if other < 0 or other >= planes.shape[1] or first >= end:
        return
    far, whole = apart[first:end], total[first:end]
    for band in range(bands):
        here, there = planes[band, y, first:end], planes[band, other, first + shift : end + shift]
        if band == 0:
            for x in range(far.size):
                far[x] = abs(there[x] - here[x])
        else:
            for x in range(far.size):
                far[x] += abs(there[x] - here[x])
    if valid.size:
        counts = valid[other, first + shift : end + shift]
        for x in range(far.size):
            if not counts[x]:
                far[x] = planes.dtype.type(np.inf)
            else:
                whole[x] += far[x]
    else:
        for x in range(far.size):
            whole[x] += far[x]


@inlined
def _count(valid: Bools, shape: tuple[int, ...], y: int, step: int, count: Floats) -> None:
    """How many neighbours each pixel of a row has."""
    _, rows, width = shape
    one = count.dtype.type(1)
    count[:] = count.dtype.type(0)
    for other in range(y - step, y + step + 1, step):
        if other < 0 or other >= rows:
            continue
        for shift in range(-step, step + 1, step):
            first, end = _first(shift), _end(shift, width)
            if first >= end or (other == y and shift == 0):
                continue
            there = count[first:end]
            if valid.size:
                counts = valid[other, first + shift : end + shift]
                for x in range(there.size):
                    if counts[x]:
                        there[x] += one
            else:
                for x in range(there.size):
                    there[x] += one


@inlined
def _take(
    planes: Floats, y: int, other: int, shift: int, apart: Floats, total: Floats, count: Floats, taken: Floats,
    beyond: Floats,
) -> None:  # fmt: skip
    """Add what is nearer than the mean; ``beyond`` is how far it is from the pixel itself, with its sign."""
    bands, rows, width = planes.shape
    first, end = _first(shift), _end(shift, width)
    if other < 0 or other >= rows or first >= end:
        return
    one, none = planes.dtype.type(1), planes.dtype.type(0)
    near, whole, many, found = apart[first:end], total[first:end], count[first:end], taken[first:end]
    for x in range(near.size):
        near[x] = one if near[x] * many[x] <= whole[x] else none
        found[x] += near[x]
    for band in range(bands):
        here, there = planes[band, y, first:end], planes[band, other, first + shift : end + shift]
        added = beyond[band, first:end]
        for x in range(near.size):
            if near[x] > none:
                added[x] += there[x] - here[x]


@inlined
def _finish(here: Floats, beyond: Floats, taken: Floats, whole: bool, made: Floats) -> None:
    """The means of a row: of whole numbers the nearest whole one, the greater of two."""
    half, most = here.dtype.type(0.5), here.dtype.type(np.inf)
    np.divide(beyond, taken, beyond)
    if whole:
        for x in range(made.size):
            beyond[x] += half
        np.floor(beyond, beyond)
    for x in range(made.size):
        mean = here[x] + beyond[x]
        made[x] = mean if abs(mean) < most else here[x]  # differences of the largest floats overflow


@kernel("C3f4 C2b1 C3f4 i b", "C3f8 C2b1 C3f8 i b")
def smooth_once(planes: Floats, valid: Bools, made: Floats, step: int, whole: bool) -> None:
    """Give each pixel the mean of itself and of those of its eight neighbours that are nearer to it than they are on
    average, or as near.

    Where an edge runs through the neighbours they are at two distances, and the mean of these lies between: those
    beyond it are left out, whatever their contrast and whatever the unit. Where all differ by noise alone about half of
    them are taken.

    Parameters
    ----------
    planes
        Float32 or float64 (bands, y, x), finite; whole numbers so small that sums over nine pixels and all bands, and
        nine times these, are exact.
    valid
        Bool (y, x): which pixels count, be it as neighbours or themselves; (0, 0): all. Others stay as they are.
    made
        Where the means go, as ``planes``.
    step
        How far the neighbours are, in rows and columns; what is beyond the array is no neighbour.
    whole
        Whether means are rounded.

    References
    ----------
    Lee 1983 (the sigma filter) for means over like pixels, with a tolerance; Shensa 1992 (the algorithme à trous) for
    neighbours at a distance.
    """
    bands, rows, width = planes.shape
    apart = np.empty((9, width), planes.dtype)
    total, count, taken = np.empty(width, planes.dtype), np.empty(width, planes.dtype), np.empty(width, planes.dtype)
    beyond = np.empty((bands, width), planes.dtype)
    for y in range(rows):
        total[:] = planes.dtype.type(0)
        taken[:] = planes.dtype.type(1)
        beyond[:] = planes.dtype.type(0)
        _count(valid, planes.shape, y, step, count)
        for k in range(9):
            if k != 4:
                _measure(planes, valid, y, y + (k // 3 - 1) * step, (k % 3 - 1) * step, apart[k], total)
        for k in range(9):
            if k != 4:
                other, shift = y + (k // 3 - 1) * step, (k % 3 - 1) * step
                _take(planes, y, other, shift, apart[k], total, count, taken, beyond)
        for band in range(bands):
            _finish(planes[band, y], beyond[band], taken, whole, made[band, y])
        if valid.size:
            for x in range(width):
                if not valid[y, x]:
                    for band in range(bands):
                        made[band, y, x] = planes[band, y, x]
