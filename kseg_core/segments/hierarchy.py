"""The hierarchy that merges make, with altitudes as levels from 0 to 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import hierarchies
from ..segment_settings import MOST
from .graph import Merges

MIDDLE = 3.0  # the altitude of level 0.5: what covers people's segments of BSDS500 best, on train and validation
BESIDE_INVALID, INVALID = int(hierarchies.BESIDE_INVALID), int(hierarchies.INVALID)


def steps_of(altitude: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Altitudes as steps of a level, 1 to `MOST`: level = altitude / (altitude + `MIDDLE`), rounded up.

    Below 0: 0, as what is merged there was one in the first place.
    """
    steps = np.clip(np.ceil(altitude / (altitude + MIDDLE) * MOST), 1, MOST).astype(np.uint8)
    return np.where(altitude < 0, np.uint8(0), steps)


class Hierarchy(NamedTuple):
    """Regions, each of which goes into another.

    Attributes
    ----------
    group
        int32 (n,): of those that are one in the end.
    up, when, step
        int32, int32, uint8 (n,): into which each goes, as which of all merges, and at what step of a level; -1, the
        largest int32 and 0 for the last of a group.
    """

    group: NDArray[np.int32]
    up: NDArray[np.int32]
    when: NDArray[np.int32]
    step: NDArray[np.uint8]

    @classmethod
    def of(cls, merges: Merges, count: int, group: NDArray[np.int32] | None = None) -> Hierarchy:
        """Of ``count`` regions; ``group``: where they do not all become one."""
        up = np.full(count, -1, np.int32)
        when = np.full(count, np.iinfo(np.int32).max, np.int32)
        step = np.zeros(count, np.uint8)
        up[merges.gone], step[merges.gone] = merges.kept, steps_of(merges.altitude)
        when[merges.gone] = np.arange(merges.gone.size, dtype=np.int32)
        return cls(np.zeros(count, np.int32) if group is None else group, up, when, step)

    def fill(self, region: NDArray[np.int32], contours: NDArray[np.uint8]) -> None:
        """Enter at which step each boundary vanishes.

        Parameters
        ----------
        region
            int32 (y, x), -1 where invalid: of a window, and one row and column after it where the image goes on.
        contours
            uint8 (2, y, x) of the window: of each pixel and the next in its row, and in its column. Boundaries between
            groups stay as they are.
        """
        height, width = contours.shape[1:]
        hierarchies.fill_contours(
            np.ascontiguousarray(region), height, width, self.group, self.up, self.when, self.step, contours
        )
