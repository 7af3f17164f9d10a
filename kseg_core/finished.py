"""What a store has of an input already: an image is either complete and of the very file, or is done again."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from . import storage
from .checksum import content_digest
from .errors import StoreError, UnreadableImage
from .inputs import InputFile
from .manifest import read_attributes
from .nodes import read_document, write_group
from .record import sums_from_json
from .sums import ClusterSums
from .validity import mask_path
from .writing import LABELS, image_folder


def mask_facts(mask: str | None) -> dict[str, int] | None:
    """Bytes and modification time of an image's mask, as its attributes have them; None where it has none."""
    if mask is None:
        return None
    status = storage.stat(mask)
    return {"size": status.st_size, "modified": status.st_mtime_ns}


@dataclass(frozen=True, slots=True)
class FinishedImage:
    """An image that need not be labelled.

    Parameters
    ----------
    pixels, counts, inertia
        As its attributes have them.
    sums
        Exact sums; None where each image has its own model.
    """

    pixels: int
    counts: tuple[int, ...]
    inertia: float
    sums: ClusterSums | None


def finished_image(
    store: str, file: InputFile, mask: str | None = None, *, shared: bool, checksum: bool = False, mends: bool = True
) -> FinishedImage | None:
    """What the store has of a file; None where that is nothing, or not whole, or of another content.

    Parameters
    ----------
    store, file
        Which.
    mask
        The mask, or the folder of masks.
    shared
        Whether all images have one model, so that their exact sums are wanted.
    checksum
        Whether content decides what is the same, where the store knows it; else size and time do.
    mends
        Whether the store may be told what was found out: that an image is not whole, or that its file was touched.
    """
    folder = image_folder(store, file.key)
    facts = _facts(folder)
    if facts is None or facts.get("status") != "complete" or not _same_content(folder, facts, file, checksum, mends):
        return None
    try:
        if facts.get("mask") != mask_facts(mask and mask_path(mask, file.below, file.source)):
            return None
        height, width = facts["shape"]
        counts = tuple(facts["counts"])
        sums = sums_from_json(facts["sums"], counts) if shared else None
        whole = all(storage.is_file(os.path.join(folder, LABELS, path, "zarr.json")) for path in _levels(folder))
        if not whole and mends:
            storage.remove_file(os.path.join(folder, "zarr.json"))  # what is not whole must not say that it is
        return FinishedImage(height * width, counts, float(facts["inertia"]), sums) if whole else None
    except (KeyError, TypeError, ValueError, OSError, UnreadableImage):
        return None  # of an older version, damaged, or without its mask


def _facts(folder: str) -> dict[str, Any] | None:
    try:
        return read_attributes(folder)
    except StoreError:
        return None  # damaged: to be done again


def _same_content(folder: str, facts: dict[str, Any], file: InputFile, checksum: bool, mends: bool) -> bool:
    same = (facts.get("size"), facts.get("modified")) == (file.size, file.modified_ns)
    known = facts.get("checksum")
    if not checksum or not isinstance(known, str):
        return same
    try:
        if content_digest(file.path) != known:
            return False
    except OSError:
        return False  # why, is told where it is read
    if not same and mends:  # touched, or copied anew: from now on its size and time are these
        attributes = read_document(folder)["attributes"]
        changed = {**facts, "size": file.size, "modified": file.modified_ns}
        write_group(folder, {**attributes, "kseg": changed})
    return True


def _levels(folder: str) -> list[str]:
    """Names of the label arrays that its metadata names."""
    (described,) = read_document(os.path.join(folder, LABELS))["attributes"]["ome"]["multiscales"]
    return [str(level["path"]) for level in described["datasets"]]


def unfinished_images(store: str, besides: Collection[str] = ()) -> list[str]:
    """Names of the images that are there without being complete; those in ``besides`` are not looked at."""
    folder = os.path.join(store, "images")
    with storage.scan(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and entry.name not in besides]
    return sorted(name for name in names if (_facts(os.path.join(folder, name)) or {}).get("status") is None)


def images_of(store: str) -> set[str]:
    """Names of all its images."""
    with storage.scan(os.path.join(store, "images")) as entries:
        return {entry.name for entry in entries if entry.is_dir()}
