"""The distinct values of some bands and how many pixels have each, where they are few.

Index maps, classifications and data of coarse steps have few, however many pixels: then every exact step is one over
this table, and no image is read again. Where there are many the table is given up early, and the steps read the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.distinct import count_rows

Values = NDArray[Any]
I64 = NDArray[np.int64]

MOST_VALUES = 1 << 16  # with eight bands some five megabytes: a hundredth of the pixels of a piece, and far cheaper


@dataclass(frozen=True, slots=True)
class ValueTable:
    """Distinct values in rising order, and their pixels; merges.

    Parameters
    ----------
    values
        (m, d), none of them a NaN; None: there are more than are counted.
    counts
        int64 (m,).
    """

    values: Values | None
    counts: I64

    @classmethod
    def of(cls, values: Values, valid: NDArray[np.bool_]) -> ValueTable:
        """The table of values (n, d); ``valid`` (n,), or empty where all are."""
        counts = np.zeros(MOST_VALUES, np.int64)
        slots = np.full(2 * MOST_VALUES, -1, np.int64)
        told = values
        if values.dtype.kind == "f":  # told apart by their bits; there is one zero
            told = (values + values.dtype.type(0)).view(f"i{values.itemsize}")
        rows = np.empty((MOST_VALUES, values.shape[1]), told.dtype)
        found = count_rows(told, valid, slots, rows, counts)
        return _too_many() if found < 0 else _in_order(rows[:found].view(values.dtype), counts[:found])

    def merge(self, other: ValueTable) -> ValueTable:
        """The table of both tables' pixels."""
        if self.values is None or other.values is None:
            return _too_many()
        merged = _in_order(np.concatenate([self.values, other.values]), np.concatenate([self.counts, other.counts]))
        return _too_many() if len(merged.counts) > MOST_VALUES else merged


def _too_many() -> ValueTable:
    return ValueTable(None, np.empty(0, np.int64))


def _in_order(rows: Values, counts: I64) -> ValueTable:
    """Rows in rising order, those that are equal as one."""
    order = np.lexsort(rows.T[::-1])
    rows, counts = rows[order], counts[order]
    if not len(rows):
        return ValueTable(rows, counts)
    first = np.flatnonzero(np.concatenate([[True], (rows[1:] != rows[:-1]).any(axis=1)]))
    return ValueTable(rows[first], np.add.reduceat(counts, first))
