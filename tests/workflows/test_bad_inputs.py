"""Inputs that change, vanish, may not be read or are all bad, folders without end: named, and the rest goes on."""

from __future__ import annotations

import os
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from kseg_core import open_store
from kseg_core.errors import NothingReadable
from kseg_core.inputs.listing import list_inputs
from tests.asking import RunJob, failed
from workflows.computing.executor import Silent


@pytest.fixture
def pictures(small_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_folder, tmp_path / "in")
    return tmp_path / "in"


class During(Silent):
    """Does something once, when a stage of the job begins."""

    def __init__(self, stage: str, act: Callable[[], Any]) -> None:
        self._stage, self._act = stage, act
        self.done = False

    def stage(self, name: str, images: int, pixels: int) -> None:
        if name == self._stage and not self.done:
            self._act()
            self.done = True


MISHAPS: dict[str, tuple[Callable[[Path], Any], str]] = {  # what happens to a file, and what is said of it
    "it disappears": (Path.unlink, "no such file or directory"),
    "it becomes another": (
        lambda path: Image.new("RGB", (7, 9)).save(path),
        "changed while it was being read; run again",
    ),
    "it is cut short": (lambda path: os.truncate(path, 500), "truncated"),
}


@pytest.mark.parametrize("stage", ["reading colours", "labelling"])
@pytest.mark.parametrize(("mishap", "reason"), MISHAPS.values(), ids=MISHAPS)
def test_a_file_to_which_something_happens_meanwhile_is_named_and_the_rest_is_labelled(
    mishap: Callable[[Path], Any], reason: str, stage: str, pictures: Path, tmp_path: Path, job: RunJob
) -> None:
    during = During(stage, lambda: mishap(pictures / "b.png"))
    result = job(pictures, tmp_path / "out.zarr", progress=during)
    assert during.done
    ((name, given),) = failed(result).items()
    assert (name, given if reason != "truncated" else given[:9]) == ("b.png", reason)
    assert sorted(open_store(str(tmp_path / "out.zarr"))) == ["a.png", "c.png"]


def test_a_file_whose_pixels_change_between_the_fit_and_the_labels_is_named(
    pictures: Path, tmp_path: Path, job: RunJob, png: Any, smooth: Any
) -> None:
    during = During("labelling", lambda: png(pictures / "b.png", smooth(40, 51, 77)))  # of the same size
    result = job(pictures, tmp_path / "out.zarr", progress=during)
    assert failed(result) == {"b.png": "changed while it was being read; run again"}


def test_a_file_that_may_not_be_read_is_named(
    pictures: Path, tmp_path: Path, job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def denied(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith("b.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", denied)  # whoever runs the tests may be allowed to read everything
    result = job(pictures, tmp_path / "out.zarr")
    assert failed(result) == {"b.png": "permission denied"}


def test_headers_that_state_terabytes_are_named_and_the_rest_is_labelled(
    pictures: Path, tmp_path: Path, job: RunJob
) -> None:
    entries = {256: 60_000, 257: 60_000, 258: 8, 259: 1, 262: 1, 277: 1, 322: 1, 323: 1, 324: 0, 325: 0}
    packed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    (pictures / "tiles.tif").write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + packed + bytes(4))
    zarr.create_array(str(pictures / "chunks.zarr"), shape=(10**9, 10**9), chunks=(1000, 1000), dtype="u1")
    result = job(pictures, tmp_path / "out.zarr")
    assert set(failed(result)) == {"tiles.tif", "chunks.zarr"}
    assert sorted(open_store(str(tmp_path / "out.zarr"))) == ["a.png", "b.png", "c.png"]


def test_links_that_lead_in_circles_end(pictures: Path, tmp_path: Path) -> None:
    (pictures / "sub").mkdir()
    (pictures / "sub/up").symlink_to(pictures)
    (pictures / "sub/self").symlink_to("self")
    (pictures / "one").symlink_to(pictures / "two")
    (pictures / "two").symlink_to(pictures / "one")
    (pictures / "again.png").symlink_to("a.png")
    listing = list_inputs([str(pictures)])
    assert [file.key for file in listing.files] == ["a.png", "b.png", "c.png"]
    assert len(listing.failures) == 3
    for failure in listing.failures:
        assert "symbolic links" in failure.reason


def test_names_that_are_no_text_or_differ_by_case_alone_are_images_of_their_own(
    pictures: Path, tmp_path: Path, job: RunJob
) -> None:
    names = [b"Case.png", b"case.png", b"CASE.PNG", b"caf\xe9.png", b"caf\xc3\xa9.png", b"cafe\xcc\x81.png"]
    for name in names:
        shutil.copy(pictures / "a.png", os.path.join(os.fsencode(pictures), name))
    result = job(pictures, tmp_path / "out.zarr", k=2)
    assert result.failures == ()
    keys = list(open_store(str(tmp_path / "out.zarr")))
    assert len({key.casefold() for key in keys}) == len(keys) == 9


def test_a_folder_of_bad_files_only_fails_and_names_each(tmp_path: Path, job: RunJob) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    for i in range(30):
        (folder / f"{i:02d}.png").write_bytes(b"" if i % 2 else b"no picture")
    with pytest.raises(NothingReadable, match=r"all 30 inputs could not be read: .*01.png: .* and 27 more") as told:
        job(folder, tmp_path / "out.zarr")
    assert len(told.value.failures) == 30
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [pytest.param("threads", marks=pytest.mark.slow), "processes"])
def test_what_a_decoder_remarks_on_a_damaged_tag_is_not_told(scheduler: str, tmp_path: Path, program: Any) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/a.tif"
    tifffile.imwrite(path, np.arange(300, dtype=np.uint8).reshape(10, 10, 3), resolution=(7, 7), photometric="rgb")
    with tifffile.TiffFile(path) as tiff:
        resolution = tiff.pages[0].tags[282].offset
    content = bytearray(path.read_bytes())
    content[resolution + 8 : resolution + 12] = (1 << 30).to_bytes(4, "little")  # far behind the file's end
    path.write_bytes(content)
    done = program(
        "run", path.parent, "--k", "2", "--workers", "1", "--scheduler", scheduler, "-o", tmp_path / "o.zarr"
    )
    assert (done.returncode, done.stderr) == (0, "")


class Holding(Silent):
    """Notes the memory that is held as each task is done."""

    def __init__(self) -> None:
        self.bytes: list[int] = []

    def advance(self, images: int, pixels: int) -> None:
        self.bytes.append(tracemalloc.get_traced_memory()[0])


def test_what_is_told_of_bad_files_keeps_none_of_their_pixels(
    small_folder: Path, tmp_path: Path, job: RunJob, smooth: Any
) -> None:
    side = 400
    Image.fromarray(smooth(side, side, 1)).save(tmp_path / "whole.png")
    content = (tmp_path / "whole.png").read_bytes()

    def most_held(bad: int) -> int:
        folder = tmp_path / f"{bad} bad"
        shutil.copytree(small_folder, folder)
        for i in range(bad):
            (folder / f"short-{i}.png").write_bytes(content[: -1000 - i])
        holding = Holding()
        tracemalloc.start()
        try:
            result = job(folder, tmp_path / f"{bad}.zarr", progress=holding, scheduler="sync")
        finally:
            tracemalloc.stop()
        assert len(result.failures) == bad
        return max(holding.bytes)

    few, many = 4, 34
    assert most_held(many) - most_held(few) < (many - few) * side * side * 3 / 4
