"""What all of a job's work has in common: where tasks run, who listens, and what is done about images that fail.

`Context.map` is the one way in which a function is applied to files, pieces or other work: batches as tasks in waves of
bounded size, progress as they finish, an image that cannot be read as a `Failure`, and, where processes die at a batch,
each of its items once more by itself, so that only the one that kills is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from dask.base import tokenize
from dask.delayed import Delayed, delayed

from kseg_core.errors import UnreadableImage
from kseg_core.inputs.listing import InputFile

from .executor import Executor
from .faults import crashed, one_by_one
from .progress import Progress, Silent
from .tasks import task_of, token_of, turn
from .waves import Watched, stream_in_waves


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
