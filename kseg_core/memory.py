"""How much memory a job needs, from headers alone: bytes a process, a thread, a piece of an image, a colour.

The constants were measured (peak resident memory of whole processes, x86-64, Python 3.11) and rounded up; a test
compares what jobs take with what is said here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from . import buffers, storage
from .clustering.band_points import held_px
from .clustering.band_values import taken_as
from .clustering.cleaning import WINDOW_PX as CLEANED_PX
from .clustering.labelling import label_dtype
from .config import OutputSettings
from .images.selection import derived_dtype
from .kernels.build import must_compile
from .layers import asked_layers
from .layers.layer import Layer, Layout
from .reading.smoothing import SMOOTHING_BYTES
from .storage.ranges import MOST_BYTES, most_held

if TYPE_CHECKING:
    from .images import PictureInfo
    from .reading.sources import ImageSource, Piece

PROCESS_BYTES = 172_000_000  # interpreter, libraries and compiled kernels
BANDS_PROCESS_BYTES = 162_000_000  # of a process that clusters bands: 157 MB, with other kernels
COMPILING_BYTES = 130_000_000  # of a process that must compile kernels first: the compiler, and what stays of it
KNEE_BYTES = 100_000_000  # of a process that looks for a knee: SciPy's and Matplotlib's libraries, 95 MB
REMOTE_BYTES = 34_000_000  # of a process that works with an object store: its libraries
COUNTS_BYTES = (
    55_000_000  # of a thread: its counts of all 8-bit colours, 16 to 39 MB, and what its allocator holds on to
)
PART_BYTES = 20_000_000  # of a task: what is worked out of a part of its table of colours
# Of a distinct colour: 12 in a table, of which three exist while two are merged, beside pieces that are read; 56 where
# it is solved, and then none is.
MERGED_COLOR_BYTES = 36
COLOR_BYTES = 68
DEEP_SAMPLE_BYTES = 2  # of a sample of more than 8 bits: the one of 8 bits that is made of it, and memory that waits
COLOR_PX_BYTES = 3  # of a pixel in 8-bit sRGB
MASKED_PX_BYTES = 4  # of a pixel of an image with a mask, while that is read beside the image: samples, and what counts
WINDOW_PX_BYTES = 3  # of a colour picture that is read by windows, beside samples and colours: compressed, turned
CLEANING_PX_BYTES = 120  # of a pixel whose window's regions are found: measured of noise, of photographs it is 10
BAND_PX_BYTES = 10  # of a pixel of bands, beside them: validity, what is picked, a copy in the order of bands
VIEW_BYTES = 200_000_000  # of a task that shows or measures windows of a stored image: the most was an export, 110 MB
KEPT_BYTES = 512_000_000  # of pixels kept to be read again: memory must not grow with the number of images
LEAST_COLORS = 1 << 20  # a job starts where so many distinct colours fit; photographs have one or two million
MOST_COLORS = 1 << 24  # that 8 bits in three channels can have


def process_bytes(bands: int, *, remote: bool = False) -> int:
    """Bytes of a process itself: interpreter, libraries, kernels, and their compiler where it is needed.

    Parameters
    ----------
    bands
        How many are clustered; 0: colours.
    remote
        Whether it works with an object store.
    """
    return (BANDS_PROCESS_BYTES if bands else PROCESS_BYTES) + REMOTE_BYTES * remote + COMPILING_BYTES * must_compile()


def scratch_bytes(k: int, output: OutputSettings, bands: int = 0, *, counted: bool = True, counts: bool = True) -> int:
    """Most bytes that a thread keeps between pieces, and works with beside one: counts and labels of all 8-bit colours.

    Parameters
    ----------
    k
        Number of clusters; 0 where none is labelled.
    output
        What is written.
    bands
        How many are clustered; 0: colours.
    counted
        Whether colours were counted before, for a fit.
    counts
        Whether they are counted to be labelled: not where the features are the colours themselves (`counts_to_label`).
    """
    if bands:
        return 0
    if not k:
        return COUNTS_BYTES
    counting = COUNTS_BYTES * (counted or counts) + PART_BYTES * counts
    return counting + MOST_COLORS * (label_dtype(k).itemsize + output.confidence)


def counts_to_label(features: str | None, output: OutputSettings) -> bool:
    """Whether the colours of a piece are counted before they are labelled; ``features``: None where not known."""
    return features != "rgb" or output.confidence


def piece_bytes(piece: Piece, k: int, output: OutputSettings, bands: int, *, derived: bool = False) -> int:
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
    derived
        Whether any of them is worked out from others.
    """
    info = piece.source.info
    fetched = fetched_bytes(piece.source)
    label = label_dtype(k).itemsize + output.confidence if k else 0
    masks = min(piece.pixels, output.tile**2) * 2 if k and output.writes_masks(k) else 0  # one, and what is packed
    beside, after = cleaning_bytes(piece, k, output)
    masks += beside
    if bands:
        taken = taken_as(info.dtype)
        a_pixel = _stored_px_bytes(info) * 1.1 + (bands * taken.itemsize if taken.name != info.dtype else 0)
        a_pixel += (bands * _sample_bytes(info, derived=True) + 1) * derived  # and which of them are numbers
        copied = _stored_px_bytes(info) * _keeps_originals(piece.source, output) * (1 + derived)
        worked_on = int(piece.pixels * (a_pixel + BAND_PX_BYTES + label + copied)) + masks
        smoothing = _smoothing_bytes(piece, _stored_px_bytes(info) * 1.1 + 1, bands * _itemsize(info.dtype) + copied)
        most = max(_decoded_bytes(piece.source), worked_on + _block_bytes(info), smoothing + _block_bytes(info))
        return max(most + _mask_bytes(piece.source) + fetched, after)
    read = _read_bytes(piece.source, _read_px(piece))
    copied = COLOR_PX_BYTES * _keeps_originals(piece.source, output)
    smoothing = _smoothing_bytes(piece, held_px_bytes(piece.source), COLOR_PX_BYTES + copied)
    labelling = (held_px_bytes(piece.source) + label + copied) * piece.pixels + masks
    return max(max(read, smoothing, labelling) + fetched, after)


