"""Connected regions of equal labels by runs: what is equal along a row is one thing, whatever its length.

A run is a longest stretch of equal labels in a row, of invalid pixels too. Regions are of valid pixels, 8-connected,
and numbered 1, 2, ... by their first pixels, row by row; 0 is invalid. Of a photograph there is a run for some ten
pixels, so nothing here is as large as the image but where each pixel is a run of its own.

References
----------
Rosenfeld & Pfaltz 1966 (regions and their equivalences in two passes); He, Chao & Suzuki 2008 (the same by runs).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .forests import number_roots, unite

I32 = NDArray[np.int32]
U16 = NDArray[np.uint16]
Bools = NDArray[np.bool_]
Labels = NDArray[np.unsignedinteger[Any]]

ALIKE = 4  # contacts of a region that are looked at for the same neighbour before another is noted: they come in rows


@kernel("C2u1 i", "C2u2 i")
def label_runs(labels: Labels, invalid: int) -> tuple[I32, I32, I32, int]:
    """Find the runs and the regions they are of.

    Parameters
    ----------
    labels
        (y, x) of fewer than 2^31 pixels.
    invalid
        The label that is of no region.

    Returns
    -------
    starts, rows, regions, count
        int32 (n + 1,): where each run begins, counted row by row, and the end of the last; int32 (y + 1,): the first
        run of each row, and n; int32 (n,): the region of each run, 0 where invalid; and how many regions there are.
    """
    height, width = labels.shape
    starts = np.empty(height * width + 1, np.int32)  # the system gives memory only to what is written
    parent = np.empty(height * width, np.int32)
    rows = np.empty(height + 1, np.int32)
    differs = np.zeros(-(-width // 8) * 8, np.uint8)
    eights = differs.view(np.uint64)  # most of them are 0, and passed over at once
    n = 0
    for r in range(height):
        base = r * width
        first = n
        rows[r] = n
        starts[n] = base
        n += 1
        for c in range(1, width):
            differs[c] = labels[r, c] != labels[r, c - 1]
        for eight in range(eights.size):
            if eights[eight]:
                for c in range(8 * eight, 8 * eight + 8):
                    starts[n] = base + c
                    n += int(differs[c])
        starts[n] = base + width
        above = rows[r - 1] if r > 0 else 0
        for run in range(first, n):
            own = labels[r, starts[run] - base]
            parent[run] = run if own != invalid else -1
            if r == 0 or own == invalid:
                continue
            begin, end = starts[run] - width, starts[run + 1] - width  # of the pixels above it
            while starts[above + 1] < begin:
                above += 1
            least = run
            for other in range(above, first):
                if starts[other] > end:
                    break
                if labels[r - 1, starts[other] - base + width] == own:
                    least = unite(parent, least, other)
            parent[run] = least
    rows[height] = n
    regions, count = number_roots(parent[:n], 0)
    return starts[: n + 1].copy(), rows, regions, count


@kernel("C2u1 C1i4 C1i4 C1i4 i", "C2u2 C1i4 C1i4 C1i4 i")
def measure_runs(labels: Labels, starts: I32, rows: I32, regions: I32, count: int) -> tuple[I32, I32, I32, Bools]:
    """Pixels, label and place of the first pixel (row by row) of each region, and whether it is at the edge of
    ``labels``; (count + 1,), entry 0 of no meaning. Parameters are what `label_runs` took and gave.
    """
    height, width = labels.shape
    areas = np.zeros(count + 1, np.int32)
    classes = np.zeros(count + 1, np.int32)
    firsts = np.full(count + 1, -1, np.int32)
    at_edge = np.zeros(count + 1, np.bool_)
    for r in range(height):
        first, last = rows[r], rows[r + 1] - 1
        for run in range(first, last + 1):
            region = regions[run]
            areas[region] += starts[run + 1] - starts[run]
            if firsts[region] < 0:
                firsts[region] = starts[run]
                classes[region] = labels[r, starts[run] - r * width]
            if r == 0 or r == height - 1:
                at_edge[region] = True
        at_edge[regions[first]] = True
        at_edge[regions[last]] = True
    return areas, classes, firsts, at_edge


@inlined
def _note(last: I32, contacts: I32, size: int, region: int, other: int, length: int) -> int:
    """Add to a region's contacts; how many contacts there are then."""
    at = last[region]
    for _ in range(ALIKE):
        if at < 0:
            break
        if contacts[at, 1] == other:
            contacts[at, 2] += length
            return size
        at = contacts[at, 0]
    contacts[size, 0] = last[region]
    contacts[size, 1] = other
    contacts[size, 2] = length
    last[region] = size
    return size + 1


