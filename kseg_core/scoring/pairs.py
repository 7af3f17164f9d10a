"""Which label meets which reference label how often: sparse tables of whole numbers, which add up in any order.

Everything a score says is made of such a table, so pixels are looked at once, window by window, and no window or worker
changes a bit of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..kernels.values import count_rows

I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

STRIP_PX = 1 << 19  # pixels that are counted at once: eight megabytes of pairs
FEW = 1 << 12  # distinct pairs of which there is room at first; more are rare, and then there is room for all
PAIR_BYTES = 100  # that merging takes, of each pair of both tables: 24 twice, and what sorts them


def _none() -> I64:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A contingency table: in rising order of rows, then columns, without those that never occur.

    Parameters
    ----------
    rows
        int64 (n,): a label.
    columns
        int64 (n,): a reference label.
    counts
        int64 (n,): pixels that have both.
    """

    rows: I64 = field(default_factory=_none)
    columns: I64 = field(default_factory=_none)
    counts: I64 = field(default_factory=_none)

    @classmethod
    def of(cls, rows: I64, columns: I64, counts: I64) -> Self:
        """Of entries in any order, some of which may be the same pair."""
        if not len(rows):
            return cls()
        order = np.lexsort((columns, rows))
        rows, columns, counts = rows[order], columns[order], counts[order]
        first = np.ones(len(rows), np.bool_)
        first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
        at = np.flatnonzero(first)
        return cls(rows[at], columns[at], np.add.reduceat(counts, at))

    @classmethod
    def count(cls, labels: NDArray[Any], codes: I64, valid: Bools) -> Self:
        """Count the pairs of a window.

        Parameters
        ----------
        labels
            Whole numbers below 2^63 (y, x).
        codes
            int64 (y, x): of the reference.
        valid
            bool (y, x): which pixels count.
        """
        flat, other, counted = labels.reshape(-1), codes.reshape(-1), valid.reshape(-1)
        strips = [slice(at, at + STRIP_PX) for at in range(0, flat.size, STRIP_PX)]
        return cls.merged([cls._of_strip(flat[strip], other[strip], counted[strip]) for strip in strips])

    @classmethod
    def _of_strip(cls, labels: NDArray[Any], codes: I64, valid: Bools) -> Self:
        values = np.empty((len(labels), 2), np.int64)
        values[:, 0], values[:, 1] = labels, codes
        valid = np.ascontiguousarray(valid)
        for room in (min(FEW, len(values)), len(values)):
            slots = np.full(1 << (2 * room - 1).bit_length(), -1, np.int64)
            rows, counts = np.empty((room, 2), np.int64), np.zeros(room, np.int64)
            if (n := count_rows(values, valid, slots, rows, counts)) >= 0:
                return cls.of(rows[:n, 0], rows[:n, 1], counts[:n])
        raise AssertionError("no more pairs than pixels")

    @classmethod
    def merged(cls, parts: Sequence[Pairs]) -> Self:
        """The sum of tables."""
        if len(parts) == 1:
            return cls(parts[0].rows, parts[0].columns, parts[0].counts)
        columns = ([getattr(part, name) for part in parts] for name in ("rows", "columns", "counts"))
        return cls.of(*(np.concatenate([_none(), *values]) for values in columns))

    def merge(self, other: Pairs) -> Pairs:
        """The sum of both."""
        return Pairs.merged([self, other])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def total(self) -> int:
        """Pixels."""
        return int(self.counts.sum())

    def with_rows(self, rows: I64) -> Pairs:
        """The same with other rows, which may be the same for several."""
        return Pairs.of(rows, self.columns, self.counts)

    def with_columns(self, columns: I64) -> Pairs:
        """The same with other columns, which may be the same for several."""
        return Pairs.of(self.rows, columns, self.counts)

    def row_totals(self) -> tuple[I64, I64]:
        """The distinct rows, rising, and the pixels of each."""
        return _totals(self.rows, self.counts)

    def column_totals(self) -> tuple[I64, I64]:
        """The distinct columns, rising, and the pixels of each."""
        order = np.argsort(self.columns, kind="stable")
        return _totals(self.columns[order], self.counts[order])


def _totals(rising: I64, counts: I64) -> tuple[I64, I64]:
    if not len(rising):
        return _none(), _none()
    at = np.flatnonzero(np.concatenate([[True], rising[1:] != rising[:-1]]))
    return rising[at], np.add.reduceat(counts, at)


class Sum:
    """A table that grows by those of windows; what waits is merged when it is as much as there is.

    Parameters
    ----------
    most
        Pairs that there may be; None: as many as there are.

    Raises
    ------
    TooManyPairs
        By `add` and `pairs`, where there are more.
    """

    def __init__(self, most: int | None = None) -> None:
        self._merged, self._waiting, self._count = Pairs(), list[Pairs](), 0
        self._most = most

    def add(self, pairs: Pairs) -> None:
        """Add a table."""
        self._waiting.append(pairs)
        self._count += len(pairs)
        if self._count > max(len(self._merged), STRIP_PX):
            self._merge()

    @property
    def pairs(self) -> Pairs:
        """The sum so far."""
        self._merge()
        return self._merged

    def _merge(self) -> None:
        if self._waiting:
            self._merged = Pairs.merged([self._merged, *self._waiting])
            self._waiting, self._count = [], 0
        if self._most is not None and len(self._merged) > self._most:
            raise TooManyPairs(len(self._merged))


class TooManyPairs(Exception):
    """More pairs of labels and reference labels than memory has room for; how many there were when that was seen."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count
