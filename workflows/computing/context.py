"""What all of a job's work has in common: where tasks run, who listens, and what is done about images that fail.

`Context.map` is the one way in which a function is applied to files, pieces or other work: batches as tasks in waves of
bounded size, progress as they finish, an image that cannot be read as a `Failure`, and, where processes die at a batch,
each of its items once more by itself, so that only the one that kills is left out. `Context.reduce` is the same where
what the batches come to is merged up a tree, wherever it lies; `Context.each` computes tasks of any kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import islice
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from dask.base import tokenize
from dask.delayed import Delayed, delayed

from kseg_core.config import ExecutionSettings
from kseg_core.errors import UnreadableImage

from .executor import Executor, LocalExecutor, Progress, Silent, TasksKilled, died_again

WAVE_TASKS = 4096  # a scheduler takes about a millisecond a task: waves of seconds, and a few megabytes of graph
FAN_IN = 4  # partials a merge: few, as those that wait for their neighbours are held in memory
ATTEMPTS = 8  # of a reduction, each without the images that killed their workers in the one before
LAST_TURN = 999_999_999


class Named(Protocol):
    """What an item is of: its name in the store, and what it is called where it fails."""

    @property
    def key(self) -> str: ...

    @property
    def source(self) -> str: ...


class Item(Protocol):
    """What a task works on, one after the other: a file, an image of a store, or a part of one."""

    @property
    def file(self) -> Named:
        """The file or image it is of."""
        ...

    @property
    def pixels(self) -> int: ...

    @property
    def is_last(self) -> bool:
        """Whether its image is done with it."""
        ...


Batch = Sequence[Item]


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that cannot be labelled, with its name in the store."""

    key: str
    error: UnreadableImage

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", self.error.to_keep())


class Task(NamedTuple):
    """A lazy result; who is told when it is there; and what gives one in its place where it kills its worker."""

    lazy: Delayed
    done: Callable[[], None] | None = None
    rescue: Callable[[], Any] | None = None

    def finished(self) -> None:
        if self.done is not None:
            self.done()


class Mergeable(Protocol):
    """Something whose ``merge`` is associative and commutative."""

    def merge(self, other: Self, /) -> Self: ...


M = TypeVar("M", bound=Mergeable)
Merge = Callable[[Sequence[Any]], Any]


def merge_all(parts: Sequence[M]) -> M:
    """Merge some partial results in one place."""
    return reduce(lambda a, b: a.merge(b), parts)


