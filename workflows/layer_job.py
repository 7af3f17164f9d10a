"""The jobs that add layers to images: of a command (``edges``, ``segments``), and of a run once its images are
labelled.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from kseg_core.errors import UsageError
from kseg_core.inputs.keys import printable_source
from kseg_core.layers import LAYERS, asked_layers
from kseg_core.layers.layer import Layer
from kseg_core.store.manifest import image_facts, image_folder, read_attributes, remove_kseg_store
from kseg_core.store.markers import COMPLETE, added_to
from kseg_core.store.opening import create_store, mend_image_groups, sweep_store, update_attributes

from .computing.context import Context, Failure
from .computing.executor import Progress
from .labelling.added import Added
from .labelling.adding import add_layer
from .labelling.cutting import cut_images
from .labelling.segmenting import add_segments
from .labelling.sharing import share_palette
from .layer_request import LayerRequest, LayerResult, Made, nothing_to_do, require_unchanged
from .output import Output, claim
from .planning.budget import Work, make_budget
from .planning.notes import notes_by_key, notes_of, notes_of_all, say
from .planning.plan import Plan, make_plan, nodata_of_no_use, scan_headers
from .request import Request
from .result import in_order

#: By layer, what makes it where that is not done window by window.
MAKERS: dict[str, Callable[..., Added]] = {"segments": add_segments}

#: By layer, what comes before its images where they share something; what could not be read for it.
PREPARERS: dict[str, Callable[..., list[Failure]]] = {"segments": share_palette}

#: By layer, what makes it anew of images of a store without their files.
REMAKERS: dict[str, Callable[..., Added]] = {"segments": cut_images}


def maker_of(layer: Layer) -> Callable[..., Added]:
    """What makes a layer of the images of a plan."""
    return MAKERS.get(layer.name, add_layer)


def make_layer(plan: Plan, layer: Layer, store: str, tile: int, context: Context) -> Added:
    """Make a layer of the images of a plan, and first what they share."""
    prepare = PREPARERS.get(layer.name)
    failures = [] if prepare is None else prepare(plan, layer, store, tile, context)
    made = maker_of(layer)(plan.without(failures), layer, store, tile, context)
    return Added(failures=tuple(failures)).merge(made)


def add_to_images(request: LayerRequest, progress: Progress | None = None) -> LayerResult:
    """Make the layer of every image: in a new store, or beside the labels of one that is there.

    Raises
    ------
    OutputHeld
        If another run is writing the output.
    KsegError
        If there is nothing to show for it, or the output cannot be written.
    UnreadableImage
        If an image cannot be read, with ``--strict``.
    """
    with claim(request.output):
        require_unchanged(request)
        start = time.perf_counter()
        if request.config.execution.strict and request.failures:
            raise request.failures[0]
        _begin(request)
        try:
            done = _make(request, progress)
        except UsageError:  # of inputs that do not go together
            _leave_as_found(request)
            raise
        failures = in_order([*request.failures, *(failure.error for failure in done.failures)])
        made = Made(done.images, done.pixels, done.layer_pixels)
        if made.images + request.reused.images == 0:
            _leave_as_found(request)
            raise nothing_to_do(request.layer, failures)
        notes = notes_by_key(done.notes, _sources(request))
        seconds = time.perf_counter() - start
        result = LayerResult(
            request.output, request.layer, request.total, made, request.reused, failures, seconds, notes
        )
        _tell(request, {"status": "complete", "result": result.to_json()})
        return result


def _make(request: LayerRequest, progress: Progress | None) -> Added:
    """Do what is to be done: of files, and of images whose files are gone."""
    layer = LAYERS[request.layer.name].told(request.layer.settings)
    with Context.open(request.config.execution, progress) as context:
        done = _made_of_files(request, layer, context) if request.todo else Added()
        if request.gone:
            made = REMAKERS[layer.name](request.gone, layer, request.output, request.tile, context)
            say(notes_by_key(made.notes, _sources(request)))
            done = done.merge(made)
    return done


def _sources(request: LayerRequest) -> dict[str, str]:
    """How images are named, by key."""
    found = {file.key: file.source for file in request.listing.files}
    for key in request.gone:
        found[key] = (image_facts(image_folder(request.output, key)) or {}).get("source", key)
    return found


def _made_of_files(request: LayerRequest, layer: Layer, context: Context) -> Added:
    """Look at the headers of what is to be done, plan, and do it."""
    inputs = request.config.input
    sources, unreadable = scan_headers(request.todo, inputs, context)
    say((*notes_of_all(nodata_of_no_use(sources, inputs)), *notes_of(sources)))
    noted = {source.file.key: source.info.notes for source in sources if source.info.notes}
    done = Added(failures=tuple(unreadable), notes=noted)
    if not sources:
        return done
    plan = make_plan(sources, request.tile, context.executor.workers)
    _, plan, unfit = make_budget(plan, Work(0, 0, 0, None, layers=(layer,)), context.executor)
    done = done.merge(Added(failures=tuple(context.failed(each.key, each.error) for each in unfit)))
    return done.merge(make_layer(plan, layer, request.output, request.tile, context))


def add_asked_layers(plan: Plan, request: Request, output: Output, context: Context) -> list[Failure]:
    """The layers that a run is asked for, of the images that it has labelled now and of the finished ones without
    them; what failed.
    """
    config, store, finished = request.config, output.path, output.done.keys
    failures: list[Failure] = []
    noted = read_attributes(store) or {}
    for layer in (layer.as_noted(noted) for layer in asked_layers(config.output)):
        whole = finished - {failure.key for failure in failures}
        files = [file for file in request.listing.files if file.key in whole]
        states = [added_to(store, file, layer.marker, config.input.mask, labelled=True) for file in files]
        without = [image.file for image in states if image.state != "done"]
        sources, unreadable = scan_headers(without, config.input, context) if without else ([], [])
        more = make_plan(sources, config.output.tile, context.executor.workers)
        new = plan.without(failures)
        all_of_them = Plan(new.bundles + more.bundles, new.large + more.large, notes=plan.notes)
        failures += unreadable
        failures += make_layer(all_of_them, layer, store, config.output.tile, context).failures
    return failures


def _begin(request: LayerRequest) -> None:
    """A store that says what is under way, so that nothing unfinished looks finished."""
    whose = {"config": request.store_config, "folder": printable_source(os.getcwd()), **request.listing.noted_names}
    if request.seen is None:
        create_store(request.output, whose)
        return
    sweep_store(request.output)
    _tell(request, {"status": "running", **({} if request.told_apart else whose)})
    mend_image_groups(request.output)


def _tell(request: LayerRequest, facts: dict[str, Any]) -> None:
    """What becomes of the layer: of a store that has labels, or is made anew by itself, it is told apart."""
    layer = request.layer
    if not request.told_apart:
        update_attributes(request.output, facts)
        return
    told: dict[str, Any] = {layer.name: {"settings": layer.settings, **facts}}
    if not request.labelled and facts["status"] == COMPLETE:
        told["config"] = {**(request.seen or {})["config"], layer.name: layer.settings}
    update_attributes(request.output, told)


def _leave_as_found(request: LayerRequest) -> None:
    """After a job that made nothing: no empty store, and no store that says something is under way."""
    if request.seen is None:
        remove_kseg_store(request.output)
    else:
        names = (request.layer.name,) if request.told_apart else ("status", "config", "folder")  # folders stay
        update_attributes(request.output, {name: request.seen.get(name) for name in names})
