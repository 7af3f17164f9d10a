"""What libraries remark on files stays off the terminal; what is wrong with a file is said by us, for people."""

from __future__ import annotations

import json
import shutil
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image

from tests.fuzzing import PROGRAMMERS


@pytest.fixture
def folder(small_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_folder, tmp_path / "in")
    return tmp_path / "in"


def test_sound_files_that_libraries_remark_on_are_labelled_without_a_word(
    folder: Path, tmp_path: Path, kseg: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.create_group(str(folder / "image.zarr"))
        group.create_array("0", data=np.arange(36, dtype=np.uint8).reshape(6, 6), chunks=(6, 6))
        axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
        group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    (folder / "image.zarr/notes").mkdir()  # Zarr: not recognized as a component of a hierarchy
    (folder / "image.zarr/notes/a.txt").write_text("x")
    Image.fromarray(np.zeros((4, 4), np.bool_)).save(folder / "fax.tif", compression="group3")
    outcome = kseg("run", folder, "--k", "2", "--features", "rgb", "-o", tmp_path / "out.zarr")
    assert (outcome.code, outcome.err) == (0, "")


def test_no_reason_for_a_file_holds_python(folder: Path, tmp_path: Path, kseg: Any) -> None:
    odd: dict[str, Any] = {
        "number": {"multiscales": 7}, "mapping": {"multiscales": {"layout": []}}, "empty": {"multiscales": [{}]},
        "missing": {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]},
        "no axes": {"multiscales": [{"axes": [7], "datasets": [{"path": "0"}]}]}, "ome": {"ome": []},
    }  # fmt: skip
    for name, attributes in odd.items():
        (folder / f"{name}.zarr").mkdir()
        document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / f"{name}.zarr/zarr.json").write_text(json.dumps(document))
    head = b"II*\0\x08\0\0\0"
    for name, entry in {
        "heights.tif": struct.pack("<HHII", 257, 3, 2, 0x00070007),
        "letters.tif": struct.pack("<HHI4s", 256, 2, 4, b"abc\0"),
        "none.tif": struct.pack("<HHII", 256, 3, 0, 0),
    }.items():
        (folder / name).write_bytes(head + struct.pack("<H", 1) + entry + bytes(4))
    outcome = kseg("run", folder, "--k", "2", "-o", tmp_path / "out.zarr", "--json")
    failures = outcome.json()["failures"]
    assert outcome.code == 3
    assert len(failures) == len(odd) + 3
    for failure in failures:
        assert not PROGRAMMERS.search(failure["reason"]), failure
        assert not failure["reason"].endswith(": 0")
