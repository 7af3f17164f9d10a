"""What lies in folders and is no input: files that are plainly not images, and pictures that this program made.

The first are told by their names and never opened. The second say so themselves: an exported picture by its Software
tag, a report by its page, a sweep or a score by its record. A file that only has such a name (somebody's own
``x.mask.png``) is an input like any other.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Collection

from kseg_core import storage
from kseg_core.products import FIGURES, GENERATOR, HEAD_BYTES, KINDS, PAGE, formats_of

_SUFFIXES = (
    # text
    "txt text md rst tex rtf csv tsv json jsonl geojson xml yaml yml toml ini cfg conf log html htm css "
    # beside photographs
    "xmp aae pp3 dop cos lrcat aco ase gpl "
    # beside maps
    "gpx kml prj shp shx dbf cpg qgs qgz qml qlr gpkg fgb qix sbn sbx "
    # world files
    "wld tfw jgw pgw bpw gfw wpw j2w jpw tifw tiffw jpgw jpegw pngw bmpw gifw webpw jp2w tfwx jgwx pgwx "
    # overviews, masks, statistics: of the image beside them
    "aux ovr msk rrd rpb imd enp "
    # documents
    "pdf doc docx xls xlsx ppt pptx odt ods odp "
    # packed
    "zip tar gz tgz bz2 xz 7z rar zst md5 sha1 sha256 part crdownload "
    # video and sound
    "mp4 m4v mov avi mkv webm wmv mpg mpeg mts m2ts 3gp mp3 m4a aac wav flac ogg "
    # programs and their data
    "py pyc pyi ipynb js sh bat ps1 c h cpp hpp rs go java exe dll so db sqlite pkl pt pth onnx lnk url"
)
#: Suffixes and whole names, in lower case, of what is plainly not an image.
_NO_IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
_NO_IMAGE_NAMES = frozenset(["readme", "license", "licence", "copying", "makefile", "thumbs.db", "desktop.ini"])

PAGE_HEAD_BYTES = 2000  # of a report's page, where its generator is named
SWEEP = "sweep"  # what a sweep's record says of itself
SWEEP_TABLE, SWEEP_FIGURE, SWEEP_RECORD = "sweep.csv", "sweep.png", "sweep.json"
SCORE = "score"  # what a score's record says of itself
SCORE_FIGURE, SCORE_RECORD = "confusion.png", "score.json"


def is_plainly_no_image(name: str) -> bool:
    """Whether a file's name alone says that it is no picture."""
    name = name.lower()
    _, dot, suffix = name.rpartition(".")
    return name in _NO_IMAGE_NAMES or (dot == "." and suffix in _NO_IMAGE_SUFFIXES)


def is_exported(path: str) -> bool:
    """Whether a file is a picture that was exported: by its name, and by what it says itself."""
    key, part, suffix = ("", "", *os.path.basename(path).rsplit(".", 2))[-3:]
    formats = [each for each in formats_of("picture") if each.suffix == suffix]
    part, dash, clusters = part.partition("-")
    kinds = (kind.part or kind.name for kind in KINDS.values() if "picture" in kind.contents)
    if not key or not formats or (dash and not clusters) or part not in kinds:
        return False
    try:
        with storage.open_file(path) as file:
            head = file.read(HEAD_BYTES)
            return any(each.is_ours(head, file) for each in formats_of("picture"))
    except (OSError, struct.error, OverflowError):
        return False  # the reader will say what is wrong with it


def is_report(folder: str) -> bool:
    """Whether a report of this program is in a folder."""
    try:
        with storage.open_file(os.path.join(folder, PAGE)) as file:
            return GENERATOR.encode() in file.read(PAGE_HEAD_BYTES)
    except OSError:
        return False


def is_sweep(folder: str) -> bool:
    """Whether a sweep of this program is in a folder."""
    return _says(os.path.join(folder, SWEEP_RECORD), SWEEP)


def is_score(folder: str) -> bool:
    """Whether a score of this program is in a folder."""
    return _says(os.path.join(folder, SCORE_RECORD), SCORE)


def _says(path: str, kind: str) -> bool:
    """Whether a file is a record of a kind."""
    try:
        record = json.loads(storage.read(path))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("kind") == kind


def figures_in(folder: str, names: Collection[str]) -> frozenset[str]:
    """Which of the names in a folder are figures of a report, a sweep or a score that is there."""
    figures = FIGURES if PAGE in names and is_report(folder) else ()
    sweeps = (SWEEP_FIGURE,) if SWEEP_RECORD in names and is_sweep(folder) else ()
    scores = (SCORE_FIGURE,) if SCORE_RECORD in names and is_score(folder) else ()
    return frozenset({*figures, *sweeps, *scores}.intersection(names))
