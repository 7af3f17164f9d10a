"""What a report tells, as plain values: gathered by a workflow, turned into a page here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.sweep.files import chosen_k

from .ranking import Ranked

Color = tuple[int, int, int]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image with its pictures.

    Parameters
    ----------
    ranked
        The image.
    segmented
        A PNG's bytes.
    original, edges
        The same of the original (WebP) and of the edges; None where there are none.
    lost
        Why there is no original.
    masks
        (cluster, PNG) of the largest clusters; empty where they are not shown.
    """

    ranked: Ranked
    segmented: bytes
    original: bytes | None = None
    edges: bytes | None = None
    lost: str = ""
    masks: tuple[tuple[int, bytes], ...] = ()

    @property
    def size_bytes(self) -> int:
        """Of all its pictures."""
        return sum(len(file or b"") for file in (self.segmented, self.original, self.edges))


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One cluster over all images.

    Parameters
    ----------
    color
        What it is painted with.
    pixels, share
        How many, and what part of the valid ones.
    images
        How many images have any.
    area
        Square metres, over the images whose pixels have a known size; None without one.
    spread
        Root of the mean squared distance of pixels to their centroid, in feature units; None where no pixel of it was
        looked at.
    """

    color: Color
    pixels: int
    share: float
    images: int
    area: float | None
    spread: float | None


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One k of a sweep."""

    k: int
    inertia: float
    mse: float | None
    silhouette: float | None
    calinski_harabasz: float | None


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep found: the rows by rising k, the k that was chosen, and why."""

    chosen: int | None
    rows: tuple[SweepRow, ...]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Painted:
    """One picture painted with several k.

    Parameters
    ----------
    name
        Of the image.
    original
        WebP, or None.
    pictures
        (k, PNG), by rising k.
    """

    name: str
    original: bytes | None
    pictures: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Cloud:
    """Pixels as points.

    Parameters
    ----------
    points
        uint8 (n, 3).
    labels
        int64 (n,): rows of ``colors``.
    colors
        uint8 (m, 3).
    axes
        Their names.
    numbered
        Whether rows of ``colors`` are the clusters of the model that all images share.
    """

    points: U8
    labels: I64
    colors: U8
    axes: tuple[str, str, str]
    numbered: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All of a report.

    Parameters
    ----------
    name, lead
        The store's name, and what was done in one line.
    facts, about
        (what, value) for the head of the page, and for its foot.
    warnings
        One line each.
    failures
        (source, reason) of inputs that could not be read.
    clusters
        Those all images share; empty where each has its own.
    images
        All, the farthest from the average first.
    shown
        Those with pictures, in the same order.
    sweep_record
        Of the sweep, as its own figure takes it.
    history
        Inertia before every step of each attempt, on the first batch and on all data; None where not known.
    looked_at
        Pixels that the spread was worked out from.
    """

    name: str
    lead: str
    facts: tuple[tuple[str, str], ...]
    about: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    failures: tuple[tuple[str, str], ...]
    clusters: tuple[ClusterRow, ...]
    images: tuple[Ranked, ...]
    shown: tuple[ShownImage, ...]
    history: tuple[Sequence[Sequence[float]], Sequence[Sequence[float]]] | None = None
    sweep: Sweep | None = None
    painted: Painted | None = None
    cloud: Cloud | None = None
    sweep_record: Mapping[str, Any] | None = None
    looked_at: int = 0


def sweep_from(record: Mapping[str, Any]) -> Sweep | None:
    """The numbers of a sweep; None where each image was swept alone.

    Parameters
    ----------
    record
        As ``sweep.json`` holds it (`kseg_core.sweep.files`).

    Raises
    ------
    ValueError
        If it is not such a record.
    """
    if not record.get("sweep"):
        return None
    try:
        rows = [
            SweepRow(
                int(row["k"]),
                float(row["inertia"]),
                _number(row.get("mse")),
                _number(row.get("silhouette")),
                _number(row.get("calinski_harabasz")),
            )
            for row in record["sweep"]
        ]
        chosen = chosen_k(dict(record))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a sweep's record ({error!r})") from error
    return Sweep(chosen, tuple(sorted(rows, key=lambda row: row.k)), str(record.get("why") or ""))


def sweep_in(facts: Mapping[str, Any], k: int) -> dict[str, Any] | None:
    """The record of the sweep that chose a model's ``k`` clusters (``--k auto``); None where there was none."""
    rows = facts.get("sweep")
    if not isinstance(rows, list) or not rows:
        return None
    return {"k": k, "knee": facts.get("knee"), "why": facts.get("k_why"), "sweep": rows, "each": None}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def ks_to_paint(ks: Sequence[int], most: int = 4) -> list[int]:
    """Which k one picture is painted with: 3, 5, 7 where they are there, else some from the least to the greatest."""
    usual = [k for k in (3, 5, 7) if k in ks]
    if len(usual) == 3:
        return usual
    rising = sorted(set(ks) - {1}) or sorted(set(ks))
    if len(rising) <= most:
        return rising
    return [rising[i * (len(rising) - 1) // (most - 1)] for i in range(most)]
