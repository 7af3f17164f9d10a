"""What can be made of an image: each kind is a function that draws it, and an entry in `KINDS`.

Light: settings are checked by it before NumPy is loaded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from kseg_core.config import ADDED

if TYPE_CHECKING:
    from .drawing import Drawing, ImageReader
    from .settings import ExportSettings

Clusters = tuple[int, ...] | None  # that a file shows; None: all
Draw = Callable[["ImageReader", Sequence[int], "ExportSettings"], "Drawing"]
Format = Literal["png", "tiff", "geotiff", "geojson"]
SUFFIXES: dict[Format, str] = {"png": "png", "tiff": "tif", "geotiff": "tif", "geojson": "geojson"}

PNG_PX = 64_000_000  # larger pictures are awkward for most viewers: --format auto makes tiled TIFF of them
_MOST_NUMBERS = 16  # a name with more clusters than this has their digest


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Parameters
    ----------
    name
        As ``--what`` takes it.
    draw
        Reader of an image, clusters, settings -> the picture; it may raise `UnreadableImage` or `StoreError`, and so
        may reading it. None: outlines, which are no picture.
    clusters
        One file shows ``all``; or ``each`` has its own; or those that were chosen come ``together``, and each has its
        own where none were; or those that were chosen, all where none were, are in ``one`` file.
    part
        What it is called in names of files; empty: as it is.
    of_labels, of_pixels
        Whether it shows labels, and the image's own pixels.
    """

    name: str
    draw: Draw | None
    clusters: Literal["all", "each", "together", "one"] = "all"
    part: str = ""
    of_labels: bool = True
    of_pixels: bool = False

    def files(self, k: int, chosen: Sequence[int] | None) -> list[Clusters]:
        """Of which clusters, of an image with ``k``, a file each is made."""
        there = None if chosen is None else tuple(sorted({j for j in chosen if j < k}))
        if self.clusters == "all" or (self.clusters == "one" and there is None):
            return [None]
        if there is None or self.clusters == "each":
            return [(j,) for j in (range(k) if there is None else there)]
        return [there] if there else []

    def format(self, wanted: str, pixels: int, placed: bool) -> Format:
        """What it is written as, of an image of so many pixels that is or is not placed on the ground."""
        if self.draw is None:
            return "geojson"
        if wanted == "png" or (wanted == "auto" and not placed and pixels <= PNG_PX):
            return "png"
        return "geotiff" if placed else "tiff"


def file_name(key: str, what: str, clusters: Clusters, written_as: Format) -> str:
    """The name of a file: the image's key, what it shows, and of which clusters.

    A key is one safe path segment, and what follows it holds no dot but those that part it: two files never share a
    name, and none can lie outside the folder.

    Examples
    --------
    >>> file_name("leaf.jpg", "masks", (3,), "png")
    'leaf.jpg.mask-3.png'
    >>> file_name("leaf.jpg", "cutout", (1, 3), "png")
    'leaf.jpg.cutout-1+3.png'
    """
    kind = kind_of(what)
    part = f".{kind.part or kind.name}"
    if clusters is not None:
        numbers = "+".join(map(str, clusters))
        if len(clusters) > _MOST_NUMBERS:
            numbers = f"{len(clusters)}-clusters-{hashlib.sha256(numbers.encode()).hexdigest()[:8]}"
        part += f"-{numbers}"
    elif kind.draw is None:
        part = ""
    return f"{key}{part}.{SUFFIXES[written_as]}"


def _segmented(reader: ImageReader, _: Sequence[int], __: ExportSettings) -> Drawing:
    def read(rows: slice, columns: slice) -> Any:
        labels = reader.labels(rows, columns)
        return reader.veiled(reader.paint(labels), reader.valid(labels))

    return reader.drawing(read, channels=reader.channels)


def _layer(name: str) -> Draw:
    """Draws a layer of the store as it is."""

    def draw(reader: ImageReader, _: Sequence[int], __: ExportSettings) -> Drawing:
        from kseg_core.layers import LAYERS  # loads NumPy

        return reader.layer(LAYERS[name])

    return draw


def _mask(reader: ImageReader, clusters: Sequence[int], _: ExportSettings) -> Drawing:
    def read(rows: slice, columns: slice) -> Any:
        return reader.chosen(rows, columns, clusters)

    return reader.drawing(read, flat=False)


def _cutout(reader: ImageReader, clusters: Sequence[int], _: ExportSettings) -> Drawing:
    pixels = reader.pixels()

    def read(rows: slice, columns: slice) -> Any:
        return reader.veiled(pixels.read(rows, columns), reader.chosen(rows, columns, clusters))

    return reader.drawing(read, channels=4, flat=False, full_width=pixels.full_width)


def _boundaries(reader: ImageReader, _: Sequence[int], settings: ExportSettings) -> Drawing:
    pixels = reader.pixels()

    def read(rows: slice, columns: slice) -> Any:
        lines, labels = reader.boundaries(rows, columns)
        picture = pixels.read(rows, columns).copy()
        picture[lines] = settings.line_rgb
        return reader.veiled(picture, reader.valid(labels))

    return reader.drawing(read, channels=reader.channels, flat=False, full_width=pixels.full_width)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("segmented", _segmented),
        Kind("labels", _layer("labels")),
        Kind("masks", _mask, "each", part="mask"),
        Kind("cutout", _cutout, "together", of_pixels=True),
        *(Kind(name, _layer(name), of_labels=False) for name in ADDED),
        Kind("boundaries", _boundaries, of_pixels=True),
        Kind("polygons", None, "one"),
    )
}


def kind_of(name: str) -> Kind:
    """A kind by its name, or a layer of the store that is none, drawn as it is."""
    return KINDS.get(name) or Kind(name, _layer(name))
