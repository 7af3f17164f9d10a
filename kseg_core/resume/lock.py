"""One writer: while a job writes an output, no other does.

The lock itself is the operating system's, on a file beside the output: it ends with the process, however that ends. A
second file says who holds it, for people and for machines that share the disk but not the lock. An object store knows
no lock but can make an object exclusively: see `hold_object`.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from .. import storage
from ..errors import OutputHeld, StoreError, system_reason
from ..storage.sidecars import NEXT, RESUME, remove, sidecar, sweep

MOST_PROCESSES = 1 << 31  # the number of a process is below, on every system

log = logging.getLogger("kseg")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds an output.

    Parameters
    ----------
    owner, host, pid
        User, machine and process.
    since
        When it began: UTC, ISO 8601.
    started
        When the process began, in seconds since 1970: a number that is given again is no sign of life.
    """

    owner: str
    host: str
    pid: int
    since: str
    started: float

    @classmethod
    def this(cls) -> Holder:
        """This process."""
        return cls(_user(), socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat(timespec="seconds"), _born())

    @classmethod
    def read(cls, path: str) -> Holder | None:
        """Whom a file names; None where there is none, or none that can be read."""
        try:
            with open(path, "rb") as file:
                return cls.from_json(file.read())
        except OSError:
            return None

    @classmethod
    def from_json(cls, content: bytes) -> Holder | None:
        """Whom the content of such a file names."""
        try:
            told = json.loads(content)
            owner, host, pid, since, started = (told[field.name] for field in fields(cls))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        texts = all(isinstance(text, str) for text in (owner, host, since))
        numbers = isinstance(pid, int) and 0 < pid < MOST_PROCESSES and isinstance(started, int | float)
        return cls(owner, host, pid, since, started) if texts and numbers else None

    def to_json(self, token: str | None = None) -> bytes:
        """The content of a file that names it, and where asked for also which of several by the same process it is."""
        return json.dumps({**asdict(self), **({} if token is None else {"token": token})}).encode()

    @property
    def lives(self) -> bool:
        """Whether it is a process of this machine that is still there."""
        return self.host == socket.gethostname() and _born(self.pid) == self.started

    def __str__(self) -> str:
        return f"pid {self.pid} of {self.owner} on {self.host}, since {self.since}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def _born(pid: int | None = None) -> float:
    """When a process of this machine began; 0 where there is none."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def holder(output: str) -> Holder | None:
    """Who is writing an output; None where nobody is, as far as can be seen from here."""
    try:
        found = Holder.from_json(storage.read(sidecar(output, ".lock.json")))
    except OSError:
        return None
    return found if found is not None and (found.lives or found.host != socket.gethostname()) else None


@contextmanager
def hold(output: str) -> Iterator[None]:
    """Be the one that writes an output.

    Parameters
    ----------
    output
        The store or model, which need not be there yet.

    Raises
    ------
    OutputHeld
        If another job holds it.
    StoreError
        If nothing can be written where the output is to be.
    """
    if storage.is_remote(output):
        with hold_object(output):
            yield
        return
    from filelock import FileLock, Timeout

    path, told = sidecar(output, ".lock"), sidecar(output, ".lock.json")
    try:
        made = _make_folders(os.path.dirname(path))
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))  # what cannot be written is not held by anyone
        lock = FileLock(path, blocking=False)
        lock.acquire()
    except Timeout:
        named = Holder.read(told)
        raise OutputHeld(f"another run holds {output}{'' if named is None else f': {named}'}; wait for it") from None
    except OSError as error:
        raise unwritable(output, error) from error
    try:
        _require_nobody(output, told)
        _write(output, told)
        try:
            yield
        finally:
            _unlink(told)
    finally:
        _unlink(path)  # while it is held: who waits for it finds that it is gone, and makes a new one
        lock.release()
        for folder in made:  # the deepest first; those that hold something stay
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def sweep_after_kill(output: str) -> None:
    """Remove what a job that was killed at its very end left beside a finished output, unless another is at work."""
    left = [sidecar(output, suffix) for suffix in (".lock.json", RESUME, NEXT)]
    if any(map(storage.exists, left)):
        with contextlib.suppress(OutputHeld, StoreError), hold(output):
            sweep(output)
            for path in left[1:]:
                remove(path)


def _require_nobody(output: str, told: str) -> None:
    """The lock is ours: whoever is named is dead, unless the lock does not reach where it is."""
    holder = Holder.read(told)
    if holder is not None and holder.pid == os.getpid() and holder.lives:
        return
    if holder is not None:
        require_dead(output, holder, told)


def require_dead(output: str, holder: Holder, told: str) -> None:
    """Whoever is named is to be seen to be dead."""
    if holder.lives:
        raise OutputHeld(f"another run holds {output}: {holder}; wait for it")
    if holder.host != socket.gethostname():
        raise OutputHeld(
            f"another run holds {output}: {holder}. Whether it still runs cannot be seen from {socket.gethostname()}; "
            f"if it does not, remove {told}"
        )
    log.warning("%s: taking over from a run that was killed (%s)", output, holder)


def _write(output: str, told: str) -> None:
    aside = f"{told}.partial"
    try:
        with open(aside, "wb") as file:
            file.write(Holder.this().to_json())
        os.replace(aside, told)
    except OSError as error:
        _unlink(aside)
        raise unwritable(output, error) from error


def unwritable(output: str, error: OSError) -> StoreError:
    """Why an output cannot be written: a file on the way to it, or what the system says of which path."""
    folder = os.path.dirname(os.path.abspath(output))
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        why = f"{folder} is {'a broken link' if os.path.islink(folder) else 'a file'}, not a folder"
    elif isinstance(error.filename, str) and os.path.isdir(error.filename):
        why = f"{error.filename} is a folder where the output's lock is to be; remove it"
    else:
        why = f"{system_reason(error)}: {folder}"
    return StoreError(f"{output}: the output cannot be written ({why}); choose another with -o")


def _make_folders(folder: str) -> list[str]:
    """Make a folder and those it is in; returns the new ones, the deepest first."""
    missing = []
    while folder and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for new in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(new)
    return missing


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


@contextmanager
def hold_object(output: str) -> Iterator[None]:
    """Be the one that writes an output; see `hold`."""
    from ..storage import s3

    path = sidecar(output, ".lock.json")
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

    own = Holder.this().to_json(uuid.uuid4().hex)
    while True:
        with contextlib.suppress(FileExistsError):
            return s3.put_new(path, own)
        try:
            content, etag = s3.read_tagged(path)
        except FileNotFoundError:
            continue  # it has just ended
        if content == own:
            return etag  # the answer to a request was lost, and it was sent again
        holder = Holder.from_json(content)
        if holder is None:
            raise OutputHeld(f"another run holds {output}, which one cannot be read; if there is none, remove {path}")
        require_dead(output, holder, path)
        with contextlib.suppress(FileExistsError):
            return s3.put_in_place(path, own, etag)
