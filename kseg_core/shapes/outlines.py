"""Outlines of the regions of an image's clusters, window by window, as GeoJSON.

A region is a set of 8-connected pixels with one label and becomes one feature: a polygon for each of its 4-connected
parts, as parts that meet in a corner only are polygons of their own in GeoJSON. A window traces the boundaries of what
it sees. Regions that lie inside it are finished there; of the others it hands over pieces of outlines, which
`outline_pieces` joins end to end. Coordinates are whole numbers of pixels until they are written, so nothing is cut or
moved. Outlines are simplified only where that is asked for, by leaving out corners (`simplified`).

References
----------
RFC 7946 (the GeoJSON format): WGS 84, outer rings counterclockwise, holes clockwise, each closed by its first position.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from math import ceil, isfinite, log10
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import Labels
from ..errors import StoreError
from ..images.gdal import gdal
from ..images.geo import GeoReference
from ..joining import Borders, Rim
from ..kernels.components import join_corners, label_components, measure_components
from ..kernels.outlines import count_corners, trace
from ..kernels.rings import ring_text, signed_areas, split_rings, with_steps
from ..products import Coordinates
from ..store.legend import Legend, hex_of
from .regions import PixelArea
from .simplified import CELL_PX, Simplifying

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]
Text = tuple[bool, str]  # a piece of GeoJSON, and whether a feature begins with it

DECIMALS = 9  # of degrees: a tenth of a millimetre
_DIGITS = 15  # that a number of 64 bits has at least
_MOST_SIDE_PX = 1_000_000  # of images, as far as decimals go by it; a thousand times as many fit into 64 bits still
BATCH = 1 << 18  # corners that are placed at once
STEP_PX = 64  # a straight line of a map is none in degrees: so often there is a point on it
WGS_84 = "EPSG:4326"
REGION_COLUMNS: dict[str, type] = {"pixels": int, "region": int}  # of every feature, besides its `Properties`
EVERY_TURN: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)  # of outlines that are not simplified


# How a feature begins, before its properties, and what parts these from its geometry; it ends with a brace. In a text
# of JSON a quotation mark is escaped: no property has this in it.
FEATURE, GEOMETRY = '\n{"type":"Feature","properties":', ',"geometry":'


class Outlines(NamedTuple):
    """The outlines of an image, as what writes a file of them is given them.

    Attributes
    ----------
    facts
        About the whole of them, as JSON values.
    features
        GeoJSON's features as they are traced, each in one piece or several.
    columns
        Names of their properties, and what values of each are: str, int or float.
    crs_wkt
        The coordinate reference system of their coordinates, as WKT 2 or an authority's code; empty where
        there is none.
    area
        Of a pixel, where known.
    """

    facts: dict[str, Any]
    features: Iterable[Text]
    columns: dict[str, type]
    crs_wkt: str = ""
    area: PixelArea = PixelArea()


@dataclass(frozen=True, slots=True)
class Outlining:
    """What is outlined and how it is written."""

    shape: tuple[int, int]  # (height, width) of the image
    # bool, by label: whether its regions are outlined; labels beyond its end are like its last
    wanted: Bools
    properties: Properties  # of the regions
    min_area_px: int  # regions of fewer pixels are left out
    placement: Placement  # of the image
    tolerance_px: float = 0.0  # by which simplified outlines may differ; 0: they are not simplified

    @property
    def simplifying(self) -> Simplifying | None:
        """How outlines are simplified; None: they are not."""
        if not self.tolerance_px:
            return None
        return Simplifying(self.tolerance_px, STEP_PX if self.placement.bends else CELL_PX)


class Properties(Protocol):
    """What features tell of regions besides their pixels and their place."""

    @property
    def columns(self) -> dict[str, type]:
        """Names, and what values of each are: str, int or float."""
        ...

    def texts(self, labels: I64) -> list[str]:
        """Of each of these labels, members of a JSON object."""
        ...


@dataclass(frozen=True, slots=True)
class ClusterProperties:
    """What features tell of the regions of clusters or classes: the image, and their number, name and colour."""

    key: str  # the image's name
    legend: Legend

    @property
    def columns(self) -> dict[str, type]:
        """As `Properties` has it."""
        return {"image": str, self.legend.what: int, "name": str, "color": str}

    def texts(self, labels: I64) -> list[str]:
        """As `Properties` has it."""
        image, what = json.dumps(self.key), self.legend.what
        texts = [
            f'"image":{image},"{what}":{value},"name":{json.dumps(name)},"color":"{hex_of(color)}"'
            for value, (name, color) in enumerate(zip(self.legend.names, self.legend.colors.tolist(), strict=True))
        ]
        return [texts[label] for label in labels.tolist()]


@dataclass(frozen=True, slots=True)
class SegmentProperties:
    """What features tell of segments, each of which has its own label: the image, its number, and what a table has.

    A segment is expected to be 8-connected: each region of its pixels is a feature.

    Parameters
    ----------
    key
        The image's name.
    table
        By the names of properties, what each segment has of it, by label: numbers (n,), or colours uint8 (n, 3), which
        are written like ``#0a7bff``. A float that is not finite is null.
    """

    key: str
    table: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, type]:
        """As `Properties` has it."""
        kinds = {name: _kind(values) for name, values in self.table.items()}
        return {"image": str, "segment": int, **kinds}

    def texts(self, labels: I64) -> list[str]:
        """As `Properties` has it."""
        image = json.dumps(self.key)
        numbers = [f'"image":{image},"segment":{label}' for label in labels.tolist()]
        columns = [
            [f",{json.dumps(name)}:{value}" for value in _json_values(values[labels])]
            for name, values in self.table.items()
        ]
        return ["".join(members) for members in zip(numbers, *columns, strict=True)]


def _kind(values: NDArray[Any]) -> type:
    return str if values.ndim == 2 else int if values.dtype.kind in "iu" else float


def _json_values(values: NDArray[Any]) -> Iterator[str]:
    """Numbers or colours as JSON."""
    if values.ndim == 2:
        return (f'"#{red:02x}{green:02x}{blue:02x}"' for red, green, blue in values.tolist())
    return ("null" if isinstance(each, float) and not isfinite(each) else json.dumps(each) for each in values.tolist())


class Open(NamedTuple):
    """A window's regions that may go on in its neighbours, and their 4-connected parts."""

    # (n,): the region's number in the window, pixels in the window, label, place of its first pixel in the image
    regions: I64
    pixels: I64
    classes: I64
    firsts: I64
    # (m,): the part's number in the window, its region's, and the place of its first pixel in the image
    parts: I64
    part_regions: I64
    part_firsts: I64
    walks: I32  # int32 (w, 3): part, first corner and the one after the last; ordered by part
    # int64 (w, 2): the names of a walk's first step and of the step that follows its last; -1 of whole rings
    chains: I64
    corners: I32  # int32 (c, 2): x, y in the image


