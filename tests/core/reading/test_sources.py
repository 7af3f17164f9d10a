"""Which pictures' pixels are kept for the second reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kseg_core.config import InputSettings
from kseg_core.inputs.listing import list_inputs
from kseg_core.memory import kept_bytes
from kseg_core.reading.decoded import keeping
from kseg_core.reading.sources import ImageSource


def source(path: Path) -> ImageSource:
    (file,) = list_inputs([str(path)]).files
    return ImageSource.open(file, InputSettings())


@pytest.fixture
def smooth(tmp_path: Path) -> ImageSource:
    """A large photograph that a decoder is done with in no time: 100 KB for nine megapixels."""
    ramp = np.linspace(0, 255, 3000).astype(np.uint8)
    Image.fromarray(np.dstack([np.tile(ramp, (3000, 1))] * 3)).save(tmp_path / "smooth.jpg")
    return source(tmp_path / "smooth.jpg")


@pytest.fixture
def noisy(tmp_path: Path) -> ImageSource:
    """One whose every pixel costs a decoder time."""
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noisy.jpg", quality=95)
    return source(tmp_path / "noisy.jpg")


def test_what_is_decoded_quickly_is_decoded_again(smooth: ImageSource) -> None:
    (piece,) = smooth.pieces(1024)
    with keeping(1 << 30):
        assert piece.read() is not piece.read()
    assert kept_bytes(smooth, 0) == 0


def test_what_takes_time_to_decode_is_kept(noisy: ImageSource) -> None:
    (piece,) = noisy.pieces(1024)
    with keeping(1 << 30):
        assert piece.read() is piece.read()
    assert kept_bytes(noisy, 0) == 1500 * 1500 * 4


def test_small_pictures_are_kept_as_opening_their_files_takes_longest(tmp_path: Path) -> None:
    Image.new("RGB", (480, 320)).save(tmp_path / "small.jpg")
    assert source(tmp_path / "small.jpg").worth_keeping(as_bands=False)


def test_bands_are_kept_as_they_are_read_more_than_twice(smooth: ImageSource) -> None:
    assert smooth.worth_keeping(as_bands=True)
    (piece,) = smooth.pieces(1024)
    with keeping(1 << 30):
        assert piece.read((1, 2, 3)) is piece.read((1, 2, 3))
