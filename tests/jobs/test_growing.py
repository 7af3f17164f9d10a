"""Resuming, growing, drift and locks, as the command line tells them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core.resume.lock import hold
from kseg_core.store.model import Model

Kseg = Callable[..., Any]


@pytest.fixture
def model(here: Path, kseg: Kseg) -> None:
    """A model ``m.zarr`` of the folder ``in``."""
    assert kseg("fit in --k 3 --attempts 2 -o m.zarr").code == 0


@pytest.mark.parametrize(
    "line",
    ["run in --k 2", "apply in --model m.zarr", "fit in --k 2", "edges in", "sweep in --k-range 1:2"],
)
@pytest.mark.usefixtures("model")
def test_an_output_that_another_run_holds_exits_11_and_names_it(line: str, kseg: Kseg) -> None:
    with hold("out.zarr"):
        outcome = kseg(f"{line} -o out.zarr --json")
    assert (outcome.code, outcome.out) == (11, "")
    assert outcome.err.startswith("kseg-batch: another run holds out.zarr: pid ")
    assert outcome.err.count("\n") == 1
    assert not Path("out.zarr").exists()
    assert kseg(f"{line} -o out.zarr").code == 0


@pytest.mark.usefixtures("model")
def test_a_growing_folder_is_told_for_a_person_and_a_program(here: Path, kseg: Kseg, png: Any, smooth: Any) -> None:
    line = "apply in --model m.zarr"
    first = kseg(line)
    assert "labelled 3 images, " in first.out
    assert "drift of the 3 images from the model's: cluster shares differ by 0.000, mse 1.00 times" in first.out
    png(here / "in" / "d.png", smooth(30, 40, 3))
    (here / "in" / "a.png").unlink()
    second = kseg(line).out
    assert "labelled 1 image (2 more were there already), " in second
    assert "1 image in in.kseg.zarr not among the inputs any more; left as it is" in second
    told = kseg(f"{line} --json").json()
    assert told["images"] == {"total": 3, "labelled": 0, "reused": 3, "failed": 0}
    assert told["changes"] == {"added": 0, "changed": 0, "repaired": 0, "removed": 1, "outdated": 0}
    assert told["drift"]["batch"]["images"] == 1


@pytest.mark.usefixtures("model")
def test_a_night_without_new_images_says_so(here: Path, kseg: Kseg) -> None:
    line = "apply in --model m.zarr"
    assert kseg(line).code == 0
    (here / "in" / "broken.png").write_bytes(b"no picture")
    outcome = kseg(line)
    assert outcome.code == 3
    assert outcome.out.startswith("in.kseg.zarr: nothing new: 3 images were there already\n")


@pytest.mark.usefixtures("model")
def test_a_gate_on_drift_fails_after_everything_is_written_and_fails_again(here: Path, kseg: Kseg, png: Any) -> None:
    png(here / "in" / "odd.png", np.full((300, 300, 3), (255, 0, 255), np.uint8))
    line = "apply in --model m.zarr --json"
    for _ in range(2):  # a pipeline that tries again must not pass
        outcome = kseg(f"{line} --fail-on-drift 0.2")
        assert outcome.code == 1
        assert outcome.json()["status"] == "ok"
        drift = outcome.json()["drift"]
        assert (drift["limit"], drift["failed"]) == (0.2, True)
        assert "more than --fail-on-drift 0.2; everything was written" in outcome.err
    passed = kseg(f"{line} --fail-on-drift 1")
    assert (passed.code, passed.json()["drift"]["failed"]) == (0, False)
    assert kseg(line).json()["drift"]["limit"] is None
    assert kseg("check in.kseg.zarr").code == 0
    assert kseg(f"{line} --fail-on-drift 0.2 --checksum").code == 1
    (here / "in" / "bad.png").write_bytes(b"no picture")
    assert kseg(f"{line} --fail-on-drift 0.2").code == 1  # nothing was labelled: the verdict is on the last that were
    (here / "in" / "a.png").unlink()
    shutil.rmtree("in.kseg.zarr/images/b.png")
    outcome = kseg(f"{line} --fail-on-drift 0.2")
    assert (outcome.code, outcome.json()["changes"]["repaired"]) == (1, 1)  # which is not new either


@pytest.mark.parametrize("line", ["run in --k 2 -o now.zarr", "apply in --model m.zarr -o now.zarr"])
@pytest.mark.usefixtures("model")
def test_a_store_that_was_moved_is_told_by_its_new_name(line: str, kseg: Kseg) -> None:
    kseg(line.replace("now", "then"))
    Path("then.zarr").rename("now.zarr")
    assert kseg(f"{line} --json").json()["output"] == "now.zarr"
    assert kseg(line).out.startswith("now.zarr: already done")


@pytest.mark.parametrize("features", ["lab", "bands --normalize standard"])
@pytest.mark.usefixtures("here")
def test_a_refit_keeps_features_and_numbers_with_labels_and_without(
    features: str, kseg: Kseg, png: Any, smooth: Any
) -> None:
    assert kseg(f"run in --k 3 --attempts 2 --features {features} -o old.zarr").code == 0
    png(Path("in/d.png"), smooth(30, 40, 3))
    outcome = kseg("run in --model old.zarr --refit -o new.zarr --json")
    assert outcome.code == 0
    assert (outcome.json()["features"], outcome.json()["k"]) == (features.split()[0], 3)
    assert kseg("fit in --model old.zarr --refit -o model.zarr").code == 0
    old, new, model = (Model.load(name) for name in ("old.zarr", "new.zarr", "model.zarr"))
    np.testing.assert_array_equal(model.centroids, new.centroids)
    assert (new.centroids != old.centroids).any()
    apart = np.linalg.norm(old.centroids[:, None] - new.centroids[None], axis=2)
    assert apart.argmin(axis=1).tolist() == [0, 1, 2]
    if new.bands is not None:
        assert (new.bands.scale != 1).all()
        assert new.facts["normalize"] == "standard"
