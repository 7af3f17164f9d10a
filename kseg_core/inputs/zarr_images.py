"""Which folders are Zarr's, and which images are in a group: those of a bioformats2raw layout, of a plate's wells, or
of a plain group.

Only documents are read (``zarr.json``, ``.zattrs``, ``.zarray``), on a disk, in an object store or in a zip file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kseg_core import storage
from kseg_core.inputs.patterns import joined
from kseg_core.storage import zipped

MARKERS = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
"""A directory that holds one of these is a Zarr array or group; the first it has stands for its size and age."""

_PART_OF_ZARR = re.compile(r"\..*|zarr\.json|c|\d+(\.\d+)*", re.DOTALL)
"""Names of files that lie in an array or group of Zarr's: its document, chunks, and what is hidden."""

_MOST_BYTES = 1 << 24  # of a document: the largest plates have some megabytes
_NOT_THERE = "it is named as an image, but is not there"
_DEPTH = 3  # folders of groups that are gone through for images
#: What else groups hold, after OME-Zarr and SpatialData.
_NO_IMAGES = frozenset({"labels", "OME", "tables", "shapes", "points"})


# Folders


def metadata_status(folder: str) -> os.stat_result | None:
    """The status of the file that says what a Zarr directory is; None for any other folder."""
    for marker in MARKERS:
        try:
            return storage.stat(os.path.join(folder, marker))
        except OSError:
            continue
    return None


def is_hierarchy(folder: str) -> bool:
    """Whether a folder with one of the `MARKERS` is an array or group, be it a damaged one, and not a folder of
    photographs into which somebody has put a file called zarr.json.
    """
    try:
        if "zarr_format" in _document(folder):
            return True
        with storage.scan(folder) as scan:
            entries = {entry.name: entry.is_dir() for entry in scan}
        if any(marker in entries for marker in MARKERS[1:]):
            return True
        if any(not is_folder and not _PART_OF_ZARR.fullmatch(name) for name, is_folder in entries.items()):
            return False
        folders = [name for name, is_folder in entries.items() if is_folder and not name.startswith(".")]
        return not folders or any(name == "c" or metadata_status(os.path.join(folder, name)) for name in folders)
    except OSError:
        return True  # the reader will say what is wrong with it


def is_kseg_store(folder: str) -> bool:
    """Whether a folder is a store of this program."""
    try:
        return "kseg" in _document(folder)["attributes"]
    except (OSError, KeyError, TypeError):
        return False


def _document(folder: str) -> dict[str, Any]:
    try:
        return _parsed(storage.read(os.path.join(folder, "zarr.json")))
    except (FileNotFoundError, IsADirectoryError):
        return {}


def _parsed(content: bytes) -> dict[str, Any]:
    """What a document says; empty where it is none of Zarr's."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


# Images in a group


@dataclass(slots=True)
class ZarrImages:
    """The images of a hierarchy, and what of it should be there and is not.

    Attributes
    ----------
    inside
        Paths of images; ``""`` is the hierarchy itself.
    failures
        Places that its documents name as those of images, and why there are none.
    """

    inside: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


def zarr_images(path: str) -> ZarrImages:
    """Return the images in a Zarr array or group.

    Parameters
    ----------
    path
        A directory, or a path into a zip file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if (parts := zipped.split(path)) is None:
        return _Hierarchy(path).images("")
    file, start = parts
    images = _Hierarchy(file).images(start or top_folder(file))
    images.inside = [_below(place, start) for place in images.inside]
    images.failures = [(_below(place, start), reason) for place, reason in images.failures]
    return images


def top_folder(file: str) -> str:
    """Where in a zip file a hierarchy begins: in the folder that it was packed with, or ``""``."""
    hierarchy = _Hierarchy(file)
    return next((name for name in ("", *hierarchy.folders("")) if hierarchy.is_node(name)), "")


def _below(place: str, folder: str) -> str:
    return place.removeprefix(folder).lstrip("/")


