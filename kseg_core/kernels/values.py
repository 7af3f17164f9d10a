"""Which values bands have: the pixels with the least and the greatest of each band, and the distinct rows, counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from ._types import BANDS, WHOLE
from .sampling import mix64

I64 = NDArray[np.int64]
Values = NDArray[Any]
Bools = NDArray[np.bool_]

BLOCK = 256  # values that are looked at together: most blocks hold no end


@inlined
def _before(values: Values, i: int, j: int) -> bool:
    """Whether row ``i`` comes before row ``j`` in rising order."""
    for band in range(values.shape[1]):
        if values[i, band] != values[j, band]:
            return bool(values[i, band] < values[j, band])
    return False


@inlined
def _reaches(values: Values, start: int, stop: int, band: int, least: np.int64, most: np.int64) -> bool:
    """Whether a block has a value that is no greater than the least one so far, or no less than the greatest."""
    low, high = values[least, band], values[most, band]
    found = np.int64(0)
    for i in range(start, stop):
        value = values[i, band]
        found += np.int64(value <= low) + np.int64(value >= high)
    return bool(found > 0)


@inlined
def _look_closely(values: Values, valid: Bools, start: int, stop: int, band: int, rows: I64, counts: I64) -> None:
    """Hold each valid value of a block against the ends so far."""
    masked = valid.size > 0
    for i in range(start, stop):
        if masked and not valid[i]:
            continue
        value = values[i, band]
        least, most = rows[0, band], rows[1, band]
        if least < 0:
            rows[0, band] = rows[1, band] = i
            counts[0, band] = counts[1, band] = 1
            continue
        if value < values[least, band]:
            rows[0, band], counts[0, band] = i, 1
        elif value == values[least, band]:
            counts[0, band] += 1
            if _before(values, i, least):
                rows[0, band] = i
        if value > values[most, band]:
            rows[1, band], counts[1, band] = i, 1
        elif value == values[most, band]:
            counts[1, band] += 1
            if _before(values, i, most):
                rows[1, band] = i


@kernel(*(f"C2{value} C1b1 C2i8 C2i8" for value in BANDS))
def find_ends(values: Values, valid: Bools, rows: I64, counts: I64) -> None:
    """The row with the least and that with the greatest valid value of each band, and how many have that value.

    Of several rows it is the first in rising order, so that it does not matter which comes first.

    Parameters
    ----------
    values
        (n, d).
    valid
        bool (n,), or empty where all are.
    rows
        int64 (2, d), all -1: filled with the rows' numbers; they stay where no row is valid.
    counts
        int64 (2, d), all 0.
    """
    n, bands = values.shape
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        for band in range(bands):
            if rows[0, band] < 0 or _reaches(values, start, stop, band, rows[0, band], rows[1, band]):
                _look_closely(values, valid, start, stop, band, rows, counts)


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
