"""Real pictures; skipped where there are none."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

from kseg_core import open_store

Program = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def orientation_store(data_folder: Path, tmp_path_factory: pytest.TempPathFactory, job: Any) -> Path:
    """One run over two photographs in the 8 EXIF orientations, each with its number printed on it."""
    output = tmp_path_factory.mktemp("orientation") / "out.zarr"
    result = job(data_folder / "orientation", output, k=5, attempts=2, scheduler="threads")
    assert (result.images.labelled, result.failures) == (16, ())
    return output


@pytest.mark.parametrize("subject", ["landscape", "portrait"])
def test_photographs_in_the_8_orientations_are_labelled_alike(subject: str, orientation_store: Path) -> None:
    store = open_store(str(orientation_store))
    found = [np.asarray(store[f"{subject}_{i}.jpg"].labels) for i in range(1, 9)]
    height, width = found[0].shape
    assert (height > width) == (subject == "portrait")
    assert {labels.shape for labels in found} == {(height, width)}
    for one, other in itertools.combinations(found, 2):
        assert (one == other).mean() > 0.9


@pytest.fixture(scope="module")
def mixed_run(
    data_folder: Path, tmp_path_factory: pytest.TempPathFactory, program: Program
) -> tuple[CompletedProcess[str], Path]:
    """A real process over sound photographs and files made to break decoders."""
    output = tmp_path_factory.mktemp("mixed") / "out.zarr"
    folders = (data_folder / "kodak", data_folder / "broken")
    return program("run", *folders, "--k", "4", "--attempts", "2", "-o", output, "--json"), output


def test_broken_files_among_sound_ones_end_with_exit_code_3_and_all_sound_ones_labelled(
    mixed_run: tuple[CompletedProcess[str], Path], data_folder: Path
) -> None:
    done, output = mixed_run
    assert done.returncode == 3
    told = json.loads(done.stdout)
    store = open_store(str(output))
    sources = {Path(image.source) for image in store.values()}
    kodak = set((data_folder / "kodak").iterdir())
    assert len(kodak) == 24
    assert kodak <= sources
    broken = set((data_folder / "broken").iterdir())
    labelled = broken & sources
    assert len(broken) == 57
    assert 30 <= len(labelled) <= 38
    assert told["status"] == "partial"
    assert told["images"] == {
        "total": 81,
        "labelled": 24 + len(labelled),
        "reused": 0,
        "failed": 57 - len(labelled),
    }


def test_every_broken_file_that_is_not_labelled_is_named_once_with_a_reason(
    mixed_run: tuple[CompletedProcess[str], Path], data_folder: Path
) -> None:
    done, output = mixed_run
    failures = json.loads(done.stdout)["failures"]
    named = [failure["source"] for failure in failures]
    labelled = {image.source for image in open_store(str(output)).values()}
    everything = {str(path) for folder in ("kodak", "broken") for path in (data_folder / folder).iterdir()}
    assert len(named) == len(set(named))
    assert set(named) == everything - labelled
    for failure in failures:
        assert failure["reason"].strip()
        assert "\n" not in failure["reason"]
        assert failure["source"] not in failure["reason"]


def test_neither_a_traceback_nor_decoder_noise_reaches_the_terminal(
    mixed_run: tuple[CompletedProcess[str], Path],
) -> None:
    done, _ = mixed_run
    # Nothing but what there is to say of files that hold more than one picture.
    assert all(re.fullmatch(r"WARNING \S+: (page|the first frame).*", line) for line in done.stderr.splitlines())
    assert len(done.stdout.splitlines()) == 1
