"""What a job came to: plain values, the same for the terminal, for ``--json`` and for Python."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from kseg_core.errors import NothingReadable, UnreadableImage, facts_of
from kseg_core.inputs.keys import printable_source

from .planning.notes import Note, notes_by_key, notes_of_all

if TYPE_CHECKING:
    from kseg_core.store.model import Model

    from .computing.context import Failure
    from .labelling.label import Labelled
    from .request import Request


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


@dataclass(frozen=True, slots=True)
class Counted:
    """Images of a job."""

    total: int
    labelled: int = 0
    reused: int = 0
    failed: int = 0


class Changes(NamedTuple):
    """What has become of the inputs of a store that grows.

    Attributes
    ----------
    added, changed
        Images labelled for the first time, and anew as their inputs have changed, since the store was last complete.
    repaired
        Images made anew from inputs that have not changed: they were missing in the store, or damaged.
    removed
        Images in the store whose inputs are not there any more; they are left as they are.
    outdated
        Images in the store whose inputs have changed and cannot be read now; they are left as they were.
    """

    added: int
    changed: int
    repaired: int
    removed: int
    outdated: int


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of `run`, `fit` or `apply`.

    Parameters
    ----------
    output
        The store or model.
    images
        How many of what.
    pixels_total, pixels_valid
        Of all readable images.
    failures
        Every input that could not be read.
    seconds
        ``total``, ``fit``, ``label``.
    features_why
        Why these features were taken; None where they were asked for.
    normalize
        Of bands: how they were brought to one scale (``none``: they were not); None for colours.
    k, k_requested, k_why, features, scope, inertia, centroids, colors, counts
        As in the contract; None where there is none (each image its own model).
    changes
        With a given model: what has become of the inputs since the store was last complete.
    drift
        With a given model: how far the images labelled last are from the model's own (see `workflows.labelling.label`,
        `held_to`).
    notes
        What there is to say of inputs that were read, and of all of them.
    """

    output: str
    images: Counted
    pixels_total: int
    pixels_valid: int
    failures: tuple[UnreadableImage, ...]
    seconds: dict[str, float | None]
    k: int | None = None
    k_requested: int | str | None = None
    k_why: str | None = None
    features: str | None = None
    features_why: str | None = None
    normalize: str | None = None
    scope: str = "global"
    inertia: float | None = None
    centroids: list[list[float]] | None = None
    colors: list[list[int]] | None = None
    counts: list[int] | None = field(default=None)
    changes: Changes | None = None
    drift: dict[str, Any] | None = None
    notes: tuple[Note, ...] = ()

    @property
    def status(self) -> str:
        """``ok``, ``partial`` (some inputs were unreadable) or ``failed`` (all were)."""
        if self.images.failed == 0:
            return "ok"
        return "partial" if self.images.failed < self.images.total else "failed"

    def to_json(self) -> dict[str, Any]:
        """The object ``--json`` prints: no NaN, None where a number is missing."""
        mse = self.inertia / self.pixels_valid if self.inertia is not None and self.pixels_valid else None
        return {
            "status": self.status,
            "output": printable_source(self.output),
            "k": self.k,
            "k_requested": self.k_requested,
            "k_why": self.k_why,
            "features": self.features,
            "features_why": self.features_why,
            "normalize": self.normalize,
            "scope": self.scope,
            "images": {
                "total": self.images.total,
                "labelled": self.images.labelled,
                "reused": self.images.reused,
                "failed": self.images.failed,
            },
            "pixels": {"total": self.pixels_total, "valid": self.pixels_valid},
            "inertia": _finite(self.inertia),
            "mse": _finite(mse),
            "centroids": self.centroids,
            "colors": self.colors,
            "counts": self.counts,
            "failures": [facts_of(error) for error in self.failures],
            "notes": [note.to_json() for note in self.notes],
            **({} if self.changes is None else {"changes": self.changes._asdict(), "drift": self.drift}),
            "seconds": self.seconds,
        }


def errors_of(failures: Iterable[Failure]) -> tuple[UnreadableImage, ...]:
    """What failed, in the order of its paths."""
    return in_order(failure.error for failure in failures)


def in_order(errors: Iterable[UnreadableImage]) -> tuple[UnreadableImage, ...]:
    """Errors in the order of their paths: tasks end in any."""
    return tuple(sorted(errors, key=lambda error: (error.source, error.reason)))


def unread_by(error: Exception) -> tuple[UnreadableImage, ...]:
    """The inputs for which a job failed, where it did for these."""
    if isinstance(error, NothingReadable):
        return error.failures
    return (error,) if isinstance(error, UnreadableImage) else ()


def job_result(
    request: Request,
    seconds: dict[str, float | None],
    failures: Iterable[Failure],
    done: Labelled,
    model: Model | None,
    counted: Counted,
    notes: Sequence[str] = (),
) -> JobResult:
    """Everything there is to say of a job.

    Parameters
    ----------
    done
        The fold over its images, whose exact sums are what is told where they share a model.
    notes
        What there is to say of all inputs together.
    """
    fit = request.config.fit
    paths = {file.key: file.source for file in request.listing.files}
    common: dict[str, Any] = {
        "output": request.output,
        "images": counted,
        "pixels_total": done.pixels,
        "pixels_valid": done.valid,
        "failures": errors_of(failures),
        "seconds": seconds,
        "inertia": math.fsum(done.inertia.values()),
        "notes": (*notes_of_all(notes), *notes_by_key(done.notes, paths)),
    }
    if model is None:
        assert fit is not None
        return JobResult(
            **common,
            k_requested=fit.k,
            features=fit.features,
            features_why=fit.features_why,
            scope=fit.scope,
        )
    if done.sums is not None:
        common["inertia"] = model.space.inertia(done.sums, model.points)
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
        counts=model.counts.tolist() if done.counts is None else list(done.counts),
    )


def failed_result(error: Exception) -> dict[str, Any]:
    """What ``--json`` prints of a job that failed: the keys of `JobResult`, an ``error``, and what could not be
    read.
    """
    unread = unread_by(error)
    seconds: dict[str, float | None] = {"total": None, "fit": None, "label": None}
    counted = Counted(len(unread), failed=len(unread))
    blank = JobResult("", counted, 0, 0, unread, seconds).to_json()
    return {**blank, "status": "failed", "output": None, "scope": None, "error": str(error)}


def reused_result(finished: dict[str, Any], output: str) -> dict[str, Any]:
    """An earlier result, told again of where it is now: nothing was labelled, all of it was already there."""
    images = finished["images"]
    counted = {**images, "labelled": 0, "reused": images["total"] - images["failed"]}
    seconds = {"total": 0.0, "fit": None, "label": None}
    told = {"notes": [], **finished, "output": printable_source(output), "images": counted, "seconds": seconds}
    if isinstance(finished.get("changes"), dict):
        told["changes"] = {**finished["changes"], "added": 0, "changed": 0, "repaired": 0}
    return told


def held_to(result: dict[str, Any], limit: float | None) -> dict[str, Any]:
    """The result, whose ``drift`` says how far the new images might be from the model's, and whether they are further.

    Parameters
    ----------
    result
        Of a job, as JSON values.
    limit
        Of the batch's share distance; None: any.
    """
    drift = result.get("drift")
    if not isinstance(drift, dict):
        return result
    distance = (drift.get("batch") or {}).get("share_distance")
    failed = limit is not None and distance is not None and distance > limit
    return {**result, "drift": {**drift, "limit": limit, "failed": failed}}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
