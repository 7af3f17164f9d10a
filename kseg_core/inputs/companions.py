"""The files that belong to an image or a mask and are read with it: when one of them changes, so has the image.

Beside an image lie masks (``.msk``), GDAL's metadata (``.aux.xml``), world files and ``.prj``; a virtual raster has the
files that it names, a shapefile its other parts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any

from kseg_core import storage
from kseg_core.inputs.virtual import named

MASK, METADATA = ".msk", ".aux.xml"
#: How the names of companions end, in lower case.
_ENDINGS = (MASK, METADATA, ".prj", "w", ".wld")
_PARTS = {"shp": ("shx", "dbf", "prj", "cpg"), "gml": ("gfs", "xsd")}  # of vector files
_MOST_DEPTH = 8  # of virtual rasters within each other
_DIGITS = 16


def world_files(name: str) -> list[str]:
    """Names that the world file of an image may have."""
    stem, dot, ending = name.rpartition(".")
    stem = stem if dot else name
    letters = [f"{ending[0]}{ending[-1]}w", f"{ending}w"] if dot and ending else []
    endings = [*letters, "wld"]
    return [f"{stem}.{each}" for letter in endings for each in dict.fromkeys((letter.lower(), letter.upper()))]


def possible(names: Collection[str]) -> frozenset[str]:
    """Those of a folder's names that are, by their endings, companions of something."""
    return frozenset(name for name in names if name.lower().endswith(_ENDINGS))


def companions_of(path: str, there: Collection[str] | None = None) -> list[str]:
    """Return the paths of what belongs to an image on this machine: beside it, and what a virtual raster names.

    Parameters
    ----------
    path
        Of the image.
    there
        The names in its folder, or those of them that are `possible`; None: each is looked for.
    """
    if storage.is_remote(path):
        return []  # each look would be a request
    folder, name = os.path.split(path)
    beside: list[str] = []
    if there is None or there:
        stem = os.path.splitext(name)[0]
        names = [f"{name}{MASK}", f"{name}{METADATA}", f"{stem}.prj", f"{stem}.PRJ", *world_files(name)]
        beside = [os.path.join(folder, each) for each in names if there is None or each in there]
    return [*beside, *_sources(path)]


def parts_of(mask: str) -> list[str]:
    """Return the paths of what belongs to a mask: the other parts of a shapefile, the sources of a virtual raster."""
    if storage.is_remote(mask):
        return []
    stem, ending = os.path.splitext(mask)
    parts = _PARTS.get(ending[1:].lower(), ())
    return [*(f"{stem}.{each}" for part in parts for each in (part, part.upper())), *_sources(mask)]


def state_of(paths: Collection[str]) -> str:
    """Return a digest of the sizes and ages of files; empty where none of them is there."""
    states = []
    for path in sorted(paths):
        with suppress(OSError):
            status = storage.stat(path)
            states.append((os.path.basename(path), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:_DIGITS] if states else ""


def mask_facts(mask: str | None) -> dict[str, Any] | None:
    """Bytes and modification time of an image's mask, and the state of its parts; None where it has none."""
    if mask is None:
        return None
    status, beside = storage.stat(mask), state_of(parts_of(mask))
    return {"size": status.st_size, "modified": status.st_mtime_ns, **({"beside": beside} if beside else {})}


def _sources(path: str, depth: int = 0) -> Iterator[str]:
    """The files that a virtual raster names, and those that they name and have beside them."""
    if not path.lower().endswith(".vrt") or storage.is_remote(path) or depth > _MOST_DEPTH:
        return
    with suppress(OSError, ValueError):  # which the reader will say
        for source in named(path):
            yield from (source, f"{source}{MASK}", f"{source}{METADATA}")
            yield from _sources(source, depth + 1)
