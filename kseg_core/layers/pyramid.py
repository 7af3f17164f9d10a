"""Half-sized images from blocks of two by two pixels: pure arrays. A side of odd length ends in a block cut short.

A block cut short is completed by repeating its last row or column, which changes neither its mode nor its mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..clustering.labelling import Labels
from ..kernels import blocks


def mode_of_blocks(labels: Labels, invalid: int) -> Labels:
    """The most frequent valid label of every block, the lowest of equally frequent ones.

    Invalid pixels are passed over, as GDAL's overviews do: a block is invalid only where all of it is.

    Parameters
    ----------
    labels
        (y, x).
    invalid
        The label of invalid pixels: the dtype's largest value.

    Returns
    -------
    (ceil(y / 2), ceil(x / 2)), of the same dtype.
    """
    height, width = labels.shape
    halved: Labels = np.empty((-(-height // 2), -(-width // 2)), labels.dtype)
    blocks.mode_of_blocks(np.ascontiguousarray(labels), labels.dtype.type(invalid), halved)
    return halved


def mean_of_blocks(samples: NDArray[Any]) -> NDArray[Any]:
    """The mean of every block, in the dtype of the samples.

    Integers are rounded half up. In floating-point blocks NaN is passed over: the mean is NaN only where all of it is.

    Parameters
    ----------
    samples
        (y, x).

    Returns
    -------
    (ceil(y / 2), ceil(x / 2)), of the same dtype.
    """
    corners = _corners(samples)
    if samples.dtype.kind in "iu":
        # v = 4 (v >> 2) + (v & 3): sums that overflow no dtype, not even 64 bits
        quarters = sum((v >> 2 for v in corners[1:]), corners[0] >> 2)
        rest = sum((v & 3 for v in corners[1:]), corners[0] & 3)
        return np.asarray(quarters + ((rest + 2) >> 2))
    total = np.zeros(corners[0].shape)
    count = np.zeros(corners[0].shape)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # infinity - infinity, 0 / 0, float16
        for values in corners:
            there = ~np.isnan(values)
            total += np.where(there, values, 0.0)
            count += there
        return (total / count).astype(samples.dtype)


def _corners(image: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The upper left, upper right, lower left and lower right pixel of every block."""
    height, width = image.shape
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2)), mode="edge")
    return image[::2, ::2], image[::2, 1::2], image[1::2, ::2], image[1::2, 1::2]
