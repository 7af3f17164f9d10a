"""Images into a store, whole or window by window. Every chunk and every document has exactly one writer.

In order: `create_image`; `write_window`, in any order, by any number of tasks; `build_level` for level 1, 2, ... each
after the level before is complete; `finish_image`, which declares the image complete. `write_image` is all of it for an
image in memory. Arrays come before the attributes that vouch for them. Which arrays these are the layers say.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..config import LABELS as LABELS
from ..config import RAW, OutputSettings
from ..errors import StoreError
from ..images.geo import GRID_MAPPING, GeoReference
from ..layers import RAW_LAYER, labelled_layers
from ..layers.layer import ArraySpec, Layer, LayerInput, Layout
from ..layers.tiles import Region, require_aligned, source_window, tile_windows, whole
from . import ome
from .manifest import image_folder as image_folder
from .markers import is_written
from .model import Model
from .nodes import (
    DAMAGE,
    array_document,
    create_array,
    put_tile,
    read_document,
    read_plane,
    require_array,
    write_array,
    write_group,
    write_plane,
)
from .record import ImageRecord

WRITE_SIDE = 1024  # masks and levels are made and written in squares of about so many pixels: megabytes at a time
COORDINATE_CHUNK = 1 << 16


def create_image(path: str, key: str, layout: Layout, *, pieces: bool = False) -> None:
    """Make the arrays of all levels, without a pixel and without attributes that vouch for any.

    An image of that name that is there already is removed.

    Parameters
    ----------
    path, key
        The store and the image's name in it.
    layout
        What is to be made.
    pieces
        Whether windows are written one by one, so that raw labels wait until all are there.

    Raises
    ------
    OSError
        If there is no store, or it cannot be written.
    """
    remove_image(path, key)
    folder = image_folder(path, key)
    storage.make_folder(folder)  # not below a store that is not there
    write_group(folder)
    for name, spec, placed in image_arrays(layout, pieces=pieces):
        create_array(os.path.join(folder, name), spec, placed)
    write_labels_index(folder)
    write_georeferences(folder, layout)


def raw_array(layout: Layout) -> str:
    """Where in the image's folder the labels are that are not cleaned yet."""
    return RAW_LAYER.path() if layout.keep_raw else "raw.partial"


def labels_listed(folder: str) -> dict[str, Any]:
    """The attributes of an image's ``labels``: those of its label images that are there, of which one always is."""
    added = ("raw", "segments", "classes")
    there = [name for name in added if storage.is_dir(os.path.join(folder, "labels", name))]
    alone = there and not storage.is_dir(os.path.join(folder, LABELS))
    return ome.labels_index(there if alone else ["kmeans", *there])


def write_labels_index(folder: str) -> None:
    """List the label images of an image."""
    write_group(os.path.join(folder, "labels"), labels_listed(folder))


def image_arrays(layout: Layout, *, pieces: bool = False) -> Iterator[tuple[str, ArraySpec, dict[str, Any]]]:
    """The arrays of all levels: where in the image's folder each is, what it is, and its attributes."""
    for layer in labelled_layers(layout):
        for level in range(layer.levels(layout)):
            yield layer.path(level), layer.spec(layout, level), placed(layout, level)
    if pieces and layout.is_cleaned and not layout.keep_raw:
        yield raw_array(layout), RAW_LAYER.spec(layout), {}


def placed(layout: Layout, level: int = 0) -> dict[str, Any]:
    """The attributes by which a level of an array is on the ground."""
    return {"grid_mapping": GRID_MAPPING} if layout.geo is not None and level == 0 else {}


