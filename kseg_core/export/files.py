"""All files of one image that are made together: each whole, or not there at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kseg_core.errors import KsegError, StoreError, UnreadableImage
from kseg_core.images.geo import GeoReference
from kseg_core.inputs.companions import METADATA
from kseg_core.inputs.keys import folded
from kseg_core.products import FORMATS, KINDS, Clusters, file_name
from kseg_core.store.model import Model
from kseg_core.store.opening import StoredImage
from kseg_core.store.originals import Originals

from .drawing import Drawing, ImageReader, draw
from .settings import ExportSettings

_SUFFIX = re.compile(r"(?<=[^/])(\.ome)?\.[a-z][a-z0-9]{0,7}\Z", re.IGNORECASE)  # of an image


def names_for_files(keys: Iterable[str]) -> dict[str, str]:
    """What files of images begin with, by key: the image's name in its folder, without its suffix unless two of them
    differ by nothing else.

    Keys are safe names in folders, and so are these: no two are the same on any file system.

    Examples
    --------
    >>> names_for_files(["Plot A/IMG_0001.JPG", "slide.ome.tif", "leaf.jpg", "leaf.png"])["Plot A/IMG_0001.JPG"]
    'Plot A/IMG_0001'
    >>> sorted(names_for_files(["slide.ome.tif", "leaf.jpg", "leaf.png"]).values())
    ['leaf.jpg', 'leaf.png', 'slide']
    """
    whole = {key: f"{key}.image" if _ends_in_part(key) else key for key in keys}
    stems = {key: _SUFFIX.sub("", key) for key in whole}
    names = {key: whole[key] if _ends_in_part(stem) else stem for key, stem in stems.items()}
    while True:
        often = Counter(map(folded, names.values()))
        same = [key for key, name in names.items() if often[folded(name)] > 1 and name != whole[key]]
        if not same:
            return names
        names |= {key: whole[key] for key in same}


def _ends_in_part(name: str) -> bool:
    """Whether a name ends as one does that says what a file shows: it could be taken for that."""
    part = name.rpartition(".")[2].partition("-")[0]
    return any(part == (kind.part or kind.name) for kind in KINDS.values())


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file to be made."""

    # Of the image: its name in the store, what it was made of, as the store has it, and what its files begin with
    key: str
    source: str
    image: str
    what: str  # one of `KINDS`
    clusters: Clusters  # that it shows; None: all
    classes: tuple[str, ...] | None  # of these clusters, where it is of classes
    written_as: str  # one of `FORMATS`

    @property
    def name(self) -> str:
        """Where it is in the folder for files."""
        of = self.clusters if self.classes is None else self.classes
        return file_name(self.image, self.what, of, FORMATS[self.written_as].suffix)


@dataclass(frozen=True, slots=True)
class Target:
    """Where files go: an absolute path of a folder that is there, with folders of its own as names have them; ``token``
    is in the names of what is not finished.
    """

    folder: str
    token: str

    @contextlib.contextmanager
    def whole(self, name: str) -> Iterator[str]:
        """A path to write to; what is there when the block ends becomes the file of this name.

        Raises
        ------
        KsegError
            If it cannot be written.
        """
        path, aside = os.path.join(self.folder, name), self._aside(name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            yield aside
            os.replace(aside, path)
        except OSError as error:
            raise KsegError(f"{path}: cannot be written ({error.strerror or error})") from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(aside)

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[str]:
        """A path for a folder, which is gone when the block ends."""
        folder = f"{self._aside(name)}.d"
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def clean(self) -> None:
        """Remove what an interrupted export left unfinished."""
        for folder, folders, files in os.walk(self.folder):
            for name in folders:
                if name.startswith(f".{self.token}."):
                    shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
            for name in files:
                if name.startswith(f".{self.token}."):
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(folder, name))

    def _aside(self, name: str) -> str:
        folder, name = os.path.split(os.path.join(self.folder, name))
        return os.path.join(folder, f".{self.token}.{name}")


@dataclass(frozen=True, slots=True)
class Made:
    """What came of making some files: how many were made, the first ones, and why the others were not."""

    files: int
    failure: UnreadableImage | None = None

    def __post_init__(self) -> None:
        if self.failure is not None:
            object.__setattr__(self, "failure", self.failure.to_keep())


def export_files(
    store: str,
    files: tuple[ExportFile, ...],
    target: Target,
    settings: ExportSettings,
    originals: Originals,
    shared: Model | None,
) -> Made:
    """Make pictures of one image of a store; ``shared``: the model of all images, None where each has its own.

    Raises
    ------
    KsegError
        If a file cannot be written, for whatever reason: then the next one cannot be either.
    """
    key = files[0].key
    made = 0
    try:
        image = StoredImage(store, key)
        model = shared if shared is not None else image.model
        with ImageReader(image, model, originals, settings) as reader:
            for file in files:
                drawn = KINDS[file.what].drawn(file.written_as)
                picture = draw(drawn, reader, file.clusters or (), settings.line_rgb)
                _write(file, picture, image.georeference, target)
                made += 1
    except UnreadableImage as error:
        return Made(made, error)
    except StoreError as error:
        return Made(made, UnreadableImage(key, str(error)))
    return Made(made)


def _write(file: ExportFile, picture: Drawing, geo: GeoReference | None, target: Target) -> None:
    with target.whole(file.name) as path, target.scratch(file.name) as scratch:
        FORMATS[file.written_as].write(path, picture, geo, scratch)
        for name, content in _sidecars(file, picture, geo):
            with target.whole(name) as sidecar, open(sidecar, "x", encoding="utf-8") as text:
                text.write(content)


def _sidecars(file: ExportFile, picture: Drawing, geo: GeoReference | None) -> Iterator[tuple[str, str]]:
    """The small files that go with a picture: what they are called, and what is in them."""
    written_as, stem = FORMATS[file.written_as], os.path.splitext(file.name)[0]
    if written_as.world and geo is not None:
        yield f"{stem}.{written_as.world}", world_file(geo)
    if written_as.has_categories and picture.categories is not None:
        yield f"{file.name}{METADATA}", picture.categories.aux_xml()
        yield f"{stem}.qml", picture.categories.qml()


def world_file(geo: GeoReference) -> str:
    """What a world file says: the transform of pixel centres, column by column."""
    a, b, c, d, e, f = geo.transform
    return "".join(f"{number!r}\n" for number in (a, d, b, e, c + (a + b) / 2, f + (d + e) / 2))
