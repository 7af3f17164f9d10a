"""Tiled TIFF files with overviews, written window by window."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from kseg_core.inputs.passed_over import SOFTWARE
from kseg_core.layers.layer import ArraySpec
from kseg_core.layers.tiles import pyramid_levels
from kseg_core.release import version
from kseg_core.store.nodes import create_array, open_for_writing

from .drawing import Drawing, windows
from .painting import halved

SIDE = 512  # of tiles
_BIG = (1 << 32) - (1 << 25)  # bytes of pixels above which a classic TIFF might overflow: the limit less its own tables


def as_shades(window: NDArray[Any]) -> NDArray[Any]:
    """Black and white as 0 and 255: bits are read by few viewers of tiled TIFFs."""
    return window.view(np.uint8) * np.uint8(255) if window.dtype == np.bool_ else window


def write_tiff(path: str, drawing: Drawing, scratch: str) -> None:
    """Write a picture: Deflate, tiles of 512, BigTIFF where it might need more than 4 GB, overviews as SubIFDs.

    Black and white becomes 0 and 255, values with a palette a palette image whose indices are the values. Each overview
    is made as the level above is written, and kept in ``scratch``; of few colours they hold the same ones.

    Parameters
    ----------
    path
        Of the file.
    drawing
        The picture.
    scratch
        A folder that is there, for a third of the pixels.

    Raises
    ------
    UnreadableImage, StoreError
        As reading the picture does.
    OSError
        If the file cannot be written.
    """
    height, width = drawing.shape
    dtype = "uint8" if drawing.dtype == "bool" else drawing.dtype
    size = height * width * np.dtype(dtype).itemsize * max(1, drawing.channels) * 4 // 3
    levels = pyramid_levels(drawing.shape, SIDE)
    options = _options(drawing)
    with tifffile.TiffWriter(path, bigtiff=size > _BIG) as tiff:
        for level in range(levels):
            smaller = Overview(drawing, os.path.join(scratch, str(level + 1))) if level + 1 < levels else None
            tiff.write(
                _tiles(drawing, smaller),
                shape=(*drawing.shape, drawing.channels) if drawing.channels else drawing.shape,
                dtype=dtype,
                subifds=levels - 1 if level == 0 else None,
                subfiletype=int(level > 0),
                software=f"{SOFTWARE} {version()}" if level == 0 else False,
                **options,
            )
            if smaller is not None:
                drawing = smaller.drawing


def _options(drawing: Drawing) -> dict[str, Any]:
    options: dict[str, Any] = {"tile": (SIDE, SIDE), "compression": "zlib", "metadata": None, "maxworkers": 1}
    if drawing.channels:
        options |= {"photometric": "rgb", "predictor": not drawing.flat}
        return options | ({"extrasamples": ["unassalpha"]} if drawing.channels == 4 else {})
    if drawing.palette is None:
        return options | {"photometric": "minisblack"}
    colors = np.zeros((256, 3), np.uint16)
    colors[: len(drawing.palette)] = drawing.palette
    return options | {"photometric": "palette", "colormap": colors.T * np.uint16(257)}


class Overview:
    """A picture at half the size, on disk.

    Parameters
    ----------
    finer
        The picture.
    folder
        Where to keep it: not there yet.
    """

    def __init__(self, finer: Drawing, folder: str) -> None:
        height, width = (-(-size // 2) for size in finer.shape)
        channels = (finer.channels,) if finer.channels else ()
        dtype = "uint8" if finer.dtype == "bool" else finer.dtype
        chunks = (min(SIDE // 2, height), min(SIDE // 2, width), *channels)
        names = ("y", "x", "c")[: len(chunks)]
        create_array(folder, ArraySpec((height, width, *channels), chunks, dtype, 0, names))
        self._array = open_for_writing(folder)
        self.drawing = dataclasses.replace(finer, shape=(height, width), dtype=dtype, read=self._read, full_width=False)

    def _read(self, rows: slice, columns: slice) -> NDArray[Any]:
        return np.asarray(self._array[rows, columns])

    def fill(self, rows: slice, columns: slice, window: NDArray[Any]) -> None:
        """Take in a window of the finer picture, which begins at even numbers."""
        part = halved(window, average=not self.drawing.flat)
        top, left = rows.start // 2, columns.start // 2
        self._array[top : top + part.shape[0], left : left + part.shape[1]] = part


def _tiles(drawing: Drawing, smaller: Overview | None) -> Iterator[NDArray[Any]]:
    """The tiles in the order of the file; the overview is filled on the way."""
    for rows, columns, window in windows(drawing, SIDE):
        shades = as_shades(window)
        if smaller is not None:
            smaller.fill(rows, columns, shades)
        for left in range(0, shades.shape[1], SIDE):
            yield np.ascontiguousarray(shades[:, left : left + SIDE])  # tifffile fills those at the edges up
