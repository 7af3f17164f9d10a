"""Many tasks in waves of bounded size: no graph, and no client, ever holds a task for each block of a terapixel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from dask.delayed import Delayed

from .executor import Executor, TasksKilled
from .faults import died_again
from .tree import Merge, merge_all, tree_reduce

WAVE_TASKS = 4096  # a scheduler takes about a millisecond a task: waves of seconds, and a few megabytes of graph


class Watched(NamedTuple):
    """A lazy result, whom to tell when it is there, and what is done where it kills its worker.

    ``rescue`` gives what stands for a result of its own. Where results are merged as they come, ``pieces`` says what
    it was made of.
    """

    lazy: Delayed
    done: Callable[[], None]
    rescue: Callable[[], Any] | None = None
    pieces: tuple[Any, ...] = ()


class Suspects(Exception):
    """Workers died at tasks whose results are merged: these pieces are suspect.

    Parameters
    ----------
    pieces
        Of each such task.
    deaths
        How many workers died at most.
    """

    def __init__(self, pieces: list[tuple[Any, ...]], deaths: int) -> None:
        super().__init__(pieces, deaths)
        self.pieces = pieces
        self.deaths = deaths


class Waves:
    """Collects units of mergeable results and computes them wave by wave; the merged stay where they were computed."""

    def __init__(self, executor: Executor, name: str, merge: Merge = merge_all) -> None:
        self._executor = executor
        self._name = name
        self._merge = merge
        self._waiting: list[Watched] = []
        self._units: list[Delayed] = []
        self._roots: list[Delayed] = []

    def add(self, tasks: Sequence[Watched], finish: Callable[[Delayed], Delayed] | None = None) -> None:
        """A unit of tasks, merged; ``finish`` is applied to the merged whole of the unit."""
        if len(tasks) > WAVE_TASKS:
            self._flush()
            parts = []
            for at in range(0, len(tasks), WAVE_TASKS):
                wave = tasks[at : at + WAVE_TASKS]
                parts += self._compute([tree_reduce([task.lazy for task in wave], self._name, self._merge)], wave)
            unit = tree_reduce(parts, self._name, self._merge)
        else:
            if len(self._waiting) + len(tasks) > WAVE_TASKS:
                self._flush()
            self._waiting += tasks
            unit = tree_reduce([task.lazy for task in tasks], self._name, self._merge)
        self._units.append(unit if finish is None else finish(unit))

    def merged(self) -> Delayed:
        """The merge of all units."""
        self._flush()
        return self._roots[0]

    def _flush(self) -> None:
        """Compute what is waiting, and merge it with what there is."""
        if self._units:
            root = tree_reduce([*self._roots, *self._units], self._name, self._merge)
            self._roots = self._compute([root], self._waiting)
            self._units, self._waiting = [], []

    def _compute(self, lazy: list[Delayed], wave: Sequence[Watched]) -> list[Delayed]:
        try:
            return self._executor.persist(lazy, [task.lazy for task in wave], lambda i: wave[i].done())
        except TasksKilled as killed:
            deaths = killed.deaths
        raise Suspects([wave[i].pieces for i in deaths], max(deaths.values()))


def stream_in_waves(tasks: Iterable[Watched], executor: Executor) -> Iterator[Any]:
    """The results of independent tasks, in order. ``tasks`` is read, and their graph made, a wave at a time."""
    waiting = iter(tasks)
    while wave := list(islice(waiting, WAVE_TASKS)):
        lazy = [task.lazy for task in wave]
        try:
            results = executor.compute(lazy, lazy, lambda i, wave=wave: wave[i].done())  # type: ignore[misc]
        except TasksKilled as killed:
            deaths, results = killed.deaths, killed.results or []
        else:
            deaths = {}
        del lazy
        for i, result in enumerate(results):
            yield _rescued(wave[i], deaths) if i in deaths else result


def _rescued(task: Watched, deaths: Mapping[int, int]) -> Any:
    """What stands for a result that never came."""
    if task.rescue is None:
        raise died_again(deaths)
    result = task.rescue()
    task.done()
    return result


def compute_in_waves(tasks: Iterable[Watched], executor: Executor) -> list[Any]:
    """All of `stream_in_waves`, for results small enough to be held together."""
    return list(stream_in_waves(tasks, executor))
