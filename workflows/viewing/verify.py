"""Verify images of a store: a task for each, and of a large one a task for each window."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import islice
from typing import Any

from dask.delayed import Delayed, delayed

from kseg_core import storage
from kseg_core.config import OutputSettings
from kseg_core.layers.tiles import Region
from kseg_core.memory import verifying_bytes
from kseg_core.store.model import Model
from kseg_core.store.opening import Store
from kseg_core.store.originals import Originals
from kseg_core.store.tally import OPENING, Tally, image_windows
from kseg_core.store.verify import Findings, ImageCheck, large_shape

from ..computing.context import Context, Task, crashed
from .tasks import Work, count_of_bands, has_derived_bands, limit_tasks, needs_of_originals, on_images

log = logging.getLogger("kseg")

CRASHED = "it crashed the worker, or took more memory than a worker has"


def output_settings(store: Store) -> OutputSettings:
    """What the run was told to write."""
    return OutputSettings.from_json((store.attributes.get("config") or {}).get("output") or {})


@dataclass(frozen=True, slots=True)
class Verifier:
    """Makes the tasks that verify images of a store."""

    path: str  # the store's, from wherever a worker is
    shared: Delayed  # the model of all images
    # As `kseg_core.store.verify.ImageCheck` has them.
    originals: Originals
    output: OutputSettings
    refused: AbstractSet[str]  # names of the images whose sources are not to be read

    def originals_of(self, key: str) -> Originals | None:
        """Where to look for the source of an image; None: it is not to be read."""
        return None if key in self.refused else self.originals

    def part(self, key: str, window: Region | None, originals: Originals | None) -> Delayed:
        """One window of a large image, or all of another."""
        check = ImageCheck(self.path, key, originals, self.output)
        if window is None:
            return delayed(ImageCheck.whole, pure=False)(check, self.shared)
        return delayed(ImageCheck.window, pure=False)(check, window, self.shared)

    def judged(self, key: str, counted: Tally) -> Delayed:
        """What all of its windows came to."""
        check = ImageCheck(self.path, key, None, self.output)
        return delayed(partial(ImageCheck.judged, check, counted), pure=False)(self.shared)


def verify_images(store: Store, keys: Sequence[str], model: Model | None, context: Context) -> dict[str, Findings]:
    """Verify some images of a store, by key. ``model``: the one all share, if there is one."""
    context.progress.stage("verifying", len(keys), 0)
    originals = Originals.of(store.attributes)
    output = output_settings(store)
    need = partial(
        verifying_bytes,
        k=1 if model is None else model.k,
        output=output,
        bands=count_of_bands(model),
        derived=has_derived_bands(model),
    )
    path = storage.absolute(store.path)
    windows = {key: list(image_windows(shape)) for key, shape in shapes_of_large(path, keys, context).items()}
    needs = needs_of_originals(store.path, keys, originals, need, context, copied=True)
    refused = limit_tasks(context.executor, needs, tasks_each={key: len(each) for key, each in windows.items()})
    for key, reason in refused.items():
        log.warning("%s: not compared with its source, which %s", key, reason)
    verifier = Verifier(path, context.share(model), originals, output, refused.keys())
    small = [key for key in keys if key not in windows]
    parts: dict[str, Sequence[Region | None]] = {**windows, **dict.fromkeys(small, (None,))}
    results = context.each(tasks_of(parts, verifier, context))
    counted = {key: reduce(Tally.merge, islice(results, len(each))) for key, each in windows.items()}
    findings: dict[str, Findings] = dict(zip(small, results, strict=True))
    judging = (
        Task(verifier.judged(key, each), partial(context.progress.advance, 1, 0), partial(crashed_at, key))
        for key, each in counted.items()
    )
    findings |= zip(counted, context.each(judging), strict=True)
    findings |= {key: replace(findings[key], why=f"its source {reason}") for key, reason in refused.items()}
    return {key: findings[key] for key in keys}


def shapes_of_large(path: str, keys: Sequence[str], context: Context) -> dict[str, tuple[int, int]]:
    """The images that are verified in several tasks, from metadata alone."""
    work = (Work(key, key) for key in keys)
    shapes = on_images(context, partial(large_shape, path), work, name="shape", together=64)
    return {key: shape for key, shape in zip(keys, shapes, strict=True) if isinstance(shape, tuple)}


def tasks_of(parts: Mapping[str, Sequence[Region | None]], verifier: Verifier, context: Context) -> Iterator[Task]:
    """A task for each window of each image, by key; None: all of it."""
    for key, own in parts.items():
        rescue = Rescue(key, verifier, context)
        for window in own:
            nothing = crashed_at(key) if window is None else Tally.unread(OPENING, window, CRASHED)
            yield Task(
                verifier.part(key, window, verifier.originals_of(key)),
                partial(context.progress.advance, 1, 0) if window is None else None,
                partial(rescue, partial(verifier.part, key, window), nothing),
            )


class Rescue:
    """Verifies an image, or windows of it, at which workers died: nothing else beside it, and once more without its
    source if it kills again.
    """

    def __init__(self, key: str, verifier: Verifier, context: Context) -> None:
        self._key = key
        self._originals = verifier.originals_of(key)
        self._context = context
        self._why: str | None = None

    def __call__(self, task: Callable[[Originals | None], Delayed], nothing: Any) -> Any:
        """The result of a task, given where to look for the source; ``nothing`` if it kills without the source, too.

        At other windows of an image whose source has crashed a decoder that is not tried again.
        """
        if self._why is None:
            found, deaths = self._context.alone(task(self._originals))
            if not deaths:
                return found
            self._why = crashed(self._key, deaths).reason
            log.warning("%s: not compared with its source: %s", self._key, self._why)
        found, deaths = self._context.alone(task(None))
        return nothing if deaths else replace(found, why=self._why)


def crashed_at(key: str) -> Findings:
    """The findings of an image at which workers die whatever is done."""
    return Findings.unread(key, CRASHED)
