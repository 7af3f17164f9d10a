"""Files that belong to another: those that a virtual raster names, and the folder of a MIRAX slide.

A mosaic and its tiles in one folder are the same pixels twice. Who made the mosaic wants it: it is the image, and its
tiles are read through it. Nothing but the standard library is needed here; whether what is named can be read, and is
let through at all, the reader decides.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from xml.etree import ElementTree

_MOST_BYTES = 1 << 26


def named_by_vrt(path: str) -> list[str]:
    """Return the real paths of the files that a VRT names; none where it cannot be read, which the reader will say."""
    try:
        if os.path.getsize(path) > _MOST_BYTES:
            return []
        with open(path, "rb") as file:
            text = file.read()
        if b"<!" in text.replace(b"<!--", b""):
            return []
        root = ElementTree.fromstring(text)
    except (OSError, ValueError, ElementTree.ParseError):
        return []
    folder = os.path.dirname(os.path.abspath(path))
    found = []
    for element in root.iter():
        if element.tag in ("SourceFilename", "SourceDataset") and element.text:
            relative = (element.get("relativeToVRT") or element.get("relativetoVRT") or "0") == "1"
            name = element.text.strip()
            found.append(os.path.realpath(os.path.join(folder, name) if relative else name))
    return found


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
