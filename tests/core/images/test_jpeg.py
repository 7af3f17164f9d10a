"""JPEG: half a picture is never taken for a whole one; untidy and unusual ones give libjpeg's pixels."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import Pixels
from kseg_core.images.jpeg import adobe_segment

Read = Callable[[bytes], Pixels]
Save = Callable[..., bytes]
Refusal = Callable[[bytes], str]

END = b"\xff\xd9"


@pytest.fixture(scope="module")
def photo(save: Save) -> dict[str, bytes]:
    """JPEGs of some size, with as much in them as photographs have."""
    noise = np.random.default_rng(8).normal(0, 25, (300, 400, 3))
    y, x = np.mgrid[0:300, 0:400]
    picture = np.clip(np.dstack([x / 2, y / 2, (x + y) / 3]) + noise, 0, 255).astype(np.uint8)
    image = Image.fromarray(picture)
    return {
        "baseline": save(image, "JPEG", quality=90),
        "progressive": save(image, "JPEG", quality=90, progressive=True),
        "restarts": save(image, "JPEG", quality=90, restart_marker_rows=1),
        "gray": save(image.convert("L"), "JPEG", quality=90),
    }


KINDS = ["baseline", "progressive", "restarts", "gray"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_or_partly_zeroed_jpeg_is_refused_with_and_without_an_end_marker(
    refusal: Refusal, photo: dict[str, bytes], kind: str
) -> None:
    data = photo[kind]
    for share in (0.01, 0.1, 0.3, 0.6, 0.9, 0.99, 0.999):
        cut = data[: int(len(data) * share)]
        assert "truncated" in refusal(cut)
        assert re.match("damaged|truncated", refusal(cut + END))
    # Not in the last scan of a progressive one: it is correction bits, and libjpeg takes zeros for good ones too.
    for share in (0.2, 0.5) if kind == "progressive" else (0.2, 0.5, 0.8):
        at = int(len(data) * share)
        assert re.match("damaged|truncated", refusal(data[:at] + bytes(2000) + data[at + 2000 :]))
    assert refusal(data[:-2]) == "truncated: the JPEG ends before its end marker"


def test_a_progressive_jpeg_cut_between_two_scans_is_refused(refusal: Refusal, photo: dict[str, bytes]) -> None:
    data = photo["progressive"]
    scans = [match.start() for match in re.finditer(rb"\xff\xda", data)]
    assert len(scans) == 10
    for at in scans[1:]:
        before = data.rindex(b"\xff\xc4", 0, at) if data[at - 2 : at] != b"\xff\xc4" else at
        assert refusal(data[:before] + END) == "truncated: the JPEG ends before its last scan"


def test_a_missing_restart_marker_is_damage(refusal: Refusal, photo: dict[str, bytes]) -> None:
    data = photo["restarts"]
    at = data.index(b"\xff\xd3")
    assert re.match("damaged", refusal(data[:at] + data[at + 2 :]))


def test_untidy_jpegs_give_the_same_bits(read: Read, photo: dict[str, bytes]) -> None:
    for kind in ("baseline", "progressive"):
        data = photo[kind]
        expected = read(data).samples
        tables, end = data.index(b"\xff\xdb"), len(data) - 2
        untidy = {
            "junk before the tables": data[:tables] + b"junk\0junk" + data[tables:],
            "fill bytes before a marker": data[:tables] + b"\xff\xff\xff" + data[tables:],
            "zeros before the end": data[:end] + bytes(7) + END,
            "both": data[:tables] + b"junk" + data[tables:end] + bytes(2) + END,
            "a strange JFIF version": data.replace(b"JFIF\0\1\1", b"JFIF\0\7\7"),
            "a broken EXIF block": data[:2] + b"\xff\xe1\0\x0cExif\0\0zzzz" + data[2:],
            "anything after the end": data + b"\xff\xd8\xff\xe0 a preview, a video" + bytes(5000),
        }
        for name, changed in untidy.items():
            np.testing.assert_array_equal(read(changed).samples, expected, err_msg=name)


def test_an_untidy_warning_does_not_hide_a_damaging_one(refusal: Refusal, photo: dict[str, bytes]) -> None:
    for kind in KINDS:
        data = photo[kind]
        tables = data.index(b"\xff\xdb")
        cut = data[: len(data) * 6 // 10] + END
        assert re.match("damaged|truncated", refusal(cut[:tables] + b"junk" + cut[tables:]))
        # Zeros before the end are padding only behind a last scan that is whole.
        assert re.match("damaged|truncated", refusal(cut[:-2] + bytes(500) + END))


def test_bytes_left_over_behind_the_last_scan_are_damage(refusal: Refusal, photo: dict[str, bytes]) -> None:
    data = photo["baseline"]
    assert "does not end where its last scan does" in refusal(data[:-2] + b"\x12\x34\x56" * 20 + END)


def test_jpegs_of_other_kinds_are_refused_by_what_they_are(refusal: Refusal, photo: dict[str, bytes]) -> None:
    data = photo["baseline"]
    at = data.index(b"\xff\xc0")
    twelve = data[: at + 4] + b"\x0c" + data[at + 5 :]
    assert refusal(twelve) == "damaged: a baseline JPEG has 8 bits a sample, this one states 12"
    lossless = data[: at + 4] + b"\x10" + data[at + 5 :]
    assert refusal(lossless).startswith("16-bit JPEG: not supported here")
    strange = data[: at + 11] + b"\x42" + data[at + 12 :]
    assert refusal(strange).startswith("damaged")  # its data is not of such blocks
    no_height = data[: at + 5] + bytes(2) + data[at + 7 :]
    assert "no height" in refusal(no_height)


# ------------------------------------------------------------------------- subsampling and colour transforms


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
