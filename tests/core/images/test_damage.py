"""Half a picture is never taken for a whole one: refused with a reason, or the very same; never anything else.

`benchmarks/fuzz.py` is the long form.
"""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kseg_core.errors import UnreadableImage
from kseg_core.images import open_picture, read_image, read_info
from tests.fuzzing import (
    DAMAGE,
    PROGRAMMERS,
    damaged_files,
    sound_files,
    spoil_header,
    write_damaged_zarr,
    write_sound_zarr,
)
from tests.pictures import SAMPLES, TEXTURE, read, refusal, same, save, save_tiff

SOUND = sound_files(40, 60)
MOST_PX = 1 << 22

#: Which of the samples lose nothing of their picture where they are cut behind such a part: a GIF in its end or in its
#: second frame, fax codes in their padding, plain numbers in the last line break. All others need every byte.
WHOLE_BEHIND = {"gif": 0.997, "gif animated": 0.58, "tiff group 3": 0.99, "tiff group 4": 0.99, "pbm plain": 0.999}


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_file_cut_anywhere_is_refused_and_where_its_picture_is_whole_the_same(kind: str) -> None:
    data = SAMPLES[kind]
    whole = read(data)
    needed = int(len(data) * WHOLE_BEHIND.get(kind, 1))
    for length in {*np.linspace(0, len(data) - 1, 40).astype(int), *range(len(data) - 12, len(data))}:
        try:
            refusal(data[:length])
        except pytest.fail.Exception:
            assert length >= needed
            np.testing.assert_array_equal(read(data[:length]).samples, whole.samples)


# ------------------------------------------------------------------------------------------- damage that a seed decides


def read_or_refuse(path: Path) -> bool:
    """Whether a file can be read; header, whole and window must agree about that and about the pixels."""
    try:
        image = read_image(str(path), max_pixels=MOST_PX)
    except UnreadableImage as error:
        refused = error.reason
    else:
        refused = None
    if refused is not None:
        assert refused.strip()
        assert "\n" not in refused
        assert len(refused) < 500
        assert not PROGRAMMERS.search(refused)
        return False
    assert image.samples.dtype == np.uint8
    assert image.samples.shape == (*read_info(str(path), max_pixels=MOST_PX).shape, 3)
    with open_picture(str(path), max_pixels=MOST_PX) as picture:
        height, width = picture.info.shape
        window = picture.rgb(slice(0, min(8, height)), slice(0, min(8, width)))
    assert (window.samples == image.samples[:8, :8]).all()
    return True


def test_damaged_files_are_read_whole_or_refused_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, refused, total = tmp_path / "x", 0, 0
    for data in SOUND.values():
        path.write_bytes(data)
        assert read_or_refuse(path)
    for sound, number in ((SOUND, 100), (SAMPLES, 12 * len(SAMPLES))):
        for _, data in damaged_files(sound, number, seed=11):
            path.write_bytes(data)
            refused += not read_or_refuse(path)
            total += 1
    assert total > 600
    assert refused > total // 2  # most damage does show
    assert capfd.readouterr() == ("", "")


@given(
    seed=st.integers(0, 2**32 - 1), name=st.sampled_from(sorted(SOUND)), kind=st.sampled_from([spoil_header, *DAMAGE])
)
@settings(max_examples=80, deadline=None, derandomize=True)  # benchmarks/fuzz.py looks for others
def test_no_header_makes_a_reader_raise_anything_else(tmp_path_factory, seed, name, kind) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    path.write_bytes(kind(SOUND[name], np.random.default_rng(seed)))
    read_or_refuse(path)


def test_damaged_zarr_folders_are_read_whole_or_refused(tmp_path: Path) -> None:
    write_sound_zarr(tmp_path / "sound")
    assert read_image(str(tmp_path / "sound")).samples.shape == (90, 120, 3)
    random = np.random.default_rng(5)
    refused = 0
    for i in range(40):
        write_damaged_zarr(tmp_path / "sound", tmp_path / f"{i}.zarr", random)
        refused += not read_or_refuse(tmp_path / f"{i}.zarr")
    assert refused > 13


