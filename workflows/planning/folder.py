"""The folder that a job writes its files to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from kseg_core.errors import KsegError


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
