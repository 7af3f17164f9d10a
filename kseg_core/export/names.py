"""What exported files are called: the image's key, what it shows, and of which clusters.

A key is one safe path segment, and what follows it holds no dot but those that part it: two files never share a name,
and none can lie outside the folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_SHOWN_CLUSTERS = 16  # a name with more numbers than this has their digest
_PARTS = {"masks": "mask"}
SUFFIXES = {"png": "png", "tiff": "tif", "geotiff": "tif", "geojson": "geojson"}


def file_name(key: str, what: str, clusters: Sequence[int] | None, written_as: str) -> str:
    """The name of a file.

    Examples
    --------
    >>> file_name("leaf.jpg", "masks", (3,), "png")
    'leaf.jpg.mask-3.png'
    >>> file_name("leaf.jpg", "cutout", (1, 3), "png")
    'leaf.jpg.cutout-1+3.png'
    """
    part = _PARTS.get(what, what)
    if clusters is not None:
        part += f"-{_numbers(clusters)}"
    suffix = SUFFIXES[written_as]
    return f"{key}.{suffix}" if what == "polygons" and clusters is None else f"{key}.{part}.{suffix}"


def _numbers(clusters: Sequence[int]) -> str:
    joined = "+".join(map(str, clusters))
    if len(clusters) <= _SHOWN_CLUSTERS:
        return joined
    return f"{len(clusters)}-clusters-{hashlib.sha256(joined.encode()).hexdigest()[:8]}"
