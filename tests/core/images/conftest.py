"""Small files of every format, and what reading them gives."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from kseg_core.errors import UnreadableImage
from kseg_core.images import Pixels, read_image, read_info
from tests.fuzzing import PROGRAMMERS

Read = Callable[[bytes], Pixels]
Refusal = Callable[[bytes], str]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads bytes as a file of a name that says nothing, header and picture, which have to agree."""

    def look(data: bytes) -> Pixels:
        path = tmp_path / "picture"
        path.write_bytes(data)
        header = read_info(str(path))
        image = read_image(str(path))
        assert image.samples.dtype == np.uint8
        assert image.samples.shape == (*header.shape, 3)
        assert image.samples.flags.c_contiguous
        assert image.samples.flags.writeable
        if image.valid is not None:
            assert image.valid.dtype == np.bool_
            assert image.valid.shape == header.shape
            assert image.valid.flags.c_contiguous
        return image

    return look


@pytest.fixture
def refusal(tmp_path: Path) -> Refusal:
    """The reason for which bytes are not read as a picture; None of them may be read."""

    def look(data: bytes) -> str:
        path = tmp_path / "refused"
        path.write_bytes(data)
        with pytest.raises(UnreadableImage) as caught:
            read_image(str(path))
        assert caught.value.source == str(path)
        assert caught.value.reason.strip()
        assert "\n" not in caught.value.reason
        assert not PROGRAMMERS.search(caught.value.reason)
        return caught.value.reason

    return look


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and payloads of the chunks of a PNG."""
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks, with right checksums."""
    parts = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """A file as Pillow writes it."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def encoded_tiff(samples: NDArray[Any], **options: Any) -> bytes:
    """A file as tifffile writes it."""
    out = io.BytesIO()
    tifffile.imwrite(out, samples, **options)
    return out.getvalue()


def encoded_heic(pixels: NDArray[Any], **options: Any) -> bytes:
    """A file as libheif writes it, without loss; of 16 bits the upper ten."""
    import pillow_heif

    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels] + (";16" if pixels.dtype == np.uint16 else "")
    image = pillow_heif.from_bytes(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels).tobytes())
    out = io.BytesIO()
    image.save(out, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return out.getvalue()


@pytest.fixture(scope="session")
def save_heic() -> Callable[..., bytes]:
    """The writer of HEIC by libheif."""
    return encoded_heic


@pytest.fixture(scope="session")
def save() -> Callable[..., bytes]:
    """The writer of files by Pillow."""
    return encoded


@pytest.fixture(scope="session")
def save_tiff() -> Callable[..., bytes]:
    """The writer of TIFFs by tifffile."""
    return encoded_tiff


@pytest.fixture(scope="session")
def texture() -> NDArray[np.uint8]:
    """A picture with enough in it that damage shows: uint8 (48, 64, 4), sorted noise."""
    return np.sort(np.random.default_rng(5).integers(0, 256, (48, 64, 4), dtype=np.uint8), axis=0)


@pytest.fixture(scope="session")
def samples(texture: NDArray[np.uint8]) -> dict[str, bytes]:
    """A sound file of every format and of the main ways in which each is packed."""
    import imagecodecs

    rgba, rgb = Image.fromarray(texture), Image.fromarray(texture[..., :3].copy())
    palette, bilevel = rgb.quantize(16), rgb.convert("1")
    exif = Image.Exif()
    exif[274] = 6
    colour = {"photometric": "rgb"}
    array = texture[..., :3]
    wide = array.astype(np.uint16) * 257
    return {
        "jpeg": encoded(rgb, "JPEG", exif=exif),
        "jpeg gray": encoded(rgb.convert("L"), "JPEG"),
        "jpeg progressive": encoded(rgb, "JPEG", progressive=True),
        "jpeg CMYK": encoded(Image.frombytes("CMYK", rgb.size, texture.tobytes()), "JPEG"),
        "jpeg with restarts": encoded(rgb, "JPEG", restart_marker_blocks=2),
        "png": encoded(rgb, "PNG", exif=exif),
        "png palette": encoded(palette, "PNG", transparency=3),
        "png RGBA": encoded(rgba, "PNG"),
        "png 16": bytes(imagecodecs.png_encode(wide)),
        "png 1": encoded(bilevel, "PNG"),
        "gif": encoded(palette, "GIF", transparency=2),
        "gif animated": encoded(palette, "GIF", save_all=True, append_images=[palette.rotate(90)], duration=10),
        "bmp": encoded(rgb, "BMP"),
        "bmp palette": encoded(palette, "BMP"),
        "webp lossless": encoded(rgba, "WEBP", lossless=True, exif=exif),
        "webp lossy": encoded(rgb, "WEBP", quality=80),
        "webp animated": encoded(rgba, "WEBP", save_all=True, append_images=[rgba.rotate(90)]),
        "tiff": encoded_tiff(array, **colour),
        "tiff deflate": encoded_tiff(array, compression="zlib", predictor=True, rowsperstrip=8, **colour),
        "tiff LZW tiles": encoded_tiff(array, compression="lzw", tile=(16, 16), **colour),
        "tiff zstd 16": encoded_tiff(wide, compression="zstd", **colour),
        "tiff jpeg tiles": encoded_tiff(array, compression="jpeg", tile=(16, 16), **colour),
        "tiff packbits": encoded_tiff(array[..., 0], compression="packbits", photometric="minisblack"),
        "tiff group 3": encoded(bilevel, "TIFF", compression="group3"),
        "tiff group 4": encoded(bilevel, "TIFF", compression="group4"),
        "tiff webp": encoded_tiff(array, compression="webp", **colour),
        "jpeg 12 bits": bytes(imagecodecs.jpeg8_encode(array.astype(np.uint16) * 16, level=90, bitspersample=12)),
        "ppm": encoded(rgb, "PPM"),
        "pgm 16": b"P5\n# sixteen bits\n64 48\n65535\n" + wide[..., 0].astype(">u2").tobytes(),
        "pbm plain": b"P1\n64 48\n"
        + b"\n".join(b" ".join(b"%d" % (v > 99) for v in row) for row in array[..., 0])
        + b"\n",
        "qoi": bytes(imagecodecs.qoi_encode(array)),
        "qoi RGBA": bytes(imagecodecs.qoi_encode(texture)),
        "jpeg xr": bytes(imagecodecs.jpegxr_encode(array)),
        "jpeg xr RGBA 16": bytes(imagecodecs.jpegxr_encode(texture.astype(np.uint16) * 257)),
        "jp2": encoded(rgb, "JPEG2000"),
        "jp2 RGBA tiles": encoded(rgba, "JPEG2000", tile_size=(16, 16)),
        "j2k tiles 16": encoded(
            Image.fromarray(wide[..., 0].copy()), "JPEG2000", no_jp2=True, tile_size=(32, 16), progression="RPCL"
        ),
        "jxl": bytes(imagecodecs.jpegxl_encode(array, distance=1.0)),
        "jxl lossless RGBA 16": bytes(imagecodecs.jpegxl_encode(texture.astype(np.uint16) * 257, lossless=True)),
        "jxl boxes": bytes(imagecodecs.jpegxl_encode(array, lossless=True, usecontainer=True)),
        "jxl animated": bytes(imagecodecs.jpegxl_encode(np.stack([array, array[::-1], array, array]), lossless=True)),
        "heic": encoded_heic(array),
        "heic RGBA": encoded_heic(texture),
        "heic grid 10 bits": encoded_heic(wide, tile_size=32),
        "avif": bytes(imagecodecs.avif_encode(array, level=80)),
        "avif RGBA 10 bits": bytes(imagecodecs.avif_encode(texture.astype(np.uint16) * 4, level=100, bitspersample=10)),
        "avif animated": encoded(rgba, "AVIF", save_all=True, append_images=[rgba.rotate(180)]),
        "ome-tiff": encoded_tiff(
            np.moveaxis(array, 2, 0).copy(), ome=True, metadata={"axes": "CYX"}, photometric="minisblack"
        ),
    }
