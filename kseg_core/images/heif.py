"""HEIC and AVIF: their container read here, HEIC's pixels by libheif (pillow-heif), AVIF's by libavif (imagecodecs).

The picture is the primary image. What turns it are the container's own properties (``irot``, ``imir``); the EXIF block
repeats them for readers that know no other way, and is passed over (ISO/IEC 23008-12, 6.5.10). Where each image's data
lies is compared with the file's size here; the codes themselves have no redundancy: a changed byte is often seen by no
decoder.

Why not by Pillow: its AVIF reader drops what is beyond 8 bits.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import BinaryIO, ClassVar, NamedTuple

import numpy as np

from kseg_core.images import cicp
from kseg_core.images.decoder import WholeDecoder
from kseg_core.images.failures import decoder_reason, printable
from kseg_core.images.isobmff import Fields, boxes, brands_of, inner_boxes, payload
from kseg_core.images.raster import (
    Colours,
    Cost,
    NotSupported,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_size,
    raster_of,
    undivided,
)
from kseg_core.images.windows import turned_shape

_ALPHA_URNS = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_DERIVED = {b"grid", b"iovl", b"iden"}
_CODED = {b"hvc1", b"hev1", b"av01"}
_NOT_IMAGES = {b"Exif", b"mime", b"uri ", b"jpgs"}
_HIDDEN = 1  # flag of an item's entry (ISO/IEC 23008-12, 6.4.2)

#: Of each orientation: what it becomes by a quarter turn counter-clockwise, and by a flip upside down.
_QUARTER = {1: 8, 2: 5, 3: 6, 4: 7, 5: 4, 6: 1, 7: 2, 8: 3}
_UPSIDE_DOWN = {1: 4, 2: 3, 3: 2, 4: 1, 5: 8, 6: 7, 7: 6, 8: 5}
_SIDEWAYS = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8, 8: 7}


class _Item(NamedTuple):
    kind: bytes
    hidden: bool


@dataclass(slots=True)
class _Meta:
    """The box ``meta``: items, what they refer to, their properties and where they lie."""

    primary: int = -1
    items: dict[int, _Item] = field(default_factory=dict)
    references: dict[bytes, list[tuple[int, list[int]]]] = field(default_factory=dict)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    associated: dict[int, list[int]] = field(default_factory=dict)
    extents: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)  # method, offset, length
    idat_bytes: int = 0

    def of(self, item: int) -> list[tuple[bytes, bytes]]:
        """The properties of an item, in order."""
        return [self.properties[n - 1] for n in self.associated.get(item, ()) if 1 <= n <= len(self.properties)]


class _Header(NamedTuple):
    """What the container says of the primary image; the shape is as stored, before anything turns it."""

    shape: tuple[int, int]
    orientation: int
    crop: tuple[int, int, int, int] | None
    colours: Colours
    alpha: bool
    depth: int
    icc: bytes | None
    kind: bytes
    notes: tuple[str, ...]
    has_track: bool = False

    @property
    def bands(self) -> int:
        return (1 if self.colours == "gray" else 3) + self.alpha

    @property
    def seen(self) -> tuple[int, int]:
        """(height, width) as a person sees it."""
        if self.crop is not None:
            top, left, bottom, right = self.crop
            return turned_shape(bottom - top, right - left, self.orientation)
        height, width = self.shape
        return turned_shape(height, width, self.orientation)


class Heic(WholeDecoder):
    """HEIC: the primary image."""

    name = "HEIC"
    of_several = "the primary image"
    brands: ClassVar[frozenset[bytes]] = frozenset(
        {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
    )
    copied: ClassVar[float] = 1.4  # of the samples: luma and chroma, and libheif's copy

    @classmethod
    def sniff(cls, head: bytes) -> bool:
        return not cls.brands.isdisjoint(brands_of(head))

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        header = _header(file)
        dtype, itemsize = ("uint8", 1) if header.depth <= 8 else ("uint16", 2)
        cost = Cost(1, 1, cls.copied * header.bands * itemsize)
        return PictureInfo(
            cls.name, header.seen, header.bands, dtype, alpha=header.alpha, notes=header.notes, cost=cost
        )

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        header = _header(io.BytesIO(data))
        check_size(*header.shape, max_pixels)
        is_avif = header.kind == b"av01"
        samples = _decoded_avif(data, header) if is_avif else _decoded_heic(data)  # which libheif has turned
        orientation = header.orientation if is_avif else 1
        found = turned_shape(samples.shape[0], samples.shape[1], orientation)
        if found != header.seen or (samples.dtype == np.uint8) != (header.depth <= 8):
            stated = f"{header.seen[1]} x {header.seen[0]}"
            raise Refused(f"damaged: it states {stated}, its picture has {found[1]} x {found[0]}")
        return raster_of(samples, (1 << header.depth) - 1, icc=header.icc, orientation=orientation)


class Avif(Heic):
    """AVIF, whose files may call themselves mif1 first and avif only among the compatible brands."""

    name = "AVIF"
    brands = frozenset({b"avif", b"avis"})
    copied = 1.2


def _decoded_avif(data: bytes, header: _Header) -> Samples:
    """Return the samples of an AVIF's primary image, cropped and as stored."""
    import imagecodecs

    still = _without_track(data) if header.has_track else data
    samples: Samples = imagecodecs.avif_decode(still, index=0, numthreads=1)
    if header.crop is not None:
        top, left, bottom, right = header.crop
        samples = np.ascontiguousarray(samples[top:bottom, left:right])
    return samples


