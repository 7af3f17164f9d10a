"""Zarr arrays and OME-Zarr images (0.1 to 0.5) as pictures, by zarr-python.

Which axis is which says, in this order of trust,

1. an OME-Zarr image's ``multiscales`` (its largest dataset is the highest resolution, which should be the first);
2. the array's names of dimensions (Zarr v3, or xarray's ``_ARRAY_DIMENSIONS``), where they hold ``y`` and ``x``, or
   latitude and longitude, rows and columns, ...;
3. the shape: two axes are (y, x). Of three, the last are channels where there are at most 4 of them; else the first,
   where it is the shortest and has at most 16; else the last, where it is the shortest.

Axes that are neither channels nor y nor x (time, depth) are read at 0, unless another place is chosen. A fourth
channel is alpha in a plain array of uint8 whose last axis it is, as pictures are kept; the channels of a microscope
never are.

A chunk that is not there has the fill value: so the format has it.
"""

from __future__ import annotations

import itertools
import math
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core import storage
from kseg_core.choice import RULES, PictureChoice
from kseg_core.images.band_names import cleaned, of_attributes, of_omero
from kseg_core.images.choosing import axis_notes, note, taken
from kseg_core.images.decoder import Decoder, Opening
from kseg_core.images.raster import (
    MAX_PIXELS,
    SPARSE_RATIO,
    PictureInfo,
    Refused,
    Samples,
    check_dtype,
    check_size,
    check_sparse,
)
from kseg_core.images.windows import Window
from kseg_core.inputs.zarr_images import MARKERS, top_folder, zarr_images
from kseg_core.storage import zipped

_AXIS_NAMES = {
    **dict.fromkeys(("c", "channel", "channels", "band", "bands"), "c"),
    **dict.fromkeys(("z", "depth", "slice", "slices"), "z"),
    **dict.fromkeys(("t", "time", "frame", "frames"), "t"),
}
_PLACE_NAMES = {
    **dict.fromkeys(("lat", "latitude", "northing", "row", "rows", "height"), "y"),
    **dict.fromkeys(("lon", "longitude", "easting", "col", "cols", "column", "columns", "width"), "x"),
}
_MAX_LEADING_CHANNELS = 16
_MOST_OF_A_CHUNK = 1 << 31  # samples: the codecs count bytes of a chunk in 32 bits


def is_zarr(path: str) -> bool:
    """Say whether a path is the directory of a Zarr array or group."""
    if storage.is_remote(path):
        return _is_remote_zarr(path)
    if zipped.split(path) is not None:
        return True
    return os.path.isdir(path) and any(os.path.lexists(os.path.join(path, marker)) for marker in MARKERS)


@lru_cache(maxsize=1 << 16)
def _is_remote_zarr(path: str) -> bool:
    """Asked once a process: an address stays what it is, and each question is a request."""
    return storage.is_dir(path) and any(storage.exists(os.path.join(path, marker)) for marker in MARKERS)


