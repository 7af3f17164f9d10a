"""From an image of a store back to the file it was made from, if that is still there and still the same, and to its
pixels as a person sees them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import storage
from ..band_files import StackRule, stacked_files
from ..clustering.bands import BandSpace
from ..config import InputSettings
from ..errors import StoreError, UnreadableImage, UsageError
from ..images import Picture
from ..inputs.companions import companions_of, state_of
from ..inputs.keys import is_key_of, printable_source
from ..inputs.listing import InputFile, file_status
from ..reading.sources import ImageSource
from .nodes import DAMAGE
from .opening import StoredImage

if TYPE_CHECKING:
    import zarr

U8 = NDArray[np.uint8]

CHANGED = "changed since it was labelled"
_ENCODED = re.compile("%[89A-F][0-9A-F]")  # how an undecodable byte is printed; none is below 0x80


class OfFile(Protocol):
    """An image of a store, as far as it says of which file it is."""

    @property
    def key(self) -> str: ...

    @property
    def attributes(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Originals:
    """Where the images of a store came from, and what their run was told of inputs; cheap to send to a worker.

    Parameters
    ----------
    folder
        The current folder of the run, which relative sources and masks are relative to; as it is printed.
    settings
        The run's settings but for its mask.
    mask
        As it is printed.
    begun
        When the store was begun, in seconds since 1970; None: not known. A mask that is younger is not the run's.
    """

    folder: str = ""
    settings: InputSettings = field(default_factory=InputSettings)
    mask: str | None = None
    begun: float | None = None

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Originals:
        """Those of a store with these attributes (``Store.attributes``)."""
        inputs = (attributes.get("config") or {}).get("input") or {}
        created = attributes.get("created")
        return cls(
            str(attributes.get("folder") or ""),
            InputSettings.from_json({**inputs, "mask": None}),
            inputs.get("mask"),
            None if created is None else datetime.fromisoformat(str(created)).timestamp(),
        )

    def open(self, image: OfFile, *, masked: bool = True) -> ImageSource:
        """The source of an image, as the run saw it.

        Parameters
        ----------
        image
            Of the store.
        masked
            Whether the run's mask is needed; without it, `Piece.read` has pixels as valid that the run left out.

        Raises
        ------
        UnreadableImage
            If the source or its mask has gone, changed since it was labelled, or cannot be read.
        """
        file = self.find(image)
        try:
            mask = self.mask_of(file) if masked else None
            source = ImageSource.open(file, replace(self.settings, mask=mask))
        except UsageError as error:
            raise UnreadableImage(file.source, str(error)) from error
        if list(source.shape) != list(image.attributes.get("shape") or source.shape):
            raise UnreadableImage(file.source, "changed since it was labelled")
        if source.mask is not None and self.begun is not None:
            status = file_status(source.mask)
            if status is None or status.st_mtime > self.begun + 1:  # `created` is in whole seconds
                raise UnreadableImage(file.source, f"its mask {source.mask} has changed since it was labelled")
        return source

    def find(self, image: OfFile) -> InputFile:
        """The file of an image: there, and of the size and age it had.

        Raises
        ------
        UnreadableImage
            If it is not.
        """
        facts = image.attributes
        printed = str(facts.get("source"))
        there = False
        for path, below in _candidates(self._path(printed), image.key, self.settings.stack_rule):
            status = file_status(path)
            if status is None:
                continue
            there = True
            beside = state_of(companions_of(path)) if self.settings.validity > 1 else ""
            file = InputFile(path, printed, image.key, status.st_size, status.st_mtime_ns, below or printed, beside)
            if file.is_as(facts):
                return file
        if there:
            raise UnreadableImage(printed, CHANGED)
        from_root = os.path.isabs(printed) or storage.is_remote(printed)
        looked = "" if from_root else f" in {self.folder or 'the current folder'}"
        raise UnreadableImage(printed, f"the image it was labelled from is not there any more{looked}")

    def _path(self, printed: str) -> str:
        """A source as seen from wherever we are; those of a stack's files may be absolute, and their path is not."""
        files = stacked_files(printed) if self.settings.stack is not None else ()
        if files and os.path.isabs(files[0]):
            return printed
        return storage.below(self.folder, printed)

    def state(self, image: OfFile) -> Literal["there", "gone", "changed"] | None:
        """What has become of the file of an image; None: in an object store, where each look would be a request."""
        if storage.is_remote(self._path(str(image.attributes.get("source")))):
            return None
        try:
            self.find(image)
        except UnreadableImage as error:
            return "changed" if error.reason == CHANGED else "gone"
        return "there"

    def below(self, image: OfFile) -> str:
        """The path of an image's file below the run's input, whether or not it is still there."""
        printed = str(image.attributes.get("source"))
        candidates = _candidates(self._path(printed), image.key, self.settings.stack_rule)
        return next((below for _, below in candidates if below is not None), os.path.basename(printed))

    def mask_of(self, file: InputFile) -> str | None:
        """The mask, or the folder of masks, from wherever we are.

        Raises
        ------
        UnreadableImage
            Of the file, if it has gone.
        """
        if self.mask is None:
            return None
        path = storage.below(self.folder, self.mask)
        found = next((each for each in paths_printed_as(path) if storage.exists(each)), None)
        if found is None:
            raise UnreadableImage(file.source, f"its mask {self.mask} is not there any more")
        return found


