"""K-means on a line: the best partition of sorted values is found outright, without attempts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel

F64 = NDArray[np.float64]


@inlined
def _cost(w: F64, s: F64, q: F64, first: int, last: int) -> float:
    """Squared distances of values ``first`` to ``last`` from their mean, from running totals on both sides of 0."""
    weight = w[last + 1] - w[first]
    total = s[last + 1] - s[first]
    return float(max(0.0, q[last + 1] - q[first] - total * total / weight))


@inlined
def _middle(weights: F64) -> int:
    """Where half of the weight is reached."""
    half = 0.5 * weights.sum()
    running = 0.0
    for i in range(weights.size):
        running += weights[i]
        if running >= half:
            return i
    return int(weights.size - 1)


@kernel("C1f8 C1f8 i")
def best_on_line(values: F64, weights: F64, k: int) -> F64:
    """The means of the best ``k`` clusters of values on a line.

    The best clusters are runs of the sorted values. The best cost of q + 1 clusters follows from that of q, and where
    their last run begins never moves back as values are added, so each q is settled by halving.

    Parameters
    ----------
    values
        Float64 (n,), rising; at least ``k`` of them.
    weights
        Float64 (n,), positive.
    k
        Number of clusters.

    Returns
    -------
    Float64 (k,), rising.

    References
    ----------
    Wang & Song 2011, Ckmeans.1d.dp; Wu 1991 for the halving.
    """
    n = values.size
    # Totals run from the median outwards, of differences from it, so that they are small where most values are: a few
    # far values must not drown the others' last bits.
    middle = _middle(weights)
    centre = values[middle]
    w, s, q = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1)
    for i in range(middle, n):
        x = values[i] - centre
        w[i + 1] = w[i] + weights[i]
        s[i + 1] = s[i] + weights[i] * x
        q[i + 1] = q[i] + weights[i] * x * x
    for i in range(middle - 1, -1, -1):
        x = values[i] - centre
        w[i] = w[i + 1] - weights[i]
        s[i] = s[i + 1] - weights[i] * x
        q[i] = q[i + 1] - weights[i] * x * x
    before = np.empty(n)
    for i in range(n):
        before[i] = _cost(w, s, q, 0, i)
    begins = np.zeros((k, n), np.int32)
    stack = np.empty((128, 4), np.int64)
    for cluster in range(1, k):
        now = np.full(n, np.inf)
        stack[0] = (cluster, n - 1, cluster, n - 1)
        depth = 1
        while depth:
            depth -= 1
            low, high, least, most = stack[depth]
            if low > high:
                continue
            last = (low + high) // 2
            chosen = least
            for begin in range(least, min(last, most) + 1):
                cost = before[begin - 1] + _cost(w, s, q, begin, last)
                if cost < now[last]:
                    now[last], chosen = cost, begin
            begins[cluster, last] = chosen
            stack[depth] = (low, last - 1, least, chosen)
            stack[depth + 1] = (last + 1, high, chosen, most)
            depth += 2
        before = now
    means = np.empty(k)
    last = n - 1
    for cluster in range(k - 1, -1, -1):
        begin = begins[cluster, last] if cluster else 0
        means[cluster] = centre + (s[last + 1] - s[begin]) / (w[last + 1] - w[begin])
        last = begin - 1
    return means
