"""Segments of an image in a store: what is written, what is written in between, and what is read again.

In order: the layer's arrays (`adding.create_layer`); contours, complete by their own attributes; the numbered parts,
the table of them, and that the layer is complete (`finish_segments`). While the hierarchy of a large image is made,
``segments.partial`` has what its blocks tell.
"""

from __future__ import annotations

import io
import os
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..images.kinds import is_picture
from ..images.pixel_size import read_pixel_size
from ..joining import Rim
from ..layers import LABEL_LAYER
from ..layers.layer import ArraySpec, Layout
from ..layers.segments import CONTOURS, TABLE, SegmentLayer, contours_spec
from ..layers.tiles import Region
from ..reading.sources import ImageSource, Piece
from ..segment_settings import SegmentSettings
from ..segments.blocks import BLOCK, Block
from ..segments.cutting import Segments, WindowPixels
from ..segments.graph import Graph
from ..segments.hierarchy import Hierarchy
from ..segments.lifting import factor_of
from . import ome
from .manifest import image_facts
from .nodes import create_array, put_file, read_plane, write_array, write_group, write_plane
from .writing import image_folder, placed, write_labels_index

ROWS = 1 << 16  # of the table, a chunk


class Ground(NamedTuple):
    """What of an image is segmented.

    Attributes
    ----------
    bands
        Those of samples, none for all but alpha; None: 8-bit colours.
    factor
        The side of the blocks of pixels that become one.
    """

    bands: tuple[int, ...] | None
    factor: int


def ground_of(source: ImageSource, settings: SegmentSettings, clustered: tuple[int, ...] | bool | None) -> Ground:
    """Colours or bands, and at what scale.

    ``clustered``: the bands that its model is of, None where that is of colours; False without a model, where the
    header decides.
    """
    bands = (None if is_picture(source.info) else ()) if isinstance(clustered, bool) else clustered
    scale = settings.scale
    if bands is not None or scale == "native" or (scale == "auto" and _has_size(source)):
        return Ground(bands, 1)
    return Ground(bands, factor_of(source.shape))


def _has_size(source: ImageSource) -> bool:
    """Whether it is known how large a pixel is."""
    return source.geo is not None or read_pixel_size(source.file.path, source.shape) is not None


# ------------------------------------------------------------------------------------------------------- contours


def contours_facts(layer: SegmentLayer, source: ImageSource) -> dict[str, Any]:
    """What decides the contours of an image: all that decides its segments, but the level."""
    facts = layer.facts(source.file, source.mask)
    del facts["level"]
    return facts


def has_contours(path: str, layer: SegmentLayer, source: ImageSource) -> bool:
    """Whether an image has them, complete, of the same pixels and the same scale."""
    stated = image_facts(os.path.join(image_folder(path, source.file.key), CONTOURS))
    return stated == {**contours_facts(layer, source), "status": "complete"}


def is_known(path: str, source: ImageSource) -> bool:
    """Whether an image says that it is of this very file: that stays known while its segments are made anew."""
    stated = image_facts(image_folder(path, source.file.key))
    return stated is not None and "source" in stated and source.file.is_as(stated)


def create_contours(path: str, key: str, layout: Layout) -> None:
    """The array, without a pixel; an earlier one is removed."""
    folder = os.path.join(image_folder(path, key), CONTOURS)
    if storage.is_dir(folder):
        storage.remove_tree(folder)
    create_array(folder, contours_spec(layout), placed(layout))


def write_contours(path: str, key: str, region: Region, contours: NDArray[np.uint8], layout: Layout) -> None:
    """A window (2, y, x) of whole tiles."""
    folder = os.path.join(image_folder(path, key), CONTOURS)
    for plane in range(2):
        write_plane(folder, contours_spec(layout), region, contours[plane], (plane,))


def finish_contours(path: str, layer: SegmentLayer, source: ImageSource, layout: Layout) -> None:
    """Declare them complete."""
    folder = os.path.join(image_folder(path, source.file.key), CONTOURS)
    facts = {**contours_facts(layer, source), "status": "complete"}
    create_array(folder, contours_spec(layout), {**placed(layout), "kseg": facts})


def read_contours(path: str, key: str, region: Region, layout: Layout) -> NDArray[np.uint8]:
    """A window (2, y, x)."""
    folder, spec = os.path.join(image_folder(path, key), CONTOURS), contours_spec(layout)
    return np.stack([read_plane(folder, spec, region, (plane,)) for plane in range(2)])


# ------------------------------------------------------------------------------------------------------- segments


