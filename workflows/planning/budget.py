"""What a job will read, hold and write, worked out from headers alone, and made to fit before it starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from kseg_core.config import OutputSettings
from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import KsegError, TooManyColors, UnreadableImage
from kseg_core.memory import (
    COLOR_BYTES,
    KEPT_BYTES,
    LEAST_COLORS,
    MOST_COLORS,
    PROCESS_BYTES,
    edge_bytes,
    held_bytes,
    kept_bytes,
    piece_bytes,
    scratch_bytes,
)
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.sizes import format_at_least, format_bytes

from ..computing.executor import Executor, LocalExecutor
from .plan import Failure, Plan

log = logging.getLogger("kseg")


@dataclass(frozen=True, slots=True)
class Work:
    """What is done to each pixel.

    Parameters
    ----------
    k
        Most clusters.
    bands
        How many are clustered; 0: colours.
    batch_px
        Of the first mini-batch; 0 where nothing is fitted.
    output
        What is written; None: nothing is.
    alone
        Whether each image has a model of its own.
    edges
        How edges are found; None: they are not.
    """

    k: int
    bands: int
    batch_px: int
    output: OutputSettings | None
    alone: bool = False
    edges: EdgeSettings | None = None

    @property
    def fits(self) -> bool:
        return self.batch_px > 0

    @property
    def counts_colors(self) -> bool:
        """Whether the fit is of a table of distinct colours."""
        return self.fits and self.bands == 0

    @property
    def reads_again(self) -> bool:
        """Whether pixels are read more than once: bands for every exact step, colours to be labelled after a fit."""
        return self.fits and (self.bands > 0 or self.output is not None) and not self.alone


@dataclass(frozen=True, slots=True)
class Budget:
    """Memory of each process.

    Parameters
    ----------
    limit
        Bytes it may take.
    processes, threads
        How many, and how many tasks each has at a time.
    fixed
        Bytes it takes before it has counted a colour.
    colors
        Distinct colours that a table may have; None: there is no table of them.
    tables
        How many tables there are at a time: one, or one a task where each image has a model of its own.
    kept
        Bytes of pixels that are kept from one reading to the next.
    enough
        Limit at which all threads that were asked for have room for all colours that there may be.
    """

    limit: int
    processes: int
    threads: int
    fixed: int
    colors: int | None
    tables: int = 1
    kept: int = 0
    enough: int = 0

    @property
    def needed(self) -> int:
        """Bytes with as many colours as there may be."""
        return self.fixed + COLOR_BYTES * (self.colors or 0) * self.tables + self.kept

    def for_one_table(self) -> Budget:
        """The same where all tasks work for one table: it has the room of all."""
        colors = None if self.colors is None else min(MOST_COLORS, self.colors * self.tables)
        return replace(self, colors=colors, tables=1)


def make_budget(plan: Plan, work: Work, executor: Executor) -> tuple[Budget, Plan, list[Failure]]:
    """What the plan takes, with as many tasks at a time as memory allows; the plan less images that are too large.

    Raises
    ------
    KsegError
        If the memory is too small to work at all.
    """
    limit = executor.memory_bytes
    held = held_bytes(plan.pixels, work.bands, work.batch_px) if work.fits and work.bands else 0
    base = PROCESS_BYTES + held
    table = COLOR_BYTES * min(LEAST_COLORS, most_colors(plan, work))  # the least that a table has room for
    failures = [
        Failure(file.key, UnreadableImage(file.source, too_large(need, executor)))
        for file, need in (
            (piece.source.file, base + task_bytes(piece, work) + table)
            for piece in largest_of(plan, 1)
            if piece.source.info.block is None
        )
        if need > limit
    ]
    plan = plan.without(failures)
    needs = sorted((task_bytes(piece, work) for piece in largest_of(plan, executor.threads)), reverse=True)

    def tables(threads: int) -> int:
        return threads if work.alone and plan.bundles else 1

    def fixed(threads: int) -> int:
        return base + sum(needs[:threads])

    threads = next(
        (n for n in range(executor.threads, executor.least_threads, -1) if fixed(n) + tables(n) * table <= limit),
        executor.least_threads,
    )
    least = fixed(threads) + tables(threads) * table
    if least > limit:
        raise KsegError(too_little(executor, least))
    enough = fixed(executor.threads) + tables(executor.threads) * COLOR_BYTES * most_colors(plan, work)
    lower_threads(executor, threads)
    room = (limit - fixed(threads)) // COLOR_BYTES // tables(threads)
    colors = min(most_colors(plan, work), room) if work.counts_colors else None
    budget = Budget(limit, executor.processes, threads, fixed(threads), colors, tables(threads), enough=enough)
    return replace(budget, kept=to_keep(budget, plan, work, executor)), plan, failures


def task_bytes(piece: Piece, work: Work) -> int:
    """Most bytes of the task that has a piece, but for its table of colours."""
    output, k = (work.output, work.k) if work.output else (OutputSettings(masks=False), 0)
    worked_on = piece_bytes(piece, k, output, work.bands)
    if work.edges is not None:
        worked_on = max(worked_on, edge_bytes(piece, work.edges))
    return scratch_bytes(k, output) + worked_on


def most_colors(plan: Plan, work: Work) -> int:
    """Most rows of a table of distinct colours; 0 where there is none."""
    if not work.counts_colors:
        return 0
    pixels = max((source.pixels for source in plan.sources), default=0) if work.alone else plan.pixels
    return min(MOST_COLORS, pixels)


def largest_of(plan: Plan, at_a_time: int) -> list[Piece]:
    """The pieces that decide how much memory some tasks take: of a large image none is larger than its first."""
    whole = [piece for bundle in plan.bundles for piece in bundle]
    return whole + [piece for pieces in plan.large for piece in [pieces[0]] * min(at_a_time, len(pieces))]


def to_keep(budget: Budget, plan: Plan, work: Work, executor: Executor) -> int:
    """Bytes of pixels worth keeping: where they are read again, by this process, within the memory that is left."""
    if not (work.reads_again and isinstance(executor, LocalExecutor)):
        return 0
    pixels = sum(kept_bytes(source, work.bands) for source in plan.sources)
    return max(0, min(pixels, KEPT_BYTES, budget.limit - budget.needed))


def too_little(
    executor: Executor, needed: int, advice: str = "give more with --memory, or use a smaller --tile"
) -> str:
    """Why a job does not start."""
    return (
        f"{format_bytes(executor.memory_bytes)} of memory a process ({executor.memory_from}) are too little: "
        f"this job needs at least {format_at_least(needed)}; {advice}"
    )


def lower_threads(executor: Executor, threads: int) -> None:
    """Run fewer tasks at a time, and say so."""
    if threads < executor.threads:
        log.warning(
            "within %s of memory (%s): %d worker(s), not %d",
            format_bytes(executor.memory_bytes),
            executor.memory_from,
            threads,
            executor.threads,
        )
        executor.limit_threads(threads)


def pieces_of(plan: Plan) -> list[Piece]:
    """All pieces of a plan."""
    return [piece for part in (plan.bundles, plan.large) for pieces in part for piece in pieces]


def too_large(need: int, executor: Executor) -> str:
    """Why an image that must be decoded whole cannot be."""
    return (
        f"takes about {format_at_least(need)} of memory to decode whole, a process may take "
        f"{format_bytes(executor.memory_bytes)} ({executor.memory_from}); "
        "give more with --memory, or convert it to a tiled TIFF"
    )


def too_many_colors(budget: Budget) -> TooManyColors:
    """Why a table of colours cannot be held."""
    return TooManyColors(f"the images have {_more_colors(budget)}")


def image_of_too_many_colors(source: ImageSource, budget: Budget) -> UnreadableImage:
    """The same of an image that has a table of its own."""
    return UnreadableImage(source.file.source, f"it has {_more_colors(budget)}")


def _more_colors(budget: Budget) -> str:
    fewer = ", or fewer --workers" if budget.tables > 1 else ""
    return (
        f"more than {(budget.colors or 0) / 1e6:.1f} million distinct colours, which {format_bytes(budget.limit)} of "
        f"memory a process cannot hold; give --memory {format_at_least(budget.enough)}{fewer}"
    )
