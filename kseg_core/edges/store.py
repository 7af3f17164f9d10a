"""Edges in a store: ``images/<key>/edges``, bool (y, x), in the chunks of the labels; whole or window by window.

In order: `create_edges`; `write_edges` for every window, in any order; where the image has more than one, `add_edges`
for those that joining told more of; `finish_edges`, which declares the edges complete by their ``kseg`` attributes.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..clustering.summary import Window
from ..edge_settings import EdgeSettings, edge_facts
from ..errors import UnreadableImage
from ..images.decoder import USE_BANDS
from ..images.geo import GRID_MAPPING, GeoReference
from ..reading.sources import ImageSource, Piece
from ..store.chunks import read_plane, write_plane
from ..store.nodes import ArraySpec, create_array, write_group
from ..store.opening import EDGES
from ..store.tiles import require_aligned
from ..store.writing import image_folder, remove_image, write_georeference
from .canny import Bits, Maxima, WindowBorder, WindowEdges, decide_within, find_edges, find_maxima, promoted

PENDING = "edges.partial"  # which weak components wait for their neighbours; gone when the edges are complete


@dataclass(frozen=True, slots=True)
class EdgeLayout:
    """The arrays of an image's edges.

    Parameters
    ----------
    shape
        (height, width).
    tile
        Side of the chunks in pixels.
    geo
        CRS and transform, where known.
    """

    shape: tuple[int, int]
    tile: int
    geo: GeoReference | None = None


def create_edges(path: str, key: str, layout: EdgeLayout, *, pieces: bool) -> None:
    """Make the array, without a pixel and without what declares it complete; earlier edges are removed.

    Parameters
    ----------
    path, key
        The store and the image's name in it; an image without labels is made anew.
    layout
        What is to be made.
    pieces
        Whether windows are written one by one, some of whose edges wait for their neighbours.

    Raises
    ------
    OSError
        If there is no store, or it cannot be written.
    """
    folder = image_folder(path, key)
    if _has_labels(folder):
        _remove_arrays(folder)
    else:
        remove_image(path, key)
        storage.make_folder(folder)  # not below a store that is not there
        write_group(folder)
    if layout.geo is not None and not storage.is_dir(os.path.join(folder, GRID_MAPPING)):
        write_georeference(folder, layout.geo, layout.shape)
    create_array(os.path.join(folder, EDGES), _spec(layout), _placed(layout))
    if pieces:
        create_array(os.path.join(folder, PENDING), _spec(layout))


def _spec(layout: EdgeLayout) -> ArraySpec:
    chunks = (min(layout.tile, layout.shape[0]), min(layout.tile, layout.shape[1]))
    return ArraySpec(layout.shape, chunks, "bool", False, ("y", "x"), "bits")


def _placed(layout: EdgeLayout) -> dict[str, Any]:
    return {} if layout.geo is None else {"grid_mapping": GRID_MAPPING}


def discard_edges(path: str, key: str) -> None:
    """Remove what was made of an image's edges, and the image where it has nothing else."""
    folder = image_folder(path, key)
    if _has_labels(folder):
        _remove_arrays(folder)
    else:
        remove_image(path, key)


def _has_labels(folder: str) -> bool:
    return storage.is_dir(os.path.join(folder, "labels"))


def _remove_arrays(image: str) -> None:
    """First of all what declares them complete."""
    for folder in (os.path.join(image, EDGES), os.path.join(image, PENDING)):
        if storage.is_dir(folder):
            with contextlib.suppress(FileNotFoundError):
                storage.remove_file(os.path.join(folder, "zarr.json"))
            storage.remove_tree(folder)


def whole_edges(piece: Piece, settings: EdgeSettings) -> Bits:
    """The edges of an image that is one piece.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had.
    """
    window = _colors(piece)
    return find_edges(window.rgb, window.valid, settings)


