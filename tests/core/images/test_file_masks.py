"""The masks and values of nodata that files carry, with GDAL, by rasterio, as the judge."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import ColorInterp

from kseg_core.choice import PictureChoice
from kseg_core.config import InputSettings
from kseg_core.errors import UnreadableImage
from kseg_core.images import open_picture, read_image, read_info
from kseg_core.images.validity import Nodata, nodata_of
from kseg_core.inputs.listing import list_inputs
from kseg_core.reading.sources import ImageSource
from tests.pictures import WHOLE, by_gdal, counts

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

HEIGHT, WIDTH = 150, 170
MASK_FLAGS = '<GDALMetadata><Item name="INTERNAL_MASK_FLAGS_1">2</Item></GDALMetadata>'
Mask = NDArray[np.uint8]


def scene(count: int = 3, dtype: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(5).integers(1, 200, (count, HEIGHT, WIDTH)).astype(dtype)


def a_mask(seed: int = 1) -> Mask:
    rng = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(4):
        top, left = rng.integers(0, HEIGHT - 40), rng.integers(0, WIDTH - 40)
        mask[top : top + 39, left : left + 37] = 255
    return mask


def write(path: Path, data: NDArray[Any], mask: Mask | None = None, **options: Any) -> Path:
    """A file by GDAL, of (bands, height, width)."""
    return by_gdal(path, np.moveaxis(data, 0, 2), mask, **options)


def judge(path: Path, *, some_invalid: bool = True, bands: bool = True) -> None:
    """Which pixels count, whole and by windows, as colours (and as bands): rasterio says the same."""
    with rasterio.open(path) as dataset:
        expected = dataset.dataset_mask() != 0
        of_bands = (dataset.read_masks() != 0).all(axis=0)
    assert expected.any()
    assert expected.all() != some_invalid
    with open_picture(str(path)) as picture:
        nodata = nodata_of(InputSettings(), picture.info)
        height, width = expected.shape
        for rows, columns in (WHOLE, (slice(0, 70), slice(0, width)), (slice(61, height), slice(40, 131))):
            wanted = expected[rows, columns]
            np.testing.assert_array_equal(counts(picture.rgb(rows, columns, nodata).valid, wanted.shape), wanted)
            if bands:
                valid = picture.samples(rows, columns, None, nodata)[1]
                np.testing.assert_array_equal(counts(valid, wanted.shape), of_bands[rows, columns])
    if not isinstance(nodata, Nodata):
        np.testing.assert_array_equal(counts(read_image(str(path)).valid, expected.shape), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compress": "deflate", "tiled": True, "blockxsize": 64, "blockysize": 64},
        {"compress": "lzw", "interleave": "band", "blockysize": 7},
        {"compress": "jpeg", "photometric": "YCBCR", "tiled": True, "blockxsize": 64, "blockysize": 64},
        {"BIGTIFF": "YES", "compress": "packbits"},
    ],
    ids=str,
)
def test_mask_pages_of_gdal(tmp_path: Path, options: dict[str, Any]) -> None:
    judge(write(tmp_path / "x.tif", scene(), a_mask(), **options))


def test_masks_of_overviews_are_not_taken_for_the_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", scene(), a_mask(), compress="deflate")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    rasterio.shutil.copy(path, tmp_path / "cog.tif", driver="COG", COMPRESS="JPEG", BLOCKSIZE=64)
    with tifffile.TiffFile(tmp_path / "cog.tif") as tiff:
        assert len([page for page in tiff.pages if page.photometric == 4]) > 1
    judge(path)
    judge(tmp_path / "cog.tif")


def test_the_mask_of_another_picture_of_the_file_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as tiff:
        for _ in range(2):
            tiff.write(np.moveaxis(scene(), 0, 2), photometric="rgb", metadata=None)
        tiff.write(a_mask() > 0, photometric="mask", subfiletype=4, metadata=None)
    with open_picture(str(path)) as picture:
        assert picture.rgb(*WHOLE).valid is None


@pytest.mark.parametrize("tags", [{"photometric": "mask"}, {"subfiletype": 4}])
def test_a_mask_page_is_told_by_either_of_its_tags(tmp_path: Path, tags: dict[str, Any]) -> None:
    """TIFF 6.0 wants both; writers leave out one of them. GDAL goes by the first alone."""
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(np.moveaxis(scene(), 0, 2), photometric="rgb", metadata=None)
        tiff.write(a_mask() > 0, metadata=None, **tags)
    with open_picture(str(path)) as picture:
        np.testing.assert_array_equal(picture.rgb(*WHOLE).valid, a_mask() > 0)


def test_a_damaged_mask_page_refuses_the_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", scene(), a_mask(), compress="deflate")
    with tifffile.TiffFile(path) as tiff:
        offset, size = tiff.pages[1].dataoffsets[0], tiff.pages[1].databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + size] = bytes(size)
    path.write_bytes(data)
    with open_picture(str(path)) as picture, pytest.raises(UnreadableImage, match="damaged"):
        picture.rgb(*WHOLE)


@pytest.mark.parametrize("driver", ["GTiff", "PNG", "JPEG"])
def test_masks_beside_a_file(tmp_path: Path, driver: str) -> None:
    path = tmp_path / f"x.{driver}"
    if driver == "GTiff":
        write(path, scene(), a_mask(), internal=False)
    else:
        write(tmp_path / "plain.tif", scene())
        rasterio.shutil.copy(tmp_path / "plain.tif", path, driver=driver)
        write(tmp_path / "of.tif", scene(), a_mask(), internal=False)
        (tmp_path / "of.tif.msk").rename(f"{path}.msk")
    judge(path)


def masks_of_bands(path: Path) -> NDArray[np.uint8]:
    """A mask of each band beside a file of three."""
    flags = "".join(f'<Item name="INTERNAL_MASK_FLAGS_{band}">0</Item>' for band in (1, 2, 3))
    tag = [(42112, 2, 0, f"<GDALMetadata>{flags}</GDALMetadata>", True)]
    masks = np.stack([a_mask(seed) for seed in (1, 2, 3)])
    tifffile.imwrite(f"{path}.msk", masks, photometric="minisblack", planarconfig="separate", extratags=tag)
    return masks


def test_masks_beside_a_file_of_one_band_each(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", scene())
    masks = masks_of_bands(path)
    judge(path)
    with open_picture(str(path)) as picture:
        np.testing.assert_array_equal(picture.samples(*WHOLE, (3, 1))[1], (masks[[0, 2]] != 0).all(axis=0))
        rules = [nodata_of(InputSettings(nodata_in=within), picture.info) for within in ("any", "all")]
        for rule, expected in zip(rules, ((masks != 0).all(axis=0), (masks != 0).any(axis=0)), strict=True):
            np.testing.assert_array_equal(picture.rgb(*WHOLE, rule).valid, expected)
            np.testing.assert_array_equal(picture.samples(*WHOLE, None, rule)[1], expected)


@pytest.mark.parametrize(
    ("within", "driver", "at"), [("any", "GTiff", 0), ("all", "GTiff", 1), ("any", "VRT", 1), ("all", "VRT", 3)]
)
def test_nodata_of_colours_is_asked_of_colours_wherever_alpha_is(
    within: Any, driver: str, at: int, tmp_path: Path
) -> None:
    samples = np.random.default_rng(3).choice([0, 7, 100], (4, HEIGHT, WIDTH)).astype(np.uint8)
    path = write(tmp_path / "x.tif", samples, photometric="RGB")
    kinds = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    kinds.insert(at, ColorInterp.alpha)
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = kinds
    if driver == "VRT":
        path = tmp_path / "x.vrt"
        rasterio.shutil.copy(tmp_path / "x.tif", path, driver="VRT")
    colours = np.delete(samples, at, axis=0)
    merge = np.any if within == "any" else np.all
    for values in ((7,), (7.0, 100.0)):
        expected = ~merge(np.isin(colours, values), axis=0) & (samples[at] != 0)
        with open_picture(str(path)) as picture:
            assert picture.info.alpha
            image = picture.rgb(*WHOLE, Nodata(values, within=within))
        np.testing.assert_array_equal(image.valid, expected)
        np.testing.assert_array_equal(image.samples[expected], np.moveaxis(colours, 0, 2)[expected])


def test_nodata_of_each_band_is_of_that_band_behind_alpha(tmp_path: Path) -> None:
    samples = np.random.default_rng(3).choice([1, 7, 8, 9], (4, HEIGHT, WIDTH)).astype(np.uint8)
    path = write(tmp_path / "x.tif", samples, photometric="RGB")
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp.alpha, ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    with open_picture(str(path)) as picture:
        valid = picture.rgb(*WHOLE, Nodata(by_band=(1.0, 7.0, 8.0, 9.0), within="any")).valid
    np.testing.assert_array_equal(valid, (samples[1:] != np.array([7, 8, 9])[:, None, None]).all(axis=0))


def test_a_page_goes_before_what_is_beside(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", scene(), a_mask(1), internal=False)
    (tmp_path / "x.tif.msk").rename(tmp_path / "kept")
    write(path, scene(), a_mask(2))
    (tmp_path / "kept").rename(tmp_path / "x.tif.msk")
    judge(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda path: path.write_bytes(b"something else"), "is no mask as GDAL writes them, a TIFF"),
        (lambda path: tifffile.imwrite(path, a_mask()), "does not say what of"),
        (
            lambda path: tifffile.imwrite(path, a_mask()[:9, :9], extratags=[(42112, 2, 0, MASK_FLAGS, True)]),
            "is a mask of 9 x 9 pixels, not of 170 x 150",
        ),
    ],
)
def test_what_is_called_as_a_mask_and_is_none_is_passed_over_with_a_note(
    tmp_path: Path, content: Callable[[Path], Any], says: str
) -> None:
    path = write(tmp_path / "x.tif", scene())
    content(tmp_path / "x.tif.msk")
    with open_picture(str(path)) as picture:
        (note,) = picture.info.notes
        assert note.startswith("x.tif.msk ")
        assert says in note
        assert picture.rgb(*WHOLE).valid is None


def test_a_truncated_mask_beside_a_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", scene(), a_mask(), internal=False)
    beside = tmp_path / "x.tif.msk"
    beside.write_bytes(beside.read_bytes()[:60])
    with pytest.raises(UnreadableImage, match=r"its mask x\.tif\.msk: ") as caught:
        read_info(str(path))
    assert caught.value.source == str(path)


def test_the_mask_that_gdal_puts_behind_a_jpeg(tmp_path: Path) -> None:
    write(tmp_path / "x.tif", scene(), a_mask())
    rasterio.shutil.copy(tmp_path / "x.tif", tmp_path / "x.jpg", driver="JPEG", INTERNAL_MASK="YES")
    judge(tmp_path / "x.jpg")


def test_nodata_beside_a_file_is_of_its_band_and_goes_before_the_files(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", scene(3, "int16"), nodata=3)
    bands = '<PAMRasterBand band="2"><NoDataValue>5</NoDataValue></PAMRasterBand>'
    (tmp_path / "x.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
    with rasterio.open(path) as dataset, open_picture(str(path)) as picture:
        assert picture.info.band_nodata == dataset.nodatavals == (3, 5, 3)
        expected = (dataset.read_masks() != 0).all(axis=0)
        nodata = nodata_of(InputSettings(), picture.info)
        np.testing.assert_array_equal(picture.samples(*WHOLE, None, nodata)[1], expected)
        assert not expected.all()


def test_nodata_of_all_bands_together_in_gdals_metadata(tmp_path: Path) -> None:
    data = scene()
    data[:, :30, :20] = np.array([7, 8, 9])[:, None, None]
    path = write(tmp_path / "x.tif", data)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(NODATA_VALUES="7 8 9")
    assert read_info(str(path)).band_nodata == (7, 8, 9)
    judge(path, bands=False)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [([2], 3), ([1], 3), ([0], None), ([0, 2], 4), ([2, 0], 3), ([1, 2, 0], 3)],
)
def test_alpha_is_told_by_its_tag_never_by_its_place(tmp_path: Path, extra: list[int], expected: int | None) -> None:
    samples = np.random.default_rng(2).integers(0, 3, (40, 50, 3 + len(extra))).astype(np.uint8)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, samples, photometric="rgb", planarconfig="contig", extrasamples=extra)
    with rasterio.open(path) as dataset:
        interpreted = list(dataset.colorinterp)
    alpha = interpreted.index(ColorInterp.alpha) if ColorInterp.alpha in interpreted else None
    assert alpha == expected
    with open_picture(str(path)) as picture:
        assert picture.info.alpha == (alpha is not None)
        values, valid = picture.samples(*WHOLE)[:2]
        others = [band for band in range(samples.shape[2]) if band != alpha]
        np.testing.assert_array_equal(values, samples[..., others])
        if alpha is None:
            assert valid is None
        else:
            np.testing.assert_array_equal(valid, samples[..., alpha] != 0)


@pytest.mark.parametrize(("count", "nodata"), [(1, 9), (3, None), (4, None), (4, 9)])
def test_sparse_tiles_and_strips_are_transparent_nodata_or_0(tmp_path: Path, count: int, nodata: int | None) -> None:
    data = np.full((count, HEIGHT, WIDTH), nodata or 0, np.uint8)
    data[:, 70:90, 10:90] = 100
    options: dict[str, Any] = {"photometric": "RGB", "alpha": "yes"} if count == 4 else {}
    tiles = {"tiled": True, "blockxsize": 64, "blockysize": 64}
    for layout in (tiles, {**tiles, "interleave": "band"}, {"blockysize": 16}):
        path = write(tmp_path / "x.tif", data, sparse_ok=True, nodata=nodata, **options, **layout)
        with tifffile.TiffFile(path) as tiff:
            assert 0 in tiff.pages[0].databytecounts
        with rasterio.open(path) as dataset, open_picture(str(path)) as picture:
            expected = np.moveaxis(dataset.read(), 0, 2)
            colours = np.repeat(expected, 3, axis=2) if count == 1 else expected[..., :3]
            np.testing.assert_array_equal(picture.rgb(*WHOLE).samples, colours)
        if count != 4 or nodata is None:  # where there is alpha, GDAL does not look at nodata
            judge(path, some_invalid=count == 4 or nodata is not None, bands=count != 4)


def test_what_release_0_1_0_made_is_read_by_its_rules(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tif", scene(), a_mask())
    (file,) = list_inputs([str(path)]).files
    for settings, invalid in ((InputSettings(), True), (InputSettings().as_before(), False)):
        (piece,) = ImageSource.open(file, settings).pieces(64)
        assert (piece.read().valid is not None) == invalid
        assert (piece.read(()).valid is not None) == invalid


ROLE = '<GDALMetadata><Item name="COLORINTERP" sample="{}" role="colorinterp">{}</Item></GDALMetadata>'


@pytest.mark.parametrize(
    ("count", "extra", "role", "now", "early"),
    [
        (4, (0,), (3, "Alpha"), 3, None),
        (4, (2,), None, 3, 3),
        (4, (2,), (3, "Undefined"), None, 3),
        (4, (2, 0, 0), None, 1, None),
        (2, (0,), (1, "Alpha"), 1, None),
        (4, (1,), None, 3, 3),
    ],
)
def test_alpha_of_what_release_0_1_0_made_is_the_last_band_by_its_tag(
    tmp_path: Path, count: int, extra: tuple[int, ...], role: Any, now: int | None, early: int | None
) -> None:
    """As that release's code had it: ``extrasamples[-1] in (1, 2)``."""
    data = np.moveaxis(scene(count), 0, 2).copy()
    data[20:30, 5:50, 0], data[40:60, 5:50, 1], data[70:80, 30:90, -1] = 0, 0, 0
    tags = [] if role is None else [(42112, 2, 0, ROLE.format(*role), True)]
    photometric = "minisblack" if len(extra) == 3 or count == 2 else "rgb"
    tifffile.imwrite(tmp_path / "x.tif", data, photometric=photometric, extrasamples=extra, extratags=tags)
    (file,) = list_inputs([str(tmp_path / "x.tif")]).files
    for settings, alpha in ((InputSettings(), now), (InputSettings().as_before(), early)):
        source = ImageSource.open(file, settings)
        (piece,) = source.pieces(200)
        read = piece.read(())
        assert source.info.alpha == (alpha is not None)
        np.testing.assert_array_equal(read.samples, data[..., [band for band in range(count) if band != alpha]])
        wanted = np.ones(data.shape[:2], bool) if alpha is None else data[..., alpha] != 0
        np.testing.assert_array_equal(counts(read.valid, wanted.shape), wanted)
        if count == 4:
            np.testing.assert_array_equal(counts(piece.read().valid, wanted.shape), wanted)
        elif alpha is None:
            with pytest.raises(UnreadableImage, match="2 bands: neither gray nor RGB"):
                piece.read()


