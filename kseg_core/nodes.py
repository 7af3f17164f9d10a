"""Zarr v3 groups and arrays as documents: each appears whole, in one write.

What an array's document says is left to Zarr; only the way it gets to the disk is ours, as a store of many small images
has more documents than anything else.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BloscShuffle, ZstdCodec
from zarr.storage import MemoryStore

Compression = Literal["bytes", "bits", "numbers"]


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What an array is.

    Parameters
    ----------
    shape, chunks, dtype, fill
        As Zarr has them.
    names
        Of its dimensions.
    compression
        ``bytes``: Zstandard; ``bits``: of booleans, shuffled; ``numbers``: of more than one byte, shuffled.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    fill: int | bool
    names: tuple[str, ...]
    compression: Compression = "bytes"


def write_group(folder: str, attributes: dict[str, Any] | None = None) -> None:
    """Make a group, or replace the attributes of one; what is in it stays."""
    _put(folder, {"zarr_format": 3, "node_type": "group", "attributes": attributes or {}})


def create_array(folder: str, spec: ArraySpec, attributes: dict[str, Any] | None = None) -> None:
    """Make an array that holds nothing but its fill value."""
    document: dict[str, Any] = json.loads(_document(spec))
    if attributes:
        document["attributes"] = attributes
    _put(folder, document)


def store_array(folder: str, data: NDArray[Any], spec: ArraySpec, attributes: dict[str, Any] | None = None) -> None:
    """Make an array and fill it."""
    create_array(folder, spec, attributes)
    open_for_writing(folder)[...] = data


def open_for_writing(folder: str) -> zarr.Array[Any]:
    """An array that is there already.

    Raises
    ------
    FileNotFoundError
        If it is not.
    """
    return zarr.open_array(folder, mode="r+", zarr_format=3)


def _put(folder: str, document: dict[str, Any]) -> None:
    os.makedirs(folder, exist_ok=True)
    aside = os.path.join(folder, f"zarr.json.{uuid.uuid4().hex[:8]}.partial")
    try:
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2, allow_nan=False)
        os.replace(aside, os.path.join(folder, "zarr.json"))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def _compressor(spec: ArraySpec) -> BloscCodec | ZstdCodec:
    item = np.dtype(spec.dtype).itemsize
    if spec.compression == "bits":
        return BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.bitshuffle, typesize=1)
    if spec.compression == "numbers" and item > 1:
        return BloscCodec(cname="zstd", clevel=1, shuffle=BloscShuffle.shuffle, typesize=item)
    return ZstdCodec(level=1)


@lru_cache(maxsize=256)
def _document(spec: ArraySpec) -> bytes:
    """An array's ``zarr.json`` as Zarr itself writes it."""
    written: dict[str, Any] = {}
    zarr.create_array(
        MemoryStore(written),
        shape=spec.shape,
        chunks=spec.chunks,
        dtype=spec.dtype,
        fill_value=spec.fill,
        compressors=_compressor(spec),
        dimension_names=spec.names,
    )
    return bytes(written["zarr.json"].to_bytes())
