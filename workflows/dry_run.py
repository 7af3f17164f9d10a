"""What a job would do, told from headers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kseg_core.errors import UnreadableImage, facts_of, from_facts
from kseg_core.memory import COLOR_BYTES

from .computing.context import Context, Failure
from .computing.executor import Progress
from .output import Output
from .planning.budget import Budget, bytes_to_write, free_bytes, make_budget
from .planning.notes import Note, notes_of, notes_of_all
from .planning.plan import Plan
from .request import Request
from .result import errors_of
from .run import earlier_model
from .scan import scan_rest, work_of


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a job would do: to so many ``images``, besides those ``reused`` as they are finished."""

    output: str
    images: int
    reused: int
    large: int
    pixels: int
    read_bytes: int
    write_bytes: int
    free: int | None
    budget: Budget
    memory_from: str
    workers_from: str
    failures: Sequence[UnreadableImage]
    features: str | None = None
    features_why: str | None = None
    notes: Sequence[Note] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        budget = self.budget
        return {
            "status": "dry-run",
            "output": self.output,
            "images": {
                "total": self.images + self.reused + len(self.failures),
                "to_do": self.images,
                "reused": self.reused,
                "large": self.large,
                "failed": len(self.failures),
            },
            "features": self.features,
            "features_why": self.features_why,
            "pixels": {"total": self.pixels},
            "read": {"bytes": self.read_bytes},
            "hold": {
                "processes": budget.processes,
                "threads": budget.threads,
                "memory": budget.limit,
                "memory_from": self.memory_from,
                "workers_from": self.workers_from,
                "bytes": budget.fixed,
                "bytes_per_color": COLOR_BYTES,
                "estimate": budget.photographs,
                "colors": budget.colors,
                "tables": budget.tables,
            },
            "write": {"bytes_at_most": self.write_bytes, "free": self.free},
            "failures": [facts_of(error) for error in self.failures],
            "notes": [note.to_json() for note in self.notes],
        }


def dry_run(request: Request, progress: Progress | None = None, *, writes: bool = True) -> DryRun:
    """What ``run`` (or ``fit``, which ``writes`` no labels) would read, hold and write, from headers alone.

    What is finished is not done again, and not told as something to do. Nothing on the disk changes.

    Raises
    ------
    KsegError
        If no image could be read, or memory is too small.
    """
    output = Output(request)
    with Context.open(request.config.execution, progress) as context:
        executor = context.executor
        if request.finished is not None:
            plan, budget, reused = Plan(()), None, _reused(request.finished)
            failures = [Failure("", from_facts(facts)) for facts in request.finished["failures"]]
            output.model = earlier_model(request.config.model)
        else:
            given = earlier_model(request.config.model)
            if writes:
                output.peek(request, given, context)
            request, plan, failures, budget = scan_rest(request, output, context, writes=writes)
            failures, reused = output.unusable + failures, len(output.done.keys)
        work = work_of(request, plan, output.model, writes=writes)
        if budget is None:  # nothing is left to do
            budget, _, _ = make_budget(plan, work, executor)
    sources, fit = plan.sources, request.config.fit
    return DryRun(
        features=None if fit is None else fit.features,
        features_why=None if fit is None else fit.features_why,
        output=request.output,
        images=len(sources),
        reused=reused,
        large=len(plan.large),
        pixels=plan.pixels,
        read_bytes=sum(source.file.size for source in sources),
        write_bytes=bytes_to_write(plan, work),
        free=free_bytes(request.output),
        budget=budget,
        memory_from=executor.memory_from,
        workers_from=executor.workers_from,
        failures=errors_of(failures),
        notes=notes_of_all(plan.notes) + notes_of(sources),
    )


def _reused(finished: dict[str, Any]) -> int:
    """Images of an earlier result."""
    images = finished["images"]
    return int(images["total"]) - int(images["failed"])
