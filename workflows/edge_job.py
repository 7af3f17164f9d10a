"""The job behind ``edges``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from kseg_core.config import RunConfig
from kseg_core.edge_settings import EdgeSettings
from kseg_core.inputs.keys import printable_source
from kseg_core.inputs.listing import InputFile
from kseg_core.layers.edges import EdgeLayer
from kseg_core.store.manifest import read_attributes, remove_kseg_store
from kseg_core.store.opening import create_store, sweep_store, update_attributes

from .computing.context import Context, Failure
from .computing.executor import Progress
from .edge_request import EdgesMade, EdgesRequest, EdgesResult, has_edges, nothing_to_do, require_unchanged
from .labelling.adding import Added, add_layer
from .output import claim
from .planning.budget import Work, make_budget
from .planning.notes import notes_by_key, notes_of, notes_of_all, say
from .planning.plan import Plan, make_plan, nodata_of_no_use, scan_headers
from .result import in_order


def find_edges(request: EdgesRequest, progress: Progress | None = None) -> EdgesResult:
    """Find the edges of every image and write them: into a new store, or beside the labels of one that is there.

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
        return _find_edges(request, progress)


def _find_edges(request: EdgesRequest, progress: Progress | None) -> EdgesResult:
    start = time.perf_counter()
    if request.config.execution.strict and request.failures:
        raise request.failures[0]
    earlier = read_attributes(request.output) or {}
    begin(request)
    done = edges_of_files(request, progress)
    result = edges_result(request, done, time.perf_counter() - start)
    if result.done.images + result.reused.images == 0:
        leave_as_found(request, earlier)
        raise nothing_to_do(result.failures)
    finish(request, result)
    return result


def edges_of_files(request: EdgesRequest, progress: Progress | None) -> Added:
    """Look at the headers of what is to be done, plan, and do it."""
    config = request.config
    with Context.open(config.execution, progress) as context:
        executor = context.executor
        sources, unreadable = scan_headers(request.todo, config.input, context)
        say((*notes_of_all(nodata_of_no_use(sources, config.input)), *notes_of(sources)))
        noted = {source.file.key: source.info.notes for source in sources if source.info.notes}
        done = Added(failures=tuple(unreadable), notes=noted)
        if sources:
            plan = make_plan(sources, request.tile, executor.workers)
            _, plan, unfit = make_budget(plan, Work(0, 0, 0, None, edges=config.edges), executor)
            done = done.merge(Added(failures=tuple(context.failed(each.key, each.error) for each in unfit)))
            found = add_layer(plan, EdgeLayer(config.edges), request.output, request.tile, context)
            done = done.merge(found)
    return done


def edges_of_run(
    plan: Plan, finished: Sequence[InputFile], settings: EdgeSettings, config: RunConfig, store: str, context: Context
) -> list[Failure]:
    """The edges of the images that a run has labelled now, and of the finished ones that have none; what failed."""
    failures: list[Failure] = []
    without = [file for file in finished if not has_edges(store, file, settings, config.input)]
    if without:
        sources, failures = scan_headers(without, config.input, context)
        more = make_plan(sources, config.output.tile, context.executor.workers)
        plan = Plan(plan.bundles + more.bundles, plan.large + more.large, notes=plan.notes)
    return [*failures, *add_layer(plan, EdgeLayer(settings), store, config.output.tile, context).failures]


def begin(request: EdgesRequest) -> None:
    """A store that says what is under way, so that nothing unfinished looks finished."""
    folder = printable_source(os.getcwd())
    if not request.exists:
        create_store(request.output, {"config": request.store_config, "folder": folder})
        return
    sweep_store(request.output)
    if request.has_labels:
        update_attributes(request.output, {"edges": {"settings": request.config.edges.to_json(), "status": "running"}})
    else:
        update_attributes(request.output, {"status": "running", "config": request.store_config, "folder": folder})


def leave_as_found(request: EdgesRequest, earlier: dict[str, Any]) -> None:
    """After a job that made nothing: no empty store, and no store that says something is under way."""
    if not request.exists:
        remove_kseg_store(request.output)
    else:
        names = ("edges",) if request.has_labels else ("status", "config", "folder")
        update_attributes(request.output, {name: earlier.get(name) for name in names})


def finish(request: EdgesRequest, result: EdgesResult) -> None:
    """Declare the edges complete."""
    told = {"status": "complete", "result": result.to_json()}
    if request.has_labels:
        told = {"edges": {"settings": request.config.edges.to_json(), **told}}
    update_attributes(request.output, told)


def edges_result(request: EdgesRequest, done: Added, seconds: float) -> EdgesResult:
    """Everything there is to say."""
    errors = [*request.failures, *(failure.error for failure in done.failures)]
    return EdgesResult(
        request.output,
        request.config.edges,
        len(request.listing.files) + len(request.listing.failures),
        EdgesMade(done.images, done.pixels, done.layer_pixels),
        request.reused,
        in_order(errors),
        seconds,
        notes_by_key(done.notes, {file.key: file.source for file in request.listing.files}),
    )
