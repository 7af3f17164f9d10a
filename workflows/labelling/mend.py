"""Mend large images of a store: their damaged windows are made anew, and what of their levels depends on these.

Each window of level 0 is read, and is labelled again from the source where that fails; the levels are compared with
what they are made from. Nothing is noted on the way: what was mended is sound when the next repair looks at it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice

from kseg_core import storage
from kseg_core.config import OutputSettings
from kseg_core.errors import KsegError, StoreError
from kseg_core.layers.layer import Layout
from kseg_core.reading.sources import Piece
from kseg_core.store.model import Model
from kseg_core.store.opening import Store, StoredImage
from kseg_core.store.record import ImageRecord
from kseg_core.store.verify import sound_record, window_is_sound
from kseg_core.store.writing import finish_image, image_folder, mend_level, write_georeferences, write_window

from ..computing.context import Context, Failure, parted
from ..computing.executor import SAME_COMMAND
from ..planning.plan import Plan
from .label import label_window, layout_of, read_for_model
from .label_plan import PieceTask
from .pyramids import build_pyramids

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
        layout = layout_of(source, model, output)
        record = sound_record(store.path, source, layout, model)
        if record is not None:
            found.append(Mendable(pieces, layout, record, model))
    return found


def mend_images(images: Sequence[Mendable], store: str, context: Context) -> tuple[list[str], list[Failure]]:
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
    context.progress.stage("mending", len(images), sum(piece.pixels for image in images for piece in image.pieces))
    made: list[list[bool | Failure]] = []
    try:
        for _, alike in groupby(images, lambda image: id(image.model)):  # one of all, or each its own
            some = list(alike)
            model = context.share(some[0].model)
            for image in some:
                storage.sweep(image_folder(store, image.record.key), below=True)
            tasks = ([PieceTask(piece, image.layout)] for image in some for piece in image.pieces)
            parts = chain.from_iterable(context.map(mend_piece, tasks, model, store, name="mend"))
            made += [list(islice(parts, len(image.pieces))) for image in some]
        return finish(images, made, store, context)
    except OSError as error:
        what = f"{store}: the output cannot be written ({error.strerror or error})"
        raise KsegError(f"{what}; {SAME_COMMAND}") from error


def mend_piece(task: PieceTask, model: Model, store: str) -> bool:
    """Make a window anew if it is damaged; whether it was.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had.
    """
    piece, layout = task.piece, task.layout
    assert layout is not None  # `mend_images` says it of every piece
    if window_is_sound(store, piece.file.key, piece.rows, piece.columns, layout):
        return False
    window, _ = label_window(read_for_model(piece, model), model, layout)
    write_window(store, piece.file.key, (piece.rows, piece.columns), window, layout)
    return True


def finish(
    images: Sequence[Mendable], made: Sequence[Sequence[bool | Failure]], store: str, context: Context
) -> tuple[list[str], list[Failure]]:
    """Mend the levels of the images whose windows are whole, and declare them complete."""
    whole: list[Mendable] = []
    failures: list[Failure] = []
    for image, own in zip(images, made, strict=True):
        anew, failed = parted(own)
        failures += failed[:1]
        if not failed:
            whole.append(image)
            log.info("%s: %d of %d windows made anew", image.record.key, sum(anew), len(own))
    build_pyramids([(image.record.key, image.layout) for image in whole], store, context, mend_level)
    for image in whole:
        write_georeferences(image_folder(store, image.record.key), image.layout)
        finish_image(store, image.record, image.layout, image.model.colors)
    return [image.record.key for image in whole], failures
