"""Groups of clusters that touch most and differ least, as a proposal of classes.

Two clusters that lie among each other, as the speckles of one texture or the shades of one leaf, have a large share of
their contacts in common. The price of putting two together is the distance of their means, in feature units, over that
share: the contacts of both with each other, over all those of the one that has fewer. The cheapest two become one,
again and again, whose mean is that of their pixels; two that nowhere touch never do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..classes import Classes, NamedClass
from ..scoring.pairs import Pairs

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

FEWEST = 2  # groups that are proposed where no number is given: one of all says nothing
TOUCHING_BYTES = 500  # that merging takes of each two clusters that touch: an entry at both of them, of 200 measured
NAME = "class"  # of a group, with its number


class Merged(NamedTuple):
    """Two that became one, by their lowest clusters, and the price of it; the lower one goes on."""

    lower: int
    higher: int
    price: float


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A proposal.

    Parameters
    ----------
    groups
        Of clusters, those of most pixels first. Clusters without pixels are in none.
    fewest
        Fewer than these there cannot be, as they nowhere touch; None: that was not found out.
    price
        The highest that was paid; None: nothing was put together.
    """

    groups: tuple[tuple[int, ...], ...]
    fewest: int | None
    price: float | None

    @property
    def classes(self) -> Classes:
        """The groups as classes, ``class-1`` and so on."""
        return Classes(tuple(NamedClass(f"{NAME}-{at}", group) for at, group in enumerate(self.groups, 1)))


def suggest_groups(contacts: Pairs, centroids: F64, counts: I64, wanted: int | None = None) -> Suggestion:
    """Group clusters.

    Parameters
    ----------
    contacts
        Of each two clusters that touch, the lower one first, how often they do.
    centroids
        float64 (k, d), in feature units.
    counts
        int64 (k,): pixels.
    wanted
        How many groups; None: as many as there are where the price rises most, 2 or more. There are more where those
        that are left nowhere touch.

    Raises
    ------
    ValueError
        If less than one group is wanted.
    """
    if wanted is not None and wanted < 1:
        raise ValueError(f"expected at least one group, got {wanted}")
    there = int(np.count_nonzero(counts))
    merging = _Merging(contacts, centroids, counts)
    steps: list[Merged] = []
    while there - len(steps) > (wanted or 1) and (step := merging.cheapest()) is not None:
        steps.append(step)
    fewest = there - len(steps) if wanted is None or there - len(steps) > wanted else None
    if wanted is None:
        steps = steps[: _before_the_rise([step.price for step in steps], there - FEWEST)]
    return Suggestion(
        _groups(steps, counts),
        fewest,
        max((step.price for step in steps), default=None),
    )


def _before_the_rise(prices: Sequence[float], most: int) -> int:
    """How many merges come before the price rises most, the first of equal rises; at most so many."""
    highest = np.maximum.accumulate(np.array([0.0, *prices]))
    rises = np.diff(highest)[1 : most + 1]  # what the first one costs is no rise: a proposal puts some together
    return int(np.argmax(rises)) + 1 if len(rises) else max(0, min(len(prices), most))


def _groups(steps: Sequence[Merged], counts: I64) -> tuple[tuple[int, ...], ...]:
    """The groups after some merges, those of most pixels first, of equal ones that with the lowest cluster."""
    groups: dict[int, list[int]] = {cluster: [cluster] for cluster in np.flatnonzero(counts).tolist()}
    for step in steps:
        groups[step.lower] += groups.pop(step.higher)
    pixels = {lowest: sum(int(counts[cluster]) for cluster in group) for lowest, group in groups.items()}
    return tuple(tuple(sorted(groups[lowest])) for lowest in sorted(groups, key=lambda each: (-pixels[each], each)))


