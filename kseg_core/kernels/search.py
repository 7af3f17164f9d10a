"""k-means++ seeding, and a search by swaps that leaves poor local optima.

Both work on few weighted points (the first batch's colours, or the coarse cells of all data), in float64. They only
propose centroids: what they propose is refined and judged by the exact integer steps.

References
----------
Arthur & Vassilvitskii 2007 (k-means++, its greedy form); Fränti 2018 (random swap); Lattanzi & Sohler 2019 (candidates
drawn by squared distance); Schubert & Rousseeuw 2021 (the loss of every removal from one pass over second-nearest
distances).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .assign import keep_nearer
from .sampling import mix64

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

# Measured on histograms of 24 to 200 photographs at k = 16 (64 swaps, 30 seeds): with the 2 plain rounds of Fränti
# 2018 one attempt in ten
# ends within 0.05 % of the best known optimum, with 10 rounds that overshoot by 0.8 more than half do, in the same
# time.
BLOCK = 256  # points a block: its distances stay in the first-level cache
ROUNDS = 10  # k-means rounds before a swap is judged
OVERSHOOT = 0.8  # a centre moves past its mean by this share of the way: Lloyd's steps alone creep
RANDOM_EVERY = 4  # one swap in so many removes a centre drawn at random rather than the cheapest one
SETTLE_ROUNDS = 100  # for the coarse form's own optimum; the exact steps finish it
SETTLED = 1e-9  # squared shift, as a share of the mean squared distance, that ends those rounds


@inlined
def _uniform(state: U64) -> float:
    """The next number of [0, 1) from a SplitMix64 stream."""
    word = mix64(state[0])
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    return np.float64(word >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@inlined
def _draw(mass: F64, total: float, state: U64) -> int:
    """An index drawn in proportion to ``mass``."""
    target = _uniform(state) * total
    running = 0.0
    last = 0
    for i in range(mass.size):
        if mass[i] > 0.0:
            running += mass[i]
            last = i
            if running > target:
                return i
    return last


@inlined
def _place(points: F64, i: int, centre: F64) -> None:
    """Move a centre to a point. (Assigning an array to a part of one takes Numba seconds to compile.)"""
    for axis in range(centre.size):
        centre[axis] = points[axis, i]


@inlined
def _repeat(centre: F64, other: F64) -> None:
    """Move another centre to where a centre is."""
    for axis in range(centre.size):
        other[axis] = centre[axis]


@inlined
def _weigh(weights: F64, values: F64, mass: F64) -> float:
    """Fill ``mass`` with weighted values; returns their sum."""
    total = 0.0
    for i in range(mass.size):
        mass[i] = weights[i] * values[i]
        total += mass[i]
    return total


@inlined
def _squared_to(points: F64, centre: F64, out: F64) -> None:
    """Squared distances of all points (d, n) to one centre."""
    if points.shape[0] == 3:
        _distances(points, 0, centre, out)
        return
    out[:] = 0.0
    for axis in range(points.shape[0]):
        row, c = points[axis], centre[axis]
        for i in range(out.size):
            difference = row[i] - c
            out[i] += difference * difference


@kernel("C2f8 C1f8 i i i")
def seed_plus_plus(points: F64, weights: F64, k: int, trials: int, seed: int) -> F64:
    """Greedy k-means++: points (d, n), weights (n,) -> centroids (k, d).

    Each next centre is the best of ``trials`` points drawn by weighted squared distance. Where fewer than ``k``
    points differ, the first centre is repeated (an empty cluster, which the exact steps move).
    """
    n = points.shape[1]
    state = np.empty(1, np.uint64)
    state[0] = mix64(np.uint64(seed))
    centroids = np.empty((k, points.shape[0]), np.float64)
    closest, trial, best, mass = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    closest[:] = 1.0
    first = _draw(weights, _weigh(weights, closest, mass), state)
    _place(points, first, centroids[0])
    _squared_to(points, centroids[0], closest)
    fresh = np.empty(points.shape[0])
    for j in range(1, k):
        total = _weigh(weights, closest, mass)
        if total <= 0.0:
            _repeat(centroids[0], centroids[j])
            continue
        least = np.inf
        chosen = 0
        for _ in range(trials):
            candidate = _draw(mass, total, state)
            _place(points, candidate, fresh)
            _squared_to(points, fresh, trial)
            cost = 0.0
            for i in range(n):
                trial[i] = min(trial[i], closest[i])
                cost += weights[i] * trial[i]
            if cost < least:
                least, chosen = cost, candidate
                best, trial = trial, best
        _place(points, chosen, centroids[j])
        closest, best = best, closest
    return centroids


@kernel("C2f8 C1f8 i i")
def seed_random(points: F64, weights: F64, k: int, seed: int) -> F64:
    """Centres drawn by weight alone, without repetition while points last."""
    state = np.empty(1, np.uint64)
    state[0] = mix64(np.uint64(seed))
    mass = np.empty(weights.size)
    left = np.ones(weights.size)
    centroids = np.empty((k, points.shape[0]), np.float64)
    for j in range(k):
        total = _weigh(weights, left, mass)
        if total <= 0.0:
            _repeat(centroids[0], centroids[j])
            continue
        chosen = _draw(mass, total, state)
        _place(points, chosen, centroids[j])
        left[chosen] = 0.0
    return centroids


FAR = 2.0**400  # of coordinates: the squares of their distances, times many pixels, are below the largest float64


def within_reach(points: F64) -> F64:
    """Points for the search, none of them so far that the square of its distance is infinite."""
    return points if np.abs(points).max(initial=0.0) <= FAR else np.clip(points, -FAR, FAR)


def as_they_are(centroids: F64, points: F64) -> F64:
    """Centroids (k, d) found `within_reach` of points (d, n): of those farther away, the point that each came from."""
    far = np.flatnonzero(np.abs(centroids).max(axis=1, initial=0.0) > FAR / 2)
    if not far.size or np.abs(points).max(initial=0.0) <= FAR:
        return centroids
    near, moved = within_reach(points), centroids.copy()
    for j in far:
        moved[j] = points[:, int(np.argmin(((near.T - centroids[j]) ** 2).sum(axis=1)))]
    return moved


def trials_for(k: int) -> int:
    """From how many points k-means++ chooses each next centre."""
    return 2 + int(math.log(k))


def _seeds_far_apart(points: F64, weights: F64, k: int, seed: int) -> F64:
    return as_they_are(seed_plus_plus(within_reach(points), weights, k, trials_for(k), seed), points)


#: Ways of seeding, by their names in `config.Init`: points (d, n), weights (n,), k and a seed give centroids (k, d).
#: The first of them are those of a smaller k with as many `trials_for` it: a sweep draws those of the largest k alone.
SEEDINGS: dict[str, Callable[[F64, F64, int, int], F64]] = {"k-means++": _seeds_far_apart, "random": seed_random}


@inlined
def _distances(points: F64, start: int, centre: F64, distance: F64) -> None:
    """Squared distances of a block's points to one centre, added up in the order of the axes."""
    size = distance.size
    if points.shape[0] == 3:
        x, y, z = points[0, start : start + size], points[1, start : start + size], points[2, start : start + size]
        cx, cy, cz = centre[0], centre[1], centre[2]
        for i in range(size):
            dx, dy, dz = x[i] - cx, y[i] - cy, z[i] - cz
            distance[i] = dx * dx + dy * dy + dz * dz
    else:
        distance[:] = 0.0
        for axis in range(points.shape[0]):
            row, c = points[axis, start : start + size], centre[axis]
            for i in range(size):
                difference = row[i] - c
                distance[i] += difference * difference


