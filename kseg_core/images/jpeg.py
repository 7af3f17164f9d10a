"""JPEG, by simplejpeg (libjpeg-turbo) in its strict mode.

Why not through imageio: its decoders, and Pillow with an end marker appended, and OpenCV always,
return the part of a damaged JPEG that could be decoded and gray for the rest. Strict simplejpeg raises at the first
warning of libjpeg, gives the same bits as Pillow, and is three times as fast.

**Which warnings count as damage.** All of them, but for what is merely untidy and cannot touch a pixel:

- bytes between marker segments ("extraneous bytes before marker"), before the first scan or between scans;
- anything wrong inside the application segments and comments, which are not part of the picture (an unknown JFIF
  revision, an Adobe segment of unknown colour transform, a broken EXIF block or colour profile);
- a sequential scan's header that states a range of coefficients (it has no meaning there);
- zero bytes after the last scan and before the end marker (padding some cameras write);
- anything after the end marker (previews, depth maps and videos of phones).

libjpeg keeps only its first warning, so an untidy one could hide a damaging one. Therefore a file with a
warning is rewritten without the untidy bytes (its tables and scans are copied as they are) and decoded once more,
strictly: then no warning at all is accepted. A bad Huffman code, data that ends early, a
restart marker missing, bytes left over that are not zero, an inconsistent progression, all refuse the picture.

A JPEG that lacks only its end marker is refused as truncated; and a progressive one must have all its scans.

**Subsampling that TurboJPEG's interface, and so simplejpeg, does not know** (4:1:0 ...): libjpeg itself
decodes them. imagecodecs gives its pixels, the same as Pillow's, but is silent about damage; GDAL can be asked to fail
where libjpeg warns. So such a picture is decoded by both.
"""

from __future__ import annotations

import dataclasses
import io
import re
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from kseg_core import buffers
from kseg_core.images.decoder import WholeDecoder
from kseg_core.images.failures import CONVERT
from kseg_core.images.gdal import gdal
from kseg_core.images.jpeg_markers import (
    APP0,
    APP14,
    ARITHMETIC,
    EOI,
    NEXT_MARKER,
    SOS,
    TABLES,
    Head,
    Incomplete,
    Segment,
    find_end,
    next_segment,
    parse_head,
)
from kseg_core.images.raster import (
    JPEG_RATIO,
    Colours,
    Cost,
    PictureInfo,
    Raster,
    Refused,
    Samples,
    check_ratio,
    check_size,
)
from kseg_core.images.srgb import finishing_px
from kseg_core.images.tiff_directory import exif_orientation
from kseg_core.images.windows import turned_shape

_HEADER_CUT = "truncated: the JPEG ends within its header"
_FIRST_READ = 1 << 16  # enough for the header of nearly all photographs, EXIF preview included
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")

#: TurboJPEG's words for subsampling that it has no name for.
_NOT_KNOWN = "determine subsampling"

_ROWS = 256  # that GDAL reads at once, and are thrown away

#: libjpeg's words for damage, and what to tell a person.
_REASONS = (
    ("premature end of data", "damaged or truncated: the JPEG's image data ends early"),
    ("Premature end", "truncated: the JPEG ends before its end marker"),
    ("bad Huffman code", "damaged: the JPEG's image data has an invalid code"),
    ("extraneous bytes", "damaged: the JPEG's image data does not end where its last scan does"),
    ("not implemented", "a JPEG whose components are subsampled by fractions: not supported here; save it anew as PNG"),
    ("Unsupported", f"a JPEG of a kind that no decoder here reads: not supported here; {CONVERT}"),
    ("instead of RST", "damaged: a restart marker of the JPEG is not where it should be"),
)