@contextmanager
def open_executor(settings: ExecutionSettings) -> Iterator[Executor]:
    """The executor asked for; a cluster that was started here is stopped on leaving.

    Raises
    ------
    KsegError
        If a cluster cannot be reached or has no worker.
    """
    if settings.scheduler in ("threads", "sync"):
        with closing(LocalExecutor(settings.scheduler, settings.workers, settings.memory)) as executor:
            yield executor
        return
    from .cluster import open_cluster  # loads distributed: only where it is needed

    with open_cluster(settings) as executor:
        yield executor


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
        """An image that failed."""
        if self.strict:
            raise error
        return Failure(key, error)

    def advance(self, batch: Batch) -> None:
        """Tell that some items are done."""
        self.progress.advance(sum(item.is_last for item in batch), sum(item.pixels for item in batch))

    # ------------------------------------------------------------------------------------------------ tasks of any kind

    def compute(self, lazy: Sequence[Delayed]) -> list[Any]:
        """The values of one graph."""
        return self.executor.compute(lazy)

    def share(self, value: Any) -> Delayed:
        """Put a value where all tasks can have it, once."""
        return self.executor.share(value)

    def each(self, tasks: Iterable[Task | Delayed]) -> Iterator[Any]:
        """The results of independent tasks, in order. ``tasks`` is read, and their graph made, a wave at a time."""
        waiting = (task if isinstance(task, Task) else Task(task) for task in tasks)
        while wave := list(islice(waiting, WAVE_TASKS)):
            lazy = [task.lazy for task in wave]
            deaths: dict[int, int] = {}
            try:
                results = self.executor.compute(lazy, lazy, partial(_finish, wave))
            except TasksKilled as killed:
                deaths, results = killed.deaths, killed.results or []
            del lazy
            for i, result in enumerate(results):
                rescue = wave[i].rescue
                if i not in deaths:
                    yield result
                elif rescue is None:
                    raise died_again(deaths)
                else:
                    result = rescue()
                    wave[i].finished()
                    yield result

    def run(self, tasks: Iterable[Task | Delayed]) -> None:
        """The same for what they do."""
        for _ in self.each(tasks):
            pass

    def alone(self, lazy: Delayed) -> tuple[Any, int]:
        """Run a task, nothing else beside it: (result, 0), or (None, how many processes died) where it kills.

        Whoever shared a worker with a task that crashed it is suspect too; alone, only the guilty one dies again.
        """
        try:
            (result,) = self.executor.compute([lazy], [lazy])
        except TasksKilled as killed:
            return None, killed.deaths[0]
        return result, 0

    # --------------------------------------------------------------------------------------------- files and pieces

    def map(
        self, function: Callable[..., Any], batches: Iterable[Batch], *details: Any, name: str
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
        yield from self.each(
            Task(
                task_of(
                    work_on, batch, function, self.strict, *details, key=f"{name}-{turn(at)}-{token_of(batch, how)}"
                ),
                partial(self.advance, batch),
                partial(self._each_alone, function, batch, details),
            )
            for at, batch in enumerate(batches)
        )

    def _each_alone(self, function: Callable[..., Any], batch: Batch, details: Sequence[Any]) -> list[Any]:
        """The items of a batch at which processes died, one at a time and nothing beside them."""
        task = delayed(work_on, pure=False)
        made: list[Any] = []
        for item in batch:
            found, deaths = self.alone(task((item,), function, self.strict, *details))
            made += found or [self.failed(item.file.key, crashed(item.file.source, deaths))]
        return made

    def reduce(
        self,
        function: Callable[[Any, bool], Any],
        units: Sequence[Sequence[Batch]],
        *,
        merge: Merge = merge_all,
        whole: Callable[[Any], Any],
        probe: Callable[[Any], Any],
        stage: str | None = None,
    ) -> tuple[Delayed | None, list[Failure]]:
        """What a function makes of batches, merged up a tree and kept where it was computed.

        Parameters
        ----------
        function
            Of a batch and whether the job is strict.
        units
            The batches of each large image, or single ones of several small images.
        merge
            How several results become one.
        whole
            Applied to what the batches of a large image come to.
        probe
            Of an item: what of it processes may die at. Where they do, each item is tried alone, and all is done once
            more without the images of those that kill.
        stage
            The name of the job's stage; None: it is part of another.

        Returns
        -------
        The lazy result (None where no image is left), and the images that were left out.

        Raises
        ------
        KsegError
            If processes die again and again.
        """
        crashes: dict[str, Failure] = {}
        for attempt in range(ATTEMPTS):
            if stage is not None:
                items = [item for unit in units for batch in unit for item in batch]
                self.progress.stage(stage, sum(item.is_last for item in items), sum(item.pixels for item in items))
            try:
                return self._reduce_once(function, units, merge, whole, attempt), list(crashes.values())
            except Suspects as suspects:
                deaths, batches = suspects.deaths, suspects.batches
            crashes |= self._crashes(batches, probe)
            units = [left for unit in units if (left := _without(unit, crashes))]
            if not units:
                return None, list(crashes.values())
        raise died_again({0: deaths})

    def _reduce_once(
        self, function: Callable[..., Any], units: Sequence[Sequence[Batch]], merge: Merge, whole: Any, attempt: int
    ) -> Delayed:
        """``attempt`` gives the tasks new names: those of an earlier one may have ended badly."""
        how = tokenize(function, self.strict, attempt)
        tree = Tree(self, merge)
        for index, unit in enumerate(units):
            several = len(unit) > 1
            tasks = [
                task_of(
                    function, batch, self.strict, key=f"gather-{turn(at if several else index)}-{token_of(batch, how)}"
                )
                for at, batch in enumerate(unit)
            ]
            tree.add(tasks, unit, delayed(whole, pure=True) if several else None)
        return tree.merged()

    def _crashes(self, batches: Iterable[Batch], probe: Callable[[Any], Any]) -> dict[str, Failure]:
        """The images at whose reading, one item at a time, processes die again."""
        task = delayed(probe, pure=False)
        found = {}
        for batch in batches:
            for item in batch:
                _, deaths = self.alone(task(item))
                if deaths:
                    found[item.file.key] = self.failed(item.file.key, crashed(item.file.source, deaths))
        return found


def work_on(batch: Batch, function: Callable[..., Any], strict: bool, *details: Any) -> list[Any]:
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
    """The failure of an input that no process survives."""
    times = "twice" if deaths == 2 else f"{deaths} times"
    return UnreadableImage(source, f"its decoder crashed the worker {times} (or took more memory than a worker has)")


def _without(unit: Sequence[Batch], keys: Iterable[str]) -> list[Batch]:
    left = (tuple(item for item in batch if item.file.key not in keys) for batch in unit)
    return [batch for batch in left if batch]


# --------------------------------------------------------------------------------------------------- names of tasks


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


# ------------------------------------------------------------------------------------------------------ up a tree


def tree_reduce(parts: Sequence[Delayed], name: str, merge: Merge = merge_all, fan_in: int = FAN_IN) -> Delayed:
    """One lazy result from many lazy partial ones."""
    if not parts:
        raise ValueError("expected at least one partial result, got none")
    level = list(parts)
    task = delayed(merge, pure=True)
    while len(level) > 1:
        groups = [level[at : at + fan_in] for at in range(0, len(level), fan_in)]
        level = [
            group[0]
            if len(group) == 1
            else task(group, dask_key_name=f"{name}-merge-{turn(at)}-{tokenize([part.key for part in group])}")
            for at, group in enumerate(groups)
        ]
    return level[0]


class Suspects(Exception):
    """Processes died at tasks whose results are merged: these batches are suspect; ``deaths``: how many at most."""

    def __init__(self, batches: list[Batch], deaths: int) -> None:
        super().__init__(batches, deaths)
        self.batches = batches
        self.deaths = deaths


class Tree:
    """Collects units of mergeable results and computes them wave by wave; the merged stay where they were computed."""

    def __init__(self, context: Context, merge: Merge) -> None:
        self._context = context
        self._merge = partial(tree_reduce, name="gathered", merge=merge)
        self._waiting: list[tuple[Delayed, Batch]] = []
        self._units: list[Delayed] = []
        self._roots: list[Delayed] = []

    def add(
        self, tasks: Sequence[Delayed], batches: Sequence[Batch], whole: Callable[[Delayed], Delayed] | None
    ) -> None:
        """A unit of tasks, merged; ``whole`` is applied to the merged whole of the unit."""
        pairs = list(zip(tasks, batches, strict=True))
        if len(tasks) > WAVE_TASKS:
            self._flush()
            waves = [pairs[at : at + WAVE_TASKS] for at in range(0, len(pairs), WAVE_TASKS)]
            tasks = [self._compute(self._merge([task for task, _ in wave]), wave) for wave in waves]
        else:
            if len(self._waiting) + len(tasks) > WAVE_TASKS:
                self._flush()
            self._waiting += pairs
        unit = self._merge(tasks)
        self._units.append(unit if whole is None else whole(unit))

    def merged(self) -> Delayed:
        """The merge of all units."""
        self._flush()
        return self._roots[0]

    def _flush(self) -> None:
        """Compute what is waiting, and merge it with what there is."""
        if self._units:
            self._roots = [self._compute(self._merge([*self._roots, *self._units]), self._waiting)]
            self._units, self._waiting = [], []

    def _compute(self, lazy: Delayed, wave: Sequence[tuple[Delayed, Batch]]) -> Delayed:
        context = self._context
        try:
            watch = [task for task, _ in wave]
            return context.executor.persist([lazy], watch, lambda i: context.advance(wave[i][1]))[0]
        except TasksKilled as killed:
            deaths = killed.deaths
        raise Suspects([wave[i][1] for i in deaths], max(deaths.values()))


def _finish(wave: Sequence[Task], at: int) -> None:
    wave[at].finished()
