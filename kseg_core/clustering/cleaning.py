"""Small connected regions of clusters go to their neighbours: the same labels whatever windows an image is cut into.

What is done is defined on the whole image. Regions are 8-connected pixels of one label, and never hold invalid ones. As
long as there is a region of fewer pixels than asked for that has a neighbour (a region of another label, next to it in
a row or a column), the smallest of them (of equals that whose first pixel comes first, row by row) becomes of the label
of the neighbour that it shares most border with: most pairs of pixels that are next to each other; in a tie that whose
centroid is nearest to its own, then that whose first pixel comes first. Then it is one with all regions of that label
that it touches.

A window tells a *patch* of what it sees: its small regions, those at its border, and those that small ones touch, with
what small ones share with them. Most small regions are surrounded by a large one, and go there whatever becomes of the
others: these it decides itself. Patches are joined to a graph of the whole image, which is worked on in one place
(`kernels.absorb`), and each window is told which of its regions change. Large regions that touch no small one are not
in it, and nothing is of the size of the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..joining import Rim
from ..kernels.absorb import absorb, add_up, touching_across, unite_across
from ..kernels.runs import label_runs, measure_runs, paint_regions, surrounded, touching_runs
from .labelling import Labels, invalid_label

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U16 = NDArray[np.uint16]
F64 = NDArray[np.float64]
Window = tuple[slice, slice]  # rows and columns

WINDOW_PX = 1024  # side of the windows that an image is cleaned in: of noise, where each pixel is a region, 120 MB
NODE_BYTES = 80  # of a region in the joined graph and while it is worked on, and what is left of its patch; measured
CONTACT_BYTES = 10
SETTLED_BYTES = 12  # of one that is decided in its window: where it is, and its label


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
    pixels, classes, firsts
        int32, uint16, int32 (n,): their pixels, their labels, and where in the window their first pixels are.
    offsets, others, lengths
        int32 (n + 1,), (m,), (m,): what small nodes touch, by nodes, as `touching_runs` has it by regions.
    rim
        int32: the nodes along the window's border; -1 where invalid.
    settled
        What changes whatever is beyond the window: small regions with one neighbour, which is large. They are no nodes.
    moved
        uint16, int64 (m,): clusters, and by how many pixels they grow by that, or shrink.
    """

    window: Window
    pixels: I32
    classes: U16
    firsts: I32
    offsets: I32
    others: I32
    lengths: I32
    rim: Rim
    settled: Changes
    moved: tuple[U16, I64]

    @property
    def working_bytes(self) -> int:
        """Of its part in the joined graph, while that is worked on."""
        of_settled = self.settled.firsts.size * SETTLED_BYTES
        return self.pixels.size * NODE_BYTES + self.others.size * CONTACT_BYTES + of_settled


class Changes(NamedTuple):
    """Which regions of a window get another label.

    Attributes
    ----------
    firsts, classes
        int32, uint16 (n,): where in the window their first pixels are, and their labels.
    """

    firsts: I32
    classes: U16

    def with_more(self, more: Changes) -> Changes:
        """These and more."""
        return Changes(np.concatenate([self.firsts, more.firsts]), np.concatenate([self.classes, more.classes]))


class Joined(NamedTuple):
    """What changes in an image.

    Attributes
    ----------
    windows
        Of each window in turn.
    moved
        int64 (k,): by how many pixels each cluster grows by that, or shrinks.
    """

    windows: list[Changes]
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
    runs = Runs.of(labels, how.k)
    starts, rows, regions, count = runs
    areas, classes, firsts, at_edge = measure_runs(labels, starts, rows, regions, count)
    least = min(how.least, int(np.iinfo(np.int32).max))
    offsets, others, lengths = touching_runs(starts, rows, regions, areas, labels.shape[1], least)
    is_open = at_edge if labels.shape != shape else np.zeros_like(at_edge)
    only = surrounded(offsets, others, lengths, areas, firsts, is_open, least)
    settled = np.flatnonzero(only)
    counts = np.diff(offsets)
    is_left = np.repeat(only == 0, counts)  # of contacts
    others, lengths = others[is_left], lengths[is_left]
    offsets = np.append(0, np.cumsum(np.where(only == 0, counts, 0))).astype(np.int32)
    is_node = ((areas < least) & (only == 0)) | is_open
    is_node[others] = True
    is_node[0] = False
    goes = classes[only[settled]]
    numbers = np.flatnonzero(is_node).astype(np.int32)
    node_of = np.full(count + 1, -1, np.int32)
    node_of[numbers] = np.arange(numbers.size, dtype=np.int32)
    rim = runs.rim
    return Patch(
        window,
        areas[numbers],
        classes[numbers].astype(np.uint16),
        firsts[numbers],
        np.append(offsets[numbers], np.int32(others.size)),  # regions between them touch nothing that counts
        node_of[others],
        lengths,
        Rim(*(node_of[line] for line in rim)),
        Changes(firsts[settled], goes.astype(np.uint16)),
        _moved(classes[settled], goes, areas[settled]),
    )


