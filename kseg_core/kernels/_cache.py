"""Compiled kernels, kept on disk from one start to the next: whole and of this very source, or compiled anew.

Numba's own cache ends a job where its folder is full, read-only or holds a file that was cut short, runs machine code
that a disk has changed, takes code of old where a helper in another module has changed, and mixes up the signatures of
one function that two processes compile at once. Here each signature has a file of its own with a digest over all that
decides it; where and by what names files are kept is Numba's (``NUMBA_CACHE_DIR``, else ``__pycache__`` beside the
source, else the user's own cache).
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
from numba.core.caching import FunctionCache, NullCache
from numba.core.serialize import dumps

from kseg_core import storage

DIGEST_BYTES = 32

log = logging.getLogger("kseg")


@cache
def tell_once(folder: str) -> Callable[[object], None]:
    """Who tells, the first time it is called, that kernels cannot be kept in a folder, and why."""
    told = False

    def tell(reason: object) -> None:
        nonlocal told
        if not told:
            told = True
            log.warning(
                "compiled kernels cannot be kept in %s (%s), so that they are compiled at each start, which takes "
                "seconds; name a folder with room in NUMBA_CACHE_DIR",
                folder,
                reason,
            )

    return tell


@cache
def sources_digest() -> bytes:
    """SHA-256 of all kernels' sources: a kernel is compiled with helpers of other modules."""
    folder = os.path.dirname(os.path.abspath(__file__))
    whole = hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        if name.endswith(".py"):
            whole.update(name.encode() + b"\0" + hashlib.sha256(storage.read(os.path.join(folder, name))).digest())
    return whole.digest()


class KernelFile:
    """Where the compiled code of one function is kept: in Numba's place of an index and its data.

    Parameters
    ----------
    folder, base
        Where, and how the names of the function's files begin.
    """

    def __init__(self, folder: str, base: str) -> None:
        self._folder, self._base = folder, base

    def path(self, key: object) -> str:
        """The file of one signature, on this kind of processor."""
        return os.path.join(self._folder, f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc")

    def load(self, key: object) -> Any:
        """What was saved; None where that is nothing, of another source or version, or not whole."""
        try:
            content = storage.read(self.path(key))
        except OSError:
            return None  # there is none, or it cannot be read
        data, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        return pickle.loads(data) if digest == self._digest(key, data) else None

    def save(self, key: object, compiled: Any) -> None:
        """Keep it; it appears whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        data = dumps(compiled)
        storage.put(self.path(key), [data, self._digest(key, data)])

    @staticmethod
    def _digest(key: object, data: bytes) -> bytes:
        decides = (numba.__version__.encode(), sources_digest(), hashlib.sha256(repr(key).encode()).digest())
        return hashlib.sha256(b"\0".join([*decides, data])).digest()


class KernelCache(FunctionCache):
    """Numba's cache of one function, which never ends a job."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = KernelFile(self._cache_path, self._impl.filename_base)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            tell_once(self._cache_path)(error.strerror or error)


class NoCache(NullCache):
    """That of a function for which there is no folder at all."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def save_overload(self, sig: Any, cres: Any) -> None:  # noqa: ARG002 - as Numba calls it
        tell_once(self._folder)("nor in the user's own cache: they cannot be written")


def cache_of(function: Callable[..., Any]) -> KernelCache | NoCache:
    """Where a function's compiled code is kept."""
    try:
        return KernelCache(function)
    except RuntimeError:  # how Numba says that it can write nowhere
        folder = os.path.dirname(os.path.abspath(function.__code__.co_filename))
        return NoCache(numba.config.CACHE_DIR or os.path.join(folder, "__pycache__"))
