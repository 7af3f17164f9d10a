"""Small connected regions of clusters go to their neighbours: the same labels whatever windows an image is cut into.

What is done is defined on the whole image. Regions are 8-connected pixels of one label, and never hold invalid ones. As
long as there is a region of fewer pixels than asked for that has a neighbour (a region of another label, next to it in
a row or a column), the smallest of them (of equals that whose first pixel comes first, row by row) becomes of the label
of the neighbour that it shares most border with: most pairs of pixels that are next to each other; in a tie that whose
centroid is nearest to its own, then that whose first pixel comes first. Then it is one with all regions of that label
that it touches.

A window tells a *patch* of what it sees: its small regions, those at its border, and those that small ones touch, with
what small ones share with them. Patches are joined to a graph of the whole image, which is worked on in one place
(`kernels.absorb`), and each window is told which of its regions change. Large regions that touch no small one are not
in it, and nothing is of the size of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..joining import Rim
from ..kernels.absorb import absorb, add_up, touching_across, unite_across
from ..kernels.runs import label_runs, measure_runs, paint_runs, touching_runs
from .labelling import Labels, invalid_label

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
F64 = NDArray[np.float64]
Window = tuple[slice, slice]  # rows and columns

WINDOW_PX = 2048  # side of the windows that an image is cleaned in
RUN_BYTES = 8
NODE_BYTES = 66  # of a region in the graph and while it is worked on: its patch is gone then
CONTACT_BYTES = 8


class Runs(NamedTuple):
    """A window's runs and the regions they are of, as `label_runs` gives them."""

    starts: I32
    rows: I32
    regions: I32
    total: int

    @classmethod
    def of(cls, labels: Labels, k: int) -> Runs:
        return cls(*label_runs(labels, invalid_label(k)))

    @property
    def rim(self) -> Rim:
        """The regions along the window's border."""
        first, last = self.rows[:-1], self.rows[1:] - 1
        top, bottom = slice(first[0], last[0] + 1), slice(first[-1], last[-1] + 1)
        lengths = np.diff(self.starts)
        return Rim(
            np.repeat(self.regions[top], lengths[top]),
            np.repeat(self.regions[bottom], lengths[bottom]),
            self.regions[first],
            self.regions[last],
        )


@dataclass(frozen=True, slots=True)
class Patch:
    """What a window hands over: of those of its regions that may have to do with a small one, its *nodes*.

    Parameters
    ----------
    window
        Where it is in the image.
    numbers
        int32 (n,), rising: the nodes' numbers among the window's regions.
    pixels, classes, firsts
        int32, uint16, int32 (n,): their pixels, their labels, and where in the window their first pixels are.
    offsets, others, lengths
        int32 (n + 1,), (m,), (m,): what small nodes touch, by nodes, as `touching_runs` has it by regions.
    rim
        int32: the nodes along the window's border; -1 where invalid.
    """

    window: Window
    numbers: I32
    pixels: I32
    classes: U16
    firsts: I32
    offsets: I32
    others: I32
    lengths: I32
    rim: Rim

    @property
    def working_bytes(self) -> int:
        """Of its part in the joined graph, while that is worked on."""
        return self.numbers.size * NODE_BYTES + self.others.size * CONTACT_BYTES


class Changes(NamedTuple):
    """Which regions of a window get another label.

    Attributes
    ----------
    numbers, classes
        int32, uint16 (n,): their numbers among the window's regions, rising, and their labels.
    moved
        int64 (k,): by how many pixels each cluster grows by that, or shrinks.
    """

    numbers: I32
    classes: U16
    moved: I64


@dataclass(frozen=True, slots=True)
class Cleaning:
    """How an image is cleaned.

    Parameters
    ----------
    least
        Pixels that a region must have.
    centroids
        float64 (k, d), of its model.
    """

    least: int
    centroids: F64

    @property
    def k(self) -> int:
        return len(self.centroids)


# --------------------------------------------------------------------------------------------------------- a window


def patch_of(labels: Labels, window: Window, shape: tuple[int, int], how: Cleaning) -> Patch:
    """What a window of an image of a shape hands over; ``labels`` (y, x) of it."""
    labels = np.ascontiguousarray(labels)
    return _patch_of_runs(Runs.of(labels, how.k), labels, window, shape, how)