def test_a_turned_picture_and_its_mask_are_turned_together(tmp_path: Path) -> None:
    picture = Image.fromarray(np.moveaxis(scene(), 0, 2))
    exif = Image.Exif()
    exif[274] = 6
    picture.save(tmp_path / "x.jpg", exif=exif)
    tifffile.imwrite(tmp_path / "x.jpg.msk", a_mask(), extratags=[(42112, 2, 0, MASK_FLAGS, True)])
    with open_picture(str(tmp_path / "x.jpg")) as opened:
        assert opened.info.shape == (WIDTH, HEIGHT)
        np.testing.assert_array_equal(opened.rgb(*WHOLE).valid, np.rot90(a_mask() != 0, -1))


def test_a_mask_is_no_warning_on_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "x.tif", scene(), a_mask(), compress="deflate")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(str(path))
    assert capfd.readouterr() == ("", "")


# Chosen channels of files that carry masks and values of nodata


CHANNELS = [(0, 1, 2), (2, 0), (1,)]


def values_of_few() -> NDArray[Any]:
    return np.random.default_rng(7).integers(0, 4, (3, HEIGHT, WIDTH)).astype(np.uint8)


def with_nodata_beside(path: Path) -> None:
    bands = "".join(
        f'<PAMRasterBand band="{band}"><NoDataValue>{band}</NoDataValue></PAMRasterBand>' for band in (1, 2, 3)
    )
    Path(f"{write(path, values_of_few())}.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>", "ascii")


