"""Labelling images too large for one task: piece by piece, then level by level; every chunk has one writer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain, islice
from typing import NamedTuple

from dask.delayed import delayed

from kseg_core import storage
from kseg_core.clustering.labelling import NO_COLORS
from kseg_core.clustering.outliers import Fill, merged, outliers_beyond
from kseg_core.clustering.sums import ClusterSums
from kseg_core.config import OutputSettings
from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.inputs.listing import InputFile
from kseg_core.layers import LAYERS
from kseg_core.layers.layer import Layout, Window
from kseg_core.layers.tiles import Region
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.resume.markers import PieceSums, end_journal, fills_written, note_piece, pieces_written
from kseg_core.store.model import Model
from kseg_core.store.record import ImageRecord
from kseg_core.store.writing import (
    arrays_are_sound,
    build_level,
    create_image,
    finish_image,
    image_folder,
    remove_image,
    write_tiles,
    write_window,
)

from ..computing.context import Context, parted
from .label import Labelled, bands_of, image_record, inertia_of, layout_of, read_for_model, reference_of
from .pyramids import build_pyramids


@dataclass(frozen=True, slots=True)
class PieceLabelled:
    """What labelling one piece came to: its exact sums, and values beyond all others."""

    sums: ClusterSums
    fills: tuple[Fill, ...] = ()

    def merge(self, other: PieceLabelled) -> PieceLabelled:
        return PieceLabelled(self.sums.merge(other.sums), merged((*self.fills, *other.fills), of_bands=False))


class PieceTask(NamedTuple):
    """A piece, and the arrays of its image."""

    piece: Piece
    layout: Layout

    @property
    def file(self) -> InputFile:
        return self.piece.file

    @property
    def pixels(self) -> int:
        return self.piece.pixels

    @property
    def is_last(self) -> bool:
        return self.piece.is_last


def label_piece(task: PieceTask, model: Model, store: str, given: bool = False) -> PieceLabelled:
    """Read, label and write one piece, and tell that it is written; ``given`` as of `label_whole`.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had.
    """
    labelled = write_piece(task.piece, model, store, task.layout, given=given)
    note_piece(store, task.piece, labelled.sums, labelled.fills)
    return labelled


def write_piece(piece: Piece, model: Model, store: str, layout: Layout, *, given: bool = False) -> PieceLabelled:
    """Read, label and write one piece.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had; then nothing is written.
    """
    key = piece.source.file.key
    window = read_for_model(piece, model)
    labelled = model.label(window.samples, window.valid, confidence=layout.confidence)
    made = Window(labelled.labels, window.samples, window.valid, labelled.confidence)
    write_window(store, key, (piece.rows, piece.columns), made, layout)
    fills = outliers_beyond(model, window.samples, window.valid, labelled.sums) if given else ()
    return PieceLabelled(labelled.sums, fills)


def begin_image(store: str, pieces: Sequence[Piece], layout: Layout) -> tuple[PieceSums, tuple[Fill, ...]]:
    """A task: go on with a large image, or make its arrays; the pieces that are written, with their sums, and what of
    their values lies beyond all others.
    """
    key = pieces[0].source.file.key
    folder = image_folder(store, key)
    written = pieces_written(store, pieces)
    try:
        goes_on = bool(written) and arrays_are_sound(folder, layout)
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        goes_on = False
    if goes_on:
        storage.sweep(folder, below=True)
        return written, fills_written(store, pieces)
    create_image(store, key, layout)
    return {}, ()


def label_large(
    images: Sequence[Sequence[Piece]],
    model: Model,
    store: str,
    output: OutputSettings,
    context: Context,
    *,
    own_model: bool = False,
    given: bool = False,
) -> Labelled:
    """Label every piece of some large images, build their pyramids, and declare them complete.

    ``own_model`` keeps the model with each image; ``given`` as of `label_whole`.
    """
    layouts = [layout_of(pieces[0].source, model.k, output, len(bands_of(model) or ())) for pieces in images]
    begin = delayed(begin_image, pure=False)
    there: list[tuple[PieceSums, tuple[Fill, ...]]] = context.compute(
        [begin(store, pieces, layout) for pieces, layout in zip(images, layouts, strict=True)]
    )
    for pieces, (known, _) in zip(images, there, strict=True):
        if known:
            context.progress.advance(0, sum(piece.pixels for piece in pieces if (piece.top, piece.left) in known))
    shared = context.share(model)
    tasks = (
        [PieceTask(piece, layout)]
        for pieces, layout, (known, _) in zip(images, layouts, there, strict=True)
        for piece in pieces
        if (piece.top, piece.left) not in known
    )
    results = chain.from_iterable(context.map(label_piece, tasks, shared, store, given, name="label"))
    done = Labelled()
    whole: dict[str, LabelledImage] = {}
    for pieces, layout, (known, fills) in zip(images, layouts, there, strict=True):
        source = pieces[0].source
        parts, failures = parted(islice(results, len(pieces) - len(known)))
        try:
            image = None if failures else reduce(PieceLabelled.merge, [*map(PieceLabelled, known.values()), *parts])
            if image is not None:
                inertia_of(source, image.sums, model)
        except UnreadableImage as error:
            failures = (context.failed(source.file.key, error),)
        if failures or image is None:
            remove_image(store, source.file.key)
            done = done.merge(Labelled(failures=failures[:1]))
            continue
        fills = merged((*fills, *image.fills), of_bands=False)
        whole[source.file.key] = LabelledImage(source, layout, image.sums, fills)
    build_pyramids([(key, image.layout) for key, image in whole.items()], store, context, build_from_pieces)
    record_of = delayed(record_of_sums, pure=False)
    records = context.compute(
        [record_of(image.source, image.sums, shared, output, not own_model, image.fills) for image in whole.values()]
    )
    for image, record in zip(whole.values(), records, strict=True):
        end_journal(store, record.key)
        finish_image(store, record, image.layout, model.colors, own_model=model if own_model else None)
        done = done.merge(Labelled.of_record(record, None if own_model else reference_of(model), image.fills))
    return done


class LabelledImage(NamedTuple):
    """A large image all of whose pieces are written."""

    source: ImageSource
    layout: Layout
    sums: ClusterSums
    fills: tuple[Fill, ...]


def record_of_sums(
    source: ImageSource,
    sums: ClusterSums,
    model: Model,
    output: OutputSettings,
    keep_sums: bool,
    fills: tuple[Fill, ...],
) -> ImageRecord:
    """A task (it may read the whole file for its checksum): what the store says of an image."""
    inertia = model.space.inertia(sums, model.points)
    return image_record(source, tuple(sums.counts.tolist()), inertia, output, sums if keep_sums else None, fills)


def leave_large_blank(pieces: Sequence[Piece], store: str, output: OutputSettings, context: Context) -> Labelled:
    """Write a large image without a valid pixel: its labels are all fill value; its pixels are copied where asked."""
    source = pieces[0].source
    layout = layout_of(source, 0, output)
    record = image_record(source, (), 0.0, output)
    create_image(store, record.key, layout)
    if layout.copy_bands:
        task = delayed(copy_piece, pure=False)
        context.run(task(piece, store, layout) for piece in pieces)
    build_pyramids([(record.key, layout)], store, context)
    finish_image(store, record, layout, NO_COLORS)
    return Labelled.of_record(record, None)


def copy_piece(piece: Piece, store: str, layout: Layout) -> None:
    """A task: keep the pixels of a piece, and label none."""
    copy, region = LAYERS["copy"], (piece.rows, piece.columns)
    array = os.path.join(image_folder(store, piece.file.key), copy.path())
    write_tiles(array, copy, region, Window(samples=piece.read().rgb), layout)


def build_from_pieces(store: str, key: str, level: int, region: Region, layout: Layout) -> None:
    """A task: a window of a level, as `build_level` makes it, of pieces that an earlier, stopped job may have written.

    Raises
    ------
    StoreError
        If what is written is damaged. Then none of it is gone on with: the same command makes the image anew.
    """
    try:
        build_level(store, key, level, region, layout)
    except StoreError as error:
        end_journal(store, key)
        raise StoreError(f"{error}; the same command labels its image anew") from error
