"""Headers of a few bytes that state terabytes are refused at once, by name; what is large but possible is not."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from kseg_core.errors import UnreadableImage
from kseg_core.images import open_picture, read_info
from tests.pictures import png_of, refusal, save

Entry = tuple[int, int, int, int]
SHORT, LONG, LONG8 = 3, 4, 16


def tiff_header(*changes: Entry, big: bool = False, tail: bytes = b"") -> bytes:
    """A TIFF that is little more than its directory; ``changes`` are (tag, type, count, value)."""
    plain: list[Entry] = [
        (256, LONG, 1, 100), (257, LONG, 1, 100), (258, SHORT, 1, 8), (259, SHORT, 1, 1), (262, SHORT, 1, 1),
        (273, LONG, 1, 8), (277, SHORT, 1, 1), (278, LONG, 1, 100), (279, LONG, 1, 10_000),
    ]  # fmt: skip
    entries = {entry[0]: entry for entry in [*plain, *changes] if entry[1]}
    for change in changes:
        if not change[1]:
            entries.pop(change[0], None)
    packed = b"".join(struct.pack("<HHQQ" if big else "<HHII", *entry) for _, entry in sorted(entries.items()))
    if big:
        return struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(entries)) + packed + bytes(8) + tail
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + packed + bytes(4) + tail


WITHOUT_STRIPS: tuple[Entry, ...] = ((273, 0, 0, 0), (278, 0, 0, 0), (279, 0, 0, 0))
IMPOSSIBLE = {
    "a sparse line": tiff_header(
        (256, LONG, 1, 2_100_000_000), (257, LONG, 1, 1), (273, LONG, 1, 0), (279, LONG, 1, 0)
    ),
    "a list of exabytes": tiff_header(
        (257, LONG, 1, 1_632_895_392), (273, LONG8, 8029758706415666848, 8029759185026510703), big=True
    ),
    "tiles of one pixel": tiff_header(
        *WITHOUT_STRIPS, (256, LONG, 1, 60_000), (257, LONG, 1, 60_000),
        (322, SHORT, 1, 1), (323, SHORT, 1, 1), (324, LONG, 1, 0), (325, LONG, 1, 0),
    ),
    "a list beyond the end": tiff_header((273, LONG, 5000, 8), (279, LONG, 5000, 8), (278, LONG, 1, 1)),
    "plain pixels that are not there": tiff_header((256, LONG, 1, 100_000), (257, LONG, 1, 5000), (278, LONG, 1, 5000)),
    "deflate of a few bytes": tiff_header(
        (256, LONG, 1, 16_000), (257, LONG, 1, 16_000), (259, SHORT, 1, 8), (279, LONG, 1, 90), (278, LONG, 1, 16_000)
    ),
    "a height of two numbers": tiff_header((257, SHORT, 2, 7)),
    "a width of letters": tiff_header((256, 2, 1, 7)),
    "a directory beyond the end": tiff_header()[:60],
    "a PNG of nothing": png_of(
        [
            (b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(100))),
            (b"IEND", b""),
        ]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_is_refused_by_its_header(tmp_path: Path, name: str) -> None:
    path = tmp_path / "tiny"
    path.write_bytes(IMPOSSIBLE[name])
    with pytest.raises(UnreadableImage, match=r"damaged|truncated"):
        read_info(str(path))


def test_small_jpegs_and_gifs_of_many_pixels_are_refused() -> None:
    for kind in ("JPEG", "GIF"):
        data = bytearray(save(Image.fromarray(np.zeros((8, 8), np.uint8)), kind))
        if kind == "JPEG":
            at = data.index(b"\xff\xc0") + 5
            data[at : at + 4] = struct.pack(">HH", 20_000, 20_000)
        else:
            at = data.index(b",", 13 + (6 << (data[10] & 7))) + 5
            data[at : at + 4] = data[6:10] = struct.pack("<HH", 8000, 8000)
        assert "cannot hold" in refusal(bytes(data))


def test_an_array_of_chunks_that_are_not_there_is_refused_and_a_sparse_scene_is_not(tmp_path: Path) -> None:
    for name, side, refused in (("nothing", 10**9, True), ("scene", 40_000, False)):
        array = zarr.create_array(str(tmp_path / name), shape=(2000, 2000), chunks=(1000, 1000), dtype="u1")
        array[:1000, :1000] = 1
        document = json.loads((tmp_path / name / "zarr.json").read_text())
        document["shape"] = [side, side]
        (tmp_path / name / "zarr.json").write_text(json.dumps(document))
        if refused:
            with pytest.raises(UnreadableImage, match="empty"):
                read_info(str(tmp_path / name))
        else:
            assert read_info(str(tmp_path / name)).shape == (side, side)


@pytest.mark.parametrize("compression", ["deflate", "lzw", "packbits"])
def test_what_compresses_best_is_read(tmp_path: Path, compression: Any) -> None:
    """Constant pixels beyond what costs nothing to plan: as far as each codec can go."""
    path = tmp_path / "flat.tif"
    tifffile.imwrite(path, np.full((4200, 4200), 7, np.uint8), compression=compression, rowsperstrip=1000)
    with open_picture(str(path)) as picture:
        samples, _ = picture.samples(slice(4190, 4200), slice(0, 4200))[:2]
    assert (samples == 7).all()


@pytest.mark.parametrize(("side", "chunk"), [(10**9, 1000), (10**9, 10**9)])
def test_a_zipped_array_of_nothing_and_chunks_without_bound_are_refused(tmp_path: Path, side: int, chunk: int) -> None:
    zarr.create_array(str(tmp_path / "a"), shape=(10, 10), chunks=(5, 5), dtype="u1")
    document = json.loads((tmp_path / "a/zarr.json").read_text())
    document["shape"], document["chunk_grid"]["configuration"]["chunk_shape"] = [side] * 2, [chunk] * 2
    (tmp_path / "a/zarr.json").write_text(json.dumps(document))
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as packed:
        packed.writestr("zarr.json", json.dumps(document))
    for name in ("a", "a.zarr.zip"):
        with pytest.raises(UnreadableImage, match="damaged"):
            read_info(str(tmp_path / name))


def test_a_virtual_raster_of_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.vrt"
    size = 'rasterXSize="2000000000" rasterYSize="2000000000"'
    path.write_text(f'<VRTDataset {size}><VRTRasterBand dataType="Byte" band="1"></VRTRasterBand></VRTDataset>')
    with pytest.raises(UnreadableImage, match="empty"):
        read_info(str(path))
