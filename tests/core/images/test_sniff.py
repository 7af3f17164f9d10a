"""What a file is, by its content."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kseg_core.errors import UnreadableImage
from kseg_core.images import read_image, read_info
from kseg_core.images.decoder import Decoder
from kseg_core.images.formats import DECODERS, decoder_named
from kseg_core.images.masks import mask_path
from kseg_core.images.vrt import Vrt
from tests.pictures import SAMPLES, refusal, save

FORMATS = (*DECODERS, Vrt)
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
    tmp_path: Path, data: bytes, name: str, words: str
) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    reason = refusal(data)
    assert reason.startswith(f"{name}: not supported here")
    assert words in reason
    with pytest.raises(UnreadableImage, match="not supported here"):
        read_info(str(path))


def test_formats_have_names_of_their_own() -> None:
    names = [name for decoder in FORMATS for name in (decoder.name, *decoder.other_names)]
    assert len(set(names)) == len(names)
    assert all(decoder_named(name) in DECODERS for name in names if name != "VRT")


@pytest.mark.parametrize("decoder", [decoder for decoder in FORMATS if decoder.gdal_driver])
def test_gdal_has_the_drivers_by_which_it_is_asked(decoder: type[Decoder]) -> None:
    rasterio = pytest.importorskip("rasterio")
    with rasterio.Env() as gdal:
        assert decoder.gdal_driver in gdal.drivers()


@pytest.mark.parametrize("suffix", [suffix for decoder in DECODERS for suffix in decoder.mask_suffixes])
def test_a_mask_is_found_by_the_suffixes_of_its_format(suffix: str, tmp_path: Path) -> None:
    for name in (f"a.{suffix}", "a.txt", f"b.{suffix}"):
        (tmp_path / name).touch()
    assert mask_path(str(tmp_path), "a.qoi", "a.qoi") == str(tmp_path / f"a.{suffix}")


def written(form: str, mode: str, **more: Any) -> bytes:
    """By Pillow."""
    return save(Image.linear_gradient("L").resize((9, 7)).convert(mode), form, **more)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        *((written("TGA", mode), "TGA") for mode in ("L", "P", "RGB", "RGBA", "LA")),
        *((written("TGA", mode, compression="tga_rle"), "TGA") for mode in ("L", "P", "RGB", "RGBA")),
        *((written("PCX", mode), "PCX") for mode in ("1", "L", "P", "RGB")),
        *((written("SGI", mode), "SGI") for mode in ("L", "RGB", "RGBA")),
        (written("XBM", "1"), "XBM"),
        (written("DDS", "RGBA"), "DirectDraw surface (DDS)"),
        (b"\x59\xa6\x6a\x95" + bytes(40), "Sun raster"),
        (b"FORM\0\0\1\0ILBMBMHD", "Amiga ILBM"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "Windows metafile (WMF)"),
        (b"SDPX" + bytes(40), "DPX"),
        (b"EHFA_HEADER_TAG\0" + bytes(40), "ERDAS Imagine (IMG)"),
        (b"NITF02.10" + bytes(40), "NITF"),
        (b"GRIB\0\0\0\2" + bytes(40), "GRIB"),
        (b"\x5c\1\0\0" + bytes(340) + b"n+1\0", "NIfTI"),
    ],
)
def test_pictures_of_kinds_without_a_reader_are_called_by_their_name_and_what_to_convert_them_to(
    data: bytes, name: str
) -> None:
    reason = refusal(data)
    assert reason.startswith(f"{name}: not supported here; ")
    assert re.search(r"convert it to (PNG|TIFF|GeoTIFF)|export it to OME-TIFF|render it to PNG", reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"GRIB is a format, and FLIF another.\n", "not an image (text)"),
        (bytes([0, 0, 2]) + bytes(9) + b"\0\0\7\0\x18\0" + b"no width" * 9, "not an image of a known format"),
        (b"\x0a\5\1\7" + bytes(range(1, 200)), "not an image of a known format"),
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
def test_what_is_not_a_picture_is_said_to_be_what_it_is(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    assert refusal(data) == reason


def test_the_extension_says_nothing(tmp_path: Path) -> None:
    expected = {"jpeg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "webp lossy": "WebP", "tiff": "TIFF"}
    for kind, name in expected.items():
        path = tmp_path / "wrong.txt"
        path.write_bytes(SAMPLES[kind])
        assert read_info(str(path)).format == name
        read_image(str(path))


def test_names_may_hold_undecodable_bytes(tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    for kind in ("jpeg", "png", "tiff"):
        path = f"{tmp_path}/{name}"
        with open(path, "wb") as file:
            file.write(SAMPLES[kind])
        assert read_image(path).samples.shape == (*read_info(path).shape, 3)
