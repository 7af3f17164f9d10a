"""Rectangles of pixels, and where the one that a person sees lies in what is stored."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: For each EXIF orientation: whether the stored rows, and the stored columns, are to be reversed first, and whether
#: rows and columns then change places.
TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (True, True, False),
    4: (True, False, False),
    5: (False, False, True),
    6: (True, False, True),
    7: (True, True, True),
    8: (False, True, True),
}


class Window(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of a picture, the ends not among them."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Window:
        return cls(0, 0, *shape)

    def shared_with(self, other: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return where two windows overlap, as slices of this one and of the other."""
        top, bottom = max(self.top, other.top), min(self.bottom, other.bottom)
        left, right = max(self.left, other.left), min(self.right, other.right)
        mine, others = (
            (slice(top - each.top, bottom - each.top), slice(left - each.left, right - each.left))
            for each in (self, other)
        )
        return mine, others


def window_of(rows: slice, columns: slice, shape: tuple[int, int]) -> Window:
    """Return the window that two slices of a picture stand for.

    Raises
    ------
    ValueError
        If the slices have steps, are empty, or reach beyond the picture.
    """
    ends = []
    for part, size, name in ((rows, shape[0], "rows"), (columns, shape[1], "columns")):
        start = 0 if part.start is None else part.start
        stop = size if part.stop is None else part.stop
        if part.step not in (None, 1) or not 0 <= start < stop <= size:
            raise ValueError(f"expected {name} within 0 to {size} without a step, got {start}:{stop}:{part.step}")
        ends.append((start, stop))
    return Window(ends[0][0], ends[1][0], ends[0][1], ends[1][1])


def stored_window(seen: Window, shape: tuple[int, int], orientation: int) -> Window:
    """Return where a window lies in the stored picture.

    Parameters
    ----------
    seen
        The window as a person sees it.
    shape
        (height, width) as stored.
    orientation
        1 to 8, as EXIF numbers them.
    """
    reverse_rows, reverse_columns, swap = TURNS[orientation]
    top, left, bottom, right = (seen.left, seen.top, seen.right, seen.bottom) if swap else seen
    if reverse_rows:
        top, bottom = shape[0] - bottom, shape[0] - top
    if reverse_columns:
        left, right = shape[1] - right, shape[1] - left
    return Window(top, left, bottom, right)


def turned_shape(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return (height, width) after the orientation has been applied."""
    return (width, height) if TURNS[orientation][2] else (height, width)


def turn_samples(samples: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn stored samples into what a person sees.

    Parameters
    ----------
    samples
        Any dtype, (height, width) or (height, width, bands).
    orientation
        1 to 8, as EXIF numbers them.

    Returns
    -------
    C-contiguous, of the same dtype.
    """
    reverse_rows, reverse_columns, swap = TURNS[orientation]
    if orientation != 1 and samples.dtype.itemsize == 1 and samples.shape[2:] in ((), (3,)):
        import cv2  # ten times NumPy's speed at transposing pixels of three bytes

        turned: NDArray[Any] = np.ascontiguousarray(samples).view(np.uint8)
        if swap:
            turned, reverse_rows, reverse_columns = cv2.transpose(turned), reverse_columns, reverse_rows
        if reverse_rows or reverse_columns:  # in place where it is a copy by now
            how = -1 if reverse_rows and reverse_columns else int(reverse_columns)
            turned = cv2.flip(turned, how, turned if swap else None)
        return np.ascontiguousarray(turned).view(samples.dtype)
    turned = samples[:: -1 if reverse_rows else 1, :: -1 if reverse_columns else 1]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if swap else turned)