class Jpeg(WholeDecoder):
    """JPEG, whole."""

    name, gdal_driver, mask_suffixes = "JPEG", "JPEG", ("jpg", "jpeg")
    magic = (b"\xff\xd8\xff",)

    @classmethod
    def header(cls, file: BinaryIO) -> PictureInfo:
        head = _read_head(file)
        orientation = exif_orientation(head.exif)
        shape = turned_shape(head.height, head.width, orientation)
        if head.process not in ARITHMETIC:
            check_ratio(head.height * head.width, file.seek(0, io.SEEK_END), JPEG_RATIO)
        count, dtype = len(head.components), "uint8" if head.precision == 8 else "uint16"
        twice = (count + 1) * (head.precision == 12)  # read as 8 bits first, whose memory waits for the next picture
        after = finishing_px(orientation, head.icc if count == 3 else None)
        cost = Cost(1, 1, _coefficients_px(head) + twice, after)
        return PictureInfo(cls.name, shape, count, dtype, colours="cmyk" if count == 4 else None, cost=cost)

    @classmethod
    def decode(cls, data: bytes, max_pixels: int) -> Raster:
        try:
            head = parse_head(data)
        except Incomplete:
            raise Refused(_HEADER_CUT) from None
        check_size(head.height, head.width, max_pixels)
        colours: dict[int, Colours] = {1: "gray", 3: "rgb", 4: "cmyk"}
        count, maximum = len(head.components), (1 << head.precision) - 1
        samples = decode_strictly(data, head)
        if count == 4:
            # As Pillow and the browsers do: CMYK JPEGs are Photoshop's, which stores 255 for no ink.
            np.subtract(maximum, samples, out=samples)
        return Raster(samples, colours[count], maximum, icc=head.icc, orientation=exif_orientation(head.exif))


def _coefficients_px(head: Head) -> float:
    """Return bytes a pixel of the coefficients, 16 bits each, which are all held where there are several scans."""
    if not head.has_several_scans:
        return 0
    widest, highest = (max(each[axis] for each in head.sampling) for axis in (0, 1))
    return sum(2 * across * down / (widest * highest) for across, down in head.sampling)


def _read_head(file: BinaryIO) -> Head:
    """Read as much of the file as its header takes."""
    data = file.read(_FIRST_READ)
    while True:
        try:
            return parse_head(data)
        except Incomplete:
            more = file.read(len(data))  # twice as much each time
            if not more:
                raise Refused(_HEADER_CUT) from None
            data += more


def decode_strictly(data: bytes, head: Head) -> Samples:
    """Decode the samples of a JPEG that is whole, or refuse it.

    Parameters
    ----------
    data
        From the start-of-image marker on; more may follow the end marker.
    head
        What `parse_head` found in it.

    Returns
    -------
    uint8, of 12 bits uint16; (height, width) for gray, (height, width, 3) RGB, or (height, width, 4) CMYK as stored.
    """
    if head.precision == 12:
        return _decode_12_bits(data, head)
    if head.has_several_scans:
        find_end(data, head)  # several scans: the decoder does not miss those that are not there
    try:
        return _decode(data, head)
    except ValueError:
        tidy = _tidied(data, head)
    try:
        return _decode(tidy, head)
    except ValueError as error:
        left_over = _LEFT_OVER.search(str(error))
        padding = int(left_over[1]) if left_over else 0
        if not padding or tidy[-2 - padding : -2].strip(b"\0"):
            raise Refused(_reason(str(error))) from error
    try:
        return _decode(tidy[: -2 - padding] + tidy[-2:], head)
    except ValueError as error:
        raise Refused(_reason(str(error))) from error


def _decode_12_bits(data: bytes, head: Head) -> NDArray[np.uint16]:
    """Decode 12 bits a sample by libjpeg-turbo (imagecodecs), which passes over all warnings.

    The codes of 12 and of 8 bits are the same but for the range of what they stand for. So the picture is decoded as
    one of 8 bits first, strictly, for nothing but to see that it is whole.
    """
    import imagecodecs

    (frame,) = (s for s in head.segments if s.marker == head.process)
    as_8_bits = bytearray(data)
    as_8_bits[frame.start + 4] = 8
    decode_strictly(bytes(as_8_bits), dataclasses.replace(head, precision=8))
    samples: NDArray[np.uint16] = imagecodecs.jpeg8_decode(data)
    if samples.shape[:2] != (head.height, head.width) or samples.dtype != np.uint16:
        raise Refused("damaged: the JPEG has two sizes")
    return samples


