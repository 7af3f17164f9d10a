"""How many connected regions each cluster of an image has, and how large they and pixels are: whole across windows.

A region is a set of 8-connected pixels with one label. A window labels the regions it sees; those that touch its border
are joined with its neighbours' (`kseg_core.joining`), the others are counted at once. What a window hands over
is of the size of its border.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import Labels, invalid_label, label_dtype
from ..errors import StoreError
from ..images.pixel_size import PixelSize, area_of_sides, area_on_the_ground, side_of_sides, side_on_the_ground
from ..joining import Borders, Rim, join_components
from ..kernels.components import label_components, measure_components
from ..layers import LABEL_LAYER
from ..layers.tiles import Region, tile_windows
from ..store.nodes import DAMAGE
from ..store.opening import StoredImage

if TYPE_CHECKING:
    import zarr

    from ..store.legend import Legend

I64 = NDArray[np.int64]

MOST_LABELS = 2**31 - 1  # regions are numbered by int32


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of one image."""

    pixels: I64  # int64 (k,): of each cluster
    count: I64  # int64 (k,): 8-connected regions
    largest: I64  # int64 (k,): pixels of the largest region; 0 where there is none


@dataclass(frozen=True, slots=True)
class WindowRegions:
    """What a window hands over."""

    inside: Regions  # the regions that touch no border of the window
    borders: Borders  # of its regions, to be joined with those of its neighbours
    # int64 (n,): the regions that touch the window's border, their pixels in it, their labels
    open_numbers: I64
    open_pixels: I64
    open_labels: I64


@dataclass(frozen=True, slots=True)
class LabelArray:
    """Which array of an image has the labels whose regions are meant.

    Parameters
    ----------
    name
        Its path in the image's group.
    dtype
        What it has to be.
    nothing
        The label of pixels that are in no region.
    lookup
        By label what is read instead of it, (largest label + 1,); None: labels are read as they are.
    """

    name: str
    dtype: np.dtype[Any]
    nothing: int
    lookup: Labels | None = None

    @classmethod
    def of_clusters(cls, k: int) -> Self:
        """That of ``k`` clusters, as the store has it."""
        return cls(LABEL_LAYER.path(), label_dtype(k), invalid_label(k))

    @classmethod
    def of_legend(cls, legend: Legend) -> Self:
        """That of clusters, read as the values of a legend."""
        lookup = None if legend.what == "cluster" else legend.lookup
        return cls(LABEL_LAYER.path(), label_dtype(legend.k), legend.invalid, lookup)

    def read(self, image: StoredImage, rows: slice, columns: slice) -> Labels:
        """A window of an image's labels.

        Raises
        ------
        StoreError
            If they cannot be read, are of another dtype, or are more than regions are counted to.
        """
        array = image.array(self.name)
        if array.dtype != self.dtype:
            raise StoreError(f"{image.path}: its labels are {array.dtype}, expected {self.dtype}")
        try:
            labels: Labels = np.asarray(array[rows, columns])
        except DAMAGE as error:
            raise StoreError(f"{image.path}: its labels cannot be read ({error})") from error
        if self.dtype.itemsize > 2 and labels.max() > MOST_LABELS:
            raise StoreError(f"{image.path}: a label of {labels.max()}, expected at most {MOST_LABELS}")
        return labels if self.lookup is None else np.take(self.lookup, labels)

    def read_padded(
        self, image: StoredImage, rows: slice, columns: slice, by: int = 1
    ) -> tuple[Labels, NDArray[np.bool_]]:
        """A window of an image's labels (y + 2, x + 2) with one pixel around it, and which of these are in the image.

        With ``by`` that many pixels around it.

        Raises
        ------
        StoreError
            As `read` does.
        """
        clipped: list[slice] = []
        missing: list[tuple[int, int]] = []
        for window, size in zip((rows, columns), image.array(self.name).shape, strict=True):
            first, last = max(window.start - by, 0), min(window.stop + by, size)
            clipped.append(slice(first, last))
            missing.append((first - window.start + by, window.stop + by - last))
        labels = self.read(image, clipped[0], clipped[1])
        inside = np.ones(labels.shape, np.bool_)
        return np.pad(labels, missing, constant_values=self.nothing), np.pad(inside, missing)


