"""Which picture of a file a job reads: chosen by options, kept in the store, said once; old outputs stay as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from kseg_core.store.opening import open_store

JOB = ("--features", "bands", "--k", "2", "--attempts", "1")


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray[Any, Any]:
    """Five slices of two halves each; the slices' left halves are 10, 20, ... and their right ones 100, 120, ..."""
    monkeypatch.chdir(tmp_path)
    data = np.zeros((5, 24, 36), np.uint16)
    for z in range(5):
        data[z, :, :18] = 10 * (z + 1)
        data[z, :, 18:] = 100 + 20 * z
    Path("in").mkdir()
    tifffile.imwrite("in/stack.ome.tif", data, ome=True, metadata={"axes": "ZYX"}, photometric="minisblack")
    return data


def centroids(outcome: Any) -> list[float]:
    assert outcome.code == 0, outcome.err
    return sorted(row[0] for row in outcome.json()["centroids"])


def test_a_slice_is_chosen_in_every_command_and_kept(stack: Any, kseg: Any) -> None:
    default = kseg("run", "in", *JOB, "-o", "z0.zarr", "--json")
    assert centroids(default) == [10, 100]
    note = "z 1 of 5; --z chooses, from 0 to 4, or max"
    assert default.json()["notes"] == [{"source": "in/stack.ome.tif", "note": note}]
    assert default.err.count(note) == 1
    assert centroids(kseg("run", "in", *JOB, "--z", "3", "-o", "z3.zarr", "--json")) == [40, 160]
    assert centroids(kseg("run", "in", *JOB, "--z", "max", "-o", "zm.zarr", "--json")) == [50, 180]
    assert centroids(kseg("fit", "in", *JOB, "--z", "3", "-o", "m.zarr", "--json")) == [40, 160]
    applied = kseg("apply", "in", "--model", "m.zarr", "--z", "3", "-o", "a.zarr", "--json")
    assert applied.json()["inertia"] == 0
    swept = kseg("sweep", "in", "--features", "bands", "--k-range", "1:2", "--z", "3", "-o", "sweep", "--json")
    assert swept.json()["sweep"][1]["inertia"] == 0
    shown = kseg("inspect", "z0.zarr", "--json").json()
    assert shown["images"][0]["notes"] == [note]
    assert note in kseg("inspect", "z0.zarr").out
    for store in ("z0.zarr", "z3.zarr", "zm.zarr"):
        checked = kseg("check", store, "--json").json()
        assert (checked["status"], checked["compared"]) == ("ok", 1)
        again = kseg(
            "run", "in", *JOB, *(() if store == "z0.zarr" else ("--z", store[1].replace("m", "max"))), "-o", store
        )
        assert "already done" in again.out
    other = kseg("run", "in", *JOB, "--z", "1", "-o", "z3.zarr")
    assert other.code == 1
    assert "z 3 → 1" in other.err
    assert kseg("export", "z3.zarr", "--to", "out", "--what", "cutout").code == 0


def test_what_is_not_there_is_refused_and_the_rest_goes_on(stack: Any, kseg: Any) -> None:
    tifffile.imwrite("in/short.ome.tif", stack[:2], ome=True, metadata={"axes": "ZYX"}, photometric="minisblack")
    outcome = kseg("run", "in", *JOB, "--z", "3", "-o", "s.zarr", "--json")
    assert outcome.code == 3
    (failure,) = outcome.json()["failures"]
    assert failure["source"] == "in/short.ome.tif"
    assert failure["reason"] == "it has no z 3; there is --z 0 to 1 (2 slices)"
    for wrong in ("-1", "two"):
        assert kseg("run", "in", *JOB, f"--z={wrong}", "-o", "w.zarr").code == 2
    assert kseg("run", "in", *JOB, "--page", "1", "--z", "1", "-o", "w.zarr").code == 2
    assert kseg("run", "in", *JOB, "--channel", "0,0", "-o", "w.zarr").code == 2


def test_settings_may_come_from_a_file(stack: Any, kseg: Any) -> None:
    Path("job.toml").write_text('z = "3"\nt = 0\nchannel = ["0"]\n')
    assert centroids(kseg("run", "in", *JOB, "--config", "job.toml", "-o", "s.zarr", "--json")) == [40, 160]


def test_edges_are_of_the_chosen_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kseg: Any) -> None:
    monkeypatch.chdir(tmp_path)
    pages = np.zeros((2, 40, 40, 3), np.uint8)
    pages[1, :, 20:] = 255
    tifffile.imwrite("x.tif", pages, photometric="rgb")
    first = kseg("edges", "x.tif", "-o", "e0.zarr", "--json")
    assert first.json()["edge_pixels"] == 0
    assert [note["note"] for note in first.json()["notes"]] == ["page 1 of 2; --page chooses, from 0 to 1"]
    second = kseg("edges", "x.tif", "--page", "1", "-o", "e1.zarr", "--json")
    assert second.json()["edge_pixels"] == 38 or second.json()["edge_pixels"] > 0
    assert kseg("edges", "x.tif", "-o", "e1.zarr").code == 1
    assert kseg("inspect", "e0.zarr", "--json").json()["images"][0]["notes"] == [
        "page 1 of 2; --page chooses, from 0 to 1"
    ]


def test_an_output_of_release_0_1_0_takes_no_labels_of_another_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kseg: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    rng = np.random.default_rng(1)
    tifffile.imwrite("in/plain.tif", rng.integers(0, 255, (20, 30, 3), dtype=np.uint8), photometric="rgb")
    assert kseg("fit", "in", "--k", "2", "-o", "m.zarr").code == 0
    assert kseg("apply", "in", "--model", "m.zarr", "-o", "s.zarr").code == 0
    document = Path("s.zarr", "zarr.json")
    told = json.loads(document.read_text())
    inputs = told["attributes"]["kseg"]["config"]["input"]
    for name in ("validity", "series", "page", "channel", "z", "t"):
        inputs.pop(name, None)  # as that release wrote it
    document.write_text(json.dumps(told))
    with tifffile.TiffWriter("in/thumb.tif") as writer:
        writer.write(rng.integers(0, 255, (5, 6, 3), dtype=np.uint8), subfiletype=1, metadata=None)
        writer.write(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8), metadata=None)
    tifffile.imwrite("in/second.tif", rng.integers(0, 255, (20, 30, 3), dtype=np.uint8), photometric="rgb")
    outcome = kseg("apply", "in", "--model", "m.zarr", "-o", "s.zarr", "--json")
    assert outcome.code == 3
    (failure,) = outcome.json()["failures"]
    assert failure["source"] == "in/thumb.tif"
    assert "took another picture of this file" in failure["reason"]
    assert sorted(open_store("s.zarr")) == ["plain.tif", "second.tif"]
    anew = kseg("apply", "in", "--model", "m.zarr", "-o", "s.zarr", "--overwrite", "--json")
    assert anew.code == 0
    assert open_store("s.zarr")["thumb.tif"].labels.shape == (20, 30)
