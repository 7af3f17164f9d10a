"""Fax codes: every run length."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import Pixels

Read = Callable[[bytes], Pixels]
Save = Callable[..., bytes]
CODES = ["group3", "group4", "tiff_ccitt"]


def check(read: Read, save: Save, bits: NDArray[np.bool_], code: str) -> None:
    image = read(save(Image.fromarray(bits), "TIFF", compression=code))
    np.testing.assert_array_equal(image.samples[..., 0], bits * np.uint8(255))


@pytest.mark.parametrize("code", CODES)
def test_runs_of_all_lengths_are_read(read: Read, save: Save, code: str) -> None:
    lengths = [*range(1, 66), *range(127, 2561, 64), *range(128, 2561, 64), 2623, 2624, 5200]
    width = 2 + max(lengths)
    rows = np.zeros((2 * len(lengths), width), np.bool_)
    for number, length in enumerate(lengths):
        rows[2 * number, 1 : 1 + length] = True
        rows[2 * number + 1] = ~rows[2 * number]
    check(read, save, rows, code)


@pytest.mark.parametrize("code", CODES)
def test_pictures_of_all_kinds_are_read(read: Read, save: Save, code: str) -> None:
    random = np.random.default_rng(3)
    for width in (1, 7, 8, 9, 300):
        check(read, save, random.random((9, width)) < 0.5, code)
        slanted = np.add.outer(3 * np.arange(11), np.arange(width)) % 40 < 13  # rows like those above them
        check(read, save, slanted, code)
        for value in (False, True):
            check(read, save, np.full((3, width), value), code)
