"""Segments of the images of a plan: a small image in one task, of a large one each step on all its windows.

A large image takes these steps, each the same whatever the windows are, as all that adds up are counts:

1. at the scale of photographs its windows are shrunk, and the small picture is segmented in one task; pixel by pixel
   its blocks are segmented, and their graph, of far fewer regions than pixels, is joined and merged in one task
2. the contours of every window are written, from the hierarchy that this made
3. contours are cut at the level asked for: parts of windows are measured, joined, numbered, and written
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.halos import Region, grown
from kseg_core.joining import columns_of_grid
from kseg_core.layers.layer import Layout
from kseg_core.layers.segments import SegmentLayer
from kseg_core.layers.tiles import whole
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.segments.blocks import BLOCK, join_blocks, merge_joined, segment_block, through, windows_of
from kseg_core.segments.cutting import Parts, cut_window, join_parts, measure_window
from kseg_core.segments.features import Converter
from kseg_core.segments.hierarchy import Hierarchy
from kseg_core.segments.lifting import Shrinking, lift
from kseg_core.segments.maps import HALO, find_maps
from kseg_core.segments.palette import Palette, PixelSample
from kseg_core.segments.whole import contours_of, segment_small
from kseg_core.store import segments as stored
from kseg_core.store.adding import create_layer, discard_layer, finish_layer
from kseg_core.store.nodes import create_array, read_plane, write_plane
from kseg_core.store.segments import Ground
from kseg_core.store.writing import build_level

from ..computing.context import Context, Failure
from ..planning.budget import RegionRoom
from ..planning.plan import Plan
from .added import Added, Adding
from .pieces import LargeImage, PieceTask, build_pyramids, writing_to

TITLE = "finding segments"
JOINED_TIMES = 5  # the bytes of blocks' graphs, where they are joined and merged; measured: 4


def add_segments(plan: Plan, layer: SegmentLayer, store: str, tile: int, context: Context) -> Added:
    """Segment every image and write what came of it; as `add_layer` does of other layers."""
    plan = plan.unsmoothed
    context.progress.stage(TITLE, len(plan.sources), plan.pixels)
    with writing_to(store) as path:
        job = Adding.to(path, layer, tile)
        batches = ([PieceTask(piece) for piece in bundle] for bundle in plan.bundles)
        done = Added()
        for made in chain.from_iterable(context.map(segment_image, batches, job, name="segments")):
            done = done.merge(Added(failures=(made,)) if isinstance(made, Failure) else made)
        for pieces in plan.large:
            done = done.merge(_add_large(pieces, job, context))
    return done


# ------------------------------------------------------------------------------------------------- images of one piece


def segment_image(task: PieceTask, job: Adding) -> Added:
    """A task: all of an image that is one piece."""
    piece, layer = task.piece, job.layer
    assert isinstance(layer, SegmentLayer)
    source, key = piece.source, piece.file.key
    layout, ground = _prepared(source, job)
    pixels = piece.read(ground.bands)
    kept = stored.has_contours(job.store, layer, source)
    create_layer(job.store, key, layer, layout, pieces=False, keep=kept or stored.is_known(job.store, source))
    if kept:
        contours = stored.read_contours(job.store, key, whole(source.shape), layout)
    else:
        contours = contours_of(
            pixels.samples, pixels.valid, of_bands=ground.bands is not None, factor=ground.factor, side=BLOCK
        )
        stored.create_contours(job.store, key, layout)
        stored.write_contours(job.store, key, whole(source.shape), contours, layout)
        stored.finish_contours(job.store, layer, source, layout)
    measured = stored.read_measured(job.store, piece, ground, layout)
    parts = measure_window(contours, layer.settings.most, measured, (0, 0), source.shape[1])
    found, (number,) = join_parts([parts], 1)
    segments = number[cut_window(contours, layer.settings.most)]
    stored.write_segments(job.store, key, layer, whole(source.shape), segments, layout)
    for level in range(1, layout.levels):
        build_level(job.store, key, level, whole(layout.level_shape(level)), layout, [layer])
    stored.finish_segments(job.store, layer, key, layout, found)
    in_segments = int(found.area.sum())
    finish_layer(job.store, source, layer, layout, in_segments)
    return Added(1, piece.pixels, in_segments)


def _prepared(source: ImageSource, job: Adding) -> tuple[Layout, Ground]:
    """The arrays of an image, and what of it is segmented."""
    layout, layer = job.layout(source), job.layer
    assert isinstance(layer, SegmentLayer)
    return layout, stored.ground_of(source, layer.settings, job.clustered)


# ------------------------------------------------------------------------------------------- images of several pieces


class LargeSegments(NamedTuple):
    """What is the same for all windows of an image."""

    layer: SegmentLayer
    store: str
    layout: Layout
    ground: Ground

    def folder(self, key: str) -> str:
        """Where what blocks tell is kept."""
        return stored.partial_folder(self.store, key)


class Numbered(NamedTuple):
    """A piece, and the number in the image of each part that its window has."""

    piece: Piece
    number: NDArray[np.uint32]

    @property
    def file(self) -> Any:
        return self.piece.file

    @property
    def pixels(self) -> int:
        return self.piece.pixels

    @property
    def is_last(self) -> bool:
        return self.piece.is_last


class FailedPiece(Exception):
    """A step that could not be done, as one of its pieces cannot be read."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _add_large(pieces: Sequence[Piece], job: Adding, context: Context) -> Added:
    source, layer = pieces[0].source, job.layer
    assert isinstance(layer, SegmentLayer)
    key = source.file.key
    layout, ground = _prepared(source, job)
    large = LargeSegments(layer, job.store, layout, ground)
    try:
        kept = stored.has_contours(job.store, layer, source)
        create_layer(job.store, key, layer, layout, pieces=False, keep=kept or stored.is_known(job.store, source))
        if not kept:
            _make_contours(pieces, large, context)
        found = _cut(pieces, large, context)
    except FailedPiece as failed:
        discard_layer(job.store, key, layer)
        return Added(failures=(failed.failure,))
    image = LargeImage(tuple(pieces), layout)
    build_pyramids([image], job.store, context, partial(build_level, layers=[layer]))
    finish_layer(job.store, source, layer, layout, found)
    return Added(1, source.pixels, found)


