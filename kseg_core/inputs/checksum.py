"""The content of an input as a number: a file that was rewritten within its size and time is told apart."""

from __future__ import annotations

import hashlib
import os

from kseg_core import storage
from kseg_core.storage import zipped

READ_BYTES = 1 << 20


def content_digest(path: str) -> str:
    """SHA-256 of a file, or of all names and contents of a directory (a Zarr array).

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if (parts := zipped.split(path)) is not None:
        return _of_file(parts[0])
    if not storage.is_dir(path):
        return _of_file(path)
    whole = hashlib.sha256()
    for folder, folders, names in storage.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            whole.update(os.fsencode(os.path.relpath(file, path)) + b"\0" + _of_file(file).encode() + b"\n")
    return whole.hexdigest()


def _of_file(path: str) -> str:
    digest = hashlib.sha256()
    with storage.open_file(path) as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