class ZarrImage(Decoder):
    """A Zarr array, or the highest resolution of an OME-Zarr image: a directory, or a path into a zip file."""

    name, other_names, mask_suffixes = "Zarr", ("OME-Zarr",), ("zarr",)
    has_pixel_size = names_bands = True

    def __init__(self, opening: Opening) -> None:
        path, choice = opening.path, opening.choice
        taken("page", choice.page, 1)
        if choice.series is not None:
            _require_alone(path, choice.series)
        with ExitStack() as closing:
            self._open(path, choice, closing)
            self._closing = closing.pop_all()

    def _open(self, path: str, choice: PictureChoice, closing: ExitStack) -> None:
        node = open_node(path, closing)
        name, self._array, axes, notes, rules = _array_of(node, choice)
        sizes = dict(zip(axes, self._array.shape, strict=True))
        self._axes = axes
        slices = sizes.get("z", 1)
        z = range(slices) if choice.z == "max" else range(number := taken("z", choice.z, slices), number + 1)
        self._slices, self._time = z, taken("t", choice.t, sizes.get("t", 1))
        self.stored_shape: tuple[int, int] = (sizes["y"], sizes["x"])
        check_size(*self.stored_shape, sizes["y"] * sizes["x"])
        is_bool = self._array.dtype == np.bool_
        dtype = check_dtype("uint8" if is_bool else self._array.dtype.newbyteorder("=").name)
        chunks = dict(zip(axes, self._array.chunks, strict=True))
        self._chunked_channels = chunks.get("c", 1)
        bands = sizes.get("c", 1)
        if bands < 1 or 0 in self._array.shape:
            raise Refused(f"no pixels: the array's shape is {self._array.shape}")
        _check_chunks(self._array, path)
        self._alpha = name == "Zarr" and axes[-1] == "c" and bands == 4 and dtype == "uint8"
        nodata = _number(self._array.attrs.get("_FillValue"))
        block = chunks["y"], chunks["x"]
        self._chunked_slices = max(1, chunks.get("z", 1))
        notes += axis_notes({axis: size for axis, size in sizes.items() if axis != "c"}, choice)
        names = _names(path, node, self._array, axes.index("c") if "c" in axes else None, bands)
        self.info = PictureInfo(
            name,
            self.stored_shape,
            bands,
            dtype,
            block,
            nodata,
            self._alpha,
            notes=notes,
            rules=rules,
            band_names=names or (("red", "green", "blue", "alpha") if self._alpha else ()),
        )

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        if not self._alpha:
            return self._read(window, bands), None
        samples = self._read(window, range(4))
        return samples[..., : len(bands)] if bands == (0, 1, 2) else samples[..., list(bands)], samples[..., 3] != 0

    def close(self) -> None:
        """Close the zip file, where it is in one."""
        self._closing.close()

    def _read(self, window: Window, bands: range | tuple[int, ...]) -> Samples:
        """Read (height, width, bands) in native byte order; chunks of other channels are left alone."""
        first, last = min(bands), max(bands)
        if "c" not in self._axes or self._chunked_channels > 1 or last - first + 1 == len(bands):
            deep = self._selected(window, slice(first, last + 1))
            order = [band - first for band in bands]
            return deep if order == [*range(deep.shape[2])] else deep[..., order]
        return np.concatenate([self._selected(window, slice(band, band + 1)) for band in bands], axis=2)

    def _selected(self, window: Window, channels: slice) -> Samples:
        first, last = self._slices.start, self._slices.stop
        if "z" not in self._axes or last - first == 1:
            return self._plane(window, channels, slice(first, first + 1))
        starts = range(first, last, self._chunked_slices)
        parts = (self._plane(window, channels, slice(at, min(last, at + self._chunked_slices))) for at in starts)
        highest = next(parts)
        for part in parts:
            highest = np.maximum(highest, part)
        return highest

    def _plane(self, window: Window, channels: slice, slices: slice) -> Samples:
        """The largest values over some slices, (height, width, channels)."""
        rows, columns = window.slices
        chosen: dict[str, slice] = {"y": rows, "x": columns, "c": channels}
        fixed: dict[str, int | slice] = {"t": self._time, "z": slices}
        part = np.asarray(self._array[tuple(chosen.get(axis, fixed.get(axis, 0)) for axis in self._axes)])
        axes = [axis for axis in self._axes if axis in chosen or axis == "z"]
        if "z" in axes:
            part = part.max(axis=axes.index("z"))
            axes.remove("z")
        if "c" not in axes:
            part, axes = part[..., None], [*axes, "c"]
        part = part.transpose([axes.index(axis) for axis in ("y", "x", "c")])
        return part.astype(part.dtype.newbyteorder("="), copy=False)


def _require_alone(path: str, series: int) -> None:
    """Refuse to choose a series of a group whose images are inputs of their own: each would be taken, not the one."""
    parent, _, name = path.rstrip("/").rpartition("/")
    if not is_zarr(parent):
        return
    inside = zarr_images(parent).inside
    if name in inside:
        wanted = inside[series] if series < len(inside) else name
        raise Refused(
            "images of a Zarr group are inputs of their own: leave out --series, "
            f"and name the image: {os.path.basename(parent)}/{wanted}"
        )


