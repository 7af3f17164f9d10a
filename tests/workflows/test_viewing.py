"""Whoever looks at originals counts those that must be decoded whole; one that does not fit is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kseg_core.config import ExecutionSettings
from kseg_core.errors import KsegError
from kseg_core.export.settings import ExportSettings
from kseg_core.memory import PROCESS_BYTES, VIEW_BYTES
from tests.asking import run_job
from workflows.check import check_store
from workflows.computing.executor import LocalExecutor
from workflows.export import export
from workflows.export_plan import ExportRequest
from workflows.report import ReportRequest, make_report
from workflows.viewing.tasks import limit_tasks

MB = 1_000_000
LITTLE = ExecutionSettings(workers=2, memory=PROCESS_BYTES + VIEW_BYTES + 8 * MB)


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["sources", "copies"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a picture that needs more than that beside all else, and of a small one."""
    folder = tmp_path_factory.mktemp("pictures")
    ramp = np.add.outer(np.arange(5800), np.arange(5800))[..., None] // 46
    Image.fromarray(np.repeat(ramp, 3, axis=2).astype(np.uint8)).save(folder / "large.png", compress_level=1)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(folder / "small.png")
    run_job(folder, folder / "out.zarr", 2, attempts=1, copy_image=request.param)
    return folder / "out.zarr"


def has_copies(store: Path) -> bool:
    return (store / "images" / "large.png" / "0").exists() or (store / "images" / "large.png" / "image").exists()


@pytest.mark.few(1)
def test_an_export_names_the_image_and_makes_all_other_files(store: Path, tmp_path: Path) -> None:
    settings = ExportSettings(("segmented", "cutout", "boundaries"), clusters=(1,))
    made = export(ExportRequest(str(store), str(tmp_path / "out"), settings), LITTLE).to_json()
    files = {(file["image"], file["what"]) for file in made["files"]}
    everything = {(f"{name}.png", what) for name in ("large", "small") for what in settings.what}
    if has_copies(store):
        assert (made["status"], files) == ("ok", everything)
        return
    assert made["status"] == "partial"
    assert files == everything - {("large.png", "cutout"), ("large.png", "boundaries")}
    (failure,) = made["failures"]
    assert failure["source"].endswith("large.png")
    assert failure["what"] == ["cutout", "boundaries"]
    assert "of memory to look at, a process may take 380 MB (--memory); give more with" in failure["reason"]


def test_a_report_shows_all_but_that_original(store: Path, tmp_path: Path) -> None:
    made = make_report(ReportRequest(str(store), str(tmp_path / "out")), LITTLE)
    assert made["images"] == {"total": 2, "shown": 2}
    page = Path(made["report"]).read_text()
    assert page.count("No original: takes about ") == (0 if has_copies(store) else 1)


@pytest.mark.few(1)
def test_a_check_names_the_image_it_did_not_compare(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = check_store(str(store), LITTLE)
    assert (found["status"], found["images"], found["compared"]) == ("ok", 2, 1)
    (told,) = [record.message for record in caplog.records if "not compared" in record.message]
    assert told.startswith("large.png: not compared with its source, which takes about ")
    caplog.clear()
    assert check_store(str(store), ExecutionSettings(workers=2))["compared"] == 2
    assert "not compared" not in caplog.text


def test_fewer_tasks_run_where_originals_are_large() -> None:
    executor = LocalExecutor("threads", 4, PROCESS_BYTES + 4 * VIEW_BYTES)
    assert limit_tasks(executor, {"a": VIEW_BYTES, "b": VIEW_BYTES}) == {}
    assert executor.workers == 4
    assert limit_tasks(executor, {"a": 3 * VIEW_BYTES}) == {}
    assert executor.workers == 2  # it and one that looks at no original
    assert list(limit_tasks(executor, {"a": 3 * VIEW_BYTES, "b": 5 * VIEW_BYTES}, tasks_each=2)) == ["b"]
    assert executor.workers == 1  # two may look at the same one
    executor = LocalExecutor("threads", 4, PROCESS_BYTES + 4 * VIEW_BYTES)
    assert limit_tasks(executor, task_bytes=2 * VIEW_BYTES) == {}
    assert executor.workers == 2  # of a kind of export that takes more


def test_as_many_tasks_look_at_an_original_as_is_said_of_it() -> None:
    needs = {"a": 3 * VIEW_BYTES // 2, "b": VIEW_BYTES}
    for tasks_each, workers in (({}, 3), ({"b": 2}, 3), ({"a": 2}, 3), ({"a": 4}, 2)):
        executor = LocalExecutor("threads", 4, PROCESS_BYTES + 4 * VIEW_BYTES)
        assert limit_tasks(executor, needs, tasks_each=tasks_each) == {}
        assert executor.workers == workers


def test_where_threads_are_given_each_must_have_room() -> None:
    executor = LocalExecutor("threads", 4, PROCESS_BYTES + 4 * VIEW_BYTES)
    executor.least_threads = 4  # as workers of a cluster have them
    refused = limit_tasks(executor, {"a": VIEW_BYTES + 1})
    assert refused["a"].startswith("takes about 973 MB of memory to look at")
    executor.memory_bytes -= 1
    with pytest.raises(KsegError, match=r"too little: this job needs at least 972 MB; give more with --memory"):
        limit_tasks(executor)
