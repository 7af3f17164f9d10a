"""A sweep as a table: a line for every number of clusters, and which of them to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ..clustering.bands import BandSpace
from ..clustering.features import FeatureSpace
from ..clustering.kmeans import History, Solution
from ..clustering.points import calinski_harabasz
from ..clustering.sums import mean_silhouette
from ..config import AUTO, FitSettings
from .elbow import Choice, Point, choose

AnySpace = FeatureSpace | BandSpace


@dataclass(frozen=True, slots=True)
class Found:
    """The clustering for one number of clusters.

    Parameters
    ----------
    k
        As asked for; ``solution`` has fewer clusters where the data has fewer distinct values.
    solution, history
        What was found, and how; the last attempt is the one from k - 1 clusters.
    silhouette
        The sum of all pixels', in steps of 2**-32.
    """

    k: int
    solution: Solution
    history: History
    silhouette: int


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a sweep's table.

    Parameters
    ----------
    k, k_found
        Clusters asked for and found.
    inertia, mse
        In squared feature units: the sum, and per pixel.
    silhouette, calinski_harabasz
        None where there is none.
    centroids, colors, counts
        Of the clusters, as in `Model`, as lists.
    """

    k: int
    k_found: int
    inertia: float
    mse: float
    silhouette: float | None
    calinski_harabasz: float | None
    centroids: list[list[float]]
    colors: list[list[int]]
    counts: list[int]

    @classmethod
    def of(cls, found: Found, space: AnySpace) -> Row:
        """The numbers of one clustering."""
        solution = found.solution
        k, pixels = len(solution.centroids), solution.sums.pixels
        inertia = space.inertia(solution.sums, solution.centroids)
        return cls(
            found.k,
            k,
            inertia,
            inertia / pixels,
            mean_silhouette(found.silhouette, pixels, k),
            calinski_harabasz(space, solution.sums, solution.centroids),
            space.to_features(solution.centroids).tolist(),
            solution.colors.tolist(),
            solution.sums.counts.tolist(),
        )

    @property
    def point(self) -> Point:
        """What decides."""
        return Point(self.k, self.k_found, self.inertia, self.silhouette)

    def to_json(self, *, palette: bool = False) -> dict[str, Any]:
        """As JSON values, with the clusters themselves where asked for."""
        numbers: dict[str, Any] = {
            "k": self.k,
            "k_found": self.k_found,
            "inertia": self.inertia,
            "mse": self.mse,
            "silhouette": self.silhouette,
            "calinski_harabasz": self.calinski_harabasz,
        }
        if palette:
            numbers |= {"centroids": self.centroids, "colors": self.colors, "counts": self.counts}
        return numbers


@dataclass(frozen=True, slots=True)
class Table:
    """A whole sweep, and which of its lines to take."""

    rows: tuple[Row, ...]
    choice: Choice

    @classmethod
    def of(cls, founds: Sequence[Found], space: AnySpace) -> Table:
        """The table of some clusterings by rising k."""
        rows = tuple(Row.of(found, space) for found in founds)
        return cls(rows, choose([row.point for row in rows]))


# Components of centroids that a model keeps of a sweep: k 1 to 10 of colours have 165 (12 KB of text in the store, with
# the colours), k 1 to 36 have 1998. Of a longer sweep the smaller k are kept, which are those that people compare.
KEPT_COMPONENTS = 2048


def facts_of(table: Table, settings: FitSettings) -> dict[str, Any]:
    """What a model says of how its number of clusters was chosen: every k's numbers, and in a model of all images its
    centroids and colours too, as long as they take little room.
    """
    room = KEPT_COMPONENTS if settings.scope == "global" else 0
    sizes = accumulate(row.k_found * len(row.centroids[0]) for row in table.rows)
    return {
        "k_requested": AUTO,
        "k_range": list(settings.tried),
        "k_why": table.choice.why,
        "knee": table.choice.knee,
        "sweep": [
            row.to_json() | ({"centroids": row.centroids, "colors": row.colors} if size <= room else {})
            for row, size in zip(table.rows, sizes, strict=True)
        ],
    }
