"""Segments of the images of a plan: a small image in one task, of a large one each step on all its windows.

A large image takes these steps, each the same whatever the windows are, as all that adds up are counts:

1. at the scale of photographs its windows are shrunk, and the small picture is segmented in one task; pixel by pixel
   its blocks are segmented, and their graph, of far fewer regions than pixels, is joined and merged in one task
2. the contours of every window are written, from the hierarchy that this made
3. contours are cut at the level asked for: parts of windows are measured, joined, numbered, and written
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from kseg_core.halos import Region, grown, moved
from kseg_core.joining import columns_of_grid
from kseg_core.layers.layer import Layout
from kseg_core.layers.segments import SegmentLayer
from kseg_core.layers.tiles import whole
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.segments.blocks import BLOCK, blocks_in, join_blocks, merge_joined, segment_block, windows_of
from kseg_core.segments.cutting import Parts, Segments, cut_window, join_parts, measure_parts, measure_window
from kseg_core.segments.features import Converter
from kseg_core.segments.hierarchy import Hierarchy
from kseg_core.segments.lifting import Shrinking, lift
from kseg_core.segments.maps import HALO, find_maps
from kseg_core.segments.palette import Palette, PixelSample
from kseg_core.segments.whole import Ways, contours_of, segment_small
from kseg_core.sizes import hold_freed_memory, return_freed_memory
from kseg_core.store import segments as stored
from kseg_core.store.adding import create_layer, discard_layer, finish_layer
from kseg_core.store.segments import Ground, Unfinished
from kseg_core.store.writing import build_level

from ..computing.context import Context, Failure
from ..planning.budget import RegionRoom
from ..planning.plan import Plan
from .added import Added, Adding
from .pieces import LargeImage, PieceTask, build_pyramids, writing_to
from .sharing import ways_of

TITLE = "finding segments"
JOINED_TIMES = 5  # the bytes of blocks' graphs, where they are joined and merged; measured: 4


class Segmenting(NamedTuple):
    """An image whose segments are to be found.

    Attributes
    ----------
    layer
        How.
    store
        Where to, from wherever a worker is.
    source
        The image.
    layout
        Its arrays.
    ground
        What of it is segmented.
    """

    layer: SegmentLayer
    store: str
    source: ImageSource
    layout: Layout
    ground: Ground

    @classmethod
    def of(cls, source: ImageSource, job: Adding) -> Segmenting:
        """An image of a job."""
        layer, layout = job.layer, job.layout(source)
        assert isinstance(layer, SegmentLayer)
        ground = stored.ground_of(source, layer.settings, job.clustered, layout)
        return cls(layer, job.store, source, layout, ground)

    @property
    def key(self) -> str:
        return self.source.file.key

    @property
    def unfinished(self) -> Unfinished:
        """What is kept until its contours are complete."""
        return Unfinished(self.store, self.key, self.layout.shape)

    def begin(self) -> bool:
        """Make the arrays of the layer; whether contours are there already."""
        has_contours = stored.has_contours(self.store, self.layer, self.source)
        goes_on = has_contours or self.unfinished.is_of(self.facts) or stored.is_known(self.store, self.source)
        create_layer(self.store, self.key, self.layer, self.layout, pieces=False, keep=goes_on)
        return has_contours

    @property
    def facts(self) -> dict[str, Any]:
        """What decides all that is kept between."""
        return {**stored.contours_facts(self.layer, self.source), "block": BLOCK}

    def finish(self, segments: Segments) -> Added:
        """Declare the layer complete."""
        stored.finish_segments(self.store, self.layer, self.key, self.layout, segments)
        pixels = int(segments.area.sum())
        finish_layer(self.store, self.source, self.layer, self.layout, pixels)
        return Added(1, self.source.pixels, pixels)


def add_segments(plan: Plan, layer: SegmentLayer, store: str, tile: int, context: Context) -> Added:
    """Segment every image and write what came of it; as `add_layer` does of other layers."""
    plan = plan.unsmoothed
    context.progress.stage(TITLE, len(plan.sources), plan.pixels)
    with writing_to(store) as path:
        job = Adding.to(path, layer, tile)
        found, failures = ways_of(plan, job, context)
        ways = None if found is None else context.share(found)
        plan, done = plan.without(failures), Added(failures=tuple(failures))
        batches = ([PieceTask(piece) for piece in bundle] for bundle in plan.bundles)
        for made in chain.from_iterable(context.map(segment_image, batches, job, ways, name="segments")):
            done = done.merge(Added(failures=(made,)) if isinstance(made, Failure) else made)
        for pieces in plan.large:
            done = done.merge(_add_large(pieces, job, ways, context))
    return done


# ------------------------------------------------------------------------------------------------- images of one piece


def segment_image(task: PieceTask, job: Adding, ways: Ways) -> Added:
    """A task: all of an image that is one piece; ``ways``: to features, and the palette, where images share them."""
    piece, image = task.piece, Segmenting.of(task.piece.source, job)
    store, key, layout, most = image.store, image.key, image.layout, image.layer.settings.most
    region = whole(layout.shape)
    pixels = piece.read(image.ground.bands)
    if image.begin():
        contours = stored.read_contours(store, key, region, layout)
    else:
        of_bands, factor = image.ground.bands is not None, image.ground.factor
        contours = contours_of(pixels.samples, pixels.valid, of_bands=of_bands, factor=factor, side=BLOCK, ways=ways)
        stored.create_contours(store, key, layout)
        stored.write_contours(store, key, region, contours, layout)
        stored.finish_contours(store, image.layer, image.source, layout)
    part = cut_window(contours, most)
    measured = stored.measured_in(store, piece, pixels.samples, layout)
    parts = measure_parts(part, contours, most, measured, (0, 0), layout.shape[1])
    segments, (number,) = join_parts([parts], 1)
    stored.write_segments(store, key, image.layer, region, number[part], layout)
    for level in range(1, layout.levels):
        build_level(store, key, level, whole(layout.level_shape(level)), layout, [image.layer])
    return image.finish(segments)


# ------------------------------------------------------------------------------------------- images of several pieces


class FailedPiece(Exception):
    """A step that could not be done, as one of its pieces cannot be read."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _add_large(pieces: Sequence[Piece], job: Adding, ways: Delayed | None, context: Context) -> Added:
    image = Segmenting.of(pieces[0].source, job)
    tasks = [PieceTask(piece) for piece in pieces]
    try:
        if not image.begin():
            _make_contours(tasks, image, ways, context)
        segments = _cut(tasks, image, context)
    except FailedPiece as failed:
        image.unfinished.remove()
        discard_layer(image.store, image.key, image.layer)
        return Added(failures=(failed.failure,))
    large = LargeImage(tuple(pieces), image.layout)
    build_pyramids([large], image.store, context, partial(build_level, layers=[image.layer]))
    return image.finish(segments)


