"""Every mode becomes 8-bit sRGB; the expected values are written out."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import srgb
from kseg_core.images.raster import undivided
from tests.pictures import TEXTURE, by_gdal, pillows, planar, png_of, read, refusal, same, save, save_tiff

RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]], [[1, 2, 3], [250, 251, 252]]], np.uint8)
ALPHA = np.array([[255, 0], [128, 1], [0, 255]], np.uint8)
RGBA = np.dstack([RGB, ALPHA])
GRAY = np.array([[0, 1], [128, 200], [254, 255]], np.uint8)
BITS = np.array([[True, False, True], [False, False, True]])
WIDE = np.array([[0, 127], [128, 129], [384, 386], [65406, 65407], [65408, 65535]], np.uint16)
# (v + 128) // 257, by hand: 127 -> 0, 128 -> 0, 129 -> 1, 384 -> 1, 386 -> 2, 65406 -> 254, 65407 -> 255
NARROW = np.array([[0, 0], [0, 1], [1, 2], [254, 255], [255, 255]], np.uint8)
WIDE_RGB, NARROW_RGB = np.dstack([WIDE, WIDE[::-1], WIDE]), np.dstack([NARROW, NARROW[::-1], NARROW])
WIDE_ALPHA = np.array([[0, 1], [255, 256], [65535, 0], [1, 1], [0, 9]], np.uint16)
PREMULTIPLIED = np.array([[[100, 50, 0, 128], [0, 0, 0, 0], [7, 8, 9, 255]]], np.uint8)

PALETTE = Image.frombytes("P", (2, 3), bytes([0, 1, 2, 3, 4, 5]))
PALETTE.putpalette(RGB.tobytes())
NOT_THE_FOURTH = np.arange(6).reshape(3, 2) != 3
INVISIBLE = Image.new("RGBA", (3, 2), (0, 0, 0, 0))
LOSSLESS: dict[str, Any] = {"WEBP": {"lossless": True, "exact": True}}


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *, passes: int = 0, **chunks: bytes) -> bytes:
    """A PNG written by hand; ``rows`` begin with their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, passes)
    middle = [(name.encode(), payload) for name, payload in chunks.items()]
    return png_of([(b"IHDR", header), *middle, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


#: By Pillow: what is written, in which formats, with which options, and the colours and validity of what is read.
BY_PILLOW: dict[str, tuple[Image.Image, str, dict[str, Any], NDArray[Any], NDArray[Any] | None]] = {
    "rgb": (Image.fromarray(RGB), "PNG WEBP TIFF BMP", {}, RGB, None),
    "rgba": (Image.fromarray(RGBA), "PNG WEBP TIFF", {}, RGB, ALPHA > 0),
    "gray": (Image.fromarray(GRAY), "PNG TIFF BMP", {}, GRAY, None),
    "gray with alpha": (Image.fromarray(np.dstack([GRAY, ALPHA])), "PNG TIFF", {}, GRAY, ALPHA > 0),
    "one bit": (Image.fromarray(BITS), "PNG TIFF BMP GIF", {}, BITS * np.uint8(255), None),
    "palette": (PALETTE, "PNG TIFF BMP GIF", {}, RGB, None),
    "palette with a transparent colour": (PALETTE, "PNG GIF", {"transparency": 3}, RGB, NOT_THE_FOURTH),
    "palette with alphas": (PALETTE, "PNG", {"transparency": ALPHA.tobytes()}, RGB, ALPHA > 0),
    "16-bit gray": (Image.frombytes("I;16", (2, 5), WIDE.astype("<u2").tobytes()), "PNG TIFF", {}, NARROW, None),
    "one pixel": (Image.new("RGB", (1, 1), (128,) * 3), "PNG JPEG BMP GIF WEBP TIFF", {}, np.full((1, 1), 128), None),
    "all transparent": (INVISIBLE, "PNG WEBP TIFF", {}, np.zeros((2, 3)), np.zeros((2, 3), bool)),
    "unused alpha": (Image.new("RGBA", (3, 2), (1, 2, 3, 255)), "PNG", {}, np.full((2, 3, 3), [1, 2, 3]), None),
    "pages": (Image.fromarray(GRAY), "TIFF", {"append_images": [Image.fromarray(255 - GRAY)]}, GRAY, None),
    "frames": (Image.fromarray(RGB), "PNG WEBP", {"append_images": [Image.fromarray(255 - RGB)]}, RGB, None),
    "frames of palettes": (
        PALETTE, "GIF", {"append_images": [PALETTE.rotate(180)], "duration": 100, "optimize": False}, RGB, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", BY_PILLOW)
def test_modes_of_pillow(mode: str) -> None:
    image, forms, options, rgb, valid = BY_PILLOW[mode]
    for form in forms.split():
        several = {"save_all": True} if "append_images" in options else {}
        same(read(save(image, form, **LOSSLESS.get(form, {}), **several, **options)), rgb, valid)


#: What is written by hand or by a codec, and its colours and validity.
BY_HAND: dict[str, tuple[bytes, Any, NDArray[Any] | None]] = {
    "an index beyond the palette is black": (
        png(3, 1, 8, 3, b"\0\0\1\7", PLTE=bytes([9, 8, 7, 6, 5, 4])), [[[9, 8, 7], [6, 5, 4], [0, 0, 0]]], None
    ),
    "colour key of RGB": (
        png(2, 1, 8, 2, b"\0" + bytes([1, 2, 3, 1, 2, 4]), tRNS=bytes([0, 1, 0, 2, 0, 3])),
        [[[1, 2, 3], [1, 2, 4]]], np.array([[False, True]]),
    ),
    "colour key of gray": (png(2, 1, 8, 0, b"\0\5\6", tRNS=b"\0\5"), [[5, 6]], np.array([[False, True]])),
    "colour key of gray of 2 bits": (
        png(4, 1, 2, 0, b"\0\x1b", tRNS=b"\0\2"), [[0, 85, 170, 255]], np.array([[True, True, False, True]])
    ),
    "a colour key of 16 bits is compared in all of them": (
        png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 257, 514, 771, 257, 514, 772),
            tRNS=struct.pack(">3H", 257, 514, 771)),
        [[[1, 2, 3], [1, 2, 3]]], np.array([[False, True]]),
    ),
    # Each of the four pixels is in a pass of its own (1, 6, 7 and 7 of Adam7), so its row has a filter byte.
    "16 bits interlaced": (
        png(2, 2, 16, 0, struct.pack(">xHxHx2H", 257, 514, 771, 1028), passes=1), [[1, 2], [3, 4]], None
    ),
    "16-bit RGB": (bytes(imagecodecs.png_encode(WIDE_RGB)), NARROW_RGB, None),
    "16-bit RGBA": (bytes(imagecodecs.png_encode(np.dstack([WIDE_RGB, WIDE_ALPHA]))), NARROW_RGB, WIDE_ALPHA > 0),
    "16-bit gray with alpha": (bytes(imagecodecs.png_encode(np.dstack([WIDE, WIDE_ALPHA]))), NARROW, WIDE_ALPHA > 0),
    "16-bit RGBA TIFF": (
        save_tiff(RGBA.astype(np.uint16) * 257, photometric="rgb", extrasamples=["unassalpha"]), RGB, ALPHA > 0
    ),
    # 100 * 255 / 128 = 199.2, 50 * 255 / 128 = 99.6
    "premultiplied alpha is undone": (
        save_tiff(PREMULTIPLIED, photometric="rgb", extrasamples=["assocalpha"]),
        [[[199, 100, 0], [0, 0, 0], [7, 8, 9]]], np.array([[True, False, True]]),
    ),
    "a band that is not alpha": (save_tiff(RGBA, photometric="rgb", extrasamples=["unspecified"]), RGB, None),
    "white is zero": (save_tiff(GRAY, photometric="miniswhite"), 255 - GRAY, None),
    "white is zero of bits": (save_tiff(BITS, photometric="miniswhite"), np.where(BITS, 0, 255), None),
    # One pixel, index 1, on a canvas of two colours.
    "around a smaller first frame a GIF is transparent": (
        b"GIF89a" + struct.pack("<HHBBB", 3, 2, 0x80, 0, 0) + bytes([9, 9, 9, 1, 2, 3])
        + b"," + struct.pack("<HHHHB", 1, 1, 1, 1, 0) + bytes([2, 2, 0x4C, 0x01, 0]) + b";",
        [[[9, 9, 9]] * 3, [[9, 9, 9], [1, 2, 3], [9, 9, 9]]], np.arange(6).reshape(2, 3) == 4,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_modes_that_pillow_does_not_write(case: str) -> None:
    data, rgb, valid = BY_HAND[case]
    same(read(data), np.array(rgb), valid)


def test_16_bit_table_is_the_contract() -> None:
    values = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(srgb.to_8_bits(values, 65535), (values.astype(int) + 128) // 257)


def test_bits_between_8_and_16_are_scaled_by_their_own_maximum() -> None:
    np.testing.assert_array_equal(srgb.to_8_bits(np.array([0, 8, 9, 2048, 4095], np.uint16), 4095), [0, 0, 1, 128, 255])
    # A strip of two 4-bit samples to the byte: Pillow's 8-bit gray TIFF with its tag 258 changed.
    data = save(Image.frombytes("L", (2, 1), b"\x0f\x5a"), "TIFF")
    same(
        read(data.replace(struct.pack("<HHIB", 258, 3, 1, 8), struct.pack("<HHIB", 258, 3, 1, 4))), np.array([[0, 255]])
    )


@pytest.mark.parametrize("bits", [8, 12, 16, 24, 32])
def test_premultiplied_samples_of_any_depth_are_divided_exactly(bits: int) -> None:
    most = (1 << bits) - 1
    stored = [(most, most), (most // 3, most // 2), (most // 2, 3), (1, most), (most, 1), (0, 0)]  # a sample, and alpha
    samples = np.array([stored], f"u{1 if bits <= 8 else 2 if bits <= 16 else 4}")
    expected = [min(most, (value * most + max(1, alpha) // 2) // max(1, alpha)) for value, alpha in stored]
    divided = undivided(samples, most)
    assert divided.dtype == samples.dtype
    assert divided[0].tolist() == [[value, alpha] for value, (_, alpha) in zip(expected, stored, strict=True)]


@pytest.mark.parametrize(
    "options",
    [
        {}, {"planarconfig": "separate"}, {"compression": "lzw"}, {"compression": "zlib", "predictor": True},
        {"compression": "zstd"}, {"compression": "packbits"}, {"compression": "lzma"}, {"tile": (16, 16)},
        {"tile": (16, 16), "planarconfig": "separate", "compression": "zlib"}, {"rowsperstrip": 2}, {"bigtiff": True},
        {"byteorder": ">"},
    ],
    ids=str,
)  # fmt: skip
def test_rgb_tiffs_of_all_layouts(options: dict[str, Any]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (20, 37, 3)).astype(np.uint8)
    for data in (rgb, rgb.astype(np.uint16) * 257):
        stored = planar(data) if "planarconfig" in options else data
        same(read(save_tiff(stored, photometric="rgb", **options)), rgb)


@pytest.mark.parametrize(("axes", "pick"), [("TZCYX", np.s_[0, 0]), ("CZTYX", np.s_[:, 0, 0]), ("ZCYX", np.s_[0])])
def test_ome_tiff_is_read_at_t_0_and_z_0(axes: str, pick: Any) -> None:
    shape = [{"T": 2, "Z": 3, "C": 3, "Y": 4, "X": 5}[axis] for axis in axes]
    data = (np.arange(np.prod(shape)).reshape(shape) % 251).astype(np.uint8)
    file = save_tiff(data, ome=True, metadata={"axes": axes}, photometric="minisblack")
    same(read(file), np.moveaxis(data[pick], 0, 2))


def test_ome_tiff_of_one_channel_is_gray() -> None:
    data = np.arange(40, dtype=np.uint8).reshape(2, 4, 5)
    same(read(save_tiff(data, ome=True, metadata={"axes": "ZYX"}, photometric="minisblack")), data[0])


@pytest.mark.parametrize(
    "dtype",
    ["int8", "int16", "uint32", "int32", "int64", "uint64", "float16", "float32", "float64", "complex64", "complex128"],
)
def test_samples_that_are_no_picture_are_refused_with_advice(dtype: str) -> None:
    is_complex = dtype.startswith("complex")
    why = "complex numbers are not read here; save their magnitude first"
    assert refusal(save_tiff(np.zeros((4, 5), dtype), photometric="minisblack")) == (
        f"{dtype} samples: {why if is_complex else 'not an 8- or 16-bit image; use --features bands'}"
    )


def test_complex_integers_are_refused_by_name(tmp_path: Path) -> None:
    path = by_gdal(tmp_path / "x", np.ones((4, 5, 1), np.complex64), dtype="complex_int16")
    assert refusal(path.read_bytes()).startswith("complex int16 samples: complex numbers are not read here")


@pytest.mark.parametrize("bands", [2, 5, 7])
def test_bands_that_are_no_picture_are_refused(bands: int) -> None:
    data, ome = np.zeros((bands, 4, 5), np.uint8), {"ome": True, "metadata": {"axes": "CYX"}}
    for options in ({"planarconfig": "separate"}, ome):
        reason = refusal(save_tiff(data, photometric="minisblack", **options))
        assert reason.startswith(f"{bands} bands: ")
        assert reason.endswith("; use --features bands")


def test_cmyk_jpeg_is_inverted_as_adobe_writes_it() -> None:
    cmyk = np.full((16, 16, 4), [0, 255, 255, 0], np.uint8)  # full magenta and yellow: red
    image = read(save(Image.frombytes("CMYK", (16, 16), cmyk.tobytes()), "JPEG", quality=100))
    assert np.abs(image.samples.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_cmyk_without_a_profile_is_what_pillow_makes_of_it(form: str) -> None:
    data = save(Image.frombytes("CMYK", (64, 48), TEXTURE.tobytes()), form)
    same(read(data), pillows(data))


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_give_pillows_bits(sampling: str, progressive: bool) -> None:
    data = save(Image.fromarray(TEXTURE[:45, :61, :3].copy()), "JPEG", subsampling=sampling, progressive=progressive)
    same(read(data), pillows(data))


@pytest.mark.parametrize("layout", [{"tile": (16, 16)}, {"rowsperstrip": 16}, {"rowsperstrip": 50}], ids=str)
def test_tiffs_of_jpeg_tiles_are_what_was_written_whatever_their_colours(layout: dict[str, Any]) -> None:
    y, x = np.mgrid[0:50, 0:70]
    rgb = np.dstack([3 * x, 4 * y, x + y]).astype(np.uint8)
    for written, photometric, out in ((rgb, "rgb", "ycbcr"), (rgb, "rgb", "rgb"), (rgb[..., 0], "minisblack", None)):
        packing = {"compression": "jpeg", **({"compressionargs": {"level": 95, "outcolorspace": out}} if out else {})}
        found = read(save_tiff(written, photometric=photometric, **packing, **layout)).samples.astype(int)
        assert np.abs(found - (written if out else written[..., None])).mean() < 3
