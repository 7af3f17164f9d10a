"""What a job will read, hold and write, worked out from headers alone, and made to fit before it starts."""

from __future__ import annotations

import logging
import os
import shutil
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from typing import NamedTuple

from kseg_core import storage
from kseg_core.config import AUTO, FitSettings, OutputSettings
from kseg_core.errors import KsegError, TooLarge, TooManyColors, UnreadableImage
from kseg_core.layers.layer import Layer
from kseg_core.memory import (
    COLOR_BYTES,
    KEPT_BYTES,
    KNEE_BYTES,
    LEAST_COLORS,
    MERGED_COLOR_BYTES,
    MOST_COLORS,
    PROCESS_BYTES,
    counts_to_label,
    held_bytes,
    held_px_bytes,
    kept_bytes,
    layer_bytes,
    piece_bytes,
    process_bytes,
    sample_bytes,
    scratch_bytes,
    written_bytes,
)
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.sizes import format_at_least, format_bytes
from kseg_core.store.model import Model

from ..computing.context import Failure
from ..computing.executor import Executor, LocalExecutor
from .plan import Plan

log = logging.getLogger("kseg")

NOTHING_WRITTEN = OutputSettings(masks=False)


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
    layers
        Those that are added.
    features
        The feature space of colours; None: not known.
    chooses_k
        Whether a knee is looked for.
    derived
        Whether any of the bands is worked out from others.
    """

    k: int
    bands: int
    batch_px: int
    output: OutputSettings | None
    alone: bool = False
    layers: tuple[Layer, ...] = ()
    features: str | None = None
    chooses_k: bool = False
    derived: bool = False

    @classmethod
    def of(cls, how: Model | FitSettings, output: OutputSettings | None, layers: tuple[Layer, ...], bands: int) -> Work:
        """What labelling with a model takes, or finding one first, of images with at most so many bands.

        ``output``: what is written of the labels; None: nothing.
        """
        if isinstance(how, Model):
            of_model = 0 if how.bands is None else len(how.bands.bands)
            derived = how.bands is not None and how.bands.is_derived
            return cls(how.k, of_model, 0, output, layers=layers, features=how.features, derived=derived)
        tries = how.k == AUTO
        return cls(
            how.tried[1] if tries else how.clusters,
            (len(how.chosen) or bands) if how.features == "bands" else 0,
            how.batch_pixels,
            output,
            alone=how.scope == "image",
            layers=layers,
            features=how.features,
            chooses_k=tries,
            derived=bool(how.derive),
        )

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
        Bytes it takes before it has counted a colour, at whatever it does.
    colors
        Distinct colours that a table may have; None: there is no table of them.
    tables
        How many tables there are at a time: one, or one a task where each image has a model of its own.
    kept
        Bytes of pixels that are kept from one reading to the next.
    enough
        Limit at which all threads that were asked for have room for all colours that there may be.
    photographs
        Bytes with as many colours as photographs have: with less it does not start.
    """

    limit: int
    processes: int
    threads: int
    fixed: int
    colors: int | None
    tables: int = 1
    kept: int = 0
    enough: int = 0
    photographs: int = 0

    def for_one_table(self) -> Budget:
        """The same where all tasks work for one table: it has the room of all."""
        colors = None if self.colors is None else min(MOST_COLORS, self.colors * self.tables)
        return replace(self, colors=colors, tables=1)


class Task(NamedTuple):
    """Bytes that a task takes at what is done to a piece, one after the other, before it has counted a colour.

    Attributes
    ----------
    reading
        While the piece is read and its colours counted: tables are merged beside it.
    solving
        While the table is solved.
    labelling
        While the piece is labelled: there is no table any more.
    """

    reading: int
    solving: int
    labelling: int

    def taking(self, colors: int) -> int:
        """Bytes with so many distinct colours in a table of its own."""
        return max(self.reading + MERGED_COLOR_BYTES * colors, self.solving + COLOR_BYTES * colors, self.labelling)


