"""Mend large images of a store: their damaged windows are made anew, and what of their levels depends on these.

Each window of level 0 is read, and is labelled again from the source where that fails; the levels are compared with
what they are made from. Nothing is noted on the way: what was mended is sound when the next repair looks at it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from dask.delayed import Delayed, delayed

from kseg_core import storage
from kseg_core.config import OutputSettings
from kseg_core.errors import KsegError, StoreError, UnreadableImage
from kseg_core.reading.sources import Piece
from kseg_core.store.layout import Layout
from kseg_core.store.mending import mend_level, sound_record, window_is_sound
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, StoredImage
from kseg_core.store.record import ImageRecord
from kseg_core.store.writing import finish_image, image_folder, write_georeferences

from ..computing.executor import SAME_COMMAND, Executor
from ..computing.faults import alone
from ..computing.progress import Progress
from ..computing.waves import Watched, compute_in_waves
from ..planning.plan import Failure, Plan, killer
from .label import bands_of, layout_of
from .label_large import build_pyramids, write_piece

log = logging.getLogger("kseg")


@dataclass(frozen=True, slots=True)
class Mendable:
    """A large image whose documents are sound, whatever has become of its pixels.

    Parameters
    ----------
    pieces
        All of it.
    layout, record
        Its arrays, and what is said of it.
    model
        What it was labelled with.
    """

    pieces: tuple[Piece, ...]
    layout: Layout
    record: ImageRecord
    model: Model


class Mended(NamedTuple):
    """What mending one piece came to: whether it was made anew, or why it could not be."""

    anew: bool
    failure: Failure | None = None


def mendable_images(store: Store, plan: Plan, shared: Model | None, output: OutputSettings) -> list[Mendable]:
    """The large images of a plan that need not be made anew whole. ``shared``: the model of all, if there is one."""
    found = []
    for pieces in plan.large:
        source = pieces[0].source
        try:
            model = shared or StoredImage(store.path, source.file.key).model
        except StoreError:
            continue  # a model that is lost is found again only with the whole image
        if model is None:
            continue
        layout = layout_of(source, model.k, output, len(bands_of(model) or ()))
        record = sound_record(store.path, source, layout, model)
        if record is not None:
            found.append(Mendable(pieces, layout, record, model))
    return found


def mend_images(
    images: Sequence[Mendable], store: str, executor: Executor, progress: Progress
) -> tuple[list[str], list[Failure]]:
    """Mend some images, and declare them complete.

    Returns
    -------
    Names of those that are, and why others are not: these are left as they are, and not called complete.

    Raises
    ------
    KsegError
        If the output cannot be written.
    """
    store = storage.absolute(store)  # a worker may have another current folder
    pieces = [piece for image in images for piece in image.pieces]
    progress.stage("mending", len(images), sum(piece.pixels for piece in pieces))
    models = {id(model): executor.share(model) for model in {id(image.model): image.model for image in images}.values()}
    try:
        for image in images:
            storage.sweep(image_folder(store, image.record.key), below=True)
        mended = compute_in_waves(
            (
                watched(piece, models[id(image.model)], store, image.layout, executor, progress)
                for image in images
                for piece in image.pieces
            ),
            executor,
        )
        return finish(images, mended, store, executor)
    except OSError as error:
        what = f"{store}: the output cannot be written ({error.strerror or error})"
        raise KsegError(f"{what}; {SAME_COMMAND}") from error


def watched(
    piece: Piece, model: Delayed, store: str, layout: Layout, executor: Executor, progress: Progress
) -> Watched:
    """The task of one piece."""
    task = delayed(mend_piece, pure=False)
    return Watched(
        task(piece, model, store, layout),
        partial(progress.advance, int(piece.top + piece.left == 0), piece.pixels),
        partial(mend_alone, piece, model, store, layout, executor),
    )


def mend_piece(piece: Piece, model: Model, store: str, layout: Layout) -> Mended:
    """A task: make a window anew if it is damaged."""
    key = piece.source.file.key
    if window_is_sound(store, key, piece.rows, piece.columns, layout):
        return Mended(False)
    try:
        write_piece(piece, model, store, layout)
    except UnreadableImage as error:
        return Mended(False, Failure(key, error))
    return Mended(True)


def mend_alone(piece: Piece, model: Delayed, store: str, layout: Layout, executor: Executor) -> Mended:
    """Mend a piece that killed its workers once more, nothing else beside it."""
    task = delayed(mend_piece, pure=False)
    part, deaths = alone(task(piece, model, store, layout), executor)
    return part or Mended(False, killer(piece.source.file, deaths, strict=False))


def finish(
    images: Sequence[Mendable], mended: Sequence[Mended], store: str, executor: Executor
) -> tuple[list[str], list[Failure]]:
    """Mend the levels of the images whose windows are whole, and declare them complete."""
    whole: list[Mendable] = []
    failures: list[Failure] = []
    parts = iter(mended)
    for image in images:
        own: list[Any] = [next(parts) for _ in image.pieces]
        failed = [part.failure for part in own if part.failure is not None]
        failures += failed[:1]
        if not failed:
            whole.append(image)
            anew = sum(part.anew for part in own)
            log.info("%s: %d of %d windows made anew", image.record.key, anew, len(own))
    build_pyramids([(image.pieces[0].source, image.layout) for image in whole], store, executor, mend_level)
    for image in whole:
        write_georeferences(image_folder(store, image.record.key), image.layout)
        finish_image(store, image.record, image.layout, image.model.colors)
    return [image.record.key for image in whole], failures
