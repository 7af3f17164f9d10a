"""A stack: an image whose bands are files, each read by its own decoder, by windows.

The grid is that of the finest file, of equal ones the first. A band of another grid has, at each of its pixels, the
value of the band's own pixel in which that pixel's centre lies: nearest, which makes no values. Where that is depends
on the two grids alone, so any window has the pixels of the whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.band_files import stacked_files
from kseg_core.choice import DEFAULT, PictureChoice
from kseg_core.config import NodataIn
from kseg_core.errors import UnreadableImage
from kseg_core.images.choosing import require_one_picture
from kseg_core.images.decoder import USE_BANDS, Decoder
from kseg_core.images.failures import refusing
from kseg_core.images.file_masks import Carried
from kseg_core.images.geo import GeoReference, Place
from kseg_core.images.picture import Picture, channels_of, open_picture
from kseg_core.images.raster import (
    MAX_PIXELS,
    Cost,
    Grid,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_dtype,
    check_size,
)
from kseg_core.images.validity import combine
from kseg_core.images.windows import Window
from kseg_core.inputs.keys import printable_source

NAME = "stack"
_MOST_OFF_PX = (
    1.0  # that corners may be from each other, in pixels of the coarser file: Landsat's sharpest band is a half
)
_ON_THE_EDGE = 1e-6  # a centre that is nearly on a pixel's edge is on it: grids have rounding errors
_NAME_OF_CRS = re.compile(r'"([^"]*)"')
_WHOLE_BITS = {"float16": 11, "float32": 24, "float64": 53}  # of integers that such a float holds

Indices = NDArray[np.intp]


def open_image(
    path: str,
    *,
    max_pixels: int = MAX_PIXELS,
    choice: PictureChoice = DEFAULT,
    carried: bool = True,
    early: bool = False,
    known: PictureInfo | None = None,
    bands: Sequence[str] = (),
) -> Picture:
    """Open a picture, or a stack by its path, for reading parts of it.

    Parameters
    ----------
    path, max_pixels, choice, carried, early
        As of `open_picture`; of a stack a channel can be chosen, which is one of its bands, from 0.
    known
        The header, as an earlier opening has it: a stack's files are not held against each other once more.
    bands
        What a stack's bands are called, in the order of its files.

    Raises
    ------
    UnreadableImage
        As `open_picture`; and where a stack's files are not of one band each, or not of one place.
    """
    files = stacked_files(path)
    if not files:
        return open_picture(path, max_pixels=max_pixels, choice=choice, carried=carried, early=early)
    with ExitStack() as closing, refusing(path, NAME):
        require_one_picture(choice, NAME, channels=False)
        parts = []
        for number, file in enumerate(files):
            with _naming(file):
                picture = closing.enter_context(open_picture(file, max_pixels=max_pixels, carried=carried, early=early))
                parts.append(_Part(picture, file, bands[number] if bands else str(number + 1)))
        stack = Stack(parts, max_pixels, () if known is None else known.grids)
        stored, extras = channels_of(stack, choice.channel, Carried(stack.mask))
        return _StackPicture(path, stored, closing.pop_all(), extras, stack)


class _StackPicture(Picture):
    """A stack, opened, or channels of it."""

    def __init__(self, path: str, stored: Decoder, closing: ExitStack, carried: Carried, stack: Stack) -> None:
        super().__init__(path, stored, closing, carried)
        self._stack = stack

    def place(self) -> Place:
        return self._stack.place


@contextmanager
def _naming(file: str) -> Iterator[None]:
    """What is wrong with a file of a stack names the file."""
    name = printable_source(os.path.basename(file))
    try:
        yield
    except UnreadableImage as error:
        raise Refused(f"its file {name}: {error.reason}") from error
    except Refused as error:
        raise type(error)(f"its file {name}: {error}") from error


class _Part:
    """A file of one band.

    Parameters
    ----------
    picture
        It, opened.
    path
        Of the file.
    band
        What its band is called.

    Raises
    ------
    Refused
        If it has more bands, or a palette.
    """

    def __init__(self, picture: Picture, path: str, band: str) -> None:
        info = picture.info
        if len(info.but_alpha) != 1 or info.colours is not None:
            what = "a palette" if info.colours == "palette" else f"{len(info.but_alpha)} bands"
            raise Refused(f"{what}, where a stack has one band a file; --exclude it")
        self.picture, self.band, self.info = picture, band, info
        self.name = printable_source(os.path.basename(path))
        self.dtype = np.dtype(check_dtype(info.dtype))
        self.rows: Indices | None = None  # which of its rows and columns those of the stack are; None: the same
        self.columns: Indices | None = None

    def lie_on(self, grid: Grid, whole: tuple[int, int]) -> None:
        """Say where the pixels of the stack, of so many rows and columns, are in it."""
        (height, width), (own_height, own_width) = whole, self.info.shape
        rows = _indices(grid.top, grid.down, height, own_height)
        columns = _indices(grid.left, grid.across, width, own_width)
        if self.info.shape != whole or (rows != np.arange(height)).any() or (columns != np.arange(width)).any():
            self.rows, self.columns = rows, columns

    @cached_property
    def place(self) -> Place:
        with _naming(self.name):
            return self.picture.place()

    @property
    def nodata(self) -> float | None:
        """The value that stands for no data, as the samples of its own type have it."""
        of_band = self.info.band_nodata[self.info.but_alpha[0]] if self.info.band_nodata else None
        value = self.info.nodata if of_band is None else of_band
        if value is None or self.dtype.kind != "f":
            return value
        with np.errstate(over="ignore"):
            return float(self.dtype.type(value))

    def read(self, window: Window) -> tuple[Samples, NDArray[np.bool_] | None]:
        """A window of the stack: samples (height, width), and where alpha is not 0."""
        rows, columns = self._own(window)
        with _naming(self.name):
            values, valid = self.picture.values(rows, columns)
        return self._spread(values[..., 0], window), None if valid is None else self._spread(valid, window)

    def counts(self, window: Window) -> NDArray[np.bool_] | None:
        """Where the file's own mask says that pixels count."""
        with _naming(self.name):
            valid = self.picture.masked(*self._own(window))
        return None if valid is None else self._spread(valid, window)

    def _own(self, window: Window) -> tuple[slice, slice]:
        """The part of the file that a window takes."""
        if self.rows is None or self.columns is None:
            return window.slices
        rows, columns = self.rows[window.slices[0]], self.columns[window.slices[1]]
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

    def _spread(self, values: NDArray[Any], window: Window) -> NDArray[Any]:
        """What was read of the file, at the pixels of the window."""
        if self.rows is None or self.columns is None:
            return values
        rows, columns = self.rows[window.slices[0]], self.columns[window.slices[1]]
        return values[np.ix_(rows - rows[0], columns - columns[0])]


