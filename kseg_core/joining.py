"""Connected components of an image too large to be labelled at once: labelled window by window, joined at the seams.

A window labels what it sees and hands over only its border: which component each pixel of its first and last row and
column belongs to. Neighbours' borders say which components are one; what does not touch a border is done already.
Memory is that of the borders: 16 bytes times a window's side for each window, a few times that while joining, whatever
the number of pixels or components.

References
----------
Rosenfeld & Pfaltz 1966, "Sequential operations in digital picture processing" (components and their equivalences).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rim(NamedTuple):
    """The outermost pixels of a window, each line in the order of its axis; corners are in two of them.

    Attributes
    ----------
    top, bottom
        (width,).
    left, right
        (height,).
    """

    top: NDArray[Any]
    bottom: NDArray[Any]
    left: NDArray[Any]
    right: NDArray[Any]

    @classmethod
    def of(cls, window: NDArray[Any]) -> Rim:
        """Copies of a window's (y, x) outermost rows and columns, so that the window itself can be let go."""
        return cls(window[0].copy(), window[-1].copy(), window[:, 0].copy(), window[:, -1].copy())


@dataclass(frozen=True, slots=True)
class Borders:
    """What a window hands over to be joined with its neighbours.

    Parameters
    ----------
    components
        int32: 0 is background, 1 to ``count`` are the window's own connected components.
    count
        How many components the window has, those that touch no border included.
    classes
        Any integer dtype: the class of each border pixel, where components are of several classes (regions of a label
        image). Two pixels join only where their classes are equal. None: there is one class.
    """

    components: Rim
    count: int
    classes: Rim | None = None

    @classmethod
    def of(cls, components: NDArray[np.int32], count: int, classes: NDArray[Any] | None = None) -> Borders:
        """Those of a window (y, x) of at least one pixel; ``classes`` is of the same shape."""
        return cls(Rim.of(components), count, None if classes is None else Rim.of(classes))


@dataclass(frozen=True, slots=True)
class WindowNumbers:
    """The numbers that one window's components have in the whole image.

    Components that begin in this window are numbered on from ``begin`` in their own order; only those that were met
    before (in an earlier window, or under a smaller number in this one) are listed.

    Parameters
    ----------
    count
        Components of the window.
    begin
        Number of the first component that begins here.
    continued
        int64, ascending: the window's own numbers, from 1, of components met before.
    numbers
        int64: what these are called in the whole image.
    """

    count: int
    begin: int
    continued: NDArray[np.int64]
    numbers: NDArray[np.int64]

    def of(self, components: NDArray[Any]) -> NDArray[np.int64]:
        """Numbers in the image, from 0, of the window's own numbers; -1 for background.

        For a few of them (those at the border, say). For a whole window, ``table()[components]`` is faster.
        """
        own = np.asarray(components, dtype=np.int64)
        before = np.searchsorted(self.continued, own)
        found = self.begin + own - 1 - before
        if self.continued.size:
            at = np.minimum(before, self.continued.size - 1)
            found = np.where(self.continued[at] == own, self.numbers[at], found)
        return np.where(own > 0, found, -1)

    def table(self) -> NDArray[np.int64]:
        """(count + 1,): entry c is the number in the image of the window's component c; entry 0, background, is -1."""
        return self.of(np.arange(self.count + 1))


@dataclass(frozen=True, slots=True)
class Joined:
    """The components of a whole image.

    Parameters
    ----------
    count
        How many there are.
    windows
        Each window's numbers, in the order the windows were given in.
    """

    count: int
    windows: tuple[WindowNumbers, ...]


def columns_of_grid(positions: Sequence[tuple[int, int]]) -> int:
    """How many columns a grid of windows has, from their (top, left) in row-major order.

    Raises
    ------
    ValueError
        If the windows are not a grid in row-major order.
    """
    columns = sum(top == positions[0][0] for top, _ in positions) if positions else 0
    lefts = [left for _, left in positions[:columns]]
    rows = [positions[at : at + columns] for at in range(0, len(positions), columns)] if columns else []
    tops = [row[0][0] for row in rows]
    expected = [(top, left) for top in tops for left in lefts]
    if not columns or list(positions) != expected or sorted(set(lefts)) != lefts or sorted(set(tops)) != tops:
        raise ValueError("windows must be a grid, row by row")
    return columns


def join_components(windows: Sequence[Borders], columns: int, *, diagonal: bool = True) -> Joined:
    """The connected components of an image from those of its windows.

    Pixels that touch across a seam join, where components are 8-connected diagonally too, also where four windows meet.

    Parameters
    ----------
    windows
        The borders of a grid of windows that covers the image, row by row.
    columns
        Windows in a row of the grid.
    diagonal
        Whether components are 8-connected, or 4-connected.

    Returns
    -------
    Joined
        Numbered by where a component is met first: by window in the order given, then by the window's own number. With
        windows that label in scan order this does not depend on anything but the grid.

    Raises
    ------
    ValueError
        If the windows do not fit together.
    """
    rows = _grid(windows, columns)
    nodes = _Nodes.of(windows)
    seen = np.concatenate(
        [np.zeros((0, 2), np.int64), *(np.unique(touching, axis=0) for touching in _seams(rows, nodes, diagonal))]
    )
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = nodes.own.size
    graph = coo_array((np.ones(len(seen), np.bool_), (seen[:, 0], seen[:, 1])), shape=(size, size))
    group = connected_components(graph, directed=False)[1] if size else np.zeros(0, np.int32)
    return _numbered(windows, nodes, group)


