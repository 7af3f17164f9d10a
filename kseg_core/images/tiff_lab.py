"""CIELAB in TIFF (TIFF 6.0, section 23, and its supplement for ICC): L*, a*, b* against D50, as sRGB.

Photoshop and ICC profiles have D50 for their white; what is white there is white here (Bradford adaptation, as ICC
profiles of sRGB have it). Colours that sRGB does not have are clipped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kseg_core.images.raster import Samples

CIELAB, ICCLAB = 8, 9  # PhotometricInterpretation
_WHITE = np.array([0.9642, 1.0, 0.8249])  # D50, as the ICC has it
#: XYZ against D50 to linear sRGB: the inverse of the colorants of ICC profiles of sRGB (IEC 61966-2-1, Bradford).
_TO_LINEAR = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
_ROWS = 64  # worked on at once: float64 of a picture would be 24 bytes a pixel
_LINEAR_BELOW = 216 / 24389  # CIE 15: where the cube root gives way to a line
_KAPPA = 24389 / 27


def to_rgb(samples: Samples, photometric: int) -> NDArray[np.uint8]:
    """Convert stored L*, a*, b* to sRGB.

    Parameters
    ----------
    samples
        uint8 or uint16 (height, width, 3).
    photometric
        `CIELAB`, whose a* and b* are signed, or `ICCLAB`, where they are offset by half the range.

    Returns
    -------
    uint8 (height, width, 3).
    """
    out = np.empty(samples.shape, np.uint8)
    for top in range(0, len(samples), _ROWS):
        out[top : top + _ROWS] = _converted(_lab(samples[top : top + _ROWS], photometric))
    return out


def _lab(samples: Samples, photometric: int) -> NDArray[np.float64]:
    """L* in 0 to 100, a* and b* in -128 to 127."""
    wide = samples.dtype.itemsize == 2
    lab = np.empty(samples.shape)
    # Of 16 bits, ICC's white is 0xFF00 (v2 encoding); TIFF's own is the largest value.
    lab[..., 0] = samples[..., 0] * (100 / (0xFF00 if wide and photometric == ICCLAB else 0xFFFF if wide else 0xFF))
    if photometric == CIELAB:
        lab[..., 1:] = np.ascontiguousarray(samples[..., 1:]).view(f"i{samples.dtype.itemsize}")
        lab[..., 1:] /= 256 if wide else 1
    else:
        lab[..., 1:] = samples[..., 1:] / (256 if wide else 1) - 128.0
    return lab


def _converted(lab: NDArray[np.float64]) -> NDArray[np.uint8]:
    """sRGB, rounded."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1)
    cubes = f**3
    xyz = np.where(cubes > _LINEAR_BELOW, cubes, (116 * f - 16) / _KAPPA) * _WHITE
    linear = np.clip(xyz @ _TO_LINEAR.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    rounded: NDArray[np.uint8] = np.rint(encoded * 255).astype(np.uint8)
    return rounded