def _patch_of_runs(runs: Runs, labels: Labels, window: Window, shape: tuple[int, int], how: Cleaning) -> Patch:
    starts, rows, regions, count = runs
    areas, classes, firsts, at_edge = measure_runs(labels, starts, rows, regions, count)
    least = min(how.least, int(np.iinfo(np.int32).max))
    offsets, others, lengths = touching_runs(starts, rows, regions, areas, labels.shape[1], least)
    is_node = areas < least
    if labels.shape != shape:
        is_node |= at_edge
    is_node[others] = True
    is_node[0] = False
    numbers = np.flatnonzero(is_node).astype(np.int32)
    node_of = np.full(count + 1, -1, np.int32)
    node_of[numbers] = np.arange(numbers.size, dtype=np.int32)
    rim = runs.rim
    return Patch(
        window,
        numbers,
        areas[numbers],
        classes[numbers].astype(np.uint16),
        firsts[numbers],
        np.append(offsets[numbers], np.int32(others.size)),  # regions between them touch nothing that counts
        node_of[others],
        lengths,
        Rim(*(node_of[line] for line in rim)),
    )


def apply_changes(labels: Labels, changes: Changes, k: int) -> Labels:
    """The labels of a window (y, x) with its changes; the same array where there are none."""
    if not changes.numbers.size:
        return labels
    made = np.array(labels, order="C")
    _paint(Runs.of(made, k), made, changes, k)
    return made


def _paint(runs: Runs, labels: Labels, changes: Changes, k: int) -> None:
    starts, rows, regions, count = runs
    invalid = invalid_label(k)
    classes = np.full(count + 1, invalid, labels.dtype)
    flat = labels.reshape(-1)
    classes[regions] = flat[starts[:-1]]
    classes[changes.numbers] = changes.classes
    paint_runs(labels, starts, rows, regions, classes)


class Compared(NamedTuple):
    """What a window's stored labels are beside those that they were cleaned from.

    Attributes
    ----------
    patch
        Of the latter.
    classes
        uint16 (n,): the stored label of each node, by its first pixel.
    differing
        How many pixels are neither that of their node nor, outside of nodes, what they were.
    """

    patch: Patch
    classes: U16
    differing: int


def compare(raw: Labels, stored: Labels, window: Window, shape: tuple[int, int], how: Cleaning) -> Compared:
    """Hold the stored labels (y, x) of a window against the raw ones."""
    made = np.array(raw, order="C")
    runs = Runs.of(made, how.k)
    patch = _patch_of_runs(runs, made, window, shape, how)
    classes = stored.reshape(-1)[patch.firsts].astype(np.uint16)
    _paint(runs, made, Changes(patch.numbers, classes, np.zeros(0, np.int64)), how.k)
    return Compared(patch, classes, int(np.count_nonzero(made != stored)))


def count_differing(windows: Sequence[Compared], shape: tuple[int, int], how: Cleaning) -> int:
    """How many pixels of an image are not as cleaning makes them; ``windows``: a grid that covers it, in any order."""
    ordered = sorted(windows, key=lambda each: (each.patch.window[0].start, each.patch.window[1].start))
    differing = sum(each.differing for each in ordered)
    for each, changes in zip(ordered, join_patches([each.patch for each in ordered], shape, how), strict=True):
        expected = each.patch.classes.copy()
        expected[np.searchsorted(each.patch.numbers, changes.numbers)] = changes.classes
        differing += int(each.patch.pixels[expected != each.classes].sum(dtype=np.int64))
    return differing


# ---------------------------------------------------------------------------------------------------- a whole image


def clean_labels(labels: Labels, how: Cleaning, side: int = WINDOW_PX) -> tuple[Labels, I64]:
    """The cleaned labels of a whole image, and by how many pixels each cluster has grown, int64 (k,).

    Parameters
    ----------
    labels
        (y, x), as of ``k`` clusters; left as they are.
    how
        What is small.
    side
        Of the windows it is worked on in: it decides how much memory that takes, and nothing else.
    """
    made = np.array(labels, order="C")
    windows = list(_windows(made.shape, side))
    patches: list[Patch] = []
    few: list[Runs | None] = []  # those that are worth keeping until it is known what changes
    for window in windows:
        part = np.ascontiguousarray(made[window])
        runs = Runs.of(part, how.k)
        patches.append(_patch_of_runs(runs, part, window, made.shape, how))
        few.append(runs if runs.starts.size * RUN_BYTES < part.size else None)
    moved = np.zeros(how.k, np.int64)
    for window, kept, changes in zip(windows, few, join_patches(patches, made.shape, how), strict=True):
        if changes.numbers.size:
            part = np.array(made[window], order="C")
            _paint(kept or Runs.of(part, how.k), part, changes, how.k)
            made[window] = part
            moved += changes.moved
    return made, moved


def _windows(shape: tuple[int, ...], side: int) -> Iterator[Window]:
    height, width = shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield slice(top, min(top + side, height)), slice(left, min(left + side, width))


