"""What a store says of its images, read from their documents alone, thousands of them in a moment: and how far each is
from the average, which decides what is shown.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kseg_core.errors import StoreError
from kseg_core.images.geo import GRID_MAPPING, GeoReference
from kseg_core.images.pixel_size import area_of_sides, area_on_the_ground
from kseg_core.layers import LAYERS
from kseg_core.layers.segments import TABLE
from kseg_core.store.manifest import image_facts, read_attributes
from kseg_core.store.markers import image_is_complete, layer_is_complete
from kseg_core.store.nodes import read_document
from kseg_core.store.writing import LABELS, image_folder

FEW = 6  # images: of fewer, quartiles say nothing
SEGMENTS = LAYERS["segments"]
MOST_DOUBLINGS = 8.0  # an image without any error is no farther from the others than one with 1/256 of theirs


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """What an image says of its segments."""

    count: int
    pixels: int  # that are in one
    level: float | None  # at which they are cut, where that is said


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """One image of a store."""

    # Its name in the store and the path it came from
    key: str
    source: str
    shape: tuple[int, int]  # (height, width)
    # Pixels of each cluster, and invalid ones; of an image without labels there are no clusters
    counts: tuple[int, ...]
    invalid: int
    inertia: float  # in squared feature units
    colors: tuple[tuple[int, int, int], ...]  # (r, g, b) of each cluster
    pixel_area: float | None  # in square metres, where known
    segments: SegmentFacts | None = None
    is_labelled: bool = True
    below: str = ""  # the end of ``source`` below the folder that all images have in common; empty: all of it

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return self.below or self.source

    @property
    def valid(self) -> int:
        """Valid pixels; without labels, those in segments."""
        return sum(self.counts) if self.is_labelled else 0 if self.segments is None else self.segments.pixels

    @property
    def mse(self) -> float | None:
        """Inertia per valid pixel; None without one, and without labels."""
        return self.inertia / self.valid if self.valid and self.is_labelled else None

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each cluster, 0 to 1; all 0 without a valid pixel."""
        return tuple(count / (self.valid or 1) for count in self.counts)


def read_facts(store: str, key: str, k: int | None, *, labelled: bool = True) -> ImageFacts:
    """Facts of an image. ``k``: the number of clusters that all images share, if they do; not ``labelled``: of a store
    of segments alone.

    Raises
    ------
    StoreError
        If it is damaged or not finished.
    """
    try:
        facts = _facts(store, key, labelled=labelled)
        if len(facts.colors) != len(facts.counts) or (k is not None and len(facts.counts) != k):
            raise ValueError(f"{len(facts.counts)} counts and {len(facts.colors)} colours")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise StoreError(f"a damaged image ({error})") from error
    return facts


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


def _facts(store: str, key: str, *, labelled: bool) -> ImageFacts:
    folder = image_folder(store, key)
    facts = read_attributes(folder)
    if facts is None or not image_is_complete(facts):
        raise StoreError("not complete: its run has not finished, or was stopped while writing it")
    if not labelled:
        return _facts_of_segments(folder, key, facts)
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
        pixel_area=_square_metres(folder, LABELS, labels["ome"]["multiscales"][0]),
        segments=_segments(folder),
    )


def _facts_of_segments(folder: str, key: str, facts: dict[str, Any]) -> ImageFacts:
    """Of an image without labels."""
    segments = _segments(folder)
    if segments is None:
        raise StoreError("not complete: its segments are not finished")
    described = _document(os.path.join(folder, SEGMENTS.node))["ome"]["multiscales"][0]
    height, width = (int(side) for side in facts["shape"])
    invalid = height * width - segments.pixels
    area = _square_metres(folder, SEGMENTS.node, described)
    return ImageFacts(
        key, str(facts["source"]), (height, width), (), invalid, 0.0, (), area, segments, is_labelled=False
    )


def _segments(folder: str) -> SegmentFacts | None:
    """What an image says of its segments; None where it has none that are complete."""
    stated = image_facts(os.path.join(folder, SEGMENTS.path()))
    if stated is None or not layer_is_complete(stated, SEGMENTS.counted):
        return None
    level, count = stated.get("level"), 0
    with contextlib.suppress(FileNotFoundError):  # there is no table of no segment
        count = int(read_document(os.path.join(folder, TABLE, "area"))["shape"][0])
    return SegmentFacts(count, int(stated["segment_pixels"]), level if isinstance(level, int | float) else None)


