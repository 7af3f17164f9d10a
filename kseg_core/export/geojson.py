"""Outlines as GeoJSON (RFC 7946): a collection of features, written as they are traced."""

from __future__ import annotations

import json
from collections.abc import Iterable

from kseg_core.shapes.outlines import Outlines, Text

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
    write_features(path, HEAD % json.dumps(outlines.facts), outlines.features)


def write_features(path: str, head: str, features: Iterable[Text]) -> None:
    """Write a file that begins with ``head``, features as they come, and what ends a collection of them.

    Raises
    ------
    StoreError, OSError
        As `write` does.
    """
    between = ""
    with open(path, "w", encoding="utf-8") as file:
        file.write(head)
        for begins, text in features:
            file.write(f"{between if begins else ''}{text}")
            between = ","
        file.write(TAIL)
