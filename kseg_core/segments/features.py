"""Samples as features: whole numbers on a grid of 1/16 of a unit, of which one is just seen and a hundred is much."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import lab

Features = NDArray[np.int16]  # (d, y, x)

UNIT = 16  # grid of features
BAND_RANGE = 90.0  # units from the darkest to the brightest hundredth of an image, as L* of a photograph has
FURTHEST = 2047 * UNIT // 8  # beyond which features of bands end: squares of their distances fit 32 bits


@cache
def _tables() -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Light of a level, weights of light, and CIE's cube root, as `kernels.lab` takes them."""
    level = np.arange(256) / 255.0
    light = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    xyz = np.array(  # IEC 61966-2-1, D65
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    weights = np.rint(xyz / xyz.sum(1, keepdims=True) * 65536).astype(np.int32)
    weights[:, 1] += 65536 - weights.sum(1, dtype=np.int32)
    part = np.arange(65536) / 65535.0
    root = np.where(part > (6 / 29) ** 3, np.cbrt(part), ((29 / 3) ** 3 * part + 16) / 116)
    return np.rint(light * 65535).astype(np.int32), weights, np.rint(root * (1 << 20)).astype(np.int32)


class BandScale(NamedTuple):
    """How bands become features.

    Attributes
    ----------
    low, scale
        (d,) float64: value v becomes (v - low) * scale, rounded.
    """

    low: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, sample: NDArray[Any]) -> BandScale:
        """From a sample of pixels (n, d): from its first to its last hundredth are `BAND_RANGE` units of all bands."""
        d = sample.shape[1]
        if sample.shape[0] == 0:
            return cls(np.zeros(d), np.zeros(d))
        ordered = np.sort(sample.astype(np.float64), axis=0)
        low, high = ordered[len(ordered) // 100], ordered[len(ordered) - 1 - len(ordered) // 100]
        flat = high <= low
        low, high = np.where(flat, ordered[0], low), np.where(flat, ordered[-1], high)
        span = high - low
        with np.errstate(divide="ignore"):
            scale = np.where(span > 0, BAND_RANGE * UNIT / np.sqrt(float(d)) / span, 0.0)
        return cls(low, scale)


@dataclass(frozen=True)
class Converter:
    """From samples (y, x, c) to features; ``bands`` is None for 8-bit sRGB."""

    bands: BandScale | None = None

    def __call__(self, samples: NDArray[Any]) -> Features:
        """Features (d, y, x)."""
        if self.bands is None:
            of_colours: Features = lab.lab_of_srgb(np.ascontiguousarray(samples), *_tables())
            return of_colours
        out = np.empty((samples.shape[2], *samples.shape[:2]), np.int16)
        for band in range(samples.shape[2]):
            scaled = (samples[..., band].astype(np.float64) - self.bands.low[band]) * self.bands.scale[band]
            np.clip(scaled, -FURTHEST, FURTHEST, out=scaled)
            out[band] = np.rint(np.nan_to_num(scaled, copy=False))
        return out

    def light(self, features: Features) -> Features:
        """(y, x): what texture is looked for in: L*, or of bands their sum, as large as one alone would be."""
        if self.bands is None:
            first: Features = features[0]
            return first
        total = features.sum(0, dtype=np.int64) / np.sqrt(float(len(features)))
        together: Features = np.rint(np.clip(total, -FURTHEST, FURTHEST)).astype(np.int16)
        return together
