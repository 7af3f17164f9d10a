"""Killed at any moment and given again, a job ends with the very bits of one that was never stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.killing import Job, files_below, folder_of_pictures, folder_of_tiled, moments


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A job's kind, inputs and scheduler, what its store made without a stop holds, and for how long it worked."""

    kind: str
    inputs: Path
    scheduler: str
    contents: dict[str, str]
    files: set[str]
    seconds: float


def arguments(inputs: Path, scheduler: str, kind: str) -> list[str | Path]:
    added = ["--segments", "medium"] if kind == "segments" else ["--confidence"]
    return ["run", inputs, "--k", "4", "--attempts", "2", "--scheduler", scheduler, "--workers", "2", *added]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    from tests.command_lines import environment_of_programs

    return environment_of_programs()


@pytest.fixture(scope="module")
def undisturbed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    environment: dict[str, str],
    contents: Callable[[Path], dict[str, str]],
) -> Undisturbed:
    here = tmp_path_factory.mktemp("undisturbed")
    kind, scheduler = request.param
    inputs = folder_of_pictures(here / "in") if kind == "folder" else folder_of_tiled(here / "in", side=2300)
    store = here / "out.zarr"
    _, seconds = Job(arguments(inputs, scheduler, kind), store, environment).run()
    return Undisturbed(kind, inputs, scheduler, contents(store), files_below(store), seconds)


QUICK = {("tiled", "threads", 0)}  # tests/contract kills a job of a folder while it labels


@pytest.mark.parametrize(
    ("undisturbed", "half"),
    [
        pytest.param(
            (kind, scheduler),
            half,
            marks=() if (kind, scheduler, half) in QUICK else pytest.mark.slow,
            id=f"{kind}-{scheduler}-{half}",
        )
        for kind in ("folder", "tiled", "segments")
        for scheduler in ("threads", "processes")
        for half in (0, 1)
    ],
    indirect=["undisturbed"],
)
def test_a_killed_job_goes_on_where_it_was(
    half: int,
    undisturbed: Undisturbed,
    environment: dict[str, str],
    tmp_path: Path,
    contents: Callable[[Path], dict[str, str]],
) -> None:
    seed = 2 * ["threads", "processes"].index(undisturbed.scheduler) + half
    moment = moments(2, undisturbed.seconds, seed)[half]
    job = Job(
        arguments(undisturbed.inputs, undisturbed.scheduler, undisturbed.kind), tmp_path / "out.zarr", environment
    )
    killed = job.killed_and_resumed(moment)
    labelled = [path for path in killed.touched if "/labels/segments/" not in path]  # these are added to finished ones
    assert [path for path in labelled if not path.endswith("/labels/zarr.json")] == []
    assert killed.moment is None or killed.reused == killed.images
    assert contents(tmp_path / "out.zarr") == undisturbed.contents
    assert files_below(tmp_path / "out.zarr") == undisturbed.files
    assert [path.name for path in tmp_path.iterdir()] == ["out.zarr"]
