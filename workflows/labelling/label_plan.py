"""Labelling a plan: every image is a list of pieces, a task is a batch of them; every chunk has one writer.

An image of one piece is done in its task. Of a larger one each piece is noted with its sums, so that a job that was
stopped goes on behind it; when all are written its levels are made, and the image is declared complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import chain, islice

from dask.delayed import delayed

from kseg_core import storage
from kseg_core.clustering.cleaning import Cleaning, TooManyRegions, clean_labels
from kseg_core.clustering.labelling import NO_COLORS, Labels
from kseg_core.clustering.outliers import outliers_beyond
from kseg_core.config import FitSettings, OutputSettings
from kseg_core.errors import NoValidPixels, StoreError, TooManyColors, UnreadableImage
from kseg_core.layers.layer import LayerInput, Layout
from kseg_core.layers.tiles import Region
from kseg_core.reading.sources import ImageSource
from kseg_core.store.cleaned import cleaning_of, discard_raw, write_uncleaned
from kseg_core.store.markers import end_journal, note_piece, pieces_written
from kseg_core.store.model import Model, label_window
from kseg_core.store.record import ImageRecord, PieceLabelled
from kseg_core.store.writing import (
    arrays_are_sound,
    build_level,
    create_image,
    finish_image,
    image_folder,
    remove_image,
    write_image,
    write_window,
)

from ..computing.context import Context, Failure
from ..fitting.fit import fit_plan
from ..planning.budget import Budget, RegionRoom, image_of_too_many_colors
from ..planning.plan import Plan
from .clean import clean_images
from .label import (
    Labelled,
    ModelFor,
    image_record,
    layout_of,
    own_model,
    read_for_model,
    reference_of,
)
from .pieces import LargeImage, PieceTask, build_pyramids, of_each, writing_to


@dataclass(frozen=True, slots=True)
class Labelling:
    """What is the same for all pieces.

    Parameters
    ----------
    store
        Absolute path: a worker may have another current folder.
    output
        What is written.
    given
        Whether the model was not found on these images, so that nobody has looked for values beyond all others yet.
    room
        For the small regions of an image, where these go to their neighbours.
    shared
        Whether all images share one model; else it is stored with each.
    """

    store: str
    output: OutputSettings
    room: RegionRoom
    given: bool = False
    shared: bool = True


Parts = dict[tuple[int, int], PieceLabelled]  # of pieces, by top and left

# ------------------------------------------------------------------------------------------------------- the driver


def label_plan(
    plan: Plan,
    model: Model | FitSettings,
    store: str,
    output: OutputSettings,
    context: Context,
    *,
    budget: Budget | None = None,
    given: bool = False,
) -> Labelled:
    """Label every image with one model, or each with its own.

    Parameters
    ----------
    model
        The model, or how to find one for each image.
    budget
        How many distinct colours there is room for where one is found; images that have more are failures.
    given
        Whether the model was found elsewhere: then values beyond all others are looked for, as a fit does.

    Raises
    ------
    KsegError
        If the output cannot be written.
    """
    context.progress.stage("labelling", len(plan.sources), plan.pixels)
    with writing_to(store) as path:
        room = RegionRoom.of(context.executor, context.executor.threads)
        job = Labelling(path, output, room, given, isinstance(model, Model))
        if isinstance(model, Model):
            return label_images(plan, model, job, context)
        done = label_images(Plan(plan.bundles), partial(own_model, model, budget), job, context)
        for pieces in plan.large:
            done = done.merge(label_alone(Plan((), (pieces,), plan.checkpoints), model, job, context, budget))
    return done


def label_alone(plan: Plan, settings: FitSettings, job: Labelling, context: Context, budget: Budget | None) -> Labelled:
    """Label one large image, all that is in the plan, with a model of its own."""
    ((first, *_),) = plan.large
    room = None if budget is None else budget.for_one_table()
    try:
        model, failures = fit_plan(plan, settings, context.silent(), budget=room)
    except NoValidPixels:
        return label_images(plan, None, job, context)
    except TooManyColors:
        assert room is not None  # without one there is no limit
        failures = [context.failed(first.file.key, image_of_too_many_colors(first.source, room))]
        model = None
    return Labelled.of(failures) if model is None else label_images(plan, model, job, context)


def label_images(plan: Plan, how: Model | ModelFor | None, job: Labelling, context: Context) -> Labelled:
    """Label the images of a plan.

    Parameters
    ----------
    how
        Their model, or what finds that of an image of one piece; None: not one of their pixels is valid.
    """
    model = how if isinstance(how, Model) else None
    large = [LargeImage(pieces, layout_of(pieces[0].source, model, job.output)) for pieces in plan.large]
    begin = delayed(begin_image, pure=False)
    known: list[Parts] = context.compute([begin(job.store, image) for image in large])
    left = []
    for image, there in zip(large, known, strict=True):
        if there:
            context.progress.advance(0, sum(piece.pixels for piece in image.pieces if piece.corner in there))
        left += [[task] for task in image.tasks if task.piece.corner not in there]
    batches = chain(([PieceTask(piece) for piece in bundle] for bundle in plan.bundles), left)
    made = context.map(label_piece, batches, context.share(how), job, name="label")
    done = Labelled()
    for labelled in islice(made, len(plan.bundles)):
        done = done.merge(Labelled.of(labelled))
    whole: list[tuple[LargeImage, PieceLabelled]] = []
    of_images = of_each(
        chain.from_iterable(made), [len(i.pieces) - len(there) for i, there in zip(large, known, strict=True)]
    )
    for image, there, (parts, failures) in zip(large, known, of_images, strict=True):
        if failures:
            remove_image(job.store, image.key)
            done = done.merge(Labelled(failures=failures))
        else:
            whole.append((image, reduce(PieceLabelled.merge, [*there.values(), *parts])))
    return done.merge(close_images(whole, model, job, context))


def close_images(
    images: Sequence[tuple[LargeImage, PieceLabelled]], model: Model | None, job: Labelling, context: Context
) -> Labelled:
    """Clean large images all of whose pieces are written, make their levels, and declare them complete."""
    shared, record_of = context.share(model), delayed(try_record, pure=False)
    records: list[ImageRecord | Failure] = context.compute(
        [record_of(image.source, part, shared, job) for image, part in images]
    )
    cleaned = clean_images([image for image, _ in images], records, model, job.store, context)
    done = Labelled()
    whole: list[tuple[LargeImage, ImageRecord, Labelled]] = []
    for (image, part), record in zip(images, cleaned, strict=True):
        if isinstance(record, Failure):
            remove_image(job.store, image.key)
            done = done.merge(Labelled(failures=(context.failed(image.key, record.error),)))
        else:
            whole.append((image, record, labelled_image(record, model, job, part)))
    build_pyramids([image for image, _, _ in whole], job.store, context, build_from_pieces)
    colors = NO_COLORS if model is None else model.colors
    for image, record, labelled in whole:
        end_journal(job.store, image.key)
        discard_raw(job.store, image.key, image.layout)
        finish_image(job.store, record, image.layout, colors, own_model=None if job.shared else model)
        done = done.merge(labelled)
    return done


def labelled_image(record: ImageRecord, model: Model | None, job: Labelling, part: PieceLabelled) -> Labelled:
    """What a finished image came to."""
    reference = reference_of(model) if job.shared and model is not None else None
    return Labelled.of_record(record, reference, part.fills)


# -------------------------------------------------------------------------------------------------------- the tasks


def label_piece(task: PieceTask, how: Model | ModelFor | None, job: Labelling) -> Labelled | PieceLabelled:
    """Read, label and write one piece, and tell that it is written; where it is a whole image, all there is to it.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had, or an image's values are beyond what float64 can measure; nothing is written.
    """
    piece, source = task.piece, task.piece.source
    pixels = read_for_model(piece, how, original=job.output.copy_image)
    model = how(source, pixels) if callable(how) else how
    layout = layout_of(source, model, job.output) if task.layout is None else task.layout
    made, how_cleaned = label_window(pixels, model, job.output), cleaning_of(layout, model)
    fills = outliers_beyond(model, pixels.samples, pixels.valid, made.sums) if job.given and model is not None else ()
    part = PieceLabelled(made.sums, fills)
    if task.layout is not None:
        write = write_window if how_cleaned is None else write_uncleaned
        write(job.store, piece.file.key, (piece.rows, piece.columns), LayerInput.of(pixels, made), layout)
        note_piece(job.store, piece, part)
        return part
    record = image_record(source, part, model, job.output, shared=job.shared)
    window = LayerInput.of(pixels, made)
    if how_cleaned is not None:
        labels, moved = cleaned(made.labels, how_cleaned, source, job.room)
        window, record = LayerInput.of(pixels, made, labels), record.cleaned(how_cleaned.least, moved)
    colors = NO_COLORS if model is None else model.colors
    write_image(job.store, record, window, colors, layout, None if job.shared else model)
    return labelled_image(record, model, job, part)


def cleaned(labels: Labels, how: Cleaning, source: ImageSource, room: RegionRoom) -> tuple[Labels, list[int]]:
    """The labels of a whole image without small regions, and by how many pixels each cluster has grown.

    Raises
    ------
    TooLarge
        If there are too many of them.
    """
    try:
        made, moved = clean_labels(labels, how, most=room.most)
    except TooManyRegions as error:
        raise room.too_many(source, error.needs, how.least) from error
    return made, moved.tolist()


def begin_image(store: str, image: LargeImage) -> Parts:
    """Go on with a large image, or make its arrays; what the pieces that are written came to."""
    folder = image_folder(store, image.key)
    written = pieces_written(store, image.pieces)
    try:
        goes_on = bool(written) and arrays_are_sound(folder, image.layout, pieces=True)
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        goes_on = False
    if not goes_on:
        create_image(store, image.key, image.layout, pieces=True)
        return {}
    storage.sweep(folder, below=True)
    return written


def try_record(source: ImageSource, part: PieceLabelled, model: Model | None, job: Labelling) -> ImageRecord | Failure:
    """What the store says of an image (the whole file may be read for its checksum), or why that cannot be said."""
    try:
        return image_record(source, part, model, job.output, shared=job.shared)
    except UnreadableImage as error:
        return Failure(source.file.key, error)


def build_from_pieces(store: str, key: str, level: int, region: Region, layout: Layout) -> None:
    """A window of a level, as `build_level` makes it, of pieces that an earlier, stopped job may have written.

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
