"""What is the same wherever images are written: an image is a list of pieces, and its levels come after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from dask.delayed import delayed

from kseg_core import storage
from kseg_core.errors import KsegError
from kseg_core.inputs.listing import InputFile
from kseg_core.layers.layer import Layout
from kseg_core.reading.sources import ImageSource, Piece
from kseg_core.store.writing import build_level

from ..computing.context import Context, Failure, parted
from ..computing.executor import SAME_COMMAND

LEVEL_SIDE = 4096  # a task makes so many pixels of a level, from twice as many of the one above


class PieceTask(NamedTuple):
    """A piece, the arrays of its image (None: it is the whole image, and makes them itself), and what else of it."""

    piece: Piece
    layout: Layout | None = None
    more: Any = None

    @property
    def file(self) -> InputFile:
        return self.piece.file

    @property
    def pixels(self) -> int:
        return self.piece.pixels

    @property
    def is_last(self) -> bool:
        return self.piece.is_last


@dataclass(frozen=True, slots=True)
class LargeImage:
    """An image of more than one piece."""

    pieces: tuple[Piece, ...]
    layout: Layout

    @property
    def source(self) -> ImageSource:
        return self.pieces[0].source

    @property
    def key(self) -> str:
        return self.source.file.key

    @property
    def tasks(self) -> list[PieceTask]:
        return [PieceTask(piece, self.layout) for piece in self.pieces]


@contextmanager
def writing_to(store: str) -> Iterator[str]:
    """The store's path from wherever a worker is.

    Raises
    ------
    KsegError
        If it cannot be written.
    """
    try:
        yield storage.absolute(store)
    except OSError as error:
        what = f"{store}: the output cannot be written ({error.strerror or error})"
        raise KsegError(f"{what}; {SAME_COMMAND}") from error


def of_each(made: Iterator[Any], counts: Sequence[int]) -> Iterator[tuple[list[Any], tuple[Failure, ...]]]:
    """Of what the pieces of some images came to, so many of each in turn: the results, and the first that failed."""
    for count in counts:
        results, failures = parted(islice(made, count))
        yield results, failures[:1]


def build_pyramids(
    images: Sequence[LargeImage], store: str, context: Context, build: Callable[..., None] = build_level
) -> None:
    """All levels of some images, each in a pass of its own, after the one it is made from."""
    task = delayed(build, pure=False)
    for level in range(1, max((image.layout.levels for image in images), default=1)):
        lazy = (
            task(store, image.key, level, region, image.layout)
            for image in images
            if level < image.layout.levels
            for region in image.layout.windows(level, LEVEL_SIDE)
        )
        context.run(lazy)
