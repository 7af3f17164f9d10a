"""Files made of a store for people and other tools, by name: the kinds and formats of exports, the figures of a report.

A kind says what a file shows and a format how it is written; settings, help, names of files and the search for inputs
(which none of these files is) go by these tables. Light: without NumPy.
"""

from __future__ import annotations

import hashlib
import importlib
import struct
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from .config import ADDED

Clusters = tuple[int, ...] | None  # that a file shows; None: all
What = Literal["cluster", "class"]  # that values of labels stand for
Content = Literal["picture", "outlines"]
Palette = Literal["mean", "distinct"]  # of clusters and classes without a colour of their own
Coordinates = Literal["degrees", "map", "pixels"]  # of outlines of an image that is placed on the ground

SOFTWARE = "kseg-batch"  # how the Software tag of an exported picture begins
PNG_PX = 64_000_000  # larger pictures are awkward for most viewers: --format auto makes tiled TIFF of them
_MOST_NUMBERS = 16  # a name with more clusters than this has their digest
_MOST_CHARACTERS = 60  # and one with longer names of classes: 255 bytes are the most that file systems take


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Parameters
    ----------
    name
        As ``--what`` takes it.
    help
        What it is, for ``export --help``.
    clusters
        One file shows ``all``; or ``each`` has its own; or those that were chosen come ``together``, and each has its
        own where none were; or those that were chosen, all where none were, are in ``one`` file.
    part
        What it is called in names of files; empty: as it is.
    is_bare
        Whether a file of all clusters has no such part in its name; of outlines only, which are no images.
    content
        Pictures are drawn by `export.drawing`: by a function of `DRAWN`, or as the layer of this name is. Outlines are
        traced by `workflows.regions`, by a function of `OUTLINED`.
    also
        What else ``--format`` can have of it.
    drawn_as
        Of a picture that is several files, one in each of these formats: which, and what draws it; ``--format`` may
        choose one of them.
    of_labels, is_painted, of_pixels
        Whether it shows labels, these in the colours of clusters, and the image's own pixels.
    has_by
        Whether ``--by`` chooses if it is of classes or of clusters.
    more_bytes
        Of memory that a task takes beyond `memory.VIEW_BYTES`.
    """

    name: str
    help: str
    clusters: Literal["all", "each", "together", "one"] = "all"
    part: str = ""
    is_bare: bool = False
    content: Content = "picture"
    also: tuple[Content, ...] = ()
    drawn_as: tuple[tuple[str, str], ...] = ()
    of_labels: bool = True
    is_painted: bool = False
    of_pixels: bool = False
    has_by: bool = False
    more_bytes: int = 0

    def __post_init__(self) -> None:
        if not (self.name + self.part).isidentifier():  # files that were made are known by what parts their names
            raise ValueError(f"expected a kind's name of letters, digits and underscores, got {self.name}, {self.part}")
        if self.is_bare and "picture" in self.contents:
            raise ValueError(f"{self.name}: expected a part in the names of pictures, or they are taken for inputs")

    @property
    def contents(self) -> tuple[Content, ...]:
        """All that there can be of it; the first is what there is unless ``--format`` says otherwise."""
        return self.content, *self.also

    def drawn(self, written_as: str) -> str:
        """What draws a picture of it in a format."""
        return dict(self.drawn_as).get(written_as, self.name)

    def files(self, k: int, chosen: Sequence[int] | None) -> list[Clusters]:
        """Of which clusters, of an image with ``k``, a file each is made; of classes, which are numbered as well."""
        there = None if chosen is None else tuple(sorted({j for j in chosen if j < k}))
        if self.clusters == "all" or (self.clusters == "one" and there is None):
            return [None]
        if there is None or self.clusters == "each":
            return [(j,) for j in (range(k) if there is None else there)]
        return [there] if there else []

    def in_name(self, of: Sequence[int | str] | None) -> str:
        """What follows an image's key in the name of a file of these clusters, or classes by name; None: of all."""
        if of is None:
            return "" if self.is_bare else f".{self.part or self.name}"
        names = "+".join(_written(str(each)) for each in of)
        if len(of) > _MOST_NUMBERS or len(names) > _MOST_CHARACTERS:
            what = "clusters" if all(isinstance(each, int) for each in of) else "classes"
            digest = hashlib.sha256("+".join(map(str, of)).encode()).hexdigest()[:8]
            names = f"{len(of)}-{what}-{digest}"
        return f".{self.part or self.name}-{names}"


