"""Sizes of memory and files, and counts of things, as people write and read them."""

from __future__ import annotations

import contextlib
import ctypes
import re

from .errors import UsageError

MMAP_THRESHOLD = 4 << 20
TRIM_THRESHOLD = 128 << 10  # glibc's own
HELD_MMAP, HELD_TRIM = 32 << 20, 64 << 20  # the most that glibc takes for the first, and the size of a thread's heap
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h

_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

#: Units of length as they are typed, in micrometres.
LENGTHS = {"nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "km": 1e9}


def parse_bytes(text: str, name: str) -> int:
    """``4GB``, ``500 MB``, ``2GiB`` or a plain number of bytes.

    Raises
    ------
    UsageError
        If it is none of these; ``name`` says what it was for.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(?:([kmgt])(i?)b?|b)?\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f"{name} is a size like 4GB or 500MB; got {text!r}")
    number, unit, binary = match.groups()
    scale = 1 if not unit else (_BINARY_UNITS if binary else _UNITS)[unit.lower()]
    return round(float(number) * scale)


def parse_length(text: str, wanted: str) -> tuple[float, str]:
    """A number, and its unit of `LENGTHS`; the unit is empty where there is none.

    Raises
    ------
    UsageError
        If it is not so, or not a positive number with its unit: ``wanted`` and what came.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]*)\s*", text)
    unit = "" if match is None else re.sub("[µμ]", "u", match[2])
    if match is None or (unit and (unit not in LENGTHS or float(match[1]) == 0)):
        raise UsageError(f"{wanted}; got {text!r}")
    return float(match[1]), unit


def format_bytes(n: float) -> str:
    """``1.63 GB``; thousands, as disks and files are labelled."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= size:
            return f"{n / size:.3g} {unit}" if n < 999 * size else f"{n / size:.0f} {unit}"
    return f"{n:.0f} bytes"


def format_at_least(n: int) -> str:
    """The same, rounded up: who gives as much gives enough."""
    step = 10 ** max(0, len(str(n)) - 3)
    return format_bytes(-(-n // step) * step)


def counted(n: int, what: str) -> str:
    """``1 distinct value``, ``3 distinct values``."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def only_so_many(k: int | None, asked: int | str | None) -> str | None:
    """What is said where data has fewer distinct values than clusters were asked for; else None."""
    if k is None or not isinstance(asked, int) or k >= asked:
        return None
    return f"the data has only {counted(k, 'distinct value')}: {counted(k, 'cluster')}, not {asked}"


def return_freed_memory() -> None:
    """Have the C library give arrays of 4 MB or more back to the system as they are freed, where it can be told to.

    It would else raise that threshold by itself, and keep pieces of freed arrays: a fifth more memory at the peak. What
    it holds by now goes back at once.
    """
    _set_thresholds(MMAP_THRESHOLD, TRIM_THRESHOLD)
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def hold_freed_memory() -> None:
    """Have it hold on to freed arrays for the next instead, up to 64 MB a thread, until `return_freed_memory`.

    For tasks of one kind, each of dozens of arrays that live for a moment: where blocks are segmented, pages that the
    system gave anew took a sixth of all processor time.
    """
    _set_thresholds(HELD_MMAP, HELD_TRIM)


def _set_thresholds(mmap: int, trim: int) -> None:
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library, which has its own ways
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, mmap)
        library.mallopt(_M_TRIM_THRESHOLD, trim)