def join_patches(patches: list[Patch], shape: tuple[int, int], how: Cleaning) -> list[Changes]:
    """What changes in each window of an image.

    Parameters
    ----------
    patches
        Of a grid of windows that covers the image, row by row; the list is empty afterwards, as they are large.
    shape
        (height, width) of the image.
    how
        As given to `patch_of`.
    """
    windows = [patch.window for patch in patches]
    graph = _Graph.of(patches, shape[1])
    parent = np.arange(graph.classes.size, dtype=np.int32)
    seams = list(_seams(windows, graph.rims))
    for one, other in seams:
        unite_across(parent, graph.classes, one, other)
    areas, firsts = add_up(parent, graph.pixels, graph.firsts)
    touching = [touching_across(parent, graph.classes, areas, how.least, *seam) for seam in seams]
    across = np.concatenate([np.zeros((0, 3), np.int32), *touching])
    centroids = np.ascontiguousarray(how.centroids)
    found = absorb(
        parent, graph.classes.copy(), areas, firsts, graph.offsets, graph.others, graph.lengths, across, centroids,
        how.least,
    )  # fmt: skip
    return [
        _changes(graph.numbers[own], graph.pixels[own], graph.classes[own], found[own], how.k)
        for own in map(slice, graph.starts, graph.starts[1:])
    ]


def _changes(numbers: I32, pixels: I32, before: U16, after: U16, k: int) -> Changes:
    changed = np.flatnonzero(before != after)
    weights = pixels[changed].astype(np.int64)
    moved = np.zeros(k, np.int64)
    np.add.at(moved, after[changed], weights)
    np.subtract.at(moved, before[changed], weights)
    return Changes(numbers[changed], after[changed], moved)


@dataclass(frozen=True, slots=True)
class _Graph:
    """The patches of an image as one; arrays as `Patch` has them, ``firsts`` int64 in the image.

    Parameters
    ----------
    starts
        Where each patch's nodes begin; and how many there are.
    rims
        Of each patch, by the nodes of the graph.
    """

    starts: list[int]
    numbers: I32
    pixels: I32
    classes: U16
    firsts: I64
    offsets: I32
    others: I32
    lengths: I32
    rims: list[Rim]

    @classmethod
    def of(cls, patches: list[Patch], width: int) -> _Graph:
        starts = np.concatenate([[0], np.cumsum([patch.numbers.size for patch in patches])]).tolist()
        contacts = np.concatenate([[0], np.cumsum([patch.others.size for patch in patches])]).tolist()
        nodes, size = starts[-1], contacts[-1]
        if max(nodes, size) > np.iinfo(np.int32).max:
            raise OverflowError(f"expected up to 2^31 - 1 regions and contacts, got {nodes} and {size}")
        made = cls(
            starts,
            np.empty(nodes, np.int32),
            np.empty(nodes, np.int32),
            np.empty(nodes, np.uint16),
            np.empty(nodes, np.int64),
            np.full(nodes + 1, size, np.int32),
            np.empty(size, np.int32),
            np.empty(size, np.int32),
            [],
        )
        for at, first in zip(range(len(patches)), contacts[:-1], strict=True):
            patch, patches[at] = patches[at], None  # type: ignore[call-overload]  # each is let go as it is taken
            own, its = slice(starts[at], starts[at + 1]), slice(first, first + patch.others.size)
            (rows, columns), start = patch.window, np.int32(starts[at])
            down, along = np.divmod(patch.firsts.astype(np.int64), columns.stop - columns.start)
            made.numbers[own], made.pixels[own], made.classes[own] = patch.numbers, patch.pixels, patch.classes
            made.firsts[own] = (down + rows.start) * width + along + columns.start
            made.offsets[own] = patch.offsets[:-1] + np.int32(first)
            made.others[its], made.lengths[its] = patch.others + start, patch.lengths
            made.rims.append(Rim(*(np.where(line >= 0, line + start, np.int32(-1)) for line in patch.rim)))
        patches.clear()
        return made


def _seams(windows: Sequence[Window], rims: Sequence[Rim]) -> Iterator[tuple[I32, I32]]:
    """The nodes on both sides of each seam, from one end of the image to the other: corners of four windows too."""
    columns = sum(rows.start == 0 for rows, _ in windows)
    grid = [rims[at : at + columns] for at in range(0, len(rims), columns)]

    def line(some: Sequence[Rim], side: str) -> NDArray[Any]:
        return np.concatenate([getattr(rim, side) for rim in some])

    for upper, lower in pairwise(grid):
        yield line(upper, "bottom"), line(lower, "top")
    for left, right in pairwise(list(zip(*grid, strict=True))):
        yield line(left, "right"), line(right, "left")
