"""PNG: damage is seen, and bands and ways of inflating make no difference to the pixels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import png
from tests.pictures import SAMPLES, TEXTURE, pillows, png_chunks, png_of, read, refusal, same, save

RGB = np.ascontiguousarray(TEXTURE[..., :3])


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


def with_data(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A PNG with its image data changed; checksums are right."""
    chunks = png_chunks(data)
    image = zlib.decompress(b"".join(payload for name, payload in chunks if name == b"IDAT"))
    rest = [(name, payload) for name, payload in chunks if name not in (b"IDAT", b"IEND")]
    return png_of([*rest, (b"IDAT", change(image)), (b"IEND", b"")])


@pytest.mark.usefixtures("_bands")
def test_all_kinds_read_the_same_in_bands_and_data_has_to_be_long_enough_whole_rows_or_not() -> None:
    palette = Image.fromarray(RGB).quantize(200)
    same(read(save(Image.fromarray(RGB), "PNG")), RGB)
    same(read(save(palette, "PNG")), np.asarray(palette.convert("RGB")))
    same(read(bytes(imagecodecs.png_encode(RGB.astype(np.uint16) * 257))), RGB)
    sound = save(Image.fromarray(TEXTURE), "PNG")
    np.testing.assert_array_equal(read(sound).samples, RGB)
    line = 1 + 4 * TEXTURE.shape[1]
    for short in (1, line - 1, line, 20 * line):
        assert refusal(with_data(sound, lambda raw, n=short: zlib.compress(raw[:-n]))).startswith("truncated")
    assert refusal(with_data(sound, lambda raw: zlib.compress(raw)[:-4] + b"abcd")).startswith("damaged")
    assert refusal(with_data(sound, lambda raw: b"")).startswith("truncated")
    longer = with_data(sound, lambda raw: zlib.compress(raw + bytes(3000)))
    np.testing.assert_array_equal(read(longer).samples, RGB)


def test_a_picture_of_several_bands_is_seamless() -> None:
    random = np.random.default_rng(0)
    tall = np.cumsum(random.integers(0, 3, (2600, 800, 3)), axis=0).astype(np.uint8)  # rows like those above them
    assert tall.nbytes > png._BAND_BYTES
    same(read(save(Image.fromarray(tall), "PNG", compress_level=1)), tall)


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
    palettes = [(b"PLTE", palette)] if palette else []
    return png_of([(b"IHDR", header), *palettes, (b"IDAT", zlib.compress(data)), (b"IEND", b"")])


@pytest.mark.parametrize(
    ("depth", "kind", "channels"),
    [(1, 0, 1), (2, 0, 1), (4, 0, 1), (8, 0, 1), (8, 2, 3), (16, 2, 3), (1, 3, 1), (4, 3, 1), (8, 4, 2), (8, 6, 4)],
)
def test_interlaced_pictures_are_pillows_and_nothing_is_said(
    depth: int, kind: int, channels: int, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(depth + kind)
    palette = random.integers(0, 256, 3 << depth, np.uint8).tobytes() if kind == 3 else b""
    for shape in ((1, 1), (3, 2), (5, 9), (33, 20)):
        data = interlaced(random.integers(0, 1 << depth, (*shape, channels), np.uint16), depth, kind, palette)
        ours = read(data)
        assert capfd.readouterr() == ("", "")
        if depth == 16:  # Pillow drops the low bytes
            judge = (imagecodecs.png_decode(data).astype(np.uint32) + 128) // 257
            capfd.readouterr()
        else:
            judge = np.array(Image.fromarray(pillows(data, "RGBA")).convert("RGB"))
        np.testing.assert_array_equal(ours.samples, judge)


@pytest.mark.parametrize("kind", ["png", "png palette", "png RGBA", "png 16", "png 1"])
def test_damaged_pngs_are_refused(kind: str) -> None:
    data = SAMPLES[kind]
    assert "end chunk" in refusal(data[:-12])
    at = data.index(b"IDAT") + 20
    assert refusal(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) == (
        "damaged: the checksum of the PNG's IDAT chunk is wrong"
    )
    changes: list[tuple[tuple[str, ...], Callable[[bytes], bytes]]] = [
        (("truncated", "damaged"), lambda raw: zlib.compress(raw[: len(raw) // 2])),
        (("truncated", "damaged"), lambda raw: zlib.compress(raw)[:-40]),
        (("damaged",), lambda _: b"\x78\x9c" + bytes(30)),
        (("damaged",), lambda raw: zlib.compress(b"\x09" + raw[1:])),  # an unknown filter
    ]
    for says, change in changes:
        assert refusal(with_data(data, change)).startswith(says)
    rest = [chunk for chunk in png_chunks(data) if chunk[0] != b"IDAT"]
    assert refusal(png_of(rest)) == "damaged: the PNG has no image data"


def test_damage_beside_the_picture_of_a_png_does_not_matter() -> None:
    start = png_chunks(SAMPLES["png"])
    extra = [(b"iCCP", b"name\0\0no zlib"), (b"tEXt", b"\xff" * 30), (b"acTL", b"\0"), (b"gAMA", b"\0\0\0\1")]
    same(read(png_of([start[0], *extra, *start[1:]])), read(SAMPLES["png"]).samples)
