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

from typing import Any

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
FAR = 1.0 + 1e-9  # the same for a look at the middle of the box alone


@inlined
def keep_nearer(x: Any, y: Any, z: Any, centroids: F64, j: int, best: F64, label: I64) -> None:
    """Compare a block of points with centroid ``j``: where it is nearer than the ``best`` yet, it becomes the label."""
    cx, cy, cz = centroids[j, 0], centroids[j, 1], centroids[j, 2]
    for i in range(best.size):
        dx, dy, dz = x[i] - cx, y[i] - cy, z[i] - cz
        d = dx * dx + dy * dy + dz * dz
        closer = d < best[i]
        best[i] = d if closer else best[i]
        label[i] = j if closer else label[i]


@inlined
def nearest_candidate(x: float, y: float, z: float, centroids: F64, candidates: I64, found: int) -> int:
    """The nearest of the first ``found`` candidates, which rise; the lowest of them at a tie."""
    label, least = candidates[0], np.inf
    for at in range(found):
        j = candidates[at]
        dx, dy, dz = x - centroids[j, 0], y - centroids[j, 1], z - centroids[j, 2]
        d = dx * dx + dy * dy + dz * dz
        if d < least:
            label, least = j, d
    return int(label)


@kernel("C2f4 C2f8")
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
            keep_nearer(x, y, z, centroids, j, best, label)
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
    # No point is farther from the middle than half a diagonal, so a rival more than a whole one farther away than the
    # winner is out. That strikes off most of them at less cost than a look at the corners.
    diagonal = (hi[cell, 0] - lo[cell, 0]) ** 2 + (hi[cell, 1] - lo[cell, 1]) ** 2 + (hi[cell, 2] - lo[cell, 2]) ** 2
    far = (least + 2.0 * np.sqrt(least * diagonal) + diagonal) * FAR
    found = 0
    for j in range(centroids.shape[0]):
        d = (mx - centroids[j, 0]) ** 2 + (my - centroids[j, 1]) ** 2 + (mz - centroids[j, 2]) ** 2
        if j == winner or not (d > far or farther_everywhere(lo, hi, cell, centroids[j], centroids[winner])):
            candidates[found] = j
            found += 1
    return found


@inlined
def _look_at_cells(lo: F64, hi: F64, start: int, centroids: F64, nearest: I64, count: I64) -> None:
    """For a block of cells: the centroid nearest to the middle, and how many may be nearest to a point, it included.

    Most cells have one; what `cell_candidates` finds out about one cell is found here for many side by side.
    """
    size = nearest.size
    x, y, z = np.empty(size), np.empty(size), np.empty(size)
    diagonal, least = np.empty(size), np.empty(size)
    for i in range(size):
        cell = start + i
        x[i], y[i], z[i] = (
            0.5 * (lo[cell, 0] + hi[cell, 0]),
            0.5 * (lo[cell, 1] + hi[cell, 1]),
            0.5 * (lo[cell, 2] + hi[cell, 2]),
        )
        dx, dy, dz = hi[cell, 0] - lo[cell, 0], hi[cell, 1] - lo[cell, 1], hi[cell, 2] - lo[cell, 2]
        diagonal[i] = dx * dx + dy * dy + dz * dz
        least[i] = np.inf
        nearest[i] = 0
        count[i] = 0
    for j in range(centroids.shape[0]):
        keep_nearer(x, y, z, centroids, j, least, nearest)
    for i in range(size):
        diagonal[i] = (least[i] + 2.0 * np.sqrt(least[i] * diagonal[i]) + diagonal[i]) * FAR
    for j in range(centroids.shape[0]):
        cx, cy, cz = centroids[j, 0], centroids[j, 1], centroids[j, 2]
        for i in range(size):
            dx, dy, dz = x[i] - cx, y[i] - cy, z[i] - cz
            count[i] += np.int64(dx * dx + dy * dy + dz * dz <= diagonal[i])


@inlined
def _sum_of_second(points: F32, weights: I64, start: int, stop: int, first: F64, second: F64, sums: I64) -> None:
    """Weight and weighted sum, into ``sums`` (4,), of the points of a range that are nearer to the second of two
    centroids; a tie is the first one's.
    """
    x, y, z, w = points[0, start:stop], points[1, start:stop], points[2, start:stop], weights[start:stop]
    ax, ay, az = first[0], first[1], first[2]
    bx, by, bz = second[0], second[1], second[2]
    weight = sum_x = sum_y = sum_z = np.int64(0)
    for i in range(w.size):
        px, py, pz = np.float64(x[i]), np.float64(y[i]), np.float64(z[i])
        dx, dy, dz = px - ax, py - ay, pz - az
        a = dx * dx + dy * dy + dz * dz
        dx, dy, dz = px - bx, py - by, pz - bz
        b = dx * dx + dy * dy + dz * dz
        counted = w[i] if b < a else np.int64(0)
        weight += counted
        sum_x += counted * np.int64(px)
        sum_y += counted * np.int64(py)
        sum_z += counted * np.int64(pz)
    sums[0], sums[1], sums[2], sums[3] = weight, sum_x, sum_y, sum_z