def _read_px(piece: Piece) -> int:
    """How many pixels are read for a piece: its own, and those around it that smoothing takes."""
    halo, (height, width) = piece.source.halo, piece.source.shape
    return min(height, piece.height + 2 * halo) * min(width, piece.width + 2 * halo)


def _smoothing_bytes(piece: Piece, read_px: float, made_px: int) -> int:
    """Most bytes of smoothing a piece: of a pixel as it was read, and as it is made; 0 where none is smoothed."""
    if piece.source.smoothing is None:
        return 0
    return int(_read_px(piece) * read_px) + piece.pixels * made_px + SMOOTHING_BYTES


def _keeps_originals(source: ImageSource, output: OutputSettings) -> bool:
    """Whether samples as they were are held beside the smoothed ones, for a copy."""
    return source.smoothing is not None and output.copy_image


def cleaning_bytes(piece: Piece, k: int, output: OutputSettings) -> tuple[int, int]:
    """Most bytes of a window whose small regions are found: beside a whole image with its cleaned labels, or, of an
    image in pieces, when all of these are labelled; what its regions take together is known when they are found alone.
    """
    if not k or output.min_region is None:
        return 0, 0
    if piece.is_whole:
        return min(piece.pixels, CLEANED_PX**2) * CLEANING_PX_BYTES + piece.pixels * label_dtype(k).itemsize, 0
    return 0, min(piece.source.pixels, max(output.tile, CLEANED_PX) ** 2) * CLEANING_PX_BYTES