class _Nodes(NamedTuple):
    """The components that touch a border, of all windows in order; only these can join.

    Attributes
    ----------
    own
        (n,) int64: their numbers in their windows, ascending within each.
    starts
        (windows + 1,) int64: where each window's nodes begin.
    """

    own: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, windows: Sequence[Borders]) -> _Nodes:
        own = [np.setdiff1d(np.concatenate(window.components), [0]).astype(np.int64) for window in windows]
        starts = np.concatenate([[0], np.cumsum([each.size for each in own])]).astype(np.int64)
        return cls(np.concatenate([np.zeros(0, np.int64), *own]), starts)

    def at(self, window: int, line: NDArray[np.int32]) -> NDArray[np.int64]:
        """The nodes along a line of a window's border; -1 for background."""
        start, stop = self.starts[window], self.starts[window + 1]
        found = start + np.searchsorted(self.own[start:stop], line)
        return np.where(line > 0, found, -1)


def _grid(windows: Sequence[Borders], columns: int) -> list[list[tuple[int, Borders]]]:
    """The windows in rows, each with its place in the order given; refused where sizes do not match."""
    if columns < 1 or not windows or len(windows) % columns:
        raise ValueError(f"expected full rows of {columns} windows, got {len(windows)} windows")
    numbered = list(enumerate(windows))
    rows = [numbered[at : at + columns] for at in range(0, len(windows), columns)]
    widths = [window.components.top.size for _, window in rows[0]]
    for row in rows:
        heights = {window.components.left.size for _, window in row}
        if len(heights) > 1 or [window.components.top.size for _, window in row] != widths:
            raise ValueError("windows of one row must have one height, and windows of one column one width")
    if len({window.classes is None for window in windows}) > 1:
        raise ValueError("either all windows have classes or none has")
    return rows


def _seams(rows: list[list[tuple[int, Borders]]], nodes: _Nodes, diagonal: bool) -> Iterator[NDArray[np.int64]]:
    """Pairs (n, 2) of nodes that touch, seam by seam: below every row of windows, and right of every column.

    A seam runs through the whole image, so that the diagonals where four windows meet are on it like any others.
    """
    columns = list(zip(*rows, strict=True))
    for upper, lower in pairwise(rows):
        yield _touching(_line(upper, "bottom", nodes), _line(lower, "top", nodes), diagonal)
    for first, second in pairwise(columns):
        yield _touching(_line(first, "right", nodes), _line(second, "left", nodes), diagonal)


def _line(windows: Sequence[tuple[int, Borders]], side: str, nodes: _Nodes) -> tuple[NDArray[np.int64], Any]:
    """One side of several windows end to end: nodes, and classes or None."""
    found = np.concatenate([nodes.at(at, getattr(window.components, side)) for at, window in windows])
    classes = [getattr(window.classes, side) for _, window in windows if window.classes is not None]
    return found, np.concatenate(classes) if classes else None


def _touching(
    one: tuple[NDArray[np.int64], NDArray[Any] | None],
    other: tuple[NDArray[np.int64], NDArray[Any] | None],
    diagonal: bool,
) -> NDArray[np.int64]:
    """Pairs (n, 2) of nodes that touch, straight or also diagonally, along two lines of pixels side by side."""
    (a, a_class), (b, b_class) = one, other
    pairs = []
    aside = ((slice(1, None), slice(0, -1)), (slice(0, -1), slice(1, None)))
    for left, right in ((slice(None), slice(None)), *(aside if diagonal else ())):
        join = (a[left] >= 0) & (b[right] >= 0)
        if a_class is not None and b_class is not None:
            join &= a_class[left] == b_class[right]
        pairs.append(np.stack([a[left][join], b[right][join]], axis=1))
    return np.concatenate(pairs)


def _numbered(windows: Sequence[Borders], nodes: _Nodes, group: NDArray[np.int32]) -> Joined:
    """Number every component by its first node: nodes are in the order of windows and, within one, of own numbers."""
    size = nodes.own.size
    first = np.unique(group, return_index=True)[1][group] if size else np.zeros(0, np.int64)
    is_first = first == np.arange(size)
    met = np.concatenate([[0], np.cumsum(~is_first)]).astype(np.int64)  # nodes before each that were met earlier
    window_of = np.repeat(np.arange(len(windows)), np.diff(nodes.starts))
    starting = [window.count for window in windows] - np.diff(met[nodes.starts])
    begins = np.concatenate([[0], np.cumsum(starting)]).astype(np.int64)
    # Of a first node: how many begin in windows before it, and how many before it in its own.
    in_window = nodes.own - 1 - (met[:-1] - met[nodes.starts[window_of]])
    numbers = (begins[window_of] + in_window)[first]
    found = []
    for at, window in enumerate(windows):
        mine = slice(int(nodes.starts[at]), int(nodes.starts[at + 1]))
        later = ~is_first[mine]
        found.append(WindowNumbers(window.count, int(begins[at]), nodes.own[mine][later], numbers[mine][later]))
    return Joined(int(begins[-1]), tuple(found))
