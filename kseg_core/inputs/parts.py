"""Files that belong to another: those that a virtual raster names, and the folder of a MIRAX slide.

A mosaic and its tiles in one folder are the same pixels twice. Who made the mosaic wants it: it is the image, and its
tiles are read through it; whether what is named can be read, and is
let through at all, the reader decides.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from kseg_core.inputs.virtual import named


def named_by_vrt(path: str) -> list[str]:
    """Return the real paths of the files that a VRT names; none where it cannot be read, which the reader will say."""
    try:
        return [os.path.realpath(name) for name in named(path)]
    except (OSError, ValueError):
        return []


def is_of_mrxs(folder: str, names: Collection[str]) -> bool:
    """Say whether a folder holds the data of a MIRAX slide.

    Parameters
    ----------
    folder
        Its path.
    names
        Of the files beside it, in lower case.
    """
    return f"{os.path.basename(folder).lower()}.mrxs" in names and os.path.isfile(os.path.join(folder, "Slidedat.ini"))
