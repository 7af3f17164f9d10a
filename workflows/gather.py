"""One pass over all images: every piece is looked at once, and what they bring home is merged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dask.base import tokenize
from dask.delayed import Delayed, delayed

from kseg_core.errors import UnreadableImage
from kseg_core.sources import Piece

from .executor import Executor
from .plan import Bundle, Failure, Plan, pixels_of
from .progress import Progress
from .waves import Watched, Waves


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


Look = Callable[[Piece], Any]


def gather(bundle: Bundle, look: Look, strict: bool) -> Gathered:
    """A task: look at some pieces, one at a time."""
    gathered = Gathered(None)
    for piece in bundle:
        try:
            gathered = gathered.merge(Gathered(look(piece)))
        except UnreadableImage as error:
            if strict:
                raise
            gathered = gathered.merge(Gathered(None, (Failure(piece.source.file.key, error),)))
    return gathered


def whole_or_nothing(image: Gathered) -> Gathered:
    """A task: an image one of whose pieces is damaged counts with none of them, and as one failure."""
    return image if not image.failures else Gathered(None, image.failures[:1])


def pass_over(
    plan: Plan, look: Look, name: str | None, executor: Executor, progress: Progress, *, strict: bool
) -> tuple[Any, list[Failure]]:
    """Look at every piece once; what they bring home, merged, and what could not be read. ``name`` is the stage's."""
    if name is not None:
        progress.stage(name, len(plan.sources), plan.pixels)
    task = delayed(gather, pure=True)

    def lazy(bundle: Bundle) -> Delayed:
        return task(bundle, look, strict, dask_key_name=f"gather-{tokenize(bundle, look, strict)}")

    waves = Waves(executor, "gathered")
    for bundle in plan.bundles:
        waves.add([Watched(lazy(bundle), partial(progress.advance, len(bundle), pixels_of(bundle)))])
    for pieces in plan.large:
        watched = [
            Watched(lazy((piece,)), partial(progress.advance, int(piece is pieces[-1]), piece.pixels))
            for piece in pieces
        ]
        waves.add(watched, finish=delayed(whole_or_nothing, pure=True))
    gathered: Gathered = executor.compute([waves.merged()])[0]
    return gathered.found, list(gathered.failures)
