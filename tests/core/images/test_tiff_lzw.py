"""LZW of TIFFs by libtiff: tifffile's samples of every layout, and what tifffile refuses is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from kseg_core.errors import UnreadableImage
from kseg_core.images import open_picture, tiff_lzw

WHOLE = (slice(None), slice(None))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 7])
def test_lzw_is_as_tifffile_decodes_it(tmp_path: Path, order: str, predictor: bool, dtype: str, bands: int) -> None:
    y, x, c = np.mgrid[0:50, 0:70, 0:bands]
    pixels = ((x * 5 + y * 3 + c * 17 + np.random.default_rng(1).integers(0, 9, x.shape)) % 251).astype(dtype)
    path = tmp_path / "picture.tif"
    layouts: list[dict[str, Any]] = [{"rowsperstrip": 16}, {"tile": (16, 32)}]
    if bands > 1:
        layouts = [{**layout, "planarconfig": "contig"} for layout in layouts]
        layouts.append({"rowsperstrip": 16, "planarconfig": "separate"})
    for layout in layouts:
        planar = layout.get("planarconfig") == "separate"
        stored = np.moveaxis(pixels, 2, 0) if planar else pixels.squeeze(axis=2) if bands == 1 else pixels
        options: dict[str, Any] = {**layout, "photometric": "minisblack", "byteorder": order, "predictor": predictor}
        tifffile.imwrite(path, stored, compression="lzw", **options)
        with open_picture(str(path)) as picture:
            found = picture.samples(*WHOLE, tuple(range(1, bands + 1)))[0]
        np.testing.assert_array_equal(found, pixels, err_msg=str(layout))


def test_libtiff_does_the_work_where_it_can(tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    for dtype, quick in (("uint8", True), ("uint16", True), ("float32", False)):
        pixels = (np.arange(3 * 64 * 64).reshape(64, 64, 3) % 251).astype(dtype)
        tifffile.imwrite(path, pixels, compression="lzw", predictor=True, photometric="rgb", rowsperstrip=64)
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            tiff.filehandle.seek(page.dataoffsets[0])
            decoded = tiff_lzw.decode_lzw(page, tiff.filehandle.read(page.databytecounts[0]), 64, 64)
        assert (decoded is not None) == quick
        if decoded is not None:
            np.testing.assert_array_equal(decoded, pixels)


def test_what_tifffile_refuses_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(3)
    pixels = random.integers(0, 60, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / "picture.tif"
    tifffile.imwrite(path, pixels, compression="lzw", photometric="rgb", rowsperstrip=64)
    with tifffile.TiffFile(path) as tiff:
        start, length = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    data = path.read_bytes()
    refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        for at in random.integers(start + 1, start + length, 3):
            damaged[at] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            judge = tifffile.imread(path)
        except Exception:
            judge = None
        try:
            with open_picture(str(path)) as picture:
                found = picture.samples(*WHOLE)[0]
        except UnreadableImage:
            refused += 1
        else:
            assert judge is not None
            np.testing.assert_array_equal(found, judge)
    assert refused > 20
    assert capfd.readouterr() == ("", "")
