"""One pass over all images: every piece is looked at once, and what they bring home is merged up a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

from dask.base import tokenize
from dask.delayed import Delayed, delayed

from kseg_core.errors import UnreadableImage
from kseg_core.sources import Piece

from .executor import Executor
from .plan import Bundle, Failure, Plan, pixels_of
from .progress import Progress
from .tree import Merge, merge_all
from .waves import Watched, Waves

# Pieces of one large image that a task reads, one after the other: fewer partial results wait to be merged (a colour
# table of sixteen neighbouring pieces is hardly larger than that of one), yet progress is seen every second or so.
PIECES_PER_TASK = 16
TASKS_PER_WORKER = 8  # an image of few pieces is still spread over all workers

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


def gather(bundle: Bundle, read: Read, digest: Digest, strict: bool) -> Gathered:
    """A task: read some pieces, one at a time, and keep what ``digest`` makes of them."""
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
    return Gathered(None if len(failures) == len(bundle) else found, tuple(failures))


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
    executor: Executor,
    progress: Progress,
    *,
    strict: bool,
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
    if name is not None:
        progress.stage(name, len(plan.sources), plan.pixels)
    task = delayed(gather, pure=True)

    def lazy(bundle: Bundle) -> Delayed:
        key = f"gather-{tokenize(bundle, read, digest, strict)}"
        return task(bundle, read, digest, strict, dask_key_name=key)

    waves = Waves(executor, "gathered", merge)
    for bundle in plan.bundles:
        waves.add([Watched(lazy(bundle), partial(progress.advance, len(bundle), pixels_of(bundle)))])
    for pieces in plan.large:
        watched = [
            Watched(lazy(run), partial(progress.advance, int(run[-1] is pieces[-1]), pixels_of(run)))
            for run in runs_of(pieces, executor.workers)
        ]
        waves.add(watched, finish=delayed(whole_or_nothing, pure=True))
    return waves.merged()


def pass_over(
    plan: Plan, look: Read, name: str | None, executor: Executor, progress: Progress, *, strict: bool
) -> tuple[Any, list[Failure]]:
    """Look at every piece once; what they bring home, merged, and what could not be read. ``name`` is the stage's."""
    merged = gather_plan(plan, look, merge_found, name, executor, progress, strict=strict)
    gathered: Gathered = executor.compute([merged])[0]
    return gathered.found, list(gathered.failures)