def _square_metres(folder: str, node: str, multiscales: dict[str, Any]) -> float | None:
    """Of a pixel: on the ground, or by OME-Zarr's ``multiscales`` of a node of the image."""
    with contextlib.suppress(FileNotFoundError):
        geo = GeoReference.from_attributes(_document(os.path.join(folder, node, GRID_MAPPING)))
        on_the_ground = None if geo is None else area_on_the_ground(geo)
        if on_the_ground:
            return on_the_ground
    sides = multiscales["datasets"][0]["coordinateTransformations"][0]["scale"][-2:]
    found = area_of_sides(sides, [axis.get("unit") for axis in multiscales["axes"][-2:]])
    return None if found is None else found * 1e-12


def _document(folder: str) -> dict[str, Any]:
    attributes: dict[str, Any] = read_document(folder)["attributes"]
    return attributes


# ------------------------------------------------------------------------------------------------- among the others


@dataclass(frozen=True, slots=True)
class Ranked:
    """An image among the others."""

    facts: ImageFacts  # what the store says of it
    # Half the sum of absolute differences between its clusters' shares and the mean shares of all images: the part of
    # its pixels, 0 to 1, that would have to change cluster. None without a valid pixel, or without common clusters.
    distance: float | None
    # Its mean squared error as a multiple of the batch's; None where either is missing, or the batch's is 0
    ratio: float | None

    @property
    def farness(self) -> float:
        """What the order is by: the distance, and half the number of times the error is doubled or halved."""
        doublings = 0.0
        if self.ratio is not None:
            doublings = MOST_DOUBLINGS if self.ratio == 0 else min(abs(math.log2(self.ratio)), MOST_DOUBLINGS)
        return (self.distance or 0.0) + doublings / 2


def mean_shares(images: Sequence[ImageFacts], k: int) -> list[float]:
    """The mean of the images' shares, each image counting alike; those without a valid pixel are passed over."""
    counted = [image.shares for image in images if image.valid]
    return [math.fsum(shares[j] for shares in counted) / (len(counted) or 1) for j in range(k)]


def rank(images: Sequence[ImageFacts], k: int | None) -> list[Ranked]:
    """All images of a store, the farthest from the average first; equally far ones by key.

    ``k``: clusters that all share; None where each has its own.
    """
    valid = sum(image.valid for image in images)
    mse = math.fsum(image.inertia for image in images) / valid if valid else 0.0
    average = mean_shares(images, k) if k is not None else []
    ranked = []
    for image in images:
        distance = None
        if k is not None and image.valid:
            distance = math.fsum(abs(s - a) for s, a in zip(image.shares, average, strict=True)) / 2
        ranked.append(Ranked(image, distance, image.mse / mse if image.mse is not None and mse > 0 else None))
    return sorted(ranked, key=lambda image: (-image.farness, image.facts.key))


def outlier_fence(ranked: Sequence[Ranked]) -> float:
    """How far an outlier is: beyond the third quartile by 1.5 times the quartiles' distance; infinite for few images.

    References
    ----------
    Tukey, J. W. (1977). Exploratory Data Analysis.
    """
    far = [image.farness for image in ranked if image.facts.valid]
    if len(far) < FEW:
        return math.inf
    first, _, third = statistics.quantiles(far, n=4, method="inclusive")
    return third + 1.5 * (third - first)


def choose(ranked: Sequence[Ranked], limit: int) -> list[Ranked]:
    """At most ``limit`` images to show, in their order: half of them outliers, the rest evenly from all others."""
    if len(ranked) <= limit:
        return list(ranked)
    first = list(ranked[: -(-limit // 2)])
    rest, room = ranked[len(first) :], limit - len(first)
    return first + [rest[(2 * i + 1) * len(rest) // (2 * room)] for i in range(room)]


def most_typical(ranked: Sequence[Ranked], count: int) -> list[Ranked]:
    """Those nearest the average, the nearest first."""
    return [image for image in reversed(ranked) if image.facts.valid][:count]


def largest(shares: Sequence[float], most: int) -> list[int]:
    """The clusters with the largest shares, in the order of their numbers; none without a pixel."""
    some = [j for j in range(len(shares)) if shares[j] > 0]
    return sorted(sorted(some, key=lambda j: (-shares[j], j))[:most])
