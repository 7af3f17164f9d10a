"""Colour spaces: what K-means measures distances in.

Every space is a function of an 8-bit sRGB colour and lies on a fixed-point grid, so that all later sums are
sums of integers. To add one: a converter to grid units here, its entry in ``SPACES``, its name in
``config.ColorSpace``. Of stains there are as many as anybody gives: ``hed:`` and what `kseg_core.stains` reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from ..elementary import log
from ..errors import UsageError
from ..kernels.assign import cells_of
from ..stains import HED, Matrix, stains_of
from .sums import ClusterSums

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]

CONVERTED = 1 << 16  # colours at a time: the intermediate results of one, in float64, take two hundred bytes
AXES = 3  # kernels always see three components; gray leaves two of them zero


def _rgb(rgb: U8) -> F64:
    return rgb.astype(np.float64)


def _gray(rgb: U8) -> F64:
    """ITU-R 601 luma with the integer weights and rounding of Pillow's ``L`` mode."""
    r, g, b = rgb.astype(np.int64)
    luma: I64 = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16
    return luma[None].astype(np.float64)


def _hsv(rgb: U8) -> F64:
    """(S cos H, S sin H, V) x 255: hue is an angle, and gray pixels have none."""
    r, g, b = rgb.astype(np.float64)
    value = np.maximum(np.maximum(r, g), b)
    chroma = value - np.minimum(np.minimum(r, g), b)
    safe = np.where(chroma > 0, chroma, 1.0)
    sixths = np.select([value == r, value == g], [(g - b) / safe, (b - r) / safe + 2.0], default=(r - g) / safe + 4.0)
    hue = sixths * (np.pi / 3.0)
    saturation = np.where(value > 0, chroma / np.where(value > 0, value, 1.0), 0.0)
    return np.stack([saturation * np.cos(hue) * 255.0, saturation * np.sin(hue) * 255.0, value])


# IEC 61966-2-1: linear light of an sRGB component, and the primaries' CIE XYZ for D65 and the 2 degree observer.
_SRGB = np.arange(256) / 255.0
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4)
_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = tuple(sum(row) for row in _XYZ)
_EPSILON, _KAPPA = (6 / 29) ** 3, (29 / 3) ** 3  # CIE 15:2004


def _lab(rgb: U8) -> F64:
    """CIELAB, D65, 2 degrees; sRGB white is (100, 0, 0)."""
    linear = _LINEAR[rgb]
    f = []
    for row, white in zip(_XYZ, _WHITE, strict=True):
        t = (row[0] * linear[0] + row[1] * linear[1] + row[2] * linear[2]) / white
        f.append(np.where(t > _EPSILON, np.cbrt(t), (_KAPPA * t + 16.0) / 116.0))
    return np.stack([116.0 * f[1] - 16.0, 500.0 * (f[0] - f[1]), 200.0 * (f[1] - f[2])])


#: Least light of a component, and how the density of each of the 256 is told: 0 is white, 1 no light at all. Both as
#: scikit-image has them, so that stains are those of its `separate_stains`.
_LEAST_LIGHT = 1e-6
_DENSITY = log(np.maximum(_SRGB, _LEAST_LIGHT)) / log(np.array([_LEAST_LIGHT]))
_STAIN_UNITS = 1 << 16  # of the grid along the longest axis, at most: a step of one level is nine of them near white


def _stained(rgb: U8, unmixing: Matrix) -> F64:
    """How much of each stain there is (Ruifrok & Johnston 2001); never less than none."""
    red, green, blue = _DENSITY[rgb]
    columns = zip(*unmixing, strict=True)
    return np.stack([np.maximum(red * r + green * g + blue * b, 0.0) for r, g, b in columns])