def _each(
    function: Callable[..., Any], tasks: Iterable[Any], large: LargeSegments, context: Context, *more: Any, title: str
) -> Iterator[Any]:
    """What a function makes of each piece of an image.

    Raises
    ------
    FailedPiece
        If one cannot be read.
    """
    tasks = list(tasks)
    context.progress.stage(f"{TITLE}: {title}", 1, sum(task.pixels for task in tasks))
    for made in chain.from_iterable(context.map(function, ([task] for task in tasks), large, *more, name="segments")):
        if isinstance(made, Failure):
            raise FailedPiece(made)
        yield made


def _make_contours(pieces: Sequence[Piece], large: LargeSegments, context: Context) -> None:
    source, key = pieces[0].source, pieces[0].file.key
    folder = large.folder(key)
    if storage.is_dir(folder):
        storage.remove_tree(folder)
    storage.make_folder(folder)
    tasks = [PieceTask(piece) for piece in pieces]
    if large.ground.factor > 1:
        shrinking = Shrinking(source.shape, 3, large.ground.factor)
        for place, sums, counts in _each(shrink_piece, tasks, large, context, title="shrinking"):
            shrinking.merge(place, sums, counts)
        context.compute([delayed(segment_shrunk, pure=False)(large, key, shrinking)])
        write = lift_piece
    else:
        sample = PixelSample(source.pixels, large.ground.bands is not None)
        blocks = [PieceTask(piece) for piece in source.pieces(BLOCK)]
        for part in _each(sample_piece, blocks, large, context, title="palette"):
            sample.merge(part)
        for name, spec in stored.block_specs(source.shape, BLOCK).items():
            create_array(f"{folder}/{name}", spec)
        palette = context.share(sample.finish())
        told = sum(_each(segment_piece, blocks, large, context, palette, title="blocks"))
        room = RegionRoom.of(context.executor)
        if told * JOINED_TIMES > room.most:
            raise FailedPiece(Failure(key, room.no_graph(source, told * JOINED_TIMES)))
        context.compute([delayed(join_image, pure=False)(large, key)])
        write = outline_piece
    stored.create_contours(large.store, key, large.layout)
    for _ in _each(write, tasks, large, context, title="contours"):
        pass
    stored.finish_contours(large.store, large.layer, source, large.layout)
    storage.remove_tree(folder)


