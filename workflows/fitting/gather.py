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

from kseg_core.clustering.band_batch import BandBatch, Picked
from kseg_core.clustering.band_values import Extremes
from kseg_core.clustering.bands import BandMoments
from kseg_core.clustering.summary import ChunkSummary, ColorTable
from kseg_core.errors import UnreadableImage
from kseg_core.reading.sources import Piece
from kseg_core.resume.keeping import keep, kept

from ..computing.context import (
    Context,
    Failure,
    Merge,
    Suspects,
    Watched,
    Waves,
    crashed,
    merge_all,
    one_by_one,
    task_of,
    token_of,
    tree_reduce,
    turn,
)
from ..computing.executor import died_again
from ..planning.plan import Bundle, Plan

# Pieces of one large image that a task reads, one after the other: fewer partial results wait to be merged (a colour
# table of sixteen neighbouring pieces is hardly larger than that of one), yet progress is seen every second or so.
PIECES_PER_TASK = 16
ATTEMPTS = 8  # of a pass, each without the images that killed their workers in the one before
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


def gather(bundle: Bundle, read: Read, digest: Digest, strict: bool, path: str | None = None) -> Gathered:
    """A task: read some pieces, one at a time, and keep what ``digest`` makes of them.

    ``path``: a file to keep it in as well, so that a job that was stopped need not read them again. A failure is not
    kept: it is looked at again.
    """
    known = None if path is None else kept(path, KEPT_TYPES)
    if known is not None:
        return Gathered(known)
    failures: list[Failure] = []

    def readings() -> Iterator[Any]:
        for piece in bundle:
            try:
                yield read(piece)
            except UnreadableImage as error:
                if strict:
                    raise
                failures.append(Failure(piece.source.file.key, error))

    found = digest(readings())
    if path is not None and not failures:
        keep(path, found)
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
    crashes: list[Failure] = []
    for attempt in range(ATTEMPTS):
        if name is not None:
            context.progress.stage(name, len(plan.sources), plan.pixels)
        try:
            folder = None if name is None else plan.kept  # of a part its stage keeps the whole
            merged = gather_once(plan, read, digest, context, attempt, folder, merge)
        except Suspects as suspects:
            pieces, deaths = suspects.pieces, suspects.deaths
        else:
            return merged if not crashes else context.executor.persist([_with(merged, crashes)])[0]
        found = find_crashes(pieces, read, context)
        crashes += found
        plan = plan.without(found)
        if not plan.sources:
            return _with(None, crashes)
    raise died_again({0: deaths})


def _with(merged: Delayed | None, failures: Sequence[Failure]) -> Delayed:
    """What was gathered, and some more failures."""
    more = delayed(Gathered(None, tuple(failures)), traverse=False)
    return more if merged is None else tree_reduce([merged, more], "gathered")


def gather_once(
    plan: Plan,
    read: Read,
    digest: Digest,
    context: Context,
    attempt: int,
    folder: str | None,
    merge: Merge,
) -> Delayed:
    """One such pass. ``attempt`` gives its tasks new names: those of an earlier one may have ended badly.
    ``folder`` is where they keep what they bring home.

    Raises
    ------
    Suspects
        If workers died at some of its tasks.
    """
    how = tokenize(read, digest, context.strict, attempt)

    def lazy(bundle: Bundle, rank: int) -> Delayed:
        path = kept_path(folder, bundle, read, digest)
        return task_of(
            gather, bundle, read, digest, context.strict, path, key=f"gather-{turn(rank)}-{token_of(bundle, how)}"
        )

    waves = Waves(context.executor, "gathered", merge)
    for rank, bundle in enumerate(plan.bundles):
        waves.add([Watched(lazy(bundle, rank), partial(context.advance, bundle), pieces=bundle)])
    for pieces in plan.large:
        watched = [
            Watched(lazy(run, rank), partial(context.advance, run), pieces=run)
            for rank, run in enumerate(runs_of(pieces, context.executor.workers))
        ]
        waves.add(watched, finish=delayed(whole_or_nothing, pure=True))
    return waves.merged()


def find_crashes(bundles: Sequence[Bundle], read: Read, context: Context) -> list[Failure]:
    """The images at whose reading, one at a time, workers die again.

    Raises
    ------
    UnreadableImage
        If there is one and the job is strict.
    """
    task = delayed(read_and_forget, pure=False)
    pieces = [piece for bundle in bundles for piece in bundle]
    found = {
        piece.file.key: context.failed(piece.file.key, crashed(piece.file.source, deaths))
        for piece, _, deaths in one_by_one(pieces, lambda piece: task(piece, read), context.executor)
        if deaths
    }
    return list(found.values())


def read_and_forget(piece: Piece, read: Read) -> None:
    """A task: does reading a piece come to an end?"""
    with suppress(UnreadableImage):
        read(piece)


def pass_over(plan: Plan, look: Read, name: str | None, context: Context) -> tuple[Any, list[Failure]]:
    """Look at every piece once; what they bring home, merged, and what could not be read. ``name`` is the stage's."""
    merged = gather_plan(plan, look, merge_found, name, context)
    gathered: Gathered = context.executor.compute([merged])[0]
    return gathered.found, list(gathered.failures)