@inlined
def _nearest(points: F64, centroids: F64, d1: F64, label: I64) -> None:
    """Squared distances to the nearest centre, and its index."""
    scratch = np.empty(BLOCK, np.float64)
    for start in range(0, points.shape[1], BLOCK):
        a, c = d1[start : start + BLOCK], label[start : start + BLOCK]
        c[:] = 0
        _distances(points, start, centroids[0], a)
        if points.shape[0] == 3:
            _nearer_by_pairs(points, start, centroids, a, c)
            continue
        distance = scratch[: a.size]
        for j in range(1, centroids.shape[0]):
            _distances(points, start, centroids[j], distance)
            for i in range(a.size):
                closer = distance[i] < a[i]
                a[i] = distance[i] if closer else a[i]
                c[i] = j if closer else c[i]


@inlined
def _nearer_by_pairs(points: F64, start: int, centroids: F64, a: F64, c: I64) -> None:
    """The rest of `_nearest` for a block of points of three components, whose distances to the first centre are known.

    Two centres at a time, so that half as much is read and written.
    """
    size, k = a.size, centroids.shape[0]
    x, y, z = points[0, start : start + size], points[1, start : start + size], points[2, start : start + size]
    for j in range(1, k - 1, 2):
        px, py, pz = centroids[j, 0], centroids[j, 1], centroids[j, 2]
        qx, qy, qz = centroids[j + 1, 0], centroids[j + 1, 1], centroids[j + 1, 2]
        for i in range(size):
            dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
            p = dx * dx + dy * dy + dz * dz
            dx, dy, dz = x[i] - qx, y[i] - qy, z[i] - qz
            q = dx * dx + dy * dy + dz * dz
            closer = p < a[i]
            least = p if closer else a[i]
            nearest = j if closer else c[i]
            closer = q < least
            a[i] = q if closer else least
            c[i] = j + 1 if closer else nearest
    if k % 2 == 0:
        keep_nearer(x, y, z, centroids, k - 1, a, c)


