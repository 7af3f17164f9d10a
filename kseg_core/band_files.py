"""Bands in files of their own: how their names are read, and the one path that stands for the files of a scene.

A `StackRule` tells from a path which scene a file is of, and which band it is: by the tokens that files of satellites
and drones end in, or by a pattern. A stack is then named as a shell would expand it, ``T32UPU_{B02,B03}_10m.jp2``: an
image's ``source`` in a store says of which files it is, and whoever opens it needs nothing else. Standard library only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kseg_core import storage
from kseg_core.errors import UsageError

AUTO = "auto"
_TAKES = "--stack takes auto, or a pattern with {band} such as '{scene}_{band}.tif'"
_SEPARATORS = "/_-. "

#: What is called so: of Sentinel-2 and HLS, Landsat, CBERS; wavelengths; colours; Parrot; DJI; MicaSense.
_BAND = (
    r"(?:SR_|ST_)?B\d{1,2}A?|B6_VCID_[12]|band_?\d{1,2}|\d{3,5}(?:\.\d+)?nm"
    r"|coastal(?:_?aerosol)?|blue|green|yellow|red(?:_?edge_?\d?)?|re\d|nir(?:_?(?:narrow|broad)|\d{0,2})"
    r"|swir_?\d{0,2}|mir|tir\d?|lwir|thermal|pan(?:chromatic)?|cirrus|gre|reg"
    r"|(?<=MS_)(?:R|G|B|RE)|(?<=IMG_\d{4}_)\d{1,2}"
)
_BY_TOKEN = re.compile(
    rf"(?P<head>|.*?[_\-. ])(?P<band>{_BAND})(?:[_-](?P<metres>\d+(?:\.\d+)?)m)?(?P<suffix>\.[A-Za-z][A-Za-z0-9]*)?",
    re.IGNORECASE | re.DOTALL,
)
#: What comes with the bands and is none: qualities, angles, products of a band's whole scene, masks of detectors.
_AUXILIARY = re.compile(
    r"(?:.*[_\-. ])?(?:QA_PIXEL|QA_RADSAT|SR_QA_AEROSOL|SR_(?:CLOUD_QA|ATMOS_OPACITY)|BQA|[SV][AZ]A"
    r"|ST_(?:ATRAN|CDIST|DRAD|EMIS|EMSD|QA|TRAD|URAD)|AOT|WVP|SCL|TCI|PVI|Fmask)(?:_\d+m)?(?:\.[A-Za-z0-9]+)?|MSK_.*",
    re.IGNORECASE | re.DOTALL,
)
_OF_RESOLUTION = re.compile(r"R?\d+m", re.IGNORECASE)  # a folder: R10m
_PLACEHOLDER = re.compile(r"\{\w*\}|[*?]")
#: A scene takes as much of a name as it can, its band the rest.
_ANY = {"{band}": "(?P<band>[^/]+?)", "{scene}": "(?P<scene>[^/]+)", "*": "[^/]*", "?": "[^/]"}
_NATURAL = re.compile(r"(\d+)")


class BandFile(NamedTuple):
    """What a file's path says of it.

    Attributes
    ----------
    scene
        The path of the scene: the file's without its band, and whatever else tells files of one scene apart.
    band
        As it is written; `same_band` of two that are one is equal.
    metres
        The resolution that the name states, infinite where it states none.
    """

    scene: str
    band: str
    metres: float = float("inf")


@dataclass(frozen=True, slots=True)
class StackRule:
    """How files are put together.

    Parameters
    ----------
    text
        ``auto``, or a pattern: ``{band}`` and ``{scene}`` stand for any part of one name, ``*`` and ``?`` for what does
        not matter. It is held against the end of a path, with as many folders as it has; case is ignored.

    Raises
    ------
    UsageError
        If it is neither.
    """

    text: str

    def __post_init__(self) -> None:
        if self.text == AUTO:
            return
        names = _PLACEHOLDER.findall(self.text)
        known = names.count("{band}") == 1 and names.count("{scene}") <= 1 and all(name in _ANY for name in names)
        if not known or {"{", "}"} & set(_PLACEHOLDER.sub("", self.text)):
            raise UsageError(f"{_TAKES}; got {self.text!r}")

    def band_file(self, path: str) -> BandFile | None:
        """What the path of a file says; None where it says no band."""
        return _by_token(path) if self.text == AUTO else self._by_pattern(path)

    def is_auxiliary(self, path: str) -> bool:
        """Whether a file without a band is one of those that satellites' bands come with."""
        return self.text == AUTO and _AUXILIARY.fullmatch(path.rpartition("/")[2]) is not None

    def scene_of(self, path: str) -> str | None:
        """The path of the scene that a stack's path stands for; None where it is no stack's."""
        parts = stacked_files(path)
        file = self.band_file(parts[0]) if parts else None
        return None if file is None else file.scene

    def bands_of(self, path: str) -> tuple[str, ...]:
        """The names of the bands of a stack, in the order of its files."""
        files = [self.band_file(part) for part in stacked_files(path)]
        return tuple(file.band for file in files if file is not None)

    def _by_pattern(self, path: str) -> BandFile | None:
        regex = "(?:(?P<folder>.*)/)?" + _regex_of(self.text.strip("/"))
        match = re.fullmatch(regex, path, re.IGNORECASE | re.DOTALL)
        if match is None:
            return None
        folder, scene = match["folder"], match.groupdict().get("scene")
        if scene is None:  # all files that match in one folder are of one scene
            return BandFile(path.rpartition("/")[0], match["band"])
        return BandFile(scene if folder is None else f"{folder}/{scene}", match["band"])


