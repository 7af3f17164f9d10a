"""What all of a job's work has in common: where tasks run, who listens, and what is done about images that fail.

`Context.map` is the one way in which a function is applied to files, pieces or other work: batches as tasks in waves of
bounded size, progress as they finish, an image that cannot be read as a `Failure`, and, where processes die at a batch,
each of its items once more by itself, so that only the one that kills is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import islice
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from dask.base import tokenize
from dask.delayed import Delayed, delayed

from kseg_core.config import ExecutionSettings
from kseg_core.errors import UnreadableImage
from kseg_core.inputs.listing import InputFile

from .executor import Executor, Progress, Silent, TasksKilled, died_again, open_executor


class Item(Protocol):
    """What a task works on, one after the other: a file, or a part of one."""

    @property
    def file(self) -> InputFile:
        """The file it is of."""
        ...

    @property
    def pixels(self) -> int: ...

    @property
    def is_last(self) -> bool:
        """Whether its image is done with it."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that cannot be labelled, with its name in the store."""

    key: str
    error: UnreadableImage

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", self.error.to_keep())


@dataclass(frozen=True, slots=True)
class Context:
    """A job's executor, its listener, and whether an image that fails ends it.

    Parameters
    ----------
    executor
        Where tasks run.
    progress
        Who listens.
    strict
        Whether an image that cannot be read is an error rather than a `Failure`.
    """

    executor: Executor
    progress: Progress
    strict: bool = False

    @classmethod
    @contextmanager
    def open(cls, settings: ExecutionSettings, progress: Progress | None = None) -> Iterator[Context]:
        """That of a job with these settings; a cluster that was started for it is stopped on leaving.

        Raises
        ------
        KsegError
            If a cluster cannot be reached or has no worker.
        """
        with open_executor(settings) as executor:
            yield cls(executor, progress or Silent(), settings.strict)

    def silent(self, *, strict: bool | None = None) -> Context:
        """The same for work that is a part of another's stage."""
        return replace(self, progress=Silent(), strict=self.strict if strict is None else strict)

    def failed(self, key: str, error: UnreadableImage) -> Failure:
        """An image that failed.

        Raises
        ------
        UnreadableImage
            If that ends the job.
        """
        if self.strict:
            raise error
        return Failure(key, error)

    def map(
        self, function: Callable[..., Any], batches: Iterable[Sequence[Item]], *details: Any, name: str
    ) -> Iterator[list[Any]]:
        """What a function makes of every item, batch by batch in their order.

        Parameters
        ----------
        function
            Of an item and ``details``; may raise `UnreadableImage`. To be done again without harm.
        batches
            Each is a task; read as they are computed.
        details
            The same for all; lazy ones are given their values.
        name
            Of the tasks.

        Yields
        ------
        Of each batch what was made of its items: a `Failure` of one that cannot be read, or that processes die at.
        """
        how = tokenize(function, self.strict, *details)
        tasks = (
            Watched(
                task_of(
                    work_on, batch, function, self.strict, *details, key=f"{name}-{turn(at)}-{token_of(batch, how)}"
                ),
                partial(self.advance, batch),
                partial(self._each_alone, function, batch, details),
            )
            for at, batch in enumerate(batches)
        )
        yield from stream_in_waves(tasks, self.executor)

    def advance(self, batch: Sequence[Item]) -> None:
        """Tell that some items are done."""
        self.progress.advance(sum(item.is_last for item in batch), sum(item.pixels for item in batch))

    def _each_alone(self, function: Callable[..., Any], batch: Sequence[Item], details: Sequence[Any]) -> list[Any]:
        """The items of a batch at which processes died, one at a time and nothing beside them."""
        task = delayed(work_on, pure=False)

        def alone(item: Item) -> Delayed:
            lazy: Delayed = task((item,), function, self.strict, *details)
            return lazy

        made: list[Any] = []
        for item, found, deaths in one_by_one(batch, alone, self.executor):
            made += found or [self.failed(item.file.key, crashed(item.file.source, deaths))]
        return made


def work_on(batch: Sequence[Item], function: Callable[..., Any], strict: bool, *details: Any) -> list[Any]:
    """A task: what a function makes of some items, one at a time."""
    made: list[Any] = []
    for item in batch:
        try:
            made.append(function(item, *details))
        except UnreadableImage as error:
            if strict:
                raise
            made.append(Failure(item.file.key, error))
    return made


def parted(made: Iterable[Any]) -> tuple[list[Any], tuple[Failure, ...]]:
    """What was made, and what failed."""
    results: list[Any] = []
    failures: list[Failure] = []
    for each in made:
        (failures if isinstance(each, Failure) else results).append(each)
    return results, tuple(failures)


def crashed(source: str, deaths: int) -> UnreadableImage:
    """The failure of an input that nobody survives."""
    times = "twice" if deaths == 2 else f"{deaths} times"
    return UnreadableImage(source, f"its decoder crashed the worker {times} (or took more memory than a worker has)")


def alone(lazy: Delayed, executor: Executor) -> tuple[Any, int]:
    """Run a task, nothing else beside it: (result, 0), or (None, deaths) where it kills.

    Whoever shared a worker with a task that crashed it is suspect too; alone, only the guilty one dies again.
    """
    try:
        (result,) = executor.compute([lazy], [lazy])
    except TasksKilled as killed:
        return None, killed.deaths[0]
    return result, 0


def one_by_one(
    items: Sequence[Any], task: Callable[[Any], Delayed], executor: Executor
) -> Iterator[tuple[Any, Any, int]]:
    """Run a task for each item, each `alone`: (item, result, 0), or (item, None, deaths) where it kills."""
    for item in items:
        yield item, *alone(task(item), executor)


LAST_TURN = 999_999_999


def task_of(function: Callable[..., Any], work: Any, *details: Any, key: str) -> Delayed:
    """``function(work, *details)``, lazily, by the name of ``key``.

    Dask looks into every argument for what is lazy in it, dataclass by dataclass, which for a bundle of 64 images takes
    as long as labelling one of them. ``work`` holds nothing lazy and is not looked into; ``details`` may.
    """
    lazy: Delayed = delayed(partial(function, work), name=f"{key}-work", traverse=False)(*details, dask_key_name=key)
    return lazy


def token_of(work: Any, *details: Any) -> str:
    """A name for some work: that of dataclasses of plain values is how they are written out."""
    return str(tokenize(repr(work), *details))


def turn(at: int) -> str:
    """Put before a task's token: of tasks that could all be next Dask takes the last by name, this makes it the first.

    What takes longest is at the front of a plan, and begins first: then no worker waits long for another at the end.
    """
    return f"{LAST_TURN - at:09d}"


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
