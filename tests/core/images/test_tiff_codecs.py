"""TIFF that tifffile does not decode, or that is not decoded by it: fax codes, LZW, YCbCr, old-style JPEG, CIELAB."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from kseg_core.errors import UnreadableImage
from kseg_core.images import open_picture
from kseg_core.images.tiff_codecs import remarks_of
from tests.pictures import gdals, pillows, planar, read, refusal, same, save, save_tiff, smooth_noise, stored
from tests.tiffs import Number, picture_tags, tiff_of

CODES = ["group3", "group4", "tiff_ccitt"]


# --------------------------------------------------------------------------------------------------- fax codes


def fax(bits: NDArray[np.bool_], code: str, tmp_path: Path, **tags: Any) -> bytes:
    path = tmp_path / "fax.tif"
    Image.fromarray(bits).save(path, "TIFF", compression=code, **tags)
    return path.read_bytes()


@pytest.fixture
def bits() -> NDArray[np.bool_]:
    return np.random.default_rng(8).random((60, 200)) < 0.2


@pytest.mark.parametrize("code", CODES)
def test_fax_codes_that_end_early_or_lack_rows_are_refused(code: str, bits: NDArray[np.bool_], tmp_path: Path) -> None:
    """Group 4 may end by its end mark; a decoder that stops there has rows that nobody wrote."""
    whole = bytearray(fax(bits, code, tmp_path, tiffinfo={278: 60}))
    np.testing.assert_array_equal(read(bytes(whole)).samples[..., 0] != 0, bits)
    with tifffile.TiffFile(io.BytesIO(bytes(whole))) as tiff:
        rows, strip_rows, entry = (tiff.pages.first.tags[tag].valueoffset for tag in (257, 278, 279))
        (length,) = tiff.pages.first.databytecounts
    for cut in (length // 4, length // 2, length - 8):
        broken = whole[:entry] + struct.pack("<I", cut) + whole[entry + 4 :]
        assert refusal(bytes(broken)).startswith("damaged: fax codes")
    for place in (rows, strip_rows):
        whole[place : place + 2] = struct.pack("<H", 61)
    assert refusal(bytes(whole)).startswith("damaged: fax codes")


@pytest.mark.parametrize("code", CODES)
def test_windows_across_strips_of_fax_codes_are_parts_of_the_whole(
    code: str, bits: NDArray[np.bool_], tmp_path: Path
) -> None:
    path = tmp_path / "strips.tif"
    path.write_bytes(fax(bits, code, tmp_path, tiffinfo={278: 16}))
    with open_picture(str(path)) as picture:
        for rows, columns in np.s_[:, :], np.s_[0:1, 0:1], np.s_[15:17, 30:200], np.s_[40:60, 7:9]:
            np.testing.assert_array_equal(picture.rgb(rows, columns).samples[..., 0] != 0, bits[rows, columns])


@pytest.mark.parametrize("code", CODES)
def test_runs_of_all_lengths_are_read(code: str) -> None:
    lengths = [*range(1, 66), *range(127, 2561, 64), *range(128, 2561, 64), 2623, 2624, 5200]
    runs = np.zeros((2 * len(lengths), 2 + max(lengths)), np.bool_)
    for number, length in enumerate(lengths):
        runs[2 * number, 1 : 1 + length] = True
        runs[2 * number + 1] = ~runs[2 * number]
    random = np.random.default_rng(3)
    slanted = np.add.outer(3 * np.arange(11), np.arange(300)) % 40 < 13  # rows like those above them
    narrow = [random.random((9, width)) < 0.5 for width in (1, 7, 8, 9)]
    for bits in (runs, slanted, *narrow, np.zeros((3, 9), np.bool_), np.ones((3, 9), np.bool_)):
        image = read(save(Image.fromarray(bits), "TIFF", compression=code))
        np.testing.assert_array_equal(image.samples[..., 0], bits * np.uint8(255))


def test_invalid_fax_codes_are_refused_and_nothing_is_logged(
    bits: NDArray[np.bool_], tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    whole = bytearray(fax(bits, "group4", tmp_path, tiffinfo={278: 60}))
    whole[60:100] = bytes(40)
    caplog.set_level(logging.ERROR)  # as --log-level error does: findings must not depend on it
    assert refusal(bytes(whole)).startswith("damaged: fax codes")
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_damage_is_heard_by_every_thread_where_logging_is_off() -> None:
    logging.disable(logging.CRITICAL)
    try:
        with remarks_of("imagecodecs"):
            with remarks_of("imagecodecs"):
                pass
            assert logging.getLogger("imagecodecs").isEnabledFor(logging.WARNING)
        assert logging.root.manager.disable == logging.CRITICAL
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("fillorder", "photometric"), [(1, 0), (2, 1)])
@pytest.mark.parametrize("code", CODES)
def test_both_orders_of_bits_and_both_meanings_of_one(
    code: str, fillorder: int, photometric: int, bits: NDArray[np.bool_], tmp_path: Path
) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffFile(io.BytesIO(fax(bits, code, tmp_path, tiffinfo={278: 60}))) as tiff:
        page = tiff.pages[0]
        start, length = page.dataoffsets[0], page.databytecounts[0]
        options = page.tags.valueof(292, 0)
        tiff.filehandle.seek(start)
        data = tiff.filehandle.read(length)
        compression = int(page.compression)
    if fillorder == 2:
        data = bytes(imagecodecs.bitorder_decode(data))
    tags: dict[int, Sequence[Number]] = {
        256: [200], 257: [60], 258: [1], 259: [compression], 262: [photometric], 266: [fillorder], 277: [1], 278: [60],
        **({292: [options]} if compression == 3 else {}),
    }  # fmt: skip
    path.write_bytes(tiff_of(tags, [data]))
    ours = read(path.read_bytes()).samples
    judge = pillows(path.read_bytes())
    np.testing.assert_array_equal(ours, judge)


# --------------------------------------------------------------------------------------------------------- LZW


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int16", "uint32", "float32", "float64"]),
    bands=st.sampled_from([1, 2, 3, 4, 7]),
    layout=st.sampled_from([{"rowsperstrip": 16}, {"tile": (16, 32)}]),
    is_planar=st.booleans(),
    predictor=st.booleans(),
    order=st.sampled_from("<>"),
)
def test_lzw_is_as_tifffile_decodes_it(
    tmp_path: Path, dtype: str, bands: int, layout: dict[str, Any], is_planar: bool, predictor: bool, order: str
) -> None:
    y, x, c = np.mgrid[0:50, 0:70, 0:bands]
    pixels = ((x * 5 + y * 3 + c * 17 + np.random.default_rng(1).integers(0, 9, x.shape)) % 251).astype(dtype)
    stored = planar(pixels) if is_planar else pixels
    stored = stored.reshape(50, 70) if bands == 1 else stored
    options: dict[str, Any] = {**layout, "photometric": "minisblack", "byteorder": order, "predictor": predictor}
    if bands > 1:
        options["planarconfig"] = "separate" if is_planar else "contig"
    tifffile.imwrite(tmp_path / "x.tif", stored, compression="lzw", **options)
    with open_picture(str(tmp_path / "x.tif")) as picture:
        found = picture.samples(slice(None), slice(None), tuple(range(1, bands + 1)))[0]
    np.testing.assert_array_equal(found, pixels)


def test_lzw_of_integers_goes_to_libtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, decode = tmp_path / "x.tif", Mock(wraps=imagecodecs.tiff_decode)
    monkeypatch.setattr(imagecodecs, "tiff_decode", decode)
    for dtype in ("uint8", "uint16"):
        path.write_bytes(
            save_tiff(smooth_noise(64, 64).astype(dtype), compression="lzw", predictor=True, rowsperstrip=16)
        )
        with open_picture(str(path)) as picture:
            picture.samples(slice(0, 64), slice(0, 64))
    assert decode.call_count == 8


def test_lzw_that_tifffile_refuses_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    random, path = np.random.default_rng(3), tmp_path / "x.tif"
    pixels = random.integers(0, 60, (64, 64, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, compression="lzw", photometric="rgb", rowsperstrip=64)
    with tifffile.TiffFile(path) as tiff:
        start, length = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    data, refused = path.read_bytes(), 0
    for _ in range(60):
        damaged = bytearray(data)
        for at in random.integers(start + 1, start + length, 3):
            damaged[at] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            with open_picture(str(path)) as picture:
                found = picture.samples(slice(None), slice(None))[0]
        except UnreadableImage:
            refused += 1
        else:
            np.testing.assert_array_equal(found, tifffile.imread(path))
    assert refused > 20
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------------------------------------------- YCbCr


def subsampled(ycbcr: NDArray[np.uint8], across: int, down: int) -> bytes:
    """Blocks of lumas, Cb, Cr."""
    height, width = ycbcr.shape[:2]
    full = np.pad(ycbcr, ((0, -height % down), (0, -width % across), (0, 0)), "edge")
    rows, columns = full.shape[0] // down, full.shape[1] // across
    blocks = full.reshape(rows, down, columns, across, 3).transpose(0, 2, 1, 3, 4)
    lumas = blocks[..., 0].reshape(rows, columns, -1)
    return np.concatenate([lumas, blocks[:, :, 0, 0, 1:]], axis=-1).tobytes()


PACKERS: dict[int, Callable[[bytes], bytes]] = {
    1: bytes,
    5: lambda data: bytes(imagecodecs.lzw_encode(data)),
    8: zlib.compress,
    32773: lambda data: bytes(imagecodecs.packbits_encode(data)),
}


@pytest.mark.parametrize(
    ("across", "down", "compression"), [(1, 2, 1), (2, 1, 5), (2, 2, 8), (4, 1, 32773), (4, 2, 8), (4, 4, 1)]
)
def test_subsampled_ycbcr_is_what_libtiff_makes_of_it(across: int, down: int, compression: int, tmp_path: Path) -> None:
    ycbcr = np.array(Image.fromarray(smooth_noise(37, 43)).convert("YCbCr"))
    strips = [PACKERS[compression](subsampled(ycbcr[top : top + 16], across, down)) for top in range(0, 37, 16)]
    tags = {**picture_tags(37, 43, 16, compression, 6, 3), 530: [across, down]}
    path = tmp_path / "x.tif"
    path.write_bytes(tiff_of(tags, strips))
    ours = read(path.read_bytes()).samples
    blocks = ycbcr[::down, ::across].repeat(down, axis=0).repeat(across, axis=1)[:37, :43]
    judge = Image.fromarray(np.dstack([ycbcr[..., 0], blocks[..., 1:]]), "YCbCr").convert("RGB")
    assert np.abs(ours.astype(int) - np.array(judge)).max() <= 2
    if down < 4:  # of four rows libtiff 4.7 gets the last ones of each strip wrong
        assert np.abs(ours.astype(int) - gdals(path)).max() <= 2
    with open_picture(str(path)) as picture:
        np.testing.assert_array_equal(picture.rgb(slice(15, 34), slice(5, 40)).samples, ours[15:34, 5:40])
    short = [strips[0], strips[1][: len(strips[1]) // 2], strips[2]]
    assert refusal(tiff_of(tags, short)).startswith(("truncated", "damaged"))


def test_the_pages_own_coefficients_and_ranges_are_used(tmp_path: Path) -> None:
    ycbcr = np.array(Image.fromarray(smooth_noise(16, 16)).convert("YCbCr")).clip(16, 235)
    coefficients = [(2126, 10000), (7152, 10000), (722, 10000)]
    ranges = [(16, 1), (235, 1), (128, 1), (240, 1), (128, 1), (240, 1)]
    tags = {**picture_tags(16, 16, 16, 1, 6, 3), 529: coefficients, 530: [2, 2], 532: ranges}
    path = tmp_path / "x.tif"
    path.write_bytes(tiff_of(tags, [subsampled(ycbcr, 2, 2)]))
    assert np.abs(read(path.read_bytes()).samples.astype(int) - gdals(path)).max() <= 3  # libtiff rounds on the way


def test_subsampling_that_is_stated_of_rgb_means_nothing() -> None:
    rgb = smooth_noise(10, 12)
    tags = {**picture_tags(10, 12, 10, 1, 2, 3), 530: [2, 2]}
    same(read(tiff_of(tags, [rgb.tobytes()])), rgb)


def test_three_bands_that_are_not_said_to_be_colours_are_rgb() -> None:
    rgb = smooth_noise(10, 12)
    tags = {tag: values for tag, values in picture_tags(10, 12, 10, 1, 2, 3).items() if tag != 262}
    same(read(tiff_of(tags, [rgb.tobytes()])), rgb)


def test_a_colour_map_of_few_colours_is_damage() -> None:
    """Its indices would be black, or gray, as each reader pleases."""
    indices = np.arange(16, dtype=np.uint8)
    colours = np.random.default_rng(0).integers(0, 256, (3, 256))
    tags = {**picture_tags(4, 4, 4, 1, 3, 1), 320: [int(value) * 257 for value in colours.ravel()]}
    np.testing.assert_array_equal(read(tiff_of(tags, [indices.tobytes()])).samples.reshape(16, 3), colours.T[:16])
    assert "colour map" in refusal(tiff_of({**tags, 320: [7] * 30}, [indices.tobytes()]))


def test_a_list_of_sizes_that_is_not_there_is_not_taken_for_sparse() -> None:
    gray = smooth_noise(10, 12)[..., 0]
    for compression, data in ((1, gray.tobytes()), (8, zlib.compress(gray.tobytes()))):
        whole = tiff_of(picture_tags(10, 12, 10, compression, 1, 1), [data])
        at = whole.rindex(struct.pack("<HHI", 279, 3, 1))
        without = whole[:at] + struct.pack("<H", 283) + whole[at + 2 :]  # a resolution, of all things
        if compression == 1:
            np.testing.assert_array_equal(read(without).samples[..., 0], gray)
        else:
            assert refusal(without).startswith("damaged")


def test_planes_of_subsampled_chroma_are_not_called_damaged() -> None:
    tags = {**picture_tags(8, 8, 8, 1, 6, 3), 284: [2], 530: [2, 2]}
    assert "not supported here" in refusal(tiff_of(tags, [bytes(64), bytes(16), bytes(16)]))


# ------------------------------------------------------------------------------------- old-style JPEG, Deflate, names


def old_jpeg(
    rgb: NDArray[np.uint8], more: dict[int, Sequence[Number]] | None = None
) -> tuple[bytes, NDArray[np.uint8]]:
    """A TIFF whose only strip is a whole JPEG, and what Pillow makes of that JPEG."""
    stream = save(Image.fromarray(rgb), "JPEG", quality=92, subsampling=0)
    tags = {**picture_tags(*rgb.shape[:2], len(rgb), 6, 6, 3), 512: [1], 513: [8], 514: [len(stream)], 530: [1, 1]}
    return tiff_of({**tags, **(more or {})}, [stream]), pillows(stream)


def test_old_style_jpeg_is_read_whole_and_by_windows_and_damage_to_it_is_seen(tmp_path: Path) -> None:
    data, expected = old_jpeg(smooth_noise(64, 80))
    path = tmp_path / "x.tif"
    path.write_bytes(data)
    assert np.abs(stored(path).samples.astype(int) - expected).max() <= 2
    middle = data.index(b"\xff\xda") + 200
    for broken in (
        data[:middle] + bytes(300) + data[middle + 300 :],
        data[:middle] + b"\xff\xd9" * 100 + data[middle + 200 :],
    ):
        assert "damaged" in refusal(broken)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_old_style_jpeg_is_turned_once(orientation: int) -> None:
    data, plain = old_jpeg(smooth_noise(64, 80), {274: [orientation]})
    judge = Image.fromarray(plain)
    judge.getexif()[274] = orientation
    expected = np.array(ImageOps.exif_transpose(judge))
    found = read(data).samples
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_old_style_jpeg_is_not_turned_by_what_is_no_whole_number() -> None:
    rgb = smooth_noise(64, 80)
    whole, plain = old_jpeg(rgb, {274: [6]})
    as_text = whole.replace(struct.pack("<HHI", 274, 3, 1), struct.pack("<HHI", 274, 2, 1))
    assert read(whole).samples.shape == (80, 64, 3)
    for odd in (as_text, old_jpeg(rgb, {274: [(6, 1)]})[0], old_jpeg(rgb, {274: [6, 6]})[0]):
        assert np.abs(read(odd).samples.astype(int) - plain).max() <= 2


@pytest.mark.parametrize(("order", "big", "wanted"), [("<", False, 0), (">", False, 1), ("<", True, 2), (">", True, 3)])
def test_old_style_jpeg_is_that_of_its_page_wherever_the_page_is(
    order: str, big: bool, wanted: int, tmp_path: Path
) -> None:
    """Of a page, the one below it, the next, and the one below that one is of full resolution; all are turned."""
    streams = [
        save(Image.fromarray(smooth_noise(64, 80, seed)), "JPEG", quality=92, subsampling=0) for seed in range(4)
    ]
    path = tmp_path / "pages.tif"
    places = [(274, "H", 1, 3, True), (513, "I", 1, 1, True), (514, "I", 1, 1, True)]
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=big) as writer:
        for number in range(4):
            writer.write(
                np.zeros((64, 80, 3), np.uint8), photometric="ycbcr", subsampling=(1, 1), metadata=None,
                subifds=1 - number % 2, subfiletype=int(number != wanted), rowsperstrip=64, extratags=places,
            )  # fmt: skip
    start = path.stat().st_size
    path.write_bytes(path.read_bytes() + b"".join(streams))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for page, stream in zip((each for top in tiff.pages for each in (top, top.pages[0])), streams, strict=True):
            for code, value in {259: 6, 273: start, 279: len(stream), 513: start, 514: len(stream)}.items():
                page.tags[code].overwrite(value)
            start += len(stream)
    expected = pillows(streams[wanted])[::-1, ::-1]
    assert np.abs(read(path.read_bytes()).samples.astype(int) - expected).max() <= 2


def test_surplus_after_deflate_is_passed_over_and_a_wrong_checksum_is_not() -> None:
    rgb = smooth_noise(16, 20)
    tags = picture_tags(16, 20, 16, 8, 2, 3)
    for surplus in (1, 60, 5000):
        data = zlib.compress(rgb.tobytes() + bytes(surplus))
        same(read(tiff_of(tags, [data])), rgb)
        broken = data[:-1] + bytes([data[-1] ^ 1])
        assert refusal(tiff_of(tags, [broken])).startswith("damaged")
    assert refusal(tiff_of(tags, [zlib.compress(rgb.tobytes()[:-1])])).startswith(("damaged", "truncated"))


@pytest.mark.parametrize("compression", [9, 10, 32766, 32809, 34661, 34715, 64999])
def test_compressions_without_a_decoder_are_not_called_damaged(compression: int) -> None:
    reason = refusal(tiff_of(picture_tags(4, 4, 4, compression, 1, 1), [bytes(16)]))
    assert "not supported here" in reason
    assert str(compression) in reason
    assert not reason.startswith("damaged")


@pytest.mark.parametrize(("photometric", "name"), [(32844, "LogL"), (32845, "LogLuv"), (10, "ITULAB")])
def test_colours_that_are_not_read_are_named(photometric: int, name: str) -> None:
    reason = refusal(tiff_of(picture_tags(4, 4, 4, 1, photometric, 3), [bytes(48)]))
    assert name in reason
    assert "not supported here" in reason


# ----------------------------------------------------------------------------------------------------- CIELAB


@pytest.mark.parametrize("photometric", [8, 9])
@pytest.mark.parametrize("wide", [False, True])
def test_cielab_is_the_colour_that_littlecms_encoded(photometric: int, wide: bool) -> None:
    rgb = smooth_noise(24, 32)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    there = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    encoded = ImageCms.applyTransform(Image.fromarray(rgb), there)
    assert encoded is not None
    values = np.array(encoded)  # a* and b* signed
    if photometric == 9:
        values[..., 1:] ^= 128
    samples: NDArray[Any] = values
    if wide:
        samples = values.astype(np.uint16) << 8  # signed and offset values alike
        samples[..., 0] = (values[..., 0].astype(np.float64) * (0xFF00 if photometric == 9 else 0xFFFF) / 255).round()
    tags = {**picture_tags(24, 32, 24, 1, photometric, 3), 258: [16 if wide else 8] * 3}
    off = np.abs(read(tiff_of(tags, [samples.tobytes()])).samples.astype(int) - rgb)
    assert off.max() <= 8  # a step of L*, a* or b* of 8 bits is so much in dark or vivid colours
    assert off.mean() < 1
