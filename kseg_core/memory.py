"""How much memory a job needs, from headers alone: bytes a process, a thread, a piece of an image, a colour.

The constants were measured (peak resident memory of whole processes, x86-64, Python 3.11) and rounded up; a test
compares what jobs take with what is said here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from . import storage
from .clustering.band_batch import held_px
from .clustering.band_values import taken_as
from .clustering.labelling import label_dtype
from .config import OutputSettings
from .edge_settings import EdgeSettings
from .storage.ranges import MOST_BYTES, most_held
from .store.writing import WRITE_SIDE

if TYPE_CHECKING:
    from .images import PictureInfo
    from .reading.sources import ImageSource, Piece

PROCESS_BYTES = 240_000_000  # interpreter, libraries and compiled kernels
BANDS_PROCESS_BYTES = 214_000_000  # of a process that clusters bands: 191 MB, with other kernels
REMOTE_BYTES = 34_000_000  # of a process that works with an object store: its libraries
COUNTS_BYTES = 45_000_000  # of a thread: its counts of all 8-bit colours, where photographs touch them: 16 to 39 MB
PART_BYTES = 20_000_000  # of a task: what is worked out of a part of its table of colours
# Of a distinct colour: 12 in a table, of which three exist while two are merged, beside pieces that are read; 56 where
# it is solved, and then none is.
MERGED_COLOR_BYTES = 36
COLOR_BYTES = 68
WINDOW_COLOR_PX_BYTES = 7  # of a colour picture that is read by windows, beside its samples: sRGB, validity, a copy
WHOLE_COLOR_PX_BYTES = 6  # of one that is decoded whole, beside three copies of its samples, where it was not measured
DEEP_SAMPLE_BYTES = 6  # of a sample of more than 8 bits, while it is brought to 8
BAND_PX_BYTES = 10  # of a pixel of bands, beside them: validity, what is picked, a copy in the order of bands
_CACHE_BYTES = {  # of tiles that are kept by libraries: GDAL's as set for it, OpenSlide's own
    "VRT": 64_000_000, "Hamamatsu NDPI": 32_000_000, "Ventana BIF": 32_000_000, "3DHISTECH MRXS": 32_000_000,
    "Zeiss CZI": 32_000_000,
}  # fmt: skip
EDGE_PX_BYTES = 28  # where edges are found: the pixels, blurred, OpenCV's gradients, maxima; measured: up to 26
VIEW_BYTES = 200_000_000  # of a task that shows or measures windows of a stored image: the most was an export, 110 MB
KEPT_BYTES = 512_000_000  # of pixels kept to be read again: memory must not grow with the number of images
LEAST_COLORS = 1 << 20  # a job starts where so many distinct colours fit; photographs have one or two million
MOST_COLORS = 1 << 24  # that 8 bits in three channels can have


def scratch_bytes(k: int, output: OutputSettings, bands: int = 0) -> int:
    """Most bytes that a thread keeps between pieces, and works with beside one: counts and labels of all 8-bit colours.

    Parameters
    ----------
    k
        Number of clusters; 0 where none is labelled.
    output
        What is written.
    bands
        How many are clustered; 0: colours.
    """
    if bands:
        return 0
    if not k:
        return COUNTS_BYTES
    return COUNTS_BYTES + PART_BYTES + MOST_COLORS * (label_dtype(k).itemsize + output.confidence)


def piece_bytes(piece: Piece, k: int, output: OutputSettings, bands: int) -> int:
    """Most bytes of reading, labelling and writing a piece.

    Parameters
    ----------
    piece
        Of an image, or a whole one.
    k
        Number of clusters; 0 where none is labelled.
    output
        What is written.
    bands
        How many are clustered; 0: colours.
    """
    info = piece.source.info
    stored = _stored_px_bytes(info)
    if bands:
        taken = taken_as(info.dtype)
        a_pixel = stored * 1.1 + (bands * taken.itemsize if taken.name != info.dtype else 0) + BAND_PX_BYTES
    else:
        a_pixel = _color_px_bytes(info)
    side = max(WRITE_SIDE, output.tile)
    masks = min(piece.pixels, side * side) * k * 2 if k and output.writes_masks(k) else 0
    label = label_dtype(k).itemsize + output.confidence if k else 0
    worked_on = int(piece.pixels * (a_pixel + label)) + _block_px(info) * stored
    return worked_on + masks + fetched_bytes(piece.source)


def fetched_bytes(source: ImageSource) -> int:
    """Most bytes of an object store's files that are held beside the pixels made of them, fetched ahead or kept."""
    of_mask = most_held(MOST_BYTES) if source.mask is not None and storage.is_remote(source.mask) else 0
    return of_mask + (most_held(source.file.size) if storage.is_remote(source.file.path) else 0)


def edge_bytes(piece: Piece, settings: EdgeSettings) -> int:
    """Most bytes of reading a piece with what is around it, and finding its edges."""
    info = piece.source.info
    height, width = piece.source.shape
    around = min(height, piece.height + 2 * settings.halo) * min(width, piece.width + 2 * settings.halo)
    found = around * max(_color_px_bytes(info), EDGE_PX_BYTES)
    return found + _block_px(info) * _stored_px_bytes(info) + fetched_bytes(piece.source)


