"""The names of images in a store: each mirrors the path below the input.

A key is written as the path is, case and letters included, in folders of the store. Percent-encoded is what some file
system, object store or Zarr itself cannot have as a name, so that a path and its plain key say the same. Where two
names of one folder would meet on some file system (case, Unicode form, an image and a folder), or a name is too long,
there is a hash of the path in it. Which of two has one depends on what was there first; a store records it.

Release 0.1.0 had one segment for each image (`earlier_key`); stores that have such keys stay with them.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from kseg_core.errors import UsageError

_SURROGATE = re.compile("[\ud800-\udfff]")
#: Device names on Windows, whatever comes after their first dot.
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"}
_DEVICES |= {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
_OF_ZARR = "zarr.json"  # which it keeps for itself inside a group

# ------------------------------------------------------------------------------------------------------ keys of today

#: What no name has: control characters and those that turn writing around, what Windows reserves, half characters, a
#: dot at the beginning (hidden, `.`, `..`), two underscores there (Zarr's own), a dot or space at the end; and what
#: would be taken for an encoded byte.
_UNWRITABLE = re.compile(
    '[\x00-\x1f\x7f-\x9f<>:"\\\\|?*\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]'
    r"|%(?=[0-9A-Fa-f]{2})|\A\.|\A_(?=_)|[. ]\Z"
)
_HASHED = re.compile(r"~[0-9a-f]{8}(\.[a-z0-9]{1,8})?\Z", re.IGNORECASE)  # a plain name of this form gets a hash too
_STEM = re.compile(r"(.+?)(\.[A-Za-z0-9]{1,8})?\Z", re.DOTALL)
_SEGMENT = re.compile(r"([^/]+)(?:/+|\Z)")
_HASH_DIGITS = 8  # which tell apart those few names that are the same otherwise
LONGEST_NAME = 180  # bytes of a name: what is exported or written aside has more in its own, and 255 is the most
LONGEST_KEY = 600  # of a key: object stores allow 1024 for all of a chunk's


@dataclass(frozen=True, slots=True)
class StoreNames:
    """The names that a store has already.

    Parameters
    ----------
    images
        Keys of its images.
    folders
        The folders that these are in, or are to be.
    hashed
        Keys with a hash, be they of images that are there or not.
    """

    images: frozenset[str] = frozenset()
    folders: frozenset[str] = frozenset()
    hashed: frozenset[str] = frozenset()

    def with_keys(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """What a store says of its names when images of these keys come to it."""
        wanted = list(keys)
        folders = {key[: slash.start()] for key in wanted for slash in re.finditer("/", key)}
        hashed = {key for key in wanted if _HASHED.search(key)}
        return {"folders": sorted(self.folders | folders), "hashed": sorted(self.hashed | hashed)}


class _Place(NamedTuple):
    """One name on the way to an image."""

    segment: str
    slash: str  # after the name of a folder
    owner: str  # the path as far as here

    @property
    def plain(self) -> str:
        return _written(self.segment)

    @property
    def hashed(self) -> str:
        return _with_hash(self.plain, self.owner)


def image_keys(paths: Iterable[str], known: StoreNames | None = None) -> dict[str, str]:
    """Name images in a store.

    Parameters
    ----------
    paths
        Different paths below the input, ``/``-separated; undecodable bytes as surrogate escapes.
    known
        What the store has already: a path that has a name there is given that, and no other is.

    Returns
    -------
    dict of str
        By path a key of one or more segments. No two are the same where case or Unicode form is ignored, no key is a
        folder of another, and none leads out of the folder it is in. They do not depend on the order of ``paths``.

    Raises
    ------
    UsageError
        If a name with a hash is taken too.

    Examples
    --------
    >>> image_keys(["day 1/Leaf.jpg", "day 1/what?.jpg"])
    {'day 1/Leaf.jpg': 'day 1/Leaf.jpg', 'day 1/what?.jpg': 'day 1/what%3F.jpg'}
    >>> sorted(image_keys(["Leaf.jpg", "leaf.jpg"]).values())
    ['Leaf.jpg', 'leaf~c9a4b38a.jpg']
    """
    taken = _Taken(StoreNames() if known is None else known)
    return {path: taken.key(path) for path in sorted(paths, key=path_bytes)}


def is_key_of(key: str, path: str) -> bool:
    """Whether a store may have an image of this path under this key."""
    if key in (earlier_key(path), _flat(path)) or (key, path) == ("image", ""):
        return True
    names, places = key.split("/"), list(_places(path))
    return len(names) == len(places) and all(
        name in (place.plain, place.hashed) for name, place in zip(names, places, strict=True)
    )


class _Taken:
    """Names that are taken, as a file system that ignores case and Unicode form sees them."""

    def __init__(self, known: StoreNames) -> None:
        taken = {*known.images, *known.hashed, *(f"{folder}/" for folder in known.folders)}
        self._hashed = {name for name in taken if "~" in name}
        self._owners: dict[str, tuple[str, str | None]] = {folded(name): (name, None) for name in taken}
        self._folders: dict[str, str] = {}  # by path

    def key(self, path: str) -> str:
        """The key of an image."""
        if not path.strip("/"):  # an input that is one image has no path below it
            return self._first_free([_flat(path) if path else "image"], path)
        name = ""
        for place in _places(path):
            if place.slash and place.owner in self._folders:
                name = self._folders[place.owner]
                continue
            name = self._name(name, place)
            if place.slash:
                self._folders[place.owner] = name
        return name if len(name.encode()) <= LONGEST_KEY else self._first_free([_flat(path)], path)

    def _name(self, folder: str, place: _Place) -> str:
        written = place.plain
        plain = f"{folder}{written}{place.slash}"
        may_be = len(written.encode()) <= LONGEST_NAME and not ("~" in written and _HASHED.search(written))
        if may_be and not self._hashed and self._is_free(plain, place.owner):
            return plain
        hashed = f"{folder}{place.hashed}{place.slash}"
        return self._first_free([plain, hashed] if may_be and hashed not in self._hashed else [hashed], place.owner)

    def _first_free(self, names: list[str], owner: str) -> str:
        for name in names:
            if self._is_free(name, owner):
                return name
        raise UsageError(f"{printable_source(owner)}: no name in the store is left for it; rename that file")

    def _is_free(self, name: str, owner: str) -> bool:
        """Whether a name is the owner's, who then has it."""
        there, whose = self._owners.setdefault(folded(name), (name, owner))
        if there != name or whose not in (None, owner):
            return False
        self._owners[folded(name)] = (name, owner)
        return True


