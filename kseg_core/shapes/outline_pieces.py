"""Outlines that go through several windows: laid aside on the disk window by window, joined end to end at last."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..joining import Borders, join_components
from .outlines import Open, Outlining, Text, WindowOutlines, feature_texts, of_polygons, ranges

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

BATCH = 1 << 18  # corners that are joined at once, or those of one polygon


class _Laid(NamedTuple):
    """What stays in memory of a window."""

    open: Open  # its open regions and parts, without walks, chains and corners
    # Of its regions and of their 4-connected parts
    borders: Borders
    parts: Borders
    # int64 (parts, 5): of each part, where its chains are in the file (counted in 8 bytes), how many walks, where
    # their lengths are, where the corners, how many corners
    places: I64


@dataclass(slots=True)
class Pieces:
    """Pieces of outlines on the disk.

    Held in memory: the borders of the windows and what is known of the parts of regions that touch them. When they are
    joined, the outlines of some of these parts at a time, or of one polygon.

    Parameters
    ----------
    path
        A file that is made for it, and removed at the end.
    columns
        Windows in a row.
    """

    path: str
    columns: int
    _file: IO[bytes] | None = None
    _windows: list[_Laid] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._file = open(self.path, "x+b")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()
        os.unlink(self.path)

    def add(self, window: WindowOutlines) -> None:
        """Lay aside what a window hands over; windows come row by row."""
        assert self._file is not None
        own = window.open
        begin, walks = self._file.seek(0, os.SEEK_END) // 8, len(own.walks)
        lengths = (own.walks[:, 2] - own.walks[:, 1]).astype(np.int64)
        for array in (own.chains, lengths, own.corners):  # a corner is 8 bytes, like all the others
            self._file.write(np.ascontiguousarray(array).tobytes())
        first = np.searchsorted(own.walks[:, 0], own.parts)
        last = np.searchsorted(own.walks[:, 0], own.parts, side="right")
        ends = np.concatenate([[0], np.cumsum(lengths)])
        places = [begin + 2 * first, last - first, begin + 2 * walks + first, begin + 3 * walks + ends[first]]
        bare = own._replace(walks=own.walks[:0], chains=own.chains[:0], corners=own.corners[:0])
        self._windows.append(
            _Laid(bare, window.borders, window.parts, np.stack([*places, ends[last] - ends[first]], axis=1))
        )

    def features(self, how: Outlining) -> Iterator[Text]:
        """The features of all regions that may go through several windows, in the order of their first pixels."""
        assert self._file is not None
        self._file.flush()
        polygons = self._polygons_to_write(how.min_area_px)
        if not polygons.parts.size:
            return
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            data = np.frombuffer(mapped, np.int64)
            try:
                for parts, number, facts in polygons.batches():
                    yield from feature_texts(*_closed(parts, number, data), facts, how)
            finally:
                del data  # a file that is looked into cannot be unmapped

    def _polygons_to_write(self, min_area_px: int) -> _Polygons:
        """All parts of open regions that are large enough, in the order in which they are written."""
        opened = [window.open for window in self._windows]
        region, count = self._numbers([window.borders for window in self._windows], [own.regions for own in opened])
        pixels, label = np.zeros(count, np.int64), np.zeros(count, np.int64)
        first = np.full(count, np.iinfo(np.int64).max)
        np.add.at(pixels, region, np.concatenate([own.pixels for own in opened]))
        np.minimum.at(first, region, np.concatenate([own.firsts for own in opened]))
        label[region] = np.concatenate([own.classes for own in opened])
        starts = np.cumsum([0, *(own.regions.size for own in opened)])
        places = (np.searchsorted(own.regions, own.part_regions) for own in opened)
        of_part = region[np.concatenate([start + at for start, at in zip(starts, places, strict=False)])]
        # A polygon is named by the place of its first pixel.
        part, count = self._numbers(
            [window.parts for window in self._windows], [own.parts for own in opened], diagonal=False
        )
        begins = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(begins, part, np.concatenate([own.part_firsts for own in opened]))
        polygon = begins[part]
        written = np.flatnonzero(pixels[of_part] >= min_area_px)
        order = written[np.lexsort((polygon[written], first[of_part[written]]))]
        parts = np.concatenate([window.places for window in self._windows])
        facts = np.stack([label, pixels, first], axis=1)
        return _Polygons(parts[order], polygon[order], facts[of_part[order]])

    def _numbers(self, borders: list[Borders], own: list[I64], *, diagonal: bool = True) -> tuple[I64, int]:
        """Of some of each window's own numbers, those in the image, from 0 without gaps; and how many there are."""
        joined = join_components(borders, self.columns, diagonal=diagonal)
        numbers = np.concatenate([window.of(each) for window, each in zip(joined.windows, own, strict=True)])
        found, at = np.unique(numbers, return_inverse=True)
        return at, found.size


