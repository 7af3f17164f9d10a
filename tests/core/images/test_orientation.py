"""What a person sees is what is read."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from kseg_core.images import read_image, read_info
from kseg_core.images.tiff_directory import exif_orientation
from kseg_core.images.windows import turn_samples
from tests.pictures import TEXTURE, exif_of, read, same, save

#: How a picture is stored for each orientation, so that turning it back shows the picture: EXIF 2.3, 4.6.4.
STORED: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_one_picture_stored_in_8_orientations_gives_the_same_bits(orientation: int) -> None:
    stored, exif = STORED[orientation], exif_of(orientation)
    image = Image.fromarray(np.ascontiguousarray(stored(TEXTURE)))
    for form, options in [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]:
        same(read(save(image, form, exif=exif, **options)), TEXTURE[..., :3], TEXTURE[..., 3] > 0)
    # Blocks of one colour survive JPEG exactly, however they are turned.
    flat = np.repeat(np.repeat(TEXTURE[:6, :9, 0], 8, axis=0), 8, axis=1)
    upright = read(save(Image.fromarray(flat), "JPEG", quality=95)).samples
    same(read(save(Image.fromarray(np.ascontiguousarray(stored(flat))), "JPEG", quality=95, exif=exif)), upright)
    data = save(Image.fromarray(TEXTURE[..., :3].copy()), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as jpeg:
        same(read(data), np.asarray(ImageOps.exif_transpose(jpeg)))


def test_samples_of_any_type_are_turned_like_pictures() -> None:
    random = np.random.default_rng(2)
    for samples in (random.random((5, 7)) < 0.5, random.random((5, 7, 3)), random.integers(0, 9, (5, 7, 5), np.uint8)):
        for orientation, stored in STORED.items():
            turned = turn_samples(stored(samples), orientation)
            assert turned.dtype == samples.dtype
            np.testing.assert_array_equal(turned, samples)


def test_an_exif_chunk_behind_the_image_data_of_a_png_counts() -> None:
    data = save(Image.new("RGB", (3, 2)), "PNG", exif=exif_of(6))
    at = data.index(b"eXIf") - 4
    (length,) = struct.unpack_from(">I", data, at)
    chunk, end = data[at : at + 12 + length], data.index(b"IEND") - 4
    assert read(data[:at] + data[at + len(chunk) : end] + chunk + data[end:]).samples.shape == (3, 2, 3)


@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (None, 1),
        (b"", 1),
        (b"Exif\0\0", 1),
        (b"Exif\0\0XX*\0\x08\0\0\0", 1),
        (b"Exif\0\0II*\0\xff\xff\xff\xff", 1),
        (b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\3", 1),
        (b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\0\0\0", 1),
        (b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x09\0\0", 1),
        (b"MM\0*\0\0\0\x08\0\1\x01\x12\0\2\0\0\0\1\0\6\0\0", 1),
        (b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0", 6),
        (b"II*\0\x08\0\0\0\1\0\x12\x01\3\0\1\0\0\0\x08\0\0\0", 8),
    ],
)
def test_exif_of_both_byte_orders_is_read_and_a_broken_block_means_as_stored(
    exif: bytes | None, orientation: int
) -> None:
    assert exif_orientation(exif) == orientation


@pytest.mark.parametrize(("subject", "shape"), [("landscape", (450, 600)), ("portrait", (600, 450))])
def test_8_photographs_in_8_orientations_have_one_shape(
    data_folder: Path, subject: str, shape: tuple[int, int]
) -> None:
    pictures = []
    for number in range(1, 9):
        path = str(data_folder / "orientation" / f"{subject}_{number}.jpg")
        assert read_info(path).shape == shape
        pictures.append(read_image(path).samples.astype(int))
    # Each has its number printed on it and is compressed anew; what is left are a few levels.
    for picture in pictures[1:]:
        assert np.abs(picture - pictures[0]).mean() < 12
