"""The marker structure of a JPEG: where its segments and scans are, and whether it is all there.

libjpeg reads a JPEG as a stream and gets along with nearly everything; to be certain that a picture is
whole, the structure is read here as well (ITU-T T.81, annex B).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from kseg_core.images.raster import NotSupported, Refused

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 without DHT, JPG and DAC
_BASELINE = 0xC0
_JPEG_LS = 0xF7  # SOF55
_BARE = {0x01, *range(0xD0, 0xD9)}  # markers without a length: TEM, RST0 to RST7, SOI
#: Frames whose data is arithmetic codes, which take next to nothing where all pixels are alike.
ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
#: Encoders write some ten; each one takes the decoder through the whole picture, however short it is.
MOST_SCANS = 500
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
#: What the decoder needs: frames, Huffman and arithmetic tables, quantisation tables, restart interval.
TABLES = _FRAMES | {0xC4, 0xCC, 0xDB, 0xDD}

#: The end of entropy-coded data: a marker that is neither a stuffed zero nor a restart.
NEXT_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)


class Incomplete(Exception):
    """The bytes end before the structure asked for does."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One marker segment: ``data[start:end]``, from the 0xFF of its marker to after its payload."""

    marker: int
    start: int
    end: int


@dataclass(slots=True)
class Head:
    """Everything before the first scan's data.

    ``end`` is where that data begins; the last of ``segments`` is the first scan's header. ``sampling`` has how often
    each of ``components`` is sampled across and down; ``in_first_scan`` is how many of them the first scan has.
    """

    height: int = 0
    width: int = 0
    precision: int = 0
    process: int = 0
    components: tuple[int, ...] = ()
    sampling: tuple[tuple[int, int], ...] = ()
    in_first_scan: int = 0
    adobe: int | None = None
    exif: bytes | None = None
    icc: bytes | None = None
    end: int = 0
    segments: list[Segment] = field(default_factory=list)

    @property
    def progressive(self) -> bool:
        """Say whether the picture is refined scan by scan."""
        return self.process in _PROGRESSIVE

    @property
    def has_several_scans(self) -> bool:
        return self.progressive or self.in_first_scan != len(self.components)


def next_segment(data: bytes, at: int) -> Segment | None:
    """Return the first marker segment at or after ``at``, passing over junk and fill bytes as libjpeg does.

    Returns
    -------
    The segment, or None for the end marker of the image.

    Raises
    ------
    Incomplete
        Where the bytes end first.
    """
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise Incomplete
        marker = data[at + 1]
        if marker == EOI:
            return None
        if marker in (0x00, 0xFF) or marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if at + 4 > len(data):
            raise Incomplete
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2 and marker not in TABLES | {SOS}:
            return Segment(marker, at, at + 4)  # a comment of less than nothing: libjpeg passes over its length
        if length < 2:
            raise Refused(f"damaged: the JPEG segment 0x{marker:02x} has no length")
        if at + 2 + length > len(data):
            raise Incomplete
        return Segment(marker, at, at + 2 + length)


def parse_head(data: bytes) -> Head:
    """Read everything up to the first scan.

    Parameters
    ----------
    data
        The file, or its beginning.

    Raises
    ------
    Incomplete
        Where ``data`` ends before the first scan begins.
    Refused
        Where there is no picture, or one of a kind of JPEG that is not read here.
    """
    head = Head()
    profile: dict[int, bytes] = {}
    pieces = 0
    at = 2
    while True:
        segment = next_segment(data, at)
        if segment is None:
            raise Refused("damaged: the JPEG has no image data")
        head.segments.append(segment)
        at = segment.end
        payload = data[segment.start + 4 : segment.end]
        if segment.marker == SOS:
            head.in_first_scan = payload[0] if payload else 0
            break
        if segment.marker == _JPEG_LS:
            raise NotSupported("JPEG-LS: not supported here; convert it to PNG or TIFF first, e.g. with `ffmpeg`")
        if segment.marker in _FRAMES:
            _read_frame(head, segment.marker, payload)
        elif segment.marker == APP1 and payload.startswith(b"Exif\0") and head.exif is None:
            head.exif = payload
        elif segment.marker == APP2 and payload.startswith(b"ICC_PROFILE\0") and len(payload) > 14:
            profile[payload[12]], pieces = payload[14:], payload[13]
        elif segment.marker == APP14 and payload.startswith(b"Adobe") and len(payload) >= 12:
            head.adobe = payload[11]
    if not head.components:
        raise Refused("damaged: the JPEG has a scan but no frame header")
    if profile and sorted(profile) == list(range(1, pieces + 1)):  # else pieces are missing: no profile
        head.icc = b"".join(profile[number] for number in sorted(profile))
    head.end = at
    return head


