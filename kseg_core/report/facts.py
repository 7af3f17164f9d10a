"""What a store says of its images, read from their documents alone: thousands of them in a moment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kseg_core.errors import StoreError
from kseg_core.images.geo import GRID_MAPPING, GeoReference
from kseg_core.shapes.pixel_area import metres_of_unit
from kseg_core.store.manifest import read_attributes
from kseg_core.store.nodes import read_document
from kseg_core.store.writing import LABELS, image_folder

# Units of length that OME-Zarr 0.5 names, in metres.
METRES = {
    "angstrom": 1e-10,
    "nanometer": 1e-9,
    "micrometer": 1e-6,
    "millimeter": 1e-3,
    "centimeter": 1e-2,
    "meter": 1.0,
    "kilometer": 1e3,
    "inch": 0.0254,
    "foot": 0.3048,
}


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image of a store.

    Parameters
    ----------
    key, source
        Its name in the store and the path it came from.
    shape
        (height, width).
    counts, invalid
        Pixels of each cluster, and invalid ones.
    inertia
        In squared feature units.
    colors
        (r, g, b) of each cluster.
    pixel_area
        In square metres, where known.
    below
        The end of ``source`` below the folder that all images have in common; empty: all of it.
    """

    key: str
    source: str
    shape: tuple[int, int]
    counts: tuple[int, ...]
    invalid: int
    inertia: float
    colors: tuple[tuple[int, int, int], ...]
    pixel_area: float | None
    below: str = ""

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return self.below or self.source

    @property
    def valid(self) -> int:
        """Valid pixels."""
        return sum(self.counts)

    @property
    def mse(self) -> float | None:
        """Inertia per valid pixel; None without one."""
        return self.inertia / self.valid if self.valid else None

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each cluster, 0 to 1; all 0 without a valid pixel."""
        return tuple(count / (self.valid or 1) for count in self.counts)


def read_facts(store: str, keys: Sequence[str], k: int | None) -> list[ImageFacts | StoreError]:
    """Facts of some images, in order; in place of a damaged or unfinished one, what is wrong with it.

    ``k`` is the number of clusters that all of them share, if they do.
    """
    return [_facts_or_error(store, key, k) for key in keys]


def named_below(images: Sequence[ImageFacts]) -> tuple[str, list[ImageFacts]]:
    """The folder that all images come from (empty where there is none), and the images named below it."""
    folders = [image.source.split("/")[:-1] for image in images]
    shared = 0
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    folder = "/".join([*folders[0][:shared], ""]) if shared else ""
    return folder, [replace(image, below=image.source[len(folder) :]) for image in images]


def _facts_or_error(store: str, key: str, k: int | None) -> ImageFacts | StoreError:
    try:
        facts = _facts(store, key)
        if len(facts.colors) != len(facts.counts) or (k is not None and len(facts.counts) != k):
            raise ValueError(f"{len(facts.counts)} counts and {len(facts.colors)} colours")
        return facts
    except StoreError as error:
        return error
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        return StoreError(f"a damaged image ({error})")


def _facts(store: str, key: str) -> ImageFacts:
    folder = image_folder(store, key)
    facts = read_attributes(folder)
    if facts is None or facts.get("status") != "complete":
        raise StoreError("not complete: its run has not finished, or was stopped while writing it")
    labels = _document(os.path.join(folder, LABELS))
    colors = labels["ome"]["image-label"]["colors"][: len(facts["counts"])]
    height, width = facts["shape"]
    return ImageFacts(
        key=key,
        source=str(facts["source"]),
        shape=(int(height), int(width)),
        counts=tuple(int(count) for count in facts["counts"]),
        invalid=int(facts["invalid"]),
        inertia=float(facts["inertia"]),
        colors=tuple((int(c["rgba"][0]), int(c["rgba"][1]), int(c["rgba"][2])) for c in colors),
        pixel_area=_area_on_the_ground(folder) or area_of_scale(labels["ome"]["multiscales"][0]),
    )


def _document(folder: str) -> dict[str, Any]:
    found: dict[str, Any] = read_document(folder)["attributes"]
    return found


def _area_on_the_ground(folder: str) -> float | None:
    try:
        attributes = _document(os.path.join(folder, LABELS, GRID_MAPPING))
    except FileNotFoundError:
        return None
    geo = GeoReference.from_attributes(attributes)
    return None if geo is None else area_of_georeference(geo)


def area_of_georeference(geo: GeoReference) -> float | None:
    """Square metres of a pixel on the map; None where the map's axes are no lengths (degrees) or not known."""
    metres = metres_of_unit(geo.crs_wkt)
    if metres is None:
        return None
    a, b, _, d, e, _ = geo.transform
    return abs(a * e - b * d) * metres**2


def area_of_scale(multiscales: dict[str, Any]) -> float | None:
    """Square metres of a pixel by OME-Zarr's ``multiscales``; None where they name no unit of length."""
    units = [axis.get("unit") for axis in multiscales["axes"][-2:]]
    sides = multiscales["datasets"][0]["coordinateTransformations"][0]["scale"][-2:]
    if any(unit not in METRES for unit in units):
        return None
    return float(sides[0]) * METRES[units[0]] * float(sides[1]) * METRES[units[1]]
