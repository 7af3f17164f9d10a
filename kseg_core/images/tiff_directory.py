"""The directories (pages) of a TIFF, read without tifffile.

What a file states is looked at before a library builds lists of it. And a scan of ten thousand pages is opened for
every piece that is read of it, while of most pages nothing matters but how large they are and of what kind: that takes
a tenth of tifffile's time.
"""

from __future__ import annotations

import io
import struct
from functools import cached_property
from typing import BinaryIO, NamedTuple, TypeAlias

from kseg_core.images.raster import Refused

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of TIFFs and of BigTIFFs

# Tags of TIFF 6.0 and its supplements that readers look at.
SUBFILE, OLD_SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION, MAKE, ORIENTATION, SAMPLES = (
    254, 255, 256, 257, 258, 259, 262, 270, 271, 274, 277,
)  # fmt: skip
PAGE_NAME, T4_OPTIONS, COLOUR_MAP, SUB_IFDS, INTERCHANGE, COEFFICIENTS, SUBSAMPLING, BLACK_WHITE, XMP = (
    285, 292, 320, 330, 513, 529, 530, 532, 700,
)  # fmt: skip
#: ModelPixelScale, ModelTiepoint, ModelTransformation and GeoKeyDirectory, of GeoTIFF.
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS = 33550, 33922, 34264, 34735
STK_PLANES, PROFILE, GDAL_METADATA, GDAL_NODATA, DNG_VERSION, NDPI = 33628, 34675, 42112, 42113, 50706, 65420
#: Without them a page would be taken for something else (the description holds OME's channels).
MEANINGFUL = frozenset((
    BITS, PHOTOMETRIC, 266, DESCRIPTION, ORIENTATION, SAMPLES, 284, T4_OPTIONS, 317, COLOUR_MAP, 338, 339, 347, PROFILE,
))  # fmt: skip
#: They have one whole number each.
_SCALARS = {
    WIDTH: "width", LENGTH: "height", COMPRESSION: "compression", PHOTOMETRIC: "colours", 266: "order of bits",
    SAMPLES: "number of samples", 278: "rows of a strip", 284: "planes", 317: "predictor", 322: "width of a tile",
    323: "height of a tile",
}  # fmt: skip
_LISTS = {273: "strips", 279: "strips", 324: "tiles", 325: "tiles"}

#: Field types of unsigned whole numbers.
_UNSIGNED = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
#: Field types of whole numbers, signed ones too, and the bytes of one.
WHOLE_NUMBERS = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}

_BIG = 43  # the version of a BigTIFF
_MOST_TAGS = 4096  # as tifffile has it: more is damage
_MOST_PAGES = 1 << 20
_MOST_NUMBERS = 64  # of a tag that is read here: of SubIFDs
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_OLD_REDUCED = 2  # SubfileType: reduced resolution
_TRANSPARENCY = 4  # PhotometricInterpretation of masks, whatever else is said of them


#: A tag: its code, field type, the number of its values, and these, or in as many bytes the offset of them.
_Tag: TypeAlias = tuple[int, int, int, bytes]


