"""Zarr v3 groups and arrays as documents: each appears whole, in one write.

The documents say what zarr-python's own say (a test compares them). They are written here because a store of many small
images has more documents than anything else, and so that a run need not load zarr-python, whose import takes as long as
labelling forty photographs of thumbnail size.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..layers.layer import ArraySpec

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


def store_array(folder: str, data: NDArray[Any], spec: ArraySpec, attributes: dict[str, Any] | None = None) -> None:
    """Make an array and fill it."""
    create_array(folder, spec, attributes)
    open_for_writing(folder)[...] = data


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
