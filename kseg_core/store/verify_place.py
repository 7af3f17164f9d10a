"""Where an image of a store is on the ground: is it said, and said alike, beside all arrays that lead there?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import StoreError
from ..images.geo import GRID_MAPPING, GeoReference
from ..layers import LAYERS
from .stored_image import DAMAGE, StoredImage

_DAMAGE = (StoreError, *DAMAGE)


def _placed_arrays() -> dict[str, list[str]]:
    """Groups of an image that have a place of their own, and the arrays in them that are placed by it."""
    groups: dict[str, list[str]] = {}
    for layer in LAYERS.values():
        group, name = os.path.split(layer.path())
        groups.setdefault(group, []).append(name)
    return groups


def wrong_places(image: StoredImage) -> list[str]:
    """Return a line for each grid mapping and coordinate that is missing, damaged, or not as the others say."""
    georeferences = {group: _georeference(image, group, arrays) for group, arrays in _placed_arrays().items()}
    said = {group: geo for group, geo in georeferences.items() if isinstance(geo, GeoReference)}
    problems = [geo for geo in georeferences.values() if isinstance(geo, str)]
    for group, geo in said.items():
        first = next(iter(said))
        if geo != said[first]:
            names = f"{_joined(first, GRID_MAPPING)} and {_joined(group, GRID_MAPPING)}"
            problems.append(f"{names} say that it is in two places")
    height, width = image.attributes["shape"]
    for group, geo in said.items():
        problems += _wrong_coordinates(image, group, geo, (height, width))
    return problems


def _georeference(image: StoredImage, group: str, arrays: Sequence[str]) -> GeoReference | str | None:
    """What a group says of its place, or what is wrong with that; None where it has none."""
    name = _joined(group, GRID_MAPPING)
    try:
        if not image.has(name):
            placed = any(_is_placed(image, _joined(group, array)) for array in arrays)
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
