"""Small regions of large images go to their neighbours, once all pieces are labelled.

Two passes over windows of the stored labels, with one step between them: what each window tells of its small regions is
joined here, which says what changes in each; nothing is noted on the way, and a job that goes on does both again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from dask.delayed import delayed

from kseg_core.clustering.cleaning import Changes, Cleaning, Patch, join_patches
from kseg_core.errors import StoreError, TooLarge
from kseg_core.layers.layer import Layout
from kseg_core.layers.tiles import Region
from kseg_core.memory import PROCESS_BYTES
from kseg_core.sizes import format_at_least, format_bytes
from kseg_core.store.cleaned import cleaning_of, patch_at, windows_to_clean, write_cleaned
from kseg_core.store.markers import end_journal
from kseg_core.store.model import Model
from kseg_core.store.record import ImageRecord

from ..computing.context import Context, Failure
from .pieces import LargeImage

AHEAD = 4  # windows a worker whose patches are made before the first of them is taken
GROUP_WINDOWS = 512  # changes of some two gigapixels are held at once


def clean_images(
    images: Sequence[LargeImage],
    records: Sequence[ImageRecord | Failure],
    model: Model | None,
    store: str,
    context: Context,
) -> list[ImageRecord | Failure]:
    """Clean the labels of large images that are to be cleaned; what is said of each then.

    Raises
    ------
    StoreError
        If what is written is damaged; the same command labels the image anew.
    """
    found = list(records)
    todo = [
        (at, image, how)
        for at, (image, record) in enumerate(zip(images, records, strict=True))
        if isinstance(record, ImageRecord) and (how := cleaning_of(image.layout, model)) is not None
    ]
    for group in _groups(todo):
        patches = _patches([(image, how) for _, image, how in group], store, context)
        writing = []
        for at, image, how in group:
            record = found[at]
            assert isinstance(record, ImageRecord)  # those are what is to be done
            changes = _changes(image, how, patches, context)
            if isinstance(changes, Failure):
                found[at] = changes
                continue
            moved = np.sum([each.moved for each in changes], axis=0)
            found[at] = record.cleaned(how.least, moved.tolist())
            writing += list(zip([image] * len(changes), windows_to_clean(image.layout), changes, strict=True))
        task = delayed(_write_cleaned, pure=False)
        context.run(task(store, image.key, window, image.layout, each) for image, window, each in writing)
    return found


Todo = list[tuple[int, LargeImage, Cleaning]]


def _groups(todo: Todo) -> Iterator[Todo]:
    """Images together up to so many windows."""
    group: Todo = []
    count = 0
    for each in todo:
        more = len(windows_to_clean(each[1].layout))
        if group and count + more > GROUP_WINDOWS:
            yield group
            group, count = [], 0
        group.append(each)
        count += more
    if group:
        yield group


def _patches(images: Sequence[tuple[LargeImage, Cleaning]], store: str, context: Context) -> Iterator[Patch]:
    """What the windows of all images tell, in order."""
    task, at_a_time = delayed(_patch_at, pure=False), AHEAD * context.executor.workers
    windows = (
        (image, window, shared)
        for image, how in images
        for shared in [context.share(how)]
        for window in windows_to_clean(image.layout)
    )
    while some := list(islice(windows, at_a_time)):
        yield from context.compute([task(store, image.key, window, image.layout, how) for image, window, how in some])


def _changes(image: LargeImage, how: Cleaning, patches: Iterator[Patch], context: Context) -> list[Changes] | Failure:
    """What changes in each window of an image, whose patches are the next; or that memory is too small for them."""
    own: list[Patch] = []
    limit = context.executor.memory_bytes
    needed = PROCESS_BYTES
    for patch in islice(patches, len(windows_to_clean(image.layout))):
        needed += patch.working_bytes
        if needed <= limit:
            own.append(patch)
        else:
            own.clear()  # its other windows are passed over
    if needed <= limit:
        return join_patches(own, image.layout.shape, how)
    reason = (
        f"its regions below {how.least} pixels are so many that going through them takes about "
        f"{format_at_least(needed)}, a process may take {format_bytes(limit)} ({context.executor.memory_from}); give "
        "more with --memory, or a smaller --min-region"
    )
    return Failure(image.key, TooLarge(image.source.file.source, reason, needed))


# -------------------------------------------------------------------------------------------------------- the tasks


def _patch_at(store: str, key: str, window: Region, layout: Layout, how: Cleaning) -> Patch:
    try:
        return patch_at(store, key, window, layout, how)
    except StoreError as error:
        end_journal(store, key)
        raise StoreError(f"{error}; the same command labels its image anew") from error


def _write_cleaned(store: str, key: str, window: Region, layout: Layout, changes: Changes) -> None:
    try:
        write_cleaned(store, key, window, layout, changes)
    except StoreError as error:
        end_journal(store, key)
        raise StoreError(f"{error}; the same command labels its image anew") from error
