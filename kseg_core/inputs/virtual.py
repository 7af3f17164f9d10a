"""What a VRT names: the one parser, and the one guard, of all that open or follow one.

GDAL ignores the case of names, and takes an element for an attribute and the reverse; so this reads names in lower
case without namespaces, and refuses what GDAL could read in another way than it is read here.
"""

from __future__ import annotations

import os
from xml.etree import ElementTree

_MOST_BYTES = 1 << 26
_SOURCES = frozenset({"sourcefilename", "sourcedataset"})
_CLASSES = frozenset({"vrtsourcedrasterband", "vrtderivedrasterband", "vrtwarpedrasterband", "vrtwarpeddataset"})
_BY_PARTS = frozenset({"near", "nearest", "bilinear", "cubic", "cubicspline", "lanczos"})  # not average, mode, gauss
_REFUSED = frozenset({"pixelfunctioncode", "pixelfunctionlanguage", "overviewfile"})
_ATTRIBUTES = frozenset({"subclass", "relativetovrt", "resampling"})  # never as elements
OVERVIEWS = "OVERVIEW_FILE"  # the key under which GDAL's metadata name one more file
_ADVICE = "make a TIFF of it first, e.g. with gdal_translate"


class BadVrt(ValueError):
    """A VRT that must not be opened; its text is the reason."""


class UnusualVrt(BadVrt):
    """A VRT of a kind that is not supported."""


def named(path: str) -> dict[str, str]:
    """Return what a VRT names, absolute paths, which need not be there, to what is written.

    Raises
    ------
    BadVrt
        Where it names something that is no file of this machine, or is of a kind that is not supported.
    """
    folder = os.path.dirname(os.path.abspath(path))
    found: dict[str, str] = {}
    for element in _root(path).iter():
        tag = _plain(element.tag)
        attributes = _attributes(element)
        for text in (element.text, element.tail, *attributes.values()):
            if text and ("://" in text or "/vsi" in text.lower()):
                raise BadVrt(f"it names {text.strip()}, which is no file of this machine")
            if text and OVERVIEWS in text.upper():
                raise UnusualVrt(f"a VRT that names a file of overviews: not supported here; {_ADVICE}")
        _check_kind(element.tag.rpartition("}")[2], attributes)
        if tag in _SOURCES:
            name = (element.text or "").strip()
            if not name or name.startswith("<") or len(element):
                raise BadVrt(f"it names {name or 'nothing'}, which is no file of this machine")
            relative = attributes.get("relativetovrt", "0")
            if relative not in ("0", "1"):
                raise BadVrt("damaged: a VRT whose relativeToVRT is neither 0 nor 1")
            there = os.path.join(folder, name) if relative == "1" else os.path.abspath(name)
            found[os.path.normpath(there)] = name
    return found


def _check_kind(tag: str, attributes: dict[str, str]) -> None:
    """Refuse what is run, what is not the same by windows, and names in places where only GDAL looks."""
    written, tag = tag, tag.lower()
    said = attributes.get("subclass")
    if (said is not None and said.lower() not in _CLASSES) or tag in _REFUSED or attributes.keys() & _REFUSED:
        raise UnusualVrt(f"a VRT with {said or written}: not supported here; {_ADVICE}")
    if tag in _ATTRIBUTES or attributes.keys() & _SOURCES:
        raise UnusualVrt(f"a VRT with {written} written in an unusual way: not supported here; {_ADVICE}")
    how = attributes.get("resampling", "nearest")
    if how.lower() not in _BY_PARTS:
        raise UnusualVrt(f"a VRT with resampling {how}, not the same by parts: not supported here; {_ADVICE}")


def _attributes(element: ElementTree.Element) -> dict[str, str]:
    found = {_plain(name): value for name, value in element.attrib.items()}
    if len(found) < len(element.attrib):
        raise BadVrt("damaged: a VRT with an attribute twice")
    return found


def _plain(name: str) -> str:
    """A name as GDAL compares it."""
    return name.rpartition("}")[2].lower()


def _root(path: str) -> ElementTree.Element:
    """Parse a VRT as UTF-8, as GDAL does whatever it declares; one that defines entities is refused."""
    if os.path.getsize(path) > _MOST_BYTES:
        raise BadVrt(f"a VRT of more than {_MOST_BYTES >> 20} MiB")
    with open(path, "rb") as file:
        text = file.read()
    if b"<!DOCTYPE" in text.upper() or b"<!ENTITY" in text.upper():
        raise BadVrt("damaged: a VRT with a document type")
    try:
        return ElementTree.fromstring(text.decode("utf-8-sig"))
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise BadVrt(f"damaged or truncated: the VRT cannot be parsed ({error})") from error
