"""Tasks over images of a finished store: as many at a time as memory allows, damage told as a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Any, Self

from kseg_core import storage
from kseg_core.errors import KsegError, StoreError, UnreadableImage
from kseg_core.memory import PROCESS_BYTES, VIEW_BYTES
from kseg_core.reading.sources import ImageSource
from kseg_core.sizes import format_at_least, format_bytes
from kseg_core.store.model import Model
from kseg_core.store.opening import StoredImage
from kseg_core.store.originals import Originals

from ..computing.context import Context
from ..computing.executor import Executor
from ..planning.budget import lower_threads, too_little

Need = Callable[[ImageSource], int]  # bytes of a task that looks at an original; see `kseg_core.memory`


@dataclass(frozen=True, slots=True)
class Work:
    """Work on an image of a store, or on a part of it, as an item of `Context.map`; ``name``: in place of the key, what
    is said where it fails.
    """

    key: str
    what: Any
    pixels: int = 0
    is_last: bool = False
    name: str = ""

    @property
    def file(self) -> Self:
        """What is named where it fails."""
        return self

    @property
    def source(self) -> str:
        """How it is named."""
        return self.name or self.key


def on_images(
    context: Context, function: Callable[..., Any], work: Iterable[Work], *details: Any, name: str, together: int = 1
) -> Iterator[Any]:
    """``function(what, *details)`` of all work, so much ``together`` in a task, in order; what is damaged, or crashes
    a worker, is a `Failure`.
    """
    waiting = iter(work)
    batches = iter(lambda: list(islice(waiting, together)), [])
    quiet = replace(context, strict=False)
    return chain.from_iterable(quiet.map(partial(_one, function), batches, *details, name=name))


def _one(function: Callable[..., Any], work: Work, *details: Any) -> Any:
    """A task: one of `on_images`."""
    try:
        return function(work.what, *details)
    except StoreError as error:
        raise UnreadableImage(work.key, str(error)) from error


def limit_tasks(
    executor: Executor,
    needs: Mapping[str, int] | None = None,
    *,
    tasks_each: int | Mapping[str, int] = 1,
    task_bytes: int = VIEW_BYTES,
) -> dict[str, str]:
    """As many tasks at a time as memory allows.

    Parameters
    ----------
    needs
        By image, bytes of a task that looks at its original, where that is more than other tasks take.
    tasks_each
        How many tasks may look at one original at a time; by image, 1 where it is not said.
    task_bytes
        Of a task that looks at no original.

    Returns
    -------
    The images whose original does not fit, and why: none of their tasks must look at it.

    Raises
    ------
    KsegError
        If the memory is too small for tasks that look at no original.
    """
    limit = executor.memory_bytes
    room = limit - PROCESS_BYTES
    if executor.least_threads * task_bytes > room:  # tiles are as the store has them: no smaller one helps
        needed = PROCESS_BYTES + executor.least_threads * task_bytes
        raise KsegError(too_little(executor, needed, "give more with --memory"))
    share = room // executor.least_threads  # others of these tasks may run beside each of them
    tasks = dict.fromkeys(needs or {}, tasks_each) if isinstance(tasks_each, int) else tasks_each
    fitting = [
        need
        for key, need in (needs or {}).items()
        if need <= share
        for _ in range(min(tasks.get(key, 1), executor.threads))
    ]
    largest = sorted([*fitting, *[task_bytes] * executor.threads], reverse=True)
    threads = next(
        (n for n in range(executor.threads, executor.least_threads, -1) if sum(largest[:n]) <= room),
        executor.least_threads,
    )
    lower_threads(executor, threads)
    return {
        key: (
            f"takes about {format_at_least(PROCESS_BYTES + need * executor.least_threads)} of memory to look at, a "
            f"process may take {format_bytes(limit)} ({executor.memory_from}); give more with --memory"
        )
        for key, need in (needs or {}).items()
        if need > share
    }


def has_derived_bands(model: Model | None) -> bool:
    """Whether any of these bands is worked out from others."""
    return model is not None and model.bands is not None and model.bands.is_derived


def count_of_bands(model: Model | None) -> int:
    """How many bands the images of a store are read as; 0: colours."""
    return 0 if model is None or model.bands is None else len(model.bands.bands)


def needs_of_originals(
    store: str, keys: Sequence[str], originals: Originals, need: Need, context: Context, *, copied: bool = False
) -> dict[str, int]:
    """By image, what a task that looks at its original needs, from headers alone.

    Images whose original cannot be opened are not in it, as whoever looks at it says what is wrong; nor are those that
    the store has a copy of, unless ``copied``.
    """
    path = storage.absolute(store)
    work = (Work(key, key) for key in keys)
    needs = on_images(context, partial(_need_of, path), work, originals, need, copied, name="needs", together=64)
    return {key: need_of for key, need_of in zip(keys, needs, strict=True) if isinstance(need_of, int)}


def _need_of(store: str, key: str, originals: Originals, need: Need, copied: bool) -> int | None:
    """A task: `needs_of_originals` of one image."""
    image = StoredImage(store, key)
    return need(originals.open(image, masked=False)) if copied or image.image is None else None
