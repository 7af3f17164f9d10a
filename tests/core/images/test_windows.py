"""A part of a picture is the same pixels as in the whole of it, and costs no more than its share."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
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

Save = Callable[..., bytes]
WHOLE = (slice(None), slice(None))
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


def planar(data: NDArray[Any]) -> NDArray[Any]:
    return np.moveaxis(data, 2, 0).copy()


def save_as(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def some_windows(height: int, width: int) -> list[tuple[slice, slice]]:
    """Corners, single pixels, across all seams, and the whole."""
    rows = [(0, 1), (height - 1, height), (0, height), (height // 3, height // 3 + 20), (15, 17)]
    columns = [(0, 1), (width - 1, width), (0, width), (width // 3, width // 3 + 20), (31, 33)]
    return [(slice(*r), slice(*c)) for r, c in itertools.product(rows, columns)]


def check_samples(path: str, data: NDArray[Any], block: tuple[int, int] | None) -> None:
    """All windows of some kinds, all bands and some of them."""
    with open_picture(path) as picture:
        info = picture.info
        assert (info.shape, info.bands, info.dtype) == (data.shape[:2], data.shape[2], str(data.dtype))
        assert info.block == block
        assert info == read_info(path)
        for rows, columns in some_windows(*data.shape[:2]):
            for bands in (None, (data.shape[2], 1)):
                values, valid = picture.samples(rows, columns, bands)
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
    tmp_path: Path,
    save_tiff: Save,
    layout: dict[str, Any],
    block: tuple[int, int],
    compression: str | None,
    planes: str,
) -> None:
    data = scene("int16", 5)
    stored = planar(data) if planes == "separate" else data
    predictor = compression is not None and compression != "zstd"
    options = {"photometric": "minisblack", "planarconfig": planes, "predictor": predictor, **layout}
    path = save_as(tmp_path / "x", save_tiff(stored, compression=compression, **options))
    check_samples(path, data, block)


@pytest.mark.parametrize(("order", "bigtiff"), [("<", True), (">", False)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tiffs_of_all_dtypes(tmp_path: Path, save_tiff: Save, dtype: str, bigtiff: bool, order: str) -> None:
    data = scene(dtype, 2)
    base = {"photometric": "minisblack", "planarconfig": "contig", "bigtiff": bigtiff, "byteorder": order}
    predictor = 3 if dtype[0] == "f" else 2
    packed = {"compression": "zlib", "tile": (32, 16)}
    for options, block in (
        ({"rowsperstrip": 70}, (70, 90)),
        ({**packed, "predictor": predictor}, (32, 16)),
        (packed, (32, 16)),
    ):
        check_samples(save_as(tmp_path / "x", save_tiff(data, **base, **options)), data, block)


@pytest.mark.parametrize("axes", ["TZCYX", "CYX", "CZTYX", "ZYXS"])
def test_ome_tiffs_at_t_0_and_z_0(tmp_path: Path, save_tiff: Save, axes: str) -> None:
    data = scene("uint16", 3 if "S" in axes else 6)
    full = [{"Y": 70, "X": 90, "C": 6, "S": 3}.get(axis, 2) for axis in axes]
    stack = np.zeros(full, np.uint16)
    at = tuple(slice(None) if axis in "CYXS" else 0 for axis in axes)
    stack[at] = data if "S" in axes else planar(data)
    photometric = "rgb" if "S" in axes else "minisblack"
    file = save_tiff(stack, ome=True, metadata={"axes": axes}, photometric=photometric, tile=(32, 32))
    check_samples(save_as(tmp_path / "x", file), data, (32, 32))


@pytest.mark.parametrize(
    ("layout", "orientation"),
    [
        *(({"tile": (16, 32)}, orientation) for orientation in range(1, 9)),
        ({"rowsperstrip": 7}, 6),
        ({"compression": "zlib", "rowsperstrip": 70}, 7),
    ],
)
def test_all_orientations(tmp_path: Path, save_tiff: Save, layout: dict[str, Any], orientation: int) -> None:
    data = scene()
    tag = [(274, 3, 1, orientation, True)]
    path = save_as(tmp_path / "x", save_tiff(data, photometric="rgb", extratags=tag, **layout))
    whole = read_image(path).rgb
    block = {"tile": (16, 32), "rowsperstrip": (7, 90)}[next(iter(layout))] if "compression" not in layout else None
    check_samples(path, whole, block[::-1] if block and orientation >= 5 else block)
    with open_picture(path) as picture:
        for rows, columns in some_windows(*whole.shape[:2]):
            np.testing.assert_array_equal(picture.rgb(rows, columns).rgb, whole[rows, columns])


def test_alpha_says_what_is_valid_and_is_a_band_only_when_asked_for(tmp_path: Path, save_tiff: Save) -> None:
    data = scene("uint16", 4)
    data[:20, :30, 3] = 0
    for stored, planes in ((data, "contig"), (planar(data), "separate")):
        options = {"extrasamples": ["unassalpha"], "planarconfig": planes, "tile": (16, 16)}
        path = save_as(tmp_path / "x", save_tiff(stored, photometric="rgb", **options))
        with open_picture(path) as picture:
            for bands, expected in ((None, data[..., :3]), ((2,), data[..., 1:2]), ((4, 1), data[..., [3, 0]])):
                values, valid = picture.samples(*WHOLE, bands)
                np.testing.assert_array_equal(values, expected)
                np.testing.assert_array_equal(valid, data[..., 3] != 0)
            with pytest.raises(UnreadableImage, match="it has no band 5, only 4"):
                picture.samples(*WHOLE, (1, 5))


def test_bits_are_samples_of_0_and_1(tmp_path: Path, save: Save) -> None:
    bits = scene()[..., 0] > 120
    path = save_as(tmp_path / "x", save(Image.fromarray(bits), "TIFF", compression="group4"))
    assert read_info(path).dtype == "uint8"
    with open_picture(path) as picture:
        values, _ = picture.samples(slice(3, 50), slice(20, 80))
        np.testing.assert_array_equal(values[..., 0], bits[3:50, 20:80].astype(np.uint8))


# -------------------------------------------------------------------------------------------------------------- rgb


KINDS = [
    "jpeg", "jpeg gray", "jpeg CMYK", "png", "png palette", "png RGBA", "png 16", "png 1", "gif", "bmp", "bmp palette",
    "webp lossless", "webp lossy", "tiff", "tiff deflate", "tiff LZW tiles", "tiff zstd 16", "tiff jpeg tiles",
    "tiff packbits", "tiff group 3", "tiff group 4", "tiff webp", "ome-tiff",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_window_is_a_slice_of_the_whole(
    tmp_path: Path, samples: dict[str, bytes], kind: str, data: st.DataObject
) -> None:
    path = save_as(tmp_path / "x", samples[kind])
    whole = read_image(path)
    with open_picture(path) as picture:
        height, width = picture.info.shape
        rows, columns = (
            slice(*sorted(data.draw(st.lists(st.integers(0, size), min_size=2, max_size=2, unique=True))))
            for size in (height, width)
        )
        part = picture.rgb(rows, columns)
        np.testing.assert_array_equal(part.rgb, whole.rgb[rows, columns])
        assert part.rgb.flags.c_contiguous
        assert part.rgb.flags.writeable
        valid = np.ones((height, width), np.bool_) if whole.valid is None else whole.valid
        np.testing.assert_array_equal(True if part.valid is None else part.valid, valid[rows, columns])
        part.rgb[...] = 77  # the next one must not see this
        np.testing.assert_array_equal(picture.rgb(rows, columns).rgb, whole.rgb[rows, columns])
        if ("palette" not in kind and "gif" not in kind) or kind == "bmp palette":
            everything, _ = picture.samples(*WHOLE)
            some, _ = picture.samples(rows, columns)
            np.testing.assert_array_equal(some, everything[rows, columns])
            assert str(some.dtype) == picture.info.dtype
        else:
            with pytest.raises(UnreadableImage, match="use --features rgb"):
                picture.samples(rows, columns)


@pytest.mark.parametrize(
    ("kind", "bands", "dtype"),
    [("jpeg", 3, "uint8"), ("jpeg gray", 1, "uint8"), ("jpeg CMYK", 4, "uint8"), ("png", 3, "uint8"),
     ("png palette", 1, "uint8"), ("png RGBA", 4, "uint8"), ("png 16", 3, "uint16"), ("png 1", 1, "uint8"),
     ("gif", 1, "uint8"), ("bmp", 3, "uint8"), ("bmp palette", 3, "uint8"), ("webp lossless", 4, "uint8"),
     ("webp lossy", 3, "uint8"), ("webp animated", 4, "uint8")],
)  # fmt: skip
def test_what_headers_say_of_bands(
    tmp_path: Path, samples: dict[str, bytes], kind: str, bands: int, dtype: str
) -> None:
    info = read_info(save_as(tmp_path / "x", samples[kind]))
    assert (info.bands, info.dtype, info.block, info.nodata) == (bands, dtype, None, None)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr", "minisblack"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_jpeg_tiles(tmp_path: Path, save_tiff: Save, photometric: str, planes: str) -> None:
    if planes == "separate" and photometric == "ycbcr":
        pytest.skip("not written so")
    data = scene(bands=1)[..., 0] if photometric == "minisblack" else scene()
    stored = planar(data) if planes == "separate" and data.ndim == 3 else data
    options = {"compression": "jpeg", "tile": (32, 48), "photometric": photometric}
    path = save_as(tmp_path / "x", save_tiff(stored, planarconfig=planes if data.ndim == 3 else None, **options))
    whole = read_image(path).rgb
    with open_picture(path) as picture:
        for rows, columns in some_windows(70, 90):
            np.testing.assert_array_equal(picture.rgb(rows, columns).rgb, whole[rows, columns])
            values, _ = picture.samples(rows, columns)
            np.testing.assert_array_equal(np.broadcast_to(values, (*values.shape[:2], 3)), whole[rows, columns])


def test_nodata_is_found_in_what_is_stored(tmp_path: Path, save_tiff: Save) -> None:
    wide = scene("uint16") * np.uint16(200)
    wide[5:9, 6:10] = 7
    wide[20, 20, 0] = 7  # one band alone is not enough
    path = save_as(
        tmp_path / "x", save_tiff(wide, photometric="rgb", tile=(16, 16), extratags=[(42113, 2, 2, "7", True)])
    )
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


@pytest.mark.parametrize("text", ["nan", " -9999 ", "1e20", "none at all"])
def test_the_nodata_tag_is_a_text(tmp_path: Path, save_tiff: Save, text: str) -> None:
    tag = [(42113, 2, len(text) + 1, text, True)]
    nodata = read_info(
        save_as(tmp_path / "x", save_tiff(scene("float32"), photometric="minisblack", extratags=tag))
    ).nodata
    if text == "none at all":
        assert nodata is None
    else:
        assert nodata is not None
        np.testing.assert_equal(nodata, float(text))


def test_masks_are_read_from_any_kind_of_file(tmp_path: Path, save_tiff: Save) -> None:
    used = scene()[..., 0] > 120
    rgba = np.dstack([used * 255, used * 0, used * 0, np.full(used.shape, 255)]).astype(np.uint8)
    gray = Image.fromarray(used.astype(np.uint8) * 2)
    indexed = Image.frombytes("P", gray.size, gray.tobytes())
    indexed.putpalette([9, 9, 9, 0, 0, 0, 5, 5, 5])
    for name, image in [
        ("gray", gray),
        ("bits", Image.fromarray(used)),
        ("P", indexed),
        ("RGBA", Image.fromarray(rgba)),
    ]:
        image.save(tmp_path / f"{name}.png")
    (tmp_path / "tiff").write_bytes(save_tiff(used.astype(np.float32) / 7, tile=(16, 16)))
    (tmp_path / "alpha.tif").write_bytes(save_tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]))
    for name in ("gray.png", "bits.png", "P.png", "RGBA.png", "tiff", "alpha.tif"):
        with open_picture(str(tmp_path / name)) as picture:
            np.testing.assert_array_equal(picture.nonzero(slice(5, 60), slice(9, 77)), used[5:60, 9:77])


def test_windows_that_are_none(tmp_path: Path, samples: dict[str, bytes]) -> None:
    with open_picture(save_as(tmp_path / "x", samples["tiff"])) as picture:
        for wrong in (slice(0, 0), slice(5, 4), slice(0, 49), slice(-1, 4), slice(0, 8, 2)):
            with pytest.raises(ValueError, match="expected rows within 0 to 48 without a step"):
                picture.rgb(wrong, slice(None))


# ----------------------------------------------------------------------------------------------- damage and its place


def changed_segment(data: bytes, number: int, where: int | None = None, size: int | None = None) -> bytes:
    """A TIFF with another offset or size of one tile or strip."""
    file = io.BytesIO(data)
    with tifffile.TiffFile(file, mode="r+b") as tiff:
        page = tiff.pages[0]
        tags = (324, 325) if page.is_tiled else (273, 279)
        for tag, value in zip(tags, (where, size), strict=True):
            if value is not None:
                values = list(page.tags[tag].value)
                values[number] = value
                page.tags[tag].overwrite(values)
    return file.getvalue()


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg", "zstd"])
@pytest.mark.parametrize("layout", [{"tile": (32, 32)}, {"rowsperstrip": 32}])
def test_damage_is_met_by_the_windows_that_need_it_alone(
    tmp_path: Path, save_tiff: Save, layout: dict[str, Any], compression: str | None
) -> None:
    data = scene(height=96, width=96)
    file = save_tiff(data, photometric="rgb", compression=compression, **layout)
    number = 4 if "tile" in layout else 1  # the rows in the middle
    sound = save_as(tmp_path / "sound", file)
    for change in ({"where": 0}, {"where": len(file) - 1}, {"size": 20}):
        path = save_as(tmp_path / "x", changed_segment(file, number, **change))
        with open_picture(path) as picture, open_picture(sound) as whole:
            for rows in (slice(0, 32), slice(64, 96)):
                np.testing.assert_array_equal(picture.rgb(rows, slice(0, 96)).rgb, whole.rgb(rows, slice(0, 96)).rgb)
            for rows, columns in ((slice(63, 65), slice(40, 41)), (slice(31, 33), slice(63, 64)), WHOLE):
                with pytest.raises(UnreadableImage, match=r"missing|truncated|damaged"):
                    picture.rgb(rows, columns)
                with pytest.raises(UnreadableImage, match=r"missing|truncated|damaged"):
                    picture.samples(rows, columns)


def test_tiles_that_gdal_left_out_have_the_files_nodata_or_0(tmp_path: Path, save_tiff: Save) -> None:
    data = scene(height=64, width=64)
    for tag, fill, where in (([(42113, 2, 3, "99", True)], 99, 0), ([], 0, 0), ([], 0, None)):
        file = save_tiff(data, photometric="rgb", tile=(32, 32), extratags=tag)
        path = save_as(tmp_path / "x", changed_segment(file, 1, where, 0))
        expected = data.copy()
        expected[:32, 32:] = fill
        valid = np.ones((64, 64), np.bool_)
        valid[:32, 32:] = False
        with open_picture(path) as picture:
            np.testing.assert_array_equal(picture.samples(*WHOLE)[0], expected)
            np.testing.assert_array_equal(
                picture.samples(slice(3, 9), slice(40, 50), (2,))[0], np.full((6, 10, 1), fill)
            )
            np.testing.assert_array_equal(picture.rgb(*WHOLE).rgb, expected)
            np.testing.assert_array_equal(picture.rgb(*WHOLE, nodata=fill).valid, valid & (data != fill).any(axis=2))
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
@pytest.mark.parametrize("layout", [{"tile": (64, 64)}, {"rowsperstrip": 64}])
def test_a_window_touches_only_the_segments_it_overlaps(
    save_tiff: Save, layout: dict[str, Any], planes: str, compression: str | None
) -> None:
    data = scene(height=256, width=256)
    stored = planar(data) if planes == "separate" else data
    file = Counting(save_tiff(stored, photometric="rgb", planarconfig=planes, compression=compression, **layout))
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        where = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    file.seek(0)
    picture = Tiff(Opening("", file, 1))  # a limit for what is read whole
    file.spans.clear()
    picture.values(Window(70, 130, 120, 200), (2,))
    tiled = "tile" in layout
    per_plane = 16 if tiled else 4
    numbers = [6, 7] if tiled else [1]
    if planes == "separate":
        numbers = [number + per_plane for number in numbers]
    wanted = [(where[number][0], where[number][0] + where[number][1]) for number in numbers]
    if compression is None and not tiled:  # by rows
        row = 256 * (1 if planes == "separate" else 3)
        wanted = [(wanted[0][0] + 6 * row, wanted[0][0] + 56 * row)]
    assert file.spans == wanted


def test_a_huge_uncompressed_strip_is_read_by_rows(tmp_path: Path) -> None:
    path = str(tmp_path / "x.tif")
    # 40000 x 30000 of which the file system holds next to nothing.
    tifffile.imwrite(path, shape=(40_000, 30_000), dtype="uint16", photometric="minisblack", bigtiff=True)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert len(page.dataoffsets) == 1
        offset = page.dataoffsets[0]
    row = np.arange(30_000, dtype="<u2")
    with open(path, "r+b") as file:
        file.seek(offset + 39_999 * 60_000)
        file.write(row.tobytes())
    info = read_info(path, max_pixels=1)
    assert info.block == (17, 30_000)
    with open_picture(path, max_pixels=1) as picture:
        values, _ = picture.samples(slice(39_998, 40_000), slice(100, 30_000))
        np.testing.assert_array_equal(values[1, :, 0], row[100:])
        assert not values[0].any()


def test_one_compressed_strip_is_read_whole_and_has_a_limit(tmp_path: Path, save_tiff: Save) -> None:
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
    tmp_path: Path, samples: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kseg_core.images import png

    calls = []
    decode = png.Png.decode
    counted = staticmethod(lambda *arguments: calls.append(1) or decode(*arguments))
    monkeypatch.setattr(png.Png, "decode", counted)
    path = save_as(tmp_path / "x", samples["png RGBA"])
    with pytest.raises(UnreadableImage, match="--max-pixels"):
        read_info(path, max_pixels=5)
    with open_picture(path) as picture:
        assert not calls
        for top in range(0, 48, 12):
            picture.rgb(slice(top, top + 12), slice(None))
    assert len(calls) == 1
