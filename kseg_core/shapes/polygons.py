"""Outlines of the regions of an image's clusters, whole across windows and tiles.

A region is a set of 8-connected pixels with one label and becomes one feature: a polygon for each of its 4-connected
parts, as parts that meet in a corner only are polygons of their own in GeoJSON. A window traces the boundaries of what
it sees. Regions that lie inside it are finished there; of the others it hands over pieces of outlines, which are laid
aside on the disk until all windows are done, and then joined end to end. Coordinates are whole numbers of pixels until
they are written, so nothing is cut, moved or simplified.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import Labels
from ..joining import Borders, Rim
from ..kernels.components import join_corners, label_components, measure_components
from ..kernels.outlines import count_corners, trace
from ..kernels.rings import signed_areas, split_rings
from .geojson import Placement, feature_parts

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outlining:
    """What is outlined and how it is written.

    Parameters
    ----------
    key
        The image's name.
    shape
        (height, width) of the image.
    wanted
        bool, by label: whether its regions are outlined.
    colors
        uint8 (k, 3): of the clusters.
    min_area_px
        Regions of fewer pixels are left out.
    placement
        Of the image.
    """

    key: str
    shape: tuple[int, int]
    wanted: Bools
    colors: NDArray[np.uint8]
    min_area_px: int
    placement: Placement

    def properties(self, cluster: int, pixels: int, first: int) -> str:
        """Of a feature, as JSON.

        A region's name is the place of its first pixel, row by row: the same whatever the windows.
        """
        red, green, blue = self.colors[cluster].tolist()
        return (
            f'{{"image":{json.dumps(self.key)},"cluster":{cluster},"color":"#{red:02x}{green:02x}{blue:02x}",'
            f'"pixels":{pixels},"region":{first}}}'
        )


class Open(NamedTuple):
    """A window's regions that may go on in its neighbours, and their 4-connected parts.

    Attributes
    ----------
    regions, pixels, clusters, firsts
        (n,): the region's number in the window, pixels in the window, label, place of its first pixel in the image.
    parts, part_regions, part_firsts
        (m,): the part's number in the window, its region's, and the place of its first pixel in the image.
    walks
        int32 (w, 3): part, first corner and the one after the last; ordered by part.
    chains
        int64 (w, 2): the names of a walk's first step and of the step that follows its last; -1 of whole rings.
    corners
        int32 (c, 2): x, y in the image.
    """

    regions: I64
    pixels: I64
    clusters: I64
    firsts: I64
    parts: I64
    part_regions: I64
    part_firsts: I64
    walks: I32
    chains: I64
    corners: I32


@dataclass(frozen=True, slots=True)
class WindowOutlines:
    """What a window hands over.

    Parameters
    ----------
    features
        The features of regions inside the window, as GeoJSON.
    borders
        Of all its regions.
    parts
        The 4-connected part of each pixel of its outermost lines; 0: nothing is outlined there.
    open
        What may go on in other windows.
    """

    features: list[str]
    borders: Borders
    parts: Rim
    open: Open


def outline_window(padded: Labels, inside: NDArray[Any], origin: tuple[int, int], how: Outlining) -> WindowOutlines:
    """Outline the regions of one window.

    Parameters
    ----------
    padded
        (y + 2, x + 2): labels of the window and of one pixel around it.
    inside
        bool, of that shape: which of these pixels are in the image.
    origin
        (row, column) of the window's first pixel.
    how
        What is outlined and how.
    """
    labels = np.ascontiguousarray(padded[1:-1, 1:-1])
    parts, count = label_components(labels, how.wanted, False)
    region_of, regions = join_corners(parts, labels, count)
    areas, classes, places = measure_components(parts, labels, count)
    firsts = np.where(np.arange(count + 1) > 0, _in_image(places, labels.shape, origin, how.shape), -1)
    pixels, clusters, starts = _of_regions(region_of, regions, areas, classes, firsts)
    is_open = _open_regions(region_of, parts, inside, regions)
    keep = is_open | (pixels >= how.min_area_px)
    keep[0] = False
    walks, corners = _walks(np.where(inside, padded.astype(np.int32), -1), np.where(keep[region_of][parts], parts, 0))
    walk_open = is_open[region_of[walks[:, 0]]]
    features = _features(walks[~walk_open], corners, region_of, (pixels, clusters, starts), origin, how)
    rim = Rim.of(parts)
    return WindowOutlines(
        features,
        Borders(Rim(*(region_of[line] for line in rim)), regions, Rim.of(labels)),
        rim,
        _open(walks[walk_open], corners, region_of, is_open, (pixels, clusters, starts, firsts), origin, how.shape),
    )


def _in_image(places: I64, shape: tuple[int, ...], origin: tuple[int, int], image: tuple[int, int]) -> I64:
    """Places row by row in a window as places row by row in the image."""
    rows, columns = np.divmod(places, shape[1])
    found: I64 = (rows + origin[0]) * image[1] + columns + origin[1]
    return found


def _of_regions(region_of: I32, count: int, areas: I64, classes: I64, firsts: I64) -> tuple[I64, I64, I64]:
    """Pixels, label and first place of each region, from those of its parts; entry 0 has no meaning."""
    pixels = np.zeros(count + 1, np.int64)
    np.add.at(pixels, region_of, areas)
    clusters, starts = np.zeros(count + 1, np.int64), np.full(count + 1, -1, np.int64)
    clusters[region_of] = classes
    backwards = slice(None, None, -1)  # parts are in the order of their first pixels: the first of a region stays
    starts[region_of[backwards]] = firsts[backwards]
    return pixels, clusters, starts


def _open_regions(region_of: I32, parts: I32, inside: NDArray[Any], count: int) -> Bools:
    """By region: whether it touches a line of the window behind which the image goes on."""
    is_open = np.zeros(count + 1, np.bool_)
    goes_on = (inside[0].any(), inside[-1].any(), inside[:, 0].any(), inside[:, -1].any())
    for line, beyond in zip(Rim.of(parts), goes_on, strict=True):
        if beyond:
            is_open[region_of[line]] = True
    is_open[0] = False
    return is_open


def _walks(padded: I32, parts: I32) -> tuple[I32, I32]:
    """All walks of some parts, as `trace` describes them, ordered by part; and their corners in the window."""
    most_corners, most_walks = count_corners(padded, parts)
    corners, walks = np.empty((most_corners, 2), np.int32), np.empty((most_walks, 9), np.int32)
    used, found = trace(padded, parts, corners, walks)
    walks = walks[:found]
    return walks[np.argsort(walks[:, 0], kind="stable")], corners[:used]


def gathered(corners: I32, first: NDArray[Any], last: NDArray[Any]) -> tuple[I32, I64]:
    """The corners of some walks one after the other, and where each of these begins (n + 1,)."""
    lengths = last.astype(np.int64) - first
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    at = np.arange(starts[-1]) + np.repeat(first - starts[:-1], lengths)
    return corners[at], starts


def _features(
    walks: I32,
    corners: I32,
    region_of: I32,
    facts: tuple[I64, I64, I64],
    origin: tuple[int, int],
    how: Outlining,
) -> list[str]:
    """The features of regions that lie inside a window, in the order of their first pixels."""
    if not len(walks):
        return []
    own, starts = gathered(corners, walks[:, 1], walks[:, 2])
    corners, bounds, walk = split_rings(own, starts)
    rings = Rings.ordered(corners + np.array([origin[1], origin[0]], np.int32), bounds, walks[walk, 0])
    texts = how.placement.ring_texts(rings.corners, rings.starts, rings.is_hole)
    by_region: dict[int, list[str]] = {}
    polygon: list[str] = []
    for ring, text in enumerate(texts):
        polygon.append(text)
        if rings.ends_polygon[ring]:
            by_region.setdefault(int(region_of[rings.part[ring]]), []).append(f"[{','.join(polygon)}]")
            polygon = []
    pixels, clusters, firsts = facts
    found = []
    for region, polygons in sorted(by_region.items()):
        described = how.properties(int(clusters[region]), int(pixels[region]), int(firsts[region]))
        before, after = feature_parts(described, len(polygons) > 1)
        found.append(before + (f"[{','.join(polygons)}]" if len(polygons) > 1 else polygons[0]) + after)
    return found


class Rings(NamedTuple):
    """Simple rings in the order they are written in.

    Attributes
    ----------
    corners, starts
        int32 (n, 2) and int64 (m + 1,): ring i has the corners ``starts[i]`` to ``starts[i + 1]``.
    is_hole, part, ends_polygon
        (m,): of each ring; whether the next one is of another part.
    """

    corners: I32
    starts: I64
    is_hole: Bools
    part: NDArray[Any]
    ends_polygon: Bools

    @classmethod
    def ordered(cls, corners: I32, starts: I64, part: NDArray[Any]) -> Rings:
        """By part; in each the outer ring, then its holes from above to below."""
        is_hole = signed_areas(corners, starts) < 0
        first = corners[starts[:-1]]
        order = np.lexsort((first[:, 0], first[:, 1], is_hole, part))
        sorted_corners, bounds = gathered(corners, starts[:-1][order], starts[1:][order])
        part = part[order]
        return cls(sorted_corners, bounds, is_hole[order], part, np.append(part[1:] != part[:-1], True))


def _open(
    walks: I32,
    corners: I32,
    region_of: I32,
    is_open: Bools,
    facts: tuple[I64, I64, I64, I64],
    origin: tuple[int, int],
    shape: tuple[int, int],
) -> Open:
    """What a window hands over of its open regions."""
    pixels, clusters, starts, part_firsts = facts
    regions = np.flatnonzero(is_open)
    parts = np.flatnonzero(is_open[region_of])
    own, bounds = gathered(corners, walks[:, 1], walks[:, 2])
    top, left = origin
    own = own + np.array([left, top], np.int32)
    steps = walks[:, 3:].astype(np.int64).reshape(-1, 2, 3)
    names = ((steps[..., 0] + top) * shape[1] + steps[..., 1] + left) * 4 + steps[..., 2]
    return Open(
        regions,
        pixels[regions],
        clusters[regions],
        starts[regions],
        parts,
        region_of[parts].astype(np.int64),
        part_firsts[parts],
        np.stack([walks[:, 0], bounds[:-1], bounds[1:]], axis=1).astype(np.int32),
        np.where(walks[:, 3:4] < 0, -1, names),
        own,
    )
