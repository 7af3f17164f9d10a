"""Pixels and a model become labels, and the exact sums over those labels."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .features import FeatureSpace
from .kernels import assign, histogram
from .summary import NO_MASK, ColorTable, color_counter
from .sums import ClusterSums
from .table import TABLE_COARSER

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
    """

    labels: Labels
    sums: ClusterSums


def _lookup(dtype: np.dtype[Any]) -> Labels:
    """This thread's look-up table, whatever is in it."""
    tables: dict[str, Labels] = _scratch.__dict__.setdefault("tables", {})
    if dtype.name not in tables:
        tables[dtype.name] = np.zeros(histogram.CODES, dtype)
    return tables[dtype.name]


def label_colors(table: ColorTable, space: FeatureSpace, centroids: F64) -> tuple[NDArray[np.int64], ClusterSums]:
    """Labels (n,) of the colours of a table, and their sums; ``centroids`` (k, 3) in grid units."""
    points = space.points(table.codes)
    if len(centroids) <= BRUTE_FORCE_K:
        labels, _ = assign.nearest(points, centroids)
    else:
        order, starts = assign.order_by_cell(*space.cell_ids(points, TABLE_COARSER))
        ordered = np.ascontiguousarray(points[:, order])
        lo, hi, _, _ = assign.summarise_cells(ordered, table.counts[order], starts)
        labels = np.empty(order.size, np.int64)
        labels[order] = assign.label_by_cells(ordered, starts, lo, hi, centroids)
    high, low = assign.sum_squares(points, table.counts)
    counts, sums = assign.sum_labelled(points, table.counts, labels, len(centroids))
    return labels, ClusterSums(counts, sums, (int(high) << 17) + int(low))


def label_pixels(
    rgb: NDArray[np.uint8], valid: NDArray[np.bool_] | None, space: FeatureSpace, centroids: F64
) -> LabelledPixels:
    """Label every pixel by the nearest centroid.

    Each distinct colour is labelled once; the pixels are then a look-up, whatever k is.

    Parameters
    ----------
    rgb
        uint8 (y, x, 3).
    valid
        bool (y, x), or None where all pixels are.
    space, centroids
        The feature space and float64 (k, 3) in its grid units.
    """
    counter = color_counter()
    counter.add(rgb, valid)
    table = counter.drain()
    by_color, sums = label_colors(table, space, centroids)
    dtype = label_dtype(len(centroids))
    lookup = _lookup(dtype)
    histogram.fill_lookup(table.codes, by_color, lookup)
    labels: Labels = np.empty(rgb.shape[:2], dtype)
    flat = np.ascontiguousarray(rgb).reshape(-1, 3)
    mask = NO_MASK if valid is None else np.ascontiguousarray(valid).reshape(-1)
    histogram.look_up_labels(flat, mask, lookup, np.iinfo(dtype).max, labels.reshape(-1))
    return LabelledPixels(labels, sums)