def windows_of(labels: zarr.Array[Any], side: int) -> list[Region]:
    """Windows of about such a side, row by row: whole tiles where these are not huge, as each is decoded once then."""
    tile = max(labels.chunks)
    height, width = labels.shape
    return list(tile_windows(height, width, min(tile * max(1, side // tile), 2 * side)))


def columns_of(windows: Sequence[Region]) -> int:
    """How many windows a row of `windows_of` has."""
    return sum(rows.start == 0 for rows, _ in windows)


def wanted_labels(k: int, clusters: Sequence[int] | None = None) -> NDArray[np.bool_]:
    """By label: whether it is one of the clusters (None: of all); never that of invalid pixels."""
    wanted = np.zeros(invalid_label(k) + 1, np.bool_)
    wanted[: k if clusters is None else 0] = True
    wanted[[] if clusters is None else list(clusters)] = True
    return wanted


def regions_of_window(labels: Labels, k: int) -> WindowRegions:
    """Label and measure the regions of one window.

    Parameters
    ----------
    labels
        (y, x) of at least one pixel.
    k
        Clusters: labels from 0 to k - 1, and the dtype's largest value where invalid.
    """
    components, count = label_components(labels, wanted_labels(k), True)
    areas, classes, _ = measure_components(components, labels, count)
    rim = Rim.of(components)
    open_numbers = np.setdiff1d(np.concatenate(rim), [0]).astype(np.int64)
    inside = np.ones(count + 1, np.bool_)
    inside[0] = False
    inside[open_numbers] = False
    return WindowRegions(
        _summed(areas[inside], classes[inside], k),
        Borders(rim, count, Rim.of(labels)),
        open_numbers,
        areas[open_numbers],
        classes[open_numbers],
    )


def join_regions(windows: Sequence[WindowRegions], columns: int) -> Regions:
    """The regions of a whole image from those of its windows, row by row, ``columns`` of them in each."""
    joined = join_components([window.borders for window in windows], columns)
    numbers = np.concatenate([own.of(window.open_numbers) for own, window in zip(joined.windows, windows, strict=True)])
    found, at = np.unique(numbers, return_inverse=True)
    pixels, labels = np.zeros(found.size, np.int64), np.zeros(found.size, np.int64)
    np.add.at(pixels, at, np.concatenate([window.open_pixels for window in windows]))
    labels[at] = np.concatenate([window.open_labels for window in windows])
    parts = [_summed(pixels, labels, windows[0].inside.pixels.size), *(window.inside for window in windows)]
    return Regions(
        np.sum([part.pixels for part in parts], axis=0),
        np.sum([part.count for part in parts], axis=0),
        np.max([part.largest for part in parts], axis=0),
    )


def _summed(pixels: I64, labels: I64, k: int) -> Regions:
    """Whole regions by label."""
    total, largest = np.zeros(k, np.int64), np.zeros(k, np.int64)
    np.add.at(total, labels, pixels)
    np.maximum.at(largest, labels, pixels)
    return Regions(total, np.bincount(labels, minlength=k).astype(np.int64), largest)


# ----------------------------------------------------------------------------------------------------- the table


#: The columns of a table of clusters and the Python type of what is in them (None where it is not known).
COLUMNS: dict[str, type] = {
    "image": str,
    "source": str,
    "cluster": int,
    "color": str,
    "pixels": int,
    "share": float,
    "regions": int,
    "largest_region": int,
    "area_m2": float,
    "area_um2": float,
}
#: Those of a table of classes, which are called by their names.
CLASS_COLUMNS: dict[str, type] = {
    "class" if name == "cluster" else name: str if name == "cluster" else kind for name, kind in COLUMNS.items()
}


def region_rows(
    image: StoredImage,
    regions: Regions,
    legend: Legend,
    chosen: Sequence[int] | None = None,
    size: PixelSize | None = None,
) -> Iterator[tuple[Any, ...]]:
    """One row a cluster or class, as `COLUMNS` or `CLASS_COLUMNS` have them; ``share`` is of the image's valid pixels.

    ``chosen``: of these values of the legend only; ``size``: see `pixel_area`.
    """
    area = pixel_area(image, size)
    valid = int(regions.pixels.sum())
    for value in range(len(legend)) if chosen is None else sorted(chosen):
        pixels = int(regions.pixels[value])
        yield (
            image.key,
            image.source,
            legend.names[value] if legend.what == "class" else value,
            f"#{bytes(legend.colors[value]).hex()}",
            pixels,
            pixels / valid if valid else None,
            int(regions.count[value]),
            int(regions.largest[value]),
            None if area.square_metres is None else pixels * area.square_metres,
            None if area.square_micrometres is None else pixels * area.square_micrometres,
        )


# --------------------------------------------------------------------------------------------------- areas of pixels


class PixelArea(NamedTuple):
    """The area of one pixel, where known, and its side where it is square."""

    square_metres: float | None = None
    square_micrometres: float | None = None
    metres: float | None = None
    micrometres: float | None = None


def pixel_area(image: StoredImage, given: PixelSize | None = None) -> PixelArea:
    """The area of a pixel: in square metres of a projected coordinate system, in square micrometres of a known size;
    ``given``: that of images without a place on the ground, whatever the store says.
    """
    geo = image.georeference
    if geo is not None:
        return PixelArea(square_metres=area_on_the_ground(geo), metres=side_on_the_ground(geo))
    scale = image.pixel_scale if given is None else ((given.y, given.x), (given.unit, given.unit))
    return PixelArea(square_micrometres=area_of_sides(*scale), micrometres=side_of_sides(*scale))
