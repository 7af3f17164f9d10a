"""Pictures of every kind, from file to store, with the expected result written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg_core import open_store
from kseg_core.errors import KsegError

NONE = 255  # the label of an invalid pixel
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Case:
    """How a file is made, and what must come of it.

    Parameters
    ----------
    write
        Makes the file at a path.
    labels, colors
        Expected; the colours dark to light.
    k
        Clusters asked for; None: as many as there are colours.
    features
        Asked for: 16 bits are bands unless somebody says otherwise.
    """

    write: Callable[[Path], object]
    labels: list[list[int]]
    colors: list[Color]
    k: int | None = None
    suffix: str = ".png"
    features: str = "auto"


def grays(*values: int) -> list[Color]:
    return [(v, v, v) for v in values]


def array(mode: str, rows: list[list[Any]]) -> Image.Image:
    """A picture of a Pillow mode."""
    dtype = np.uint16 if mode == "I;16" else np.uint8
    picture = Image.fromarray(np.array(rows, dtype))
    assert picture.mode == mode
    return picture


def palette_picture(rows: list[list[int]], colors: list[Color]) -> Image.Image:
    picture = Image.new("P", (len(rows[0]), len(rows)))
    picture.putpalette([component for color in colors for component in color])
    picture.putdata([index for row in rows for index in row])
    return picture


def two_bits(path: Path) -> None:
    """A black and white picture of one bit a pixel."""
    picture = Image.new("1", (3, 2))
    picture.putdata([0, 255, 255, 0, 0, 255])
    assert picture.mode == "1"
    picture.save(path)


def animation(path: Path) -> None:
    """Two frames; the second one is all green."""
    first = palette_picture([[0, 1], [1, 1]], [(255, 0, 0), (0, 0, 255)])
    second = palette_picture([[0, 0], [0, 0]], [(0, 255, 0), (0, 0, 0)])
    first.save(path, save_all=True, append_images=[second], duration=50, loop=0)
    with Image.open(path) as made:
        assert made.n_frames == 2  # type: ignore[attr-defined]


def cmyk_jpeg(path: Path) -> None:
    """Two flat halves, which JPEG keeps: no ink at all, and full black."""
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, 16:, 3] = 255
    Image.fromarray(inks, "CMYK").save(path, quality=100)


#: (C, M, Y, K) of a TIFF: cyan, red, no ink, black.
INKS = [[[255, 0, 0, 0], [0, 255, 255, 0]], [[0, 0, 0, 0], [0, 0, 0, 255]]]

CASES = {
    "gray": Case(lambda p: array("L", [[0, 100], [100, 255]]).save(p), [[0, 1], [1, 2]], grays(0, 100, 255)),
    "gray with alpha": Case(
        # Alpha 0 is invalid whatever its gray; alpha 1 keeps its gray.
        lambda p: array("LA", [[[0, 255], [200, 255]], [[90, 0], [200, 1]]]).save(p),
        [[0, 1], [NONE, 1]],
        grays(0, 200),
    ),
    "palette": Case(
        lambda p: palette_picture([[2, 0, 1], [0, 0, 2]], [(255, 255, 0), (0, 0, 128), (128, 0, 0)]).save(p),
        [[1, 2, 0], [2, 2, 1]],
        [(0, 0, 128), (128, 0, 0), (255, 255, 0)],
    ),
    "palette with transparency": Case(
        # Alpha of the three entries: opaque, none at all, half.
        lambda p: palette_picture([[0, 1, 2], [1, 1, 0]], [(250, 0, 0), (9, 9, 9), (0, 0, 250)]).save(
            p, transparency=b"\xff\x00\x80"
        ),
        [[1, NONE, 0], [NONE, NONE, 1]],
        [(0, 0, 250), (250, 0, 0)],
    ),
    "GIF with a transparent colour": Case(
        lambda p: palette_picture([[0, 1, 2], [1, 1, 0]], [(250, 0, 0), (9, 9, 9), (0, 0, 250)]).save(
            p, transparency=1
        ),
        [[1, NONE, 0], [NONE, NONE, 1]],
        [(0, 0, 250), (250, 0, 0)],
        suffix=".gif",
    ),
    "RGBA": Case(
        lambda p: array("RGBA", [[[10, 20, 30, 255], [200, 100, 50, 1]], [[99, 99, 99, 0], [10, 20, 30, 128]]]).save(p),
        [[0, 1], [NONE, 0]],
        [(10, 20, 30), (200, 100, 50)],
    ),
    "CMYK": Case(
        lambda p: Image.fromarray(np.array(INKS, np.uint8), "CMYK").save(p),
        [[2, 1], [3, 0]],
        [(0, 0, 0), (255, 0, 0), (0, 255, 255), (255, 255, 255)],
        suffix=".tif",
    ),
    "CMYK JPEG": Case(cmyk_jpeg, [[1] * 16 + [0] * 16] * 16, grays(0, 255), suffix=".jpg"),
    "16-bit gray": Case(
        # (v + 128) // 257: 128 is still black, 129 is not, 65406 is still 254.
        lambda p: array("I;16", [[0, 128, 129], [65406, 65407, 65535]]).save(p),
        [[0, 0, 1], [2, 3, 3]],
        grays(0, 1, 254, 255),
        features="rgb",
    ),
    "16-bit gray TIFF": Case(
        lambda p: tifffile.imwrite(p, np.array([[0, 128, 129], [65406, 65407, 65535]], np.uint16)),
        [[0, 0, 1], [2, 3, 3]],
        grays(0, 1, 254, 255),
        suffix=".tif",
        features="rgb",
    ),
    "16-bit RGB": Case(
        lambda p: p.write_bytes(
            imagecodecs.png_encode(np.array([[[0x00FF, 0, 0], [0x30FF] * 3, [0xFFFF] * 3]], np.uint16))
        ),
        [[0, 1, 2]],
        [(1, 0, 0), (49, 49, 49), (255, 255, 255)],  # dropping the low byte would give 0 and 48
        features="rgb",
    ),
    "1-bit": Case(two_bits, [[0, 1, 1], [0, 0, 1]], grays(0, 255)),
    "1-bit TIFF": Case(two_bits, [[0, 1, 1], [0, 0, 1]], grays(0, 255), suffix=".tif"),
    "animated GIF": Case(animation, [[1, 0], [0, 0]], [(0, 0, 255), (255, 0, 0)], suffix=".gif"),
    "1x1": Case(lambda p: array("RGB", [[[7, 8, 9]]]).save(p), [[0]], [(7, 8, 9)], k=5),
    "constant": Case(lambda p: array("RGB", [[[40, 50, 60]] * 4] * 3).save(p), [[0] * 4] * 3, [(40, 50, 60)], k=3),
    "fewer colours than k": Case(
        lambda p: array("L", [[9, 9, 8], [7, 7, 9]]).save(p), [[2, 2, 1], [0, 0, 2]], grays(7, 8, 9), k=12
    ),
    "BMP": Case(
        lambda p: array("RGB", [[[1, 2, 3], [200, 0, 0]]]).save(p), [[0, 1]], [(1, 2, 3), (200, 0, 0)], suffix=".bmp"
    ),
    "WebP": Case(
        lambda p: array("RGBA", [[[1, 2, 3, 255], [200, 0, 0, 255], [5, 5, 5, 0]]]).save(p, lossless=True, exact=True),
        [[0, 1, NONE]],
        [(1, 2, 3), (200, 0, 0)],
        suffix=".webp",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_picture_gives_the_result_written_out(case: Case, tmp_path: Path, job: Any) -> None:
    path = tmp_path / f"odd{case.suffix}"
    case.write(path)
    k = case.k or len(case.colors)
    told = job(path, tmp_path / "out.zarr", k=k, features=case.features).to_json()
    assert (told["features"], told["features_why"]) == ("rgb", "8-bit" if case.features == "auto" else None)
    labels = np.array(case.labels)
    image = open_store(str(tmp_path / "out.zarr"))[path.name]
    np.testing.assert_array_equal(image.labels, labels)
    np.testing.assert_array_equal(image.masks, labels[None] == np.arange(len(case.colors))[:, None, None])
    assert [tuple(color) for color in told["colors"]] == case.colors
    assert [tuple(center) for center in told["centroids"]] == case.colors
    assert told["counts"] == [int((labels == j).sum()) for j in range(len(case.colors))]
    assert told["pixels"] == {"total": labels.size, "valid": int((labels != NONE).sum())}
    assert (told["k"], told["k_requested"], told["inertia"], told["mse"]) == (len(case.colors), k, 0.0, 0.0)
    assert image.attributes["invalid"] == int((labels == NONE).sum())


def test_the_name_of_a_file_does_not_say_what_it_is(tmp_path: Path, job: Any) -> None:
    CASES["16-bit gray"].write(tmp_path / "made.png")
    (tmp_path / "made.png").rename(tmp_path / "odd.jpg")
    job(tmp_path / "odd.jpg", tmp_path / "out.zarr", k=4, features="rgb")
    assert np.asarray(open_store(str(tmp_path / "out.zarr"))["odd.jpg"].labels).tolist() == [[0, 0, 1], [2, 3, 3]]


@pytest.mark.parametrize("scope", ["global", "image"])
def test_all_kinds_together_are_labelled_in_one_run(scope: str, tmp_path: Path, job: Any) -> None:
    for name, case in CASES.items():
        path = tmp_path / "in" / f"{name}{case.suffix}"
        path.parent.mkdir(exist_ok=True)
        case.write(path)
    Image.new("RGBA", (3, 3)).save(tmp_path / "in" / "all transparent.png")
    result = job(tmp_path / "in", tmp_path / "out.zarr", k=4, scope=scope, scheduler="threads", features="rgb")
    assert (result.images.labelled, result.failures) == (len(CASES) + 1, ())
    store = open_store(str(tmp_path / "out.zarr"))
    for name, case in CASES.items():
        labels = np.asarray(store[str(tmp_path / "in" / f"{name}{case.suffix}")].labels)
        np.testing.assert_array_equal(labels == NONE, np.array(case.labels) == NONE)


@pytest.mark.parametrize("kind", ["run", "fit"])
def test_a_wholly_transparent_picture_alone_fails_clearly(kind: str, tmp_path: Path, job: Any) -> None:
    Image.new("RGBA", (3, 3)).save(tmp_path / "none.png")
    with pytest.raises(
        KsegError, match=r"no valid pixel in .*none\.png: there is nothing to cluster; every pixel is transparent"
    ):
        job(tmp_path / "none.png", tmp_path / ("out.zarr" if kind == "run" else "out.model.zarr"))


def test_a_wholly_transparent_picture_can_be_labelled_with_a_model(
    small_folder: Path, tmp_path: Path, job: Any
) -> None:
    Image.new("RGBA", (3, 2)).save(tmp_path / "none.png")
    job(small_folder, tmp_path / "model.zarr", k=2)
    told = job(tmp_path / "none.png", tmp_path / "out.zarr", None, model=tmp_path / "model.zarr").to_json()
    assert np.asarray(open_store(str(tmp_path / "out.zarr"))["none.png"].labels).tolist() == [[NONE] * 3] * 2
    assert (told["counts"], told["inertia"], told["mse"]) == ([0, 0], 0.0, None)


# ---------------------------------------------------------------------------------------------- orientation

#: What was done to the upright picture to store it so that EXIF says how to undo it.
STORED_AS: dict[int, Image.Transpose | None] = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_one_picture_in_the_8_exif_orientations_has_the_same_labels(
    suffix: str, tmp_path: Path, smooth: Any, job: Any
) -> None:
    upright = np.dstack([smooth(30, 47, 3), np.full((30, 47), 255, np.uint8)])
    upright[:4, :9, 3] = 0
    for orientation, method in STORED_AS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture = Image.fromarray(upright)
        stored = picture if method is None else picture.transpose(method)
        path = tmp_path / "in" / f"{orientation}{suffix}"
        path.parent.mkdir(exist_ok=True)
        options = {
            ".webp": {"lossless": True, "exact": True, "exif": exif},
            ".png": {"exif": exif},
            ".tif": {"tiffinfo": {0x0112: orientation}},
        }[suffix]
        assert stored.size == ((47, 30) if orientation < 5 else (30, 47))
        stored.save(path, **options)
        with Image.open(path) as written:
            assert written.getexif()[0x0112] == orientation
    job(tmp_path / "in", tmp_path / "out.zarr", k=4)
    images = list(open_store(str(tmp_path / "out.zarr")).values())
    assert len(images) == 8
    assert (np.asarray(images[0].labels)[:4, :9] == NONE).all()
    for image in images[1:]:
        np.testing.assert_array_equal(image.labels, np.asarray(images[0].labels))
        np.testing.assert_array_equal(image.masks, np.asarray(images[0].masks))
        assert image.attributes["counts"] == images[0].attributes["counts"]
