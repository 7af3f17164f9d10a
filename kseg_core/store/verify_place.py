"""Where an image of a store is on the ground: is it said, and said alike, beside all arrays that lead there?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import StoreError
from ..images.geo import GRID_MAPPING, GeoReference
from .stored_image import DAMAGE, EDGES, StoredImage
from .writing import LABELS

_DAMAGE = (StoreError, *DAMAGE)
#: Groups of an image that have a place of their own, and the arrays in them that are placed by it.
_PLACED = {LABELS: ("0",), "": ("0", "masks", "confidence", EDGES)}


def wrong_places(image: StoredImage) -> list[str]:
    """Return a line for each grid mapping and coordinate that is missing, damaged, or not as the others say."""
    georeferences = {group: _georeference(image, group) for group in _PLACED}
    said = [geo for geo in georeferences.values() if isinstance(geo, GeoReference)]
    problems = [geo for geo in georeferences.values() if isinstance(geo, str)]
    if len(said) == len(_PLACED) and said[0] != said[1]:
        problems.append(f"{LABELS}/{GRID_MAPPING} and {GRID_MAPPING} say that it is in two places")
    height, width = image.attributes["shape"]
    for group, geo in georeferences.items():
        if isinstance(geo, GeoReference):
            problems += _wrong_coordinates(image, group, geo, (height, width))
    return problems


def _georeference(image: StoredImage, group: str) -> GeoReference | str | None:
    """What a group says of its place, or what is wrong with that; None where it has none."""
    name = _joined(group, GRID_MAPPING)
    try:
        if not image.has(name):
            placed = any(_is_placed(image, _joined(group, array)) for array in _PLACED[group])
            return f"{name}, which says where it is on the ground, is missing" if placed else None
        stated = dict(image.array(name).attrs)
        geo = GeoReference.from_attributes(stated)
    except _DAMAGE:
        return f"{name}, which says where it is on the ground, is damaged"
    if geo is None or geo.attributes() != stated:
        return f"{name}, which says where it is on the ground, is damaged"
    return geo


def _is_placed(image: StoredImage, name: str) -> bool:
    return image.has(name) and image.array(name).attrs.get("grid_mapping") == GRID_MAPPING


def _wrong_coordinates(image: StoredImage, group: str, geo: GeoReference, shape: tuple[int, int]) -> Iterator[str]:
    described = geo.axis_attributes()
    for axis, values in geo.coordinates(shape).items():
        name = _joined(group, axis)
        try:
            if not image.has(name):
                yield f"{name}, the coordinates of its pixels, is missing"
                continue
            stored: Any = image.array(name)
            same = stored.shape == values.shape and stored.dtype == values.dtype
            same = same and stored.metadata.dimension_names == (axis,) and dict(stored.attrs) == described[axis]
            if not (same and np.array_equal(np.asarray(stored[...]), values)):
                yield f"{name}, the coordinates of its pixels, is not what {GRID_MAPPING} says"
        except _DAMAGE:
            yield f"{name}, the coordinates of its pixels, is damaged"


def _joined(group: str, name: str) -> str:
    return f"{group}/{name}" if group else name
