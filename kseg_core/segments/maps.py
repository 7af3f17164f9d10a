"""What is known of each pixel by those around it: the gradient, a palette's label, two textures.

References
----------
Malik et al. 2001 (textons: the energy of filters' answers at two scales); Martin, Fowlkes & Malik 2004 (gradients).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..kernels import gradients, palettes
from .features import UNIT, Converter, Features
from .palette import Palette

HALO = 24  # gradient 9 pixels, texture 12, and as many again for what invalid pixels are given
GRID = 64  # of the gradient: in 1/64 of a unit over two pixels
OCTAVES = 16  # of texture
INVALID = np.iinfo(np.int32).max  # as gradient


def _binomial(order: int) -> NDArray[np.int32]:
    taps = np.array([1], np.int64)
    for _ in range(order):
        taps = np.convolve(taps, [1, 1])
    return taps.astype(np.int32)


WIDE = _binomial(16)  # sigma 2


class Texture(NamedTuple):
    """One map of texture: gradients at a scale, and over how far their energy is averaged."""

    order: int  # of the binomial taps; sigma is the root of a quarter of it
    sigma: float
    reach: int


TEXTURES = (Texture(2, 0.7, 3), Texture(8, 1.5, 7))


class Maps(NamedTuple):
    """Of a window and what is around it.

    Attributes
    ----------
    gradient
        int32 (y, x); `INVALID` where pixels do not count.
    palette, fine, broad
        uint8 (y, x): the palette's label, and the octave of the texture at two scales.
    """

    gradient: NDArray[np.int32]
    palette: NDArray[np.uint8]
    fine: NDArray[np.uint8]
    broad: NDArray[np.uint8]


def find_maps(samples: NDArray[Any], valid: NDArray[np.bool_] | None, convert: Converter, palette: Palette) -> Maps:
    """The maps of samples (y, x, c), right where they are farther than `HALO` from a cut."""
    features = convert(samples)
    if valid is not None and valid.all():
        valid = None
    if valid is not None:
        palettes.fill_invalid(features, np.ascontiguousarray(valid), HALO // 2)
    light = convert.light(features)
    energy = np.empty(light.shape, np.int64)  # one for all: the system takes as long to give it as filling it takes
    gradient = _gradient(features, energy)
    if valid is not None:
        gradient[~valid] = INVALID
    fine, broad = (_texture(light, each, energy) for each in TEXTURES)
    return Maps(gradient, palette.label(features), fine, broad)


def _gradient(features: Features, energy: NDArray[np.int64]) -> NDArray[np.int32]:
    energy.fill(0)
    for plane in features:
        gradients.add_energy(plane, WIDE, 16, energy)
    return gradients.lengths(energy, 2.0 * GRID / (8 * 4 * UNIT))


def _texture(light: Features, texture: Texture, energy: NDArray[np.int64]) -> NDArray[np.uint8]:
    energy.fill(0)
    gradients.add_energy(np.ascontiguousarray(light), _binomial(texture.order), texture.order, energy)
    window = (2 * texture.reach + 1) ** 2
    floor = round((0.25 / texture.sigma * 8 * 4 * UNIT) ** 2 * window)  # a quarter of a unit a sigma
    return gradients.octaves_of_means(energy, texture.reach, floor, OCTAVES)