def viewing_bytes(source: ImageSource, bands: int = 0) -> int:
    """Most bytes of a task that shows the pixels an image of a store was made from; ``bands`` as above."""
    if source.info.block is None:
        return VIEW_BYTES + piece_bytes(source.pieces(1)[0], 0, OutputSettings(masks=False), bands)
    return VIEW_BYTES + _block_px(source.info) * _stored_px_bytes(source.info) + fetched_bytes(source)


def verifying_bytes(source: ImageSource, k: int, output: OutputSettings, bands: int) -> int:
    """Most bytes of a task that labels them anew, piece by piece, and compares; parameters as of `piece_bytes`."""
    piece, unmasked = source.pieces(output.tile)[0], replace(output, masks=False)
    return max(VIEW_BYTES, scratch_bytes(k, output) + piece_bytes(piece, k, unmasked, bands))


def _color_px_bytes(info: PictureInfo) -> int:
    """Most bytes of reading a pixel as a colour, its label aside."""
    stored = _stored_px_bytes(info)
    deep = DEEP_SAMPLE_BYTES * info.bands if _itemsize(info.dtype) > 1 else 0
    if info.block is not None:
        return WINDOW_COLOR_PX_BYTES + stored + deep
    measured = _WHOLE_PX_BYTES.get(info.format)
    held = 3 * stored + WHOLE_COLOR_PX_BYTES if measured is None else measured(stored, info)
    return held + deep + info.decoding_px


def _rgb_px(info: PictureInfo) -> int:
    """Of the colours, where they are not the samples as decoded, and of validity."""
    plain = info.dtype == "uint8" and info.bands == 3 and info.colours is None
    return (0 if plain else 3) + info.alpha


# Measured, 10 and 24 megapixels: what is decoded, what it is decoded from where that is as large, the colours.
_WHOLE_PX_BYTES: dict[str, Callable[[int, PictureInfo], int]] = {
    "JPEG": lambda stored, info: stored + _rgb_px(info),
    "PNG": lambda stored, info: 2 * stored + 1 + _rgb_px(info),  # filtered and unfiltered; what is compressed
    "WebP": lambda stored, info: stored + 2 + _rgb_px(info),
    "GIF": lambda stored, info: stored + 1 + _rgb_px(info),
    "BMP": lambda stored, info: 3 * stored + 2 + _rgb_px(info),
}


def _stored_px_bytes(info: PictureInfo) -> int:
    return info.bands * _itemsize(info.dtype)


def _block_px(info: PictureInfo) -> int:
    """Pixels of a picture's own tile or strip, which is decoded whole, however little of it is wanted.

    What decoders and caches of some formats hold beside is counted as so many more pixels.
    """
    stored = _stored_px_bytes(info)
    cache = _CACHE_BYTES.get(info.format, 0) // stored
    if info.format == "JPEG 2000":
        if info.block is None:  # beside three copies of the samples
            return info.shape[0] * info.shape[1] * info.bands // stored
        # OpenJPEG works with 32 bits a sample; then there are the tile as decoded, and in the order of its colours
        return info.block[0] * info.block[1] * (4 * info.bands + 2 * stored) // stored
    return cache + (0 if info.block is None else info.block[0] * info.block[1])


def sample_bytes(source: ImageSource) -> int:
    """Bytes of a sample as kernels take it."""
    try:
        return taken_as(source.info.dtype).itemsize
    except (TypeError, KeyError):
        return 8


def _itemsize(dtype: str) -> int:
    """Bytes of a sample; of one that cannot be read here, as many as any has."""
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 8


def held_bytes(total_px: int, bands: int, batch_px: int, sample_bytes: int) -> int:
    """Most bytes of the mini-batches of bands: their values twice, while they are merged, and where they lie."""
    return min(total_px, max(held_px(bands), batch_px)) * (bands * 2 * sample_bytes + 24)


def kept_bytes(source: ImageSource, bands: int) -> int:
    """Bytes of an image's pixels as they are kept to be read again, with their validity; ``bands`` as above."""
    if not source.worth_keeping(as_bands=bands > 0):
        return 0
    a_pixel = bands * _itemsize(source.info.dtype) if bands else 3
    return source.pixels * (a_pixel + 1)


def written_bytes(piece: Piece, k: int, output: OutputSettings, bands: int) -> int:
    """Most bytes that an image's arrays take on disk, before compression; ``piece`` is the whole image or part."""
    levels = 4 / 3 if output.pyramid or (output.pyramid is None and piece.source.in_pieces) else 1.0
    a_pixel = label_dtype(k).itemsize * levels
    if output.writes_masks(k):
        a_pixel += k / 8
    a_pixel += output.confidence
    if output.edges is not None:
        a_pixel += 2 / 8  # those found, and those that wait for their neighbours
    if output.copy_image:
        a_pixel += (bands * _itemsize(piece.source.info.dtype) if bands else 3) * levels
    return int(piece.pixels * a_pixel)
