"""A few pixels of many: chosen by position alone, evenly, the same ones on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.clustering.features import feature_space
from kseg_core.clustering.labelling import invalid_label
from kseg_core.reading.sources import Pixels
from kseg_core.store.model import Model

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

# The plastic number's sequence: two coordinates whose multiples fill the unit square most evenly.
_PLASTIC = 1.32471795724474602596
_STEPS = (1 / _PLASTIC, 1 / _PLASTIC**2)


def even_positions(shape: tuple[int, int], count: int) -> tuple[I64, I64]:
    """Rows and columns of ``count`` pixels spread evenly over a window; pixels may come twice in a small one.

    References
    ----------
    Roberts, M. (2018). The unreasonable effectiveness of quasirandom sequences.
    """
    steps = np.arange(1, count + 1, dtype=np.float64)
    rows, columns = ((np.mod(0.5 + steps * step, 1.0) * side) for step, side in zip(_STEPS, shape, strict=True))
    return rows.astype(np.int64), columns.astype(np.int64)


def quotas(sizes: list[int], total: int) -> list[int]:
    """``total`` shared out in proportion to sizes, exactly: what is rounded off here is given there."""
    whole = sum(sizes)
    ends = [total * int(end) // whole if whole else 0 for end in np.cumsum([0, *sizes], dtype=object)]
    return [after - before for before, after in pairwise(ends)]


@dataclass(frozen=True, slots=True)
class PixelSample:
    """Some pixels of one window.

    Parameters
    ----------
    colors
        uint8 (n, 3): as they are shown.
    labels
        int64 (n,): their clusters.
    counts, squares
        int64 and float64 (k,): of more pixels than these, how many of each cluster were looked at, and the sum of
        their squared distances to its centroid, in squared feature units.
    """

    colors: U8
    labels: I64
    counts: I64
    squares: F64


def sample_pixels(pixels: Pixels, shown: U8, model: Model, count: int, kept: int) -> PixelSample:
    """Look at ``count`` pixels of a window, and keep ``kept`` of them; those not valid are passed over."""
    rows, columns = even_positions(pixels.samples.shape[:2], count)
    if pixels.valid is not None:
        good = pixels.valid[rows, columns]
        rows, columns = rows[good], columns[good]
    chosen = np.ascontiguousarray(pixels.samples[rows, columns])
    if not len(chosen):
        return PixelSample(
            np.empty((0, 3), np.uint8), np.empty(0, np.int64), np.zeros(model.k, np.int64), np.zeros(model.k)
        )
    labels = model.label(chosen[None]).labels[0].astype(np.int64)
    assert labels.max() < invalid_label(model.k)  # all of them are valid
    squared = ((features_of(model, chosen) - model.centroids[labels]) ** 2).sum(axis=1)
    return PixelSample(
        shown[rows, columns][:kept],
        labels[:kept],
        np.bincount(labels, minlength=model.k),
        np.bincount(labels, weights=squared, minlength=model.k).astype(np.float64),
    )


def features_of(model: Model, samples: NDArray[Any]) -> F64:
    """Features float64 (n, d) of pixels (n, c): sRGB, or a bands model's samples."""
    if model.bands is not None:
        return model.bands.features_of(samples.astype(np.float64))
    red, green, blue = samples.T.astype(np.uint32)
    space = feature_space(model.features)
    points = space.points(np.asarray(red << 16 | green << 8 | blue, np.uint32))
    return space.to_features(points.T.astype(np.float64))
