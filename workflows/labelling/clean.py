"""Small regions of large images go to their neighbours, once all pieces are labelled.

Two passes over windows of the stored labels, with one step between them: what each window tells of its small regions is
joined here, which says what changes in each; nothing is noted on the way, and a job that goes on does both again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import NamedTuple

from kseg_core.clustering.cleaning import Changes, Cleaning, Joined, Patch, TooManyRegions, join_patches, within
from kseg_core.errors import StoreError
from kseg_core.layers.layer import Layout
from kseg_core.layers.tiles import Region
from kseg_core.store.cleaned import cleaning_of, patch_at, windows_to_clean, write_cleaned
from kseg_core.store.markers import end_journal
from kseg_core.store.model import Model
from kseg_core.store.record import ImageRecord

from ..computing.context import Context, Failure, task_of
from ..planning.budget import RegionRoom
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
            joined = _joined(image, how, patches, context)
            if isinstance(joined, Failure):
                found[at] = joined
                continue
            found[at] = record.cleaned(how.least, joined.moved.tolist())
            windows = windows_to_clean(image.layout)
            writing += [(image, *each) for each in zip(windows, joined.windows, strict=True)]
        context.run(
            task_of(partial(_write_cleaned, store, image.key), Window(window, image.layout, each), key=_key("clean"))
            for image, window, each in writing
        )
    return found


class Window(NamedTuple):
    """A part of an image, and what changes in it."""

    region: Region
    layout: Layout
    changes: Changes | None = None


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
    at_a_time = AHEAD * context.executor.workers
    windows = (
        (image, window, shared)
        for image, how in images
        for shared in [context.share(how)]
        for window in windows_to_clean(image.layout)
    )
    while some := list(islice(windows, at_a_time)):
        yield from context.compute(
            [
                task_of(partial(_patch_at, store, image.key), Window(window, image.layout), how, key=_key("patch"))
                for image, window, how in some
            ]
        )


def _joined(image: LargeImage, how: Cleaning, patches: Iterator[Patch], context: Context) -> Joined | Failure:
    """What changes in an image, whose patches are the next; or that memory is too small for them."""
    room = RegionRoom.of(context.executor)
    own = islice(patches, len(windows_to_clean(image.layout)))
    try:
        held = within(own, room.most)
    except TooManyRegions as error:
        return Failure(image.key, room.too_many(image.source, error.needs, how.least))
    return join_patches(held, image.layout.shape, how)


# -------------------------------------------------------------------------------------------------------- the tasks


def _key(what: str) -> str:
    """A name for a task, which is done whenever it is asked for."""
    return f"{what}-{uuid.uuid4().hex}"


@contextmanager
def _damage_ends_journal(store: str, key: str) -> Iterator[None]:
    """What is damaged is not taken for done by the job that goes on."""
    try:
        yield
    except StoreError as error:
        end_journal(store, key)
        raise StoreError(f"{error}; the same command labels its image anew") from error


def _patch_at(store: str, key: str, window: Window, how: Cleaning) -> Patch:
    with _damage_ends_journal(store, key):
        return patch_at(store, key, window.region, window.layout, how)


def _write_cleaned(store: str, key: str, window: Window) -> None:
    assert window.changes is not None  # they are known by now
    with _damage_ends_journal(store, key):
        write_cleaned(store, key, window.region, window.layout, window.changes)
