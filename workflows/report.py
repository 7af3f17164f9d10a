"""The report of a store: its images are seen window by window, then one page and its figures are written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from dask.delayed import Delayed

from kseg_core import storage
from kseg_core.config import ExecutionSettings
from kseg_core.errors import StoreError
from kseg_core.inputs.keys import printable_source
from kseg_core.memory import viewing_bytes
from kseg_core.products import PAGE
from kseg_core.report import content, segment_views, views
from kseg_core.report.content import Card, Painted, Report
from kseg_core.report.facts import ImageFacts, choose, most_typical, named_below, rank, read_facts
from kseg_core.report.page import build_page, with_pictures_that_fit, write_report
from kseg_core.report.samples import joined, quotas
from kseg_core.report.segment_tables import SegmentTables
from kseg_core.report.settings import ReportSettings, default_folder, require_place
from kseg_core.report.views import Chosen, Pictures, Seen, Subject, ViewPlan
from kseg_core.scoring.files import read_score
from kseg_core.store.legend import Legend
from kseg_core.store.manifest import added_alone
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, open_store
from kseg_core.store.originals import Originals

from .computing.context import Context, Failure, parted
from .computing.executor import Progress
from .viewing.tasks import Work, count_of_bands, has_derived_bands, limit_tasks, on_images
from .viewing.verify import output_settings

GROUP = 64  # images seen together: what is held of them before they are pictures has a bound
SAMPLED_PX = 1 << 18  # pixels that the clusters' spread is worked out from: its error is well below a per cent
POINTS = 4000  # of the cloud that is turned by hand: as many as a phone draws without a hitch

Failures = list[Failure]


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
    score
        What the ``score`` command wrote: a file, or its folder; None: none is shown.
    """

    store: str
    to: str | None = None
    sweep: str | None = None
    settings: ReportSettings = field(default_factory=ReportSettings)
    score: str | None = None

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
    record = None if request.sweep is None else content.read_sweep(request.sweep)
    score = None if request.score is None else read_score(request.score)
    model = Model.load(store.path) if store.has_model else None
    with Context.open(execution, progress) as context:
        limit_tasks(context.executor)
        alone = added_alone(store.attributes)
        if alone not in (None, segment_views.LAYER.name):
            raise StoreError(f"no labels in {store.path}, only {alone}: label its images with kseg-batch run")
        images, failures = _facts_of(store, None if model is None else model.k, context)
        if not images:
            why = f" ({failures[0].key}: {failures[0].error.reason})" if failures else ""
            raise StoreError(f"{store.path}: it has no finished image to report of{why}")
        report, unread = _gather(request, store, model, record, images, context)
    failures += unread
    report = replace(report, score=score, warnings=content.notes(store.attributes, model, report.cards, len(failures)))
    report = with_pictures_that_fit(report)
    context.progress.stage("drawing figures", 0, 0)
    from kseg_core.report import figures  # Matplotlib: not before there is something to draw

    files = figures.figure_files(report)
    write_report(folder, {**files, PAGE: build_page(report, figures.shown_on_page(report, files)).encode()})
    return {
        "status": "partial" if failures else "ok",
        "output": printable_source(folder),
        "report": printable_source(request.page),
        "figures": [printable_source(os.path.join(folder, name)) for name in files],
        "images": {"total": len(store), "shown": len(report.cards)},
        "failures": [
            {"source": source, "reason": reason} for source, reason in sorted((f.key, f.error.reason) for f in failures)
        ],
    }


# ---------------------------------------------------------------------------------------------------- the steps


def _facts_of(store: Store, k: int | None, context: Context) -> tuple[list[ImageFacts], Failures]:
    """What the store says of its images, and which of them are damaged; a task reads some for a tenth of a second."""
    work = (Work(key, key) for key in store)
    read = partial(read_facts, storage.absolute(store.path), labelled=store.is_labelled)
    images, failures = parted(on_images(context.silent(), read, work, k, name="facts", together=256))
    return images, list(failures)