def open_node(path: str, closing: ExitStack) -> Any:
    """Open a Zarr array or group: a directory, in an object store, or in a zip file.

    Parameters
    ----------
    closing
        Closes what must be closed.
    """
    import zarr

    parts = zipped.split(path)
    if parts is None:
        return zarr.open(storage.for_zarr(path), mode="r")
    file, inside = parts
    store = zarr.storage.ZipStore(file, mode="r")
    closing.callback(store.close)
    return zarr.open(store, mode="r", path=inside or top_folder(file))


def _array_of(node: Any, choice: PictureChoice) -> tuple[str, Any, tuple[str, ...], tuple[str, ...], int]:
    """Return what it is, the array, a name for each axis (``y``, ``x``, perhaps ``c``, others), notes, and rules."""
    import zarr

    if isinstance(node, zarr.Array):
        taken("series", choice.series, 1)
        return "Zarr", node, *_axes_of_array(node)
    attributes: dict[str, Any] = dict(node.attrs)
    ome = attributes.get("ome")
    multiscales = (ome if isinstance(ome, dict) else attributes).get("multiscales")
    if not multiscales:
        raise Refused("a Zarr group without multiscales is no image: " + _name_what_is_inside(node))
    notes: tuple[str, ...] = ()
    try:
        index = taken("series", choice.series, len(multiscales))
        if len(multiscales) > 1 and choice.series is None:
            notes = (note("series", index, len(multiscales)),)
        image = multiscales[index]
        levels = [str(dataset["path"]) for dataset in image["datasets"]]
        first = levels[0]
        axes = [axis if isinstance(axis, str) else str(axis["name"]) for axis in image.get("axes") or "tczyx"]
        named = tuple(axis.lower() for axis in axes)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Refused("a Zarr group whose multiscales are not OME-Zarr's: " + _name_what_is_inside(node)) from None
    array: Any = node.get(first)
    if not isinstance(array, zarr.Array):
        raise Refused(f"damaged: the OME-Zarr's largest level {first!r} is not there, or is no array")
    rules = 1
    if not _begins_with_the_finest(image):
        others = [level for level in map(node.get, levels[1:]) if isinstance(level, zarr.Array)]
        largest = max((array, *others), key=lambda level: math.prod(level.shape))
        array, rules = largest, 1 if largest is array else RULES
    if not image.get("axes") and array.ndim != len(named):
        return "OME-Zarr", array, *_axes_of_array(array, notes)
    return "OME-Zarr", array, _checked(named, array), notes, rules


def _names(path: str, node: Any, array: Any, channels: int | None, bands: int) -> tuple[str, ...]:
    """Return what a group of OME-Zarr, or the attributes of an array or its coordinates, call the channels."""
    if node is not array:
        attributes: dict[str, Any] = dict(node.attrs)
        ome = attributes.get("ome")
        return of_omero(ome if isinstance(ome, dict) else attributes, bands)
    names = of_attributes(dict(array.attrs), bands)
    return names if names or channels is None else _coordinates(path, array, channels, bands)


def _coordinates(path: str, array: Any, channels: int, bands: int) -> tuple[str, ...]:
    """Return the texts along an array's axis of channels, as xarray writes them: an array of the axis' name beside."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    name = names[channels] if len(names) == array.ndim else None
    folder, slash, _ = path.rstrip("/").rpartition("/")
    if not isinstance(name, str) or not slash or name != os.path.basename(name):
        return ()
    with ExitStack() as closing, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that only zarr-python writes
        try:
            beside = open_node(f"{folder}/{name}", closing)
            return cleaned([*map(_text, beside[:])], bands) if beside.shape == (bands,) else ()
        except Exception:  # of any class: it is not there, or of a kind that zarr-python does not read
            return ()


def _text(value: Any) -> str:
    """A coordinate that is a text; numbers name no bands, as those are numbers themselves."""
    return str(value) if isinstance(value, str) else ""


def _begins_with_the_finest(image: dict[str, Any]) -> bool:
    """Say whether the scales of an image's datasets grow, as they must; False where they do not tell."""
    sizes = [pixel_volume(dataset) for dataset in image["datasets"]]
    return all(before < after < math.inf for before, after in itertools.pairwise(sizes))


