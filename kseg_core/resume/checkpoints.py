"""What a job has found so far, kept in files until it is done: written whole or not at all, and checked when read.

A file is a line of JSON and the arrays it speaks of, lightly compressed. Only the types named by the caller are ever
made of it: nothing in a file can run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
from numcodecs.blosc import Blosc
from numpy.typing import NDArray

from .. import storage

MAGIC = b"kseg-kept-1\n"
_DIGEST_BYTES = 32

log = logging.getLogger("kseg")


def save(path: str, value: Any) -> bool:
    """Write a value of plain values, tuples, arrays, dataclasses and named tuples; returns whether it was.

    Where it cannot be (a full disk) nothing is left and nothing is lost: the work is done again should the job stop.
    """
    arrays: list[NDArray[Any]] = []
    tree = json.dumps(_plain(value, arrays), separators=(",", ":"))
    packed = [_pack(array) for array in arrays]
    header = json.dumps({"value": tree, "bytes": [len(part) for part in packed]}).encode() + b"\n"
    digest = hashlib.sha256(header)
    for part in packed:
        digest.update(part)
    try:
        storage.put(path, [MAGIC, digest.digest(), header, *packed])
    except OSError as error:
        log.debug("%s: not kept (%s)", path, error)
        return False
    return True


def load(path: str, types: Iterable[type]) -> Any | None:
    """The value in a file; None where there is no whole one.

    Parameters
    ----------
    path
        The file.
    types
        The dataclasses and named tuples it may be made of.
    """
    try:
        content = storage.read(path)
    except OSError:
        return None
    start = len(MAGIC) + _DIGEST_BYTES
    if not content.startswith(MAGIC) or hashlib.sha256(content[start:]).digest() != content[len(MAGIC) : start]:
        return None
    end = content.index(b"\n", start) + 1
    header = json.loads(content[start:end])
    parts: list[bytes] = []
    for size in header["bytes"]:
        parts.append(content[end : end + size])
        end += size
    return _made(json.loads(header["value"]), parts, {each.__name__: each for each in types})


def _plain(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """As JSON: every container is a list that begins with its kind."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return ["int", str(value)]
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return ["objects", list(value.shape), [str(int(item)) for item in value.reshape(-1)]]
        arrays.append(value)
        return ["array", len(arrays) - 1, value.dtype.str, list(value.shape)]
    if isinstance(value, BaseException):
        return ["made", type(value).__name__, [_plain(item, arrays) for item in value.args]]
    if dataclasses.is_dataclass(value):
        fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
        return ["made", type(value).__name__, [_plain(item, arrays) for item in fields]]
    if isinstance(value, tuple):
        items = [_plain(item, arrays) for item in value]
        return ["made", type(value).__name__, items] if hasattr(value, "_fields") else ["tuple", items]
    raise TypeError(f"expected plain values, tuples, arrays or dataclasses, got {type(value).__name__}")


def _made(tree: Any, parts: list[bytes], types: dict[str, type]) -> Any:
    if not isinstance(tree, list):
        return tree
    kind = tree[0]
    if kind == "int":
        return int(tree[1])
    if kind == "float":
        return float.fromhex(tree[1])
    if kind == "array":
        return _unpack(parts[tree[1]], tree[2], tree[3])
    if kind == "objects":
        array = np.empty(len(tree[2]), object)
        array[:] = [int(item) for item in tree[2]]
        return array.reshape(tree[1])
    items = [_made(item, parts, types) for item in tree[-1]]
    return tuple(items) if kind == "tuple" else types[tree[1]](*items)


def _codec(item_bytes: int) -> Blosc:
    return Blosc(cname="lz4", clevel=1, shuffle=Blosc.SHUFFLE, typesize=item_bytes)


def _pack(array: NDArray[Any]) -> bytes:
    flat = np.ascontiguousarray(array).reshape(-1)
    if not flat.size:
        return b""
    if flat.dtype.kind == "u":
        flat = np.diff(flat, prepend=flat.dtype.type(0))  # rising codes lie close together: fewer bytes
    return bytes(_codec(flat.itemsize).encode(flat))


def _unpack(packed: bytes, dtype: str, shape: list[int]) -> NDArray[Any]:
    kind = np.dtype(dtype)
    if not packed:
        return np.empty(shape, kind)
    flat = np.frombuffer(_codec(kind.itemsize).decode(packed), kind)
    if kind.kind == "u":
        return np.cumsum(flat, dtype=kind).reshape(shape)
    return flat.reshape(shape).copy()  # kernels are compiled for arrays that may be written