# ----------------------------------------------------------------------------------------------------------- GIF, WebP


def test_a_gif_cut_in_its_first_frame_is_refused_and_in_its_second_read() -> None:
    data = SAMPLES["gif animated"]
    frames = [match.start() for match in re.finditer(rb"\x21\xf9\x04", data)]
    assert len(frames) == 2
    np.testing.assert_array_equal(read(data[: frames[1] + 20]).samples, read(data).samples)
    assert "truncated" in refusal(data[: frames[1] // 2 + 400])


def test_a_gif_whose_data_ends_before_its_pixels_do_is_refused() -> None:
    # One pixel and the end code, for a frame of 2 x 2: 3-bit codes clear 4, pixel 1, end 5.
    frame = b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + bytes([2, 2, 0x4C, 0x01, 0])
    data = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + bytes([9, 9, 9, 1, 2, 3]) + frame + b";"
    assert re.match("truncated|damaged", refusal(data))


def test_a_webp_shorter_than_it_states_is_refused_and_one_with_a_broken_exif_block_read_as_stored() -> None:
    assert refusal(SAMPLES["webp lossy"][:-2]).startswith("truncated: the WebP states")
    image = Image.fromarray(TEXTURE[..., :3].copy())
    same(read(save(image, "WEBP", lossless=True, exif=b"Exif\0\0nonsense")), TEXTURE[..., :3])


# ---------------------------------------------------------------------------------------------------------------- TIFF


def changed_segment(data: bytes, number: int, where: int | None = None, size: int | None = None) -> bytes:
    """A TIFF with another offset or size of one tile or strip."""
    file = io.BytesIO(data)
    with tifffile.TiffFile(file, mode="r+b") as tiff:
        page = tiff.pages[0]
        for tag, value in zip((324, 325) if page.is_tiled else (273, 279), (where, size), strict=True):
            if value is not None:
                values = list(page.tags[tag].value)
                values[number] = value
                page.tags[tag].overwrite(values)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "name"),
    [("tiff deflate", "strip 2 of 6"), ("tiff LZW tiles", "tile 2 of 12"), ("tiff zstd 16", ""),
     ("tiff jpeg tiles", "tile 2 of 12")],
)  # fmt: skip
def test_a_tiff_with_missing_or_short_strips_or_tiles_is_refused(kind: str, name: str) -> None:
    data = SAMPLES[kind]
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        sizes = list(tiff.pages[0].databytecounts)
    last = len(sizes) - 1
    assert re.match("damaged|truncated", refusal(changed_segment(data, last, size=sizes[last] // 2)))
    if name:
        assert refusal(changed_segment(data, 1, 0)) == f"{name} of the TIFF is missing"  # without bytes it were sparse
        beyond = changed_segment(data, 1, len(data) - 1)
        assert refusal(beyond) == f"truncated: {name} of the TIFF reaches beyond the file's end"


def test_a_zeroed_jpeg_tile_of_a_tiff_is_refused() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    data = bytearray(save_tiff(noise, photometric="rgb", compression="jpeg", tile=(128, 128)))
    at = len(data) // 2
    data[at : at + 2000] = bytes(2000)
    assert re.match("damaged|truncated", refusal(bytes(data)))


def test_camera_raw_inside_a_tiff_is_refused_by_name() -> None:
    dng = save_tiff(np.zeros((4, 4), np.uint8), extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    assert refusal(dng).startswith("camera RAW (DNG): not supported here; develop it")
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        options = {"photometric": "rgb", "subfiletype": 1, "subifds": 1, "metadata": None}
        tiff.write(np.zeros((4, 4, 3), np.uint8), extratags=[(271, 2, 0, "NIKON CORPORATION", True)], **options)
        tiff.write(np.zeros((40, 40), np.uint16), photometric="minisblack")
    assert refusal(file.getvalue()).startswith("camera RAW (NIKON CORPORATION)")
