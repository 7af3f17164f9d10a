"""Bands and ways of inflating make no difference to a PNG's pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import Pixels, png

Read = Callable[[bytes], Pixels]
Save = Callable[..., bytes]
Refusal = Callable[[bytes], str]


@pytest.fixture(params=[(1 << 22, True), (1 << 22, False), (1000, False), (1000, True), (1, False)], ids=str)
def _bands(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bands of many rows and of one, inflated at once and piece by piece."""
    band_bytes, at_once = request.param
    monkeypatch.setattr(png, "_BAND_BYTES", band_bytes)
    monkeypatch.setattr(png, "_INFLATE_BYTES", 777)
    if not at_once:
        monkeypatch.setattr(imagecodecs, "deflate_decode", too_long)


def too_long(*_: object, **__: object) -> None:
    raise imagecodecs.DeflateError("inflate", 0)


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
    np.testing.assert_array_equal(read(save(Image.fromarray(rgb), "PNG")).samples, rgb)
    np.testing.assert_array_equal(read(save(Image.fromarray(texture), "PNG")).samples, rgb)
    palette = Image.fromarray(rgb).quantize(200)
    np.testing.assert_array_equal(read(save(palette, "PNG")).samples, np.asarray(palette.convert("RGB")))
    wide = rgb.astype(np.uint16) * 257
    np.testing.assert_array_equal(read(bytes(imagecodecs.png_encode(wide))).samples, rgb)


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
    np.testing.assert_array_equal(read(longer).samples, texture[..., :3])


def test_a_picture_of_several_bands_is_seamless(read: Read, save: Save) -> None:
    random = np.random.default_rng(0)
    tall = np.cumsum(random.integers(0, 3, (2600, 800, 3)), axis=0).astype(np.uint8)  # rows like those above them
    assert tall.nbytes > png._BAND_BYTES
    np.testing.assert_array_equal(read(save(Image.fromarray(tall), "PNG", compress_level=1)).samples, tall)


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def interlaced(values: NDArray[np.uint16], depth: int, kind: int, palette: bytes = b"") -> bytes:
    """A PNG of (height, width, channels) samples in seven passes, rows filtered by the one to their left."""
    data = b""
    for x0, y0, dx, dy in ADAM7:
        for row in values[y0::dy, x0::dx]:
            if row.size:
                bits = np.unpackbits(row.astype(">u2").view(np.uint8).reshape(-1, 2), axis=1)[:, 16 - depth :]
                packed = np.packbits(bits).astype(np.uint8)
                step = max(1, values.shape[2] * depth // 8)
                left = np.concatenate([np.zeros(step, np.uint8), packed[:-step]])[: len(packed)]
                data += b"\1" + (packed - left).tobytes()
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, kind, 0, 0, 1)
    chunks = [
        (b"IHDR", header),
        *([(b"PLTE", palette)] if palette else []),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    ]
    parts = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (5, 9), (8, 8), (33, 20)])
@pytest.mark.parametrize(
    ("depth", "kind", "channels"),
    [
        (1, 0, 1),
        (2, 0, 1),
        (4, 0, 1),
        (8, 0, 1),
        (8, 2, 3),
        (16, 2, 3),
        (1, 3, 1),
        (4, 3, 1),
        (8, 3, 1),
        (8, 4, 2),
        (8, 6, 4),
    ],
)
def test_interlaced_pictures_are_pillows_and_nothing_is_said(
    depth: int, kind: int, channels: int, shape: tuple[int, int], read: Read, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(depth + kind)
    palette = random.integers(0, 256, 3 << depth, np.uint8).tobytes() if kind == 3 else b""
    data = interlaced(random.integers(0, 1 << depth, (*shape, channels), np.uint16), depth, kind, palette)
    ours = read(data)
    assert capfd.readouterr() == ("", "")
    if depth == 16:  # Pillow drops the low bytes
        judge = (imagecodecs.png_decode(data).astype(np.uint32) + 128) // 257
        capfd.readouterr()
    else:
        judge = np.array(Image.open(io.BytesIO(data)).convert("RGBA").convert("RGB"))
    np.testing.assert_array_equal(ours.samples, judge)
