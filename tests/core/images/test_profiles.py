"""Embedded colour profiles: converted to sRGB, unless they are it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from kseg_core.images import RgbImage, read_image

Read = Callable[[bytes], RgbImage]
Save = Callable[..., bytes]


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2, written by hand."""
    start = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, payload in tags.items():
        table += name + struct.pack(">II", start + len(data), len(payload))
        data += payload + bytes(-len(payload) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(data), bytes(4), 0x02100000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642) + fixed(1) + fixed(0.8249)
    return header + bytes(128 - len(header)) + table + data


def xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ \0\0\0\0" + fixed(x) + fixed(y) + fixed(z)


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


WHITE = xyz(0.9642, 1, 0.8249)
SRGB_PRIMARIES = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)]


def rgb_profile(curve: bytes, primaries: list[tuple[float, float, float]]) -> bytes:
    tags = {b"wtpt": WHITE}
    for colour, values in zip(b"rgb", primaries, strict=True):
        tags[bytes([colour]) + b"XYZ"] = xyz(*values)
        tags[bytes([colour]) + b"TRC"] = curve
    return profile(b"RGB ", tags)


def srgb_table() -> bytes:
    """The sRGB curve as the 1024 entries that the best-known profile has."""
    x = np.linspace(0, 1, 1024)
    y = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + np.round(y * 65535).astype(">u2").tobytes()


SWAPPED = rgb_profile(gamma(1.8), SRGB_PRIMARIES[::-1])  # red is blue: no test can mistake it
GRAY_18 = profile(b"GRAY", {b"wtpt": WHITE, b"kTRC": gamma(1.8)})


def converted(image: Image.Image, icc: bytes) -> NDArray[np.uint8]:
    """What Pillow's ImageCms makes of it."""
    result = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert result is not None
    return np.asarray(result)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_profile_is_applied_as_by_image_cms(read: Read, save: Save, texture: NDArray[np.uint8], form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = save(Image.fromarray(texture[..., :3].copy()), form, icc_profile=SWAPPED, **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = converted(image.convert("RGB"), SWAPPED)
    result = read(data).rgb
    np.testing.assert_array_equal(result, expected)
    assert np.abs(result.astype(int) - texture[..., :3]).max() > 50


def test_gamma_1_8_is_converted_by_its_formula(read: Read, save: Save) -> None:
    data = save(Image.new("RGB", (4, 4), (100, 100, 100)), "PNG", icc_profile=rgb_profile(gamma(1.8), SRGB_PRIMARIES))
    linear = (100 / 255) ** 1.8
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)  # 119.6
    assert np.abs(read(data).rgb.astype(float) - expected).max() <= 1


@pytest.mark.parametrize(
    "icc",
    [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), rgb_profile(srgb_table(), SRGB_PRIMARIES)],
    ids=["by formula", "by table"],
)
def test_what_is_srgb_stays_bit_for_bit_whatever_the_profile_is_called(
    read: Read, save: Save, texture: NDArray[np.uint8], icc: bytes
) -> None:
    data = save(Image.fromarray(texture[..., :3].copy()), "PNG", icc_profile=icc)
    np.testing.assert_array_equal(read(data).rgb, texture[..., :3])


def test_gray_profiles_are_applied(read: Read, save: Save) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(ramp)
    result = read(save(image, "PNG", icc_profile=GRAY_18)).rgb
    np.testing.assert_array_equal(result, converted(image, GRAY_18))
    assert (result[..., 0] == result[..., 1]).all()
    assert result[6, 4, 0] > 110  # 100 of gamma 1.8 is about 120 in sRGB


def test_palettes_are_converted_through_the_profile(read: Read, save: Save, texture: NDArray[np.uint8]) -> None:
    image = Image.fromarray(texture[..., :3].copy()).quantize(16)
    data = save(image, "PNG", icc_profile=SWAPPED)
    np.testing.assert_array_equal(read(data).rgb, converted(image.convert("RGB"), SWAPPED))


def test_16_bits_are_rounded_first_and_converted_then(read: Read, save_tiff: Save, texture: NDArray[np.uint8]) -> None:
    rgb = texture[..., :3].copy()
    data = save_tiff(rgb.astype(np.uint16) * 257, photometric="rgb", iccprofile=SWAPPED)
    np.testing.assert_array_equal(read(data).rgb, converted(Image.fromarray(rgb), SWAPPED))


@pytest.mark.parametrize(
    "icc",
    [b"not a profile at all", SWAPPED[:200], SWAPPED[:132] + bytes(len(SWAPPED) - 132), GRAY_18],
    ids=["nonsense", "cut", "empty tags", "of another colour space"],
)
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_a_broken_or_foreign_profile_is_ignored_as_viewers_do(
    read: Read, save: Save, texture: NDArray[np.uint8], form: str, icc: bytes
) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    image = Image.fromarray(texture[..., :3].copy())
    plain, tagged = read(save(image, form, **options)), read(save(image, form, icc_profile=icc, **options))
    np.testing.assert_array_equal(tagged.rgb, plain.rgb)


def test_transparency_survives_a_conversion(read: Read, save: Save) -> None:
    rgba = np.full((4, 5, 4), 90, np.uint8)
    rgba[0, 0, 3] = 0
    image = read(save(Image.fromarray(rgba), "PNG", icc_profile=SWAPPED))
    assert image.valid is not None
    assert not image.valid[0, 0]
    assert image.valid.sum() == 19


def test_the_generic_rgb_profile_of_real_photographs_is_applied(data_folder: Path) -> None:
    path = data_folder / "orientation" / "landscape_3.jpg"
    with Image.open(path) as image:
        icc = image.info["icc_profile"]
        expected = converted(image, icc)[::-1, ::-1]
    np.testing.assert_array_equal(read_image(str(path)).rgb, expected)
