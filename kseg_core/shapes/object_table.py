"""The table of objects: which regions of an image are meant, and a row for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..areas import least_pixels
from ..clustering.labelling import Labels
from ..errors import StoreError, UsageError
from ..images.pixel_size import PixelSize
from ..layers import LAYERS
from ..object_settings import ObjectSettings
from ..store.cuts import table_of
from ..store.legend import Legend, chosen_values, hex_of, named_legend
from ..store.model import Model
from ..store.opening import StoredImage
from . import objects
from .objects import FIGURES, HALO, Wanted
from .regions import LabelArray, PixelArea, pixel_area, wanted_labels

F64 = NDArray[np.float64]
SQUARE_MICROMETRE = 1e-12  # square metres

#: The table's columns but those of bands, and the Python type of what is in them (None where it is not known).
COLUMNS: dict[str, type] = {
    "image": str,
    "source": str,
    "id": int,
    "class": str,
    "color": str,
    "pixels": int,
    **dict.fromkeys(("top", "left", "bottom", "right"), int),
    **dict.fromkeys(("centroid_y", "centroid_x", "perimeter", "eccentricity"), float),
    **dict.fromkeys(("axis_major", "axis_minor", "orientation", "area_m2", "area_um2"), float),
    **{f"{name}_{unit}": float for name in ("perimeter", "axis_major", "axis_minor") for unit in ("m", "um")},
}


def band_columns(bands: Sequence[str]) -> dict[str, type]:
    """The columns of some bands."""
    return {f"{what}_{band}": float for what in ("mean", "std") for band in bands}


@dataclass(frozen=True, slots=True)
class ImageObjects:
    """Which regions of an image are measured, and what their labels stand for; cheap to send to a worker.

    Parameters
    ----------
    key, source
        Of the image.
    array
        Whose regions: its clusters' labels, or its segments.
    legend
        What clusters' labels become, and what segments are of; None: there are no clusters.
    wanted
        Which.
    named
        int64, by label: the value of the legend that it stands for; -1: none.
    area
        Of a pixel.
    """

    key: str
    source: str
    array: LabelArray
    legend: Legend | None
    wanted: Wanted
    named: NDArray[np.int64]
    area: PixelArea

    @classmethod
    def of(
        cls, image: StoredImage, model: Model | None, settings: ObjectSettings, size: PixelSize | None = None
    ) -> Self:
        """Those that the settings ask for; ``size`` as of `pixel_area`.

        Raises
        ------
        UsageError
            If an area has a unit and the size of a pixel is not known, or an image has no such class or cluster.
        StoreError
            If the table of its segments is damaged.
        """
        area = pixel_area(image, size)
        legend = None if model is None else named_legend(model, settings.by, image.store, "--of classes")
        chosen = None
        if settings.chosen is not None:
            if model is None or legend is None:
                raise UsageError(f"--cluster {settings.chosen[0]}: {image.key} has no clusters; leave it out")
            chosen = chosen_values(model, legend, settings.chosen, "--of clusters")
        least, columns = least_of(settings, area, image), int(image.attributes["shape"][1])
        if settings.of == "segments":
            array = LabelArray(LAYERS["segments"].path(), np.dtype(np.uint32), 0)
            named = _of_segments(image, legend)
            labels = np.ones(named.size, np.bool_) if chosen is None else np.isin(named, chosen)
            labels[0] = False
        else:  # without a model no pixel is valid, and there is no region
            array = LabelArray.of_clusters(0 if legend is None else legend.k)
            named = np.arange(0 if legend is None else len(legend))
            labels = wanted_labels(named.size, chosen)
        return cls(image.key, image.source, array, legend, Wanted(labels, least, columns), named, area)

    def read(self, image: StoredImage, rows: slice, columns: slice) -> Labels:
        """The labels of a window with `HALO` pixels around it.

        Raises
        ------
        StoreError
            If they cannot be read.
        """
        padded, _ = self.array.read_padded(image, rows, columns, HALO)
        return padded if self.legend is None or self.is_of_segments else self.legend.values_of(padded)

    @property
    def is_of_segments(self) -> bool:
        """Whether its labels are numbers of segments."""
        return self.array.nothing == 0

    def rows(self, figures: F64, bands: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """One row a region, as `COLUMNS` and the columns of bands have them.

        Parameters
        ----------
        figures
            (n, FIGURES + 2 d).
        bands
            The names of the image's own d bands.
        columns
            The names of the table's columns of bands.
        """
        own = list(band_columns(bands))
        at = [FIGURES + own.index(name) if name in own else -1 for name in columns]
        for row in figures.tolist():
            label, pixels = int(row[objects.LABEL]), int(row[objects.PIXELS])
            name, color = self._name_of(label)
            yield (
                self.key,
                self.source,
                label if self.is_of_segments else int(row[objects.FIRST]),
                name,
                color,
                pixels,
                *map(int, row[objects.BOX]),
                *row[objects.CENTROID_Y : objects.FIGURES],
                *self._in_units(pixels, row),
                *(None if place < 0 else row[place] for place in at),
            )

    def _name_of(self, label: int) -> tuple[str | None, str | None]:
        """Name and colour of the class or cluster that a label stands for.

        Raises
        ------
        StoreError
            If there is no such label.
        """
        if label >= self.named.size:
            raise StoreError(
                f"{self.key}: its labels have {label}, expected less than {self.named.size}; check its store"
            )
        value = int(self.named[label])
        if self.legend is None or value < 0:
            return None, None
        return self.legend.names[value], hex_of(self.legend.colors[value].tolist())

    def _in_units(self, pixels: int, row: Sequence[float]) -> Iterator[float | None]:
        area = self.area
        for unit in (area.square_metres, area.square_micrometres):
            yield None if unit is None else pixels * unit
        for length in (objects.PERIMETER, objects.MAJOR, objects.MINOR):
            for unit in (area.metres, area.micrometres):
                yield None if unit is None else row[length] * unit


def _of_segments(image: StoredImage, legend: Legend | None) -> NDArray[np.int64]:
    """By number of a segment the value of the legend that most of its pixels are of; -1 of 0, and without clusters."""
    clusters = np.concatenate([[-1], table_of(image).cluster]).astype(np.int64)
    if legend is None:
        return np.full(clusters.size, -1)
    values = np.full(legend.k + 1, -1)  # the last is that of cluster -1, none
    for value, group in enumerate(legend.clusters):
        values[list(group)] = value
    return values[clusters]


def least_of(settings: ObjectSettings, area: PixelArea, image: StoredImage) -> int:
    """The fewest pixels of a region that is an object.

    Raises
    ------
    UsageError
        If nobody knows.
    """
    metres = area.square_metres
    if metres is None and area.square_micrometres is not None:
        metres = area.square_micrometres * SQUARE_MICROMETRE
    try:
        return max(1, least_pixels(settings.min_area, metres))
    except ValueError:
        what = f"--min-area {settings.min_area}: how large a pixel of {image.key} is is not known"
        raise UsageError(f"{what}; give pixels, as in 50, or say that with --pixel-size") from None
