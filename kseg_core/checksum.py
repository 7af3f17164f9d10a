"""The content of an input as a number: a file that was rewritten within its size and time is told apart."""

from __future__ import annotations

import hashlib
import os

READ_BYTES = 1 << 20


def content_digest(path: str) -> str:
    """SHA-256 of a file, or of all names and contents of a directory (a Zarr array).

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if not os.path.isdir(path):
        return _of_file(path)
    whole = hashlib.sha256()
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            whole.update(os.fsencode(os.path.relpath(file, path)) + b"\0" + _of_file(file).encode() + b"\n")
    return whole.hexdigest()


def _of_file(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
