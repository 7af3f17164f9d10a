"""Bands and ways of inflating make no difference to a PNG's pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import RgbImage, png_rows

Read = Callable[[bytes], RgbImage]
Save = Callable[..., bytes]
Refusal = Callable[[bytes], str]


@pytest.fixture(params=[(1 << 22, 16), (1 << 22, 0), (1000, 0), (1000, 10**6), (1, 0)], ids=str)
def _bands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bands of many rows and of one, inflated whole and piece by piece."""
    band_bytes, quick = request.param
    monkeypatch.setattr(png_rows, "_BAND_BYTES", band_bytes)
    monkeypatch.setattr(png_rows, "_QUICK_BANDS", quick)
    monkeypatch.setattr(png_rows, "_INFLATE_BYTES", 777)


def with_data(image: Image.Image, save: Save, change: Callable[[bytes], bytes]) -> bytes:
    """A PNG of Pillow's with its image data changed; checksums are right."""
    data, out, at, image_data = save(image, "PNG"), b"", 8, b""
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, payload = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length
        if name == b"IDAT":
            image_data += payload
            continue
        if name == b"IEND":
            payloads = [(b"IDAT", change(zlib.decompress(image_data))), (name, payload)]
        else:
            payloads = [(name, payload)]
        for one, value in payloads:
            out += struct.pack(">I", len(value)) + one + value + struct.pack(">I", zlib.crc32(one + value))
    return data[:8] + out


@pytest.mark.usefixtures("_bands")
def test_all_kinds_read_the_same_in_bands(read: Read, save: Save, texture: NDArray[np.uint8]) -> None:
    rgb = np.ascontiguousarray(texture[..., :3])
    np.testing.assert_array_equal(read(save(Image.fromarray(rgb), "PNG")).rgb, rgb)
    np.testing.assert_array_equal(read(save(Image.fromarray(texture), "PNG")).rgb, rgb)
    palette = Image.fromarray(rgb).quantize(200)
    np.testing.assert_array_equal(read(save(palette, "PNG")).rgb, np.asarray(palette.convert("RGB")))
    wide = rgb.astype(np.uint16) * 257
    np.testing.assert_array_equal(read(bytes(imagecodecs.png_encode(wide))).rgb, rgb)


@pytest.mark.usefixtures("_bands")
def test_data_has_to_be_long_enough_whole_rows_or_not(
    read: Read, refusal: Refusal, save: Save, texture: NDArray[np.uint8]
) -> None:
    image = Image.fromarray(texture)
    line = 1 + 4 * texture.shape[1]
    for short in (1, line - 1, line, 20 * line):
        assert refusal(with_data(image, save, lambda raw, n=short: zlib.compress(raw[:-n]))).startswith("truncated")
    assert refusal(with_data(image, save, lambda raw: zlib.compress(raw)[:-4] + b"abcd")).startswith("damaged")
    assert refusal(with_data(image, save, lambda raw: b"")).startswith("truncated")
    longer = with_data(image, save, lambda raw: zlib.compress(raw + bytes(3000)))
    np.testing.assert_array_equal(read(longer).rgb, texture[..., :3])


def test_a_picture_of_several_bands_is_seamless(read: Read, save: Save) -> None:
    random = np.random.default_rng(0)
    tall = np.cumsum(random.integers(0, 3, (2600, 800, 3)), axis=0).astype(np.uint8)  # rows like those above them
    assert tall.nbytes > png_rows._BAND_BYTES
    np.testing.assert_array_equal(read(save(Image.fromarray(tall), "PNG", compress_level=1)).rgb, tall)
