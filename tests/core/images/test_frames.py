"""Animated GIF, WebP and PNG: any frame by its page, and what is said of the others."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kseg_core.choice import PictureChoice
from kseg_core.errors import UnreadableImage
from kseg_core.images import open_picture, read_info
from tests.pictures import WHOLE, png_chunks, png_of, save

FORMATS = ("GIF", "WebP", "PNG")


def drawn() -> list[NDArray[np.uint8]]:
    """Three frames (30, 40): each differs from the one before in a part alone, so that it is stored as that part."""
    frame = np.zeros((30, 40, 3), np.uint8)
    frame[:] = (200, 10, 10)
    second, third = frame.copy(), frame.copy()
    second[5:15, 5:20] = (10, 200, 10)
    third[:] = second
    third[20:25, 30:39] = (10, 10, 200)
    return [frame, second, third]


def animation(form: str, **more: Any) -> bytes:
    first, *others = [Image.fromarray(frame) for frame in drawn()]
    lossless = {"lossless": True} if form == "WebP" else {}
    return save(first, form, save_all=True, append_images=others, duration=100, **lossless, **more)


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    file = tmp_path / f"animated.{request.param.lower()}"
    file.write_bytes(animation(request.param))
    return str(file)


@pytest.mark.parametrize("page", [None, 0, 1, 2])
def test_a_page_is_the_frame_as_a_person_sees_it(path: str, page: int | None) -> None:
    with open_picture(path, choice=PictureChoice(page=page)) as picture:
        assert picture.info.shape == (30, 40)
        found = picture.rgb(*WHOLE)
    np.testing.assert_array_equal(found.samples, drawn()[page or 0])
    assert found.valid is None or found.valid.all()


def test_of_several_frames_it_is_said_once_which_is_taken_and_not_where_one_was_chosen(path: str) -> None:
    said = "page 1 of 3, the first frame of an animation; --page chooses, from 0 to 2"
    assert read_info(path).notes == (said,)
    for page in range(3):
        assert read_info(path, choice=PictureChoice(page=page)).notes == ()


def test_a_frame_that_is_not_there_is_refused_with_how_many_there_are(path: str) -> None:
    with pytest.raises(UnreadableImage, match=r"no page 3; there is --page 0 to 2 \(3 pages\)"):
        read_info(path, choice=PictureChoice(page=3))


@pytest.mark.parametrize("form", [*FORMATS, "JPEG", "BMP"])
def test_a_file_of_one_picture_says_that_it_has_one_page(form: str, tmp_path: Path) -> None:
    path = tmp_path / "still"
    Image.fromarray(drawn()[0]).save(path, form)
    assert read_info(str(path)).notes == ()
    if form == "GIF":  # whose end says nothing
        path.write_bytes(path.read_bytes().rstrip(b";"))
        assert read_info(str(path)).notes == ()
    assert read_info(str(path), choice=PictureChoice(page=0)).notes == ()
    with pytest.raises(UnreadableImage, match=r"no page 2; there is only --page 0 \(1 page\)"):
        read_info(str(path), choice=PictureChoice(page=2))


def test_what_is_read_of_other_formats_is_said_where_a_page_is_asked_for(tmp_path: Path) -> None:
    import imagecodecs

    path = tmp_path / "animated.jxl"
    path.write_bytes(bytes(imagecodecs.jpegxl_encode(np.stack(drawn()), lossless=True)))
    with pytest.raises(UnreadableImage, match="--page does not choose from a JPEG XL file: the first frame is read"):
        read_info(str(path), choice=PictureChoice(page=1))


def test_a_default_image_that_is_no_frame_is_the_first_page(tmp_path: Path) -> None:
    path = tmp_path / "default.png"
    path.write_bytes(animation("PNG", default_image=True))
    assert read_info(str(path)).notes[0].startswith("page 1 of 3")
    for page, expected in enumerate(drawn()):
        with open_picture(str(path), choice=PictureChoice(page=page)) as picture:
            np.testing.assert_array_equal(picture.rgb(*WHOLE).samples, expected)


def test_transparent_pixels_of_a_later_frame_do_not_count(tmp_path: Path) -> None:
    frames = [np.dstack([frame, np.full((30, 40), 255, np.uint8)]) for frame in drawn()]
    frames[1][:10, :, 3] = 0
    for form in ("WebP", "PNG"):
        path, images = tmp_path / form, [Image.fromarray(frame) for frame in frames]
        images[0].save(path, form, save_all=True, append_images=images[1:], lossless=True, disposal=1, blend=0)
        with open_picture(str(path), choice=PictureChoice(page=1)) as picture:
            valid = picture.rgb(*WHOLE).valid
        assert valid is not None
        np.testing.assert_array_equal(valid, frames[1][..., 3] != 0)


@pytest.mark.parametrize("how", ["checksum", "cut short"])
def test_damage_in_a_later_frame_of_a_png_refuses_that_frame_and_not_the_first(how: str, tmp_path: Path) -> None:
    data = animation("PNG")
    chunks = png_chunks(data)
    last = max(number for number, (name, _) in enumerate(chunks) if name == b"fdAT")
    payload = chunks[last][1]
    if how == "checksum":
        at = data.index(payload) + len(payload)
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    else:
        damaged = png_of([*chunks[:last], (b"fdAT", payload[:-6]), *chunks[last + 1 :]])
    path = tmp_path / "damaged.png"
    path.write_bytes(damaged)
    for page in (0, 1):
        with open_picture(str(path), choice=PictureChoice(page=page)) as picture:
            np.testing.assert_array_equal(picture.rgb(*WHOLE).samples, drawn()[page])
    with (
        open_picture(str(path), choice=PictureChoice(page=2)) as picture,
        pytest.raises(UnreadableImage, match=r"checksum of the PNG's fdAT|data of one of the PNG's frames ends"),
    ):
        picture.rgb(*WHOLE)


@pytest.mark.parametrize("form", ["GIF", "WebP"])
def test_a_later_frame_that_is_cut_short_is_refused(form: str, tmp_path: Path) -> None:
    data = animation(form)
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) - 30])
    with pytest.raises(UnreadableImage), open_picture(str(path), choice=PictureChoice(page=2)) as picture:
        picture.rgb(*WHOLE)


def test_frames_of_16_bits_after_the_first_are_refused_by_name(tmp_path: Path) -> None:
    data = bytearray(animation("PNG"))
    data[24] = 16  # the depth
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path = tmp_path / "deep.png"
    path.write_bytes(data)
    with pytest.raises(UnreadableImage, match="not supported here: a frame after the first of uint16"):
        read_info(str(path), choice=PictureChoice(page=1))
