"""The distinct rows of whole-number values, and how often each occurs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from ._types import WHOLE
from .sampling import mix64

I64 = NDArray[np.int64]
Values = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]


@inlined
def _same(values: Values, i: int, rows: Values, at: int) -> bool:
    """Whether two rows are equal."""
    for band in range(values.shape[1]):  # noqa: SIM110 - a loop that compiles
        if values[i, band] != rows[at, band]:
            return False
    return True


@kernel(*(f"C2{value} C1b1 C1i8 C2{value} C1i8" for value in (*WHOLE, "i4", "i8")))
def count_rows(values: Values, valid: Bools, slots: I64, rows: Values, counts: I64) -> int:
    """Count the distinct valid rows of ``values`` (n, d); how many there are, or -1 where ``rows`` has no room.

    Parameters
    ----------
    values
        Whole numbers (n, d).
    valid
        bool (n,), or empty where all are.
    slots
        int64, all -1: a power of two of them, twice as many as ``rows`` or more.
    rows
        (m, d), of the dtype of ``values``: filled with the distinct rows, as they are met.
    counts
        int64 (m,), all 0: filled with how often each occurs.
    """
    mask = np.uint64(slots.size - 1)
    masked = valid.size > 0
    bits = np.uint64(8 * values.itemsize)
    bands_of_a_word = max(1, 8 // values.itemsize)
    found = 0
    last = -1
    for i in range(values.shape[0]):
        if masked and not valid[i]:
            continue
        if last >= 0 and _same(values, i, rows, last):  # as neighbours often are
            counts[last] += 1
            continue
        word = np.uint64(0)
        for band in range(values.shape[1]):
            if band % bands_of_a_word == 0:
                word = mix64(word)
            word = (word << bits) ^ np.uint64(np.int64(values[i, band]))
        place = mix64(word) & mask
        while slots[place] >= 0 and not _same(values, i, rows, slots[place]):
            place = (place + np.uint64(1)) & mask
        if slots[place] < 0:
            if found == rows.shape[0]:
                return -1
            for band in range(values.shape[1]):
                rows[found, band] = values[i, band]
            slots[place] = found
            found += 1
        last = slots[place]
        counts[last] += 1
    return found
