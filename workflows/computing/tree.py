"""Merge partial results pairwise-or-more, up a tree, wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Protocol, Self, TypeVar

from dask.base import tokenize
from dask.delayed import Delayed, delayed

from .tasks import turn

FAN_IN = 4  # partials a merge: few, as those that wait for their neighbours are held in memory


class Mergeable(Protocol):
    """Something whose ``merge`` is associative and commutative."""

    def merge(self, other: Self, /) -> Self: ...


M = TypeVar("M", bound=Mergeable)
Merge = Callable[[Sequence[Any]], Any]


def merge_all(parts: Sequence[M]) -> M:
    """Merge some partial results in one place."""
    return reduce(lambda a, b: a.merge(b), parts)


def tree_reduce(parts: Sequence[Delayed], name: str, merge: Merge = merge_all) -> Delayed:
    """One lazy result from many lazy partial ones.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not parts:
        raise ValueError("expected at least one partial result, got none")
    level = list(parts)
    task = delayed(merge, pure=True)
    while len(level) > 1:
        groups = [level[at : at + FAN_IN] for at in range(0, len(level), FAN_IN)]
        level = [
            group[0]
            if len(group) == 1
            else task(group, dask_key_name=f"{name}-merge-{turn(at)}-{tokenize([part.key for part in group])}")
            for at, group in enumerate(groups)
        ]
    return level[0]
