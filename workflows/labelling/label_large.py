"""Labelling images too large for one task: piece by piece, then level by level; every chunk has one writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import chain, islice
from typing import Any

from dask.delayed import Delayed, delayed

from kseg_core import storage
from kseg_core.clustering.labelling import NO_COLORS
from kseg_core.clustering.outliers import Fill, merged, outliers_beyond
from kseg_core.clustering.sums import ClusterSums
from kseg_core.config import OutputSettings
from kseg_core.errors import StoreError, UnreadableImage
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.resume.journal import PieceSums, end_journal, fills_written, note_piece, pieces_written
from kseg_core.store.layout import Layout
from kseg_core.store.model import Model
from kseg_core.store.record import ImageRecord
from kseg_core.store.tiles import level_windows
from kseg_core.store.writing import (
    arrays_are_sound,
    build_level,
    create_image,
    finish_image,
    image_folder,
    remove_image,
    write_confidence,
    write_copy,
    write_window,
)

from ..computing.executor import Executor
from ..computing.faults import alone
from ..computing.progress import Progress
from ..computing.tasks import task_of, token_of
from ..computing.waves import Watched, compute_in_waves, stream_in_waves
from ..planning.plan import Failure, killer
from .label import Labelled, bands_of, image_record, inertia_of, labelled_image, layout_of, noted, read_for_model

LEVEL_SIDE = 4096  # a task makes so many pixels of a level, from twice as many of the one above


@dataclass(frozen=True, slots=True)
class PieceLabelled:
    """What labelling one piece came to: its exact sums, or why there are none, and values beyond all others."""

    sums: ClusterSums | None
    failures: tuple[Failure, ...] = field(default=())
    fills: tuple[Fill, ...] = ()

    def merge(self, other: PieceLabelled) -> PieceLabelled:
        sums = other.sums if self.sums is None else self.sums if other.sums is None else self.sums.merge(other.sums)
        fills = merged((*self.fills, *other.fills), of_bands=False)
        return PieceLabelled(sums, self.failures + other.failures, fills)


def label_piece(
    piece: Piece, model: Model, store: str, layout: Layout, strict: bool, given: bool = False
) -> PieceLabelled:
    """A task: read, label and write one piece; ``given`` as of `label_bundle`."""
    try:
        labelled = write_piece(piece, model, store, layout, given=given)
    except UnreadableImage as error:
        if strict:
            raise
        return PieceLabelled(None, (Failure(piece.source.file.key, error),))
    assert labelled.sums is not None  # nothing failed
    note_piece(store, piece, labelled.sums, labelled.fills)
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
    write_window(store, key, piece.rows, piece.columns, labelled.labels, layout)
    if layout.confidence:
        write_confidence(store, key, piece.rows, piece.columns, labelled.confidence, layout)
    if layout.copy_bands:
        write_copy(store, key, piece.rows, piece.columns, window.samples, layout)
    fills = outliers_beyond(model, window.samples, window.valid, labelled.sums) if given else ()
    return PieceLabelled(labelled.sums, fills=fills)


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
    executor: Executor,
    progress: Progress,
    *,
    strict: bool,
    own_model: bool = False,
    given: bool = False,
) -> Labelled:
    """Label every piece of some large images, build their pyramids, and declare them complete.

    ``own_model`` keeps the model with each image; ``given`` as of `label_bundle`.
    """
    sources = [pieces[0].source for pieces in images]
    layouts = [layout_of(source, model.k, output, len(bands_of(model) or ())) for source in sources]
    begin = delayed(begin_image, pure=False)
    there: list[tuple[PieceSums, tuple[Fill, ...]]] = executor.compute(
        [begin(store, pieces, layout) for pieces, layout in zip(images, layouts, strict=True)]
    )
    written = [known for known, _ in there]
    for pieces, known in zip(images, written, strict=True):
        if not known:
            continue
        progress.advance(0, sum(piece.pixels for piece in pieces if (piece.top, piece.left) in known))
    shared = executor.share(model)
    tasks = (
        Watched(
            task_of(label_piece, piece, shared, store, layout, strict, given, key=f"label-{token_of(piece, store)}"),
            partial(progress.advance, int(piece is pieces[-1]), piece.pixels),
            partial(label_alone, piece, shared, store, layout, executor, strict=strict, given=given),
        )
        for pieces, layout, known in zip(images, layouts, written, strict=True)
        for piece in pieces
        if (piece.top, piece.left) not in known
    )
    results: Iterator[PieceLabelled] = stream_in_waves(tasks, executor)
    done = Labelled()
    whole: list[tuple[ImageSource, Layout]] = []
    sums_of: dict[str, ClusterSums] = {}
    fills_of: dict[str, tuple[Fill, ...]] = {}
    for source, layout, pieces, (known, fills) in zip(sources, layouts, images, there, strict=True):
        parts = chain(map(PieceLabelled, known.values()), islice(results, len(pieces) - len(known)))
        image = reduce(PieceLabelled.merge, parts, PieceLabelled(None, fills=fills))
        if image.sums is not None:
            image = measured(source, image, model, strict=strict)
        if image.failures:
            remove_image(store, source.file.key)
            done = done.merge(Labelled(failures=(image.failures[0],)))
            continue
        assert image.sums is not None  # without a failure there are sums
        sums_of[source.file.key], fills_of[source.file.key] = image.sums, image.fills
        whole.append((source, layout))
    build_pyramids(whole, store, executor, build_from_pieces)
    record_of = delayed(record_of_sums, pure=False)
    records = executor.compute(
        [
            record_of(source, sums_of[source.file.key], shared, output, not own_model, fills_of[source.file.key])
            for source, _ in whole
        ]
    )
    for (_, layout), record in zip(whole, records, strict=True):
        end_journal(store, record.key)
        finish_image(store, record, layout, model.colors, own_model=model if own_model else None)
        done = done.merge(
            labelled_image(record, model, sums_of[record.key], fills_of[record.key], shared=not own_model)
        )
    return done


def measured(source: ImageSource, image: PieceLabelled, model: Model, *, strict: bool) -> PieceLabelled:
    """An image whose pieces are labelled; a failure where its values are beyond what float64 can measure."""
    assert image.sums is not None
    try:
        inertia_of(source, image.sums, model)
    except UnreadableImage as error:
        if strict:
            raise
        return PieceLabelled(None, (Failure(source.file.key, error),))
    return image


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


def label_alone(
    piece: Piece, model: Delayed, store: str, layout: Layout, executor: Executor, *, strict: bool, given: bool
) -> PieceLabelled:
    """Label a piece that killed its workers once more, nothing else beside it."""
    task = delayed(label_piece, pure=False)
    part, deaths = alone(task(piece, model, store, layout, strict, given), executor)
    return part or PieceLabelled(None, (killer(piece.source.file, deaths, strict=strict),))


def leave_large_blank(pieces: Sequence[Piece], store: str, output: OutputSettings, executor: Executor) -> Labelled:
    """Write a large image without a valid pixel: its labels are all fill value; its pixels are copied where asked."""
    source = pieces[0].source
    layout = layout_of(source, 0, output)
    record = image_record(source, (), 0.0, output)
    create_image(store, record.key, layout)
    if layout.copy_bands:
        task = delayed(copy_piece, pure=False)
        compute_in_waves((Watched(task(piece, store, layout), _nothing) for piece in pieces), executor)
    build_pyramids([(source, layout)], store, executor)
    finish_image(store, record, layout, NO_COLORS)
    return Labelled(1, source.pixels, 0, None, {record.key: 0.0}, notes=noted(record))


def copy_piece(piece: Piece, store: str, layout: Layout) -> None:
    """A task: keep the pixels of a piece, and label none."""
    write_copy(store, piece.source.file.key, piece.rows, piece.columns, piece.read().rgb, layout)


def build_pyramids(
    images: Sequence[tuple[ImageSource, Layout]],
    store: str,
    executor: Executor,
    build: Callable[..., None] = build_level,
) -> None:
    """All levels of all images: each level in a pass of its own, after the one it is made from."""
    for level in range(1, max((layout.levels for _, layout in images), default=1)):
        compute_in_waves((Watched(lazy, _nothing) for lazy in level_tasks(images, level, store, build)), executor)


def build_from_pieces(store: str, key: str, level: int, rows: slice, columns: slice, layout: Layout) -> None:
    """A task: a window of a level, as `build_level` makes it, of pieces that an earlier, stopped job may have written.

    Raises
    ------
    StoreError
        If what is written is damaged. Then none of it is gone on with: the same command makes the image anew.
    """
    try:
        build_level(store, key, level, rows, columns, layout)
    except StoreError as error:
        end_journal(store, key)
        raise StoreError(f"{error}; the same command labels its image anew") from error


def level_tasks(
    images: Sequence[tuple[ImageSource, Layout]], level: int, store: str, how: Callable[..., None]
) -> Iterator[Delayed]:
    """The tasks that make one level of some images."""
    build = delayed(how, pure=False)
    for source, layout in images:
        if level < layout.levels:
            for rows, columns in level_windows(layout, level, LEVEL_SIDE):
                yield build(store, source.file.key, level, rows, columns, layout)


def _nothing(*_: Any) -> None:
    pass