def shrink_piece(task: PieceTask, large: LargeSegments) -> tuple[Region, NDArray[np.int64], NDArray[np.int64]]:
    """A task: the sums of the blocks that a piece has a part in, and where these are in the small picture."""
    piece, factor = task.piece, large.ground.factor
    pixels = piece.read()
    place = tuple(slice(part.start // factor, (part.stop - 1) // factor + 1) for part in (piece.rows, piece.columns))
    rows, columns = place
    shape = (piece.top + piece.height - rows.start * factor, piece.left + piece.width - columns.start * factor)
    shrinking = Shrinking(shape, 3, factor)
    shrinking.add(pixels.samples, pixels.valid, piece.top - rows.start * factor, piece.left - columns.start * factor)
    return (rows, columns), shrinking.sums, shrinking.counts


def segment_shrunk(large: LargeSegments, key: str, shrinking: Shrinking) -> None:
    """A task: the hierarchy of the small picture."""
    small, valid = shrinking.picture()
    cell, hierarchy = segment_small(small, valid, BLOCK)
    stored.put_hierarchy(large.folder(key), hierarchy, {"cell": cell, "small": small})


def lift_piece(task: PieceTask, large: LargeSegments) -> None:
    """A task: the contours of a piece, from the regions of the small picture."""
    piece, shape = task.piece, large.layout.shape
    hierarchy, kept = stored.get_hierarchy(large.folder(piece.file.key))
    (rows, columns), inner = grown((piece.rows, piece.columns), large.ground.factor + 1, shape)
    around = Piece(piece.source, rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
    pixels = around.read()
    place, factor = (rows.start, columns.start), large.ground.factor
    region = lift(pixels.samples, pixels.valid, place, factor, kept["cell"], kept["small"])
    after = tuple(slice(part.start, part.stop + 1) for part in inner)
    _fill_and_write(piece, region[after], np.zeros((2, piece.height, piece.width), np.uint8), hierarchy, large)


def sample_piece(task: PieceTask, large: LargeSegments) -> PixelSample:
    """A task: what a piece tells of the palette."""
    piece, of_bands = task.piece, large.ground.bands is not None
    pixels = piece.read(large.ground.bands)
    sample = PixelSample(piece.source.pixels, of_bands)
    sample.add(pixels.samples, pixels.valid, piece.top, piece.left)
    return sample


def segment_piece(task: PieceTask, large: LargeSegments, palette: tuple[Converter, Palette]) -> int:
    """A task: the blocks of a piece; how many bytes their graphs are."""
    piece, shape = task.piece, large.layout.shape
    folder = large.folder(piece.file.key)
    (rows, columns), _ = grown((piece.rows, piece.columns), HALO, shape)
    around = Piece(piece.source, rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)
    pixels = around.read(large.ground.bands)
    specs = stored.block_specs(shape, BLOCK)
    across = -(-shape[1] // BLOCK)
    told = 0
    for own in windows_of((piece.height, piece.width), BLOCK):
        window = _moved(own, piece.top, piece.left)
        there, inner = grown(window, HALO, shape)
        part = _moved(there, -rows.start, -columns.start)
        maps = find_maps(pixels.samples[part], None if pixels.valid is None else pixels.valid[part], *palette)
        block, found = segment_block(maps, inner, window, shape)
        stored.put_block(folder, window[0].start // BLOCK * across + window[1].start // BLOCK, block)
        write_plane(f"{folder}/regions", specs["regions"], window, found.region)
        contours = found.contours()
        for plane in range(2):
            write_plane(f"{folder}/contours", specs["contours"], window, contours[plane], (plane,))
        told += sum(each.nbytes for each in block.graph)
    return told


def _moved(region: Region, down: int, across: int) -> Region:
    rows, columns = region
    return slice(rows.start + down, rows.stop + down), slice(columns.start + across, columns.stop + across)


def join_image(large: LargeSegments, key: str) -> None:
    """A task: the graph of an image from those of its blocks, and its hierarchy."""
    folder, shape = large.folder(key), large.layout.shape
    blocks = [stored.get_block(folder, at) for at, _ in enumerate(windows_of(shape, BLOCK))]
    graph, numbers = join_blocks(blocks, shape, BLOCK)
    count = len(blocks)
    del blocks
    hierarchy = Hierarchy.of(merge_joined(graph, count), graph.size)
    begins = np.concatenate([[0], np.cumsum([number.size for number in numbers])]).astype(np.int64)
    number = np.concatenate([np.zeros(0, np.int32), *numbers])
    stored.put_hierarchy(folder, hierarchy, {"begins": begins, "number": number})


def outline_piece(task: PieceTask, large: LargeSegments) -> None:
    """A task: the contours of a piece, from the regions of its blocks."""
    piece, shape = task.piece, large.layout.shape
    folder = large.folder(piece.file.key)
    hierarchy, kept = stored.get_hierarchy(folder)
    specs = stored.block_specs(shape, BLOCK)
    after = tuple(
        slice(part.start, min(part.stop + 1, size))
        for part, size in zip((piece.rows, piece.columns), shape, strict=True)
    )
    region = read_plane(f"{folder}/regions", specs["regions"], (after[0], after[1]))
    across = -(-shape[1] // BLOCK)
    for down in range(after[0].start // BLOCK, -(-after[0].stop // BLOCK)):
        for right in range(after[1].start // BLOCK, -(-after[1].stop // BLOCK)):
            at = down * across + right
            part = (
                slice(max(0, down * BLOCK - after[0].start), (down + 1) * BLOCK - after[0].start),
                slice(max(0, right * BLOCK - after[1].start), (right + 1) * BLOCK - after[1].start),
            )
            region[part] = through(region[part], kept["number"][kept["begins"][at] : kept["begins"][at + 1]])
    contours = np.stack(
        [
            read_plane(f"{folder}/contours", specs["contours"], (piece.rows, piece.columns), (plane,))
            for plane in range(2)
        ]
    )
    _fill_and_write(piece, region, contours, hierarchy, large)


def _fill_and_write(
    piece: Piece,
    region: NDArray[np.int32],
    contours: NDArray[np.uint8],
    hierarchy: Hierarchy,
    large: LargeSegments,
) -> None:
    hierarchy.fill(region, contours)
    stored.write_contours(large.store, piece.file.key, (piece.rows, piece.columns), contours, large.layout)


def _cut(pieces: Sequence[Piece], large: LargeSegments, context: Context) -> int:
    """Segments from contours; how many pixels are in them."""
    source = pieces[0].source
    parts = list(_each(measure_piece, [PieceTask(piece) for piece in pieces], large, context, title="measuring"))
    across = columns_of_grid([(piece.top, piece.left) for piece in pieces])
    found, numbers = join_parts(parts, across)
    tasks = [Numbered(piece, number) for piece, number in zip(pieces, numbers, strict=True)]
    for _ in _each(write_piece, tasks, large, context, title="writing"):
        pass
    stored.finish_segments(large.store, large.layer, source.file.key, large.layout, found)
    return int(found.area.sum())


def measure_piece(task: PieceTask, large: LargeSegments) -> Parts:
    """A task: the parts of segments in a piece."""
    piece = task.piece
    contours = stored.read_contours(large.store, piece.file.key, (piece.rows, piece.columns), large.layout)
    measured = stored.read_measured(large.store, piece, large.ground, large.layout)
    return measure_window(contours, large.layer.settings.most, measured, (piece.top, piece.left), large.layout.shape[1])


def write_piece(task: Numbered, large: LargeSegments) -> None:
    """A task: the segments of a piece by their numbers in the image."""
    piece = task.piece
    region = (piece.rows, piece.columns)
    contours = stored.read_contours(large.store, piece.file.key, region, large.layout)
    part = cut_window(contours, large.layer.settings.most)
    stored.write_segments(large.store, piece.file.key, large.layer, region, task.number[part], large.layout)