def paths_printed_as(printed: str) -> Iterator[str]:
    """Every path that `printable_source` prints so: the text itself, and names on disk with undecodable bytes.

    ``%FF`` may be a byte that no character has or three characters of a name. Only the folder's listing can tell.
    """
    if storage.is_remote(printed):  # names of objects are UTF-8
        yield printed
        return
    found = [""]
    for at, part in enumerate(printed.split("/")):
        slash = "/" if at else ""
        if _ENCODED.search(part):
            found = [f"{folder}{slash}{name}" for folder in found for name in _names_printed_as(folder + slash, part)]
        else:
            found = [f"{folder}{slash}{part}" for folder in found]
    yield from found


def _names_printed_as(folder: str, printed: str) -> list[str]:
    try:
        return [name for name in sorted(os.listdir(folder or ".")) if printable_source(name) == printed]
    except OSError:  # a folder that may be passed through but not listed
        return [printed]


def _candidates(printed: str, key: str, rule: StackRule | None) -> Iterator[tuple[str, str | None]]:
    """Paths printed so, with the part below the run's input that the key was made of; if any has one, only such.

    ``rule``: how files were put together, as that of a stack is made of its scene's path.
    """
    scenes = ((path, rule.scene_of(path) if rule else None) for path in paths_printed_as(printed))
    paths = [(path, path_below(scene or path, key)) for path, scene in scenes]
    yield from [each for each in paths if each[1] is not None] or paths


def path_below(path: str, key: str) -> str | None:
    """The end of a path that has this key, which is that below the input; None where none has."""
    parts = path.split("/")
    ends = ("/".join(parts[at:]) for at in reversed(range(len(parts))))
    return next((end for end in ends if end and is_key_of(key, end)), None)


# --------------------------------------------------------------------------------------------------- pixels to be shown


@dataclass(frozen=True, slots=True)
class ShownPixels:
    """An image's pixels.

    Parameters
    ----------
    shape
        (height, width).
    read
        Window of rows and columns -> uint8 (y, x, 3), sRGB. Samples of bands are shown as the clusters' colours are:
        those that its model shows, stretched. Pixels that are not valid have any colour.
    full_width
        Whether windows of full width are read best: the source is striped, or decoded whole.
    """

    shape: tuple[int, int]
    read: Callable[[slice, slice], U8]
    full_width: bool


@contextmanager
def open_shown(image: StoredImage, originals: Originals, bands: BandSpace | None) -> Iterator[ShownPixels]:
    """Open an image's pixels; to be used by one thread at a time.

    Parameters
    ----------
    image
        Of a store.
    originals
        Where the store's images came from.
    bands
        The feature space of its model, where that is one of bands.

    Raises
    ------
    UnreadableImage
        If they are not in the store, and the source has gone, has changed, or cannot be read.
    StoreError
        If the copy in the store is damaged.
    """
    copy = image.image
    if copy is not None:
        height, width = copy.shape[1:]
        yield ShownPixels((height, width), _reader_of_copy(image, copy, bands), full_width=False)
        return
    source = originals.open(image, masked=False)  # which pixels count is in the labels
    with source.opened() as picture:
        block = source.info.block
        yield ShownPixels(
            source.shape,
            _reader_of_source(picture, source, bands),
            full_width=block is None or block[1] >= source.shape[1],
        )


def _reader_of_copy(image: StoredImage, copy: zarr.Array[Any], bands: BandSpace | None) -> Callable[[slice, slice], U8]:
    shown = (0, 1, 2) if bands is None else bands.shown

    def read(rows: slice, columns: slice) -> U8:
        try:
            samples = np.stack([np.asarray(copy[channel, rows, columns]) for channel in shown])
        except DAMAGE as error:
            raise StoreError(f"{image.path}: the copy of the image cannot be read ({error})") from error
        deep = np.moveaxis(samples, 0, -1)
        return np.ascontiguousarray(deep) if bands is None else bands.shades_of_shown(deep)

    return read


def _reader_of_source(picture: Picture, source: ImageSource, bands: BandSpace | None) -> Callable[[slice, slice], U8]:
    places = () if bands is None else tuple(dict.fromkeys(bands.shown))  # a band may be shown twice
    shown = None if bands is None else source.selected(tuple(bands.bands[at] for at in places))

    def read(rows: slice, columns: slice) -> U8:
        if bands is None or shown is None:
            return picture.rgb(rows, columns, source.nodata).samples
        samples = shown.of_samples(picture.samples(rows, columns, shown.numbers).samples)
        return bands.shades_of_shown(samples[..., [places.index(at) for at in bands.shown]])

    return read
