"""What a store has of an input already: an image is either complete and of the very file, or is done again."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from .. import storage
from ..config import OutputSettings
from ..errors import StoreError, UnreadableImage
from ..images.masks import mask_path
from ..inputs.companions import content_digest, mask_facts
from ..inputs.listing import FACTS, InputFile
from ..store.manifest import read_attributes
from ..store.nodes import read_document, write_group
from ..store.record import ImageRecord
from ..store.writing import LABELS, image_facts, image_folder


def finished_image(
    store: str, file: InputFile, output: OutputSettings, mask: str | None = None, *, shared: bool, mends: bool = True
) -> ImageRecord | None:
    """What the store says of a file's image; None where that is nothing, or not whole, or of another content.

    Parameters
    ----------
    store, file
        Which.
    output
        What there must be of it; with ``checksum`` content decides what is the same, where the store knows it, else
        size and time do.
    mask
        The mask, or the folder of masks.
    shared
        Whether all images have one model: then the record has exact sums.
    mends
        Whether the store may be told what was found out: that an image is not whole, or that its file was touched.
    """
    folder = image_folder(store, file.key)
    facts = image_facts(folder)
    if facts is None or facts.get("status") != "complete" or not _same_content(facts, file, output.checksum):
        return None
    try:
        if facts.get("mask") != mask_facts(mask and mask_path(mask, file.below, file.source)):
            return None
        record = _record(folder, facts, file.key, output, shared=shared)
        if record is None:
            if mends:
                storage.remove_file(os.path.join(folder, "zarr.json"))  # what is not whole must not say that it is
            return None
        if mends and not file.is_as(facts):
            _touched(folder, file)
    except (OSError, UnreadableImage):
        return None  # without its mask, or not to be had
    return record


def _record(
    folder: str, facts: dict[str, Any], key: str, output: OutputSettings, *, shared: bool
) -> ImageRecord | None:
    """What is said of an image that is whole; None where it is not, or where that is damaged or of an older version.

    Raises
    ------
    OSError
        If it cannot be looked at.
    """
    try:
        record = ImageRecord.from_attributes(key, facts)
        told = read_document(os.path.join(folder, LABELS))["attributes"]
        whole = record.agrees_with(told) and (record.sums is not None or not shared)
        arrays = _arrays(_levels(told), len(record.counts), output)
        documents = [os.path.join(folder, name, "zarr.json") for name in arrays]
    except (KeyError, TypeError, ValueError, OverflowError, FileNotFoundError):
        return None
    return record if whole and all(map(storage.is_file, documents)) else None


def _same_content(facts: dict[str, Any], file: InputFile, checksum: bool) -> bool:
    known = facts.get("checksum")
    if not checksum or not isinstance(known, str):
        return file.is_as(facts)
    try:
        return facts.get("beside", "") == file.beside and content_digest(file.path) == known
    except OSError:
        return False  # why, is told where it is read


def _touched(folder: str, file: InputFile) -> None:
    """Of an image whose file was touched, or copied anew: from now on its size and time are these."""
    for group in (os.path.join(folder, LABELS), folder):  # it is told in both
        attributes = read_document(group)["attributes"]
        told = {name: value for name, value in attributes["kseg"].items() if name not in FACTS} | file.facts
        write_group(group, {**attributes, "kseg": told})


def _arrays(levels: list[str], k: int, output: OutputSettings) -> list[str]:
    """Names of the arrays that an image must have; its edges are looked for where they are added."""
    return [
        *(os.path.join(LABELS, level) for level in levels),
        *(levels if output.copy_image else []),
        *(["masks"] if k and output.writes_masks(k) else []),  # of no cluster there are none
        *(["confidence"] if output.confidence else []),
    ]


def _levels(told: dict[str, Any]) -> list[str]:
    """Names of the label arrays that the attributes of an image's labels name."""
    (described,) = told["ome"]["multiscales"]
    return [str(level["path"]) for level in described["datasets"]]


def unfinished_images(store: str, besides: Collection[str] = ()) -> list[str]:
    """Names of the images that are there without being complete; those in ``besides`` are not looked at.

    One whose document cannot be read is not among them: it was complete, and `check` can have it repaired.
    """
    folder = os.path.join(store, "images")
    with storage.scan(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and entry.name not in besides]
    return sorted(name for name in names if _is_unfinished(os.path.join(folder, name)))


def _is_unfinished(folder: str) -> bool:
    try:
        return (read_attributes(folder) or {}).get("status") is None
    except StoreError:
        return False


def has_changed(store: str, file: InputFile, mask: str | None = None, *, checksum: bool = False) -> bool:
    """Whether a store has labels of a file that was another then, rather than none, or none that are whole.

    Parameters are those of `finished_image`.
    """
    folder = image_folder(store, file.key)
    facts = image_facts(folder)
    if facts is None or "size" not in facts:  # damaged: it is told once more with the labels
        facts = image_facts(os.path.join(folder, LABELS)) or {}
    if "size" in facts and not _same_content(facts, file, checksum):
        return True
    try:
        return "shape" in facts and facts.get("mask") != mask_facts(mask and mask_path(mask, file.below, file.source))
    except (OSError, UnreadableImage):
        return True  # the mask it had is not to be had any more
