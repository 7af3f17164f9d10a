"""Bombs, hostile headers, files that cannot be opened, threads, and quiet."""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

import kseg_core.images as images
from kseg_core.errors import UnreadableImage
from kseg_core.images import MAX_PIXELS, Pixels, read_image, read_info
from tests.core.images.conftest import png_of

Read = Callable[[bytes], Pixels]
Save = Callable[..., bytes]
Refusal = Callable[[bytes], str]


def empty_png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_of([(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")])


def test_the_200_megapixels_of_a_phone_pass_and_a_bomb_does_not(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(empty_png(16320, 12240))
    os.truncate(path, 1 << 20)  # as large as so many pixels take where they are all alike
    assert read_info(str(path)).shape == (12240, 16320)
    path.write_bytes(empty_png(100_000, 100_000))
    os.truncate(path, 1 << 25)
    for read in (read_info, read_image):
        with pytest.raises(UnreadableImage, match="too large: 100000 x 100000 is 10000 megapixels"):
            read(str(path))
    assert 200e6 < MAX_PIXELS < 1e9


@pytest.mark.parametrize("kind", ["jpeg", "png", "png 16", "gif", "bmp", "webp lossless", "tiff", "tiff jpeg tiles"])
def test_the_limit_is_the_callers_and_to_the_pixel(tmp_path: Path, samples: dict[str, bytes], kind: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(samples[kind])
    height, width = read_info(str(path)).shape
    assert read_image(str(path), max_pixels=height * width).samples.shape == (height, width, 3)
    for read in (read_image,) if "tiff" in kind else (read_info, read_image):  # TIFFs can be read by windows
        with pytest.raises(UnreadableImage, match="too large"):
            read(str(path), max_pixels=height * width - 1)


def test_pillows_process_wide_settings_neither_bind_nor_change(
    read: Read, save: Save, samples: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in ("jpeg", "png", "png palette", "gif", "bmp", "bmp palette", "webp lossy", "tiff", "tiff group 4"):
        read(samples[kind])
    read(save(Image.new("1", (40, 40)), "BMP"))
    assert Image.MAX_IMAGE_PIXELS == 100
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_files_that_cannot_be_opened_say_why(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="no such file") as caught:
        read_image(str(tmp_path / "missing.png"))
    assert caught.value.reason == "no such file or directory"
    with pytest.raises(UnreadableImage, match="directory"):
        read_info(str(tmp_path))
    with pytest.raises(UnreadableImage):
        read_image("nul\0byte")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(empty_png(1, 1))
    path.chmod(0)
    with pytest.raises(UnreadableImage, match="permission denied"):
        read_image(str(path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    with pytest.raises(UnreadableImage, match="not a regular file"):
        read_image(str(path))


def test_memory_and_decoder_errors_become_reasons(
    refusal: Refusal, samples: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kseg_core.images import png

    errors = [MemoryError(), RecursionError("deep"), struct.error("short"), SyntaxError("broken"), OSError("bad data")]
    for error in errors:

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(png.Png, "decode", fail)
        assert refusal(samples["png"])


def test_many_threads_read_the_same_bits(tmp_path: Path, samples: dict[str, bytes]) -> None:
    paths = []
    for number, data in enumerate(samples.values()):
        path = tmp_path / str(number)
        path.write_bytes(data)
        paths.append(str(path))
    expected = [read_image(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            for image, one in zip(pool.map(read_image, paths), expected, strict=True):
                np.testing.assert_array_equal(image.samples, one.samples)
                if one.valid is not None:
                    np.testing.assert_array_equal(image.valid, one.valid)


def test_changed_and_cut_files_are_refused_or_read_whole_and_without_a_word(
    tmp_path: Path, samples: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever becomes of a file: an `UnreadableImage`, or a picture of the header's shape; nothing on the terminal."""
    random = np.random.default_rng(2026)
    path = tmp_path / "changed"
    for data in samples.values():
        for trial in range(12):
            changed = bytearray(data)
            at = int(random.integers(0, len(data)))
            if trial % 3 == 0:
                del changed[at:]
            elif trial % 3 == 1:
                for place in random.integers(0, len(data), 3):
                    changed[place] = random.integers(0, 256)
            else:
                changed[at : at + 20] = bytes(len(changed[at : at + 20]))
            path.write_bytes(changed)
            reason = "none"
            try:
                image = read_image(str(path))
            except UnreadableImage as error:
                reason = error.reason
            else:
                assert image.samples.shape == (*read_info(str(path)).shape, 3)
            assert reason
            assert "\n" not in reason
    assert capfd.readouterr() == ("", "")


def test_nothing_is_printed_whatever_the_settings_of_warnings_and_logging(
    tmp_path: Path, samples: dict[str, bytes]
) -> None:
    """In a process of its own, where nobody catches warnings and logs."""
    for number, data in enumerate(samples.values()):
        (tmp_path / f"{number}-whole").write_bytes(data)
        (tmp_path / f"{number}-cut").write_bytes(data[: len(data) * 2 // 3])
        (tmp_path / f"{number}-zeroed").write_bytes(data[: len(data) // 2] + bytes(40) + data[len(data) // 2 + 40 :])
    program = (
        "import sys, os\n"
        "from kseg_core.errors import UnreadableImage\n"
        "from kseg_core.images import read_image\n"
        "for name in sorted(os.listdir(sys.argv[1])):\n"
        "    try: read_image(os.path.join(sys.argv[1], name))\n"
        "    except UnreadableImage: pass\n"
    )
    root = str(Path(str(images.__file__)).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYTHONWARNINGS": "always"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_log_of_tifffile_is_silent_here_and_only_here(
    refusal: Refusal, samples: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    refusal(samples["ome-tiff"][:2500])
    assert not [record for record in caplog.records if record.name == "tifffile"]
    logging.getLogger("tifffile").warning("of somebody else")
    assert "of somebody else" in caplog.text


def test_the_filters_of_warnings_are_left_alone(read: Read, samples: dict[str, bytes]) -> None:
    before = list(warnings.filters)
    for kind in ("jpeg", "png", "gif", "bmp", "webp lossy", "tiff"):
        read(samples[kind])
    assert list(warnings.filters) == before


def test_importing_the_package_imports_no_decoder() -> None:
    program = (
        "import sys, kseg_core.images\n"
        "print([m for m in ('PIL', 'cv2', 'tifffile', 'imagecodecs', 'imageio', 'simplejpeg') if m in sys.modules])"
    )
    root = str(Path(str(images.__file__)).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]"