def _each(
    function: Callable[..., Any],
    tasks: Sequence[PieceTask],
    image: Segmenting,
    context: Context,
    *more: Any,
    title: str,
) -> Iterator[Any]:
    """What a function makes of each piece of an image.

    Raises
    ------
    FailedPiece
        If one cannot be read.
    """
    context.progress.stage(f"{TITLE}: {title}", 1, sum(task.pixels for task in tasks))
    for made in chain.from_iterable(context.map(function, ([task] for task in tasks), image, *more, name="segments")):
        if isinstance(made, Failure):
            raise FailedPiece(made)
        yield made


def _make_contours(tasks: Sequence[PieceTask], image: Segmenting, ways: Delayed | None, context: Context) -> None:
    unfinished, lifted = image.unfinished, image.ground.factor > 1
    unfinished.begin(image.facts, {} if lifted else stored.block_specs(image.layout.shape, BLOCK))
    if not unfinished.has_hierarchy:
        (_make_small_hierarchy if lifted else _make_hierarchy)(tasks, image, ways, context)
    stored.create_contours(image.store, image.key, image.layout)
    for _ in _each(lift_piece if lifted else outline_piece, tasks, image, context, title="contours"):
        pass
    stored.finish_contours(image.store, image.layer, image.source, image.layout)
    unfinished.remove()


def _make_small_hierarchy(
    tasks: Sequence[PieceTask], image: Segmenting, ways: Delayed | None, context: Context
) -> None:
    """At the scale of photographs."""
    shrinking = Shrinking(image.layout.shape, 3, image.ground.factor)
    for place, part in _each(shrink_piece, tasks, image, context, title="shrinking"):
        shrinking.merge(place, part)
    context.compute([delayed(segment_shrunk, pure=False)(image, shrinking, ways)])


def _make_hierarchy(_: Sequence[PieceTask], image: Segmenting, ways: Delayed | None, context: Context) -> None:
    """Pixel by pixel: of the blocks that are not done yet, and then of all."""
    source, unfinished = image.source, image.unfinished
    pieces = [PieceTask(piece) for piece in source.pieces(BLOCK)]
    left = [task for task in pieces if not unfinished.has_blocks((task.piece.rows, task.piece.columns), BLOCK)]
    if left:
        if ways is None:
            sample = PixelSample(source.pixels, image.ground.bands is not None)
            for part in _each(sample_piece, pieces, image, context, title="palette"):
                sample.merge(part)
            ways = context.share(sample.finish())
        for _ in _each(segment_piece, left, image, context, ways, title="blocks"):
            pass
        return_freed_memory()
    needs = JOINED_TIMES * unfinished.block_bytes(sum(1 for _ in windows_of(source.shape, BLOCK)))
    if needs > (room := RegionRoom.of(context.executor)).most:
        raise FailedPiece(Failure(image.key, room.no_graph(source, needs)))
    context.compute([delayed(join_image, pure=False)(image)])


def shrink_piece(task: PieceTask, image: Segmenting) -> tuple[Region, Shrinking]:
    """A task: what a piece tells of the small picture, and where in it that is."""
    pixels = task.piece.read()
    return Shrinking.of_window(pixels.samples, pixels.valid, task.piece.corner, image.ground.factor)


