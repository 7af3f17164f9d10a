"""A part of a picture is the same pixels as in the whole of it, and costs no more than its share."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from kseg_core.errors import UnreadableImage
from kseg_core.images import open_picture, read_image, read_info
from kseg_core.images.decoder import Opening
from kseg_core.images.tiff import Tiff
from kseg_core.images.windows import Window
from tests.core.images.test_damage import changed_segment
from tests.pictures import SAMPLES, WHOLE, counts, planar, save, save_tiff, stored, windows_of

DTYPES = [
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
]  # fmt: skip


def scene(dtype: str = "uint8", bands: int = 3, height: int = 70, width: int = 90) -> NDArray[Any]:
    """Smooth enough for predictors, different everywhere; negative and fractional where the dtype may."""
    y, x, c = np.mgrid[0:height, 0:width, 0:bands]
    values = (x * 5 + y * 3 + c * 17 + np.random.default_rng(1).integers(0, 9, (height, width, bands))) % 251
    return (values - (100 if dtype[0] in "if" else 0)).astype(dtype) * np.dtype(dtype).type(
        1.5 if dtype[0] == "f" else 1
    )


def save_as(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def check_samples(path: str, data: NDArray[Any], block: tuple[int, int] | None) -> None:
    """Windows of all kinds, of all bands and of some of them."""
    with open_picture(path) as picture:
        info = picture.info
        assert (info.shape, info.bands, info.dtype) == (data.shape[:2], data.shape[2], str(data.dtype))
        assert info.block == block
        assert info == read_info(path)
        for rows, columns in windows_of(*data.shape[:2]):
            for bands in (None, (data.shape[2], 1)):
                values, valid = picture.samples(rows, columns, bands)[:2]
                expected = data[rows, columns] if bands is None else data[rows, columns][..., [bands[0] - 1, 0]]
                np.testing.assert_array_equal(values, expected)
                assert values.dtype == data.dtype
                assert values.flags.c_contiguous
                assert valid is None


# ---------------------------------------------------------------------------------------------------------- samples


@pytest.mark.parametrize(
    ("layout", "block", "compression", "planes"),
    [
        ({"tile": (16, 32)}, (16, 32), None, "contig"),
        ({"tile": (16, 32)}, (16, 32), "zlib", "separate"),
        ({"tile": (128, 112)}, (128, 112), "lzw", "contig"),  # larger than the picture
        ({"tile": (128, 112)}, (128, 112), None, "separate"),
        ({"rowsperstrip": 7}, (7, 90), None, "separate"),
        ({"rowsperstrip": 7}, (7, 90), "zstd", "contig"),
        ({"rowsperstrip": 1}, (1, 90), None, "contig"),
        ({"rowsperstrip": 1}, (1, 90), "zlib", "separate"),
    ],
    ids=str,
)
def test_tiffs_of_all_layouts(
    tmp_path: Path, layout: dict[str, Any], block: tuple[int, int], compression: str | None, planes: str
) -> None:
    data = scene("int16", 5)
    predictor = compression is not None and compression != "zstd"
    options = {"photometric": "minisblack", "planarconfig": planes, "predictor": predictor, **layout}
    file = save_tiff(planar(data) if planes == "separate" else data, compression=compression, **options)
    check_samples(save_as(tmp_path / "x", file), data, block)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiffs_of_all_dtypes_and_byte_orders(tmp_path: Path, dtype: str) -> None:
    data, packed = scene(dtype, 2), {"compression": "zlib", "tile": (32, 16)}
    for order, bigtiff in (("<", True), (">", False)):
        base = {"photometric": "minisblack", "planarconfig": "contig", "bigtiff": bigtiff, "byteorder": order}
        for options, block in (
            ({"rowsperstrip": 70}, (70, 90)),
            ({**packed, "predictor": 3 if dtype[0] == "f" else 2}, (32, 16)),
            (packed, (32, 16)),
        ):
            check_samples(save_as(tmp_path / "x", save_tiff(data, **base, **options)), data, block)


@pytest.mark.parametrize("axes", ["TZCYX", "CYX", "CZTYX", "ZYXS"])
def test_ome_tiffs_at_t_0_and_z_0(tmp_path: Path, axes: str) -> None:
    data = scene("uint16", 3 if "S" in axes else 6)
    stack = np.zeros([{"Y": 70, "X": 90, "C": 6, "S": 3}.get(axis, 2) for axis in axes], np.uint16)
    stack[tuple(slice(None) if axis in "CYXS" else 0 for axis in axes)] = data if "S" in axes else planar(data)
    photometric = "rgb" if "S" in axes else "minisblack"
    file = save_tiff(stack, ome=True, metadata={"axes": axes}, photometric=photometric, tile=(32, 32))
    check_samples(save_as(tmp_path / "x", file), data, (32, 32))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations(tmp_path: Path, orientation: int) -> None:
    tag = [(274, 3, 1, orientation, True)]
    layouts: dict[tuple[int, int] | None, dict[str, Any]] = {
        (16, 32): {"tile": (16, 32)}, (7, 90): {"rowsperstrip": 7}, None: {"compression": "zlib", "rowsperstrip": 70}
    }  # fmt: skip
    for block, layout in layouts.items():
        path = save_as(tmp_path / "x", save_tiff(scene(), photometric="rgb", extratags=tag, **layout))
        check_samples(path, read_image(path).samples, block[::-1] if block and orientation >= 5 else block)
        stored(path)


def test_alpha_says_what_is_valid_and_is_a_band_only_when_asked_for(tmp_path: Path) -> None:
    data = scene("uint16", 4)
    data[:20, :30, 3] = 0
    for written, planes in ((data, "contig"), (planar(data), "separate")):
        options = {"extrasamples": ["unassalpha"], "planarconfig": planes, "tile": (16, 16)}
        path = save_as(tmp_path / "x", save_tiff(written, photometric="rgb", **options))
        with open_picture(path) as picture:
            for bands, expected in ((None, data[..., :3]), ((2,), data[..., 1:2]), ((4, 1), data[..., [3, 0]])):
                values, valid = picture.samples(*WHOLE, bands)[:2]
                np.testing.assert_array_equal(values, expected)
                np.testing.assert_array_equal(valid, data[..., 3] != 0)
            with pytest.raises(UnreadableImage, match="it has no band 5, only 4"):
                picture.samples(*WHOLE, (1, 5))


def test_bits_are_samples_of_0_and_1(tmp_path: Path) -> None:
    bits = scene()[..., 0] > 120
    path = save_as(tmp_path / "x", save(Image.fromarray(bits), "TIFF", compression="group4"))
    assert read_info(path).dtype == "uint8"
    with open_picture(path) as picture:
        values, _ = picture.samples(slice(3, 50), slice(20, 80))[:2]
        np.testing.assert_array_equal(values[..., 0], bits[3:50, 20:80].astype(np.uint8))


# -------------------------------------------------------------------------------------------------------------- rgb


def parts_of(size: int) -> st.SearchStrategy[slice]:
    """Any part of so many rows or columns."""
    ends = st.lists(st.integers(0, size), min_size=2, max_size=2, unique=True)
    return ends.map(lambda at: slice(*sorted(at)))


@pytest.mark.parametrize("kind", SAMPLES)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_window_is_a_slice_of_the_whole(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    path = save_as(tmp_path / "x", SAMPLES[kind])
    whole = read_image(path)
    with open_picture(path) as picture:
        height, width = picture.info.shape
        for rows, columns in data.draw(st.lists(st.tuples(parts_of(height), parts_of(width)), min_size=3, max_size=5)):
            part = picture.rgb(rows, columns)
            np.testing.assert_array_equal(part.samples, whole.samples[rows, columns])
            assert part.samples.flags.c_contiguous
            assert part.samples.flags.writeable
            valid = counts(whole.valid, (height, width))[rows, columns]
            np.testing.assert_array_equal(counts(part.valid, part.samples.shape), valid)
            part.samples[...] = 77  # the next one must not see this
            np.testing.assert_array_equal(picture.rgb(rows, columns).samples, whole.samples[rows, columns])
            if kind in ("png palette", "gif", "gif animated"):
                with pytest.raises(UnreadableImage, match="use --features rgb"):
                    picture.samples(rows, columns)
            else:
                some = picture.samples(rows, columns).samples
                np.testing.assert_array_equal(some, picture.samples(*WHOLE).samples[rows, columns])
                assert str(some.dtype) == picture.info.dtype


@pytest.mark.parametrize(
    ("kind", "bands", "dtype"),
    [("jpeg", 3, "uint8"), ("jpeg gray", 1, "uint8"), ("jpeg CMYK", 4, "uint8"), ("png", 3, "uint8"),
     ("png palette", 1, "uint8"), ("png RGBA", 4, "uint8"), ("png 16", 3, "uint16"), ("png 1", 1, "uint8"),
     ("gif", 1, "uint8"), ("bmp", 3, "uint8"), ("bmp palette", 3, "uint8"), ("webp lossless", 4, "uint8"),
     ("webp lossy", 3, "uint8"), ("webp animated", 4, "uint8")],
)  # fmt: skip
def test_what_headers_say_of_bands(tmp_path: Path, kind: str, bands: int, dtype: str) -> None:
    info = read_info(save_as(tmp_path / "x", SAMPLES[kind]))
    assert (info.bands, info.dtype, info.block, info.nodata) == (bands, dtype, None, None)


@pytest.mark.parametrize(
    ("photometric", "planes"),
    [("rgb", "contig"), ("rgb", "separate"), ("ycbcr", "contig"), ("minisblack", None)],
)
def test_jpeg_tiles(tmp_path: Path, photometric: str, planes: str | None) -> None:
    data = scene(bands=1)[..., 0] if planes is None else planar(scene()) if planes == "separate" else scene()
    options = {"compression": "jpeg", "tile": (32, 48), "photometric": photometric, "planarconfig": planes}
    path = save_as(tmp_path / "x", save_tiff(data, **options))
    whole = read_image(path).samples
    np.testing.assert_array_equal(np.broadcast_to(stored(path).samples, whole.shape), whole)


def test_nodata_is_found_in_what_is_stored(tmp_path: Path) -> None:
    wide = scene("uint16") * np.uint16(200)
    wide[5:9, 6:10] = 7
    wide[20, 20, 0] = 7  # one band alone is not enough
    file = save_tiff(wide, photometric="rgb", tile=(16, 16), extratags=[(42113, 2, 2, "7", True)])
    path = save_as(tmp_path / "x", file)
    assert read_info(path).nodata == 7
    expected = np.ones((70, 90), np.bool_)
    expected[5:9, 6:10] = False
    with open_picture(path) as picture:
        np.testing.assert_array_equal(picture.rgb(*WHOLE, nodata=7).valid, expected)
        np.testing.assert_array_equal(picture.rgb(slice(4, 30), slice(8, 60), nodata=7).valid, expected[4:30, 8:60])
        for value in (None, 8, 7.5, float("nan"), -1, 1e9):
            assert picture.rgb(*WHOLE, nodata=value).valid is None


def test_nodata_of_a_palette_is_an_index(tmp_path: Path) -> None:
    image = Image.fromarray(scene()).quantize(16)
    image.save(tmp_path / "x.png")
    with open_picture(str(tmp_path / "x.png")) as picture:
        np.testing.assert_array_equal(picture.rgb(*WHOLE, nodata=3).valid, np.asarray(image) != 3)


@pytest.mark.parametrize(
    ("text", "value"), [("nan", float("nan")), (" -9999 ", -9999), ("1e20", 1e20), ("none at all", None)]
)
def test_the_nodata_tag_is_a_text(tmp_path: Path, text: str, value: float | None) -> None:
    tag = [(42113, 2, len(text) + 1, text, True)]
    path = save_as(tmp_path / "x", save_tiff(scene("float32"), photometric="minisblack", extratags=tag))
    np.testing.assert_equal(read_info(path).nodata, value)


def test_masks_are_read_from_any_kind_of_file(tmp_path: Path) -> None:
    used = scene()[..., 0] > 120
    rgba = np.dstack([used * 255, used * 0, used * 0, np.full(used.shape, 255)]).astype(np.uint8)
    gray = Image.fromarray(used.astype(np.uint8) * 2)
    indexed = Image.frombytes("P", gray.size, gray.tobytes())
    indexed.putpalette([9, 9, 9, 0, 0, 0, 5, 5, 5])
    pictures = (gray, Image.fromarray(used), indexed, Image.fromarray(rgba))
    for file in (
        *(save(picture, "PNG") for picture in pictures),
        save_tiff(used.astype(np.float32) / 7, tile=(16, 16)),
        save_tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]),
    ):
        with open_picture(save_as(tmp_path / "x", file)) as picture:
            np.testing.assert_array_equal(picture.nonzero(slice(5, 60), slice(9, 77)), used[5:60, 9:77])


def test_windows_that_are_none(tmp_path: Path) -> None:
    with open_picture(save_as(tmp_path / "x", SAMPLES["tiff"])) as picture:
        for wrong in (slice(0, 0), slice(5, 4), slice(0, 49), slice(-1, 4), slice(0, 8, 2)):
            with pytest.raises(ValueError, match="expected rows within 0 to 48 without a step"):
                picture.rgb(wrong, slice(None))


# ----------------------------------------------------------------------------------------------- damage and its place


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg", "zstd"])
@pytest.mark.parametrize("layout", [{"tile": (32, 32)}, {"rowsperstrip": 32}], ids=str)
def test_damage_is_met_by_the_windows_that_need_it_alone(
    tmp_path: Path, layout: dict[str, Any], compression: str | None
) -> None:
    file = save_tiff(scene(height=96, width=96), photometric="rgb", compression=compression, **layout)
    number = 4 if "tile" in layout else 1  # the rows in the middle
    whole = read_image(save_as(tmp_path / "sound", file)).samples
    for change in ({"where": 0}, {"where": len(file) - 1}, {"size": 20}):
        path = save_as(tmp_path / "x", changed_segment(file, number, **change))
        with open_picture(path) as picture:
            for rows in (slice(0, 32), slice(64, 96)):
                np.testing.assert_array_equal(picture.rgb(rows, slice(0, 96)).samples, whole[rows])
            for rows, columns in ((slice(63, 65), slice(40, 41)), (slice(31, 33), slice(63, 64)), WHOLE):
                for look in (picture.rgb, picture.samples):
                    with pytest.raises(UnreadableImage, match=r"missing|truncated|damaged"):
                        look(rows, columns)


def test_tiles_that_gdal_left_out_have_the_files_nodata_or_0(tmp_path: Path) -> None:
    data = scene(height=64, width=64)
    for tag, fill, where in (([(42113, 2, 3, "99", True)], 99, 0), ([], 0, 0), ([], 0, None)):
        file = save_tiff(data, photometric="rgb", tile=(32, 32), extratags=tag)
        path = save_as(tmp_path / "x", changed_segment(file, 1, where, 0))
        expected = data.copy()
        expected[:32, 32:] = fill
        valid = (data != fill).any(axis=2)
        valid[:32, 32:] = False
        with open_picture(path) as picture:
            np.testing.assert_array_equal(picture.samples(*WHOLE)[0], expected)
            part = picture.samples(slice(3, 9), slice(40, 50), (2,))[0]
            np.testing.assert_array_equal(part, np.full((6, 10, 1), fill))
            np.testing.assert_array_equal(picture.rgb(*WHOLE).samples, expected)
            np.testing.assert_array_equal(picture.rgb(*WHOLE, nodata=fill).valid, valid)
            assert picture.rgb(*WHOLE, nodata=-1).valid is None  # which no pixel can have


# -------------------------------------------------------------------------------------------------------------- costs


class Counting(io.BytesIO):
    """A file that notes which bytes are read of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.spans: list[tuple[int, int]] = []

    def read(self, size: int | None = -1) -> bytes:
        start = self.tell()
        data = super().read(size)
        self.spans.append((start, start + len(data)))
        return data


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{"tile": (64, 64)}, {"rowsperstrip": 64}], ids=str)
def test_a_window_touches_only_the_segments_it_overlaps(
    layout: dict[str, Any], planes: str, compression: str | None
) -> None:
    data = scene(height=256, width=256)
    written = planar(data) if planes == "separate" else data
    file = Counting(save_tiff(written, photometric="rgb", planarconfig=planes, compression=compression, **layout))
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        where = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    file.seek(0)
    picture = Tiff(Opening("", file, 1))  # a limit for what is read whole
    file.spans.clear()
    picture.values(Window(70, 130, 120, 200), (2,))
    numbers: Iterable[int] = [6, 7] if "tile" in layout else [1]
    if planes == "separate":
        numbers = [number + (16 if "tile" in layout else 4) for number in numbers]
    wanted = [(where[number][0], where[number][0] + where[number][1]) for number in numbers]
    if compression is None and "tile" not in layout:  # by rows
        row = 256 * (1 if planes == "separate" else 3)
        wanted = [(wanted[0][0] + 6 * row, wanted[0][0] + 56 * row)]
    assert file.spans == wanted


