"""Which files are the references of an image: one, or one a person.

In a folder they are found as masks are: of the path of the image below its input, the same but for the suffix, or with
a suffix added. Where there is no such file, all that are called after it count: ``NAME_1.png``, ``NAME.anna.png``, and
the files of a folder ``NAME``. Pages of a TIFF of the image's size are references each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cached_property

from .. import storage
from ..errors import UnreadableImage, UsageError
from ..images.masks import MASK_SUFFIXES, is_folder_of_masks
from ..inputs.keys import printable_source


class ReferencePlace:
    """A file that is the reference of all images, or a folder of references.

    Parameters
    ----------
    path
        As it was given.
    images
        The paths of all images below their inputs: what is called after one of them is no other's.

    Raises
    ------
    UsageError
        If it is not there.
    """

    def __init__(self, path: str, images: Iterable[str]) -> None:
        if not path.strip() or not storage.exists(path):
            raise UsageError(f"--reference {path}: there is no such file or folder")
        self.path = path
        self._images = frozenset(map(_stem, images))
        self._entries: dict[str, list[str]] = {}

    @cached_property
    def is_folder(self) -> bool:
        """Whether each image has a reference of its own."""
        return is_folder_of_masks(self.path)

    def of(self, below: str, source: str) -> tuple[str, ...]:
        """Return the references of an image, in the order of their names.

        Parameters
        ----------
        below
            Its path below its input.
        source
            How it is called.

        Raises
        ------
        UnreadableImage
            Where there is none.
        """
        if not self.is_folder:
            return (self.path,)
        folder, name = os.path.split(os.path.join(self.path, *below.split("/")))
        stem = os.path.splitext(name)[0]
        names = self._in(folder)
        if name in names and _is_reference(name):
            return (os.path.join(folder, name),)
        found = [each for each in names if os.path.splitext(each)[0] in (name, stem) and _is_reference(each)]
        if len(found) > 1:
            listed, own = ", ".join(map(printable_source, found)), printable_source(stem)
            raise UnreadableImage(
                source,
                f"{listed} in {printable_source(folder)} are all called as it is: leave one, or call them {own}_1, "
                f"{own}_2, … where all count",
            )
        found = [os.path.join(folder, each) for each in found or self._of_several(below, stem, names)]
        own = os.path.join(folder, stem)
        if not found and stem in names and storage.is_dir(own):
            found = [os.path.join(own, each) for each in self._in(own) if _is_reference(each)]
        if not found:
            expected = printable_source(os.path.splitext(below)[0])
            raise UnreadableImage(
                source,
                f"no reference for it in {printable_source(self.path)}: expected {expected}.png or the like there",
            )
        return tuple(found)

    def _of_several(self, below: str, stem: str, names: list[str]) -> list[str]:
        """Those called after an image, and after no other."""
        above = os.path.dirname(below)
        found = []
        for name in names:
            own, rest = os.path.splitext(name)[0], name.removeprefix(stem)
            numbered = rest.startswith("_") and os.path.splitext(rest)[0][1:].isdecimal()
            if rest != name and (numbered or (rest.startswith(".") and rest.count(".") > 1)) and _is_reference(name):
                if _stem(f"{above}/{own}.") in self._images:
                    continue
                found.append(name)
        return found

    def _in(self, folder: str) -> list[str]:
        if folder not in self._entries:
            try:
                self._entries[folder] = sorted(storage.names(folder))
            except OSError:
                self._entries[folder] = []
        return self._entries[folder]


def _is_reference(name: str) -> bool:
    return os.path.splitext(name)[1][1:].lower() in MASK_SUFFIXES


def _stem(below: str) -> str:
    return os.path.splitext(below)[0].lstrip("/")
