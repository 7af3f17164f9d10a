"""The regions of a label image one by one: where each is, how large, of which shape, and its mean in every band.

All of it comes from whole numbers that add up (`kernels.objects`, `GroupSums`), so a region that goes through several
windows has the very figures that it has in one. A window hands over the finished figures of the regions within it, and
the whole numbers of those that touch its border.

References
----------
Figures are those of scikit-image's ``regionprops``: the ellipse has the second moments of the region.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clustering.groups import GroupSums
from ..clustering.labelling import Labels
from ..joining import Borders, Rim, join_components
from ..kernels import objects as kernels
from ..kernels.components import label_components
from ..kernels.objects import HALO as HALO

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Whole = NDArray[np.object_]

# Figures of a region, column by column: the place of its first pixel counted row by row, its label, pixels, box (first
# row and column, and those after the last), centroid (row, column), perimeter, eccentricity, axes and orientation of
# its ellipse; then the mean of each band, and then the standard deviation of each. float64, which holds whole numbers
# up to 2^53.
FIRST, LABEL, PIXELS = 0, 1, 2
BOX = slice(3, 7)
CENTROID_Y, CENTROID_X, PERIMETER, ECCENTRICITY, MAJOR, MINOR, ORIENTATION = range(7, 14)
FIGURES = 14

_ROOT = math.sqrt(2.0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which regions of an image are measured.

    Parameters
    ----------
    labels
        bool, by label, as `label_components` takes it.
    least
        The fewest pixels of one.
    columns
        Of the image.
    """

    labels: NDArray[np.bool_]
    least: int
    columns: int


class OpenObjects(NamedTuple):
    """Regions that touch their window's border.

    Attributes
    ----------
    numbers
        int64 (n,): the window's own.
    labels
        int64 (n,).
    corner
        (row, column) of the window in the image.
    measures
        int64 (n, COLUMNS) of `measure_objects`, from that corner on.
    sums
        Of their values.
    """

    numbers: I64
    labels: I64
    corner: tuple[int, int]
    measures: I64
    sums: GroupSums

    def in_image(self) -> Whole:
        """Measures in rows and columns of the image: whole numbers of any size."""
        (top, left), found = self.corner, self.measures.astype(np.object_)
        n, y, x = found[:, kernels.PIXELS], found[:, kernels.Y], found[:, kernels.X]
        found[:, kernels.YY] += 2 * top * y + n * top**2
        found[:, kernels.XX] += 2 * left * x + n * left**2
        found[:, kernels.YX] += top * x + left * y + n * top * left
        found[:, kernels.Y] = y + n * top
        found[:, kernels.X] = x + n * left
        found[:, [kernels.TOP, kernels.BOTTOM]] += top
        found[:, [kernels.FIRST_COLUMN, kernels.LEFT, kernels.RIGHT]] += left
        return found


class WindowObjects(NamedTuple):
    """What a window hands over."""

    figures: F64  # (n, FIGURES + 2 d) of the regions that touch no border of it, in the order of their first pixels
    borders: Borders
    open: OpenObjects


def objects_of_window(padded: Labels, samples: NDArray[Any], corner: tuple[int, int], wanted: Wanted) -> WindowObjects:
    """Label and measure the regions of one window.

    Parameters
    ----------
    padded
        (y + 4, x + 4): labels with `HALO` pixels around the window; a label that is not wanted beyond the image.
    samples
        (y, x, d): values of its pixels; none (d = 0) where these are not to be had.
    corner
        (row, column) of the window in the image.

    Raises
    ------
    ValueError
        If a value in a region is no number.
    """
    labels = np.ascontiguousarray(padded[HALO:-HALO, HALO:-HALO])
    components, count = label_components(labels, wanted.labels, True)
    measures = kernels.measure_objects(components, np.ascontiguousarray(padded), count)
    rim = Rim.of(components)
    numbers = np.setdiff1d(np.concatenate(rim), [0]).astype(np.int64)
    large = measures[:, kernels.PIXELS] >= wanted.least
    large[0] = large[numbers] = False
    closed = np.flatnonzero(large)
    taken = np.concatenate([closed, numbers])  # of others, small ones within the window, no sums are made
    groups = np.zeros(count + 1, np.int32)
    groups[taken] = np.arange(1, taken.size + 1)
    sums = GroupSums.of(samples, groups[components], taken.size)
    firsts = measures[taken]
    of_regions = labels[firsts[:, kernels.TOP], firsts[:, kernels.FIRST_COLUMN]].astype(np.int64)
    parts = [
        OpenObjects(own, of_regions[at], corner, measures[own], sums.take(at))
        for own, at in ((closed, slice(0, closed.size)), (numbers, slice(closed.size, None)))
    ]
    figures = figures_of(parts[0].in_image(), parts[0].labels, parts[0].sums, wanted.columns)
    return WindowObjects(figures, Borders(rim, count, Rim.of(labels)), parts[1])


