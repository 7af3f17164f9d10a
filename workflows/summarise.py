"""Every chunk's colours, counted where the chunk is and merged up a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from dask.base import tokenize
from dask.delayed import Delayed, delayed

from kseg_core.errors import UnreadableImage
from kseg_core.summary import BatchRule, ChunkSummary, Window, summarise

from .executor import Executor
from .plan import Bundle, Failure, Plan, pixels_of
from .progress import Progress
from .waves import Watched, Waves


@dataclass(frozen=True, slots=True)
class BundleSummary:
    """What a bundle's task returns; merges like the summary it holds."""

    summary: ChunkSummary
    failures: tuple[Failure, ...] = field(default=())

    def merge(self, other: BundleSummary) -> BundleSummary:
        return BundleSummary(self.summary.merge(other.summary), self.failures + other.failures)


def summarise_bundle(bundle: Bundle, rule: BatchRule, strict: bool) -> BundleSummary:
    """A task: read some pieces, one at a time, and count their colours."""
    failures: list[Failure] = []

    def windows() -> Iterator[Window]:
        for piece in bundle:
            try:
                yield piece.read()
            except UnreadableImage as error:
                if strict:
                    raise
                failures.append(Failure(piece.source.file.key, error))

    return BundleSummary(summarise(windows(), rule), tuple(failures))


def whole_or_nothing(image: BundleSummary) -> BundleSummary:
    """A task: an image one of whose pieces is damaged counts with none of them, and as one failure."""
    return image if not image.failures else BundleSummary(ChunkSummary.empty(), image.failures[:1])


def summarise_plan(plan: Plan, rule: BatchRule, executor: Executor, progress: Progress, *, strict: bool) -> Delayed:
    """The merged `BundleSummary` of everything, kept where it was computed."""
    progress.stage("reading colours", len(plan.sources), plan.pixels)
    task = delayed(summarise_bundle, pure=True)

    def summary_of(bundle: Bundle) -> Delayed:
        return task(bundle, rule, strict, dask_key_name=f"summarise-{tokenize(bundle, rule, strict)}")

    waves = Waves(executor, "summaries")
    for bundle in plan.bundles:
        waves.add([Watched(summary_of(bundle), partial(progress.advance, len(bundle), pixels_of(bundle)))])
    for pieces in plan.large:
        lazy = [
            Watched(summary_of((piece,)), partial(progress.advance, int(last), piece.pixels))
            for piece, last in zip(pieces, [False] * (len(pieces) - 1) + [True], strict=True)
        ]
        waves.add(lazy, finish=delayed(whole_or_nothing, pure=True))
    return waves.merged()