@kernel("C2f4 C1i8 C1i8 C2f8 C2f8 C1i8 C2i8 C2f8")
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
    other = np.zeros(4, np.int64)
    cells = starts.size - 1
    near, rivals = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    for cell in range(cells):
        at = cell % BLOCK
        if at == 0:
            size = min(BLOCK, cells - cell)
            _look_at_cells(lo, hi, cell, centroids, near[:size], rivals[:size])
        found = 1
        candidates[0] = near[at]
        if rivals[at] > 1:
            found = cell_candidates(lo, hi, cell, centroids, candidates)
        if found <= 2:  # all are the first one's, but those that are the second one's
            j = candidates[0]
            counts[j] += cell_counts[cell]
            for axis in range(3):
                sums[j, axis] += cell_sums[cell, axis]
            if found == 2:
                h = candidates[1]
                _sum_of_second(points, weights, starts[cell], starts[cell + 1], centroids[j], centroids[h], other)
                counts[j] -= other[0]
                counts[h] += other[0]
                for axis in range(3):
                    sums[j, axis] -= other[axis + 1]
                    sums[h, axis] += other[axis + 1]
            continue
        for i in range(starts[cell], starts[cell + 1]):
            x, y, z = np.float64(points[0, i]), np.float64(points[1, i]), np.float64(points[2, i])
            label = nearest_candidate(x, y, z, centroids, candidates, found)
            w = weights[i]
            counts[label] += w
            sums[label, 0] += w * np.int64(points[0, i])
            sums[label, 1] += w * np.int64(points[1, i])
            sums[label, 2] += w * np.int64(points[2, i])
    return counts, sums


@kernel("C2f4 C1i8 C2f8 C2f8 C2f8")
def label_by_cells(points: F32, starts: I64, lo: F64, hi: F64, centroids: F64) -> I64:
    """The labels of the same rule, point by point: (n,)."""
    labels = np.empty(points.shape[1], np.int64)
    candidates = np.empty(centroids.shape[0], np.int64)
    for cell in range(starts.size - 1):
        found = cell_candidates(lo, hi, cell, centroids, candidates)
        for i in range(starts[cell], starts[cell + 1]):
            x, y, z = np.float64(points[0, i]), np.float64(points[1, i]), np.float64(points[2, i])
            labels[i] = nearest_candidate(x, y, z, centroids, candidates, found)
    return labels


@kernel("C2f4 C1i8")
def sum_squares(points: F32, weights: I64) -> tuple[int, int]:
    """Sum of ``w * |x|**2`` in two parts (high, low) of ``high * 2**17 + low``, neither of which can overflow."""
    high = low = 0
    for i in range(points.shape[1]):
        x, y, z = np.int64(points[0, i]), np.int64(points[1, i]), np.int64(points[2, i])
        square = x * x + y * y + z * z
        high += weights[i] * (square >> 17)
        low += weights[i] * (square & 0x1FFFF)
    return high, low


def order_by_cell(cells: I64, n_cells: int) -> tuple[I64, I64]:
    """Order (n,) of the points by cell and the starts (m + 1,) of the occupied cells; stable."""
    # A count of every possible cell may cost more than sorting the points, which Numba takes seconds to compile.
    counted = n_cells <= 4 * cells.size + 65536
    order = _counting_order(cells, n_cells) if counted else np.argsort(cells, kind="stable")
    return order, _starts(cells, order)


@kernel("C1i8 i")
def _counting_order(cells: I64, n_cells: int) -> I64:
    """The stable order of the points by cell, from a count of each cell's."""
    order = np.empty(cells.size, np.int64)
    bounds = np.zeros(n_cells + 1, np.int64)
    for i in range(cells.size):
        bounds[cells[i] + 1] += 1
    for c in range(n_cells):
        bounds[c + 1] += bounds[c]
    for i in range(cells.size):
        order[bounds[cells[i]]] = i
        bounds[cells[i]] += 1
    return order


@kernel("C1i8 C1i8")
def _starts(cells: I64, order: I64) -> I64:
    """Where each occupied cell begins in the order, and where the last one ends."""
    n = cells.size
    starts = np.empty(n + 1, np.int64)
    found = 0
    for i in range(n):
        if i == 0 or cells[order[i]] != cells[order[i - 1]]:
            starts[found] = i
            found += 1
    starts[found] = n
    return starts[: found + 1].copy()


@kernel("C2f4 C1i8 C1i8 C1i8")
def cells_of(points: F32, lowest: I64, side: I64, along: I64) -> I64:
    """The cell of every point (3, n) -> (n,), counted with the last axis running fastest.

    ``lowest``, ``side`` and ``along`` are (3,): where an axis begins, and how long and how many its cells are.
    """
    cells = np.zeros(points.shape[1], np.int64)
    for axis in range(3):
        row = points[axis]
        # Points are integers, so half a step on top keeps the product clear of whole numbers however it is rounded.
        low, share, n = np.float64(lowest[axis]) - 0.5, 1.0 / np.float64(side[axis]), along[axis]
        for i in range(cells.size):
            cells[i] = cells[i] * n + np.int64((np.float64(row[i]) - low) * share)
    return cells


@kernel("C2f4 C1i8 C1i8")
def in_order(points: F32, weights: I64, order: I64) -> tuple[F32, I64]:
    """Points (3, n) and weights (n,) in another order."""
    ordered, ordered_weights = np.empty_like(points), np.empty_like(weights)
    for i in range(order.size):
        at = order[i]
        ordered_weights[i] = weights[at]
        for axis in range(3):
            ordered[axis, i] = points[axis, at]
    return ordered, ordered_weights


@kernel("C2f4 C1i8 C1i8")
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


@kernel("C2f4 C1i8 C1i8 i")
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
