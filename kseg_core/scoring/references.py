"""References of an image, as far as their headers tell: what they hold, and how they lie in the image.

Looked at once an image, on a worker; sent to those that count, which open them again (`reading`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..choice import DEFAULT, PictureChoice
from ..errors import UnreadableImage
from ..images import PictureInfo, open_picture
from ..images.failures import opened, refusing
from ..images.geo import GeoReference, read_place
from ..images.polygons import PolygonNumbers, Polygons, is_polygons, read_polygons
from ..images.raster import Refused
from ..images.tiff_directory import Directories
from ..images.validity import Nodata
from ..inputs.keys import printable_source
from ..memory import decoding_bytes
from ..store.opening import StoredImage
from .settings import ScoreSettings

QUPATH = "classification"  # the attribute that it has classes in
COLOURS = 3  # bands of a reference whose classes are colours
_ALIKE_PX = 1e-3  # two grids of one size are the same where no corner is farther off: far below what nearest can tell


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference of an image; cheap to send to a worker.

    Parameters
    ----------
    path
        Its file.
    names
        Of polygons: of code 1, 2, …; of pictures empty.
    choice
        Which page of a TIFF.
    place
        Where it is on the ground, where its pixels must be looked for there; None: they are the image's.
    nodata
        What is not judged.
    colours
        Whether its classes are colours.
    whole_bytes
        Of a picture that can only be decoded whole: memory that it takes; else 0.
    block
        (rows, columns) of the unit in which it is read.
    """

    path: str
    names: tuple[str, ...] = ()
    choice: PictureChoice = DEFAULT
    place: GeoReference | None = None
    nodata: Nodata = field(default_factory=Nodata)
    colours: bool = False
    whole_bytes: int = 0
    block: tuple[int, int] | None = None

    @property
    def is_polygons(self) -> bool:
        return bool(self.names)

    def name(self, code: int) -> str:
        """What a code is called."""
        if self.names:
            return self.names[code - 1]
        return f"#{code:06x}" if self.colours else str(code)


@contextmanager
def naming(reference: str, source: str) -> Iterator[None]:
    """What is wrong with an image's reference names both."""
    try:
        yield
    except UnreadableImage as error:
        raise UnreadableImage(source, f"its reference {printable_source(reference)}: {error.reason}") from error


def look_at(image: StoredImage, paths: tuple[str, ...], settings: ScoreSettings) -> tuple[Reference, ...]:
    """Look at the references of an image.

    Raises
    ------
    UnreadableImage
        Naming the image and the reference, where one cannot be used.
    """
    found: list[Reference] = []
    for path in paths:
        with naming(path, image.source):
            found += [_of_polygons(path, image, settings)] if is_polygons(path) else _of_picture(path, image, settings)
    return tuple(found)


# ------------------------------------------------------------------------------------------------------- polygons


def classified(path: str, settings: ScoreSettings) -> tuple[Polygons, tuple[str, ...], NDArray[np.int32]]:
    """The polygons of a file that have a class, the names of the classes, and int32 (n,): each one's, from 1, 0 where
    it is not judged.

    Raises
    ------
    UnreadableImage
        Naming the file.
    """
    polygons = read_polygons(path, (settings.attribute, *([QUPATH] if settings.attribute == "class" else [])))
    unjudged = {f"{value:g}" for value in settings.nodata_values}
    names = tuple(sorted({text for text in polygons.texts if text and text not in unjudged}, key=in_order))
    with refusing(path, ""):
        if not names:
            raise Refused("none of its polygons has a class")
    code = {name: at for at, name in enumerate(names, 1)}
    there = np.array([bool(text) for text in polygons.texts])
    codes = np.array([code.get(text, 0) for text in polygons.texts if text], np.int32)
    return Polygons(polygons.shapes[there], polygons.crs, polygons.is_json), names, codes


def numbered(path: str, image: StoredImage, settings: ScoreSettings) -> PolygonNumbers:
    """The classes of polygons where they are in an image."""
    polygons, _, codes = classified(path, settings)
    height, width = image.attributes["shape"]
    return PolygonNumbers(path, image.georeference, (height, width), polygons, codes)


def in_order(name: str) -> tuple[bool, float, str]:
    """The order of names: numbers by size, then others."""
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