@dataclass(frozen=True, slots=True)
class WindowOutlines:
    """What a window hands over."""

    features: list[str]  # the features of regions inside the window, as GeoJSON
    # Of all its regions, and of their 4-connected parts
    borders: Borders
    parts: Borders
    open: Open  # what may go on in other windows


class _Regions(NamedTuple):
    """The regions of a window by number; entry 0 has no meaning."""

    of_part: I32  # int32: of each 4-connected part, the region it is of
    part_firsts: I64  # int64: of each part, the place of its first pixel, row by row in the image
    # int64: of each region, its pixels in the window, its label, the place of its first pixel in the image
    pixels: I64
    classes: I64
    firsts: I64
    is_open: Bools  # of each region, whether it touches a line of the window behind which the image goes on


def outline_window(
    padded: Labels, inside: NDArray[Any], origin: tuple[int, int], how: Outlining, kept: NDArray[np.uint8] = EVERY_TURN
) -> WindowOutlines:
    """Outline the regions of one window.

    Parameters
    ----------
    padded
        (y + 2, x + 2): labels of the window and of one pixel around it; less than 2**31.
    inside
        bool, of that shape: which of these pixels are in the image.
    origin
        (row, column) of the window's first pixel.
    how
        What is outlined and how.
    kept
        uint8 (y + 1, x + 1): where outlines that are simplified have corners, as `Simplifying` tells.
    """
    labels = np.ascontiguousarray(padded[1:-1, 1:-1])
    parts, count = label_components(labels, how.wanted, False)
    regions = _regions_of(parts, count, labels, inside, origin, how)
    keep = regions.is_open | (regions.pixels >= how.min_area_px)
    keep[0] = False
    walks, corners = _walks(outside_apart(padded, inside), np.where(keep[regions.of_part][parts], parts, 0), kept)
    of_open = regions.is_open[regions.of_part[walks[:, 0]]]
    rim, classes = Rim.of(parts), Rim.of(labels)
    return WindowOutlines(
        _features(walks[~of_open], corners, regions, origin, how),
        Borders(Rim(*(regions.of_part[line] for line in rim)), regions.is_open.size - 1, classes),
        Borders(rim, count, classes),
        _open(walks[of_open], corners, regions, origin, how),
    )


