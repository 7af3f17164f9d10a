"""Resuming, growing, drift and locks, as the command line tells them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kseg_core.resume.lock import hold
from kseg_core.store.model import Model

Kseg = Callable[..., Any]


@pytest.fixture
def pictures(small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``in`` of our own in the current folder, and a model ``m.zarr`` of it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(small_folder, tmp_path / "in"))


@pytest.fixture
def model(pictures: Path, kseg: Kseg) -> Path:
    assert kseg("fit", "in", "--k", "3", "--attempts", "2", "-o", "m.zarr").code == 0
    return Path("m.zarr")


@pytest.mark.parametrize(
    "line",
    [
        ("run", "in", "--k", "2", "-o", "out.zarr"),
        ("apply", "in", "--model", "m.zarr", "-o", "out.zarr"),
        ("fit", "in", "--k", "2", "-o", "out.zarr"),
        ("edges", "in", "-o", "out.zarr"),
        ("sweep", "in", "--k-range", "1:2", "-o", "out.zarr"),
    ],
)
@pytest.mark.usefixtures("model")
def test_an_output_that_another_run_holds_exits_11_and_names_it(line: tuple[str, ...], kseg: Kseg) -> None:
    with hold("out.zarr"):
        outcome = kseg(*line, "--json")
    assert (outcome.code, outcome.out) == (11, "")
    assert outcome.err.startswith("kseg-batch: another run holds out.zarr: pid ")
    assert outcome.err.count("\n") == 1
    assert not Path("out.zarr").exists()
    assert kseg(*line).code == 0


def test_a_terminated_job_leaves_no_lock_and_says_how_to_go_on(long_job: Any) -> None:
    running = long_job("--scheduler", "threads")
    lock = running.output.parent / f".{running.output.name}.lock"
    assert lock.exists()
    running.process.send_signal(signal.SIGTERM)
    _, err = running.process.communicate(timeout=100)
    assert running.process.returncode == 143
    assert err == "kseg-batch: terminated; what was finished is kept: the same command goes on\n"
    assert not lock.exists()


@pytest.mark.usefixtures("model")
def test_a_growing_folder_is_told_for_a_person_and_a_program(pictures: Path, kseg: Kseg, png: Any, smooth: Any) -> None:
    line = ("apply", "in", "--model", "m.zarr")
    first = kseg(*line)
    assert "labelled 3 images, " in first.out
    assert "drift of the 3 images from the model's: cluster shares differ by 0.000, mse 1.00 times" in first.out
    png(pictures / "d.png", smooth(30, 40, 3))
    (pictures / "a.png").unlink()
    second = kseg(*line).out
    assert "labelled 1 image (2 more were there already), " in second
    assert "1 image in in.kseg.zarr not among the inputs any more; left as it is" in second
    told = kseg(*line, "--json").json()
    assert told["images"] == {"total": 3, "labelled": 0, "reused": 3, "failed": 0}
    assert told["changes"] == {"added": 0, "changed": 0, "repaired": 0, "removed": 1, "outdated": 0}
    assert told["drift"]["batch"]["images"] == 1


@pytest.mark.usefixtures("model")
def test_a_night_without_new_images_says_so(pictures: Path, kseg: Kseg) -> None:
    line = ("apply", "in", "--model", "m.zarr")
    assert kseg(*line).code == 0
    (pictures / "broken.png").write_bytes(b"no picture")
    outcome = kseg(*line)
    assert outcome.code == 3
    assert outcome.out.startswith("in.kseg.zarr: nothing new: 3 images were there already\n")


@pytest.mark.usefixtures("model")
def test_a_gate_on_drift_fails_after_everything_is_written_and_fails_again(
    pictures: Path, kseg: Kseg, png: Any
) -> None:
    png(pictures / "odd.png", np.full((300, 300, 3), (255, 0, 255), np.uint8))
    line = ("apply", "in", "--model", "m.zarr", "--json")
    for _ in range(2):  # a pipeline that tries again must not pass
        outcome = kseg(*line, "--fail-on-drift", "0.2")
        assert outcome.code == 1
        assert outcome.json()["status"] == "ok"
        drift = outcome.json()["drift"]
        assert (drift["limit"], drift["failed"]) == (0.2, True)
        assert "more than --fail-on-drift 0.2; everything was written" in outcome.err
    passed = kseg(*line, "--fail-on-drift", "1")
    assert (passed.code, passed.json()["drift"]["failed"]) == (0, False)
    assert kseg(*line).json()["drift"]["limit"] is None
    assert kseg("check", "in.kseg.zarr").code == 0
    assert kseg(*line, "--fail-on-drift", "0.2", "--checksum").code == 1
    (pictures / "bad.png").write_bytes(b"no picture")
    assert kseg(*line, "--fail-on-drift", "0.2").code == 1  # nothing was labelled: the verdict is on the last that were
    (pictures / "a.png").unlink()
    shutil.rmtree("in.kseg.zarr/images/b.png")
    outcome = kseg(*line, "--fail-on-drift", "0.2")
    assert (outcome.code, outcome.json()["changes"]["repaired"]) == (1, 1)  # which is not new either


@pytest.mark.parametrize("line", ["run in --k 2 -o now.zarr", "apply in --model m.zarr -o now.zarr"])
@pytest.mark.usefixtures("pictures", "model")
def test_a_store_that_was_moved_is_told_by_its_new_name(line: str, kseg: Kseg) -> None:
    kseg(*line.replace("now", "then").split())
    Path("then.zarr").rename("now.zarr")
    assert kseg(*line.split(), "--json").json()["output"] == "now.zarr"
    assert kseg(*line.split()).out.startswith("now.zarr: already done")


@pytest.mark.parametrize("features", [("--features", "lab"), ("--features", "bands", "--normalize", "standard")])
@pytest.mark.usefixtures("pictures")
def test_a_refit_keeps_features_and_numbers(features: tuple[str, ...], kseg: Kseg, png: Any, smooth: Any) -> None:
    assert kseg("run", "in", "--k", "3", "--attempts", "2", *features, "-o", "old.zarr").code == 0
    png(Path("in/d.png"), smooth(30, 40, 3))
    outcome = kseg("run", "in", "--model", "old.zarr", "--refit", "-o", "new.zarr", "--json")
    assert outcome.code == 0
    assert (outcome.json()["features"], outcome.json()["k"]) == (features[1], 3)
    old, new = (Model.load(name) for name in ("old.zarr", "new.zarr"))
    apart = np.linalg.norm(old.colors[:, None].astype(float) - new.colors[None], axis=2)
    assert apart.argmin(axis=1).tolist() == [0, 1, 2]
    if old.bands is not None and new.bands is not None:
        assert (new.bands.scale != 1).all()
        assert new.facts["normalize"] == "standard"


@pytest.mark.usefixtures("model")
def test_a_model_is_refitted_without_labelling(pictures: Path, kseg: Kseg, png: Any, smooth: Any) -> None:
    png(pictures / "d.png", smooth(30, 40, 3))
    assert kseg("run", "in", "--model", "m.zarr", "--refit", "-o", "whole.zarr").code == 0
    outcome = kseg("fit", "in", "--model", "m.zarr", "--refit", "-o", "again.zarr", "--json")
    assert (outcome.code, outcome.json()["k"]) == (0, 3)
    earlier, whole, again = (Model.load(name) for name in ("m.zarr", "whole.zarr", "again.zarr"))
    np.testing.assert_array_equal(again.centroids, whole.centroids)
    assert (again.centroids != earlier.centroids).any()
    apart = np.linalg.norm(earlier.centroids[:, None] - again.centroids[None], axis=2)
    assert apart.argmin(axis=1).tolist() == [0, 1, 2]


@pytest.mark.usefixtures("model")
def test_apply_tells_beforehand_what_it_would_do(kseg: Kseg) -> None:
    outcome = kseg("apply", "in", "--model", "m.zarr", "--dry-run", "--json")
    assert (outcome.code, outcome.json()["status"]) == (0, "dry-run")
    assert not Path("in.kseg.zarr").exists()