def join_objects(windows: Sequence[tuple[Borders, OpenObjects]], columns: int, wanted: Wanted) -> F64:
    """The figures of all regions that touch a window's border, in the order of their first pixels; windows are a whole
    image's, row by row, ``columns`` in each.
    """
    joined = join_components([borders for borders, _ in windows], columns)
    own = [part for _, part in windows]
    numbers = np.concatenate([found.of(part.numbers) for found, part in zip(joined.windows, own, strict=True)])
    found, into = np.unique(numbers, return_inverse=True)
    labels = np.zeros(found.size, np.int64)
    labels[into] = np.concatenate([part.labels for part in own])
    measures = _together(np.concatenate([part.in_image() for part in own]), into, found.size, wanted.columns)
    sums = GroupSums.joined([part.sums for part in own]).together(into, found.size)
    large = np.flatnonzero(measures[:, kernels.PIXELS] >= wanted.least)
    figures = figures_of(measures[large], labels[large], sums.take(large), wanted.columns)
    return figures[np.argsort(figures[:, FIRST])]


def _together(parts: Whole, into: I64, count: int, columns: int) -> Whole:
    """Measures of parts of regions, in the image, put together."""
    whole = np.zeros((count, kernels.COLUMNS), np.object_)
    np.add.at(whole, into, parts)
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, into, (parts[:, kernels.TOP] * columns + parts[:, kernels.FIRST_COLUMN]).astype(np.int64))
    whole[:, kernels.TOP], whole[:, kernels.FIRST_COLUMN] = first // columns, first % columns
    for column, choose, start in (
        (kernels.LEFT, np.minimum, columns),
        (kernels.BOTTOM, np.maximum, -1),
        (kernels.RIGHT, np.maximum, -1),
    ):
        found = np.full(count, start, np.int64)
        choose.at(found, into, parts[:, column].astype(np.int64))
        whole[:, column] = found
    return whole


def figures_of(measures: Whole, labels: I64, sums: GroupSums, columns: int) -> F64:
    """The figures (n, FIGURES + 2 d) of whole regions from their measures in the image."""
    bands = sums.sums.shape[1]
    found = np.empty((len(measures), FIGURES + 2 * bands))
    for at, row in enumerate(measures.tolist()):
        top, left = row[kernels.TOP], row[kernels.LEFT]
        n = row[kernels.PIXELS]
        found[at, :3] = top * columns + row[kernels.FIRST_COLUMN], labels[at], n
        found[at, BOX] = top, left, row[kernels.BOTTOM] + 1, row[kernels.RIGHT] + 1
        found[at, CENTROID_Y : CENTROID_X + 1] = row[kernels.Y] / n, row[kernels.X] / n
        straight, diagonal, mixed = row[kernels.STRAIGHT], row[kernels.DIAGONAL], row[kernels.MIXED]
        found[at, PERIMETER] = straight + diagonal * _ROOT + mixed * ((1.0 + _ROOT) / 2.0)
        found[at, ECCENTRICITY : ORIENTATION + 1] = ellipse_of(row)
    if bands:
        found[:, FIGURES : FIGURES + bands], found[:, FIGURES + bands :] = sums.means_and_deviations()
    return found


def ellipse_of(row: list[int]) -> tuple[float, float, float, float]:
    """Eccentricity, longer and shorter axis, and orientation of the ellipse that has a region's second moments.

    The orientation is the angle between the rows' axis and the longer one, counter-clockwise, from -pi/2 to pi/2.
    """
    n, y, x = row[kernels.PIXELS], row[kernels.Y], row[kernels.X]
    down, across = n * row[kernels.YY] - y * y, n * row[kernels.XX] - x * x  # n^2 times variances and covariance
    both = n * row[kernels.YX] - y * x
    longer = (down + across + math.sqrt((down - across) ** 2 + 4 * both * both)) / 2.0
    if longer == 0.0:
        return 0.0, 0.0, 0.0, -math.pi / 4
    shorter = (down * across - both * both) / longer
    if down == across:
        orientation = math.pi / 4 if both > 0 else -math.pi / 4
    else:
        orientation = 0.5 * math.atan2(2.0 * both, down - across)
    eccentricity = math.sqrt(max(0.0, 1.0 - shorter / longer))
    return eccentricity, 4.0 * math.sqrt(longer) / n, 4.0 * math.sqrt(shorter) / n, orientation
