"""Images into a store, whole or window by window. Every chunk and every document has exactly one writer.

In order: `create_image`; `write_window`, `write_confidence` and `write_copy`, in any order, by any number of tasks;
`build_level` for level 1, 2, ... each after the level before is complete; `finish_image`, which declares the image
complete. `write_image` is all of it for an image in memory. Arrays come before the attributes that vouch for them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..clustering.labelling import Labels
from ..config import OutputSettings
from ..errors import StoreError
from ..images.geo import GRID_MAPPING, GeoReference
from . import arrays, ome
from .chunks import read_plane, write_masks, write_plane
from .layout import Layout
from .manifest import read_attributes
from .model import Model
from .nodes import DAMAGE, ArraySpec, array_document, create_array, read_document, store_array, write_group
from .pyramid import mean_of_blocks, mode_of_blocks
from .record import ImageRecord
from .tiles import require_aligned, source_window, tile_windows

WRITE_SIDE = 1024  # masks and levels are made and written in squares of about so many pixels: megabytes at a time
COORDINATE_CHUNK = 1 << 16
LABELS = "labels/kmeans"


def image_folder(path: str, key: str) -> str:
    """Where an image of a store is."""
    return os.path.join(path, "images", key)


def image_facts(folder: str) -> dict[str, Any] | None:
    """What an image says of itself; None where that is nothing, or is damaged: then the image is to be done again."""
    try:
        return read_attributes(folder)
    except StoreError:
        return None


def create_image(path: str, key: str, layout: Layout) -> None:
    """Make the arrays of all levels, without a pixel and without attributes that vouch for any.

    An image of that name that is there already is removed.

    Parameters
    ----------
    path, key
        The store and the image's name in it.
    layout
        What is to be made.

    Raises
    ------
    OSError
        If there is no store, or it cannot be written.
    """
    remove_image(path, key)
    folder = image_folder(path, key)
    storage.make_folder(folder)  # not below a store that is not there
    write_group(folder)
    write_group(os.path.join(folder, "labels"), ome.labels_index(["kmeans"]))
    for name, spec, placed in image_arrays(layout):
        create_array(os.path.join(folder, name), spec, placed)
    write_georeferences(folder, layout)


def image_arrays(layout: Layout) -> Iterator[tuple[str, ArraySpec, dict[str, Any]]]:
    """The arrays of all levels: where in the image's folder each is, what it is, and its attributes."""
    for level in range(layout.levels):
        placed = {"grid_mapping": GRID_MAPPING} if layout.geo is not None and level == 0 else {}
        yield os.path.join(LABELS, str(level)), arrays.labels(layout, level), placed
        if layout.copy_bands:
            yield str(level), arrays.copy(layout, level), placed
        if layout.has_masks and level == 0:
            yield "masks", arrays.masks(layout), placed
        if layout.confidence and level == 0:
            yield "confidence", arrays.confidence(layout), placed


def arrays_are_sound(folder: str, layout: Layout) -> bool:
    """Whether an image's folder has all that `create_image` makes of a layout, pixels apart.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        Of various kinds, if something is missing or damaged.
    """
    return read_document(os.path.join(folder, "labels"))["attributes"] == ome.labels_index(["kmeans"]) and all(
        read_document(os.path.join(folder, name)) == {**json.loads(array_document(spec)), "attributes": placed}
        for name, spec, placed in image_arrays(layout)
    )


def remove_image(path: str, key: str) -> None:
    """Remove an image and all that is in it, if it is there; first of all what declares it complete."""
    folder = image_folder(path, key)
    if storage.is_dir(folder):
        with contextlib.suppress(FileNotFoundError):
            storage.remove_file(os.path.join(folder, "zarr.json"))
        with contextlib.suppress(FileNotFoundError):  # another process, taken for dead, removed some of it
            storage.remove_tree(folder)


def write_georeferences(folder: str, layout: Layout) -> None:
    """Say where an image is on the ground, where that is known, beside its labels and its other arrays."""
    if layout.geo is None:
        return
    write_georeference(os.path.join(folder, LABELS), layout.geo, layout.shape)
    if layout.copy_bands or layout.has_masks or layout.confidence:
        write_georeference(folder, layout.geo, layout.shape)


def write_georeference(folder: str, geo: GeoReference, shape: tuple[int, int]) -> None:
    """The grid mapping and the coordinates of level 0, beside the arrays they are of: there readers look for them."""
    create_array(os.path.join(folder, GRID_MAPPING), ArraySpec((), (), "int64", 0, ()), geo.attributes())
    described = geo.axis_attributes()
    for name, values in geo.coordinates(shape).items():
        spec = ArraySpec(values.shape, (min(values.size, COORDINATE_CHUNK),), "float64", 0, (name,), "numbers")
        store_array(os.path.join(folder, name), values, spec, dict(described[name]))


