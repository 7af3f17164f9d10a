"""Zarr v3 groups and arrays, their documents and their chunks: each appears whole, in one write.

The documents say what zarr-python's own say, and the chunks hold the same bytes (tests compare them). They are written
here because a store of many small images has more documents than anything else, and zarr-python, whose import takes as
long as labelling forty photographs of thumbnail size, hands every chunk to an event loop in another thread and back:
for a small image that costs more than compressing it. Only what this program writes is written here: regular chunks of
`ArraySpec`, of whole tiles, by the codecs that Zarr uses.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..errors import StoreError
from ..layers.layer import ArraySpec
from ..layers.tiles import Region

if TYPE_CHECKING:
    import zarr

DOCUMENT = "zarr.json"  # of a group or an array
# What Blosc compresses at a time. By itself it takes an eighth of that for the sake of partial reads, which chunks do
# not know, and needs twice the time for a tenth more bytes of masks.
BLOSC_BLOCK = 1 << 18

# What Zarr and its codecs raise where files are missing, cut short or not what they should be.
DAMAGE = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, ArithmeticError)


class Codec(Protocol):
    """What turns a chunk's bytes into those of its file."""

    def encode(self, buf: Any) -> bytes: ...
    def decode(self, buf: Any) -> Any: ...


def write_group(folder: str, attributes: dict[str, Any] | None = None) -> None:
    """Make a group, or replace the attributes of one; what is in it stays."""
    _put(folder, group_document(attributes))


def group_document(attributes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A group's ``zarr.json``."""
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes or {}}


def read_document(folder: str) -> dict[str, Any]:
    """What is said of a group or an array.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    document: dict[str, Any] = json.loads(storage.read(os.path.join(folder, DOCUMENT)))
    return document


def create_array(folder: str, spec: ArraySpec, attributes: dict[str, Any] | None = None) -> None:
    """Make an array that holds nothing but its fill value."""
    if attributes:
        _put(folder, {**json.loads(array_document(spec)), "attributes": attributes})
    else:
        put_file(os.path.join(folder, DOCUMENT), array_document(spec))


def open_for_writing(folder: str) -> zarr.Array[Any]:
    """An array that is there already, as Zarr's own.

    Raises
    ------
    FileNotFoundError
        If it is not.
    """
    import zarr

    return zarr.open_array(storage.for_zarr(folder), mode="r+", zarr_format=3)


def put_file(path: str, content: bytes) -> None:
    """A file that appears whole or not at all; folders that are missing are made."""
    try:
        storage.put(path, [content])
    except FileNotFoundError:
        storage.make_folders(os.path.dirname(path))
        storage.put(path, [content])


def _put(folder: str, document: dict[str, Any]) -> None:
    # in one line: the interpreter's fast encoder knows no indentation
    put_file(os.path.join(folder, DOCUMENT), json.dumps(document, allow_nan=False).encode())


def _compressor(spec: ArraySpec) -> dict[str, Any]:
    """The compressing codec, as Zarr v3 has it."""
    item = np.dtype(spec.dtype).itemsize
    blosc = {"typesize": item, "cname": "zstd", "clevel": 1, "shuffle": "shuffle", "blocksize": BLOSC_BLOCK}
    if spec.compression == "bits":
        return {"name": "blosc", "configuration": {**blosc, "shuffle": "bitshuffle"}}
    if spec.compression == "numbers" and item > 1:
        return {"name": "blosc", "configuration": blosc}
    small = spec.compression == "small"
    return {"name": "zstd", "configuration": {"level": 0 if small else 1, "checksum": not small}}


def _checksum(spec: ArraySpec) -> list[dict[str, Any]]:
    """The codec of a checksum, where the compressing one has none."""
    return [{"name": "crc32c"}] if _compressor(spec)["name"] == "blosc" else []


class Checked:
    """A codec whose chunks end with their CRC-32C."""

    def __init__(self, compressor: Codec) -> None:
        self._compressor = compressor

    def encode(self, buf: Any) -> bytes:
        from google_crc32c import value

        packed = bytes(self._compressor.encode(buf))
        return packed + int(value(packed)).to_bytes(4, "little")

    def decode(self, buf: Any) -> Any:
        """What was encoded.

        Raises
        ------
        ValueError
            If it is not that any more.
        """
        from google_crc32c import value

        if int(value(buf[:-4])).to_bytes(4, "little") != buf[-4:]:
            raise ValueError("a chunk is damaged: its checksum is another")
        return self._compressor.decode(buf[:-4])


@lru_cache(maxsize=256)
def codec(spec: ArraySpec) -> Codec:
    """What compresses the chunks of an array: the implementation that zarr-python uses, too."""
    from numcodecs import Blosc, Zstd

    compressor = _compressor(spec)
    how = compressor["configuration"]
    if compressor["name"] == "zstd":
        zstd: Codec = Zstd(how["level"], how["checksum"])
        return zstd
    shuffle = {"shuffle": Blosc.SHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}[how["shuffle"]]
    blosc: Codec = Blosc(how["cname"], how["clevel"], shuffle, how["blocksize"], typesize=how["typesize"])
    return Checked(blosc)


@lru_cache(maxsize=256)
def array_document(spec: ArraySpec) -> bytes:
    """An array's ``zarr.json``."""
    dtype = np.dtype(spec.dtype)
    endian = {"configuration": {"endian": "little"}} if dtype.itemsize > 1 else {}
    document: dict[str, Any] = {
        "shape": spec.shape,
        "data_type": spec.dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": spec.chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": dtype.type(spec.fill).item(),
        "codecs": [{"name": "bytes", **endian}, _compressor(spec), *_checksum(spec)],
        "attributes": {},
        **({"dimension_names": spec.names} if spec.names else {}),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    return json.dumps(document, indent=2, allow_nan=False).encode()


# ------------------------------------------------------------------------------------------------------------ chunks


def chunk_path(folder: str, index: Sequence[int]) -> str:
    """Where a chunk is."""
    return os.path.join(folder, "c", *map(str, index))


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


def write_array(folder: str, data: NDArray[Any], spec: ArraySpec, attributes: dict[str, Any] | None = None) -> None:
    """Make an array and fill it."""
    create_array(folder, spec, attributes)
    counts = (-(-size // chunk) for size, chunk in zip(spec.shape, spec.chunks, strict=True))
    for index in np.ndindex(*counts):
        part = tuple(slice(at * chunk, (at + 1) * chunk) for at, chunk in zip(index, spec.chunks, strict=True))
        put_tile(folder, spec, index, data[part])


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
    """Write a chunk of an array that is there, or remove it where it holds nothing but the fill value.

    Parameters
    ----------
    folder, spec
        The array.
    index
        The chunk's, along each dimension.
    values
        Along its last dimensions, of the array's dtype: what the array's edge has cut is stored at full size.
    """
    path = chunk_path(folder, index)
    if _all_equal(values, spec.fill):
        with contextlib.suppress(FileNotFoundError):
            storage.remove_file(path)
        return
    if values.shape != (shape := spec.chunks[-values.ndim :]):
        whole = np.full(shape, spec.fill, values.dtype)
        whole[tuple(map(slice, values.shape))] = values
        values = whole
    stored = np.ascontiguousarray(values)
    if sys.byteorder == "big":
        stored = stored.byteswap()
    put_file(path, codec(spec).encode(stored.reshape(-1)))


def _all_equal(values: NDArray[Any], value: float) -> bool:
    if value == 0:
        return not values.any()
    return bool(values.flat[0] == value) and bool((values == value).all())
