"""Looking at the images of a store for a report: every window of every picture is a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import Delayed, delayed

from kseg_core.errors import StoreError
from kseg_core.memory import viewing_bytes
from kseg_core.report.assembling import Pictures, Seen, assemble
from kseg_core.report.composing import MASK_CLUSTERS
from kseg_core.report.looking import (
    Look,
    Subject,
    approach,
    edge_windows,
    label_windows,
    look_at_edges,
    look_at_labels,
    look_at_pixels,
    pixel_windows,
    tasks_of,
)
from kseg_core.report.markup import largest
from kseg_core.report.ranking import Ranked
from kseg_core.report.sampling import quotas
from kseg_core.store.model import Model
from kseg_core.store.originals import Originals

from ..computing.context import Context, Task, crashed
from .viewing import limit_tasks

GROUP = 64  # images looked at together: what is held of them before they are pictures has a bound
SAMPLED_PX = 1 << 18  # pixels that the clusters' spread is worked out from: its error is well below a per cent
POINTS = 4000  # of the cloud that is turned by hand: as many as a phone draws without a hitch

Failures = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class LookPlan:
    """What is looked at, and how.

    Parameters
    ----------
    store, originals, longest, shared
        As `approach` has them.
    others
        Models by k that one picture is painted with.
    painted
        The key of that picture.
    masked
        The keys of pictures whose masks are shown.
    """

    store: str
    originals: Originals
    longest: int
    shared: Model | None
    others: dict[int, Model]
    painted: str | None
    masked: frozenset[str]

    def others_for(self, key: str) -> tuple[Model, ...]:
        """Models to label an image with as well."""
        return tuple(self.others.values()) if key == self.painted else ()

    def masks_for(self, key: str) -> list[int] | int:
        """Which masks of an image are shown: those of the largest clusters of all; or how many of its own."""
        if key not in self.masked:
            return 0
        return MASK_CLUSTERS if self.shared is None else largest(self.shared.counts.tolist(), MASK_CLUSTERS)


def approach_safely(
    store: str, key: str, originals: Originals, shared: Model | None, longest: int
) -> Subject | StoreError:
    """A task: `approach`, with a damaged image as a result."""
    try:
        return approach(store, key, originals, shared, longest)
    except StoreError as error:
        return error


def look_safely(look: Any, subject: Subject, window: tuple[slice, slice]) -> Any:
    """A task: look at a window of a stored array, with damage as a result."""
    try:
        return look(subject, *window)
    except StoreError as error:
        return error


def assemble_safely(
    subject: Subject, seen: Seen, colors: Any, others: tuple[Model, ...], masks: list[int] | int
) -> Pictures | StoreError:
    """A task: `assemble`, with damage as a result."""
    try:
        return assemble(subject, seen, colors, others, masks)
    except StoreError as error:
        return error


class Looked(NamedTuple):
    """The parts of one image, each lazily: labels, pixels, edges.

    Pixels are read by decoders that may crash, and a task that did must not be run again under its name: each call
    makes a new one.
    """

    subject: Subject
    labels: list[Delayed]
    looks: list[Callable[[], Delayed]]
    edges: list[Delayed]

    def tasks(self, context: Context) -> Iterator[Task | Delayed]:
        """All of them, in this order. Where a source's decoder crashes the worker, why nothing was seen."""
        yield from self.labels
        for look in self.looks:
            yield Task(look(), rescue=partial(look_alone, self.subject, look, context))
        yield from self.edges


def look_alone(subject: Subject, look: Callable[[], Delayed], context: Context) -> Look | str:
    """Look once more at pixels that killed their workers, nothing else beside it."""
    seen, deaths = context.alone(look())
    return crashed(subject.key, deaths).reason if deaths else seen


