"""Colours as perceived distances: sRGB to CIELAB on a grid of 1/16 unit, whole numbers all the way.

References
----------
IEC 61966-2-1 (sRGB); CIE 1976 L*a*b*, white D65.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel

I16 = NDArray[np.int16]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]


@kernel("C3u1 C1i4 C2i4 C1i4")
def lab_of_srgb(rgb: U8, linear: I32, weights: I32, root: I32) -> I16:
    """Of each pixel L*, a* and b*, times 16.

    Parameters
    ----------
    rgb
        (y, x, 3).
    linear
        (256,): light of a level, times 65535.
    weights
        (3, 3): parts of light in each of X, Y, Z over the white's, times 65536; rows add up to that.
    root
        (65536,): CIE's cube root of light, times 2^20.

    Returns
    -------
    int16 (3, y, x).
    """
    height, width, _ = rgb.shape
    lab = np.empty((3, height, width), np.int16)
    half = np.int32(32768)
    for y in range(height):
        row, lights, reds, blues = rgb[y], lab[0, y], lab[1, y], lab[2, y]
        for x in range(width):
            r = np.int64(linear[row[x, 0]])
            g = np.int64(linear[row[x, 1]])
            b = np.int64(linear[row[x, 2]])
            fx = np.int64(root[(weights[0, 0] * r + weights[0, 1] * g + weights[0, 2] * b + half) >> 16])
            fy = np.int64(root[(weights[1, 0] * r + weights[1, 1] * g + weights[1, 2] * b + half) >> 16])
            fz = np.int64(root[(weights[2, 0] * r + weights[2, 1] * g + weights[2, 2] * b + half) >> 16])
            lights[x] = (16 * (116 * fy - (16 << 20)) + (1 << 19)) >> 20
            reds[x] = (16 * 500 * (fx - fy) + (1 << 19)) >> 20
            blues[x] = (16 * 200 * (fy - fz) + (1 << 19)) >> 20
    return lab
