"""Pixels and a model become labels, and the exact sums over those labels."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import buffers
from ..kernels import assign, histogram, lookup, second
from .color_points import TABLE_COARSER, Cells, sum_of_squares
from .features import FeatureSpace
from .summary import ColorTable, color_counter, flat_pixels
from .sums import ClusterSums

F64 = NDArray[np.float64]
Labels = NDArray[np.unsignedinteger[Any]]

UINT8_LABELS = 254  # up to here labels are uint8
BRUTE_FORCE_K = 64  # measured: up to here comparing with every centroid beats sorting the colours into cells first

NO_COLORS: NDArray[np.uint8] = np.empty((0, 3), np.uint8)  # of an image without a valid pixel

_scratch = threading.local()


def label_dtype(k: int) -> np.dtype[np.unsignedinteger[Any]]:
    """uint8 for up to 254 clusters, uint16 above; the dtype's largest value marks an invalid pixel."""
    return np.dtype(np.uint8 if k <= UINT8_LABELS else np.uint16)


def invalid_label(k: int) -> int:
    """The label of an invalid pixel."""
    return int(np.iinfo(label_dtype(k)).max)


def painted(labels: Labels, colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every label in its colour, of uint8 (k, 3): (y, x) -> uint8 (y, x, 3); invalid pixels are black.

    Raises
    ------
    ValueError
        If a label is neither a cluster nor the invalid value.
    """
    k = len(colors)
    invalid = invalid_label(k)
    palette = np.zeros((invalid + 1, 3), np.uint8)
    palette[:k] = colors
    stray = (labels < 0) | (labels >= k) & (labels != invalid)
    if stray.any():
        raise ValueError(f"labels: expected 0 to {k - 1} or {invalid}, got {int(labels[stray][0])}")
    picture: NDArray[np.uint8] = palette[labels]
    return picture


def no_labels(shape: tuple[int, int]) -> Labels:
    """Labels of an image without a valid pixel."""
    return np.full(shape, invalid_label(0), label_dtype(0))


@dataclass(frozen=True, slots=True)
class LabelledPixels:
    """Labels of some pixels.

    Parameters
    ----------
    labels
        (y, x), of `label_dtype`.
    sums
        Over exactly these labels.
    confidence
        uint8 (y, x): how clearly each pixel belongs to its cluster, 0 to 254; 255 where invalid. None: not asked for.
    """

    labels: Labels
    sums: ClusterSums
    confidence: NDArray[np.uint8] | None = None


@dataclass(slots=True)
class _Lookup:
    """A label for each colour code.

    Parameters
    ----------
    labels
        (2**24,).
    of
        The centroids that all of them belong to, where unknown ones have the dtype's largest value; None: there is
        no telling what is in it.
    """

    labels: Labels
    of: bytes | None = None


def _lookup(dtype: np.dtype[Any], name: str = "labels") -> _Lookup:
    """This thread's look-up table."""
    tables: dict[tuple[str, str], _Lookup] = _scratch.__dict__.setdefault("tables", {})
    if (name, dtype.name) not in tables:
        tables[name, dtype.name] = _Lookup(np.zeros(histogram.CODES, dtype))
    return tables[name, dtype.name]


def _overwritten(dtype: np.dtype[Any], name: str = "labels") -> Labels:
    """This thread's look-up table, to be filled with what its own kernel knows nothing of."""
    table = _lookup(dtype, name)
    table.of = None
    return table.labels


def label_colors(table: ColorTable, space: FeatureSpace, centroids: F64) -> tuple[NDArray[np.int64], ClusterSums]:
    """Labels (n,) of the colours of a table, and their sums; ``centroids`` (k, 3) in grid units."""
    points = space.points(table.codes)
    if len(centroids) <= BRUTE_FORCE_K:
        labels, _ = assign.nearest(points, centroids)
    else:
        cells, order = Cells.of(space, points, table.counts, TABLE_COARSER)
        labels = _unordered(cells.label(centroids), order)
    counts, sums = assign.sum_labelled(points, table.counts, labels, len(centroids))
    return labels, ClusterSums(counts, sums, sum_of_squares(points, table.counts))


def rate_colors(table: ColorTable, space: FeatureSpace, centroids: F64) -> NDArray[np.uint8]:
    """Confidence (n,) of the colours of a table, 0 to 254: ``floor(254 (d2 - d1) / d2)``.

    d1 and d2 are the distances (not squared) to the nearest and the second nearest centroid. With one centroid there
    is no second: 254. Where d2 is 0 two centroids are the very colour: 0.
    """
    points = space.points(table.codes)
    if len(centroids) <= BRUTE_FORCE_K:
        return second.rate(points, centroids)
    cells, order = Cells.of(space, points, table.counts, TABLE_COARSER)
    return _unordered(second.rate_by_cells(cells.points, cells.starts, cells.lo, cells.hi, centroids), order)


def _unordered(values: NDArray[Any], order: NDArray[np.int64]) -> NDArray[Any]:
    """Values of points in an order, each where it was."""
    back = np.empty_like(values)
    back[order] = values
    return back


def label_pixels(
    rgb: NDArray[np.uint8],
    valid: NDArray[np.bool_] | None,
    space: FeatureSpace,
    centroids: F64,
    *,
    confidence: bool = False,
) -> LabelledPixels:
    """Label every pixel by the nearest centroid.

    Each distinct colour is labelled once (in ``rgb``, once for all images that a thread labels with the same
    centroids); the pixels are then a look-up, whatever k is.

    Parameters
    ----------
    rgb
        uint8 (y, x, 3).
    valid
        bool (y, x), or None where all pixels are.
    space, centroids
        The feature space and float64 (k, 3) in its grid units.
    confidence
        Also tell how clearly each pixel belongs to its cluster.
    """
    if space.name == "rgb" and not confidence:
        return _label_rgb(rgb, valid, centroids)
    k = len(centroids)
    by_color = _overwritten(label_dtype(k))
    ratings = _overwritten(np.dtype(np.uint8), "confidence") if confidence else None
    sums = ClusterSums.zero(k)
    counter = color_counter()
    counter.add(rgb, valid)
    try:
        for table in counter.drain_in_parts():
            labels_of_colors, found = label_colors(table, space, centroids)
            histogram.fill_lookup(table.codes, labels_of_colors, by_color)
            if ratings is not None:
                histogram.fill_lookup(table.codes, rate_colors(table, space, centroids), ratings)
            sums = sums.merge(found)
    except BaseException:
        counter.forget()  # the thread's next count begins at zero
        raise
    labels = _look_up(rgb, valid, by_color)
    return LabelledPixels(labels, sums, None if ratings is None else _look_up(rgb, valid, ratings))


def _label_rgb(rgb: NDArray[np.uint8], valid: NDArray[np.bool_] | None, centroids: F64) -> LabelledPixels:
    """`label_pixels` where the features are the colours themselves: no table of the image's colours is made."""
    dtype = label_dtype(len(centroids))
    unknown = int(np.iinfo(dtype).max)
    table = _lookup(dtype)
    centroids = np.ascontiguousarray(centroids)
    if table.of != centroids.tobytes():
        table.of = None  # while it is neither
        table.labels[:] = unknown
        table.of = centroids.tobytes()
    flat, mask = flat_pixels(rgb, valid)
    labels = buffers.empty(rgb.shape[:2], dtype)
    found = lookup.label_and_sum(flat, flat.reshape(-1), mask, centroids, table.labels, labels.reshape(-1))
    counts, sums, squares = found
    return LabelledPixels(labels, ClusterSums(counts, sums, int(squares)))


def _look_up(
    rgb: NDArray[np.uint8], valid: NDArray[np.bool_] | None, by_color: NDArray[np.unsignedinteger[Any]]
) -> NDArray[Any]:
    """What a table (2**24,) has for the colours, pixel by pixel (y, x); its dtype's largest value where invalid."""
    found = buffers.empty(rgb.shape[:2], by_color.dtype)
    flat, mask = flat_pixels(rgb, valid)
    histogram.look_up_labels(flat, mask, by_color, found.reshape(-1))
    return found
