"""The codes of a reference in a window of an image: read, resampled by nearest, or drawn from polygons.

Whatever the window, a pixel has the same code: what is resampled goes by the pixel's centre, and coordinates are
brought to another system cell by cell of a grid that is the same for all windows, as GDAL chooses an operation for
several at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..images import MAX_PIXELS, Picture, open_picture
from ..images.failures import refusing
from ..images.gdal import gdal
from ..images.geo import GeoReference
from ..images.polygons import PolygonNumbers
from ..images.raster import Refused
from ..images.windows import Window
from ..layers.tiles import Region, tile_windows
from ..storage import stat
from ..store.opening import StoredImage
from .references import COLOURS, Reference, naming, numbered, same_crs
from .settings import ScoreSettings

I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

CELL_PX = 512  # the side of what is resampled at once
MOST_READ_PX = 1 << 24  # of a reference at once: where it is far finer than the image, fewer of the image's pixels
_WHOLE = 2.0**53  # up to here a float tells whole numbers apart
_NUDGE_PX = 1e-6  # a centre on the line between two pixels belongs to the second, whatever way it was rounded


class Codes(NamedTuple):
    """Of a window.

    Attributes
    ----------
    codes
        int64 (y, x).
    judged
        bool (y, x): where the reference says something.
    """

    codes: I64
    judged: Bools


class Reader(Protocol):
    """A reference, opened."""

    def read(self, rows: slice, columns: slice) -> Codes:
        """The codes in a window of the image."""
        ...


@contextmanager
def opened_reference(reference: Reference, image: StoredImage, settings: ScoreSettings) -> Iterator[Reader]:
    """Open a reference of an image; to be used by one thread at a time.

    Raises
    ------
    UnreadableImage
        Naming the image and the reference, also where that is read.
    """
    with naming(reference.path, image.source):
        if reference.is_polygons:
            yield _Drawn(_polygons(reference.path, image, settings))
            return
        with open_picture(reference.path, max_pixels=MAX_PIXELS, choice=reference.choice) as picture:
            stored = _Stored(reference, picture)
            place = image.georeference
            if reference.place is None or place is None:
                yield stored
                return
            height, width = image.attributes["shape"]
            yield _Resampled(stored, Grid.of(place, reference.place), (height, width), picture.info.shape)


# ------------------------------------------------------------------------------------------------------- polygons


@dataclass(frozen=True, slots=True)
class _Drawn:
    polygons: PolygonNumbers

    def read(self, rows: slice, columns: slice) -> Codes:
        numbers = self.polygons.numbers(rows, columns)
        return Codes(numbers.astype(np.int64), numbers > 0)


def _polygons(path: str, image: StoredImage, settings: ScoreSettings) -> PolygonNumbers:
    status = stat(path)
    return _kept(path, status.st_size, status.st_mtime_ns, image.store, image.key, settings)


@lru_cache(maxsize=4)
def _kept(path: str, _size: int, _modified: int, store: str, key: str, settings: ScoreSettings) -> PolygonNumbers:
    return numbered(path, StoredImage(store, key), settings)


# -------------------------------------------------------------------------------------------------------- pictures


@dataclass(frozen=True, slots=True)
class _Stored:
    reference: Reference
    picture: Picture

    def read(self, rows: slice, columns: slice) -> Codes:
        pixels = self.picture.numbers(rows, columns, self.reference.nodata)
        with refusing(self.reference.path, self.picture.info.format):
            codes = _codes(pixels.samples, pixels.valid)
        judged = np.ones(codes.shape, np.bool_) if pixels.valid is None else pixels.valid
        return Codes(codes, judged)


def _codes(samples: NDArray[Any], valid: Bools | None) -> I64:
    """Samples (y, x, bands) as one number a pixel.

    Raises
    ------
    Refused
        Where they are none.
    """
    if samples.shape[2] == COLOURS:
        red, green, blue = (samples[..., band].astype(np.int64) for band in range(COLOURS))
        return red << 16 | green << 8 | blue
    values = samples[..., 0]
    if values.dtype.kind == "f":
        values = values if valid is None else np.where(valid, values, values.dtype.type(0))
        if not (np.abs(values) < _WHOLE).all() or (values != np.floor(values)).any():
            raise Refused("its values are no whole numbers: a reference has one number a class")
    elif values.dtype == np.uint64 and (values > np.uint64(np.iinfo(np.int64).max)).any():
        raise Refused("its values are beyond 2^63: a reference has one number a class")
    return values.astype(np.int64)


# ------------------------------------------------------------------------------------------------------ resampling


@dataclass(frozen=True, slots=True)
class Grid:
    """From pixels of an image to pixels of a reference, by where both are.

    Parameters
    ----------
    image, reference
        (a, b, c, d, e, f) of each, as of `GeoReference`.
    crs
        Of the image and of the reference, where they are not the same.
    """

    image: tuple[float, ...]
    reference: tuple[float, ...]
    crs: tuple[str, str] | None

    @classmethod
    def of(cls, image: GeoReference, reference: GeoReference) -> Grid:
        """Of two that say where they are; one that states no coordinate system is in the other's."""
        ours, theirs = image.crs_wkt, reference.crs_wkt
        crs = None if not ours or not theirs or same_crs(ours, theirs) else (ours, theirs)
        return cls(image.transform, reference.transform, crs)

    def places(self, rows: slice, columns: slice) -> tuple[I64, I64]:
        """int64 (y, x) each: the row and the column of the reference where the centres of pixels lie.

        Raises
        ------
        Refused
            If PROJ cannot bring one coordinate system to the other.
        """
        row = np.arange(rows.start, rows.stop)[:, None] + 0.5
        column = np.arange(columns.start, columns.stop)[None] + 0.5
        a, b, c, d, e, f = self.image
        x, y = a * column + b * row + c, d * column + e * row + f
        if self.crs is not None:
            x, y = _transformed(x, y, *self.crs)
        a, b, c, d, e, f = self.reference
        area = a * e - b * d
        x, y = x - c, y - f
        with np.errstate(all="ignore"):  # what is nowhere is outside
            return _floor((a * y - d * x) / area), _floor((e * x - b * y) / area)


