"""Formats beyond the common ones: an independent decoder's pixels, and what is not read is called by its name."""

from __future__ import annotations

import io
import re
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kseg_core.errors import UnreadableImage
from kseg_core.images import cicp, heif, jpegxl, netpbm, open_picture, read_image, read_info
from kseg_core.images.raster import Refused
from kseg_core.images.srgb import to_8_bits
from tests.core.images.test_profiles import SWAPPED, converted
from tests.pictures import (
    SAMPLES,
    TEXTURE,
    WHOLE,
    by_gdal,
    counts,
    exif_of,
    gdals,
    heic_of,
    pillows,
    read,
    refusal,
    same,
    save,
    save_heic,
    stored,
    stored_as,
)

RGB = np.ascontiguousarray(TEXTURE[..., :3])
CLEAR = TEXTURE.copy()  # with pixels that do not count
CLEAR[:9, :, 3] = 0


def of_channels(count: int, dtype: str = "uint8") -> NDArray[Any]:
    """The texture's first channels, of another dtype: (height, width) or (height, width, count)."""
    return np.ascontiguousarray(TEXTURE[..., :count].squeeze()).astype(dtype)


def to_8(samples: NDArray[Any], most: int) -> NDArray[Any]:
    """Scaled to 0 to 255, rounded to the nearest."""
    return (samples.astype(np.int64) * 510 + most) // (2 * most)


# ------------------------------------------------------------------------------------------------------------ JPEG 2000

TILES = {"BLOCKXSIZE": 32, "BLOCKYSIZE": 32}
LOSSLESS = {"QUALITY": "100", "REVERSIBLE": "YES"}


def jp2(path: Path, samples: NDArray[Any], options: dict[str, Any], **more: Any) -> Path:
    """A JPEG 2000 by GDAL."""
    colours = {"photometric": "rgb", **more} if samples.shape[2] > 2 else more
    plain = by_gdal(path.with_suffix(".tif"), samples, **colours)
    rasterio.shutil.copy(plain, path, driver="JP2OpenJPEG", **options)
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("uint8", {**LOSSLESS, **TILES}),
        ("uint8", LOSSLESS),
        ("uint8", {"QUALITY": "20", **TILES}),  # the irreversible transform
        ("uint8", {"YCC": "YES", **LOSSLESS, **TILES, "PLT": "YES", "TLM": "YES"}),
        ("uint8", {**LOSSLESS, **TILES, "SOP": "YES", "EPH": "YES", "TILEPARTS": "RESOLUTIONS"}),
        ("uint8", {**LOSSLESS, "CODEC": "J2K", **TILES}),
        ("uint16", {**LOSSLESS, **TILES}),
        ("uint16", {**LOSSLESS, "NBITS": 12}),
        ("int16", {**LOSSLESS, **TILES}),
    ],
)
def test_jpeg_2000_is_as_gdal_reads_it(tmp_path: Path, dtype: str, options: dict[str, Any]) -> None:
    pixels = RGB.astype(dtype) * np.dtype(dtype).type(1 if dtype == "uint8" else 16)
    pixels = pixels - 900 if dtype == "int16" else pixels
    path = jp2(tmp_path / "picture.jp2", pixels, options)
    found = stored(path).samples
    np.testing.assert_array_equal(found, gdals(path))
    if options.get("REVERSIBLE"):
        np.testing.assert_array_equal(found, pixels)
    assert read_info(str(path)).block == ((32, 32) if "BLOCKXSIZE" in options else None)
    if "NBITS" in options:
        np.testing.assert_array_equal(read_image(str(path)).samples, to_8(found, 4095))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("options", [{}, {"1BIT_ALPHA": "YES"}, TILES])
