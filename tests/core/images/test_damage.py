"""Half a picture is never taken for a whole one."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from kseg_core.images import Pixels

Read = Callable[[bytes], Pixels]
Save = Callable[..., bytes]
Refusal = Callable[[bytes], str]

END = b"\xff\xd9"


@pytest.fixture(scope="module")
def photo(save: Save) -> dict[str, bytes]:
    """JPEGs of some size, with as much in them as photographs have."""
    noise = np.random.default_rng(8).normal(0, 25, (300, 400, 3))
    y, x = np.mgrid[0:300, 0:400]
    picture = np.clip(np.dstack([x / 2, y / 2, (x + y) / 3]) + noise, 0, 255).astype(np.uint8)
    image = Image.fromarray(picture)
    return {
        "baseline": save(image, "JPEG", quality=90),
        "progressive": save(image, "JPEG", quality=90, progressive=True),
        "restarts": save(image, "JPEG", quality=90, restart_marker_rows=1),
        "gray": save(image.convert("L"), "JPEG", quality=90),
    }


KINDS = ["baseline", "progressive", "restarts", "gray"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.3, 0.6, 0.9, 0.99, 0.999])
def test_a_cut_jpeg_is_refused_with_and_without_an_end_marker(
    refusal: Refusal, photo: dict[str, bytes], kind: str, share: float
) -> None:
    data = photo[kind]
    cut = data[: int(len(data) * share)]
    assert "truncated" in refusal(cut)
    assert re.match("damaged|truncated", refusal(cut + END))


# Not the last scan of a progressive one: it is correction bits, and libjpeg takes zeros for good ones too.
@pytest.mark.parametrize(
    ("kind", "share"),
    [(kind, share) for kind in KINDS for share in (0.2, 0.5, 0.8) if (kind, share) != ("progressive", 0.8)],
)
def test_a_jpeg_with_2000_zeroed_bytes_is_refused(
    refusal: Refusal, photo: dict[str, bytes], kind: str, share: float
) -> None:
    data = bytearray(photo[kind])
    at = int(len(data) * share)
    data[at : at + 2000] = bytes(2000)
    assert re.match("damaged|truncated", refusal(bytes(data)))


def test_a_jpeg_without_its_end_marker_is_refused(refusal: Refusal, photo: dict[str, bytes]) -> None:
    assert refusal(photo["baseline"][:-2]) == "truncated: the JPEG ends before its end marker"


def test_a_progressive_jpeg_cut_between_two_scans_is_refused(refusal: Refusal, photo: dict[str, bytes]) -> None:
    data = photo["progressive"]
    scans = [match.start() for match in re.finditer(rb"\xff\xda", data)]
    assert len(scans) == 10
    for at in scans[1:]:
        before = data.rindex(b"\xff\xc4", 0, at) if data[at - 2 : at] != b"\xff\xc4" else at
        assert refusal(data[:before] + END) == "truncated: the JPEG ends before its last scan"


def test_a_missing_restart_marker_is_damage(refusal: Refusal, photo: dict[str, bytes]) -> None:
    data = photo["restarts"]
    at = data.index(b"\xff\xd3")
    assert re.match("damaged", refusal(data[:at] + data[at + 2 :]))


def test_untidy_jpegs_give_the_same_bits(read: Read, photo: dict[str, bytes]) -> None:
    for kind in ("baseline", "progressive"):
        data = photo[kind]
        expected = read(data).samples
        tables, end = data.index(b"\xff\xdb"), len(data) - 2
        untidy = {
            "junk before the tables": data[:tables] + b"junk\0junk" + data[tables:],
            "fill bytes before a marker": data[:tables] + b"\xff\xff\xff" + data[tables:],
            "zeros before the end": data[:end] + bytes(7) + END,
            "both": data[:tables] + b"junk" + data[tables:end] + bytes(2) + END,
            "a strange JFIF version": data.replace(b"JFIF\0\1\1", b"JFIF\0\7\7"),
            "a broken EXIF block": data[:2] + b"\xff\xe1\0\x0cExif\0\0zzzz" + data[2:],
            "anything after the end": data + b"\xff\xd8\xff\xe0 a preview, a video" + bytes(5000),
        }
        for name, changed in untidy.items():
            np.testing.assert_array_equal(read(changed).samples, expected, err_msg=name)


def test_an_untidy_warning_does_not_hide_a_damaging_one(refusal: Refusal, photo: dict[str, bytes]) -> None:
    for kind in KINDS:
        data = photo[kind]
        tables = data.index(b"\xff\xdb")
        cut = data[: len(data) * 6 // 10] + END
        assert re.match("damaged|truncated", refusal(cut[:tables] + b"junk" + cut[tables:]))
        # Zeros before the end are padding only behind a last scan that is whole.
        assert re.match("damaged|truncated", refusal(cut[:-2] + bytes(500) + END))


def test_bytes_left_over_behind_the_last_scan_are_damage(refusal: Refusal, photo: dict[str, bytes]) -> None:
    data = photo["baseline"]
    assert "does not end where its last scan does" in refusal(data[:-2] + b"\x12\x34\x56" * 20 + END)


def test_jpegs_of_other_kinds_are_refused_by_what_they_are(refusal: Refusal, photo: dict[str, bytes]) -> None:
    data = photo["baseline"]
    at = data.index(b"\xff\xc0")
    twelve = data[: at + 4] + b"\x0c" + data[at + 5 :]
    assert refusal(twelve) == "damaged: a baseline JPEG has 8 bits a sample, this one states 12"
    lossless = data[: at + 4] + b"\x10" + data[at + 5 :]
    assert refusal(lossless).startswith("16-bit JPEG: not supported here")
    strange = data[: at + 11] + b"\x42" + data[at + 12 :]
    assert refusal(strange).startswith("damaged")  # its data is not of such blocks
    no_height = data[: at + 5] + bytes(2) + data[at + 7 :]
    assert "no height" in refusal(no_height)


# ------------------------------------------------------------------------------------------------ PNG


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", ["png", "png palette", "png RGBA", "png 16", "png 1"])
def test_damaged_pngs_are_refused(refusal: Refusal, samples: dict[str, bytes], kind: str) -> None:
    data = samples[kind]
    assert "end chunk" in refusal(data[:-12])
    at = data.index(b"IDAT") + 20
    assert refusal(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) == (
        "damaged: the checksum of the PNG's IDAT chunk is wrong"
    )
    chunks = png_chunks(data)
    image = zlib.decompress(b"".join(payload for name, payload in chunks if name == b"IDAT"))
    rest = [(name, payload) for name, payload in chunks if name not in (b"IDAT", b"IEND")]

    def with_data(payload: bytes) -> bytes:
        return png_of([*rest, (b"IDAT", payload), (b"IEND", b"")])

    assert re.match("truncated|damaged", refusal(with_data(zlib.compress(image[: len(image) // 2]))))
    assert re.match("truncated|damaged", refusal(with_data(zlib.compress(image)[:-40])))
    assert re.match("damaged", refusal(with_data(b"\x78\x9c" + bytes(30))))
    assert refusal(png_of([*rest, (b"IEND", b"")])) == "damaged: the PNG has no image data"


def test_a_png_of_unknown_row_filters_is_refused(refusal: Refusal, samples: dict[str, bytes]) -> None:
    for kind in ("png", "png 16"):
        chunks = png_chunks(samples[kind])
        image = bytearray(zlib.decompress(b"".join(payload for name, payload in chunks if name == b"IDAT")))
        image[0] = 9
        rest = [(name, payload) for name, payload in chunks if name not in (b"IDAT", b"IEND")]
        assert re.match("damaged", refusal(png_of([*rest, (b"IDAT", zlib.compress(image)), (b"IEND", b"")])))


def test_damage_beside_the_picture_of_a_png_does_not_matter(read: Read, samples: dict[str, bytes]) -> None:
    data = samples["png"]
    expected = read(data).samples
    start = png_chunks(data)
    extra = [(b"iCCP", b"name\0\0no zlib"), (b"tEXt", b"\xff" * 30), (b"acTL", b"\0"), (b"gAMA", b"\0\0\0\1")]
    np.testing.assert_array_equal(read(png_of([start[0], *extra, *start[1:]])).samples, expected)


# -------------------------------------------------------------------------------- GIF, BMP, WebP, TIFF


@pytest.mark.parametrize(
    "kind",
    ["gif", "bmp", "bmp palette", "webp lossless", "webp lossy", "tiff", "tiff deflate", "tiff LZW tiles",
     "tiff zstd 16", "tiff jpeg tiles", "tiff packbits", "tiff group 3", "tiff group 4", "tiff webp", "ome-tiff",
     "jpeg", "png"],
)  # fmt: skip
def test_no_cut_of_any_format_gives_another_picture(
    read: Read, refusal: Refusal, samples: dict[str, bytes], kind: str
) -> None:
    data = samples[kind]
    whole = read(data)
    for share in np.linspace(0, 0.97, 25):
        cut = data[: int(len(data) * share)]
        try:
            refusal(cut)
        except pytest.fail.Exception:
            # What lies behind the pixels may be lost without harm (a TIFF's software tag), and only that.
            image = read(cut)
            np.testing.assert_array_equal(image.samples, whole.samples)


def test_a_gif_cut_in_its_first_frame_is_refused_and_in_its_second_read(
    read: Read, refusal: Refusal, samples: dict[str, bytes]
) -> None:
    data = samples["gif animated"]
    frames = [match.start() for match in re.finditer(rb"\x21\xf9\x04", data)]
    assert len(frames) == 2
    np.testing.assert_array_equal(read(data[: frames[1] + 20]).samples, read(data).samples)
    assert "truncated" in refusal(data[: frames[1] // 2 + 400])


def test_a_gif_whose_data_ends_before_its_pixels_do_is_refused(refusal: Refusal) -> None:
    # One pixel and the end code, for a frame of 2 x 2: 3-bit codes clear 4, pixel 1, end 5.
    frame = b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + bytes([2, 2, 0x4C, 0x01, 0])
    data = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + bytes([9, 9, 9, 1, 2, 3]) + frame + b";"
    assert re.match("truncated|damaged", refusal(data))


def test_a_bmp_of_run_lengths_has_to_reach_its_end(read: Read, refusal: Refusal) -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, 0, 0, 0, 2, 0)
    palette = bytes([0, 0, 0, 0, 3, 2, 1, 0])
    start = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + 40 + 8) + header + palette
    rows = bytes([4, 1, 0, 0, 2, 1, 2, 0])  # the lower row, its end, the upper row
    expected = np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
    for whole in (rows + bytes([0, 0, 0, 1]), rows + bytes([0, 1]), rows):
        np.testing.assert_array_equal(read(start + whole).samples, expected[..., None] * [1, 2, 3])
    for cut in (rows[:2], rows[:4], rows[:6]):
        assert "truncated" in refusal(start + cut)


def test_a_webp_shorter_than_it_states_is_refused(refusal: Refusal, samples: dict[str, bytes]) -> None:
    assert refusal(samples["webp lossy"][:-2]).startswith("truncated: the WebP states")


def test_a_webp_with_a_broken_exif_block_is_read_as_stored(read: Read, save: Save, texture: NDArray[np.uint8]) -> None:
    image = Image.fromarray(texture[..., :3].copy())
    np.testing.assert_array_equal(
        read(save(image, "WEBP", lossless=True, exif=b"Exif\0\0nonsense")).samples, texture[..., :3]
    )


def changed_tag(data: bytes, tag: int, values: list[int]) -> bytes:
    """A TIFF with other values of a tag."""
    file = io.BytesIO(data)
    with tifffile.TiffFile(file, mode="r+b") as tiff:
        tiff.pages[0].tags[tag].overwrite(values)
    return file.getvalue()


def test_a_tiff_with_missing_strips_or_tiles_is_refused(refusal: Refusal, samples: dict[str, bytes]) -> None:
    for kind, offsets, name in [
        ("tiff deflate", 273, "strip 2 of 6"),
        ("tiff LZW tiles", 324, "tile 2 of 12"),
        ("tiff jpeg tiles", 324, "tile 2 of 12"),
    ]:
        data = samples[kind]
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            where = list(tiff.pages[0].dataoffsets)
        nowhere = changed_tag(data, offsets, [where[0], 0, *where[2:]])  # without bytes it were sparse
        assert refusal(nowhere) == f"{name} of the TIFF is missing"
        beyond = changed_tag(data, offsets, [where[0], len(data) - 1, *where[2:]])
        assert refusal(beyond) == f"truncated: {name} of the TIFF reaches beyond the file's end"


@pytest.mark.parametrize("kind", ["tiff deflate", "tiff LZW tiles", "tiff zstd 16", "tiff jpeg tiles"])
def test_a_tiff_with_a_strip_or_tile_that_is_too_short_is_refused(
    refusal: Refusal, samples: dict[str, bytes], kind: str
) -> None:
    data = samples[kind]
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        tag = 325 if page.is_tiled else 279
        long = list(page.databytecounts)
    half = changed_tag(data, tag, [*long[:-1], long[-1] // 2])
    assert re.match("damaged|truncated", refusal(half))


def test_a_zeroed_jpeg_tile_of_a_tiff_is_refused(refusal: Refusal, save_tiff: Save) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    data = bytearray(save_tiff(noise, photometric="rgb", compression="jpeg", tile=(128, 128)))
    at = len(data) // 2
    data[at : at + 2000] = bytes(2000)
    assert re.match("damaged|truncated", refusal(bytes(data)))


def test_camera_raw_inside_a_tiff_is_refused_by_name(refusal: Refusal, save_tiff: Save) -> None:
    dng = save_tiff(np.zeros((4, 4), np.uint8), extratags=[(50706, 1, 4, b"\1\4\0\0", True)])
    assert refusal(dng).startswith("camera RAW (DNG): not supported here; develop it")
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        options = {"photometric": "rgb", "subfiletype": 1, "subifds": 1, "metadata": None}
        tiff.write(np.zeros((4, 4, 3), np.uint8), extratags=[(271, 2, 0, "NIKON CORPORATION", True)], **options)
        tiff.write(np.zeros((40, 40), np.uint16), photometric="minisblack")
    assert refusal(file.getvalue()).startswith("camera RAW (NIKON CORPORATION)")