class _StackMask:
    """The masks that the files of a stack carry, one a band."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = parts

    def valid(self, window: Window, bands: Sequence[int], within: NodataIn) -> NDArray[np.bool_] | None:
        masks = [self._parts[band].counts(window) for band in bands]
        if within == "any":
            return combine(*masks)
        there = [mask for mask in masks if mask is not None]
        return np.logical_or.reduce(there) if len(there) == len(masks) else None


class Stack(Decoder):
    """The opened files of a stack as one picture; they stay the caller's to close.

    Parameters
    ----------
    parts
        The files, a band each.
    max_pixels
        Where one of them can only be read whole, all are refused if they have more.
    grids
        Where its pixels are in each file, as an earlier opening has it; none: it is worked out, by GDAL for each.

    Raises
    ------
    Refused
        If they are not of one place, or no type holds the values of all.
    """

    name = NAME

    def __init__(self, parts: Sequence[_Part], max_pixels: int, grids: tuple[Grid, ...] = ()) -> None:
        self._parts = parts
        self._finest = max(parts, key=lambda part: part.info.shape[0] * part.info.shape[1])
        self.stored_shape = self._finest.info.shape
        self._dtype = _common_dtype(parts)
        self._grids = grids or tuple(_grid_of(part, self._finest) for part in parts)
        for part, grid in zip(parts, self._grids, strict=True):
            part.lie_on(grid, self.stored_shape)
        self.mask = _StackMask(parts)
        self.info = self._described()
        if self.info.block is None:
            check_size(*self.stored_shape, max_pixels)

    @property
    def place(self) -> Place:
        """Where it is on the ground."""
        return self._finest.place

    def raster(self, window: Window) -> Raster:  # noqa: ARG002  # of none
        raise Refused(f"bands in files of their own are no colours; {USE_BANDS}")

    def read(self, window: Window, bands: tuple[int, ...]) -> tuple[Samples, NDArray[np.bool_] | None]:
        samples, valid = np.empty((*window.shape, len(bands)), self._dtype), None
        for at, band in enumerate(bands):
            values, opaque = self._parts[band].read(window)
            samples[..., at] = values
            valid = combine(valid, opaque)
        return samples, valid

    def _described(self) -> PictureInfo:
        parts, nodata = self._parts, tuple(part.nodata for part in self._parts)
        one = nodata[0] if len(set(map(repr, nodata))) == 1 else None  # by their text, as NaN is not itself
        notes = tuple(f"{part.band}: {note}" for part in parts for note in part.info.notes)
        return PictureInfo(
            NAME,
            self.stored_shape,
            len(parts),
            str(self._dtype),
            self._block(),
            one,
            notes=notes,
            common_notes=self._resampled(),
            band_nodata=() if one is not None or not any(value is not None for value in nodata) else nodata,
            cost=_cost_of(parts),
            band_names=tuple(part.band for part in parts),
            grids=self._grids,
        )

    def _resampled(self) -> tuple[str, ...]:
        """What is said of bands that have another grid."""
        coarser: dict[str, list[str]] = {}
        for part, grid in zip(self._parts, self._grids, strict=True):
            if part.rows is not None:
                ratio = f"{1 / max(grid.down, grid.across):.3g}"
                coarser.setdefault("shifted" if ratio == "1" else f"{ratio} times coarser", []).append(part.band)
        named = ", ".join(f"{', '.join(bands)} ({how})" for how, bands in sorted(coarser.items()))
        return (f"bands are read at the finest resolution, by nearest neighbour: {named}",) if named else ()

    def _block(self) -> tuple[int, int] | None:
        """The natural unit of reading: the largest of any file, in pixels of the stack."""
        sides = []
        for part in self._parts:
            block, shape = part.info.block, part.info.shape
            if block is None:
                return None
            sides.append(
                [-(-side * own // size) for side, own, size in zip(block, self.stored_shape, shape, strict=True)]
            )
        return max(side[0] for side in sides), max(side[1] for side in sides)


def _cost_of(parts: Sequence[_Part]) -> Cost:
    """What reading takes: files that are decoded whole stay so until all bands are read, others go one by one."""
    costs = [part.info.cost for part in parts]
    whole = [part for part in parts if part.info.block is None]
    decoding = [
        2 * part.dtype.itemsize * part.info.bands + 4
        if part.info.cost.decoding_px is None
        else part.info.cost.decoding_px
        for part in whole
    ]
    held = sum(part.dtype.itemsize * part.info.bands for part in whole)
    return Cost(
        max(cost.copies for cost in costs),
        max(cost.copies_before for cost in costs),
        held + max(decoding, default=0),
        block_px=max(cost.block_px for cost in costs),
        cache_bytes=sum(cost.cache_bytes for cost in costs),
    )


def _common_dtype(parts: Sequence[_Part]) -> np.dtype[Any]:
    """The type that holds every value of all files exactly.

    Raises
    ------
    Refused
        If none does, naming two of them.
    """
    common = np.result_type(*(part.dtype for part in parts))
    if common.kind == "f":
        for part in parts:
            if (
                part.dtype.kind in "iu"
                and 8 * part.dtype.itemsize - (part.dtype.kind == "i") > _WHOLE_BITS[common.name]
            ):
                other = next(each for each in parts if each.dtype != part.dtype)
                raise Refused(
                    f"no type holds both {part.dtype} of {part.name} and {other.dtype} of {other.name} exactly: "
                    "convert one of them first"
                )
    return common


# One place


def _grid_of(part: _Part, finest: _Part) -> Grid:
    """Where the pixels of the finest file are in another.

    Raises
    ------
    Refused
        If the two are not of one place, saying what differs.
    """
    if part is finest:
        return Grid()
    here, there = part.place.geo, finest.place.geo
    if (here is None) != (there is None):
        lost, placed = (part, finest) if here is None else (finest, part)
        raise Refused(f"{lost.name} is not placed on the ground, {placed.name} is")
    if here is not None and there is not None:
        _require_same_crs(part, here, finest, there)
        return _grid_on_the_ground(part, here, finest, there)
    (rows, columns), (height, width) = part.info.shape, finest.info.shape
    down, across = rows / height, columns / width
    if max(abs(height * across - rows), abs(width * down - columns)) > _MOST_OFF_PX + _ON_THE_EDGE:
        raise Refused(
            f"{part.name} is of {columns} x {rows} pixels, {finest.name} of {width} x {height}: not of one extent"
        )
    return Grid(0.0, down, 0.0, across)


def _indices(start: float, step: float, count: int, size: int) -> Indices:
    """In which of ``size`` pixels of a file the centres of so many of the stack lie."""
    at = np.floor(start + (np.arange(count) + 0.5) * step + _ON_THE_EDGE)
    indices: Indices = np.clip(at, 0, size - 1).astype(np.intp)
    return indices


def _grid_on_the_ground(part: _Part, here: GeoReference, finest: _Part, there: GeoReference) -> Grid:
    """The same of files that are placed on the ground.

    Raises
    ------
    Refused
        If corners are more than a pixel of the coarser from each other, or one is turned.
    """
    own, of_finest = (
        np.array([*here.transform, 0, 0, 1]).reshape(3, 3),
        np.array([*there.transform, 0, 0, 1]).reshape(3, 3),
    )
    to_own = np.linalg.solve(own, of_finest)
    (height, width), (rows, columns) = finest.info.shape, part.info.shape
    corners = to_own @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
    wanted = np.array([[0, columns, 0, columns], [0, 0, rows, rows]], np.float64)
    off = np.abs(corners[:2] - wanted).max() if np.isfinite(corners).all() else np.inf
    if off > _MOST_OFF_PX - _ON_THE_EDGE:
        raise Refused(
            f"{part.name} covers {_extent(here, part)}, {finest.name} covers {_extent(there, finest)}: not of one "
            "extent within a pixel; cut them alike first, e.g. with gdalwarp -te"
        )
    return Grid(float(to_own[1, 2]), float(to_own[1, 1]), float(to_own[0, 2]), float(to_own[0, 0]))


def _extent(geo: GeoReference, part: _Part) -> str:
    a, b, c, d, e, f = geo.transform
    height, width = part.info.shape
    x = [c + a * column + b * row for column in (0, width) for row in (0, height)]
    y = [f + d * column + e * row for column in (0, width) for row in (0, height)]
    return f"x {min(x):.12g} to {max(x):.12g}, y {min(y):.12g} to {max(y):.12g}"


def _require_same_crs(part: _Part, here: GeoReference, finest: _Part, there: GeoReference) -> None:
    if here.crs_wkt == there.crs_wkt or (here.crs_wkt and there.crs_wkt and _is_same(here.crs_wkt, there.crs_wkt)):
        return
    one, other = (_crs_name(geo.crs_wkt) for geo in (here, there))
    raise Refused(f"{part.name} is in {one}, {finest.name} in {other}: bring them to one coordinate system first")


def _is_same(one: str, other: str) -> bool:
    """Whether two texts are of one coordinate system: formats write it with more or less detail."""
    from kseg_core.images.gdal import gdal

    with gdal("coordinate system") as rasterio:
        return bool(rasterio.crs.CRS.from_wkt(one) == rasterio.crs.CRS.from_wkt(other))


def _crs_name(wkt: str) -> str:
    name = _NAME_OF_CRS.search(wkt)
    return name[1] if name else "no coordinate system that is stated"
