"""Mend large images of a store: their damaged windows are made anew, and what of their levels depends on these.

Each window of level 0 is read, and is labelled again from the source where that fails; the levels are compared with
what they are made from. Nothing is noted on the way: what was mended is sound when the next repair looks at it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from kseg_core import storage
from kseg_core.config import OutputSettings
from kseg_core.errors import StoreError
from kseg_core.layers.layer import LayerInput
from kseg_core.store.model import Model, label_window
from kseg_core.store.opening import Store, StoredImage
from kseg_core.store.record import ImageRecord
from kseg_core.store.verify import sound_record, window_is_sound
from kseg_core.store.writing import finish_image, image_folder, mend_level, write_georeferences, write_window

from ..computing.context import Context, Failure
from ..planning.plan import Plan
from .label import layout_of, read_for_model
from .pieces import LargeImage, PieceTask, build_pyramids, of_each, writing_to

log = logging.getLogger("kseg")


@dataclass(frozen=True, slots=True)
class Mendable(LargeImage):
    """A large image whose documents are sound, whatever has become of its pixels: what is said of it, and the model it
    was labelled with.
    """

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
        if layout.is_cleaned:
            continue  # what a window's labels are is decided by all of them
        record = sound_record(store.path, source, layout, model)
        if record is not None:
            found.append(Mendable(pieces, layout, record, model))
    return found


def mend_images(
    images: Sequence[Mendable], store: str, output: OutputSettings, context: Context
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
    context.progress.stage("mending", len(images), sum(image.source.pixels for image in images))
    whole: list[Mendable] = []
    failures: list[Failure] = []
    with writing_to(store) as path:
        for image in images:
            storage.sweep(image_folder(path, image.key), below=True)
        for _, alike in groupby(images, lambda image: id(image.model)):  # one of all, or each its own
            some = list(alike)
            tasks = ([task] for image in some for task in image.tasks)
            results = context.map(mend_piece, tasks, context.share(some[0].model), path, output, name="mend")
            made = chain.from_iterable(results)
            for image, (anew, failed) in zip(some, of_each(made, [len(image.pieces) for image in some]), strict=True):
                failures += failed
                if not failed:
                    whole.append(image)
                    log.info("%s: %d of %d windows made anew", image.key, sum(anew), len(anew))
        build_pyramids(whole, path, context, mend_level)
        for image in whole:
            write_georeferences(image_folder(path, image.key), image.layout)
            finish_image(path, image.record, image.layout, image.model.colors)
    return [image.key for image in whole], failures


def mend_piece(task: PieceTask, model: Model, store: str, output: OutputSettings) -> bool:
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
    pixels = read_for_model(piece, model, original=output.copy_image)
    window = LayerInput.of(pixels, label_window(pixels, model, output))
    write_window(store, piece.file.key, (piece.rows, piece.columns), window, layout)
    return True
