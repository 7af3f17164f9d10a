"""What a file is, by its content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kseg_core.errors import UnreadableImage
from kseg_core.images import read_header, read_image, sniff_format

FTYP = b"\0\0\0\x18ftyp"


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (FTYP + b"crx \0\0\0\1crx isom", "camera RAW (Canon CR3)", "darktable-cli"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(50), "camera RAW (Canon CR2)", "darktable-cli"),
        (b"IIRO\x08\0\0\0" + bytes(50), "camera RAW (Olympus ORF)", "dcraw"),
        (b"IIU\0\x18\0\0\0" + bytes(50), "camera RAW (Panasonic RW2)", "dcraw"),
        (b"FUJIFILMCCD-RAW 0201", "camera RAW (Fujifilm RAF)", "dcraw"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF", "pdftoppm"),
        (b"8BPS\0\1" + bytes(20), "Photoshop (PSD)", "save it as TIFF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG", "rsvg-convert"),
        (b"P7\nWIDTH 2\nHEIGHT 2\n", "PAM or PFM", "magick"),
        (b"\x76\x2f\x31\x01\2\0\0\0", "OpenEXR", "magick"),
    ],
)
def test_formats_without_a_reader_are_refused_by_name_with_what_to_do(
    tmp_path: Path, refusal: Callable[[bytes], str], data: bytes, name: str, words: str
) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    assert sniff_format(str(path)) == name
    reason = refusal(data)
    assert reason.startswith(f"{name}: not supported here")
    assert words in reason
    with pytest.raises(UnreadableImage, match="not supported here"):
        read_header(str(path))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"Dear reader,\nthis is a text.\n", "not an image (text)"),
        ("Grüße – ".encode() * 600, "not an image (text)"),  # the head ends within a character
        (b"BMW is a maker of cars\n", "not an image (text)"),
        (b"PK\3\4\x14\0", "not an image (a ZIP archive)"),
        (b"\x1f\x8b\x08\0", "not an image (a gzip archive)"),
        (b"RIFF\x10\0\0\0AVI LIST", "not an image (a video)"),
        (FTYP + b"isom\0\0\2\0isomiso2", "not an image (a video)"),
        (bytes(5000), "not an image (only zero bytes)"),
        (b"\x01\x02\x03\x04\x90\x91", "not an image of a known format"),
        (b"\xff\xd8", "not an image of a known format"),
    ],
)
def test_what_is_not_a_picture_is_said_to_be_what_it_is(
    tmp_path: Path, refusal: Callable[[bytes], str], data: bytes, reason: str
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    assert sniff_format(str(path)) is None
    assert refusal(data) == reason


def test_the_extension_says_nothing(tmp_path: Path, samples: dict[str, bytes]) -> None:
    expected = {"jpeg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "webp lossy": "WebP", "tiff": "TIFF"}
    for kind, name in expected.items():
        path = tmp_path / "wrong.txt"
        path.write_bytes(samples[kind])
        assert sniff_format(str(path)) == name
        assert read_header(str(path)).format == name
        read_image(str(path))


def test_names_may_hold_undecodable_bytes(tmp_path: Path, samples: dict[str, bytes]) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    for kind in ("jpeg", "png", "tiff"):
        path = f"{tmp_path}/{name}"
        with open(path, "wb") as file:
            file.write(samples[kind])
        assert read_image(path).rgb.shape == (*read_header(path).shape, 3)
