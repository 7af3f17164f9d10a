"""What a job has to do: the plan for the inputs that can be read, within the memory there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kseg_core.config import AUTO
from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import NothingReadable
from kseg_core.store.model import Model

from ..computing.executor import Executor
from ..computing.progress import Progress
from ..planning.budget import Budget, Work, make_budget
from ..planning.notes import notes_of, say
from ..planning.plan import Failure, Plan, look_at_headers, make_plan
from ..request import Request
from .resume import Found, Kept

FAILURES_SHOWN = 3  # in the one line of an error


def survey(request: Request, executor: Executor, progress: Progress) -> tuple[Plan, list[Failure]]:
    """The plan for the readable images, and the files that are not.

    Raises
    ------
    KsegError
        If not one is readable.
    UnreadableImage
        If one is not, with ``--strict``.
    """
    strict = request.config.execution.strict
    if strict and request.listing.failures:
        raise request.listing.failures[0]
    failures = [Failure("", error) for error in request.listing.failures]
    sources, unreadable = look_at_headers(
        request.listing.files, request.config.input, executor, progress, strict=strict
    )
    failures += unreadable
    if not sources:
        raise nothing_readable(failures)
    say(notes_of(sources))
    return make_plan(sources, request.config.output.tile, executor.workers), failures


def plan_rest(
    request: Request,
    found: Found,
    shared: Model | None,
    executor: Executor,
    progress: Progress,
    kept: Kept,
    *,
    writes: bool = True,
) -> tuple[Plan, list[Failure], Budget | None]:
    """The plan for what is not finished, what of it cannot be done, and the memory's budget where there is a plan.

    Raises
    ------
    KsegError
        If nothing is finished and nothing can be done.
    """
    listed = request.listing.failures
    try:
        if not found.rest:
            if request.config.execution.strict and listed:
                raise listed[0]
            return Plan(()), [Failure("", error) for error in listed], None
        rest = replace(request, listing=replace(request.listing, files=found.rest))
        plan, failures = survey(rest, executor, progress)
        plan = replace(plan, kept=kept.job)
        plan, failures, budget = fit_to_memory(request, plan, failures, executor, shared, writes=writes)
    except NothingReadable as error:
        if not found.keys:
            raise
        return Plan(()), [Failure("", failure) for failure in error.failures], None
    return plan, failures, budget


def work_of(request: Request, plan: Plan, model: Model | None, *, writes: bool = True) -> Work:
    """What is to be done to each pixel."""
    fit_settings = request.config.fit
    output = request.config.output if writes else None
    edges = EdgeSettings(*output.edges) if output is not None and output.edges is not None else None
    if fit_settings is None:
        assert model is not None  # RunConfig has either
        return Work(model.k, 0 if model.bands is None else len(model.bands.bands), 0, output, edges=edges)
    stored = max((source.info.bands for source in plan.sources), default=1)
    bands = (len(fit_settings.bands) or stored) if fit_settings.features == "bands" else 0
    most = fit_settings.tried[1] if fit_settings.k == AUTO else fit_settings.clusters
    return Work(most, bands, fit_settings.batch_pixels, output, fit_settings.scope == "image", edges)


def fit_to_memory(
    request: Request,
    plan: Plan,
    failures: list[Failure],
    executor: Executor,
    model: Model | None,
    *,
    writes: bool = True,
) -> tuple[Plan, list[Failure], Budget]:
    """The plan less the images that memory is too small for, all that failed, and the memory's budget.

    Raises
    ------
    KsegError
        If nothing fits.
    """
    budget, plan, unfit = make_budget(plan, work_of(request, plan, model, writes=writes), executor)
    if unfit and request.config.execution.strict:
        raise unfit[0].error
    failures = failures + unfit
    if not plan.sources:
        raise nothing_readable(failures)
    return plan, failures, budget


def nothing_readable(failures: Sequence[Failure]) -> NothingReadable:
    """The error of a job that has nothing to work on."""
    errors = sorted((failure.error for failure in failures), key=lambda error: (error.source, error.reason))
    what = "the only input" if len(errors) == 1 else f"all {len(errors)} inputs"
    shown = "; ".join(str(error) for error in errors[:FAILURES_SHOWN])
    more = f"; … and {len(errors) - FAILURES_SHOWN} more (--json lists all)" if len(errors) > FAILURES_SHOWN else ""
    return NothingReadable(f"{what} could not be read: {shown}{more}", errors)