@inlined
def _two_nearest(points: F64, centroids: F64, d1: F64, d2: F64, label: I64) -> None:
    """Squared distances to the nearest and second-nearest centre, and the nearest's index."""
    scratch = np.empty(BLOCK, np.float64)
    for start in range(0, points.shape[1], BLOCK):
        a, b, c = d1[start : start + BLOCK], d2[start : start + BLOCK], label[start : start + BLOCK]
        distance = scratch[: a.size]
        a[:] = np.inf
        b[:] = np.inf
        c[:] = 0
        if points.shape[0] == 3:
            _two_nearest_of_three(points, start, centroids, a, b, c)
            continue
        for j in range(centroids.shape[0]):
            _distances(points, start, centroids[j], distance)
            for i in range(a.size):
                d = distance[i]
                closer = d < a[i]
                b[i] = a[i] if closer else min(b[i], d)
                a[i] = d if closer else a[i]
                c[i] = j if closer else c[i]


@inlined
def _two_nearest_of_three(points: F64, start: int, centroids: F64, a: F64, b: F64, c: I64) -> None:
    """`_two_nearest` for a block of points of three components."""
    size = a.size
    x, y, z = points[0, start : start + size], points[1, start : start + size], points[2, start : start + size]
    for j in range(centroids.shape[0]):
        px, py, pz = centroids[j, 0], centroids[j, 1], centroids[j, 2]
        for i in range(size):
            dx, dy, dz = x[i] - px, y[i] - py, z[i] - pz
            d = dx * dx + dy * dy + dz * dz
            least, second = a[i], b[i]
            closer = d < least
            second = d if d < second else second
            b[i] = least if closer else second
            a[i] = d if closer else least
            c[i] = j if closer else c[i]


@inlined
def _sum_in_order(px: F64, py: F64, pz: F64, weights: F64, label: I64, sums: F64) -> None:
    """Weighted sums (k, 4) of the points and their weights by label, each added up in the order of the points.

    Neighbours mostly share a label: its sums stay in registers until another comes, for an addition to memory that the
    next one waits for takes three times as long.
    """
    j = label[0]
    x, y, z, total = sums[j, 0], sums[j, 1], sums[j, 2], sums[j, 3]
    for i in range(label.size):
        if label[i] != j:
            sums[j, 0], sums[j, 1], sums[j, 2], sums[j, 3] = x, y, z, total
            j = label[i]
            x, y, z, total = sums[j, 0], sums[j, 1], sums[j, 2], sums[j, 3]
        w = weights[i]
        x += w * px[i]
        y += w * py[i]
        z += w * pz[i]
        total += w
    sums[j, 0], sums[j, 1], sums[j, 2], sums[j, 3] = x, y, z, total


@inlined
def _move_past_means(points: F64, weights: F64, label: I64, centroids: F64) -> float:
    """Centres to the means of their points and ``OVERSHOOT`` beyond (an empty one stays).

    Returns the squared way to the means.
    """
    k, dimensions = centroids.shape
    sums = np.zeros((k, dimensions + 1), np.float64)
    if dimensions == 3:
        _sum_in_order(points[0], points[1], points[2], weights, label, sums)
    else:
        for i in range(label.size):
            j, w = label[i], weights[i]
            for axis in range(dimensions):
                sums[j, axis] += w * points[axis, i]
            sums[j, dimensions] += w
    shift = 0.0
    for j in range(k):
        if sums[j, dimensions] > 0.0:
            for axis in range(dimensions):
                mean = sums[j, axis] / sums[j, dimensions]
                way = mean - centroids[j, axis]
                shift += way * way
                centroids[j, axis] = mean + OVERSHOOT * way
    return shift


