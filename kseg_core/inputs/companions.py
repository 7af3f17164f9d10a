"""The files that belong to an image or a mask and are read with it: when one of them changes, so has the image.

Beside an image lie masks (``.msk``), GDAL's metadata (``.aux.xml``), world files and ``.prj``; a virtual raster (VRT)
has the files that it names, a shapefile its other parts, a MIRAX slide its folder.

What a VRT names is read by the one parser here, which is also the guard of all that open or follow one. GDAL ignores
the case of names, and takes an element for an attribute and the reverse; so names are read in lower case without
namespaces, and what GDAL could read in another way than it is read here is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import Any
from xml.etree import ElementTree

from kseg_core import storage
from kseg_core.band_files import stacked_files
from kseg_core.storage import zipped

MASK, METADATA = ".msk", ".aux.xml"
#: How the names of companions end, in lower case.
_ENDINGS = (MASK, METADATA, ".prj", "w", ".wld")
_PARTS = {"shp": ("shx", "dbf", "prj", "cpg"), "gml": ("gfs", "xsd")}  # of vector files
_DIGITS = 16
_READ_BYTES = 1 << 20

MAX_VRT_DEPTH = 8  # of virtual rasters within each other
_MAX_VRT_BYTES = 1 << 26
_SOURCES = frozenset({"sourcefilename", "sourcedataset"})
_CLASSES = frozenset({"vrtsourcedrasterband", "vrtderivedrasterband", "vrtwarpedrasterband", "vrtwarpeddataset"})
_BY_PARTS = frozenset({"near", "nearest", "bilinear", "cubic", "cubicspline", "lanczos"})  # not average, mode, gauss
_REFUSED = frozenset({"pixelfunctioncode", "pixelfunctionlanguage", "overviewfile"})
_ATTRIBUTES = frozenset({"subclass", "relativetovrt", "resampling"})  # never as elements
OVERVIEWS = "OVERVIEW_FILE"  # the key under which GDAL's metadata name one more file
_ADVICE = "not supported here; make a TIFF of it first, e.g. with gdal_translate"


class BadVrt(ValueError):
    """A VRT that must not be opened; its text is the reason."""


class UnusualVrt(BadVrt):
    """A VRT of a kind that is not supported."""


# Names


def world_files(name: str) -> list[str]:
    """Names that the world file of an image may have."""
    stem, dot, suffix = name.rpartition(".")
    stem = stem if dot else name
    letters = [f"{suffix[0]}{suffix[-1]}w", f"{suffix}w"] if dot and suffix else []
    endings = [*letters, "wld"]
    return [f"{stem}.{each}" for letter in endings for each in dict.fromkeys((letter.lower(), letter.upper()))]


def possible(names: Collection[str]) -> frozenset[str]:
    """Those of a folder's names that are, by their endings, companions of something."""
    return frozenset(name for name in names if name.lower().endswith(_ENDINGS))


def companions_of(path: str, there: Collection[str] | None = None) -> list[str]:
    """Return the paths of what belongs to an image on this machine: beside it, and what a virtual raster names.

    Parameters
    ----------
    path
        Of the image.
    there
        The names in its folder, or those of them that are `possible`; None: each is looked for.

    Of a stack, whose size and age do not tell of each of its files, these are among them.
    """
    if files := stacked_files(path):
        return [each for file in files for each in (file, *companions_of(file))]
    if storage.is_remote(path):
        return []  # each look would be a request
    folder, name = os.path.split(path)
    names: list[str] = []
    if there is None or there:
        stem = os.path.splitext(name)[0]
        names = [f"{name}{MASK}", f"{name}{METADATA}", f"{stem}.prj", f"{stem}.PRJ", *world_files(name)]
    return [*(os.path.join(folder, each) for each in names if there is None or each in there), *_vrt_sources(path)]


def parts_of(mask: str) -> list[str]:
    """Return the paths of what belongs to a mask: the other parts of a shapefile, the sources of a virtual raster."""
    if storage.is_remote(mask):
        return []
    stem, suffix = os.path.splitext(mask)
    parts = _PARTS.get(suffix[1:].lower(), ())
    return [*(f"{stem}.{each}" for part in parts for each in (part, part.upper())), *_vrt_sources(mask)]


def is_of_mrxs(folder: str, names: Collection[str]) -> bool:
    """Say whether a folder holds the data of a MIRAX slide, one of the files beside it (names in lower case)."""
    return f"{os.path.basename(folder).lower()}.mrxs" in names and os.path.isfile(os.path.join(folder, "Slidedat.ini"))


# States


