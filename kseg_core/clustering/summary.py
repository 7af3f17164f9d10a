"""What K-means needs of a chunk of pixels: its distinct colours and how many pixels have each.

An 8-bit image has at most 2**24 colours however many pixels, so a table of them loses nothing, is bounded, and
merges in any order: ``merge`` is associative and commutative.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import TooManyColors
from ..images import Pixels
from ..kernels import histogram as kernels
from ..kernels.sampling import picked_pixels

NO_MASK: NDArray[np.bool_] = np.empty(0, np.bool_)
NO_PIXELS: NDArray[np.uint8] = np.empty((0, 3), np.uint8)
PART_COLORS = 1 << 18  # where a table is worked on in parts: some twenty megabytes with all that is worked out


@dataclass(frozen=True, slots=True)
class ColorTable:
    """Distinct colours and their weights.

    Parameters
    ----------
    codes
        uint32 (n,), rising: ``R << 16 | G << 8 | B``.
    counts
        int64 (n,): pixels of each colour.
    """

    codes: NDArray[np.uint32]
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls) -> ColorTable:
        return cls(np.empty(0, np.uint32), np.empty(0, np.int64))

    @classmethod
    def of(cls, rgb: NDArray[np.uint8]) -> ColorTable:
        """The table of a few pixels, uint8 (n, 3): sorting them takes less than a sweep over all colours there are."""
        red, green, blue = rgb.T.astype(np.uint32)
        codes, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
        return cls(codes, counts.astype(np.int64))

    @property
    def pixels(self) -> int:
        return int(self.counts.sum())

    def merge(self, other: ColorTable) -> ColorTable:
        """The table of both tables' pixels."""
        return ColorTable(*kernels.merge_counts(self.codes, self.counts, other.codes, other.counts))


@dataclass(frozen=True, slots=True)
class ChunkSummary:
    """The colours of a chunk's pixels, and of those that are in the first mini-batch.

    The batch is kept apart because seeding and the first steps work on it alone; ``everything`` contains it, as every
    batch contains the one before.
    """

    batch: ColorTable
    everything: ColorTable

    @classmethod
    def empty(cls) -> ChunkSummary:
        return cls(ColorTable.empty(), ColorTable.empty())

    @property
    def colors(self) -> int:
        """How many distinct ones."""
        return int(self.everything.codes.size)

    def merge(self, other: ChunkSummary) -> ChunkSummary:
        """The summary of both chunks' pixels."""
        return ChunkSummary(self.batch.merge(other.batch), self.everything.merge(other.everything))


@dataclass(frozen=True, slots=True)
class BatchRule:
    """Which pixels are in the first mini-batch: one of every ``4**level``, by position and seed.

    See Also
    --------
    kseg_core.kernels.sampling : how a pixel is picked.
    """

    level: int
    seed: int

    @classmethod
    def for_pixels(cls, total_px: int, batch_px: int, seed: int) -> BatchRule:
        """The largest nested batch of at most ``batch_px`` of ``total_px`` pixels."""
        level = 0
        while total_px > batch_px << (2 * level):
            level += 1
        return cls(level, seed)


def flat_pixels(rgb: NDArray[np.uint8], valid: NDArray[np.bool_] | None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels (n, 3) and which are valid (n,) or, where all are, `NO_MASK`: as kernels take them.

    Raises
    ------
    ValueError
        If ``valid`` is of another shape: a kernel would read past its end.
    """
    if valid is not None and valid.shape != rgb.shape[:-1]:
        raise ValueError(f"expected valid of shape {rgb.shape[:-1]}, got {valid.shape}")
    mask = NO_MASK if valid is None else np.ascontiguousarray(valid).reshape(-1)
    return np.ascontiguousarray(rgb).reshape(-1, 3), mask


class ColorCounter:
    """Counts colours over any number of windows, in 64 MB of memory that is kept for the next count.

    Not to be shared between threads: see `color_counter`.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(kernels.CODES, np.uint32)
        self._touched = np.zeros(kernels.BLOCKS, np.bool_)

    def add(self, rgb: NDArray[np.uint8], valid: NDArray[np.bool_] | None = None) -> int:
        """Count the valid pixels of uint8 (..., 3); ``valid`` has the shape before the last axis. Returns their number.

        At most 2**32 - 1 pixels between two `drain`.

        Raises
        ------
        ValueError
            As `flat_pixels` has it.
        """
        return int(kernels.count_colors(*flat_pixels(rgb, valid), self._counts, self._touched))

    def drain(self, most: int | None = None) -> ColorTable:
        """The table of everything added since the last call.

        Raises
        ------
        TooManyColors
            If it would have more than ``most`` rows; it is not made, and nothing is left to drain.
        """
        if most is not None and most < kernels.CODES and kernels.count_codes(self._counts, self._touched) > most:
            self.forget()
            raise TooManyColors(f"more than {most} distinct colours")
        return ColorTable(*kernels.drain_counts(self._counts, self._touched))

    def drain_in_parts(self) -> Iterator[ColorTable]:
        """The same table in parts of about `PART_COLORS` colours, each made when it is asked for."""
        while (part := ColorTable(*kernels.drain_counts(self._counts, self._touched, PART_COLORS))).codes.size:
            yield part

    def forget(self) -> None:
        """Drop what was added since the last `drain`."""
        self._counts.reshape(kernels.BLOCKS, -1)[self._touched] = 0
        self._touched[:] = False


_scratch = threading.local()


def color_counter() -> ColorCounter:
    """This thread's own counter."""
    counter: ColorCounter | None = getattr(_scratch, "counter", None)
    if counter is None:
        counter = _scratch.counter = ColorCounter()
    return counter


def summarise(windows: Iterable[Pixels], rule: BatchRule, most_colors: int | None = None) -> ChunkSummary:
    """The summary of all pixels of some windows, each of which is let go before the next is read.

    Raises
    ------
    ValueError
        If a window's pixels are not uint8 (y, x, 3).
    TooManyColors
        If they have more than ``most_colors`` distinct colours.
    """
    counter = color_counter()
    picked: list[NDArray[np.uint8]] = []
    try:
        for window in windows:
            if window.samples.ndim != 3 or window.samples.shape[2] != 3 or window.samples.dtype != np.uint8:
                raise ValueError(f"expected uint8 (y, x, 3), got {window.samples.dtype} {window.samples.shape}")
            counter.add(window.samples, window.valid)
            if rule.level > 0:
                picked.append(_picked(window, rule))
    except BaseException:
        counter.forget()  # the thread's next count begins at zero
        raise
    everything = counter.drain(most_colors)
    if rule.level == 0:
        return ChunkSummary(everything, everything)
    return ChunkSummary(ColorTable.of(np.concatenate([*picked, NO_PIXELS])), everything)


def _picked(window: Pixels, rule: BatchRule) -> NDArray[np.uint8]:
    """The valid pixels of a window that are in the first batch, (n, 3)."""
    height, width = window.samples.shape[:2]
    picks = picked_pixels(height, width, window.top, window.left, rule.level, rule.seed)
    rows, columns = np.divmod(picks, width)
    colors = window.samples[rows, columns]
    return colors if window.valid is None else colors[window.valid[rows, columns]]
