"""Which number of clusters to take: the knee of the inertia curve, and what is done where it has none.

References
----------
Thorndike 1953 (the elbow); Satopää, Albrecht, Irwin & Raghavan 2011 (where it is: Kneedle, as the package ``kneed`` has
it).
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ..sizes import counted

FEWEST = 3  # points: on fewer no bend can be seen


@dataclass(frozen=True, slots=True)
class Point:
    """What decides of one number of clusters.

    Parameters
    ----------
    k
        Asked for.
    k_found
        Fewer, where the data has fewer distinct values.
    inertia, silhouette
        Of the clustering found; no silhouette of a single cluster.
    """

    k: int
    k_found: int
    inertia: float
    silhouette: float | None


@dataclass(frozen=True, slots=True)
class Choice:
    """A number of clusters and the reason for it.

    Parameters
    ----------
    index
        Which of the points it is.
    k
        The number: as many clusters as there were found.
    knee
        The knee, None where the curve has none.
    why
        A sentence for people.
    """

    index: int
    k: int
    knee: int | None
    why: str


def prepare() -> None:
    """Begin to load what `find_knee` needs, SciPy's signals and Matplotlib: a second, while others read pixels."""
    threading.Thread(target=importlib.import_module, args=("kneed",), name="loads kneed").start()


def find_knee(ks: Sequence[int], inertias: Sequence[float]) -> int | None:
    """The knee of a falling convex curve, strictly inside its range; None where it is straight, concave or short."""
    if len(ks) < FEWEST or max(inertias) <= min(inertias):
        return None
    from kneed import KneeLocator  # brings SciPy and Matplotlib along: only where it is needed

    knee = KneeLocator(ks, inertias, curve="convex", direction="decreasing").knee
    # On a concave curve the method answers with the first point, which is no bend.
    return None if knee is None or not ks[0] < knee < ks[-1] else int(knee)


def choose(points: Sequence[Point]) -> Choice:
    """The knee; where there is none, the number with the largest silhouette, the least of equals.

    Parameters
    ----------
    points
        By rising k, at least one.
    """
    knee = find_knee([p.k for p in points], [p.inertia for p in points])
    span = f"k {points[0].k} to {points[-1].k}"
    if knee is not None:
        index = next(i for i, p in enumerate(points) if p.k == knee)
        return _choice(points, index, knee, f"the knee of the inertia curve over {span}")
    rated = [(-p.silhouette, i) for i, p in enumerate(points) if p.silhouette is not None]
    if len(points) == 1:
        return _choice(points, 0, None, f"the only number tried, {span[: span.index(' to')]}")
    if not rated:
        return _choice(points, 0, None, f"all pixels have one value: the inertia is 0 over {span}")
    index = min(rated)[1]
    why = (
        f"the inertia curve over {span} has no knee (it is too straight or too short); "
        f"of these the largest silhouette, {points[index].silhouette:.3f}"
    )
    return _choice(points, index, None, why)


def _choice(points: Sequence[Point], index: int, knee: int | None, why: str) -> Choice:
    point = points[index]
    if point.k_found < point.k:
        why += f"; the data has only {counted(point.k_found, 'distinct value')}"
    return Choice(index, point.k_found, knee, why)
