"""BMP: every header, packing and width of bit fields, with run lengths that keep to their rows."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.core.images.test_profiles import SWAPPED
from tests.pictures import pillows, read, refusal, same, save

PALETTE = np.random.default_rng(4).integers(0, 256, (256, 3), np.uint8)


def bmp(
    pixels: bytes, height: int, width: int, bits: int, compression: int = 0, *,
    palette: NDArray[np.uint8] = PALETTE[:0], colour_space: bytes = bytes(68),
    masks: tuple[int, ...] = (), size: int = 40, tail: bytes = b"",
) -> bytes:  # fmt: skip
    """A BMP; ``tail`` follows the pixels, ``colour_space`` is what header versions 4 and 5 have of colours."""
    packed = b"".join(bytes([*entry[::-1], 0][: 3 if size == 12 else 4]) for entry in palette)
    if size == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        sizes = len(pixels), 0, 0, len(palette), 0
        header = struct.pack(f"<IiiHHIIiiII{len(masks)}I", size, width, height, 1, bits, compression, *sizes, *masks)
        if size > 40:
            header = (header + colour_space).ljust(size, b"\0")[:size]
    start = 14 + len(header) + len(packed)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + packed + pixels + tail


def rows_of(samples: NDArray[Any]) -> bytes:
    """Rows from the bottom up, each padded to four bytes."""
    flat = np.ascontiguousarray(samples[::-1]).view(np.uint8).reshape(len(samples), -1)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4))).tobytes()


@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (16, (0x7C00, 0x3E0, 0x1F)), (16, (0xF800, 0x7E0, 0x1F)), (16, (0xF00, 0xF0, 0xF)),
        (16, (0x0600, 0x01C0, 0x0001)), (16, (0x1F, 0x7E0, 0xF800)), (16, (0x8000, 0x7000, 0x0FFF)),
        (32, (0x3FF00000, 0xFFC00, 0x3FF)), (32, (0xFF000000, 0xFF0000, 0xFF00)), (32, (0xFFFF0000, 0xFFFE, 1)),
    ],
)  # fmt: skip
def test_bit_fields_by_any_masks(bits: int, masks: tuple[int, int, int]) -> None:
    values = np.random.default_rng(1).integers(0, 1 << bits, (5, 7), f"u{bits // 8}")
    samples = read(bmp(rows_of(values), 5, 7, bits, 3, masks=masks)).samples
    for band, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        wanted = (values.astype(np.int64) & mask) >> shift
        np.testing.assert_array_equal(samples[..., band], wanted * 255 // (mask >> shift))


@pytest.mark.parametrize(("size", "compression"), [(40, 6), (56, 3), (108, 3), (124, 3)])
def test_alpha_of_16_bits_says_which_pixels_count_if_it_was_ever_written(size: int, compression: int) -> None:
    fields: dict[str, Any] = {"masks": (0xF00, 0xF0, 0xF, 0xF000), "size": size}
    values = np.array([[0xF123, 0x0456], [0x1789, 0xFABC]], np.uint16)
    image = read(bmp(rows_of(values), 2, 2, 16, compression, **fields))
    np.testing.assert_array_equal(image.samples[0, 0], [0x11, 0x22, 0x33])
    np.testing.assert_array_equal(image.valid, [[True, False], [True, True]])
    assert read(bmp(rows_of(values & 0xFFF), 2, 2, 16, compression, **fields)).valid is None


@pytest.mark.parametrize("alpha_mask", [0, 0xFF000000])
def test_32_bits_have_alpha_only_where_the_header_says_so(alpha_mask: int) -> None:
    bgra = np.dstack([PALETTE[:6].reshape(3, 2, 3), [[255, 0], [128, 1], [0, 255]]]).astype(np.uint8)
    data = bmp(bgra.tobytes(), -3, 2, 32, 3, masks=(0xFF0000, 0xFF00, 0xFF, alpha_mask), size=108)
    same(read(data), bgra[..., 2::-1], bgra[..., 3] > 0 if alpha_mask else None)


@pytest.mark.parametrize("masks", [(0x7C00, 0x3FF, 0x1F), (0x5000, 0x3E0, 0x1F), (0, 0, 0), (0x1F0000, 0x3E0, 0x1F)])
def test_masks_that_cannot_be_are_damage(masks: tuple[int, int, int]) -> None:
    assert "bit fields" in refusal(bmp(bytes(8), 2, 2, 16, 3, masks=masks))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [12, 40, 64])
def test_palettes_of_all_depths_and_headers(bits: int, size: int) -> None:
    indices = np.random.default_rng(bits).integers(0, 1 << bits, (6, 11), np.uint8)
    unpacked = np.unpackbits(indices[..., None], axis=2)[..., 8 - bits :].reshape(6, -1)
    palette = PALETTE[: 1 << bits]
    same(read(bmp(rows_of(np.packbits(unpacked, axis=1)), 6, 11, bits, palette=palette, size=size)), palette[indices])


def test_rows_from_the_top_down() -> None:
    values = PALETTE[:12].reshape(3, 4, 3)
    same(read(bmp(rows_of(values[::-1, :, ::-1]), -3, 4, 24)), values)


# ------------------------------------------------------------------------------------------------- run lengths


def rle(data: list[int], height: int, width: int, bits: int) -> bytes:
    return bmp(bytes(data), height, width, bits, {4: 2, 8: 1}[bits], palette=PALETTE[: 1 << bits])


def test_runs_literals_and_jumps() -> None:
    image = read(rle([3, 7, 0, 0,  0, 3, 1, 2, 3, 0,  0, 2, 1, 1,  1, 9,  0, 1], 4, 5, 8))  # fmt: skip
    indices = np.array([[0] * 5, [0, 0, 0, 0, 9], [1, 2, 3, 0, 0], [7, 7, 7, 0, 0]])
    np.testing.assert_array_equal(image.valid, indices != 0)  # what was jumped over has no colour
    np.testing.assert_array_equal(image.samples[indices != 0], PALETTE[indices[indices != 0]])


def test_four_bits_alternate() -> None:
    image = read(rle([5, 0x1E, 0, 0, 0, 5, 0x12, 0x34, 0x50, 0, 0, 1], 2, 5, 4))
    same(image, PALETTE[[[1, 2, 3, 4, 5], [1, 14, 1, 14, 1]]])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param([9, 1, 0, 0, 8, 1, 0, 1], id="a run"),
        pytest.param([0, 10, *[1] * 10, 0, 0, 8, 1, 0, 1], id="a literal"),
        pytest.param([8, 1, 2, 1, 0, 0, 8, 1, 0, 1], id="a second run"),
        pytest.param([8, 1, 0, 0, 8, 1, 0, 0, 8, 1, 0, 1], id="a row too many"),
        pytest.param([8, 1, 0, 2, 5, 0, 8, 1, 0, 1], id="a jump to the right"),
        pytest.param([8, 1, 0, 2, 0, 9, 8, 1, 0, 1], id="a jump above"),
    ],
)
def test_what_leaves_its_row_is_damage(bits: int, data: list[int]) -> None:
    assert refusal(rle(data, 2, 8, bits)).startswith("damaged")


def test_a_run_over_the_end_of_one_row_alone_is_damage_and_padding_packed_with_all_is_not() -> None:
    assert "past the end of its row" in refusal(rle([8, 1, 0, 0, 7, 1, 0, 1], 2, 7, 8))
    same(read(rle([8, 1, 0, 0, 5, 1, 3, 2, 0, 1], 2, 7, 8)), PALETTE[[[1, 1, 1, 1, 1, 2, 2], [1] * 7]])


def test_run_lengths_have_to_reach_their_end() -> None:
    rows = [4, 1, 0, 0, 2, 1, 2, 0]  # the lower row, its end, the upper row
    for whole in ([*rows, 0, 0, 0, 1], [*rows, 0, 1], rows):
        same(read(rle(whole, 2, 4, 8)), PALETTE[[[1, 1, 0, 0], [1, 1, 1, 1]]])
    for length in (2, 4, 6):
        assert "truncated" in refusal(rle(rows[:length], 2, 4, 8))


# ----------------------------------------------------------------------------------------- profiles and the rest


def test_an_embedded_profile_is_applied() -> None:
    """As in a PNG with the same pixels and profile."""
    pixels = PALETTE[:24].reshape(4, 6, 3)
    rows = rows_of(pixels[..., ::-1])
    for icc in (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), SWAPPED):
        space = b"DEBM" + bytes(52) + struct.pack("<II", 124 + len(rows), len(icc)) + bytes(4)
        found = read(bmp(rows, 4, 6, 24, masks=(0,) * 4, size=124, colour_space=space, tail=icc))
        same(found, read(save(Image.fromarray(pixels), "PNG", icc_profile=icc)).samples)
        assert (found.samples == pixels).all() == (icc != SWAPPED)


@pytest.mark.parametrize(("form", "compression"), [("JPEG", 4), ("PNG", 5)])
def test_embedded_pictures_are_read(form: str, compression: int) -> None:
    data = save(Image.fromarray(PALETTE[:24].reshape(4, 6, 3)).resize((40, 30)), form)
    same(read(bmp(data, 30, 40, 0, compression)), pillows(data))


@pytest.mark.parametrize(
    "data",
    [
        bmp(bytes(64), 2, 2, 64), bmp(bytes(64), 2, 2, 24, 9), bmp(bytes(64), 2, 2, 24, 4, size=64),
        bmp(bytes(64), 2, 2, 1, 3, size=64), bmp(bytes(64), 2, 2, 24, size=66),
    ],
)  # fmt: skip
def test_what_is_not_read_is_not_called_damaged(data: bytes) -> None:
    reason = refusal(data)
    assert "not supported here" in reason
    assert not reason.startswith("damaged")
