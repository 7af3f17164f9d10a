"""What the shell hands over: quoted globs, lists from files and from standard input, includes and excludes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
import zarr
from PIL import Image

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def pictures(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``in/`` with pictures in two sub-folders, notes and a store; it is in the current folder."""
    for name in ("in/one/a.png", "in/one/b.PNG", "in/two/c.png", "in/two/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small_folder / "a.png", tmp_path / name)
    (tmp_path / "in/one/notes.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)


def labelled(kseg: Any, *arguments: str) -> list[str]:
    """The sources of a run with these inputs."""
    outcome = kseg("run", *arguments, "--k", "2", "--attempts", "1", "-o", "out.zarr", "--overwrite")
    assert (outcome.code, outcome.err) == (0, "")
    described = kseg("inspect", "out.zarr", "--json").json()
    return sorted(image["source"] for image in described["images"])


def test_a_folder_is_searched_with_all_below_it_and_notes_are_passed_over(kseg: Any) -> None:
    assert labelled(kseg, "in") == ["in/one/a.png", "in/one/b.PNG", "in/two/c.png", "in/two/d.jpg"]


def test_a_store_inside_the_folder_is_no_input(kseg: Any) -> None:
    assert kseg("run", "in/one", "--k", "2", "-o", "in/one.zarr").code == 0
    assert len(labelled(kseg, "in")) == 4


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("in/**/*.png", ["in/one/a.png", "in/one/b.PNG", "in/two/c.png"]),
        ("in/*/[a-c].png", ["in/one/a.png", "in/one/b.PNG", "in/two/c.png"]),
        ("in/t*", ["in/two/c.png", "in/two/d.jpg"]),
        ("in/one/?.png", ["in/one/a.png", "in/one/b.PNG"]),
    ],
)
def test_a_quoted_glob_finds_files(glob: str, found: list[str], kseg: Any) -> None:
    assert labelled(kseg, glob) == found


def test_includes_and_excludes_narrow_a_folder_down(kseg: Any) -> None:
    assert labelled(kseg, "in", "--include", "*.png") == ["in/one/a.png", "in/one/b.PNG", "in/two/c.png"]
    assert labelled(kseg, "in", "--include", "*.jpg", "--include", "a.*") == ["in/one/a.png", "in/two/d.jpg"]
    assert labelled(kseg, "in", "--exclude", "two") == ["in/one/a.png", "in/one/b.PNG"]
    assert labelled(kseg, "in", "--include", "*.png", "--exclude", "one/a.png") == ["in/one/b.PNG", "in/two/c.png"]


def test_a_list_may_come_from_a_file(kseg: Any) -> None:
    Path("list.txt").write_bytes(b"in/one/a.png\r\n\nin/two\n")
    assert labelled(kseg, "--from", "list.txt") == ["in/one/a.png", "in/two/c.png", "in/two/d.jpg"]
    assert labelled(kseg, "in/one/b.PNG", "--from", "list.txt") == [
        "in/one/a.png", "in/one/b.PNG", "in/two/c.png", "in/two/d.jpg"
    ]  # fmt: skip


