"""Which images are in a Zarr group: those of a bioformats2raw layout, of a plate's wells, or of a plain group.

Only documents are read (``zarr.json``, ``.zattrs``, ``.zarray``), on a disk, in an object store or in a zip file.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from kseg_core import storage
from kseg_core.storage import zipped

MOST_BYTES = 1 << 24  # of a document: the largest plates have some megabytes
_TOO_LARGE = "its {} states {:,.0f} MB, which no document has"
_NOT_THERE = "it is named as an image, but is not there"
_DEPTH = 3  # folders of groups that are gone through for images
#: What else groups hold, after OME-Zarr and SpatialData.
_NO_IMAGES = frozenset({"labels", "OME", "tables", "shapes", "points"})


class Hierarchy(Protocol):
    """Where a group's documents are."""

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""

    def folders(self, name: str) -> list[str]:
        """Names of the folders in a folder, sorted."""


class Folder:
    """A group on a disk or in an object store."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        path = os.path.join(self._path, name)
        try:
            if not storage.is_remote(path) and (size := storage.stat(path).st_size) > MOST_BYTES:
                raise OSError(_TOO_LARGE.format(name, size / 1e6))
            return storage.read(path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def folders(self, name: str) -> list[str]:
        """Names of the folders in a folder, sorted."""
        try:
            with storage.scan(os.path.join(self._path, name)) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []


class Zipped:
    """A group in a zip file.

    Raises
    ------
    OSError
        If it cannot be read.
    """

    def __init__(self, path: str) -> None:
        with _sound(), zipfile.ZipFile(path) as archive:
            self._names = frozenset(archive.namelist())
        self._path = path
        self._folders: dict[str, set[str]] = {}
        for name in self._names:
            parts = name.strip("/").split("/")
            parts = parts if name.endswith("/") else parts[:-1]
            for at, part in enumerate(parts[: _DEPTH + 3]):
                self._folders.setdefault("/".join(parts[:at]), set()).add(part)

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none."""
        if name not in self._names:
            return None
        with _sound(), zipfile.ZipFile(self._path) as archive:
            if archive.getinfo(name).file_size > MOST_BYTES:
                raise OSError(_TOO_LARGE.format(name, archive.getinfo(name).file_size / 1e6))
            with archive.open(name) as file:
                return file.read(MOST_BYTES)

    def folders(self, name: str) -> list[str]:
        """Names of the folders in a folder, sorted."""
        return sorted(self._folders.get(name, ()))


@contextmanager
def _sound() -> Iterator[None]:
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


class Images:
    """The images of a hierarchy, and what of it should be there and is not.

    Attributes
    ----------
    inside
        Paths of images; ``""`` is the hierarchy itself.
    failures
        Places that its documents name as those of images, and why there are none.
    """

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.failures: list[tuple[str, str]] = []