@inlined
def _weighted_sum(weights: F64, values: F64) -> float:
    total = 0.0
    for i in range(values.size):
        total += weights[i] * values[i]
    return total


@inlined
def _total(values: F64) -> float:
    total = 0.0
    for i in range(values.size):
        total += values[i]
    return total


@inlined
def _copy(rows: F64, to: F64) -> None:
    for j in range(rows.shape[0]):
        _repeat(rows[j], to[j])


@inlined
def _settle(points: F64, weights: F64, centroids: F64, rounds: int, d1: F64, d2: F64, label: I64) -> float:
    """At most ``rounds`` until the centres rest; fills the distances of the last ones and returns their inertia."""
    for _ in range(rounds):
        _nearest(points, centroids, d1, label)
        shift = _move_past_means(points, weights, label, centroids)
        if shift * _total(weights) <= SETTLED * _weighted_sum(weights, d1):
            break
    _two_nearest(points, centroids, d1, d2, label)
    return _weighted_sum(weights, d1)


@kernel("C2f8 C1f8 C2f8 i i i")
def swap_search(points: F64, weights: F64, start: F64, swaps: int, rounds: int, seed: int) -> tuple[F64, float]:
    """Lower the inertia of ``start`` (k, d) by k-means rounds and ``swaps`` trial swaps of one centre.

    A trial draws a point by weighted squared distance, takes away the centre whose removal costs least beside it (or,
    once in ``RANDOM_EVERY``, any centre drawn at random), runs ``ROUNDS`` and keeps the result where it is better.
    All together takes at most ``rounds`` rounds. Returns the centroids and their inertia on these points.
    """
    n, k = points.shape[1], start.shape[0]
    state = np.empty(1, np.uint64)
    state[0] = mix64(np.uint64(seed) ^ np.uint64(0x5851F42D4C957F2D))
    best, trial = np.empty(start.shape), np.empty(start.shape)
    _copy(start, best)
    d1, d2, label = np.empty(n), np.empty(n), np.empty(n, np.int64)
    settle = min(SETTLE_ROUNDS, rounds // 3)
    swaps = min(swaps, max(0, rounds - 2 * settle) // (ROUNDS + 1))
    inertia = _settle(points, weights, best, settle, d1, d2, label)
    mass = np.empty(n)
    _weigh(weights, d1, mass)
    trial_d1, trial_d2, trial_label = np.empty(n), np.empty(n), np.empty(n, np.int64)
    to_new, loss, fresh = np.empty(n), np.empty(k), np.empty(points.shape[0])
    for swap in range(swaps if k > 1 else 0):
        if inertia <= 0.0:
            break
        _place(points, _draw(mass, inertia, state), fresh)
        _squared_to(points, fresh, to_new)
        loss[:] = 0.0
        base = 0.0
        for i in range(n):
            w, nearest = weights[i], min(d1[i], to_new[i])
            base += w * nearest
            loss[label[i]] += w * (min(d2[i], to_new[i]) - nearest)
        removed = 0
        for j in range(k):
            if loss[j] < loss[removed]:
                removed = j
        if swap % RANDOM_EVERY == RANDOM_EVERY - 1:
            removed = int(_uniform(state) * k)
        _copy(best, trial)
        _repeat(fresh, trial[removed])
        for _ in range(ROUNDS):
            _nearest(points, trial, trial_d1, trial_label)
            _move_past_means(points, weights, trial_label, trial)
        _two_nearest(points, trial, trial_d1, trial_d2, trial_label)
        cost = _weighted_sum(weights, trial_d1)
        if cost < inertia * (1.0 - 1e-12):
            best, trial, inertia = trial, best, cost
            d1, trial_d1 = trial_d1, d1
            d2, trial_d2 = trial_d2, d2
            label, trial_label = trial_label, label
            _weigh(weights, d1, mass)
    return best, _settle(points, weights, best, settle, d1, d2, label)
