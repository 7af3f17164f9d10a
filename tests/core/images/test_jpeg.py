"""JPEG: half a picture is never taken for a whole one; untidy and unusual ones give libjpeg's pixels."""

from __future__ import annotations

import re

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images.jpeg import adobe_segment
from tests.pictures import pillows, read, refusal, same, save, smooth_noise

END = b"\xff\xd9"
DAMAGED = ("damaged", "truncated")
SMOOTH = smooth_noise(71, 97, 2)


def photographs() -> dict[str, bytes]:
    """JPEGs of some size, with as much in them as photographs have."""
    noise = np.random.default_rng(8).normal(0, 25, (300, 400, 3))
    y, x = np.mgrid[0:300, 0:400]
    image = Image.fromarray(np.clip(np.dstack([x / 2, y / 2, (x + y) / 3]) + noise, 0, 255).astype(np.uint8))
    kinds = {"baseline": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 1}}
    written = {kind: save(image, "JPEG", quality=90, **options) for kind, options in kinds.items()}
    return {**written, "gray": save(image.convert("L"), "JPEG", quality=90)}


PHOTO = photographs()


@pytest.mark.parametrize("kind", PHOTO)
def test_a_cut_or_partly_zeroed_jpeg_is_refused_with_and_without_an_end_marker(kind: str) -> None:
    data = PHOTO[kind]
    for share in (0.01, 0.1, 0.3, 0.6, 0.9, 0.99, 0.999):
        cut = data[: int(len(data) * share)]
        assert "truncated" in refusal(cut)
        assert refusal(cut + END).startswith(DAMAGED)
    # Not in the last scan of a progressive one: it is correction bits, and libjpeg takes zeros for good ones too.
    for share in (0.2, 0.5) if kind == "progressive" else (0.2, 0.5, 0.8):
        at = int(len(data) * share)
        assert refusal(data[:at] + bytes(2000) + data[at + 2000 :]).startswith(DAMAGED)
    assert refusal(data[:-2]) == "truncated: the JPEG ends before its end marker"
    # An untidy warning does not hide a damaging one; zeros are padding only behind a last scan that is whole.
    tables, cut = data.index(b"\xff\xdb"), data[: len(data) * 6 // 10] + END
    assert refusal(cut[:tables] + b"junk" + cut[tables:]).startswith(DAMAGED)
    assert refusal(cut[:-2] + bytes(500) + END).startswith(DAMAGED)


def test_a_progressive_jpeg_cut_between_two_scans_is_refused() -> None:
    data = PHOTO["progressive"]
    scans = [match.start() for match in re.finditer(rb"\xff\xda", data)]
    assert len(scans) == 10
    for at in scans[1:]:
        before = data.rindex(b"\xff\xc4", 0, at) if data[at - 2 : at] != b"\xff\xc4" else at
        assert refusal(data[:before] + END) == "truncated: the JPEG ends before its last scan"


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_untidy_jpegs_give_the_same_bits(kind: str) -> None:
    data = PHOTO[kind]
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


def test_jpegs_of_other_kinds_are_refused_by_what_they_are() -> None:
    data = PHOTO["baseline"]
    at = data.index(b"\xff\xc0")
    twelve = data[: at + 4] + b"\x0c" + data[at + 5 :]
    assert refusal(twelve) == "damaged: a baseline JPEG has 8 bits a sample, this one states 12"
    assert refusal(data[: at + 4] + b"\x10" + data[at + 5 :]).startswith("16-bit JPEG: not supported here")
    assert refusal(data[: at + 11] + b"\x42" + data[at + 12 :]).startswith("damaged")  # its data has no such blocks
    assert "no height" in refusal(data[: at + 5] + bytes(2) + data[at + 7 :])
    left_over = data[:-2] + b"\x12\x34\x56" * 20 + END
    assert "does not end where its last scan does" in refusal(left_over)
    restarts = PHOTO["restarts"]
    at = restarts.index(b"\xff\xd3")
    assert refusal(restarts[:at] + restarts[at + 2 :]).startswith("damaged")


# ------------------------------------------------------------------------- subsampling and colour transforms


def of_planes(planes: list[NDArray[np.uint8]], factors: list[int], shape: tuple[int, int]) -> bytes:
    """A JPEG of components of their own sizes, each in a scan of its own (so that their blocks are as in gray ones)."""
    parts = [save(Image.fromarray(plane), "JPEG", quality=90) for plane in planes]
    first = parts[0]
    tables = first[2 : first.index(b"\xff\xc0")]
    huffman = first[first.index(b"\xff\xc4") : first.index(b"\xff\xda")]
    components = b"".join(bytes([number + 1, factor, 0]) for number, factor in enumerate(factors))
    sizes = b"".join(side.to_bytes(2, "big") for side in shape)
    head = b"\xff\xc0" + (8 + 3 * len(parts)).to_bytes(2, "big") + b"\x08" + sizes + bytes([len(parts)]) + components
    scans = b""
    for number, part in enumerate(parts):
        start = part.index(b"\xff\xda") + 10
        scans += b"\xff\xda\0\x08\x01" + bytes([number + 1, 0, 0, 63, 0]) + part[start:-2]
    return b"\xff\xd8" + tables + head + huffman + scans + END


#: Sampling factors across and down of each component: 4:1:0, 4:1:1 turned, chroma of two sizes, finer chroma, both.
FACTORS = [[0x42, 0x11, 0x11], [0x14, 0x11, 0x11], [0x22, 0x12, 0x11], [0x11, 0x22, 0x22], [0x24, 0x11, 0x21]]


@pytest.mark.parametrize("factors", FACTORS)
def test_unusual_subsampling_is_read_as_pillow_does(factors: list[int]) -> None:
    height, width = SMOOTH.shape[:2]
    across, down = max(f >> 4 for f in factors), max(f & 15 for f in factors)
    sizes = [(-(-height * (f & 15) // down), -(-width * (f >> 4) // across)) for f in factors]
    ycbcr = Image.fromarray(SMOOTH).convert("YCbCr").split()
    planes = [np.array(plane.resize(size[::-1])) for plane, size in zip(ycbcr, sizes, strict=True)]
    data = of_planes(planes, factors, (height, width))
    same(read(data), pillows(data))
    last = data.rindex(b"\xff\xda")
    for broken in (data[: last + 60] + END, data[: last - 40] + data[last:], data[:-2], data[:last] + END):
        assert refusal(broken).startswith(DAMAGED)


@pytest.mark.parametrize("transform", [0, 1, 2, 7])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_adobes_transform_is_understood_as_libjpeg_does(transform: int, mode: str) -> None:
    data = save(Image.fromarray(SMOOTH).convert(mode), "JPEG", quality=90)
    at = 2
    while data[at + 1] in (0xE0, 0xEE):  # Pillow's own JFIF or Adobe segment
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    data = data[:2] + adobe_segment(transform) + data[at:]
    same(read(data), pillows(data))


def test_components_named_r_g_b_are_colours_as_they_are() -> None:
    data = bytes(imagecodecs.jpeg8_encode(SMOOTH, level=95, colorspace="RGB", outcolorspace="RGB"))
    same(read(data), pillows(data))


def test_a_jpeg_of_thousands_of_scans_is_a_bomb() -> None:
    data = save(Image.fromarray(SMOOTH), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert "scans" in refusal(data[:last] + data[last:-2] * 600 + END)


@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("marker", [0xFE, 0xE5])
def test_a_comment_of_no_length_is_passed_over(marker: int, length: int) -> None:
    data = save(Image.fromarray(SMOOTH), "JPEG")
    at = data.index(b"\xff\xc0")
    same(read(data[:at] + bytes([0xFF, marker, 0, length]) + data[at:]), pillows(data))