def _decode(data: bytes, head: Head) -> NDArray[np.uint8]:
    """Run the decoder; ValueError at its first warning."""
    import simplejpeg

    spaces: dict[int, Literal["GRAY", "RGB", "CMYK"]] = {1: "GRAY", 3: "RGB", 4: "CMYK"}
    buffer = buffers.empty((head.height * head.width * len(head.components),))
    samples: NDArray[np.uint8]
    try:
        samples = simplejpeg.decode_jpeg(data, colorspace=spaces[len(head.components)], buffer=buffer)
    except ValueError as error:
        if _NOT_KNOWN not in str(error):
            raise
        samples = _decode_unusual(data, len(head.components))
    if samples.shape[:2] != (head.height, head.width):
        raise Refused("damaged: the JPEG has two sizes")
    return samples[..., 0] if len(head.components) == 1 else samples


def _decode_unusual(data: bytes, components: int) -> NDArray[np.uint8]:
    """Decode what simplejpeg cannot, (height, width, components); ValueError with libjpeg's first complaint."""
    import imagecodecs

    options = {"GDAL_ERROR_ON_LIBJPEG_WARNING": "YES", "GDAL_ALLOW_LARGE_LIBJPEG_MEM_ALLOC": "YES"}
    with gdal("JPEG", lambda error: ValueError(str(error).rpartition("libjpeg: ")[2]), **options):
        from rasterio.io import MemoryFile

        with MemoryFile(data, ext=".jpg") as memory, memory.open(driver="JPEG") as opened:
            for top in range(0, opened.height, _ROWS):
                opened.read(window=((top, min(top + _ROWS, opened.height)), (0, opened.width)))
    space = {1: "GRAYSCALE", 3: "RGB", 4: "CMYK"}[components]
    try:
        samples: NDArray[np.uint8] = imagecodecs.jpeg8_decode(data, outcolorspace=space)
    except imagecodecs.Jpeg8Error as error:
        raise ValueError(str(error)) from error
    return samples[..., None] if samples.ndim == 2 else samples


def _tidied(data: bytes, head: Head) -> bytes:
    """Return the same picture without what is not part of it: only tables, scans and colour hints.

    Raises
    ------
    Refused
        Where the end marker is missing.
    """
    out = [b"\xff\xd8"]
    if any(s.marker == APP0 and data[s.start + 4 : s.start + 9] == b"JFIF\0" for s in head.segments):
        out.append(jfif_segment())
    if head.adobe is not None:
        # A transform that does not go with the components means what libjpeg takes it for: YCbCr, or YCCK with four.
        usual = 2 if len(head.components) == 4 else 1
        out.append(adobe_segment(usual if head.adobe else 0))
    out += [data[s.start : s.end] for s in head.segments if s.marker in TABLES]
    out.append(_scan_header(data, head.segments[-1], head))
    at = head.end
    try:
        while True:
            found = NEXT_MARKER.search(data, at)
            if found is None:
                raise Incomplete
            out.append(data[at : found.start()])
            segment = next_segment(data, found.end() - 2)
            while segment is not None and segment.marker != SOS:
                if segment.marker in TABLES:
                    out.append(data[segment.start : segment.end])
                segment = next_segment(data, segment.end)
            if segment is None:
                break
            out.append(_scan_header(data, segment, head))
            at = segment.end
    except Incomplete:
        raise Refused("truncated: the JPEG ends before its end marker") from None
    out.append(bytes((0xFF, EOI)))
    return b"".join(out)


def _scan_header(data: bytes, segment: Segment, head: Head) -> bytes:
    """Return a scan's header; of a sequential one, which always has all coefficients, saying so."""
    header = data[segment.start : segment.end]
    return header if head.progressive else header[:-3] + bytes((0, 63, 0))


def jfif_segment() -> bytes:
    """Return the plainest JFIF segment: version 1.1, no density, no preview."""
    return bytes((0xFF, APP0, 0, 16)) + b"JFIF\0" + bytes((1, 1, 0, 0, 1, 0, 1, 0, 0))


def adobe_segment(transform: int) -> bytes:
    """Return an Adobe segment stating the colour transform: 0 none, 1 YCbCr, 2 YCCK."""
    return bytes((0xFF, APP14, 0, 14)) + b"Adobe" + bytes((0, 100, 0, 0, 0, 0, transform))


def _reason(message: str) -> str:
    """Return a clause for people for an error message of libjpeg."""
    for words, reason in _REASONS:
        if words in message:
            return reason
    return f"damaged: the JPEG cannot be decoded: {' '.join(message.split()) or 'no reason is given'}"
