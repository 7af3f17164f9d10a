"""One writer of an output in an object store: the lock is an object that says who holds it, made exclusively.

Of several jobs that make it at once one does. Unlike a lock of the operating system it outlives a process that is
killed: a job of the same machine sees that the one named is dead and puts its own name in that very object's place,
which again only one can; of other machines it cannot be seen, so who removes it is for people to decide.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import OutputHeld, StoreError
from ..storage.beside import beside
from .lock import Holder, require_dead


@contextmanager
def hold_object(output: str) -> Iterator[None]:
    """Be the one that writes an output; see `hold`.

    Raises
    ------
    OutputHeld
        If another job holds it.
    StoreError
        If nothing can be written there.
    """
    from ..storage import s3

    path = beside(output, ".lock.json")
    try:
        etag = _taken(output, path)
    except OSError as error:
        raise StoreError(f"{output}: the output cannot be written ({error.strerror or error})") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if s3.read_tagged(path)[1] == etag:  # and not of a job that people let pass
                s3.remove_file(path)


def _taken(output: str, path: str) -> str:
    """Make the lock, or take it over from a dead process; returns its ETag."""
    from ..storage import s3

    own = Holder.this().told(uuid.uuid4().hex)
    while True:
        with contextlib.suppress(FileExistsError):
            return s3.put_new(path, own)
        try:
            content, etag = s3.read_tagged(path)
        except FileNotFoundError:
            continue  # it has just ended
        if content == own:
            return etag  # the answer to a request was lost, and it was sent again
        holder = Holder.told_by(content)
        if holder is None:
            raise OutputHeld(f"another run holds {output}, which one cannot be read; if there is none, remove {path}")
        require_dead(output, holder, path)
        with contextlib.suppress(FileExistsError):
            return s3.put_in_place(path, own, etag)
