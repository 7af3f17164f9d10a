"""Edges of a plan's images: small images whole, large ones piece by piece and joined; every chunk has one writer.

A large image takes two passes. The first reads each piece with its halo, writes the edges that the piece can tell by
itself, keeps which weak components wait for their neighbours, and returns its border alone. Joined, the borders tell
which of those are edges, and the second pass adds them. It reads what the first kept (a few compressed bits), not the
image: nearly every piece has some line that goes on to a strong place in the next (measured on 20,000 x 20,000 pixels
of photographs: all 100 pieces of 100), so reading again would mean doing all again; this way the second pass costs an
eighth of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain, islice

from dask.delayed import Delayed, delayed

from kseg_core import storage
from kseg_core.config import RunConfig
from kseg_core.edge_settings import EdgeSettings
from kseg_core.edges.canny import WindowBorder, decide_across
from kseg_core.edges.store import (
    EdgeLayout,
    add_edges,
    create_edges,
    discard_edges,
    finish_edges,
    piece_edges,
    whole_edges,
    write_edges,
    write_piece_edges,
)
from kseg_core.errors import KsegError
from kseg_core.inputs.listing import InputFile
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.shapes.joining import columns_of_grid

from ..computing.context import Context, Failure, parted
from ..computing.executor import SAME_COMMAND
from ..planning.plan import Plan, look_at_headers, make_plan
from .request import has_edges

GROUP_PIECES = 512  # borders of some two gigapixels of large images are held at once: tens of megabytes


@dataclass(frozen=True, slots=True)
class Edged:
    """What finding edges came to.

    Parameters
    ----------
    images
        How many were written.
    pixels, edge_pixels
        Of those.
    failures
        Images that could not be read.
    notes
        What there is to say of images that were looked at, by key.
    """

    images: int = 0
    pixels: int = 0
    edge_pixels: int = 0
    failures: tuple[Failure, ...] = field(default=())
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def merge(self, other: Edged) -> Edged:
        return Edged(
            self.images + other.images,
            self.pixels + other.pixels,
            self.edge_pixels + other.edge_pixels,
            self.failures + other.failures,
            self.notes | other.notes,
        )


def edges_of_plan(plan: Plan, settings: EdgeSettings, store: str, tile: int, context: Context) -> Edged:
    """Find and write the edges of every image.

    Parameters
    ----------
    plan
        Made with the same ``tile``.
    settings
        How edges are found.
    store
        Where to; images that are not in it are made, without labels.
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
    context.progress.stage("finding edges", len(plan.sources), plan.pixels)
    done = Edged()
    try:
        for made in context.map(edges_of_image, plan.bundles, settings, store, tile, name="edges"):
            parts, failures = parted(made)
            done = reduce(Edged.merge, parts, done.merge(Edged(failures=failures)))
        for images in _groups(plan.large):
            done = done.merge(edges_of_large(images, settings, store, tile, context))
    except OSError as error:
        what = f"{store}: the output cannot be written ({error.strerror or error})"
        raise KsegError(f"{what}; {SAME_COMMAND}") from error
    return done


def _groups(images: Sequence[tuple[Piece, ...]]) -> Iterator[list[tuple[Piece, ...]]]:
    """Large images together up to so many pieces, so that what is held of them is bounded."""
    group: list[tuple[Piece, ...]] = []
    for pieces in images:
        if group and sum(map(len, group)) + len(pieces) > GROUP_PIECES:
            yield group
            group = []
        group.append(pieces)
    if group:
        yield group


def edges_of_run(
    plan: Plan, finished: Sequence[InputFile], settings: EdgeSettings, config: RunConfig, store: str, context: Context
) -> list[Failure]:
    """The edges of the images that a run has labelled now, and of the finished ones that have none; what failed."""
    failures: list[Failure] = []
    without = [file for file in finished if not has_edges(store, file, settings, config.input)]
    if without:
        sources, failures = look_at_headers(without, config.input, context)
        more = make_plan(sources, config.output.tile, context.executor.workers)
        plan = Plan(plan.bundles + more.bundles, plan.large + more.large, notes=plan.notes)
    return [*failures, *edges_of_plan(plan, settings, store, config.output.tile, context).failures]


# -------------------------------------------------------------------------------------------- images in one piece


def edges_of_image(piece: Piece, settings: EdgeSettings, store: str, tile: int) -> Edged:
    """Find and write the edges of an image that is one piece.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had.
    """
    source = piece.source
    edges = whole_edges(piece, settings)
    layout = layout_of_edges(source, tile)
    create_edges(store, source.file.key, layout, pieces=False)
    edge_pixels = write_edges(store, source.file.key, piece.rows, piece.columns, edges, layout)
    finish_edges(store, source, layout, settings, edge_pixels)
    return Edged(1, source.pixels, edge_pixels)


def layout_of_edges(source: ImageSource, tile: int) -> EdgeLayout:
    """The arrays of an image's edges."""
    return EdgeLayout(source.shape, tile, source.geo)


# ------------------------------------------------------------------------------------------ images in several pieces


def edges_of_piece(piece: Piece, settings: EdgeSettings, store: str, tile: int) -> WindowBorder:
    """Find and write the edges that one piece can tell by itself; what its neighbours must know.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had.
    """
    return write_piece_edges(store, piece, piece_edges(piece, settings), layout_of_edges(piece.source, tile))


def edges_of_large(
    images: Sequence[tuple[Piece, ...]], settings: EdgeSettings, store: str, tile: int, context: Context
) -> Edged:
    """The edges of some large images: piece by piece, joined, declared complete."""
    layouts = [layout_of_edges(pieces[0].source, tile) for pieces in images]
    create = delayed(create_edges, pure=False)
    context.compute(
        [create(store, pieces[0].file.key, layout, pieces=True) for pieces, layout in zip(images, layouts, strict=True)]
    )
    tasks = ([piece] for pieces in images for piece in pieces)
    results = chain.from_iterable(context.map(edges_of_piece, tasks, settings, store, tile, name="edges"))
    done = Edged()
    whole: list[tuple[tuple[Piece, ...], EdgeLayout, list[WindowBorder]]] = []
    for pieces, layout in zip(images, layouts, strict=True):
        borders, failures = parted(islice(results, len(pieces)))
        if failures:
            discard_edges(store, pieces[0].file.key)
            done = done.merge(Edged(failures=failures[:1]))
        else:
            whole.append((pieces, layout, borders))
    added = join_edges(whole, store, context)
    for (pieces, layout, borders), more in zip(whole, added, strict=True):
        edge_pixels = sum(border.edge_pixels for border in borders) + more
        finish_edges(store, pieces[0].source, layout, settings, edge_pixels)
        done = done.merge(Edged(1, pieces[0].source.pixels, edge_pixels))
    return done


def join_edges(
    images: Sequence[tuple[tuple[Piece, ...], EdgeLayout, list[WindowBorder]]], store: str, context: Context
) -> list[int]:
    """Add the edges that only neighbours can tell; returns of how many pixels, for each image."""
    task = delayed(add_edges, pure=False)
    tasks: list[Delayed] = []
    owners: list[int] = []
    for index, (pieces, layout, borders) in enumerate(images):
        columns = columns_of_grid([(piece.top, piece.left) for piece in pieces])
        for piece, seeds in zip(pieces, decide_across(borders, columns), strict=True):
            if len(seeds):
                tasks.append(task(store, piece, seeds, layout))
                owners.append(index)
    added = [0] * len(images)
    for index, pixels in zip(owners, context.each(tasks), strict=True):
        added[index] += pixels
    return added
