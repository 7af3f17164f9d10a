"""JPEGs of subsampling and colour transforms that fast decoders have no name for: Pillow's pixels, and strict."""

from __future__ import annotations

import io
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import Pixels
from kseg_core.images.jpeg import adobe_segment

Read = Callable[[bytes], Pixels]
Refusal = Callable[[bytes], str]
Save = Callable[..., bytes]


@pytest.fixture(scope="module")
def smooth() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(2).integers(0, 256, (9, 12, 3), np.uint8)
    return np.array(Image.fromarray(coarse).resize((97, 71), Image.Resampling.BICUBIC))


def pillows(data: bytes) -> NDArray[np.uint8]:
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def with_factors(data: bytes, factors: list[int]) -> bytes:
    """The same data under other sampling factors: the picture is another, where the data goes on to its end."""
    at = data.index(b"\xff\xc0") + 11
    changed = bytearray(data)
    for number, factor in enumerate(factors):
        changed[at + 3 * number] = factor
    return bytes(changed)


def of_planes(planes: list[NDArray[np.uint8]], factors: list[int], shape: tuple[int, int], save: Save) -> bytes:
    """A JPEG of components of their own sizes, each in a scan of its own (so that their blocks are as in gray ones)."""
    parts = [save(Image.fromarray(plane), "JPEG", quality=90) for plane in planes]
    first = parts[0]
    frame = first.index(b"\xff\xc0")
    tables = first[2:frame]
    huffman = first[first.index(b"\xff\xc4") : first.index(b"\xff\xda")]
    height, width = shape
    components = b"".join(bytes([number + 1, factor, 0]) for number, factor in enumerate(factors))
    head = b"\xff\xc0" + (8 + 3 * len(parts)).to_bytes(2, "big") + b"\x08"
    head += height.to_bytes(2, "big") + width.to_bytes(2, "big") + bytes([len(parts)]) + components
    scans = b""
    for number, part in enumerate(parts):
        start = part.index(b"\xff\xda") + 10
        scans += b"\xff\xda\0\x08\x01" + bytes([number + 1, 0, 0, 63, 0]) + part[start:-2]
    return b"\xff\xd8" + tables + head + huffman + scans + b"\xff\xd9"


#: Sampling factors across and down of each component: 4:1:0, 4:1:1 turned, chroma of two sizes, finer chroma, both.
FACTORS = [[0x42, 0x11, 0x11], [0x14, 0x11, 0x11], [0x22, 0x12, 0x11], [0x11, 0x22, 0x22], [0x24, 0x11, 0x21]]


@pytest.mark.parametrize("factors", FACTORS)
def test_unusual_subsampling_is_read_as_pillow_does(
    factors: list[int], smooth: NDArray[np.uint8], read: Read, refusal: Refusal, save: Save
) -> None:
    height, width = smooth.shape[:2]
    across, down = max(f >> 4 for f in factors), max(f & 15 for f in factors)
    sizes = [(-(-height * (f & 15) // down), -(-width * (f >> 4) // across)) for f in factors]
    ycbcr = Image.fromarray(smooth).convert("YCbCr").split()
    planes = [np.array(plane.resize(size[::-1])) for plane, size in zip(ycbcr, sizes, strict=True)]
    data = of_planes(planes, factors, (height, width), save)
    np.testing.assert_array_equal(read(data).samples, pillows(data))
    last = data.rindex(b"\xff\xda")
    for broken in (
        data[: last + 60] + b"\xff\xd9",
        data[: last - 40] + data[last:],
        data[:-2],
        data[:last] + b"\xff\xd9",
    ):
        assert refusal(broken).startswith(("damaged", "truncated"))


@pytest.mark.parametrize("transform", [0, 1, 2, 7])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_adobes_transform_is_understood_as_libjpeg_does(
    transform: int, mode: str, smooth: NDArray[np.uint8], read: Read, save: Save
) -> None:
    data = save(Image.fromarray(smooth).convert(mode), "JPEG", quality=90)
    at = 2
    while data[at + 1] in (0xE0, 0xEE):  # Pillow's own JFIF or Adobe segment
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    data = data[:2] + adobe_segment(transform) + data[at:]
    np.testing.assert_array_equal(read(data).samples, pillows(data))


def test_components_named_r_g_b_are_colours_as_they_are(smooth: NDArray[np.uint8], read: Read) -> None:
    data = bytes(imagecodecs.jpeg8_encode(smooth, level=95, colorspace="RGB", outcolorspace="RGB"))
    np.testing.assert_array_equal(read(data).samples, pillows(data))


def test_a_jpeg_of_thousands_of_scans_is_a_bomb(smooth: NDArray[np.uint8], refusal: Refusal, save: Save) -> None:
    data = save(Image.fromarray(smooth), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert "scans" in refusal(data[:last] + data[last:-2] * 600 + b"\xff\xd9")


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("marker", [0xFE, 0xE5])
def test_a_comment_of_no_length_is_passed_over(
    marker: int, length: int, smooth: NDArray[np.uint8], read: Read, save: Save
) -> None:
    data = save(Image.fromarray(smooth), "JPEG")
    at = data.index(b"\xff\xc0")
    np.testing.assert_array_equal(read(data[:at] + bytes([0xFF, marker, 0, length]) + data[at:]).samples, pillows(data))
