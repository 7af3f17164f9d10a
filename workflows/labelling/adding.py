"""A layer added to the images of a plan: to finished ones, or to a store of its own; every chunk has one writer.

An image of one piece is done in its task. Of a larger one each piece writes what it can tell by itself and returns its
border alone, where windows decide together; joined, the borders tell what is missing, which a second pass adds. It
reads what the first kept (a few compressed bits), not the image: nearly every piece has some edge that goes on to a
strong place in the next (measured on 20,000 x 20,000 pixels of photographs: all 100 pieces of 100), so reading again
would mean doing all again; this way the second pass costs an eighth of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

from dask.delayed import Delayed, delayed

from kseg_core import storage
from kseg_core.errors import KsegError
from kseg_core.joining import columns_of_grid
from kseg_core.layers.layer import Layer, Layout, Part
from kseg_core.layers.tiles import whole
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.store.adding import create_layer, discard_layer, finish_layer, settle_part, window_of, write_part
from kseg_core.store.opening import StoredImage
from kseg_core.store.writing import build_level

from ..computing.context import Context, Failure, parted
from ..computing.executor import SAME_COMMAND
from ..planning.plan import Plan
from .pyramids import build_pyramids

GROUP_PIECES = 512  # borders of some two gigapixels of large images are held at once: tens of megabytes

Pieces = tuple[Piece, ...]  # all of one image


@dataclass(frozen=True, slots=True)
class Added:
    """What adding a layer came to.

    Parameters
    ----------
    images
        How many have it now.
    pixels, layer_pixels
        Of those, and how many of them are not 0 in the layer.
    failures
        Images that could not be read.
    notes
        What there is to say of images that were looked at, by key.
    """

    images: int = 0
    pixels: int = 0
    layer_pixels: int = 0
    failures: tuple[Failure, ...] = field(default=())
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def merge(self, other: Added) -> Added:
        return Added(
            self.images + other.images,
            self.pixels + other.pixels,
            self.layer_pixels + other.layer_pixels,
            self.failures + other.failures,
            self.notes | other.notes,
        )


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
    store = storage.absolute(store)  # a worker may have another current folder
    context.progress.stage(f"finding {layer.name}", len(plan.sources), plan.pixels)
    done = Added()
    try:
        for batches in _groups(plan):
            done = done.merge(_add_to(batches, layer, store, tile, context))
    except OSError as error:
        what = f"{store}: the output cannot be written ({error.strerror or error})"
        raise KsegError(f"{what}; {SAME_COMMAND}") from error
    return done


def _groups(plan: Plan) -> Iterator[list[Pieces]]:
    """Batches of pieces together: all images of one piece, then larger ones up to so many pieces, so that what is held
    of them is bounded.
    """
    yield list(plan.bundles)
    group: list[Pieces] = []
    for pieces in plan.large:
        if len(group) + len(pieces) > GROUP_PIECES:
            yield group
            group = []
        group += ((piece,) for piece in pieces)
    yield group


def _add_to(batches: Sequence[Pieces], layer: Layer, store: str, tile: int, context: Context) -> Added:
    """Add a layer to all images of some batches, whose pieces follow each other."""
    images: dict[str, list[Piece]] = {}
    for piece in chain.from_iterable(batches):
        images.setdefault(piece.file.key, []).append(piece)
    creating = delayed(begin_layer, pure=False)
    several = [pieces[0] for pieces in images.values() if not pieces[0].is_whole]
    context.compute([creating(piece, layer, store, tile) for piece in several])
    made = chain.from_iterable(context.map(add_piece, batches, layer, store, tile, name=layer.name))
    done = Added()
    parts: dict[str, list[PartAdded]] = {}
    for key, pieces in images.items():
        results, failures = parted(islice(made, len(pieces)))
        if failures:
            if not pieces[0].is_whole:
                discard_layer(store, key, layer)
            done = done.merge(Added(failures=failures[:1]))
        elif pieces[0].is_whole:
            done = done.merge(results[0])
        else:
            parts[key] = results
    whole_images = [(images[key], each) for key, each in parts.items()]
    return done.merge(_close(whole_images, layer, store, tile, context))


def layout_of_layer(source: ImageSource, layer: Layer, store: str, tile: int) -> Layout:
    """What decides the arrays of a layer that is added to an image."""
    layout = Layout(source.shape, 0, tile, masks=False, geo=source.geo)
    if layer.stands_alone:
        return layout
    image = StoredImage(store, source.file.key)
    return replace(layout, k=len(image.attributes["counts"]), levels=image.level_count)


def begin_layer(piece: Piece, layer: Layer, store: str, tile: int) -> None:
    """A task: the arrays of an image of several pieces."""
    layout = layout_of_layer(piece.source, layer, store, tile)
    create_layer(store, piece.file.key, layer, layout, pieces=True)


def add_piece(piece: Piece, layer: Layer, store: str, tile: int) -> Added | PartAdded:
    """Write what one piece tells of a layer, and where it is the whole image, all there is to it.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had.
    """
    layout = layout_of_layer(piece.source, layer, store, tile)
    window = window_of(store, piece, layer, layout)
    if not piece.is_whole:
        part = layer.begin(window, layout)
        return PartAdded(write_part(store, piece, layer, part, layout), part.border)
    values = layer.whole(window, layout)
    create_layer(store, piece.file.key, layer, layout, pieces=False)
    pixels = write_part(store, piece, layer, Part(values), layout)
    for level in range(1, layer.levels(layout)):
        build_level(store, piece.file.key, level, whole(layout.level_shape(level)), layout, [layer])
    finish_layer(store, piece.source, layer, layout, pixels)
    return Added(1, piece.pixels, pixels)


def _close(
    images: Sequence[tuple[list[Piece], list[PartAdded]]], layer: Layer, store: str, tile: int, context: Context
) -> Added:
    """Join what the pieces of large images told, build their levels, declare the layer complete."""
    layouts = [layout_of_layer(pieces[0].source, layer, store, tile) for pieces, _ in images]
    pixels = [sum(part.pixels for part in parts) for _, parts in images]
    if layer.joined:
        task = delayed(settle_part, pure=False)
        tasks: list[Delayed] = []
        owners: list[int] = []
        for at, (pieces, parts) in enumerate(images):
            columns = columns_of_grid([(piece.top, piece.left) for piece in pieces])
            for piece, seeds in zip(pieces, layer.join([part.border for part in parts], columns), strict=True):
                if len(seeds):
                    tasks.append(task(store, piece, layer, seeds, layouts[at]))
                    owners.append(at)
        for at, more in zip(owners, context.each(tasks), strict=True):
            pixels[at] += more
    sources = [pieces[0].source for pieces, _ in images]
    build = partial(build_level, layers=[layer])
    leveled = [
        (source.file.key, layout) for source, layout in zip(sources, layouts, strict=True) if layer.group is not None
    ]
    build_pyramids(leveled, store, context, build)
    done = Added()
    for source, layout, found in zip(sources, layouts, pixels, strict=True):
        finish_layer(store, source, layer, layout, found)
        done = done.merge(Added(1, source.pixels, found))
    return done
