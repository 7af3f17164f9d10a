"""The name of an image in a store, made from its path alone.

A key is one path segment that every file system, object store and Zarr itself accept. It is a pure
function of the path below the input, so a folder may grow without any image changing its name. A path
that is such a segment already is its own key; any other keeps what is readable of it and gains a hash,
so that nothing that was lost on the way can make two paths meet.
"""

from __future__ import annotations

import hashlib
import re

#: What is a key as it stands: no upper case and no Unicode, which some file systems fold.
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]*")
#: The form of a key with a hash; a plain path of this form is hashed too, so the two kinds never meet.
_HASHED = re.compile(r".*-[0-9a-f]{16}")
_NOT_READABLE = re.compile(r"[^A-Za-z0-9._-]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
#: Device names on Windows, whatever comes after their first dot.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}
_OF_ZARR = "zarr.json"  # which it keeps for itself inside a group

_LONGEST_PLAIN = 120
_LONGEST_SLUG = 80
_HASH_DIGITS = 16


def image_key(path: str) -> str:
    """Name an image in the store.

    Parameters
    ----------
    path
        The path below the input, ``/``-separated; undecodable bytes as surrogate escapes.

    Returns
    -------
    str
        One segment of at most 120 characters of ``A-Za-z0-9._-`` that starts with a letter or digit.
        Different paths have different keys, even where case or Unicode form is ignored.

    Examples
    --------
    >>> image_key("leaf-01.jpg")
    'leaf-01.jpg'
    >>> image_key("day 1/Leaf.jpg")
    'day_1_Leaf.jpg-0cfe96a71a970dac'
    """
    is_plain = len(path) <= _LONGEST_PLAIN and _PLAIN.fullmatch(path) and not _HASHED.fullmatch(path)
    if is_plain and not path.endswith(".") and path != _OF_ZARR and not _is_device(path):
        return path
    # The end of a path tells more than its beginning: the name is there. Letters beyond ASCII are not
    # transliterated, because the tables for that change with the version of Unicode.
    readable = _NOT_READABLE.sub("_", path)[-_LONGEST_SLUG:].lstrip("._-") or "image"
    slug = readable.replace(".", "_", 1) if _is_device(readable) else readable
    return f"{slug}-{hashlib.sha256(path_bytes(path)).hexdigest()[:_HASH_DIGITS]}"


def printable_source(path: str) -> str:
    """A path, as the operating system gave it, with every undecodable byte as ``%XX``: text that is valid UTF-8."""
    return _SURROGATE.sub(lambda match: "".join(f"%{byte:02X}" for byte in path_bytes(match[0])), path)


def path_bytes(path: str) -> bytes:
    """The bytes of a path as a POSIX system stores them.

    This is ``os.fsencode`` with UTF-8 whatever the locale, so that a key is the same on every machine.
    """
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, which only Windows has in names
        return path.encode("utf-8", "surrogatepass")


def _is_device(name: str) -> bool:
    return name.partition(".")[0].lower() in _DEVICES