def arrays_are_sound(folder: str, layout: Layout, *, pieces: bool = False) -> bool:
    """Whether an image's folder has all that `create_image` makes of a layout, pixels apart.

    Raises
    ------
    OSError, ValueError, KeyError, TypeError
        Of various kinds, if something is missing or damaged.
    """
    return read_document(os.path.join(folder, "labels"))["attributes"] == labels_listed(folder) and all(
        read_document(os.path.join(folder, name)) == {**json.loads(array_document(spec)), "attributes": placed}
        for name, spec, placed in image_arrays(layout, pieces=pieces)
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
    """Say where an image is on the ground, where that is known, beside the arrays of each group."""
    if layout.geo is not None:
        for group in dict.fromkeys(os.path.dirname(layer.path()) for layer in labelled_layers(layout)):
            write_georeference(os.path.join(folder, group), layout.geo, layout.shape)


def write_georeference(folder: str, geo: GeoReference, shape: tuple[int, int]) -> None:
    """The grid mapping and the coordinates of level 0, beside the arrays they are of: there readers look for them."""
    create_array(os.path.join(folder, GRID_MAPPING), ArraySpec((), (), "int64", 0, ()), geo.attributes())
    described = geo.axis_attributes()
    for name, values in geo.coordinates(shape).items():
        spec = ArraySpec(values.shape, (min(values.size, COORDINATE_CHUNK),), "float64", 0, (name,), "numbers")
        write_array(os.path.join(folder, name), values, spec, dict(described[name]))


def write_window(
    path: str, key: str, region: Region, window: LayerInput, layout: Layout, layers: Sequence[Layer] | None = None
) -> None:
    """Write a window of every layer that is written with the labels.

    Parameters
    ----------
    path, key
        The store and the image's name in it.
    region
        Where in the image: whole tiles, or up to the image's edge.
    window
        What the layers are made of there, and nothing around it.
    layout
        As given to `create_image`.
    layers
        Of which; None: of all.

    Raises
    ------
    ValueError
        If the region holds a part of a tile, or the window lacks what a layer is made of, or that is of another shape
        or dtype.
    """
    require_aligned(layout.shape, layout.tile, *region)
    shape = tuple(part.stop - part.start for part in region)
    for values in (window.labels, window.samples, window.confidence):
        if values is not None and values.shape[:2] != shape:
            raise ValueError(f"expected a window of {shape}, got {values.dtype} {values.shape}")
    folder = image_folder(path, key)
    for layer in labelled_layers(layout) if layers is None else layers:
        write_tiles(os.path.join(folder, layer.path()), layer, region, window, layout)


def write_tiles(array: str, layer: Layer, region: Region, window: LayerInput, layout: Layout) -> None:
    """Write a window of a layer without a halo; of one plane's tile at a time, so that k masks are never held."""
    spec = layer.spec(layout)
    require_array(array)
    rows, columns = region
    height, width = spec.chunks[-2:]
    for down, across in tile_windows(rows.stop - rows.start, columns.stop - columns.start, layout.tile):
        index = ((rows.start + down.start) // height, (columns.start + across.start) // width)
        shape = (down.stop - down.start, across.stop - across.start)
        for first, values in layer.planes(window.part((down, across)), layout):
            if values.shape != shape or values.dtype != np.dtype(spec.dtype):
                what = f"{layer.name} {spec.dtype} of tiles {shape}"
                raise ValueError(f"expected {what}, got {values.dtype} {values.shape}")
            put_tile(array, spec, (*first, *index), values)


def build_level(
    path: str, key: str, level: int, region: Region, layout: Layout, layers: Sequence[Layer] | None = None
) -> None:
    """Write a window of a level from the level above, which must be complete: plane by plane and part by part.

    Parameters
    ----------
    path, key, layout
        As `write_window` has them.
    level
        1 or more.
    region
        The window, in pixels of the level: whole tiles of its own grid, or up to its edge.
    layers
        Of which; None: of those that are written with the labels.

    Raises
    ------
    ValueError
        If the window holds a part of a tile, or there is no such level.
    """
    for place, made in _parts_of_level(path, key, level, region, layout, layers):
        place.write(made)


def mend_level(path: str, key: str, level: int, region: Region, layout: Layout) -> None:
    """Write what of a window of a level is not as `build_level` makes it."""
    for place, made in _parts_of_level(path, key, level, region, layout, None):
        if not place.holds(made):
            place.write(made)


def _parts_of_level(
    path: str, key: str, level: int, region: Region, layout: Layout, layers: Sequence[Layer] | None
) -> Iterator[tuple[PlaneWindow, NDArray[Any]]]:
    if not 1 <= level < layout.levels:
        raise ValueError(f"expected a level from 1 to {layout.levels - 1}, got {level}")
    require_aligned(layout.level_shape(level), layout.tile, *region)
    image = image_folder(path, key)
    for layer in labelled_layers(layout) if layers is None else layers:
        if level >= layer.levels(layout):
            continue
        above, folder = (os.path.join(image, layer.path(each)) for each in (level - 1, level))
        finer, spec = layer.spec(layout, level - 1), layer.spec(layout, level)
        for first in np.ndindex(spec.shape[:-2]):
            for window in _in_parts(layout, region):
                plane = read_plane(above, finer, source_window(layout.shape, level, *window), first)
                yield PlaneWindow(folder, spec, window, first), layer.halved(plane, layout)


class PlaneWindow(NamedTuple):
    """A window of a plane of an array, as `write_plane` has it."""

    folder: str
    spec: ArraySpec
    window: Region
    first: tuple[int, ...]

    def write(self, values: NDArray[Any]) -> None:
        write_plane(self.folder, self.spec, self.window, values, self.first)

    def holds(self, values: NDArray[Any]) -> bool:
        """Whether it can be read and is this."""
        try:
            return read_plane(*self).tobytes() == values.tobytes()
        except (*DAMAGE, StoreError):
            return False


def _in_parts(layout: Layout, region: Region) -> Iterator[Region]:
    """A window in parts of whole tiles, so that what is held does not grow with the window."""
    rows, columns = region
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
    write_group(os.path.join(folder, LABELS), {**labels, "kseg": record.with_labels()})
    if layout.keep_raw:
        raw = ome.label_image(colors, list(record.assigned), layout.invalid, record.invalid, raw_pyramid(layout))
        write_group(os.path.join(folder, RAW), raw)
    if own_model is not None:
        own_model.write(os.path.join(folder, "model"))
    attributes: dict[str, Any] = {}
    if layout.copy_bands:
        channels = "rgb" if (layout.copy_bands, layout.copy_dtype) == (3, "uint8") else "bands"
        attributes = ome.image(record.source, layout.levels, layout.scale, layout.unit, channels)
    write_group(folder, {**attributes, "kseg": record.attributes()})


def raw_pyramid(layout: Layout) -> list[dict[str, Any]]:
    """What is said of the levels of the raw labels."""
    return ome.multiscales("raw", layout.levels, layout.scale, layout.unit)


def write_image(
    path: str,
    record: ImageRecord,
    window: LayerInput,
    colors: NDArray[np.uint8],
    output: OutputSettings | Layout,
    own_model: Model | None = None,
) -> None:
    """Write one image that is in memory; its attributes, which declare it complete, come last.

    Parameters
    ----------
    path
        The store.
    record
        What to say of the image.
    window
        All of it: what the layers that the layout has are made of.
    colors
        uint8 (k, 3): what to paint the clusters with.
    output
        Its layout; of settings: labels and masks, of one level unless a pyramid is asked for, and no copy.
    own_model
        A model to keep with the image (``--scope image``).
    """
    layout = (
        output
        if isinstance(output, Layout)
        else Layout.planned(record.shape, len(colors), output, pyramid=bool(output.pyramid))
    )
    for last in (False, False, True):
        try:
            if not is_written(path, record):
                _write_all(path, record, window, colors, layout, own_model)
            return
        except (FileNotFoundError, FileExistsError):
            # A worker that was taken for dead may be at the same image still, and removes what is half written.
            if last or not storage.is_dir(os.path.join(path, "images")):
                raise


def _write_all(
    path: str,
    record: ImageRecord,
    window: LayerInput,
    colors: NDArray[np.uint8],
    layout: Layout,
    own_model: Model | None,
) -> None:
    create_image(path, record.key, layout)
    write_window(path, record.key, whole(layout.shape), window, layout)
    for level in range(1, layout.levels):
        build_level(path, record.key, level, whole(layout.level_shape(level)), layout)
    finish_image(path, record, layout, colors, own_model)
