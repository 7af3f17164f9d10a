"""Pixels smoothed before they are clustered and labelled (``--smooth``): a function of a window and its surroundings.

Passes of `smooth_once` at smaller and smaller distances, the last two at 1: what a larger one leaves of noise in the
gaps between its neighbours the next takes. Colours are smoothed as colours; bands each by itself, as their units have
nothing to do with each other. Whole numbers stay whole and are had by exact arithmetic, floats in one order of
operations: a pixel is the same whatever window it is read in, as far as its surroundings are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..config import MOST_SMOOTH_PX
from ..errors import Unsuited
from ..halos import Region, grown
from ..images import PictureInfo, Pixels
from ..images.formats import decoder_named
from ..images.geo import GeoReference
from ..images.pixel_size import MICROMETRES, PixelSize, metres_of_unit, read_pixel_size
from ..inputs.listing import InputFile
from ..kernels.smoothing import smooth_once
from ..sizes import LENGTHS, parse_length

# What is worked on at a time: its planes, read and written in turns, stay in a processor's cache.
BLOCK_ROWS, BLOCK_COLUMNS = 128, 1024
LEAST_ROWS_OF_HALO = 8  # a block is so many times as high as its halo, which is done twice
SMOOTHING_BYTES = 12_000_000  # of a task: planes of the largest block, twice, and what a row of it takes
EVERYWHERE = np.ones((0, 0), np.bool_)


class Smoothing(NamedTuple):
    """How an image is smoothed: the scale in its pixels, and as it was asked for."""

    pixels: int
    asked: int | str

    @property
    def steps(self) -> tuple[int, ...]:
        """The distance of neighbours, pass by pass: the scale, halves of it rounded up to 1, and 1 again."""
        steps = [self.pixels]
        while steps[-1] > 1:
            steps.append(-(-steps[-1] // 2))
        return (*steps, 1)

    @property
    def halo(self) -> int:
        """How many pixels around one decide it."""
        return sum(self.steps)


# ----------------------------------------------------------------------------------------------------------- the scale


def smoothing_of(
    asked: int | str | None,
    file: InputFile,
    info: PictureInfo,
    geo: GeoReference | None,
    given: PixelSize | None = None,
) -> Smoothing | None:
    """How an image is smoothed where that is asked for; None: not.

    Raises
    ------
    Unsuited
        If it is asked for as a length, and how large the image's pixels are is not known, or the scale is none that
        can be had.
    """
    if not asked:
        return None
    if isinstance(asked, int):
        return Smoothing(asked, asked)
    number, unit = parse_length(asked, "")
    side = _micrometres(file, info, geo, given)
    if side is None:
        reason = f"--smooth {asked}: how large its pixels are is not known; give it in pixels, as in --smooth 2"
        if geo is not None:
            reason = f"--smooth {asked}: its map's axes are not lengths; give it in pixels, as in --smooth 2"
        raise Unsuited(file.source, reason, f"--smooth {asked}")
    pixels = round(number * LENGTHS[unit] / side)
    if not 1 <= pixels <= MOST_SMOOTH_PX:
        its = f"its pixels are {side / LENGTHS[unit]:.4g}{unit} wide"
        few = "less than half of one" if not pixels else f"more than {MOST_SMOOTH_PX} of them"
        raise Unsuited(file.source, f"--smooth {asked} is {few}: {its}", f"--smooth {asked}")
    return Smoothing(pixels, asked)


def _micrometres(file: InputFile, info: PictureInfo, geo: GeoReference | None, given: PixelSize | None) -> float | None:
    """The side of a square as large as a pixel, where that is known."""
    if geo is not None:
        metres = metres_of_unit(geo.crs_wkt)
        return None if metres is None else _side(*geo.resolution) * metres * MICROMETRES["meter"]
    decoder = decoder_named(info.format)
    size = given
    if size is None and decoder is not None and decoder.has_pixel_size:
        size = read_pixel_size(file.path, info.shape)
    return None if size is None or size.unit not in MICROMETRES else _side(size.y, size.x) * MICROMETRES[size.unit]


def _side(y: float, x: float) -> float:
    return float((y * x) ** 0.5)


# ---------------------------------------------------------------------------------------------------------- the pixels


def smoothed(pixels: Pixels, how: Smoothing, inner: Region, *, together: bool, original: bool = False) -> Pixels:
    """The pixels of a window, smoothed.

    Parameters
    ----------
    pixels
        Of the window and its surroundings; those that do not count are no neighbours, and stay as they are.
    how
        The scale; its halo is around the window, or the image's border.
    inner
        The window, in rows and columns of ``pixels``.
    together
        Whether distances are of all bands at once: of colours. Else each band is smoothed by itself.
    original
        Whether the samples as they were are wanted too.

    Returns
    -------
    Samples of the same dtype, C-contiguous, and what counts of them.
    """
    samples, valid = pixels.samples, pixels.valid
    rows, columns = inner
    bands = samples.shape[2]
    made = np.empty((rows.stop - rows.start, columns.stop - columns.start, bands), samples.dtype)
    groups = [list(range(bands))] if together else [[band] for band in range(bands)]
    for block in _blocks(rows, columns, how.halo):
        (down, across), part = grown(block, how.halo, samples.shape[:2])
        counts = EVERYWHERE if valid is None else np.ascontiguousarray(valid[down, across])
        target = made[
            block[0].start - rows.start : block[0].stop - rows.start,
            block[1].start - columns.start : block[1].stop - columns.start,
        ]
        for group in groups:
            planes = _smoothed_planes(samples[down, across], group, counts, how.steps)
            for plane, band in zip(planes, group, strict=True):
                target[..., band] = _as_stored(plane[part], samples.dtype)
    whole = made.shape == samples.shape
    inner_valid = valid if valid is None or whole else np.ascontiguousarray(valid[inner])
    top, left = pixels.top + rows.start, pixels.left + columns.start
    before = None if not original else samples if whole else np.ascontiguousarray(samples[inner])
    return Pixels(made, inner_valid, top, left, before)


def smooth_image(samples: NDArray[Any], valid: NDArray[np.bool_] | None, how: Smoothing, *, together: bool) -> Pixels:
    """A whole image (y, x, bands), smoothed; parameters as of `smoothed`."""
    height, width = samples.shape[:2]
    return smoothed(Pixels(samples, valid), how, (slice(0, height), slice(0, width)), together=together)


def _blocks(rows: slice, columns: slice, halo: int) -> Iterator[Region]:
    """A window in parts, row by row."""
    down = max(BLOCK_ROWS, LEAST_ROWS_OF_HALO * halo)
    for top in range(rows.start, rows.stop, down):
        for left in range(columns.start, columns.stop, BLOCK_COLUMNS):
            yield slice(top, min(top + down, rows.stop)), slice(left, min(left + BLOCK_COLUMNS, columns.stop))


def _smoothed_planes(
    samples: NDArray[Any], bands: list[int], valid: NDArray[np.bool_], steps: tuple[int, ...]
) -> NDArray[Any]:
    """Bands (n, y, x) of a block, smoothed as far as the halo from its cuts."""
    is_small = samples.dtype.itemsize <= 2  # sums over nine pixels, nine times, are below 2^24
    planes = np.empty((len(bands), *samples.shape[:2]), np.float32 if is_small else np.float64)
    for plane, band in zip(planes, bands, strict=True):
        plane[...] = samples[..., band]
    made = np.empty_like(planes)
    for step in steps:
        smooth_once(planes, valid, made, step, samples.dtype.kind in "iu")
        planes, made = made, planes
    return planes


def _as_stored(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Means in the dtype of what they are of; of 64-bit whole numbers they are as near as float64 has them."""
    if dtype.kind in "iu" and dtype.itemsize == 8:
        info = np.iinfo(dtype)
        held: NDArray[Any] = np.clip(values, float(info.min), np.nextafter(float(info.max), 0.0))
        return held
    return values
