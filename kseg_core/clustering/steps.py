"""The exact steps of K-means, and when they end.

One step: every part of the data returns its `ClusterSums`, they are merged, the centroids move to the means. All sums
are integers, so the steps are the same to the last bit however the data is divided.

Colours, bands that are held and bands that are streamed stop by the same rules: a new one is a field of `FitSettings`
and a function of `RULES`.

References
----------
Lloyd 1982; Newling & Fleuret 2016 (when a mini-batch has told what it can).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..config import DEFAULT_TOL, FitSettings
from .points import Points, Space
from .sums import ClusterSums

F64 = NDArray[np.float64]

VARIANCE_OF_ERROR = 100.0  # times the error that clusters leave: more than data without far values has


# ------------------------------------------------------------------------------------------------ when to stop


@dataclass(frozen=True, slots=True)
class StepLimits:
    """What decides when steps over some data end.

    Parameters
    ----------
    settings
        What is asked for.
    done
        Steps made before, of which ``max_iter`` is told too.
    of_sample
        The data is a sample.
    mse
        Each step reads all data anew, and clusters leave so much of it: mean squared error, in squared feature units.
        None: the data is held, and steps cost little.
    """

    settings: FitSettings
    done: int = 0
    of_sample: bool = False
    mse: float | None = None

    @property
    def max_iter(self) -> int:
        """Most steps; at least one."""
        return max(1, self.settings.max_iter - self.done)

    def reached_by(self, step: Step) -> bool:
        """Whether a step is the last."""
        return any(rule(self, step) for rule in RULES)


class Step(NamedTuple):
    """What a rule sees of a step: the sums of its centroids' labels and those before, and how far they move.

    Attributes
    ----------
    shift
        Sum of the squared shifts of all centroids, in squared solver units.
    inertia
        Of the centroids before they move, in squared feature units.
    """

    space: Space
    sums: ClusterSums
    before: ClusterSums | None
    shift: float
    inertia: float


def no_label_changes(limits: StepLimits, step: Step) -> bool:  # noqa: ARG001 - rules have one signature
    """The sums are those of the step before."""
    return step.sums.same_as(step.before)


def centroids_rest(limits: StepLimits, step: Step) -> bool:
    """``tol``: the centroids move by little, measured by the mean variance of all data's components.

    Where it is not given and each step reads all data anew, by `DEFAULT_TOL`. A few far values make the variance as
    large as they like, and every step small beside it; the error that is left once they have centroids of their own
    does not know them.
    """
    tol, dimensions = limits.settings.tol, step.space.dimensions
    if limits.of_sample or (tol is None and limits.mse is None):
        return False
    variance = step.space.total_variance(step.sums)
    if tol is not None:
        return step.shift <= tol * variance / dimensions
    assert limits.mse is not None
    return step.shift <= DEFAULT_TOL * min(variance / dimensions, VARIANCE_OF_ERROR * (limits.mse / dimensions))


def sample_tells_no_more(limits: StepLimits, step: Step) -> bool:
    """The centroids of a sample move less than its standard error: a larger one tells more than another step.

    Their squared standard error together, had each cluster the mean spread, is the sum of mse / n.
    """
    if not limits.of_sample:
        return False
    counts = step.sums.counts[step.sums.counts > 0]
    squares = step.inertia * step.space.steps_per_unit**2
    return step.shift <= squares / max(step.sums.pixels, 1) * float((1.0 / counts).sum())


RULES = (no_label_changes, centroids_rest, sample_tells_no_more)


# ------------------------------------------------------------------------------------------------ the steps


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


def relocate_empty(data: Points, sums: ClusterSums, centroids: F64) -> F64:
    """Move each empty cluster to the point farthest from all centroids, one after the other."""
    moved = centroids.copy()
    empty = np.flatnonzero(sums.counts == 0)
    # An empty cluster's old place must not hide the farthest point, so all of them stand at a filled one meanwhile.
    moved[empty] = moved[int(np.argmax(sums.counts))]
    for j in empty:
        moved[j] = data.farthest(moved).point
    return moved


def step(data: Points, centroids: F64) -> tuple[ClusterSums, F64]:
    """Assign all pixels to ``centroids``; return their sums and the centroids moved to their means."""
    sums = data.sums(centroids)
    return sums, _moved(data, sums, centroids)


def _moved(data: Points, sums: ClusterSums, centroids: F64) -> F64:
    means = data.space.means(sums, centroids)
    return relocate_empty(data, sums, means) if (sums.counts == 0).any() else means


def stepping(data: Points, centroids: F64, limits: StepLimits) -> Generator[F64, ClusterSums, Steps]:
    """The steps as a dialogue: it asks for the sums of centroids (k, 3), is sent them, and returns what it came to.

    Whoever answers may ask one reading of the pixels for several dialogues at once.
    """
    before: ClusterSums | None = None
    history: list[float] = []
    for _ in range(limits.max_iter):
        sums = yield centroids
        moved = _moved(data, sums, centroids)
        history.append(data.space.inertia(sums, centroids))
        with np.errstate(over="ignore"):  # the squares of the farthest floats are infinite
            shift = float(((moved - centroids) ** 2).sum())
        last = limits.reached_by(Step(data.space, sums, before, shift, history[-1]))
        centroids, before = moved, sums
        if last:
            return Steps(centroids, tuple(history), converged=True)
    return Steps(centroids, tuple(history))


def lloyd(data: Points, centroids: F64, limits: StepLimits) -> Steps:
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


class ManySums(Points, Protocol):
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