def find_end(data: bytes, head: Head) -> int:
    """Return where the end marker of the image is, having seen that all its scans are there.

    A progressive JPEG that is cut between two scans and given an end marker decodes without a complaint,
    blurred or in part; the scans' own headers tell.

    Raises
    ------
    Refused
        Where the data ends without an end marker, or a component's last scan is missing.
    """
    # For each component, the bits still to come of each of the 64 coefficients; None: not begun.
    missing: dict[int, list[int | None]] = {number: [None] * 64 for number in head.components}
    _note_scan(data, head.segments[-1], missing)
    at, scans = head.end, 1
    while True:
        found = NEXT_MARKER.search(data, at)
        if found is None:
            raise Refused("truncated: the JPEG ends before its end marker")
        if scans > MOST_SCANS:
            raise Refused(f"damaged, or a decompression bomb: a JPEG of more than {MOST_SCANS} scans")
        at = found.end() - 2
        try:
            segment = next_segment(data, at)
        except Incomplete:
            raise Refused("truncated: the JPEG ends before its end marker") from None
        if segment is None:
            break
        at = segment.end
        if segment.marker == SOS:
            scans += 1
            _note_scan(data, segment, missing)
    # Coefficients never begun are zero in good files too (an encoder may leave out empty bands); the
    # first (DC) of every component, and the last bit of all that were begun, are never left out.
    for bits in missing.values():
        if bits[0] is None or any(bits):
            raise Refused("truncated: the JPEG ends before its last scan")
    return at


def _read_frame(head: Head, marker: int, payload: bytes) -> None:
    """Take size and components from a frame header."""
    if head.components:
        raise Refused("damaged: the JPEG has two frame headers")
    if len(payload) < 6 or len(payload) < 6 + 3 * payload[5]:
        raise Refused("damaged: the JPEG's frame header is too short")
    head.process = marker
    head.precision, head.height, head.width, count = struct.unpack_from(">BHHB", payload)
    head.components = tuple(payload[6 + 3 * number] for number in range(count))
    factors = (payload[7 + 3 * number] for number in range(count))
    head.sampling = tuple((max(1, each >> 4), max(1, each & 15)) for each in factors)
    if head.height == 0:
        raise Refused("no pixels: the JPEG states no height (or only after its scan, which is not read here)")
    if head.precision not in (8, 12):
        raise Refused(f"{head.precision}-bit JPEG: not supported here; convert it to 8 bits or to a 16-bit TIFF first")
    if head.precision == 12 and marker == _BASELINE:
        raise Refused("damaged: a baseline JPEG has 8 bits a sample, this one states 12")
    if count not in (1, 3, 4):
        raise NotSupported(f"a JPEG of {count} components: not supported here; save it as gray, RGB or CMYK first")


def _note_scan(data: bytes, segment: Segment, missing: dict[int, list[int | None]]) -> None:
    """Note in ``missing`` what one scan header says will have been sent after it."""
    payload = data[segment.start + 4 : segment.end]
    if not payload or len(payload) < 4 + 2 * payload[0]:
        raise Refused("damaged: a scan header of the JPEG is too short")
    count = payload[0]
    first, last, shift = payload[1 + 2 * count : 4 + 2 * count]
    for number in payload[1 : 1 + 2 * count : 2]:
        if number in missing:
            for coefficient in range(first, min(last, 63) + 1):
                missing[number][coefficient] = shift & 15
