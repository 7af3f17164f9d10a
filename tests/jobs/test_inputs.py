"""Inputs on a command line, from the words to the store: what each form finds is in tests/core/inputs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
import zarr
from PIL import Image


@pytest.fixture(autouse=True)
def pictures(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``in/`` with pictures in two sub-folders, notes and a store; it is in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/one/a.png", "in/one/b.PNG", "in/two/c.png", "in/two/d.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(small_folder / "a.png", name)
    Path("in/one/notes.txt").write_text("hello")
    Path("list.txt").write_bytes("in/one/a.png\r\n\nin/two\n".encode("utf-16"))


ALL = "one/a.png one/b.PNG two/c.png two/d.jpg"


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        ("in", ALL),
        ("'in/**/*.png'", "one/a.png one/b.PNG two/c.png"),
        ("'in/*/[a-c].png'", "one/a.png one/b.PNG two/c.png"),
        ("'in/t*'", "two/c.png two/d.jpg"),
        ("'in/one/?.png'", "one/a.png one/b.PNG"),
        ("in --include '*.jpg' --include 'a.*'", "one/a.png two/d.jpg"),
        ("in --include '*.png' --exclude one/a.png", "one/b.PNG two/c.png"),
        ("in --exclude two", "one/a.png one/b.PNG"),
        ("--from list.txt", "one/a.png two/c.png two/d.jpg"),
        ("in/one/b.PNG --from list.txt", ALL),
    ],
)
def test_the_inputs_of_a_run_are_those_of_its_store(inputs: str, found: str, kseg: Any) -> None:
    outcome = kseg(f"run {inputs} --k 2 --attempts 1 -o in/out.zarr")  # which is no input of the next one
    assert (outcome.code, outcome.err) == (0, "")
    again = kseg(f"run {inputs} --k 2 --attempts 1 -o in/out.zarr")
    assert "already done" in again.out
    described = kseg("inspect in/out.zarr --json").json()
    assert sorted(image["source"] for image in described["images"]) == [f"in/{name}" for name in found.split()]


def test_passed_over_files_are_counted_where_information_is_wanted(kseg: Any) -> None:
    outcome = kseg("run in --k 2 --attempts 1 --log-level info")
    assert outcome.code == 0
    assert "passed over 1 file: no images, or overviews and masks of one" in outcome.err


def test_a_line_of_a_list_that_leads_nowhere_is_a_failure_of_that_line(kseg: Any) -> None:
    Path("list.txt").write_text("in/one/a.png\ngone.png\n")
    outcome = kseg("run --from list.txt --k 2 -o out.zarr --json")
    assert outcome.code == 3
    assert outcome.json()["images"] == {"total": 2, "labelled": 1, "reused": 0, "failed": 1}
    assert outcome.json()["failures"] == [{"source": "gone.png", "reason": "no such file or folder"}]


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
    outcome = kseg("run formats --k 3 -o out.zarr --json")
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
    outcome = kseg("run scene --k 2 -o out.zarr --json")
    assert outcome.code == 0, outcome.err
    assert outcome.json()["images"]["total"] == 1
    assert outcome.json()["pixels"]["total"] == 1200
    assert "mosaic.vrt names 2 of the files" in outcome.err