@dataclass(frozen=True, slots=True)
class Stages:
    """What a process takes at a time.

    Parameters
    ----------
    base
        Bytes of the process itself.
    tasks
        Of the pieces that take most.
    threads
        How many of them there are at a time.
    alone
        Whether each task does all for its image, with a table of its own, whatever the others are at; otherwise all do
        the same, and there is one table.
    """

    base: int
    tasks: Sequence[Task]
    threads: int
    alone: bool = False

    @property
    def tables(self) -> int:
        """How many tables of colours there are at a time."""
        return max(1, min(self.threads, len(self.tasks))) if self.alone else 1

    @property
    def fixed(self) -> int:
        """Bytes before a colour is counted."""
        return self.taking(0)

    def taking(self, colors: int) -> int:
        """Bytes with so many distinct colours in each table."""
        if self.alone:
            return self.base + self._most(lambda task: task.taking(colors))
        all_at_once = Task(
            self._most(lambda task: task.reading),
            self._most(lambda task: task.solving),
            self._most(lambda task: task.labelling),
        )
        return self.base + all_at_once.taking(colors)

    def room(self, limit: int) -> int:
        """How many distinct colours each table may have within a limit."""
        return max(0, bisect_right(range(MOST_COLORS + 1), limit, key=self.taking) - 1)

    def _most(self, of: Callable[[Task], int]) -> int:
        return sum(nlargest(self.threads, map(of, self.tasks)))


def make_budget(plan: Plan, work: Work, executor: Executor) -> tuple[Budget, Plan, list[Failure]]:
    """What the plan takes, with as many tasks at a time as memory allows; the plan less images that are too large.

    Raises
    ------
    KsegError
        If the memory is too small to work at all.
    """
    limit = executor.memory_bytes
    least_colors = min(LEAST_COLORS, most_colors(plan, work))  # of all images, those that are too large among them
    failures = [
        Failure(piece.source.file.key, too_large(piece.source, need, executor))
        for piece, need in (
            (piece, stages_of([piece], 1, plan, work).taking(least_colors))
            for piece in largest_of(plan, 1)
            if piece.source.info.block is None
        )
        if need > limit
    ]
    plan = plan.without(failures)
    largest = largest_of(plan, executor.threads)

    def stages(threads: int) -> Stages:
        return stages_of(largest, threads, plan, work)

    threads = next(
        (n for n in range(executor.threads, executor.least_threads, -1) if stages(n).taking(least_colors) <= limit),
        executor.least_threads,
    )
    at_a_time = stages(threads)
    least = at_a_time.taking(least_colors)
    if least > limit and not (failures and not plan.sources):  # then each image has its own reason
        raise KsegError(too_little(executor, least))
    most = most_colors(plan, work)
    enough = stages(executor.threads).taking(most)
    lower_threads(executor, threads)
    colors = min(most, at_a_time.room(limit)) if work.counts_colors else None
    kept = to_keep(plan, work, executor, limit - at_a_time.taking(colors or 0))
    budget = Budget(
        limit,
        executor.processes,
        threads,
        at_a_time.fixed,
        colors,
        at_a_time.tables,
        kept,
        enough,
        photographs=least,
    )
    return budget, plan, failures


def stages_of(pieces: Sequence[Piece], threads: int, plan: Plan, work: Work) -> Stages:
    """What a process takes that works on some of these pieces at a time, on the largest."""
    remote = any(storage.is_remote(piece.source.file.path) for piece in pieces)
    base = process_bytes(work.bands, remote=remote) + KNEE_BYTES * work.chooses_k
    if work.fits and work.bands:
        most = max((sample_bytes(piece.source, derived=work.derived) for piece in pieces), default=8)
        base += held_bytes(plan.pixels, work.bands, work.batch_px, most)
    alone = bool(work.alone and plan.bundles)
    tasks = [task_of(piece, work, alone=alone) for piece in pieces]
    # No other can be among the largest at anything.
    largest = {
        at for stage in zip(*tasks, strict=True) for at in nlargest(threads, range(len(stage)), stage.__getitem__)
    }
    return Stages(base, tuple(tasks[at] for at in sorted(largest)), threads, alone)


def task_of(piece: Piece, work: Work, *, alone: bool) -> Task:
    """What the tasks take that have a piece; ``alone``: one does all."""
    counts = scratch_bytes(0, NOTHING_WRITTEN, work.bands)
    if not work.fits:
        return Task(0, 0, labelling_bytes(piece, work))
    reading = counts + piece_bytes(piece, 0, NOTHING_WRITTEN, work.bands, derived=work.derived)
    held = held_px_bytes(piece.source) * piece.pixels if alone else 0
    return Task(reading, counts + held, labelling_bytes(piece, work) if work.output is not None else 0)


