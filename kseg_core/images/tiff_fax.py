"""Fax codes (CCITT modified Huffman, Group 3 and 4) by libtiff, which alone tells damage; all others paint white.

libtiff decodes on after a bad code, and says so by a warning. imagecodecs logs warnings from within the call, in the
thread that made it: so a strip or tile is given to libtiff as a TIFF of its own, with nothing else to warn of, and what
is logged meanwhile is damage.
"""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kseg_core.images import tiff_tags
from kseg_core.images.raster import NotSupported, Refused

#: Group 3 without marks between rows is sound, and read after this remark.
_HARMLESS = "Try to decode (read) fax Group 3 data without EOL"
_MESSAGES = threading.local()


def decode_fax(frame: Any, data: bytes, rows: int, columns: int) -> NDArray[np.bool_]:
    """Decode one strip or tile.

    Parameters
    ----------
    frame
        The page's tags (``TiffPage``).
    data
        Its bytes.
    rows, columns
        Its size in pixels.

    Returns
    -------
    (rows, columns), the bits as stored.

    Raises
    ------
    Refused
        Where a row is not of its length, or missing.
    """
    if frame.samplesperpixel != 1 and frame.planarconfig == tiff_tags.CONTIGUOUS:
        raise NotSupported("fax codes of several bands: not supported here; save it as TIFF with LZW or Deflate first")
    import imagecodecs

    with libtiff_warnings() as warnings:
        try:
            bits: NDArray[np.bool_] = imagecodecs.tiff_decode(_as_a_file(frame, data, rows, columns), verbose=1)
        except imagecodecs.TiffError as error:
            raise Refused("damaged: fax codes of the TIFF are not valid, or some are missing") from error
    if any(not warning.startswith(_HARMLESS) for warning in warnings):
        raise Refused("damaged: fax codes of the TIFF are not valid, or some are missing")
    return bits.reshape(rows, columns).astype(np.bool_, copy=False)


def _as_a_file(frame: Any, data: bytes, rows: int, columns: int) -> bytes:
    """Return a TIFF of one strip."""
    options = int(frame.tags.valueof(tiff_tags.T4_OPTIONS, 0) or 0)
    entries = [
        (256, columns), (257, rows), (258, 1), (259, int(frame.compression)), (262, tiff_tags.MIN_IS_BLACK),
        (266, int(frame.fillorder)), (273, 0), (277, 1), (278, rows), (279, len(data)),
        *([(tiff_tags.T4_OPTIONS, options)] if frame.compression == tiff_tags.GROUP3 else []),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(entries) + 4
    packed = b"".join(
        struct.pack("<HHII", tag, 4 if value > 0xFFFF or tag in (273, 279, tiff_tags.T4_OPTIONS) else 3, 1, value)
        for tag, value in ((tag, start if tag == 273 else value) for tag, value in entries)
    )
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + packed + bytes(4) + data


@contextmanager
def libtiff_warnings() -> Iterator[list[str]]:
    """Give what libtiff warns of in this thread, by imagecodecs, and keep it off the log."""
    before, _MESSAGES.taken = getattr(_MESSAGES, "taken", None), []
    _HEARING.begin()
    try:
        yield _MESSAGES.taken
    finally:
        _HEARING.end()
        _MESSAGES.taken = before


class _Hearing:
    """Has imagecodecs' log heard while any thread decodes: its warnings are findings, whatever the program's level is.

    A program that has switched logging off (`logging.disable`) finds it so again when the last thread is done.
    """

    def __init__(self) -> None:
        self._lock, self._threads, self._silenced = threading.Lock(), 0, logging.NOTSET

    def begin(self) -> None:
        log = logging.getLogger("imagecodecs")
        with self._lock:
            if _take not in log.filters:
                log.addFilter(_take)
            log.setLevel(logging.WARNING)
            log.disabled = False
            if not self._threads:
                self._silenced = log.manager.disable
                if self._silenced >= logging.WARNING:
                    logging.disable(logging.NOTSET)
            self._threads += 1

    def end(self) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads and self._silenced >= logging.WARNING:
                logging.disable(self._silenced)


_HEARING = _Hearing()


def _take(record: logging.LogRecord) -> bool:
    """Logging filter: what is logged while a strip is decoded belongs to it, and goes nowhere else."""
    taken: list[str] | None = getattr(_MESSAGES, "taken", None)
    if taken is None:
        return True
    taken.append(record.getMessage())
    return False
