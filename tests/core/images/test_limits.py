"""Bombs, files that cannot be opened, threads, and quiet."""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from kseg_core.errors import UnreadableImage
from kseg_core.images import MAX_PIXELS, png, read_image, read_info
from tests.pictures import SAMPLES, counts, png_of, read, refusal, save

ROOT = str(Path(__file__).parents[3])


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
    for look in (read_info, read_image):
        with pytest.raises(UnreadableImage, match="too large: 100000 x 100000 is 10000 megapixels"):
            look(str(path))
    assert 200e6 < MAX_PIXELS < 1e9


@pytest.mark.parametrize("kind", ["jpeg", "png", "png 16", "gif", "bmp", "webp lossless", "tiff", "tiff jpeg tiles"])
def test_the_limit_is_the_callers_and_to_the_pixel(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(SAMPLES[kind])
    height, width = read_info(str(path)).shape
    assert read_image(str(path), max_pixels=height * width).samples.shape == (height, width, 3)
    for look in (read_image,) if "tiff" in kind else (read_info, read_image):  # TIFFs can be read by windows
        with pytest.raises(UnreadableImage, match="too large"):
            look(str(path), max_pixels=height * width - 1)


def test_settings_of_the_whole_process_neither_bind_nor_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(warnings.filters)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in ("jpeg", "png", "png palette", "gif", "bmp", "bmp palette", "webp lossy", "tiff", "tiff group 4"):
        read(SAMPLES[kind])
    read(save(Image.new("1", (40, 40)), "BMP"))
    assert Image.MAX_IMAGE_PIXELS == 100
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert list(warnings.filters) == before


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


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RecursionError("deep"), struct.error("short"), SyntaxError("broken"), OSError("bad data")],
    ids=repr,
)
def test_memory_and_decoder_errors_become_reasons(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(png.Png, "decode", fail)
    assert refusal(SAMPLES["png"])


def test_many_threads_read_the_same_bits(tmp_path: Path) -> None:
    paths = [str(tmp_path / str(number)) for number in range(len(SAMPLES))]
    for path, data in zip(paths, SAMPLES.values(), strict=True):
        Path(path).write_bytes(data)
    expected = [read_image(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            for image, one in zip(pool.map(read_image, paths), expected, strict=True):
                np.testing.assert_array_equal(image.samples, one.samples)
                np.testing.assert_array_equal(*(counts(each.valid, each.samples.shape) for each in (image, one)))


def in_a_process(program: str, *arguments: str, **environment: str) -> str:
    """What a program prints; it has to end well, and to say nothing on stderr."""
    command = [sys.executable, "-c", program, *arguments]
    variables = {**os.environ, "PYTHONPATH": ROOT, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_nothing_is_printed_whatever_the_settings_of_warnings_and_logging(tmp_path: Path) -> None:
    """In a process of its own, where nobody catches warnings and logs."""
    for number, data in enumerate(SAMPLES.values()):
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
    assert in_a_process(program, str(tmp_path), PYTHONWARNINGS="always") == ""


def test_the_log_of_tifffile_is_silent_here_and_only_here(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    refusal(SAMPLES["ome-tiff"][:2500])
    assert not [record for record in caplog.records if record.name == "tifffile"]
    logging.getLogger("tifffile").warning("of somebody else")
    assert "of somebody else" in caplog.text


def test_importing_the_package_imports_no_decoder() -> None:
    decoders = ("PIL", "cv2", "tifffile", "imagecodecs", "imageio", "simplejpeg")
    assert in_a_process(f"import sys, kseg_core.images\nprint([m for m in {decoders} if m in sys.modules])") == "[]"