def write_window(path: str, key: str, rows: slice, columns: slice, labels: Labels, layout: Layout) -> None:
    """Write a window of the labels, and of the masks where there are any.

    Parameters
    ----------
    path, key
        The store and the image's name in it.
    rows, columns
        The window: whole tiles, or up to the image's edge.
    labels
        Those of the window.
    layout
        As given to `create_image`.

    Raises
    ------
    ValueError
        If the window holds a part of a tile, or the labels are not those of such a window.
    """
    require_aligned(layout.shape, layout.tile, rows, columns)
    layout.require_labels(labels, rows, columns)
    folder = image_folder(path, key)
    write_plane(os.path.join(folder, LABELS, "0"), arrays.labels(layout, 0), (rows, columns), labels)
    if layout.has_masks:
        write_masks(os.path.join(folder, "masks"), arrays.masks(layout), (rows, columns), labels, layout.invalid)


def write_confidence(
    path: str, key: str, rows: slice, columns: slice, confidence: NDArray[np.uint8] | None, layout: Layout
) -> None:
    """Write a window of how clearly each pixel belongs to its cluster (``--confidence``).

    Parameters
    ----------
    path, key, rows, columns, layout
        As `write_window` has them.
    confidence
        uint8 (y, x) of the window: 0 to 254, 255 where invalid.

    Raises
    ------
    ValueError
        If the window holds a part of a tile, or the values are not those of such a window.
    """
    require_aligned(layout.shape, layout.tile, rows, columns)
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    if confidence is None or not layout.confidence or confidence.shape != shape or confidence.dtype != np.uint8:
        found = "none" if confidence is None else f"{confidence.dtype} {confidence.shape}"
        raise ValueError(f"expected confidence uint8 {shape} of a layout that has it, got {found}")
    folder = os.path.join(image_folder(path, key), "confidence")
    write_plane(folder, arrays.confidence(layout), (rows, columns), confidence)


def write_copy(path: str, key: str, rows: slice, columns: slice, samples: NDArray[Any], layout: Layout) -> None:
    """Write a window of the image itself (``--copy-image``).

    Parameters
    ----------
    path, key, rows, columns, layout
        As `write_window` has them.
    samples
        (y, x, c) of the window.

    Raises
    ------
    ValueError
        If the window holds a part of a tile, or the samples are not those of such a window.
    """
    require_aligned(layout.shape, layout.tile, rows, columns)
    shape = (rows.stop - rows.start, columns.stop - columns.start, layout.copy_bands)
    if not layout.copy_bands or samples.shape != shape or samples.dtype != np.dtype(layout.copy_dtype):
        raise ValueError(f"expected samples {layout.copy_dtype} {shape}, got {samples.dtype} {samples.shape}")
    folder, spec = os.path.join(image_folder(path, key), "0"), arrays.copy(layout, 0)
    for band in range(layout.copy_bands):
        write_plane(folder, spec, (rows, columns), samples[..., band], (band,))


def build_level(path: str, key: str, level: int, rows: slice, columns: slice, layout: Layout) -> None:
    """Write a window of a level from the level above, which must be complete: labels by mode, a copied image by mean.

    Parameters
    ----------
    path, key, layout
        As `write_window` has them.
    level
        1 or more.
    rows, columns
        The window, in pixels of the level: whole tiles of its own grid, or up to its edge.

    Raises
    ------
    ValueError
        If the window holds a part of a tile, or there is no such level.
    """
    for part in parts_of_level(path, key, level, rows, columns, layout):
        write_plane(part.folder, part.spec, part.window, part.made, part.first)


class PartOfLevel(NamedTuple):
    """A part of a level's array, and what it is to hold."""

    folder: str
    spec: ArraySpec
    window: tuple[slice, slice]
    first: tuple[int, ...]
    made: NDArray[Any]


def parts_of_level(
    path: str, key: str, level: int, rows: slice, columns: slice, layout: Layout
) -> Iterator[PartOfLevel]:
    """A window of a level, made from the level above part by part, of its labels and of every band of a copied image.

    Parameters and errors are those of `build_level`.
    """
    if not 1 <= level < layout.levels:
        raise ValueError(f"expected a level from 1 to {layout.levels - 1}, got {level}")
    require_aligned(layout.level_shape(level), layout.tile, rows, columns)
    folder = image_folder(path, key)
    halved: Callable[[NDArray[Any]], NDArray[Any]] = partial(mode_of_blocks, invalid=layout.invalid)
    bands: list[tuple[int, ...]] = [(band,) for band in range(layout.copy_bands)]
    for below, spec_of, planes, made in (
        (os.path.join(folder, LABELS), arrays.labels, [()], halved),
        (folder, arrays.copy, bands, mean_of_blocks),
    ):
        finer, coarser = (os.path.join(below, str(of)) for of in (level - 1, level))
        for first in planes:
            for window in _in_parts(layout, rows, columns):
                above = source_window(layout.shape, level, *window)
                found = made(read_plane(finer, spec_of(layout, level - 1), above, first))
                yield PartOfLevel(coarser, spec_of(layout, level), window, first, found)