def held_px_bytes(source: ImageSource) -> int:
    """Bytes of a pixel's colour once it is read; memory that its samples had may wait for the next picture's."""
    info = source.info
    waiting = 0 if _is_plain(info) or info.block is not None else _stored_px_bytes(info)
    return COLOR_PX_BYTES + _may_be_invalid(source) + min(waiting, buffers.MOST_BYTES // max(1, source.pixels))


def fetched_bytes(source: ImageSource) -> int:
    """Most bytes of an object store's files that are held beside the pixels made of them, fetched ahead or kept."""
    of_mask = most_held(MOST_BYTES) if source.mask is not None and storage.is_remote(source.mask) else 0
    return of_mask + (most_held(source.file.size) if storage.is_remote(source.file.path) else 0)


def layer_bytes(piece: Piece, layer: Layer) -> int:
    """Most bytes of finding a layer that is added at a piece, and of reading what it is made of there and around it."""
    source = piece.source
    height, width = (
        min(whole, part + 2 * layer.halo) for whole, part in zip(source.shape, (piece.height, piece.width), strict=True)
    )
    working = layer.working_bytes(height, width)
    if layer.source == "labels":
        return working
    return max(_read_bytes(source, height * width), working) + fetched_bytes(source)


def viewing_bytes(source: ImageSource, bands: int = 0, *, derived: bool = False) -> int:
    """Most bytes of a task that shows the pixels an image of a store was made from; ``bands``, ``derived`` as above."""
    if source.info.block is None:
        return VIEW_BYTES + piece_bytes(source.pieces(1)[0], 0, OutputSettings(masks=False), bands, derived=derived)
    return VIEW_BYTES + _block_bytes(source.info) + fetched_bytes(source)


def verifying_bytes(source: ImageSource, k: int, output: OutputSettings, bands: int, *, derived: bool = False) -> int:
    """Most bytes of a task that labels them anew, piece by piece, and compares; parameters as of `piece_bytes`."""
    piece, unmasked = source.pieces(output.tile)[0], replace(output, masks=False)
    labelling = piece_bytes(piece, k, unmasked, bands, derived=derived)
    return max(VIEW_BYTES, scratch_bytes(k, output, counted=False) + labelling)


def _read_bytes(source: ImageSource, pixels: int) -> int:
    """Most bytes of reading so many pixels as colours."""
    info = source.info
    masked = max(pixels * MASKED_PX_BYTES, _mask_bytes(source)) if source.mask is not None else 0
    a_pixel = _stored_px_bytes(info) + _finished_px(source)
    if info.block is None:
        return max(_decoded_bytes(source), pixels * a_pixel, pixels * held_px_bytes(source) + masked)
    return pixels * (a_pixel + WINDOW_PX_BYTES) + masked + _block_bytes(info)


def _mask_bytes(source: ImageSource) -> int:
    """Most bytes of a mask that is decoded whole for each piece, or of its own tile or strip."""
    info = source.mask_info
    if info is None or info.block is not None:
        return 0 if info is None else _block_bytes(info)
    size = storage.stat(source.mask).st_size if source.mask is not None else 0
    return decoding_bytes(info, size, source.pixels, more_px=1)


def _finished_px(source: ImageSource) -> int:
    """Bytes a pixel of what is made of decoded samples, beside them: 8-bit ones, colours, and which count."""
    info = source.info
    deep = DEEP_SAMPLE_BYTES * info.bands if _itemsize(info.dtype) > 1 else 0
    own = 0 if _is_plain(info) else COLOR_PX_BYTES * (deep == 0 or info.bands != 3)
    return deep + own + info.cost.finishing_px + _may_be_invalid(source)


def _is_plain(info: PictureInfo) -> bool:
    """Whether the samples are the colours."""
    return info.dtype == "uint8" and info.bands == 3 and info.colours is None


def _may_be_invalid(source: ImageSource) -> bool:
    return source.info.alpha or source.nodata is not None or source.mask is not None


def _decoded_bytes(source: ImageSource) -> int:
    """Most bytes of decoding a picture that can only be decoded whole, up to its samples; 0 of others."""
    info = source.info
    if info.block is not None:
        return 0
    return decoding_bytes(info, source.file.size, source.pixels)


def decoding_bytes(info: PictureInfo, size: int, pixels: int, more_px: int = 0) -> int:
    """Most bytes of decoding a file of ``size`` bytes whole, up to its samples, with ``more_px`` of a pixel."""
    cost, stored = info.cost, _stored_px_bytes(info)
    decoding_px = 2 * stored + 4 if cost.decoding_px is None else cost.decoding_px
    return max(cost.copies_before * size, int(cost.copies * size + (stored + decoding_px + more_px) * pixels))


def _stored_px_bytes(info: PictureInfo) -> int:
    return info.bands * _itemsize(info.dtype)


def _block_bytes(info: PictureInfo) -> int:
    """Bytes of a picture's own tile or strip, which is decoded whole, however little of it is wanted; and of what
    decoders and caches of some formats hold beside.
    """
    if info.block is None:
        return 0
    return info.block[0] * info.block[1] * (_stored_px_bytes(info) + info.cost.block_px) + info.cost.cache_bytes


def sample_bytes(source: ImageSource, *, derived: bool = False) -> int:
    """Bytes of a sample as kernels take it; of a ``derived`` one, where bands are among such."""
    try:
        return taken_as(derived_dtype(source.info.dtype) if derived else source.info.dtype).itemsize
    except (TypeError, KeyError):
        return 8


def _itemsize(dtype: str) -> int:
    """Bytes of a sample; of one that cannot be read here, as many as any has."""
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 8


def _sample_bytes(info: PictureInfo, *, derived: bool) -> int:
    """Bytes of a sample as it is read; of a derived one, where bands are among such."""
    try:
        return _itemsize(derived_dtype(info.dtype) if derived else info.dtype)
    except TypeError:
        return 8


def held_bytes(total_px: int, bands: int, batch_px: int, sample_bytes: int) -> int:
    """Most bytes of the mini-batches of bands: their values twice, while they are merged, and where they lie."""
    return min(total_px, max(held_px(bands), batch_px)) * (bands * 2 * sample_bytes + 24)


def kept_bytes(source: ImageSource, bands: int, *, derived: bool = False) -> int:
    """Bytes of an image's pixels as they are kept to be read again, with their validity; ``bands``, ``derived`` as
    above.
    """
    if not source.worth_keeping(as_bands=bands > 0):
        return 0
    a_pixel = bands * _sample_bytes(source.info, derived=derived) if bands else 3
    return source.pixels * (a_pixel + 1)


def written_bytes(piece: Piece, k: int, output: OutputSettings, bands: int, *, derived: bool = False) -> int:
    """Most bytes that an image's arrays take on disk, before compression; ``piece`` is the whole image or part."""
    levels = 4 / 3 if output.pyramid or (output.pyramid is None and piece.source.in_pieces) else 1.0
    a_pixel = label_dtype(k).itemsize * levels
    if output.writes_masks(k):
        a_pixel += k / 8
    a_pixel += output.confidence
    if output.keep_raw:
        a_pixel += label_dtype(k).itemsize * levels
    elif output.min_region is not None and piece.source.in_pieces:
        a_pixel += label_dtype(k).itemsize  # until all pieces are labelled
    for layer in asked_layers(output):
        spec = layer.spec(Layout(piece.source.shape, k, output.tile, masks=False))
        stored = 1 / 8 if spec.compression == "bits" else np.dtype(spec.dtype).itemsize
        a_pixel += (
            stored * (1 + layer.joined) * (1 if layer.group is None else levels)
        )  # joined: what waits for it, too
    if output.copy_image:
        a_pixel += (bands * _sample_bytes(piece.source.info, derived=derived) if bands else 3) * levels
    return int(piece.pixels * a_pixel)
