"""A layer added to the images of a plan: to finished ones, or to a store of its own; every chunk has one writer.

An image of one piece is done in its task. Of a larger one each piece writes what it can tell by itself and returns its
border alone, where windows decide together; joined, the borders tell what is missing, which a second pass adds. It
reads what the first kept (a few compressed bits), not the image: nearly every piece has some edge that goes on to a
strong place in the next (measured on 20,000 x 20,000 pixels of photographs: all 100 pieces of 100), so reading again
would mean doing all again; this way the second pass costs an eighth of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from dask.delayed import Delayed, delayed

from kseg_core.joining import columns_of_grid
from kseg_core.layers.layer import Layer, Layout, Part
from kseg_core.layers.tiles import whole
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.store.adding import create_layer, discard_layer, finish_layer, settle_part, window_of, write_part
from kseg_core.store.writing import build_level

from ..computing.context import Context, Failure
from ..planning.plan import Plan
from .added import Added, Adding
from .pieces import LargeImage, PieceTask, build_pyramids, of_each, writing_to

GROUP_PIECES = 512  # borders of some two gigapixels of large images are held at once: tens of megabytes


class PartAdded(NamedTuple):
    """What one piece came to: how many of its pixels are not 0 so far, and what its neighbours must know."""

    pixels: int
    border: Any


def add_layer(plan: Plan, layer: Layer, store: str, tile: int, context: Context) -> Added:
    """Make a layer of every image and write it.

    Parameters
    ----------
    plan
        Made with the same ``tile``.
    layer
        Which.
    store
        Where to; images that are not in it are made, without labels, where the layer needs none.
    tile
        Side of the store's chunks in pixels.

    Raises
    ------
    KsegError
        If the output cannot be written.
    UnreadableImage
        If an image cannot be read and the job is strict.
    """
    plan = plan.unsmoothed  # what is added is found in images as they are
    context.progress.stage(f"finding {layer.name}", len(plan.sources), plan.pixels)
    with writing_to(store) as path:
        job = Adding.to(path, layer, tile)
        batches = ([PieceTask(piece) for piece in bundle] for bundle in plan.bundles)
        done = Added()
        for made in chain.from_iterable(context.map(add_piece, batches, job, name=layer.name)):
            done = done.merge(Added(failures=(made,)) if isinstance(made, Failure) else made)
        for group in _groups(plan.large):
            done = done.merge(_add_large(group, job, context))
    return done


def _groups(large: Iterable[tuple[Piece, ...]]) -> Iterator[list[tuple[Piece, ...]]]:
    """Large images together up to so many pieces, so that what is held of them is bounded."""
    group: list[tuple[Piece, ...]] = []
    for pieces in large:
        if group and sum(map(len, group)) + len(pieces) > GROUP_PIECES:
            yield group
            group = []
        group.append(pieces)
    if group:
        yield group


def _add_large(group: Sequence[tuple[Piece, ...]], job: Adding, context: Context) -> Added:
    """Add the layer to some large images: their pieces, what the pieces decide together, their levels."""
    begin = delayed(begin_layer, pure=False)
    layouts: list[Layout] = context.compute([begin(pieces[0].source, job) for pieces in group])
    images = [LargeImage(pieces, layout) for pieces, layout in zip(group, layouts, strict=True)]
    tasks = ([task] for image in images for task in image.tasks)
    made = chain.from_iterable(context.map(add_piece, tasks, job, name=job.layer.name))
    done = Added()
    parts: list[tuple[LargeImage, list[PartAdded]]] = []
    for image, (own, failures) in zip(images, of_each(made, [len(pieces) for pieces in group]), strict=True):
        if failures:
            discard_layer(job.store, image.key, job.layer)
            done = done.merge(Added(failures=failures))
        else:
            parts.append((image, own))
    pixels = _settle(parts, job, context)
    whole_images = [image for image, _ in parts]
    if job.layer.group is not None:
        build_pyramids(whole_images, job.store, context, partial(build_level, layers=[job.layer]))
    for image, found in zip(whole_images, pixels, strict=True):
        finish_layer(job.store, image.source, job.layer, image.layout, found)
        done = done.merge(Added(1, image.source.pixels, found))
    return done


def _settle(parts: Sequence[tuple[LargeImage, list[PartAdded]]], job: Adding, context: Context) -> list[int]:
    """Join what the pieces of images told, and write what follows; how many pixels of each are not 0 then."""
    pixels = [sum(part.pixels for part in own) for _, own in parts]
    if not job.layer.joined:
        return pixels
    task = delayed(settle_part, pure=False)
    tasks: list[Delayed] = []
    owners: list[int] = []
    for at, (image, own) in enumerate(parts):
        columns = columns_of_grid([(piece.top, piece.left) for piece in image.pieces])
        joined = job.layer.join([part.border for part in own], columns)
        for piece, seeds in zip(image.pieces, joined, strict=True):
            if len(seeds):
                tasks.append(task(job.store, piece, job.layer, seeds, image.layout))
                owners.append(at)
    for at, more in zip(owners, context.each(tasks), strict=True):
        pixels[at] += more
    return pixels


def begin_layer(source: ImageSource, job: Adding) -> Layout:
    """A task: the arrays of an image of several pieces."""
    layout = job.layout(source)
    create_layer(job.store, source.file.key, job.layer, layout, pieces=True)
    return layout


def add_piece(task: PieceTask, job: Adding) -> Added | PartAdded:
    """Write what one piece tells of a layer, and where it is the whole image, all there is to it.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had.
    """
    piece, layer, store = task.piece, job.layer, job.store
    layout = task.layout or job.layout(piece.source)
    window = window_of(store, piece, layer, layout)
    if task.layout is not None:
        part = layer.begin(window, layout)
        return PartAdded(write_part(store, piece, layer, part, layout), part.border)
    values = layer.whole(window, layout)
    create_layer(store, piece.file.key, layer, layout, pieces=False)
    pixels = write_part(store, piece, layer, Part(values), layout)
    for level in range(1, layer.levels(layout)):
        build_level(store, piece.file.key, level, whole(layout.level_shape(level)), layout, [layer])
    finish_layer(store, piece.source, layer, layout, pixels)
    return Added(1, piece.pixels, pixels)