def read_measured(path: str, piece: Piece, ground: Ground, layout: Layout) -> WindowPixels:
    """What the segments in a piece are made of."""
    samples = piece.read(ground.bands).samples
    if layout.k == 0:
        return WindowPixels(samples, None, 0)
    array = os.path.join(image_folder(path, piece.file.key), LABEL_LAYER.path())
    labels = read_plane(array, LABEL_LAYER.spec(layout), (piece.rows, piece.columns))
    return WindowPixels(samples, labels, layout.k)


def write_segments(
    path: str, key: str, layer: SegmentLayer, region: Region, segments: NDArray[np.uint32], layout: Layout
) -> None:
    """A window (y, x) of whole tiles."""
    write_plane(os.path.join(image_folder(path, key), layer.path()), layer.spec(layout), region, segments)


def finish_segments(path: str, layer: SegmentLayer, key: str, layout: Layout, segments: Segments) -> None:
    """The table, what is said of the label image, and last that the layer is complete."""
    folder = image_folder(path, key)
    table = os.path.join(folder, TABLE)
    if storage.is_dir(table):
        storage.remove_tree(table)
    write_group(table)
    for name, values in segments._asdict().items():
        columns = ("segment", *(("edge", "channel")[name == "mean"],) * (values.ndim - 1))
        chunks = (max(1, min(ROWS, len(values))), *values.shape[1:])
        spec = ArraySpec(values.shape, chunks, values.dtype.name, 0, columns, "numbers")
        if len(values):
            write_array(os.path.join(table, name), values, spec)
    write_group(os.path.join(folder, layer.node), described(layout))
    write_labels_index(folder)


def described(layout: Layout) -> dict[str, Any]:
    """The attributes of the label image."""
    pyramid = ome.multiscales("segments", layout.levels, layout.scale, layout.unit)
    label = {"version": ome.VERSION, "source": {"image": "../../"}}
    return {"ome": {"version": ome.VERSION, "multiscales": pyramid, "image-label": label}}


# ------------------------------------------------------------------------------------------ of large images, between


def partial_folder(path: str, key: str) -> str:
    """Where it is what the blocks of a large image tell; gone when the layer is complete."""
    return os.path.join(image_folder(path, key), "segments.partial")


def put_arrays(folder: str, name: str, arrays: dict[str, NDArray[Any]]) -> None:
    """Keep some arrays in a file; it appears whole."""
    packed = io.BytesIO()
    np.savez(packed, **arrays)  # type: ignore[arg-type]  # its annotation takes them for an option
    put_file(os.path.join(folder, f"{name}.npz"), packed.getvalue())


def get_arrays(folder: str, name: str) -> dict[str, NDArray[Any]]:
    """What `put_arrays` kept."""
    with np.load(io.BytesIO(storage.read(os.path.join(folder, f"{name}.npz")))) as kept:
        return dict(kept)


def put_block(folder: str, at: int, block: Block) -> None:
    """Keep what a block tells."""
    arrays = {**block.graph._asdict(), "exits": block.exits}
    for name, rim in (("regions", block.regions), ("gradient", block.gradient)):
        arrays |= {f"{name}_{side}": line for side, line in rim._asdict().items()}
    put_arrays(folder, f"block-{at}", arrays)


def get_block(folder: str, at: int) -> Block:
    """What `put_block` kept."""
    kept = get_arrays(folder, f"block-{at}")
    graph = Graph(*(kept[name] for name in Graph._fields))
    rims = (Rim(*(kept[f"{name}_{side}"] for side in Rim._fields)) for name in ("regions", "gradient"))
    return Block(graph, kept["exits"], *rims)


def put_hierarchy(folder: str, hierarchy: Hierarchy, more: dict[str, NDArray[Any]]) -> None:
    """Keep an image's hierarchy, and what goes with it."""
    put_arrays(folder, "hierarchy", {**hierarchy._asdict(), **more})


def get_hierarchy(folder: str) -> tuple[Hierarchy, dict[str, NDArray[Any]]]:
    """What `put_hierarchy` kept."""
    kept = get_arrays(folder, "hierarchy")
    return Hierarchy(*(kept.pop(name) for name in Hierarchy._fields)), kept


def block_specs(shape: tuple[int, int], side: int = BLOCK) -> dict[str, ArraySpec]:
    """Arrays of the regions of blocks, and of the contours within them: a chunk is a block."""
    chunks = (min(side, shape[0]), min(side, shape[1]))
    return {
        "regions": ArraySpec(shape, chunks, "int32", -1, ("y", "x"), "numbers"),
        "contours": ArraySpec((2, *shape), (1, *chunks), "uint8", 0, ("boundary", "y", "x")),
    }