def labelling_bytes(piece: Piece, work: Work) -> int:
    """Most bytes of the task that labels a piece."""
    output, k = (work.output, work.k) if work.output else (NOTHING_WRITTEN, 0)
    adding = (layer_bytes(piece, layer) for layer in work.layers)
    worked_on = max([piece_bytes(piece, k, output, work.bands, derived=work.derived), *adding])
    if not k:  # nothing but layers are added
        return worked_on
    counts = counts_to_label(work.features, output)
    return scratch_bytes(k, output, work.bands, counted=work.fits, counts=counts) + worked_on


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


def to_keep(plan: Plan, work: Work, executor: Executor, left: int) -> int:
    """Bytes of pixels worth keeping: where they are read again, by this process, within the memory that is left."""
    if not (work.reads_again and isinstance(executor, LocalExecutor)):
        return 0
    return max(
        0, min(sum(kept_bytes(source, work.bands, derived=work.derived) for source in plan.sources), KEPT_BYTES, left)
    )


def too_little(
    executor: Executor, needed: int, advice: str = "give more with --memory, or use a smaller --tile"
) -> str:
    """Why a job does not start."""
    return (
        f"{format_bytes(executor.memory_bytes)} of memory a process ({executor.memory_from}) are too little: "
        f"this job needs at least {format_at_least(needed)}; {advice}"
    )


class RegionRoom(NamedTuple):
    """Memory for the regions of images, whose number is known when they are found alone.

    Attributes
    ----------
    most
        Bytes for those of one image.
    limit, source
        What a process may take, and where that is from.
    """

    most: int
    limit: int
    source: str

    @classmethod
    def of(cls, executor: Executor, tasks: int = 1) -> RegionRoom:
        """That of each of so many images at a time in a process."""
        room = max(0, executor.memory_bytes - PROCESS_BYTES)
        return cls(room // tasks, executor.memory_bytes, executor.memory_from)

    def too_many(self, source: ImageSource, needs: int, least: int) -> TooLarge:
        """The failure of an image whose regions below ``least`` pixels take more."""
        needs += self.limit - self.most
        reason = (
            f"its regions below {least} pixels are so many that going through them takes about "
            f"{format_at_least(needs)} of memory, a process may take {format_bytes(self.limit)} ({self.source}); give "
            "more with --memory, or a smaller --min-region"
        )
        return TooLarge(source.file.source, reason, needs)

    def no_graph(self, source: ImageSource, needs: int) -> TooLarge:
        """The failure of an image whose regions, before they are merged to segments, take more."""
        needs += self.limit - self.most
        reason = (
            f"the graph of its regions takes about {format_at_least(needs)} of memory, a process may take "
            f"{format_bytes(self.limit)} ({self.source}); give more with --memory, or --segment-scale photo"
        )
        return TooLarge(source.file.source, reason, needs)


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


def too_large(source: ImageSource, need: int, executor: Executor) -> TooLarge:
    """Why an image that must be decoded whole cannot be."""
    return TooLarge(
        source.file.source,
        f"takes about {format_at_least(need)} of memory to decode whole, a process may take "
        f"{format_bytes(executor.memory_bytes)} ({executor.memory_from}); "
        "give more with --memory, or convert it to a tiled TIFF",
        need,
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


# Of their plain size labels and masks of photographs take, with five clusters, from 4 (22 megapixels, no masks) to 20 %
# (thumbnails, with masks), which is 7 to 70 % of their files' size: with less than this share free, a job hardly ends.
LEAST_FREE_SHARE = 0.03


def bytes_to_write(plan: Plan, work: Work) -> int:
    """Most bytes of the store, before compression."""
    if work.output is None:
        return 0
    return sum(written_bytes(piece, work.k, work.output, work.bands, derived=work.derived) for piece in pieces_of(plan))


def require_room_on_disk(output: str, at_most: int, *, resumes: bool) -> None:
    """Refuse to begin what the disk cannot hold. ``resumes``: there is an output to go on with, of these settings."""
    free = free_bytes(output)
    if free is not None and free < at_most * LEAST_FREE_SHARE:
        advice = "Free some, choose another output with -o, or use --no-masks"
        if resumes:  # with other settings it would be refused
            advice = "Free some: what was finished is kept, and the same command goes on"
        raise KsegError(
            f"{output}: {format_bytes(free)} are free on its disk; labels and masks of these images take up to "
            f"{format_bytes(at_most)} before compression. {advice}"
        )


def free_bytes(output: str) -> int | None:
    """What is free on the disk that an output will be on; None: in an object store, which does not say."""
    if storage.is_remote(output):
        return None
    folder = os.path.dirname(os.path.abspath(output))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free
