"""What the program does with files, by path: on this machine's disks, or in an object store (``s3://bucket/key``).

A local path keeps the operating system's own functions; only a path that begins with ``s3://`` loads `s3`, and with it
the packages of the extra of that name. There a folder is nothing but the beginning of names, so it need not be made; an
object appears whole or not at all, so nothing is written aside and renamed.

Every function here raises an `OSError` with a reason in plain words where it cannot do what it says, in an object store
as on a disk.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from stat import S_ISDIR
from types import ModuleType
from typing import Any, BinaryIO, TypeAlias

from kseg_core.errors import UsageError

SCHEME = "s3://"
_OTHER_SCHEME = re.compile(r"(?!s3:)[A-Za-z][A-Za-z0-9+.-]+://")

# Of a file that is not whole yet: no other process, on whatever machine, may have the same name for it.
_process = os.urandom(8).hex()
_names = itertools.count()
_ASIDE = ".partial"  # how the name of such a file ends


@dataclass(frozen=True, slots=True)
class Listed:
    """What a folder of an object store holds: as much of `os.DirEntry` as is used."""

    path: str
    name: str
    status: os.stat_result

    def is_dir(self) -> bool:
        return S_ISDIR(self.status.st_mode)

    def is_file(self) -> bool:
        return not self.is_dir()

    def is_symlink(self) -> bool:
        return False

    def stat(self) -> os.stat_result:
        return self.status


Entry: TypeAlias = "os.DirEntry[str] | Listed"


def _s3() -> ModuleType:
    try:
        return importlib.import_module("kseg_core.storage.s3")
    except ModuleNotFoundError as error:
        raise UsageError(f"s3:// needs the s3 extra: pip install 'kseg-batch[s3]' ({error.name} is missing)") from None


# Paths


def is_remote(path: str) -> bool:
    """Whether a path leads to an object store."""
    return path.startswith(SCHEME)


def require_here(path: str, what: str) -> None:
    """Raise a `UsageError` for a path that is not on this machine's disks, saying that ``what`` can only be there."""
    require_known(path)
    if is_remote(path):
        raise UsageError(f"{path}: {what} to a local folder only; name one, and copy what is in it from there")


def require_known(path: str) -> None:
    """Raise a `UsageError` for a place that nothing here can reach: it must not become a folder called ``gs:``."""
    if _OTHER_SCHEME.match(path):
        raise UsageError(f"{path}: of addresses only s3://bucket/name can be used (of any store that speaks S3)")
    if is_remote(path) and not path[len(SCHEME) :].split("/")[0]:
        raise UsageError(f"{path}: no bucket; give s3://bucket/name")


def absolute(path: str) -> str:
    """A path that means the same in every process."""
    return path if is_remote(path) else os.path.abspath(path)


def real(path: str) -> str:
    """A path without links: two names of one thing become the same."""
    return path.rstrip("/") if is_remote(path) else os.path.realpath(path)


def below(folder: str, path: str) -> str:
    """A path as seen from a folder; one that is absolute stays what it is."""
    return path if is_remote(path) else os.path.join(folder, path)


# Looking


def stat(path: str) -> os.stat_result:
    """What there is at a path.

    Of an object the time is that of its last change in whole seconds, which is all that every store tells, and the
    nanoseconds beyond are made of its ETag: content that was replaced within a second has another time.
    """
    return _s3().stat(path) if path.startswith(SCHEME) else os.stat(path)


def exists(path: str) -> bool:
    """Whether there is anything at a path, be it a broken link."""
    return _s3().exists(path) if path.startswith(SCHEME) else os.path.lexists(path)


def is_dir(path: str) -> bool:
    """Whether a path is a folder, or leads to one."""
    return _s3().is_dir(path) if path.startswith(SCHEME) else os.path.isdir(path)


def is_file(path: str) -> bool:
    """Whether a path is a file, or leads to one."""
    return _s3().is_file(path) if path.startswith(SCHEME) else os.path.isfile(path)


def is_link(path: str) -> bool:
    """Whether a path is a symbolic link."""
    return not path.startswith(SCHEME) and os.path.islink(path)


