"""The pixels of a store's image as a person sees them, by windows: from the copy in the store, or from its source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from ..clustering.bands import BandSpace
from ..errors import StoreError
from ..images import Picture
from ..images.validity import Nodata
from .originals import Originals
from .stored_image import DAMAGE, StoredImage

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ShownPixels:
    """An image's pixels.

    Parameters
    ----------
    shape
        (height, width).
    read
        Window of rows and columns -> uint8 (y, x, 3), sRGB. Samples of bands are shown as the clusters' colours are:
        the first three, or one, stretched. Pixels that are not valid have any colour.
    full_width
        Whether windows of full width are read best: the source is striped, or decoded whole.
    """

    shape: tuple[int, int]
    read: Callable[[slice, slice], U8]
    full_width: bool


@contextmanager
def open_shown(image: StoredImage, originals: Originals, bands: BandSpace | None) -> Iterator[ShownPixels]:
    """Open an image's pixels; to be used by one thread at a time.

    Parameters
    ----------
    image
        Of a store.
    originals
        Where the store's images came from.
    bands
        The feature space of its model, where that is one of bands.

    Raises
    ------
    UnreadableImage
        If they are not in the store, and the source has gone, has changed, or cannot be read.
    StoreError
        If the copy in the store is damaged.
    """
    copy = image.image
    if copy is not None:
        height, width = copy.shape[1:]
        yield ShownPixels((height, width), _reader_of_copy(image, copy, bands), full_width=False)
        return
    source = originals.open(image, masked=False)  # which pixels count is in the labels
    with source.opened() as picture:
        block = source.info.block
        yield ShownPixels(
            source.shape,
            _reader_of_source(picture, source.nodata, bands),
            full_width=block is None or block[1] >= source.shape[1],
        )


def _reader_of_copy(image: StoredImage, copy: zarr.Array[Any], bands: BandSpace | None) -> Callable[[slice, slice], U8]:
    channels = 3 if bands is None else len(bands.stretch)

    def read(rows: slice, columns: slice) -> U8:
        try:
            samples = np.asarray(copy[:channels, rows, columns])
        except DAMAGE as error:
            raise StoreError(f"{image.path}: the copy of the image cannot be read ({error})") from error
        deep = np.moveaxis(samples, 0, -1)
        return np.ascontiguousarray(deep) if bands is None else bands.shades(deep)

    return read


def _reader_of_source(picture: Picture, nodata: Nodata | None, bands: BandSpace | None) -> Callable[[slice, slice], U8]:
    def read(rows: slice, columns: slice) -> U8:
        if bands is None:
            return picture.rgb(rows, columns, nodata).rgb
        samples, _ = picture.samples(rows, columns, bands.bands[: len(bands.stretch)])
        return bands.shades(samples)

    return read
