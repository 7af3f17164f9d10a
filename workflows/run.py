"""The jobs behind ``run``, ``fit`` and ``apply``, each readable from top to bottom."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from kseg_core.config import AUTO
from kseg_core.decoded import keeping
from kseg_core.errors import KsegError, NothingReadable
from kseg_core.finished import images_of
from kseg_core.keys import printable_source
from kseg_core.lock import hold
from kseg_core.manifest import remove_kseg_store
from kseg_core.model import Model
from kseg_core.store import create_store, load_model, save_model, update_attributes, write_model

from .bands import fit_bands
from .begun import add_edges_to, begin, go_on, model_is_there
from .budget import Budget, DryRun, Work, bytes_to_write, free_bytes, make_budget, require_room_on_disk
from .drift import drift_result
from .executor import Executor, open_executor
from .fit import fit_plan
from .label import Labelled
from .label_plan import label_plan
from .plan import Failure, Plan, look_at_headers, make_plan
from .progress import Progress, Silent
from .request import Request, require_unchanged
from .results import Counted, JobResult
from .resume import Found, Kept, what_is_kept

FAILURES_SHOWN = 3  # in the one line of an error


def run(request: Request, progress: Progress | None = None) -> JobResult:
    """Fit (unless a model is given), label every pixel, write the store.

    Also the ``apply`` command: with ``config.model`` there is nothing to fit. What an earlier run of the same job has
    finished is not done again, nor what a store of the same model has of inputs that have not changed.

    Raises
    ------
    OutputHeld
        If another run is writing the output.
    KsegError
        If no image could be read, or the output cannot be written.
    """
    earlier = earlier_model(request.config.model), earlier_model(request.config.match)  # before anything is touched
    with hold(request.output):
        require_unchanged(request, "store")
        with what_is_kept(request) as kept:
            return _run(request, *earlier, kept, progress or Silent())


def _run(request: Request, given: Model | None, match: Model | None, kept: Kept, progress: Progress) -> JobResult:
    config = request.config
    strict = config.execution.strict
    clock = Clock()
    with ExitStack() as stack:
        executor = stack.enter_context(open_executor(config.execution))
        found, shared, failures = begin(request, kept, given, executor)
        plan, unread, budget = plan_rest(request, found, shared, executor, progress, kept)
        failures = failures + unread
        if budget is not None:
            stack.enter_context(keeping(budget.kept))
        replaces = os.path.lexists(request.output) and config.output.overwrite
        resumes = os.path.lexists(request.output) and not replaces
        fits = config.fit is not None and config.fit.scope == "global" and shared is None
        if resumes and fits:
            replace_store(request)  # without a model nothing in it is of use
        elif not (replaces or resumes):
            create_store(request.output, store_attributes(request))  # what cannot be written is told before the fit
        if fits:
            assert budget is not None  # there is a plan: nothing was labelled without a model
            with nothing_left_behind(request, keep=replaces or resumes):
                shared, plan, failures = fit_one(request, plan, failures, budget, executor, progress, match)
            kept.keep_failures([failure for failure in failures if failure.key])  # the others are found anew
        if replaces:
            replace_store(request)  # a finished result makes room only for one that can be made
        if resumes:
            go_on(request, found)
        if shared is not None and not model_is_there(request.output, shared):
            write_model(request.output, shared)
        clock.lap("fit")
        how = shared or config.fit
        assert how is not None  # RunConfig has either
        done = Labelled()
        if plan.sources:
            done = label_plan(plan, how, request.output, config.output, executor, progress, strict=strict)
        failures = failures + list(done.failures)
        done = done.merge(found.fresh)
        counted = Counted(len(request.listing.files) + len(request.listing.failures), done.images, len(found.keys))
        if config.output.edges is not None:
            unedged, counted = add_edges_to(request, plan, found, counted, failures, executor, progress)
            failures = failures + unedged
        clock.lap("label")
    counted = replace(counted, failed=len(failures))
    result = job_result(request, clock, failures, done.merge(found.settled), shared, counted)
    if result.images.labelled + result.images.reused == 0:
        with nothing_left_behind(request, keep=resumes):
            raise nothing_readable(failures)
    if given is not None:
        files = {file.key: file.source for file in request.listing.files}
        gone = len(images_of(request.output)) - result.images.labelled - result.images.reused
        drift = drift_result(given, done, done.merge(found.settled).drift, files)
        result = replace(result, gone=gone, drift=drift)
    finish_store(request, result)
    return result


def finish_store(request: Request, result: JobResult) -> None:
    """Declare the store complete. What it says does not tell how often the job was stopped on its way."""
    images = result.images
    told = replace(result, images=replace(images, labelled=images.labelled + images.reused, reused=0)).to_json()
    facts = {"status": "complete", "inputs_digest": request.inputs_digest, "failures": told["failures"]}
    update_attributes(request.output, {**facts, "result": told})  # failures are sorted: bundles come in any order


def fit(request: Request, progress: Progress | None = None) -> JobResult:
    """The fit alone: find a model of all images and save it.

    Raises
    ------
    OutputHeld
        If another run is writing the output.
    KsegError
        If no image could be read, or the output cannot be written.
    """
    progress = progress or Silent()
    clock = Clock()
    match = earlier_model(request.config.match)
    with hold(request.output):
        require_unchanged(request, "model")
        with what_is_kept(request) as kept:
            with open_executor(request.config.execution) as executor:
                plan, failures = survey(request, executor, progress)
                plan = replace(plan, kept=kept.job)
                plan, failures, budget = fit_to_memory(request, plan, failures, executor, None, writes=False)
                with keeping(budget.kept):
                    model, plan, failures = fit_one(request, plan, failures, budget, executor, progress, match)
            clock.lap("fit")
            done = Labelled(0, plan.pixels, model.pixels, inertia={"": model.inertia})
            listing = request.listing
            counted = Counted(len(listing.files) + len(listing.failures), failed=len(failures))
            result = job_result(request, clock, failures, done, model, counted)
            facts = {**store_attributes(request), "status": "complete", "result": result.to_json()}
            save_model(request.output, replace(model, facts=model.facts | facts), overwrite=True)
            return result


def dry_run(request: Request, progress: Progress | None = None, *, writes: bool = True) -> DryRun:
    """What ``run`` (or ``fit``, which ``writes`` no labels) would read, hold and write, from headers alone.

    Raises
    ------
    KsegError
        If no image could be read, or memory is too small.
    """
    progress = progress or Silent()
    given = earlier_model(request.config.model)
    with open_executor(request.config.execution) as executor:
        plan, failures = survey(request, executor, progress)
        plan, failures, budget = fit_to_memory(request, plan, failures, executor, given, writes=writes)
    work = work_of(request, plan, given, writes=writes)
    sources = plan.sources
    return DryRun(
        output=request.output,
        images=len(sources),
        large=len(plan.large),
        pixels=plan.pixels,
        read_bytes=sum(source.file.size for source in sources),
        write_bytes=bytes_to_write(plan, work),
        free=free_bytes(request.output),
        budget=budget,
        failures=tuple(sorted((failure.error for failure in failures), key=lambda error: (error.source, error.reason))),
    )


# ------------------------------------------------------------------------------------------------ the steps


def plan_rest(
    request: Request, found: Found, shared: Model | None, executor: Executor, progress: Progress, kept: Kept
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
        plan, failures, budget = fit_to_memory(request, replace(plan, kept=kept.job), failures, executor, shared)
    except NothingReadable as error:
        if not found.keys:
            raise
        return Plan(()), [Failure("", failure) for failure in error.failures], None
    require_room_on_disk(request.output, bytes_to_write(plan, work_of(request, plan, shared)))
    return plan, failures, budget


def work_of(request: Request, plan: Plan, model: Model | None, *, writes: bool = True) -> Work:
    """What is to be done to each pixel."""
    fit_settings = request.config.fit
    output = request.config.output if writes else None
    if fit_settings is None:
        assert model is not None  # RunConfig has either
        return Work(model.k, 0 if model.bands is None else len(model.bands.bands), 0, output)
    stored = max((source.info.bands for source in plan.sources), default=1)
    bands = (len(fit_settings.bands) or stored) if fit_settings.features == "bands" else 0
    most = fit_settings.tried[1] if fit_settings.k == AUTO else fit_settings.clusters
    return Work(most, bands, fit_settings.batch_pixels, output, fit_settings.scope == "image")


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


def earlier_model(path: str | None) -> Model | None:
    """An earlier model, where one is named."""
    return None if path is None else load_model(path)


class Clock:
    """Seconds spent in each part of a job."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self.seconds: dict[str, float | None] = {"total": 0.0, "fit": None, "label": None}

    def lap(self, name: str) -> None:
        """The time since the last lap belongs to ``name``."""
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 3)
        self.seconds["total"] = round(now - self._start, 3)
        self._last = now


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
    return make_plan(sources, request.config.output.tile, executor.workers), failures