def _written(name: str) -> str:
    """The name of a class in that of a file: letters and digits of any script, spaces, dashes and underscores as they
    are, all else percent-encoded, and so is what another Unicode form of the name could be taken for.
    """
    plain = unicodedata.is_normalized("NFC", name)
    return "".join(
        each
        if (each.isascii() or plain) and (each.isalnum() or each in " _-")
        else "".join(f"%{byte:02X}" for byte in each.encode())
        for each in name
    )


def by_name(kinds: Iterable[Kind]) -> dict[str, Kind]:
    """A table of kinds.

    Raises
    ------
    ValueError
        If files of two of them would have one name.
    """
    table: dict[str, Kind] = {}
    for kind in kinds:
        for other in table.values():
            if other.name == kind.name or any(other.in_name(each) == kind.in_name(each) for each in (None, (0,))):
                raise ValueError(f"expected kinds whose files have names of their own, got {other.name}, {kind.name}")
        table[kind.name] = kind
    return table


#: Of layers of the store that are added to labelled images.
ADDED_HELP = {"edges": "those that kseg-batch edges found"}

SEGMENTS = Kind(
    "segments",
    "their numbers as TIFF, and a PNG of each in its mean colour, at the store's level or another; with --format "
    "geojson their outlines",
    also=("outlines",),
    drawn_as=(("tiff", "segments"), ("png", "painted_segments")),
    of_labels=False,
    of_pixels=True,
    more_bytes=200_000_000,
)

KINDS = by_name(
    (
        Kind(
            "segmented",
            "each pixel in its cluster's colour, with --by class in that of its class",
            is_painted=True,
            has_by=True,
        ),
        Kind("labels", "a palette image whose indices are the clusters", is_painted=True),
        Kind("classes", "the same of classes, of a store whose clusters have names", is_painted=True),
        Kind("raw", "labels as they were before --min-region, of a run with --keep-raw", is_painted=True),
        Kind("masks", "black and white, one a class or cluster", "each", part="mask", has_by=True),
        Kind(
            "cutout",
            "the image's own pixels, on transparency, of each class or cluster, or of the chosen ones together",
            "together",
            of_pixels=True,
            has_by=True,
        ),
        *(
            SEGMENTS
            if name == SEGMENTS.name
            else Kind(name, ADDED_HELP.get(name, "as the run added it"), of_labels=False)
            for name in ADDED
        ),
        Kind(
            "boundaries",
            "lines between clusters, with --by class between classes, drawn on the image",
            of_pixels=True,
            has_by=True,
        ),
        Kind(
            "polygons",
            "outlines of the regions of each class or cluster",
            "one",
            is_bare=True,
            content="outlines",
            is_painted=True,
            has_by=True,
        ),
    )
)


# ---------------------------------------------------------------------------------------------------------- formats

