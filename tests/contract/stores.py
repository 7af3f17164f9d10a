"""What a store holds, for comparison over releases: its arrays to the last bit, its documents but for times and sizes.

Nothing here knows the program's inside: zarr-python reads the arrays, JSON the documents.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import zarr

# What says when and where a store was made, and what depends on how a PNG was compressed: of these the type is held,
# not the value; of the versions that there are some.
PASSING = {"created", "seconds", "folder", "modified", "size", "inputs_digest"}
VERSIONS = "software"


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def lasting(value: Any) -> Any:
    """A document with the types of what passes in the place of its values."""
    if isinstance(value, dict):
        return {
            name: kinds_of(item) if name in PASSING else bool(item) if name == VERSIONS else lasting(item)
            for name, item in value.items()
        }
    return [lasting(item) for item in value] if isinstance(value, list) else value


def arrays_of(store: str) -> dict[str, str]:
    """A digest of dtype, shape and values of every array, by its place in the store."""
    found: dict[str, str] = {}

    def walk(group: zarr.Group, at: str) -> None:
        for name, node in group.members():
            place = f"{at}/{name}".lstrip("/")
            if isinstance(node, zarr.Group):
                walk(node, place)
            else:
                values = np.ascontiguousarray(node[...])
                found[place] = digest(values.dtype.str.encode(), str(values.shape).encode(), values.tobytes())

    walk(zarr.open_group(store, mode="r"), "")
    return found


def documents_of(store: Path, at: str = "") -> dict[str, str]:
    """A digest of every document, less what passes and the address it was written at, by its place in the store."""
    found = {}
    for path in sorted(store.rglob("zarr.json")):
        content = json.dumps(lasting(json.loads(path.read_text().replace(at, ""))), sort_keys=True)
        found[str(path.relative_to(store).parent)] = digest(content.encode())
    return found


def kinds_of(value: Any) -> Any:
    """The keys and types of a JSON value; of a list, those of all its items together."""
    if isinstance(value, dict):
        return {name: kinds_of(item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [functools.reduce(either, map(kinds_of, value))] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def either(one: Any, other: Any) -> Any:
    """What two items of a list are."""
    if one == other:
        return one
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys())
        return {name: either(one.get(name, "absent"), other.get(name, "absent")) for name in names}
    if isinstance(one, list) and isinstance(other, list) and one and other:
        return [either(one[0], other[0])]
    return " or ".join(sorted({json.dumps(one), json.dumps(other)}))