def _without_track(data: bytes) -> bytes:
    """Return the file without its sequence: at the first image of one imagecodecs' decoder ends the process."""
    out = bytearray(data)
    for box in boxes(io.BytesIO(data), 0, len(data), "HEIF"):
        if box.kind == b"moov":
            at = data.rindex(b"moov", 0, box.start)
            out[at : at + 4] = b"free"
        elif box.kind == b"ftyp":
            out[box.start : box.end] = data[box.start : box.end].replace(b"avis", b"avif")
    return bytes(out)


def _decoded_heic(data: bytes) -> Samples:
    """Return the samples of a HEIC's primary image, turned and cropped by libheif as the container says."""
    import pillow_heif

    try:
        file = pillow_heif.open_heif(data, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        image = file[file.primary_index]
        samples: Samples = np.asarray(image)
    except MemoryError:
        raise
    except Exception as error:  # of many classes, for what is damaged and for what is not supported
        message = " ".join(str(error).split())
        if "nsupported" in message or "No decoding plugin" in message:
            raise NotSupported(
                f"a HEIF that is not supported here ({message}); convert it to JPEG or PNG first"
            ) from error
        raise Refused(decoder_reason(error, "HEIC")) from error
    if samples.ndim == 3 and getattr(image, "premultiplied_alpha", False):
        samples = undivided(samples, 255 if samples.dtype == np.uint8 else (1 << int(image.info["bit_depth"])) - 1)
    return np.ascontiguousarray(samples)


def _header(file: BinaryIO) -> _Header:
    """Read what the container says of the primary image, and see that its data is in the file."""
    size = file.seek(0, io.SEEK_END)
    meta, has_track = None, False
    try:
        for box in boxes(file, 0, size, "HEIF"):
            if box.kind == b"meta" and meta is None:
                meta = _parsed(payload(file, box, "HEIF"))
            has_track |= box.kind == b"moov"
        if meta is None:
            raise NotSupported("a sequence without a still image: not supported here; save one image of it first")
        header = _primary(meta, has_track)
    except IndexError:
        raise Refused("damaged: a box of the HEIF's metadata ends early") from None
    _check_extents(meta, size)
    return header


def _parsed(data: bytes) -> _Meta:
    meta = _Meta()
    for kind, body in inner_boxes(data, 4, "HEIF"):
        version, fields = body[0] if body else 0, Fields(body, 4)
        if kind == b"pitm":
            meta.primary = fields.number(2 if version == 0 else 4)
        elif kind == b"iinf":
            fields.number(2 if version == 0 else 4)
            for name, entry in inner_boxes(fields.rest, 0, "HEIF"):
                if name == b"infe" and entry[0] >= 2:
                    of = Fields(entry, 4)
                    number = of.number(2 if entry[0] == 2 else 4)
                    of.number(2)
                    meta.items[number] = _Item(of.take(4), bool(entry[3] & _HIDDEN))
        elif kind == b"iref":
            _read_references(meta, body, 2 if version == 0 else 4)
        elif kind == b"iprp":
            _read_properties(meta, body)
        elif kind == b"iloc":
            _read_locations(meta, version, fields)
        elif kind == b"idat":
            meta.idat_bytes = len(body)
    return meta


def _read_references(meta: _Meta, body: bytes, size: int) -> None:
    for kind, entry in inner_boxes(body, 4, "HEIF"):
        of = Fields(entry)
        source = of.number(size)
        targets = [of.number(size) for _ in range(of.number(2))]
        meta.references.setdefault(kind, []).append((source, targets))


def _read_properties(meta: _Meta, body: bytes) -> None:
    for kind, inner in inner_boxes(body, 0, "HEIF"):
        if kind == b"ipco":
            meta.properties = inner_boxes(inner, 0, "HEIF")
        elif kind == b"ipma":
            of = Fields(inner, 4)
            wide = inner[3] & 1
            for _ in range(of.number(4)):
                item = of.number(2 if inner[0] == 0 else 4)
                numbers = [of.number(2 if wide else 1) for _ in range(of.number(1))]
                meta.associated.setdefault(item, []).extend(n & (0x7FFF if wide else 0x7F) for n in numbers)


def _read_locations(meta: _Meta, version: int, of: Fields) -> None:
    sizes = of.number(2)
    offset, length, base, index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15 if version else 0
    for _ in range(of.number(2 if version < 2 else 4)):
        item = of.number(2 if version < 2 else 4)
        method = of.number(2) & 15 if version else 0
        of.number(2)
        start = of.number(base)
        extents, count = [], of.number(2)
        if count > 1 and not index + offset + length:  # what takes no bytes may be stated as often as one likes
            raise Refused("damaged: the HEIF lists several parts of an image that have no place")
        for _ in range(count):
            of.number(index)
            extents.append((method, start + of.number(offset), of.number(length)))
        meta.extents[item] = extents


def _check_extents(meta: _Meta, size: int) -> None:
    """Refuse a file in which data of an image lies beyond the end."""
    for item, extents in meta.extents.items():
        if item in meta.items and meta.items[item].kind in _NOT_IMAGES:
            continue
        for method, start, length in extents:
            end = meta.idat_bytes if method == 1 else size
            if method in (0, 1) and start + length > end:
                raise Refused(f"truncated: image data of the HEIF ends at byte {start + length}, the file has {size}")


def _primary(meta: _Meta, has_track: bool) -> _Header:
    item = meta.items.get(meta.primary)
    if item is None:
        raise Refused("damaged: the HEIF has no primary image")
    shape, orientation, clap, channels, depth = None, 1, None, 0, 8
    icc, space = None, None
    notes: tuple[str, ...] = ()
    for kind, body in meta.of(meta.primary):
        of = Fields(body)
        if kind == b"ispe":
            of.number(4)
            width = of.number(4)
            shape = of.number(4), width
        elif kind == b"irot":
            for _ in range(of.number(1) & 3):
                orientation = _QUARTER[orientation]
        elif kind == b"imir":
            orientation = (_SIDEWAYS if of.number(1) & 1 else _UPSIDE_DOWN)[orientation]
        elif kind == b"clap":
            clap = [of.number(4) for _ in range(8)]
        elif kind == b"pixi":
            of.number(4)
            channels = of.number(1)
            depth = max((of.number(1) for _ in range(channels)), default=8)
        elif kind == b"colr":
            name = of.take(4)
            if name in (b"prof", b"rICC"):
                icc = of.rest
            elif name == b"nclx":
                primaries, transfer = of.number(2), of.number(2)
                space, notes = cicp.space_of(primaries, transfer), cicp.hdr_note(transfer)
    if shape is None:
        raise Refused("damaged: the HEIF does not state its size")
    coded = _coded_item(meta)
    stated = _of_configuration(meta, coded)
    depth, gray = stated if stated is not None else (depth, channels == 1)
    if icc is None and space is not None and not gray:
        icc = cicp.profile_of(space)
    return _Header(
        shape,
        orientation,
        _cropped(clap, shape),
        "gray" if gray else "rgb",
        _has_alpha(meta),
        depth,
        icc,
        meta.items[coded].kind,
        (*_images_note(meta, has_track), *notes),
        has_track,
    )


def _coded_item(meta: _Meta) -> int:
    """Return the item that is coded: the primary image, or the first of the tiles that it is made of."""
    item, seen = meta.primary, set()
    while item in meta.items and meta.items[item].kind in _DERIVED and item not in seen:
        seen.add(item)
        parts = [targets for source, targets in meta.references.get(b"dimg", ()) if source == item]
        if not parts or not parts[0]:
            raise Refused("damaged: a derived image of the HEIF is made of nothing")
        item = parts[0][0]
    kind = meta.items[item].kind if item in meta.items else b""
    if kind not in _CODED:
        raise NotSupported(f"a HEIF coded as {printable(kind)}: not supported here; convert it to JPEG or PNG first")
    return item


def _of_configuration(meta: _Meta, item: int) -> tuple[int, bool] | None:
    """Return bits of a sample, and whether the picture is gray, by the decoder's configuration; None without one."""
    kind = meta.items[item].kind
    for name, body in meta.of(item):
        if name == b"av1C" and kind == b"av01" and len(body) >= 3:
            high, twelve, monochrome = body[2] >> 6 & 1, body[2] >> 5 & 1, body[2] >> 4 & 1
            return (12 if twelve else 10) if high else 8, bool(monochrome)
        if name == b"hvcC" and kind != b"av01" and len(body) >= 19:
            return 8 + (body[17] & 7), body[16] & 3 == 0
    return None


def _has_alpha(meta: _Meta) -> bool:
    """Say whether an auxiliary image of the primary one, or of its tiles, is its alpha."""
    parts = {meta.primary}
    for source, targets in meta.references.get(b"dimg", ()):
        if source == meta.primary:
            parts.update(targets)
    for source, targets in meta.references.get(b"auxl", ()):
        if parts.intersection(targets) and any(
            kind == b"auxC" and body[4:].split(b"\0")[0] in _ALPHA_URNS for kind, body in meta.of(source)
        ):
            return True
    return False


def _cropped(clap: list[int] | None, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return top, left, bottom and right of a clean aperture (14496-12, 12.1.4); None where that is all, or none."""
    if clap is None:
        return None
    signed = [value - (1 << 32) if value >> 31 else value for value in clap]
    if any(bottom <= 0 for bottom in signed[1::2]):
        raise Refused("damaged: the clean aperture of the HEIF is none")
    width, height = signed[0] / signed[1], signed[2] / signed[3]
    left = signed[4] / signed[5] + (shape[1] - width) / 2
    top = signed[6] / signed[7] + (shape[0] - height) / 2
    crop = round(top), round(left), round(top) + round(height), round(left) + round(width)
    if crop[0] < 0 or crop[1] < 0 or crop[2] > shape[0] or crop[3] > shape[1] or height < 1 or width < 1:
        raise Refused("damaged: the clean aperture of the HEIF reaches beyond its picture")
    return None if crop == (0, 0, *shape) else crop


def _images_note(meta: _Meta, has_track: bool) -> tuple[str, ...]:
    """Return what is to be said of a file of several images."""
    parts = {target for _, targets in meta.references.get(b"dimg", ()) for target in targets}
    parts |= {source for kind in (b"thmb", b"auxl") for source, _ in meta.references.get(kind, ())}
    whole = [n for n, item in meta.items.items() if item.kind not in _NOT_IMAGES and not item.hidden and n not in parts]
    if len(whole) > 1:
        return (f"its primary image of {len(whole)}",)
    return ("its still image; the sequence beside it is left out",) if has_track else ()
