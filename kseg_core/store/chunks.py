"""Pixels into the chunks of an array that is there already, without Zarr's own machinery around each of them.

Zarr's pipeline hands every chunk to an event loop in another thread and back: for a small image that costs more than
compressing it. What is written is the same, by the codecs that Zarr uses, and each chunk still appears whole or not at
all. Only what this program writes is written here: regular chunks of `ArraySpec`, of whole tiles.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..errors import StoreError
from ..layers.layer import ArraySpec
from ..layers.tiles import Region
from .nodes import DOCUMENT, codec, create_array, put_file


def chunk_path(folder: str, index: Sequence[int]) -> str:
    """Where a chunk is."""
    return os.path.join(folder, "c", *map(str, index))


def write_chunk(folder: str, spec: ArraySpec, index: Sequence[int], data: NDArray[Any], *, empty: bool) -> None:
    """Write one chunk of an array, or remove it where it holds nothing but the fill value.

    Parameters
    ----------
    folder, spec
        The array.
    index
        The chunk's, along each dimension.
    data
        Its values: as many as ``spec.chunks`` says, whatever the shape; of the array's dtype.
    empty
        Whether all of them are the fill value.
    """
    path = chunk_path(folder, index)
    if empty:
        with contextlib.suppress(FileNotFoundError):
            storage.remove_file(path)
        return
    stored = np.ascontiguousarray(data)
    if sys.byteorder == "big":
        stored = stored.byteswap()
    put_file(path, codec(spec).encode(stored.reshape(-1)))


def missing_chunks(folder: str, shape: Sequence[int], chunks: Sequence[int]) -> list[str]:
    """Names, as ``row/column``, of the chunks that have no file: they hold nothing but the fill value, or are lost."""
    counts = [-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True)]
    return [
        "/".join(map(str, index)) for index in np.ndindex(*counts) if not storage.is_file(chunk_path(folder, index))
    ]


def require_array(folder: str) -> None:
    """Refuse to write chunks of an array that is not there.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    storage.stat(os.path.join(folder, DOCUMENT))


def write_array(folder: str, data: NDArray[Any], spec: ArraySpec) -> None:
    """Make an array of one chunk."""
    create_array(folder, spec)
    write_chunk(folder, spec, (0,) * data.ndim, data, empty=bool((data == spec.fill).all()))


def write_plane(folder: str, spec: ArraySpec, window: Region, data: NDArray[Any], first: tuple[int, ...] = ()) -> None:
    """Write a window of a plane of an array.

    Parameters
    ----------
    folder, spec
        The array; its last two dimensions are y and x.
    window
        Whole chunks, or up to the array's edge.
    data
        (y, x) of the window, of the array's dtype.
    first
        The index of the plane, for an array of three dimensions.
    """
    require_array(folder)
    height, width = spec.chunks[-2:]
    rows, columns = window
    for top in range(rows.start, rows.stop, height):
        for left in range(columns.start, columns.stop, width):
            y, x = top - rows.start, left - columns.start
            put_tile(folder, spec, (*first, top // height, left // width), data[y : y + height, x : x + width])


def read_plane(folder: str, spec: ArraySpec, window: Region, first: tuple[int, ...] = ()) -> NDArray[Any]:
    """A window of a plane of an array that this program has written: (y, x), of the array's dtype.

    Parameters
    ----------
    folder, spec, first
        As `write_plane` has them.
    window
        Any pixels.

    Raises
    ------
    FileNotFoundError
        If there is no such array.
    StoreError
        If a chunk is damaged.
    """
    require_array(folder)
    rows, columns = window
    found = np.full((rows.stop - rows.start, columns.stop - columns.start), spec.fill, spec.dtype)
    height, width = spec.chunks[-2:]
    for down in range(rows.start // height, -(-rows.stop // height)):
        for across in range(columns.start // width, -(-columns.stop // width)):
            tile = _read_chunk(folder, spec, (*first, down, across))
            if tile is None:
                continue
            y, x = down * height, across * width
            top, left = max(y, rows.start), max(x, columns.start)
            bottom, right = min(y + height, rows.stop), min(x + width, columns.stop)
            place = slice(top - rows.start, bottom - rows.start), slice(left - columns.start, right - columns.start)
            found[place] = tile[top - y : bottom - y, left - x : right - x]
    return found


def _read_chunk(folder: str, spec: ArraySpec, index: Sequence[int]) -> NDArray[Any] | None:
    """A chunk's values (y, x); None where it holds nothing but the fill value."""
    try:
        packed = storage.read(chunk_path(folder, index))
    except FileNotFoundError:
        return None
    try:
        stored = np.frombuffer(codec(spec).decode(packed), np.dtype(spec.dtype).newbyteorder("<"))
        return stored.astype(spec.dtype, copy=False).reshape(spec.chunks[-2:])
    except (ValueError, TypeError, RuntimeError) as error:  # each codec has its own
        why = "a damaged chunk (its bytes are not what was written)"
        raise StoreError(f"{chunk_path(folder, index)}: {why}") from error


def put_tile(folder: str, spec: ArraySpec, index: Sequence[int], values: NDArray[Any]) -> None:
    """Write a tile (y, x) of an array that is there; one that the array's edge has cut is stored at full size."""
    shape = spec.chunks[-2:]
    if values.shape != shape:
        tile = np.full(shape, spec.fill, values.dtype)
        tile[: values.shape[0], : values.shape[1]] = values
        values = tile
    write_chunk(folder, spec, index, values, empty=all_equal(values, spec.fill))


def all_equal(tile: NDArray[Any], value: float) -> bool:
    """Whether there is no other value in a tile."""
    if value == 0:
        return not tile.any()
    return bool(tile[0, 0] == value) and bool((tile == value).all())