class _Polygons(NamedTuple):
    """Parts of polygons, in the order in which these are written: by region, then by polygon."""

    parts: I64  # int64 (n, 5): where a part's outlines are, as `_Laid` has it
    polygon: I64  # (n,): the place of the first pixel of the polygon a part belongs to
    facts: I64  # (n, 3): label, pixels and place of the first pixel of its region

    def batches(self) -> Iterator[tuple[I64, I64, I64]]:
        """Whole polygons of not too many corners together: their parts, the polygon each is of, and their facts."""
        begins = np.flatnonzero(np.diff(self.polygon, prepend=-1))
        facts = of_polygons(self.facts[begins])
        bounds = np.append(begins, len(self.parts))
        corners = np.cumsum([0, *np.add.reduceat(self.parts[:, 4], begins)])
        at = 0
        while at < begins.size:
            to = max(at + 1, int(np.searchsorted(corners, corners[at] + BATCH, side="right")) - 1)
            number = np.repeat(np.arange(to - at), np.diff(bounds[at : to + 1]))
            yield self.parts[bounds[at] : bounds[to]], number, facts[at:to]
            at = to


def _closed(parts: I64, number: I64, data: I64) -> tuple[I32, I64, I64]:
    """The closed walks around some polygons: corners, where each walk begins, and the polygon it is of."""
    chains_at, walks, lengths_at, corners_at, count = parts.T
    chains = data[ranges(chains_at, 2 * walks)].reshape(-1, 2)
    lengths = data[ranges(lengths_at, walks)]
    corners = data[ranges(corners_at, count)]
    order, closed = end_to_end(chains)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    sorted_corners = corners[ranges(starts[order], lengths[order])].view(np.int32).reshape(-1, 2)
    ends = np.cumsum(lengths[order])
    polygon = np.repeat(number, walks)[order]
    return sorted_corners, np.concatenate([[0], ends[closed]]).astype(np.int64), polygon[closed]


def end_to_end(chains: I64) -> tuple[I64, I64]:
    """Put walks in an order in which each chain is followed by the one that goes on where it ends.

    Parameters
    ----------
    chains
        int64 (n, 2): the names of a chain's first step and of the step after its last; -1 of closed walks.

    Returns
    -------
    order
        int64 (n,).
    closed
        int64: where in the order a closed walk is complete.

    Raises
    ------
    ValueError
        If a chain does not go on anywhere.
    """
    whole = np.flatnonzero(chains[:, 0] < 0)
    parted = np.flatnonzero(chains[:, 0] >= 0)
    own = parted[np.argsort(chains[parted, 0])]
    names = chains[own]
    following = np.searchsorted(names[:, 0], names[:, 1])
    if not np.array_equal(np.append(names[:, 0], -1)[following], names[:, 1]):
        raise ValueError("expected chains that go on in others, got one that ends nowhere")
    order, closed = _cycles(following.tolist())
    return np.concatenate([whole, own[order]]), np.concatenate([np.arange(whole.size), whole.size + closed])


def _cycles(following: list[int]) -> tuple[I64, I64]:
    """The cycles of a permutation one after the other, and where each of them ends."""
    order: list[int] = []
    closed: list[int] = []
    taken = bytearray(len(following))
    for first in range(len(following)):
        here = first
        while not taken[here]:
            taken[here] = 1
            order.append(here)
            here = following[here]
        if not closed or closed[-1] != len(order) - 1:  # the first had not been taken before
            closed.append(len(order) - 1)
    return np.array(order, np.int64), np.array(closed, np.int64)