def piece_edges(piece: Piece, settings: EdgeSettings) -> WindowEdges:
    """What can be said of the edges of one piece by itself.

    Raises
    ------
    UnreadableImage
        If its pixels cannot be had.
    """
    around = _with_halo(piece, settings.halo)
    window = _colors(around)
    maxima = find_maxima(window.rgb, window.valid, settings)
    top, left = piece.top - around.top, piece.left - around.left
    inner = (slice(top, top + piece.height), slice(left, left + piece.width))
    return decide_within(Maxima(*(np.ascontiguousarray(part[inner]) for part in maxima)))


def _colors(piece: Piece) -> Window:
    """The pixels of a piece; samples that are no colours are refused with advice that fits."""
    try:
        return piece.read()
    except UnreadableImage as error:
        raise UnreadableImage(error.source, error.reason.replace(USE_BANDS, "edges are found in colours")) from error


def _with_halo(piece: Piece, halo: int) -> Piece:
    """The piece and what of the image is around it."""
    height, width = piece.source.shape
    top, left = max(0, piece.top - halo), max(0, piece.left - halo)
    bottom, right = min(height, piece.top + piece.height + halo), min(width, piece.left + piece.width + halo)
    return Piece(piece.source, top, left, bottom - top, right - left)


def write_edges(path: str, key: str, rows: slice, columns: slice, edges: Bits, layout: EdgeLayout) -> int:
    """Write a window of the edges; returns how many pixels they have.

    Raises
    ------
    ValueError
        If the window holds a part of a tile.
    """
    require_aligned(layout.shape, layout.tile, rows, columns)
    write_plane(os.path.join(image_folder(path, key), EDGES), _spec(layout), (rows, columns), edges)
    return int(np.count_nonzero(edges))


def write_piece_edges(path: str, piece: Piece, found: WindowEdges, layout: EdgeLayout) -> WindowBorder:
    """Write what a piece knows by itself, and keep what it does not; returns what its neighbours must know."""
    key = piece.source.file.key
    write_edges(path, key, piece.rows, piece.columns, found.edges, layout)
    pending = os.path.join(image_folder(path, key), PENDING)
    write_plane(pending, _spec(layout), (piece.rows, piece.columns), found.pending)
    return found.border


def add_edges(path: str, piece: Piece, seeds: NDArray[np.int64], layout: EdgeLayout) -> int:
    """Make edges of the pending components of a piece that hold a seed; returns of how many pixels.

    Doing it twice does no harm.
    """
    require_aligned(layout.shape, layout.tile, piece.rows, piece.columns)
    folder = image_folder(path, piece.source.file.key)
    window, spec = (piece.rows, piece.columns), _spec(layout)
    more = promoted(read_plane(os.path.join(folder, PENDING), spec, window), seeds)
    edges = os.path.join(folder, EDGES)
    write_plane(edges, spec, window, read_plane(edges, spec, window) | more)
    return int(np.count_nonzero(more))


def finish_edges(path: str, source: ImageSource, layout: EdgeLayout, settings: EdgeSettings, edge_pixels: int) -> None:
    """Declare an image's edges complete, and the image itself where it has nothing else.

    Parameters
    ----------
    path
        The store.
    source
        The image.
    layout
        As given to `create_edges`.
    settings
        How they were found.
    edge_pixels
        How many there are.
    """
    folder = image_folder(path, source.file.key)
    pending = os.path.join(folder, PENDING)
    if storage.is_dir(pending):
        storage.remove_tree(pending)
    facts = edge_facts(settings, source.file, source.mask)
    attributes = {**facts, "edge_pixels": edge_pixels, "status": "complete"}
    create_array(os.path.join(folder, EDGES), _spec(layout), {**_placed(layout), "kseg": attributes})
    if not _has_labels(folder):
        write_group(folder, {"kseg": source_attributes(source)})


def source_attributes(source: ImageSource) -> dict[str, Any]:
    """What a store says of an image that has edges and no labels."""
    return {
        "source": source.file.source,
        **source.file.facts,
        "shape": list(source.shape),
        **({"notes": list(source.info.notes)} if source.info.notes else {}),
        "status": "complete",
    }