def outside_apart(labels: Labels, inside: NDArray[Any]) -> I32:
    """Labels, -1 outside the image."""
    return np.where(inside, labels.astype(np.int32), -1)


def _regions_of(
    parts: I32, count: int, labels: Labels, inside: NDArray[Any], origin: tuple[int, int], how: Outlining
) -> _Regions:
    """From the window's parts to its regions."""
    of_part, found = join_corners(parts, labels, count)
    areas, part_classes, places = measure_components(parts, labels, count)
    rows, columns = np.divmod(places, labels.shape[1])
    part_firsts = np.where(np.arange(count + 1) > 0, (rows + origin[0]) * how.shape[1] + columns + origin[1], -1)
    pixels, classes = np.zeros(found + 1, np.int64), np.zeros(found + 1, np.int64)
    np.add.at(pixels, of_part, areas)
    classes[of_part] = part_classes
    firsts = np.full(found + 1, -1, np.int64)
    firsts[of_part[::-1]] = part_firsts[::-1]  # parts are in the order of their first pixels: that of the first stays
    is_open = np.zeros(found + 1, np.bool_)
    goes_on = (inside[0].any(), inside[-1].any(), inside[:, 0].any(), inside[:, -1].any())
    for line, beyond in zip(Rim.of(parts), goes_on, strict=True):
        is_open[of_part[line]] |= beyond
    is_open[0] = False
    return _Regions(of_part, part_firsts, pixels, classes, firsts, is_open)


def _walks(padded: I32, parts: I32, kept: NDArray[np.uint8]) -> tuple[I32, I32]:
    """All walks of some parts, as `trace` describes them, ordered by part; and their corners in the window."""
    most_corners, most_walks = count_corners(padded, parts, kept)
    corners, walks = np.empty((most_corners, 2), np.int32), np.empty((most_walks, 9), np.int32)
    used, found = trace(padded, parts, kept, corners, walks)
    walks = walks[:found]
    return walks[np.argsort(walks[:, 0], kind="stable")], corners[:used]


def gathered(corners: I32, first: NDArray[Any], last: NDArray[Any]) -> tuple[I32, I64]:
    """The corners of some walks one after the other, and where each of these begins (n + 1,)."""
    lengths = last.astype(np.int64) - first
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return corners[ranges(first, lengths)], starts


def ranges(first: NDArray[Any], count: I64) -> I64:
    """The numbers from each ``first`` on, so many of each."""
    ends = np.cumsum(count)
    found: I64 = np.arange(count.sum()) + np.repeat(first - (ends - count), count)
    return found


def _features(walks: I32, corners: I32, regions: _Regions, origin: tuple[int, int], how: Outlining) -> list[str]:
    """The features of regions that lie inside a window, in the order of their first pixels."""
    if not len(walks):
        return []
    own, starts = gathered(corners + np.array(origin[::-1], np.int32), walks[:, 1], walks[:, 2])
    parts, part = np.unique(walks[:, 0], return_inverse=True)
    region = regions.of_part[parts]
    order = np.argsort(region, kind="stable")
    facts = np.stack([regions.classes, regions.pixels, regions.firsts], axis=1)[region[order]]
    found: list[list[str]] = []
    for begins, text in feature_texts(own, starts, np.argsort(order)[part], of_polygons(facts), how):
        if begins:
            found.append([text])
        else:
            found[-1].append(text)
    return ["".join(texts) for texts in found]