def _places(path: str) -> Iterator[_Place]:
    for match in _SEGMENT.finditer(path):
        yield _Place(match[1], "/" if match.end() < len(path) else "", path[: match.end()])


def _flat(path: str) -> str:
    """A key of one segment."""
    return _with_hash(_written(path.rstrip("/").rpartition("/")[2]) or "image", path)


@lru_cache(1024)  # of folders
def _written(segment: str) -> str:
    """A name that can be written anywhere, and from which the segment can be read again."""
    name = _UNWRITABLE.sub(_percent, segment)
    if name.partition(".")[0].rstrip(" ").lower() in _DEVICES or name.lower() == _OF_ZARR:
        name = f"%{ord(name[0]):02X}{name[1:]}"
    return name


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in path_bytes(match[0]))


def _with_hash(name: str, owner: str) -> str:
    """The name, as much of it as may be, and a hash of its path before its suffix."""
    matched = _STEM.match(name)
    stem, suffix = (name, "") if matched is None else (matched[1], matched[2] or "")
    digits = hashlib.sha256(path_bytes(owner)).hexdigest()[:_HASH_DIGITS]
    room = LONGEST_NAME - len(suffix) - 1 - _HASH_DIGITS
    return f"{stem.encode()[:room].decode(errors='ignore')}~{digits}{suffix}"


def folded(name: str) -> str:
    """What a file system sees that ignores case and Unicode form, and whether a name is a folder's."""
    name = name.rstrip("/")
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


# -------------------------------------------------------------------------------------------- keys of earlier releases

#: What is a key as it stands: no upper case and no Unicode, which some file systems fold.
_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]*")
#: The form of a key with a hash; a plain path of this form is hashed too, so the two kinds never meet.
_EARLIER_HASHED = re.compile(r".*-[0-9a-f]{16}")
_NOT_READABLE = re.compile(r"[^A-Za-z0-9._-]+")
_EARLIER_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}

_LONGEST_PLAIN = 120
_LONGEST_SLUG = 80
_EARLIER_HASH_DIGITS = 16


def earlier_key(path: str) -> str:
    """The name that an image has in a store begun by release 0.1.0.

    Parameters
    ----------
    path
        As `image_keys` has them.

    Returns
    -------
    str
        One segment of at most 120 characters of ``A-Za-z0-9._-`` that starts with a letter or digit: the path itself
        where it is such a segment in lower case, else what is readable of it and a hash.

    Examples
    --------
    >>> earlier_key("leaf-01.jpg")
    'leaf-01.jpg'
    >>> earlier_key("day 1/Leaf.jpg")
    'day_1_Leaf.jpg-0cfe96a71a970dac'
    """
    is_plain = len(path) <= _LONGEST_PLAIN and _PLAIN.fullmatch(path) and not _EARLIER_HASHED.fullmatch(path)
    if is_plain and not path.endswith(".") and path != _OF_ZARR and not _is_device(path):
        return path
    # The end of a path tells more than its beginning: the name is there.
    readable = _NOT_READABLE.sub("_", path)[-_LONGEST_SLUG:].lstrip("._-") or "image"
    slug = readable.replace(".", "_", 1) if _is_device(readable) else readable
    return f"{slug}-{hashlib.sha256(path_bytes(path)).hexdigest()[:_EARLIER_HASH_DIGITS]}"


def _is_device(name: str) -> bool:
    return name.partition(".")[0].lower() in _EARLIER_DEVICES


# --------------------------------------------------------------------------------------------------- paths to be shown


def printable_source(path: str) -> str:
    """A path, as the operating system gave it, with every undecodable byte as ``%XX``: text that is valid UTF-8."""
    return _SURROGATE.sub(_percent, path)


def path_bytes(path: str) -> bytes:
    """The bytes of a path as a POSIX system stores them.

    This is ``os.fsencode`` with UTF-8 whatever the locale, so that a key is the same on every machine.
    """
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a surrogate pair, which only Windows has in names
        return path.encode("utf-8", "surrogatepass")
