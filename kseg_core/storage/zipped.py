"""Paths into a zipped Zarr hierarchy (``.zarr.zip``, ``.ozx``): the file's path, and after a slash what is inside.

``scan.zarr.zip`` is the whole, ``plate.ozx/A/1/0`` a group in it. Nothing is unpacked.
"""

from __future__ import annotations

import errno
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

_ENDING = re.compile(r"\.(?:zarr\.zip|ozx)(?=/|$)", re.IGNORECASE)
_DEEPEST = 6  # folders within folders in which groups are looked for; below are chunks


def is_zipped_name(name: str) -> bool:
    """Whether a file of this name is a zipped Zarr hierarchy."""
    return name.lower().endswith((".zarr.zip", ".ozx"))


def split(path: str) -> tuple[str, str] | None:
    """The file and what is inside ("" for all of it); None for any other path."""
    for ending in _ENDING.finditer(path):
        file = path[: ending.end()]
        if os.path.isfile(file):
            return file, path[ending.end() + 1 :].strip("/")
    return None


def read(file: str, name: str, check_size: Callable[[int], None]) -> bytes:
    """What is in a zip file under a name; of the size that it states ``check_size`` may raise an error first.

    Raises
    ------
    FileNotFoundError
        If there is none of that name.
    OSError
        If it cannot be read.
    """
    with _as_os_errors(), zipfile.ZipFile(file) as archive:
        try:
            entry = archive.getinfo(name)
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from None
        check_size(entry.file_size)
        with archive.open(entry) as content:
            return content.read(entry.file_size)


def folders(file: str, name: str) -> list[str]:
    """Names of the folders in a folder of a zip file, sorted; none where there is no such folder.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    status = os.stat(file)
    return sorted(_folders(file, status.st_size, status.st_mtime_ns).get(name, ()))


@lru_cache(maxsize=4)
def _folders(file: str, _size: int, _modified_ns: int) -> dict[str, set[str]]:
    with _as_os_errors(), zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    inside: dict[str, set[str]] = {}
    for name in names:
        parts = name.strip("/").split("/")
        parts = parts if name.endswith("/") else parts[:-1]
        for at, part in enumerate(parts[:_DEEPEST]):
            inside.setdefault("/".join(parts[:at]), set()).add(part)
    return inside


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """Make an OSError of what the reader of zip files says of one that is damaged, encrypted or packed otherwise."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except NotImplementedError as error:
        raise OSError("a zip file packed in a way that is not supported here") from error
    except RuntimeError as error:
        raise OSError("an encrypted zip file: not supported here") from error
    except Exception as error:  # of several classes, none of them documented
        raise OSError("not a zip file, or a damaged one") from error
