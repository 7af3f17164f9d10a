"""The run lengths of a BMP (RLE4 and RLE8): runs, pixels as they are, and jumps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kseg_core.images.raster import Refused

_LEAVES_ROW = "damaged: a run of the BMP goes past the end of its row"


def unpacked_runs(
    data: bytes, height: int, width: int, bits: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """Unpack run lengths.

    Parameters
    ----------
    data
        From the first pixel on; more may follow the end mark.
    height, width
        Size of the picture.
    bits
        Of an index: 4 or 8.

    Returns
    -------
    indices
        (height, width), the bottom row first; 0 where none was given.
    valid
        Where one was given; None: everywhere.

    Raises
    ------
    Refused
        Where a run or a jump leaves its row or the picture, or the data ends before the picture does.
    """
    indices = np.zeros(height * width, np.uint8)
    given = np.zeros(height * width, np.bool_)
    padded = -(-width // 4) * 4  # some writers pack the padding of every row with it
    ends = np.zeros(height, np.int64)
    at, x, y = 0, 0, 0
    ended = False
    while at + 1 < len(data):
        count, value = data[at], data[at + 1]
        at += 2
        if count == 0 and value == 1:
            ended = True
            break
        if count == 0 and value == 0:
            x, y = 0, y + 1
            continue
        if count == 0 and value == 2:
            if at + 1 >= len(data):
                break
            x, y, at = x + data[at], y + data[at + 1], at + 2
            if x > padded or y >= height:
                raise Refused("damaged: a jump of the BMP leaves the picture")
            continue
        length = count or value
        if y >= height or x + length > padded:
            raise Refused(_LEAVES_ROW)
        inside = max(0, min(length, width - x))
        place = slice(y * width + x, y * width + x + inside)
        if count:
            if bits == 8:
                indices[place] = value
            else:
                indices[place] = np.resize(np.array([value >> 4, value & 15], np.uint8), length)[:inside]
        else:
            packed = length if bits == 8 else (length + 1) // 2
            if at + packed > len(data):
                break
            pixels = np.frombuffer(data, np.uint8, packed, at)
            if bits == 4:
                pixels = np.stack([pixels >> 4, pixels & 15], axis=1).ravel()[:length]
            indices[place] = pixels[:inside]
            at += packed + packed % 2
        given[place] = True
        x += length
        ends[y] = max(ends[y], x)
    if not ended and not (y >= height or (y == height - 1 and x >= width)):
        raise Refused("truncated: the BMP's run lengths end before the picture does")
    if (ends > width).any() and not (ends == padded).all():
        raise Refused(_LEAVES_ROW)
    valid = None if given.all() else given.reshape(height, width)
    return indices.reshape(height, width), valid
