"""Which cluster is number 0: part of the contract, so that the same data has the same numbers everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


def rounded_means(color_sums: I64, counts: I64) -> NDArray[np.uint8]:
    """Mean sRGB of each cluster, (k, 3), halves rounded up; black where a cluster is empty."""
    safe = np.maximum(counts, 1)[:, None]
    rounded: I64 = (2 * color_sums + safe) // (2 * safe)
    return rounded.astype(np.uint8)


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


def matching_order(centroids: F64, earlier: F64) -> I64:
    """The order that gives each cluster the number of its partner in an earlier model.

    Partners minimise the sum of squared distances (optimal assignment). Clusters without a partner, where there are
    more
    than before, keep their order behind the matched ones; where there are fewer, the numbers close up.

    Parameters
    ----------
    centroids, earlier
        float64 (k, d) and (m, d), in the same units.

    References
    ----------
    Crouse 2016, as implemented by ``scipy.optimize.linear_sum_assignment``.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    rows, columns = linear_sum_assignment(cdist(centroids, earlier, "sqeuclidean"))
    matched = rows[np.argsort(columns, kind="stable")]
    rest = np.setdiff1d(np.arange(len(centroids)), matched)
    return np.concatenate([matched, rest]).astype(np.int64)
