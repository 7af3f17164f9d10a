"""What there is to say of files that are read, and of data that is fitted, though nothing is wrong with them.

A reader puts a line into `PictureInfo.notes`; a fit has `Model.noted`, and what is found while planning goes into
`Plan.notes`. Each is logged once, stored with its image (or model), and listed in the job's JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from kseg_core.sizes import counted

if TYPE_CHECKING:
    from kseg_core.reading.sources import ImageSource

log = logging.getLogger("kseg")

MOST_LINES = 20  # files named on a terminal; all are in the store, in --json and in inspect


class Note(NamedTuple):
    """A line about an input, or about all of them (``source`` is None)."""

    source: str | None
    note: str

    @property
    def text(self) -> str:
        """As a line."""
        return self.note if self.source is None else f"{self.source}: {self.note}"

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {"source": self.source, "note": self.note}


_gathered: ContextVar[list[Note] | None] = ContextVar("gathered", default=None)


def notes_of(sources: Iterable[ImageSource]) -> tuple[Note, ...]:
    """What the readers say of some images, in the order of the images' paths."""
    found = [(source.file.source, source.info.notes) for source in sources if source.info.notes]
    return tuple(Note(source, note) for source, notes in sorted(found) for note in notes)


def first_of(names: Sequence[str]) -> str:
    """The first of some inputs in the order of their paths, and how many more there are."""
    more = len(names) - 1
    return min(names) + (f" and {counted(more, 'more image')}" if more else "")


def notes_by_key(notes: Mapping[str, Sequence[str]], sources: Mapping[str, str]) -> tuple[Note, ...]:
    """The same of images known by their keys; ``sources`` has the path of each key."""
    found = sorted((sources.get(key, key), tuple(lines)) for key, lines in notes.items())
    return tuple(Note(source, note) for source, lines in found for note in lines)


def notes_of_all(notes: Iterable[str]) -> tuple[Note, ...]:
    """Lines about all inputs together."""
    return tuple(Note(None, note) for note in notes)


@contextmanager
def gathering() -> Iterator[list[Note]]:
    """What is said meanwhile is not logged but gathered, for who asked from Python."""
    gathered: list[Note] = []
    token = _gathered.set(gathered)
    try:
        yield gathered
    finally:
        _gathered.reset(token)


def say(notes: Sequence[Note]) -> None:
    """Log them, a line each; of very many files only the first."""
    gathered = _gathered.get()
    if gathered is not None:
        gathered.extend(notes)
        return
    for note in notes[:MOST_LINES]:
        log.warning("%s", note.text, extra={"facts": note.to_json()})
    if len(notes) > MOST_LINES:
        log.warning("… and %d more such lines; --json and inspect have all", len(notes) - MOST_LINES)
