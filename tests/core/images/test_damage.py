"""Half a picture is never taken for a whole one."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import Pixels

Read = Callable[[bytes], Pixels]
Save = Callable[..., bytes]
Refusal = Callable[[bytes], str]


@pytest.mark.parametrize(
    "kind",
    ["gif", "bmp", "bmp palette", "webp lossless", "webp lossy", "tiff", "tiff deflate", "tiff LZW tiles",
     "tiff zstd 16", "tiff jpeg tiles", "tiff packbits", "tiff group 3", "tiff group 4", "tiff webp", "ome-tiff",
     "jpeg", "png"],
)  # fmt: skip
def test_no_cut_of_any_format_gives_another_picture(
    read: Read, refusal: Refusal, samples: dict[str, bytes], kind: str
) -> None:
    data = samples[kind]
    whole = read(data)
    for share in np.linspace(0, 0.97, 25):
        cut = data[: int(len(data) * share)]
        try:
            refusal(cut)
        except pytest.fail.Exception:
            # What lies behind the pixels may be lost without harm (a TIFF's software tag), and only that.
            image = read(cut)
            np.testing.assert_array_equal(image.samples, whole.samples)


def test_a_gif_cut_in_its_first_frame_is_refused_and_in_its_second_read(
    read: Read, refusal: Refusal, samples: dict[str, bytes]
) -> None:
    data = samples["gif animated"]
    frames = [match.start() for match in re.finditer(rb"\x21\xf9\x04", data)]
    assert len(frames) == 2
    np.testing.assert_array_equal(read(data[: frames[1] + 20]).samples, read(data).samples)
    assert "truncated" in refusal(data[: frames[1] // 2 + 400])


def test_a_gif_whose_data_ends_before_its_pixels_do_is_refused(refusal: Refusal) -> None:
    # One pixel and the end code, for a frame of 2 x 2: 3-bit codes clear 4, pixel 1, end 5.
    frame = b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + bytes([2, 2, 0x4C, 0x01, 0])
    data = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + bytes([9, 9, 9, 1, 2, 3]) + frame + b";"
    assert re.match("truncated|damaged", refusal(data))


def test_a_bmp_of_run_lengths_has_to_reach_its_end(read: Read, refusal: Refusal) -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, 0, 0, 0, 2, 0)
    palette = bytes([0, 0, 0, 0, 3, 2, 1, 0])
    start = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 8) + header + palette
    rows = bytes([4, 1, 0, 0, 2, 1, 2, 0])  # the lower row, its end, the upper row
    expected = np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    for whole in (rows + bytes([0, 0, 0, 1]), rows + bytes([0, 1]), rows):
        np.testing.assert_array_equal(read(start + whole).samples, expected[..., None] * [1, 2, 3])
    for cut in (rows[:2], rows[:4], rows[:6]):
        assert "truncated" in refusal(start + cut)


def test_a_webp_shorter_than_it_states_is_refused(refusal: Refusal, samples: dict[str, bytes]) -> None:
    assert refusal(samples["webp lossy"][:-2]).startswith("truncated: the WebP states")


def test_a_webp_with_a_broken_exif_block_is_read_as_stored(read: Read, save: Save, texture: NDArray[np.uint8]) -> None:
    image = Image.fromarray(texture[..., :3].copy())
    np.testing.assert_array_equal(
        read(save(image, "WEBP", lossless=True, exif=b"Exif\0\0nonsense")).samples, texture[..., :3]
    )


def changed_tag(data: bytes, tag: int, values: list[int]) -> bytes:
    """A TIFF with other values of a tag."""
    file = io.BytesIO(data)
    with tifffile.TiffFile(file, mode="r+b") as tiff:
        tiff.pages[0].tags[tag].overwrite(values)
    return file.getvalue()


def test_a_tiff_with_missing_strips_or_tiles_is_refused(refusal: Refusal, samples: dict[str, bytes]) -> None:
    for kind, offsets, name in [
        ("tiff deflate", 273, "strip 2 of 6"),
        ("tiff LZW tiles", 324, "tile 2 of 12"),
        ("tiff jpeg tiles", 324, "tile 2 of 12"),
    ]:
        data = samples[kind]
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            where = list(tiff.pages[0].dataoffsets)
        nowhere = changed_tag(data, offsets, [where[0], 0, *where[2:]])  # without bytes it were sparse
        assert refusal(nowhere) == f"{name} of the TIFF is missing"
        beyond = changed_tag(data, offsets, [where[0], len(data) - 1, *where[2:]])
        assert refusal(beyond) == f"truncated: {name} of the TIFF reaches beyond the file's end"


@pytest.mark.parametrize("kind", ["tiff deflate", "tiff LZW tiles", "tiff zstd 16", "tiff jpeg tiles"])
def test_a_tiff_with_a_strip_or_tile_that_is_too_short_is_refused(
    refusal: Refusal, samples: dict[str, bytes], kind: str
) -> None:
    data = samples[kind]
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        tag = 325 if page.is_tiled else 279
        long = list(page.databytecounts)
    half = changed_tag(data, tag, [*long[:-1], long[-1] // 2])
    assert re.match("damaged|truncated", refusal(half))


def test_a_zeroed_jpeg_tile_of_a_tiff_is_refused(refusal: Refusal, save_tiff: Save) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    data = bytearray(save_tiff(noise, photometric="rgb", compression="jpeg", tile=(128, 128)))
    at = len(data) // 2
    data[at : at + 2000] = bytes(2000)
    assert re.match("damaged|truncated", refusal(bytes(data)))


def test_camera_raw_inside_a_tiff_is_refused_by_name(refusal: Refusal, save_tiff: Save) -> None:
    dng = save_tiff(np.zeros((4, 4), np.uint8), extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    assert refusal(dng).startswith("camera RAW (DNG): not supported here; develop it")
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        options = {"photometric": "rgb", "subfiletype": 1, "subifds": 1, "metadata": None}
        tiff.write(np.zeros((4, 4, 3), np.uint8), extratags=[(271, 2, 0, "NIKON CORPORATION", True)], **options)
        tiff.write(np.zeros((40, 40), np.uint16), photometric="minisblack")
    assert refusal(file.getvalue()).startswith("camera RAW (NIKON CORPORATION)")
