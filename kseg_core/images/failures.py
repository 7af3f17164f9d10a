"""Opening files, and the one place where whatever goes wrong with them becomes an `UnreadableImage`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from kseg_core import storage
from kseg_core.errors import UnreadableImage, UsageError, system_reason
from kseg_core.images.raster import Refused

CONVERT = "convert it to PNG or TIFF first, e.g. with ImageMagick's `magick`"
#: Bytes of a file's beginning that tell what it is (SVG may have a long preamble).
HEAD_BYTES = 4096
#: Three words or more, without what names in programs are made of.
_SENTENCE = re.compile(r"(?:[A-Za-z0-9,.;:()/%+-]+ ){2,}[A-Za-z0-9,.;:()/%+-]+")


@contextmanager
def opened(path: str) -> Iterator[tuple[BinaryIO, bytes]]:
    """Open a regular file; give it, at its beginning, and its first bytes."""
    if storage.is_remote(path):
        with storage.open_file(path) as file:
            yield file, _head(file)
        return
    with open(path, "rb", opener=_open_at_once) as file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise Refused("a folder, not a file")
        if not stat.S_ISREG(mode):
            raise Refused("not a regular file")
        yield file, _head(file)


def _head(file: BinaryIO) -> bytes:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    return head


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a named pipe would hold us until somebody writes into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@contextmanager
def refusing(path: str, name: str) -> Iterator[None]:
    """Turn every failure into an `UnreadableImage` that says why in one line.

    Hostile files make decoders raise nearly anything, so this is the one place that catches all.
    """
    try:
        yield
    except (UnreadableImage, UsageError):  # the latter is nothing that another file would help against
        raise
    except Refused as error:
        raise UnreadableImage(path, str(error)) from error
    except MemoryError as error:
        raise UnreadableImage(path, "not enough memory to decode it (or damaged: its header asks too much)") from error
    except OSError as error:
        reason = _system_reason(error) or decoder_reason(error, name)
        raise UnreadableImage(path, reason) from error
    except Exception as error:
        raise UnreadableImage(path, decoder_reason(error, name)) from error


def _system_reason(error: OSError) -> str | None:
    """Return what the operating system says, or None where a decoder raised the error itself."""
    if error.errno is None or error.strerror is None:
        return None
    return system_reason(error)


def decoder_reason(error: Exception, name: str) -> str:
    """Return a clause for what a decoder raised.

    What a library says is repeated only where it is a sentence: no names of types, constants or functions.
    """
    message = " ".join(str(error).split())
    if "decompression bomb" in message:  # Pillow's own, which is met only above ours
        return f"too large: the {name} decoder says: {message}"
    what = f"the {name}" if name else "the file"
    if isinstance(error, NotImplementedError):
        return f"not supported here: its decoder does not read {what} of this kind; {CONVERT}"
    said = f": {message}" if _is_sentence(error, message) else ""
    if isinstance(error, EOFError) or "truncated" in message.lower():
        return f"truncated: {what} ends before its data does{said}"
    return f"damaged: {what} cannot be decoded{said}"


def _is_sentence(error: Exception, message: str) -> bool:
    """Say whether a library's message is one for people; Python's own errors never are."""
    if not isinstance(error, OSError) and type(error).__module__ == "builtins":
        return False
    return _SENTENCE.fullmatch(message) is not None


def printable(name: bytes) -> str:
    """Return the name of a chunk or box for a message."""
    return "".join(chr(byte) if 32 < byte < 127 else "?" for byte in name)


def is_text(head: bytes) -> bool:
    """Say whether the bytes read as text: UTF-8 (cut anywhere) or UTF-16, and no control characters."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    if not head or any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > 0 and error.start >= len(head) - 3  # a character cut by the end of `head`
    return True
