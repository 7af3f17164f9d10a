"""Hypothesis strategies for what the program works on: small, and rich in ties and repeated values."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from kseg_core.clustering.features import SPACES
from kseg_core.clustering.summary import ColorTable, Window

#: For `hypothesis.settings`: kernels compile inside the first example, so no deadline.
QUICK = settings(deadline=None, max_examples=40)

_CHANNEL = st.one_of(st.sampled_from([0, 1, 2, 127, 128, 254, 255]), st.integers(0, 255))
COLORS = st.tuples(_CHANNEL, _CHANNEL, _CHANNEL)
COLOR_SPACES = st.sampled_from(list(SPACES.values()))


@st.composite
def rgb_images(draw: st.DrawFn, max_side: int = 12, max_colors: int = 6) -> NDArray[np.uint8]:
    """uint8 (y, x, 3) of a few colours, so that most pixels are equal to others."""
    palette = np.array(draw(st.lists(COLORS, min_size=1, max_size=max_colors)), np.uint8)
    shape = draw(st.tuples(st.integers(1, max_side), st.integers(1, max_side)))
    return palette[draw(hnp.arrays(np.int64, shape, elements=st.integers(0, len(palette) - 1)))]


def valid_masks(shape: tuple[int, ...]) -> st.SearchStrategy[NDArray[np.bool_] | None]:
    """Bool of an image's shape, or None."""
    return st.none() | hnp.arrays(np.bool_, shape)


def _cuts(length: int) -> st.SearchStrategy[list[int]]:
    inside = st.lists(st.integers(1, max(1, length - 1)), unique=True, max_size=3)
    return inside.map(lambda at: [0, *sorted(c for c in at if c < length), length])


@st.composite
def chunkings(draw: st.DrawFn, rgb: NDArray[np.uint8], valid: NDArray[np.bool_] | None) -> list[Window]:
    """The windows of any grid over an image, in any order."""
    rows, columns = draw(_cuts(rgb.shape[0])), draw(_cuts(rgb.shape[1]))
    windows = [
        Window(rgb[t:b, l:r], None if valid is None else valid[t:b, l:r], t, l)
        for t, b in pairwise(rows)
        for l, r in pairwise(columns)
    ]
    return draw(st.permutations(windows))


@st.composite
def color_tables(draw: st.DrawFn, min_colors: int = 1, max_colors: int = 20) -> ColorTable:
    """Tables of close and of far colours, with weights from one to very many."""
    weight = st.one_of(st.integers(1, 4), st.integers(1, 1 << 30))
    near = st.tuples(*[st.integers(100, 103)] * 3)  # on so small a grid most distances occur many times
    colors = draw(
        st.dictionaries(st.one_of(near, COLORS), weight, min_size=min_colors, max_size=max_colors).map(
            lambda found: sorted((r << 16 | g << 8 | b, w) for (r, g, b), w in found.items())
        )
    )
    codes, counts = zip(*colors, strict=True) if colors else ((), ())
    return ColorTable(np.array(codes, np.uint32), np.array(counts, np.int64))


@st.composite
def centroids(draw: st.DrawFn, points: NDArray[Any], max_k: int = 8) -> NDArray[np.float64]:
    """float64 (k, 3) that make ties with points (3, n): points, midpoints of two, and anything, some of them twice."""
    columns = points.T.astype(np.float64)
    at = st.integers(0, len(columns) - 1)
    point = at.map(lambda i: columns[i].tolist())
    middle = st.tuples(at, at).map(lambda ij: ((columns[ij[0]] + columns[ij[1]]) / 2).tolist())
    anywhere = st.tuples(*[st.floats(-300, 600, allow_nan=False)] * 3).map(list)
    rows = draw(st.lists(st.one_of(point, middle, anywhere), min_size=1, max_size=max_k))
    twice = draw(st.lists(st.integers(0, len(rows) - 1), max_size=2))
    return np.array(rows + [rows[i] for i in twice], np.float64)


# ----------------------------------------------------------------------------------------------------- bands

#: Every dtype of which samples can be bands.
BAND_DTYPES = (
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)


def exactly(values: NDArray[Any]) -> list[Fraction]:
    """Finite numbers (n,) as fractions."""
    return [Fraction(value) for value in values.tolist()]


def rounded(exact: Fraction) -> float:
    """The nearest float64; infinity where there is none."""
    try:
        return float(exact)
    except OverflowError:
        return np.inf if exact > 0 else -np.inf


def _numbers(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    """Any finite number of a dtype: near ones, so that many are equal, and those at the ends of its range."""
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        ends = [limits.min, limits.min + 1, limits.max - 1, limits.max]
        return st.one_of(st.integers(0, 5), st.sampled_from(ends), st.integers(limits.min, limits.max))
    kind = np.finfo(dtype)
    least, most = float(kind.smallest_subnormal), float(kind.max)
    ends = [0.0, -0.0, least, -3 * least, float(kind.tiny), -float(kind.tiny), most, -most, float(kind.eps)]
    fills = [fill for fill in (-9999.0, -32768.0, 1e10, -3.4028234663852886e38) if abs(fill) <= most]
    width: Any = 8 * dtype.itemsize
    near = st.integers(-4, 4).map(lambda quarter: quarter / 4)
    anything = st.floats(width=width, allow_nan=False, allow_infinity=False)
    return st.one_of(near, st.sampled_from([*ends, *fills]), anything)


@st.composite
def band_samples(
    draw: st.DrawFn, dtypes: tuple[str, ...] = BAND_DTYPES, max_side: int = 7, max_bands: int = 4
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Samples (y, x, d) of any dtype, and which pixels are valid: ties, fill values, subnormals, constant bands.

    Where a float is no number the pixel is not valid.
    """
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    side = st.integers(1, max_side)
    shape = draw(st.tuples(side, side, st.integers(1, max_bands)))
    palette = np.array(draw(st.lists(_numbers(dtype), min_size=1, max_size=12)), dtype)
    samples = palette[draw(hnp.arrays(np.int64, shape, elements=st.integers(0, len(palette) - 1)))]
    valid = draw(valid_masks(shape[:2]))
    if dtype.kind == "f" and draw(st.booleans()):
        holes = draw(hnp.arrays(np.bool_, shape))
        samples = np.where(holes, draw(st.sampled_from([np.nan, np.inf, -np.inf])), samples).astype(dtype)
        finite = np.isfinite(samples).all(axis=2)
        valid = finite if valid is None else finite & valid
    return samples, valid
