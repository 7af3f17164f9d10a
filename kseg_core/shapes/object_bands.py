"""The values of a stored image's bands, wherever they are to be had: in the store's copy, else in the image's file.

They are in the data's own units, before any smoothing (but those derived from smoothed ones); of pictures they are
8-bit sRGB, as colours are clustered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..expressions import Bands
from ..images.kinds import is_picture
from ..layers.tiles import Region, tile_windows
from ..reading.sources import ImageSource, Piece
from ..store.model import Model
from ..store.nodes import DAMAGE
from ..store.opening import StoredImage
from ..store.originals import Originals

COLOURS = ("red", "green", "blue")

Samples = NDArray[Any]


@dataclass(frozen=True, slots=True)
class ImageBands:
    """Where the values of an image's bands are; cheap to send to a worker.

    Parameters
    ----------
    names
        One a band: ``red``, ``green``, ``blue``; ``band_3`` by the number of a band in its file, from 1; or what a
        model calls it.
    chosen
        Which bands are read from the file; None: colours.
    source
        The file; None: they are in the store's copy.
    """

    names: tuple[str, ...]
    chosen: Bands | None
    source: ImageSource | None

    @classmethod
    def of(cls, image: StoredImage, model: Model | None, originals: Originals) -> Self:
        """Those that its model clustered; of an image without labels all but alpha.

        Raises
        ------
        UnreadableImage
            If the store has no copy of it, and its file has gone, has changed, or cannot be read.
        """
        space = None if model is None else model.bands
        names = COLOURS if space is None else space.components
        chosen: Bands | None = None if space is None else space.bands
        # What is derived from other pixels than those that were labelled may be no number.
        smoothed = space is not None and space.is_derived and bool(originals.settings.smooth)
        if image.image is not None and not smoothed:
            return cls(names, chosen, None)
        source = originals.open(image, masked=smoothed)  # else which pixels count is in the labels
        if not smoothed:
            source = replace(source, smoothing=None)
        if space is None and not image.has_labels and not is_picture(source.info):
            chosen = tuple(band + 1 for band in source.info.but_alpha)
            names = tuple(f"band_{band}" for band in chosen)
        return cls(names, chosen, source)

    @property
    def is_read_whole(self) -> bool:
        """Whether the file can only be decoded whole: all windows are then best read in one go."""
        return self.source is not None and self.source.info.block is None

    def windows(self, shape: tuple[int, int], side: int) -> list[Region]:
        """Windows of about ``side**2`` pixels, row by row: of full width where the file has strips."""
        height, width = shape
        block = None if self.source is None else self.source.info.block
        if block is None or block[1] < width or width <= side:
            return list(tile_windows(height, width, side))
        step = max(1, side * side // width)
        return [(slice(top, min(top + step, height)), slice(0, width)) for top in range(0, height, step)]

    def reader(self, image: StoredImage) -> Callable[[Region], Samples]:
        """What reads the values (y, x, d) of a window.

        Raises
        ------
        UnreadableImage, StoreError
            If they cannot be read.
        """
        source = self.source
        if source is None:
            return _reader_of_copy(image)
        if self.is_read_whole:
            height, width = source.shape
            held = Piece(source, 0, 0, height, width).read(self.chosen).samples
            return lambda window: np.ascontiguousarray(held[window])

        def read(window: Region) -> Samples:
            rows, columns = window
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            return Piece(source, rows.start, columns.start, *shape).read(self.chosen).samples

        return read


def _reader_of_copy(image: StoredImage) -> Callable[[Region], Samples]:
    copy = image.image
    assert copy is not None

    def read(window: Region) -> Samples:
        rows, columns = window
        try:
            samples = np.asarray(copy[:, rows, columns])
        except DAMAGE as error:
            raise StoreError(f"{image.path}: the copy of the image cannot be read ({error})") from error
        return np.ascontiguousarray(np.moveaxis(samples, 0, -1))

    return read
