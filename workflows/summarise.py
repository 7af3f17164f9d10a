"""Every chunk's colours, counted where the chunk is and merged up a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dask.base import tokenize
from dask.delayed import Delayed, delayed

from kseg_core.errors import UnreadableImage
from kseg_core.summary import BatchRule, ChunkSummary, Window, summarise

from .executor import Executor
from .plan import Bundle, Failure
from .progress import Progress
from .tree import tree_reduce


@dataclass(frozen=True, slots=True)
class BundleSummary:
    """What a bundle's task returns; merges like the summary it holds."""

    summary: ChunkSummary
    failures: tuple[Failure, ...] = field(default=())

    def merge(self, other: BundleSummary) -> BundleSummary:
        return BundleSummary(self.summary.merge(other.summary), self.failures + other.failures)


def summarise_bundle(bundle: Bundle, rule: BatchRule, strict: bool) -> BundleSummary:
    """A task: read a bundle's images, one at a time, and count their colours."""
    failures: list[Failure] = []

    def windows() -> Iterator[Window]:
        for source in bundle:
            try:
                yield source.read()
            except UnreadableImage as error:
                if strict:
                    raise
                failures.append(Failure(source.file.key, error))

    return BundleSummary(summarise(windows(), rule), tuple(failures))


def summarise_bundles(
    bundles: Sequence[Bundle], rule: BatchRule, executor: Executor, progress: Progress, *, strict: bool
) -> Delayed:
    """The merged `BundleSummary` of everything, kept where it was computed."""
    progress.stage("reading colours", sum(map(len, bundles)), sum(s.pixels for b in bundles for s in b))
    task = delayed(summarise_bundle, pure=True)
    lazy = [
        task(bundle, rule, strict, dask_key_name=f"summarise-{tokenize(bundle, rule, strict)}") for bundle in bundles
    ]
    return executor.persist(
        [tree_reduce(lazy, "summaries")],
        lazy,
        lambda i: progress.advance(len(bundles[i]), sum(source.pixels for source in bundles[i])),
    )[0]
