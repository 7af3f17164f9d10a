"""A few pixels of an image, spread evenly: as points, and to tell how far pixels are from their centroids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.clustering.features import feature_space
from kseg_core.clustering.labelling import invalid_label
from kseg_core.config import OutputSettings
from kseg_core.images import Pixels
from kseg_core.store.model import Model, labels_of

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

# The plastic number's sequence: two coordinates whose multiples fill the unit square most evenly.
_PLASTIC = 1.32471795724474602596
_STEPS = (1 / _PLASTIC, 1 / _PLASTIC**2)


@dataclass(frozen=True, slots=True)
class PixelSample:
    """Some pixels."""

    colors: U8  # uint8 (n, 3): as they are shown
    labels: I64  # int64 (n,): their clusters
    # int64 and float64 (k,): of more pixels than these, how many of each cluster were sampled, and the sum of their
    # squared distances to its centroid, in squared feature units
    counts: I64
    squares: F64


def even_positions(shape: tuple[int, int], count: int) -> tuple[I64, I64]:
    """Rows and columns of ``count`` pixels spread evenly over a window; pixels may come twice in a small one.

    References
    ----------
    Roberts, M. (2018). The unreasonable effectiveness of quasirandom sequences.
    """
    steps = np.arange(1, count + 1, dtype=np.float64)
    rows, columns = ((np.mod(0.5 + steps * step, 1.0) * side) for step, side in zip(_STEPS, shape, strict=True))
    return rows.astype(np.int64), columns.astype(np.int64)


def quotas(sizes: Sequence[int], total: int) -> list[int]:
    """``total`` shared out in proportion to sizes, exactly: what is rounded off here is given there."""
    whole = sum(sizes)
    ends = [total * int(end) // whole if whole else 0 for end in np.cumsum([0, *sizes], dtype=object)]
    return [after - before for before, after in pairwise(ends)]


def sample_pixels(
    pixels: Pixels, shown: U8, model: Model, output: OutputSettings, count: int, kept: int
) -> PixelSample:
    """Sample ``count`` pixels of a window, and keep ``kept`` of them; those not valid are passed over."""
    rows, columns = even_positions(pixels.samples.shape[:2], count)
    if pixels.valid is not None:
        good = pixels.valid[rows, columns]
        rows, columns = rows[good], columns[good]
    chosen = np.ascontiguousarray(pixels.samples[rows, columns])
    if not len(chosen):
        return PixelSample(
            np.empty((0, 3), np.uint8), np.empty(0, np.int64), np.zeros(model.k, np.int64), np.zeros(model.k)
        )
    labels = labels_of(Pixels(chosen[None]), model, output)[0].astype(np.int64)
    assert labels.max() < invalid_label(model.k)  # all of them are valid
    squared = ((_features_of(model, chosen) - model.centroids[labels]) ** 2).sum(axis=1)
    return PixelSample(
        shown[rows, columns][:kept],
        labels[:kept],
        np.bincount(labels, minlength=model.k),
        np.bincount(labels, weights=squared, minlength=model.k).astype(np.float64),
    )


def _features_of(model: Model, samples: NDArray[Any]) -> F64:
    """Features float64 (n, d) of pixels (n, c): sRGB, or a bands model's samples."""
    if model.bands is not None:
        return model.bands.features_of(samples.astype(np.float64))
    red, green, blue = samples.T.astype(np.uint32)
    space = feature_space(model.features)
    points = space.points(np.asarray(red << 16 | green << 8 | blue, np.uint32))
    return space.to_features(points.T.astype(np.float64))


def joined(samples: Sequence[PixelSample]) -> PixelSample | None:
    """The samples of several windows, or of several images of one model, as one; None of none."""
    if not samples:
        return None
    squares = np.array([[sample.squares[j] for sample in samples] for j in range(len(samples[0].squares))])
    return PixelSample(
        np.concatenate([sample.colors for sample in samples]),
        np.concatenate([sample.labels for sample in samples]),
        np.sum([sample.counts for sample in samples], axis=0),
        np.array([math.fsum(row) for row in squares.tolist()]),
    )