def _moved(before: I32, after: I32, pixels: I32) -> tuple[U16, I64]:
    """Which clusters grow or shrink by that pixels change, and by how much."""
    clusters, which = np.unique(np.concatenate([after, before]), return_inverse=True)
    grown = np.zeros(clusters.size, np.int64)
    np.add.at(grown, which, np.concatenate([pixels, -pixels]))
    return clusters.astype(np.uint16), grown


def apply_changes(labels: Labels, changes: Changes) -> Labels:
    """The labels of a window (y, x) with its changes; the same array where there are none."""
    if not changes.firsts.size:
        return labels
    labels = np.ascontiguousarray(labels)
    made = labels.copy()
    paint_regions(labels, made, changes.firsts, changes.classes)
    return made


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
    raw = np.ascontiguousarray(raw)
    patch = patch_of(raw, window, shape, how)
    classes = stored.reshape(-1)[patch.firsts].astype(np.uint16)
    moved = np.flatnonzero(classes != patch.classes)
    told = Changes(patch.firsts[moved], classes[moved])
    made = apply_changes(raw, patch.settled.with_more(told))
    return Compared(patch, classes, int(np.count_nonzero(made != stored)))


def count_differing(windows: Sequence[Compared], shape: tuple[int, int], how: Cleaning) -> int:
    """How many pixels of an image are not as cleaning makes them; ``windows``: a grid that covers it, in any order."""
    ordered = sorted(windows, key=lambda each: (each.patch.window[0].start, each.patch.window[1].start))
    differing = sum(each.differing for each in ordered)
    joined = join_patches([each.patch for each in ordered], shape, how)
    for each, changes in zip(ordered, joined.windows, strict=True):
        expected = each.patch.classes.copy()
        is_node = np.isin(changes.firsts, each.patch.firsts)  # others are settled, and were compared
        expected[np.searchsorted(each.patch.firsts, changes.firsts[is_node])] = changes.classes[is_node]
        differing += int(each.patch.pixels[expected != each.classes].sum(dtype=np.int64))
    return differing


# ---------------------------------------------------------------------------------------------------- a whole image


class TooManyRegions(Exception):
    """Going through the small regions of an image takes so many bytes, more than there are."""

    def __init__(self, needs: int) -> None:
        super().__init__(needs)
        self.needs = needs


def within(patches: Iterable[Patch], most: int | None) -> list[Patch]:
    """The patches of an image, if going through them takes at most so many bytes.

    Raises
    ------
    TooManyRegions
        Saying what it takes.
    """
    held: list[Patch] = []
    needs = 0
    for patch in patches:
        needs += patch.working_bytes
        if most is None or needs <= most:
            held.append(patch)
        else:
            held.clear()  # the others are looked at for their number alone
    if most is not None and needs > most:
        raise TooManyRegions(needs)
    return held


def clean_labels(labels: Labels, how: Cleaning, side: int = WINDOW_PX, most: int | None = None) -> tuple[Labels, I64]:
    """The cleaned labels of a whole image, and by how many pixels each cluster has grown, int64 (k,).

    Parameters
    ----------
    labels
        (y, x), as of ``k`` clusters; left as they are.
    how
        What is small.
    side
        Of the windows it is worked on in: it decides how much memory that takes, and nothing else.
    most
        Bytes that its small regions may take; None: any.

    Raises
    ------
    TooManyRegions
        If they take more.
    """
    made = np.array(labels, order="C")
    windows = list(_windows(made.shape, side))
    patches = within((patch_of(made[window], window, made.shape, how) for window in windows), most)
    joined = join_patches(patches, made.shape, how)
    for window, changes in zip(windows, joined.windows, strict=True):
        made[window] = apply_changes(made[window], changes)
    return made, joined.moved


