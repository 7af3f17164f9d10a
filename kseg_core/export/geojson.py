"""Outlines as GeoJSON (RFC 7946): a collection of features, written as they are traced."""

from __future__ import annotations

import json

from kseg_core.shapes.outlines import Outlines

HEAD = '{"type":"FeatureCollection","kseg":%s,"features":['
TAIL = "\n]}\n"


def write(path: str, outlines: Outlines, _geo: None, _scratch: str) -> None:
    """Write a file, with the facts about the whole of it in a member of our own.

    Raises
    ------
    StoreError
        If labels cannot be read.
    OSError
        If the file cannot be written.
    """
    between = ""
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEAD % json.dumps(outlines.facts))
        for begins, text in outlines.features:
            file.write(f"{between if begins else ''}{text}")
            between = ","
        file.write(TAIL)
