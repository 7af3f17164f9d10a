"""Killed at any moment and given again, a job ends with the very bits of one that was never stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.killing import Job, files_below, folder_of_pictures, folder_of_tiled, moments


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """Inputs, what their store made without a stop holds, and for how long the job worked."""

    inputs: Path
    contents: dict[str, str]
    files: set[str]
    seconds: dict[str, float]


def arguments(inputs: Path, scheduler: str) -> list[str | Path]:
    return ["run", inputs, "--k", "4", "--attempts", "2", "--scheduler", scheduler, "--workers", "2", "--confidence"]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    from tests.conftest import environment_of_programs

    return environment_of_programs()


@pytest.fixture(scope="module", params=["folder", "tiled"])
def undisturbed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    environment: dict[str, str],
    contents: Callable[[Path], dict[str, str]],
) -> Undisturbed:
    here = tmp_path_factory.mktemp("undisturbed")
    inputs = folder_of_pictures(here / "in") if request.param == "folder" else folder_of_tiled(here / "in", side=2600)
    seconds = {}
    for scheduler in ("processes", "threads"):  # the store of the second is kept: their bits are the same
        _, seconds[scheduler] = Job(arguments(inputs, scheduler), here / f"{scheduler}.zarr", environment).run()
    store = here / "threads.zarr"
    return Undisturbed(inputs, contents(store), files_below(store), seconds)


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_a_killed_job_goes_on_where_it_was(
    scheduler: str,
    half: int,
    undisturbed: Undisturbed,
    environment: dict[str, str],
    tmp_path: Path,
    contents: Callable[[Path], dict[str, str]],
) -> None:
    seed = 2 * ["threads", "processes"].index(scheduler) + half
    moment = moments(2, undisturbed.seconds[scheduler], seed)[half]
    job = Job(arguments(undisturbed.inputs, scheduler), tmp_path / "out.zarr", environment)
    killed = job.killed_and_resumed(moment)
    assert killed.touched == ()
    assert killed.moment is None or killed.reused == killed.images
    assert contents(tmp_path / "out.zarr") == undisturbed.contents
    assert files_below(tmp_path / "out.zarr") == undisturbed.files
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
