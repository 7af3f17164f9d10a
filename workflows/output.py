"""An output that is to be replaced stays whole until its successor is published.

The successor is written beside it, in one folder of a fixed name (``.OUT.next``), and takes its place when it is
complete: on a disk by two renames; in an object store, which knows none, object by object with the root's document
last. A job that is killed meanwhile leaves one whole output or the other: whoever claims the output next publishes a
successor that is complete where the output is not, and removes one that is not.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from kseg_core import storage
from kseg_core.errors import KsegError, StoreError
from kseg_core.resume.lock import hold, unwritable
from kseg_core.storage.beside import NEXT, aside, beside, remove, sweep
from kseg_core.store.manifest import read_attributes, remove_kseg_store

from .request import Request


@contextmanager
def claim(output: str) -> Iterator[None]:
    """Be the one that writes an output, which is whole where anything ever was.

    Raises
    ------
    OutputHeld
        If another job writes it.
    StoreError
        If nothing can be written there.
    """
    with hold(output):
        successor = beside(output, NEXT)
        if storage.exists(successor):
            if _is_complete(successor) and not _is_complete(output):
                publish(successor, output)
            remove(successor)
        sweep(successor)
        yield


@contextmanager
def replacing(request: Request) -> Iterator[Request]:
    """The job with the place that it is to write to: beside an output that it replaces, which it takes at the end.

    Raises
    ------
    StoreError
        If it cannot be put there.
    """
    output = request.output
    if not (request.config.output.overwrite and storage.exists(output)) or os.path.ismount(output):
        yield request  # what another disk is mounted on has nothing beside it on its own disk
        return
    successor = beside(output, NEXT)
    try:
        yield replace(request, output=successor)
    except BaseException:
        remove(successor)
        raise
    publish(successor, output)
    remove(successor)


def publish(successor: str, output: str) -> None:
    """Put a complete store in the place of an output.

    Raises
    ------
    StoreError
        If that cannot be done; both are as they were then, or the successor is whole.
    """
    try:
        if storage.is_remote(output):
            remove_kseg_store(output)
            storage.copy_tree(successor, output)
            return
        earlier = aside(output)
        if os.path.lexists(output):
            os.rename(output, earlier)
        os.rename(successor, output)
        remove(earlier)
    except OSError as error:
        raise unwritable(output, error) from error


def _is_complete(path: str) -> bool:
    try:
        return (read_attributes(path) or {}).get("status") == "complete"
    except StoreError:
        return False


@contextmanager
def folder_for_files(path: str) -> Iterator[None]:
    """A folder to write files to; one that was made for a job that fails is not left behind empty.

    Raises
    ------
    KsegError
        If it cannot be made or written to.
    """
    new = not os.path.lexists(path)
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise KsegError(f"{path}: the output cannot be written ({error.strerror or error})") from error
    if not os.access(path, os.W_OK):
        raise KsegError(f"{path}: the output cannot be written ({os.strerror(errno.EACCES)})")
    try:
        yield
    except BaseException:
        if new and not os.listdir(path):
            os.rmdir(path)
        raise
