"""Which clusters of a store could be one class (``classes --suggest``): contacts are counted on workers, window by
window, and added up here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from kseg_core import storage
from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError, StoreError, UnreadableImage
from kseg_core.grouping.contacts import COUNTED_BYTES, WINDOW_PX, Touching, count_window
from kseg_core.grouping.suggestion import TOUCHING_BYTES, suggest_groups, to_toml
from kseg_core.inputs.keys import printable_source
from kseg_core.memory import PROCESS_BYTES
from kseg_core.scoring.pairs import Sum, TooManyPairs
from kseg_core.shapes.regions import windows_of
from kseg_core.store.legend import Legend
from kseg_core.store.manifest import read_attributes
from kseg_core.store.opening import StoredImage, open_store

from .classes import model_of, require_finished, rows_of
from .computing.context import Context, Failure
from .computing.executor import Progress
from .export_plan import chosen_images
from .viewing.tasks import Work, limit_tasks, on_images

AHEAD = 4  # windows a worker whose contacts are held before they are added up
LEAST_CONTACTS = 1 << 16  # of clusters, two by two, that there is always room for


def suggest_classes(
    path: str,
    wanted: int | None = None,
    to: str | None = None,
    execution: ExecutionSettings | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Propose which clusters of a store are one class; the store stays as it is.

    Parameters
    ----------
    path
        The store.
    wanted
        How many classes; None: as many as there are where the price of another merge rises most.
    to
        A file for the proposal, as ``classes --from`` takes it; None: none is written.

    Returns
    -------
    What ``--json`` prints: ``docs/json.md`` says what it is.

    Raises
    ------
    StoreError
        If there is no finished store with labels of a model that all images share.
    KsegError
        If the file cannot be written, or memory does not suffice.
    """
    path = path.rstrip("/") or path
    model = model_of(path)
    if (read_attributes(path) or {}).get("kind") == "model":
        raise StoreError(f"{path} is a model, which has no images in which clusters touch: suggest classes of a store")
    require_finished(path)
    if to is not None:
        _require_new(to)
    with Context.open(execution or ExecutionSettings(), progress) as context:
        touching, failures = _count(path, model.k, context)
    if not touching.counts.any():
        why = f" ({failures[0].error.reason})" if failures else ""
        raise StoreError(f"{path}: no valid pixel of it could be read{why}; nothing can be suggested")
    found = suggest_groups(touching.contacts, model.centroids, touching.counts, wanted)
    rows = rows_of(Legend.of_classes(model.named(found.classes)), touching.counts.tolist())[: len(found.groups)]
    toml = to_toml(found, rows)
    if to is not None:
        _write(to, toml)
    return {
        "status": "partial" if failures else "ok",
        "output": None if to is None else printable_source(to),
        "store": printable_source(path),
        "k": model.k,
        "wanted": wanted,
        "fewest": found.fewest,
        "price": found.price,
        "classes": rows,
        "toml": toml,
        "failures": [{"key": each.key, "reason": each.error.reason} for each in failures],
    }


def _count(path: str, k: int, context: Context) -> tuple[Touching, list[Failure]]:
    """Contacts and pixels of all images, and those that could not be read.

    Raises
    ------
    KsegError
        If more clusters touch than memory has room for.
    """
    store = open_store(path)
    images, damaged = chosen_images(store, ())
    failures = {key: Failure(key, UnreadableImage(key, str(error))) for key, error in damaged.items()}
    limit_tasks(context.executor, task_bytes=COUNTED_BYTES)
    executor = context.executor
    room = executor.memory_bytes - PROCESS_BYTES - executor.threads * COUNTED_BYTES
    contacts, counts = Sum(max(LEAST_CONTACTS, room // TOUCHING_BYTES)), np.zeros(k, np.int64)
    context.progress.stage("counting contacts", len(images), sum(map(_pixels, images)))
    counted = partial(count_window, storage.absolute(store.path))
    try:
        for work, found in _in_turn(context, counted, _work(images, failures), k):
            if isinstance(found, Failure):
                failures.setdefault(work.key, found)
            else:
                contacts.add(found.contacts)
                counts += found.counts
        return Touching(contacts.pairs, counts), [failures[key] for key in sorted(failures)]
    except TooManyPairs as error:
        raise KsegError(
            f"{path}: {error.count} pairs of its {k} clusters touch: more than memory has room for; give more with "
            "--memory, or label the images with fewer clusters"
        ) from error


def _in_turn(context: Context, function: Any, work: Iterator[Work], k: int) -> Iterator[tuple[Work, Any]]:
    """What a function makes of all work, some of it ahead, so that what is held has a bound."""
    while some := list(islice(work, AHEAD * context.executor.workers)):
        yield from zip(some, on_images(context, function, some, k, name="contacts"), strict=True)


def _work(images: Sequence[StoredImage], failures: dict[str, Failure]) -> Iterator[Work]:
    """The windows of all images; those of which no windows can be told are added to the failures."""
    for image in images:
        try:
            windows = windows_of(image.labels, WINDOW_PX)
        except StoreError as error:
            failures[image.key] = Failure(image.key, UnreadableImage(image.key, str(error)))
            continue
        for window in windows:
            rows, columns = window
            pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
            yield Work(image.key, (image.key, window), pixels, window is windows[-1])


def _pixels(image: StoredImage) -> int:
    height, width = image.attributes["shape"]
    return int(height * width)


def _require_new(path: str) -> None:
    """Refuse a file that cannot be written, before any work is done for it.

    Raises
    ------
    KsegError
        If something is there, or there is no such folder.
    """
    storage.require_here(path, "a proposal is written")
    if os.path.lexists(path):
        raise KsegError(f"{path} exists; name another, or remove it if nothing of it is wanted any more")
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise KsegError(f"{path}: there is no such folder to write to")


def _write(path: str, toml: str) -> None:
    try:
        storage.put(path, [toml.encode()])
    except OSError as error:
        raise KsegError(f"{path}: the proposal cannot be written ({error.strerror or error})") from error