def state_of(paths: Collection[str]) -> str:
    """Return a digest of the sizes and ages of files; empty where none of them is there."""
    states = []
    for path in sorted(paths):
        with suppress(OSError):
            status = storage.stat(path)
            states.append((os.path.basename(path), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:_DIGITS] if states else ""


def mask_facts(mask: str | None) -> dict[str, Any] | None:
    """Bytes and modification time of an image's mask, and the state of its parts; None where it has none."""
    if mask is None:
        return None
    status, state = storage.stat(mask), state_of(parts_of(mask))
    return {"size": status.st_size, "modified": status.st_mtime_ns, **({"beside": state} if state else {})}


def content_digest(path: str) -> str:
    """SHA-256 of a file, of all files of a stack, or of all names and contents of a directory (a Zarr array).

    It tells apart what was rewritten within its size and time.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if files := stacked_files(path):
        return hashlib.sha256("".join(content_digest(file) for file in files).encode()).hexdigest()
    if (parts := zipped.split(path)) is not None:
        return _digest_of_file(parts[0])
    if not storage.is_dir(path):
        return _digest_of_file(path)
    whole = hashlib.sha256()
    for folder, folders, names in storage.walk(path):
        folders.sort()
        for file in (os.path.join(folder, name) for name in sorted(names)):
            whole.update(os.fsencode(os.path.relpath(file, path)) + b"\0" + _digest_of_file(file).encode() + b"\n")
    return whole.hexdigest()


def _digest_of_file(path: str) -> str:
    digest = hashlib.sha256()
    with storage.open_file(path) as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


# Virtual rasters


def named_by_vrt(path: str) -> dict[str, str]:
    """Return what a VRT names, absolute paths, which need not be there, to what is written.

    Raises
    ------
    BadVrt
        Where it names something that is no file of this machine, or is of a kind that is not supported.
    """
    folder = os.path.dirname(os.path.abspath(path))
    sources: dict[str, str] = {}
    for element in _root(path).iter():
        attributes = {_plain(name): value for name, value in element.attrib.items()}
        if len(attributes) < len(element.attrib):
            raise BadVrt("damaged: a VRT with an attribute twice")
        for text in (element.text, element.tail, *attributes.values()):
            if text and ("://" in text or "/vsi" in text.lower()):
                raise BadVrt(f"it names {text.strip()}, which is no file of this machine")
            if text and OVERVIEWS in text.upper():
                raise UnusualVrt(f"a VRT that names a file of overviews: {_ADVICE}")
        _check_kind(element.tag.rpartition("}")[2], attributes)
        if _plain(element.tag) in _SOURCES:
            name = (element.text or "").strip()
            if not name or name.startswith("<") or len(element):
                raise BadVrt(f"it names {name or 'nothing'}, which is no file of this machine")
            relative = attributes.get("relativetovrt", "0")
            if relative not in ("0", "1"):
                raise BadVrt("damaged: a VRT whose relativeToVRT is neither 0 nor 1")
            there = os.path.join(folder, name) if relative == "1" else os.path.abspath(name)
            sources[os.path.normpath(there)] = name
    return sources


def _vrt_sources(path: str, depth: int = 0) -> Iterator[str]:
    """The files that a virtual raster names, and those that they name and have beside them."""
    if not path.lower().endswith(".vrt") or storage.is_remote(path) or depth > MAX_VRT_DEPTH:
        return
    with suppress(OSError, ValueError):  # which the reader will say
        for source in named_by_vrt(path):
            yield from (source, f"{source}{MASK}", f"{source}{METADATA}")
            yield from _vrt_sources(source, depth + 1)


def _check_kind(written: str, attributes: dict[str, str]) -> None:
    """Refuse what is run, what is not the same by windows, and names in places where only GDAL looks."""
    tag, subclass = written.lower(), attributes.get("subclass")
    if (subclass is not None and subclass.lower() not in _CLASSES) or tag in _REFUSED or attributes.keys() & _REFUSED:
        raise UnusualVrt(f"a VRT with {subclass or written}: {_ADVICE}")
    if tag in _ATTRIBUTES or attributes.keys() & _SOURCES:
        raise UnusualVrt(f"a VRT with {written} written in an unusual way: {_ADVICE}")
    how = attributes.get("resampling", "nearest")
    if how.lower() not in _BY_PARTS:
        raise UnusualVrt(f"a VRT with resampling {how}, not the same by parts: {_ADVICE}")


def _plain(name: str) -> str:
    """A name as GDAL compares it."""
    return name.rpartition("}")[2].lower()


def _root(path: str) -> ElementTree.Element:
    """Parse a VRT as UTF-8, as GDAL does whatever it declares; one that defines entities is refused."""
    if os.path.getsize(path) > _MAX_VRT_BYTES:
        raise BadVrt(f"a VRT of more than {_MAX_VRT_BYTES >> 20} MiB")
    with open(path, "rb") as file:
        text = file.read()
    if b"<!DOCTYPE" in text.upper() or b"<!ENTITY" in text.upper():
        raise BadVrt("damaged: a VRT with a document type")
    try:
        return ElementTree.fromstring(text.decode("utf-8-sig"))
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise BadVrt(f"damaged or truncated: the VRT cannot be parsed ({error})") from error