def segment_shrunk(image: Segmenting, shrinking: Shrinking, ways: Ways) -> None:
    """A task: the hierarchy of the small picture."""
    small, valid = shrinking.picture()
    cell, hierarchy = segment_small(small, valid, BLOCK, ways)
    image.unfinished.put_hierarchy(hierarchy, {"cell": cell, "small": small})


def lift_piece(task: PieceTask, image: Segmenting) -> None:
    """A task: the contours of a piece, from the regions of the small picture."""
    piece, factor = task.piece, image.ground.factor
    hierarchy, more = image.unfinished.get_hierarchy()
    around, (rows, columns) = piece.grown(factor + 1)
    pixels = around.read()
    region = lift(pixels.samples, pixels.valid, around.corner, factor, more["cell"], more["small"])
    contours = np.zeros((2, piece.height, piece.width), np.uint8)
    hierarchy.fill(region[rows.start : rows.stop + 1, columns.start : columns.stop + 1], contours)
    _write_contours(piece, contours, image)


def sample_piece(task: PieceTask, image: Segmenting) -> PixelSample:
    """A task: what a piece tells of the palette."""
    piece = task.piece
    pixels = piece.read(image.ground.bands)
    sample = PixelSample(piece.source.pixels, image.ground.bands is not None)
    sample.add(pixels.samples, pixels.valid, piece.top, piece.left)
    return sample


def segment_piece(task: PieceTask, image: Segmenting, palette: tuple[Converter, Palette]) -> None:
    """A task: the blocks of a piece."""
    hold_freed_memory()  # in whichever process this is
    piece, shape = task.piece, image.layout.shape
    around, _ = piece.grown(HALO)
    pixels = around.read(image.ground.bands)
    for at, window in blocks_in((piece.rows, piece.columns), shape, BLOCK):
        there, inner = grown(window, HALO, shape)
        part = moved(there, -around.top, -around.left)
        maps = find_maps(pixels.samples[part], None if pixels.valid is None else pixels.valid[part], *palette)
        image.unfinished.put_block(at, window, *segment_block(maps, inner, window, shape), BLOCK)


def join_image(image: Segmenting) -> None:
    """A task: the graph of an image from those of its blocks, and its hierarchy."""
    shape, unfinished = image.layout.shape, image.unfinished
    count = sum(1 for _ in windows_of(shape, BLOCK))
    graph, numbers = join_blocks([unfinished.get_block(at) for at in range(count)], shape, BLOCK)
    hierarchy = Hierarchy.of(merge_joined(graph, count), graph.size)
    begins = np.concatenate([[0], np.cumsum([number.size for number in numbers])]).astype(np.int64)
    number = np.concatenate([np.zeros(0, np.int32), *numbers])
    unfinished.put_hierarchy(hierarchy, {"begins": begins, "number": number})


def outline_piece(task: PieceTask, image: Segmenting) -> None:
    """A task: the contours of a piece, from the regions of its blocks."""
    piece, unfinished = task.piece, image.unfinished
    hierarchy, numbers = unfinished.get_hierarchy()
    height, width = image.layout.shape
    after = (
        slice(piece.rows.start, min(piece.rows.stop + 1, height)),
        slice(piece.columns.start, min(piece.columns.stop + 1, width)),
    )
    contours = unfinished.read_contours((piece.rows, piece.columns), BLOCK)
    hierarchy.fill(unfinished.read_regions(after, numbers, BLOCK), contours)
    _write_contours(piece, contours, image)


def _write_contours(piece: Piece, contours: NDArray[np.uint8], image: Segmenting) -> None:
    stored.write_contours(image.store, image.key, (piece.rows, piece.columns), contours, image.layout)


# ------------------------------------------------------------------------------------------------- cut at a level


def _cut(tasks: Sequence[PieceTask], image: Segmenting, context: Context) -> Segments:
    """The segments of contours, written."""
    parts = list(_each(measure_piece, tasks, image, context, title="measuring"))
    segments, numbers = join_parts(parts, columns_of_grid([task.piece.corner for task in tasks]))
    numbered = [task._replace(more=number) for task, number in zip(tasks, numbers, strict=True)]
    for _ in _each(write_piece, numbered, image, context, title="writing"):
        pass
    return segments


def measure_piece(task: PieceTask, image: Segmenting) -> Parts:
    """A task: the parts of segments in a piece."""
    piece, layout = task.piece, image.layout
    contours = stored.read_contours(image.store, image.key, (piece.rows, piece.columns), layout)
    measured = stored.measured_in(image.store, piece, piece.read(image.ground.bands).samples, layout)
    return measure_window(contours, image.layer.settings.most, measured, piece.corner, layout.shape[1])


def write_piece(task: PieceTask, image: Segmenting) -> None:
    """A task: the segments of a piece; ``more`` has the number in the image of each part that it has."""
    region = (task.piece.rows, task.piece.columns)
    contours = stored.read_contours(image.store, image.key, region, image.layout)
    part = cut_window(contours, image.layer.settings.most)
    stored.write_segments(image.store, image.key, image.layer, region, task.more[part], image.layout)