def _gather(
    request: ReportRequest,
    store: Store,
    model: Model | None,
    record: dict[str, Any] | None,
    images: Sequence[ImageFacts],
    context: Context,
) -> tuple[Report, Failures]:
    """The report but for its warnings, and the images that could not be seen."""
    below, images = named_below(images)
    ranked = rank(images, None if model is None else model.k)
    chosen = choose(ranked, request.settings.limit)
    typical = [image.facts.key for image in most_typical(chosen, content.MASK_IMAGES)]
    if record is None and model is not None:
        record = content.sweep_in(model.facts, model.k)
    models = {} if record is None or not store.is_labelled else content.models_of(record, model)
    plan = ViewPlan(
        store=storage.absolute(store.path),
        originals=Originals.of(store.attributes),
        output=output_settings(store),
        longest=request.settings.thumbnail,
        model=model,
        others={k: models[k] for k in content.ks_to_paint(list(models))} if models else {},
        painted=typical[0] if typical else None,
        masked=frozenset(typical),
    )
    pictures, failures = pictures_of(plan, [image.facts for image in chosen], context)
    cards = [Card(image, pictures[image.facts.key]) for image in chosen if image.facts.key in pictures]
    samples = [image.pictures.sample for image in cards if image.pictures.sample is not None]
    sample = joined(samples) if model is not None else None
    if store.is_labelled:
        lead, facts, about = content.head(store.attributes, images, model, below)
    else:
        lead, facts, about = content.head_of_segments(store.attributes, images, below)
    colors = [] if model is None else [(r, g, b) for r, g, b in model.colors.tolist()]
    rows = () if model is None else content.cluster_rows(images, colors, sample)
    report = Report(
        name=printable_source(os.path.basename(storage.absolute(store.path))),
        lead=lead,
        facts=facts,
        about=about,
        warnings=(),
        failures=tuple((f["source"], f["reason"]) for f in store.attributes.get("failures") or ()),
        clusters=rows,
        classes=() if model is None else content.class_rows(Legend.of_classes(model), rows),
        images=tuple(ranked),
        cards=tuple(cards),
        fit={} if model is None else model.facts,
        sweep=record,
        painted=_painted(plan, cards),
        cloud=content.cloud_of(cards, model),
        sampled=0 if sample is None else int(sample.counts.sum()),
        segments=SegmentTables.of([(image.ranked.facts, image.pictures) for image in cards]),
        is_labelled=store.is_labelled,
    )
    return report, failures


def _painted(plan: ViewPlan, cards: Sequence[Card]) -> Painted | None:
    for image in cards:
        facts, pictures = image.ranked.facts, image.pictures
        if facts.key == plan.painted and pictures.painted:
            return Painted(facts.name, pictures.original, tuple(zip(plan.others, pictures.painted, strict=True)))
    return None


# ------------------------------------------------------------------------------------------------------- pictures


def pictures_of(plan: ViewPlan, images: Sequence[ImageFacts], context: Context) -> tuple[dict[str, Pictures], Failures]:
    """The pictures of some images by key, and why there are none of others; every window of each is a task."""
    context.progress.stage("looking at images", len(images), 0)
    valid = [facts.valid for facts in images]
    chosen = [Chosen(*each) for each in zip(images, quotas(valid, SAMPLED_PX), quotas(valid, POINTS), strict=True)]
    shared = context.share(plan)
    pictures: dict[str, Pictures] = {}
    failures: Failures = []
    for at in range(0, len(chosen), GROUP):
        failures += _pictures_of_group(plan, shared, chosen[at : at + GROUP], context, pictures)
    return pictures, failures


def _pictures_of_group(
    plan: ViewPlan, shared: Delayed, group: Sequence[Chosen], context: Context, pictures: dict[str, Pictures]
) -> Failures:
    """Adds the pictures of some images; why there are none of others."""
    quiet = context.silent()
    near = on_images(quiet, views.approach, (Work(each.facts.key, each) for each in group), shared, name="approach")
    subjects, failures = parted(near)
    subjects = _those_that_fit(plan, subjects, context)
    every = [view for subject in subjects for view in subject.views()]
    parts = on_images(quiet, views.see, (Work(view.subject.key, view) for view in every), shared, name="view")
    seen: dict[str, Seen] = {subject.key: Seen(subject, []) for subject in subjects}
    for view, part in zip(every, parts, strict=True):
        seen[view.subject.key].parts.append((view, part.error.reason if isinstance(part, Failure) else part))
    work = (Work(key, each, is_last=True) for key, each in seen.items())
    for key, made in zip(seen, on_images(context, views.assemble, work, shared, name="pictures"), strict=True):
        if isinstance(made, Failure):
            failures += (made,)
        else:
            pictures[key] = made
    return list(failures)


def _those_that_fit(plan: ViewPlan, subjects: Sequence[Subject], context: Context) -> list[Subject]:
    """The images, those whose original memory is too small for without it."""
    bands, derived, needs = count_of_bands(plan.model), has_derived_bands(plan.model), {}
    for subject in subjects:
        if (source := subject.source) is not None:
            every = 0 if subject.bands is None else len(source.info.but_alpha)
            needs[subject.key] = viewing_bytes(source, bands or every, derived=derived)
    refused = limit_tasks(context.executor, needs)
    return [
        replace(subject, source=None, lost=refused[subject.key]) if subject.key in refused else subject
        for subject in subjects
    ]
