"""Tasks that look at images of a store: as many at a time as memory allows, given what their originals take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dask.delayed import delayed

from kseg_core import storage
from kseg_core.errors import KsegError, StoreError, UnreadableImage
from kseg_core.memory import PROCESS_BYTES, VIEW_BYTES
from kseg_core.reading.sources import ImageSource
from kseg_core.sizes import format_at_least, format_bytes
from kseg_core.store.opening import StoredImage
from kseg_core.store.originals import Originals

from ..computing.context import Context
from ..computing.executor import Executor
from ..planning.budget import lower_threads, too_little

ORIGINALS_PER_TASK = 64  # whose headers are read

Need = Callable[[ImageSource], int]  # bytes of a task that looks at an original; see `kseg_core.memory`


def limit_tasks(
    executor: Executor, needs: Mapping[str, int] | None = None, *, tasks_each: int | Mapping[str, int] = 1
) -> dict[str, str]:
    """As many tasks at a time as memory allows.

    Parameters
    ----------
    needs
        By image, bytes of a task that looks at its original, where that is more than other tasks take.
    tasks_each
        How many tasks may look at one original at a time; by image, 1 where it is not said.

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
    if executor.least_threads * VIEW_BYTES > room:  # tiles are as the store has them: no smaller one helps
        needed = PROCESS_BYTES + executor.least_threads * VIEW_BYTES
        raise KsegError(too_little(executor, needed, "give more with --memory"))
    share = room // executor.least_threads  # others of these tasks may run beside each of them
    tasks = dict.fromkeys(needs or {}, tasks_each) if isinstance(tasks_each, int) else tasks_each
    fitting = [
        need
        for key, need in (needs or {}).items()
        if need <= share
        for _ in range(min(tasks.get(key, 1), executor.threads))
    ]
    largest = sorted([*fitting, *[VIEW_BYTES] * executor.threads], reverse=True)
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


def needs_of_originals(
    store: str, keys: Sequence[str], originals: Originals, need: Need, context: Context, *, copied: bool = False
) -> dict[str, int]:
    """By image, what a task that looks at its original needs, from headers alone.

    Images whose original cannot be opened are not in it; nor are those that the store has a copy of, unless ``copied``.
    """
    task = delayed(_needs, pure=False)
    groups = [keys[at : at + ORIGINALS_PER_TASK] for at in range(0, len(keys), ORIGINALS_PER_TASK)]
    lazy = [task(storage.absolute(store), group, originals, need, copied) for group in groups]
    found: list[dict[str, int]] = context.compute(lazy)
    return {key: bytes_needed for group in found for key, bytes_needed in group.items()}


def _needs(store: str, keys: Sequence[str], originals: Originals, need: Need, copied: bool) -> dict[str, int]:
    """A task: `needs_of_originals` of some images."""
    needs = {}
    for key in keys:
        try:
            image = StoredImage(store, key)
            if copied or image.image is None:
                needs[key] = need(originals.open(image, masked=False))
        except (UnreadableImage, StoreError):
            continue  # whoever looks at it says what is wrong
    return needs