@kernel("C1i4 C1i4 C1i4 C1i4 i i")
def touching_runs(starts: I32, rows: I32, regions: I32, areas: I32, width: int, least: int) -> tuple[I32, I32, I32]:
    """What regions of fewer than ``least`` pixels touch, straight or at a corner.

    Parameters
    ----------
    starts, rows, regions
        As `label_runs` gave them.
    areas
        As `measure_runs` did.
    width
        Of the labels.

    Returns
    -------
    offsets, others, lengths
        int32 (regions + 2,): where each region's contacts begin, those of region r from ``offsets[r]`` to
        ``offsets[r + 1]``; int32: the region touched (one may be named several times), and over how many pairs of
        pixels that are neighbours in a row or a column: 0 where only corners touch.
    """
    last = np.full(areas.size, -1, np.int32)
    contacts = np.empty((max(1024, 2 * areas.size), 3), np.int32)  # the one before it of the same region, other, length
    size = 0
    for r in range(rows.size - 1):
        above = rows[r - 1] if r > 0 else 0
        first = rows[r]
        for run in range(first, rows[r + 1]):
            own = regions[run]
            if own == 0:
                continue
            is_small = areas[own] < least
            begin, end = starts[run] - width, starts[run + 1] - width
            while size + 2 * (first - above) + 4 > contacts.shape[0]:
                contacts = np.concatenate((contacts, contacts))
            if run > first and regions[run - 1] != 0:
                if is_small:
                    size = _note(last, contacts, size, own, regions[run - 1], 1)
                if areas[regions[run - 1]] < least:
                    size = _note(last, contacts, size, regions[run - 1], own, 1)
            if r == 0:
                continue
            while starts[above + 1] < begin:
                above += 1
            other = above
            while other < first and starts[other] <= end:
                there = regions[other]
                if there != 0 and there != own:
                    length = min(end, starts[other + 1]) - max(begin, starts[other])
                    if is_small:
                        size = _note(last, contacts, size, own, there, length)
                    if areas[there] < least:
                        size = _note(last, contacts, size, there, own, length)
                other += 1
    offsets = np.zeros(areas.size + 1, np.int32)
    others, lengths = np.empty(size, np.int32), np.empty(size, np.int32)
    at = 0
    for region in range(areas.size):
        offsets[region] = at
        contact = last[region]
        while contact >= 0:
            others[at], lengths[at] = contacts[contact, 1], contacts[contact, 2]
            at += 1
            contact = contacts[contact, 0]
    offsets[areas.size] = at
    return offsets, others, lengths


@kernel("C1i4 C1i4 C1i4 C1i4 C1i4 C1b1 i")
def surrounded(offsets: I32, others: I32, lengths: I32, areas: I32, firsts: I32, is_open: Bools, least: int) -> I32:
    """The one region that a small one touches, where that is a neighbour, large, and met before: it goes there,
    whatever becomes of others, and nothing else comes of it.

    Parameters
    ----------
    offsets, others, lengths
        As `touching_runs` gave them.
    areas, firsts
        As `measure_runs` did.
    is_open
        bool, by region: whether it may go on, or touch others, beyond these labels.
    least
        As given to `touching_runs`.

    Returns
    -------
    int32, by region: 0 where there is no such one.
    """
    found = np.zeros(areas.size, np.int32)
    for region in range(1, areas.size):
        begin, end = offsets[region], offsets[region + 1]
        if begin == end or is_open[region]:
            continue
        only = others[begin]
        if areas[only] < least or firsts[only] > firsts[region]:
            continue
        alike, border = True, 0
        for at in range(begin, end):
            alike = alike and others[at] == only
            border += lengths[at]
        if alike and border > 0:
            found[region] = only
    return found


@kernel("C2u1 C2u1 C1i4 C1u2", "C2u2 C2u2 C1i4 C1u2")
def paint_regions(labels: Labels, made: Labels, firsts: I32, classes: U16) -> None:
    """Give regions other labels.

    Parameters
    ----------
    labels
        (y, x): whose regions they are.
    made
        The same, which is changed in place.
    firsts, classes
        int32, uint16 (n,): a pixel of each, counted row by row, and its new label, which is not the one it has.
    """
    height, width = labels.shape
    waiting = np.empty(1024, np.int32)
    for region in range(firsts.size):
        own, now = labels[firsts[region] // width, firsts[region] % width], classes[region]
        waiting[0] = firsts[region]
        count = 1
        while count > 0:
            count -= 1
            r, at = waiting[count] // width, waiting[count] % width
            if made[r, at] != own:
                continue
            begin, end = at, at + 1
            while begin > 0 and labels[r, begin - 1] == own:
                begin -= 1
            while end < width and labels[r, end] == own:
                end += 1
            for c in range(begin, end):
                made[r, c] = now
            while count + 2 * (end - begin) + 4 > waiting.size:
                waiting = np.concatenate((waiting, waiting))
            for beside in (r - 1, r + 1):
                if 0 <= beside < height:
                    for c in range(max(begin - 1, 0), min(end + 1, width)):
                        is_next = c > max(begin - 1, 0) and labels[beside, c - 1] == own
                        if labels[beside, c] == own and not is_next and made[beside, c] == own:
                            waiting[count] = beside * width + c
                            count += 1