def _of_polygons(path: str, image: StoredImage, settings: ScoreSettings) -> Reference:
    _, names, _ = classified(path, settings)
    numbered(path, image, settings)  # whether they lie in an image that says where it is
    return Reference(path, names)


# -------------------------------------------------------------------------------------------------------- pictures


def _of_picture(path: str, image: StoredImage, settings: ScoreSettings) -> list[Reference]:
    """The picture of a file, or each of the pages that have the image's size."""
    height, width = image.attributes["shape"]
    pages = _pages_of(path, (height, width))
    choices = [PictureChoice(page=page) for page in pages] if len(pages) > 1 else [DEFAULT]
    return [_of_page(path, choice, image, settings) for choice in choices]


def _of_page(path: str, choice: PictureChoice, image: StoredImage, settings: ScoreSettings) -> Reference:
    with open_picture(path, choice=choice) as picture:
        info = picture.info
        place = read_place(path, info.format, info.placed, picture.turned, info.crs_stated).geo
    height, width = image.attributes["shape"]
    with refusing(path, info.format):
        _require_labels(info)
        moved = place if _must_be_moved((height, width), image.georeference, info.shape, place) else None
    values = settings.nodata_values
    nodata = Nodata(values, (), "all")
    if settings.takes_stated_nodata:
        nodata = Nodata(values if info.nodata is None else (info.nodata, *values), info.band_nodata, "all")
    pixels = info.shape[0] * info.shape[1]
    whole = decoding_bytes(info, storage.stat(path).st_size, pixels) if info.block is None else 0
    colours = len(info.but_alpha) == COLOURS
    return Reference(path, (), choice, moved, nodata, colours, whole, info.block)


def _require_labels(info: PictureInfo) -> None:
    if info.format == "JPEG":
        raise Refused("a JPEG, which changes values: save it as PNG or TIFF")
    bands = len(info.but_alpha)
    if bands != 1 and not (bands == COLOURS and info.dtype == "uint8"):
        raise Refused(f"{bands} bands of {info.dtype}: a reference has one number a pixel, or an 8-bit colour")


def _must_be_moved(
    shape: tuple[int, int], place: GeoReference | None, theirs: tuple[int, int], their_place: GeoReference | None
) -> bool:
    """Whether a reference's pixels are found by where they are on the ground.

    Raises
    ------
    Refused
        Where it is of another size, and one of them does not say where it is.
    """
    if place is not None and their_place is not None:
        return shape != theirs or not _same_grid(place, their_place, shape)
    if shape == theirs:
        return False
    raise Refused(
        f"it is {theirs[1]} x {theirs[0]}, the image {shape[1]} x {shape[0]}: save it at the image's size, or have "
        "both say where on the ground they are, as GeoTIFFs do"
    )


def _same_grid(one: GeoReference, other: GeoReference, shape: tuple[int, int]) -> bool:
    if one.crs_wkt and other.crs_wkt and not same_crs(one.crs_wkt, other.crs_wkt):
        return False
    corners = np.array([(0, 0), (0, shape[0]), (shape[1], 0), (shape[1], shape[0])], np.float64)
    places = [corners @ np.array([(t[0], t[3]), (t[1], t[4])]) + (t[2], t[5]) for t in (one.transform, other.transform)]
    return bool(np.abs(places[0] - places[1]).max() <= _ALIKE_PX * min(one.resolution))


def same_crs(one: str, other: str) -> bool:
    """Whether two texts (WKT) are of one coordinate system."""
    if one == other:
        return True
    from ..images.gdal import gdal

    with gdal("coordinate system") as rasterio:
        return bool(rasterio.crs.CRS.from_user_input(one) == rasterio.crs.CRS.from_user_input(other))


def _pages_of(path: str, shape: tuple[int, int]) -> list[int]:
    """The pages of a TIFF that have the image's size, none of them reduced or a mask; none of other files."""
    if storage.is_dir(path) or os.path.splitext(path)[1].lower() not in (".tif", ".tiff"):
        return []
    with refusing(path, "TIFF"), opened(path) as (file, head):
        if head[:2] not in (b"II", b"MM"):
            return []
        chain = Directories(file).walk().chain
    return [
        page.number
        for page in chain
        if sorted((page.height, page.width)) == sorted(shape) and not page.is_reduced and not page.is_mask
    ]
