"""Rings of pixel corners as GeoJSON: longitude and latitude where an image is placed on the ground, else pixels.

References
----------
RFC 7946 (the GeoJSON format): WGS 84, outer rings counterclockwise, holes clockwise, each closed by its first position.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..images.gdal import gdal
from ..images.geo import GeoReference
from ..kernels.rings import ring_text, with_steps

DECIMALS = 9  # of degrees: a tenth of a millimetre
BATCH = 1 << 18  # corners that are placed at once
STEP_PX = 64  # a straight line of a map is none in degrees: so often there is a point on it
WGS_84 = "EPSG:4326"

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

HEAD = '{"type":"FeatureCollection","kseg":%s,"features":['
TAIL = "\n]}\n"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an image's corners of pixels are.

    Parameters
    ----------
    geo
        CRS and transform; None: coordinates are those of pixels, x to the right and y down, (0, 0) being the upper
        left corner of the image.
    """

    geo: GeoReference | None

    @classmethod
    def of(cls, geo: GeoReference | None) -> Placement:
        """That of an image; without a coordinate system there is no way to longitude and latitude."""
        return cls(geo if geo is not None and geo.crs_wkt else None)

    @property
    def name(self) -> str:
        """Of its coordinates."""
        return "pixels" if self.geo is None else "WGS 84"

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
            if not self.geo.is_geographic:
                corners, starts = with_steps(corners, starts, STEP_PX)
            positions = self._degrees(corners.astype(np.float64))
            # A ring turns at its first corner the way an outer ring does, or a hole: unless the map is a mirror image.
            first = starts[:-1]
            ahead, behind = (positions[at] - positions[first] for at in (first + 1, starts[1:] - 1))
            turn = ahead[:, 0] * behind[:, 1] - ahead[:, 1] * behind[:, 0]
            backwards = (turn < 0) != is_hole
            values, decimals = np.rint(positions * 10**DECIMALS).astype(np.int64), DECIMALS
        text, begins = ring_text(values, starts, backwards, decimals)
        whole = text.tobytes().decode("ascii")
        bounds = begins.tolist()
        yield from (whole[bounds[ring] : bounds[ring + 1]] for ring in range(is_hole.size))

    def _degrees(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Longitude and latitude (n, 2) of corners x, y (n, 2)."""
        assert self.geo is not None
        a, b, c, d, e, f = self.geo.transform
        x, y = corners.T
        with gdal("coordinate system", _has_no_degrees) as rasterio:
            from rasterio.warp import transform  # type: ignore[import-untyped, import-not-found, unused-ignore]

            system = rasterio.crs.CRS.from_wkt(self.geo.crs_wkt)
            found = transform(system, WGS_84, a * x + b * y + c, d * x + e * y + f)
        degrees = np.stack([np.asarray(values, np.float64) for values in found[:2]], axis=1)
        if not np.isfinite(degrees).all():
            raise StoreError("parts of it have no longitude and latitude in its coordinate system")
        return degrees


def _has_no_degrees(_error: Exception) -> StoreError:
    return StoreError("PROJ cannot turn its coordinate system into longitude and latitude")


def head(facts: dict[str, Any]) -> str:
    """How a file begins, with facts about the whole of it in a member of our own."""
    return HEAD % json.dumps(facts)


def feature_parts(properties: str, several: bool) -> tuple[str, str]:
    """What stands before and after the coordinates of a feature of one polygon or several; ``properties`` are JSON."""
    kind = "MultiPolygon" if several else "Polygon"
    return f'\n{{"type":"Feature","properties":{properties},"geometry":{{"type":"{kind}","coordinates":', "}}"