def pixel_volume(dataset: dict[str, Any]) -> float:
    """Return the product of what a dataset of multiscales says of its scale; infinite where it says nothing."""
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        for step in dataset["coordinateTransformations"]:
            if step["type"] == "scale":
                return math.prod(float(size) for size in step["scale"])
    return math.inf


def _name_what_is_inside(group: Any) -> str:
    """Return what to do with a group that is no image, naming what is in it."""
    inside = ", ".join(sorted(name for name, _ in group.members())[:5])
    return "name an array or an OME-Zarr image inside it" + (f" ({inside}, …)" if inside else "")


def _check_chunks(array: Any, path: str) -> None:
    """Refuse an array of chunks of no decodable size, and one of next to nothing but chunks that are not there.

    The chunks of a local folder and of a zip file are counted, those of an object store are not.
    """
    if math.prod(array.chunks) > _MOST_OF_A_CHUNK:
        raise Refused(f"damaged: chunks of {' x '.join(map(str, array.chunks))} samples, which are decoded whole")
    stated = math.prod(array.shape)
    if stated <= MAX_PIXELS or storage.is_remote(path):
        return
    of_a_file = math.prod(array.shards or array.chunks)
    enough = -(-stated // (of_a_file * SPARSE_RATIO))
    chunks = (name for name in _files(array, path) if not name.startswith((".z", "zarr.json")))
    check_sparse(stated, sum(1 for _ in itertools.islice(chunks, enough)) * of_a_file)


def _files(array: Any, path: str) -> Iterator[str]:
    """Yield the names of the files of an array, without their folders."""
    inside = array.store_path.path
    parts = zipped.split(path)
    if parts is None:
        root = getattr(array.store_path.store, "root", path)
        yield from (name for _, _, names in os.walk(os.path.join(root, inside)) for name in names)
        return
    with zipfile.ZipFile(parts[0]) as packed:
        yield from (name.rpartition("/")[2] for name in packed.namelist() if name.startswith(inside))


def _axes_of_array(array: Any, notes: tuple[str, ...] = ()) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Return the axes of an array that stands for itself, notes, and rules: 0.1.0 knew no other names than y and x."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS") or ()
    lowered = tuple(f"axis {at}" if name is None else str(name).lower() for at, name in enumerate(names))
    named = tuple(_AXIS_NAMES.get(name, name) for name in lowered)
    if {"y", "x"} <= set(named):
        return _checked(named, array), notes, 1
    meant = tuple(_PLACE_NAMES.get(name, name) for name in named)
    if {"y", "x"} <= set(meant):
        axes = _checked(meant, array)
        with suppress(Refused):
            return axes, notes, 1 if _axes_by_shape(array) == axes else RULES
        return axes, notes, RULES
    if {"z", "t"} & set(meant):
        raise Refused(f"its axes are named {', '.join(lowered)}: which are y and x? Name them so")
    return _axes_by_shape(array), notes, 1


def _axes_by_shape(array: Any) -> tuple[str, ...]:
    """Return the axes that an array most likely has."""
    if array.ndim == 2:
        return ("y", "x")
    if array.ndim != 3:
        raise Refused(f"an array of {array.ndim} axes without names: name its dimensions, or make it (y, x, channel)")
    first, middle, last = array.shape
    if last <= 4:
        return ("y", "x", "c")
    if first <= _MAX_LEADING_CHANNELS and first < min(middle, last):
        return ("c", "y", "x")
    if last < min(first, middle):
        return ("y", "x", "c")
    raise Refused(f"an array of {first} x {middle} x {last}: which axis is the channels? Name its dimensions")


def _checked(axes: tuple[str, ...], array: Any) -> tuple[str, ...]:
    """Refuse axes that are not those of the array, or lack ``y`` or ``x``."""
    if len(axes) != array.ndim or len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes):
        raise Refused(f"damaged: axes {', '.join(axes)} for an array of {array.ndim} axes")
    return axes


def _number(value: Any) -> float | None:
    """Return what CF calls the fill value, where it is a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
