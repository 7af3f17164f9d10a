"""Names beside an output, for what is no part of it: its lock, what an unfinished job keeps, what is not whole yet.

All are hidden and in the output's own folder: on its disk, so that a rename is one step, and never taken for an input.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .. import storage

LONGEST_NAME_BYTES = 255  # of a name in a folder, on every file system in use
NEXT = ".next"  # of the store that takes an output's place when it is complete
RESUME = ".resume"  # of the folder where an unfinished job keeps what it found
_LONGEST_SUFFIX_BYTES = 32
_ASIDE = re.compile(r"\.[0-9a-f]{8}\.partial")


def sidecar(output: str, suffix: str) -> str:
    """A hidden path in the output's folder that belongs to this output alone, however it was spelt."""
    folder, name = os.path.split(storage.real(output))
    raw = os.fsencode(name)
    if len(raw) + 1 + _LONGEST_SUFFIX_BYTES > LONGEST_NAME_BYTES:
        name = hashlib.sha256(raw).hexdigest()
    return os.path.join(folder, f".{name}{suffix}")


def aside(output: str) -> str:
    """A new path for what is being made or taken away; what a killed job leaves there, `sweep` finds."""
    return sidecar(output, f".{uuid.uuid4().hex[:8]}.partial")


@contextmanager
def appearing(output: str, clear: Callable[[str], None] = lambda _: None, *, within: str = "") -> Iterator[str]:
    """Yield where to make a folder that then is ``output``, or is ``within`` it, whole or not at all; ``clear`` removes
    what is there.

    It is made beside the output, where `sweep` finds it. In an object store nothing can be renamed: it is made in
    place, and what vouches for it must come last.
    """
    place = os.path.join(output, within) if within else output
    if storage.is_remote(place):
        clear(place)
        yield place
        return
    new = aside(output)
    try:
        yield new
        clear(place)
        os.rename(new, place)
    finally:
        storage.remove_tree(new, ignore_errors=True)


def sweep(output: str) -> None:
    """Remove what killed jobs left aside. To be called by the one job that may write the output."""
    if storage.is_remote(output):
        return  # there nothing is made aside
    folder, prefix = os.path.split(sidecar(output, ""))
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and _ASIDE.fullmatch(entry.name, len(prefix)):
                remove(entry.path)


def remove(path: str) -> None:
    """Remove a file or folder of ours, if it is there."""
    if storage.is_dir(path) and not storage.is_link(path):
        storage.remove_tree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            storage.remove_file(path)