class _Hierarchy:
    """A folder or zip file, and what is found in it; places are paths below it, "" for its top."""

    def __init__(self, root: str) -> None:
        self._root, self._zipped = root, zipped.split(root) is not None
        self._found = ZarrImages()

    def images(self, start: str) -> ZarrImages:
        attributes = self._attributes(start)
        plate = attributes.get("plate")
        if isinstance(plate, dict):
            for well in self._named(plate.get("wells"), start):
                self._add_well(joined(start, well))
        elif isinstance(attributes.get("well"), dict):
            self._add_well(start)
        elif "bioformats2raw.layout" in attributes:
            series = self._attributes(joined(start, "OME")).get("series")
            self._add(start, self._inside(series, start) if isinstance(series, list) else self._numbered(start))
        elif self._shape(start) is not None or attributes.get("multiscales"):
            self._found.inside.append(start)
        else:
            inside = [*self._images_below(start, _DEPTH)] or [*self._arrays_in(start)]
            self._found.inside.extend(inside or [start])  # of none the reader says what is wrong with it
        return self._found

    def _add_well(self, well: str) -> None:
        images = self._attributes(well).get("well")
        if isinstance(images, dict):
            names = self._named(images.get("images"), well)
        elif not (names := self._numbered(well)):
            self._found.failures.append((well, _NOT_THERE))
        self._add(well, names)

    def _add(self, start: str, names: list[str]) -> None:
        for place in (joined(start, name) for name in names):
            if self.is_node(place):
                self._found.inside.append(place)
            else:
                self._found.failures.append((place, _NOT_THERE))

    def _numbered(self, start: str) -> list[str]:
        return sorted((name for name in self.folders(start) if name.isdecimal()), key=int)

    def _images_below(self, start: str, depth: int) -> Iterator[str]:
        """OME-Zarr images in a plain group."""
        for name in self.folders(start):
            place = joined(start, name)
            if name in _NO_IMAGES or name.startswith(".") or not self.is_node(place):
                continue
            if self._attributes(place).get("multiscales"):
                yield place
            elif depth > 1 and self._shape(place) is None:
                yield from self._images_below(place, depth - 1)

    def _arrays_in(self, start: str) -> Iterator[str]:
        """Arrays in a plain group that may be pictures: those of two axes and more."""
        for place in (joined(start, name) for name in self.folders(start)):
            shape = self._shape(place)
            if shape is not None and len(shape) >= 2:
                yield place

    def _named(self, entries: Any, start: str) -> list[str]:
        """The paths in the entries of a plate or a well; see `_inside`."""
        if not isinstance(entries, list) or not entries:
            self._found.failures.append((start, "it is a plate or a well, and names no images"))
            return []
        return self._inside([entry.get("path") if isinstance(entry, dict) else None for entry in entries], start)

    def _inside(self, paths: list[Any], start: str) -> list[str]:
        """Those that are paths inside a group, each once and written in one way; of others it is said."""
        inside = dict[str, None]()
        for number, path in enumerate(paths):
            parts = [part for part in str(path).split("/") if part not in ("", ".")]
            plain = "/".join(parts)
            if not isinstance(path, str) or not parts:
                self._found.failures.append((start, f"entry {number} of its images names no path"))
            elif ".." in parts or not plain.isprintable():
                place = joined(start, path.encode("unicode_escape").decode())
                self._found.failures.append((place, "it is named as an image, but is no path within its group"))
            else:
                inside[plain] = None
        return list(inside)

    def folders(self, place: str) -> list[str]:
        """Names of the folders in a folder, sorted."""
        if self._zipped:
            return zipped.folders(self._root, place)
        try:
            with storage.scan(os.path.join(self._root, place)) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def is_node(self, place: str) -> bool:
        """Whether an array or group of Zarr's is there."""
        return any(self._read(joined(place, marker)) is not None for marker in MARKERS)

    def _attributes(self, place: str) -> dict[str, Any]:
        """The attributes of a group, those of OME-Zarr 0.5 among the others."""
        document = _parsed(self._read(joined(place, "zarr.json")) or b"{}")
        attributes = document.get("attributes") if document else _parsed(self._read(joined(place, ".zattrs")) or b"{}")
        if not isinstance(attributes, dict):
            return {}
        ome = attributes.get("ome")
        return {**attributes, **ome} if isinstance(ome, dict) else attributes

    def _shape(self, place: str) -> list[Any] | None:
        """The shape of an array; None where there is none."""
        document = _parsed(self._read(joined(place, "zarr.json")) or b"{}")
        if document and document.get("node_type") != "array":
            return None
        shape = (document or _parsed(self._read(joined(place, ".zarray")) or b"{}")).get("shape")
        return shape if isinstance(shape, list) else None

    def _read(self, name: str) -> bytes | None:
        """A document; None where there is none.

        Raises
        ------
        OSError
            If it cannot be read, or states a size that no document has.
        """

        def check_size(size: int) -> None:
            if size > _MOST_BYTES:
                raise OSError(f"its {name} states {size / 1e6:,.0f} MB, which no document has")

        path = os.path.join(self._root, name)
        try:
            if self._zipped:
                return zipped.read(self._root, name, check_size)
            if not storage.is_remote(path):
                check_size(storage.stat(path).st_size)
            return storage.read(path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
