"""Every mode becomes 8-bit sRGB; the expected values are written out."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import Pixels, srgb
from kseg_core.images.raster import undivided

Read = Callable[[bytes], Pixels]
Save = Callable[..., bytes]
Refusal = Callable[[bytes], str]

RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]], [[1, 2, 3], [250, 251, 252]]], np.uint8)
ALPHA = np.array([[255, 0], [128, 1], [0, 255]], np.uint8)
RGBA = np.dstack([RGB, ALPHA])
GRAY = np.array([[0, 1], [128, 200], [254, 255]], np.uint8)
WIDE = np.array([[0, 127], [128, 129], [384, 386], [65406, 65407], [65408, 65535]], np.uint16)
# (v + 128) // 257, by hand: 127 -> 0, 128 -> 0, 129 -> 1, 384 -> 1, 386 -> 2, 65406 -> 254, 65407 -> 255
NARROW = np.array([[0, 0], [0, 1], [1, 2], [254, 255], [255, 255]], np.uint8)


def png(width: int, height: int, depth: int, kind: int, rows: bytes, **chunks: bytes) -> bytes:
    """A PNG written by hand; `rows` begin with their filter bytes."""

    def chunk(name: bytes, payload: bytes) -> bytes:
        return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    middle = b"".join(chunk(name.encode(), payload) for name, payload in chunks.items())
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + middle
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def same(image: Pixels, rgb: NDArray[Any], valid: NDArray[Any] | None = None) -> None:
    rgb = np.repeat(rgb[..., None], 3, axis=2) if rgb.ndim == 2 else rgb
    np.testing.assert_array_equal(image.samples, rgb)
    if valid is None:
        assert image.valid is None
    else:
        np.testing.assert_array_equal(image.valid, valid)


LOSSLESS = [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {}), ("BMP", {})]


@pytest.mark.parametrize(("form", "options"), LOSSLESS)
def test_rgb_is_kept_as_it_is(read: Read, save: Save, form: str, options: dict[str, Any]) -> None:
    same(read(save(Image.fromarray(RGB), form, **options)), RGB)


@pytest.mark.parametrize(("form", "options"), LOSSLESS[:3])
def test_rgba_keeps_its_colours_and_alpha_0_is_invalid(
    read: Read, save: Save, form: str, options: dict[str, Any]
) -> None:
    same(read(save(Image.fromarray(RGBA), form, **options)), RGB, ALPHA > 0)


@pytest.mark.parametrize(("alpha_mask", "valid"), [(0, None), (0xFF000000, ALPHA > 0)])
def test_32_bit_bmp_has_alpha_only_where_its_header_says_so(
    read: Read, alpha_mask: int, valid: NDArray[Any] | None
) -> None:
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, alpha_mask)
    header = struct.pack("<IiiHHIIiiII", 108, 2, -3, 1, 32, 3, 24, 0, 0, 0, 0) + masks + bytes(52)
    data = b"BM" + struct.pack("<IHHI", 14 + 108 + 24, 0, 0, 14 + 108) + header
    same(read(data + RGBA[..., [2, 1, 0, 3]].tobytes()), RGB, valid)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
def test_gray_is_three_equal_channels(read: Read, save: Save, form: str) -> None:
    same(read(save(Image.fromarray(GRAY), form)), GRAY)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_gray_with_alpha(read: Read, save: Save, form: str) -> None:
    image = Image.fromarray(np.dstack([GRAY, ALPHA]))
    assert image.mode == "LA"
    same(read(save(image, form)), GRAY, ALPHA > 0)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF"])
def test_one_bit_is_black_and_white(read: Read, save: Save, form: str) -> None:
    bits = np.array([[True, False, True], [False, False, True]])
    same(read(save(Image.fromarray(bits), form)), bits * np.uint8(255))


def palette_image() -> Image.Image:
    image = Image.frombytes("P", (2, 3), bytes([0, 1, 2, 3, 4, 5]))
    image.putpalette(RGB.tobytes())
    return image


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF"])
def test_palette_without_transparency(read: Read, save: Save, form: str) -> None:
    same(read(save(palette_image(), form)), RGB)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_palette_with_one_transparent_colour(read: Read, save: Save, form: str) -> None:
    valid = np.array([[True, True], [True, False], [True, True]])
    image = read(save(palette_image(), form, transparency=3))
    same(image, RGB, valid)


def test_palette_with_an_alpha_for_each_colour(read: Read, save: Save) -> None:
    data = save(palette_image(), "PNG", transparency=ALPHA.tobytes())
    same(read(data), RGB, ALPHA > 0)


def test_an_index_beyond_the_palette_is_black(read: Read) -> None:
    data = png(3, 1, 8, 3, b"\0\0\1\7", PLTE=bytes([9, 8, 7, 6, 5, 4]))
    same(read(data), np.array([[[9, 8, 7], [6, 5, 4], [0, 0, 0]]]))


def test_colour_key_of_an_rgb_png(read: Read) -> None:
    data = png(2, 1, 8, 2, b"\0" + bytes([1, 2, 3, 1, 2, 4]), tRNS=bytes([0, 1, 0, 2, 0, 3]))
    same(read(data), np.array([[[1, 2, 3], [1, 2, 4]]]), np.array([[False, True]]))


def test_colour_key_of_a_gray_png(read: Read) -> None:
    same(read(png(2, 1, 8, 0, b"\0\5\6", tRNS=b"\0\5")), np.array([[5, 6]]), np.array([[False, True]]))


def test_colour_key_of_a_gray_png_of_2_bits(read: Read) -> None:
    same(
        read(png(4, 1, 2, 0, b"\0\x1b", tRNS=b"\0\2")),
        np.array([[0, 85, 170, 255]]),
        np.array([[True, True, False, True]]),
    )


def test_colour_key_of_a_16_bit_png_compares_all_16_bits(read: Read) -> None:
    rows = b"\0" + struct.pack(">6H", 257, 514, 771, 257, 514, 772)
    data = png(2, 1, 16, 2, rows, tRNS=struct.pack(">3H", 257, 514, 771))
    same(read(data), np.array([[[1, 2, 3], [1, 2, 3]]]), np.array([[False, True]]))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_gray_is_rounded(read: Read, save: Save, form: str) -> None:
    image = Image.frombytes("I;16", (2, 5), WIDE.astype("<u2").tobytes())
    same(read(save(image, form)), NARROW)


def test_16_bit_table_is_the_contract() -> None:
    values = np.arange(65536, dtype=np.uint16)
    expected = (values.astype(int) + 128) // 257
    np.testing.assert_array_equal(srgb.to_8_bits(values, 65535), expected)


def test_16_bit_rgb_and_rgba_png_are_rounded(read: Read) -> None:
    wide = np.dstack([WIDE, WIDE[::-1], WIDE])
    narrow = np.dstack([NARROW, NARROW[::-1], NARROW])
    same(read(bytes(imagecodecs.png_encode(wide))), narrow)
    alpha = np.array([[0, 1], [255, 256], [65535, 0], [1, 1], [0, 9]], np.uint16)
    same(read(bytes(imagecodecs.png_encode(np.dstack([wide, alpha])))), narrow, alpha > 0)
    same(read(bytes(imagecodecs.png_encode(np.dstack([WIDE, alpha])))), NARROW, alpha > 0)


def test_16_bit_interlaced_png(read: Read) -> None:
    # Each of the four pixels is in a pass of its own (1, 6, 7 and 7 of Adam7), so its row has a filter byte.
    rows = b"".join(b"\0" + struct.pack(">H", v) for v in (257, 514)) + b"\0" + struct.pack(">2H", 771, 1028)
    data = bytearray(png(2, 2, 16, 0, rows))
    data[28] = 1  # interlace method
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    same(read(bytes(data)), np.array([[1, 2], [3, 4]]))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"planarconfig": "separate"},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"compression": "lzma"},
        {"tile": (16, 16)},
        {"tile": (16, 16), "planarconfig": "separate", "compression": "zlib"},
        {"rowsperstrip": 2},
        {"bigtiff": True},
        {"byteorder": ">"},
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rgb_tiffs_of_all_layouts(read: Read, save_tiff: Save, options: dict[str, Any], dtype: type) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (20, 37, 3)).astype(np.uint8)
    data = rgb.astype(dtype) * (257 if dtype is np.uint16 else 1)
    if options.get("planarconfig") == "separate":
        data = np.moveaxis(data, 2, 0).copy()
    same(read(save_tiff(data.astype(dtype), photometric="rgb", **options)), rgb)


def test_rgba_tiff_of_16_bits(read: Read, save_tiff: Save) -> None:
    wide = RGBA.astype(np.uint16) * 257
    data = save_tiff(wide, photometric="rgb", extrasamples=["unassalpha"])
    same(read(data), RGB, ALPHA > 0)


def test_premultiplied_alpha_is_undone(read: Read, save_tiff: Save) -> None:
    stored = np.array([[[100, 50, 0, 128], [0, 0, 0, 0], [7, 8, 9, 255]]], np.uint8)
    data = save_tiff(stored, photometric="rgb", extrasamples=["assocalpha"])
    # 100 * 255 / 128 = 199.2, 50 * 255 / 128 = 99.6
    same(read(data), np.array([[[199, 100, 0], [0, 0, 0], [7, 8, 9]]]), np.array([[True, False, True]]))


@pytest.mark.parametrize("bits", [8, 12, 16, 24, 32])
def test_premultiplied_samples_of_any_depth_are_divided_exactly(bits: int) -> None:
    most = (1 << bits) - 1
    stored = [(most, most), (most // 3, most // 2), (most // 2, 3), (1, most), (most, 1), (0, 0)]  # a sample, and alpha
    samples = np.array([stored], f"u{1 if bits <= 8 else 2 if bits <= 16 else 4}")
    expected = [min(most, (value * most + max(1, alpha) // 2) // max(1, alpha)) for value, alpha in stored]
    divided = undivided(samples, most)
    assert divided.dtype == samples.dtype
    assert divided[0].tolist() == [[value, alpha] for value, (_, alpha) in zip(expected, stored, strict=True)]


def test_a_band_that_is_not_alpha_makes_nothing_invalid(read: Read, save_tiff: Save) -> None:
    same(read(save_tiff(RGBA, photometric="rgb", extrasamples=["unspecified"])), RGB)


def test_white_is_zero(read: Read, save_tiff: Save) -> None:
    same(read(save_tiff(GRAY, photometric="miniswhite")), 255 - GRAY)
    same(read(save_tiff(GRAY > 100, photometric="miniswhite")), np.where(GRAY > 100, 0, 255))


def test_bits_between_8_and_16_are_scaled_by_their_own_maximum(read: Read, save: Save) -> None:
    np.testing.assert_array_equal(srgb.to_8_bits(np.array([0, 8, 9, 2048, 4095], np.uint16), 4095), [0, 0, 1, 128, 255])
    # A strip of two 4-bit samples to the byte: Pillow's 8-bit gray TIFF with its tag 258 changed.
    data = bytearray(save(Image.frombytes("L", (2, 1), b"\x0f\x5a"), "TIFF"))
    for at in range(10, len(data) - 12):
        if data[at : at + 8] == struct.pack("<HHI", 258, 3, 1):
            data[at + 8] = 4
    same(read(bytes(data)), np.array([[0, 255]]))


def test_the_first_page_is_the_picture(read: Read, save: Save) -> None:
    pages = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    same(read(save(pages[0], "TIFF", save_all=True, append_images=pages[1:])), GRAY)


def test_ome_tiff_is_read_at_t_0_and_z_0(read: Read, save_tiff: Save) -> None:
    for axes, pick in [("TZCYX", (0, 0)), ("CZTYX", None), ("ZCYX", (0,))]:
        shape = {"T": 2, "Z": 3, "C": 3, "Y": 4, "X": 5}
        data = np.arange(np.prod([shape[a] for a in axes])).reshape([shape[a] for a in axes]) % 251
        bands = data[pick] if pick else data[:, 0, 0]
        file = save_tiff(data.astype(np.uint8), ome=True, metadata={"axes": axes}, photometric="minisblack")
        same(read(file), np.moveaxis(bands, 0, 2))


def test_ome_tiff_of_one_channel_is_gray(read: Read, save_tiff: Save) -> None:
    data = np.arange(40, dtype=np.uint8).reshape(2, 4, 5)
    file = save_tiff(data, ome=True, metadata={"axes": "ZYX"}, photometric="minisblack")
    same(read(file), data[0])


@pytest.mark.parametrize(
    "dtype", ["int8", "int16", "uint32", "int32", "int64", "uint64", "float16", "float32", "float64"]
)
def test_samples_that_are_no_picture_are_refused_with_advice(refusal: Refusal, save_tiff: Save, dtype: str) -> None:
    reason = refusal(save_tiff(np.zeros((4, 5), dtype), photometric="minisblack"))
    assert reason == f"{dtype} samples: not an 8- or 16-bit image; use --features bands"


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_samples_that_nothing_here_reads_are_refused_by_name(refusal: Refusal, save_tiff: Save, dtype: str) -> None:
    reason = refusal(save_tiff(np.zeros((4, 5), dtype), photometric="minisblack"))
    assert reason == f"{dtype} samples: complex numbers are not read here; save their magnitude first"


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_complex_integers_are_refused_by_name(refusal: Refusal, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    path, profile = tmp_path / "x", {"driver": "GTiff", "count": 1, "dtype": "complex_int16"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", height=4, width=5, **profile) as dataset:
            dataset.write(np.ones((1, 4, 5), np.complex64))
    assert refusal(path.read_bytes()).startswith("complex int16 samples: complex numbers are not read here")


@pytest.mark.parametrize("bands", [2, 5, 7])
def test_bands_that_are_no_picture_are_refused(refusal: Refusal, save_tiff: Save, bands: int) -> None:
    data = np.zeros((bands, 4, 5), np.uint8)
    for file in (
        save_tiff(data, photometric="minisblack", planarconfig="separate"),
        save_tiff(data, ome=True, metadata={"axes": "CYX"}, photometric="minisblack"),
    ):
        reason = refusal(file)
        assert reason.startswith(f"{bands} bands: ")
        assert reason.endswith("; use --features bands")


def test_cmyk_jpeg_is_inverted_as_adobe_writes_it(read: Read, save: Save) -> None:
    cmyk = np.full((16, 16, 4), [0, 255, 255, 0], np.uint8)  # full magenta and yellow: red
    image = read(save(Image.frombytes("CMYK", (16, 16), cmyk.tobytes()), "JPEG", quality=100))
    assert np.abs(image.samples.astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("form", ["TIFF", "JPEG"])
def test_cmyk_without_a_profile_is_what_pillow_makes_of_it(
    read: Read, save: Save, texture: NDArray[np.uint8], form: str
) -> None:
    data = save(Image.frombytes("CMYK", (64, 48), texture.tobytes()), form)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    same(read(data), expected)


def test_first_frame_of_animations(read: Read, save: Save) -> None:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    for form, options in [("PNG", {}), ("WEBP", {"lossless": True})]:
        same(read(save(frames[0], form, save_all=True, append_images=frames[1:], **options)), RGB)
    first, second = palette_image(), palette_image().rotate(180)
    same(read(save(first, "GIF", save_all=True, append_images=[second], duration=100, optimize=False)), RGB)


def test_around_a_smaller_first_frame_a_gif_is_transparent(read: Read) -> None:
    frame = b"," + struct.pack("<HHHHB", 1, 1, 1, 1, 0) + bytes([2, 2, 0x4C, 0x01, 0])  # index 1
    data = b"GIF89a" + struct.pack("<HHBBB", 3, 2, 0x80, 0, 0) + bytes([9, 9, 9, 1, 2, 3]) + frame + b";"
    image = read(data)
    np.testing.assert_array_equal(image.valid, [[False, False, False], [False, True, False]])
    np.testing.assert_array_equal(image.samples[1, 1], [1, 2, 3])


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_one_pixel(read: Read, save: Save, form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    same(read(save(Image.new("RGB", (1, 1), (128, 128, 128)), form, **options)), np.full((1, 1), 128))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_all_transparent(read: Read, save: Save, form: str) -> None:
    image = read(save(Image.new("RGBA", (3, 2), (0, 0, 0, 0)), form))
    assert image.valid is not None
    assert not image.valid.any()


def test_unused_alpha_leaves_no_mask(read: Read, save: Save) -> None:
    assert read(save(Image.new("RGBA", (3, 2), (1, 2, 3, 255)), "PNG")).valid is None


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_give_pillows_bits(
    read: Read, save: Save, texture: NDArray[np.uint8], sampling: str, progressive: bool
) -> None:
    data = save(
        Image.fromarray(texture[:45, :61, :3].copy()),
        "JPEG",
        subsampling=sampling,
        progressive=progressive,
    )
    with Image.open(io.BytesIO(data)) as image:
        same(read(data), np.asarray(image))


def test_tiffs_of_jpeg_tiles_give_pillows_bits_whatever_their_colours(read: Read, save_tiff: Save) -> None:
    y, x = np.mgrid[0:50, 0:70]
    rgb = np.dstack([3 * x, 4 * y, x + y]).astype(np.uint8)
    for options in ({"tile": (16, 16)}, {"rowsperstrip": 16}, {"rowsperstrip": 50}):
        for out in ("ycbcr", "rgb"):
            data = save_tiff(
                rgb,
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 95, "outcolorspace": out},
                **options,
            )
            assert np.abs(read(data).samples.astype(int) - rgb).mean() < 3
    gray = save_tiff(rgb[..., 0], photometric="minisblack", compression="jpeg", tile=(32, 32))
    assert np.abs(read(gray).samples.astype(int) - rgb[..., :1]).mean() < 3