def feature_texts(corners: I32, starts: I64, polygon: I64, facts: I64, how: Outlining) -> Iterator[Text]:
    """The features of whole polygons, ring by ring, with all that stands around them.

    Parameters
    ----------
    corners, starts
        int32 (n, 2) and int64 (m + 1,): closed walk i has the corners ``starts[i]`` to ``starts[i + 1]``, x, y in the
        image.
    polygon
        (m,): which each walk is of; they are numbered by region.
    facts
        int64 (polygons, 5): as `of_polygons` gives them.

    Raises
    ------
    StoreError
        If a corner has no longitude and latitude.
    """
    corners, starts, walk = split_rings(corners, starts)
    rings = Rings.ordered(corners, starts, polygon[walk])
    told: list[list[int]] = facts.tolist()
    told_of, begins = how.properties.texts(facts[:, 0]), True
    texts = how.placement.ring_texts(rings.corners, rings.starts, rings.is_hole)
    for at, text, ended in zip(rings.part.tolist(), texts, rings.ends_polygon.tolist(), strict=True):
        _, pixels, first, is_first, is_last = told[at]
        several = not (is_first and is_last)
        before, after = ",", ""
        if begins and is_first:  # a region's name is the place of its first pixel: the same whatever the windows
            kind = "MultiPolygon" if several else "Polygon"
            before = (
                f'{FEATURE}{{{told_of[at]},"pixels":{pixels},"region":{first}}}'
                f'{GEOMETRY}{{"type":"{kind}","coordinates":{"[" * several}['
            )
        elif begins:
            before = ",["
        if ended:
            after = "]" + ("]" * several + "}}" if is_last else "")
        yield begins and bool(is_first), f"{before}{text}{after}"
        begins = ended


def whole_features(features: Iterable[Text]) -> Iterator[tuple[dict[str, Any], str]]:
    """Features that come in pieces, each in one: its properties, and its geometry as GeoJSON."""
    pieces: list[str] = []
    for begins, text in chain(features, [(True, "")]):
        if begins and pieces:
            told, _, geometry = "".join(pieces).removeprefix(FEATURE).partition(GEOMETRY)
            yield json.loads(told), geometry[:-1]
            pieces = []
        pieces.append(text)


def of_polygons(facts: I64) -> I64:
    """What `feature_texts` takes of polygons that are ordered by region: int64 (n, 5), from (n, 3).

    A polygon's region's label, pixels, and place of the first pixel; whether it is the region's first, and its last.
    """
    regions = facts[:, 2]
    return np.column_stack([facts, np.diff(regions, prepend=-1) != 0, np.diff(regions, append=-1) != 0])


class Rings(NamedTuple):
    """Simple rings in the order they are written in."""

    # int32 (n, 2) and int64 (m + 1,): ring i has the corners ``starts[i]`` to ``starts[i + 1]``
    corners: I32
    starts: I64
    # (m,): of each ring; whether the next one is of another part
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


def _open(walks: I32, corners: I32, regions: _Regions, origin: tuple[int, int], how: Outlining) -> Open:
    """What a window hands over of its open regions."""
    numbers = np.flatnonzero(regions.is_open)
    parts = np.flatnonzero(regions.is_open[regions.of_part])
    own, bounds = gathered(corners, walks[:, 1], walks[:, 2])
    steps = walks[:, 3:].astype(np.int64).reshape(-1, 2, 3)
    names = ((steps[..., 0] + origin[0]) * how.shape[1] + steps[..., 1] + origin[1]) * 4 + steps[..., 2]
    return Open(
        numbers,
        regions.pixels[numbers],
        regions.classes[numbers],
        regions.firsts[numbers],
        parts,
        regions.of_part[parts].astype(np.int64),
        regions.part_firsts[parts],
        np.stack([walks[:, 0], bounds[:-1], bounds[1:]], axis=1).astype(np.int32),
        np.where(walks[:, 3:4] < 0, -1, names),
        own + np.array(origin[::-1], np.int32),
    )


