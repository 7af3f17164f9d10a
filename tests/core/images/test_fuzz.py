"""Damage that a seed decides, on files of every kind: refused with a reason, or read whole; never anything else.

`benchmarks/fuzz.py` is the long form.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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

SOUND = sound_files(40, 60)
MOST_PX = 1 << 22


def read_or_refuse(path: Path) -> bool:
    """Whether a file can be read; header, whole and window must agree about that and about the pixels."""
    try:
        image = read_image(str(path), max_pixels=MOST_PX)
    except UnreadableImage as error:
        refused = error
    else:
        refused = None
    if refused is not None:
        assert refused.reason.strip()
        assert "\n" not in refused.reason
        assert len(refused.reason) < 500
        assert not PROGRAMMERS.search(refused.reason)
        return False
    assert image.samples.dtype == np.uint8
    assert image.samples.shape == (*read_info(str(path), max_pixels=MOST_PX).shape, 3)
    with open_picture(str(path), max_pixels=MOST_PX) as picture:
        height, width = picture.info.shape
        window = picture.rgb(slice(0, min(8, height)), slice(0, min(8, width)))
    assert (window.samples == image.samples[:8, :8]).all()
    return True


@pytest.mark.parametrize("name", sorted(SOUND))
def test_the_files_are_sound_before_they_are_damaged(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SOUND[name])
    assert read_or_refuse(tmp_path / name)


def test_a_hundred_damaged_files_are_read_whole_or_refused(tmp_path: Path) -> None:
    refused = total = 0
    for name, data in damaged_files(SOUND, 100, seed=11):
        (tmp_path / name).write_bytes(data)
        refused += not read_or_refuse(tmp_path / name)
        total += 1
    assert total > 90
    assert refused > total // 2  # most damage does show


@pytest.mark.parametrize(
    "name", ["rgb.png", "deflate-tiles.tif", "baseline.jpg", "rgb.bmp", "palette.gif", "lossless.webp"]
)
def test_a_file_cut_short_is_never_taken_for_whole(name: str, tmp_path: Path) -> None:
    data = SOUND[name]
    for share in (0.0, 0.02, 0.3, 0.7, 0.95):
        (tmp_path / name).write_bytes(data[: int(len(data) * share)])
        assert not read_or_refuse(tmp_path / name)


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
    whole = read_image(str(tmp_path / "sound")).samples
    random = np.random.default_rng(5)
    refused = 0
    for i in range(60):
        write_damaged_zarr(tmp_path / "sound", tmp_path / f"{i}.zarr", random)
        refused += not read_or_refuse(tmp_path / f"{i}.zarr")
    assert whole.shape == (90, 120, 3)
    assert refused > 20