def fit_one(
    request: Request,
    plan: Plan,
    failures: list[Failure],
    budget: Budget,
    executor: Executor,
    progress: Progress,
    match: Model | None,
) -> tuple[Model, Plan, list[Failure]]:
    """The model of all images, numbered as in an earlier one where asked; the images left and all that failed.

    Raises
    ------
    NothingReadable
        If none is left.
    """
    config = request.config
    assert config.fit is not None
    strict = config.execution.strict
    if config.fit.features == "bands":
        model, unread = fit_bands(plan, config.fit, executor, progress, strict=strict, match=match, refit=config.refit)
    else:
        model, unread = fit_plan(
            plan, config.fit, executor, progress, strict=strict, match=match, budget=budget, refit=config.refit
        )
    failures = failures + unread
    if model is None:
        raise nothing_readable(failures)
    return model, plan.without(unread), failures


def replace_store(request: Request) -> None:
    """An empty store in place of what may be replaced: an unfinished one, or any kseg store with ``--overwrite``."""
    remove_kseg_store(request.output)
    create_store(request.output, store_attributes(request))


@contextmanager
def nothing_left_behind(request: Request, *, keep: bool = False) -> Iterator[None]:
    """A job that ends before it has labelled anything leaves no empty store; what was there before it is kept."""
    try:
        yield
    except KsegError:
        if not keep:
            remove_kseg_store(request.output)
        raise


