"""The jobs behind ``run``, ``fit`` and ``apply``, each readable from top to bottom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from kseg_core import storage
from kseg_core.clustering.outliers import merged
from kseg_core.config import AUTO
from kseg_core.errors import KsegError
from kseg_core.inputs.keys import printable_source
from kseg_core.reading.decoded import keeping
from kseg_core.store.manifest import read_attributes, remove_kseg_store
from kseg_core.store.model import Model
from kseg_core.store.opening import create_store, save_model, write_model
from kseg_core.sweep import elbow

from .computing.context import Context, Failure
from .computing.executor import Progress, Silent, open_executor
from .fitting.bands import fit_bands
from .fitting.fit import fit_plan
from .labelling.drift import drift_result
from .labelling.label import Labelled
from .labelling.label_plan import label_plan
from .output import claim, replacing
from .planning.budget import Budget, bytes_to_write, require_room_on_disk
from .planning.notes import Note, first_of, notes_of_all, say
from .planning.plan import Plan, lines_of_fill, naming_images
from .request import Request, require_unchanged
from .running.begun import add_edges_to, begin, earlier_model, go_on, goes_on, model_is_there
from .running.ending import Clock, changes, finish_store, job_result
from .running.planning import fit_to_memory, nothing_readable, plan_rest, survey, work_of
from .running.results import Counted, JobResult
from .running.resume import Kept, what_is_kept


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
    with claim(request.output):
        require_unchanged(request, "store")
        with what_is_kept(request) as kept, replacing(request) as job:
            return _run(job, request.output, *earlier, kept, progress or Silent())


def _run(
    request: Request, output: str, given: Model | None, match: Model | None, kept: Kept, progress: Progress
) -> JobResult:
    """The job, which writes to ``request.output`` what will be at ``output``."""
    config = request.config
    clock = Clock()
    with ExitStack() as stack:
        executor = stack.enter_context(open_executor(config.execution))
        context = Context(executor, progress, config.execution.strict)
        found, shared, failures = begin(request, kept, given, executor)
        request, plan, unread, budget = plan_rest(request, found, shared, context, kept)
        config = request.config
        failures = failures + unread
        if plan.sources:
            work = work_of(request, plan, shared)
            require_room_on_disk(request.output, bytes_to_write(plan, work), begun=goes_on(request))
        if budget is not None:
            stack.enter_context(keeping(budget.kept))
        replaces = storage.exists(request.output) and config.output.overwrite
        resumes = storage.exists(request.output) and not replaces
        fits = config.fit is not None and config.fit.scope == "global" and shared is None
        if resumes and fits:
            replace_store(request)  # without a model nothing in it is of use
        elif not (replaces or resumes):
            create_store(request.output, store_attributes(request))  # what cannot be written is told before the fit
        if fits:
            assert budget is not None  # there is a plan: nothing was labelled without a model
            with nothing_left_behind(request, keep=replaces or resumes):
                shared, plan, failures = fit_one(request, plan, failures, budget, context, match)
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
            done = label_plan(plan, how, request.output, config.output, context, budget=budget, given=given is not None)
            say(notes_of_fills(plan, done))
        failures = failures + list(done.failures)
        done = done.merge(found.fresh)
        counted = Counted(len(request.listing.files) + len(request.listing.failures), done.images, len(found.keys))
        if config.output.edges is not None:
            unedged, counted = add_edges_to(request, plan, found, counted, failures, context)
            failures = failures + unedged
        clock.lap("label")
    counted = replace(counted, failed=len(failures))
    notes = plan.notes if config.fit is None or shared is None else shared.notes
    result = job_result(request, clock, failures, done.merge(found.settled), shared, counted, notes)
    result = replace(result, output=output)
    if result.images.labelled + result.images.reused == 0:
        with nothing_left_behind(request, keep=resumes):
            raise nothing_readable(failures)
    if given is not None:
        files = {file.key: file.source for file in request.listing.files}
        told = changes(request, found, done)
        earlier = (read_attributes(request.output) or {}).get("result") or {}
        if not told.added and not told.changed and earlier.get("drift") is not None:
            drift = earlier["drift"]  # the verdict on the images labelled last holds until there are new ones
        else:
            drift = drift_result(given, done, done.merge(found.settled).drift, files)
        result = replace(result, changes=told, drift=drift)
    finish_store(request, result)
    return result


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
    with claim(request.output):
        require_unchanged(request, "model")
        with what_is_kept(request) as kept:
            with open_executor(request.config.execution) as executor:
                context = Context(executor, progress, request.config.execution.strict)
                request, plan, failures = survey(request, context)
                plan = replace(plan, kept=kept.job)
                plan, failures, budget = fit_to_memory(request, plan, failures, context, None, writes=False)
                with keeping(budget.kept):
                    model, plan, failures = fit_one(request, plan, failures, budget, context, match)
            clock.lap("fit")
            noted = {source.file.key: source.info.notes for source in plan.sources if source.info.notes}
            done = Labelled(0, plan.pixels, model.pixels, inertia={"": model.inertia}, notes=noted)
            listing = request.listing
            counted = Counted(len(listing.files) + len(listing.failures), failed=len(failures))
            result = job_result(request, clock, failures, done, model, counted, model.notes)
            facts = {**store_attributes(request), "status": "complete", "result": result.to_json()}
            save_model(request.output, replace(model, facts=model.facts | facts), overwrite=True)
            return result


# ------------------------------------------------------------------------------------------------ the steps


def fit_one(
    request: Request,
    plan: Plan,
    failures: list[Failure],
    budget: Budget,
    context: Context,
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
    if config.fit.k == AUTO:
        elbow.prepare()
    with naming_images(plan):
        if config.fit.features == "bands":
            model, unread = fit_bands(plan, config.fit, context, match=match, refit=config.refit)
        else:
            model, unread = fit_plan(plan, config.fit, context, match=match, budget=budget, refit=config.refit)
    failures = failures + unread
    if model is None:
        raise nothing_readable(failures)
    say(notes_of_all(model.notes))
    return model.noted(plan.notes), plan.without(unread), failures


def notes_of_fills(plan: Plan, done: Labelled) -> tuple[Note, ...]:
    """What there is to say of values beyond all others in what a given model labelled, and the images that have them.

    Each image's own are stored with it.
    """
    if not done.fills:
        return ()
    sources = {source.file.key: source for source in plan.sources if source.file.key in done.fills}
    seen: dict[float, list[str]] = {}
    for key, fills in done.fills.items():
        for fill in fills:
            seen.setdefault(fill.value, []).append(sources[key].file.source)
    of_all = merged((fill for key in sorted(done.fills) for fill in done.fills[key]), of_bands=False)
    where = {value: first_of(names) for value, names in seen.items()}
    return notes_of_all(lines_of_fill(of_all, list(sources.values()), where))


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