class _Merging:
    """Clusters that are put together, two at a time.

    Of each its cheapest partner is known, the lowest of equally cheap ones, or, where that one got dearer, that no
    partner is cheaper than it was: it is searched anew only when it would be the next. What is chosen depends neither
    on what came before, nor on the order of contacts.
    """

    def __init__(self, contacts: Pairs, centroids: F64, counts: I64) -> None:
        k = len(centroids)
        self._means, self._pixels = centroids.copy(), [int(count) for count in counts]
        self._touching: list[dict[int, int]] = [{} for _ in range(k)]
        columns = contacts.rows.tolist(), contacts.columns.tolist(), contacts.counts.tolist()
        for one, other, often in zip(*columns, strict=True):
            self._touching[one][other] = self._touching[other][one] = often
        self._total = np.array([sum(each.values()) for each in self._touching], np.int64)
        self._price, self._partner = np.full(k, np.inf), np.full(k, -1, np.int64)
        self._is_bound = np.zeros(k, np.bool_)  # whether the price is a bound alone
        for cluster in range(k):
            self._find_partner(cluster, *self._prices(cluster))

    def cheapest(self) -> Merged | None:
        """Put the cheapest two together; None: no two touch."""
        while self._is_bound[lower := int(np.argmin(self._price))]:
            self._find_partner(lower, *self._prices(lower))
        price, higher = float(self._price[lower]), int(self._partner[lower])
        if higher < 0:
            return None
        self._join(lower, higher)
        others, prices = self._prices(lower)
        self._find_partner(lower, others, prices)
        self._tell_neighbours(lower, higher, others, prices)
        return Merged(lower, higher, price)

    def _prices(self, cluster: int) -> tuple[I64, F64]:
        """Those that touch a cluster, int64 (n,), and what joining it with each costs, float64 (n,)."""
        touching = self._touching[cluster]
        others = np.fromiter(touching.keys(), np.int64, len(touching))
        often = np.fromiter(touching.values(), np.int64, len(touching))
        squared = np.zeros(len(others))
        for band in self._means.T:  # one after the other: the same sums on every machine
            squared += (band[others] - band[cluster]) ** 2
        return others, np.sqrt(squared) * np.minimum(self._total[others], self._total[cluster]) / often

    def _find_partner(self, cluster: int, others: I64, prices: F64) -> None:
        lowest = float(prices.min()) if len(prices) else np.inf
        self._price[cluster] = lowest
        self._partner[cluster] = others[prices == lowest].min() if len(prices) else -1
        self._is_bound[cluster] = False

    def _join(self, lower: int, higher: int) -> None:
        """Make one of two: its contacts, its pixels and its mean."""
        mine, theirs = self._touching[lower], self._touching[higher]
        self._total[lower] += self._total[higher] - 2 * mine.pop(higher)
        del theirs[lower]
        for other, often in theirs.items():
            back = self._touching[other]
            del back[higher]
            back[lower] = mine[other] = mine.get(other, 0) + often
        self._touching[higher] = {}
        self._price[higher], self._partner[higher], self._is_bound[higher] = np.inf, -1, False
        one, two = self._pixels[lower], self._pixels[higher]
        self._means[lower] = (self._means[lower] * one + self._means[higher] * two) / (one + two)
        self._pixels[lower], self._pixels[higher] = one + two, 0

    def _tell_neighbours(self, lower: int, higher: int, others: I64, prices: F64) -> None:
        """What touches the new one may have it as its cheapest partner now, or no longer."""
        before, partner, is_bound = self._price[others], self._partner[others], self._is_bound[others]
        lost = ((partner == lower) | (partner == higher)) & (prices > before)
        gained = (prices < before) | ((prices == before) & (lower <= partner) & ~is_bound)
        self._is_bound[others[lost]] = True
        self._is_bound[others[gained]] = False
        self._price[others[gained]], self._partner[others[gained]] = prices[gained], lower


def to_toml(suggestion: Suggestion, rows: Sequence[dict[str, Any]]) -> str:
    """A proposal as a file that ``classes --from`` takes; ``rows``: of each group ``share`` and ``color``."""
    lines = suggestion.classes.to_toml().splitlines()
    told = [f"{line}  # {row['share']:.1%}, {row['color']}" for line, row in zip(lines[1:], rows, strict=True)]
    return "\n".join([lines[0], *told]) + "\n"