def test_a_huge_uncompressed_strip_is_read_by_rows(tmp_path: Path) -> None:
    path = str(tmp_path / "x.tif")
    # 40000 x 30000 of which the file system holds next to nothing.
    tifffile.imwrite(path, shape=(40_000, 30_000), dtype="uint16", photometric="minisblack", bigtiff=True)
    with tifffile.TiffFile(path) as tiff:
        (offset,) = tiff.pages[0].dataoffsets
    row = np.arange(30_000, dtype="<u2")
    with open(path, "r+b") as file:
        file.seek(offset + 39_999 * 60_000)
        file.write(row.tobytes())
    assert read_info(path, max_pixels=1).block == (17, 30_000)
    with open_picture(path, max_pixels=1) as picture:
        values, _ = picture.samples(slice(39_998, 40_000), slice(100, 30_000))[:2]
        np.testing.assert_array_equal(values[1, :, 0], row[100:])
        assert not values[0].any()


def test_one_compressed_strip_is_read_whole_and_has_a_limit(tmp_path: Path) -> None:
    file = save_tiff(scene(), photometric="rgb", compression="zlib", rowsperstrip=70)
    path = save_as(tmp_path / "x", file)
    assert read_info(path).block is None
    for look in (read_info, open_picture):
        with pytest.raises(UnreadableImage, match=r"too large: 90 x 70 is .* --max-pixels"):
            look(path, max_pixels=6299)
    counting = Counting(file)
    picture = Tiff(Opening("", counting, 6300))
    counting.spans.clear()
    for top in range(0, 70, 10):
        picture.values(Window(top, 0, top + 10, 90), None)
    assert len(counting.spans) == 1  # decoded once


def test_pictures_read_whole_are_decoded_once_and_at_the_first_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kseg_core.images import png

    calls = []
    decode = png.Png.decode
    counted = staticmethod(lambda *arguments: calls.append(1) or decode(*arguments))
    monkeypatch.setattr(png.Png, "decode", counted)
    path = save_as(tmp_path / "x", SAMPLES["png RGBA"])
    with pytest.raises(UnreadableImage, match="--max-pixels"):
        read_info(path, max_pixels=5)
    with open_picture(path) as picture:
        assert not calls
        for top in range(0, 48, 12):
            picture.rgb(slice(top, top + 12), slice(None))
    assert len(calls) == 1