def _regex_of(pattern: str) -> str:
    regex, at = "", 0
    for place in _PLACEHOLDER.finditer(pattern):
        regex += re.escape(pattern[at : place.start()]) + _ANY[place[0]]
        at = place.end()
    return regex + re.escape(pattern[at:])


def _by_token(path: str) -> BandFile | None:
    folder, _, name = path.rpartition("/")
    match = None if _AUXILIARY.fullmatch(name) else _BY_TOKEN.fullmatch(name)
    if match is None:
        return None
    above, _, last = folder.rpartition("/")
    if _OF_RESOLUTION.fullmatch(last):  # Sentinel-2 has a folder for each resolution of a scene
        folder = above
    head = match["head"].rstrip(_SEPARATORS)
    scene = f"{folder}/{head}" if folder and head else folder or head
    return BandFile(scene, match["band"], float(match["metres"] or "inf"))


def same_band(name: str) -> str:
    """What the names of one band have in common: case is ignored."""
    return name.casefold()


def natural(name: str) -> tuple[tuple[str | int, ...], str]:
    """A key by which names of bands are in their order: numbers in them count as numbers (B8 < B8A < B09 < B10)."""
    parts = _NATURAL.split(name.casefold())
    return tuple(int(part) if at % 2 else part for at, part in enumerate(parts)), name


# The path of a stack


def stack_path(paths: Sequence[str]) -> str | None:
    """The one path that stands for those of a stack's files: what differs in braces, with commas between.

    None where no such path can be read again, as names have braces or commas where they differ.
    """
    common = _beginning(paths)
    start = max(common.rfind(sign) for sign in _SEPARATORS) + 1
    rests = [path[start:] for path in paths]
    common = _beginning([rest[::-1] for rest in rests])[::-1]
    cuts = [at for at in (common.find(sign) for sign in _SEPARATORS) if at >= 0]
    suffix = common[min(cuts) :] if cuts else ""
    differ = [rest[: len(rest) - len(suffix)] for rest in rests]
    if any(sign in text for text in differ for sign in "{,}") or "{" in suffix or len(paths) < 2:
        return None
    return f"{paths[0][:start]}{{{','.join(differ)}}}{suffix}"


def _beginning(texts: Sequence[str]) -> str:
    """What all of them begin with."""
    first, last = min(texts), max(texts)
    return first[: next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)]


def stacked_files(path: str) -> tuple[str, ...]:
    """The paths of the files that a stack's path stands for; none of any other path, a file that has such a name among
    them.
    """
    start = path.rfind("{")
    end = path.find("}", start)
    if start < 0 or end < 0 or "," not in path[start:end]:
        return ()
    if not storage.is_remote(path) and os.path.lexists(path):
        return ()
    return tuple(f"{path[:start]}{text}{path[end + 1 :]}" for text in path[start + 1 : end].split(","))
