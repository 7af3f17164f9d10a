"""The directories (pages) of a TIFF, walked without tifffile: a few numbers of each, in microseconds.

A scan of ten thousand pages is opened for every piece that is read of it, and nothing is asked of most pages but how
large they are and what kind.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

REDUCED, MASK = 1, 4  # bits of NewSubfileType
_SUBFILE, _OLD_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _SUB_IFDS = (
    254, 255, 256, 257, 258, 259, 262, 277, 330,
)  # fmt: skip
_WANTED = frozenset((_SUBFILE, _OLD_SUBFILE, _WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _SUB_IFDS))
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # of whole numbers, by their field type
_BIG = 43  # the version of a BigTIFF
_MOST_TAGS = 4096  # as tifffile has it: more is damage
_MOST_PAGES = 1 << 20
_MOST_SUB_IFDS = 64
_TRANSPARENCY = 4  # PhotometricInterpretation of masks, whatever else is said of them
_REDUCED_OLD = 2  # SubfileType: reduced resolution


class Directory(NamedTuple):
    """One page of a TIFF, as far as its first tags tell.

    Attributes
    ----------
    number
        In the file's chain, from 0; of a page below another (SubIFDs), that one's.
    below
        Whether it is below another.
    offset
        In the file.
    """

    number: int
    below: bool
    offset: int
    height: int
    width: int
    kind: int
    samples: int
    bits: int
    compression: int
    photometric: int

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def is_mask(self) -> bool:
        return bool(self.kind & MASK) or self.photometric == _TRANSPARENCY

    @property
    def is_reduced(self) -> bool:
        return bool(self.kind & REDUCED)

    @property
    def layout(self) -> tuple[int, ...]:
        """What planes of one picture have in common."""
        return self.height, self.width, self.samples, self.bits, self.compression, self.photometric


class Directories(NamedTuple):
    """All pages of a file.

    Attributes
    ----------
    chain
        In their order.
    below
        The pages below these.
    is_broken
        Whether the chain leads to where no page can be.
    """

    chain: list[Directory]
    below: list[Directory]
    is_broken: bool


def walk(tiff: Any) -> Directories:
    """Return the pages of a TIFF.

    Parameters
    ----------
    tiff
        A ``TiffFile``.
    """
    file, layout = tiff.filehandle, tiff.tiff
    if layout.offsetsize == 8 and layout.tagsize == 12:  # Hamamatsu's, whose offsets are put together of halves
        return Directories([_of_page(page) for page in tiff.pages], [], False)
    chain: list[Directory] = []
    below: list[Directory] = []
    seen: set[int] = set()
    offset = tiff.pages.first.offset
    while offset and len(chain) < _MOST_PAGES:
        found = None if offset in seen else read_directory(file, layout, offset, len(chain), below=False)
        if found is None:
            return Directories(chain, below, True)
        seen.add(offset)
        directory, offset, offsets = found
        chain.append(directory)
        for each in offsets:
            if each not in seen and (part := read_directory(file, layout, each, directory.number, below=True)):
                below.append(part[0])
                seen.add(each)
    return Directories(chain, below, False)


def stated_tags(tiff: Any, offset: int) -> tuple[set[int], int]:
    """Return the codes of all tags in a directory, and where the next one is (0: it is the last).

    tifffile leaves out tags that it cannot read.
    """
    file, layout = tiff.filehandle, tiff.tiff
    file.seek(offset)
    (count,) = struct.unpack(layout.tagnoformat, file.read(layout.tagnosize))
    length = count * layout.tagsize
    directory = file.read(length + layout.offsetsize)
    whole = min(length, len(directory) // layout.tagsize * layout.tagsize)
    codes = {code for (code,) in struct.iter_unpack(f"{layout.byteorder}H{layout.tagsize - 2}x", directory[:whole])}
    after = directory[length:]
    following = struct.unpack(layout.offsetformat, after)[0] if len(after) == layout.offsetsize else 0
    return codes, int(following)


def beginning_with(data: bytes, offset: int) -> bytes:
    """Return the bytes of a TIFF whose first page is the one at an offset, for decoders that are told no offset."""
    order = "<" if data[:2] == b"II" else ">"
    place, form = (8, "Q") if struct.unpack_from(order + "H", data, 2)[0] == _BIG else (4, "I")
    return data[:place] + struct.pack(order + form, offset) + data[place + struct.calcsize(form) :]


def _of_page(page: Any) -> Directory:
    """The same of a page that tifffile has read."""
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 0
    numbers = (int(page.subfiletype), page.samplesperpixel, bits, int(page.compression), int(page.photometric))
    return Directory(page.index, False, page.offset, page.imagelength, page.imagewidth, *numbers)


def read_directory(
    file: Any, layout: Any, offset: int, number: int, *, below: bool
) -> tuple[Directory, int, tuple[int, ...]] | None:
    """Return a page, where the next one is, and where those below it are; None where no page can be."""
    if not 0 < offset < file.size:
        return None
    file.seek(offset)
    head = file.read(layout.tagnosize)
    if len(head) < layout.tagnosize:
        return None
    (count,) = struct.unpack(layout.tagnoformat, head)
    if not 0 < count <= _MOST_TAGS:
        return None
    body = file.read(count * layout.tagsize + layout.offsetsize)
    if len(body) < count * layout.tagsize:
        return None
    tags = dict(_numbers(file, layout, body, count))
    after = body[count * layout.tagsize :]
    following = struct.unpack(layout.offsetformat, after)[0] if len(after) == layout.offsetsize else 0

    def first(tag: int, default: int) -> int:
        values = tags.get(tag)
        return values[0] if values else default

    kind = first(_SUBFILE, 0)
    if _SUBFILE not in tags and first(_OLD_SUBFILE, 1) == _REDUCED_OLD:
        kind = REDUCED
    found = Directory(
        number,
        below,
        offset,
        first(_LENGTH, 0),
        first(_WIDTH, 0),
        kind,
        first(_SAMPLES, 1),
        first(_BITS, 1),
        first(_COMPRESSION, 1),
        first(_PHOTOMETRIC, 0),
    )
    return found, following, tags.get(_SUB_IFDS, ())


def _numbers(file: Any, layout: Any, body: bytes, count: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the wanted tags of a directory that hold whole numbers."""
    order, size = layout.byteorder, layout.tagsize
    inside = layout.offsetsize  # as many bytes of values as an offset has are in the tag itself
    for at in range(0, count * size, size):
        tag, field = struct.unpack_from(order + "HH", body, at)
        if tag > _SUB_IFDS:
            return  # tags are sorted
        if tag not in _WANTED or field not in _FORMATS:
            continue
        (values,) = struct.unpack_from(layout.offsetformat, body, at + 4)
        form = _FORMATS[field]
        many = min(values, _MOST_SUB_IFDS if tag == _SUB_IFDS else 1 if tag != _BITS else values)
        many = min(many, _MOST_SUB_IFDS)
        length = struct.calcsize(order + form) * values
        place = at + 4 + inside
        if length <= inside:
            yield tag, struct.unpack_from(f"{order}{many}{form}", body, place)
            continue
        (where,) = struct.unpack_from(layout.offsetformat, body, place)
        wanted = struct.calcsize(f"{order}{many}{form}")
        file.seek(where)
        data = file.read(wanted)
        if len(data) == wanted:
            yield tag, struct.unpack(f"{order}{many}{form}", data)
