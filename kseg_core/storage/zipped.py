"""Paths into a zipped Zarr hierarchy (``.zarr.zip``, ``.ozx``): the file's path, and after a slash what is inside.

``scan.zarr.zip`` is the whole, ``plate.ozx/A/1/0`` a group in it. Nothing is unpacked.
"""

from __future__ import annotations

import os
import re

_ENDING = re.compile(r"\.(?:zarr\.zip|ozx)(?=/|$)", re.IGNORECASE)


def is_zipped_name(name: str) -> bool:
    """Whether a file of this name is a zipped Zarr hierarchy."""
    return name.lower().endswith((".zarr.zip", ".ozx"))


def split(path: str) -> tuple[str, str] | None:
    """The file and what is inside ("" for all of it); None for any other path."""
    for found in _ENDING.finditer(path):
        file = path[: found.end()]
        if os.path.isfile(file):
            return file, path[found.end() + 1 :].strip("/")
    return None
