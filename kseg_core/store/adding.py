"""A layer added to an image of a store that is finished, or to one that has no other layer; whole or window by window.

In order: `create_layer`; `write_part` for every window, in any order; where windows decide together, `settle_part` for
those that joining told more of; `build_level` for every level; `finish_layer`, which declares the layer complete by its
``kseg`` attributes.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..clustering.labelling import Labels
from ..errors import UnreadableImage
from ..images.decoder import USE_BANDS
from ..images.geo import GRID_MAPPING
from ..layers import LABEL_LAYER
from ..layers.layer import Layer, LayerInput, Layout, Part
from ..layers.tiles import require_aligned
from ..reading.sources import ImageSource, Piece
from .nodes import create_array, read_plane, write_group, write_plane
from .record import as_attributes, of_source
from .writing import image_folder, placed, remove_image, write_georeference, write_labels_index


def _pending(layer: Layer) -> str:
    """Where what waits for the neighbours is; gone when the layer is complete."""
    return f"{layer.name}.partial"


def create_layer(
    path: str,
    key: str,
    layer: Layer,
    layout: Layout,
    *,
    pieces: bool,
    keep: bool = False,
    said: dict[str, Any] | None = None,
) -> None:
    """Make the arrays, without a pixel and without what declares them complete; earlier ones are removed.

    Parameters
    ----------
    path, key
        The store and the image's name in it; an image without labels is made anew.
    layer, layout
        What is to be made.
    pieces
        Whether windows are written one by one.
    keep
        Whether what else an image without labels has stays.
    said
        The attributes of its group, which are known also where the job stops before the layer is complete.

    Raises
    ------
    OSError
        If there is no store, or it cannot be written.
    """
    folder = image_folder(path, key)
    if _has_labels(folder) or keep:
        _remove_layer(folder, layer)
    else:
        remove_image(path, key)
        storage.make_folder(folder)  # not below a store that is not there
        write_group(folder)
    if layer.group is not None:
        write_group(os.path.join(folder, layer.group), said)
        if layer.group.startswith("labels/"):
            write_labels_index(folder)
    group = os.path.join(folder, os.path.dirname(layer.path()))
    if layout.geo is not None and not storage.is_dir(os.path.join(group, GRID_MAPPING)):
        write_georeference(group, layout.geo, layout.shape)
    for level in range(layer.levels(layout)):
        create_array(os.path.join(folder, layer.path(level)), layer.spec(layout, level), placed(layout, level))
    if pieces and layer.joined:
        create_array(os.path.join(folder, _pending(layer)), layer.spec(layout))


def discard_layer(path: str, key: str, layer: Layer) -> None:
    """Remove what was made of a layer, and the image where it has nothing else."""
    folder = image_folder(path, key)
    if _has_labels(folder):
        _remove_layer(folder, layer)
    else:
        remove_image(path, key)


def forget_made_from(path: str, key: str, layer: Layer) -> None:
    """Remove what a layer of an image would be made from again, where that may be damaged."""
    if layer.made_from is not None:
        folder = os.path.join(image_folder(path, key), layer.made_from)
        with contextlib.suppress(FileNotFoundError):
            storage.remove_file(os.path.join(folder, "zarr.json"))  # first what declares it complete
        storage.remove_tree(folder, ignore_errors=True)


def _has_labels(folder: str) -> bool:
    return storage.is_dir(os.path.join(folder, LABEL_LAYER.node))


def _remove_layer(image: str, layer: Layer) -> None:
    """First of all what declares it complete."""
    for name in dict.fromkeys((layer.path(), layer.node, _pending(layer))):
        if storage.is_dir(folder := os.path.join(image, name)):
            with contextlib.suppress(FileNotFoundError):
                storage.remove_file(os.path.join(folder, "zarr.json"))
            storage.remove_tree(folder)


def window_of(path: str, piece: Piece, layer: Layer, layout: Layout) -> LayerInput:
    """What a layer is made of at a piece and around it: the image's pixels, or the stored labels.

    Raises
    ------
    UnreadableImage
        If the pixels cannot be had; samples that are no colours are refused with advice that fits.
    """
    around, inner = piece.grown(layer.halo)
    if layer.source == "labels":
        return LayerInput(read_labels(path, around, layout), inner=inner)
    try:
        pixels = around.read()
    except UnreadableImage as error:
        reason = error.reason.replace(USE_BANDS, f"{layer.name} are found in colours")
        raise UnreadableImage(error.source, reason) from error
    return LayerInput(samples=pixels.samples, valid=pixels.valid, inner=None if piece.is_whole else inner)


def read_labels(path: str, piece: Piece, layout: Layout) -> Labels:
    """The stored labels of a piece, (y, x)."""
    array = os.path.join(image_folder(path, piece.file.key), LABEL_LAYER.path())
    return read_plane(array, LABEL_LAYER.spec(layout), (piece.rows, piece.columns))


def write_part(path: str, piece: Piece, layer: Layer, part: Part, layout: Layout) -> int:
    """Write what a window tells by itself, and keep what it does not; returns how many pixels are not 0.

    Raises
    ------
    ValueError
        If the window holds a part of a tile.
    """
    region = (piece.rows, piece.columns)
    require_aligned(layout.shape, layout.tile, *region)
    folder, spec = image_folder(path, piece.file.key), layer.spec(layout)
    write_plane(os.path.join(folder, layer.path()), spec, region, part.values)
    if part.pending is not None:
        write_plane(os.path.join(folder, _pending(layer)), spec, region, part.pending)
    return int(np.count_nonzero(part.values))


def settle_part(path: str, piece: Piece, layer: Layer, seeds: NDArray[np.int64], layout: Layout) -> int:
    """Add the pending pixels of a piece that belong to a seed; returns how many. Doing it twice does no harm."""
    folder, spec = image_folder(path, piece.file.key), layer.spec(layout)
    region = (piece.rows, piece.columns)
    require_aligned(layout.shape, layout.tile, *region)
    more = layer.settle(read_plane(os.path.join(folder, _pending(layer)), spec, region), seeds)
    array = os.path.join(folder, layer.path())
    write_plane(array, spec, region, read_plane(array, spec, region) | more)
    return int(np.count_nonzero(more))


def finish_layer(path: str, source: ImageSource, layer: Layer, layout: Layout, pixels: int) -> None:
    """Declare a layer complete, and its image where it has nothing else.

    Parameters
    ----------
    path, source
        The store and the image.
    layer, layout
        As given to `create_layer`.
    pixels
        How many are not 0.
    """
    folder = image_folder(path, source.file.key)
    declare_complete(path, source.file.key, layer, layout, layer.facts(source.file, source.mask), pixels)
    if not _has_labels(folder):
        write_group(folder, {"kseg": as_attributes({**of_source(source), "status": "complete"})})


def declare_complete(path: str, key: str, layer: Layer, layout: Layout, facts: dict[str, Any], pixels: int) -> None:
    """Declare a layer of an image complete, of these facts (`Layer.facts`)."""
    folder = image_folder(path, key)
    pending = os.path.join(folder, _pending(layer))
    if storage.is_dir(pending):
        storage.remove_tree(pending)
    counted = {} if layer.counted is None else {layer.counted: pixels}
    told = {**facts, **counted, "status": "complete"}
    create_array(os.path.join(folder, layer.path()), layer.spec(layout), {**placed(layout), "kseg": told})