def scan(folder: str) -> AbstractContextManager[Iterator[Entry]]:
    """What is in a folder, in any order; in an object store nothing where there is none."""
    return _s3().scan(folder) if folder.startswith(SCHEME) else os.scandir(folder)


def names(folder: str) -> list[str]:
    """Names of what is in a folder, in any order."""
    if not folder.startswith(SCHEME):
        return os.listdir(folder)
    with scan(folder) as entries:
        return [entry.name for entry in entries]


def walk(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """A folder and all below it, each with the names of its folders and files: `os.walk`."""
    if not folder.startswith(SCHEME):
        yield from os.walk(folder)
        return
    with scan(folder) as scanned:
        entries = list(scanned)
    folders = [entry.name for entry in entries if entry.is_dir()]
    yield folder, folders, [entry.name for entry in entries if entry.is_file()]
    for name in folders:
        yield from walk(f"{folder}/{name}")


# Reading


def read(path: str) -> bytes:
    """A whole file."""
    if path.startswith(SCHEME):
        content: bytes = _s3().read(path)
        return content
    with open(path, "rb") as file:
        return file.read()


def open_file(path: str) -> BinaryIO:
    """A file opened for reading; of an object no more is fetched than what is read of it, in blocks."""
    return _s3().open_file(path) if path.startswith(SCHEME) else open(path, "rb")


def for_zarr(path: str) -> Any:
    """What zarr-python opens to get at a path."""
    return _s3().zarr_store(path) if path.startswith(SCHEME) else path


# Writing


def put(path: str, parts: Iterable[bytes]) -> None:
    """Write a file that appears whole or not at all, in place of what is there; its folder is there."""
    if path.startswith(SCHEME):
        _s3().put(path, b"".join(parts))
        return
    aside = f"{path}.{_process}-{os.getpid():x}-{next(_names):x}{_ASIDE}"
    try:
        with open(aside, "xb") as file:
            file.writelines(parts)
        os.replace(aside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise


def sweep(folder: str, *, below: bool = False) -> None:
    """Remove what `put` was writing into a folder, or anywhere ``below`` it, when its process was killed.

    To be called by the one job that may write there. An object is whole from the first.
    """
    if folder.startswith(SCHEME):
        return
    for at, _, files in os.walk(folder):
        remove_files(os.path.join(at, name) for name in files if name.endswith(_ASIDE))
        if not below:
            return


def make_folder(path: str) -> None:
    """Make a folder in one that is there; an object store has none to make."""
    if not path.startswith(SCHEME):
        os.mkdir(path)


def make_folders(path: str) -> None:
    """Make a folder and those it is in, where they are missing; an object store has none to make."""
    if not path.startswith(SCHEME):
        os.makedirs(path, exist_ok=True)


def remove_file(path: str) -> None:
    """Remove a file; a disk says if there is none, an object store does not."""
    if path.startswith(SCHEME):
        _s3().remove_file(path)
    else:
        os.unlink(path)


def remove_files(paths: Iterable[str]) -> None:
    """Remove files of one folder, those of them that are there."""
    wanted = list(paths)
    if wanted and wanted[0].startswith(SCHEME):
        _s3().remove_files(wanted)
        return
    for path in wanted:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def remove_empty_folder(path: str) -> None:
    """Remove a folder that holds nothing; in an object store it has gone with the last thing in it."""
    if not path.startswith(SCHEME):
        os.rmdir(path)


def remove_tree(path: str, *, ignore_errors: bool = False) -> None:
    """Remove a folder and all below it.

    In an object store, which has no one step for it, first every ``zarr.json`` within goes, then all else, and last
    the folder's own ``zarr.json``: whatever is left of a group when that is stopped vouches for nothing that is gone.
    """
    if not path.startswith(SCHEME):
        shutil.rmtree(path, ignore_errors=ignore_errors)
        return
    with contextlib.suppress(OSError) if ignore_errors else contextlib.nullcontext():
        _s3().remove_tree(path)


def copy_tree(path: str, to: str) -> None:
    """Copy all below a place of an object store; what makes a Zarr group of it, its own ``zarr.json``, comes last."""
    _s3().copy_tree(path, to)
