"""Masks that users give: which file is an image's, and whether it fits."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache

from kseg_core import storage
from kseg_core.errors import UnreadableImage
from kseg_core.images.formats import DECODERS
from kseg_core.images.polygons import POLYGON_SUFFIXES

#: What a mask's file may be called after the dot, when its name is otherwise that of the image.
MASK_SUFFIXES = POLYGON_SUFFIXES.union(*(decoder.mask_suffixes for decoder in DECODERS))


def mask_path(mask: str, below: str, source: str, *, is_folder: bool | None = None) -> str:
    """Return the file that is the mask of an image.

    Parameters
    ----------
    mask
        What the user named: one file for all images, or a folder of masks.
    below
        The path of the image below its input (`InputFile.below`): in a folder, its mask has the same path, or the same
        but for the suffix (``a/b.jpg``: ``a/b.png``), or with a suffix added (``a/b.jpg.png``).
    source
        The image as the user knows it.
    is_folder
        As of `is_folder_of_masks`; None: look.

    Raises
    ------
    UnreadableImage
        Where there is no such file, or more than one.
    """
    if not (is_folder_of_masks(mask) if is_folder is None else is_folder):
        return mask
    same = os.path.join(mask, *below.split("/"))
    if storage.exists(same):
        return same
    folder, name = os.path.split(same)
    stems, entries = {name, os.path.splitext(name)[0]}, list[str]()
    with suppress(OSError):
        split = ((entry, *os.path.splitext(entry)) for entry in sorted(storage.names(folder)))
        entries = [entry for entry, stem, suffix in split if stem in stems and suffix[1:].lower() in MASK_SUFFIXES]
    if len(entries) != 1:
        what = f"several masks for it in {mask}: {', '.join(entries)}" if entries else f"no mask for it in {mask}"
        raise UnreadableImage(source, what)
    return os.path.join(folder, entries[0])


def is_folder_of_masks(mask: str) -> bool:
    """Say whether what the user named is a folder of masks, and not one mask that is a directory (a Zarr array)."""
    return _is_remote_folder(mask) if storage.is_remote(mask) else _is_folder(mask)


def _is_folder(mask: str) -> bool:
    markers = ("zarr.json", ".zarray", ".zgroup")
    return storage.is_dir(mask) and not any(storage.exists(os.path.join(mask, marker)) for marker in markers)


_is_remote_folder = lru_cache(maxsize=64)(_is_folder)  # looked at once a process: each look is several requests


def check_mask_shape(shape: tuple[int, int], mask_shape: tuple[int, int], source: str, path: str) -> None:
    """Raise an `UnreadableImage` for an image whose mask is of another size, naming both as width x height."""
    if shape != mask_shape:
        raise UnreadableImage(
            source, f"the image is {shape[1]} x {shape[0]}, its mask {path} is {mask_shape[1]} x {mask_shape[0]}"
        )
