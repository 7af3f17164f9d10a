"""An array as an image whose bands are read chunk by chunk, as those of a file are window by window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray

from kseg_core.errors import UnreadableImage
from kseg_core.images import Picture, PictureInfo, Pixels
from kseg_core.images.named_axes import NamedAxes
from kseg_core.images.validity import Nodata, combine, nodata_mask, unmasked
from kseg_core.inputs.listing import InputFile
from kseg_core.reading.sources import ImageSource, Piece

from .plan import Plan

Block: TypeAlias = NDArray[Any] | da.Array


@dataclass(frozen=True)
class ArraySource(ImageSource):
    """One chunk of an array, which stands for the whole of it where a piece of that chunk is read.

    Parameters
    ----------
    block
        (y, x, d): the chunk.
    name
        What tells it from others of the same array.
    top, left
        Where it is in the array.
    """

    block: Block = field(default_factory=lambda: np.empty((0, 0, 1)), repr=False, compare=False)
    name: str = ""
    top: int = 0
    left: int = 0

    @contextmanager
    def opened(self) -> Iterator[Picture]:
        """The chunk as a picture."""
        yield cast(Picture, _Chunk(self))

    def worth_keeping(self, *, as_bands: bool) -> bool:  # noqa: ARG002 - whatever is read
        """An array's chunks are kept by whoever made it, or not."""
        return False


class _Chunk:
    """What `Piece.read` asks of a picture."""

    def __init__(self, source: ArraySource) -> None:
        self._source = source

    def samples(self, rows: slice, columns: slice, bands: tuple[int, ...] | None, nodata: Nodata | None) -> Pixels:
        """Read a part: (height, width, d), and which pixels are finite and have no masked value."""
        source = self._source
        part = source.block[
            rows.start - source.top : rows.stop - source.top, columns.start - source.left : columns.stop - source.left
        ]
        if bands is not None:
            if max(bands) > part.shape[2]:
                raise UnreadableImage(source.file.source, f"it has no band {max(bands)}, only {part.shape[2]}")
            part = part[..., [band - 1 for band in bands]]
        if isinstance(part, da.Array):  # within a task: its own chunk alone, in this thread
            part = part.compute(scheduler="synchronous")
        plain, counts = unmasked(part)
        found = np.ascontiguousarray(plain)
        found = found.astype(found.dtype.newbyteorder("="), copy=False)
        return Pixels(found, combine(nodata_mask(found, nodata, "any"), counts), rows.start, columns.start)


def info_of_array(image: da.Array, named: NamedAxes | None = None) -> PictureInfo:
    """What a header would say of an array (y, x) or (y, x, d); ``named``: what it says of itself."""
    height, width, *bands = image.shape
    dtype = "uint8" if image.dtype == np.bool_ else image.dtype.newbyteorder("=").name
    block = image.chunks[0][0], image.chunks[1][0]
    info = PictureInfo("array", (height, width), bands[0] if bands else 1, dtype, block, None)
    return info if named is None else replace(info, nodata=named.nodata, band_names=named.band_names)


def plan_of_array(
    image: da.Array, whole: NDArray[Any] | None, key: str, nodata: Nodata | None, info: PictureInfo | None = None
) -> Plan:
    """The plan of one array.

    Parameters
    ----------
    image
        (y, x, d), one chunk along d.
    whole
        The same in memory, where it is: then views of it are read.
    key
        What the image is called.
    nodata
        What stands for no data.
    info
        Of the array; None: it says no more than its shape and dtype do.
    """
    info = info or info_of_array(image)
    file = InputFile("", key, key, 0, 0)
    pieces, top = [], 0
    for row, rows in enumerate(image.chunks[0]):
        left = 0
        for column, columns in enumerate(image.chunks[1]):
            if rows and columns:
                name = f"{image.name}-{row}-{column}"
                block = _block(image, whole, (row, column), (slice(top, top + rows), slice(left, left + columns)))
                source = ArraySource(file, info, nodata, block=block, name=name, top=top, left=left)
                pieces.append(Piece(source, top, left, rows, columns))
            left += columns
        top += rows
    return Plan(((pieces[0],),)) if len(pieces) == 1 else Plan((), (tuple(pieces),))


def _block(
    image: da.Array, whole: NDArray[Any] | None, at: tuple[int, int], part: tuple[slice, slice]
) -> NDArray[Any] | da.Array:
    """One chunk, with no more of the array's graph than it takes."""
    if whole is not None:
        return whole[part]
    return cast(da.Array, dask.optimize(image.blocks[at])[0])
