"""Formats beyond the common ones: an independent decoder's pixels, any window the whole's, half of one never read."""

from __future__ import annotations

import io
import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from kseg_core.errors import UnreadableImage
from kseg_core.images import Pixels, cicp, heif, jpegxl, netpbm, open_picture, read_image, read_info
from kseg_core.images.raster import Refused
from kseg_core.images.srgb import to_8_bits

Read = Callable[[bytes], Pixels]
Refusal = Callable[[bytes], str]
Save = Callable[..., bytes]
WHOLE = (slice(None), slice(None))
WINDOWS = [(slice(0, 1), slice(0, 1)), (slice(5, 40), slice(7, 41)), (slice(47, 48), slice(0, 48))]


def stored(path: Path, data: bytes) -> NDArray[Any]:
    """All samples as `--features bands` has them; every window has to be theirs."""
    path.write_bytes(data)
    with open_picture(str(path)) as picture:
        whole, _ = picture.samples(*WHOLE)[:2]
        assert whole.dtype == picture.info.dtype
        assert whole.shape[:2] == picture.info.shape
        seen = picture.rgb(*WHOLE) if whole.dtype.kind == "u" else None
        for rows, columns in WINDOWS:
            np.testing.assert_array_equal(picture.samples(rows, columns)[0], whole[rows, columns])
            if seen is not None:
                np.testing.assert_array_equal(picture.rgb(rows, columns).samples, seen.samples[rows, columns])
    assert read_info(str(path)).shape == whole.shape[:2]
    return whole


def cuts(data: bytes) -> list[int]:
    """Lengths to cut a file to: many, and each of the last."""
    return sorted({*np.linspace(1, len(data) - 1, 60).astype(int), *range(max(1, len(data) - 12), len(data))})


CUT = [
    "jxl",
    "jxl lossless RGBA 16",
    "jxl boxes",
    "jxl animated",
    "jp2",
    "jp2 RGBA tiles",
    "j2k tiles 16",
    "heic",
    "heic RGBA",
    "heic grid 10 bits",
    "avif",
    "avif RGBA 10 bits",
    "avif animated",
    "jpeg 12 bits",
    "ppm",
    "pgm 16",
    "pbm plain",
    "qoi",
    "qoi RGBA",
    "jpeg xr",
    "jpeg xr RGBA 16",
]


@pytest.mark.parametrize("kind", CUT)
def test_a_file_cut_anywhere_is_refused_or_is_the_very_same(
    tmp_path: Path, samples: dict[str, bytes], kind: str
) -> None:
    data, path = samples[kind], tmp_path / "cut"
    path.write_bytes(data)
    whole = read_image(str(path))
    refused = 0
    for length in cuts(data):
        path.write_bytes(data[:length])
        try:
            part = read_image(str(path))
        except UnreadableImage:
            refused += 1
        else:
            np.testing.assert_array_equal(part.samples, whole.samples, err_msg=f"cut to {length} of {len(data)}")
    assert refused > 0.9 * len(cuts(data))


# ------------------------------------------------------------------------------------------------------------ JPEG 2000

TILES = {"BLOCKXSIZE": 32, "BLOCKYSIZE": 32}
LOSSLESS = {"QUALITY": "100", "REVERSIBLE": "YES"}