CARRIED: dict[str, Callable[[Path], object]] = {
    "a mask page": lambda path: write(path, values_of_few(), a_mask()),
    "a mask beside it": lambda path: write(path, values_of_few(), a_mask(), internal=False),
    "masks of its bands": lambda path: masks_of_bands(write(path, values_of_few())),
    "nodata of its bands beside it": with_nodata_beside,
}


@pytest.mark.parametrize("kind", CARRIED)
def test_channels_have_the_masks_and_nodata_of_their_bands(kind: str, tmp_path: Path) -> None:
    """Which samples and colours of channels count, by the masks of their bands."""
    path = tmp_path / "x.tif"
    CARRIED[kind](path)
    for channels in CHANNELS:
        with rasterio.open(path) as dataset:
            masks = dataset.read_masks([channel + 1 for channel in channels]) != 0
            written = np.moveaxis(dataset.read([channel + 1 for channel in channels]), 0, 2)
        assert not masks.all()
        with open_picture(str(path), choice=PictureChoice(channel=channels)) as picture:
            nodata = nodata_of(InputSettings(nodata_in="any"), picture.info)
            for rows, columns in (WHOLE, (slice(3, 31), slice(11, 50))):
                samples, valid = picture.samples(rows, columns, None, nodata)[:2]
                np.testing.assert_array_equal(samples, written[rows, columns])
                np.testing.assert_array_equal(valid, masks.all(axis=0)[rows, columns])
                if len(channels) != 2:
                    valid = picture.rgb(rows, columns, nodata).valid
                    # of masks alone: where any counts
                    of_colours = masks.any(axis=0) if nodata is None else masks.all(axis=0)
                    np.testing.assert_array_equal(valid, of_colours[rows, columns])
            if len(channels) > 1:  # bands of channels, by their new numbers
                np.testing.assert_array_equal(picture.samples(*WHOLE, (2,), nodata)[1], masks[1])


