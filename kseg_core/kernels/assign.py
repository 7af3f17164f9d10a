"""Nearest centroids and their sums.

Points are in grid units (integers held in float32, exact below 2**24), three components, one array a
component; one-dimensional features leave the other two at zero, which changes no bit of any distance.
A distance is the float64 sum of ``(x - c)**2`` in component order and the lowest index wins a tie: the rule
every label of a store obeys. Sums are int64: 2**16 a component leaves room for 2**46 pixels.

References
----------
Lloyd 1982; Kanungo et al. 2002 (a cell whose points all share a nearest centroid is added as a whole).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

BLOCK = 256  # points a block: distances, best and labels of a block stay in the first-level cache
# A centroid is struck off a cell's list only where it is farther from every point of the cell's box by more than this
# share of the squared lengths involved: a thousand times the rounding of the distances compared, so no label can
# differ.
SLACK = 1e-12


@kernel
def nearest(points: F32, centroids: F64) -> tuple[I64, F64]:
    """Label and squared distance of every point: (3, n), (k, 3) -> (n,), (n,)."""
    n, k = points.shape[1], centroids.shape[0]
    labels = np.zeros(n, np.int64)
    squared = np.empty(n, np.float64)
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        x = points[0, start : start + size]
        y = points[1, start : start + size]
        z = points[2, start : start + size]
        best = squared[start : start + size]
        label = labels[start : start + size]
        for i in range(size):
            best[i] = np.inf
        for j in range(k):
            cx, cy, cz = centroids[j, 0], centroids[j, 1], centroids[j, 2]
            for i in range(size):
                dx, dy, dz = x[i] - cx, y[i] - cy, z[i] - cz
                d = dx * dx + dy * dy + dz * dz
                closer = d < best[i]
                best[i] = d if closer else best[i]
                label[i] = j if closer else label[i]
    return labels, squared


@inlined
def farther_everywhere(lo: F64, hi: F64, cell: int, rival: F64, winner: F64) -> bool:
    """Whether every point of the box is surely nearer to ``winner`` than to ``rival``.

    The box's corner farthest in the direction from winner to rival is the point most in the rival's favour.
    """
    to_rival = 0.0
    to_winner = 0.0
    diagonal = 0.0
    for axis in range(3):
        corner = hi[cell, axis] if rival[axis] > winner[axis] else lo[cell, axis]
        to_rival += (corner - rival[axis]) ** 2
        to_winner += (corner - winner[axis]) ** 2
        diagonal += (hi[cell, axis] - lo[cell, axis]) ** 2
    return to_rival > to_winner + SLACK * (to_rival + to_winner + diagonal)


@inlined
def cell_candidates(lo: F64, hi: F64, cell: int, centroids: F64, candidates: I64) -> int:
    """Centroids that may be nearest to a point of the box, in rising order; returns how many."""
    winner, least = 0, np.inf
    mx = 0.5 * (lo[cell, 0] + hi[cell, 0])
    my = 0.5 * (lo[cell, 1] + hi[cell, 1])
    mz = 0.5 * (lo[cell, 2] + hi[cell, 2])
    for j in range(centroids.shape[0]):
        d = (mx - centroids[j, 0]) ** 2 + (my - centroids[j, 1]) ** 2 + (mz - centroids[j, 2]) ** 2
        if d < least:
            winner, least = j, d
    found = 0
    for j in range(centroids.shape[0]):
        if j == winner or not farther_everywhere(lo, hi, cell, centroids[j], centroids[winner]):
            candidates[found] = j
            found += 1
    return found


@kernel
def sum_by_cells(
    points: F32, weights: I64, starts: I64, lo: F64, hi: F64, cell_counts: I64, cell_sums: I64, centroids: F64
) -> tuple[I64, I64]:
    """One step's counts (k,) and sums (k, 3): each point goes to its nearest centroid.

    Parameters
    ----------
    points, weights
        float32 (3, n) and int64 (n,), ordered by cell.
    starts
        int64 (m + 1,): cell ``c`` holds the points ``starts[c]`` to ``starts[c + 1]``.
    lo, hi
        float64 (m, 3): the box around each cell's points.
    cell_counts, cell_sums
        int64 (m,) and (m, 3): weight and weighted sum of each cell.
    centroids
        float64 (k, 3).
    """
    k = centroids.shape[0]
    counts = np.zeros(k, np.int64)
    sums = np.zeros((k, 3), np.int64)
    candidates = np.empty(k, np.int64)
    for cell in range(starts.size - 1):
        found = cell_candidates(lo, hi, cell, centroids, candidates)
        if found == 1:
            j = candidates[0]
            counts[j] += cell_counts[cell]
            for axis in range(3):
                sums[j, axis] += cell_sums[cell, axis]
            continue
        for i in range(starts[cell], starts[cell + 1]):
            x, y, z = np.float64(points[0, i]), np.float64(points[1, i]), np.float64(points[2, i])
            label, least = 0, np.inf
            for at in range(found):
                j = candidates[at]
                dx, dy, dz = x - centroids[j, 0], y - centroids[j, 1], z - centroids[j, 2]
                d = dx * dx + dy * dy + dz * dz
                if d < least:
                    label, least = j, d
            w = weights[i]
            counts[label] += w
            sums[label, 0] += w * np.int64(points[0, i])
            sums[label, 1] += w * np.int64(points[1, i])
            sums[label, 2] += w * np.int64(points[2, i])
    return counts, sums


@kernel
def label_by_cells(points: F32, starts: I64, lo: F64, hi: F64, centroids: F64) -> I64:
    """The labels of the same rule, point by point: (n,)."""
    labels = np.empty(points.shape[1], np.int64)
    candidates = np.empty(centroids.shape[0], np.int64)
    for cell in range(starts.size - 1):
        found = cell_candidates(lo, hi, cell, centroids, candidates)
        for i in range(starts[cell], starts[cell + 1]):
            x, y, z = np.float64(points[0, i]), np.float64(points[1, i]), np.float64(points[2, i])
            label, least = candidates[0], np.inf
            for at in range(found):
                j = candidates[at]
                dx, dy, dz = x - centroids[j, 0], y - centroids[j, 1], z - centroids[j, 2]
                d = dx * dx + dy * dy + dz * dz
                if d < least:
                    label, least = j, d
            labels[i] = label
    return labels


@kernel
def sum_squares(points: F32, weights: I64) -> tuple[int, int]:
    """Sum of ``w * |x|**2`` in two parts (high, low) of ``high * 2**17 + low``, neither of which can overflow."""
    high = low = 0
    for i in range(points.shape[1]):
        x, y, z = np.int64(points[0, i]), np.int64(points[1, i]), np.int64(points[2, i])
        square = x * x + y * y + z * z
        high += weights[i] * (square >> 17)
        low += weights[i] * (square & 0x1FFFF)
    return high, low


@kernel
def order_by_cell(cells: I64, n_cells: int) -> tuple[I64, I64]:
    """Order (n,) of the points by cell and the starts (m + 1,) of the occupied cells; stable."""
    n = cells.size
    order = np.empty(n, np.int64)
    if n_cells > 4 * n + 65536:  # a count of every possible cell would cost more than sorting the points
        order[:] = np.argsort(cells, kind="mergesort")
    else:
        bounds = np.zeros(n_cells + 1, np.int64)
        for i in range(n):
            bounds[cells[i] + 1] += 1
        for c in range(n_cells):
            bounds[c + 1] += bounds[c]
        for i in range(n):
            order[bounds[cells[i]]] = i
            bounds[cells[i]] += 1
    starts = np.empty(n + 1, np.int64)
    found = 0
    for i in range(n):
        if i == 0 or cells[order[i]] != cells[order[i - 1]]:
            starts[found] = i
            found += 1
    starts[found] = n
    return order, starts[: found + 1].copy()


@kernel
def summarise_cells(points: F32, weights: I64, starts: I64) -> tuple[F64, F64, I64, I64]:
    """Each cell's box (lo, hi), weight and weighted sum."""
    m = starts.size - 1
    lo = np.full((m, 3), np.inf)
    hi = np.full((m, 3), -np.inf)
    counts = np.zeros(m, np.int64)
    sums = np.zeros((m, 3), np.int64)
    for cell in range(m):
        for i in range(starts[cell], starts[cell + 1]):
            counts[cell] += weights[i]
            for axis in range(3):
                value = np.float64(points[axis, i])
                lo[cell, axis] = min(lo[cell, axis], value)
                hi[cell, axis] = max(hi[cell, axis], value)
                sums[cell, axis] += weights[i] * np.int64(points[axis, i])
    return lo, hi, counts, sums


@kernel
def sum_labelled(points: F32, weights: I64, labels: I64, k: int) -> tuple[I64, I64]:
    """Counts (k,) and sums (k, 3) of points whose labels are known."""
    counts = np.zeros(k, np.int64)
    sums = np.zeros((k, 3), np.int64)
    for i in range(labels.size):
        j, w = labels[i], weights[i]
        counts[j] += w
        sums[j, 0] += w * np.int64(points[0, i])
        sums[j, 1] += w * np.int64(points[1, i])
        sums[j, 2] += w * np.int64(points[2, i])
    return counts, sums
