"""Where the machine code of kernels is kept, and which of it is taken.

A folder holds the code for one kind of processor: ``target.json`` says which, and each signature of a kernel has a file
of its own, with a digest over the kernels' sources, what it is for and the code. Folders are looked at in this order:

1. those that were made when the package was installed (``kernels/compiled/*``), never written to afterwards;
2. ``NUMBA_CACHE_DIR`` where it is set, else ``__pycache__`` beside the sources, else the user's own cache.

What is in none of them is compiled, and written to the first of the second kind that can be written. A file that is
damaged, of other sources or for another processor is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kseg_core import storage

from . import _machine
from ._types import Result, Signature

HERE = Path(__file__).parent
DIGEST_BYTES = 32
TARGET = "target.json"

log = logging.getLogger("kseg")


@cache
def sources_digest() -> str:
    """SHA-256 of all kernels' sources: a kernel is compiled with helpers of other modules."""
    whole = hashlib.sha256()
    for path in sorted(HERE.glob("*.py")):
        whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


class Entry:
    """One signature's code as it is kept.

    Parameters
    ----------
    name
        The kernel's, with its module's.
    signature
        What it takes.
    """

    def __init__(self, name: str, signature: Signature) -> None:
        self.name, self.signature = name, signature
        short = hashlib.sha256(",".join(signature).encode()).hexdigest()[:16]
        self.file = f"{name}-{short}.kernel"

    def write(self, folder: Path, entry: str, result: Result, code: bytes) -> None:
        """Keep compiled code; it appears whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        head = json.dumps({"entry": entry, "tuple": result.is_tuple, "kinds": result.kinds}).encode()
        data = len(head).to_bytes(4, "little") + head + code
        storage.put(str(folder / self.file), [data, self._digest(data)])

    def read(self, folder: Path) -> tuple[str, Result, bytes] | None:
        """What was kept; None where that is nothing, of other sources, or not whole."""
        try:
            content = (folder / self.file).read_bytes()
        except OSError:
            return None
        data, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
        if digest != self._digest(data):
            return None
        size = int.from_bytes(data[:4], "little")
        head = json.loads(data[4 : 4 + size])
        return head["entry"], Result(head["tuple"], tuple(head["kinds"])), data[4 + size :]

    def _digest(self, data: bytes) -> bytes:
        decides = (sources_digest(), self.name, ",".join(self.signature))
        return hashlib.sha256("\0".join(decides).encode() + b"\0" + data).digest()


def write_target(folder: Path, target: _machine.Target) -> None:
    """Say what a folder's code is for.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    storage.put(str(folder / TARGET), [json.dumps({**target._asdict(), "sources": sources_digest()}).encode()])


def _target_of(folder: Path) -> _machine.Target | None:
    """What a folder's code is for; None where it is of other sources or says nothing."""
    try:
        said = json.loads((folder / TARGET).read_bytes())
        target = _machine.Target(said["machine"], said["cpu"], said["features"])
        return target if said["sources"] == sources_digest() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@cache
def installed() -> tuple[Path, ...]:
    """Folders that were made with the package and are sound here; code for this very processor first."""
    return sound(HERE)


def sound(package: Path) -> tuple[Path, ...]:
    """Those of a package in some place."""
    found = []
    for folder in sorted(package.glob("compiled/*")):
        target = _target_of(folder)
        if target is not None and _machine.runs_here(target):
            found.append((target.cpu != _machine.host().cpu, folder))
    return tuple(folder for _, folder in sorted(found))


def _roots() -> Iterator[Path]:
    """Where code that is compiled here may be kept, the first choice first."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    if named:
        yield Path(named)
        return
    yield HERE / "__pycache__"
    yield users_cache()


def users_cache() -> Path:
    """Where this user keeps what may be made again."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kseg-batch"


def folders() -> tuple[Path, ...]:
    """Where code for this processor may be kept, of these sources."""
    here = _machine.host()
    for_this = hashlib.sha256("\0".join([*here, sources_digest()]).encode()).hexdigest()[:16]
    found = []
    for root in _roots():
        try:
            found.append(root / "kernels" / for_this)
        except RuntimeError:  # no home
            continue
    return tuple(found)


def find(entry: Entry) -> Iterator[tuple[str, Result, bytes]]:
    """What is there of a signature, the first choice first."""
    for folder in (*installed(), *folders()):
        found = entry.read(folder)
        if found is not None:
            yield found


def keep(entry: Entry, name: str, result: Result, code: bytes) -> None:
    """Write compiled code where it is found by the next process; where that cannot be, say so once."""
    reason: Any = "there is no folder for it"
    for folder in folders():
        try:
            if _target_of(folder) is None:
                write_target(folder, _machine.host())
            entry.write(folder, name, result, code)
        except OSError as error:
            reason = error.strerror or error
            continue
        return
    _tell_once(str(folders()[0]), str(reason))


@cache
def _tell_once(folder: str, reason: str) -> None:
    log.warning(
        "compiled kernels cannot be kept in %s (%s), so that they are compiled at each start, which takes seconds; "
        "name a folder with room in NUMBA_CACHE_DIR",
        folder,
        reason,
    )
