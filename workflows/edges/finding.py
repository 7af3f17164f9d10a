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
from functools import partial
from typing import Any

from dask.base import tokenize
from dask.delayed import delayed

from kseg_core import storage
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
from kseg_core.errors import KsegError, UnreadableImage
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.shapes.joining import columns_of_grid

from ..computing.executor import SAME_COMMAND, Executor
from ..computing.faults import alone, one_by_one
from ..computing.progress import Progress
from ..computing.waves import Watched, compute_in_waves
from ..planning.plan import Bundle, Failure, Plan, killer, pixels_of

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


def edges_of_plan(
    plan: Plan,
    settings: EdgeSettings,
    store: str,
    tile: int,
    executor: Executor,
    progress: Progress,
    *,
    strict: bool,
) -> Edged:
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
        If an image cannot be read, with ``strict``.
    """
    store = storage.absolute(store)  # a worker may have another current folder
    progress.stage("finding edges", len(plan.sources), plan.pixels)
    task = delayed(edges_of_bundle, pure=False)
    tasks = [
        Watched(
            task(bundle, settings, store, tile, strict, dask_key_name=f"edges-{tokenize(bundle, settings, store)}"),
            partial(progress.advance, len(bundle), pixels_of(bundle)),
            partial(edges_one_by_one, bundle, settings, store, tile, executor, strict=strict),
        )
        for bundle in plan.bundles
    ]
    done = Edged()
    try:
        for part in compute_in_waves(tasks, executor):
            done = done.merge(part)
        for images in _groups(plan.large):
            done = done.merge(edges_of_large(images, settings, store, tile, executor, progress, strict=strict))
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


# -------------------------------------------------------------------------------------------- images in one piece


def edges_of_bundle(bundle: Bundle, settings: EdgeSettings, store: str, tile: int, strict: bool) -> Edged:
    """A task: the edges of a bundle's images, one at a time."""
    done = Edged()
    for piece in bundle:
        source = piece.source
        try:
            edges = whole_edges(piece, settings)
        except UnreadableImage as error:
            if strict:
                raise
            done = done.merge(Edged(failures=(Failure(source.file.key, error),)))
            continue
        layout = layout_of_edges(source, tile)
        create_edges(store, source.file.key, layout, pieces=False)
        edge_pixels = write_edges(store, source.file.key, piece.rows, piece.columns, edges, layout)
        finish_edges(store, source, layout, settings, edge_pixels)
        done = done.merge(Edged(1, source.pixels, edge_pixels))
    return done


def edges_one_by_one(
    bundle: Bundle, settings: EdgeSettings, store: str, tile: int, executor: Executor, *, strict: bool
) -> Edged:
    """The edges of the images of a bundle that killed its workers, less those that do so again."""
    task = delayed(edges_of_bundle, pure=False)
    done = Edged()
    for piece, part, deaths in one_by_one(
        bundle, lambda piece: task((piece,), settings, store, tile, strict), executor
    ):
        done = done.merge(part or Edged(failures=(killer(piece.source.file, deaths, strict=strict),)))
    return done


def layout_of_edges(source: ImageSource, tile: int) -> EdgeLayout:
    """The arrays of an image's edges."""
    return EdgeLayout(source.shape, tile, source.geo)


# ------------------------------------------------------------------------------------------ images in several pieces


@dataclass(frozen=True, slots=True)
class PieceEdged:
    """What finding the edges of one piece came to: what its neighbours must know, or why nothing is known."""

    border: WindowBorder | None
    failure: Failure | None = None


def edges_of_piece(piece: Piece, settings: EdgeSettings, store: str, layout: EdgeLayout, strict: bool) -> PieceEdged:
    """A task: the edges that one piece can tell by itself."""
    try:
        found = piece_edges(piece, settings)
    except UnreadableImage as error:
        if strict:
            raise
        return PieceEdged(None, Failure(piece.source.file.key, error))
    return PieceEdged(write_piece_edges(store, piece, found, layout))


def edges_alone(
    piece: Piece, settings: EdgeSettings, store: str, layout: EdgeLayout, executor: Executor, *, strict: bool
) -> PieceEdged:
    """The edges of a piece that killed its workers once more, nothing else beside it."""
    task = delayed(edges_of_piece, pure=False)
    part, deaths = alone(task(piece, settings, store, layout, strict), executor)
    return part or PieceEdged(None, killer(piece.source.file, deaths, strict=strict))


def edges_of_large(
    images: Sequence[tuple[Piece, ...]],
    settings: EdgeSettings,
    store: str,
    tile: int,
    executor: Executor,
    progress: Progress,
    *,
    strict: bool,
) -> Edged:
    """The edges of some large images: piece by piece, joined, declared complete."""
    sources = [pieces[0].source for pieces in images]
    layouts = [layout_of_edges(source, tile) for source in sources]
    create = delayed(create_edges, pure=False)
    executor.compute(
        [create(store, s.file.key, layout, pieces=True) for s, layout in zip(sources, layouts, strict=True)]
    )
    task = delayed(edges_of_piece, pure=False)
    tasks = [
        Watched(
            task(piece, settings, store, layout, strict, dask_key_name=f"edges-{tokenize(piece, settings, store)}"),
            partial(progress.advance, int(piece is pieces[-1]), piece.pixels),
            partial(edges_alone, piece, settings, store, layout, executor, strict=strict),
        )
        for pieces, layout in zip(images, layouts, strict=True)
        for piece in pieces
    ]
    results: list[PieceEdged] = compute_in_waves(tasks, executor)
    done = Edged()
    whole: list[tuple[tuple[Piece, ...], EdgeLayout, list[WindowBorder]]] = []
    at = 0
    for pieces, layout in zip(images, layouts, strict=True):
        parts, at = results[at : at + len(pieces)], at + len(pieces)
        failures = [part.failure for part in parts if part.failure is not None]
        if failures:
            discard_edges(store, pieces[0].source.file.key)
            done = done.merge(Edged(failures=(failures[0],)))
            continue
        whole.append((pieces, layout, [part.border for part in parts if part.border is not None]))
    added = join_edges(whole, store, executor)
    for (pieces, layout, borders), more in zip(whole, added, strict=True):
        edge_pixels = sum(border.edge_pixels for border in borders) + more
        finish_edges(store, pieces[0].source, layout, settings, edge_pixels)
        done = done.merge(Edged(1, pieces[0].source.pixels, edge_pixels))
    return done


def join_edges(
    images: Sequence[tuple[tuple[Piece, ...], EdgeLayout, list[WindowBorder]]], store: str, executor: Executor
) -> list[int]:
    """Add the edges that only neighbours can tell; returns of how many pixels, for each image."""
    task = delayed(add_edges, pure=False)
    tasks: list[Watched] = []
    owners: list[int] = []
    for index, (pieces, layout, borders) in enumerate(images):
        columns = columns_of_grid([(piece.top, piece.left) for piece in pieces])
        for piece, seeds in zip(pieces, decide_across(borders, columns), strict=True):
            if len(seeds):
                tasks.append(Watched(task(store, piece, seeds, layout), _nothing))
                owners.append(index)
    added = [0] * len(images)
    for index, pixels in zip(owners, compute_in_waves(tasks, executor), strict=True):
        added[index] += pixels
    return added


def _nothing(*_: Any) -> None:
    pass
