"""The report of a store: look at its images window by window, and write one page and its figures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dask.delayed import delayed

from kseg_core import storage
from kseg_core.config import ExecutionSettings
from kseg_core.errors import StoreError
from kseg_core.inputs.keys import printable_source
from kseg_core.inputs.passed_over import PAGE
from kseg_core.report.assembling import Pictures, joined
from kseg_core.report.composing import MASK_IMAGES, cloud_of, cluster_rows, head, history_of, notes, shown_image
from kseg_core.report.content import Painted, Report, ks_to_paint, sweep_from, sweep_in
from kseg_core.report.drawn import figure_files
from kseg_core.report.facts import ImageFacts, named_below, read_facts
from kseg_core.report.folder import default_folder, require_place, write_report
from kseg_core.report.page import build_page, with_pictures_that_fit
from kseg_core.report.ranking import Ranked, choose, most_typical, rank
from kseg_core.report.settings import ReportSettings
from kseg_core.report.several import models_of, read_sweep
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, load_model, open_store
from kseg_core.store.originals import Originals

from .computing.context import Context
from .computing.executor import Progress
from .viewing.look import Failures, LookPlan, look_at_images
from .viewing.viewing import limit_tasks

FACTS_PER_TASK = 256  # images whose documents one task reads: a tenth of a second


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """One report.

    Parameters
    ----------
    store
        The store.
    to
        The folder to write; None: ``<store name>.report`` in the current folder.
    sweep
        A folder that the ``sweep`` command wrote; None: what the model knows of one.
    settings
        What is shown.
    """

    store: str
    to: str | None = None
    sweep: str | None = None
    settings: ReportSettings = field(default_factory=ReportSettings)

    @property
    def folder(self) -> str:
        """Where it is written."""
        return default_folder(self.store) if self.to is None else self.to

    @property
    def page(self) -> str:
        """The page to look at."""
        return os.path.join(self.folder, PAGE)


def make_report(
    request: ReportRequest, execution: ExecutionSettings, progress: Progress | None = None
) -> dict[str, Any]:
    """Write the report of a store.

    Returns
    -------
    ``status`` ("ok", or "partial" where images of the store could not be read), ``output`` (the folder), ``report`` and
    ``figures`` (paths), ``images`` {total, shown}, ``failures`` [{source, reason}].

    Raises
    ------
    UsageError, KsegError
        If there is no store or nothing in it, or the folder must not be written to.
    """
    folder = request.folder
    store = open_store(request.store)
    require_place(folder, request.store, overwrite=request.settings.overwrite)
    record = None if request.sweep is None else read_sweep(request.sweep)
    shared = load_model(store.path) if store.has_model else None
    with Context.open(execution, progress) as context:
        limit_tasks(context.executor)
        if len(store) and not any(image.has_labels for image in store.values()):
            raise StoreError(f"no labels in {store.path}, only edges: label its images with kseg-batch run")
        images, failures = _facts_of(store, None if shared is None else shared.k, context)
        if not images:
            why = f" ({failures[0][0]}: {failures[0][1]})" if failures else ""
            raise StoreError(f"{store.path}: it has no finished image to report of{why}")
        report, unread = _gather(request, store, shared, record, images, context)
    failures += unread
    report = _with_warnings(report, store, shared, len(failures))
    context.progress.stage("drawing figures", 0, 0)
    files = figure_files(report)
    write_report(folder, {**files, PAGE: build_page(report, files.get("elbow.png")).encode()})
    return {
        "status": "partial" if failures else "ok",
        "output": printable_source(folder),
        "report": printable_source(request.page),
        "figures": [printable_source(os.path.join(folder, name)) for name in files],
        "images": {"total": len(store), "shown": len(report.shown)},
        "failures": [{"source": source, "reason": reason} for source, reason in sorted(failures)],
    }


# ---------------------------------------------------------------------------------------------------- the steps


def _facts_of(store: Store, k: int | None, context: Context) -> tuple[list[ImageFacts], Failures]:
    """What the store says of its images, and which of them are damaged."""
    keys = list(store)
    task = delayed(read_facts, pure=False)
    groups = [keys[at : at + FACTS_PER_TASK] for at in range(0, len(keys), FACTS_PER_TASK)]
    path = storage.absolute(store.path)
    found = context.compute([task(path, group, k) for group in groups])
    images: list[ImageFacts] = []
    failures: Failures = []
    for key, facts in zip(keys, (one for group in found for one in group), strict=True):
        if isinstance(facts, ImageFacts):
            images.append(facts)
        else:
            failures.append((key, str(facts)))
    return images, failures


def _gather(
    request: ReportRequest,
    store: Store,
    shared: Model | None,
    record: dict[str, Any] | None,
    images: Sequence[ImageFacts],
    context: Context,
) -> tuple[Report, Failures]:
    """The report but for its warnings, and the images that could not be looked at."""
    below, images = named_below(images)
    ranked = rank(images, None if shared is None else shared.k)
    chosen = choose(ranked, request.settings.limit)
    typical = most_typical(chosen, MASK_IMAGES)
    if record is None and shared is not None:
        record = sweep_in(shared.facts, shared.k)
    several = {} if record is None else models_of(record, shared)
    plan = LookPlan(
        store=storage.absolute(store.path),
        originals=Originals.of(store.attributes),
        longest=request.settings.thumbnail,
        shared=shared,
        others={k: several[k] for k in ks_to_paint(list(several))} if several else {},
        painted=typical[0].facts.key if typical else None,
        masked=frozenset(image.facts.key for image in typical),
    )
    pictures, failures = look_at_images(plan, chosen, context)
    shown = [image for image in chosen if image.facts.key in pictures]
    seen = [(image, pictures[image.facts.key]) for image in shown]
    sample = joined([p.sample for _, p in seen if p.sample is not None]) if shared is not None else None
    lead, facts, about = head(store.attributes, images, shared, below)
    report = Report(
        name=printable_source(os.path.basename(storage.absolute(store.path))),
        lead=lead,
        facts=facts,
        about=about,
        warnings=(),
        failures=tuple((f["source"], f["reason"]) for f in store.attributes.get("failures") or ()),
        clusters=() if shared is None else cluster_rows(images, _colors(shared.colors), sample),
        images=tuple(ranked),
        shown=tuple(shown_image(image, found) for image, found in seen),
        history=None if shared is None else history_of(shared.facts),
        sweep=None if record is None else sweep_from(record),
        sweep_record=record,
        painted=_painted(plan, seen),
        cloud=cloud_of(seen, shared),
        looked_at=0 if sample is None else int(sample.counts.sum()),
    )
    return report, failures


def _with_warnings(report: Report, store: Store, shared: Model | None, damaged: int) -> Report:
    warned = replace(report, warnings=notes(store.attributes, shared, report.shown, damaged))
    return with_pictures_that_fit(warned)


def _colors(colors: Any) -> list[tuple[int, int, int]]:
    return [(r, g, b) for r, g, b in colors.tolist()]


def _painted(plan: LookPlan, seen: Sequence[tuple[Ranked, Pictures]]) -> Painted | None:
    for image, found in seen:
        if image.facts.key == plan.painted and found.painted:
            pictures = tuple(zip(plan.others, found.painted, strict=True))
            return Painted(image.facts.name, found.original, pictures)
    return None
