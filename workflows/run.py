"""The jobs behind ``run``, ``fit`` and ``apply``, each readable from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kseg_core.config import AUTO
from kseg_core.reading.decoded import keeping
from kseg_core.store.manifest import has_classes
from kseg_core.store.model import Model
from kseg_core.sweep import elbow

from .computing.context import Context, Failure
from .computing.executor import Progress
from .fitting.fit import fit_plan
from .labelling.label import Labelled, drift_result
from .labelling.label_plan import label_plan
from .labelling.naming import name_images, naming_of
from .layer_job import add_asked_layers
from .output import Output
from .planning.budget import bytes_to_write, require_room_on_disk
from .planning.notes import notes_of_all, say
from .planning.plan import naming_images, notes_of_fills
from .request import Request
from .result import Clock, Counted, JobResult, job_result
from .scan import Scan, fit_to_memory, nothing_readable, scan_rest, survey, work_of


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
    config = request.config
    given, match = earlier_model(config.model), earlier_model(config.match)  # before anything is touched
    if given is not None and config.classes is not None:
        given = given.named(config.classes)
    with Output.claim(request, "store") as output, Context.open(config.execution, progress) as context:
        return _run(request, output, given, match, context)


def _run(request: Request, output: Output, given: Model | None, match: Model | None, context: Context) -> JobResult:
    clock = Clock()
    output.scan(request, given, context)
    scan = scan_rest(request, output, context)
    request, config, model = scan.request, scan.request.config, output.model
    scan = scan._replace(failures=output.unusable + scan.failures)
    require_room_on_disk(
        output.place, bytes_to_write(scan.plan, work_of(request, scan.plan, model)), resumes=output.resumes
    )
    output.create(request)
    with keeping(0 if scan.budget is None else scan.budget.kept):
        unusable = None
        if model is None and config.fit is not None and config.fit.scope == "global":
            model, scan = fit_one(scan, context, match)
            unusable = scan.failures
        output.begin(request, model, unusable)
        clock.lap("fit")
        failures = scan.failures + label(scan, model, given is not None, output, context)
        unadded = add_asked_layers(scan.plan.without(failures), request, output, context)
        unadded += [] if model is None else name_labelled(request, output, failures + unadded, context)
    clock.lap("label")
    failures += unadded
    counted = counts_of(request, output, failures, unadded)
    if counted.labelled + counted.reused == 0:
        raise nothing_readable(failures)
    if config.output.prune:
        output.prune(request)
    notes = scan.plan.notes if config.fit is None or model is None else model.notes
    result = job_result(request, clock.seconds, failures, output.everything, model, counted, notes)
    if given is not None:
        result = compared(result, request, output, given)
    output.publish(request, result)
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
    clock = Clock()
    match = earlier_model(request.config.match)
    with Output.claim(request, "model") as output, Context.open(request.config.execution, progress) as context:
        scan = survey(request, context)
        scan = scan._replace(plan=replace(scan.plan, checkpoints=output.checkpoints))
        scan = fit_to_memory(scan, context, writes=False)
        with keeping(0 if scan.budget is None else scan.budget.kept):
            model, scan = fit_one(scan, context, match)
        clock.lap("fit")
        noted = {source.file.key: source.info.notes for source in scan.plan.sources if source.info.notes}
        done = Labelled(scan.plan.pixels, model.pixels, inertia={"": model.inertia}, notes=noted)
        listing = scan.request.listing
        counted = Counted(len(listing.files) + len(listing.failures), failed=len(scan.failures))
        result = job_result(scan.request, clock.seconds, scan.failures, done, model, counted, model.notes)
        output.publish_model(scan.request, model, result)
    return result


# ------------------------------------------------------------------------------------------------ the steps


def earlier_model(path: str | None) -> Model | None:
    """An earlier model, where one is named."""
    return None if path is None else Model.load(path)


def fit_one(scan: Scan, context: Context, match: Model | None) -> tuple[Model, Scan]:
    """The model of all images, numbered as in an earlier one where asked; the scan less what could not be used."""
    config, plan = scan.request.config, scan.plan
    assert config.fit is not None
    if config.fit.k == AUTO:
        elbow.prepare()
    with naming_images(plan):
        model, unread = fit_plan(plan, config.fit, context, match=match, budget=scan.budget, refit=config.refit)
    failures = scan.failures + unread
    if model is None:
        raise nothing_readable(failures)
    say(notes_of_all(model.notes))
    model = model.noted(plan.notes)
    if config.classes is not None:
        model = model.named(config.classes)
    return model, scan._replace(plan=plan.without(unread), failures=failures)


def label(scan: Scan, model: Model | None, given: bool, output: Output, context: Context) -> list[Failure]:
    """Label what is left, with the model or each image with its own; what failed."""
    config, plan = scan.request.config, scan.plan
    if not plan.sources:
        return []
    how = model or config.fit
    assert how is not None  # RunConfig has either
    done = label_plan(plan, how, output.path, config.output, context, budget=scan.budget, given=given)
    output.commit(done)
    say(notes_of_fills(plan, done.fills))
    return list(done.failures)


def name_labelled(request: Request, output: Output, failures: Sequence[Failure], context: Context) -> list[Failure]:
    """The classes of what is labelled, where the store's own model has names; what failed."""
    if not has_classes(output.path):
        return []
    model = Model.load(output.path)  # the names that a store was given since it was made stand
    naming = naming_of(output.path, model, request.config.output.tile)
    keys = sorted(set(output.everything.inertia) - {failure.key for failure in failures})
    return [] if naming is None else name_images(output.path, keys, naming, context)


def counts_of(request: Request, output: Output, failures: Sequence[Failure], unadded: Sequence[Failure]) -> Counted:
    """How many images were labelled, and how many were there; one whose layers failed is none of these."""
    finished = output.done.keys
    old = sum(failure.key in finished for failure in unadded)
    return Counted(
        total=len(request.listing.files) + len(request.listing.failures),
        labelled=output.labelled.images - len(unadded) + old,
        reused=len(finished) - old,
        failed=len(failures),
    )


def compared(result: JobResult, request: Request, output: Output, given: Model) -> JobResult:
    """The result with what has changed since the store was last complete, and how far that is from the given model."""
    changes, drift = output.changes(request), output.last_drift
    if changes.added or changes.changed or drift is None:  # else the verdict on the images labelled last holds
        files = {file.key: file.source for file in request.listing.files}
        drift = drift_result(given, output.by_this_job, output.everything.drift, files)
    return replace(result, changes=changes, drift=drift)