def _in_parts(layout: Layout, rows: slice, columns: slice) -> Iterator[tuple[slice, slice]]:
    """A window in parts of whole tiles, so that what is held does not grow with the window."""
    side = layout.tile * max(1, WRITE_SIDE // layout.tile)
    for down, across in tile_windows(rows.stop - rows.start, columns.stop - columns.start, side):
        yield (
            slice(down.start + rows.start, down.stop + rows.start),
            slice(across.start + columns.start, across.stop + columns.start),
        )


def finish_image(
    path: str, record: ImageRecord, layout: Layout, colors: NDArray[np.uint8], own_model: Model | None = None
) -> None:
    """Write what is known once all pixels are written; last of all, that the image is complete.

    Parameters
    ----------
    path
        The store.
    record
        What to say of the image.
    layout
        As given to `create_image`.
    colors
        uint8 (k, 3): what to paint the clusters with.
    own_model
        A model to keep with the image (``--scope image``).
    """
    folder = image_folder(path, record.key)
    pyramid = ome.multiscales("kmeans", layout.levels, layout.scale, layout.unit)
    labels = ome.label_image(colors, list(record.counts), layout.invalid, record.invalid, pyramid)
    write_group(os.path.join(folder, LABELS), {**labels, "kseg": record.origin()})
    if own_model is not None:
        own_model.write(os.path.join(folder, "model"))
    attributes: dict[str, Any] = {}
    if layout.copy_bands:
        channels = "rgb" if (layout.copy_bands, layout.copy_dtype) == (3, "uint8") else "bands"
        attributes = ome.image(record.source, layout.levels, layout.scale, layout.unit, channels)
    write_group(folder, {**attributes, "kseg": record.attributes()})


def write_image(
    path: str,
    record: ImageRecord,
    labels: Labels,
    colors: NDArray[np.uint8],
    output: OutputSettings | Layout,
    own_model: Model | None = None,
    samples: NDArray[Any] | None = None,
    confidence: NDArray[np.uint8] | None = None,
) -> None:
    """Write one image that is in memory; its attributes, which declare it complete, come last.

    Parameters
    ----------
    path
        The store.
    record
        What to say of the image.
    labels
        (y, x).
    colors
        uint8 (k, 3): what to paint the clusters with.
    output
        Its layout; of settings: labels and masks, of one level unless a pyramid is asked for, and no copy.
    own_model
        A model to keep with the image (``--scope image``).
    samples
        (y, x, c): the image itself, where the layout has it copied.
    confidence
        uint8 (y, x), where the layout has it; None: 255 everywhere, of an image without a valid pixel.
    """
    layout = (
        output
        if isinstance(output, Layout)
        else Layout.planned(record.shape, len(colors), output, pyramid=bool(output.pyramid))
    )
    if (samples is None) != (layout.copy_bands == 0):
        raise ValueError(f"expected samples of {layout.copy_bands} bands, got {'none' if samples is None else 'some'}")
    if layout.confidence and confidence is None and any(record.counts):
        raise ValueError("expected the confidence of a layout that has it, got none")
    for last in (False, False, True):
        try:
            if not is_written(path, record):
                _write_all(path, record, labels, colors, layout, own_model, samples, confidence)
            return
        except (FileNotFoundError, FileExistsError):
            # A worker that was taken for dead may be at the same image still, and removes what is half written.
            if last or not storage.is_dir(os.path.join(path, "images")):
                raise


def is_written(path: str, record: ImageRecord) -> bool:
    """Whether an image is in a store, complete, with this very record: then its labels are those of the record too."""
    facts = image_facts(image_folder(path, record.key))
    wanted = record.attributes()
    return facts is not None and {name: facts.get(name) for name in wanted} == wanted


def _write_all(
    path: str,
    record: ImageRecord,
    labels: Labels,
    colors: NDArray[np.uint8],
    layout: Layout,
    own_model: Model | None,
    samples: NDArray[Any] | None,
    confidence: NDArray[np.uint8] | None,
) -> None:
    rows, columns = (slice(0, size) for size in layout.shape)
    create_image(path, record.key, layout)
    write_window(path, record.key, rows, columns, labels, layout)
    if samples is not None:
        write_copy(path, record.key, rows, columns, samples, layout)
    if confidence is not None:
        write_confidence(path, record.key, rows, columns, confidence, layout)
    for level in range(1, layout.levels):
        rows, columns = (slice(0, size) for size in layout.level_shape(level))
        build_level(path, record.key, level, rows, columns, layout)
    finish_image(path, record, layout, colors, own_model)


def mend_level(path: str, key: str, level: int, rows: slice, columns: slice, layout: Layout) -> None:
    """Write what of a window of a level is not as it is made from the level above, which must be sound.

    Parameters
    ----------
    path, key, level, rows, columns, layout
        As `build_level` has them.
    """
    for part in parts_of_level(path, key, level, rows, columns, layout):
        try:
            sound = read_plane(part.folder, part.spec, part.window, part.first).tobytes() == part.made.tobytes()
        except (*DAMAGE, StoreError):
            sound = False
        if not sound:
            write_plane(part.folder, part.spec, part.window, part.made, part.first)