def _windows(shape: tuple[int, ...], side: int) -> Iterator[Window]:
    height, width = shape
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield slice(top, min(top + side, height)), slice(left, min(left + side, width))


def join_patches(patches: list[Patch], shape: tuple[int, int], how: Cleaning) -> Joined:
    """What changes in an image.

    Parameters
    ----------
    patches
        Of a grid of windows that covers the image, row by row; the list is empty afterwards, as they are large.
    shape
        (height, width) of the image.
    how
        As given to `patch_of`.
    """
    settled, grown = [patch.settled for patch in patches], [patch.moved for patch in patches]
    graph = _Graph.of(patches, shape[1])
    parent = np.arange(graph.classes.size, dtype=np.int32)
    seams = list(_seams(graph.windows, graph.rims))
    for one, other in seams:
        unite_across(parent, graph.classes, one, other)
    areas, firsts = add_up(parent, graph.pixels, graph.places)
    touching = [touching_across(parent, graph.classes, areas, how.least, *seam) for seam in seams]
    across = np.concatenate([np.zeros((0, 3), np.int32), *touching])
    centroids = np.ascontiguousarray(how.centroids)
    found = absorb(
        parent, graph.classes.copy(), areas, firsts, graph.offsets, graph.others, graph.lengths, across, centroids,
        how.least,
    )  # fmt: skip
    of_nodes = (graph.changes(at, found, shape[1]) for at in range(len(graph.windows)))
    windows = [own.with_more(more) for own, more in zip(settled, of_nodes, strict=True)]
    moved = graph.moved(found, how.k)
    for clusters, pixels in grown:
        moved[clusters] += pixels
    return Joined(windows, moved)


@dataclass(frozen=True, slots=True)
class _Graph:
    """The patches of an image as one; arrays as `Patch` has them.

    Parameters
    ----------
    windows
        Of the patches.
    starts
        Where each patch's nodes begin; and how many there are.
    places
        int64 (n,): where in the image the nodes' first pixels are.
    rims
        Of each patch, by the nodes of the graph.
    """

    windows: list[Window]
    starts: list[int]
    pixels: I32
    classes: U16
    places: I64
    offsets: I32
    others: I32
    lengths: I32
    rims: list[Rim]

    @classmethod
    def of(cls, patches: list[Patch], width: int) -> _Graph:
        starts = np.concatenate([[0], np.cumsum([patch.pixels.size for patch in patches])]).tolist()
        contacts = np.concatenate([[0], np.cumsum([patch.others.size for patch in patches])]).tolist()
        nodes, size = starts[-1], contacts[-1]
        if max(nodes, size) > np.iinfo(np.int32).max:
            raise OverflowError(f"expected up to 2^31 - 1 regions and contacts, got {nodes} and {size}")
        made = cls(
            [patch.window for patch in patches],
            starts,
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
            made.pixels[own], made.classes[own] = patch.pixels, patch.classes
            made.places[own] = (down + rows.start) * width + along + columns.start
            made.offsets[own] = patch.offsets[:-1] + np.int32(first)
            made.others[its], made.lengths[its] = patch.others + start, patch.lengths
            made.rims.append(Rim(*(np.where(line >= 0, line + start, np.int32(-1)) for line in patch.rim)))
        patches.clear()
        return made

    def changes(self, at: int, found: U16, width: int) -> Changes:
        """What changes in a window of an image of a width; ``found``: the labels of all nodes."""
        own = slice(self.starts[at], self.starts[at + 1])
        changed = np.flatnonzero(self.classes[own] != found[own])
        rows, columns = self.windows[at]
        down, along = np.divmod(self.places[own][changed], width)
        firsts = (down - rows.start) * (columns.stop - columns.start) + along - columns.start
        return Changes(firsts.astype(np.int32), found[own][changed])

    def moved(self, found: U16, k: int) -> I64:
        """By how many pixels each cluster grows."""
        moved = np.zeros(k, np.int64)
        for at in range(len(self.windows)):
            own = slice(self.starts[at], self.starts[at + 1])
            changed = self.classes[own] != found[own]
            pixels = self.pixels[own][changed].astype(np.int64)
            np.add.at(moved, found[own][changed], pixels)
            np.subtract.at(moved, self.classes[own][changed], pixels)
        return moved


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