def zarr_images(path: str) -> Images:
    """Return the images in a Zarr array or group.

    Parameters
    ----------
    path
        A directory, or a zip file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    found = Images()
    if (parts := zipped.split(path)) is None:
        _look(Folder(path), "", found)
    else:
        archive = Zipped(parts[0])
        start = parts[1] or _top_folder(archive)
        _look(archive, start, found)
        found.inside = [_below(place, parts[1]) for place in found.inside]
        found.failures = [(_below(place, parts[1]), reason) for place, reason in found.failures]
    return found


def top_folder(path: str) -> str:
    """Where in a zip file a hierarchy begins: in the folder that it was packed with, or ``""``."""
    return _top_folder(Zipped(path))


def _top_folder(archive: Zipped) -> str:
    if _is_node(archive, ""):
        return ""
    return next((name for name in archive.folders("") if _is_node(archive, name)), "")


def _look(hierarchy: Hierarchy, start: str, found: Images) -> None:
    attributes = _attributes(hierarchy, start)
    plate = attributes.get("plate")
    if isinstance(plate, dict):
        for well in _paths(plate.get("wells"), start, found):
            _well(hierarchy, _joined(start, well), found)
    elif isinstance(attributes.get("well"), dict):
        _well(hierarchy, start, found)
    elif "bioformats2raw.layout" in attributes:
        series = _attributes(hierarchy, _joined(start, "OME")).get("series")
        named = _inside(series, start, found) if isinstance(series, list) else _numbered(hierarchy, start)
        _fields(hierarchy, start, named, found)
    elif _shape(hierarchy, start) is not None or _has_multiscales(attributes):
        found.inside.append(start)
    else:
        inside = list(_images_below(hierarchy, start, _DEPTH)) or list(_arrays_in(hierarchy, start))
        found.inside.extend(inside or [start])  # of none the reader says what is wrong with it


def _well(hierarchy: Hierarchy, well: str, found: Images) -> None:
    images = _attributes(hierarchy, well).get("well")
    if isinstance(images, dict):
        named = _paths(images.get("images"), well, found)
    elif not (named := _numbered(hierarchy, well)):
        found.failures.append((well, _NOT_THERE))
    _fields(hierarchy, well, named, found)


def _fields(hierarchy: Hierarchy, start: str, names: list[str], found: Images) -> None:
    for name in names:
        place = _joined(start, name)
        if _is_node(hierarchy, place):
            found.inside.append(place)
        else:
            found.failures.append((place, _NOT_THERE))


def _numbered(hierarchy: Hierarchy, start: str) -> list[str]:
    return sorted((name for name in hierarchy.folders(start) if name.isdecimal()), key=int)


def _images_below(hierarchy: Hierarchy, start: str, depth: int) -> Iterator[str]:
    """Paths of OME-Zarr images in a plain group."""
    for name in hierarchy.folders(start):
        place = _joined(start, name)
        if name in _NO_IMAGES or name.startswith(".") or not _is_node(hierarchy, place):
            continue
        if _has_multiscales(_attributes(hierarchy, place)):
            yield place
        elif depth > 1 and _shape(hierarchy, place) is None:
            yield from _images_below(hierarchy, place, depth - 1)


def _arrays_in(hierarchy: Hierarchy, start: str) -> Iterator[str]:
    """Paths of arrays in a plain group that may be pictures: those of two axes and more."""
    for name in hierarchy.folders(start):
        shape = _shape(hierarchy, _joined(start, name))
        if shape is not None and len(shape) >= 2:
            yield _joined(start, name)


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _below(place: str, folder: str) -> str:
    return place.removeprefix(folder).lstrip("/")


def _paths(entries: Any, start: str, found: Images) -> list[str]:
    """The paths in the entries of a plate or a well; see `_inside`."""
    if not isinstance(entries, list) or not entries:
        found.failures.append((start, "it is a plate or a well, and names no images"))
        return []
    return _inside([entry.get("path") if isinstance(entry, dict) else None for entry in entries], start, found)


def _inside(paths: list[Any], start: str, found: Images) -> list[str]:
    """Those that are paths inside a group, each once and written in one way; of others it is said."""
    inside = dict[str, None]()
    for number, path in enumerate(paths):
        parts = [part for part in str(path).split("/") if part not in ("", ".")]
        plain = "/".join(parts)
        if not isinstance(path, str) or not parts:
            found.failures.append((start, f"entry {number} of its images names no path"))
        elif ".." in parts or not plain.isprintable():
            place = _joined(start, path.encode("unicode_escape").decode())
            found.failures.append((place, "it is named as an image, but is no path within its group"))
        else:
            inside[plain] = None
    return list(inside)


def _document(hierarchy: Hierarchy, name: str) -> dict[str, Any]:
    content = hierarchy.read(name)
    try:
        document = json.loads(content) if content is not None else {}
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_node(hierarchy: Hierarchy, place: str) -> bool:
    return any(
        hierarchy.read(_joined(place, name)) is not None for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs")
    )


def _attributes(hierarchy: Hierarchy, place: str) -> dict[str, Any]:
    """The attributes of a group, those of OME-Zarr 0.5 among the others."""
    document = _document(hierarchy, _joined(place, "zarr.json"))
    attributes = document.get("attributes") if document else _document(hierarchy, _joined(place, ".zattrs"))
    if not isinstance(attributes, dict):
        return {}
    ome = attributes.get("ome")
    return {**attributes, **ome} if isinstance(ome, dict) else attributes


def _has_multiscales(attributes: dict[str, Any]) -> bool:
    return bool(attributes.get("multiscales"))


def _shape(hierarchy: Hierarchy, place: str) -> list[Any] | None:
    """The shape of an array; None where there is none."""
    document = _document(hierarchy, _joined(place, "zarr.json"))
    if not document:
        document = _document(hierarchy, _joined(place, ".zarray"))
    elif document.get("node_type") != "array":
        return None
    shape = document.get("shape")
    return shape if isinstance(shape, list) else None