def by_gdal(path: Path, pixels: NDArray[Any], options: dict[str, Any], *, alpha: bool = False) -> NDArray[Any]:
    """Have GDAL write a JPEG 2000, and read it."""
    import rasterio
    import rasterio.shutil

    height, width, bands = pixels.shape
    profile: dict[str, Any] = {"height": height, "width": width, "count": bands, "dtype": pixels.dtype}
    if bands > 2:
        profile |= {"photometric": "rgb"} | ({"alpha": "yes"} if alpha else {})
    plain = path.with_suffix(".tif")
    with rasterio.open(plain, "w", driver="GTiff", **profile) as target:
        target.write(np.moveaxis(pixels, 2, 0))
    rasterio.shutil.copy(plain, path, driver="JP2OpenJPEG", **options)
    with rasterio.open(path) as source:
        read: NDArray[Any] = np.moveaxis(source.read(), 0, 2)
    return read


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        ("uint8", {**LOSSLESS, **TILES}),
        ("uint8", LOSSLESS),
        ("uint8", {"QUALITY": "20", **TILES}),  # the irreversible transform
        ("uint8", {"YCC": "YES", **LOSSLESS, **TILES, "PLT": "YES", "TLM": "YES"}),
        ("uint8", {**LOSSLESS, **TILES, "SOP": "YES", "EPH": "YES", "TILEPARTS": "RESOLUTIONS"}),
        ("uint8", {**LOSSLESS, "CODEC": "J2K", **TILES}),
        ("uint16", {**LOSSLESS, **TILES}),
        ("uint16", {**LOSSLESS, "NBITS": 12}),
        ("int16", {**LOSSLESS, **TILES}),
    ],
)
def test_jpeg_2000_is_as_gdal_reads_it(
    tmp_path: Path, texture: NDArray[np.uint8], dtype: str, options: dict[str, Any]
) -> None:
    pixels = texture[..., :3].astype(dtype) * np.dtype(dtype).type(1 if dtype == "uint8" else 16)
    pixels = pixels - 900 if dtype == "int16" else pixels
    path = tmp_path / "picture.jp2"
    judge = by_gdal(path, pixels, options)
    found = stored(path, path.read_bytes())
    np.testing.assert_array_equal(found, judge)
    if options.get("REVERSIBLE"):
        np.testing.assert_array_equal(found, pixels)
    block = read_info(str(path)).block
    assert block == ((32, 32) if "BLOCKXSIZE" in options else None)
    if "NBITS" in options:
        seen = read_image(str(path)).samples
        np.testing.assert_array_equal(seen, (found.astype(np.int64) * 510 + 4095) // 8190)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("options", [{}, {"1BIT_ALPHA": "YES"}, TILES])
def test_alpha_of_jpeg_2000_is_what_its_boxes_say(
    tmp_path: Path, texture: NDArray[np.uint8], options: dict[str, Any]
) -> None:
    pixels = texture.copy()
    pixels[..., 3] = np.where(pixels[..., 3] > 99, 255, 0)
    path = tmp_path / "picture.jp2"
    by_gdal(path, pixels, {**LOSSLESS, **options}, alpha=True)
    info = read_info(str(path))
    assert (info.bands, info.alpha) == (4, True)
    np.testing.assert_array_equal(stored(path, path.read_bytes()), pixels[..., :3])
    image = read_image(str(path))
    assert image.valid is not None
    np.testing.assert_array_equal(image.valid, pixels[..., 3] != 0)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_bands_of_jpeg_2000_without_colours(tmp_path: Path, refusal: Refusal, texture: NDArray[np.uint8]) -> None:
    pixels = np.concatenate([texture, texture[..., :3] // 2], axis=2)
    path = tmp_path / "picture.jp2"
    by_gdal(path, pixels, {**LOSSLESS, **TILES})
    with open_picture(str(path)) as picture:
        np.testing.assert_array_equal(picture.samples(*WHOLE)[0], pixels)
        np.testing.assert_array_equal(picture.samples(*WHOLE, (7, 2))[0], pixels[..., [6, 1]])
    assert "--features bands" in refusal(path.read_bytes())


def test_palettes_of_jpeg_2000_are_looked_up(tmp_path: Path, texture: NDArray[np.uint8]) -> None:
    from rasterio import open as raster_open
    from rasterio import shutil

    indices = texture[..., 0] // 16
    table = {n: (n * 16, 255 - n * 16, n, 255) for n in range(16)}
    plain, path = tmp_path / "plain.tif", tmp_path / "picture.jp2"
    transform = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    profile = {"height": 64, "width": 48, "count": 1, "dtype": "uint8", "transform": transform}
    profile |= {"height": indices.shape[0], "width": indices.shape[1]}
    with raster_open(plain, "w", driver="GTiff", **profile) as target:
        target.write(indices, 1)
        target.write_colormap(1, table)
    shutil.copy(plain, path, driver="JP2OpenJPEG", **LOSSLESS, **TILES)
    expected = np.array([table[n][:3] for n in range(16)], np.uint8)[indices]
    np.testing.assert_array_equal(read_image(str(path)).samples, expected)
    assert read_info(str(path)).colours == "palette"
    with open_picture(str(path)) as picture, pytest.raises(UnreadableImage, match="palette"):
        picture.samples(*WHOLE)


def test_jpeg_2000_off_the_grid_and_of_pillow(tmp_path: Path, save: Save, texture: NDArray[np.uint8]) -> None:
    image = Image.fromarray(texture[..., :3].copy())
    for options in (
        {"offset": (13, 7), "tile_offset": (3, 5), "tile_size": (16, 16)},
        {"irreversible": True, "quality_layers": [9, 3], "tile_size": (40, 11)},
        {"precinct_size": (32, 32), "codeblock_size": (16, 16), "progression": "PCRL"},
    ):
        data = save(image, "JPEG2000", **options)
        np.testing.assert_array_equal(stored(tmp_path / "p", data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_subsampled_chroma_of_jpeg_2000(tmp_path: Path, texture: NDArray[np.uint8]) -> None:
    path = tmp_path / "picture.jp2"
    judge = by_gdal(path, texture[..., :3], {"YCBCR420": "YES", "QUALITY": "100"})
    assert np.abs(stored(path, path.read_bytes()).astype(int) - judge).max() <= 1  # each rounds in its own way


def test_a_jpeg_2000_without_all_its_tiles_is_refused(refusal: Refusal, samples: dict[str, bytes]) -> None:
    data = samples["j2k tiles 16"]
    parts = [at.start() for at in re.finditer(b"\xff\x90\0\x0a", data)]
    assert len(parts) == 6
    assert refusal(data[: parts[3]] + data[parts[4] :]).endswith("has 5 tiles of 6")
    assert refusal(data[: parts[3]] + b"\xff\xd9").endswith("has 3 tiles of 6")
    assert refusal(data[: parts[3]]).startswith("truncated")
    short = data[: parts[3] + 6] + struct.pack(">I", 13) + data[parts[3] + 10 :]
    assert "shorter than its header" in refusal(short)
    beyond = data[: parts[5] + 6] + struct.pack(">I", 1 << 20) + data[parts[5] + 10 :]
    assert refusal(beyond).startswith("truncated: tile 6")
    twice = data[: parts[3]] + data[parts[2] : parts[3]] + data[parts[3] :]
    assert "lacks a part" in refusal(twice)


def test_a_jpeg_2000_of_hostile_size_is_refused_before_it_is_decoded(
    refusal: Refusal, samples: dict[str, bytes]
) -> None:
    data = samples["j2k tiles 16"]
    size = struct.pack(">II", 1 << 20, 1 << 20)
    large = data[:8] + size + data[16:]
    assert "tiles of" in refusal(large)
    last = data.rindex(b"\xff\x90\0\x0a")
    one = data[:8] + size + data[16:24] + size + data[32 : data.index(b"\xff\x90")]
    one += struct.pack(">HHHIBB", 0xFF90, 10, 0, 0, 0, 1) + data[last + 12 :]
    assert refusal(one).startswith("too large: 1048576 x 1048576")


# -------------------------------------------------------------------------------------------------------------- JPEG XL


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_jpeg_xl_is_as_it_was_encoded(
    tmp_path: Path, texture: NDArray[np.uint8], dtype: str, channels: int
) -> None:
    import imagecodecs

    pixels = np.ascontiguousarray(texture[:33, :51, :channels].squeeze()).astype(dtype)
    pixels = pixels / np.float32(255) if dtype == "float32" else pixels * (257 if dtype == "uint16" else 1)
    path = tmp_path / "picture"
    path.write_bytes(bytes(imagecodecs.jpegxl_encode(pixels.astype(dtype), lossless=True)))
    deep = pixels[..., None] if channels == 1 else pixels[..., : channels - (channels in (2, 4))]
    with open_picture(str(path)) as picture:
        assert picture.info.alpha == (channels in (2, 4))
        np.testing.assert_array_equal(picture.samples(*WHOLE)[0], deep)
        if dtype == "float32":
            with pytest.raises(UnreadableImage, match="--features bands"):
                picture.rgb(*WHOLE)
        else:
            expected = texture[:33, :51, : deep.shape[2]].astype(float)
            if dtype == "uint16":  # which imagecodecs writes as linear light
                share = expected / 255
                expected = np.where(share <= 0.0031308, share * 12.92, 1.055 * share ** (1 / 2.4) - 0.055) * 255
            found = picture.rgb(*WHOLE).samples
            assert np.abs(found - np.broadcast_to(expected, found.shape)).max() <= (0.51 if dtype == "uint16" else 0)


def test_jpeg_xl_is_as_another_build_of_libjxl_reads_it(tmp_path: Path, samples: dict[str, bytes]) -> None:
    plugin = pytest.importorskip("pillow_jxl")
    assert plugin
    for kind in ("jxl", "jxl boxes"):
        judge = np.asarray(Image.open(io.BytesIO(samples[kind])))
        found = stored(tmp_path / "picture", samples[kind])
        assert np.abs(found.astype(int) - judge).max() <= (1 if kind == "jxl" else 0)


def test_the_profile_of_a_jpeg_within_a_jpeg_xl(tmp_path: Path, save: Save, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    image = Image.fromarray(texture[..., :3].copy())
    swapped = cicp.profile_of(cicp.Colour((*cicp.PRIMARIES[1][2::-1], cicp.PRIMARIES[1][3])))
    data = bytes(imagecodecs.jpegxl_encode_jpeg(save(image, "JPEG", quality=95, icc_profile=swapped)))
    path = tmp_path / "picture.jxl"
    path.write_bytes(data)
    seen, plain = (
        read_image(str(path)).samples,
        read_image_of(path.with_suffix(".jpg"), save(image, "JPEG", quality=95)),
    )
    try:
        import pillow_jxl
    except ImportError:
        assert "kseg-batch[jxl]" in " ".join(read_info(str(path)).notes)
        assert np.abs(seen.astype(int) - plain).mean() < 3
    else:
        assert pillow_jxl
        assert read_info(str(path)).notes == ()
        assert np.abs(seen.astype(int) - plain[..., ::-1]).mean() < 3


def read_image_of(path: Path, data: bytes) -> NDArray[np.uint8]:
    path.write_bytes(data)
    return read_image(str(path)).samples


def test_a_jpeg_xl_is_turned_and_its_first_frame_is_said(tmp_path: Path, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    frames = np.stack([texture[..., :3], texture[::-1, :, :3]])
    path = tmp_path / "picture"
    path.write_bytes(bytes(imagecodecs.jpegxl_encode(frames, lossless=True)))
    np.testing.assert_array_equal(read_image(str(path)).samples, frames[0])
    assert read_info(str(path)).notes == ("the first frame of an animation",)
    # The header of a bare stream: signature, size of 48 x 64 by eighths, then "all is as usual" becomes an orientation.
    header = jpegxl._parsed(bytes(imagecodecs.jpegxl_encode(texture[..., :3].copy(), lossless=True)))
    assert (header.height, header.width, header.bits, header.xyb, header.orientation) == (48, 64, 8, False, 1)


def test_the_still_image_of_an_avif_sequence_is_read_and_the_sequence_is_said(
    tmp_path: Path, samples: dict[str, bytes]
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(samples["avif animated"])
    judge = np.array(Image.open(path).convert("RGBA"))
    image = read_image(str(path))
    np.testing.assert_array_equal(image.samples, judge[..., :3])
    assert image.valid is not None
    np.testing.assert_array_equal(image.valid, judge[..., 3] > 0)
    assert read_info(str(path)).notes == ("its still image; the sequence beside it is left out",)


def test_jpeg_ls_is_named_and_not_called_damaged(refusal: Refusal, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    for samples in (texture[..., :3].copy(), texture[..., 0].astype(np.uint16) * 200):
        reason = refusal(bytes(imagecodecs.jpegls_encode(samples)))
        assert reason.startswith("JPEG-LS: not supported here")


def test_linear_light_gets_the_curve_of_srgb() -> None:
    found = to_8_bits(np.array([[0, 1, 2048, 4095]], np.uint16), 4095, linear=True)
    expected = [0, 12.92 / 4095 * 255, (1.055 * (2048 / 4095) ** (1 / 2.4) - 0.055) * 255, 255]
    np.testing.assert_array_equal(found[0], np.round(expected))


# -------------------------------------------------------------------------------------------------------- HEIC and AVIF


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("options", [{}, {"tile_size": 32}])
def test_lossless_heic_is_as_it_was_encoded(
    tmp_path: Path, save_heic: Save, texture: NDArray[np.uint8], channels: int, options: dict[str, Any]
) -> None:
    pixels = np.ascontiguousarray(texture[..., :channels])
    pixels[:5, :, -1] = 0
    found = stored(tmp_path / "picture", save_heic(pixels, **options))
    np.testing.assert_array_equal(found, pixels[..., : min(channels, 3)])
    image = read_image(str(tmp_path / "picture"))
    if channels == 4:
        assert image.valid is not None
        np.testing.assert_array_equal(image.valid, pixels[..., 3] != 0)


def test_ten_bits_of_heic_and_avif_stay_ten_bits(tmp_path: Path, save_heic: Save, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    wide = texture[..., :3].astype(np.uint16) * 257
    ten = wide >> 6
    for data in (
        save_heic(wide),
        bytes(imagecodecs.avif_encode(ten, level=100, bitspersample=10)),
    ):
        found = stored(tmp_path / "picture", data)
        np.testing.assert_array_equal(found, ten)
        seen = read_image(str(tmp_path / "picture")).samples
        np.testing.assert_array_equal(seen, (ten.astype(np.uint32) * 510 + 1023) // 2046)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_and_avif_are_turned_once(
    tmp_path: Path, read: Read, texture: NDArray[np.uint8], orientation: int
) -> None:
    """By the container's properties; the EXIF block says the same, and Pillow's readers turn by one of them."""
    import pillow_heif

    image = Image.fromarray(texture[..., :3].copy())
    exif = Image.Exif()
    exif[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(with_orientation(image, orientation)))
    out = io.BytesIO()
    heif = pillow_heif.from_pillow(image)
    heif.info["exif"] = exif.tobytes()
    heif.save(out, quality=-1, chroma=444, matrix_coefficients=0)
    np.testing.assert_array_equal(read(out.getvalue()).samples, expected)
    out = io.BytesIO()
    image.save(out, "AVIF", quality=100, subsampling="4:4:4", exif=exif.tobytes())
    judge = np.asarray(ImageOps.exif_transpose(Image.open(out)))
    np.testing.assert_array_equal(read(out.getvalue()).samples, judge)
    assert np.abs(judge.astype(int) - expected).max() < 8


def with_orientation(image: Image.Image, orientation: int) -> Image.Image:
    """The same picture, to be turned by Pillow."""
    out = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    image.save(out, "PNG", exif=exif)
    return Image.open(out)


def test_lossless_avif_is_as_it_was_encoded(tmp_path: Path, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    for channels in (1, 3, 4):
        pixels = np.ascontiguousarray(texture[..., :channels].squeeze())
        found = stored(tmp_path / "picture", bytes(imagecodecs.avif_encode(pixels, level=100)))
        np.testing.assert_array_equal(found, pixels[..., None] if channels == 1 else pixels[..., :3])


def test_profiles_of_heic_and_avif_are_applied(read: Read, texture: NDArray[np.uint8]) -> None:
    import pillow_heif

    image = Image.fromarray(texture[..., :3].copy())
    swapped = cicp.profile_of(cicp.Colour((*cicp.PRIMARIES[1][2::-1], cicp.PRIMARIES[1][3])))
    expected = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(io.BytesIO(swapped)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert expected is not None
    assert np.abs(np.asarray(expected).astype(int) - texture[..., 2::-1]).max() < 3
    out = io.BytesIO()
    heif = pillow_heif.from_pillow(image)
    heif.info["icc_profile"] = swapped
    heif.save(out, quality=-1, chroma=444, matrix_coefficients=0)
    np.testing.assert_array_equal(read(out.getvalue()).samples, np.asarray(expected))
    out = io.BytesIO()
    image.save(out, "AVIF", quality=100, subsampling="4:4:4", icc_profile=swapped)
    assert np.abs(read(out.getvalue()).samples.astype(int) - np.asarray(expected)).max() < 9


def test_colours_named_by_numbers_are_converted(read: Read, samples: dict[str, bytes]) -> None:
    """Display P3 (primaries 12, H.273) against a direct computation; PQ is said."""
    data = samples["avif"]
    plain = read(data).samples
    at = data.index(b"colrnclx") + 8
    wide = data[:at] + struct.pack(">HH", 12, 13) + data[at + 4 :]
    found = read(wide).samples
    expected = displayed(plain, 12)
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert np.abs(found.astype(int) - plain).max() > 10


def displayed(rgb: NDArray[np.uint8], primaries: int) -> NDArray[np.float64]:
    """8-bit colours of other primaries and the curve of sRGB, in sRGB, by the textbook."""

    def matrix(number: int) -> NDArray[np.float64]:
        *corners, (x, y) = cicp.PRIMARIES[number]
        columns = np.array([[a, b, 1 - a - b] for a, b in corners]).T
        return np.asarray(columns * np.linalg.solve(columns, np.array([x / y, 1.0, (1 - x - y) / y])))

    share = rgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    moved = np.clip(linear @ matrix(primaries).T @ np.linalg.inv(matrix(1)).T, 0, 1)
    return np.asarray(255 * np.where(moved <= 0.0031308, moved * 12.92, 1.055 * moved ** (1 / 2.4) - 0.055))


def test_several_images_and_high_dynamic_range_are_said(tmp_path: Path, samples: dict[str, bytes]) -> None:
    import pillow_heif

    file = pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red"))
    file.add_from_pillow(Image.new("RGB", (80, 64), "blue"))
    out = io.BytesIO()
    file.save(out, quality=-1, chroma=444, primary_index=1)
    path = tmp_path / "two.heic"
    path.write_bytes(out.getvalue())
    info = read_info(str(path))
    assert info.shape == (64, 80)
    assert info.notes == ("its primary image of 2",)
    assert read_image(str(path)).samples[0, 0].tolist()[2] > 250
    data = samples["avif"]
    at = data.index(b"colrnclx") + 8
    path.write_bytes(data[:at] + struct.pack(">HH", 9, 16) + data[at + 4 :])
    assert "PQ" in " ".join(read_info(str(path)).notes)


def test_what_a_heif_lacks_is_said(refusal: Refusal, samples: dict[str, bytes]) -> None:
    heic = samples["heic"]
    assert refusal(heic.replace(b"pitm\0\0\0\0\0\1", b"pitm\0\0\0\0\0\7")) == "damaged: the HEIF has no primary image"
    assert "does not state its size" in refusal(heic.replace(b"ispe", b"free"))
    assert refusal(heic[:200]).startswith("truncated")
    at = heic.index(b"ispe") + 8
    assert "too large" in refusal(heic[:at] + struct.pack(">II", 1 << 20, 1 << 20) + heic[at + 8 :])
    assert refusal(heic[:at] + struct.pack(">II", 46, 48) + heic[at + 8 :]).startswith("damaged: ")
    video = b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc\0\0\0\x08moov"
    assert "sequence" in refusal(video)
    other = heic.replace(b"hvc1", b"vvc1")
    assert "not supported" in refusal(other)


# -------------------------------------------------------------------------------------------------------- JPEG, 12 bits


def twelve_bits(texture: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return texture[..., :3].astype(np.uint16) * 16


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("channels", [1, 3])
def test_jpegs_of_12_bits_are_as_gdal_reads_them(tmp_path: Path, texture: NDArray[np.uint8], channels: int) -> None:
    import imagecodecs
    import rasterio

    wide = np.ascontiguousarray(twelve_bits(texture)[..., :channels].squeeze())
    data = bytes(imagecodecs.jpeg8_encode(wide, level=95, bitspersample=12))
    found = stored(tmp_path / "picture", data)
    with rasterio.open(tmp_path / "picture", driver="JPEG") as judge:
        np.testing.assert_array_equal(found, np.moveaxis(judge.read(), 0, 2))
    assert found.dtype == np.uint16
    seen = read_image(str(tmp_path / "picture")).samples
    expected = (found.astype(np.int64) * 510 + 4095) // 8190
    np.testing.assert_array_equal(seen, np.broadcast_to(expected, seen.shape))


def test_damaged_jpegs_of_12_bits_are_refused(samples: dict[str, bytes], refusal: Refusal) -> None:
    data = samples["jpeg 12 bits"]
    assert refusal(data[: len(data) // 2] + b"\xff\xd9").startswith("damaged or truncated")
    middle = len(data) * 2 // 3
    assert "damaged" in refusal(data[:middle] + bytes(200) + data[middle + 200 :])


# --------------------------------------------------------------------------------------------------------------- Netpbm


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_netpbm_is_as_pillow_reads_it(tmp_path: Path, save: Save, texture: NDArray[np.uint8], mode: str) -> None:
    image = Image.fromarray(texture[:, :61, :3].copy()).convert(mode)
    data = save(image, "PPM")
    judge = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    path = tmp_path / "picture"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_image(str(path)).samples, judge)
    stored(path, data)
    numbers = np.asarray(image).astype(int).ravel()
    numbers = 1 - numbers if mode == "1" else numbers
    head = {"1": b"P1\n61 48\n", "L": b"P2 # grays\n61\n48 255\n", "RGB": b"P3\n61 48\n255\n"}[mode]
    path.write_bytes(head + b"\n".join(b"%d" % number for number in numbers) + b"\n")
    np.testing.assert_array_equal(read_image(str(path)).samples, judge)


def test_plain_numbers_are_read_in_parts_that_cut_no_number_and_no_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(3).integers(0, 256, 300)
    text = b" ".join(b"%d" % n + b" # 7 8 9\n" * int(n % 5 == 0) for n in numbers) + b"\n"
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr(netpbm, "_BLOCK_BYTES", size)
        found = netpbm.Netpbm.decode(b"P2\n30 10\n255\n" + text, 1 << 20)
        assert found.samples.ravel().tolist() == numbers.tolist()
        with pytest.raises(Refused, match="may lack digits"):
            netpbm.Netpbm.decode(b"P2\n3 1\n255\n1 2 3", 1 << 20)
        assert netpbm.Netpbm.decode(b"P2\n3 1\n255\n1 2 3 4", 1 << 20).samples.tolist() == [[1, 2, 3]]
        with pytest.raises(Refused, match="2 samples of 3"):
            netpbm.Netpbm.decode(b"P2\n3 1\n255\n1 2 # 3\n", 1 << 20)


def test_plain_numbers_take_little_more_memory_than_their_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netpbm, "_BLOCK_BYTES", 1 << 13)
    data = b"P2\n300 300\n255\n" + b"17 " * 90_000
    tracemalloc.start()
    try:
        netpbm.Netpbm.decode(data, 1 << 20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1e6  # as objects of Python they would be 3.6 MB and more


def test_samples_of_netpbm_stay_within_what_is_stated(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "picture"
    path.write_bytes(b"P5\n2 2\n1000\n" + np.array([0, 1, 500, 1000], ">u2").tobytes())
    assert read_image(str(path)).samples[..., 0].tolist() == [[0, 0], [128, 255]]
    assert stored_samples(path).tolist() == [[[0], [1]], [[500], [1000]]]
    assert "up to 1000" in refusal(b"P5\n1 1\n1000\n" + b"\xff\xff")
    assert "up to 70000" in refusal(b"P5\n1 1\n70000\n" + bytes(9))
    assert "neither 0 nor 1" in refusal(b"P1\n2 1\n0 2\n")
    assert "no pixels" in refusal(b"P5\n0 1\n255\n")
    assert "too large" in refusal(b"P5\n999999999 999999999\n255\n")
    two = b"P5\n1 1\n255\n\x07"
    path.write_bytes(two + two)
    assert read_info(str(path)).notes == ("the first picture of several",)


def stored_samples(path: Path) -> NDArray[Any]:
    with open_picture(str(path)) as picture:
        return picture.samples(*WHOLE)[0]


# ------------------------------------------------------------------------------------------------------------------ QOI


def test_qoi_is_as_it_was_encoded(tmp_path: Path, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    np.testing.assert_array_equal(
        stored(tmp_path / "rgb", bytes(imagecodecs.qoi_encode(texture[..., :3].copy()))), texture[..., :3]
    )
    clear = texture.copy()
    clear[:9, :, 3] = 0
    np.testing.assert_array_equal(stored(tmp_path / "rgba", bytes(imagecodecs.qoi_encode(clear))), clear[..., :3])
    image = read_image(str(tmp_path / "rgba"))
    assert image.valid is not None
    np.testing.assert_array_equal(image.valid, clear[..., 3] != 0)


def test_a_qoi_of_too_few_or_too_many_codes_is_refused(samples: dict[str, bytes], refusal: Refusal) -> None:
    data, end = samples["qoi"], bytes(7) + b"\1"
    for codes in (data[14:-9], data[14:-8] + b"\xc0", data[14:-8] + b"\xfe", data[14:100]):
        assert "does not end where the picture does" in refusal(data[:14] + codes + end)
    assert refusal(data[:-1]).startswith("truncated or damaged")
    assert refusal(data[:12] + b"\7\0" + data[14:]).startswith("damaged: a QOI of 7 channels")


# -------------------------------------------------------------------------------------------------------------- JPEG XR


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_jpeg_xr_is_as_it_was_encoded(
    tmp_path: Path, texture: NDArray[np.uint8], dtype: str, channels: int
) -> None:
    import imagecodecs

    pixels = np.ascontiguousarray(texture[..., :channels].squeeze()).astype(dtype)
    if dtype == "uint16":
        pixels = pixels * 200 + 3
    data = bytes(imagecodecs.jpegxr_encode(pixels, level=1.0))
    colours = pixels[..., None] if channels == 1 else pixels[..., :3]
    np.testing.assert_array_equal(stored(tmp_path / "picture", data), colours)
    seen = read_image(str(tmp_path / "picture")).samples
    expected = colours if dtype == "uint8" else (colours.astype(np.uint32) + 128) // 257
    np.testing.assert_array_equal(seen, np.broadcast_to(expected, seen.shape))


def turned_jpeg_xr(data: bytes, value: int) -> bytes:
    """A JPEG XR that states a transform."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    out = bytearray(data)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == 0xBC02:
            struct.pack_into("<HHII", out, entry, 0xBC02, 4, 1, value)
    return bytes(out)


def test_the_transform_of_a_jpeg_xr_is_applied_once(tmp_path: Path, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    pixels = np.ascontiguousarray(texture)
    data = bytes(imagecodecs.jpegxr_encode(pixels, level=1.0))
    for value in range(8):
        turned = turned_jpeg_xr(data, value)
        if value < 4:  # those that jxrlib does itself
            expected = imagecodecs.jpegxr_decode(turned)[..., :3]
        else:  # rotated by 90 degrees clockwise, then flipped as the two lower bits say (T.832, table A.9)
            expected = np.rot90(pixels[..., :3], -1)
            expected = expected[:: -1 if value & 1 else 1, :: -1 if value & 2 else 1]
        np.testing.assert_array_equal(stored(tmp_path / "picture", turned), expected, err_msg=str(value))


def test_jpeg_xr_of_other_pixel_formats_is_not_called_damaged(refusal: Refusal, texture: NDArray[np.uint8]) -> None:
    import imagecodecs

    data = bytes(imagecodecs.jpegxr_encode(texture[..., 0].copy()))
    guid = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9")
    assert "not supported" in refusal(data.replace(guid + b"\x08", guid + b"\x13"))


def test_the_first_frame_of_an_animation_is_said(tmp_path: Path, save: Save, samples: dict[str, bytes]) -> None:
    path = tmp_path / "picture"
    for kind in ("gif", "gif animated", "webp animated", "webp lossy"):
        path.write_bytes(samples[kind])
        notes = read_info(str(path)).notes
        assert len(notes) == ("animated" in kind), kind
        assert all("the first frame of an animation; --page chooses" in note for note in notes)
    path.write_bytes(samples["gif"].rstrip(b";"))
    assert read_info(str(path)).notes == ()


def test_parts_of_a_heif_that_take_no_bytes_are_not_counted_out() -> None:
    items = b"".join(struct.pack(">HHH", item, 0, 65535) for item in range(3000))
    with pytest.raises(Refused, match="damaged: the HEIF lists several parts"):
        heif._read_locations(heif._Meta(), 0, heif.Fields(struct.pack(">HH", 0, 3000) + items))


def test_lack_of_memory_is_not_damage_and_no_class_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("pillow_heif")

    def fails(error: Exception) -> None:
        def open_heif(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(library, "open_heif", open_heif)

    fails(MemoryError())
    with pytest.raises(MemoryError):
        heif._decoded_heic(b"")
    fails(KeyError())
    with pytest.raises(Refused, match="damaged: the HEIC cannot be decoded") as caught:
        heif._decoded_heic(b"")
    assert "KeyError" not in str(caught.value)