def look_at_images(plan: LookPlan, chosen: Sequence[Ranked], context: Context) -> tuple[dict[str, Pictures], Failures]:
    """The pictures of some images, and why there are none of others."""
    context.progress.stage("looking at images", len(chosen), 0)
    shared = context.share(plan.shared)
    samples = quotas([image.facts.valid for image in chosen], SAMPLED_PX)
    points = quotas([image.facts.valid for image in chosen], POINTS)
    pictures: dict[str, Pictures] = {}
    failures: Failures = []
    for at in range(0, len(chosen), GROUP):
        group = chosen[at : at + GROUP]
        found, bad = _look_at_group(plan, group, samples[at : at + GROUP], points[at : at + GROUP], shared, context)
        pictures |= found
        failures += bad
    return pictures, failures


def _look_at_group(
    plan: LookPlan,
    group: Sequence[Ranked],
    samples: Sequence[int],
    points: Sequence[int],
    shared: Delayed,
    context: Context,
) -> tuple[dict[str, Pictures], Failures]:
    near = delayed(approach_safely, pure=False)
    keys = [image.facts.key for image in group]
    subjects = context.compute([near(plan.store, key, plan.originals, shared, plan.longest) for key in keys])
    subjects = _those_that_fit(plan, subjects, context)
    looked = [
        _look(plan, subject, count, kept, shared)
        for subject, count, kept in zip(subjects, samples, points, strict=True)
        if isinstance(subject, Subject)
    ]
    parts = list(context.each([task for one in looked for task in one.tasks(context)]))
    finish = delayed(assemble_safely, pure=False)
    failures: Failures = [
        (key, str(subject)) for key, subject in zip(keys, subjects, strict=True) if not isinstance(subject, Subject)
    ]
    whole: list[str] = []
    lazy = []
    facts = {image.facts.key: image.facts for image in group}
    begin = 0
    for subject, labels, looks, edges in looked:
        ends = np.cumsum([begin, len(labels), len(looks), len(edges)]).tolist()
        cut = [parts[start:stop] for start, stop in pairwise(ends)]
        begin = ends[-1]
        damage = [part for part in (*cut[0], *cut[2]) if isinstance(part, StoreError)]
        if damage:
            failures.append((subject.key, str(damage[0])))
            continue
        colors = np.array(facts[subject.key].colors, np.uint8).reshape(-1, 3)
        lazy.append(finish(subject, Seen(*cut), colors, plan.others_for(subject.key), plan.masks_for(subject.key)))
        whole.append(subject.key)
    done = context.each(Task(one, partial(context.progress.advance, 1, 0)) for one in lazy)
    made = dict(zip(whole, done, strict=True))
    failures += [(key, str(error)) for key, error in made.items() if isinstance(error, StoreError)]
    return {key: pictures for key, pictures in made.items() if isinstance(pictures, Pictures)}, failures


def _those_that_fit(
    plan: LookPlan, subjects: Sequence[Subject | StoreError], context: Context
) -> list[Subject | StoreError]:
    """The images, those whose original memory is too small for without it."""
    bands = 0 if plan.shared is None or plan.shared.bands is None else len(plan.shared.bands.bands)
    needs = {
        subject.key: viewing_bytes(subject.source, bands)
        for subject in subjects
        if isinstance(subject, Subject) and subject.source is not None
    }
    refused = limit_tasks(context.executor, needs)
    return [
        replace(subject, source=None, lost=refused[subject.key])
        if isinstance(subject, Subject) and subject.key in refused
        else subject
        for subject in subjects
    ]


def _look(plan: LookPlan, subject: Subject, count: int, kept: int, shared: Delayed) -> Looked:
    """All that is to be looked at of an image."""
    safely = delayed(look_safely, pure=False)
    windows = pixel_windows(subject)
    sizes = [(rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in windows]
    pixels = delayed(look_at_pixels, pure=False)
    others = plan.others_for(subject.key)
    return Looked(
        subject,
        [safely(look_at_labels, subject, window) for window in label_windows(subject)],
        [
            partial(pixels, subject, shared, others, task)
            for task in tasks_of(windows, quotas(sizes, count), quotas(sizes, kept))
        ],
        [safely(look_at_edges, subject, window) for window in edge_windows(subject)],
    )
