"""BMP: every header, packing and width of bit fields, with run lengths that keep to their rows."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from kseg_core.images import Pixels
from tests.core.images.test_profiles import SWAPPED

Read = Callable[[bytes], Pixels]
Refusal = Callable[[bytes], str]
PALETTE = np.random.default_rng(4).integers(0, 256, (256, 3), np.uint8)


def bmp(
    pixels: bytes, height: int, width: int, bits: int, compression: int = 0, *,
    palette: NDArray[np.uint8] | None = None, colour_space: bytes = bytes(68),
    masks: tuple[int, ...] = (), size: int = 40, tail: bytes = b"",
) -> bytes:  # fmt: skip
    """A BMP; ``tail`` follows the pixels, ``colour_space`` is what header versions 4 and 5 have of colours."""
    colours = 0 if palette is None else len(palette)
    packed = (
        b"" if palette is None else b"".join(bytes([*entry[::-1], 0][: 3 if size == 12 else 4]) for entry in palette)
    )
    if size == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, compression, len(pixels), 0, 0, colours, 0)
        header += struct.pack(f"<{len(masks)}I", *masks)
        if size > 40:
            header = (header + colour_space).ljust(size, b"\0")[:size]
    start = 14 + len(header) + len(packed)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + packed + pixels + tail


def rows_of(samples: NDArray[Any]) -> bytes:
    """Rows from the bottom up, each padded to four bytes."""
    flat = np.ascontiguousarray(samples[::-1]).view(np.uint8).reshape(len(samples), -1)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4))).tobytes()


@pytest.mark.parametrize(
    "masks",
    [
        (0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F), (0xF00, 0xF0, 0xF), (0x0600, 0x01C0, 0x0001),
        (0x1F, 0x7E0, 0xF800), (0x8000, 0x7000, 0x0FFF),
    ],
)  # fmt: skip
def test_16_bits_by_any_masks(masks: tuple[int, int, int], read: Read) -> None:
    values = np.random.default_rng(1).integers(0, 1 << 16, (5, 7), np.uint16)
    image = read(bmp(rows_of(values), 5, 7, 16, 3, masks=masks))
    for band, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        wanted = (values & mask).astype(np.int64) >> shift
        np.testing.assert_array_equal(image.samples[..., band], wanted * 255 // (mask >> shift))


@pytest.mark.parametrize(
    "masks", [(0x3FF00000, 0xFFC00, 0x3FF), (0xFF000000, 0xFF0000, 0xFF00), (0xFFFF0000, 0xFFFE, 1)]
)
def test_32_bits_by_any_masks(masks: tuple[int, int, int], read: Read) -> None:
    values = np.random.default_rng(1).integers(0, 1 << 32, (5, 7), np.uint32)
    image = read(bmp(rows_of(values), 5, 7, 32, 3, masks=masks))
    for band, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        wanted = (values & np.uint32(mask)).astype(np.int64) >> shift
        np.testing.assert_array_equal(image.samples[..., band], wanted * 255 // (mask >> shift))


@pytest.mark.parametrize(("size", "compression"), [(40, 6), (56, 3), (108, 3), (124, 3)])
def test_alpha_of_16_bits_says_which_pixels_count(size: int, compression: int, read: Read) -> None:
    values = np.array([[0xF123, 0x0456], [0x1789, 0xFABC]], np.uint16)
    image = read(bmp(rows_of(values), 2, 2, 16, compression, masks=(0xF00, 0xF0, 0xF, 0xF000), size=size))
    np.testing.assert_array_equal(image.samples[0, 0], [0x11, 0x22, 0x33])
    assert image.valid is not None
    np.testing.assert_array_equal(image.valid, [[True, False], [True, True]])


def test_alpha_that_was_never_written_is_no_alpha(read: Read) -> None:
    values = np.array([[0x0123, 0x0456]], np.uint16)
    assert read(bmp(rows_of(values), 1, 2, 16, 6, masks=(0xF00, 0xF0, 0xF, 0xF000))).valid is None


@pytest.mark.parametrize("masks", [(0x7C00, 0x3FF, 0x1F), (0x5000, 0x3E0, 0x1F), (0, 0, 0), (0x1F0000, 0x3E0, 0x1F)])
def test_masks_that_cannot_be_are_damage(masks: tuple[int, int, int], refusal: Refusal) -> None:
    assert "bit fields" in refusal(bmp(bytes(8), 2, 2, 16, 3, masks=masks))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [12, 40, 64])
def test_palettes_of_all_depths_and_headers(bits: int, size: int, read: Read) -> None:
    indices = np.random.default_rng(bits).integers(0, 1 << bits, (6, 11), np.uint8)
    unpacked = np.unpackbits(indices[..., None], axis=2)[..., 8 - bits :].reshape(6, -1)
    palette = PALETTE[: 1 << bits]
    image = read(bmp(rows_of(np.packbits(unpacked, axis=1)), 6, 11, bits, palette=palette, size=size))
    np.testing.assert_array_equal(image.samples, palette[indices])


def test_rows_from_the_top_down(read: Read) -> None:
    values = PALETTE[:12].reshape(3, 4, 3)
    data = bmp(rows_of(values[::-1, :, ::-1]), -3, 4, 24)
    np.testing.assert_array_equal(read(data).samples, values)


# ------------------------------------------------------------------------------------------------- run lengths


def rle(data: bytes, height: int, width: int, bits: int) -> bytes:
    return bmp(data, height, width, bits, {4: 2, 8: 1}[bits], palette=PALETTE[: 1 << bits])


def test_runs_literals_and_jumps(read: Read) -> None:
    data = bytes([3, 7, 0, 0,  0, 3, 1, 2, 3, 0,  0, 2, 1, 1,  1, 9,  0, 1])  # fmt: skip
    image = read(rle(data, 4, 5, 8))
    indices = np.zeros((4, 5), int)
    given = np.zeros((4, 5), bool)
    indices[3, :3], given[3, :3] = 7, True
    indices[2, :3], given[2, :3] = [1, 2, 3], True
    indices[1, 4], given[1, 4] = 9, True
    assert image.valid is not None
    np.testing.assert_array_equal(image.valid, given)  # what was jumped over has no colour
    np.testing.assert_array_equal(image.samples[given], PALETTE[indices[given]])


def test_four_bits_alternate(read: Read) -> None:
    image = read(rle(bytes([5, 0x1E, 0, 0, 0, 5, 0x12, 0x34, 0x50, 0, 0, 1]), 2, 5, 4))
    np.testing.assert_array_equal(image.samples, PALETTE[[[1, 2, 3, 4, 5], [1, 14, 1, 14, 1]]])
    assert image.valid is None


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a run", [9, 1, 0, 0, 8, 1, 0, 1]),
        ("a literal", [0, 10, *[1] * 10, 0, 0, 8, 1, 0, 1]),
        ("a second run", [8, 1, 2, 1, 0, 0, 8, 1, 0, 1]),
        ("a row too many", [8, 1, 0, 0, 8, 1, 0, 0, 8, 1, 0, 1]),
        ("a jump to the right", [8, 1, 0, 2, 5, 0, 8, 1, 0, 1]),
        ("a jump above", [8, 1, 0, 2, 0, 9, 8, 1, 0, 1]),
    ],
)
def test_what_leaves_its_row_is_damage(bits: int, name: str, data: list[int], refusal: Refusal) -> None:
    assert refusal(rle(bytes(data), 2, 8, bits)).startswith("damaged")


def test_a_run_over_the_end_of_one_row_alone_is_damage_and_padding_packed_with_all_is_not(
    read: Read, refusal: Refusal
) -> None:
    assert "past the end of its row" in refusal(rle(bytes([8, 1, 0, 0, 7, 1, 0, 1]), 2, 7, 8))
    image = read(rle(bytes([8, 1, 0, 0, 5, 1, 3, 2, 0, 1]), 2, 7, 8))
    np.testing.assert_array_equal(image.samples, PALETTE[[[1, 1, 1, 1, 1, 2, 2], [1] * 7]])


# ----------------------------------------------------------------------------------------- profiles and the rest


def test_an_embedded_profile_is_applied(read: Read, save: Callable[..., bytes]) -> None:
    """As in a PNG with the same pixels and profile."""
    pixels = PALETTE[:24].reshape(4, 6, 3)
    for icc in (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), SWAPPED):
        space = b"DEBM" + bytes(52) + struct.pack("<II", 124 + len(rows_of(pixels)), len(icc)) + bytes(4)
        masks = (0, 0, 0, 0)
        data = bmp(rows_of(pixels[..., ::-1]), 4, 6, 24, masks=masks, size=124, colour_space=space, tail=icc)
        png = save(Image.fromarray(pixels), "PNG", icc_profile=icc)
        np.testing.assert_array_equal(read(data).samples, read(png).samples)
        assert (read(data).samples == pixels).all() == (icc != SWAPPED)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_embedded_pictures_are_read(form: str, read: Read, save: Callable[..., bytes]) -> None:
    pixels = np.array(Image.fromarray(PALETTE[:24].reshape(4, 6, 3)).resize((40, 30)))
    data = save(Image.fromarray(pixels), form)
    expected = np.array(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(read(bmp(data, 30, 40, 0, {"JPEG": 4, "PNG": 5}[form])).samples, expected)


@pytest.mark.parametrize(
    "data",
    [
        bmp(bytes(64), 2, 2, 64), bmp(bytes(64), 2, 2, 24, 9), bmp(bytes(64), 2, 2, 24, 4, size=64),
        bmp(bytes(64), 2, 2, 1, 3, size=64), bmp(bytes(64), 2, 2, 24, size=66),
    ],
)  # fmt: skip
def test_what_is_not_read_is_not_called_damaged(data: bytes, refusal: Refusal) -> None:
    reason = refusal(data)
    assert "not supported here" in reason
    assert not reason.startswith("damaged")
