"""``kseg-batch edges``, and ``run --edges``: options, JSON, exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from kseg_core import open_store
from kseg_core.images import read_image

Kseg = Callable[..., Any]
LOW = "--low 40 --high 100"


def test_the_whole_way_json_again_and_with_other_settings(kseg: Kseg, here: Path) -> None:
    line = f"edges in -o out.zarr {LOW}"
    told = kseg(f"{line} --json")
    assert (told.code, told.err) == (0, "")
    found = told.json()
    store = open_store("out.zarr")
    expected = {key: cv2.Canny(np.ascontiguousarray(read_image(f"in/{key}").samples), 40, 100) > 0 for key in store}
    for key, edges in expected.items():
        np.testing.assert_array_equal(np.asarray(store[key].edges[...]), edges)
    assert found["seconds"].pop("total") >= 0
    assert found == {
        "status": "ok",
        "output": "out.zarr",
        "images": {"total": 3, "done": 3, "reused": 0, "failed": 0},
        "pixels": {"total": sum(edges.size for edges in expected.values())},
        "edge_pixels": sum(int(edges.sum()) for edges in expected.values()),
        "settings": {"low": 40.0, "high": 100.0, "aperture": 3, "l2": False, "blur": 0.0, "on": "color"},
        "failures": [],
        "notes": [],
        "seconds": {},
    }
    again = kseg(f"{line} --json")
    assert (again.code, again.err) == (0, "")
    images = {"total": 3, "done": 0, "reused": 3, "failed": 0}
    assert again.json() == {**found, "images": images, "seconds": {"total": 0.0}}
    assert "already done, nothing changed" in kseg(line).out
    other = kseg(f"{line} --json --blur 1")
    assert other.code == 1
    assert "other settings (--blur 0 → 1)" in other.err
    assert other.json()["status"] == "failed"
    assert set(other.json()) == {*found, "error"}
    assert kseg(f"{line} --blur 1 --overwrite").code == 0
    assert "with edges alone" in kseg("check out.zarr").out
    assert "edges alone" in kseg("inspect out.zarr").out


def test_inputs_without_edges_are_named_and_the_exit_code_is_3(kseg: Kseg, here: Path) -> None:
    Path("in/bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    for _ in range(2):  # the second time there is nothing else left to do
        outcome = kseg(f"edges in -o out.zarr --json {LOW}")
        assert outcome.code == 3
        assert outcome.json()["status"] == "partial"
        assert [failure["source"] for failure in outcome.json()["failures"]] == ["in/bad.png"]
    said = kseg(f"edges in -o out.zarr {LOW}").out
    assert "no edges of 1 of the inputs:\n  in/bad.png: " in said
    alone = kseg("edges in/bad.png -o none.zarr --json")
    assert (alone.code, len(alone.json()["failures"])) == (1, 1)
    assert not Path("none.zarr").exists()


def test_the_default_output_is_that_of_run_so_edges_join_its_labels(kseg: Kseg, here: Path) -> None:
    run = "run in --k 2 --attempts 1"
    assert [kseg(line).code for line in (run, f"edges in {LOW}")] == [0, 0]
    image = open_store("in.kseg.zarr")["a.png"]
    assert (image.has_labels, image.has_edges) == (True, True)
    found = kseg("inspect in.kseg.zarr --json").json()["images"][0]
    assert (found["labels"], found["edges"]) == ("images/a.png/labels/kmeans/0", "images/a.png/edges")
    assert "already done" in kseg(run).out


def test_run_and_apply_make_edges_too(kseg: Kseg, here: Path) -> None:
    run = "run in --k 2 --attempts 1 -o run.zarr"
    assert kseg(f"{run} --edges 100,40").code == 0
    assert kseg(f"{run} --edges 40,100").out.startswith("run.zarr: already done")
    refused = kseg(run)
    assert (refused.code, "--edges 40,100 → not given" in refused.err) == (1, True)
    assert kseg("apply in --model run.zarr --edges 40,100 -o apply.zarr").code == 0
    for name in ("run.zarr", "apply.zarr"):
        assert kseg(f"edges in -o {name} {LOW} --json").json()["images"]["reused"] == 3
        assert kseg(f"check {name}").code == 0