#: Path; `export.drawing.Drawing` and `images.geo.GeoReference` or None, or `shapes.outlines.Outlines` and None; a path
#: for a folder that is gone afterwards.
Writer = Callable[[str, Any, Any, str], None]


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How files are written.

    Parameters
    ----------
    name
        As ``--format`` takes it where there are several for a content; the suffix does as well.
    suffix
        Of names of files.
    content
        What it holds.
    write
        Writes a whole picture, or outlines as they are traced; may raise `UnreadableImage` or `StoreError` where these
        cannot be read, `OSError` where the file cannot be written.
    is_ours
        Of a file's first `HEAD_BYTES` and the file: whether it says that this program made it.
    world
        The suffix of the world file beside a picture that has a place on the ground; empty: the file holds the place.
    has_categories
        Whether names and colours of labels go beside it, for GDAL and QGIS.
    coordinates
        Of outlines: longitude and latitude where the image has a coordinate system, those of this system, or pixels.
    synonyms
        What else ``--format`` takes for it.
    """

    name: str
    suffix: str
    content: Content
    write: Writer
    is_ours: Callable[[bytes, BinaryIO], bool] = lambda _head, _file: False
    world: str = ""
    has_categories: bool = False
    coordinates: Coordinates = "degrees"
    synonyms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.suffix.isalnum():
            raise ValueError(f"expected letters and digits as the suffix of {self.name}, got {self.suffix!r}")


def _by(module: str, name: str = "write") -> Writer:
    """A function of a module of `kseg_core.export`, loaded when it is first called."""

    def write(*details: Any) -> None:
        vars(importlib.import_module(f"kseg_core.export.{module}"))[name](*details)

    return write


HEAD_BYTES = 8 + 25 + 64  # of a PNG: signature, header, and the chunk after it
_SOFTWARE_TAG = 305
_MOST_TAGS = 4096


def _is_our_png(head: bytes, _: BinaryIO) -> bool:
    return head.startswith(b"\x89PNG") and b"tEXtSoftware\0" + SOFTWARE.encode() in head


def _is_our_tiff(head: bytes, file: BinaryIO) -> bool:
    order = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}.get(head[:4])
    if order is None:
        return False
    is_big = b"+" in head[:4]
    number, size, inside = ("Q", 20, 8) if is_big else ("H", 12, 4)
    offset = "Q" if is_big else "I"
    (start,) = struct.unpack_from(order + offset, head, 8 if is_big else 4)
    file.seek(start)
    (count,) = struct.unpack(order + number, file.read(struct.calcsize(number)))
    tags = file.read(min(count, _MOST_TAGS) * size)
    for at in range(0, len(tags) - size + 1, size):
        tag, _, length = struct.unpack_from(order + "HH" + offset, tags, at)
        if tag == _SOFTWARE_TAG and length > inside:
            file.seek(struct.unpack_from(order + offset, tags, at + size - inside)[0])
            return file.read(len(SOFTWARE)) == SOFTWARE.encode()
    return False


FORMATS = {
    each.name: each
    for each in (
        FileFormat("png", "png", "picture", _by("png"), _is_our_png, world="pgw"),
        FileFormat(
            "tiff", "tif", "picture", _by("tiff"), _is_our_tiff, has_categories=True, synonyms=("geotiff", "gtiff")
        ),
        FileFormat("geojson", "geojson", "outlines", _by("geojson")),
        FileFormat(
            "gpkg",
            "gpkg",
            "outlines",
            _by("vectors", "write_geopackage"),
            coordinates="map",
            synonyms=("geopackage",),
        ),
        FileFormat(
            "fgb",
            "fgb",
            "outlines",
            _by("vectors", "write_flatgeobuf"),
            coordinates="map",
            synonyms=("flatgeobuf",),
        ),
        FileFormat("qupath", "geojson", "outlines", _by("qupath"), coordinates="pixels"),
    )
}


def formats_of(content: Content) -> list[FileFormat]:
    """Those that hold such content."""
    return [each for each in FORMATS.values() if each.content == content]


def formats_to_choose() -> list[str]:
    """Which ``--format`` takes besides ``auto``: of contents that have several, or that a kind has besides another."""
    chosen = {content for kind in KINDS.values() if kind.also for content in kind.contents}
    return [each.name for each in FORMATS.values() if each.content in chosen or len(formats_of(each.content)) > 1]


def format_named(text: str) -> str:
    """The name of the format that a text means, whatever its case: by its name, its suffix or a synonym; the text
    itself where there is none.
    """
    plain = text.lower().removeprefix(".")
    return next((each.name for each in FORMATS.values() if plain in (each.name, each.suffix, *each.synonyms)), text)


def content_of(kind: Kind, wanted: str) -> Content:
    """What files of a kind hold; ``wanted`` as ``--format`` says."""
    return FORMATS[wanted].content if wanted != "auto" and FORMATS[wanted].content in kind.contents else kind.content


def written_as(kind: Kind, wanted: str, pixels: int, placed: bool) -> list[FileFormat]:
    """What a kind is written as; ``wanted``: as ``--format`` says, of an image of so many pixels that is placed on the
    ground or not.
    """
    content = content_of(kind, wanted)
    if content == "picture" and kind.drawn_as:
        names = [name for name, _ in kind.drawn_as]
        return [FORMATS[name] for name in ([wanted] if wanted in names else names)]
    if wanted != "auto" and FORMATS[wanted].content == content:
        return [FORMATS[wanted]]
    if content == "picture":
        return [FORMATS["tiff" if placed or pixels > PNG_PX else "png"]]
    return formats_of(content)[:1]


def file_name(image: str, what: str, of: Sequence[int | str] | None, suffix: str) -> str:
    """The name of a file: that of `export.files.names_for_files`, what it shows, and of which clusters or classes.

    What follows the image's name holds no dot but those that part it: two files never share a name, and none can lie
    outside the folder.

    Examples
    --------
    >>> file_name("Plot A/leaf", "masks", (3,), "png")
    'Plot A/leaf.mask-3.png'
    >>> file_name("leaf", "cutout", (1, 3), "png")
    'leaf.cutout-1+3.png'
    >>> file_name("leaf", "masks", ("bare soil",), "png")
    'leaf.mask-bare soil.png'
    """
    return f"{image}{KINDS[what].in_name(of)}.{suffix}"


# ---------------------------------------------------------------------------------------------------------- reports

PAGE = "report.html"
GENERATOR = '<meta name="generator" content="kseg-batch report">'
#: The figures of a report, as PNG beside its page; `report.figures` makes each.
FIGURES = (
    "palette.png", "comparison.png", "masks.png", *(f"{name}.png" for name in ADDED), "scatter.png", "history.png",
    "elbow.png", "several-k.png", "score.png",
)  # fmt: skip