def store_attributes(request: Request) -> dict[str, Any]:
    """What an output says of the job that made it."""
    folder = printable_source(os.getcwd())  # what is stored is valid UTF-8
    return {"config": request.settings, "inputs_digest": request.inputs_digest, "folder": folder}


def job_result(
    request: Request,
    clock: Clock,
    failures: Sequence[Failure],
    done: Labelled,
    model: Model | None,
    counted: Counted,
) -> JobResult:
    """Everything there is to say, worked out from exact sums over the labels where there is one model."""
    fit_settings = request.config.fit
    errors = tuple(sorted((failure.error for failure in failures), key=lambda error: (error.source, error.reason)))
    sums = done.sums
    common: dict[str, Any] = {
        "output": request.output,
        "images": counted,
        "pixels_total": done.pixels,
        "pixels_valid": done.valid,
        "failures": errors,
        "seconds": clock.seconds,
        "inertia": math.fsum(done.inertia.values()),
    }
    if model is None:
        assert fit_settings is not None
        return JobResult(**common, k_requested=fit_settings.k, features=fit_settings.features, scope=fit_settings.scope)
    if sums is not None:
        common["inertia"] = model.space.inertia(sums, model.points)
    return JobResult(
        **common,
        k=model.k,
        k_requested=model.k_requested,
        k_why=model.k_why,
        features=model.features,
        centroids=model.centroids.tolist(),
        colors=model.colors.tolist(),
        counts=(model.counts if sums is None else sums.counts).tolist(),
    )


def nothing_readable(failures: Sequence[Failure]) -> NothingReadable:
    """The error of a job that has nothing to work on."""
    errors = sorted((failure.error for failure in failures), key=lambda error: (error.source, error.reason))
    what = "the only input" if len(errors) == 1 else f"all {len(errors)} inputs"
    shown = "; ".join(str(error) for error in errors[:FAILURES_SHOWN])
    more = f"; … and {len(errors) - FAILURES_SHOWN} more (--json lists all)" if len(errors) > FAILURES_SHOWN else ""
    return NothingReadable(f"{what} could not be read: {shown}{more}", errors)
