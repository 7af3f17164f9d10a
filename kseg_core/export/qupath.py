"""Outlines as annotations of QuPath: GeoJSON whose features have a class, in pixels of the full image.

References
----------
QuPath, "Exporting annotations": https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html; the
members are those that its ``QuPathTypeAdapters`` writes and reads (0.4 and later).
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from kseg_core.shapes.outlines import FEATURE, GEOMETRY, Outlines

from .geojson import write_features

HEAD = '{"type":"FeatureCollection","features":['
_NAMES = uuid.UUID("6f1f0c9e-8f0e-5a1b-9d43-1d8d4f1f7a57")  # a namespace of our own


def write(path: str, outlines: Outlines, _geo: None, _scratch: str) -> None:
    """Write a file; each region is an annotation, whose id is the same however often it is written.

    Raises
    ------
    StoreError
        If labels cannot be read.
    OSError
        If the file cannot be written.
    """
    source = str(outlines.facts["source"])
    features = ((begins, _annotation(text, source) if begins else text) for begins, text in outlines.features)
    write_features(path, HEAD, features)


def _annotation(text: str, source: str) -> str:
    """The beginning of a feature, as far as its first ring, as one of an annotation."""
    told, _, geometry = text.removeprefix(FEATURE).partition(GEOMETRY)
    facts = json.loads(told)
    color = list(bytes.fromhex(facts["color"].removeprefix("#")))
    properties: dict[str, Any] = {"objectType": "annotation"}
    if "name" in facts:
        properties["classification"] = {"name": facts["name"], "color": color}
    else:  # a segment is of no class
        properties |= {"name": f"segment {facts['segment']}", "color": color}
    name = uuid.uuid5(_NAMES, f"{source}:{facts['region']}:{told}")
    return f'\n{{"type":"Feature","id":"{name}","properties":{json.dumps(properties)}{GEOMETRY}{geometry}'
