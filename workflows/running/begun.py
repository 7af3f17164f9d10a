"""A store that is there already: what a job finds in it when it begins, and how it goes on with it."""

from __future__ import annotations

import logging
from dataclasses import replace

from kseg_core import storage
from kseg_core.edge_settings import EdgeSettings
from kseg_core.errors import StoreError
from kseg_core.store.model import Model
from kseg_core.store.opening import load_model, mend_images_group, update_attributes
from kseg_core.store.writing import image_facts, image_folder

from ..computing.context import Context, Failure
from ..computing.executor import Executor
from ..edges.finding import edges_of_plan
from ..edges.request import has_edges
from ..labelling.label import Labelled, reference_of
from ..planning.plan import Plan, look_at_headers, make_plan
from ..request import Request
from .results import Counted
from .resume import NOTHING, Before, Found, Kept, look_for_finished, sweep_images

log = logging.getLogger("kseg")


def begin(
    request: Request, kept: Kept, given: Model | None, executor: Executor
) -> tuple[Found, Model | None, list[Failure]]:
    """What is there of this job: finished images, its model, and the images that the model's fit could not use."""
    before = kept.before(request.output, request) if goes_on(request) else NOTHING
    found, shared, failures = look(request, kept, given, executor, before)
    if before.images:
        before = before.after(found.rest, found.changed)
        kept.keep_before(before)
    if request.config.output.checksum:
        facts = [image_facts(image_folder(request.output, key)) or {} for key in found.changed]
        if unknown := sum("checksum" not in told for told in facts):
            told_by = "no checksum was kept of %d of the images that changed: told by size and time, this once"
            log.warning(f"%s: {told_by}", request.output, unknown)
    listed = {file.key for file in request.listing.files}
    for key in before.images:
        if key not in listed and not storage.is_dir(image_folder(request.output, key)):
            log.warning("%s: it had %s, which is lost: that is not among the inputs any more", request.output, key)
    return replace(found, before=before), shared, failures


def earlier_model(path: str | None) -> Model | None:
    """An earlier model, where one is named."""
    return None if path is None else load_model(path)


def goes_on(request: Request) -> bool:
    """Whether there is an output to go on with."""
    return storage.exists(request.output) and not request.config.output.overwrite


def look(
    request: Request, kept: Kept, given: Model | None, executor: Executor, before: Before, *, mends: bool = True
) -> tuple[Found, Model | None, list[Failure]]:
    """The same, told against what was there before; unless it ``mends``, nothing is touched."""
    listing, fit_settings = request.listing, request.config.fit
    nothing = Found(tuple(listing.files), Labelled(), Labelled())
    shared, failures = given, list[Failure]()
    if not goes_on(request):
        return nothing, shared, failures
    each_its_own = fit_settings is not None and fit_settings.scope == "image"
    if not each_its_own and shared is None:
        earlier = kept.found_model(request.output)
        if earlier is None:
            return nothing, None, failures
        shared, failures = earlier
    bad = {failure.key for failure in failures}
    found = look_for_finished(
        [file for file in listing.files if file.key not in bad],
        request.output,
        None if shared is None else reference_of(shared),
        before.settled,
        executor,
        output=request.config.output,
        mask=request.config.input.mask,
        shared=not each_its_own,
        mends=mends,
    )
    return found, shared, failures


def go_on(request: Request, found: Found) -> None:
    """A store that is there says that it is worked on; what a killed run left half-written is swept away."""
    update_attributes(request.output, {"status": "running", "inputs_digest": request.inputs_digest})
    mend_images_group(request.output)
    sweep_images(storage.absolute(request.output), {file.key for file in found.rest} | found.keys)


def model_is_there(output: str, model: Model) -> bool:
    """Whether the store has the model already."""
    try:
        return load_model(output).digest == model.digest
    except StoreError:
        return False


def add_edges_to(
    request: Request,
    plan: Plan,
    found: Found,
    counted: Counted,
    failures: list[Failure],
    context: Context,
) -> tuple[list[Failure], Counted]:
    """Add edges to the images that have none; the images that failed now, and how many are left."""
    config = request.config
    assert config.output.edges is not None
    settings, output = EdgeSettings(*config.output.edges), request.output
    finished = found.keys
    without = [
        file
        for file in request.listing.files
        if file.key in finished and not has_edges(output, file, settings, config.input)
    ]
    left, unread = plan.without(failures), list[Failure]()
    if without:
        sources, unread = look_at_headers(without, config.input, context)
        more = make_plan(sources, config.output.tile, context.executor.workers)
        left = Plan(left.bundles + more.bundles, left.large + more.large, notes=left.notes)
    edged = edges_of_plan(left, settings, output, config.output.tile, context)
    failed = unread + list(edged.failures)
    old = sum(failure.key in finished for failure in failed)
    return failed, replace(counted, labelled=counted.labelled - len(failed) + old, reused=counted.reused - old)
