"""What a job will read, hold and write, worked out from headers alone, and made to fit before it starts."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kseg_core.config import OutputSettings
from kseg_core.errors import KsegError, UnreadableImage
from kseg_core.memory import (
    COLOR_BYTES,
    KEPT_BYTES,
    LEAST_COLORS,
    MOST_COLORS,
    PROCESS_BYTES,
    SCRATCH_BYTES,
    VIEW_BYTES,
    held_bytes,
    kept_bytes,
    piece_bytes,
    written_bytes,
)
from kseg_core.sizes import format_bytes
from kseg_core.sources import Piece

from .executor import Executor, LocalExecutor
from .plan import Failure, Plan

log = logging.getLogger("kseg")

# Labels and masks of photographs take 3 to 30 % of their plain size: with less than this share free, a job cannot end.
LEAST_FREE_SHARE = 0.05


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
    """

    k: int
    bands: int
    batch_px: int
    output: OutputSettings | None
    alone: bool = False

    @property
    def fits(self) -> bool:
        return self.batch_px > 0

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
        Distinct colours that there may be; None: there is no table of them.
    kept
        Bytes of pixels that are kept from one reading to the next.
    """

    limit: int
    processes: int
    threads: int
    fixed: int
    colors: int | None
    kept: int = 0

    @property
    def needed(self) -> int:
        """Bytes with as many colours as there may be."""
        return self.fixed + COLOR_BYTES * (self.colors or 0) + self.kept


def make_budget(plan: Plan, work: Work, executor: Executor) -> tuple[Budget, Plan, list[Failure]]:
    """What the plan takes, with as many tasks at a time as memory allows; the plan less images that are too large.

    Raises
    ------
    KsegError
        If the memory is too small to work at all.
    """
    limit = executor.memory_bytes
    output = work.output or OutputSettings(masks=False)
    k = work.k if work.output else 0
    tables = work.fits and work.bands == 0
    least = min(LEAST_COLORS, plan.pixels) * COLOR_BYTES if tables else 0
    held = held_bytes(plan.pixels, work.bands, work.batch_px) if work.fits and work.bands else 0
    room = limit - PROCESS_BYTES - held - least  # for tasks
    needs = {piece: SCRATCH_BYTES + piece_bytes(piece, k, output, work.bands) for piece in pieces_of(plan)}
    failures = [
        Failure(piece.source.file.key, too_large(piece, limit - room + need, limit))
        for piece, need in needs.items()
        if need > room and piece.source.info.block is None
    ]
    plan = plan.without(failures)
    largest = sorted((needs[piece] for piece in pieces_of(plan)), reverse=True) or [SCRATCH_BYTES]
    threads = next(
        (n for n in range(executor.threads, executor.least_threads, -1) if sum(largest[:n]) <= room),
        executor.least_threads,
    )
    fixed = PROCESS_BYTES + held + sum(largest[:threads])
    if fixed + least > limit:
        raise KsegError(too_little(limit, fixed + least))
    lower_threads(executor, threads)
    colors = min(MOST_COLORS, plan.pixels, (limit - fixed) // COLOR_BYTES) if tables else None
    budget = Budget(limit, executor.processes, threads, fixed, colors)
    return replace(budget, kept=to_keep(budget, plan, work, executor)), plan, failures


def to_keep(budget: Budget, plan: Plan, work: Work, executor: Executor) -> int:
    """Bytes of pixels worth keeping: where they are read again, by this process, within the memory that is left."""
    if not (work.reads_again and isinstance(executor, LocalExecutor)):
        return 0
    pixels = sum(kept_bytes(source, work.bands) for source in plan.sources)
    return max(0, min(pixels, KEPT_BYTES, budget.limit - budget.needed))


def limit_tasks(executor: Executor, task_bytes: int = VIEW_BYTES) -> None:
    """As many tasks at a time as memory allows, each of which takes as much, whatever the image.

    Raises
    ------
    KsegError
        If the memory is too small for one.
    """
    limit = executor.memory_bytes
    threads = min(executor.threads, max(executor.least_threads, (limit - PROCESS_BYTES) // task_bytes))
    needed = PROCESS_BYTES + threads * task_bytes
    if needed > limit:
        raise KsegError(too_little(limit, needed, "give more with --memory"))  # tiles are as the store has them
    lower_threads(executor, threads)


def too_little(limit: int, needed: int, advice: str = "give more with --memory, or use a smaller --tile") -> str:
    """Why a job does not start."""
    return (
        f"{format_bytes(limit)} of memory a process are too little: this job needs at least {format_bytes(needed)}; "
        f"{advice}"
    )


def lower_threads(executor: Executor, threads: int) -> None:
    """Run fewer tasks at a time, and say so."""
    if threads < executor.threads:
        log.warning(
            "within %s of memory: %d worker(s), not %d", format_bytes(executor.memory_bytes), threads, executor.threads
        )
        executor.limit_threads(threads)


def pieces_of(plan: Plan) -> list[Piece]:
    """All pieces of a plan."""
    return [piece for part in (plan.bundles, plan.large) for pieces in part for piece in pieces]


def too_large(piece: Piece, need: int, limit: int) -> UnreadableImage:
    """Why an image that must be decoded whole cannot be."""
    return UnreadableImage(
        piece.source.file.source,
        f"takes about {format_bytes(need)} of memory to decode whole, a process may take {format_bytes(limit)}; "
        "give more with --memory, or convert it to a tiled TIFF",
    )


def too_many_colors(budget: Budget) -> KsegError:
    """Why a table of colours cannot be held."""
    millions = (budget.colors or 0) / 1e6
    return KsegError(
        f"the images have more than {millions:.1f} million distinct colours, which {format_bytes(budget.limit)} of "
        f"memory a process cannot hold; give --memory {format_bytes(budget.fixed + MOST_COLORS * COLOR_BYTES)}"
    )


# ------------------------------------------------------------------------------------------------------------- disk


def bytes_to_write(plan: Plan, work: Work) -> int:
    """Most bytes of the store, before compression."""
    if work.output is None:
        return 0
    return sum(written_bytes(piece, work.k, work.output, work.bands) for piece in pieces_of(plan))


def require_room_on_disk(output: str, at_most: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises
    ------
    KsegError
        If less is free than the output of such images ever takes.
    """
    free = free_bytes(output)
    if free < at_most * LEAST_FREE_SHARE:
        raise KsegError(
            f"{output}: {format_bytes(free)} are free on its disk; labels and masks of these images take up to "
            f"{format_bytes(at_most)} before compression. Free some, choose another output with -o, or use --no-masks"
        )


def free_bytes(output: str) -> int:
    """What is free on the disk that an output will be on."""
    folder = os.path.dirname(os.path.abspath(output))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free


# ------------------------------------------------------------------------------------------------------- a dry run


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a job would do."""

    output: str
    images: int
    large: int
    pixels: int
    read_bytes: int
    write_bytes: int
    free: int
    budget: Budget
    failures: Sequence[UnreadableImage]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        budget = self.budget
        return {
            "status": "dry-run",
            "output": self.output,
            "images": {"total": self.images + len(self.failures), "large": self.large, "failed": len(self.failures)},
            "pixels": {"total": self.pixels},
            "read": {"bytes": self.read_bytes},
            "hold": {
                "processes": budget.processes,
                "threads": budget.threads,
                "memory": budget.limit,
                "bytes": budget.fixed,
                "bytes_per_color": COLOR_BYTES,
                "colors": budget.colors,
            },
            "write": {"bytes_at_most": self.write_bytes, "free": self.free},
            "failures": [{"source": error.source, "reason": error.reason} for error in self.failures],
        }
