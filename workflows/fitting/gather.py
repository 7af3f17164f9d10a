"""One pass over all images: every piece is looked at once, and what they bring home is merged up a tree."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

from dask.base import tokenize
from dask.delayed import Delayed, delayed

from kseg_core.clustering.band_points import BandBatch, Picked
from kseg_core.clustering.band_values import Extremes
from kseg_core.clustering.bands import BandMoments
from kseg_core.clustering.summary import ChunkSummary, ColorTable
from kseg_core.errors import UnreadableImage
from kseg_core.reading.sources import Piece
from kseg_core.resume.checkpoints import load, save

from ..computing.context import Context, Failure, Merge, merge_all, tree_reduce
from ..planning.plan import Bundle, Plan

# Pieces of one large image that a task reads, one after the other: fewer partial results wait to be merged (a colour
# table of sixteen neighbouring pieces is hardly larger than that of one), yet progress is seen every second or so.
PIECES_PER_TASK = 16
TASKS_PER_WORKER = 8  # an image of few pieces is still spread over all workers

KEPT_TYPES = (ChunkSummary, ColorTable, BandBatch, BandMoments, Extremes, Picked)

Read = Callable[[Piece], Any]
Digest = Callable[[Iterator[Any]], Any]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a pass over some pieces brings home; merges."""

    found: Any
    failures: tuple[Failure, ...] = field(default=())

    def merge(self, other: Gathered) -> Gathered:
        found = other.found if self.found is None else self.found
        if self.found is not None and other.found is not None:
            found = self.found.merge(other.found)
        return Gathered(found, self.failures + other.failures)


def merge_found(found: Iterator[Any]) -> Any:
    """What was found in all pieces, merged as it comes; None where there was nothing."""
    first = next(found, None)
    return None if first is None else reduce(lambda a, b: a.merge(b), found, first)


@dataclass(frozen=True, slots=True)
class Gather:
    """A task: read some pieces, one at a time, and keep what ``digest`` makes of them.

    ``folder`` is where that is kept as well, so that a job that was stopped need not read them again. A failure is not
    kept: it is looked at again.
    """

    read: Read
    digest: Digest
    folder: str | None

    def __call__(self, bundle: Bundle, strict: bool) -> Gathered:
        """What they come to.

        Raises
        ------
        UnreadableImage
            If one cannot be read and the job is strict.
        """
        path = kept_path(self.folder, bundle, self.read, self.digest)
        known = None if path is None else load(path, KEPT_TYPES)
        if known is not None:
            return Gathered(known)
        failures: list[Failure] = []

        def readings() -> Iterator[Any]:
            for piece in bundle:
                try:
                    yield self.read(piece)
                except UnreadableImage as error:
                    if strict:
                        raise
                    failures.append(Failure(piece.source.file.key, error))

        found = self.digest(readings())
        if path is not None and not failures:
            save(path, found)
        return Gathered(None if len(failures) == len(bundle) else found, tuple(failures))


def kept_path(folder: str | None, *what: object) -> str | None:
    """Where a task keeps what it brings home, told by everything that decides it; None where nothing is kept."""
    return None if folder is None else os.path.join(folder, f"{tokenize(*what)}.kept")


def whole_or_nothing(image: Gathered) -> Gathered:
    """A task: an image one of whose pieces is damaged counts with none of them, and as one failure."""
    return image if not image.failures else Gathered(None, image.failures[:1])


def runs_of(pieces: Sequence[Piece], workers: int) -> list[Bundle]:
    """The pieces of one image in runs worth a task each."""
    length = max(1, min(PIECES_PER_TASK, len(pieces) // (workers * TASKS_PER_WORKER)))
    return [tuple(pieces[at : at + length]) for at in range(0, len(pieces), length)]


def gather_plan(
    plan: Plan,
    read: Read,
    digest: Digest,
    name: str | None,
    context: Context,
    merge: Merge = merge_all,
) -> Delayed:
    """Read every piece once: the merged `Gathered` of everything, kept where it was computed.

    Parameters
    ----------
    read
        Of a piece; may raise `UnreadableImage`.
    digest
        Makes something mergeable of any number of readings, each of which it lets go before it takes the next.
    name
        Of the stage; None: it is part of another.
    merge
        How several `Gathered` become one.
    """
    folder = None if name is None else plan.checkpoints  # of a part its stage keeps the whole
    units = [[bundle] for bundle in plan.bundles] + [runs_of(each, context.executor.workers) for each in plan.large]
    merged, crashes = context.reduce(
        Gather(read, digest, folder),
        units,
        merge=merge,
        whole=whole_or_nothing,
        probe=partial(read_and_forget, read=read),
        stage=name,
    )
    if not crashes:
        assert merged is not None  # there are images
        return merged
    left_out = delayed(Gathered(None, tuple(crashes)), traverse=False)
    return left_out if merged is None else context.executor.persist([tree_reduce([merged, left_out], "gathered")])[0]


def read_and_forget(piece: Piece, read: Read) -> None:
    """A task: does reading a piece come to an end?"""
    with suppress(UnreadableImage):
        read(piece)


def pass_over(plan: Plan, look: Read, name: str | None, context: Context) -> tuple[Any, list[Failure]]:
    """Look at every piece once; what they bring home, merged, and what could not be read. ``name`` is the stage's."""
    merged = gather_plan(plan, look, merge_found, name, context)
    gathered: Gathered = context.executor.compute([merged])[0]
    return gathered.found, list(gathered.failures)
