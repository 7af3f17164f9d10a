"""The end of a job: what is said of it, in its store and to who gave it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kseg_core.store.manifest import BEGUN, KEYS, images_of
from kseg_core.store.model import Model
from kseg_core.store.opening import update_attributes

from ..computing.context import Failure
from ..labelling.label import Labelled
from ..planning.notes import notes_by_key, notes_of_all
from ..request import Request
from .results import Changes, Counted, JobResult
from .resume import Found


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


def job_result(
    request: Request,
    clock: Clock,
    failures: Sequence[Failure],
    done: Labelled,
    model: Model | None,
    counted: Counted,
    notes: Sequence[str] = (),
) -> JobResult:
    """Everything there is to say, worked out from exact sums over the labels where there is one model.

    ``notes``: what there is to say of all inputs together.
    """
    fit_settings = request.config.fit
    errors = tuple(sorted((failure.error for failure in failures), key=lambda error: (error.source, error.reason)))
    sums = done.sums
    paths = {file.key: file.source for file in request.listing.files}
    common: dict[str, Any] = {
        "output": request.output,
        "images": counted,
        "pixels_total": done.pixels,
        "pixels_valid": done.valid,
        "failures": errors,
        "seconds": clock.seconds,
        "inertia": math.fsum(done.inertia.values()),
        "notes": (*notes_of_all(notes), *notes_by_key(done.notes, paths)),
    }
    if model is None:
        assert fit_settings is not None
        return JobResult(
            **common,
            k_requested=fit_settings.k,
            features=fit_settings.features,
            features_why=fit_settings.features_why,
            scope=fit_settings.scope,
        )
    if sums is not None:
        common["inertia"] = model.space.inertia(sums, model.points)
    return JobResult(
        **common,
        k=model.k,
        k_requested=model.k_requested,
        k_why=model.k_why,
        features=model.features,
        features_why=model.features_why,
        normalize=model.normalize,
        centroids=model.centroids.tolist(),
        colors=model.colors.tolist(),
        counts=(model.counts if sums is None else sums.counts).tolist(),
    )


def changes(request: Request, found: Found, done: Labelled) -> Changes:
    """What has become of the inputs since the store was last complete."""
    labelled = frozenset(done.inertia)
    whole, there = labelled | found.keys, images_of(request.output)
    listed = {file.key for file in request.listing.files}
    return Changes(
        added=len(labelled.difference(found.before.images)),
        changed=len(labelled.intersection(found.before.changed)),
        repaired=len(labelled.intersection(found.before.damaged)),
        removed=len(there - listed),
        outdated=len((there & listed) - whole),
    )


def finish_store(request: Request, result: JobResult) -> None:
    """Declare the store complete. What it says does not tell how often the job was stopped on its way."""
    images = result.images
    told = replace(result, images=replace(images, labelled=images.labelled + images.reused, reused=0)).to_json()
    facts = {"status": "complete", "inputs_digest": request.inputs_digest, "failures": told["failures"]}
    # failures are sorted: bundles come in any order; a repair that was stopped ends with this job
    keys = sorted(images_of(request.output))
    update_attributes(request.output, {**facts, "result": told, KEYS: keys}, without=BEGUN)
