"""Figures of an image's regions in the order of their first pixels, whatever its windows: laid aside on the disk, as
there may be more of them than memory holds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from ..joining import Borders
from ..layers.tiles import Region
from .objects import FIGURES, FIRST, OpenObjects, Wanted, WindowObjects, join_objects
from .regions import columns_of

F64 = NDArray[np.float64]

BATCH = 1 << 14  # regions whose figures are in memory at a time


@dataclass(slots=True)
class ObjectPieces:
    """What the windows of an image handed over.

    Held in memory: the borders of the windows and what is known of the regions that touch them; and, as figures are
    given, a number of each region that begins in one row of windows.

    Parameters
    ----------
    folder
        Where a file without a name is made for it.
    windows
        Of the image, row by row.
    bands
        How many.
    """

    folder: str
    windows: Sequence[Region]
    bands: int
    _file: IO[bytes] | None = None
    _counts: list[int] = field(default_factory=list)
    _open: list[tuple[Borders, OpenObjects]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._file = tempfile.TemporaryFile(dir=self.folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()

    def add(self, found: WindowObjects) -> None:
        """Lay aside what a window hands over; windows come row by row."""
        assert self._file is not None
        self._file.write(np.ascontiguousarray(found.figures).tobytes())
        self._counts.append(len(found.figures))
        self._open.append((found.borders, found.open))

    def figures(self, wanted: Wanted) -> Iterator[F64]:
        """The figures of all regions in the order of their first pixels, (n, FIGURES + 2 d) at a time."""
        assert self._file is not None
        self._file.flush()
        columns = columns_of(self.windows)
        across = join_objects(self._open, columns, wanted)
        self._open.clear()
        total, width = sum(self._counts), FIGURES + 2 * self.bands
        laid = np.memmap(self._file, np.float64, "r", shape=(total, width)) if total else np.empty((0, width))
        ends = np.cumsum([0, *self._counts])
        for at in range(0, len(self.windows), columns):
            # Regions that begin in these rows, within a window or not: none begins in others.
            here = laid[ends[at] : ends[at + columns]]
            rows = self.windows[at][0]
            begin, end = np.searchsorted(across[:, FIRST], [rows.start * wanted.columns, rows.stop * wanted.columns])
            firsts = np.concatenate([here[:, FIRST], across[begin:end, FIRST]])
            order = np.argsort(firsts)
            for some in np.split(order, range(BATCH, len(order), BATCH)):
                yield _picked(here, across[begin:end], some)


def _picked(laid: F64, across: F64, places: NDArray[np.int64]) -> F64:
    """Rows by their places in both one after the other."""
    found = np.empty((places.size, across.shape[1]))
    inside = places < len(laid)
    found[inside], found[~inside] = laid[places[inside]], across[places[~inside] - len(laid)]
    return found
