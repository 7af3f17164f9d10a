"""The files of a decoder's crash tests, with a verdict on each, and real photographs."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from kseg_core.errors import UnreadableImage
from kseg_core.images import read_image, read_info
from tests.pictures import counts

SOUND = "labelled"

#: What becomes of each file of ``broken/``: read whole, or words of the reason for which it is refused.
#: Of those that Pillow 13 decodes a few are refused here, because their pixels are damaged; see below.
PILLOW_REFUSES = frozenset({"badpalettesize.bmp"})
VERDICTS = {
    "badbitcount.bmp": "30000 bits",
    "badbitssize.bmp": SOUND,  # wrong counts beside the pixels, here and in the next four
    "baddens1.bmp": SOUND,
    "baddens2.bmp": SOUND,
    "badfilesize.bmp": SOUND,
    "badheadersize.bmp": "header of 66 bytes",
    "badpalettesize.bmp": SOUND,  # no more colours than a palette can have are looked at,
    "badplanes.bmp": SOUND,
    "badrle.bmp": "past the end of its row",
    "badwidth.bmp": "no pixels",
    "broken.png": "truncated",
    "broken_data_stream.png": "checksum",
    "broken_exif_dpi.jpg": SOUND,  # here and in the like: the EXIF block is broken, the picture is not
    "crash-0c7e0e8e11ce787078f00b5b0ca409a167f070e0.tif": "beyond the file's end",
    # Here and in crash-74d2 fax codes are invalid: Pillow makes white rows of them, libtiff tells.
    "crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif": "fax codes",
    "crash-0e16d3bfb83be87356d026d66919deaefca44dac.tif": "beyond the file's end",
    "crash-1152ec2d1a1a71395b6f2ce6721c38924d025bf3.tif": "beyond the file's end",
    "crash-1185209cf7655b5aed8ae5e77784dfdd18ab59e9.tif": "beyond the file's end",
    "crash-2020-10-test.tif": "beyond the file's end",
    "crash-338516dbd2f0e83caddb8ce256c22db3bd6dc40f.tif": "beyond the file's end",
    "crash-4f085cc12ece8cde18758d42608bed6a2a2cfb1c.tif": "beyond the file's end",
    "crash-63b1dffefc8c075ddc606c0a2f5fdc15ece78863.tif": "beyond the file's end",
    "crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif": "fax codes",
    "crash-86214e58da443d2b80820cff9677a38a33dcbbca.tif": "damaged",
    "crash-f46f5b2f43c370fe65706c11449f567ecc345e74.tif": "beyond the file's end",
    "decompression_bomb.gif": "too large",
    "decompression_bomb_extents.gif": SOUND,  # the bomb is in the second frame
    "delay_zero_denom.png": SOUND,
    "delay_zero_numer.png": SOUND,
    "exif-dpi-zerodivision.jpg": SOUND,
    # Pillow calls it sound and shows bands of noise: between its restart markers the data is for other tables
    # (libjpeg: "1214 extraneous bytes before marker 0xd0").
    "hopper_bad_exif.jpg": "damaged",
    "hopper_zero_comment_subblocks.gif": SOUND,
    "imagedraw_chord_zero_width.png": SOUND,
    "imagedraw_ellipse_zero_width.png": SOUND,
    "imagedraw_pieslice_zero_width.png": SOUND,
    "imagedraw_rectangle_zero_width.png": SOUND,
    "invalid-exif-without-x-resolution.jpg": SOUND,
    "invalid-exif.jpg": SOUND,
    "non_zero_bb.png": SOUND,
    "non_zero_bb_scale2.png": SOUND,
    "oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": "beyond the file's end",
    "pal8badindex.bmp": SOUND,  # indices beyond the palette are black
    "photoshop-200dpi-broken.jpg": SOUND,
    "split_fdat_zero_chunk.png": SOUND,  # the frames behind the first are broken, here and in the next but one
    "sugarshack_bad_mpo_header.jpg": SOUND,
    "syntax_num_frames_invalid.png": SOUND,
    "syntax_num_frames_zero.png": "no image data",
    "syntax_num_frames_zero_default.png": SOUND,
    "total-pages-zero.tif": SOUND,
    "truncated_app14.jpg": SOUND,  # cut is an application segment, which says nothing of this picture
    "truncated_end_chunk.png": "truncated",
    "truncated_exif_dpi.jpg": SOUND,
    "truncated_image.png": "truncated",
    "truncated_jpeg.jpg": "truncated",
    "zero_bb.png": SOUND,
    "zero_bb_scale2.png": SOUND,
    "zero_width.gif": "no pixels",
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, over broken EXIF and animation chunks
@pytest.mark.parametrize("name", VERDICTS)
def test_each_broken_file_is_read_as_pillow_does_or_refused_for_its_reason(
    data_folder: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = data_folder / "broken" / name
    if VERDICTS[name] != SOUND:
        with pytest.raises(UnreadableImage) as caught:
            read_image(str(path))
        assert VERDICTS[name] in caught.value.reason
        assert capfd.readouterr() == ("", "")
        return
    image = read_image(str(path))
    assert image.samples.shape == (*read_info(str(path)).shape, 3)
    assert capfd.readouterr() == ("", "")
    if name in PILLOW_REFUSES:
        return
    with Image.open(path) as judge:
        if judge.info.get("icc_profile"):  # which other tests are about
            return
        turned = name.endswith("jpg") and judge.getexif().get(274, 1) != 1
        expected = np.asarray((ImageOps.exif_transpose(judge) if turned else judge).convert("RGBA"))
    visible = expected[..., 3] > 0
    np.testing.assert_array_equal(counts(image.valid, visible.shape), visible)
    np.testing.assert_array_equal(image.samples[visible], expected[..., :3][visible])


def test_every_broken_file_has_a_verdict(data_folder: Path) -> None:
    assert {path.name for path in (data_folder / "broken").iterdir()} == set(VERDICTS)
    assert (len(VERDICTS), sum(verdict == SOUND for verdict in VERDICTS.values())) == (57, 31)


def test_photographs_give_pillows_bits(data_folder: Path) -> None:
    photographs = sorted((data_folder / "photos").iterdir())
    chosen = random.Random(1).sample(photographs, 3)
    for path in chosen:
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(read_image(str(path)).samples, expected)


@pytest.mark.few(1)
@pytest.mark.parametrize("share", [0.6, 0.3, 0.95])
def test_damaged_photographs_are_refused(data_folder: Path, tmp_path: Path, share: float) -> None:
    damaged = tmp_path / "damaged.jpg"
    for path in [*sorted((data_folder / "photos").iterdir())[::4], *sorted((data_folder / "small").iterdir())[::40]]:
        data = path.read_bytes()
        at = int(len(data) * share)
        for variant in (data[:at], data[:at] + b"\xff\xd9", data[:at] + bytes(2000) + data[at + 2000 :]):
            damaged.write_bytes(variant)
            with pytest.raises(UnreadableImage, match=r"damaged|truncated"):
                read_image(str(damaged))


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("RGB.byte.tif", SOUND),
        ("RGBA.byte.tif", SOUND),
        ("RGBA.uint16.tif", SOUND),
        ("all-nodata.tif", SOUND),
        ("cog.tif", SOUND),
        ("cog_int16.tif", "int16 samples: not an 8- or 16-bit image; use --features bands"),
        ("cog_nodata_nan.tif", "float32 samples"),
        ("float32.tif", "float32 samples"),
        ("float_nan.tif", "float32 samples"),
        ("rgb_deflate.tif", SOUND),
        ("rgb_lzw.tif", SOUND),
    ],
)
def test_rasters_are_read_by_their_tags(data_folder: Path, name: str, verdict: str) -> None:
    path = data_folder / "rasters" / name
    if verdict != SOUND:
        with pytest.raises(UnreadableImage, match=verdict):
            read_image(str(path))
        return
    image = read_image(str(path))
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        stored = page.asarray()
    stored = np.moveaxis(stored, 0, 2) if page.axes == "SYX" else stored
    stored = stored[..., None] if stored.ndim == 2 else stored
    narrow = stored if stored.dtype == np.uint8 else ((stored.astype(int) + 128) // 257).astype(np.uint8)
    np.testing.assert_array_equal(
        image.samples, narrow[..., :3] if narrow.shape[2] > 1 else np.repeat(narrow, 3, axis=2)
    )
    if "RGBA" in name:
        np.testing.assert_array_equal(image.valid, stored[..., 3] > 0)
    else:
        assert image.valid is None


def test_a_slide_of_jpeg_tiles_gives_tifffiles_pixels(data_folder: Path) -> None:
    path = data_folder / "slides" / "cmu_small_region.svs"
    np.testing.assert_array_equal(read_image(str(path)).samples, tifffile.imread(path, key=0))
