"""Workers die, pause or never come, decoders crash, a scheduler goes: nothing is lost, and what went wrong is said."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dask.delayed import delayed
from distributed import Client
from distributed.chaos import KillWorker

from kseg_core.errors import KsegError
from workflows import cluster as clusters
from workflows.cluster import ClusterExecutor
from workflows.executor import TasksKilled

Contents = Callable[[Path], dict[str, str]]

#: What a worker runs when it starts: the reader of files called ``crash*`` ends the process, as a faulty decoder does.
FAULTY_DECODER = """
import os, sys
if "kseg-workers-crash" in os.environ and any("spawn" in word or "nanny" in word for word in sys.orig_argv):
    from kseg_core import sources
    sound = sources.Piece.read
    def read(piece):
        if "crash" in piece.source.file.source:
            os._exit(139)
        return sound(piece)
    sources.Piece.read = read
"""


@pytest.fixture
def faulty(tmp_path: Path, program_environment: dict[str, str]) -> dict[str, str]:
    """The environment of a program whose workers have the faulty decoder."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(FAULTY_DECODER)
    path = os.pathsep.join([str(tmp_path / "site"), program_environment["PYTHONPATH"]])
    return {**program_environment, "PYTHONPATH": path, "kseg-workers-crash": "1"}


@pytest.fixture
def with_crashers(tmp_path: Path, smooth_folder: Path) -> Path:
    """Good pictures, and two copies among them at which the decoder crashes."""
    folder = tmp_path / "in"
    shutil.copytree(smooth_folder, folder)
    for name in ("crash-1.png", "crash-2.png"):
        shutil.copy(folder / "picture-1.png", folder / name)
    return folder


def centroids_of(store: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((store / "model/centroids").rglob("*")) if path.is_file())


def test_a_file_that_kills_its_worker_twice_is_named_and_all_others_are_labelled(
    with_crashers: Path, smooth_folder: Path, tmp_path: Path, faulty: dict[str, str], program: Any
) -> None:
    processes = ["--scheduler", "processes", "--workers", "2", "--json"]
    done = program("run", with_crashers, "--k", "3", "-o", tmp_path / "a.zarr", *processes, env=faulty)
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert (told["images"]["labelled"], told["images"]["failed"]) == (8, 2)
    assert [Path(failure["source"]).name for failure in told["failures"]] == ["crash-1.png", "crash-2.png"]
    for failure in told["failures"]:
        assert "its decoder crashed the worker twice" in failure["reason"]
    whole = program("run", smooth_folder, "--k", "3", "-o", tmp_path / "b.zarr")
    assert whole.returncode == 0
    assert centroids_of(tmp_path / "a.zarr") == centroids_of(tmp_path / "b.zarr")


def test_the_same_holds_while_labelling(
    with_crashers: Path, smooth_folder: Path, tmp_path: Path, faulty: dict[str, str], program: Any, job: Any
) -> None:
    job(smooth_folder, tmp_path / "m.model.zarr")
    options = ["--model", tmp_path / "m.model.zarr", "--scheduler", "processes", "--workers", "2", "--json"]
    done = program("apply", with_crashers, "-o", tmp_path / "a.zarr", *options, env=faulty)
    assert done.returncode == 3, done.stderr
    images = json.loads(done.stdout)["images"]
    assert (images["labelled"], images["failed"]) == (8, 2)


# ------------------------------------------------------------------------------------------------- lost workers


def _end_the_process(_: Any) -> None:
    os._exit(1)


def _double(value: int) -> int:
    return 2 * value


def test_a_task_that_kills_is_told_with_the_results_of_the_others() -> None:
    with clusters.own_processes(1, 1 << 30) as client:
        executor = ClusterExecutor(client)
        lazy = [delayed(_double)(1), delayed(_end_the_process)(2), delayed(_double)(3)]
        with pytest.raises(TasksKilled) as told:
            executor.compute(lazy, lazy)
        deaths, results = told.value.deaths, told.value.results
        assert deaths[1] == 2  # and of a neighbour, if it waited in the same worker
        assert results is not None
        assert results == [None if i in deaths else value for i, value in enumerate([2, None, 6])]


def test_a_task_that_nobody_watches_is_tried_again_and_then_an_error_with_advice() -> None:
    with clusters.own_processes(1, 1 << 30) as client, pytest.raises(KsegError, match=r"too little memory: .*--memory"):
        ClusterExecutor(client).compute([delayed(_end_the_process)(2)])


def test_no_worker_left_ends_after_a_stated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "NO_WORKER_SECONDS", 1)
    monkeypatch.setattr(clusters, "LOOK_SECONDS", 0.2)
    with clusters.own_processes(1, 1 << 30) as client:
        executor = ClusterExecutor(client)
        client.cluster.scale(0)
        while client.nthreads():
            time.sleep(0.05)
        with pytest.raises(KsegError, match="no worker is left, and none came within 1 seconds"):
            executor.compute([delayed(_double)(1)])


def _pause_above(share_of_memory: float, dask_worker: Any) -> None:
    dask_worker.memory_manager.memory_pause_fraction = share_of_memory


