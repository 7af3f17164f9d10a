"""Formats beyond the common ones: an independent decoder's pixels, any window the whole's, half of one never read."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from kseg_core.errors import UnreadableImage
from kseg_core.images import RgbImage, cicp, open_picture, read_image, read_info

Read = Callable[[bytes], RgbImage]
Refusal = Callable[[bytes], str]
Save = Callable[..., bytes]
WHOLE = (slice(None), slice(None))
WINDOWS = [(slice(0, 1), slice(0, 1)), (slice(5, 40), slice(7, 41)), (slice(47, 48), slice(0, 48))]


def stored(path: Path, data: bytes) -> NDArray[Any]:
    """All samples as `--features bands` has them; every window has to be theirs."""
    path.write_bytes(data)
    with open_picture(str(path)) as picture:
        whole, _ = picture.samples(*WHOLE)
        assert whole.dtype == picture.info.dtype
        assert whole.shape[:2] == picture.info.shape
        seen = picture.rgb(*WHOLE) if whole.dtype.kind == "u" else None
        for rows, columns in WINDOWS:
            np.testing.assert_array_equal(picture.samples(rows, columns)[0], whole[rows, columns])
            if seen is not None:
                np.testing.assert_array_equal(picture.rgb(rows, columns).rgb, seen.rgb[rows, columns])
    assert read_info(str(path)).shape == whole.shape[:2]
    return whole


def cuts(data: bytes) -> list[int]:
    """Lengths to cut a file to: many, and each of the last."""
    return sorted({*np.linspace(1, len(data) - 1, 60).astype(int), *range(max(1, len(data) - 12), len(data))})


CUT = [
    "heic",
    "heic RGBA",
    "heic grid 10 bits",
    "avif",
    "avif RGBA 10 bits",
    "jpeg 12 bits",
    "qoi",
    "qoi RGBA",
    "jpeg xr",
    "jpeg xr RGBA 16",
]


@pytest.mark.parametrize("kind", CUT)
def test_a_file_cut_anywhere_is_refused_or_is_the_very_same(
    tmp_path: Path, samples: dict[str, bytes], kind: str
) -> None:
    data, path = samples[kind], tmp_path / "cut"
    path.write_bytes(data)
    whole = read_image(str(path))
    refused = 0
    for length in cuts(data):
        path.write_bytes(data[:length])
        try:
            part = read_image(str(path))
        except UnreadableImage:
            refused += 1
        else:
            np.testing.assert_array_equal(part.rgb, whole.rgb, err_msg=f"cut to {length} of {len(data)}")
    assert refused > 0.9 * len(cuts(data))


# -------------------------------------------------------------------------------------------------------- HEIC and AVIF


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("options", [{}, {"tile_size": 32}])
def test_lossless_heic_is_as_it_was_encoded(
    tmp_path: Path, save_heic: Save, texture: NDArray[np.uint8], channels: int, options: dict[str, Any]
) -> None:
    pixels = np.ascontiguousarray(texture[..., :channels])
    pixels[:5, :, -1] = 0
    found = stored(tmp_path / "picture", save_heic(pixels, **options))
    np.testing.assert_array_equal(found, pixels[..., : min(channels, 3)])
    image = read_image(str(tmp_path / "picture"))
    if channels == 4:
        assert image.valid is not None
        np.testing.assert_array_equal(image.valid, pixels[..., 3] != 0)


def test_ten_bits_of_heic_and_avif_stay_ten_bits(tmp_path: Path, save_heic: Save, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    wide = texture[..., :3].astype(np.uint16) * 257
    ten = wide >> 6
    for data in (
        save_heic(wide),
        bytes(imagecodecs.avif_encode(ten, level=100, bitspersample=10)),
    ):
        found = stored(tmp_path / "picture", data)
        np.testing.assert_array_equal(found, ten)
        seen = read_image(str(tmp_path / "picture")).rgb
        np.testing.assert_array_equal(seen, (ten.astype(np.uint32) * 510 + 1023) // 2046)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_and_avif_are_turned_once(
    tmp_path: Path, read: Read, texture: NDArray[np.uint8], orientation: int
) -> None:
    """By the container's properties; the EXIF block says the same, and Pillow's readers turn by one of them."""
    import pillow_heif

    image = Image.fromarray(texture[..., :3].copy())
    exif = Image.Exif()
    exif[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(with_orientation(image, orientation)))
    out = io.BytesIO()
    heif = pillow_heif.from_pillow(image)
    heif.info["exif"] = exif.tobytes()
    heif.save(out, quality=-1, chroma=444, matrix_coefficients=0)
    np.testing.assert_array_equal(read(out.getvalue()).rgb, expected)
    out = io.BytesIO()
    image.save(out, "AVIF", quality=100, subsampling="4:4:4", exif=exif.tobytes())
    judge = np.asarray(ImageOps.exif_transpose(Image.open(out)))
    np.testing.assert_array_equal(read(out.getvalue()).rgb, judge)
    assert np.abs(judge.astype(int) - expected).max() < 8


def with_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """The same picture, to be turned by Pillow."""
    out = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    image.save(out, "PNG", exif=exif)
    return Image.open(out)


def test_lossless_avif_is_as_it_was_encoded(tmp_path: Path, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    for channels in (1, 3, 4):
        pixels = np.ascontiguousarray(texture[..., :channels].squeeze())
        found = stored(tmp_path / "picture", bytes(imagecodecs.avif_encode(pixels, level=100)))
        np.testing.assert_array_equal(found, pixels[..., None] if channels == 1 else pixels[..., :3])


def test_profiles_of_heic_and_avif_are_applied(read: Read, texture: NDArray[np.uint8]) -> None:
    import pillow_heif

    image = Image.fromarray(texture[..., :3].copy())
    swapped = cicp.profile_of(cicp.Colour((*cicp.PRIMARIES[1][2::-1], cicp.PRIMARIES[1][3])))
    expected = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(swapped)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert expected is not None
    assert np.abs(np.asarray(expected).astype(int) - texture[..., 2::-1]).max() < 3
    out = io.BytesIO()
    heif = pillow_heif.from_pillow(image)
    heif.info["icc_profile"] = swapped
    heif.save(out, quality=-1, chroma=444, matrix_coefficients=0)
    np.testing.assert_array_equal(read(out.getvalue()).rgb, np.asarray(expected))
    out = io.BytesIO()
    image.save(out, "AVIF", quality=100, subsampling="4:4:4", icc_profile=swapped)
    assert np.abs(read(out.getvalue()).rgb.astype(int) - np.asarray(expected)).max() < 9


def test_colours_named_by_numbers_are_converted(read: Read, samples: dict[str, bytes]) -> None:
    """Display P3 (primaries 12, H.273) against a direct computation; PQ is said."""
    data = samples["avif"]
    plain = read(data).rgb
    at = data.index(b"colrnclx") + 8
    wide = data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :]
    found = read(wide).rgb
    expected = displayed(plain, 12)
    assert np.abs(found.astype(int) - expected).max() <= 1
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


def test_several_images_and_high_dynamic_range_are_said(tmp_path: Path, samples: dict[str, bytes]) -> None:
    import pillow_heif

    file = pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red"))
    file.add_from_pillow(Image.new("RGB", (80, 64), "blue"))
    out = io.BytesIO()
    file.save(out, quality=-1, chroma=444, primary_index=1)
    path = tmp_path / "two.heic"
    path.write_bytes(out.getvalue())
    info = read_info(str(path))
    assert info.shape == (64, 80)
    assert info.notes == ("its primary image of 2",)
    assert read_image(str(path)).rgb[0, 0].tolist()[2] > 250
    data = samples["avif"]
    at = data.index(b"colrnclx") + 8
    path.write_bytes(data[:at] + struct.pack(">HH", 9, 16) + data[at + 4 :])
    assert "PQ" in " ".join(read_info(str(path)).notes)


def test_what_a_heif_lacks_is_said(refusal: Refusal, samples: dict[str, bytes]) -> None:
    heic = samples["heic"]
    assert refusal(heic.replace(b"pitm\0\0\0\0\0\1", b"pitm\0\0\0\0\0\7")) == "damaged: the HEIF has no primary image"
    assert "does not state its size" in refusal(heic.replace(b"ispe", b"free"))
    assert refusal(heic[:200]).startswith("truncated")
    at = heic.index(b"ispe") + 8
    assert "too large" in refusal(heic[:at] + struct.pack(">II", 1 << 20, 1 << 20) + heic[at + 8 :])
    assert refusal(heic[:at] + struct.pack(">II", 46, 48) + heic[at + 8 :]).startswith("damaged: ")
    video = b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc\0\0\0\x08moov"
    assert "sequence" in refusal(video)
    other = heic.replace(b"hvc1", b"vvc1")
    assert "not supported" in refusal(other)


# -------------------------------------------------------------------------------------------------------- JPEG, 12 bits


def twelve_bits(texture: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return texture[..., :3].astype(np.uint16) * 16


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("channels", [1, 3])
def test_jpegs_of_12_bits_are_as_gdal_reads_them(tmp_path: Path, texture: NDArray[np.uint8], channels: int) -> None:
    import imagecodecs
    import rasterio

    wide = np.ascontiguousarray(twelve_bits(texture)[..., :channels].squeeze())
    data = bytes(imagecodecs.jpeg8_encode(wide, level=95, bitspersample=12))
    found = stored(tmp_path / "picture", data)
    with rasterio.open(tmp_path / "picture", driver="JPEG") as judge:
        np.testing.assert_array_equal(found, np.moveaxis(judge.read(), 0, 2))
    assert found.dtype == np.uint16
    seen = read_image(str(tmp_path / "picture")).rgb
    expected = (found.astype(np.int64) * 510 + 4095) // 8190
    np.testing.assert_array_equal(seen, np.broadcast_to(expected, seen.shape))


def test_damaged_jpegs_of_12_bits_are_refused(samples: dict[str, bytes], refusal: Refusal) -> None:
    data = samples["jpeg 12 bits"]
    assert refusal(data[: len(data) // 2] + b"\xff\xd9").startswith("damaged or truncated")
    middle = len(data) * 2 // 3
    assert "damaged" in refusal(data[:middle] + bytes(200) + data[middle + 200 :])


# ------------------------------------------------------------------------------------------------------------------ QOI


def test_qoi_is_as_it_was_encoded(tmp_path: Path, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    np.testing.assert_array_equal(
        stored(tmp_path / "rgb", bytes(imagecodecs.qoi_encode(texture[..., :3].copy()))), texture[..., :3]
    )
    clear = texture.copy()
    clear[:9, :, 3] = 0
    np.testing.assert_array_equal(stored(tmp_path / "rgba", bytes(imagecodecs.qoi_encode(clear))), clear[..., :3])
    image = read_image(str(tmp_path / "rgba"))
    assert image.valid is not None
    np.testing.assert_array_equal(image.valid, clear[..., 3] != 0)


def test_a_qoi_of_too_few_or_too_many_codes_is_refused(samples: dict[str, bytes], refusal: Refusal) -> None:
    data, end = samples["qoi"], bytes(7) + b"\1"
    for codes in (data[14:-9], data[14:-8] + b"\xc0", data[14:-8] + b"\xfe", data[14:100]):
        assert "does not end where the picture does" in refusal(data[:14] + codes + end)
    assert refusal(data[:-1]).startswith("truncated or damaged")
    assert refusal(data[:12] + b"\7\0" + data[14:]).startswith("damaged: a QOI of 7 channels")


# -------------------------------------------------------------------------------------------------------------- JPEG XR


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_jpeg_xr_is_as_it_was_encoded(
    tmp_path: Path, texture: NDArray[np.uint8], dtype: str, channels: int
) -> None:
    import imagecodecs

    pixels = np.ascontiguousarray(texture[..., :channels].squeeze()).astype(dtype)
    if dtype == "uint16":
        pixels = pixels * 200 + 3
    data = bytes(imagecodecs.jpegxr_encode(pixels, level=1.0))
    colours = pixels[..., None] if channels == 1 else pixels[..., :3]
    np.testing.assert_array_equal(stored(tmp_path / "picture", data), colours)
    seen = read_image(str(tmp_path / "picture")).rgb
    expected = colours if dtype == "uint8" else (colours.astype(np.uint32) + 128) // 257
    np.testing.assert_array_equal(seen, np.broadcast_to(expected, seen.shape))


def turned_jpeg_xr(data: bytes, value: int) -> bytes:
    """A JPEG XR that states a transform."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    out = bytearray(data)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == 0xBC02:
            struct.pack_into("<HHII", out, entry, 0xBC02, 4, 1, value)
    return bytes(out)


def test_the_transform_of_a_jpeg_xr_is_applied_once(tmp_path: Path, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    pixels = np.ascontiguousarray(texture)
    data = bytes(imagecodecs.jpegxr_encode(pixels, level=1.0))
    for value in range(8):
        turned = turned_jpeg_xr(data, value)
        if value < 4:  # those that jxrlib does itself
            expected = imagecodecs.jpegxr_decode(turned)[..., :3]
        else:  # rotated by 90 degrees clockwise, then flipped as the two lower bits say (T.832, table A.9)
            expected = np.rot90(pixels[..., :3], -1)
            expected = expected[:: -1 if value & 1 else 1, :: -1 if value & 2 else 1]
        np.testing.assert_array_equal(stored(tmp_path / "picture", turned), expected, err_msg=str(value))


def test_jpeg_xr_of_other_pixel_formats_is_not_called_damaged(refusal: Refusal, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    data = bytes(imagecodecs.jpegxr_encode(texture[..., 0].copy()))
    guid = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9")
    assert "not supported" in refusal(data.replace(guid + b"\x08", guid + b"\x13"))