def _transformed(x: NDArray[np.float64], y: NDArray[np.float64], ours: str, theirs: str) -> Any:
    with gdal("coordinate system") as rasterio:
        from rasterio.warp import transform

        source, target = (rasterio.crs.CRS.from_user_input(crs) for crs in (ours, theirs))
        moved = transform(source, target, x.ravel(), y.ravel())
    return tuple(np.asarray(each, np.float64).reshape(x.shape) for each in moved)


def _floor(places: NDArray[np.float64]) -> I64:
    """Whole numbers, -1 where there is none."""
    fits = np.isfinite(places) & (np.abs(places) < 2**62)
    return np.where(fits, np.floor(np.where(fits, places, 0.0) + _NUDGE_PX), -1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Resampled:
    stored: _Stored
    grid: Grid
    shape: tuple[int, int]
    theirs: tuple[int, int]

    def read(self, rows: slice, columns: slice) -> Codes:
        window = Window(rows.start, columns.start, rows.stop, columns.stop)
        codes, judged = np.zeros(window.shape, np.int64), np.zeros(window.shape, np.bool_)
        for cell in _cells(window, self.shape):
            with refusing(self.stored.reference.path, ""):
                places = self.grid.places(*cell.slices)
            here, there = window.shared_with(cell)
            self._take(places[0][there], places[1][there], codes[here], judged[here])
        return Codes(codes, judged)

    def _take(self, row: I64, column: I64, codes: I64, judged: Bools) -> None:
        """Fill in the codes at places of the reference; where that is too much at once, half by half."""
        inside = (row >= 0) & (row < self.theirs[0]) & (column >= 0) & (column < self.theirs[1])
        if not inside.any():
            return
        rows, columns = (slice(int(at[inside].min()), int(at[inside].max()) + 1) for at in (row, column))
        pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
        if pixels > MOST_READ_PX and row.size > 1:
            for half in _halves(row.shape):
                self._take(row[half], column[half], codes[half], judged[half])
            return
        found = self.stored.read(rows, columns)
        at = row[inside] - rows.start, column[inside] - columns.start
        codes[inside], judged[inside] = found.codes[at], found.judged[at]


def _halves(shape: tuple[int, ...]) -> tuple[Region, Region]:
    height, width = shape
    if height >= width:
        return (slice(0, height // 2), slice(0, width)), (slice(height // 2, height), slice(0, width))
    return (slice(0, height), slice(0, width // 2)), (slice(0, height), slice(width // 2, width))


def _cells(window: Window, shape: tuple[int, int]) -> Iterator[Window]:
    """The cells of the grid that a window touches, whole."""
    top, left = window.top // CELL_PX * CELL_PX, window.left // CELL_PX * CELL_PX
    for rows, columns in tile_windows(window.bottom - top, window.right - left, CELL_PX):
        at = Window(top + rows.start, left + columns.start, 0, 0)
        yield at._replace(bottom=min(at.top + CELL_PX, shape[0]), right=min(at.left + CELL_PX, shape[1]))