def test_workers_that_stay_paused_end_a_job_and_one_that_wakes_up_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PAUSED_SECONDS", 2)
    monkeypatch.setattr(clusters, "LOOK_SECONDS", 0.2)
    with clusters.own_processes(1, 1 << 30) as client:
        executor = ClusterExecutor(client)
        client.run(_pause_above, 1e-6)
        time.sleep(1)  # it looks at its memory every now and then
        with pytest.raises(KsegError, match="paused for 2 seconds: their memory is full"):
            executor.compute([delayed(_double)(1)])
        client.run(_pause_above, 0.8)
        assert executor.compute([delayed(_double)(4)]) == [8]


def test_what_is_shared_survives_the_worker_that_has_it() -> None:
    with clusters.own_processes(1, 1 << 30) as client:
        executor = ClusterExecutor(client)
        shared = executor.share(21)
        assert executor.compute([delayed(_double)(shared)]) == [42]
        client.restart_workers(list(client.nthreads()))
        assert executor.compute([delayed(_double)(shared, dask_key_name="again")]) == [42]


# ------------------------------------------------------------------------------------------------------- chaos


def _processes(client: Client) -> set[int]:
    return {answer for answer in client.run(os.getpid, on_error="return").values() if isinstance(answer, int)}


@pytest.fixture
def restless_cluster(tmp_path: Path, program_environment: dict[str, str]) -> Iterator[str]:
    """A scheduler and two workers that are started again whenever they end, as a batch system does."""
    file = tmp_path / "scheduler.json"
    dask = f"'{sys.executable}' -m dask"
    here = f"--host 127.0.0.1 --dashboard-address 127.0.0.1:0 --scheduler-file '{file}'"
    worker = f"while :; do {dask} worker {here} --nthreads 1 --memory-limit 0 --local-directory '{tmp_path}'; done"
    started = [
        subprocess.Popen(
            ["/bin/sh", "-c", line],
            env=program_environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for line in (f"exec {dask} scheduler {here} --port 0", worker, worker)
    ]
    try:
        yield _address_in(file)
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _address_in(file: Path) -> str:
    for _ in range(600):
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(file.read_bytes())["address"])
        time.sleep(0.1)
    pytest.fail("the scheduler did not start")


@pytest.mark.parametrize("mode", ["sys.exit", "graceful", "segfault"])
def test_workers_that_die_at_random_change_no_bit(
    mode: Any, restless_cluster: str, smooth_folder: Path, tmp_path: Path, job: Any, contents: Contents
) -> None:
    whole = tmp_path / "whole.zarr"
    job(smooth_folder, whole, tile=128)
    expected = contents(whole)
    with Client(restless_cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        seen = _processes(client)
        client.register_plugin(KillWorker(delay="4 s", mode=mode), name="chaos")
        for attempt in range(20):
            disturbed = tmp_path / f"disturbed-{attempt}.zarr"
            job(smooth_folder, disturbed, scheduler=restless_cluster, tile=128)
            assert contents(disturbed) == expected
            seen |= _processes(client)
            if len(seen) >= 5:  # three have died, or more
                break
    assert len(seen) >= 5


# --------------------------------------------------------------------------------------------- lost scheduler


@contextlib.contextmanager
def lone_cluster(folder: Path, environment: dict[str, str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler with one worker, each a process."""
    file = folder / "scheduler.json"
    command = [sys.executable, "-m", "dask"]
    here = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)]
    options: dict[str, Any] = {"env": environment, "cwd": folder}
    options |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    alone = ["--nthreads", "1", "--no-nanny", "--death-timeout", "20"]
    scheduler = subprocess.Popen([*command, "scheduler", *here, "--port", "0"], **options)
    worker = subprocess.Popen([*command, "worker", *here, *alone], **options)
    try:
        yield _address_in(file), scheduler
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


def test_a_scheduler_that_is_killed_ends_the_job_and_the_same_command_completes_it(
    tmp_path: Path, smooth: Any, png: Any, program: Any, program_environment: dict[str, str]
) -> None:
    png(tmp_path / "in.png", smooth(500, 500, 1))
    line = ["run", str(tmp_path / "in.png"), "-o", str(tmp_path / "out.zarr"), "--k", "60", "--attempts", "300"]
    with lone_cluster(tmp_path, program_environment) as (address, scheduler):
        running = subprocess.Popen(
            [sys.executable, "-m", "jobs", *line, "--scheduler", address],
            env=program_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for _ in range(600):
            if (tmp_path / "out.zarr/images/zarr.json").exists():
                break
            time.sleep(0.1)
        time.sleep(1)
        scheduler.send_signal(signal.SIGKILL)
        out, err = running.communicate(timeout=100)
    assert (running.returncode, out) == (1, "")
    assert err.count("\n") == 1
    assert "the Dask scheduler at" in err
    assert "is gone" in err
    line[-1] = "1"
    finished = program(*line, "--overwrite")
    assert (finished.returncode, finished.stderr) == (0, "")
