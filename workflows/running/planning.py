"""What a job has to do: the plan for the inputs that can be read, within the memory there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from kseg_core.config import AUTO
from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import NothingReadable, OtherKind, TooLarge
from kseg_core.store.model import Model

from ..computing.context import Context, Failure
from ..labelling.label import bands_of
from ..planning.budget import Budget, Work, make_budget
from ..planning.notes import notes_of, notes_of_all, say
from ..planning.plan import Plan, look_at_headers, make_plan, nodata_of_no_use, remarked
from ..request import Request
from .kinds import of_one_kind
from .resume import Found, Kept

FAILURES_SHOWN = 3  # in the one line of an error


class Surveyed(NamedTuple):
    """A job whose inputs were looked at.

    Attributes
    ----------
    request
        With the features that suit them, less the files of other kinds where one was asked for.
    plan, failures
        The images that can be read, and those that cannot, or not together with these.
    """

    request: Request
    plan: Plan
    failures: list[Failure]


def survey(request: Request, context: Context, model: Model | None = None) -> Surveyed:
    """The plan for the readable images of one kind, and the other files. ``model``: of this job, where it has one.

    Raises
    ------
    KsegError
        If not one is readable.
    UnreadableImage
        If one is not, or is of another kind, with ``--strict``.
    """
    failures = [context.failed("", error) for error in request.listing.failures]
    sources, unreadable = look_at_headers(request.listing.files, request.config.input, context)
    failures += unreadable
    if not sources:
        raise nothing_readable(failures)
    alike = of_one_kind(request, sources, model)
    if context.strict and alike.failures:
        raise alike.failures[0].error
    request = alike.request.without(alike.passed_over)
    fit = request.config.fit
    bands = bands_of(model) if fit is None else fit.bands if fit.features == "bands" else None
    images = remarked(alike.sources, bands, asked_for=fit is not None)
    of_all = nodata_of_no_use(images, request.config.input)
    say((*notes_of_all(of_all), *notes_of(images)))
    plan = make_plan(images, request.config.output.tile, context.executor.workers)
    return Surveyed(request, replace(plan, notes=of_all), [*failures, *alike.failures])


class Planned(NamedTuple):
    """What is left of a job; `Surveyed`, and the memory's budget where there is something to do."""

    request: Request
    plan: Plan
    failures: list[Failure]
    budget: Budget | None


def plan_rest(
    request: Request,
    found: Found,
    shared: Model | None,
    context: Context,
    kept: Kept,
    *,
    writes: bool = True,
) -> Planned:
    """The plan for what is not finished, what of it cannot be done, and the memory's budget where there is a plan.

    Raises
    ------
    KsegError
        If nothing is finished and nothing can be done.
    """
    listed = request.listing.failures
    try:
        if not found.rest:
            return Planned(request, Plan(()), [context.failed("", error) for error in listed], None)
        rest = replace(request, listing=replace(request.listing, files=found.rest))
        surveyed = survey(rest, context, shared)
        left = {file.key for file in surveyed.request.listing.files}
        passed_over = {file.key for file in found.rest} - left
        request = replace(surveyed.request, listing=request.listing).without(passed_over)
        plan, failures = replace(surveyed.plan, kept=kept.job), surveyed.failures
        plan, failures, budget = fit_to_memory(request, plan, failures, context, shared, writes=writes)
    except NothingReadable as error:
        if not found.keys:
            raise
        return Planned(request, Plan(()), [Failure("", failure) for failure in error.failures], None)
    return Planned(request, plan, failures, budget)


def work_of(request: Request, plan: Plan, model: Model | None, *, writes: bool = True) -> Work:
    """What is to be done to each pixel."""
    fit_settings = request.config.fit
    output = request.config.output if writes else None
    edges = EdgeSettings(*output.edges) if output is not None and output.edges is not None else None
    if fit_settings is None:
        assert model is not None  # RunConfig has either
        bands = 0 if model.bands is None else len(model.bands.bands)
        return Work(model.k, bands, 0, output, edges=edges, features=model.features)
    stored = max((source.info.bands for source in plan.sources), default=1)
    bands = (len(fit_settings.bands) or stored) if fit_settings.features == "bands" else 0
    tries = fit_settings.k == AUTO
    most = fit_settings.tried[1] if tries else fit_settings.clusters
    alone = fit_settings.scope == "image"
    return Work(most, bands, fit_settings.batch_pixels, output, alone, edges, fit_settings.features, tries)


def fit_to_memory(
    request: Request,
    plan: Plan,
    failures: list[Failure],
    context: Context,
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
    budget, plan, unfit = make_budget(plan, work_of(request, plan, model, writes=writes), context.executor)
    failures = failures + [context.failed(failure.key, failure.error) for failure in unfit]
    if not plan.sources:
        raise nothing_readable(failures)
    return plan, failures, budget


def nothing_readable(failures: Sequence[Failure]) -> NothingReadable:
    """The error of a job that has nothing to work on."""
    errors = sorted((failure.error for failure in failures), key=lambda error: (error.source, error.reason))
    what = "the only input" if len(errors) == 1 else f"all {len(errors)} inputs"
    shown = "; ".join(str(error) for error in errors[:FAILURES_SHOWN])
    more = f"; … and {len(errors) - FAILURES_SHOWN} more (--json lists all)" if len(errors) > FAILURES_SHOWN else ""
    large = sum(isinstance(error, TooLarge) for error in errors)
    odd = sum(isinstance(error, OtherKind) for error in errors)
    why = "could not be read" if not large else "could not be read, or not in the memory there is"
    if large == len(errors):
        why = "does not fit into the memory" if large == 1 else "do not fit into the memory"
    if odd == len(errors):
        why = "is of another kind" if odd == 1 else "are of other kinds"
    return NothingReadable(f"{what} {why}: {shown}{more}", errors)
