"""Exact Lloyd steps over data that may lie anywhere.

One step: every part of the data returns its `ClusterSums`, they are merged, the centroids move to the means. All sums
are integers, so the steps are the same to the last bit however the data is divided.

References
----------
Lloyd 1982; Newling & Fleuret 2016 (when a mini-batch has told what it can).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .sums import ClusterSums
from .table import PixelData

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepLimits:
    """When to stop stepping.

    Parameters
    ----------
    max_iter
        Most steps.
    squared_shift
        Stop when the sum of squared centroid shifts is at most this, in squared grid units. None: when no label
        changes.
    sampling_noise
        The data is a sample: stop as soon as the centroids move less than its standard error, for then a
        larger batch tells more than another step.
    """

    max_iter: int
    squared_shift: float | None = None
    sampling_noise: bool = False


@dataclass(frozen=True, slots=True)
class Steps:
    """What the steps came to.

    Parameters
    ----------
    centroids
        float64 (k, 3), grid units.
    inertia
        Inertia before each step, in squared feature units.
    converged
        Whether they ended before ``max_iter``.
    """

    centroids: F64
    inertia: tuple[float, ...] = field(default=())
    converged: bool = False


def relocate_empty(data: PixelData, sums: ClusterSums, centroids: F64) -> F64:
    """Move each empty cluster to the point farthest from all centroids, one after the other."""
    moved = centroids.copy()
    empty = np.flatnonzero(sums.counts == 0)
    # An empty cluster's old place must not hide the farthest point, so all of them stand at a filled one meanwhile.
    moved[empty] = moved[int(np.argmax(sums.counts))]
    for j in empty:
        moved[j] = data.farthest(moved).point
    return moved


def step(data: PixelData, centroids: F64) -> tuple[ClusterSums, F64]:
    """Assign all pixels to ``centroids``; return their sums and the centroids moved to their means."""
    sums = data.sums(centroids)
    return sums, _moved(data, sums, centroids)


def _moved(data: PixelData, sums: ClusterSums, centroids: F64) -> F64:
    means = data.space.means(sums, centroids)
    return relocate_empty(data, sums, means) if (sums.counts == 0).any() else means


def stepping(data: PixelData, centroids: F64, limits: StepLimits) -> Generator[F64, ClusterSums, Steps]:
    """The steps as a dialogue: it asks for the sums of centroids (k, 3), is sent them, and returns what it came to.

    Whoever answers may ask one reading of the pixels for several dialogues at once.
    """
    space = data.space
    before: ClusterSums | None = None
    history: list[float] = []
    for _ in range(limits.max_iter):
        sums = yield centroids
        moved = _moved(data, sums, centroids)
        history.append(space.inertia(sums, centroids))
        if sums.same_as(before):
            return Steps(centroids, tuple(history), converged=True)
        with np.errstate(over="ignore"):  # the squares of the farthest floats are infinite
            shift = float(((moved - centroids) ** 2).sum())
        centroids, before = moved, sums
        if limits.squared_shift is not None and shift <= limits.squared_shift:
            return Steps(centroids, tuple(history), converged=True)
        if limits.sampling_noise and shift <= _standard_error(sums, history[-1] * space.steps_per_unit**2):
            return Steps(centroids, tuple(history), converged=True)
    return Steps(centroids, tuple(history))


def lloyd(data: PixelData, centroids: F64, limits: StepLimits) -> Steps:
    """Step until the limits say so.

    Parameters
    ----------
    data
        The pixels.
    centroids
        float64 (k, 3), grid units: where to start.
    limits
        When to stop.
    """
    dialogue = stepping(data, centroids, limits)
    try:
        asked = next(dialogue)
        while True:
            asked = dialogue.send(data.sums(asked))
    except StopIteration as done:
        steps: Steps = done.value
        return steps


class ManySums(PixelData, Protocol):
    """Pixels whose one reading answers for several sets of centroids."""

    def sums_of_each(self, centroids: Sequence[F64]) -> list[ClusterSums]:
        """The sums for each set."""
        ...


def lloyd_together(data: ManySums, starts: Sequence[tuple[F64, StepLimits]]) -> list[Steps]:
    """`lloyd` from several starts, with the same results; each step of all of them together reads the pixels once."""
    dialogues = [stepping(data, centroids, limits) for centroids, limits in starts]
    asked = {i: next(dialogue) for i, dialogue in enumerate(dialogues)}
    done: dict[int, Steps] = {}
    while asked:
        waiting = list(asked)
        for i, sums in zip(waiting, data.sums_of_each([asked[i] for i in waiting]), strict=True):
            try:
                asked[i] = dialogues[i].send(sums)
            except StopIteration as end:
                done[i] = end.value
                del asked[i]
    return [done[i] for i in range(len(starts))]


def _standard_error(sums: ClusterSums, inertia: float) -> float:
    """Squared standard error of all centroids together, had each cluster the mean spread: sum of mse / n."""
    counts = sums.counts[sums.counts > 0]
    return inertia / max(sums.pixels, 1) * float((1.0 / counts).sum())
