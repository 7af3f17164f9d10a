"""Embedded colour profiles: converted to sRGB, unless they are it."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from kseg_core.images import cicp, read_image
from tests.pictures import TEXTURE, read, save, save_tiff

SRGB = cicp.PRIMARIES[1]
GAMMA_18 = cicp.profile_of(cicp.Colour(SRGB, 1.8))
SWAPPED = cicp.profile_of(cicp.Colour((*SRGB[2::-1], SRGB[3]), 1.8))  # red is blue: no test can mistake it
GRAY_18 = cicp.profile_of(cicp.Colour(SRGB, 1.8), gray=True)


def srgb_by_table() -> bytes:
    """The sRGB curve as the 1024 entries that the best-known profile has."""
    x = np.linspace(0, 1, 1024, dtype=np.float32)
    curve = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)
    corners = [value for x, y in SRGB[:3] for value in (x, y, 1.0)]
    profile: bytes = imagecodecs.cms_profile(
        "rgb", whitepoint=[*SRGB[3], 1.0], primaries=corners, transferfunction=curve
    )
    return profile


def converted(image: Image.Image, icc: bytes) -> NDArray[np.uint8]:
    """What Pillow's ImageCms makes of it."""
    result = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert result is not None
    return np.asarray(result)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_profile_is_applied_as_by_image_cms(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = save(Image.fromarray(TEXTURE[..., :3].copy()), form, icc_profile=SWAPPED, **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = converted(image.convert("RGB"), SWAPPED)
    result = read(data).samples
    np.testing.assert_array_equal(result, expected)
    assert np.abs(result.astype(int) - TEXTURE[..., :3]).max() > 50


def test_gamma_1_8_is_converted_by_its_formula() -> None:
    data = save(Image.new("RGB", (4, 4), (100, 100, 100)), "PNG", icc_profile=GAMMA_18)
    linear = (100 / 255) ** 1.8
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)  # 119.6
    assert np.abs(read(data).samples.astype(float) - expected).max() <= 1


@pytest.mark.parametrize(
    "icc",
    [ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), srgb_by_table()],
    ids=["by formula", "by table"],
)
def test_what_is_srgb_stays_bit_for_bit_whatever_the_profile_is_called(icc: bytes) -> None:
    data = save(Image.fromarray(TEXTURE[..., :3].copy()), "PNG", icc_profile=icc)
    np.testing.assert_array_equal(read(data).samples, TEXTURE[..., :3])


def test_gray_profiles_are_applied() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(ramp)
    result = read(save(image, "PNG", icc_profile=GRAY_18)).samples
    np.testing.assert_array_equal(result, converted(image, GRAY_18))
    assert (result[..., 0] == result[..., 1]).all()
    assert result[6, 4, 0] > 110  # 100 of gamma 1.8 is about 120 in sRGB


def test_palettes_are_converted_through_the_profile() -> None:
    image = Image.fromarray(TEXTURE[..., :3].copy()).quantize(16)
    data = save(image, "PNG", icc_profile=SWAPPED)
    np.testing.assert_array_equal(read(data).samples, converted(image.convert("RGB"), SWAPPED))


def test_16_bits_are_rounded_first_and_converted_then() -> None:
    rgb = TEXTURE[..., :3].copy()
    data = save_tiff(rgb.astype(np.uint16) * 257, photometric="rgb", iccprofile=SWAPPED)
    np.testing.assert_array_equal(read(data).samples, converted(Image.fromarray(rgb), SWAPPED))


@pytest.mark.parametrize(
    "icc",
    [b"not a profile at all", SWAPPED[:200], SWAPPED[:132] + bytes(len(SWAPPED) - 132), GRAY_18],
    ids=["nonsense", "cut", "empty tags", "of another colour space"],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_broken_or_foreign_profile_is_ignored_as_viewers_do(form: str, icc: bytes) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    image = Image.fromarray(TEXTURE[..., :3].copy())
    plain, tagged = read(save(image, form, **options)), read(save(image, form, icc_profile=icc, **options))
    np.testing.assert_array_equal(tagged.samples, plain.samples)


def test_transparency_survives_a_conversion() -> None:
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
    np.testing.assert_array_equal(read_image(str(path)).samples, expected)