def canonical_order(colors: NDArray[np.uint8], centroids: F64) -> I64:
    """The order from dark to light: by 299 R + 587 G + 114 B of the mean colour, then R, G, B, then the centroid.

    Parameters
    ----------
    colors
        uint8 (k, 3).
    centroids
        float64 (k, d).
    """
    r, g, b = colors.astype(np.int64).T
    keys = [299 * r + 587 * g + 114 * b, r, g, b, *centroids.T]
    return np.lexsort(keys[::-1])


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """One colour space.

    Parameters
    ----------
    name
        As ``--features`` has it.
    components
        Names of the centroids' columns.
    grid
        Grid steps a unit: features are rounded to multiples of ``1 / grid``.
    cell
        Side, in grid steps, of the finest coarse cell the search may use; about a sixty-fourth of the widest axis
        (one level for gray, which has only 256).
    lowest
        Lower bound of every axis in grid steps.
    cells
        Number of finest cells along each axis, a power of two.
    convert
        sRGB uint8 (3, n) to features float64 (d, n).
    """

    name: str
    components: tuple[str, ...]
    grid: int
    cell: int
    lowest: tuple[int, int, int]
    cells: tuple[int, int, int]
    convert: Callable[[U8], F64]

    @property
    def dimensions(self) -> int:
        return len(self.components)

    def points(self, codes: U32) -> F32:
        """Grid units of colours: uint32 (n,) codes -> float32 (3, n) holding integers."""
        points = np.zeros((AXES, codes.size), np.float32)
        for start in range(0, codes.size, CONVERTED):
            part = codes[start : start + CONVERTED]
            channels = np.stack([part >> 16, (part >> 8) & 255, part & 255]).astype(np.uint8)
            # Adding zero makes a negative zero, whose sign is the last bit of a difference, a plain one.
            rounded = np.rint(self.convert(channels) * self.grid) + 0.0
            points[: self.dimensions, start : start + CONVERTED] = rounded
        return points

    def cell_ids(self, points: F32, coarser: int) -> tuple[I64, int]:
        """The coarse cell of every point, and how many there may be.

        ``coarser`` doubles the cells' sides so many times; where negative it halves them, down to one grid step.
        """
        side = [max(1, self.cell << coarser if coarser >= 0 else self.cell >> -coarser)] * AXES
        along = [-(-self.cells[axis] * self.cell // side[axis]) for axis in range(AXES)]
        lowest = np.array(self.lowest, np.int64)
        return cells_of(points, lowest, np.array(side, np.int64), np.array(along, np.int64)), math.prod(along)

    @property
    def steps_per_unit(self) -> int:
        """The solver works in grid units."""
        return self.grid

    def means(self, sums: ClusterSums, otherwise: F64) -> F64:
        """The mean of every cluster in grid units; rows of ``otherwise`` where one is empty."""
        return sums.means(otherwise)

    def inertia(self, sums: ClusterSums, centroids: F64) -> float:
        """Sum of squared distances to ``centroids`` (k, 3, grid units), in squared feature units."""
        return sums.inertia(centroids, self.grid)

    def total_variance(self, sums: ClusterSums) -> float:
        """Variance of all pixels, summed over the components, in squared grid units."""
        return sums.total_variance()

    def start_points(self, start: tuple[str, ...]) -> F64:
        """Given first centroids ``#rrggbb`` in grid units, float64 (k, 3).

        Raises
        ------
        UsageError
            If two of them are one point of this feature space.
        """
        codes = np.array([int(color[1:], 16) for color in start], np.uint32)
        points = self.points(codes).T.astype(np.float64)
        if len(np.unique(points, axis=0)) < len(points):
            raise UsageError(
                f"--start names colours that are one and the same in {self.name}; first centroids must differ"
            )
        return points

    def order(self, colors: U8, centroids: F64) -> I64:
        """The canonical numbering: from dark to light."""
        return canonical_order(colors, centroids)

    def to_features(self, points: F64) -> F64:
        """Grid units (k, 3) -> feature units (k, d), exactly: the grid is a power of two."""
        return np.ascontiguousarray(points[:, : self.dimensions] / self.grid)

    def to_points(self, features: F64) -> F64:
        """Feature units (k, d) -> grid units (k, 3), exactly."""
        points = np.zeros((features.shape[0], AXES), np.float64)
        points[:, : self.dimensions] = features * self.grid
        return points


@lru_cache(maxsize=16)
def _space_of_stains(name: str, given: str) -> FeatureSpace:
    stains = stains_of(given)
    unmixing = stains.unmixing()
    longest = max(sum(max(row[stain], 0.0) for row in unmixing) for stain in range(AXES))
    grid = 1 << max(0, math.floor(math.log2(_STAIN_UNITS / longest)))
    return FeatureSpace(name, stains.names, grid, 1024, (0, 0, 0), (64, 64, 64), partial(_stained, unmixing=unmixing))


SPACES: dict[str, FeatureSpace] = {
    space.name: space
    for space in (
        FeatureSpace("rgb", ("red", "green", "blue"), 1, 4, (0, 0, 0), (64, 64, 64), _rgb),
        FeatureSpace("gray", ("gray",), 1, 1, (0, 0, 0), (256, 1, 1), _gray),
        FeatureSpace("hsv", ("s_cos_h", "s_sin_h", "value"), 256, 2048, (-65536, -65536, 0), (64, 64, 32), _hsv),
        FeatureSpace("lab", ("L", "a", "b"), 256, 432, (0, -27648, -27648), (64, 128, 128), _lab),
        _space_of_stains(HED, HED),
    )
}


def feature_space(name: str) -> FeatureSpace:
    """The colour space called ``name``: one of `SPACES`, or ``hed:`` with stains.

    Raises
    ------
    ValueError
        If there is none.
    """
    space, colon, given = name.partition(":")
    if colon and space == HED:
        return _space_of_stains(name, given)
    if name not in SPACES:
        raise ValueError(f"features are one of {', '.join(SPACES)}; got {name!r}")
    return SPACES[name]