@pytest.mark.parametrize("channels", CHANNELS)
def test_channels_have_the_nodata_of_their_bands_by_gdals_metadata(channels: tuple[int, ...], tmp_path: Path) -> None:
    text = '<GDALMetadata><Item name="NODATA_VALUES">1 2 3</Item></GDALMetadata>'
    path, data = tmp_path / "x.tif", values_of_few()
    tifffile.imwrite(path, np.moveaxis(data, 0, 2), photometric="rgb", extratags=[(42112, 2, 0, text, True)])
    expected = np.stack([data[channel] != channel + 1 for channel in channels]).all(axis=0)
    with open_picture(str(path), choice=PictureChoice(channel=channels)) as picture:
        assert picture.info.band_nodata == tuple(channel + 1 for channel in channels)
        valid = picture.samples(*WHOLE, None, nodata_of(InputSettings(nodata_in="any"), picture.info))[1]
        np.testing.assert_array_equal(valid, expected)


def test_an_alpha_before_the_last_band_leaves_channels_their_numbers(tmp_path: Path) -> None:
    data = np.moveaxis(np.concatenate([values_of_few(), values_of_few()[:1] * 50 + 1]), 0, 2)
    data[..., 3] = np.where(a_mask() != 0, 255, 0)
    path = tmp_path / "x.tif"
    tifffile.imwrite(
        path, np.ascontiguousarray(data[..., [0, 3, 1, 2]]), photometric="minisblack", extrasamples=(2, 0, 0)
    )
    with open_picture(str(path)) as picture:
        assert picture.info.alpha_at == 1
    with open_picture(str(path), choice=PictureChoice(channel=(0, 2, 3))) as picture:
        assert (picture.info.alpha, picture.info.alpha_at) == (False, None)
        samples, valid = picture.samples(*WHOLE)[:2]
        np.testing.assert_array_equal(samples, data[..., :3])
        np.testing.assert_array_equal(valid, data[..., 3] != 0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_a_nodata_of_hundreds_of_digits_is_found_nowhere(dtype: str, tmp_path: Path) -> None:
    data = values_of_few()[0].astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", data, extratags=[(42113, 2, 0, "1" + "0" * 400, True)])
    with open_picture(str(tmp_path / "x.tif")) as picture:
        samples, valid = picture.samples(*WHOLE, None, nodata_of(InputSettings(), picture.info))[:2]
    np.testing.assert_array_equal(samples[..., 0], data)
    assert valid is None