class Directory:
    """One page of a TIFF, as far as its tags tell.

    Attributes
    ----------
    offset, following
        Where the directory is in the file, and the next one; 0: there is none.
    is_cut
        Whether the file ends before it does.
    """

    def __init__(self, of: Directories, offset: int) -> None:
        self._of, self.offset = of, offset
        head = of.read(offset, of.count.size)
        if len(head) < of.count.size:
            raise Refused("truncated: the TIFF ends before its first directory")
        (count,) = of.count.unpack(head)
        length = count * of.tag.size
        data = of.read(offset + of.count.size, min(length, _MOST_TAGS * of.tag.size) + of.offset.size)
        self.is_cut = length > len(data)
        after = data[length:]
        self.following: int = of.offset.unpack(after)[0] if len(after) == of.offset.size else 0
        self._data = data[: min(length, len(data) // of.tag.size * of.tag.size)]

    @cached_property
    def tags(self) -> dict[int, _Tag]:
        """Of several of one code the first, as tifffile has it."""
        return {tag[0]: tag for tag in reversed([*self._of.tag.iter_unpack(self._data)])}

    def numbers(self, code: int) -> tuple[int, ...]:
        """The first values of a tag; none where it is missing, or not of whole numbers."""
        _, kind, count, data = self.tags.get(code, (0, 0, 0, b""))
        if kind not in _UNSIGNED:
            return ()
        form = struct.Struct(f"{self._of.order}{min(count, _MOST_NUMBERS)}{_UNSIGNED[kind]}")
        if count * WHOLE_NUMBERS[kind] > len(data):
            data = self._of.read(self._of.offset.unpack(data)[0], form.size)
        return form.unpack_from(data) if len(data) >= form.size else ()

    def first(self, code: int, default: int) -> int:
        """The first value of a tag."""
        values = self.numbers(code)
        return values[0] if values else default

    def text(self, code: int, most: int) -> bytes:
        """The bytes of a tag's values; none where they are in the directory itself, or more than ``most``."""
        _, _, count, data = self.tags.get(code, (0, 0, 0, b""))
        return self._of.read(self._of.offset.unpack(data)[0], count) if len(data) < count <= most else b""

    def check(self) -> None:
        """Look at what a library would build lists of.

        Raises
        ------
        Refused
            Where the directory or a list of strips or tiles reaches beyond the file's end, or a tag that is one whole
            number is not.
        """
        if self.is_cut:
            raise Refused("truncated: the TIFF's directory reaches beyond the file's end")
        for tag, kind, count, data in self._of.tag.iter_unpack(self._data):
            if tag in _SCALARS and (count != 1 or kind not in WHOLE_NUMBERS):
                raise Refused(f"damaged: the TIFF's {_SCALARS[tag]} (tag {tag}) is not one whole number")
            if tag in _LISTS:
                taken = count * WHOLE_NUMBERS.get(kind, 0)
                if not taken:
                    raise Refused(f"damaged: the TIFF's list of {_LISTS[tag]} (tag {tag}) is not of whole numbers")
                if taken > len(data) and self._of.offset.unpack(data)[0] + taken > self._of.size:
                    raise Refused(
                        f"truncated: the TIFF's list of {_LISTS[tag]} (tag {tag}) reaches beyond the file's end"
                    )


class Page(Directory):
    """A directory as one of many, of which little is kept.

    Attributes
    ----------
    number
        In the file's chain, from 0; of a page below another (SubIFDs), that one's.
    """

    def __init__(self, of: Directories, offset: int, number: int, *, is_below: bool) -> None:
        super().__init__(of, offset)
        self.number, self.is_below = number, is_below
        self.height, self.width = self.first(LENGTH, 0), self.first(WIDTH, 0)
        self.pixels = self.height * self.width
        kind = self.first(SUBFILE, _REDUCED * (self.first(OLD_SUBFILE, 1) == _OLD_REDUCED))
        self.is_reduced = bool(kind & _REDUCED)
        self.is_mask = bool(kind & _MASK) or self.first(PHOTOMETRIC, 0) == _TRANSPARENCY
        self.sub_ifds, self.is_empty = self.numbers(SUB_IFDS), not self.tags
        del self.tags

    @property
    def layout(self) -> tuple[int, ...]:
        """What planes of one picture have in common."""
        alike = {SAMPLES: 1, BITS: 1, COMPRESSION: 1, PHOTOMETRIC: 0}
        return self.height, self.width, *(self.first(code, default) for code, default in alike.items())


class Pages(NamedTuple):
    """All pages of a file: those of its chain, those below these, and whether the chain leads to nowhere."""

    chain: list[Page]
    below: list[Page]
    is_broken: bool


class Directories:
    """The directories of a TIFF.

    Parameters
    ----------
    file
        A TIFF, or a block of EXIF; it may be read by others in between.

    Raises
    ------
    Refused
        Where the file ends before its first directory.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.size = file, file.seek(0, io.SEEK_END)
        head = self.read(0, 16)
        self.order = "<" if head[:2] == b"II" else ">"
        try:
            is_big = struct.unpack_from(self.order + "H", head, 2)[0] == _BIG
            forms = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")
            self.count, self.tag, self.offset = (struct.Struct(self.order + each) for each in forms)
            (first,) = self.offset.unpack_from(head, 8 if is_big else 4)
        except struct.error:
            raise Refused("truncated: the TIFF ends before its first directory") from None
        self.first = self.at(first)

    def read(self, offset: int, length: int) -> bytes:
        """Read bytes; fewer where the file ends."""
        self._file.seek(min(offset, self.size))
        return self._file.read(length)

    def at(self, offset: int) -> Directory:
        """Read the directory at an offset."""
        return Directory(self, offset)

    def walk(self) -> Pages:
        """Read all."""
        pages, seen = Pages([], [], False), set[int]()
        following = self.first.offset
        while following and len(pages.chain) < _MOST_PAGES:
            directory = None if following in seen else self.page(following, len(pages.chain))
            if directory is None:
                return pages._replace(is_broken=True)
            seen.add(following)
            pages.chain.append(directory)
            for offset in directory.sub_ifds:
                if offset not in seen and (part := self.page(offset, directory.number, is_below=True)):
                    seen.add(offset)
                    pages.below.append(part)
            following = directory.following
        return pages

    def page(self, offset: int, number: int, *, is_below: bool = False) -> Page | None:
        """Read a page; None where none can be."""
        if not 0 < offset < self.size:
            return None
        try:
            page = Page(self, offset, number, is_below=is_below)
        except Refused:
            return None
        return None if page.is_cut or page.is_empty else page


def exif_orientation(exif: bytes | None) -> int:
    r"""Return the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read.

    Pillow's own reader warns about damaged blocks, and loads all of them.

    Parameters
    ----------
    exif
        A TIFF's structure, with or without the ``Exif\0\0`` that JPEG puts before it.
    """
    block = (exif or b"").removeprefix(b"Exif\0\0")
    if block[:2] not in (b"II", b"MM"):
        return 1
    try:
        values = Directories(io.BytesIO(block)).first.numbers(ORIENTATION)
    except Refused:
        return 1
    return known_orientation(values[0]) if len(values) == 1 else 1


def known_orientation(value: object) -> int:
    """Return ``value`` where it is an orientation, 1 (as stored) where it is anything else."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