def test_alpha_of_jpeg_2000_is_what_its_boxes_say(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = TEXTURE.copy()
    pixels[..., 3] = np.where(pixels[..., 3] > 99, 255, 0)
    path = jp2(tmp_path / "picture.jp2", pixels, {**LOSSLESS, **options}, alpha="yes")
    info = read_info(str(path))
    assert (info.bands, info.alpha) == (4, True)
    np.testing.assert_array_equal(stored(path).samples, RGB)
    np.testing.assert_array_equal(read_image(str(path)).valid, pixels[..., 3] != 0)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bands_of_jpeg_2000_without_colours(tmp_path: Path) -> None:
    pixels = np.concatenate([TEXTURE, RGB // 2], axis=2)
    path = jp2(tmp_path / "picture.jp2", pixels, {**LOSSLESS, **TILES})
    with open_picture(str(path)) as picture:
        np.testing.assert_array_equal(picture.samples(*WHOLE)[0], pixels)
        np.testing.assert_array_equal(picture.samples(*WHOLE, (7, 2))[0], pixels[..., [6, 1]])
    assert "--features bands" in refusal(path.read_bytes())


def test_palettes_of_jpeg_2000_are_looked_up(tmp_path: Path) -> None:
    indices = TEXTURE[..., :1] // 16
    table = {n: (n * 16, 255 - n * 16, n, 255) for n in range(16)}
    plain, path = tmp_path / "plain.tif", tmp_path / "picture.jp2"
    by_gdal(plain, indices, transform=Affine(10, 0, 500_000, 0, -10, 5_000_000))
    with rasterio.open(plain, "r+") as target:
        target.write_colormap(1, table)
    rasterio.shutil.copy(plain, path, driver="JP2OpenJPEG", **LOSSLESS, **TILES)
    expected = np.array([table[n][:3] for n in range(16)], np.uint8)[indices[..., 0]]
    np.testing.assert_array_equal(read_image(str(path)).samples, expected)
    assert read_info(str(path)).colours == "palette"
    with open_picture(str(path)) as picture, pytest.raises(UnreadableImage, match="palette"):
        picture.samples(*WHOLE)


@pytest.mark.parametrize(
    "options",
    [
        {"offset": (13, 7), "tile_offset": (3, 5), "tile_size": (16, 16)},
        {"irreversible": True, "quality_layers": [9, 3], "tile_size": (40, 11)},
        {"precinct_size": (32, 32), "codeblock_size": (16, 16), "progression": "PCRL"},
    ],
)
def test_jpeg_2000_off_the_grid_and_of_pillow(options: dict[str, Any]) -> None:
    data = save(Image.fromarray(RGB), "JPEG2000", **options)
    np.testing.assert_array_equal(stored_as(data), pillows(data))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_subsampled_chroma_of_jpeg_2000(tmp_path: Path) -> None:
    path = jp2(tmp_path / "picture.jp2", RGB, {"YCBCR420": "YES", "QUALITY": "100"})
    assert np.abs(stored(path).samples.astype(int) - gdals(path)).max() <= 1  # each rounds in its own way


def test_a_jpeg_2000_without_all_its_tiles_is_refused() -> None:
    data = SAMPLES["j2k tiles 16"]
    parts = [at.start() for at in re.finditer(b"\xff\x90\0\x0a", data)]
    assert len(parts) == 6
    assert refusal(data[: parts[3]] + data[parts[4] :]).endswith("has 5 tiles of 6")
    assert refusal(data[: parts[3]] + b"\xff\xd9").endswith("has 3 tiles of 6")
    assert refusal(data[: parts[3]]).startswith("truncated")
    short = data[: parts[3] + 6] + struct.pack(">I", 13) + data[parts[3] + 10 :]
    assert "shorter than its header" in refusal(short)
    beyond = data[: parts[5] + 6] + struct.pack(">I", 1 << 20) + data[parts[5] + 10 :]
    assert refusal(beyond).startswith("truncated: tile 6")
    twice = data[: parts[3]] + data[parts[2] : parts[3]] + data[parts[3] :]
    assert "lacks a part" in refusal(twice)


def test_a_jpeg_2000_of_hostile_size_is_refused_before_it_is_decoded() -> None:
    data = SAMPLES["j2k tiles 16"]
    size = struct.pack(">II", 1 << 20, 1 << 20)
    assert "tiles of" in refusal(data[:8] + size + data[16:])
    last = data.rindex(b"\xff\x90\0\x0a")
    one = data[:8] + size + data[16:24] + size + data[32 : data.index(b"\xff\x90")]
    one += struct.pack(">HHHIBB", 0xFF90, 10, 0, 0, 0, 1) + data[last + 12 :]
    assert refusal(one).startswith("too large: 1048576 x 1048576")


# -------------------------------------------------------------------------------------------------------------- JPEG XL


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_jpeg_xl_is_as_it_was_encoded(tmp_path: Path, dtype: str, channels: int) -> None:
    pixels = of_channels(channels, dtype)[:33, :51]
    pixels = (
        pixels / np.float32(255) if dtype == "float32" else pixels * np.dtype(dtype).type(1 + 256 * (dtype[4:] == "16"))
    )
    path = tmp_path / "picture"
    path.write_bytes(bytes(imagecodecs.jpegxl_encode(pixels, lossless=True)))
    has_alpha = channels in (2, 4)
    deep = pixels[..., None] if channels == 1 else pixels[..., : channels - has_alpha]
    with open_picture(str(path)) as picture:
        assert picture.info.alpha == has_alpha
        found = picture.samples(*WHOLE)
        np.testing.assert_array_equal(found.samples, deep)
        alpha = pixels[..., -1] if has_alpha else np.ones((33, 51))
        np.testing.assert_array_equal(counts(found.valid, deep.shape), alpha != 0)
        if dtype == "float32":
            with pytest.raises(UnreadableImage, match="--features bands"):
                picture.rgb(*WHOLE)
            return
        expected = TEXTURE[:33, :51, : deep.shape[2]].astype(float)
        if dtype == "uint16":  # which imagecodecs writes as linear light
            share = expected / 255
            expected = np.where(share <= 0.0031308, share * 12.92, 1.055 * share ** (1 / 2.4) - 0.055) * 255
        seen = picture.rgb(*WHOLE).samples
        assert np.abs(seen - np.broadcast_to(expected, seen.shape)).max() <= (0.51 if dtype == "uint16" else 0)


def test_jpeg_xl_is_as_another_build_of_libjxl_reads_it() -> None:
    assert pytest.importorskip("pillow_jxl")
    for kind, most in (("jxl", 1), ("jxl boxes", 0)):
        judge = np.asarray(Image.open(io.BytesIO(SAMPLES[kind])))
        assert np.abs(stored_as(SAMPLES[kind]).astype(int) - judge).max() <= most


def test_the_profile_of_a_jpeg_within_a_jpeg_xl(tmp_path: Path) -> None:
    swapped = cicp.profile_of(cicp.Colour((*cicp.PRIMARIES[1][2::-1], cicp.PRIMARIES[1][3])))
    path = tmp_path / "picture.jxl"
    jpeg = save(Image.fromarray(RGB), "JPEG", quality=95, icc_profile=swapped)
    path.write_bytes(bytes(imagecodecs.jpegxl_encode_jpeg(jpeg)))
    seen, plain = read_image(str(path)).samples, read(save(Image.fromarray(RGB), "JPEG", quality=95)).samples
    try:
        import pillow_jxl
    except ImportError:
        assert "kseg-batch[jxl]" in " ".join(read_info(str(path)).notes)
        assert np.abs(seen.astype(int) - plain).mean() < 3
    else:
        assert pillow_jxl
        assert read_info(str(path)).notes == ()
        assert np.abs(seen.astype(int) - plain[..., ::-1]).mean() < 3


def test_the_first_frame_of_a_jpeg_xl_is_read_and_that_is_said(tmp_path: Path) -> None:
    frames = np.stack([RGB, RGB[::-1]])
    path = tmp_path / "picture"
    path.write_bytes(bytes(imagecodecs.jpegxl_encode(frames, lossless=True)))
    np.testing.assert_array_equal(read_image(str(path)).samples, frames[0])
    assert read_info(str(path)).notes == ("the first frame of an animation",)
    # The header of a bare stream: signature, size of 48 x 64 by eighths, then "all is as usual" becomes an orientation.
    header = jpegxl._parsed(bytes(imagecodecs.jpegxl_encode(RGB, lossless=True)))
    assert (header.height, header.width, header.bits, header.xyb, header.orientation) == (48, 64, 8, False, 1)


def test_jpeg_ls_is_named_and_not_called_damaged() -> None:
    for samples in (RGB, of_channels(1, "uint16") * 200):
        assert refusal(bytes(imagecodecs.jpegls_encode(samples))).startswith("JPEG-LS: not supported here")


def test_linear_light_gets_the_curve_of_srgb() -> None:
    found = to_8_bits(np.array([[0, 1, 2048, 4095]], np.uint16), 4095, linear=True)
    expected = [0, 12.92 / 4095 * 255, (1.055 * (2048 / 4095) ** (1 / 2.4) - 0.055) * 255, 255]
    np.testing.assert_array_equal(found[0], np.round(expected))


# -------------------------------------------------------------------------------------------------------- HEIC and AVIF


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("options", [{}, {"tile_size": 32}])
def test_lossless_heic_is_as_it_was_encoded(channels: int, options: dict[str, Any]) -> None:
    pixels = np.ascontiguousarray(CLEAR[..., :channels])
    data = save_heic(pixels, **options)
    np.testing.assert_array_equal(stored_as(data), pixels[..., : min(channels, 3)])
    if channels == 4:
        np.testing.assert_array_equal(read(data).valid, CLEAR[..., 3] != 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_avif_is_as_it_was_encoded(channels: int) -> None:
    pixels = of_channels(channels)
    found = stored_as(bytes(imagecodecs.avif_encode(pixels, level=100)))
    np.testing.assert_array_equal(found, pixels[..., None] if channels == 1 else RGB)


def test_ten_bits_of_heic_and_avif_stay_ten_bits() -> None:
    wide = RGB.astype(np.uint16) * 257
    ten = wide >> 6
    for data in (save_heic(wide), bytes(imagecodecs.avif_encode(ten, level=100, bitspersample=10))):
        np.testing.assert_array_equal(stored_as(data), ten)
        same(read(data), to_8(ten, 1023))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_and_avif_are_turned_once(orientation: int) -> None:
    """By the container's properties; the EXIF block says the same, and Pillow's readers turn by one of them."""
    image, exif = Image.fromarray(RGB), exif_of(orientation)
    with Image.open(io.BytesIO(save(image, "PNG", exif=exif))) as to_turn:
        expected = np.asarray(ImageOps.exif_transpose(to_turn))
    same(read(heic_of(pillow_heif.from_pillow(image), exif=exif.tobytes())), expected)
    avif = save(image, "AVIF", quality=100, subsampling="4:4:4", exif=exif.tobytes())
    with Image.open(io.BytesIO(avif)) as to_turn:
        judge = np.asarray(ImageOps.exif_transpose(to_turn))
    same(read(avif), judge)
    assert np.abs(judge.astype(int) - expected).max() < 8


def test_profiles_of_heic_and_avif_are_applied() -> None:
    image = Image.fromarray(RGB)
    expected = converted(image, SWAPPED)
    assert np.abs(expected.astype(int) - RGB).max() > 50
    same(read(heic_of(pillow_heif.from_pillow(image), icc=SWAPPED)), expected)
    avif = save(image, "AVIF", quality=100, subsampling="4:4:4", icc_profile=SWAPPED)
    assert np.abs(read(avif).samples.astype(int) - expected).max() < 9


def with_colours(data: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF that states others."""
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def test_colours_named_by_numbers_are_converted() -> None:
    """Display P3 (primaries 12, H.273) against a direct computation."""
    plain = read(SAMPLES["avif"]).samples
    found = read(with_colours(SAMPLES["avif"], 12, 13)).samples
    assert np.abs(found.astype(int) - displayed(plain, 12)).max() <= 1
    assert np.abs(found.astype(int) - plain).max() > 10


def displayed(rgb: NDArray[np.uint8], primaries: int) -> NDArray[np.float64]:
    """8-bit colours of other primaries and the curve of sRGB, in sRGB, by the textbook."""

    def matrix(number: int) -> NDArray[np.float64]:
        *corners, (x, y) = cicp.PRIMARIES[number]
        columns = np.array([[a, b, 1 - a - b] for a, b in corners]).T
        return np.asarray(columns * np.linalg.solve(columns, np.array([x / y, 1.0, (1 - x - y) / y])))

    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    moved = np.clip(linear @ matrix(primaries).T @ np.linalg.inv(matrix(1)).T, 0, 1)
    return np.asarray(255 * np.where(moved <= 0.0031308, moved * 12.92, 1.055 * moved ** (1 / 2.4) - 0.055))


def test_several_images_sequences_and_high_dynamic_range_are_said(tmp_path: Path) -> None:
    file = pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red"))
    file.add_from_pillow(Image.new("RGB", (80, 64), "blue"))
    path = tmp_path / "two.heic"
    path.write_bytes(heic_of(file, primary_index=1))
    info = read_info(str(path))
    assert (info.shape, info.notes) == ((64, 80), ("its primary image of 2",))
    assert read_image(str(path)).samples[0, 0].tolist()[2] > 250
    path.write_bytes(with_colours(SAMPLES["avif"], 9, 16))
    assert "PQ" in " ".join(read_info(str(path)).notes)
    path.write_bytes(SAMPLES["avif animated"])
    judge = pillows(SAMPLES["avif animated"], "RGBA")
    same(read_image(str(path)), judge[..., :3], judge[..., 3] > 0)
    assert read_info(str(path)).notes == ("its still image; the sequence beside it is left out",)


def test_what_a_heif_lacks_is_said() -> None:
    heic = SAMPLES["heic"]
    assert refusal(heic.replace(b"pitm\0\0\0\0\0\1", b"pitm\0\0\0\0\0\7")) == "damaged: the HEIF has no primary image"
    assert "does not state its size" in refusal(heic.replace(b"ispe", b"free"))
    assert refusal(heic[:200]).startswith("truncated")
    at = heic.rindex(b"mdat") - 4  # a box of less data than images are said to have
    short = struct.pack(">I", struct.unpack_from(">I", heic, at)[0] - 100)
    assert refusal(heic[:at] + short + heic[at + 4 : -100]).startswith("truncated: image data of the HEIF ends")
    at = heic.index(b"ispe") + 8
    assert "too large" in refusal(heic[:at] + struct.pack(">II", 1 << 20, 1 << 20) + heic[at + 8 :])
    assert refusal(heic[:at] + struct.pack(">II", 46, 48) + heic[at + 8 :]).startswith("damaged: ")
    assert "sequence" in refusal(b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc\0\0\0\x08moov")
    assert "not supported" in refusal(heic.replace(b"hvc1", b"vvc1"))


def test_parts_of_a_heif_that_take_no_bytes_are_not_counted_out() -> None:
    items = b"".join(struct.pack(">HHH", item, 0, 65535) for item in range(3000))
    with pytest.raises(Refused, match="damaged: the HEIF lists several parts"):
        heif._read_locations(heif._Meta(), 0, heif.Fields(struct.pack(">HH", 0, 3000) + items))


@pytest.mark.parametrize(
    ("error", "raised", "says"),
    [
        (MemoryError("none left"), MemoryError, "none left"),
        (KeyError(), Refused, "damaged: the HEIC cannot be decoded"),
    ],
)
def test_lack_of_memory_is_not_damage_and_no_class_is_named(
    error: Exception, raised: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_heif(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pillow_heif, "open_heif", open_heif)
    with pytest.raises(raised, match=says) as caught:
        heif._decoded_heic(b"")
    assert "KeyError" not in str(caught.value)


# -------------------------------------------------------------------------------------------------------- JPEG, 12 bits


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("channels", [1, 3])
def test_jpegs_of_12_bits_are_as_gdal_reads_them(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "picture"
    path.write_bytes(bytes(imagecodecs.jpeg8_encode(of_channels(channels, "uint16") * 16, level=95, bitspersample=12)))
    found = stored(path).samples
    np.testing.assert_array_equal(found, gdals(path, driver="JPEG"))
    assert found.dtype == np.uint16
    seen = read_image(str(path)).samples
    np.testing.assert_array_equal(seen, np.broadcast_to(to_8(found, 4095), seen.shape))


def test_damaged_jpegs_of_12_bits_are_refused() -> None:
    data = SAMPLES["jpeg 12 bits"]
    assert refusal(data[: len(data) // 2] + b"\xff\xd9").startswith("damaged or truncated")
    middle = len(data) * 2 // 3
    assert "damaged" in refusal(data[:middle] + bytes(200) + data[middle + 200 :])


# --------------------------------------------------------------------------------------------------------------- Netpbm


@pytest.mark.parametrize(
    ("mode", "head"), [("1", b"P1\n61 48\n"), ("L", b"P2 # grays\n61\n48 255\n"), ("RGB", b"P3\n61 48\n255\n")]
)
def test_netpbm_is_as_pillow_reads_it(mode: str, head: bytes) -> None:
    image = Image.fromarray(RGB[:, :61]).convert(mode)
    data = save(image, "PPM")
    same(read(data), pillows(data))
    stored_as(data)
    numbers = np.asarray(image).astype(int).ravel()
    numbers = 1 - numbers if mode == "1" else numbers
    same(read(head + b"\n".join(b"%d" % number for number in numbers) + b"\n"), pillows(data))


def test_plain_numbers_are_read_in_parts_that_cut_no_number_and_no_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(3).integers(0, 256, 300)
    text = b" ".join(b"%d" % n + b" # 7 8 9\n" * int(n % 5 == 0) for n in numbers) + b"\n"
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr(netpbm, "_BLOCK_BYTES", size)
        same(read(b"P2\n30 10\n255\n" + text), numbers.reshape(10, 30))
        assert "may lack digits" in refusal(b"P2\n3 1\n255\n1 2 3")
        same(read(b"P2\n3 1\n255\n1 2 3 4"), np.array([[1, 2, 3]]))
        assert "2 samples of 3" in refusal(b"P2\n3 1\n255\n1 2 # 3\n")


def test_plain_numbers_take_little_more_memory_than_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netpbm, "_BLOCK_BYTES", 1 << 13)
    data = b"P2\n300 300\n255\n" + b"17 " * 90_000
    tracemalloc.start()
    try:
        netpbm.Netpbm.decode(data, 1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1e6  # as objects of Python they would be 3.6 MB and more


def test_samples_of_netpbm_stay_within_what_is_stated(tmp_path: Path) -> None:
    thousand = b"P5\n2 2\n1000\n" + np.array([0, 1, 500, 1000], ">u2").tobytes()
    same(read(thousand), np.array([[0, 0], [128, 255]]))
    assert stored_as(thousand).tolist() == [[[0], [1]], [[500], [1000]]]
    assert refusal(thousand[:-1]) == "truncated: the Netpbm needs 20 bytes, it has 19"
    assert "up to 1000" in refusal(b"P5\n1 1\n1000\n" + b"\xff\xff")
    assert "up to 70000" in refusal(b"P5\n1 1\n70000\n" + bytes(9))
    assert "neither 0 nor 1" in refusal(b"P1\n2 1\n0 2\n")
    assert "no pixels" in refusal(b"P5\n0 1\n255\n")
    assert "too large" in refusal(b"P5\n999999999 999999999\n255\n")
    (tmp_path / "two").write_bytes(b"P5\n1 1\n255\n\x07" * 2)
    assert read_info(str(tmp_path / "two")).notes == ("the first picture of several",)


# ------------------------------------------------------------------------------------------------------------------ QOI


def test_qoi_is_as_it_was_encoded() -> None:
    np.testing.assert_array_equal(stored_as(bytes(imagecodecs.qoi_encode(RGB))), RGB)
    data = bytes(imagecodecs.qoi_encode(CLEAR))
    np.testing.assert_array_equal(stored_as(data), RGB)
    np.testing.assert_array_equal(read(data).valid, CLEAR[..., 3] != 0)


def test_a_qoi_of_too_few_or_too_many_codes_is_refused() -> None:
    data, end = SAMPLES["qoi"], bytes(7) + b"\1"
    for codes in (data[14:-9], data[14:-8] + b"\xc0", data[14:-8] + b"\xfe", data[14:100]):
        assert "does not end where the picture does" in refusal(data[:14] + codes + end)
    assert refusal(data[:-1]).startswith("truncated or damaged")
    assert refusal(data[:12] + b"\7\0" + data[14:]).startswith("damaged: a QOI of 7 channels")


# -------------------------------------------------------------------------------------------------------------- JPEG XR


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_jpeg_xr_is_as_it_was_encoded(dtype: str, channels: int) -> None:
    pixels = of_channels(channels, dtype)
    pixels = pixels * 200 + 3 if dtype == "uint16" else pixels
    data = bytes(imagecodecs.jpegxr_encode(pixels, level=1.0))
    colours = pixels[..., None] if channels == 1 else pixels[..., :3]
    np.testing.assert_array_equal(stored_as(data), colours)
    seen = read(data).samples
    expected = colours if dtype == "uint8" else to_8(colours, 65535)
    np.testing.assert_array_equal(seen, np.broadcast_to(expected, seen.shape))


@pytest.mark.parametrize("value", range(8))
def test_the_transform_of_a_jpeg_xr_is_applied_once(value: int) -> None:
    turned = bytearray(imagecodecs.jpegxr_encode(TEXTURE, level=1.0))
    (at,) = struct.unpack_from("<I", turned, 4)
    (count,) = struct.unpack_from("<H", turned, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", turned, entry)[0] == 0xBC02:
            struct.pack_into("<HHII", turned, entry, 0xBC02, 4, 1, value)
    if value < 4:  # those that jxrlib does itself
        expected = imagecodecs.jpegxr_decode(bytes(turned))[..., :3]
    else:  # rotated by 90 degrees clockwise, then flipped as the two lower bits say (T.832, table A.9)
        expected = np.rot90(RGB, -1)[:: -1 if value & 1 else 1, :: -1 if value & 2 else 1]
    np.testing.assert_array_equal(stored_as(bytes(turned)), expected)


GUID = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9")  # what those of pixel formats begin with


def test_premultiplied_alpha_of_a_jpeg_xr_is_undone() -> None:
    wide = CLEAR.astype(np.uint16) * 257
    data = bytes(imagecodecs.jpegxr_encode(wide, level=1.0))
    assert data.count(GUID + b"\x16") == 1
    alpha = np.maximum(wide[..., 3:].astype(np.int64), 1)
    colours = np.minimum((wide[..., :3].astype(np.int64) * 65535 + alpha // 2) // alpha, 65535)
    same(read(data.replace(GUID + b"\x16", GUID + b"\x17")), to_8(colours, 65535), wide[..., 3] != 0)


def test_jpeg_xr_of_other_pixel_formats_is_not_called_damaged() -> None:
    data = bytes(imagecodecs.jpegxr_encode(of_channels(1)))
    assert "not supported" in refusal(data.replace(GUID + b"\x08", GUID + b"\x13"))