# ------------------------------------------------------------------------------------------------------- as GeoJSON


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an image's corners of pixels are.

    Parameters
    ----------
    geo
        CRS and transform; None: coordinates are those of pixels, x to the right and y down, (0, 0) being the upper
        left corner of the image.
    on_map
        Whether coordinates are those of the image's own system; else they are longitude and latitude.
    """

    geo: GeoReference | None
    on_map: bool = False

    @classmethod
    def of(cls, geo: GeoReference | None, coordinates: Coordinates = "degrees") -> Placement:
        """That of an image; without a coordinate system there is no way to longitude and latitude."""
        if geo is None or coordinates == "pixels" or (coordinates == "degrees" and not geo.crs_wkt):
            return cls(None)
        return cls(geo, coordinates == "map")

    @property
    def bends(self) -> bool:
        """Whether a straight line of pixels is none in its coordinates."""
        return self.geo is not None and not self.on_map and not self.geo.is_geographic

    @property
    def name(self) -> str:
        """Of its coordinates."""
        return "pixels" if self.geo is None else "map" if self.on_map else "WGS 84"

    @property
    def decimals(self) -> int:
        """Of coordinates that are no pixels: as many as a number of 64 bits tells apart anywhere in the image."""
        assert self.geo is not None
        if not self.on_map:
            return DECIMALS
        _, _, c, _, _, f = self.geo.transform
        largest = max(abs(c), abs(f), _MOST_SIDE_PX * max(self.geo.resolution))
        return max(0, _DIGITS - ceil(log10(largest)))

    def ring_texts(self, corners: I32, starts: I64, is_hole: NDArray[np.bool_]) -> Iterator[str]:
        """Each ring as GeoJSON: closed, outer ones counterclockwise, holes clockwise.

        Parameters
        ----------
        corners
            int32 (n, 2): x, y of pixels' corners, outer rings clockwise as the image is shown, holes the other way;
            each ring begins at its uppermost corner, the leftmost of these.
        starts
            int64 (m + 1,): ring i has the corners ``starts[i]`` to ``starts[i + 1]``.
        is_hole
            (m,).

        Raises
        ------
        StoreError
            If a corner has no longitude and latitude.
        """
        first = 0
        while first < starts.size - 1:
            last = max(first + 1, int(np.searchsorted(starts, starts[first] + BATCH, side="right")) - 1)
            batch = starts[first : last + 1]
            own = corners[batch[0] : batch[-1]]
            yield from self._batch(own, batch - batch[0], is_hole[first:last])
            first = last

    def _batch(self, corners: I32, starts: I64, is_hole: NDArray[np.bool_]) -> Iterator[str]:
        backwards = np.zeros(is_hole.size, np.bool_)  # to the right and then down is counterclockwise for x, y
        values, decimals = corners.astype(np.int64), 0
        if self.geo is not None:
            if self.bends:
                corners, starts = with_steps(corners, starts, STEP_PX)
            positions = self._positions(corners.astype(np.float64))
            # A ring turns at its first corner the way an outer ring does, or a hole: unless the map is a mirror image.
            first = starts[:-1]
            ahead, behind = (positions[at] - positions[first] for at in (first + 1, starts[1:] - 1))
            turn = ahead[:, 0] * behind[:, 1] - ahead[:, 1] * behind[:, 0]
            backwards = (turn < 0) != is_hole
            decimals = self.decimals
            values = np.rint(positions * 10**decimals).astype(np.int64)
        text, begins = ring_text(values, starts, backwards, decimals)
        whole = text.tobytes().decode("ascii")
        bounds = begins.tolist()
        yield from (whole[bounds[ring] : bounds[ring + 1]] for ring in range(is_hole.size))

    def _positions(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coordinates (n, 2) of corners x, y (n, 2): on the map, or longitude and latitude."""
        assert self.geo is not None
        a, b, c, d, e, f = self.geo.transform
        x, y = corners.T
        x, y = a * x + b * y + c, d * x + e * y + f
        if self.on_map:
            return np.stack([x, y], axis=1)
        with gdal("coordinate system", _has_no_degrees) as rasterio:
            from rasterio.warp import transform

            system = rasterio.crs.CRS.from_wkt(self.geo.crs_wkt)
            found = transform(system, WGS_84, x, y)
        degrees = np.stack([np.asarray(values, np.float64) for values in found[:2]], axis=1)
        if not np.isfinite(degrees).all():
            raise StoreError("parts of it have no longitude and latitude in its coordinate system")
        return degrees


def _has_no_degrees(_error: Exception) -> StoreError:
    return StoreError("PROJ cannot turn its coordinate system into longitude and latitude")