@pytest.mark.parametrize(("between", "flags"), [("\n", []), ("\0", ["-0"])])
def test_a_list_may_come_from_standard_input(between: str, flags: list[str], program: Program, parse_json: Any) -> None:
    done = program(
        "run", "--from", "-", *flags, "--k", "2", "--attempts", "1", "-o", "out.zarr", "--json",
        input=between.join(["in/one/a.png", "in/two/d.jpg", ""]),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert parse_json(done.stdout)["images"]["labelled"] == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_list_as_windows_writes_it_names_its_files(encoding: str, kseg: Any) -> None:
    Path("list.txt").write_bytes("in/one/a.png\r\nin/two/d.jpg\r\n".encode(encoding))
    assert labelled(kseg, "--from", "list.txt") == ["in/one/a.png", "in/two/d.jpg"]


def test_a_list_with_nul_and_without_the_flag_is_refused_and_the_flag_named(kseg: Any) -> None:
    Path("list").write_bytes(b"in/one/a.png\0in/two/d.jpg\0")
    outcome = kseg("run", "--from", "list", "--k", "2", "-o", "out.zarr")
    assert outcome.code == 2
    assert "the list list" in outcome.err
    assert "--null" in outcome.err
    assert not Path("out.zarr").exists()
    assert kseg("run", "in", "--null", "--k", "2").code == 2


def test_a_line_of_a_list_that_leads_nowhere_is_a_failure_of_that_line(kseg: Any) -> None:
    Path("list.txt").write_text("in/one/a.png\ngone.png\n")
    outcome = kseg("run", "--from", "list.txt", "--k", "2", "-o", "out.zarr", "--json")
    assert outcome.code == 3
    assert outcome.json()["images"] == {"total": 2, "labelled": 1, "reused": 0, "failed": 1}
    assert outcome.json()["failures"] == [{"source": "gone.png", "reason": "no such file or folder"}]


def test_a_list_needs_an_output(kseg: Any) -> None:
    Path("list.txt").write_text("in/one/a.png\n")
    outcome = kseg("run", "--from", "list.txt", "--k", "2")
    assert outcome.code == 2
    assert "name one with -o" in outcome.err


def test_passed_over_files_are_counted_where_information_is_wanted(kseg: Any) -> None:
    outcome = kseg("run", "in", "--k", "2", "--attempts", "1", "--log-level", "info")
    assert outcome.code == 0
    assert "1 file" in outcome.err
    assert "passed over" in outcome.err


def test_the_same_picture_in_every_format_gets_the_same_labels(kseg: Any) -> None:
    pixels = np.add.outer(np.arange(40), np.arange(30))[..., None] * np.array([3, 2, 1], np.int64) % 256
    picture = Image.fromarray(pixels.astype(np.uint8))
    Path("formats").mkdir()
    encoders: dict[str, bytes] = {
        "jxl": bytes(imagecodecs.jpegxl_encode(np.asarray(picture), lossless=True)),
        "jxr": bytes(imagecodecs.jpegxr_encode(np.asarray(picture), level=1.0)),
        "qoi": bytes(imagecodecs.qoi_encode(np.asarray(picture))),
        "avif": bytes(imagecodecs.avif_encode(np.asarray(picture), level=100)),
    }
    for suffix, data in encoders.items():
        Path("formats", f"a.{suffix}").write_bytes(data)
    picture.save("formats/a.jp2")
    picture.save("formats/a.png")
    heif = pillow_heif.from_pillow(picture)
    heif.save("formats/a.heic", quality=-1, chroma=444, matrix_coefficients=0)
    outcome = kseg("run", "formats", "--k", "3", "-o", "out.zarr", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["images"]["labelled"] == 7
    labels = [zarr.open(f"out.zarr/images/a.{end}/labels/kmeans/0")[:] for end in ("png", "jp2", "heic", *encoders)]
    for other in labels[1:]:
        np.testing.assert_array_equal(other, labels[0])


def test_a_mosaic_is_labelled_for_its_tiles_and_a_line_says_so(kseg: Any) -> None:
    Path("scene").mkdir()
    for number in (0, 1):
        ramp = np.add.outer(np.arange(20), np.arange(30 * number, 30 * number + 30)).astype(np.uint8)
        tifffile.imwrite(f"scene/tile{number}.tif", np.dstack([ramp, ramp, ramp]), photometric="rgb")
    text = ['<VRTDataset rasterXSize="60" rasterYSize="20">']
    for band, name in enumerate(("Red", "Green", "Blue"), 1):
        text.append(f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{name}</ColorInterp>')
        text += [
            f'<SimpleSource><SourceFilename relativeToVRT="1">tile{number}.tif</SourceFilename>'
            f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="30" ySize="20"/>'
            f'<DstRect xOff="{30 * number}" yOff="0" xSize="30" ySize="20"/></SimpleSource>'
            for number in (0, 1)
        ]
        text.append("</VRTRasterBand>")
    Path("scene/mosaic.vrt").write_text("".join([*text, "</VRTDataset>"]))
    outcome = kseg("run", "scene", "--k", "2", "-o", "out.zarr", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["images"]["total"] == 1
    assert outcome.json()["pixels"]["total"] == 1200
    assert "mosaic.vrt names 2 of the files" in outcome.err
