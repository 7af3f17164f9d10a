"""Which formats there are: the table of those that are read, and the signatures of others, to refuse them by name.

A file is told by its first bytes and never by its name. A new format is a `Decoder` in a module of its own, and a line
in `DECODERS`. Only what names files of these formats, a VRT, is told before them, by `picture`.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO, NamedTuple

from kseg_core.images import slides
from kseg_core.images.bmp import Bmp
from kseg_core.images.decoder import Decoder
from kseg_core.images.failures import is_text
from kseg_core.images.heif import Avif, Heic
from kseg_core.images.isobmff import brands_of
from kseg_core.images.jpeg import Jpeg
from kseg_core.images.jpeg2000 import Jpeg2000
from kseg_core.images.jpegxl import JpegXl
from kseg_core.images.jpegxr import JpegXr
from kseg_core.images.netpbm import Netpbm
from kseg_core.images.pillow import Gif, WebP
from kseg_core.images.png import Png
from kseg_core.images.qoi import Qoi
from kseg_core.images.raster import Refused
from kseg_core.images.tiff import Tiff
from kseg_core.images.zarrs import ZarrImage

#: Every format that is read; the first whose `sniff` fits is taken. Their modules import no library that decodes.
DECODERS: tuple[type[Decoder], ...] = (
    Jpeg,
    Png,
    Tiff,
    Gif,
    WebP,
    Jpeg2000,
    JpegXl,
    JpegXr,
    Avif,
    Heic,  # after AVIF, whose files may state its brands as well
    Qoi,
    Bmp,
    Netpbm,
    slides.Czi,
    slides.Ndpi,
    slides.Bif,
    slides.Mrxs,
    ZarrImage,
)
_BY_NAME = {name: decoder for decoder in DECODERS for name in (decoder.name, *decoder.other_names)}


class Kind(NamedTuple):
    """What a file was found to be, and what to do with a picture that is not read; no advice: it is no picture."""

    name: str
    advice: str = ""


_RAW = "develop it to TIFF or JPEG first, e.g. with `darktable-cli` or `dcraw -T`"
_RENDER = "render it to PNG first, e.g. with ImageMagick's `magick` or Inkscape"
_GDAL = "convert it to GeoTIFF first, e.g. with `gdal_translate`"
_BIO = "export it to OME-TIFF or OME-Zarr first, e.g. with `bfconvert`"
_MAGICK = "convert it to PNG or TIFF first, e.g. with ImageMagick's `magick`"

_VIDEO = Kind("a video")

#: By what to do with them: (offset, magic bytes, what it is); the first that fits is taken.
_OTHERS: dict[str, tuple[tuple[int, bytes, str], ...]] = {
    _RAW: (
        (8, b"CR\x02", "camera RAW (Canon CR2)"), (6, b"HEAPCCDR", "camera RAW (Canon CRW)"),
        (0, b"IIRO", "camera RAW (Olympus ORF)"), (0, b"IIRS", "camera RAW (Olympus ORF)"),
        (0, b"MMOR", "camera RAW (Olympus ORF)"), (0, b"IIU\0", "camera RAW (Panasonic RW2)"),
        (0, b"FUJIFILMCCD-RAW", "camera RAW (Fujifilm RAF)"), (0, b"FOVb", "camera RAW (Sigma X3F)"),
        (0, b"\0MRM", "camera RAW (Minolta MRW)"),
    ),
    _MAGICK: (
        (0, b"\x76\x2f\x31\x01", "OpenEXR"), (0, b"#?RADIANCE", "Radiance HDR"), (0, b"#?RGBE", "Radiance HDR"),
        (0, b"DDS ", "DirectDraw surface (DDS)"), (0, b"\x8aMNG\r\n\x1a\n", "MNG"), (0, b"\x8bJNG\r\n\x1a\n", "JNG"),
        (0, b"icns", "an Apple icon (ICNS)"), (0, b"\0\0\1\0", "a Windows icon (ICO)"),
        (0, b"\0\0\2\0\1\0", "a Windows cursor (CUR)"), (0, b"\x01\xda\0", "SGI"), (0, b"\x01\xda\1", "SGI"),
        (0, b"\x59\xa6\x6a\x95", "Sun raster"), (8, b"ILBM", "Amiga ILBM"), (8, b"PBM ", "Amiga ILBM"),
        (0, b"SDPX", "DPX"), (0, b"XPDS", "DPX"), (0, b"\x80\x2a\x5f\xd7", "Cineon"),
        (0, b"\xabKTX ", "Khronos texture (KTX)"), (0, b"farbfeld", "farbfeld"), (0, b"/* XPM */", "XPM"),
        (0, b"id=ImageMagick", "ImageMagick's MIFF"),
    ),
    _RENDER: ((0, b"\xd7\xcd\xc6\x9a", "Windows metafile (WMF)"), (40, b" EMF", "Windows metafile (EMF)")),
    _GDAL: (
        (0, b"EHFA_HEADER_TAG", "ERDAS Imagine (IMG)"), (0, b"NITF0", "NITF"), (0, b"NSIF0", "NITF"),
        (0, b"msid", "MrSID"), (0, b"GRIB", "GRIB"), (0, b"CDF\1", "netCDF"), (0, b"CDF\2", "netCDF"),
    ),
    _BIO: ((0, b"\xda\xce\xbe\x0a", "Nikon ND2"), (0, b"NRRD000", "NRRD"), (344, b"n+1\0", "NIfTI")),
    "save it as TIFF or PNG first": ((0, b"8BPS", "Photoshop (PSD)"),),
    "export it as PNG or TIFF first": ((0, b"gimp xcf", "GIMP (XCF)"),),
    "extract its pictures first, e.g. with `pdfimages` or `pdftoppm`": ((0, b"%PDF", "PDF"),),
    "render it first, e.g. with `gs`": ((0, b"%!PS", "PostScript"),),
    "convert it first, e.g. with `ddjvu -format=tiff`": ((0, b"AT&TFORM", "DjVu"),),
    "convert it to TIFF first": ((0, b"SIMPLE  =", "FITS"),),
    "convert it first, e.g. with `dcm2pnm`, or a slide with `bfconvert`": ((128, b"DICM", "DICOM"),),
    "convert it to PNG first, e.g. with `flif -d`": ((0, b"FLIF", "FLIF"),),
    "convert it to PNG first, e.g. with `bpgdec`": ((0, b"BPG\xfb", "BPG"),),
    "convert it to PNG first, e.g. with `jbig2dec`": ((0, b"\x97JB2\r\n\x1a\n", "JBIG2"),),
    "": (
        (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"), (0, b"PK\3\4", "a ZIP archive"), (0, b"\x1f\x8b", "a gzip archive"),
        (0, b"\x1a\x45\xdf\xa3", _VIDEO.name), (8, b"AVI ", _VIDEO.name),
    ),
}  # fmt: skip

#: What a file begins with that has such a magic further on.
_AROUND = {b"AVI ": b"RIFF", b"ILBM": b"FORM", b"PBM ": b"FORM", b" EMF": b"\1\0\0\0", b"CR\x02": b"II*\0"}

_WORDS = frozenset({b"GRIB", b"FLIF", b"msid", b"SDPX", b"XPDS", b"farbfeld"})  # with which texts begin as well

_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_XBM = re.compile(rb"#define\s+\w+_width\s+\d+\s")
_OTHER_NETPBM = re.compile(rb"P[7fF]\s")


def decoder_named(name: str) -> type[Decoder] | None:
    """Return what reads a format of `DECODERS`, as `PictureInfo.format` or `Kind.name` has it; None for others."""
    return _BY_NAME.get(name)


def decoder_of(path: str, file: BinaryIO, head: bytes) -> type[Decoder]:
    """Return what reads a file.

    Parameters
    ----------
    path, file, head
        Where it is, it, which is left at its beginning, and its first `HEAD_BYTES` bytes.

    Raises
    ------
    Refused
        Where nothing does, saying what it is.
    """
    if not head:
        raise Refused("empty file")
    if not head.strip(b"\0"):
        raise Refused("not an image (only zero bytes)")
    decoder = _sniffed(head)
    if decoder is None:
        raise Refused(_refusal(_other_kind(head)))
    if decoder is Tiff:  # slides begin as other formats do
        return _BY_NAME[slides.kind_of_tiff(file) or decoder.name]
    return slides.Mrxs if slides.is_mrxs(path) else decoder


def identify(head: bytes) -> Kind | None:
    """Say what begins with these bytes: the first `HEAD_BYTES` of a file. None when nothing known fits."""
    decoder = _sniffed(head)
    return _other_kind(head) if decoder is None else Kind(decoder.name)


def _sniffed(head: bytes) -> type[Decoder] | None:
    return next((decoder for decoder in DECODERS if decoder.sniff(head)), None)


def _other_kind(head: bytes) -> Kind | None:
    if brands := brands_of(head):
        return Kind("camera RAW (Canon CR3)", _RAW) if brands[0] == b"crx " else _VIDEO
    for advice, signatures in _OTHERS.items():
        for offset, magic, name in signatures:
            fits = head.startswith(magic, offset) and head.startswith(_AROUND.get(magic, b""))
            if fits and not (magic in _WORDS and is_text(head)):
                return Kind(name, advice)
    if _OTHER_NETPBM.match(head):
        return Kind("PAM or PFM", _MAGICK)
    if _SVG.search(head) and is_text(head):
        return Kind("SVG", "render it first, e.g. with `rsvg-convert`")
    if _XBM.match(head):
        return Kind("XBM", _MAGICK)
    if is_text(head):
        return Kind("text")
    if _is_pcx(head):
        return Kind("PCX", _MAGICK)
    if _is_tga(head):
        return Kind("TGA", _MAGICK)
    return None


def _is_pcx(head: bytes) -> bool:
    """Say whether a header of PCX makes sense: its magic is a single byte."""
    if len(head) < 128 or head[0] != 10 or head[1] not in (0, 2, 3, 4, 5) or head[2] > 1 or head[3] not in (1, 2, 4, 8):
        return False
    left, top, right, bottom = struct.unpack_from("<4H", head, 4)
    return bool(left <= right and top <= bottom and 1 <= head[65] <= 4)


def _is_tga(head: bytes) -> bool:
    """Say whether a header of TGA makes sense, which has no magic (Truevision TGA 2.0)."""
    if len(head) < 18:
        return False
    has_map, kind, first, colours, bits, _, _, width, height, depth, how = struct.unpack_from("<xBBHHBHHHHBB", head)
    if has_map:
        mapped = kind in (1, 9) and depth == 8 and first < colours <= 256 and bits in (15, 16, 24, 32)
    else:
        mapped = first == colours == bits == 0 and (
            (kind in (2, 10) and depth in (15, 16, 24, 32)) or (kind in (3, 11) and depth in (8, 16))
        )
    return bool(has_map <= 1 and mapped and width and height and not how & 0xC0)


def _refusal(kind: Kind | None) -> str:
    if kind is None:
        return "not an image of a known format"
    if not kind.advice:
        return f"not an image ({kind.name})"
    return f"{kind.name}: not supported here; {kind.advice}"
